//! More octets over TLS than sockets take, and handshakes beside traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fanwire::limits::Limits;
use fanwire::server::TlsSettings;
use rustls::ClientConfig;
use serde_json::json;
use socket2::SockRef;

use crate::client::Client;
use crate::tls::{Authority, TlsClient, handshake, join, serve_tls};

const TOPIC: &str = "com.example.topic";

/// A subscriber whose kernel buffer is small, so that the server's socket is soon full.
fn narrow_subscriber(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let mut subscriber = join(address, config);
    SockRef::from(&subscriber.stream.sock).set_recv_buffer_size(128 << 10).unwrap();
    subscriber.subscribe(1, TOPIC);
    subscriber
}

#[test]
fn large_messages_arrive_whole_through_a_narrow_socket() {
    // The last share of a turn is less than what is encrypted at once.
    for write_bytes_per_peer_turn in [Limits::DEFAULT.write_bytes_per_peer_turn, 1_000] {
        let limits = Limits { write_bytes_per_peer_turn, ..Limits::DEFAULT };
        let authority = Authority::new();
        let fixture = serve_tls(authority.settings(), 2, limits);
        let config = Arc::new(authority.trusting());
        let mut subscribers: Vec<TlsClient> =
            (0..3).map(|_| narrow_subscriber(fixture.address, &config)).collect();
        let mut publisher = join(fixture.address, &config);
        let texts: Vec<String> = (0..8).map(|count| format!("{count:x}").repeat(900_000)).collect();
        for (text, request) in texts.iter().zip(1..) {
            publisher.send(json!([16, request, {}, TOPIC, [text]]));
        }
        for subscriber in &mut subscribers {
            for text in &texts {
                assert!(subscriber.event() == json!(text));
            }
        }
        drop((publisher, subscribers));
        fixture.end();
    }
}

#[test]
fn a_slow_reader_is_closed_and_others_get_everything() {
    const EVENTS: u64 = 400;
    let limits = Limits { outbound_bytes_max: 2 << 20, ..Limits::DEFAULT };
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, limits);
    let config = Arc::new(authority.trusting());
    let mut slow = narrow_subscriber(fixture.address, &config);
    let mut other = join(fixture.address, &config);
    other.subscribe(1, TOPIC);
    let mut publisher = join(fixture.address, &config);
    let filler = "x".repeat(64 << 10);
    for count in 1..=EVENTS {
        publisher.send(json!([16, count, {}, TOPIC, [count, filler]]));
        assert_eq!(other.event(), count);
    }
    let mut seen = 0;
    while let Ok(event) = slow.try_receive() {
        seen += 1;
        assert_eq!(event[4][0], seen, "what it got is in order and without a gap");
    }
    assert!(seen < EVENTS, "the slow reader was closed");
    drop((publisher, other));
    fixture.end();
}

/// One that reads nothing at all is noticed by its stall, although its last octets are encrypted already.
#[test]
fn a_peer_that_takes_nothing_is_closed() {
    let limits = Limits { outbound_stall_ms_max: 300, ..Limits::DEFAULT };
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 1, limits);
    let config = Arc::new(authority.trusting());
    let mut slow = narrow_subscriber(fixture.address, &config);
    let mut publisher = join(fixture.address, &config);
    let filler = "x".repeat(1_000_000);
    for count in 1..=8 {
        publisher.send(json!([16, count, {"acknowledge": true}, TOPIC, [count, filler]]));
        assert_eq!(publisher.receive()[0], 17);
    }
    // Only the server can end this: the subscriber does not read, and its session is gone when it was closed.
    let mut request = 9;
    loop {
        publisher.send(json!([48, request, {}, "wamp.session.count"]));
        if publisher.receive()[3][0] == 1 {
            break;
        }
        request += 1;
    }
    let mut seen = 0;
    while slow.try_receive().is_ok() {
        seen += 1;
    }
    assert!(seen < 8);
    drop(publisher);
    fixture.end();
}

/// Reading and writing at their bounds: shares so small that records are cut everywhere.
#[test]
fn small_shares_lose_nothing() {
    let limits = Limits {
        read_bytes_per_peer_turn: 512,
        read_bytes_per_turn: 512,
        write_bytes_per_peer_turn: 512,
        ..Limits::DEFAULT
    };
    let authority = Authority::new();
    let fixture = serve_tls(authority.settings(), 2, limits);
    let config = Arc::new(authority.trusting());
    let mut subscriber = join(fixture.address, &config);
    subscriber.subscribe(1, TOPIC);
    let mut publisher = join(fixture.address, &config);
    let filler = "y".repeat(3_000);
    for request in 1..=200 {
        publisher.send(json!([16, request, {}, TOPIC, [request, filler]]));
    }
    for request in 1..=200 {
        assert_eq!(subscriber.event(), request);
    }
    drop((publisher, subscriber));
    fixture.end();
}

#[test]
fn handshakes_and_renewals_beside_traffic_lose_nothing() {
    const EVENTS: u64 = 2_000;
    let authority = Authority::new();
    let tls = TlsSettings { shared: true, ..authority.settings() };
    let fixture = serve_tls(tls, 2, Limits::DEFAULT);
    let (address, config) = (fixture.address, Arc::new(authority.trusting()));
    let mut subscribers: Vec<TlsClient> = (0..4).map(|_| join(address, &config)).collect();
    subscribers.iter_mut().for_each(|subscriber| subscriber.subscribe(1, TOPIC));
    let mut publisher = Client::join(address);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Newcomers without end, some of which leave in the middle, and a certificate that changes all the time.
        let newcomers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !over.load(Ordering::Relaxed) {
                        // Without tickets, so that each is a whole handshake.
                        let mut config = ClientConfig::clone(&config);
                        config.resumption = rustls::client::Resumption::disabled();
                        drop(handshake(address, &Arc::new(config), "localhost").unwrap());
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                authority.issue("server", "localhost");
                fixture.server.renew_certificates();
            }
        });
        scope.spawn(move || {
            for count in 1..=EVENTS {
                publisher.send(json!([16, count, {}, TOPIC, [count]]));
            }
            publisher.subscribe(EVENTS + 1, "com.example.other");
        });
        let readers: Vec<_> = subscribers
            .iter_mut()
            .map(|subscriber| {
                scope.spawn(move || (1..=EVENTS).for_each(|count| assert_eq!(subscriber.event(), count)))
            })
            .collect();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        over.store(true, Ordering::Relaxed);
        for newcomer in newcomers {
            assert!(newcomer.join().unwrap() > 0);
        }
    });
    drop(subscribers);
    fixture.end();
}
