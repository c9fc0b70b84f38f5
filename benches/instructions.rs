//! What the core costs in instructions, counted by callgrind and held against a recorded budget.
//!
//! ```text
//! benches/count-instructions             fails if anything is 3 % above its budget
//! benches/count-instructions --record    records a new budget
//! ```
//!
//! It needs valgrind and `cargo install gungraun-runner --version 0.20.0 --locked`; so it is behind a feature, and
//! `cargo bench` asks for nothing.
//!
//! Unlike time, instructions are the same in every run: nothing here waits, ids come from seeded generators, and what is
//! counted is one turn, after turns like it have grown every buffer. Hash maps are seeded by chance; with as few entries
//! as here that changed no count in ten runs. What does change the counts: the compiler, the profile (it is the one that
//! ships), the C library, and the processor, since memcpy and the checks of UTF-8 choose their variant when the program
//! runs. The C library is told to act as on a plain processor. The budget says what it was recorded with: where another
//! compiler is used, record with the code before the change, then count the change.

#![allow(clippy::unwrap_used, missing_docs)] // A bench that cannot run may as well panic.

#[path = "../tests/turns/mod.rs"]
mod turns;

use std::hint::black_box;
use std::sync::Arc;

use fanwire::codec::{decode, encode};
use fanwire::router::Permissions;
use fanwire::router::rules::{Action, Actions, Rule, Rules};
use fanwire::transport::{self, Framing, Inbound, Transport};
use fanwire::wamp::{MatchPolicy, Message, Serializer};
use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};

use turns::{Client, RAWSOCKET, Shards, Speech};

/// Names and instructions, a line each; what it was recorded with in the lines that begin with #.
const BUDGET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.budget");

/// Octets of a payload's text.
const CHARACTERS: usize = 128;

/// Fails 3 % above what is recorded under this name, and always if nothing is.
fn budget(name: &str) -> LibraryBenchmarkConfig {
    let recorded = std::fs::read_to_string(BUDGET).unwrap_or_default();
    let line = recorded.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let instructions: u64 = line.map_or(0, |count| count.trim().parse().unwrap());
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, instructions * 103 / 100)]));
    config
}

// Turns.

/// Shards whose next turns are counted, and what their clients have sent.
struct Scene {
    shards: Shards,
    input: Vec<(Client, Vec<u8>)>,
}

impl Scene {
    fn turns(&mut self) -> usize {
        let mut octets = 0;
        for (client, frame) in &mut self.input {
            octets += self.shards.send(*client, frame);
        }
        for shard in 1..self.shards.shards.len() {
            octets += self.shards.turn(shard, &mut []);
        }
        octets
    }

    /// Turns like those that are counted have been taken before.
    fn warm(mut self) -> Scene {
        let before = self.input.clone();
        for _ in 0..20 {
            self.turns();
            self.input.clone_from(&before);
        }
        self
    }
}

/// One publisher, and so many subscribers on another shard if there is one.
fn subscribed(shards: usize, subscribers: usize) -> Scene {
    subscribed_by(Permissions::Everything, shards, subscribers)
}

