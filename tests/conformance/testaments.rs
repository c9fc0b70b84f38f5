//! Testaments: what a session wants published when it ends (advanced profile, "Session Testament").

use std::time::Duration;

use fanwire::limits::Limits;
use fanwire::router::{Disclosure, HistoryRule, Settings};
use fanwire::wamp::MatchPolicy;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Wire, everywhere, everywhere_with, head};

fn add(wire: &mut Wire, client: Client, request: u64, arguments: &str) {
    let call = format!(r#"[48,{request},{{}},"wamp.session.add_testament",{arguments}]"#);
    assert_eq!(wire.ask(client, &call), json!([50, request, {}]), "{call}");
}

fn flush(wire: &mut Wire, client: Client, request: u64, arguments: &str) {
    let call = format!(r#"[48,{request},{{}},"wamp.session.flush_testaments"{arguments}]"#);
    assert_eq!(wire.ask(client, &call), json!([50, request, {}]), "{call}");
}

/// A subscriber of everything below `com.`.
fn heir(wire: &mut Wire) -> Client {
    let (heir, _) = wire.join();
    wire.ask(heir, r#"[32,1,{"match":"prefix"},"com."]"#);
    heir
}

/// Topic, arguments and keyword arguments of the events since.
fn events(wire: &mut Wire, heir: Client) -> Vec<Value> {
    let mut messages = wire.receive(heir);
    messages.retain(|message| message[0] == 36);
    messages.iter().map(|event| json!([event[3]["topic"], event[4], event[5]])).collect()
}

#[test]
fn a_testament_is_published_whatever_the_way_the_session_ends() {
    type Way = fn(&mut Wire, Client, Client, u64);
    let ways: [Way; 6] = [
        |wire, client, _, _| wire.reset(client),
        |wire, client, _, _| wire.end_input(client),
        |wire, client, _, _| wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#),
        |wire, client, _, _| wire.send(client, r#"[3,{},"wamp.close.close_realm"]"#),
        |wire, client, _, _| wire.send(client, r#"[2,1,{}]"#),
        |wire, _, killer, session| {
            wire.send(killer, &format!(r#"[48,1,{{}},"wamp.session.kill",[{session}]]"#));
        },
    ];
    everywhere(|mut wire| {
        for (place, way) in ways.iter().enumerate() {
            let (killer, _) = wire.join();
            let (client, session) = wire.join();
            add(&mut wire, client, 1, r#"["com.example.gone",[1,{"x":[]}],{"y":2.5}]"#);
            let heir = heir(&mut wire);
            way(&mut wire, client, killer, session);
            let told = events(&mut wire, heir);
            assert_eq!(told, [json!(["com.example.gone", [1, {"x": []}], {"y": 2.5}])], "way {place}");
        }
        wire.finish();
    });
}

#[test]
fn detached_come_before_destroyed_each_in_the_order_of_adding() {
    everywhere(|mut wire| {
        let heir = heir(&mut wire);
        let (client, _) = wire.join();
        // Its own subscription has ended by then.
        wire.ask(client, r#"[32,1,{"match":"prefix"},"com."]"#);
        add(&mut wire, client, 2, r#"["com.a",[1]]"#);
        add(&mut wire, client, 3, r#"["com.b",[2],{}],{"scope":"detached"}"#);
        add(&mut wire, client, 4, r#"["com.c",[3],null],{"scope":"destroyed"}"#);
        add(&mut wire, client, 5, r#"["com.d",[4]],{"scope":"detached","publish_options":null}"#);
        wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#);
        assert_eq!(wire.receive_one(client)[0], 6);
        let topics: Vec<Value> = events(&mut wire, heir).iter().map(|event| event[0].clone()).collect();
        assert_eq!(topics, ["com.b", "com.d", "com.a", "com.c"]);
        // What was said is said once.
        wire.hello(client, "realm1");
        wire.reset(client);
        assert_eq!(events(&mut wire, heir), Vec::<Value>::new());
        wire.finish();
    });
}

#[test]
fn flushed_testaments_are_not_published() {
    everywhere(|mut wire| {
        let heir = heir(&mut wire);
        for (arguments, left) in [
            ("", json!(["com.detached"])),
            (r#",[],{"scope":"destroyed"}"#, json!(["com.detached"])),
            (r#",[],{"scope":"detached"}"#, json!(["com.destroyed"])),
            (r#",["detached"]"#, json!(["com.destroyed"])),
        ] {
            let (client, _) = wire.join();
            flush(&mut wire, client, 1, "");
            add(&mut wire, client, 2, r#"["com.destroyed"]"#);
            add(&mut wire, client, 3, r#"["com.detached",[],{}],{"scope":"detached"}"#);
            flush(&mut wire, client, 4, arguments);
            wire.reset(client);
            let topics: Vec<Value> = events(&mut wire, heir).iter().map(|event| event[0].clone()).collect();
            assert_eq!(json!(topics), left, "{arguments}");
        }
        wire.finish();
    });
}

#[test]
fn the_options_are_those_of_publish_but_nobody_waits_for_an_acknowledgement() {
    everywhere(|mut wire| {
        let heir = heir(&mut wire);
        let (client, _) = wire.join();
        let options = r#"{"publish_options":{"acknowledge":true,"_trace":[7],"unknown":1}}"#;
        add(&mut wire, client, 1, &format!(r#"["com.a",[]],{options}"#));
        wire.send(client, r#"[6,{},"wamp.close.close_realm"]"#);
        assert_eq!(wire.receive_one(client)[0], 6, "no PUBLISHED");
        let event = wire.receive_one(heir);
        assert_eq!(event[3], json!({"topic": "com.a", "_trace": [7]}));
        wire.finish();
    });
}

fn with_history(settings: &mut Settings) {
    settings.realms[0].event_history = vec![HistoryRule::new("com.", MatchPolicy::Prefix)];
}

#[test]
fn a_testament_is_retained_and_kept_and_tells_of_its_publisher_like_any_publication() {
    everywhere_with(with_history, |mut wire| {
        let heir = heir(&mut wire);
        let (client, session, authid) = wire.join_named();
        let options = r#"{"publish_options":{"retain":true,"disclose_me":true,"_trace":7}}"#;
        add(&mut wire, client, 1, &format!(r#"["com.a",[1],{{"x":2}}],{options}"#));
        wire.reset(client);
        let mut details = json!({
            "topic": "com.a", "publisher": session, "publisher_authid": authid,
            "publisher_authrole": "anonymous", "_trace": 7
        });
        let event = wire.receive_one(heir);
        assert_eq!((&event[3], &event[4], &event[5]), (&details, &json!([1]), &json!({"x": 2})));
        let get_events = format!(r#"[48,2,{{}},"wamp.subscription.get_events",[{}]]"#, event[1]);
        let kept = &wire.ask(heir, &get_events)[3][0];
        assert_eq!((&kept["publication"], &kept["details"]), (&event[2], &details));
        let (late, _) = wire.join();
        wire.send(late, r#"[32,1,{"match":"prefix","get_retained":true},"com."]"#);
        let retained = &wire.receive(late)[1];
        details["retained"] = json!(true);
        assert_eq!((&retained[2], &retained[3]), (&event[2], &details));
        wire.finish();
    });
}

#[test]
fn a_testament_is_only_for_those_who_may_get_it() {
    everywhere_with(with_history, |mut wire| {
        let named: Vec<_> = (0..3).map(|_| wire.join_named()).collect();
        for (client, ..) in &named {
            wire.ask(*client, r#"[32,1,{"match":"prefix"},"com."]"#);
        }
        let [(one, session, _), (two, _, authid), (three, ..)] = &named[..] else { panic!("three clients") };
        for (options, expected) in [
            (format!(r#"{{"eligible":[{session}]}}"#), [1, 0, 0]),
            (format!(r#"{{"exclude":[{session}],"exclude_authid":["{authid}"]}}"#), [0, 0, 1]),
            (r#"{"exclude_authrole":["anonymous"]}"#.to_owned(), [0, 0, 0]),
        ] {
            let (client, _) = wire.join();
            add(&mut wire, client, 1, &format!(r#"["com.a",[1]],{{"publish_options":{options}}}"#));
            wire.reset(client);
            let got = [one, two, three].map(|client| wire.receive(*client).len());
            assert_eq!(got, expected, "{options}");
        }
        wire.finish();
    });
}

#[test]
fn options_that_a_publish_is_refused_for_are_refused_when_the_testament_is_added() {
    let never = |settings: &mut Settings| settings.realms[0].disclosure = Disclosure::Never;
    everywhere_with(never, |mut wire| {
        let heir = heir(&mut wire);
        let (client, _) = wire.join();
        for (request, (options, uri)) in (1..).zip([
            (r#"{"eligible":7}"#, "invalid_argument"),
            (r#"{"exclude_authid":[7]}"#, "invalid_argument"),
            (r#"{"retain":"yes"}"#, "invalid_argument"),
            (r#"{"ppt_keyid":"k"}"#, "invalid_argument"),
            (r#"{"ppt_scheme":"x_mine"}"#, "feature_not_supported"),
            (r#"{"disclose_me":true}"#, "option_disallowed.disclose_me"),
        ]) {
            let call = format!(
                r#"[48,{request},{{}},"wamp.session.add_testament",["com.a"],{{"publish_options":{options}}}]"#
            );
            assert_eq!(wire.ask(client, &call)[4], format!("wamp.error.{uri}"), "{options}");
        }
        wire.reset(client);
        assert_eq!(events(&mut wire, heir), Vec::<Value>::new());
        wire.finish();
    });
}

#[test]
fn a_testament_may_carry_payload_that_nobody_looks_into() {
    everywhere(|mut wire| {
        let heir = heir(&mut wire);
        let roles = r#"{"caller":{},"publisher":{"features":{"payload_passthru_mode":true}}}"#;
        let (client, _) = wire.join_with(KINDS[4], roles);
        let options = r#"{"publish_options":{"ppt_scheme":"x_mine"}}"#;
        add(&mut wire, client, 1, &format!(r#"["com.a",["\u0000/8EAAP//ng=="]],{options}"#));
        wire.reset(client);
        let event = wire.receive_one(heir);
        assert_eq!(event[3], json!({"topic": "com.a", "ppt_scheme": "x_mine"}));
        assert_eq!(event[4], json!(["\u{0}/8EAAP//ng=="]));
        wire.finish();
    });
}

#[test]
fn wrong_testaments_are_refused_and_not_published() {
    everywhere(|mut wire| {
        let heir = heir(&mut wire);
        let (client, _) = wire.join();
        for (at, (arguments, uri)) in [
            ("", "invalid_argument"),
            (r#",[7]"#, "invalid_argument"),
            (r#",["com.a",7]"#, "invalid_argument"),
            (r#",["com.a",[],[]]"#, "invalid_argument"),
            (r#",["com.a"],{"scope":"other"}"#, "invalid_argument"),
            (r#",["com.a"],{"scope":7}"#, "invalid_argument"),
            (r#",["com.a"],{"publish_options":7}"#, "invalid_argument"),
            (r#",["com.a"],{"publish_options":{"exclude_me":7}}"#, "invalid_argument"),
            (r#",["com.a b"]"#, "invalid_uri"),
            (r#",["com..a"]"#, "invalid_uri"),
            (r#",["wamp.session.on_join"]"#, "invalid_uri"),
        ]
        .into_iter()
        .enumerate()
        {
            let request = at + 1;
            let call = format!(r#"[48,{request},{{}},"wamp.session.add_testament"{arguments}]"#);
            let error = wire.ask(client, &call);
            assert_eq!(head(&error, 5), json!([8, 48, request, {}, format!("wamp.error.{uri}")]), "{call}");
        }
        let error = wire.ask(client, r#"[48,12,{},"wamp.session.flush_testaments",["other"]]"#);
        assert_eq!(error[4], "wamp.error.invalid_argument");
        wire.reset(client);
        assert_eq!(events(&mut wire, heir), Vec::<Value>::new());
        wire.finish();
    });
}

#[test]
fn testaments_are_bounded_in_number_and_octets() {
    let mut wire = Wire::with(2, KINDS[0], |settings| {
        settings.limits.testaments_per_session_max = 2;
        settings.limits.testament_bytes_per_session_max = 100;
    });
    let (client, _) = wire.join();
    let long = format!(r#"[48,1,{{}},"wamp.session.add_testament",["com.a",["{}"]]]"#, "x".repeat(100));
    assert_eq!(wire.ask(client, &long)[4], "wamp.error.unavailable");
    add(&mut wire, client, 2, r#"["com.a"]"#);
    add(&mut wire, client, 3, r#"["com.b"],{"scope":"detached"}"#);
    let error = wire.ask(client, r#"[48,4,{},"wamp.session.add_testament",["com.c"]]"#);
    assert_eq!(error[4], "wamp.error.unavailable");
    flush(&mut wire, client, 5, "");
    add(&mut wire, client, 6, r#"["com.c"]"#);
    wire.finish();
}

#[test]
fn a_shutdown_ends_sessions_with_their_testaments() {
    let mut wire = Wire::new(2, KINDS[1]);
    let (client, _) = wire.join();
    add(&mut wire, client, 1, r#"["com.a"]"#);
    let heir = heir(&mut wire);
    let now = wire.now;
    wire.shards[0].drain(now);
    wire.sleep(Duration::from_millis(Limits::DEFAULT.drain_ms_max / 2));
    assert_eq!(events(&mut wire, heir).len(), 1, "the other shard still has its sessions");
    assert!(wire.receive(client).is_empty(), "it may yet publish some");
    wire.sleep(Duration::from_millis(Limits::DEFAULT.drain_ms_max / 8));
    assert_eq!(wire.receive_one(client)[2], "wamp.close.system_shutdown");
    wire.sleep(Duration::from_secs(10));
    wire.finish();
}

/// All shards shut down at once.
#[test]
fn a_shutdown_publishes_testaments_to_those_who_are_there() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        wire.ask(client, r#"[48,1,{},"wamp.session.add_testament",["com.a",[1]]]"#);
        let heirs: Vec<_> = (0..4).map(|_| wire.join().0).collect();
        for heir in &heirs {
            wire.ask(*heir, r#"[32,1,{},"com.a"]"#);
        }
        let now = wire.now;
        for shard in &mut wire.shards {
            shard.drain(now);
        }
        wire.settle();
        for heir in heirs {
            let codes: Vec<Value> = wire.receive(heir).iter().map(|message| message[0].clone()).collect();
            assert_eq!(codes, [36, 6], "the event, and then GOODBYE");
        }
        wire.finish();
    });
}

/// Its testaments are out, but not all of the other shards have published theirs, so that it is heard still.
#[test]
fn testaments_that_a_shutdown_has_published_are_neither_flushed_nor_joined_by_others() {
    let mut wire = Wire::new(2, KINDS[0]);
    let (client, _) = wire.join();
    let heir = heir(&mut wire);
    add(&mut wire, client, 1, r#"["com.a"]"#);
    let now = wire.now;
    wire.shards[0].drain(now);
    wire.settle();
    add(&mut wire, client, 2, r#"["com.b"]"#);
    flush(&mut wire, client, 3, r#",["detached"]"#);
    wire.sleep(Duration::from_millis(Limits::DEFAULT.drain_ms_max / 2));
    assert_eq!(events(&mut wire, heir), [json!(["com.a", [], null]), json!(["com.b", [], null])]);
    for (request, call) in
        [(4, r#""wamp.session.flush_testaments""#), (5, r#""wamp.session.add_testament",["com.c"]"#)]
    {
        let refused = wire.ask(client, &format!("[48,{request},{{}},{call}]"));
        assert_eq!(head(&refused, 5), json!([8, 48, request, {}, "wamp.error.unavailable"]));
    }
    wire.sleep(Duration::from_millis(Limits::DEFAULT.drain_ms_max / 8));
    assert_eq!(wire.receive_one(client)[2], "wamp.close.system_shutdown");
    assert_eq!(events(&mut wire, heir), Vec::<Value>::new());
    wire.sleep(Duration::from_secs(10));
    wire.finish();
}
