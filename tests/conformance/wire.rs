//! Shards without sockets, and clients that speak to them in octets.
//!
//! A [`Wire`] drives a whole router: it moves letters until there are none and collects what is queued for each
//! client. Messages are written as JSON text whatever the client's serializer is, so that one test holds for every
//! transport and serializer ([`everywhere`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fanwire::codec;
use fanwire::limits::Limits;
use fanwire::origin::{Origin, PeerAddress};
use fanwire::router::authentication::{Access, RouterSettings};
use fanwire::router::{
    Clock, Closing, ListenerIndex, ListenerSettings, PeerKey, RealmSettings, RequestIds, Router, Settings,
    Shard, ShardIndex,
};
use fanwire::transport;
use fanwire::wamp::{Serializer, UriCheck};
use serde_json::Value;

/// A transport and a serializer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    RawSocket(Serializer),
    WebSocket(Serializer),
    Batched(Serializer),
}

impl Kind {
    pub fn serializer(self) -> Serializer {
        match self {
            Kind::RawSocket(serializer) | Kind::WebSocket(serializer) | Kind::Batched(serializer) => {
                serializer
            }
        }
    }
}

/// Every transport with every serializer.
pub const KINDS: [Kind; 3 * Serializer::COUNT] = [
    Kind::RawSocket(Serializer::Json),
    Kind::RawSocket(Serializer::MessagePack),
    Kind::RawSocket(Serializer::Cbor),
    Kind::WebSocket(Serializer::Json),
    Kind::WebSocket(Serializer::MessagePack),
    Kind::WebSocket(Serializer::Cbor),
    Kind::Batched(Serializer::Json),
    Kind::Batched(Serializer::MessagePack),
    Kind::Batched(Serializer::Cbor),
    Kind::RawSocket(Serializer::Ubjson),
    Kind::WebSocket(Serializer::Ubjson),
    Kind::Batched(Serializer::Ubjson),
];

/// Runs a test over every transport and serializer, on one, two and four shards.
pub fn everywhere(test: impl Fn(Wire)) {
    for shards in [1, 2, 4] {
        for kind in KINDS {
            test(Wire::new(shards, kind));
        }
    }
}

/// The same with settings that differ from the usual.
pub fn everywhere_with(change: impl Fn(&mut Settings), test: impl Fn(Wire)) {
    for shards in [1, 2, 4] {
        for kind in KINDS {
            test(Wire::with(shards, kind, &change));
        }
    }
}

/// The clients of one router.
pub struct Wire {
    pub router: Arc<Router>,
    pub shards: Vec<Shard>,
    pub now: Instant,
    kind: Kind,
    clients: HashMap<(usize, PeerKey), usize>,
    ends: Vec<End>,
}

/// A client's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client(usize);

/// A client's end of its connection.
struct End {
    shard: usize,
    key: PeerKey,
    kind: Kind,
    received: Vec<u8>,
    /// The router's answer to the handshake was taken off `received`.
    open: bool,
    shut: bool,
    dropped: bool,
    /// It takes nothing of what is queued for it.
    stalled: bool,
}

impl Wire {
    pub fn new(shard_count: usize, kind: Kind) -> Wire {
        Wire::with(shard_count, kind, |_| {})
    }

    /// A router whose settings differ from the usual.
    pub fn with(shard_count: usize, kind: Kind, change: impl FnOnce(&mut Settings)) -> Wire {
        let limits = Limits::DEFAULT;
        let listener = ListenerSettings {
            transport: Arc::new(transport::Settings {
                message_bytes_max: limits.message_bytes_max,
                peer_message_bytes_min: 512,
                serializers: [true; Serializer::COUNT],
                rawsocket: true,
                websocket: true,
                longpoll: None,
                pages: Default::default(),
            }),
            request_ids: RequestIds::Strict,
            forwarded_from: Vec::new(),
            access: Access::default(),
        };
        let realm = |name: &str, uri_check| RealmSettings { uri_check, ..RealmSettings::open(name) };
        let mut settings = Settings {
            limits,
            realms: vec![realm("realm1", UriCheck::Loose), realm("strict", UriCheck::Strict)],
            listeners: vec![listener],
            agent: "Fanwire-test".into(),
            authentication: RouterSettings::default(),
        };
        change(&mut settings);
        let now = Instant::now();
        let router = Router::new(settings, shard_count, Clock::at_epoch(now));
        let shards = (0..shard_count)
            .map(|index| Shard::new(router.clone(), ShardIndex(index as u8), [index as u8; 32]))
            .collect();
        Wire { router, shards, now, kind, clients: HashMap::new(), ends: Vec::new() }
    }

