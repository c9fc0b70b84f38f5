//! Two whole shards on a sequence of operations: connections, bytes, messages, letters, writes, time, shutdown.
//!
//! Nothing may panic, every input must come to an end, and when all connections are gone nothing may be left. That what
//! is answered is right is for `tests/simulation`.

#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use fanwire::auth::{ticket, wampcra};
use fanwire::error::CloseReason;
use fanwire::limits::Limits;
use fanwire::origin::PeerAddress;
use fanwire::router::authentication::{self, Access, Principal, Principals, RouterSettings};
use fanwire::router::{
    Clock, ListenerIndex, ListenerSettings, PeerKey, RealmSettings, RequestIds, Role, Router, Settings,
    Shard, ShardIndex,
};
use fanwire::transport;
use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

const SHARDS: usize = 2;
const PEERS_MAX: usize = 16;
/// Ids of registrations and subscriptions count from 1 in each, so that those of one mean something in the other.
const REALMS: [&str; 2] = ["realm1", "realm2"];
const GOODBYE: &str = r#"[6,{},"wamp.close.close_realm"]"#;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let mut world = World::new();
    let mut input = Input(input);
    while let Some(operation) = input.next() {
        world.step(operation, &mut input);
    }
    world.end();
}

/// The fuzzer's bytes, eaten from the front.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> usize {
        usize::from(self.next().unwrap_or(0))
    }

    fn bytes(&mut self) -> Vec<u8> {
        let count = self.number().min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes.to_vec()
    }
}

struct World {
    router: Arc<Router>,
    shards: Vec<Shard>,
    peers: Vec<(usize, PeerKey)>,
    now: Instant,
}

impl World {
    fn new() -> World {
        let limits = Limits {
            message_bytes_max: 4_096,
            outbound_bytes_max: 16_384,
            outbound_bytes_soft: 512,
            subscriptions_per_session_max: 8,
            calls_open_per_session_max: 4,
            match_cache_entries_max: 4,
            pattern_shapes_max: 4,
            ..Limits::DEFAULT
        };
        let transport = Arc::new(transport::Settings {
            message_bytes_max: limits.message_bytes_max,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        });
        let settings = Settings {
            limits,
            realms: REALMS.map(realm).to_vec(),
            listeners: vec![ListenerSettings {
                transport,
                request_ids: RequestIds::Any,
                forwarded_from: Vec::new(),
                access: Access::default(),
            }],
            agent: String::new(),
            authentication: RouterSettings::default(),
        };
        let now = Instant::now();
        let router = Router::new(settings, SHARDS, Clock::at_epoch(now));
        let shards = (0..SHARDS)
            .map(|index| Shard::new(router.clone(), ShardIndex(index as u8), [index as u8; 32]))
            .collect();
        World { router, shards, peers: Vec::new(), now }
    }

    fn step(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation % 18 {
            0 => {
                let full = input.number() == 0;
                self.open(full);
            }
            1..=3 => {
                if let Some((shard, key)) = self.open(false) {
                    self.shards[shard].receive(key, &mut [0x7f, 0xf1, 0, 0], self.now);
                    let realm = usize::from(operation % 18 == 3);
                    self.receive_message(shard, key, hello(realm).as_bytes());
                }
            }
            4..=8 => {
                let Some((shard, key)) = self.peer(input) else { return };
                let message = message(input);
                self.receive_message(shard, key, message.as_bytes());
            }
            9 => {
                let Some((shard, key)) = self.peer(input) else { return };
                let body = input.bytes();
                self.receive_message(shard, key, &body);
            }
            10 => {
                let Some((shard, key)) = self.peer(input) else { return };
                self.shards[shard].receive(key, &mut input.bytes(), self.now);
            }
            11 => {
                let Some((shard, key)) = self.peer(input) else { return };
                if input.number() % 2 == 0 {
                    self.shards[shard].input_ended(key, self.now);
                } else {
                    self.shards[shard].close(key, CloseReason::Broken, self.now);
                }
            }
            12 => self.post(input.number() % SHARDS, input.number()),
            13 => {
                let bytes_max = input.number();
                self.check(bytes_max % 2 == 0);
                self.turn(bytes_max);
            }
            14 => {
                let congested = input.number() % 2 == 0;
                self.shards[input.number() % SHARDS].congested(congested);
            }
            15 => match input.number() {
                0 => self.shards.iter_mut().for_each(|shard| shard.drain(self.now)),
                seconds => self.wait(Duration::from_secs(seconds as u64)),
            },
            17 => {
                let Some((shard, key)) = self.open(false) else { return };
                self.shards[shard].receive(key, &mut [0x7f, 0xf1, 0, 0], self.now);
                self.authenticate(shard, key, input);
            }
            _ => {
                let Some((shard, key)) = self.peer(input) else { return };
                self.rejoin(shard, key, input);
            }
        }
    }