fn subscribed_by(permissions: Permissions, shards: usize, subscribers: usize) -> Scene {
    let mut shards = Shards::with(shards, permissions);
    let publisher = shards.join(0, RAWSOCKET);
    let home = shards.shards.len() - 1;
    for _ in 0..subscribers {
        let subscriber = shards.join(home, RAWSOCKET);
        shards.say(subscriber, r#"[32,1,{},"com.example.topic"]"#);
    }
    let frame = RAWSOCKET.frame(&turns::publish("com.example.topic", CHARACTERS));
    Scene { shards, input: vec![(publisher, frame)] }.warm()
}

/// What an application's role may look like.
fn rules() -> Permissions {
    use MatchPolicy::{Exact, Prefix, Wildcard};
    let rules = [
        ("com.example.", Prefix),
        ("com.example.admin.", Prefix),
        ("com.example.other", Exact),
        ("com..get", Wildcard),
    ];
    let rules = rules.map(|(uri, policy)| Rule::new(uri, policy, Actions::ALL));
    Permissions::Rules(Arc::new(Rules::new(rules.to_vec()).unwrap()))
}

/// The same, and a rule about a value of the session that may decide.
fn rules_with_values() -> Permissions {
    let rules = [("com.example.", MatchPolicy::Prefix), ("com.example.{authid}.", MatchPolicy::Prefix)];
    let rules = rules.map(|(uri, policy)| Rule::new(uri, policy, Actions::ALL));
    Permissions::Rules(Arc::new(Rules::new(rules.to_vec()).unwrap()))
}

fn ruled(shards: usize, subscribers: usize) -> Scene {
    subscribed_by(rules(), shards, subscribers)
}

fn ruled_by_value() -> Scene {
    subscribed_by(rules_with_values(), 1, 1)
}

/// How many publishers there are where there are many.
const MANY: usize = 64;

/// Many publishers, who may publish inside of `com.example.` and do so much with their own inboxes. Each publishes once
/// a turn: to that topic, where `AUTHID` is its authid and `FIRST` that of the first.
fn many(topic: &str, publish: bool, inbox: Actions) -> Scene {
    let everywhere = Actions::NONE.with(Action::Subscribe);
    let everywhere = if publish { everywhere.with(Action::Publish) } else { everywhere };
    let rules = vec![
        Rule::new("com.example.", MatchPolicy::Prefix, everywhere),
        Rule::new("com.example.{authid}.inbox", MatchPolicy::Exact, inbox),
    ];
    let mut shards = Shards::with(1, Permissions::Rules(Arc::new(Rules::new(rules).unwrap())));
    let clients: Vec<_> = (0..MANY).map(|_| shards.join_named(0, RAWSOCKET)).collect();
    let frame = |(client, authid): &(Client, String)| {
        let topic = topic.replace("AUTHID", authid).replace("FIRST", &clients[0].1);
        (*client, RAWSOCKET.frame(&turns::publish(&topic, CHARACTERS)))
    };
    Scene { shards, input: clients.iter().map(frame).collect() }.warm()
}

/// To one topic, which no rule with values is about.
fn many_to_one() -> Scene {
    many("com.example.topic", true, Actions::ALL)
}

/// To the inbox of one of them, where all may publish but its owner.
fn many_to_an_inbox() -> Scene {
    many("com.example.FIRST.inbox", true, Actions::NONE.with(Action::Subscribe))
}

/// Each to its own inbox, where nobody else may.
fn many_to_inboxes() -> Scene {
    many("com.example.AUTHID.inbox", false, Actions::ALL)
}

fn forgotten() -> Scene {
    let mut scene = subscribed(1, 1);
    let watcher = scene.shards.join(0, RAWSOCKET);
    scene.shards.say(watcher, r#"[32,1,{"match":"prefix"},"com.other"]"#);
    scene
}

fn called() -> Scene {
    called_by(Permissions::Everything)
}

fn called_with_rules() -> Scene {
    called_by(rules())
}

fn called_by(permissions: Permissions) -> Scene {
    let mut shards = Shards::with(1, permissions);
    let (caller, callee) = (shards.join(0, RAWSOCKET), shards.join(0, RAWSOCKET));
    shards.say(callee, r#"[64,1,{},"com.example.echo"]"#);
    let text = "x".repeat(CHARACTERS);
    let frames = |invocation: usize| {
        let call = format!(r#"[48,7,{{}},"com.example.echo",["{text}"]]"#);
        let answer = format!(r#"[70,{invocation},{{}},["{text}"]]"#);
        vec![(caller, RAWSOCKET.frame(&call)), (callee, RAWSOCKET.frame(&answer))]
    };
    let mut scene = Scene { shards, input: Vec::new() };
    for invocation in 1..=20 {
        scene.input = frames(invocation);
        scene.turns();
    }
    scene.input = frames(21);
    scene
}

fn subscribing() -> Scene {
    let mut shards = Shards::new(1);
    let subscriber = shards.join(0, RAWSOCKET);
    let frames = |subscription: usize| {
        let unsubscribe = format!("[34,2,{subscription}]");
        vec![
            (subscriber, RAWSOCKET.frame(r#"[32,1,{},"com.example.topic"]"#)),
            (subscriber, RAWSOCKET.frame(&unsubscribe)),
        ]
    };
    let mut scene = Scene { shards, input: Vec::new() };
    // Every one creates a subscription, and the last to leave it ends it.
    for subscription in 1..=20 {
        scene.input = frames(subscription);
        scene.turns();
    }
    scene.input = frames(21);
    scene
}

#[library_benchmark]
#[bench::to_one(args = (1, 1), setup = subscribed, config = budget("publish/to_one"))]
#[bench::to_100(args = (1, 100), setup = subscribed, config = budget("publish/to_100"))]
#[bench::to_nobody(args = (1, 0), setup = subscribed, config = budget("publish/to_nobody"))]
#[bench::across_shards(args = (2, 1), setup = subscribed, config = budget("publish/across_shards"))]
#[bench::to_one_with_rules(args = (1, 1), setup = ruled, config = budget("publish/to_one_with_rules"))]
#[bench::to_one_with_values(args = (), setup = ruled_by_value, config = budget("publish/to_one_with_values"))]
#[bench::to_100_with_rules(args = (1, 100), setup = ruled, config = budget("publish/to_100_with_rules"))]
#[bench::to_nobody_with_rules(args = (1, 0), setup = ruled, config = budget("publish/to_nobody_with_rules"))]
#[bench::by_64_with_values(args = (), setup = many_to_one, config = budget("publish/by_64_with_values"))]
#[bench::by_64_to_an_inbox(args = (), setup = many_to_an_inbox, config = budget("publish/by_64_to_an_inbox"))]
#[bench::by_64_to_inboxes(args = (), setup = many_to_inboxes, config = budget("publish/by_64_to_inboxes"))]
fn publish(mut scene: Scene) -> (Scene, usize) {
    let octets = scene.turns();
    (scene, octets)
}

#[library_benchmark]
#[bench::cache_miss(args = (), setup = forgotten, config = budget("turn/cache_miss"))]
#[bench::call_and_answer(args = (), setup = called, config = budget("turn/call_and_answer"))]
#[bench::call_with_rules(args = (), setup = called_with_rules, config = budget("turn/call_with_rules"))]
#[bench::subscribe_and_unsubscribe(args = (), setup = subscribing, config = budget("turn/subscribe_and_unsubscribe"))]
fn turn(mut scene: Scene) -> (Scene, usize) {
    let octets = scene.turns();
    (scene, octets)
}

// The codec.

const MESSAGES: [(&str, &str); 2] = [
    ("publish", r#"[16,239714735,{},"com.example.topic",["PAYLOAD"]]"#),
    ("event", r#"[36,5512315355,4429313566,{},["PAYLOAD"]]"#),
];

fn serialized(message: usize, serializer: Serializer) -> (Serializer, Vec<u8>) {
    let json = MESSAGES[message].1.replace("PAYLOAD", &"x".repeat(CHARACTERS));
    (serializer, Speech { serializer, ..RAWSOCKET }.message(&json))
}

fn event(serializer: Serializer) -> (Serializer, Message<'static>, Vec<u8>) {
    // It lives as long as the process, which counts one bench.
    let (_, octets) = serialized(1, serializer);
    (serializer, decode(serializer, octets.leak()).unwrap(), Vec::with_capacity(1024))
}

#[library_benchmark]
#[bench::json(args = (0, Serializer::Json), setup = serialized, config = budget("decode_publish/json"))]
#[bench::msgpack(args = (0, Serializer::MessagePack), setup = serialized, config = budget("decode_publish/msgpack"))]
#[bench::cbor(args = (0, Serializer::Cbor), setup = serialized, config = budget("decode_publish/cbor"))]
fn decode_publish((serializer, octets): (Serializer, Vec<u8>)) -> Vec<u8> {
    black_box(decode(serializer, black_box(&octets)).is_ok());
    octets
}

#[library_benchmark]
#[bench::json(args = (Serializer::Json), setup = event, config = budget("encode_event/json"))]
#[bench::msgpack(args = (Serializer::MessagePack), setup = event, config = budget("encode_event/msgpack"))]
#[bench::cbor(args = (Serializer::Cbor), setup = event, config = budget("encode_event/cbor"))]
fn encode_event((serializer, event, mut out): (Serializer, Message<'static>, Vec<u8>)) -> Vec<u8> {
    black_box(encode(black_box(&event), serializer, &mut out).is_ok());
    out
}

// The transports.

fn deframing(framing: Framing, serializer: Serializer) -> (Transport, Vec<u8>) {
    let settings = transport::Settings {
        message_bytes_max: 1 << 20,
        peer_message_bytes_min: 512,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: None,
        pages: Default::default(),
    };
    let speech = Speech { framing, serializer };
    let (mut transport, mut handshake) = (Transport::new(Arc::new(settings), false), speech.handshake());
    let opened = transport.next(&mut &mut handshake[..], &mut Vec::new());
    assert!(matches!(opened, Ok(Inbound::Opened)));
    let mut state = (transport, speech.frame(&turns::publish("com.example.topic", CHARACTERS)));
    // The first message has gone before.
    let mut first = state.1.clone();
    assert!(next(&mut state.0, &mut first));
    state
}

fn next(transport: &mut Transport, mut input: &mut [u8]) -> bool {
    matches!(black_box(transport.next(&mut input, &mut Vec::new())), Ok(Inbound::Message(_)))
}

#[library_benchmark]
#[bench::rawsocket(args = (Framing::RawSocket, Serializer::MessagePack), setup = deframing, config = budget("deframe/rawsocket"))]
#[bench::websocket(args = (Framing::WebSocket, Serializer::MessagePack), setup = deframing, config = budget("deframe/websocket"))]
#[bench::websocket_text(args = (Framing::WebSocket, Serializer::Json), setup = deframing, config = budget("deframe/websocket_text"))]
fn deframe((mut transport, mut frame): (Transport, Vec<u8>)) -> (Transport, Vec<u8>) {
    black_box(next(&mut transport, black_box(&mut frame)));
    (transport, frame)
}

library_benchmark_group!(name = core, benchmarks = [publish, turn]);
library_benchmark_group!(name = codec, benchmarks = [decode_publish, encode_event]);
library_benchmark_group!(name = transports, benchmarks = [deframe]);

/// What the C library's choice of memcpy, memcmp and memset must not depend on. What Rust's libraries choose by the same
/// processor's features cannot be told: they are taken to find AVX2.
const PLAIN_PROCESSOR: &str =
    "glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,Fast_Unaligned_Copy";

main!(
    config = LibraryBenchmarkConfig::default().env("GLIBC_TUNABLES", PLAIN_PROCESSOR),
    library_benchmark_groups = [core, codec, transports]
);
