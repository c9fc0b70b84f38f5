//! HELLO, WELCOME, ABORT, GOODBYE, and what ends a session (basic profile, "Sessions", "Protocol Errors").

use std::collections::HashSet;
use std::time::Duration;

use fanwire::router::RequestIds;
use serde_json::json;

use crate::wire::{KINDS, Kind, Wire, everywhere};

const ROLES: &str = r#""roles":{"publisher":{},"subscriber":{},"caller":{},"callee":{}}"#;

#[test]
fn welcome_names_roles_features_and_who_one_is() {
    everywhere(|mut wire| {
        let client = wire.connect();
        let welcome =
            wire.ask(client, &format!(r#"[1,"realm1",{{{ROLES},"authid":"joe","agent":"x","_abc":1}}]"#));
        assert_eq!(welcome[0], 2);
        let session = welcome[1].as_u64().unwrap();
        assert!((1..=1 << 53).contains(&session));
        let details = &welcome[2];
        assert_eq!(details["realm"], "realm1");
        assert_eq!(details["authrole"], "anonymous");
        assert_eq!(details["authmethod"], "anonymous");
        assert_eq!(details["agent"], "Fanwire-test");
        assert!(!details["authid"].as_str().unwrap().is_empty());
        let broker = json!({"features": {
            "event_retention": true,
            "pattern_based_subscription": true,
            "payload_passthru_mode": true,
            "publisher_exclusion": true,
            "publisher_identification": true,
            "session_meta_api": true,
            "subscriber_blackwhite_listing": true,
            "subscription_meta_api": true,
            "subscription_revocation": true,
        }});
        let dealer = json!({"features": {
            "call_canceling": true,
            "call_reroute": true,
            "call_timeout": true,
            "caller_identification": true,
            "pattern_based_registration": true,
            "payload_passthru_mode": true,
            "registration_meta_api": true,
            "progressive_call_invocations": true,
            "progressive_call_results": true,
            "registration_revocation": true,
            "session_meta_api": true,
            "shared_registration": true,
            "testament_meta_api": true,
        }});
        assert_eq!(details["roles"], json!({"broker": broker, "dealer": dealer}));
        wire.finish();
    });
}

#[test]
fn session_ids_are_all_different() {
    let mut wire = Wire::new(2, KINDS[1]);
    let sessions: HashSet<u64> = (0..200).map(|_| wire.join().1).collect();
    assert_eq!(sessions.len(), 200);
    assert_eq!(wire.router.realms()[0].session_count(), 200);
    wire.finish();
}

fn refused(wire: &mut Wire, hello: &str, reason: &str) {
    let client = wire.connect();
    let abort = wire.ask(client, hello);
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!(reason)), "{hello}");
    assert!(abort[1]["message"].is_string());
    assert!(wire.ended(client));
}

