//! The world around the shards: sockets, mailboxes, the clock and the clients, all in one thread and all by chance.
//!
//! It plays the shell to the letter of the shard's documents: the order of calls in a turn, input only while
//! `wants_input` holds, the rest of a write when the socket takes it. Within that it does its worst: bytes are cut
//! anywhere, letters wait as long as they like (first in, first out for a pair of shards), readers stop, connections
//! break, time jumps.

mod clock;
mod judging;
mod logins;
mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use fanwire::error::CloseReason;
use fanwire::limits::Limits;
use fanwire::origin::PeerAddress;
use fanwire::router::{
    Clock, Closing, Letter, ListenerIndex, PeerKey, RequestIds, Router, Shard, ShardIndex,
};
use fanwire::transport::Framing;
use fanwire::wamp::Serializer;
use fanwire::wamp::message::code;

use crate::chance::Chance;
use crate::changes::Changes;
use crate::client::{Authority, Client, Stage};
use crate::coverage::Coverage;
use crate::guards::{Guards, SERVICE};
use crate::item::Message;
use crate::log::{Life, Log, Misdeed, What};
use crate::plan::{Plan, REQUEST_IDS, realm_name};
use crate::wire::{Inbound, Wire};
use crate::{dict, list};
use fanwire::wamp::reason;
use logins::Checks;

/// A connection: the client's end, the socket's two directions, and what the shell knows of it.
pub struct Peer {
    pub shard: usize,
    pub key: PeerKey,
    /// The life that the router's messages are for.
    pub client: Client,
    /// The life after it, which has said HELLO and more while the answer to GOODBYE is under way.
    pub next: Option<Client>,
    pub wire: Wire,
    /// Octets on their way to the router.
    upstream: Vec<u8>,
    /// Octets ever written to and taken from `upstream`.
    written: usize,
    taken: usize,
    /// Messages on their way: where in the stream they end, and where the log says that they were said.
    marks: VecDeque<(usize, usize)>,
    /// Messages the shard has, but may have kept for later.
    unsure: Vec<usize>,
    /// The shard has refused input and not yet resumed it.
    refused: bool,
    /// The client takes what is written to it.
    pub reading: bool,
    /// The shard may have bytes for it.
    writable: bool,
    /// The client will send no more than what is on its way.
    pub ending: bool,
    /// The shard knows that.
    ended: bool,
    /// The shard has shut its side.
    shut: bool,
    /// The key is dead.
    pub closed: bool,
}

impl Peer {
    /// The client can still say something.
    pub fn speaks(&self) -> bool {
        !self.closed && !self.ending && !self.shut
    }

    /// The shard is not done with what it has got.
    fn waits(&self) -> bool {
        !self.closed && !self.shut && !self.ended && (self.refused || !self.unsure.is_empty())
    }
}

