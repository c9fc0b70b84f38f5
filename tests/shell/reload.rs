//! Settings that change while a server serves: nothing is lost under load, listeners come and go, and what cannot be had
//! changes nothing.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use fanwire::config::Config;
use fanwire::limits::Limits;
use fanwire::router::Losses;
use fanwire::server::{self, Address, ChangeError, Changes, StartError};
use serde_json::json;

use crate::client::{Client, HANDSHAKE};
use crate::setup::{Fixture, serve, serve_config};

/// The configuration of a server with these realms, listening at these addresses.
fn config(listens: &[&str], realms: &[&str]) -> server::Config {
    let listens = listens.iter().map(|listen| listen.parse().unwrap()).collect();
    let realms = realms.iter().map(|realm| (*realm).to_owned()).collect();
    Config { listens, realms, shards: 2, ..Config::default() }.server().unwrap()
}

fn opened(changes: &Changes) -> SocketAddr {
    match changes.opened[..] {
        [(_, Address::Tcp(address))] => address,
        ref opened => panic!("one address was expected: {opened:?}"),
    }
}

fn assert_refused(address: SocketAddr) {
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Publishes numbers and calls until it is told to stop; how many of each were answered.
fn load(address: SocketAddr, topic: &str, procedure: &str, stop: &AtomicBool) -> u64 {
    let mut client = Client::join(address);
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) || count < 50 {
        let request = 2 * count + 1;
        client.send(json!([16, request, {"acknowledge": true}, topic, [count]]));
        client.send(json!([48, request + 1, {}, procedure, [count]]));
        let mut answers = [client.receive(), client.receive()];
        answers.sort_by_key(|answer| answer[0].as_u64());
        assert_eq!((&answers[0][0], &answers[1][0]), (&json!(17), &json!(50)), "{answers:?}");
        assert_eq!(answers[1][3], json!([count]));
        count += 1;
    }
    count
}

#[test]
fn a_change_under_load_loses_nothing() {
    const PUBLISHERS: usize = 3;
    let fixture = serve(2, Limits::DEFAULT);
    let Fixture { mut server, address } = fixture;
    let mut subscriber = Client::join(address);
    let mut callee = Client::join(address);
    for publisher in 0..PUBLISHERS {
        subscriber.subscribe(publisher as u64 + 1, &format!("com.topic.{publisher}"));
    }
    callee.send(json!([64, 1, {}, "com.echo"]));
    assert_eq!(callee.receive()[0], 65);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let stop = &stop;
                scope.spawn(move || load(address, &format!("com.topic.{publisher}"), "com.echo", stop))
            })
            .collect();
        let echo = scope.spawn(|| {
            loop {
                let message = callee.receive();
                match message[0].as_u64() {
                    Some(68) => callee.send(json!([70, message[1], {}, message[4]])),
                    Some(6) => return,
                    _ => panic!("{message}"),
                }
            }
        });
        let reader = scope.spawn(|| {
            let mut next = [0; PUBLISHERS];
            loop {
                let message = subscriber.receive();
                match message[0].as_u64() {
                    // Subscriptions were made in the order of the publishers.
                    Some(36) => {
                        let publisher = message[1].as_u64().unwrap() as usize - 1;
                        assert_eq!(message[4][0], json!(next[publisher]), "in order, and none left out");
                        next[publisher] += 1;
                    }
                    Some(6) => return next,
                    _ => panic!("{message}"),
                }
            }
        });
        for round in 0..40 {
            let other = format!("com.other.{round}");
            let realms =
                if round % 2 == 0 { vec!["realm1", "extra", &*other] } else { vec!["realm1", &*other] };
            let mut changed = config(&["127.0.0.1:0", "127.0.0.1:0"], &realms);
            changed.settings.realms[0].call_timeout_ms = 60_000 + round;
            changed.settings.realms[0].retained_count_max = round as usize;
            let changes = server.change(changed).unwrap();
            assert!(changes.realms.opened.contains(&other));
        }
        stop.store(true, Ordering::Relaxed);
        let sent: Vec<u64> = publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
        server.drain();
        echo.join().unwrap();
        assert_eq!(reader.join().unwrap().to_vec(), sent);
    });
    drop((subscriber, callee));
    server.join();
}

#[test]
fn listeners_come_and_go_and_sessions_stay() {
    let Fixture { mut server, address } = serve_config(Config {
        listens: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 2,
        ..Config::default()
    });
    let mut early = Client::join(address);
    early.subscribe(1, "com.topic");
    let changes = server.change(config(&["127.0.0.1:0", "127.0.0.1:0"], &["realm1"])).unwrap();
    assert!(changes.closed.is_empty());
    let second = opened(&changes);
    assert_eq!(server.addresses().count(), 2);
    let mut late = Client::join(second);
    // The first that asks for any port has the place of the first.
    let changes = server.change(config(&["127.0.0.1:0"], &["realm1"])).unwrap();
    assert_eq!((changes.opened.len(), changes.closed.len()), (0, 1));
    assert_refused(second);
    late.send(json!([16, 1, {}, "com.topic", ["still there"]]));
    assert_eq!(early.event(), "still there");
    drop(Client::join(address));
    let again = opened(&server.change(config(&["127.0.0.1:0", "127.0.0.1:0"], &["realm1"])).unwrap());
    drop(Client::join(again));
    drop((early, late));
    server.drain();
    server.join();
}

