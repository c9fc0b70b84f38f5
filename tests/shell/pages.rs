//! Pages in browsers: which may connect, over WebSocket and long-poll, and what the log says of the others.

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::client::Client;
use crate::process::Process;

/// The first octets of what the router answers to a request.
fn answer(process: &Process, request: &str) -> String {
    let mut client = Client::connect(process.address());
    client.stream.write_all(request.as_bytes()).unwrap();
    let mut octets = [0; 4096];
    let mut length = 0;
    while !octets[..length].windows(4).any(|end| end == b"\r\n\r\n") {
        let read = client.stream.read(&mut octets[length..]).unwrap();
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&octets[..length]));
        length += read;
    }
    String::from_utf8_lossy(&octets[..length]).into_owned()
}

fn upgrade(origin: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{origin}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
    )
}

fn open(method: &str, origin: &str) -> String {
    let body = r#"{"protocols":["wamp.2.json"]}"#;
    format!("{method} /lp/open HTTP/1.1\r\nHost: a\r\n{origin}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn only_pages_that_are_named_may_connect_and_others_are_told_once() {
    let mut process =
        Process::serve(&["--listen=127.0.0.1:0", "--shards=1", "--origin=https://*.example.com"]);
    for origin in ["", "Origin: https://a.example.com\r\n"] {
        assert!(answer(&process, &upgrade(origin)).starts_with("HTTP/1.1 101 "), "{origin}");
        let opened = answer(&process, &open("POST", origin));
        assert!(opened.starts_with("HTTP/1.1 200 ") && opened.contains("Access-Control-Allow-Origin: "));
        assert!(answer(&process, &open("OPTIONS", origin)).contains("Access-Control-Allow-Methods: POST"));
    }
    for origin in ["Origin: https://evil.org\r\n", "Origin: null\r\n", "Origin: https://evil.org\r\n"] {
        assert!(answer(&process, &upgrade(origin)).starts_with("HTTP/1.1 403 "), "{origin}");
        for method in ["POST", "OPTIONS"] {
            let refused = answer(&process, &open(method, origin));
            assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
            assert!(!refused.contains("Access-Control"), "the page must not read it: {refused}");
        }
    }
    assert!(answer(&process, "GET / HTTP/1.1\r\nHost: a\r\nOrigin: x\r\n\r\n").starts_with("HTTP/1.1 200 "));
    process.signal(Signal::TERM);
    let (code, log) = process.end();
    assert_eq!(code, Some(0), "{log}");
    // One thread serves WebSocket, and another long-poll; each tells it once.
    assert_eq!(log.matches("https://evil.org").count(), 2, "{log}");
    assert!(log.contains("9 requests of pages that may not connect"), "{log}");
}
