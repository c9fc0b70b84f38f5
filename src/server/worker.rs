//! The thread that drives one shard: it owns the sockets, the poll and the clock, and decides nothing about WAMP.
//!
//! ```text
//!   turn:  wait -> errands -> newcomers -> letters -> read -> expire -> post -> write -> close -> look ahead
//! ```
//!
//! One turn takes all input there is, within bounds, before it writes once to each peer: under load many events share
//! a write, and with a single message in flight the turn is that message.
//!
//! Invariants: the worker sleeps only if nothing waits to be read, written, posted or resumed; `now` is taken once a
//! turn; every connection leaves through [`Worker::end`], which counts and tells it once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker};

use super::checker::Checks;
use super::connection::{Arrival, Connection, Connections, HandedOver, Input, Stage};
use super::entrance::{Entered, Gate, Newcomers, Refusal};
use super::farewell::{Farewells, Foreigners};
use super::mailbox::{BridgeErrand, Errand, Errands, Mailboxes};
use super::since_epoch;
use super::socket::Socket;
use crate::counters::Counters;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::router::authentication::{Check, Failed};
use crate::router::clock::FOLLOW_EVERY;
use crate::router::{Closing, Letter, PeerKey, Shard, ShardIndex};

/// The token of the worker's waker; connections use the index of their key.
pub const WAKER: Token = Token(usize::MAX);

/// Octets of the read buffer, which all connections of a worker share. A read takes no more than a peer's share of a
/// turn, so the rest is room for an operator who raises that share.
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Octets of TLS records read at once. Memory that no TLS is read into is never touched.
const RECORDS_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once; the rest comes in the next turn.
const EVENTS_MAX: usize = 1024;

/// How often a worker that has stopped reading looks whether it may go on. Mailboxes are emptied in much less.
const CONGESTION_POLL: Duration = Duration::from_millis(1);

/// Drives one shard.
#[derive(Debug)]
pub struct Worker {
    shard: Shard,
    index: ShardIndex,
    neighbours: Neighbours,
    limits: Limits,
    /// When the shard is to be told the world's time again.
    clock_due: Option<Instant>,
    poll: Poll,
    /// Connections that are no peers yet.
    newcomers: Newcomers,
    connections: Connections,
    read_buffer: Box<[u8]>,
    /// What is read of TLS goes through this.
    records: Box<[u8]>,
    /// Small pieces for one peer, copied together to be written.
    gathered: Vec<u8>,
    /// Peers whose input the shard had refused and wants again.
    resumed: Vec<PeerKey>,
    farewells: Farewells,
    foreigners: Foreigners,
    congested: bool,
    draining: bool,
    /// A connection has failed, perhaps after the letters of this turn were posted: what that begot must not wait for
    /// an event.
    unposted: bool,
    /// Letters taken from the mailbox, the next one last.
    letters: Vec<Letter>,
    /// Letters may be waiting that no event will announce again: a turn's share was used up, or none were taken.
    letters_wait: bool,
    dirty: Vec<PeerKey>,
    closing: Vec<(PeerKey, Closing)>,
    handed_over: Vec<(PeerKey, Vec<u8>)>,
    entered: Vec<Entered>,
    checks: Vec<Check>,
    failed: Vec<Failed>,
    /// What became of those that never were the shard's.
    refused: Counters,
}

/// What a worker shares with the other threads.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Of all workers.
    pub mailboxes: Mailboxes,
    /// Of the acceptor, who waits for the last connection when the router drains.
    pub acceptor: Arc<Waker>,
    /// Who serves the connections of long-poll clients.
    pub bridge: Arc<Errands<BridgeErrand>>,
    /// Who does what takes a shard too long.
    pub checks: Checks,
}

