//! `fanwire bench`: every scenario for a fraction of a second against the real router, where nothing may be lost or out
//! of order and the figures must fit one another; and against routers that stall, hang up or are not there.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use fanwire::codec::payload::OwnedPayload;
use fanwire::load::Stamp;
use fanwire::wamp::message::{self, Message};
use fanwire::wamp::{Dict, Payload, PublicationId, RegistrationId, RequestId, SubscriptionId};
use rustix::process::Signal;
use serde_json::Value;

use crate::process::{Directory, Router, Running, command, ended, fanwire, with};
use crate::scripted::Peer;

/// Short runs, and reports to read.
const SHORT: [&str; 5] = ["--duration", "0.2", "--warm-up", "0.05", "--json"];

/// The report of a run that goes well.
fn report(arguments: &[&str], options: &[String]) -> Value {
    let arguments = with(&[&["bench"], arguments, &SHORT].concat(), options);
    let (code, stdout, stderr) = fanwire(&arguments);
    assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}: {stdout}");
    serde_json::from_str(&stdout).unwrap()
}

/// The report of a run that goes wrong, its exit code and what was told.
fn failed(arguments: &[&str]) -> (Value, i32, String) {
    let (code, stdout, stderr) = fanwire(arguments);
    (serde_json::from_str(&stdout).unwrap_or(Value::Null), code, stderr)
}

fn whole(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} is a whole number: {report}"))
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("{name} is a number: {report}"))
}

/// What must hold for deliveries of any scenario that has had the time to measure some.
fn check_deliveries(report: &Value, subscribers: u64) {
    check_totals(report, subscribers);
    assert!(number(report, "events_per_s") > 0.0, "{report}");
    check_latency(&report["latency"]);
}

fn check_totals(report: &Value, subscribers: u64) {
    assert_eq!((whole(report, "lost"), whole(report, "out_of_order")), (0, 0), "{report}");
    assert_eq!(whole(report, "sessions_ended"), 0);
    assert_eq!((&report["stalled"], &report["interrupted"]), (&Value::Bool(false), &Value::Bool(false)));
    let publications = whole(report, "publications_total");
    assert!(publications > 0);
    assert_eq!(whole(report, "events_total"), publications * subscribers, "{report}");
    let measured = number(report, "events_per_s") * number(report, "measured_s");
    assert!(measured <= whole(report, "events_total") as f64 + 1.0, "{report}");
}

fn check_latency(latency: &Value) {
    assert!(whole(latency, "count") > 0);
    let names = ["p50_ns", "p90_ns", "p99_ns", "p99_9_ns", "p99_99_ns", "max_ns"];
    let values = names.map(|name| whole(latency, name));
    assert!(values.is_sorted() && values[0] > 0, "{latency}");
}

fn text(value: impl ToString) -> String {
    value.to_string()
}

#[test]
fn fanout_reaches_everybody_over_every_transport_in_every_serializer() {
    let router = Router::start();
    for way in router.ways() {
        let report = report(&["fanout", "--subscribers", "20", "--publishers", "3"], &way);
        check_deliveries(&report, 20);
        assert_eq!((&report["scenario"], &report["serializer"]), (&"fanout".into(), &way[3].clone().into()));
        assert_eq!((whole(&report, "subscribers"), whole(&report, "window")), (20, 32));
    }
}

#[test]
fn fanout_to_subscribers_that_speak_differently() {
    let router = Router::start();
    let url = ["--url".to_owned(), router.websocket()];
    let ways = "tcp+msgpack,ws+json,ws+cbor,tcp+json,tcp+cbor,ws+msgpack,tcp+ubjson,ws+ubjson";
    let arguments = ["fanout", "--subscribers", "25", "--subscribers-as", ways, "--window", "100"];
    check_deliveries(&report(&arguments, &url), 25);
    let large = ["fanout", "--subscribers", "7", "--subscribers-as", ways, "--payload", "300000"];
    check_totals(&report(&large, &url), 7);
}