    /// Changes the settings of the running router, shard by shard.
    pub fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.router.settings.clone();
        change(&mut settings);
        let (router, _) = self.router.changed(settings);
        self.router = router;
        for shard in 0..self.shards.len() {
            self.shards[shard].configure(self.router.clone(), self.now);
            self.settle();
        }
    }

    /// A connection of this wire's kind, on the next shard in turn, with the handshake done.
    pub fn connect(&mut self) -> Client {
        self.connect_as(self.kind)
    }

    pub fn connect_as(&mut self, kind: Kind) -> Client {
        let client = self.open(kind, false);
        self.shake_hands(client, kind);
        client
    }

    /// A WebSocket of a browser with this header of its own, on the next shard in turn; the head of the answer.
    pub fn connect_browser(&mut self, header: &str) -> (Client, String) {
        let kind = Kind::WebSocket(Serializer::Json);
        let client = self.open(kind, false);
        let request = String::from_utf8(upgrade(Serializer::Json, "")).unwrap();
        self.send_bytes(client, request.replace("Host", &format!("{header}Host")).as_bytes());
        let answer = String::from_utf8(self.receive_bytes(client)).unwrap();
        self.ends[client.0].open = true;
        (client, answer)
    }

    /// The same at a listener, from somewhere.
    pub fn connect_from(&mut self, listener: u32, origin: Origin) -> Client {
        let client = self.open_at(ListenerIndex(listener), origin, self.kind, false);
        self.shake_hands(client, self.kind);
        client
    }

    fn shake_hands(&mut self, client: Client, kind: Kind) {
        let hello = match kind {
            Kind::RawSocket(serializer) => vec![0x7f, 0xf0 | (serializer.index() as u8 + 1), 0, 0],
            Kind::WebSocket(serializer) => upgrade(serializer, ""),
            Kind::Batched(serializer) => upgrade(serializer, ".batched"),
        };
        self.send_bytes(client, &hello);
        let end = &mut self.ends[client.0];
        let answer = match kind {
            Kind::RawSocket(_) => 4,
            _ => end.received.windows(4).position(|w| w == b"\r\n\r\n").expect("an upgrade is answered") + 4,
        };
        let answer: Vec<u8> = end.received.drain(..answer).collect();
        match kind {
            Kind::RawSocket(serializer) => {
                assert_eq!(answer, [0x7f, 0xb0 | (serializer.index() as u8 + 1), 0, 0]);
            }
            _ => assert!(answer.starts_with(b"HTTP/1.1 101 ")),
        }
        end.open = true;
    }

    /// A connection of which nothing was said yet.
    pub fn open(&mut self, kind: Kind, full: bool) -> Client {
        self.open_at(ListenerIndex(0), PeerAddress::Unix.into(), kind, full)
    }

    fn open_at(&mut self, listener: ListenerIndex, origin: Origin, kind: Kind, full: bool) -> Client {
        let shard = self.ends.len() % self.shards.len();
        let key = self.shards[shard].open(listener, full, Arc::new(origin), self.now);
        let client = Client(self.ends.len());
        self.clients.insert((shard, key), client.0);
        self.ends.push(End {
            shard,
            key,
            kind,
            received: Vec::new(),
            open: false,
            shut: false,
            dropped: false,
            stalled: false,
        });
        client
    }

    /// A client in a session of `realm1`; its session id.
    pub fn join(&mut self) -> (Client, u64) {
        let client = self.connect();
        let session = self.hello(client, "realm1");
        (client, session)
    }

    pub fn join_as(&mut self, kind: Kind) -> Client {
        let client = self.connect_as(kind);
        self.hello(client, "realm1");
        client
    }

    /// A client of RawSocket and JSON that takes messages of 2^(9 + `length`) octets, in a session of `realm1`.
    pub fn join_taking(&mut self, length: u8) -> Client {
        let client = self.open(Kind::RawSocket(Serializer::Json), false);
        self.send_bytes(client, &[0x7f, length << 4 | 1, 0, 0]);
        assert_eq!(self.receive_bytes(client), [0x7f, 0xb1, 0, 0]);
        self.ends[client.0].open = true;
        self.hello(client, "realm1");
        client
    }

    pub fn hello(&mut self, client: Client, realm: &str) -> u64 {
        let features = r#"{"features":{"call_canceling":true}}"#;
        let roles = format!(r#"{{"publisher":{{}},"subscriber":{{}},"caller":{{}},"callee":{features}}}"#);
        self.send(client, &format!(r#"[1,"{realm}",{{"roles":{roles}}}]"#));
        let welcome = self.receive_one(client);
        assert_eq!(welcome[0], 2, "{welcome}");
        welcome[1].as_u64().expect("a session id")
    }

    /// A client in a session of `realm1` that has announced to understand what is taken from it; its session id.
    pub fn join_revocable(&mut self) -> (Client, u64) {
        let client = self.connect();
        let subscriber = r#""subscriber":{"features":{"subscription_revocation":true}}"#;
        let callee = r#""callee":{"features":{"registration_revocation":true}}"#;
        let welcome = self.ask(client, &format!(r#"[1,"realm1",{{"roles":{{{subscriber},{callee}}}}}]"#));
        (client, welcome[1].as_u64().expect("a session id"))
    }

    /// A client in a session of `realm1` that has announced these roles; the details of its WELCOME.
    pub fn join_with(&mut self, kind: Kind, roles: &str) -> (Client, Value) {
        let client = self.connect_as(kind);
        let welcome = self.ask(client, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
        assert_eq!(welcome[0], 2, "{welcome}");
        (client, welcome[2].clone())
    }

    /// A client as it usually is: its session id and its authid.
    pub fn join_named(&mut self) -> (Client, u64, String) {
        let client = self.connect();
        let roles = r#"{"publisher":{},"subscriber":{},"caller":{},"callee":{}}"#;
        let welcome = self.ask(client, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
        let authid = welcome[2]["authid"].as_str().expect("an authid").to_owned();
        (client, welcome[1].as_u64().expect("a session id"), authid)
    }

    /// Sends a message given as JSON.
    pub fn send(&mut self, client: Client, json: &str) {
        let kind = self.ends[client.0].kind;
        let message = codec::decode(Serializer::Json, json.as_bytes()).expect("the test's own message");
        let mut bytes = Vec::new();
        codec::encode(&message, kind.serializer(), &mut bytes).expect("the test's own message");
        self.send_message_bytes(client, &bytes);
    }

    /// The same, but what it begets for other shards stays in the outboxes.
    pub fn send_without_letters(&mut self, client: Client, json: &str) {
        let kind = self.ends[client.0].kind;
        let message = codec::decode(Serializer::Json, json.as_bytes()).expect("the test's own message");
        let mut bytes = Vec::new();
        codec::encode(&message, kind.serializer(), &mut bytes).expect("the test's own message");
        let (shard, key) = self.place(client);
        self.shards[shard].receive(key, &mut client_frame(kind, &bytes), self.now);
    }

    /// Sends the octets of one message, framed.
    pub fn send_message_bytes(&mut self, client: Client, message: &[u8]) {
        let frame = client_frame(self.ends[client.0].kind, message);
        self.send_bytes(client, &frame);
    }

    /// Sends octets as they are.
    pub fn send_bytes(&mut self, client: Client, bytes: &[u8]) {
        let (shard, key) = self.place(client);
        self.shards[shard].receive(key, &mut bytes.to_vec(), self.now);
        self.settle();
    }

    /// Moves letters until there are none, and octets to the clients. What costs too much for a shard is done here.
    pub fn settle(&mut self) {
        for shard in &mut self.shards {
            let mut checks = Vec::new();
            shard.checks(&mut checks);
            checks.into_iter().for_each(|check| shard.checked(check.run(self.now), self.now));
        }
        loop {
            let mut moved = false;
            for from in 0..self.shards.len() {
                for to in 0..self.shards.len() {
                    moved |= self.move_letters(from, to);
                }
            }
            if !moved {
                break;
            }
        }
        for shard in 0..self.shards.len() {
            self.flush(shard);
        }
    }

    /// Peers that were not read and may be read again are, until there are none.
    pub fn resume(&mut self) {
        loop {
            let mut resumed = Vec::new();
            for shard in 0..self.shards.len() {
                let mut keys = Vec::new();
                self.shards[shard].resumed(&mut keys);
                resumed.extend(keys.into_iter().map(|key| (shard, key)));
            }
            if resumed.is_empty() {
                return;
            }
            for (shard, key) in resumed {
                self.shards[shard].receive(key, &mut [], self.now);
            }
            self.settle();
        }
    }

    /// Moves what one shard has written to another; true if that was anything.
    pub fn move_letters(&mut self, from: usize, to: usize) -> bool {
        let letters = std::mem::take(self.shards[from].letters(ShardIndex(to as u8)));
        let moved = !letters.is_empty();
        for letter in letters {
            self.shards[to].take_letter(letter, self.now);
        }
        moved
    }

    fn flush(&mut self, shard: usize) {
        let mut dirty = Vec::new();
        self.shards[shard].dirty(&mut dirty);
        for key in dirty {
            let end = &mut self.ends[self.clients[&(shard, key)]];
            if end.stalled {
                self.shards[shard].advance(key, 0, self.now);
                continue;
            }
            let Some(outbound) = self.shards[shard].outbound(key) else { continue };
            let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
            end.received.extend_from_slice(&bytes);
            self.shards[shard].advance(key, bytes.len(), self.now);
        }
        self.shards[shard].flushed();
        let mut closing = Vec::new();
        self.shards[shard].closing(&mut closing);
        for (key, what) in closing {
            let end = &mut self.ends[self.clients[&(shard, key)]];
            match what {
                Closing::Shutdown => end.shut = true,
                Closing::Drop(_) => end.dropped = true,
            }
        }
    }

    /// The client takes nothing from now on.
    pub fn stall(&mut self, client: Client) {
        self.ends[client.0].stalled = true;
    }

    /// The client takes what waits for it, and goes on taking.
    pub fn take(&mut self, client: Client) {
        let (shard, key) = self.place(client);
        self.ends[client.0].stalled = false;
        let outbound = self.shards[shard].outbound(key).expect("the peer is alive");
        let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
        self.ends[client.0].received.extend_from_slice(&bytes);
        self.shards[shard].advance(key, bytes.len(), self.now);
        self.settle();
    }

    /// The client's shard and its key there.
    pub fn place(&self, client: Client) -> (usize, PeerKey) {
        (self.ends[client.0].shard, self.ends[client.0].key)
    }

    /// Octets that wait for the client.
    pub fn waiting(&self, client: Client) -> usize {
        let (shard, key) = self.place(client);
        self.shards[shard].outbound(key).map_or(0, |outbound| outbound.len())
    }

    /// The router has said its last octet to this client.
    pub fn ended(&self, client: Client) -> bool {
        self.ends[client.0].shut || self.ends[client.0].dropped
    }

    /// The connection is gone without a word from either side.
    pub fn reset(&mut self, client: Client) {
        let (shard, key) = self.place(client);
        self.shards[shard].close(key, fanwire::error::CloseReason::Broken, self.now);
        self.settle();
    }

    /// The client has closed its side.
    pub fn end_input(&mut self, client: Client) {
        let (shard, key) = self.place(client);
        self.shards[shard].input_ended(key, self.now);
        self.settle();
    }

    pub fn sleep(&mut self, duration: Duration) {
        self.now += duration;
        for shard in &mut self.shards {
            shard.expire(self.now);
        }
        self.settle();
    }

    /// The octets received so far, handshake apart.
    pub fn receive_bytes(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.ends[client.0].received)
    }

    /// The messages received so far, as JSON. Close frames are left out.
    pub fn receive(&mut self, client: Client) -> Vec<Value> {
        let kind = self.ends[client.0].kind;
        let bytes = self.receive_bytes(client);
        messages(kind, &bytes).iter().map(|message| json(kind.serializer(), message)).collect()
    }

    /// The one message received since.
    pub fn receive_one(&mut self, client: Client) -> Value {
        let mut messages = self.receive(client);
        assert_eq!(messages.len(), 1, "one message was expected: {messages:?}");
        messages.remove(0)
    }

    /// Sends a message and returns the one that answers it.
    pub fn ask(&mut self, client: Client, json: &str) -> Value {
        assert_eq!(self.receive(client), Vec::<Value>::new(), "nothing is left unread");
        self.send(client, json);
        self.receive_one(client)
    }

    /// Everybody leaves; nothing may be left behind.
    pub fn finish(self) {
        self.finish_after(Duration::ZERO);
    }

    /// The same when this time has passed: until then idle realms are there.
    pub fn finish_after(mut self, idle: Duration) {
        for client in 0..self.ends.len() {
            if !self.ends[client].dropped {
                self.reset(Client(client));
            }
        }
        if !idle.is_zero() || self.router.realms().iter().any(|realm| realm.settings.template.is_some()) {
            self.sleep(idle);
        }
        assert!(self.router.is_empty());
        assert!(self.router.realms().iter().all(|realm| realm.settings.template.is_none()));
        for shard in &self.shards {
            assert!(shard.is_empty(), "{shard:?}");
        }
    }
}

/// The first elements of a message: an ERROR without its text for people.
pub fn head(message: &Value, elements: usize) -> Value {
    Value::Array(message.as_array().expect("a message is a list")[..elements].to_vec())
}

/// A message as JSON.
pub fn json(serializer: Serializer, message: &[u8]) -> Value {
    let decoded = codec::decode(serializer, message).expect("a router sends whole messages");
    let mut json = Vec::new();
    codec::encode(&decoded, Serializer::Json, &mut json).expect("every message has a form in JSON");
    serde_json::from_slice(&json).expect("JSON is JSON")
}

pub fn upgrade(serializer: Serializer, suffix: &str) -> Vec<u8> {
    format!(
        "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: wamp.2.{}{suffix}\r\n\r\n",
        serializer.name()
    )
    .into_bytes()
}

/// A frame as a client sends it.
pub fn client_frame(kind: Kind, message: &[u8]) -> Vec<u8> {
    match kind {
        Kind::RawSocket(_) => [&(message.len() as u32).to_be_bytes(), message].concat(),
        Kind::WebSocket(serializer) => websocket_frame(serializer, message),
        Kind::Batched(Serializer::Json) => websocket_frame(Serializer::Json, &[message, &[0x1e]].concat()),
        Kind::Batched(serializer) => {
            websocket_frame(serializer, &[&(message.len() as u32).to_be_bytes(), message].concat())
        }
    }
}

fn websocket_frame(serializer: Serializer, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![if serializer == Serializer::Json { 0x81 } else { 0x82 }];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        middle @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((middle as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The messages in a router's octets.
fn messages(kind: Kind, mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (message, rest) = match kind {
            Kind::RawSocket(_) => {
                let length = u32::from_be_bytes(bytes[..4].try_into().expect("four octets")) as usize;
                (Some(&bytes[4..4 + length]), &bytes[4 + length..])
            }
            _ => websocket_message(bytes),
        };
        match (kind, message) {
            (_, None) => {}
            (Kind::Batched(Serializer::Json), Some(message)) => {
                messages.push(message.strip_suffix(&[0x1e]).expect("a batch of one").to_vec());
            }
            (Kind::Batched(_), Some(message)) => messages.push(message[4..].to_vec()),
            (_, Some(message)) => messages.push(message.to_vec()),
        }
        bytes = rest;
    }
    messages
}

/// The payload of the first frame, unless it is a control frame, and what follows it.
fn websocket_message(bytes: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let (start, length) = match bytes[1] {
        short @ 0..=125 => (2, usize::from(short)),
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        _ => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight octets")) as usize),
    };
    let payload = &bytes[start..start + length];
    (Some(payload).filter(|_| bytes[0] & 0x0f < 8), &bytes[start + length..])
}
