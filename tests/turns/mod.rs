//! Real shards without sockets, driven in turns by one thread, and clients that are no more than keys.
//!
//! Shared by what counts the costs of the router: the tests `allocations` and `scaling`, and the benches. Letters pass
//! the mailboxes' own queue, so what is counted about them is what workers would do. Every frame to a client counts as
//! written in the turn in which it was queued.

#![allow(dead_code, reason = "each of those who share it needs a part")]

use std::sync::Arc;
use std::time::Instant;

use fanwire::codec;
use fanwire::limits::Limits;
use fanwire::origin::PeerAddress;
use fanwire::router::authentication::{self, Access, RouterSettings};
use fanwire::router::{
    Clock, Letter, ListenerIndex, ListenerSettings, PeerKey, Permissions, RealmSettings, RequestIds, Role,
    Router, Settings, Shard, ShardIndex,
};
use fanwire::server::mailbox::Queue;
use fanwire::transport::websocket::{self, FrameHeader, HEADER_BYTES_MAX, Opcode};
use fanwire::transport::{self, Framing};
use fanwire::wamp::{Message, Serializer, Value};

/// The router's shards and the mailboxes between them.
pub struct Shards {
    pub shards: Vec<Shard>,
    pub handed: Handed,
    pub now: Instant,
    mailboxes: Vec<Queue<Letter>>,
    /// Letters taken from each mailbox; the buffers are used again.
    letters: Vec<Vec<Letter>>,
    dirty: Vec<PeerKey>,
}

/// What the shards have handed to one another.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Handed {
    /// Letters to other shards.
    pub letters: u64,
    /// Batches appended to a mailbox: each takes its lock once. Taking them out takes it once a turn.
    pub appends: u64,
    /// Batches that found the mailbox empty: each is one system call.
    pub wakes: u64,
}

/// A client of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client {
    pub shard: usize,
    pub key: PeerKey,
    pub speech: Speech,
}

/// A transport and a serializer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speech {
    pub framing: Framing,
    pub serializer: Serializer,
}

/// RawSocket with MessagePack.
pub const RAWSOCKET: Speech = Speech { framing: Framing::RawSocket, serializer: Serializer::MessagePack };

/// What clients mask with.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

impl Shards {
    /// Shards without clients. Request ids are not checked, so that one message can be sent again and again.
    pub fn new(count: usize) -> Shards {
        Shards::with(count, Permissions::Everything)
    }

    /// The same, whose clients may do so much.
    pub fn with(count: usize, permissions: Permissions) -> Shards {
        let role = Role { permissions, administers: true, ..Role::open("anonymous") };
        let limits = Limits::DEFAULT;
        let transport = transport::Settings {
            message_bytes_max: limits.message_bytes_max,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        };
        let authentication = Arc::new(authentication::Settings::anonymous(role));
        let settings = Settings {
            limits: limits.clone(),
            realms: vec![RealmSettings { authentication, ..RealmSettings::open("realm1") }],
            listeners: vec![ListenerSettings {
                transport: Arc::new(transport),
                request_ids: RequestIds::Any,
                forwarded_from: Vec::new(),
                access: Access::default(),
            }],
            agent: String::new(),
            authentication: RouterSettings::default(),
        };
        let router = Router::new(settings, count, Clock::at_epoch(Instant::now()));
        let shard = |index| Shard::new(router.clone(), ShardIndex(index as u8), [index as u8; 32]);
        let mailbox = |_| Queue::new(limits.mailbox_letters_max, limits.mailbox_bytes_max);
        Shards {
            shards: (0..count).map(shard).collect(),
            handed: Handed::default(),
            now: Instant::now(),
            mailboxes: (0..count).map(mailbox).collect(),
            letters: (0..count).map(|_| Vec::new()).collect(),
            dirty: Vec::new(),
        }
    }

    /// A client in a session.
    pub fn join(&mut self, shard: usize, speech: Speech) -> Client {
        let (client, mut hello) = self.opened(shard, speech);
        let joined = self.shards[shard].counters().sessions_joined;
        self.send(client, &mut hello);
        self.settle();
        assert_eq!(self.shards[shard].counters().sessions_joined, joined + 1);
        client
    }

    /// The same, and the authid it is given. For RawSocket.
    pub fn join_named(&mut self, shard: usize, speech: Speech) -> (Client, String) {
        let (client, mut hello) = self.opened(shard, speech);
        self.shards[shard].receive(client.key, &mut hello, self.now);
        let outbound = self.shards[shard].outbound(client.key).expect("it is answered");
        let welcome: Vec<u8> = outbound.chunks().flatten().copied().collect();
        let Ok(Message::Welcome(welcome)) = codec::decode(speech.serializer, &welcome[4..]) else {
            panic!("it is welcome")
        };
        let authid = codec::entries(&welcome.details).find_map(|(key, value)| match value {
            Value::Text(authid) if &*key == "authid" => Some(authid.into_owned()),
            _ => None,
        });
        self.settle();
        (client, authid.expect("everybody has a name"))
    }

