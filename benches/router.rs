//! What the core spends on one PUBLISH: decode, match, publication, letter to itself, one frame, and a place in the queue
//! of each subscriber; and on one CALL with its answer. No sockets: the queues are emptied without being written.
//!
//! Where each step of an event is measured:
//!
//! | step | how often | bench |
//! | --- | --- | --- |
//! | deframe, decode, walk the payload, match | a PUBLISH | `receive` here; apart in `transport`, `codec`, `directory` |
//! | publication | a PUBLISH with interest | `publication` here |
//! | letter to another shard | an interested shard | `letter` and `mailbox` in `mailbox` |
//! | encode a frame | a shard, serializer and framing | `encode` in `codec`, `frame` in `transport` |
//! | queue to a peer | a subscriber | `outbound` in `transport`; with the roster's step and the checks in `deliver` here |
//! | write | a peer and turn | `write` in `end_to_end` |
//!
//! Whether somebody may, which is asked before a URI is matched for the first time: `decide` here.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fanwire::codec::decode;
use fanwire::codec::payload::OwnedPayload;
use fanwire::limits::Limits;
use fanwire::origin::PeerAddress;
use fanwire::router::authentication::{Access, RouterSettings};
use fanwire::router::directory::Match;
use fanwire::router::publication::Publication;
use fanwire::router::rules::{Action, Actions, Rule, Rules, Subject};
use fanwire::router::{
    Clock, ListenerIndex, ListenerSettings, PeerKey, RealmSettings, RequestIds, Router, Settings, Shard,
    ShardIndex,
};
use fanwire::transport;
use fanwire::wamp::{MatchPolicy, Message, PublicationId, Serializer, SessionId};

/// One shard and its peers, all over RawSocket with MessagePack.
struct Bench {
    shard: Shard,
    now: Instant,
    dirty: Vec<PeerKey>,
}

impl Bench {
    fn new() -> Bench {
        let transport = transport::Settings {
            message_bytes_max: 1 << 20,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        };
        // Request ids are not checked, so that one PUBLISH can be sent again and again.
        let listener = ListenerSettings {
            transport: Arc::new(transport),
            request_ids: RequestIds::Any,
            forwarded_from: Vec::new(),
            access: Access::default(),
        };
        let settings = Settings {
            limits: Limits::DEFAULT,
            realms: vec![RealmSettings::open("realm1")],
            listeners: vec![listener],
            agent: String::new(),
            authentication: RouterSettings::default(),
        };
        let router = Router::new(settings, 1, Clock::at_epoch(Instant::now()));
        Bench { shard: Shard::new(router, ShardIndex(0), [1; 32]), now: Instant::now(), dirty: Vec::new() }
    }

    /// A peer in a session.
    fn join(&mut self) -> PeerKey {
        let key = self.shard.open(ListenerIndex(0), false, Arc::new(PeerAddress::Unix.into()), self.now);
        self.shard.receive(key, &mut [0x7f, 0xf2, 0, 0], self.now);
        self.send(key, b"\x93\x01\xa6realm1\x81\xa5roles\x82\xa6caller\x80\xa6callee\x80");
        self.flush();
        key
    }

    fn send(&mut self, key: PeerKey, message: &[u8]) {
        self.shard.receive(key, &mut frame(message), self.now);
    }

    /// Empties every queue; how many octets there were.
    fn flush(&mut self) -> usize {
        self.shard.dirty(&mut self.dirty);
        let mut octets = 0;
        for key in self.dirty.drain(..) {
            let waiting = self.shard.outbound(key).map_or(0, |outbound| outbound.len());
            self.shard.advance(key, waiting, self.now);
            octets += waiting;
        }
        self.shard.flushed();
        octets
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u32).to_be_bytes(), message].concat()
}

