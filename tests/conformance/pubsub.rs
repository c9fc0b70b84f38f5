//! SUBSCRIBE, UNSUBSCRIBE, PUBLISH and EVENT (basic profile, "Publish and Subscribe"; advanced profile, "Pattern-based
//! Subscriptions", "Publisher Exclusion").

use fanwire::wamp::Serializer;
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, head};

fn subscribe(wire: &mut Wire, client: Client, request: u64, topic: &str) -> u64 {
    let subscribed = wire.ask(client, &format!(r#"[32,{request},{{}},"{topic}"]"#));
    assert_eq!((&subscribed[0], &subscribed[1]), (&json!(33), &json!(request)), "{subscribed}");
    subscribed[2].as_u64().unwrap()
}

#[test]
fn publish_reaches_every_subscriber_but_the_publisher() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let subscribers: Vec<_> = (0..5).map(|_| wire.join().0).collect();
        let own = subscribe(&mut wire, publisher, 1, "com.example.topic");
        for &subscriber in &subscribers {
            assert_eq!(subscribe(&mut wire, subscriber, 1, "com.example.topic"), own);
        }
        let published =
            wire.ask(publisher, r#"[16,2,{"acknowledge":true},"com.example.topic",[1,"two"],{"three":3}]"#);
        assert_eq!((&published[0], &published[1]), (&json!(17), &json!(2)));
        for &subscriber in &subscribers {
            let event = wire.receive_one(subscriber);
            assert_eq!(event, json!([36, own, published[2], {}, [1, "two"], {"three": 3}]));
        }
        wire.send(publisher, r#"[16,3,{"exclude_me":false},"com.example.topic"]"#);
        let event = wire.receive_one(publisher);
        assert_eq!((&event[1], &event[3], event.as_array().unwrap().len()), (&json!(own), &json!({}), 4));
        wire.finish();
    });
}

#[test]
fn subscribing_again_gives_the_same_subscription_and_one_event() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        let first = subscribe(&mut wire, subscriber, 1, "com.example");
        assert_eq!(subscribe(&mut wire, subscriber, 2, "com.example"), first);
        wire.send(publisher, r#"[16,1,{},"com.example"]"#);
        assert_eq!(wire.receive_one(subscriber)[0], 36);
        assert_eq!(wire.ask(subscriber, &format!("[34,3,{first}]")), json!([35, 3]));
        wire.send(publisher, r#"[16,2,{},"com.example"]"#);
        assert!(wire.receive(subscriber).is_empty());
        wire.finish();
    });
}

#[test]
fn unsubscribe_takes_only_ones_own() {
    everywhere(|mut wire| {
        let (one, _) = wire.join();
        let (two, _) = wire.join();
        let subscription = subscribe(&mut wire, one, 1, "com.example");
        let error = wire.ask(two, &format!("[34,1,{subscription}]"));
        assert_eq!(head(&error, 5), json!([8, 34, 1, {}, "wamp.error.no_such_subscription"]));
        assert_eq!(wire.ask(one, &format!("[34,2,{subscription}]")), json!([35, 2]));
        assert_eq!(wire.ask(one, &format!("[34,3,{subscription}]"))[4], "wamp.error.no_such_subscription");
        wire.finish();
    });
}