#[test]
fn what_cannot_be_had_changes_nothing() {
    let Fixture { mut server, address } = serve_config(Config {
        listens: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 2,
        ..Config::default()
    });
    let mut client = Client::join(address);
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let error = server.change(config(&["127.0.0.1:0", "127.0.0.1:0", &taken], &["other"])).unwrap_err();
    assert!(matches!(error, ChangeError::Unfit(StartError::Listen(..))), "{error}");
    assert_eq!(server.addresses().count(), 1, "what was bound before it failed is closed");
    drop(Client::join(address));
    client.subscribe(1, "com.topic");
    client.send(json!([16, 2, {"exclude_me": false}, "com.topic", ["here"]]));
    assert_eq!(client.event(), "here");
    drop(client);
    server.drain();
    server.join();
}

#[test]
fn limits_hold_for_who_comes_next_and_what_cannot_change_is_told() {
    let fixture = serve(2, Limits::DEFAULT);
    let Fixture { mut server, address } = fixture;
    let first = Client::join(address);
    let limits = Limits { connections_max: 1, mailbox_letters_max: 7, ..Limits::DEFAULT };
    let listens = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let changed = Config { listens, shards: 3, limits, ..Config::default() };
    let changes = server.change(changed.server().unwrap()).unwrap();
    assert_eq!(changes.later, ["shards", "mailbox_letters_max"]);
    let limits = Limits { connections_max: 1, mailbox_letters_max: 7, ..Limits::DEFAULT };
    let listens = vec!["127.0.0.1:0".parse().unwrap(), "127.0.0.1:0".parse().unwrap()];
    let again = Config { listens, shards: 2, limits, ..Config::default() };
    let changes = server.change(again.server().unwrap()).unwrap();
    assert_eq!(changes.later, ["mailbox_letters_max"], "it is still what the server was not started with");
    let mut second = Client::connect(address);
    second.stream.write_all(&HANDSHAKE).unwrap();
    assert_eq!(second.octets::<4>()[..2], [0x7f, 0x40], "the router is full");
    drop((first, second));
    server.drain();
    server.join();
}

#[test]
fn a_realm_that_is_no_more_says_goodbye() {
    let Fixture { mut server, address } = serve_config(Config {
        listens: vec!["127.0.0.1:0".parse().unwrap()],
        realms: vec!["realm1".to_owned(), "other".to_owned()],
        shards: 2,
        ..Config::default()
    });
    let mut clients: Vec<Client> = (0..6).map(|_| Client::join(address)).collect();
    let changes = server.change(config(&["127.0.0.1:0"], &["other"])).unwrap();
    assert_eq!(changes.realms.closed, ["realm1"]);
    assert_eq!(changes.losses, Losses { sessions: 6, ..Losses::default() });
    let counters = server.counters().unwrap();
    assert_eq!((counters.sessions_joined, counters.sessions_dismissed), (6, 6));
    for client in &mut clients {
        let goodbye = client.receive();
        assert_eq!((&goodbye[0], &goodbye[2]), (&json!(6), &json!("wamp.close.close_realm")));
        client.send(json!([6, {}, "wamp.close.goodbye_and_out"]));
        assert_eq!(client.read_to_end(), b"");
    }
    drop(clients);
    server.drain();
    server.join();
}

#[test]
fn nothing_changes_in_a_shutdown_and_that_is_said() {
    let Fixture { mut server, address } = serve_config(Config {
        listens: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 2,
        ..Config::default()
    });
    let client = Client::join(address);
    server.drain();
    let error = server.change(config(&["127.0.0.1:0"], &["realm1"])).unwrap_err();
    assert!(matches!(error, ChangeError::Ending), "{error}");
    drop(client);
    server.join();
}

#[test]
fn an_address_that_is_in_its_own_way_is_told_with_what_to_do() {
    let Fixture { mut server, address } = serve_config(Config {
        listens: vec!["127.0.0.1:0".parse().unwrap()],
        shards: 1,
        ..Config::default()
    });
    let (narrow, wide) = (address.to_string(), format!(":{}", address.port()));
    // By its port, which it was not asked for before.
    server.change(config(&["127.0.0.1:0"], &["realm1"])).unwrap();
    let taken = server.change(config(&["127.0.0.1:0", &wide], &["realm1"])).unwrap_err();
    assert!(matches!(taken, ChangeError::Unfit(_)), "{taken}: {narrow}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (narrow, wide) = (free.to_string(), format!(":{}", free.port()));
    server.change(config(&[&narrow], &["realm1"])).unwrap();
    let error = server.change(config(&[&wide], &["realm1"])).unwrap_err();
    assert!(
        matches!(error, ChangeError::Overlap(..)) && error.to_string().contains("with the next"),
        "{error}"
    );
    drop(Client::join(free));
    server.change(config(&["127.0.0.1:0"], &["realm1"])).unwrap();
    server.change(config(&[&wide], &["realm1"])).unwrap();
    drop(Client::join(free));
    server.drain();
    server.join();
}
