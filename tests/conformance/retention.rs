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
fn a_retained_event_without_arguments_clears_its_topic() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        wire.ask(subscriber, r#"[32,1,{},"a"]"#);
        for (request, empty) in [(1, ""), (3, ",[]"), (5, ",[],{}")] {
            wire.send(publisher, &format!(r#"[16,{request},{{"retain":true}},"a",[1]]"#));
            assert_eq!(retained(&wire), 1);
            wire.send(publisher, &format!(r#"[16,{},{{"retain":true}},"a"{empty}]"#, request + 1));
            assert_eq!(
                (retained(&wire), wire.receive(subscriber).len()),
                (0, 2),
                "it is delivered as any other"
            );
        }
        assert!(get_retained(&mut wire, subscriber, 2, "exact", "a").1.is_empty());
        wire.finish();
    });
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
