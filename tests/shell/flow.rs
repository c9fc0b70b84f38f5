//! More octets than sockets take: partial writes, slow readers, mailboxes above their bounds.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use fanwire::limits::Limits;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::client::Client;
use crate::setup::serve;

const TOPIC: &str = "com.example.topic";

/// A subscriber whose kernel buffer is small, so that the server's socket is soon full.
fn narrow_subscriber(address: SocketAddr) -> Client {
    let mut subscriber = Client::join(address);
    SockRef::from(&subscriber.stream).set_recv_buffer_size(128 << 10).unwrap();
    subscriber.subscribe(1, TOPIC);
    subscriber
}

#[test]
fn large_messages_arrive_whole_through_a_narrow_socket() {
    large_messages_arrive(Limits::DEFAULT);
    // Workers that ask for input instead of sleeping must neither miss what comes nor hold up what has to be written.
    large_messages_arrive(Limits { busy_poll_us: 1_000, ..Limits::DEFAULT });
}

fn large_messages_arrive(limits: Limits) {
    let fixture = serve(2, limits);
    let mut subscribers: Vec<Client> = (0..4).map(|_| narrow_subscriber(fixture.address)).collect();
    let mut publisher = Client::join(fixture.address);
    let texts: Vec<String> = (0..16).map(|count| format!("{count:x}").repeat(900_000)).collect();
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

#[test]
fn a_slow_reader_is_closed_and_others_get_everything() {
    const EVENTS: u64 = 400;
    let limits = Limits { outbound_bytes_max: 2 << 20, ..Limits::DEFAULT };
    let fixture = serve(2, limits);
    let mut slow = narrow_subscriber(fixture.address);
    let mut others: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = Client::join(fixture.address);
            client.subscribe(1, TOPIC);
            client
        })
        .collect();
    let mut publisher = Client::join(fixture.address);
    let filler = "x".repeat(64 << 10);
    for count in 1..=EVENTS {
        publisher.send(json!([16, count, {}, TOPIC, [count, filler]]));
        for other in &mut others {
            assert_eq!(other.event(), count);
        }
    }
    let mut seen = 0;
    while let Ok(event) = slow.try_receive() {
        seen += 1;
        assert_eq!(event[4][0], seen, "what it got is in order and without a gap");
    }
    assert!(seen < EVENTS, "the slow reader was closed");
    drop((publisher, others));
    fixture.end();
}

/// Mailboxes that are full after a few letters: readers pause and go on all the time, and nothing is lost.
#[test]
fn congested_mailboxes_lose_and_reorder_nothing() {
    const EVENTS: u64 = 3_000;
    let limits = Limits { mailbox_letters_max: 2, read_bytes_per_turn: 4096, ..Limits::DEFAULT };
    let fixture = serve(3, limits);
    let address = fixture.address;
    // Twelve subscribers and three publishers, spread over all shards.
    let subscribers: Vec<Client> = (0..12)
        .map(|_| {
            let mut client = Client::join(address);
            client.subscribe(1, TOPIC);
            client
        })
        .collect();
    let publishers: Vec<Client> = (0..3).map(|_| Client::join(address)).collect();
    thread::scope(|scope| {
        for (name, mut publisher) in publishers.into_iter().enumerate() {
            scope.spawn(move || {
                for count in 1..=EVENTS {
                    publisher.send(json!([16, count, {}, TOPIC, [[name, count]]]));
                }
                // Only an answer proves that all before it was handled.
                publisher.subscribe(EVENTS + 1, "com.example.other");
            });
        }
        for mut subscriber in subscribers {
            scope.spawn(move || {
                let mut counts = [0; 3];
                for _ in 0..3 * EVENTS {
                    let event = subscriber.event();
                    let (name, count) = (event[0].as_u64().unwrap(), event[1].as_u64().unwrap());
                    counts[name as usize] += 1;
                    assert_eq!(count, counts[name as usize]);
                }
            });
        }
    });
    fixture.end();
}

