//! `sub` and `pub`.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::process::{Router, Running, command, ended, fanwire, with};

#[test]
fn events_arrive_over_every_transport_in_every_serializer() {
    let router = Router::start();
    for from in router.ways() {
        let mut subscribers: Vec<_> = router
            .ways()
            .iter()
            .map(|to| Running::ready(&with(&["sub", "com.example", "--count", "2"], to)))
            .collect();
        let publish = ["pub", "com.example", "1", "-2.5", "text", r#"{"a":[null,true]}"#, "-k", "unit=°C"];
        assert_eq!(fanwire(&with(&publish, &from)), (0, String::new(), String::new()), "{from:?}");
        assert_eq!(fanwire(&with(&["pub", "com.example"], &from)).0, 0);
        for subscriber in &mut subscribers {
            let event = r#"com.example 1 -2.5 "text" {"a":[null,true]} unit="°C""#;
            assert_eq!(subscriber.line().as_deref(), Some(event), "{from:?}");
            assert_eq!(subscriber.line().as_deref(), Some("com.example"));
            assert_eq!(subscriber.line(), None);
            assert_eq!(subscriber.end(), 0);
        }
    }
}

#[test]
fn an_event_as_json_has_stable_keys() {
    let router = Router::start();
    let url = router.tcp();
    let at = ["--url", &url];
    let pattern = ["sub", "com..temperature", "--match", "wildcard", "--count", "1", "--json"];
    let mut subscriber = Running::ready(&[&pattern[..], &at].concat());
    let publish = ["pub", "com.kitchen.temperature", "21", "--ack", "--json", "--kwargs", r#"{"a": 1}"#];
    let (code, published, _) = fanwire(&[&publish[..], &at].concat());
    let published: Value = serde_json::from_str(&published).unwrap();
    assert_eq!(code, 0);
    assert_eq!(published["topic"], "com.kitchen.temperature");
    let line = subscriber.line().unwrap();
    let event: Value = serde_json::from_str(&line).unwrap();
    let keys: Vec<_> = event.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["topic", "args", "kwargs", "publication", "subscription", "details"], "{line}");
    assert_eq!(event["topic"], "com.kitchen.temperature");
    assert_eq!((&event["args"], &event["kwargs"]), (&json!([21]), &json!({"a": 1})));
    assert_eq!(event["publication"], published["publication"]);
    assert_eq!(subscriber.end(), 0);
}

#[test]
fn an_event_without_payload_has_empty_args_and_kwargs_as_json() {
    let router = Router::start();
    let url = router.websocket();
    let mut subscriber = Running::ready(&["sub", "com.a", "--json", "--count", "1", "--url", &url]);
    assert_eq!(fanwire(&["pub", "com.a", "--url", &url]).0, 0);
    let event: Value = serde_json::from_str(&subscriber.line().unwrap()).unwrap();
    assert_eq!((&event["args"], &event["kwargs"]), (&json!([]), &json!({})));
}

#[test]
fn white_space_of_publishers_breaks_no_line() {
    let router = Router::start();
    let url = router.websocket();
    let mut people = Running::ready(&["sub", "com.a", "--count", "1", "--url", &url]);
    let mut programs = Running::ready(&["sub", "com.a", "--count", "1", "--json", "--url", &url]);
    assert_eq!(fanwire(&["pub", "com.a", "{\n \"a b\" : [1,\n 2]\n}", "--url", &url]).0, 0);
    assert_eq!(people.line().as_deref(), Some(r#"com.a {"a b":[1,2]}"#));
    assert!(programs.line().unwrap().contains(r#""args":[{"a b":[1,2]}]"#));
}

#[test]
fn many_events_come_in_order_and_none_is_lost() {
    let router = Router::start();
    let (tcp, websocket) = (router.tcp(), router.websocket());
    let mut subscriber = Running::ready(&["sub", "com.a", "--count", "5000", "--url", &websocket]);
    assert_eq!(fanwire(&["pub", "com.a", "1", "--count", "2500", "--url", &tcp]).0, 0);
    assert_eq!(fanwire(&["pub", "com.a", "2", "--count", "2500", "--url", &tcp]).0, 0);
    for expected in ["com.a 1", "com.a 2"] {
        for _ in 0..2500 {
            assert_eq!(subscriber.line().as_deref(), Some(expected));
        }
    }
    assert_eq!(subscriber.end(), 0);
}

#[test]
fn a_rate_spreads_publications() {
    let router = Router::start();
    let url = router.tcp();
    let started = std::time::Instant::now();
    let publish = ["pub", "com.a", "--count", "3", "--rate", "20", "--ack", "--url", &url];
    let (code, stdout, _) = fanwire(&publish);
    assert_eq!((code, stdout.lines().count()), (0, 3));
    assert!(started.elapsed() >= std::time::Duration::from_millis(100));
}

#[test]
fn the_time_stands_before_the_event_if_asked_for() {
    let router = Router::start();
    let url = router.tcp();
    let mut subscriber = Running::ready(&["sub", "com.a", "--time", "--count", "1", "--url", &url]);
    assert_eq!(fanwire(&["pub", "com.a", "--url", &url]).0, 0);
    let line = subscriber.line().unwrap();
    let (time, event) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), &time[12..], event), (13, "Z", "com.a"), "{line}");
}

#[test]
fn an_interrupt_ends_sub_in_good_order() {
    let router = Router::start();
    for way in router.ways() {
        for signal in [Signal::INT, Signal::TERM] {
            let mut subscriber = Running::ready(&with(&["sub", "com.a"], &way));
            subscriber.signal(signal);
            assert_eq!(subscriber.stderr_line(), None);
            assert_eq!(subscriber.end(), 0);
        }
    }
}

#[test]
fn a_reader_that_has_had_enough_ends_sub_quietly() {
    let router = Router::start();
    let url = router.websocket();
    let mut child = command(&["sub", "com.a", "--quiet", "--url", &url]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let publish = ["pub", "com.a", "--ack", "--url", &url];
    // It is subscribed as soon as the first event arrives.
    let mut publisher =
        command(&[&publish[..], &["--count", "100000", "--rate", "100"]].concat()).spawn().unwrap();
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "com.a\n");
    drop(stdout);
    assert_eq!(ended(child.wait_with_output().unwrap()), (0, String::new(), String::new()));
    publisher.kill().unwrap();
    publisher.wait().unwrap();
}

#[test]
fn the_environment_names_router_realm_and_serializer() {
    let router = Router::start();
    let mut publish = command(&["pub", "com.a", "--ack"]);
    publish.env("FANWIRE_URL", router.unix()).env("FANWIRE_SERIALIZER", "cbor");
    assert_eq!(ended(publish.output().unwrap()).0, 0);
    publish.env("FANWIRE_REALM", "nowhere");
    let (code, _, stderr) = ended(publish.output().unwrap());
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("wamp.error.no_such_realm"), "{stderr}");
}

#[test]
fn whether_a_publication_is_acknowledged_may_be_an_option() {
    let router = Router::start();
    let url = router.websocket();
    let publish = |options: &[&str]| fanwire(&[&["pub", "com.a", "--url", &url][..], options].concat());
    let (code, said, _) = publish(&["-o", "acknowledge=true"]);
    assert_eq!((code, said.trim().parse::<u64>().is_ok()), (0, true), "{said}");
    assert_eq!(publish(&["--ack", "-o", "acknowledge=false"]), (0, String::new(), String::new()));
    let (code, _, complaint) = publish(&["-o", "acknowledge=7"]);
    assert_eq!(code, 2);
    assert!(complaint.contains("`acknowledge` is true or false, not `7`"), "{complaint}");
}

#[test]
fn payload_that_nobody_looks_into_is_published_and_shown_with_its_scheme() {
    let router = Router::start();
    let url = router.websocket();
    let mut subscriber = Running::ready(&["sub", "com.a", "--json", "--count", "1", "--url", &url]);
    let publish = ["pub", "com.a", r#""\u0000/w==""#, "-o", "ppt_scheme=x_own", "--ack", "--url", &url];
    assert_eq!(fanwire(&publish).0, 0);
    let event: Value = serde_json::from_str(&subscriber.line().unwrap()).unwrap();
    assert_eq!((&event["args"], &event["details"]["ppt_scheme"]), (&json!(["\0/w=="]), &json!("x_own")));
}