/// Everything of a run.
pub struct World {
    pub chance: Chance,
    pub plan: Plan,
    pub now: Instant,
    pub router: Arc<Router>,
    pub shards: Vec<Shard>,
    pub peers: Vec<Peer>,
    pub log: Log,
    pub coverage: Coverage,
    pub changes: Changes,
    pub guards: Option<Guards>,
    by_key: BTreeMap<(usize, PeerKey), usize>,
    letters: BTreeMap<(usize, usize), VecDeque<Letter>>,
    congested: BTreeSet<usize>,
    began: Instant,
    checks: Checks,
    /// When the shutdown must be over.
    pub drained_by: Option<Instant>,
    /// Shards whose turn goes on: more input may come before it ends.
    turning: BTreeSet<usize>,
    /// The first thing that went wrong outside of the checkers.
    pub failure: Option<String>,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut chance = Chance::new(seed);
        let [mut rejoins, mut meta, mut revocations] =
            [!seed, seed.rotate_left(23), seed.rotate_left(41)].map(Chance::new);
        let plan = Plan::draw(&mut chance, &mut rejoins, &mut meta, &mut revocations);
        let now = Instant::now();
        let changes = Changes::draw(seed, plan.shard_count, !plan.calm && !plan.retention);
        let mut settings = changes.settings(plan.settings());
        let guards = Guards::draw(seed, &plan);
        if let Some(guards) = &guards {
            settings = guards.settings(settings);
        }
        let router = Router::new(settings, plan.shard_count, Clock::at_epoch(now));
        let shards = (0..plan.shard_count)
            .map(|index| Shard::new(router.clone(), ShardIndex(index as u8), chance.seed()))
            .collect();
        let mut coverage = Coverage::default();
        coverage.count_many("64 shards", usize::from(plan.shard_count == 64));
        let open_max = plan.limits.invocations_open_per_session_max;
        let invocations_open_max =
            (open_max != Limits::DEFAULT.invocations_open_per_session_max).then_some(open_max);
        World {
            chance,
            plan,
            now,
            router,
            shards,
            peers: Vec::new(),
            log: Log {
                invocations_open_max,
                realms_go: changes.idle_ms.is_some(),
                guards: guards.as_ref().map_or_else(Vec::new, |guards| guards.guards.clone()),
                doors: guards.as_ref().map_or_else(Vec::new, |guards| guards.doors.clone()),
                ..Log::default()
            },
            coverage,
            changes,
            guards,
            began: now,
            checks: Checks::new(seed),
            by_key: BTreeMap::new(),
            letters: BTreeMap::new(),
            congested: BTreeSet::new(),
            drained_by: None,
            turning: BTreeSet::new(),
            failure: None,
        }
    }

    fn fail(&mut self, what: String) {
        let _ = self.failure.get_or_insert(what);
    }

    // Clients.

    /// A client connects and begins the handshake; it is told apart by its position in `peers`.
    pub fn connect(&mut self, full: bool) -> usize {
        self.connect_as(full, None)
    }

    /// The same; or an authority connects that is to sit in a realm.
    pub fn connect_as(&mut self, full: bool, seat: Option<usize>) -> usize {
        let framing = [Framing::RawSocket, Framing::WebSocket, Framing::WebSocketBatched];
        let framing = *self.chance.pick(&framing).expect("some are given");
        let serializer = *self.chance.pick(&Serializer::ALL).expect("some are given");
        let small = !self.plan.calm && self.chance.percent(20);
        let wire = Wire::new(framing, serializer, if small { 0 } else { 15 });
        let shard = self.chance.below(self.shards.len());
        let listener = self.chance.below(REQUEST_IDS.len());
        let (ids, listener) = match seat {
            Some(_) => (RequestIds::Strict, ListenerIndex(SERVICE as u32)),
            None => (REQUEST_IDS[listener], ListenerIndex(listener as u32)),
        };
        let key = self.shards[shard].open(listener, full, Arc::new(PeerAddress::Unix.into()), self.now);
        let peer = self.peers.len();
        if self.by_key.insert((shard, key), peer).is_some() {
            self.fail(format!("{key:?} is used again while it lives"));
        }
        let realm = seat.unwrap_or_else(|| self.chance.below(self.plan.realm_count));
        let watcher = seat.is_none() && self.chance.percent(self.plan.watchers);
        let mut client = self.newcomer(realm, ids, watcher);
        client.authority = seat.map(|_| Authority::default());
        client.login = self.draw_login(&client);
        self.log.lives.push(Life {
            connection: peer,
            realm,
            shard,
            serializer,
            framing,
            message_bytes_max: wire.message_bytes_max(),
            cancelable: client.cancelable,
            progressive: client.progressive,
            reroutes: client.reroutes,
            revocable: client.revocable(),
            authority: seat.is_some(),
            login: client.login.clone(),
        });
        let handshake = wire.handshake();
        self.peers.push(Peer {
            shard,
            key,
            client,
            next: None,
            wire,
            upstream: Vec::new(),
            written: 0,
            taken: 0,
            marks: VecDeque::new(),
            unsure: Vec::new(),
            refused: false,
            reading: true,
            writable: false,
            ending: false,
            ended: false,
            shut: false,
            closed: false,
        });
        if full {
            self.coverage.count("connection refused because the router is full");
        }
        if self.plan.calm || full || !self.chance.percent(4) {
            self.write(peer, &handshake);
        } else {
            self.misbehave(peer, Misdeed::GarbageTransport);
        }
        self.turn_goes_on(shard);
        peer
    }

    /// HELLO, on a transport that is open; begins a new life if the last one was welcomed.
    pub fn join(&mut self, peer: usize, stray: bool) -> Message {
        let life = self.peers[peer].client.life;
        if self.log.heard().any(|(_, heard, _)| heard == life) {
            let realm = self.chance.below(self.plan.realm_count);
            let next = self.log.lives.len();
            let mut client = self.peers[peer].client.again(next, realm, &mut self.chance);
            client.login = self.draw_login(&client);
            let Client { cancelable, progressive, reroutes, .. } = client;
            let revocable = client.revocable();
            let login = client.login.clone();
            self.peers[peer].client = client;
            let before = self.log.lives[life].clone();
            self.log.lives.push(Life {
                realm,
                cancelable,
                progressive,
                reroutes,
                revocable,
                login,
                ..before
            });
            self.coverage.count("joined again on the same transport");
        }
        let client = &mut self.peers[peer].client;
        client.stage = Stage::Joining;
        let hello = client.hello(&if stray { "nowhere".to_owned() } else { realm_name(client.realm) });
        self.say(peer, hello.clone());
        hello
    }

    /// A client leaves and joins again without waiting for an answer. Tells which life says what; `None` if the client
    /// does not leave.
    pub fn rejoin(&mut self, peer: usize, stray: bool) -> Option<Vec<(usize, Message)>> {
        let (realm, life) = (self.chance.below(self.plan.realm_count), self.log.lives.len());
        let client = &mut self.peers[peer].client;
        let before = self.log.lives[client.life].clone();
        let mut next = client.again(life, realm, &mut self.chance);
        let name = if stray { "nowhere".to_owned() } else { realm_name(realm) };
        let messages = client.rejoin(&mut next, &name, self.plan.calm, &mut self.chance)?;
        self.log.lives.push(Life {
            realm,
            cancelable: next.cancelable,
            progressive: next.progressive,
            reroutes: next.reroutes,
            revocable: next.revocable(),
            login: None,
            ..before
        });
        self.peers[peer].next = Some(next);
        self.pipeline(peer, messages.clone());
        self.coverage.count("joined again before GOODBYE was answered");
        Some(messages)
    }

    /// A client writes a message.
    pub fn say(&mut self, peer: usize, message: Message) {
        self.say_as(peer, self.peers[peer].client.life, message);
    }

    fn say_as(&mut self, peer: usize, life: usize, mut message: Message) {
        self.mark(life, &mut message);
        let p = &self.peers[peer];
        let frame = p.wire.frame(&[message.write(p.wire.serializer)], &mut self.chance);
        let said = self.log.push(life, What::Said(message));
        self.write(peer, &frame);
        let p = &mut self.peers[peer];
        p.marks.push_back((p.written, said));
    }

    /// A client writes several messages, which a batching transport puts into one batch.
    pub fn say_all(&mut self, peer: usize, messages: Vec<Message>) {
        let life = self.peers[peer].client.life;
        self.pipeline(peer, messages.into_iter().map(|message| (life, message)).collect());
    }

    /// The same for messages of more than one life.
    fn pipeline(&mut self, peer: usize, mut messages: Vec<(usize, Message)>) {
        messages.iter_mut().for_each(|(life, message)| self.mark(*life, message));
        let p = &self.peers[peer];
        let serializer = p.wire.serializer;
        let bytes: Vec<Vec<u8>> = messages.iter().map(|(_, message)| message.write(serializer)).collect();
        // The limit holds for the whole batch, with the few octets that each message has around it.
        let length: usize = bytes.iter().map(|bytes| bytes.len() + 4).sum();
        let batched = p.wire.framing == Framing::WebSocketBatched;
        if !batched || length > self.plan.limits.message_bytes_max {
            for (life, message) in messages {
                self.say_as(peer, life, message);
            }
            return;
        }
        let frame = p.wire.frame(&bytes, &mut self.chance);
        self.write(peer, &frame);
        self.coverage.count_many("messages came in a batch", messages.len().saturating_sub(1));
        for (life, message) in messages {
            let said = self.log.push(life, What::Said(message));
            let p = &mut self.peers[peer];
            p.marks.push_back((p.written, said));
        }
    }

    /// A client breaks the protocol; the message, if that is what it breaks it with.
    pub fn misbehave(&mut self, peer: usize, how: Misdeed) -> Option<Message> {
        let p = &mut self.peers[peer];
        let (bytes, message) = p.client.misbehave(how, &p.wire, &mut self.chance);
        let life = p.client.life;
        self.log.push(life, What::Misdeed(how));
        self.coverage.misdeed(how);
        if let Some(message) = &message {
            let said = self.log.push(life, What::Said(message.clone()));
            let end = self.peers[peer].written + bytes.len();
            self.peers[peer].marks.push_back((end, said));
        }
        self.write(peer, &bytes);
        message
    }

    /// Octets are put on their way to the router.
    fn write(&mut self, peer: usize, bytes: &[u8]) {
        let p = &mut self.peers[peer];
        if p.ending || p.closed {
            return;
        }
        p.upstream.extend(bytes);
        p.written += bytes.len();
    }

    /// The client will send no more; what is on its way still arrives.
    pub fn end(&mut self, peer: usize) {
        let p = &mut self.peers[peer];
        if p.ending || p.closed {
            return;
        }
        p.ending = true;
        self.befall(peer, What::Left);
    }

    /// What happens to the connection happens to each life that is on it.
    fn befall(&mut self, peer: usize, what: What) {
        let p = &self.peers[peer];
        for client in [&p.client].into_iter().chain(&p.next) {
            self.log.push(client.life, what.clone());
        }
    }

    /// The connection breaks.
    pub fn reset(&mut self, peer: usize) {
        let (shard, key) = (self.peers[peer].shard, self.peers[peer].key);
        self.befall(peer, What::Left);
        self.shards[shard].close(key, CloseReason::Broken, self.now);
        self.forget(peer);
        // The shell may have read on, or find the socket writable, before it noticed.
        if self.chance.percent(20) {
            self.shards[shard].receive(key, &mut b"late".to_vec(), self.now);
            self.shards[shard].advance(key, 0, self.now);
            self.shards[shard].input_ended(key, self.now);
            if self.shards[shard].outbound(key).is_some() || self.shards[shard].wants_input(key) {
                self.fail(format!("{key:?} is not dead"));
            }
        }
        self.turn_goes_on(shard);
    }

    fn forget(&mut self, peer: usize) {
        let p = &mut self.peers[peer];
        p.closed = true;
        p.client.stage = Stage::Over;
        p.next = None;
        p.upstream = Vec::new();
        self.by_key.remove(&(p.shard, p.key));
    }

    /// What the client does with what it has read.
    fn listen(&mut self, peer: usize) {
        loop {
            let p = &mut self.peers[peer];
            match p.wire.next(&mut self.chance) {
                Ok(None) => return,
                Ok(Some(Inbound::Opened)) => {
                    if p.client.stage == Stage::Opening {
                        p.client.stage = Stage::Opened;
                    }
                }
                Ok(Some(Inbound::Refused)) => p.client.stage = Stage::Over,
                Ok(Some(Inbound::Ping(pong))) => {
                    self.coverage.count("client pinged");
                    if !p.client.mute {
                        self.write(peer, &pong);
                    }
                }
                Ok(Some(Inbound::Close(answer))) => {
                    p.client.stage = Stage::Over;
                    self.write(peer, &answer);
                }
                Ok(Some(Inbound::Message(message))) => self.hear(peer, message),
                Err(what) => return self.fail(format!("connection {peer} cannot read: {what}")),
            }
        }
    }

    fn hear(&mut self, peer: usize, message: Message) {
        let p = &mut self.peers[peer];
        let asked_to_leave = message.code() == code::GOODBYE && p.client.stage == Stage::Joined;
        p.client.hear(&message);
        self.log.push(p.client.life, What::Heard(message));
        if p.client.stage == Stage::Opened
            && let Some(next) = p.next.take()
        {
            p.client = next;
        }
        if asked_to_leave && p.speaks() {
            self.coverage.count("the router said GOODBYE");
            match self.chance.below(10) {
                0 => {}
                1 | 2 => {
                    self.misbehave(peer, Misdeed::Oversize);
                }
                _ => {
                    self.say(peer, Message(list![code::GOODBYE, dict! {}, reason::GOODBYE_AND_OUT]));
                }
            }
        }
    }

    // The shell.

    /// So many octets of a client reach its shard.
    pub fn upload(&mut self, peer: usize, bytes: usize) {
        let (shard, key) = (self.peers[peer].shard, self.peers[peer].key);
        if !self.shards[shard].wants_input(key) {
            self.refuse(peer);
            return self.turn_goes_on(shard);
        }
        let p = &mut self.peers[peer];
        let mut chunk: Vec<u8> = p.upstream.drain(..bytes.min(p.upstream.len())).collect();
        p.taken += chunk.len();
        let mut arrived = Vec::new();
        while let Some(&(end, said)) = p.marks.front()
            && end <= p.taken
        {
            p.marks.pop_front();
            p.unsure.push(said);
            let life = self.log.entries[said].life;
            self.log.push(life, What::Delivered(said));
            arrived.push(said);
        }
        arrived.into_iter().for_each(|said| self.notice_rejoin(peer, said));
        self.shards[shard].receive(key, &mut chunk, self.now);
        self.ask_again(peer);
        self.turn_goes_on(shard);
    }

    /// A HELLO that followed its GOODBYE at once is about to be handled.
    fn notice_rejoin(&mut self, peer: usize, said: usize) {
        let (p, entry) = (&self.peers[peer], &self.log.entries[said]);
        let What::Said(message) = &entry.what else { return };
        let Some(next) = p.next.as_ref().filter(|next| next.life == entry.life) else { return };
        let elsewhere = next.realm != p.client.realm && message.text(1) == realm_name(next.realm);
        if message.code() != code::HELLO || !elsewhere {
            return;
        }
        if self.invoked(peer) {
            self.coverage.count("a callee joined another realm while a letter invoked it");
        }
    }

    /// True if a letter is under way that will invoke a procedure of that connection.
    pub fn invoked(&self, peer: usize) -> bool {
        let p = &self.peers[peer];
        let mut letters = self.letters.iter().filter(|(pair, _)| pair.1 == p.shard).flat_map(|(_, all)| all);
        letters.any(|letter| matches!(letter, Letter::Invoke { callee, .. } if callee.peer == p.key))
    }

    /// After input: whatever the shard has is handled if it wants more, and may be kept if not.
    fn ask_again(&mut self, peer: usize) {
        let (shard, key) = (self.peers[peer].shard, self.peers[peer].key);
        if !self.shards[shard].wants_input(key) {
            return self.refuse(peer);
        }
        for said in std::mem::take(&mut self.peers[peer].unsure) {
            let life = self.log.entries[said].life;
            self.log.push(life, What::Handled(said));
        }
    }

    fn refuse(&mut self, peer: usize) {
        let p = &mut self.peers[peer];
        p.refused = true;
        let name = match self.congested.contains(&p.shard) {
            true => "input paused by congestion",
            false => "input paused because replies were left unread",
        };
        self.coverage.count(name);
    }

    /// The end of a client's sending side reaches its shard.
    fn upload_end(&mut self, peer: usize) {
        let p = &mut self.peers[peer];
        p.ended = true;
        let (shard, key) = (p.shard, p.key);
        self.shards[shard].input_ended(key, self.now);
        self.turn_goes_on(shard);
    }

    /// So many letters of one pair of shards arrive.
    pub fn post(&mut self, pair: (usize, usize), count: usize) {
        let Some(queue) = self.letters.get_mut(&pair) else { return };
        let arrived: Vec<Letter> = queue.drain(..count.min(queue.len())).collect();
        if queue.is_empty() {
            self.letters.remove(&pair);
        }
        // Letters come first in a turn.
        if self.turning.contains(&pair.1) {
            self.turn_ends(pair.1);
        }
        for letter in arrived {
            self.shards[pair.1].take_letter(letter, self.now);
        }
        self.turn_goes_on(pair.1);
    }

    /// A socket takes so many octets.
    pub fn flush(&mut self, peer: usize, bytes: usize) {
        let (shard, key) = (self.peers[peer].shard, self.peers[peer].key);
        let mut taken = Vec::new();
        let left = self.shards[shard].outbound(key).map_or(0, |outbound| {
            for chunk in outbound.chunks() {
                let count = chunk.len().min(bytes - taken.len());
                taken.extend_from_slice(&chunk[..count]);
            }
            outbound.len() - taken.len()
        });
        let p = &mut self.peers[peer];
        p.writable = left > 0;
        p.wire.take(&taken);
        self.shards[shard].advance(key, taken.len(), self.now);
        self.listen(peer);
    }

    /// After input the turn ends, or takes more.
    pub fn turn_goes_on(&mut self, shard: usize) {
        self.turning.insert(shard);
        if self.plan.calm || !self.chance.percent(self.plan.long_turns) {
            self.turn_ends(shard);
        }
    }

    /// The end of a turn, as the shard's documents give it.
    fn turn_ends(&mut self, shard: usize) {
        let now = self.now;
        self.turning.remove(&shard);
        self.shards[shard].expire(now);
        for to in (0..self.shards.len()).filter(|to| *to != shard) {
            let letters = self.shards[shard].letters(ShardIndex(to as u8));
            if !letters.is_empty() {
                self.letters.entry((shard, to)).or_default().extend(letters.drain(..));
            }
        }
        let mut dirty = Vec::new();
        self.shards[shard].dirty(&mut dirty);
        for key in dirty {
            let Some(&peer) = self.by_key.get(&(shard, key)) else { continue };
            self.peers[peer].writable = true;
            let queued = self.shards[shard].outbound(key).map_or(0, |outbound| outbound.len());
            if queued > self.plan.limits.outbound_bytes_max {
                self.fail(format!("{queued} octets are queued for connection {peer}"));
            }
            let bytes = match self.peers[peer].reading {
                true if self.chance.percent(70) => usize::MAX,
                true => self.chance.below(200),
                false => 0,
            };
            self.flush(peer, bytes);
        }
        self.shards[shard].flushed();
        self.take_checks(shard);
        self.close_peers(shard);
        self.resume_peers(shard);
    }

    fn close_peers(&mut self, shard: usize) {
        let mut closing = Vec::new();
        self.shards[shard].closing(&mut closing);
        for (key, closing) in closing {
            // A connection may be shut and then break in one turn; what is to be done to it is done then.
            let Some(&peer) = self.by_key.get(&(shard, key)) else { continue };
            match closing {
                Closing::Shutdown => {
                    if self.shards[shard].outbound(key).is_some_and(|outbound| !outbound.is_empty()) {
                        self.fail(format!("connection {peer} is shut with bytes unwritten"));
                    }
                    self.peers[peer].shut = true;
                    self.peers[peer].client.stage = Stage::Over;
                    self.befall(peer, What::Shut);
                    self.peers[peer].next = None;
                    if self.chance.percent(85) {
                        self.peers[peer].ending = true;
                    }
                }
                Closing::Drop(reason) => {
                    self.befall(peer, What::Closed(reason));
                    self.coverage.closed(reason);
                    self.forget(peer);
                }
            }
        }
    }

    fn resume_peers(&mut self, shard: usize) {
        let mut resumed = Vec::new();
        self.shards[shard].resumed(&mut resumed);
        if resumed.is_empty() {
            return;
        }
        for key in resumed {
            let Some(&peer) = self.by_key.get(&(shard, key)) else { continue };
            self.coverage.count("input resumed");
            self.peers[peer].refused = false;
            self.shards[shard].receive(key, &mut [], self.now);
            self.ask_again(peer);
        }
        self.turn_ends(shard);
    }

    /// A shard is told of congestion, or that it is over.
    pub fn congest(&mut self, shard: usize, congested: bool) {
        if congested {
            self.congested.insert(shard)
        } else {
            self.congested.remove(&shard)
        };
        self.shards[shard].congested(congested);
        self.turn_ends(shard);
    }

    /// The router shuts down.
    pub fn drain(&mut self) {
        self.drained_by = Some(self.now + Limits::ms(self.plan.limits.drain_ms_max));
        self.coverage.count("the router was shut down");
        for shard in 0..self.shards.len() {
            self.shards[shard].drain(self.now);
            self.turn_ends(shard);
        }
    }

    // What can happen next.

    /// Connections with something on its way to the router that may arrive.
    pub fn uploads(&self) -> Vec<usize> {
        let waits = |p: &Peer| !p.closed && !p.refused && !p.ended && (p.ending || !p.upstream.is_empty());
        (0..self.peers.len()).filter(|peer| waits(&self.peers[*peer])).collect()
    }

    /// Brings some or all of it, or the end if nothing is before it.
    pub fn arrive(&mut self, peer: usize, bytes: usize) {
        if self.peers[peer].upstream.is_empty() { self.upload_end(peer) } else { self.upload(peer, bytes) }
    }

    /// Connections whose socket can take bytes.
    pub fn writables(&self) -> Vec<usize> {
        let waits = |p: &Peer| !p.closed && p.reading && p.writable;
        (0..self.peers.len()).filter(|peer| waits(&self.peers[*peer])).collect()
    }

    /// A socket takes bytes, in a turn of its own.
    pub fn write_on(&mut self, peer: usize, bytes: usize) {
        self.flush(peer, bytes);
        self.turn_ends(self.peers[peer].shard);
    }

    /// Pairs of shards with letters under way.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        self.letters.keys().copied().collect()
    }
}