/// Peers that leave much unread are not read meanwhile; when they read, everything goes on.
#[test]
fn answers_nobody_reads_hold_their_requests_back() {
    const CALLS: u64 = 2_000;
    let limits = Limits { outbound_bytes_soft: 64 << 10, ..Limits::DEFAULT };
    let fixture = serve(2, limits);
    let mut callee = Client::join(fixture.address);
    callee.send(json!([64, 1, {}, "com.example.echo"]));
    assert_eq!(callee.receive()[0], 65);
    let mut caller = Client::join(fixture.address);
    let mut caller_writes = caller.clone();
    let mut callee_writes = callee.clone();
    let filler = "x".repeat(10_000);
    thread::scope(|scope| {
        scope.spawn(move || {
            for request in 1..=CALLS {
                caller_writes.send(json!([48, request, {}, "com.example.echo", [request, filler]]));
            }
        });
        // It reads whether or not it can write: one that does both in turn would wait for a router that waits for it.
        let (invoked, invocations) = mpsc::channel::<Value>();
        scope.spawn(move || {
            for mut invocation in invocations {
                let arguments: Value = invocation[4].take();
                callee_writes.send(json!([70, invocation[1], {}, arguments]));
            }
        });
        scope.spawn(move || {
            for _ in 0..CALLS {
                let invocation = callee.receive();
                assert_eq!(invocation[0], 68, "{invocation}");
                invoked.send(invocation).unwrap();
            }
        });
        for request in 1..=CALLS {
            let result = caller.receive();
            assert_eq!(
                (&result[0], &result[1], &result[3][0]),
                (&json!(50), &json!(request), &json!(request))
            );
        }
    });
    drop(caller);
    fixture.end();
}

/// Many publishers at once give a shard more in a turn than it writes to one peer in a turn; a subscriber that takes all
/// it gets is no slow one for that.
#[test]
fn a_subscriber_that_only_reads_is_not_taken_for_a_slow_one() {
    const PUBLISHERS: u64 = 12;
    const PUBLICATIONS: u64 = 400;
    for shards in [1, 2] {
        let limits = Limits { outbound_bytes_max: 17 << 20, ..Limits::DEFAULT };
        let fixture = serve(shards, limits);
        let mut subscribers: Vec<Client> = (0..2).map(|_| Client::join(fixture.address)).collect();
        subscribers.iter_mut().for_each(|subscriber| subscriber.subscribe(1, TOPIC));
        let filler = "x".repeat(16 << 10);
        thread::scope(|scope| {
            for _ in 0..PUBLISHERS {
                let (address, filler) = (fixture.address, &filler);
                scope.spawn(move || {
                    let mut publisher = Client::join(address);
                    for request in 1..PUBLICATIONS {
                        publisher.send(json!([16, request, {}, TOPIC, [filler]]));
                    }
                    publisher.send(json!([16, PUBLICATIONS, {"acknowledge": true}, TOPIC, [filler]]));
                    assert_eq!(publisher.receive()[0], 17);
                });
            }
            for subscriber in &mut subscribers {
                scope.spawn(move || {
                    let mut buffer = vec![0; 32 << 10];
                    for count in 0..PUBLISHERS * PUBLICATIONS {
                        let length = u32::from_be_bytes(subscriber.octets()) as usize;
                        let read = subscriber.stream.read_exact(&mut buffer[..length]);
                        read.unwrap_or_else(|error| panic!("after {count} events: {error}"));
                    }
                });
            }
        });
        drop(subscribers);
        fixture.end();
    }
}

/// A worker that is busy writing to one peer must not forget the letter that comes meanwhile, and is the last.
#[test]
fn an_event_is_not_left_lying_while_another_peer_is_written() {
    const ROUNDS: u64 = 100;
    let fixture = serve(2, Limits::DEFAULT);
    // Placement alternates: both subscribers have one shard, the publisher has the other.
    let mut large = Client::join(fixture.address);
    large.subscribe(1, TOPIC);
    let mut publisher = Client::join(fixture.address);
    let mut small = Client::join(fixture.address);
    small.subscribe(1, "com.example.small");
    // More than is written to one peer in one turn.
    let filler = "x".repeat(Limits::DEFAULT.write_bytes_per_peer_turn + 50_000);
    thread::scope(|scope| {
        scope.spawn(move || (0..ROUNDS).for_each(|_| drop(large.event())));
        for round in 0..ROUNDS {
            publisher.send(json!([16, 2 * round + 1, {"acknowledge": true}, TOPIC, [filler]]));
            assert_eq!(publisher.receive()[0], 17);
            publisher.send(json!([16, 2 * round + 2, {}, "com.example.small", [round]]));
            assert_eq!(small.event(), round);
        }
    });
    drop((publisher, small));
    fixture.end();
}