fn deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    for subscribers in [1usize, 100, 10_000] {
        let mut bench = Bench::new();
        let publisher = bench.join();
        for _ in 0..subscribers {
            let subscriber = bench.join();
            bench.send(subscriber, b"\x94\x20\x01\x80\xa5topic");
        }
        bench.flush();
        let payload = [&b"\x95\x10\x01\x80\xa5topic\x91\xc4\x80"[..], &[7; 128]].concat();
        let publish = frame(&payload);
        group.throughput(Throughput::Elements(subscribers as u64));
        group.bench_function(BenchmarkId::from_parameter(subscribers), |bencher| {
            bencher.iter_batched_ref(
                || publish.clone(),
                |publish| {
                    bench.shard.receive(publisher, publish, bench.now);
                    black_box(bench.flush())
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// A PUBLISH to one subscriber, among so many subscriptions on distinct topics, or among so many patterns. Topics are
/// taken in an order that no cache foresees: from all of them, or from a thousand that are busy.
fn topics(criterion: &mut Criterion) {
    // Unoptimized, as tests are, a million takes a minute.
    let most = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };
    let mut group = criterion.benchmark_group("topics");
    for (name, patterns, subscriptions, busy) in [
        ("exact", false, 1, 1),
        ("exact, a thousand of them busy", false, most, 1_000),
        ("exact", false, most, most),
        ("prefix", true, 1, 1),
        ("prefix", true, 10_000, 10_000),
    ] {
        let mut bench = Bench::new();
        let publisher = bench.join();
        for first in (0..subscriptions).step_by(4_000) {
            let subscriber = bench.join();
            for number in first..subscriptions.min(first + 4_000) {
                bench.send(subscriber, &subscribe(number, patterns));
            }
            bench.flush();
        }
        let mut number = 0;
        group.bench_function(BenchmarkId::new(name, subscriptions), |bencher| {
            bencher.iter_batched_ref(
                || {
                    number = (number + 617_649) % busy;
                    frame(&publish_to(number))
                },
                |publish| {
                    bench.shard.receive(publisher, publish, bench.now);
                    black_box(bench.flush())
                },
                BatchSize::SmallInput,
            );
        });
        let counters = bench.shard.counters();
        assert_eq!(counters.events_delivered, counters.publications, "each has one subscriber");
    }
    group.finish();
}

fn subscribe(number: usize, pattern: bool) -> Vec<u8> {
    let options: &[u8] = if pattern { b"\x81\xa5match\xa6prefix" } else { b"\x80" };
    [&b"\x94\x20\x01"[..], options, b"\xb3", topic(number).as_bytes()].concat()
}

fn publish_to(number: usize) -> Vec<u8> {
    [&b"\x95\x10\x01\x80\xb3"[..], topic(number).as_bytes(), b"\x91\xc4\x80", &[7; 128]].concat()
}

/// 19 octets.
fn topic(number: usize) -> String {
    format!("com.example.{number:07}")
}

/// PUBLISH with one binary argument of so many octets.
fn publish(octets: usize) -> Vec<u8> {
    let argument = [&b"\xc6"[..], &(octets as u32).to_be_bytes(), &vec![7; octets]].concat();
    [&b"\x95\x10\x01\x80\xa5topic\x91"[..], &argument].concat()
}

const SIZES: [usize; 5] = [16, 128, 1024, 4096, 65_536];

fn receive(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("receive");
    for size in SIZES {
        let mut bench = Bench::new();
        let publisher = bench.join();
        let mut publish = frame(&publish(size));
        bench.shard.receive(publisher, &mut publish, bench.now);
        assert_eq!(bench.shard.counters().publications, 1);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| bench.shard.receive(publisher, black_box(&mut publish), bench.now));
        });
    }
    group.finish();
}

fn publication(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("publication");
    let matched = Arc::new(Match::default());
    for size in SIZES {
        let message = publish(size);
        let Ok(Message::Publish(publish)) = decode(Serializer::MessagePack, &message) else {
            panic!("a PUBLISH")
        };
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let payload = OwnedPayload::copy(black_box(publish.payload));
                Arc::new(Publication::new(PublicationId(7), &publish.topic, matched.clone(), payload))
            });
        });
    }
    group.finish();
}

fn call(criterion: &mut Criterion) {
    let mut bench = Bench::new();
    let (caller, callee) = (bench.join(), bench.join());
    bench.send(callee, b"\x94\x40\x01\x80\xa4echo");
    bench.flush();
    let mut request: u32 = 0;
    criterion.bench_function("call", |bencher| {
        bencher.iter(|| {
            request += 1;
            let id = request.to_be_bytes();
            bench.send(caller, &[&b"\x95\x30\xce"[..], &id, b"\x80\xa4echo\x91\x07"].concat());
            bench.flush();
            bench.send(callee, &[&b"\x94\x46\xce"[..], &id, b"\x80\x91\x07"].concat());
            black_box(bench.flush())
        });
    });
}

/// Whether a session may publish, among a thousand rules of each policy.
fn decide(criterion: &mut Criterion) {
    let mut written = vec![Rule::new("org.{authid}.inbox", MatchPolicy::Exact, Actions::ALL)];
    for number in 0..1_000 {
        written.push(Rule::new(&format!("com.example.exact.{number}"), MatchPolicy::Exact, Actions::ALL));
        written.push(Rule::new(&format!("com.example.prefix.{number}."), MatchPolicy::Prefix, Actions::ALL));
        written.push(Rule::new(&format!("com..wildcard.{number}"), MatchPolicy::Wildcard, Actions::ALL));
    }
    let rules = Rules::new(written).expect("no two are the same");
    let subject = Subject { authid: "alice", authrole: "frontend", session: SessionId(7), realm: "realm1" };
    let mut group = criterion.benchmark_group("decide");
    for (name, uri) in [
        ("exact", "com.example.exact.617"),
        ("prefix", "com.example.prefix.617.topic"),
        ("wildcard", "com.example.wildcard.617"),
        ("session value", "org.alice.inbox"),
        ("none", "net.example.topic.617"),
    ] {
        assert_eq!(rules.decide(Action::Publish, uri, MatchPolicy::Exact, &subject).allowed, name != "none");
        group.bench_function(name, |bencher| {
            bencher.iter(|| rules.decide(Action::Publish, black_box(uri), MatchPolicy::Exact, &subject));
        });
    }
    group.finish();
}

criterion_group!(benches, receive, publication, deliver, topics, call, decide);
criterion_main!(benches);
