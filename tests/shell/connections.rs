//! Connections that come, go, break off, or are too many.

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use fanwire::limits::Limits;
use serde_json::json;
use socket2::SockRef;

use crate::client::{Client, HANDSHAKE, frame, hello_message};
use crate::setup::{Fixture, serve, serve_at, socket_path};

/// What a browser says to open a WebSocket for WAMP.
const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n";

/// One session publishes, one receives: the server serves.
fn assert_serving(address: SocketAddr) {
    let mut subscriber = Client::join(address);
    let mut publisher = Client::join(address);
    subscriber.subscribe(1, "com.example.alive");
    publisher.send(json!([16, 1, {}, "com.example.alive", ["yes"]]));
    assert_eq!(subscriber.event(), "yes");
}

/// The octets of a client up to its first request.
fn opening() -> Vec<u8> {
    let subscribe = json!([32, 1, {}, "com.example.topic"]);
    [&HANDSHAKE[..], &frame(&hello_message()), &frame(&subscribe)].concat()
}

#[test]
fn one_port_speaks_rawsocket_and_http() {
    let Fixture { server, address } = serve(2, Limits::DEFAULT);
    assert_serving(address);
    let mut browser = Client::connect(address);
    browser.stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let page = browser.read_to_end();
    assert!(page.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&page));
    drop(browser);
    Fixture { server, address }.end();
}

#[test]
fn one_port_speaks_websocket_too() {
    let fixture = serve(1, Limits::DEFAULT);
    let mut browser = Client::connect(fixture.address);
    browser.stream.write_all(UPGRADE).unwrap();
    assert_eq!(browser.octets(), *b"HTTP/1.1 101");
    drop(browser);
    fixture.end();
}

#[test]
fn unix_and_tcp_peers_meet() {
    let path = socket_path();
    let fixture = serve_at(&format!("unix:{}", path.display()), 2, Limits::DEFAULT);
    let mut subscriber = Client::join_unix(&path);
    subscriber.subscribe(1, "com.example.topic");
    let mut publisher = Client::join(fixture.address);
    publisher.send(json!([16, 1, {}, "com.example.topic", [1]]));
    assert_eq!(subscriber.event(), 1);
    drop((subscriber, publisher));
    fixture.end();
    assert!(!path.exists(), "the socket's file is removed");
}

#[test]
fn octets_may_come_one_by_one() {
    let fixture = serve(1, Limits::DEFAULT);
    let mut client = Client::connect(fixture.address);
    for octet in opening() {
        client.stream.write_all(&[octet]).unwrap();
    }
    client.octets::<4>();
    assert_eq!(client.receive()[0], 2);
    assert_eq!(client.receive()[0], 33);
    drop(client);
    fixture.end();
}

#[test]
fn a_reset_at_every_octet_leaves_nothing_behind() {
    let fixture = serve(2, Limits::DEFAULT);
    let opening = opening();
    for cut in 0..=opening.len() {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(&opening[..cut]).unwrap();
        // Closing now sends a reset.
        SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
    assert_serving(fixture.address);
    fixture.end();
}

#[test]
fn an_end_at_every_octet_is_answered_with_the_end() {
    let fixture = serve(2, Limits::DEFAULT);
    let opening = opening();
    for cut in 0..=opening.len() {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(&opening[..cut]).unwrap();
        client.stream.shutdown(Shutdown::Write).unwrap();
        let answer = client.read_to_end();
        assert_eq!(answer.is_empty(), cut < HANDSHAKE.len(), "what was asked for is answered first");
    }
    assert_serving(fixture.address);
    fixture.end();
}

#[test]
fn half_open_connections_disturb_nobody_and_are_closed() {
    let limits = Limits { handshake_ms_max: 500, ..Limits::DEFAULT };
    let fixture = serve(2, limits);
    let mut half_open: Vec<Client> = Vec::new();
    for count in 0..500 {
        let mut client = Client::connect(fixture.address);
        client.stream.write_all(&HANDSHAKE[..count % 4]).unwrap();
        half_open.push(client);
    }
    assert_serving(fixture.address);
    for client in &mut half_open {
        assert_eq!(client.read_to_end(), b"", "they are closed without a word");
    }
    fixture.end();
}

#[test]
fn connections_above_the_limit_are_told_so() {
    let limits = Limits { connections_max: 2, ..Limits::DEFAULT };
    let fixture = serve(2, limits);
    let first = Client::join(fixture.address);
    let mut second = Client::join(fixture.address);

    let mut third = Client::connect(fixture.address);
    third.stream.write_all(&HANDSHAKE).unwrap();
    assert_eq!(third.octets(), [0x7f, 0x40, 0, 0], "error 4: maximum connection count reached");
    let mut browser = Client::connect(fixture.address);
    browser.stream.write_all(UPGRADE).unwrap();
    let answer = browser.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));

    second.subscribe(1, "com.example.topic");
    drop((first, third, browser));
    // The end of a connection is noticed in its own time; from then on there is room again.
    while !has_room(fixture.address) {}
    drop(second);
    fixture.end();
}

fn has_room(address: SocketAddr) -> bool {
    let mut client = Client::connect(address);
    client.stream.write_all(&HANDSHAKE).unwrap();
    client.octets::<4>()[1] == 0xb1
}

#[test]
fn far_too_many_connections_are_dropped() {
    let limits = Limits { connections_max: 0, ..Limits::DEFAULT };
    let fixture = serve(1, limits);
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(fixture.address)).collect();
    let last = clients.last_mut().unwrap();
    assert_eq!(last.read_to_end(), b"", "the last ones are not even told");
    drop(clients);
    fixture.end();
}
