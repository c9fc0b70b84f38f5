//! `retain`, `get_retained` and `retained` (advanced profile, "Event Retention").

use fanwire::router::Settings;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, everywhere_with};

/// SUBSCRIBE with `get_retained`: the subscription, and the events that come right behind SUBSCRIBED.
fn get_retained(
    wire: &mut Wire,
    client: Client,
    request: u64,
    policy: &str,
    topic: &str,
) -> (Value, Vec<Value>) {
    assert!(wire.receive(client).is_empty(), "nothing is left unread");
    wire.send(client, &format!(r#"[32,{request},{{"match":"{policy}","get_retained":true}},"{topic}"]"#));
    let mut received = wire.receive(client);
    let subscribed = received.remove(0);
    assert_eq!((&subscribed[0], &subscribed[1]), (&json!(33), &json!(request)), "{subscribed}");
    assert!(received.iter().all(|event| event[0] == 36 && event[1] == subscribed[2]), "{received:?}");
    (subscribed[2].clone(), received)
}

fn retained(wire: &Wire) -> usize {
    wire.router.realms()[0].retained.count()
}

#[test]
fn who_subscribes_later_gets_what_is_retained_if_it_asks() {
    everywhere(|mut wire| {
        let (publisher, session, authid) = wire.join_named();
        let options = r#"{"retain":true,"acknowledge":true,"disclose_me":true,"_tag":[7]}"#;
        let published = wire.ask(publisher, &format!(r#"[16,1,{options},"a.b",[21.5],{{"unit":"C"}}]"#));
        wire.send(publisher, r#"[16,2,{},"a.b",["not retained"]]"#);
        let (asks, _) = wire.join();
        let (subscription, events) = get_retained(&mut wire, asks, 1, "exact", "a.b");
        let details = json!({
            "publisher": session, "publisher_authid": authid, "publisher_authrole": "anonymous",
            "retained": true, "_tag": [7]
        });
        assert_eq!(events, [json!([36, subscription, published[2], details, [21.5], {"unit": "C"}])]);
        let (does_not, _) = wire.join();
        assert_eq!(wire.ask(does_not, r#"[32,1,{},"a.b"]"#)[0], 33);
        assert_eq!(wire.ask(does_not, r#"[32,2,{"get_retained":false},"a.b"]"#)[0], 33);
        // Who has the subscription and asks again gets it again; a live event is not marked.
        assert_eq!(get_retained(&mut wire, does_not, 3, "exact", "a.b").1.len(), 1);
        wire.send(publisher, r#"[16,3,{"retain":true},"a.b",[22]]"#);
        assert_eq!(wire.receive_one(asks)[3], json!({}));
        assert_eq!(get_retained(&mut wire, asks, 2, "exact", "a.b").1[0][4], json!([22]));
        assert_eq!(retained(&wire), 1);
        wire.finish();
    });
}

#[test]
fn patterns_get_what_each_topic_retains_by_topic() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        for (request, topic) in (1..).zip(["b.one", "a.two.x", "a.one", "ab", "a.two"]) {
            wire.send(publisher, &format!(r#"[16,{request},{{"retain":true}},"{topic}",["{topic}"]]"#));
        }
        let (subscriber, _) = wire.join();
        let topics = |events: &[Value]| -> Vec<Value> {
            for event in events {
                assert_eq!(event[3], json!({"topic": event[4][0], "retained": true}));
            }
            events.iter().map(|event| event[4][0].clone()).collect()
        };
        let (_, events) = get_retained(&mut wire, subscriber, 1, "prefix", "a");
        assert_eq!(topics(&events), ["a.one", "a.two", "a.two.x", "ab"]);
        let (_, events) = get_retained(&mut wire, subscriber, 2, "wildcard", ".one");
        assert_eq!(topics(&events), ["a.one", "b.one"]);
        let (_, events) = get_retained(&mut wire, subscriber, 3, "wildcard", "a.");
        assert_eq!(topics(&events), ["a.one", "a.two"]);
        assert!(get_retained(&mut wire, subscriber, 4, "prefix", "c").1.is_empty());
        wire.finish();
    });
}

#[test]
fn nobody_gets_what_it_would_not_have_got() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (one, _, one_id) = wire.join_named();
        let (two, two_session, _) = wire.join_named();
        wire.send(publisher, r#"[16,1,{"retain":true},"a",["everybody"]]"#);
        let only_one = format!(r#"{{"retain":true,"eligible_authid":["{one_id}"]}}"#);
        wire.send(publisher, &format!(r#"[16,2,{only_one},"a",["one"]]"#));
        let not_two = format!(r#"{{"retain":true,"exclude":[{two_session}]}}"#);
        wire.send(publisher, &format!(r#"[16,3,{not_two},"b",["not two"]]"#));
        let mut last = |client, request, topic| -> Vec<Value> {
            let (_, events) = get_retained(&mut wire, client, request, "exact", topic);
            events.iter().map(|event| event[4][0].clone()).collect()
        };
        assert_eq!(last(one, 1, "a"), ["one"]);
        assert_eq!(last(two, 1, "a"), ["everybody"], "the last that it would have got");
        assert_eq!((last(one, 2, "b"), last(two, 2, "b")), (vec![json!("not two")], vec![]));
        // The publisher's own, unless it wants it.
        assert!(last(publisher, 4, "b").is_empty());
        wire.send(publisher, r#"[16,5,{"retain":true,"exclude_me":false},"c",["own"]]"#);
        assert_eq!(get_retained(&mut wire, publisher, 6, "exact", "c").1.len(), 1);
        // The next one for everybody is for those few as well.
        wire.send(publisher, r#"[16,7,{"retain":true},"a",["news"]]"#);
        wire.receive(one);
        assert_eq!(get_retained(&mut wire, one, 3, "exact", "a").1[0][4], json!(["news"]));
        wire.finish();
    });
}

#[test]
fn an_event_without_arguments_is_retained_as_any_other() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        for (request, empty) in (1..).zip(["", ",[]", ",[],{}"]) {
            let (subscriber, _) = wire.join();
            wire.send(publisher, &format!(r#"[16,{request},{{"retain":true}},"a"{empty}]"#));
            let (_, events) = get_retained(&mut wire, subscriber, 1, "exact", "a");
            assert_eq!((events.len(), retained(&wire)), (1, 1), "{empty}");
            wire.reset(subscriber);
        }
        wire.finish();
    });
}

#[test]
fn a_topic_forgets_what_it_retains_if_it_is_told_to() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _, authid) = wire.join_named();
        wire.ask(subscriber, r#"[32,1,{},"a"]"#);
        let only = format!(r#""eligible_authid":["{authid}"]"#);
        wire.send(publisher, r#"[16,1,{"retain":true},"a",[1]]"#);
        wire.send(publisher, &format!(r#"[16,2,{{"retain":true,{only}}},"a",[2]]"#));
        wire.receive(subscriber);
        // With lists, only what has the same. It is delivered as any other, and the option stays here.
        wire.send(publisher, &format!(r#"[16,3,{{"_retain_clear":true,"_tag":7,{only}}},"a",[3]]"#));
        let event = wire.receive_one(subscriber);
        assert_eq!((&event[3], &event[4]), (&json!({"_tag": 7}), &json!([3])));
        assert_eq!(get_retained(&mut wire, subscriber, 2, "exact", "a").1[0][4], json!([1]));
        wire.send(publisher, r#"[16,4,{"_retain_clear":true},"a",[4]]"#);
        assert_eq!(wire.receive_one(subscriber)[4], json!([4]));
        assert!(get_retained(&mut wire, subscriber, 3, "exact", "a").1.is_empty());
        assert_eq!(retained(&wire), 0);
        let error = wire.ask(publisher, r#"[16,5,{"_retain_clear":1,"acknowledge":true},"a"]"#);
        assert_eq!(error[4], "wamp.error.invalid_argument");
        wire.finish();
    });
}

#[test]
fn a_publishers_own_event_does_not_hide_from_it_what_was_retained_before() {
    everywhere(|mut wire| {
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        wire.send(one, r#"[16,1,{"retain":true},"a",["one"]]"#);
        wire.send(two, r#"[16,1,{"retain":true},"a",["two"]]"#);
        wire.send(two, r#"[16,2,{"retain":true},"a",["two again"]]"#);
        assert_eq!(get_retained(&mut wire, two, 3, "exact", "a").1[0][4], json!(["one"]));
        assert_eq!(get_retained(&mut wire, one, 2, "exact", "a").1[0][4], json!(["two again"]));
        assert_eq!(retained(&wire), 2);
        wire.finish();
    });
}

#[test]
fn who_would_have_got_a_later_event_does_not_get_an_older_one_as_the_last() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let named: Vec<_> = (0..9).map(|_| wire.join_named()).collect();
        wire.send(publisher, r#"[16,1,{"retain":true},"door",["open"]]"#);
        for (request, (_, _, authid)) in (2..).zip(&named) {
            let options = format!(r#"{{"retain":true,"eligible_authid":["{authid}"]}}"#);
            wire.send(publisher, &format!(r#"[16,{request},{options},"door",["locked for you"]]"#));
        }
        assert!(get_retained(&mut wire, named[0].0, 1, "exact", "door").1.is_empty());
        assert_eq!(
            get_retained(&mut wire, named[1].0, 1, "exact", "door").1[0][4],
            json!(["locked for you"])
        );
        wire.finish();
    });
}

#[test]
fn what_is_too_large_to_be_retained_costs_nobody_elses_events() {
    let small = |settings: &mut Settings| settings.realms[0].retained_bytes_max = 4_096;
    everywhere_with(small, |mut wire| {
        let (publisher, _) = wire.join();
        wire.send(publisher, r#"[16,1,{"retain":true},"sensor.a",[1]]"#);
        wire.send(publisher, r#"[16,2,{"retain":true},"sensor.b",[2]]"#);
        wire.send(publisher, &format!(r#"[16,3,{{"retain":true}},"sensor.b",["{}"]]"#, "x".repeat(5_000)));
        assert_eq!(retained(&wire), 1, "what it replaces is gone");
        let unkept: u64 = wire.shards.iter().map(|shard| shard.counters().publications_unkept).sum();
        assert_eq!(unkept, 1);
        wire.finish();
    });
}

#[test]
fn a_realm_that_retains_nothing_does_not_say_that_it_does() {
    for what in [0, 1, 2] {
        let none = |settings: &mut Settings| match what {
            0 => settings.realms[0].retained_count_max = 0,
            1 => settings.realms[0].retained_bytes_max = 0,
            _ => {}
        };
        let mut wire = Wire::with(1, KINDS[0], none);
        let (client, welcome) = wire.join_with(KINDS[0], r#"{"publisher":{},"subscriber":{}}"#);
        let announced = welcome["roles"]["broker"]["features"]["event_retention"] == true;
        wire.send(client, r#"[16,1,{"retain":true,"exclude_me":false},"a",[1]]"#);
        let kept = get_retained(&mut wire, client, 2, "exact", "a").1.len();
        assert_eq!((announced, kept), (what == 2, usize::from(what == 2)));
        wire.finish();
    }
}

#[test]
fn a_realm_retains_no_more_than_it_may() {
    let few = |settings: &mut Settings| settings.realms[0].retained_count_max = 2;
    everywhere_with(few, |mut wire| {
        let (publisher, _) = wire.join();
        for request in 1..=5 {
            wire.send(publisher, &format!(r#"[16,{request},{{"retain":true}},"t{request}",[1]]"#));
        }
        let (subscriber, _) = wire.join();
        let (_, events) = get_retained(&mut wire, subscriber, 1, "prefix", "t");
        let topics: Vec<&Value> = events.iter().map(|event| &event[3]["topic"]).collect();
        assert_eq!(topics, ["t4", "t5"]);
        let evicted: u64 = wire.shards.iter().map(|shard| shard.counters().retained_evicted).sum();
        assert_eq!(evicted, 3);
        wire.finish();
    });
}

#[test]
fn who_asks_for_more_than_may_wait_for_it_is_no_slow_consumer() {
    let small = |settings: &mut Settings| {
        settings.limits.outbound_bytes_max = 64 << 10;
        settings.limits.outbound_bytes_soft = 16 << 10;
    };
    let mut wire = Wire::with(2, Kind::RawSocket(fanwire::wamp::Serializer::Json), small);
    let (publisher, _) = wire.join();
    for request in 1..=20 {
        let text = "x".repeat(8_000);
        wire.send(publisher, &format!(r#"[16,{request},{{"retain":true}},"t{request}",["{text}"]]"#));
    }
    let (subscriber, _) = wire.join();
    let (_, events) = get_retained(&mut wire, subscriber, 1, "prefix", "t");
    let unsent: u64 = wire.shards.iter().map(|shard| shard.counters().retained_unsent).sum();
    assert!(events.len() > 2, "{}", events.len());
    assert_eq!(events.len() as u64 + unsent, 20);
    assert!(!wire.ended(subscriber));
    wire.finish();
}

#[test]
fn who_subscribes_while_an_event_is_under_way_misses_nothing() {
    let mut wire = Wire::new(2, KINDS[0]);
    // Clients are on the two shards in turn.
    let (publisher, _) = wire.join();
    let (there, _) = wire.join();
    wire.send_without_letters(publisher, r#"[16,1,{"retain":true},"a",[1]]"#);
    assert_eq!(get_retained(&mut wire, there, 1, "exact", "a").1[0][4], json!([1]), "as retained only");
    let _here = wire.join();
    let (late, _) = wire.join();
    // Their shard is interested already: the letter is under way when the subscriber comes.
    wire.send_without_letters(publisher, r#"[16,2,{"retain":true},"a",[2]]"#);
    let (_, events) = get_retained(&mut wire, late, 1, "exact", "a");
    let seen: Vec<_> = events.iter().map(|event| (&event[4][0], event[3]["retained"] == true)).collect();
    assert_eq!(seen, [(&json!(2), true), (&json!(2), false)], "as retained, and then as live");
    assert_eq!(wire.receive_one(there)[4], json!([2]));
    // And who has seen PUBLISHED has seen it stored.
    wire.send_without_letters(publisher, r#"[16,3,{"retain":true,"acknowledge":true},"b",[3]]"#);
    assert_eq!(get_retained(&mut wire, late, 2, "exact", "b").1.len(), 1);
    wire.finish();
}

#[test]
fn retained_events_cross_between_every_pair_of_transports_and_serializers() {
    for from in KINDS {
        for to in KINDS {
            let mut wire = Wire::new(2, from);
            let (publisher, _) = wire.join();
            wire.send(publisher, r#"[16,1,{"retain":true,"_tag":{"a":"\u0000AQ=="}},"a",["\u0000AAEC"]]"#);
            let subscriber = wire.join_as(to);
            let (_, events) = get_retained(&mut wire, subscriber, 1, "exact", "a");
            assert_eq!(events[0][3], json!({"retained": true, "_tag": {"a": "\u{0}AQ=="}}));
            assert_eq!(events[0][4], json!(["\u{0}AAEC"]));
            wire.finish();
        }
    }
}

#[test]
fn get_retained_must_be_true_or_false() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        let error = wire.ask(client, r#"[32,1,{"get_retained":1},"a"]"#);
        assert_eq!(
            (&error[4], &error[5][1]),
            (&json!("wamp.error.invalid_argument"), &json!("get_retained"))
        );
        wire.finish();
    });
}
