//! `wamp.subscription.get_events` (advanced profile, "Event History").

use std::time::Duration;

use fanwire::router::{HistoryRule, Settings};
use fanwire::wamp::{MatchPolicy, Serializer};
use serde_json::{Value, json};

use crate::wire::{Client, KINDS, Kind, Wire, everywhere, everywhere_with, head};

fn rules(settings: &mut Settings) {
    let log = HistoryRule::new("log.", MatchPolicy::Prefix);
    let few = HistoryRule { events_max: 3, ..HistoryRule::new("few", MatchPolicy::Exact) };
    let brief = HistoryRule { age_ms_max: 10_000, ..HistoryRule::new("brief", MatchPolicy::Exact) };
    settings.realms[0].event_history = vec![log, few, brief];
}

fn subscribe(wire: &mut Wire, client: Client, request: u64, policy: &str, topic: &str) -> u64 {
    let subscribed = wire.ask(client, &format!(r#"[32,{request},{{"match":"{policy}"}},"{topic}"]"#));
    subscribed[2].as_u64().unwrap()
}

/// Publishes with `acknowledge`; the publication.
fn publish(wire: &mut Wire, client: Client, request: u64, topic: &str, rest: &str) -> u64 {
    let published = wire.ask(client, &format!(r#"[16,{request},{{"acknowledge":true}},"{topic}"{rest}]"#));
    assert_eq!(published[0], 17, "{published}");
    published[2].as_u64().unwrap()
}

/// Calls with these keyword arguments; the arguments of RESULT.
fn get_events(wire: &mut Wire, caller: Client, request: u64, subscription: u64, filters: &str) -> Vec<Value> {
    let call = format!(r#"[48,{request},{{}},"wamp.subscription.get_events",[{subscription}],{filters}]"#);
    let result = wire.ask(caller, &call);
    assert_eq!(head(&result, 3), json!([50, request, {}]), "{result}");
    assert_eq!(result[4], json!({"is_limit_reached": false}));
    result[3].as_array().unwrap().clone()
}

fn first_arguments(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["args"][0].clone()).collect()
}

#[test]
fn the_history_of_a_subscription_is_what_it_would_have_got() {
    everywhere_with(rules, |mut wire| {
        let (publisher, session, authid) = wire.join_named();
        wire.sleep(Duration::from_millis(1_500));
        let first = publish(&mut wire, publisher, 1, "log.auth", r#",[1,"\u0000AQ=="],{"k":{"a":[null]}}"#);
        wire.sleep(Duration::from_secs(1));
        let options = r#"{"disclose_me":true,"_tag":7,"acknowledge":true}"#;
        let second = wire.ask(publisher, &format!(r#"[16,2,{options},"log.basket"]"#))[2].as_u64().unwrap();
        publish(&mut wire, publisher, 3, "other", ",[3]");
        let (caller, _) = wire.join();
        let prefix = subscribe(&mut wire, caller, 1, "prefix", "log");
        let exact = subscribe(&mut wire, caller, 2, "exact", "log.auth");
        let other = subscribe(&mut wire, caller, 3, "exact", "other");
        let one = json!({
            "timestamp": "1970-01-01T00:00:01.500Z", "subscription": exact, "publication": first, "details": {},
            "args": [1, "\u{0}AQ=="], "kwargs": {"k": {"a": [null]}}
        });
        assert_eq!(get_events(&mut wire, caller, 4, exact, "{}"), std::slice::from_ref(&one));
        let mut by_pattern = one;
        by_pattern["subscription"] = json!(prefix);
        by_pattern["details"] = json!({"topic": "log.auth"});
        let two = json!({
            "timestamp": "1970-01-01T00:00:02.500Z", "subscription": prefix, "publication": second,
            "details": {
                "topic": "log.basket", "publisher": session, "publisher_authid": authid,
                "publisher_authrole": "anonymous", "_tag": 7
            }
        });
        assert_eq!(get_events(&mut wire, caller, 5, prefix, "{}"), [by_pattern, two]);
        assert!(get_events(&mut wire, caller, 6, other, "{}").is_empty(), "no rule keeps it");
        wire.finish();
    });
}

#[test]
fn every_filter_holds() {
    everywhere_with(rules, |mut wire| {
        let (publisher, _) = wire.join();
        let mut ids = Vec::new();
        for number in 1..=6 {
            wire.sleep(Duration::from_secs(1));
            let topic = if number % 2 == 0 { "log.even" } else { "log.odd" };
            ids.push(publish(&mut wire, publisher, number, topic, &format!(",[{number}]")));
        }
        let (caller, _) = wire.join();
        let log = subscribe(&mut wire, caller, 1, "prefix", "log.");
        let time = |second: u64| format!(r#""1970-01-01T00:00:0{second}Z""#);
        let cases: [(String, &[u64]); 12] = [
            (r#"{"reverse":true}"#.into(), &[6, 5, 4, 3, 2, 1]),
            (r#"{"topic":"log.odd"}"#.into(), &[1, 3, 5]),
            (format!(r#"{{"from_time":{},"before_time":{}}}"#, time(2), time(5)), &[2, 3, 4]),
            (format!(r#"{{"after_time":{},"until_time":{}}}"#, time(2), time(5)), &[3, 4, 5]),
            (r#"{"from_time":"1970-01-01T01:00:05+01:00"}"#.into(), &[5, 6]),
            (format!(r#"{{"from_publication":{},"until_publication":{}}}"#, ids[1], ids[3]), &[2, 3, 4]),
            (format!(r#"{{"after_publication":{},"before_publication":{}}}"#, ids[1], ids[4]), &[3, 4]),
            (format!(r#"{{"before_publication":{},"reverse":true}}"#, ids[2]), &[2, 1]),
            (format!(r#"{{"after_publication":{},"topic":"log.even"}}"#, ids[2]), &[4, 6]),
            (format!(r#"{{"after_publication":{}}}"#, ids[5]), &[]),
            (format!(r#"{{"from_publication":{}.0}}"#, ids[5]), &[6]),
            (r#"{"limit":6,"unknown":[1],"reverse":null}"#.into(), &[1, 2, 3, 4, 5, 6]),
        ];
        for (request, (filters, expected)) in (2..).zip(cases) {
            let events = get_events(&mut wire, caller, request, log, &filters);
            assert_eq!(json!(first_arguments(&events)), json!(expected), "{filters}");
        }
        wire.finish();
    });
}

#[test]
fn pages_follow_one_another() {
    everywhere_with(rules, |mut wire| {
        let (publisher, _) = wire.join();
        for number in 1..=5 {
            publish(&mut wire, publisher, number, "log.a", &format!(",[{number}]"));
        }
        let (caller, _) = wire.join();
        let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
        let (mut after, mut seen) = (String::new(), Vec::new());
        for request in 2.. {
            let filters = format!(r#"{{"limit":2{after}}}"#);
            let call = format!(r#"[48,{request},{{}},"wamp.subscription.get_events",[{log}],{filters}]"#);
            let result = wire.ask(caller, &call);
            let events = result[3].as_array().unwrap();
            seen.extend(first_arguments(events));
            if result[4]["is_limit_reached"] == false {
                break;
            }
            assert_eq!(events.len(), 2);
            after = format!(r#","after_publication":{}"#, events[1]["publication"]);
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
        wire.finish();
    });
}

#[test]
fn restrictions_hold_for_whoever_asks_and_those_by_session_keep_nothing() {
    everywhere_with(rules, |mut wire| {
        let (publisher, session, _) = wire.join_named();
        let (one, _, one_id) = wire.join_named();
        let (two, _) = wire.join();
        let log = subscribe(&mut wire, one, 1, "exact", "log.a");
        let restrictions = [
            format!(r#"{{"eligible":[{session}]}}"#),
            r#"{"exclude":[]}"#.to_owned(),
            format!(r#"{{"eligible_authid":["{one_id}"]}}"#),
            r#"{"exclude_authrole":["anonymous"]}"#.to_owned(),
            r#"{"exclude_authrole":["admin"]}"#.to_owned(),
        ];
        for (request, options) in (1..).zip(restrictions) {
            wire.send(publisher, &format!(r#"[16,{request},{options},"log.a",[{request}]]"#));
        }
        wire.receive(one);
        assert_eq!(first_arguments(&get_events(&mut wire, one, 2, log, "{}")), [3, 5]);
        assert_eq!(first_arguments(&get_events(&mut wire, two, 1, log, "{}")), [5]);
        assert_eq!(first_arguments(&get_events(&mut wire, publisher, 6, log, "{}")), [5], "its own");
        wire.finish();
    });
}

#[test]
fn a_rule_keeps_no_more_than_it_may() {
    everywhere_with(rules, |mut wire| {
        let (publisher, _) = wire.join();
        for number in 1..=5 {
            publish(&mut wire, publisher, number, "few", &format!(",[{number}]"));
        }
        publish(&mut wire, publisher, 6, "brief", ",[6]");
        let (caller, _) = wire.join();
        let few = subscribe(&mut wire, caller, 1, "exact", "few");
        let brief = subscribe(&mut wire, caller, 2, "exact", "brief");
        assert_eq!(first_arguments(&get_events(&mut wire, caller, 3, few, "{}")), [3, 4, 5]);
        wire.sleep(Duration::from_secs(10));
        assert_eq!(first_arguments(&get_events(&mut wire, caller, 4, brief, "{}")), [6]);
        wire.sleep(Duration::from_millis(1));
        assert!(get_events(&mut wire, caller, 5, brief, "{}").is_empty());
        wire.finish();
    });
}

#[test]
fn what_cannot_be_asked_is_refused() {
    everywhere_with(rules, |mut wire| {
        let (caller, _) = wire.join();
        let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
        let cases = [
            ("[999]".to_owned(), "wamp.error.no_such_subscription"),
            (r#"["log.a"]"#.to_owned(), "wamp.error.invalid_argument"),
            ("[]".to_owned(), "wamp.error.invalid_argument"),
            (format!(r#"[{log}],{{"limit":0}}"#), "wamp.error.invalid_argument"),
            (format!(r#"[{log}],{{"from_time":"now"}}"#), "wamp.error.invalid_argument"),
            (format!(r#"[{log}],{{"from_publication":1}}"#), "wamp.error.invalid_argument"),
        ];
        for (request, (arguments, error)) in (2..).zip(cases) {
            let call = format!(r#"[48,{request},{{}},"wamp.subscription.get_events",{arguments}]"#);
            assert_eq!(head(&wire.ask(caller, &call), 5), json!([8, 48, request, {}, error]), "{arguments}");
        }
        wire.finish();
    });
    // A realm without rules has no such procedure, and does not announce it.
    everywhere(|mut wire| {
        let (caller, welcome) = wire.join_with(KINDS[1], r#"{"caller":{}}"#);
        assert_eq!(welcome["roles"]["broker"]["features"]["event_history"], Value::Null);
        let error = wire.ask(caller, r#"[48,1,{},"wamp.subscription.get_events",[1]]"#);
        assert_eq!(error[4], "wamp.error.no_such_procedure");
        wire.finish();
    });
}

#[test]
fn an_answer_is_as_large_as_a_message_may_be() {
    let kind = Kind::RawSocket(Serializer::Json);
    let mut wire = Wire::with(2, kind, rules);
    let (publisher, welcome) = wire.join_with(kind, r#"{"publisher":{}}"#);
    assert_eq!(welcome["roles"]["broker"]["features"]["event_history"], true);
    let text = "x".repeat(100_000);
    for request in 1..=20 {
        publish(&mut wire, publisher, request, "log.a", &format!(r#",["{text}"]"#));
    }
    let (caller, _) = wire.join();
    let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
    let result = wire.ask(caller, &format!(r#"[48,2,{{}},"wamp.subscription.get_events",[{log}]]"#));
    assert_eq!(result[4], json!({"is_limit_reached": true}));
    assert_eq!(result[3].as_array().unwrap().len(), 10);
    // A caller that takes less gets none of them, and is told how many.
    let small = wire.join_taking(2);
    let answer = wire.ask(small, &format!(r#"[48,1,{{}},"wamp.subscription.get_events",[{log}]]"#));
    assert_eq!(answer, json!([50, 1, {}, [], {"is_limit_reached": false, "left_out": 20}]));
    let too_large: u64 = wire.shards.iter().map(|shard| shard.counters().events_too_large).sum();
    assert_eq!(too_large, 20);
    wire.finish();
}

#[test]
fn events_without_a_form_in_the_callers_serializer_are_left_out() {
    let mut wire = Wire::with(1, Kind::RawSocket(Serializer::MessagePack), rules);
    let (publisher, _) = wire.join();
    // {[]: 1}, which JSON cannot write, as argument and as custom attribute.
    wire.send_message_bytes(publisher, b"\x95\x10\x01\x80\xa5log.a\x91\x81\x90\x01");
    wire.send_message_bytes(publisher, b"\x95\x10\x02\x81\xa4_tag\x81\x90\x01\xa5log.a\x91\x01");
    publish(&mut wire, publisher, 3, "log.a", ",[3]");
    let caller = wire.join_as(Kind::WebSocket(Serializer::Json));
    let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
    let answer = wire.ask(caller, &format!(r#"[48,2,{{}},"wamp.subscription.get_events",[{log}]]"#));
    assert_eq!(first_arguments(answer[3].as_array().unwrap()), [3]);
    assert_eq!(answer[4], json!({"is_limit_reached": false, "left_out": 2}));
    assert_eq!(wire.shards[0].counters().events_untranslatable, 2);
    wire.finish();
}

#[test]
fn what_is_too_large_for_a_history_costs_nobody_elses_events() {
    let small = |settings: &mut Settings| {
        let rule = HistoryRule { bytes_max: 4_096, ..HistoryRule::new("log.", MatchPolicy::Prefix) };
        settings.realms[0].event_history = vec![rule];
    };
    everywhere_with(small, |mut wire| {
        let (publisher, _) = wire.join();
        let (caller, _) = wire.join();
        publish(&mut wire, publisher, 1, "log.a", r#",["audit"]"#);
        let large = publish(&mut wire, publisher, 2, "log.b", &format!(r#",["{}"]"#, "x".repeat(5_000)));
        publish(&mut wire, publisher, 3, "log.a", r#",["more"]"#);
        let log = subscribe(&mut wire, caller, 1, "prefix", "log.");
        assert_eq!(first_arguments(&get_events(&mut wire, caller, 2, log, "{}")), ["audit", "more"]);
        let after = format!(r#"{{"after_publication":{large}}}"#);
        assert_eq!(first_arguments(&get_events(&mut wire, caller, 3, log, &after)), ["more"]);
        let unkept: u64 = wire.shards.iter().map(|shard| shard.counters().publications_unkept).sum();
        assert_eq!(unkept, 1);
        wire.finish();
    });
}

#[test]
fn an_event_that_is_too_large_for_the_caller_does_not_hide_those_behind_it() {
    let mut wire = Wire::with(1, Kind::RawSocket(Serializer::Json), rules);
    let (publisher, _) = wire.join();
    let small = wire.join_taking(7);
    let log = subscribe(&mut wire, small, 1, "exact", "log.a");
    wire.send(publisher, r#"[16,1,{},"log.a",[1]]"#);
    wire.send(publisher, &format!(r#"[16,2,{{}},"log.a",["{}"]]"#, "x".repeat(70_000)));
    wire.send(publisher, r#"[16,3,{},"log.a",[3]]"#);
    wire.receive(small);
    let answer =
        wire.ask(small, &format!(r#"[48,2,{{}},"wamp.subscription.get_events",[{log}],{{"limit":1}}]"#));
    let filters = format!(r#"{{"limit":1,"after_publication":{}}}"#, answer[3][0]["publication"]);
    let more = format!(r#"[48,3,{{}},"wamp.subscription.get_events",[{log}],{filters}]"#);
    let answer = wire.ask(small, &more);
    assert_eq!((&answer[3][0]["args"], &answer[4]["left_out"]), (&json!([3]), &json!(1)), "{answer}");
    wire.finish();
}

#[test]
fn a_page_is_as_large_as_its_caller_takes_with_what_stands_around_it() {
    // 2^16 octets are filled to the last ones by some of these.
    for text in 990..1_120 {
        let mut wire = Wire::with(1, Kind::RawSocket(Serializer::Json), rules);
        let (publisher, _) = wire.join();
        for request in 1..=70 {
            wire.send(publisher, &format!(r#"[16,{request},{{}},"log.a",["{}"]]"#, "x".repeat(text)));
        }
        let small = wire.join_taking(7);
        let log = subscribe(&mut wire, small, 1, "exact", "log.a");
        let answer = wire.ask(small, &format!(r#"[48,2,{{}},"wamp.subscription.get_events",[{log}]]"#));
        assert_eq!(answer[4], json!({"is_limit_reached": true}), "{text}");
        let bytes = answer.to_string().len();
        assert!((64_000..=1 << 16).contains(&bytes), "{text}: {bytes}");
        wire.finish();
    }
}

#[test]
fn who_has_seen_an_event_that_is_not_kept_goes_on_from_it() {
    everywhere_with(rules, |mut wire| {
        let (publisher, own) = wire.join();
        let (caller, _) = wire.join();
        let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
        wire.send(publisher, r#"[16,1,{},"log.a",[1]]"#);
        wire.send(publisher, &format!(r#"[16,2,{{"exclude":[{own}]}},"log.a",[2]]"#));
        let last = wire.receive(caller)[1][2].clone();
        wire.send(publisher, r#"[16,3,{},"log.a",[3]]"#);
        wire.receive(caller);
        let after = format!(r#"{{"after_publication":{last}}}"#);
        assert_eq!(first_arguments(&get_events(&mut wire, caller, 2, log, &after)), [3]);
        wire.finish();
    });
}

#[test]
fn who_goes_on_from_what_has_made_room_is_told_that_there_is_a_gap() {
    everywhere_with(rules, |mut wire| {
        let (publisher, _) = wire.join();
        let (caller, _) = wire.join();
        let few = subscribe(&mut wire, caller, 1, "exact", "few");
        let first = publish(&mut wire, publisher, 1, "few", ",[1]");
        wire.receive(caller);
        let call = |request: u64| {
            let after = format!(r#"{{"after_publication":{first}}}"#);
            format!(r#"[48,{request},{{}},"wamp.subscription.get_events",[{few}],{after}]"#)
        };
        assert_eq!(wire.ask(caller, &call(2))[3], json!([]));
        for request in 2..=4 {
            publish(&mut wire, publisher, request, "few", ",[1]");
        }
        wire.receive(caller);
        let error = wire.ask(caller, &call(3));
        assert_eq!(head(&error, 5), json!([8, 48, 3, {}, "wamp.error.invalid_argument"]));
        assert_eq!(error[5][1], "after_publication");
        wire.finish();
    });
}

#[test]
fn timestamps_follow_the_clock_of_the_machine() {
    let mut wire = Wire::with(1, KINDS[0], rules);
    let (publisher, _) = wire.join();
    let (caller, _) = wire.join();
    publish(&mut wire, publisher, 1, "log.a", ",[1]");
    wire.shards[0].clock().follow(wire.now, Duration::from_secs(1_769_904_000));
    publish(&mut wire, publisher, 2, "log.a", ",[2]");
    let log = subscribe(&mut wire, caller, 1, "exact", "log.a");
    let events = get_events(&mut wire, caller, 2, log, "{}");
    let times: Vec<_> = events.iter().map(|event| &event["timestamp"]).collect();
    assert_eq!(times, ["1970-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"]);
    wire.finish();
}
