//! Exit codes and what stands on standard error.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use rustix::process::Signal;

use crate::process::{Router, Running, fanwire};

/// The code and standard error of a command that prints nothing else.
fn failure(arguments: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = fanwire(arguments);
    assert_eq!(stdout, "", "{arguments:?}");
    (code, stderr)
}

/// Answers the first connection with these bytes and closes it; the URL's authority.
fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(answer);
    });
    address
}

#[test]
fn a_wrong_command_line_is_2() {
    for arguments in [
        &["sub"][..],
        &["pub"],
        &["call"],
        &["register", "com.a"],
        &["register", "com.a", "--echo", "--exec", "true"],
        &["sub", "com.a", "--match", "fuzzy"],
        &["sub", "com.a", "--count", "0"],
        &["sub", "com.a", "--url", "http://localhost"],
        &["sub", "com.a", "--timeout", "0"],
        &["pub", "com.a", "--serializer", "xml"],
        &["pub", "com.a", "--kwargs", "[1]"],
        &["pub", "com.a", "-k", "novalue"],
    ] {
        let (code, stderr) = failure(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: "), "{stderr}");
    }
}

#[test]
fn help_lists_the_exit_codes() {
    for command in ["sub", "pub", "call", "register", "bench"] {
        let (code, stdout, _) = fanwire(&[command, "--help"]);
        assert_eq!(code, 0);
        assert!(stdout.contains("5  no answer came in time"), "{stdout}");
    }
}

#[test]
fn a_refused_request_is_1() {
    let router = Router::start();
    let url = router.tcp();
    let _callee = Running::ready(&["register", "com.taken", "--echo", "--url", &url]);
    for (arguments, error) in [
        (&["register", "com.taken", "--echo"][..], "wamp.error.procedure_already_exists"),
        (&["call", "com.free"], "wamp.error.no_such_procedure"),
        (&["sub", "com..a"], "wamp.error.invalid_uri"),
        (&["pub", "com..a", "--ack"], "wamp.error.invalid_uri"),
    ] {
        let (code, stderr) = failure(&[arguments, &["--url", &url]].concat());
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.starts_with(&format!("error: {error}")), "{stderr}");
    }
}

#[test]
fn no_connection_is_3() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\ngo away");
    let full = answering(&[0x7F, 0x40, 0, 0]);
    let other = answering(b"SSH-2.0-OpenSSH\r\n");
    for (url, told) in [
        (format!("tcp://{free}"), "cannot connect"),
        (format!("ws://{free}/ws"), "cannot connect"),
        ("unix:///nowhere/at/all".to_owned(), "cannot connect"),
        (format!("ws://{http}/ws"), "HTTP status 403: go away"),
        (format!("tcp://{full}"), "too many connections"),
        (format!("ws://{other}/"), "does not speak HTTP"),
    ] {
        let (code, stderr) = failure(&["sub", "com.a", "--url", &url]);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(told), "{url}: {stderr}");
    }
}

#[test]
fn a_refused_session_is_4() {
    let router = Router::start();
    let url = router.websocket();
    let (code, stderr) = failure(&["sub", "com.a", "--realm", "nowhere", "--url", &url]);
    assert_eq!(code, 4);
    assert!(stderr.contains("wamp.error.no_such_realm"), "{stderr}");
}

#[test]
fn no_answer_in_time_is_5() {
    let router = Router::start();
    let url = router.tcp();
    let _callee = Running::ready(&["register", "com.slow", "--exec", "sleep 600", "--url", &url]);
    assert_eq!(failure(&["call", "com.slow", "--timeout", "0.2", "--url", &url]).0, 5);
    // Connected, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for scheme in ["ws", "wss", "tcp"] {
        let url = format!("{scheme}://{}/", silent.local_addr().unwrap());
        assert_eq!(failure(&["sub", "com.a", "--timeout", "0.2", "--url", &url]).0, 5, "{scheme}");
    }
}

#[test]
fn a_router_that_shuts_down_is_told_and_3() {
    let mut router = Router::start();
    let mut subscribers: Vec<_> = [router.websocket(), router.tcp(), router.unix()]
        .iter()
        .map(|url| Running::ready(&["sub", "com.a", "--url", url]))
        .collect();
    router.process.signal(Signal::TERM);
    for subscriber in &mut subscribers {
        let told = subscriber.stderr_line().unwrap();
        assert!(told.contains("wamp.close.system_shutdown"), "{told}");
        assert_eq!(subscriber.end(), 3);
    }
    assert_eq!(router.process.end(), 0);
}

#[test]
fn a_router_that_dies_is_told_and_3() {
    let router = Router::start();
    let mut subscribers: Vec<_> = [router.websocket(), router.tcp()]
        .iter()
        .map(|url| Running::ready(&["sub", "com.a", "--url", url]))
        .collect();
    router.process.signal(Signal::KILL);
    for subscriber in &mut subscribers {
        let told = subscriber.stderr_line().unwrap();
        assert!(told.contains("closed the connection") || told.contains("connection broke"), "{told}");
        assert_eq!(subscriber.end(), 3);
    }
}