#[test]
fn bad_uris_are_refused() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        for (request, uri) in ["", "a..b", "a b", "a#b", ".a", "a."].into_iter().enumerate() {
            let request = 2 * request + 1;
            let error = wire.ask(client, &format!(r#"[32,{request},{{}},"{uri}"]"#));
            assert_eq!(head(&error, 5), json!([8, 32, request, {}, "wamp.error.invalid_uri"]));
            let request = request + 1;
            let error = wire.ask(client, &format!(r#"[16,{request},{{"acknowledge":true}},"{uri}"]"#));
            assert_eq!(head(&error, 5), json!([8, 16, request, {}, "wamp.error.invalid_uri"]));
        }
        // Not acknowledged: not answered, but counted; and the session goes on.
        wire.send(client, r#"[16,13,{},"a..b"]"#);
        assert!(wire.receive(client).is_empty());
        let refused: u64 =
            wire.shards.iter().map(|shard| shard.counters().publications_refused_silently).sum();
        assert_eq!(refused, 1);
        let error = wire.ask(client, r#"[16,14,{"acknowledge":true},"wamp.session.on_join"]"#);
        assert_eq!(error[4], "wamp.error.invalid_uri");
        assert_eq!(wire.ask(client, r#"[32,15,{},"wamp.session.on_join"]"#)[0], 33);
        let long = "x".repeat(513);
        assert_eq!(wire.ask(client, &format!(r#"[32,16,{{}},"{long}"]"#))[4], "wamp.error.invalid_uri");
        assert_eq!(wire.ask(client, r#"[32,17,{},"com.Größe-1"]"#)[0], 33);
        let strict = wire.connect();
        wire.hello(strict, "strict");
        assert_eq!(wire.ask(strict, r#"[32,1,{},"com.Example"]"#)[4], "wamp.error.invalid_uri");
        assert_eq!(wire.ask(strict, r#"[32,2,{},"com.example_1"]"#)[0], 33);
        wire.finish();
    });
}

#[test]
fn options_are_ignored_if_unknown_and_refused_if_of_the_wrong_type() {
    everywhere(|mut wire| {
        let (client, _) = wire.join();
        assert_eq!(wire.ask(client, r#"[32,1,{"whatever":[1,{"a":2}],"x":null},"com.example"]"#)[0], 33);
        assert_eq!(wire.ask(client, r#"[32,2,{"match":null},"com.example"]"#)[0], 33);
        let error = wire.ask(client, r#"[32,3,{"match":"glob"},"com.example"]"#);
        assert_eq!((&error[4], &error[5][1]), (&json!("wamp.error.invalid_argument"), &json!("match")));
        let error = wire.ask(client, r#"[16,4,{"acknowledge":"yes"},"com.example"]"#);
        assert_eq!(error[4], "wamp.error.invalid_argument");
        let error = wire.ask(client, r#"[16,5,{"exclude_me":1,"acknowledge":true},"com.example"]"#);
        assert_eq!(error[4], "wamp.error.invalid_argument");
        assert_eq!(wire.ask(client, r#"[16,6,{"acknowledge":true},"com.example"]"#)[0], 17);
        wire.finish();
    });
}

#[test]
fn numbers_and_undefined_values_as_javascript_libraries_write_them_are_taken() {
    let mut wire = Wire::new(1, Kind::RawSocket(Serializer::MessagePack));
    let (client, _) = wire.join();
    // `match` is an extension of type 0: undefined.
    wire.send_message_bytes(client, b"\x94\x20\x01\x81\xa5match\xd4\0\0\xa1a");
    assert_eq!(wire.receive_one(client)[0], 33);
    // The subscription is a float.
    wire.send_message_bytes(client, b"\x93\x22\x02\xcb\x3f\xf0\0\0\0\0\0\0");
    assert_eq!(wire.receive_one(client), json!([35, 2]));
    let cbor = wire.join_as(Kind::RawSocket(Serializer::Cbor));
    wire.send_message_bytes(cbor, b"\x84\x18\x20\x01\xa1\x65match\xf7\x61a");
    assert_eq!(wire.receive_one(cbor)[0], 33);
    wire.finish();
}

#[test]
fn custom_attributes_reach_the_subscriber_and_no_others_do() {
    for from in KINDS {
        for to in KINDS {
            let mut wire = Wire::new(2, from);
            let subscriber = wire.join_as(to);
            let (publisher, _) = wire.join();
            subscribe(&mut wire, subscriber, 1, "com.example");
            wire.send(
                publisher,
                r#"[16,1,{"_tag":{"a":[1]},"other":1,"_UP":2,"_x":3,"_trace_id":"t"},"com.example"]"#,
            );
            let event = wire.receive_one(subscriber);
            assert_eq!(event[3], json!({"_tag": {"a": [1]}, "_trace_id": "t"}));
            wire.finish();
        }
    }
}

#[test]
fn patterns_match_and_name_the_topic() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let (subscriber, _) = wire.join();
        let exact = subscribe(&mut wire, subscriber, 1, "com.example.one");
        let prefix = wire.ask(subscriber, r#"[32,2,{"match":"prefix"},"com.exam"]"#)[2].clone();
        let wildcard = wire.ask(subscriber, r#"[32,3,{"match":"wildcard"},"com..one"]"#)[2].clone();
        assert_eq!(wire.ask(subscriber, r#"[32,4,{"match":"prefix"},"com.exam"]"#)[2], prefix);
        wire.send(publisher, r#"[16,1,{},"com.example.one",[1]]"#);
        let events = wire.receive(subscriber);
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|event| event[2] == events[0][2]), "one publication, one id: {events:?}");
        let details = |id: &Value| events.iter().find(|event| event[1] == *id).map(|event| event[3].clone());
        assert_eq!(details(&json!(exact)), Some(json!({})));
        assert_eq!(details(&prefix), Some(json!({"topic": "com.example.one"})));
        assert_eq!(details(&wildcard), Some(json!({"topic": "com.example.one"})));
        wire.send(publisher, r#"[16,2,{},"com.other.two",[1]]"#);
        assert!(wire.receive(subscriber).is_empty());
        wire.finish();
    });
}

#[test]
fn realms_do_not_touch() {
    everywhere(|mut wire| {
        let (publisher, _) = wire.join();
        let stranger = wire.connect();
        wire.hello(stranger, "strict");
        subscribe(&mut wire, stranger, 1, "com.example");
        wire.send(publisher, r#"[16,1,{},"com.example"]"#);
        assert!(wire.receive(stranger).is_empty());
        wire.finish();
    });
}

/// Values that the serializers hold in different ways, as JSON.
const FIDELITY: &str = r#"[null,true,false,0,-1,127,128,255,65536,9007199254740993,9223372036854775807,
    18446744073709551615,-9223372036854775808,1.0,-0.5,1e300,"","Grüße \u0001 \ud83d\ude00","\u0000AAEC/w==",[],{},
    [[[1]]],{"a":{"b":[1,2,{"c":null}]}}]"#;

#[test]
fn payload_survives_between_every_pair_of_transports_and_serializers() {
    for from in KINDS {
        for to in KINDS {
            let mut wire = Wire::new(2, from);
            let (publisher, _) = wire.join();
            let subscriber = wire.join_as(to);
            subscribe(&mut wire, subscriber, 1, "com.example");
            wire.send(publisher, &format!(r#"[16,1,{{}},"com.example",{FIDELITY},{{"all":{FIDELITY}}}]"#));
            let event = wire.receive_one(subscriber);
            let expected: Value = serde_json::from_str(FIDELITY).unwrap();
            assert_eq!(event[4], expected, "{from:?} to {to:?}");
            assert_eq!(event[5]["all"], expected, "{from:?} to {to:?}");
            wire.finish();
        }
    }
}

#[test]
fn equal_serializers_pass_the_octets_through() {
    let mut wire = Wire::new(2, Kind::RawSocket(Serializer::MessagePack));
    let (publisher, _) = wire.join();
    let (subscriber, _) = wire.join();
    subscribe(&mut wire, subscriber, 1, "a");
    // Not the shortest forms: 1 as uint64, "x" as str32, and an extension type.
    let payload = b"\x93\xcf\0\0\0\0\0\0\0\x01\xdb\0\0\0\x01x\xd4\x05\x07";
    wire.send_message_bytes(publisher, &[&b"\x95\x10\x01\x80\xa1a"[..], payload].concat());
    assert!(wire.receive_bytes(subscriber).ends_with(payload));
    wire.finish();
}

#[test]
fn an_event_larger_than_the_peer_takes_is_dropped_and_counted() {
    let mut wire = Wire::new(2, Kind::RawSocket(Serializer::Json));
    let (publisher, _) = wire.join();
    let small = wire.join_taking(1);
    subscribe(&mut wire, small, 1, "a");
    wire.send(publisher, &format!(r#"[16,1,{{}},"a",["{}"]]"#, "x".repeat(2_000)));
    wire.send(publisher, r#"[16,2,{},"a",["fits"]]"#);
    assert_eq!(wire.receive_one(small)[4], json!(["fits"]));
    let dropped: u64 = wire.shards.iter().map(|shard| shard.counters().events_too_large).sum();
    assert_eq!(dropped, 1);
    wire.finish();
}

#[test]
fn meta_events_tell_the_life_of_a_subscription_in_order() {
    everywhere(|mut wire| {
        let (watcher, _) = wire.join();
        for (request, event) in
            ["on_create", "on_subscribe", "on_unsubscribe", "on_delete"].iter().enumerate()
        {
            subscribe(&mut wire, watcher, request as u64 + 1, &format!("wamp.subscription.{event}"));
        }
        let (client, session) = wire.join();
        let id = subscribe(&mut wire, client, 1, "com.example");
        let (other, other_session) = wire.join();
        subscribe(&mut wire, other, 1, "com.example");
        wire.ask(other, &format!("[34,2,{id}]"));
        wire.reset(client);
        let told: Vec<Value> = wire.receive(watcher).iter().map(|event| event[4].clone()).collect();
        let time = "1970-01-01T00:00:00.000Z";
        let created = json!([session, {"id": id, "created": time, "uri": "com.example", "match": "exact"}]);
        let expected = [
            created,
            json!([session, id]),
            json!([other_session, id]),
            json!([other_session, id]),
            json!([session, id]),
            json!([session, id]),
        ];
        assert_eq!(told, expected);
        wire.finish();
    });
}