    /// A client whose HELLO is to be sent.
    fn opened(&mut self, shard: usize, speech: Speech) -> (Client, Vec<u8>) {
        let key =
            self.shards[shard].open(ListenerIndex(0), false, Arc::new(PeerAddress::Unix.into()), self.now);
        let client = Client { shard, key, speech };
        self.send(client, &mut speech.handshake());
        let roles = r#"{"caller":{},"callee":{},"publisher":{},"subscriber":{}}"#;
        (client, speech.frame(&format!(r#"[1,"realm1",{{"roles":{roles}}}]"#)))
    }

    /// A message given as JSON, in a turn of its own; what it causes elsewhere is settled.
    pub fn say(&mut self, client: Client, json: &str) {
        self.send(client, &mut client.speech.frame(json));
        self.settle();
    }

    /// Octets from a client, in a turn of its shard. Returns the octets written by that turn.
    pub fn send(&mut self, client: Client, octets: &mut [u8]) -> usize {
        self.turn(client.shard, &mut [(client, octets)])
    }

    /// Turns of all shards until no letter waits.
    pub fn settle(&mut self) {
        loop {
            let before = self.handed;
            for shard in 0..self.shards.len() {
                self.turn(shard, &mut []);
            }
            if self.handed == before {
                return;
            }
        }
    }

    /// One turn of a shard, in the worker's order: letters, what its clients have sent, letters to others, one write to
    /// each peer. Returns the octets written.
    pub fn turn(&mut self, shard: usize, input: &mut [(Client, &mut [u8])]) -> usize {
        self.take_letters(shard);
        for (client, octets) in input {
            self.shards[shard].receive(client.key, octets, self.now);
        }
        self.post(shard);
        self.write(shard)
    }

    fn take_letters(&mut self, shard: usize) {
        let mut letters = std::mem::take(&mut self.letters[shard]);
        self.mailboxes[shard].take(&mut letters);
        for letter in letters.drain(..) {
            self.shards[shard].take_letter(letter, self.now);
        }
        self.letters[shard] = letters;
    }

    fn post(&mut self, shard: usize) {
        for to in (0..self.mailboxes.len()).filter(|to| *to != shard) {
            let letters = self.shards[shard].letters(ShardIndex(to as u8));
            if letters.is_empty() {
                continue;
            }
            self.handed.letters += letters.len() as u64;
            self.handed.appends += 1;
            let octets = letters.iter().map(Letter::bytes).sum();
            self.handed.wakes += u64::from(self.mailboxes[to].append(letters, octets));
        }
    }

    fn write(&mut self, shard: usize) -> usize {
        let shard = &mut self.shards[shard];
        shard.dirty(&mut self.dirty);
        let mut written = 0;
        for key in self.dirty.drain(..) {
            let octets = shard.outbound(key).map_or(0, |outbound| outbound.chunks().map(<[u8]>::len).sum());
            shard.advance(key, octets, self.now);
            written += octets;
        }
        shard.flushed();
        written
    }
}

impl Speech {
    /// The client's half of the transport's handshake.
    pub fn handshake(self) -> Vec<u8> {
        let suffix = match self.framing {
            Framing::RawSocket => return vec![0x7f, 0xf0 | (self.serializer.index() as u8 + 1), 0, 0],
            Framing::WebSocket => "",
            Framing::WebSocketBatched => ".batched",
        };
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: wamp.2.{}{suffix}\r\n\r\n",
            self.serializer.name()
        )
        .into_bytes()
    }

    /// A message given as JSON, in the client's serializer.
    pub fn message(self, json: &str) -> Vec<u8> {
        let message = codec::decode(Serializer::Json, json.as_bytes()).expect("a message is written");
        let mut octets = Vec::new();
        codec::encode(&message, self.serializer, &mut octets).expect("it has a form in every serializer");
        octets
    }

    /// The same in a frame as a client sends it.
    pub fn frame(self, json: &str) -> Vec<u8> {
        let mut message = self.message(json);
        match (self.framing, self.serializer) {
            (Framing::RawSocket, _) => return [&(message.len() as u32).to_be_bytes(), &message[..]].concat(),
            (Framing::WebSocket, _) => {}
            (Framing::WebSocketBatched, Serializer::Json) => message.push(websocket::RECORD_SEPARATOR),
            (Framing::WebSocketBatched, _) => {
                message = [&(message.len() as u32).to_be_bytes(), &message[..]].concat();
            }
        }
        let opcode = if self.serializer == Serializer::Json { Opcode::Text } else { Opcode::Binary };
        let header = FrameHeader { fin: true, opcode, payload_bytes: message.len() as u64, mask: Some(MASK) };
        let mut room = [0; HEADER_BYTES_MAX];
        let header_bytes = header.write_before(&mut room);
        websocket::mask(&mut message, MASK);
        [&room[HEADER_BYTES_MAX - header_bytes..], &message].concat()
    }
}

/// A PUBLISH whose one argument is a text of that many characters.
pub fn publish(topic: &str, characters: usize) -> String {
    format!(r#"[16,1,{{}},"{topic}",["{}"]]"#, "x".repeat(characters))
}