#[test]
fn hello_is_refused_with_abort() {
    everywhere(|mut wire| {
        refused(&mut wire, &format!(r#"[1,"nowhere",{{{ROLES}}}]"#), "wamp.error.no_such_realm");
        refused(&mut wire, &format!(r#"[1,"no where",{{{ROLES}}}]"#), "wamp.error.invalid_uri");
        refused(&mut wire, r#"[1,"realm1",{}]"#, "wamp.error.protocol_violation");
        refused(&mut wire, r#"[1,"realm1",{"roles":{}}]"#, "wamp.error.protocol_violation");
        refused(&mut wire, r#"[1,"realm1",{"roles":{"router":{}}}]"#, "wamp.error.protocol_violation");
        let wampcra = format!(r#"[1,"realm1",{{{ROLES},"authmethods":["wampcra"]}}]"#);
        refused(&mut wire, &wampcra, "wamp.error.no_matching_auth_method");
        let both = format!(r#"[1,"realm1",{{{ROLES},"authmethods":["wampcra","anonymous"]}}]"#);
        let client = wire.connect();
        assert_eq!(wire.ask(client, &both)[0], 2);
        wire.finish();
    });
}

fn violates(wire: &mut Wire, message: &str) {
    let (client, _) = wire.join();
    let abort = wire.ask(client, message);
    assert_eq!((&abort[0], &abort[2]), (&json!(3), &json!("wamp.error.protocol_violation")), "{message}");
    assert!(abort[1]["message"].is_string());
    assert!(wire.ended(client));
    // What comes after is neither read nor answered.
    wire.send(client, r#"[32,1,{},"com.example"]"#);
    assert_eq!(wire.receive_bytes(client), b"");
}

#[test]
fn breaking_the_protocol_ends_the_session_with_abort() {
    everywhere(|mut wire| {
        violates(&mut wire, &format!(r#"[1,"realm1",{{{ROLES}}}]"#));
        violates(&mut wire, r#"[2,1,{}]"#);
        violates(&mut wire, r#"[4,"ticket",{}]"#);
        violates(&mut wire, r#"[5,"secret",{}]"#);
        violates(&mut wire, r#"[36,1,1,{}]"#);
        violates(&mut wire, r#"[50,1,{}]"#);
        violates(&mut wire, r#"[68,1,1,{}]"#);
        violates(&mut wire, r#"[70,1,{}]"#);
        violates(&mut wire, r#"[8,68,1,{},"com.error"]"#);
        violates(&mut wire, r#"[8,48,1,{},"com.error"]"#);
        // Request ids count 1, 2, 3.
        violates(&mut wire, r#"[32,2,{},"com.example"]"#);
        violates(&mut wire, r#"[16,7,{},"com.example"]"#);
        wire.finish();
    });
}

#[test]
fn undecodable_octets_end_the_session_with_abort() {
    everywhere(|mut wire| {
        for octets in [&b"[]"[..], b"{", b"\xff", b"\xc1", b"\x90", b"\x80", b"null", b"[1", b"\x93\x10"] {
            let (client, _) = wire.join();
            wire.send_message_bytes(client, octets);
            // Octets that are no text end a WebSocket below WAMP.
            if let Some(abort) = wire.receive(client).first() {
                assert_eq!(abort[2], "wamp.error.protocol_violation");
            }
            assert!(wire.ended(client));
        }
        wire.finish();
    });
}

#[test]
fn messages_before_hello_are_violations() {
    everywhere(|mut wire| {
        for message in
            [r#"[6,{},"wamp.close.close_realm"]"#, r#"[32,1,{},"a"]"#, r#"[8,68,1,{},"a"]"#, "[70,1,{}]"]
        {
            let client = wire.connect();
            let abort = wire.ask(client, message);
            assert_eq!(abort[2], "wamp.error.protocol_violation");
            assert!(wire.ended(client));
        }
        wire.finish();
    });
}

#[test]
fn request_ids_need_not_count_where_the_listener_says_so() {
    let unchecked =
        |settings: &mut fanwire::router::Settings| settings.listeners[0].request_ids = RequestIds::Any;
    let mut wire = Wire::with(2, KINDS[0], unchecked);
    let (client, _) = wire.join();
    assert_eq!(wire.ask(client, r#"[32,713845233,{},"com.example"]"#)[0], 33);
    assert_eq!(wire.ask(client, r#"[16,5,{"acknowledge":true},"com.example"]"#)[0], 17);
    // Two open calls of one id could not be told apart.
    let (callee, _) = wire.join();
    wire.ask(callee, r#"[64,1,{},"com.slow"]"#);
    wire.send(client, r#"[48,9,{},"com.slow"]"#);
    assert_eq!(wire.ask(client, r#"[48,9,{},"com.slow"]"#)[2], "wamp.error.protocol_violation");
    wire.finish();
}

#[test]
fn request_ids_may_have_gaps_where_the_listener_says_so() {
    let mut wire =
        Wire::with(1, KINDS[0], |settings| settings.listeners[0].request_ids = RequestIds::Increasing);
    let (client, _) = wire.join();
    assert_eq!(wire.ask(client, r#"[32,7,{},"com.example"]"#)[0], 33);
    assert_eq!(wire.ask(client, r#"[16,9,{"acknowledge":true},"com.example"]"#)[0], 17);
    assert_eq!(
        wire.ask(client, r#"[16,9,{"acknowledge":true},"com.example"]"#)[2],
        "wamp.error.protocol_violation"
    );
    wire.finish();
}

#[test]
fn a_library_that_counts_on_when_it_joins_again_may_do_so() {
    everywhere(|mut wire| {
        let client = wire.connect();
        wire.ask(client, &format!(r#"[1,"realm1",{{{ROLES},"agent":"Wampy.js v8.0.2"}}]"#));
        assert_eq!(wire.ask(client, r#"[32,41,{},"com.example"]"#)[0], 33);
        assert_eq!(wire.ask(client, r#"[32,43,{},"com.example"]"#)[2], "wamp.error.protocol_violation");
        wire.finish();
    });
}

#[test]
fn goodbye_is_answered_and_the_transport_takes_another_hello() {
    everywhere(|mut wire| {
        let (client, first) = wire.join();
        let (other, _) = wire.join();
        let topic = wire.ask(client, r#"[32,1,{},"com.example"]"#)[2].clone();
        assert_eq!(
            wire.ask(client, r#"[6,{},"wamp.close.close_realm"]"#),
            json!([6, {}, "wamp.close.goodbye_and_out"])
        );
        assert!(!wire.ended(client));
        wire.send(other, r#"[16,1,{},"com.example"]"#);
        assert!(wire.receive(client).is_empty());
        let second = wire.hello(client, "realm1");
        assert_ne!(first, second);
        // The session is new: its ids begin again, and it has nothing of the old one's.
        assert_eq!(wire.ask(client, &format!("[34,1,{topic}]"))[4], "wamp.error.no_such_subscription");
        wire.send(other, r#"[16,2,{},"com.example"]"#);
        assert!(wire.receive(client).is_empty());
        wire.finish();
    });
}

#[test]
fn a_peer_that_aborts_is_not_answered() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        wire.ask(client, r#"[32,1,{},"com.example"]"#);
        wire.send(client, r#"[3,{},"wamp.close.system_shutdown"]"#);
        assert!(wire.receive(client).is_empty());
        assert!(wire.ended(client));
        assert_eq!(wire.router.realms()[0].session_count(), 0);
        wire.finish();
    });
}

#[test]
fn who_does_not_say_hello_in_time_is_closed() {
    for kind in KINDS {
        let mut wire = Wire::new(1, kind);
        let silent = wire.open(kind, false);
        let connected = wire.connect();
        let (joined, _) = wire.join();
        wire.sleep(Duration::from_millis(5_000));
        assert!(wire.ended(silent) && wire.ended(connected) && !wire.ended(joined));
        wire.finish();
    }
}

#[test]
fn a_silent_peer_is_pinged_and_then_dropped() {
    for kind in KINDS {
        let mut wire = Wire::with(1, kind, |settings| settings.limits.rawsocket_silence_ms_max = 60_000);
        let (client, _) = wire.join();
        let (lively, _) = wire.join();
        wire.sleep(Duration::from_secs(60));
        let ping = wire.receive_bytes(client);
        let is_ping = if matches!(kind, Kind::RawSocket(_)) { ping[0] == 1 } else { ping[0] == 0x89 };
        assert!(is_ping, "{ping:?}");
        wire.receive_bytes(lively);
        wire.send(lively, r#"[16,1,{},"com.example"]"#);
        wire.sleep(Duration::from_secs(60));
        assert!(wire.ended(client) && !wire.ended(lively));
        wire.finish();
    }
}

#[test]
fn a_drained_router_says_goodbye_once_its_calls_are_done() {
    everywhere(|mut wire| {
        let (callee, _) = wire.join();
        let (caller, _) = wire.join();
        let idle = wire.connect();
        wire.ask(callee, r#"[64,1,{},"com.slow"]"#);
        wire.send(caller, r#"[48,1,{},"com.slow"]"#);
        assert_eq!(wire.receive_one(callee)[0], 68);
        for shard in &mut wire.shards {
            shard.drain(wire.now);
        }
        wire.settle();
        refused_while_draining(&mut wire, idle);
        wire.send(callee, "[70,1,{}]");
        let said = wire.receive(caller);
        assert_eq!((&said[0][0], said[0][1].as_u64()), (&json!(50), Some(1)));
        assert_eq!(said[1][2], "wamp.close.system_shutdown");
        wire.send(caller, r#"[6,{},"wamp.close.goodbye_and_out"]"#);
        assert!(wire.ended(caller));
        wire.sleep(Duration::from_secs(10));
        assert!(wire.ended(callee));
        wire.finish();
    });
}

fn refused_while_draining(wire: &mut Wire, idle: crate::wire::Client) {
    if wire.ended(idle) {
        // Its shard had no open call and has closed it already.
        return;
    }
    let abort = wire.ask(idle, &format!(r#"[1,"realm1",{{{ROLES}}}]"#));
    assert_eq!(abort[2], "wamp.close.system_shutdown");
}

#[test]
fn a_call_that_was_accepted_before_the_shutdown_is_answered() {
    let mut wire = Wire::new(2, KINDS[0]);
    let (callee, _) = wire.join();
    let (caller, _) = wire.join();
    wire.ask(callee, r#"[64,1,{},"com.slow"]"#);
    // The call is on its way to the callee's shard when that begins to shut down.
    wire.send_without_letters(caller, r#"[48,1,{},"com.slow"]"#);
    for shard in &mut wire.shards {
        shard.drain(wire.now);
    }
    wire.settle();
    assert_eq!(wire.receive_one(callee)[0], 68);
    wire.send(callee, "[70,1,{}]");
    let said = wire.receive(caller);
    assert_eq!((&said[0], &said[1][0], said.len()), (&json!([50, 1, {}]), &json!(6), 2));
    wire.finish();
}

#[test]
fn what_was_acknowledged_before_the_shutdown_is_delivered() {
    let mut wire = Wire::new(4, KINDS[0]);
    let clients: Vec<_> = (0..4).map(|_| wire.join().0).collect();
    for &subscriber in &clients[1..] {
        wire.ask(subscriber, r#"[32,1,{},"a"]"#);
    }
    wire.send_without_letters(clients[0], r#"[16,1,{"acknowledge":true},"a"]"#);
    // The subscribers' shards begin to shut down before the letters have come.
    for shard in &mut wire.shards {
        shard.drain(wire.now);
    }
    wire.settle();
    for &subscriber in &clients[1..] {
        let said: Vec<_> = wire.receive(subscriber).iter().map(|message| message[0].clone()).collect();
        assert_eq!(said, [36, 6]);
    }
    wire.finish();
}

#[test]
fn a_call_that_outlasts_the_shutdown_is_canceled_before_goodbye() {
    everywhere(|mut wire| {
        let (callee, _) = wire.join();
        let (caller, _) = wire.join();
        wire.ask(callee, r#"[64,1,{},"com.slow"]"#);
        wire.send(caller, r#"[48,1,{},"com.slow"]"#);
        for shard in &mut wire.shards {
            shard.drain(wire.now);
        }
        wire.settle();
        assert!(wire.receive(caller).is_empty());
        wire.sleep(Duration::from_secs(5));
        let said = wire.receive(caller);
        assert_eq!((&said[0][4], &said[1][0], said.len()), (&json!("wamp.error.canceled"), &json!(6), 2));
        wire.finish();
    });
}

#[test]
fn letters_to_a_session_do_not_reach_the_next_one_of_another_realm() {
    let mut wire = Wire::new(2, KINDS[0]);
    let (callee, _) = wire.join();
    let (caller, _) = wire.join();
    wire.ask(callee, r#"[64,1,{},"com.slow"]"#);
    let other = wire.connect();
    wire.connect();
    let stranger = wire.connect();
    wire.hello(stranger, "strict");
    wire.send_without_letters(caller, r#"[48,1,{},"com.slow",["secret"]]"#);
    // The same peer is in another realm when the letter arrives, with a registration of the same number.
    wire.send_without_letters(callee, r#"[6,{},"wamp.close.close_realm"]"#);
    wire.send_without_letters(callee, &format!(r#"[1,"strict",{{{ROLES}}}]"#));
    wire.send_without_letters(callee, r#"[64,1,{},"com.slow"]"#);
    wire.settle();
    let heard: Vec<_> = wire.receive(callee).iter().map(|message| message[0].clone()).collect();
    assert_eq!(heard, [6, 2, 65]);
    assert_eq!(wire.receive_one(caller)[4], "wamp.error.no_such_procedure");
    wire.send(stranger, r#"[48,1,{},"com.slow",["ours"]]"#);
    assert_eq!(wire.receive_one(callee)[4], json!(["ours"]));
    wire.reset(other);
    wire.finish();
}

#[test]
fn a_welcome_that_the_peer_does_not_take_is_no_session() {
    let long = format!("realm.{}", "x".repeat(300));
    let name = long.clone();
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.realms[0].name = name);
    let small = wire.open(KINDS[0], false);
    wire.send_bytes(small, &[0x7f, 0x01, 0, 0]);
    wire.receive_bytes(small);
    wire.send(small, &format!(r#"[1,"{long}",{{{ROLES}}}]"#));
    assert_eq!(wire.receive_one(small)[2], "wamp.error.payload_size_exceeded");
    assert!(wire.ended(small));
    assert_eq!(wire.router.realms()[0].session_count(), 0);
    wire.finish();
}

#[test]
fn what_is_queued_is_written_after_the_peer_has_closed_its_side() {
    let mut wire = Wire::new(1, KINDS[0]);
    let (client, _) = wire.join();
    wire.send(client, r#"[32,1,{},"com.example"]"#);
    wire.end_input(client);
    assert_eq!(wire.receive_one(client)[0], 33);
    assert!(wire.ended(client));
    wire.finish();
}