impl Worker {
    /// A worker at rest. `poll` must wake on [`WAKER`] when its mailbox, the one at `index`, is filled.
    pub fn new(
        shard: Shard,
        index: ShardIndex,
        neighbours: Neighbours,
        gates: Vec<Gate>,
        limits: Limits,
        poll: Poll,
    ) -> Worker {
        let newcomers = Newcomers::new(gates, Limits::ms(limits.handshake_ms_max));
        Worker {
            shard,
            index,
            neighbours,
            limits,
            clock_due: None,
            poll,
            newcomers,
            connections: Connections::default(),
            read_buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            records: vec![0; RECORDS_BYTES].into_boxed_slice(),
            gathered: Vec::new(),
            resumed: Vec::new(),
            farewells: Farewells::default(),
            foreigners: Foreigners::default(),
            congested: false,
            draining: false,
            unposted: false,
            letters: Vec::new(),
            letters_wait: false,
            dirty: Vec::new(),
            closing: Vec::new(),
            handed_over: Vec::new(),
            entered: Vec::new(),
            checks: Vec::new(),
            failed: Vec::new(),
            refused: Counters::default(),
        }
    }

    /// Takes turns until it is told to stop. Returns what its shard has counted.
    pub fn run(mut self) -> Counters {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut now = Instant::now();
        loop {
            self.wait(&mut events, now);
            now = Instant::now();
            if !self.turn(&events, now) {
                return self.counters();
            }
        }
    }

    /// What its shard has counted, and it has besides.
    fn counters(&self) -> Counters {
        let mut counters = self.shard.counters();
        counters.add(&self.refused);
        counters
    }

    /// False if the worker is to end.
    fn turn(&mut self, events: &Events, now: Instant) -> bool {
        self.unposted = false;
        if self.clock_due.is_none_or(|due| now >= due) {
            self.shard.clock().follow(now, since_epoch());
            self.clock_due = Some(now + FOLLOW_EVERY);
        }
        for event in events {
            // The waker's token is beyond every slot: what it announces is looked for in every turn anyway.
            if !self.newcomers.note(event) {
                self.connections.note(event);
            }
        }
        if !self.take_errands(now) {
            return false;
        }
        self.newcomers.advance(self.poll.registry(), now, Instant::now, &mut self.entered);
        self.let_in(now);
        // What willing peers are still owed goes first: else a queue would grow only because more is read in a turn
        // than is written, and its peer would be taken for a slow one. Peers that take nothing are not waited for.
        if self.connections.to_write() == 0 {
            self.take_letters(now);
            self.read(now);
        } else {
            // Letters may have come whose event is spent: the next turn must look.
            self.letters_wait = true;
        }
        self.shard.expire(now);
        self.have_checked(now);
        self.post();
        self.write(now);
        self.close(now);
        self.look_ahead();
        true
    }

    /// Sleeps until there is something to do, after asking for it for a while if the operator wants that.
    fn wait(&mut self, events: &mut Events, now: Instant) {
        let sleep_max = self.sleep_max(now);
        let asking_max = Duration::from_micros(self.limits.busy_poll_us);
        if !asking_max.is_zero() && sleep_max.is_none_or(|sleep| sleep > asking_max) {
            let until = Instant::now() + asking_max;
            while Instant::now() < until {
                self.poll(events, Some(Duration::ZERO));
                if !events.is_empty() {
                    return;
                }
            }
        }
        self.poll(events, sleep_max);
    }

