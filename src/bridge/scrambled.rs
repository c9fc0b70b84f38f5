//! Long-poll clients that do everything in any order, while too little memory is allowed: whatever they do, a message
//! reaches only a connection of the client whose transport it is for, and in the end nothing is left.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::longpoll::{Action, ConnectionKey, End, LongPoll, TransportKey};
use crate::limits::Limits;
use crate::transport::Settings;
use crate::wamp::Serializer;

const CLIENTS: u32 = 3;
const CONNECTIONS_MAX: usize = 6;

/// A connection.
struct Line {
    client: u32,
    /// The end of a request whose beginning is sent.
    unsent: String,
    written: Vec<u8>,
}

struct Scramble {
    core: LongPoll,
    now: Instant,
    random: StdRng,
    settings: Arc<Settings>,
    connections: BTreeMap<ConnectionKey, Line>,
    /// Whose transport it is.
    transports: BTreeMap<TransportKey, u32>,
    /// The ids that each client was told.
    ids: [Vec<String>; CLIENTS as usize],
    delivered: usize,
}

impl Scramble {
    fn new(seed: u64) -> Scramble {
        let limits = Limits { longpoll_queue_bytes_max: 200, longpoll_bytes_max: 6_000, ..Limits::DEFAULT };
        let settings = Settings {
            message_bytes_max: 5_000,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: Some("/lp".into()),
            pages: Default::default(),
        };
        Scramble {
            core: LongPoll::new(limits, [3; 32]),
            now: Instant::now(),
            random: StdRng::seed_from_u64(seed),
            settings: Arc::new(settings),
            connections: BTreeMap::new(),
            transports: BTreeMap::new(),
            ids: Default::default(),
            delivered: 0,
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.next_u32() as usize % bound
    }

    fn connection(&mut self) -> Option<ConnectionKey> {
        let place = self.below(CONNECTIONS_MAX);
        self.connections.keys().nth(place).copied()
    }

    fn line(&mut self, key: ConnectionKey) -> &mut Line {
        self.connections.get_mut(&key).expect("it is one of them")
    }

    fn transport(&mut self) -> Option<TransportKey> {
        let place = self.below(CONNECTIONS_MAX);
        self.transports.keys().nth(place).copied()
    }

    /// A request of this client, for one of its transports.
    fn request(&mut self, client: u32) -> String {
        let ids = self.ids[client as usize].clone();
        let id = match ids.len() {
            0 => "none".to_owned(),
            count => ids[count - 1 - self.below(count.min(2))].clone(),
        };
        let (path, body) = match self.below(8) {
            0 => ("open".to_owned(), r#"{"protocols":["wamp.2.json"]}"#.to_owned()),
            1 => (format!("{id}/close"), String::new()),
            2 | 3 => (format!("{id}/send"), format!("[5{}]", " ".repeat(self.below(1_500)))),
            _ => (format!("{id}/receive"), String::new()),
        };
        format!("POST /lp/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn step(&mut self) {
        match self.below(32) {
            0..=2 if self.connections.len() < CONNECTIONS_MAX => {
                let client = self.random.next_u32() % CLIENTS;
                let key = self.core.connect(self.settings.clone(), self.now);
                self.connections.insert(key, Line { client, unsent: String::new(), written: Vec::new() });
            }
            0..=12 => {
                let Some(key) = self.connection() else { return };
                let request = match std::mem::take(&mut self.line(key).unsent) {
                    unsent if unsent.is_empty() => self.request(self.connections[&key].client),
                    unsent => unsent,
                };
                let bytes = if self.below(4) > 0 { request.len() } else { self.below(request.len()) };
                request[bytes..].clone_into(&mut self.line(key).unsent);
                self.core.receive(key, &request.as_bytes()[..bytes], self.now);
            }
            13..=18 => {
                let Some(key) = self.transport() else { return };
                let spaces = " ".repeat(self.below(1_500));
                let message = format!("[\"of {}\"{spaces}]", self.transports[&key]);
                let frame = [&(message.len() as u32).to_be_bytes()[..], message.as_bytes()].concat();
                self.core.shard_sent(key, &frame, self.now);
            }
            19 if self.below(4) == 0 => {
                let Some(key) = self.transport() else { return };
                self.core.shard_ended(key, self.now);
            }
            20 => {
                let Some(key) = self.connection() else { return };
                self.core.disconnect(key, self.now);
            }
            21 => {
                let Some(key) = self.connection() else { return };
                self.core.input_ended(key, self.now);
            }
            22 => {
                self.now += Duration::from_millis(self.random.next_u32().into()) / 200_000;
                self.core.expire(self.now);
            }
            _ => self.write(),
        }
        self.act();
    }

    fn act(&mut self) {
        let mut actions = Vec::new();
        self.core.actions(&mut actions);
        while !actions.is_empty() {
            for action in actions.drain(..) {
                match action {
                    Action::Open { transport, connection, .. } => {
                        self.transports.insert(transport, self.connections[&connection].client);
                        self.core.opened(transport, connection, true, self.now);
                    }
                    Action::Drop(End::Client(key)) | Action::Return(key, _) => {
                        self.connections.remove(&key);
                    }
                    Action::Drop(End::Shard(key)) => {
                        self.transports.remove(&key);
                    }
                    Action::Shutdown(_) => {}
                }
            }
            self.core.actions(&mut actions);
        }
    }

    /// Writes some of what waits for each connection, and all that waits for shards.
    fn write(&mut self) {
        let ends: Vec<_> = self.transports.keys().map(|key| End::Shard(*key)).collect();
        for end in ends {
            let bytes = self.core.outbound(end).len();
            self.core.advance(end, bytes, self.now);
            self.act();
        }
        for key in self.connections.keys().copied().collect::<Vec<_>>() {
            self.write_to(key);
            self.act();
        }
    }

    fn write_to(&mut self, key: ConnectionKey) {
        let whole = self.below(3) > 0;
        let octets = self.core.outbound(End::Client(key)).to_vec();
        let bytes = if whole { octets.len() } else { octets.len() / 2 };
        // It may have ended with another one.
        let Some(Line { client, written, .. }) = self.connections.get_mut(&key) else { return };
        written.extend_from_slice(&octets[..bytes]);
        let text = String::from_utf8_lossy(written);
        for other in (0..CLIENTS).filter(|other| other != client) {
            assert!(!text.contains(&format!("of {other}")), "a message of another client's transport");
        }
        let new = written.len() - bytes;
        self.delivered += String::from_utf8_lossy(&written[new..]).matches("\"of ").count();
        let told = text.split("\"transport\":\"").skip(1).filter(|told| told.contains('"'));
        let told: HashSet<_> = told.filter_map(|told| told.split('"').next()).map(str::to_owned).collect();
        let known = &mut self.ids[*client as usize];
        known.extend(told.into_iter().filter(|id| !known.contains(id)).collect::<Vec<_>>());
        self.core.advance(End::Client(key), bytes, self.now);
    }
}

#[test]
fn messages_reach_only_the_client_whose_transport_they_are_for() {
    let mut delivered = 0;
    for seed in 0..50 {
        let mut scramble = Scramble::new(seed);
        for _ in 0..600 {
            scramble.step();
        }
        delivered += scramble.delivered;
        for _ in 0..4 {
            scramble.now += Duration::from_secs(3_600);
            scramble.core.expire(scramble.now);
            scramble.act();
        }
        assert!(scramble.core.is_empty(), "seed {seed}");
    }
    assert!(delivered > 200, "only {delivered}");
}