    /// GOODBYE, HELLO and some requests in one go, before an answer to any.
    fn rejoin(&mut self, shard: usize, key: PeerKey, input: &mut Input<'_>) {
        let mut frames = frame(GOODBYE.as_bytes());
        frames.extend(frame(hello(input.number()).as_bytes()));
        for _ in 0..input.number() % 4 {
            frames.extend(frame(message(input).as_bytes()));
        }
        self.shards[shard].receive(key, &mut frames, self.now);
    }

    /// HELLO of somebody who is known or not, and an answer that may be right.
    fn authenticate(&mut self, shard: usize, key: PeerKey, input: &mut Input<'_>) {
        let (who, answer) = (input.number(), input.number());
        let (authid, method) = (
            ["alice", "hashed", "nobody"][who % 3],
            ["ticket", "wampcra", "cryptosign", "scram"][who / 3 % 4],
        );
        let extra = format!(r#"{{"nonce":"AAAA","pubkey":"{}"}}"#, "07".repeat(32));
        let details = format!(r#""authmethods":["{method}"],"authid":"{authid}","authextra":{extra}"#);
        let hello = format!(r#"[1,"{}",{{"roles":{{"caller":{{}}}},{details}}}]"#, REALMS[0]);
        self.receive_message(shard, key, hello.as_bytes());
        if answer % 4 > 0 {
            let ticket = ["swordfish", "hash me", "wrong"][answer % 3];
            self.receive_message(shard, key, format!(r#"[5,"{ticket}",{{}}]"#).as_bytes());
        }
    }

    /// What takes a shard too long is done, or not.
    fn check(&mut self, done: bool) {
        for shard in &mut self.shards {
            let mut checks = Vec::new();
            shard.checks(&mut checks);
            for check in checks {
                shard.checked(if done { check.run(self.now) } else { check.decline() }, self.now);
            }
        }
    }

    fn open(&mut self, full: bool) -> Option<(usize, PeerKey)> {
        if self.peers.len() >= PEERS_MAX {
            return None;
        }
        let shard = self.peers.len() % SHARDS;
        let key =
            self.shards[shard].open(ListenerIndex(0), full, Arc::new(PeerAddress::Unix.into()), self.now);
        self.peers.push((shard, key));
        Some((shard, key))
    }

    /// Any peer there ever was; dead keys must do no harm.
    fn peer(&self, input: &mut Input<'_>) -> Option<(usize, PeerKey)> {
        let index = input.number() % self.peers.len().max(1);
        self.peers.get(index).copied()
    }

    fn receive_message(&mut self, shard: usize, key: PeerKey, body: &[u8]) {
        self.shards[shard].receive(key, &mut frame(body), self.now);
    }

    /// Some letters of one shard reach the other.
    fn post(&mut self, from: usize, count: usize) {
        let to = (from + 1) % SHARDS;
        let outbox = self.shards[from].letters(ShardIndex(to as u8));
        let count = count.min(outbox.len());
        let letters: Vec<_> = outbox.drain(..count).collect();
        for letter in letters {
            self.shards[to].take_letter(letter, self.now);
        }
    }

    /// Each socket takes at most so many octets, and what the shards ask for is done.
    fn turn(&mut self, bytes_max: usize) {
        for shard in &mut self.shards {
            let (mut dirty, mut closing, mut resumed) = (Vec::new(), Vec::new(), Vec::new());
            shard.dirty(&mut dirty);
            for key in dirty {
                let bytes = shard.outbound(key).map_or(0, |outbound| outbound.len());
                shard.advance(key, bytes.min(bytes_max), self.now);
            }
            shard.flushed();
            shard.closing(&mut closing);
            shard.resumed(&mut resumed);
            for key in resumed {
                shard.receive(key, &mut [], self.now);
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        for shard in &mut self.shards {
            shard.expire(self.now);
        }
    }

    /// Everybody goes; then nothing may be left.
    fn end(mut self) {
        for (shard, key) in std::mem::take(&mut self.peers) {
            self.shards[shard].close(key, CloseReason::Closed, self.now);
        }
        self.check(true);
        while (0..SHARDS).any(|shard| !self.shards[shard].letters(ShardIndex((shard ^ 1) as u8)).is_empty()) {
            self.post(0, usize::MAX);
            self.post(1, usize::MAX);
        }
        // A shutdown has deadlines of its own.
        self.wait(Limits::ms(Limits::DEFAULT.drain_ms_max));
        assert!(self.shards.iter().all(|shard| shard.peer_count() == 0 && shard.is_empty()));
        assert!(self.router.is_empty());
    }
}

/// A realm in which everybody may do everything, and some are known.
fn realm(name: &str) -> RealmSettings {
    let hashed = ticket::Hashed::new(
        &"hash me".into(),
        ticket::Kind::Argon2id { iterations: 1, memory_kib: 8 },
        [3; 16],
    );
    let role = Some(Arc::new(Role::open("user")));
    let alice = Principal {
        authid: "alice".into(),
        role: role.clone(),
        ticket: ticket::Stored::read("swordfish").ok(),
        wampcra: Some(wampcra::Stored { secret: "secret".into(), salting: None }),
        keys: vec![[7; 32].into()],
        ..Principal::default()
    };
    let ticket = hashed.ok().map(ticket::Stored::Hashed);
    let hashed = Principal { authid: "hashed".into(), role, ticket, ..Principal::default() };
    let open = RealmSettings::open(name);
    let authentication = authentication::Settings {
        principals: Principals::new([alice, hashed]),
        ..authentication::Settings::clone(&open.authentication)
    };
    RealmSettings { authentication: Arc::new(authentication), ..open }
}

/// A RawSocket frame with a message.
fn frame(body: &[u8]) -> Vec<u8> {
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// HELLO of either realm, from a client that announces all there is, or only its roles.
fn hello(realm: usize) -> String {
    const ROLES: [(&str, &[&str]); 4] = [
        ("publisher", &["payload_passthru_mode"]),
        ("subscriber", &["subscription_revocation"]),
        ("caller", &["payload_passthru_mode", "progressive_call_invocations", "progressive_call_results"]),
        (
            "callee",
            &[
                "call_canceling",
                "call_reroute",
                "call_timeout",
                "payload_passthru_mode",
                "progressive_call_invocations",
                "progressive_call_results",
                "registration_revocation",
            ],
        ),
    ];
    let announces = realm / REALMS.len() % 4 != 3;
    let realm = REALMS[realm % REALMS.len()];
    let roles = ROLES.map(|(role, features)| {
        let features = features.iter().filter(|_| announces);
        let features: Vec<_> = features.map(|feature| format!(r#""{feature}":true"#)).collect();
        format!(r#""{role}":{{"features":{{{}}}}}"#, features.join(","))
    });
    format!(r#"[1,"{realm}",{{"roles":{{{}}}}}]"#, roles.join(","))
}

/// A message that may make sense: small ids, few URIs.
fn message(input: &mut Input<'_>) -> String {
    const URIS: [&str; 6] = ["a.b", "a.c", "a.", ".b", "a", "wamp.subscription.on_create"];
    const OPTIONS: [&str; 16] = [
        "{}",
        r#"{"match":"prefix"}"#,
        r#"{"match":"wildcard"}"#,
        r#"{"acknowledge":true,"exclude_me":false}"#,
        r#"{"mode":"skip"}"#,
        r#"{"mode":"kill"}"#,
        r#"{"mode":7}"#,
        r#"{"_custom":[1,{}]}"#,
        r#"{"progress":true}"#,
        r#"{"progress":true,"receive_progress":true,"timeout":1000}"#,
        r#"{"timeout":10}"#,
        r#"{"invoke":"roundrobin","concurrency":1}"#,
        r#"{"invoke":"_leastopen"}"#,
        r#"{"invoke":"first","forward_timeout":true}"#,
        r#"{"force_reregister":true}"#,
        r#"{"ppt_scheme":"x"}"#,
    ];
    const ERRORS: [&str; 2] = ["a.error", "wamp.error.unavailable"];
    let (kind, id, options, uri) = (input.number(), input.number() % 8, input.number(), input.number());
    let (options, uri) = (OPTIONS[options % OPTIONS.len()], URIS[uri % URIS.len()]);
    match kind % 12 {
        0 | 1 => format!(r#"[32,{id},{options},"{uri}"]"#),
        2 => format!("[34,{id},{}]", input.number()),
        3 | 4 => format!(r#"[16,{id},{options},"{uri}",[{id}]]"#),
        5 => format!(r#"[64,{id},{options},"{uri}"]"#),
        6 => format!("[66,{id},{}]", input.number()),
        7 => format!(r#"[48,{id},{options},"{uri}",[],{{}}]"#),
        8 => format!("[49,{id},{options}]"),
        9 => format!("[70,{id},{options},[{id}]]"),
        10 => format!(r#"[8,68,{id},{options},"{}"]"#, ERRORS[input.number() % 2]),
        _ => GOODBYE.to_owned(),
    }
}