    fn poll(&mut self, events: &mut Events, timeout: Option<Duration>) {
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("polling fails only if the descriptor is bad: {error}"),
        }
    }

    /// `None` if only an event gives it something to do.
    fn sleep_max(&self, now: Instant) -> Option<Duration> {
        let busy = self.unposted
            || self.letters_wait
            || self.newcomers.is_busy()
            || !self.resumed.is_empty()
            || self.connections.to_read() > 0
            || self.connections.to_write() > 0;
        if busy {
            return Some(Duration::ZERO);
        }
        let deadlines = self.shard.next_deadline().into_iter().chain(self.newcomers.next_deadline());
        let deadline = deadlines.min().map(|deadline| deadline.saturating_duration_since(now));
        let recheck = self.congested.then_some(CONGESTION_POLL);
        deadline.into_iter().chain(recheck).min()
    }

    fn take_errands(&mut self, now: Instant) -> bool {
        while let Some(errand) = self.errands().errand() {
            match errand {
                Errand::Adopt(arrival) => match self.newcomers.receive(arrival, self.poll.registry(), now) {
                    Some(Entered::Peer(arrival)) => self.adopt(arrival, Socket::register, now),
                    Some(Entered::Refused(origin, refusal)) => self.refuse(&origin, &refusal, now),
                    None => {}
                },
                Errand::Change(change) => {
                    self.limits = change.router.settings.limits.clone();
                    self.newcomers.configure(&change.gates, Limits::ms(self.limits.handshake_ms_max));
                    change.tell_taken(self.shard.configure(Arc::clone(&change.router), now));
                }
                Errand::Count(asker) => {
                    // Whoever has asked may have given up.
                    let _ = asker.send(self.counters());
                }
                Errand::Checked(checked) => self.shard.checked(checked, now),
                Errand::Renew(listener, config) => self.newcomers.renew(listener, config),
                Errand::Drain => {
                    self.draining = true;
                    self.newcomers.shut(self.poll.registry(), &mut self.entered);
                    self.shard.drain(now);
                }
                Errand::Stop => return false,
            }
        }
        true
    }

    /// Newcomers whose way is over.
    fn let_in(&mut self, now: Instant) {
        let mut entered = std::mem::take(&mut self.entered);
        for entered in entered.drain(..) {
            match entered {
                Entered::Peer(arrival) => self.adopt(arrival, Socket::reregister, now),
                Entered::Refused(origin, refusal) => self.refuse(&origin, &refusal, now),
            }
        }
        self.entered = entered;
    }

    /// A newcomer ends that is no peer.
    fn refuse(&mut self, origin: &Origin, refusal: &Refusal, now: Instant) {
        self.errands().connection_removed();
        let reason = refusal.reason();
        *self.refused.closed.entry(reason).or_default() += 1;
        match reason {
            CloseReason::Violation(_) => self.farewells.tell_refused(origin, refusal, now),
            _ => self.farewells.tell(origin, reason, now),
        }
    }

    /// A connection is a peer from here on. `register` puts its socket into the poll.
    fn adopt(
        &mut self,
        arrival: Arrival,
        register: impl FnOnce(&mut Socket, &Registry, Token) -> io::Result<()>,
        now: Instant,
    ) {
        let Arrival { mut socket, origin, listener, stage } = arrival;
        let whose = Arc::clone(&origin);
        let (key, returned) = match stage {
            Stage::Linked(link, request) => {
                (self.shard.open_linked(listener, link, request, whose, now), None)
            }
            Stage::Refused => (self.shard.open(listener, true, whose, now), None),
            Stage::New => (self.shard.open(listener, false, whose, now), None),
            Stage::Returned(octets) => (self.shard.open(listener, false, whose, now), Some(octets)),
        };
        let registered = register(&mut socket, self.poll.registry(), Token(key.index as usize));
        let secured = matches!(socket, Socket::Tls(_));
        let connection = Connection::new(key, listener, socket, origin);
        if secured {
            // Its first octets may have come with the last of the handshake.
            self.connections.insert_readable(connection);
        } else {
            self.connections.insert(connection);
        }
        if registered.is_err() {
            return self.fail(key, now);
        }
        if let Some(mut octets) = returned {
            self.shard.receive(key, &mut octets, now);
        }
    }

    fn errands(&self) -> &Errands<Errand> {
        self.neighbours.mailboxes[self.index.index()].errands()
    }

    /// Takes letters up to a turn's share of octets, the same as for reading; the rest waits for the next turn.
    fn take_letters(&mut self, now: Instant) {
        let mut room = self.limits.read_bytes_per_turn;
        self.letters_wait = false;
        loop {
            if self.letters.is_empty() {
                self.neighbours.mailboxes[self.index.index()].take(&mut self.letters);
                self.letters.reverse();
            }
            let Some(letter) = self.letters.pop() else { return };
            room = room.saturating_sub(letter.bytes());
            self.shard.take_letter(letter, now);
            if room == 0 || self.shard.sated() {
                self.letters_wait = true;
                return;
            }
        }
    }

    /// Reads each readable peer at most once, those that waited longest first, until the turn's share is used up.
    fn read(&mut self, now: Instant) {
        for key in self.resumed.drain(..) {
            self.shard.receive(key, &mut [], now);
            self.connections.read_later(key);
        }
        let mut room = self.limits.read_bytes_per_turn;
        for _ in 0..self.connections.to_read() {
            if room == 0 || self.shard.sated() {
                return;
            }
            let Some(key) = self.connections.next_to_read() else { return };
            room = room.saturating_sub(self.read_peer(key, now));
        }
    }

    /// One read; returns the octets.
    fn read_peer(&mut self, key: PeerKey, now: Instant) -> usize {
        let Some(connection) = self.connections.find(key) else { return 0 };
        if !self.shard.wants_input(key) {
            return 0;
        }
        let share = self.limits.read_bytes_per_peer_turn.min(READ_BUFFER_BYTES);
        match connection.read(&mut self.read_buffer[..share], &mut self.records) {
            Ok(Input::Bytes(bytes)) => {
                self.shard.receive(key, &mut self.read_buffer[..bytes], now);
                self.connections.read_later(key);
                bytes
            }
            Ok(Input::Nothing) => {
                self.connections.read_later(key);
                0
            }
            Ok(Input::End) => {
                self.shard.input_ended(key, now);
                0
            }
            Err(_) => {
                self.fail(key, now);
                0
            }
        }
    }

    /// Has done what takes a shard too long, and tells who has not joined.
    fn have_checked(&mut self, now: Instant) {
        self.shard.checks(&mut self.checks);
        for check in self.checks.drain(..) {
            if let Err(check) = self.neighbours.checks.hand_over(self.index, Box::new(check)) {
                self.shard.checked(check.decline(), now);
            }
        }
        self.shard.failed(&mut self.failed);
        for failed in self.failed.drain(..) {
            self.farewells.tell_failed(&failed, now);
        }
    }

    /// Hands the letters to the other workers, one batch each, and stops reading while one of them is behind. Only
    /// those that get letters are looked at, since each look is likely to miss the cache; all are, once it has stopped.
    fn post(&mut self) {
        let mut congested = false;
        for (place, mailbox) in self.neighbours.mailboxes.iter().enumerate() {
            if place == self.index.index() {
                continue;
            }
            let letters = self.shard.letters(ShardIndex(place as u8));
            let posted = !letters.is_empty();
            if posted {
                mailbox.append(letters);
            }
            congested |= if self.congested { !mailbox.relieved() } else { posted && mailbox.congested() };
        }
        if congested != self.congested {
            self.congested = congested;
            self.shard.congested(congested);
        }
    }

    /// Writes to each writable peer that has octets.
    fn write(&mut self, now: Instant) {
        self.shard.dirty(&mut self.dirty);
        for key in self.dirty.drain(..) {
            self.connections.write_later(key);
        }
        for _ in 0..self.connections.to_write() {
            let Some(key) = self.connections.next_to_write() else { break };
            self.write_peer(key, now);
        }
        self.shard.flushed();
    }

    /// Mostly one call: it ends when all is written, the socket takes no more, or the peer's share is used up.
    fn write_peer(&mut self, key: PeerKey, now: Instant) {
        let Some(connection) = self.connections.find(key) else { return };
        let mut room = self.limits.write_bytes_per_peer_turn;
        while let Some(outbound) = self.shard.outbound(key) {
            let waiting = outbound.len();
            if waiting == 0 {
                // What the encryption has to say without being asked.
                if connection.flush().is_err() {
                    self.fail(key, now);
                }
                return;
            }
            if room == 0 {
                self.connections.write_later(key);
                return;
            }
            match connection.write(outbound.chunks(), room, &mut self.gathered) {
                Ok(bytes) => {
                    room -= bytes;
                    self.shard.advance(key, bytes, now);
                    if bytes == waiting || !connection.writable() {
                        return;
                    }
                }
                Err(_) => return self.fail(key, now),
            }
        }
    }

    /// Does what the shard has decided about connections, and tells what it has not allowed.
    fn close(&mut self, now: Instant) {
        self.take_learned();
        let mut closing = std::mem::take(&mut self.closing);
        self.shard.closing(&mut closing);
        for (key, what) in closing.drain(..) {
            match what {
                Closing::Shutdown => self.shutdown(key),
                Closing::Drop(reason) => self.end(key, reason, now),
            }
        }
        self.closing = closing;
        for denial in self.shard.denials() {
            self.farewells.tell_denied(&denial, now);
        }
        for complaint in self.shard.complaints() {
            self.farewells.tell_complaint(&complaint);
        }
        let mut handed_over = std::mem::take(&mut self.handed_over);
        self.shard.handed_over(&mut handed_over);
        for (key, octets) in handed_over.drain(..) {
            self.hand_over(key, octets);
        }
        self.handed_over = handed_over;
    }

    /// The connection is the bridge's from here on. It is counted there before it is no longer counted here, so that
    /// nobody takes the last one for gone.
    fn hand_over(&mut self, key: PeerKey, octets: Vec<u8>) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        let _ = connection.socket().deregister(self.poll.registry());
        let (origin, listener) = (Arc::clone(&connection.origin), connection.listener);
        let (socket, bridge) = (connection.into_socket(), &self.neighbours.bridge);
        bridge.connection_added();
        bridge.send(BridgeErrand::Serve(HandedOver { socket, origin, listener, octets }));
        self.errands().connection_removed();
    }

    /// Notes who the peers behind proxies are, for the line that tells their end.
    fn take_learned(&mut self) {
        for (key, origin) in self.shard.learned() {
            if let Some(connection) = self.connections.find(key) {
                connection.origin = origin;
            }
        }
    }

    fn shutdown(&mut self, key: PeerKey) {
        let Some(connection) = self.connections.find(key) else { return };
        connection.shutdown_write();
    }

    /// The network or the peer's machine has failed. Its session leaves, which may concern other shards.
    fn fail(&mut self, key: PeerKey, now: Instant) {
        self.take_learned();
        let reason = self.shard.close(key, CloseReason::Broken, now);
        self.unposted = true;
        self.end(key, reason, now);
    }

    /// The end of a connection. Nothing happens if it has ended before.
    fn end(&mut self, key: PeerKey, reason: CloseReason, now: Instant) {
        let Some(mut connection) = self.connections.remove(key) else { return };
        connection.socket().say_end();
        // Closing the socket would do as well, as long as no other descriptor refers to it; this does not depend on it.
        let _ = connection.socket().deregister(self.poll.registry());
        self.errands().connection_removed();
        self.farewells.tell(&connection.origin, reason, now);
    }

    /// What must be known before sleeping: who may be read again, and whether the shutdown has come to its end.
    fn look_ahead(&mut self) {
        self.shard.foreign(&mut self.foreigners.waiting);
        self.foreigners.tell();
        self.shard.resumed(&mut self.resumed);
        if self.draining && self.errands().connections() == 0 {
            self.neighbours
                .acceptor
                .wake()
                .expect("writing to an eventfd fails only if the descriptor is bad");
        }
    }
}
