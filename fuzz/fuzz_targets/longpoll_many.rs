//! Many connections of two long-poll clients, with too little memory for all: whatever they do, a message reaches only a
//! connection of the client whose transport it is for, and in the end nothing is left. The transport's own assertions
//! hold after each step.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanwire::bridge::longpoll::{Action, ConnectionKey, End, LongPoll, TransportKey};
use fanwire::limits::Limits;
use fanwire::transport::Settings;
use fanwire::wamp::Serializer;
use libfuzzer_sys::fuzz_target;

/// Spaces in the longest body.
const SPACES_MAX: usize = 255 * 16;

/// What the messages for each client hold; nothing a client sends does.
const MARKS: [&str; 2] = ["<first>", "<second>"];

fuzz_target!(|input: &[u8]| {
    let mut many = Many::new();
    for step in input.chunks_exact(3) {
        many.step(step[0], usize::from(step[1]), usize::from(step[2]));
        many.act();
    }
    for _ in 0..4 {
        many.pass(Duration::from_secs(3_600));
    }
    assert!(many.core.is_empty());
});

/// A connection.
struct Line {
    client: usize,
    written: Vec<u8>,
}

struct Many {
    core: LongPoll,
    now: Instant,
    settings: Arc<Settings>,
    lines: BTreeMap<ConnectionKey, Line>,
    /// Whose transport it is.
    transports: BTreeMap<TransportKey, usize>,
    /// The last id that each client was told.
    ids: [String; 2],
}

impl Many {
    fn new() -> Many {
        let limits = Limits { longpoll_queue_bytes_max: 200, longpoll_bytes_max: 6_000, ..Limits::DEFAULT };
        let settings = Settings {
            message_bytes_max: 2 * SPACES_MAX,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: Some("/lp".into()),
            pages: Default::default(),
        };
        let (lines, transports, ids) = Default::default();
        let core = LongPoll::new(limits, [1; 32]);
        Many { core, now: Instant::now(), settings: Arc::new(settings), lines, transports, ids }
    }

    /// One step: what, with whom, and how much of it.
    fn step(&mut self, what: u8, whom: usize, size: usize) {
        let line = self.lines.keys().nth(whom % self.lines.len().max(1)).copied();
        let transport = self.transports.keys().nth(whom % self.transports.len().max(1)).copied();
        match (what % 16, line, transport) {
            (0, ..) if self.lines.len() < 8 => {
                let key = self.core.connect(self.settings.clone(), self.now);
                self.lines.insert(key, Line { client: whom % 2, written: Vec::new() });
            }
            (1, Some(key), _) => self.post(key, "open", r#"{"protocols":["wamp.2.json"]}"#, 0),
            (2 | 3, Some(key), _) => self.post(key, "ID/receive", "", size),
            (4, Some(key), _) => self.post(key, "ID/send", &format!("[5{}]", " ".repeat(size * 16)), 0),
            (5, Some(key), _) => self.post(key, "ID/close", "", 0),
            // A request that is begun; what is posted next is the rest of its body.
            (6, Some(key), _) => self.post(key, "ID/send", &" ".repeat(SPACES_MAX), size * 16),
            (7, Some(key), _) => self.core.disconnect(key, self.now),
            (8, Some(key), _) => self.core.input_ended(key, self.now),
            (9 | 10, _, Some(key)) => {
                let mark = MARKS[self.transports[&key]];
                let message = format!("[\"{mark}\"{}]", " ".repeat(size * 16));
                let frame = [&(message.len() as u32).to_be_bytes()[..], message.as_bytes()].concat();
                self.core.shard_sent(key, &frame, self.now);
            }
            (11, _, Some(key)) => self.core.shard_ended(key, self.now),
            (12, _, Some(key)) => {
                let bytes = self.core.outbound(End::Shard(key)).len();
                self.core.advance(End::Shard(key), bytes, self.now);
            }
            (13 | 14, Some(key), _) => self.write(key, size),
            (15, ..) => self.pass(Duration::from_millis(size as u64 * 100)),
            _ => {}
        }
    }

    /// A request of the client whose connection it is, for its own transport, without the last so many octets.
    fn post(&mut self, key: ConnectionKey, path: &str, body: &str, unsent: usize) {
        let path = path.replace("ID", &self.ids[self.lines[&key].client]);
        let request =
            format!("POST /lp/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let sent = request.len().saturating_sub(unsent);
        self.core.receive(key, &request.as_bytes()[..sent], self.now);
    }

    /// Writes what waits for a client, without the last so many octets.
    fn write(&mut self, key: ConnectionKey, unsent: usize) {
        let octets = self.core.outbound(End::Client(key));
        let octets = octets[..octets.len().saturating_sub(unsent / 16)].to_vec();
        let Some(line) = self.lines.get_mut(&key) else { return };
        line.written.extend_from_slice(&octets);
        let text = String::from_utf8_lossy(&line.written);
        assert!(!text.contains(MARKS[1 - line.client]), "a message of the other client's transport");
        let told = text.rsplit("\"transport\":\"").next().and_then(|told| told.split_once("\"}"));
        if let Some((id, _)) = told.filter(|(id, _)| id.len() == 24) {
            id.clone_into(&mut self.ids[line.client]);
        }
        self.core.advance(End::Client(key), octets.len(), self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.expire(self.now);
        self.act();
    }

    fn act(&mut self) {
        let mut actions = Vec::new();
        self.core.actions(&mut actions);
        while !actions.is_empty() {
            for action in actions.drain(..) {
                match action {
                    Action::Open { transport, connection, .. } => {
                        self.transports.insert(transport, self.lines[&connection].client);
                        self.core.opened(transport, connection, true, self.now);
                    }
                    Action::Drop(End::Client(key)) | Action::Return(key, _) => {
                        self.lines.remove(&key);
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
}