#[test]
fn the_routers_process_is_measured() {
    let router = Router::start();
    let options = ["--url".to_owned(), router.tcp(), "--pid".to_owned(), text(router.process.id())];
    let fanout = report(&["fanout", "--subscribers", "50"], &options);
    let measured = &fanout["router"];
    assert!(number(measured, "cpu_ns_per_event") > 0.0, "{measured}");
    assert!(number(measured, "cores") >= number(measured, "busiest_thread_cores"), "{measured}");
    assert!(whole(measured, "resident_bytes") > 1 << 20, "{measured}");
    let each = number(measured, "cpu_s") * 1e9 / number(measured, "cpu_ns_per_event");
    let events = number(&fanout, "events_per_s") * number(&fanout, "measured_s");
    assert!((each / events - 1.0).abs() < 0.05, "{fanout}");
}

#[test]
fn a_load_is_compared_with_and_without_tls() {
    let directory = Directory::new();
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| directory.path.join(name).display().to_string();
    std::fs::write(path("a.pem"), issued.cert.pem()).unwrap();
    std::fs::write(path("a.key"), issued.signing_key.serialize_pem()).unwrap();
    let (certificate, key) =
        (format!("--tls-certificate={}", path("a.pem")), format!("--tls-key={}", path("a.key")));
    let router = Router::start_with(&["--listen=127.0.0.1:0?tls=shared", &certificate, &key]);
    let options = ["--url".to_owned(), router.tcp(), "--pid".to_owned(), text(router.process.id())];
    let secure = router.tcp().replace("tcp://", "tcps://");
    let arguments = ["fanout", "--subscribers", "30", "--compare", &secure, "--rounds", "2", "--insecure"];
    let report = report(&arguments, &options);
    assert_eq!((whole(&report, "rounds"), whole(&report, "subscribers")), (2, 30));
    let sides = report["compared"].as_array().unwrap();
    assert_eq!((&sides[0]["url"], &sides[1]["url"]), (&router.tcp().into(), &secure.clone().into()));
    for side in sides {
        assert!(number(side, "cpu_ns_per_event") > 0.0 && number(side, "events_per_s") > 0.0, "{side}");
        assert!(number(side, "cpu_ns_per_event_least") <= number(side, "cpu_ns_per_event_most"), "{side}");
    }
    assert!(number(&sides[1], "resident_bytes_per_connection") > 0.0, "{report}");
    assert!(number(&report, "cpu_ratio") > 0.0, "{report}");
    let (_, code, told) = failed(&["bench", "fanout", "--compare", &secure]);
    assert!(code == 2 && told.contains("--pid"), "{told}");
}

#[test]
fn rpc_answers_every_call() {
    let router = Router::start();
    for way in router.ways() {
        let report = report(&["rpc", "--callers", "5", "--callees", "3", "--open", "4"], &way);
        assert_eq!(whole(&report, "calls_total"), whole(&report, "results_total"), "{report}");
        for nothing in ["errors", "unexpected", "missing", "sessions_ended"] {
            assert_eq!(whole(&report, nothing), 0, "{nothing}");
        }
        check_latency(&report["latency"]);
    }
}

#[test]
fn latency_is_measured_at_the_rate_that_was_asked_for() {
    let router = Router::start();
    let url = ["--url".to_owned(), router.tcp()];
    let at_rate = report(&["latency", "--subscribers", "10", "--rate", "500"], &url);
    check_deliveries(&at_rate, 10);
    assert_eq!((number(&at_rate, "rate_per_s"), &at_rate["rate_max_per_s"]), (500.0, &Value::Null));
    let points: Vec<_> = at_rate["latency"]["points"].as_array().unwrap().iter().collect();
    let pairs: Vec<_> =
        points.iter().map(|point| [&point[0], &point[1]].map(|n| n.as_f64().unwrap())).collect();
    assert!(pairs.len() > 5 && pairs.is_sorted(), "{pairs:?}");
    assert_eq!(pairs.last().unwrap()[0], 1.0);
    assert!(whole(&at_rate["latency"], "p50_ns") >= whole(&at_rate["lag"], "p50_ns"));

    let at_half = report(&["latency", "--subscribers", "10", "--load", "0.25"], &url);
    check_deliveries(&at_half, 10);
    let quarter = number(&at_half, "rate_max_per_s") / 4.0;
    assert!((number(&at_half, "rate_per_s") - quarter).abs() < 1.0, "{at_half}");
}

