//! What happens at the limits: slow consumers, peers that do not read, mailboxes that are too full, messages that are too
//! large, routers that have too many connections.

use std::time::Duration;

use fanwire::error::{CloseReason, Violation};
use fanwire::wamp::Serializer;
use serde_json::json;

use crate::announced;
use crate::wire::{Client, KINDS, Kind, Wire, client_frame, everywhere, everywhere_with, head};

fn closed(wire: &Wire, reason: CloseReason) -> u64 {
    wire.shards.iter().filter_map(|shard| shard.counters().closed.get(&reason).copied()).sum()
}

/// A publisher and a subscriber to `a` that takes nothing.
fn stalled_subscriber(wire: &mut Wire) -> (Client, Client) {
    let (publisher, _) = wire.join();
    let (subscriber, _) = wire.join();
    assert_eq!(wire.ask(subscriber, r#"[32,1,{},"a"]"#)[0], 33);
    wire.stall(subscriber);
    (publisher, subscriber)
}

fn publish_kilobytes(wire: &mut Wire, publisher: Client, requests: std::ops::Range<u64>) {
    let text = "x".repeat(1_024);
    for request in requests {
        wire.send(publisher, &format!(r#"[16,{request},{{}},"a",["{text}"]]"#));
    }
}

#[test]
fn a_slow_consumer_is_closed_and_nobody_else_is_disturbed() {
    for shards in [1, 2] {
        for kind in KINDS {
            let mut wire = Wire::with(shards, kind, |settings| settings.limits.outbound_bytes_max = 100_000);
            let (publisher, slow) = stalled_subscriber(&mut wire);
            let (fast, _) = wire.join();
            wire.ask(fast, r#"[32,1,{},"a"]"#);
            publish_kilobytes(&mut wire, publisher, 1..90);
            assert!(!wire.ended(slow) && wire.waiting(slow) <= 100_000);
            publish_kilobytes(&mut wire, publisher, 90..110);
            assert!(wire.ended(slow) && !wire.ended(fast));
            assert_eq!(wire.receive(fast).len(), 109);
            assert_eq!(closed(&wire, CloseReason::SlowConsumer), 1);
            assert_eq!(wire.router.realms()[0].session_count(), 2);
            wire.finish();
        }
    }
}

#[test]
fn who_takes_nothing_for_too_long_is_a_slow_consumer() {
    everywhere(|mut wire| {
        let (publisher, slow) = stalled_subscriber(&mut wire);
        let (_, slower) = stalled_subscriber(&mut wire);
        publish_kilobytes(&mut wire, publisher, 1..3);
        wire.sleep(Duration::from_millis(20_000));
        wire.take(slow);
        wire.stall(slow);
        publish_kilobytes(&mut wire, publisher, 3..4);
        wire.sleep(Duration::from_millis(10_000));
        assert!(!wire.ended(slow) && wire.ended(slower), "the clock runs from the last progress");
        wire.sleep(Duration::from_millis(30_000));
        assert!(wire.ended(slow));
        assert_eq!(closed(&wire, CloseReason::SlowConsumer), 2);
        wire.finish();
    });
}

#[test]
fn the_clock_of_a_slow_consumer_runs_from_when_its_queue_last_began_to_fill() {
    everywhere(|mut wire| {
        let (publisher, slow) = stalled_subscriber(&mut wire);
        publish_kilobytes(&mut wire, publisher, 1..2);
        wire.sleep(Duration::from_millis(100));
        wire.take(slow);
        wire.stall(slow);
        wire.sleep(Duration::from_millis(29_800));
        publish_kilobytes(&mut wire, publisher, 2..3);
        // 30.2 and 59.8 seconds after the first octets, less than 30 after those that wait now.
        for (milliseconds, ended) in [(300, false), (29_600, false), (200, true)] {
            wire.sleep(Duration::from_millis(milliseconds));
            assert_eq!(wire.ended(slow), ended);
        }
        assert_eq!(closed(&wire, CloseReason::SlowConsumer), 1);
        wire.finish();
    });
}

#[test]
fn a_crowded_shard_closes_those_who_hold_more_than_their_share() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.outbound_shard_bytes_max = 100_000);
    let (publisher, slow) = stalled_subscriber(&mut wire);
    let (fast, _) = wire.join();
    wire.ask(fast, r#"[32,1,{},"a"]"#);
    publish_kilobytes(&mut wire, publisher, 1..200);
    assert!(wire.ended(slow) && !wire.ended(fast));
    assert_eq!(wire.receive(fast).len(), 199);
    wire.finish();
}

#[test]
fn a_peer_that_leaves_its_replies_unread_is_not_read() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.outbound_bytes_soft = 2_000);
    let (client, _) = wire.join();
    wire.stall(client);
    let (shard, key) = wire.place(client);
    let mut requests = Vec::new();
    for request in 1..=200 {
        let message = format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#);
        requests.extend((message.len() as u32).to_be_bytes());
        requests.extend(message.into_bytes());
    }
    wire.send_bytes(client, &requests);
    // It has stopped in the middle of what it was given, and keeps the rest.
    assert!(!wire.shards[shard].wants_input(key));
    assert!((2_000..2_100).contains(&wire.waiting(client)));
    let mut resumed = Vec::new();
    wire.shards[shard].resumed(&mut resumed);
    assert_eq!(resumed, []);
    let mut answered = 0;
    while answered < 200 {
        wire.take(client);
        answered += wire.receive(client).len();
        wire.shards[shard].resumed(&mut resumed);
        if resumed.pop().is_some() {
            wire.stall(client);
            wire.shards[shard].receive(key, &mut [], wire.now);
            wire.settle();
        } else {
            assert_eq!(answered, 200, "who waits is resumed");
        }
    }
    assert!(wire.shards[shard].wants_input(key));
    wire.finish();
}

#[test]
fn a_callee_that_writes_before_it_reads_on_is_read() {
    everywhere(|mut wire| {
        let (caller, _) = wire.join();
        let (callee, _) = wire.join();
        wire.ask(callee, r#"[64,1,{},"com.example.slow"]"#);
        wire.stall(callee);
        let text = "x".repeat(100_000);
        for request in 1..=30 {
            wire.send(caller, &format!(r#"[48,{request},{{}},"com.example.slow",["{text}"]]"#));
        }
        // Far more waits for it than its own requests could have caused, and yet it may answer.
        assert!(wire.waiting(callee) > 2 << 20);
        let (shard, key) = wire.place(callee);
        assert!(wire.shards[shard].wants_input(key));
        wire.send(callee, "[70,1,{},[1]]");
        assert_eq!(wire.receive_one(caller), json!([50, 1, {}, [1]]));
        wire.finish();
    });
}

#[test]
fn what_came_before_the_end_of_input_is_handled() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.outbound_bytes_soft = 2_000);
    let (client, _) = wire.join();
    wire.stall(client);
    let (shard, key) = wire.place(client);
    let message = |request: u32| format!(r#"[16,{request},{{"acknowledge":true}},"a"]"#).into_bytes();
    let requests: Vec<u8> = (1..=200).flat_map(|request| client_frame(KINDS[0], &message(request))).collect();
    wire.send_bytes(client, &requests);
    // Half of what waits is taken: less than the soft bound, and still more than what lets it be read again.
    let half = wire.waiting(client) / 4;
    wire.shards[shard].advance(key, half, wire.now);
    assert!(
        !wire.shards[shard].wants_input(key),
        "the shell must not see the end of input before what is kept"
    );
    wire.reset(client);
    wire.finish();
}

#[test]
fn messages_that_are_begun_and_never_finished_do_not_fill_the_memory() {
    let mut wire = Wire::with(1, KINDS[1], |settings| settings.limits.inbound_shard_bytes_max = 1 << 20);
    let (witness, _) = wire.join();
    let begun: Vec<_> = (0..20).map(|_| wire.join().0).collect();
    for &client in &begun {
        wire.send_bytes(client, &[&[0, 1, 0, 0][..], &[0x91; 60_000]].concat());
    }
    let ended = begun.iter().filter(|client| wire.ended(**client)).count();
    assert!((1..20).contains(&ended), "{ended}");
    assert_eq!(closed(&wire, CloseReason::InboundLimit), ended as u64);
    assert_eq!(wire.ask(witness, r#"[16,1,{"acknowledge":true},"a"]"#)[0], 17);
    wire.finish();
}

#[test]
fn an_event_that_no_queue_could_take_closes_nobody() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.outbound_bytes_max = 5_000);
    let (subscriber, _) = wire.join();
    let publisher = wire.join_as(Kind::RawSocket(Serializer::MessagePack));
    wire.ask(subscriber, r#"[32,1,{},"a"]"#);
    // In JSON each of these characters takes six octets.
    wire.send(publisher, &format!(r#"[16,1,{{}},"a",["{}"]]"#, "\\u0001".repeat(1_000)));
    assert!(wire.receive(subscriber).is_empty() && !wire.ended(subscriber));
    assert_eq!(wire.shards[0].counters().events_too_large, 1);
    wire.finish();
}

#[test]
fn events_too_large_for_very_many_subscriptions_disturb_nobody() {
    // In JSON each of these characters takes six octets. The payload alone is more than the subscriber takes, or
    // fits, and only the whole message does not.
    for characters in [200, 150] {
        let mut wire = Wire::with(1, KINDS[1], |settings| settings.limits.queued_bytes_per_turn = 10_000);
        let small = wire.join_taking(1);
        let topic = "a".repeat(200);
        for (request, prefix) in (1..=200).map(|length| (length, &topic[..length])) {
            let subscribed = wire.ask(small, &format!(r#"[32,{request},{{"match":"prefix"}},"{prefix}"]"#));
            assert_eq!(subscribed[0], 33);
        }
        let (witness, _) = wire.join();
        wire.ask(witness, &format!(r#"[32,1,{{}},"{topic}"]"#));
        let (publisher, _) = wire.join();
        let text = "\\u0001".repeat(characters);
        for request in 1..=20 {
            wire.send_without_letters(publisher, &format!(r#"[16,{request},{{}},"{topic}",["{text}"]]"#));
        }
        // What nobody takes does not fill the turn: all were read though no peer was written meanwhile.
        assert!(!wire.shards[0].sated());
        let counters = wire.shards[0].counters();
        assert_eq!((counters.events_too_large, counters.events_delivered), (20 * 200, 20));
        wire.settle();
        assert_eq!((wire.receive(witness).len(), wire.receive(small).len()), (20, 0));
        wire.send(publisher, &format!(r#"[16,21,{{}},"{topic}",["fits"]]"#));
        assert_eq!((wire.receive(witness).len(), wire.receive(small).len()), (1, 200));
        wire.finish();
    }
}

#[test]
fn an_event_larger_than_a_share_of_a_crowded_shard_closes_only_who_holds_too_much() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.outbound_shard_bytes_max = 30_000);
    let (publisher, slow) = stalled_subscriber(&mut wire);
    let (fast, _) = wire.join();
    wire.ask(fast, r#"[32,1,{},"a"]"#);
    publish_kilobytes(&mut wire, publisher, 1..20);
    assert_eq!(wire.receive(fast).len(), 19);
    let text = "x".repeat(12_000);
    wire.send(publisher, &format!(r#"[16,20,{{}},"a",["{text}"]]"#));
    assert!(wire.ended(slow) && !wire.ended(fast));
    assert_eq!(wire.shards[0].counters().events_too_large, 1);
    wire.send(publisher, &format!(r#"[16,21,{{}},"a",["{text}"]]"#));
    assert_eq!(wire.receive(fast).len(), 1, "the crowd has gone");
    wire.finish();
}

#[test]
fn who_has_stopped_taking_costs_nothing_further() {
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        settings.limits.outbound_bytes_max = 10_000;
        settings.limits.queued_bytes_per_turn = 20_000;
    });
    let (publisher, slow) = stalled_subscriber(&mut wire);
    let (shard, key) = wire.place(publisher);
    let text = "x".repeat(1_000);
    let message = |request: u32| format!(r#"[16,{request},{{}},"a",["{text}"]]"#).into_bytes();
    let mut burst: Vec<u8> =
        (1..=100).flat_map(|request| client_frame(KINDS[0], &message(request))).collect();
    // In one read: the slow consumer is still there when the rest of it is handled.
    wire.shards[shard].receive(key, &mut burst, wire.now);
    assert!(!wire.shards[shard].sated());
    let counters = wire.shards[shard].counters();
    assert_eq!((counters.publications, counters.events_delivered), (100, 9));
    wire.settle();
    assert!(wire.ended(slow) && closed(&wire, CloseReason::SlowConsumer) == 1);
    wire.finish();
}

#[test]
fn who_has_ended_its_side_gets_what_was_queued_and_no_more() {
    everywhere(|mut wire| {
        let (publisher, slow) = stalled_subscriber(&mut wire);
        publish_kilobytes(&mut wire, publisher, 1..3);
        wire.end_input(slow);
        let waiting = wire.waiting(slow);
        publish_kilobytes(&mut wire, publisher, 3..10);
        assert_eq!(wire.waiting(slow), waiting);
        let delivered: u64 = wire.shards.iter().map(|shard| shard.counters().events_delivered).sum();
        assert_eq!(delivered, 2);
        assert!(!wire.ended(slow));
        wire.take(slow);
        assert!(wire.ended(slow));
        assert_eq!(wire.receive(slow).len(), 2);
        wire.finish();
    });
}

/// A callee of `com.example.silent`, which cannot be interrupted unless `told` when a call is given up.
fn silent(wire: &mut Wire, told: bool) -> Client {
    let roles = format!(r#"{{"callee":{{"features":{{"call_canceling":{told}}}}}}}"#);
    let (callee, _) = wire.join_with(KINDS[1], &roles);
    wire.ask(callee, r#"[64,1,{},"com.example.silent"]"#);
    callee
}

/// Gives a call up that the callee has, by CANCEL with a mode, or by leaving.
fn give_up(wire: &mut Wire, caller: Client, mode: &str) {
    match mode {
        "leave" => wire.reset(caller),
        mode => assert_eq!(wire.ask(caller, &format!(r#"[49,1,{{"mode":"{mode}"}}]"#))[0], 8),
    }
}

#[test]
fn calls_that_were_given_up_take_no_room_from_others_if_the_callee_was_told() {
    for mode in ["killnowait", "leave"] {
        let mut wire =
            Wire::with(2, KINDS[1], |settings| settings.limits.invocations_open_per_session_max = 2);
        let callee = silent(&mut wire, true);
        for invocation in 1..=3 {
            let (caller, _) = wire.join();
            wire.send(caller, r#"[48,1,{},"com.example.silent"]"#);
            assert_eq!(wire.receive_one(callee)[0], 68, "{mode}");
            give_up(&mut wire, caller, mode);
            assert_eq!(head(&wire.receive_one(callee), 2), json!([69, invocation]));
        }
        // Answers that come after all are nobody's.
        wire.send(callee, "[70,2,{}]");
        assert!(!wire.ended(callee));
        wire.finish();
    }
}

#[test]
fn calls_that_were_given_up_take_room_until_they_are_answered_if_the_callee_was_not_told() {
    for (mode, told) in
        [("skip", true), ("skip", false), ("kill", false), ("killnowait", false), ("leave", false)]
    {
        let mut wire =
            Wire::with(2, KINDS[1], |settings| settings.limits.invocations_open_per_session_max = 2);
        let callee = silent(&mut wire, told);
        for _ in 0..2 {
            let (caller, _) = wire.join();
            wire.send(caller, r#"[48,1,{},"com.example.silent"]"#);
            assert_eq!(wire.receive_one(callee)[0], 68, "{mode}");
            give_up(&mut wire, caller, mode);
        }
        let (caller, _) = wire.join();
        let error = wire.ask(caller, r#"[48,1,{},"com.example.silent"]"#);
        assert_eq!(head(&error, 5), json!([8, 48, 1, {}, "wamp.error.unavailable"]));
        wire.send(callee, "[70,1,{}]");
        wire.send(caller, r#"[48,2,{},"com.example.silent"]"#);
        assert_eq!(wire.receive_one(callee)[1], 3, "its answer is nobody's, and has made room");
        wire.finish();
    }
}

#[test]
fn a_callee_with_as_many_open_as_may_be_is_passed_over() {
    everywhere_with(
        |settings| settings.limits.invocations_open_per_session_max = 2,
        |mut wire| {
            let caller = announced::join(&mut wire);
            let callees = [announced::join(&mut wire), announced::join(&mut wire)];
            for callee in callees {
                announced::register(&mut wire, callee, r#"{"invoke":"first"}"#, "com.example.shared");
            }
            for request in 1..=4 {
                wire.send(caller, &format!(r#"[48,{request},{{}},"com.example.shared"]"#));
            }
            assert_eq!(callees.map(|callee| wire.receive(callee).len()), [2, 2]);
            let error = wire.ask(caller, r#"[48,5,{},"com.example.shared"]"#);
            assert_eq!(head(&error, 5), json!([8, 48, 5, {}, "wamp.error.unavailable"]));
            wire.finish();
        },
    );
}

/// Calls `mine` with arguments of so many octets.
fn fill(wire: &mut Wire, selfish: Client, sizes: &[(usize, u64)]) {
    let mut request = 1;
    for (size, times) in sizes {
        for _ in 0..*times {
            request += 1;
            wire.send(selfish, &format!(r#"[48,{request},{{}},"mine",["{}"]]"#, "x".repeat(*size)));
            wire.receive(selfish);
        }
    }
}

#[test]
fn one_session_does_not_take_all_the_room_for_calls_that_wait() {
    const SIZES: &[(usize, u64)] = &[(10_000, 10), (1_000, 10), (0, 400)];
    for (calls, bytes) in [(100, 1 << 20), (1_000, 60_000)] {
        let mut wire = Wire::with(2, KINDS[1], |settings| {
            settings.limits.calls_waiting_per_realm_max = calls;
            settings.limits.call_bytes_waiting_per_realm_max = bytes;
        });
        let (selfish, caller, callee) =
            (announced::join(&mut wire), announced::join(&mut wire), announced::join(&mut wire));
        announced::register(&mut wire, selfish, r#"{"concurrency":1}"#, "mine");
        announced::register(&mut wire, callee, r#"{"concurrency":1}"#, "com.example.work");
        fill(&mut wire, selfish, SIZES);
        for request in 1..=10 {
            wire.send(caller, &format!(r#"[48,{request},{{}},"com.example.work"]"#));
        }
        assert_eq!(wire.receive(caller), [] as [serde_json::Value; 0]);
        assert_eq!(wire.receive(callee).len(), 1);
        wire.finish();
    }
}

#[test]
fn one_session_does_not_take_all_the_room_for_what_is_kept() {
    let mut wire = Wire::with(2, KINDS[1], |settings| settings.limits.call_kept_bytes_max = 60_000);
    let (selfish, also) = (announced::join(&mut wire), announced::join(&mut wire));
    let (caller, callee) = (announced::join(&mut wire), announced::join(&mut wire));
    for client in [selfish, also] {
        announced::register(&mut wire, client, r#"{"invoke":"first"}"#, "mine");
    }
    announced::register(&mut wire, callee, "{}", "com.example.work");
    fill(&mut wire, selfish, &[(10_000, 10), (1_000, 30), (0, 100)]);
    for request in 1..=5 {
        wire.send(caller, &format!(r#"[48,{request},{{"progress":true}},"com.example.work"]"#));
    }
    assert_eq!(wire.receive(caller), [] as [serde_json::Value; 0]);
    assert_eq!(wire.receive(callee).len(), 5);
    wire.finish();
}

#[test]
fn nothing_more_is_read_before_peers_were_written_what_one_read_has_begotten() {
    let mut wire = Wire::with(1, KINDS[0], |settings| settings.limits.queued_bytes_per_turn = 10_000);
    let subscribers: Vec<_> = (0..10).map(|_| wire.join().0).collect();
    for &subscriber in &subscribers {
        wire.ask(subscriber, r#"[32,1,{},"a"]"#);
    }
    let (publisher, _) = wire.join();
    let (shard, key) = wire.place(publisher);
    let message = |request: u32| format!(r#"[16,{request},{{}},"a",["{}"]]"#, "x".repeat(100)).into_bytes();
    let mut burst: Vec<u8> =
        (1..=100).flat_map(|request| client_frame(KINDS[0], &message(request))).collect();
    wire.shards[shard].receive(key, &mut burst, wire.now);
    assert!(wire.shards[shard].sated());
    let waiting: usize = subscribers.iter().map(|subscriber| wire.waiting(*subscriber)).sum();
    assert!((10_000..12_000).contains(&waiting), "{waiting}");
    // Each time peers were written, it goes on where it stopped.
    let mut turns = 0;
    loop {
        wire.settle();
        let mut resumed = Vec::new();
        wire.shards[shard].resumed(&mut resumed);
        if resumed.is_empty() {
            break;
        }
        assert_eq!(resumed, [key]);
        wire.shards[shard].receive(key, &mut [], wire.now);
        turns += 1;
    }
    assert!((10..30).contains(&turns), "{turns}");
    for &subscriber in &subscribers {
        assert_eq!(wire.receive(subscriber).len(), 100);
    }
    wire.finish();
}

#[test]
fn nobody_is_read_while_a_mailbox_is_too_full() {
    let mut wire = Wire::new(1, KINDS[0]);
    let (client, _) = wire.join();
    let (shard, key) = wire.place(client);
    wire.shards[shard].congested(true);
    wire.send(client, r#"[32,1,{},"a"]"#);
    assert_eq!(wire.receive(client).len(), 0);
    assert!(!wire.shards[shard].wants_input(key));
    wire.shards[shard].congested(false);
    let mut resumed = Vec::new();
    wire.shards[shard].resumed(&mut resumed);
    assert_eq!(resumed, [key]);
    wire.shards[shard].receive(key, &mut [], wire.now);
    wire.settle();
    assert_eq!(wire.receive_one(client)[0], 33);
    wire.finish();
}

#[test]
fn a_message_that_is_too_large_ends_the_connection_before_its_body_has_come() {
    for kind in KINDS {
        let mut wire = Wire::new(1, kind);
        let (client, _) = wire.join();
        match kind {
            // 2^20 octets are the most; the router has announced that.
            Kind::RawSocket(_) => wire.send_bytes(client, &[0, 0x10, 0, 1]),
            Kind::WebSocket(Serializer::Json) | Kind::Batched(Serializer::Json) => {
                wire.send_bytes(client, &[0x81, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 9, 9, 9, 9]);
            }
            _ => wire.send_bytes(client, &[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1, 9, 9, 9, 9]),
        }
        assert!(wire.ended(client), "{kind:?}");
        assert_eq!(wire.receive_one(client)[2], "wamp.error.protocol_violation");
        wire.reset(client);
        assert_eq!(closed(&wire, CloseReason::Violation(Violation::MessageTooLarge)), 1);
        wire.finish();
    }
}

#[test]
fn a_full_router_says_so_in_the_transports_own_words() {
    let mut wire = Wire::new(1, KINDS[0]);
    let raw = wire.open(KINDS[0], true);
    wire.send_bytes(raw, &[0x7f, 0xf1, 0, 0]);
    assert_eq!(wire.receive_bytes(raw), [0x7f, 0x40, 0, 0]);
    let web = wire.open(KINDS[3], true);
    wire.send_bytes(web, &crate::wire::upgrade(Serializer::Json, ""));
    assert!(wire.receive_bytes(web).starts_with(b"HTTP/1.1 503 "));
    assert!(wire.ended(raw) && wire.ended(web));
    wire.finish();
}

#[test]
fn rawsocket_handshakes_are_refused_with_every_error() {
    let serializers = [true, true, false, false];
    let mut wire = Wire::with(1, KINDS[0], |settings| {
        let transport = std::sync::Arc::make_mut(&mut settings.listeners[0].transport);
        transport.serializers = serializers;
        transport.peer_message_bytes_min = 1_024;
    });
    let refusals = [
        ([0x7f, 0xf0, 0, 0], 1),
        ([0x7f, 0xf3, 0, 0], 1),
        ([0x7f, 0xf4, 0, 0], 1),
        ([0x7f, 0xf9, 0, 0], 1),
        ([0x7f, 0x01, 0, 0], 2),
        ([0x7f, 0xf1, 0, 1], 3),
        ([0x7f, 0xf1, 1, 0], 3),
    ];
    for (handshake, error) in refusals {
        let client = wire.open(KINDS[0], false);
        wire.send_bytes(client, &handshake);
        assert_eq!(wire.receive_bytes(client), [0x7f, error << 4, 0, 0], "{handshake:?}");
        assert!(wire.ended(client));
    }
    // Both lengths are negotiated: ours is announced, theirs is kept to.
    for length in 1..=15u8 {
        let client = wire.open(KINDS[0], false);
        wire.send_bytes(client, &[0x7f, length << 4 | 1, 0, 0]);
        assert_eq!(wire.receive_bytes(client), [0x7f, 0xb1, 0, 0]);
    }
    wire.finish();
}

#[test]
fn a_ping_is_answered_with_the_same_octets() {
    let mut wire = Wire::new(1, KINDS[1]);
    let (raw, _) = wire.join();
    wire.send_bytes(raw, b"\x01\0\0\x05hello");
    assert_eq!(wire.receive_bytes(raw), b"\x02\0\0\x05hello");
    let web = wire.join_as(Kind::WebSocket(Serializer::Json));
    wire.send_bytes(web, b"\x89\x85\0\0\0\0hello");
    assert_eq!(wire.receive_bytes(web), b"\x8a\x05hello");
    wire.finish();
}

#[test]
fn hostile_messages_end_their_own_connection_only() {
    everywhere(|mut wire| {
        let (witness, _) = wire.join();
        let nested: [Vec<u8>; Serializer::COUNT] = [
            [b"[16,1,{},\"a\",".to_vec(), vec![b'['; 100_000]].concat(),
            [b"\x95\x10\x01\x80\xa1a".to_vec(), vec![0x91; 100_000]].concat(),
            [b"\x85\x10\x01\xa0\x61a".to_vec(), vec![0x81; 100_000]].concat(),
            [b"[U\x10U\x01{}SU\x01a".to_vec(), vec![b'['; 100_000]].concat(),
        ];
        let huge: [&[u8]; Serializer::COUNT] = [
            b"[16,1,{},\"a\",[",
            b"\x95\x10\x01\x80\xa1a\xdd\xff\xff\xff\xff",
            b"\x85\x10\x01\xa0\x61a\x9a\xff\xff\xff\xff",
            b"[U\x10U\x01{}SU\x01a[$Z#L\x40\0\0\0\0\0\0\0]",
        ];
        for index in 0..Serializer::COUNT {
            for octets in [&nested[index][..], huge[index]] {
                let (client, _) = wire.join();
                wire.send_message_bytes(client, octets);
                assert!(wire.ended(client));
            }
        }
        assert_eq!(wire.ask(witness, r#"[16,1,{"acknowledge":true},"a"]"#)[0], json!(17));
        wire.finish();
    });
}