#[test]
fn topics_are_reached_whatever_their_number() {
    let router = Router::start();
    let options = ["--url".to_owned(), router.tcp(), "--serializer".to_owned(), "msgpack".to_owned()];
    for patterns in ["exact", "prefix", "wildcard"] {
        let steps = ["topics", "--subscriptions", "1,7,300", "--sessions", "4", "--patterns", patterns];
        let report = report(&steps, &options);
        let steps = report["steps"].as_array().unwrap();
        for (step, (subscriptions, sessions)) in steps.iter().zip([(1, 1), (7, 4), (300, 8)]) {
            check_deliveries(step, 1);
            assert_eq!((whole(step, "subscriptions"), whole(step, "sessions")), (subscriptions, sessions));
        }
        assert_eq!(steps.len(), 3);
    }
}

#[test]
fn crowds_join_and_come_back() {
    let router = Router::start();
    let pid = text(router.process.id());
    for url in [router.tcp(), router.websocket(), router.unix()] {
        let options = ["--url".to_owned(), url, "--pid".to_owned(), pid.clone()];
        let report = report(&["conns", "--sessions", "200", "--opening", "20", "--churn"], &options);
        assert!(number(&report, "joined_per_s") > 0.0);
        assert_eq!((whole(&report["join"], "count"), whole(&report, "sessions_ended")), (200, 0));
        let churn = &report["churn"];
        assert_eq!(whole(churn, "left_total"), whole(churn, "joined_total"));
        assert!(whole(churn, "joined_total") > 0 && whole(&report, "resident_bytes_after") > 0);
    }
}

#[test]
fn slow_subscribers_cost_the_others_nothing() {
    let router = Router::start();
    let url = ["--url".to_owned(), router.tcp()];
    let report = report(&["slow", "--subscribers", "10", "--slow", "3"], &url);
    check_deliveries(&report, 10);
    let slow = &report["slow"];
    assert_eq!((whole(slow, "sessions"), whole(slow, "skipped")), (3, 0), "{slow}");
    // Who is not closed gets everything in the end.
    let all = whole(&report, "publications_total");
    assert!(whole(slow, "events") >= (3 - whole(slow, "closed")) * all, "{report}");
    assert!(whole(slow, "events") <= 3 * all, "{report}");
}

#[test]
fn help_tells_the_fields_and_the_exit_codes() {
    for scenario in ["fanout", "rpc", "latency", "topics", "conns", "slow"] {
        let (code, stdout, _) = fanwire(&["bench", scenario, "--help"]);
        assert_eq!(code, 0);
        assert!(stdout.contains("Fields of --json:") && stdout.contains("Exit codes:"), "{stdout}");
        assert!(stdout.contains("  6  a benchmark was reported, but something was lost"), "{stdout}");
    }
}

#[test]
fn people_get_lines() {
    let router = Router::start();
    let url = router.tcp();
    let short = ["--url", &url, "--duration", "0.1", "--warm-up", "0"];
    for scenario in [
        &["fanout", "--subscribers", "5"][..],
        &["rpc"],
        &["latency", "--subscribers", "5", "--rate", "100"],
        &["topics", "--subscriptions", "1,10"],
        &["conns", "--sessions", "10"],
        &["slow", "--subscribers", "5", "--slow", "1"],
    ] {
        let (code, stdout, stderr) = fanwire(&[&["bench"], scenario, &short].concat());
        assert_eq!((code, stderr.as_str()), (0, ""), "{scenario:?}");
        assert!(stdout.contains("/s") && !stdout.contains("NaN"), "{stdout}");
    }
}

#[test]
fn what_cannot_begin_is_told_in_one_line() {
    let router = Router::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, free) = (router.websocket(), format!("tcp://{free}"));
    let silent = format!("tcp://{}", silent.local_addr().unwrap());
    for (arguments, code, told) in [
        (&["fanout", "--url", &free][..], 3, "cannot connect to tcp://127.0.0.1:"),
        (&["rpc", "--url", "unix:///nowhere/at/all"], 3, "cannot connect to unix:"),
        (&["conns", "--url", &url, "--realm", "nowhere"], 4, "wamp.error.no_such_realm"),
        (&["fanout", "--url", &silent, "--timeout", "0.2"], 5, "0 of 1001 sessions are ready"),
        (&["fanout", "--url", "wss://127.0.0.1/", "--ca", "/nowhere"], 3, "cannot be read"),
        (&["fanout", "--url", &url, "--pid", "4294967295"], 2, "there is no process"),
        (&["fanout", "--payload", "3"], 2, "must be from 16"),
        (&["fanout", "--subscribers-as", "udp+json"], 2, "like tcp+msgpack"),
        (&["topics", "--subscriptions", "5,5"], 2, "must be larger"),
        (&["latency", "--load", "1.5"], 2, "below 1"),
        (&["latency", "--load", "0.5", "--rate", "5"], 2, "cannot be used with"),
    ] {
        let (exit, stdout, stderr) = fanwire(&[&["bench"], arguments].concat());
        assert_eq!((exit, stdout.as_str()), (code, ""), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(told), "{arguments:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn too_few_open_files_are_told_before_anything_is_connected() {
    let fanwire = env!("CARGO_BIN_EXE_fanwire");
    let script = format!("ulimit -n 100; exec {fanwire} bench conns --sessions 5000");
    let (code, _, stderr) = ended(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("5016 open files are needed and 100 allowed"), "{stderr}");
}

/// A router for a publisher and a subscriber, or a caller and a callee, which stops when all is prepared and the first
/// publication or call has come: then `stop` is done with the sessions, in the order in which they joined.
fn stopping(stop: impl FnOnce(Vec<Peer<TcpStream>>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut peers: Vec<_> =
            listener.incoming().take(2).map(|stream| Peer::new(stream.unwrap())).collect();
        peers.iter_mut().for_each(Peer::welcome);
        let (name, request) = peers[1].receive().unwrap();
        peers[1].send(&match name {
            "SUBSCRIBE" => {
                let subscription = SubscriptionId(1);
                Message::Subscribed(message::Subscribed { request, subscription })
            }
            _ => Message::Registered(message::Registered { request, registration: RegistrationId(1) }),
        });
        peers[0].receive().unwrap();
        stop(peers);
    });
    url
}

/// Holds the sessions until the benchmark has ended.
fn hold(mut peers: Vec<Peer<TcpStream>>) {
    while peers[0].receive().is_some() {}
}

const ONE_SUBSCRIBER: [&str; 9] =
    ["bench", "fanout", "--subscribers", "1", "--json", "--timeout", "0.3", "--warm-up", "0"];

#[test]
fn a_router_that_stalls_is_told_with_what_is_missing() {
    let url = stopping(hold);
    let (report, code, stderr) = failed(&[&ONE_SUBSCRIBER[..], &["--url", &url, "--window", "5"]].concat());
    assert_eq!(code, 5, "{stderr}");
    assert!(stderr.contains("has stalled: 5 deliveries are missing"), "{stderr}");
    assert_eq!((&report["stalled"], whole(&report, "lost")), (&Value::Bool(true), 5));
    assert_eq!((whole(&report, "publications_total"), whole(&report, "events_total")), (5, 0));

    let url = stopping(hold);
    let calls = ["bench", "rpc", "--callers", "1", "--callees", "1", "--timeout", "0.3", "--json"];
    let (report, code, stderr) = failed(&[&calls[..], &["--url", &url]].concat());
    assert_eq!(code, 5, "{stderr}");
    assert_eq!(whole(&report, "missing"), 8);
}

/// An EVENT of the publication of that number.
fn event(sequence: u64) -> Message<'static> {
    Message::Event(message::Event {
        subscription: SubscriptionId(1),
        publication: PublicationId(1 + sequence),
        details: Dict::EMPTY,
        payload: stamped(sequence),
    })
}

fn stamped(sequence: u64) -> Payload<'static> {
    let stamp = Stamp { sender: 0, sequence }.octets();
    let text = format!("[\"{}\"]", str::from_utf8(&stamp).unwrap());
    Box::leak(Box::new(OwnedPayload::from_json(Some(&text), None).unwrap())).borrow()
}

#[test]
fn what_is_lost_or_late_or_comes_twice_is_told_and_is_6() {
    let lost: &[u64] = &[];
    for (first, wrong, told) in [
        (lost, (1, 0), "1 deliveries were lost"),
        (&[1, 0], (0, 1), "0 deliveries were lost"),
        (&[0, 0], (0, 1), "1 came out of order or twice"),
    ] {
        let url = stopping(move |mut peers| {
            first.iter().for_each(|sequence| peers[1].send(&event(*sequence)));
            for sequence in 1.. {
                if peers[0].receive().is_none() {
                    return;
                }
                if !first.contains(&sequence) {
                    peers[1].send(&event(sequence));
                }
            }
        });
        let short = ["--timeout", "30", "--duration", "0.1", "--url", &url];
        let (report, code, stderr) = failed(&[&ONE_SUBSCRIBER[..5], &["--warm-up", "0"], &short].concat());
        assert_eq!(code, 6, "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
        assert_eq!((whole(&report, "lost"), whole(&report, "out_of_order")), wrong, "{report}");
        assert_eq!(whole(&report, "events_total"), whole(&report, "publications_total") - wrong.0);
    }
}

#[test]
fn results_that_nobody_asked_for_are_told_and_are_6() {
    for json in [true, false] {
        let url = stopping(|mut peers| {
            let mut request = RequestId(1);
            let answer = |request: RequestId| {
                let (details, payload) = (Dict::EMPTY, stamped(request.0 - 1));
                Message::Result(message::Result { request, details, payload })
            };
            peers[0].send(&answer(request));
            loop {
                peers[0].send(&answer(request));
                match peers[0].receive() {
                    Some((_, next)) => request = next,
                    None => return,
                }
            }
        });
        let one = ["bench", "rpc", "--callers", "1", "--callees", "1", "--open", "1", "--duration", "0.1"];
        let options = ["--warm-up", "0", "--url", &url, "--json"];
        let options = &options[..if json { 5 } else { 4 }];
        let (code, stdout, stderr) = fanwire(&[&one[..], options].concat());
        assert_eq!(code, 6, "{stderr}");
        assert!(stderr.contains("1 unasked"), "{stderr}");
        let expected = if json { "\"unexpected\":1" } else { "missing 0, unexpected 1" };
        assert!(stdout.contains(expected), "{stdout}");
    }
}

#[test]
fn a_router_that_is_overloaded_is_told_with_what_was_not_sent() {
    for json in [true, false] {
        let url = stopping(hold);
        let load = ["bench", "latency", "--subscribers", "1", "--rate", "1000000", "--timeout", "0.3"];
        let options = ["--warm-up", "0", "--duration", "0.1", "--url", &url, "--json"];
        let options = &options[..if json { 7 } else { 6 }];
        let (code, stdout, stderr) = fanwire(&[&load[..], options].concat());
        assert_eq!(code, 5, "{stderr}");
        if json {
            let report: Value = serde_json::from_str(&stdout).unwrap();
            let due = whole(&report, "publications_total") + whole(&report, "not_sent");
            assert!(due >= 100_000 && whole(&report, "publications_total") <= 1 << 14, "{report}");
        } else {
            assert!(stdout.contains("overloaded") && stdout.contains("were not sent"), "{stdout}");
        }
    }
}

#[test]
fn a_router_that_hangs_up_is_told() {
    let url = stopping(drop);
    let (report, code, stderr) = failed(&[&ONE_SUBSCRIBER[..], &["--url", &url]].concat());
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("sessions ended during the run"), "{stderr}");
    assert!(whole(&report, "sessions_ended") > 0);
}

#[test]
fn an_interrupted_run_is_still_reported() {
    let (told, tell) = mpsc::channel();
    let url = stopping(move |peers| {
        told.send(()).unwrap();
        hold(peers);
    });
    let long = ["bench", "fanout", "--subscribers", "1", "--json", "--duration", "600", "--warm-up", "0"];
    let mut running = Running::start(command(&[&long[..], &["--timeout", "600", "--url", &url]].concat()));
    tell.recv().unwrap();
    running.signal(Signal::INT);
    let report: Value = serde_json::from_str(&running.line().unwrap()).unwrap();
    assert_eq!((&report["interrupted"], whole(&report, "lost")), (&Value::Bool(true), 32));
    assert_eq!(running.end(), 0);
}
