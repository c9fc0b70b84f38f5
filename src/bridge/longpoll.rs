//! The HTTP long-poll transport: requests on any number of connections are one peer of a shard.
//!
//! ```text
//!   POST <path>/open           a transport is made: its stream goes to a shard, its id to the client
//!   POST <path>/<id>/send      messages for the shard; answered when its stream has taken them
//!   POST <path>/<id>/receive   waits for messages; answered with one, or with all in a batch, or with nothing
//!   POST <path>/<id>/close     the stream is shut down, the id is forgotten
//! ```
//!
//! Sans-IO: the shell has a socket for each *end*, those of clients and those of streams to shards; it moves octets,
//! and asks after each call which ends were touched and which are to be closed.
//!
//! Invariants: the requests of a connection are answered in their order, the next one is looked at when the answer to
//! the one before is written; a connection that waits is named by exactly one transport, and names it, so that no
//! message goes to who has its place afterwards; each end has one deadline at most; an id leads to its transport from
//! `open` to `close`, and never again; an answer that the client does not take has a deadline that no input moves.
//!
//! What the specification leaves open. A second `receive` answers the first with nothing and takes its place: the
//! connection of the first may be dead without anybody having noticed. A waiting `receive` is answered with nothing,
//! too, when its transport ends; whatever asks later gets 404. Bodies that cannot be decoded get 400 and leave no
//! trace; what breaks WAMP's rules is answered by the shard, with ABORT. Messages that were written to a connection
//! which then fails are lost: there is no acknowledgment. Messages that a client sends on several connections at once
//! come in any order, so their request ids need not count (`RequestIds::Any`); who wants them in order waits for the
//! answer to one `send` before the next, or sends a batch.
//!
//! Spec: advanced profile, "HTTP Longpoll Transport".

mod consistency;
mod opening;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;

use super::connection::{
    Connection, FOREIGN, FULL, GONE, LATE, NOT_POST, State, Target, UNDECODABLE, UNKNOWN, text,
};
use super::http::{Answer, Malformed, PREFLIGHT};
use super::polled::{Life, Polled};
use crate::limits::Limits;
use crate::transport::upgrade::RequestHead;
use crate::transport::{Link, Settings};

/// Octets of pipelined requests that are read ahead.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// A connection of a client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionKey(pub u32);

/// A transport, and so its stream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TransportKey(pub u32);

/// What the shell has a socket for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// A connection of a client.
    Client(ConnectionKey),
    /// The stream of a transport.
    Shard(TransportKey),
}

/// What the shell is to do.
#[derive(PartialEq, Eq, Debug)]
pub enum Action {
    /// Make a stream for this transport and say [`LongPoll::opened`].
    Open {
        /// The transport.
        transport: TransportKey,
        /// The connection that asked for it.
        connection: ConnectionKey,
        /// What its shard is to speak.
        link: Link,
        /// What the client has said.
        request: RequestHead,
    },
    /// Shut the writing side down; all is written.
    Shutdown(End),
    /// Drop the socket. The key is dead.
    Drop(End),
    /// These octets are no request for the transport: the connection goes back to who speaks the rest. The key is dead.
    Return(ConnectionKey, Vec<u8>),
}

/// All long-poll transports and the connections of their clients.
#[derive(Debug)]
pub struct LongPoll {
    /// Every bound; others may hold from one input to the next.
    pub limits: Limits,
    connections: Slab<Connection>,
    transports: Slab<Polled>,
    ids: HashMap<String, TransportKey>,
    deadlines: BTreeSet<(Instant, End)>,
    touched: Vec<End>,
    actions: Vec<Action>,
    /// Whose pages were refused, until the shell takes them after each call.
    foreign: Vec<String>,
    entropy: StdRng,
    /// Octets of memory that all ends hold.
    held: usize,
    draining: bool,
}

impl LongPoll {
    /// None yet. `seed` is where ids come from: who knows one may do what its client may.
    pub fn new(limits: Limits, seed: [u8; 32]) -> LongPoll {
        LongPoll {
            limits,
            connections: Slab::new(),
            transports: Slab::new(),
            ids: HashMap::new(),
            deadlines: BTreeSet::new(),
            touched: Vec::new(),
            actions: Vec::new(),
            foreign: Vec::new(),
            entropy: StdRng::from_seed(seed),
            held: 0,
            draining: false,
        }
    }

    // Input.

    /// A connection exists on a listener with these settings.
    pub fn connect(&mut self, settings: Arc<Settings>, now: Instant) -> ConnectionKey {
        let key = ConnectionKey(self.connections.insert(Connection::new(settings)) as u32);
        self.rearm(key, now);
        key
    }

    /// Octets came from a client, in any cut.
    pub fn receive(&mut self, key: ConnectionKey, octets: &[u8], now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        if connection.state == State::Closing {
            return;
        }
        connection.reader.push(octets);
        if connection.began.is_none() && !connection.reader.is_idle() {
            connection.began = Some(now);
        }
        self.progress(key, now);
    }

    /// The client will send no more. A `receive` that waits is given up: clients that leave end their side like this.
    pub fn input_ended(&mut self, key: ConnectionKey, now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        connection.input_ended = true;
        match connection.state {
            State::Receiving(_) | State::Closing => self.disconnect(key, now),
            _ => self.progress(key, now),
        }
    }

    /// The connection has failed, or must go.
    pub fn disconnect(&mut self, key: ConnectionKey, now: Instant) {
        let Some(state) = self.forget(key) else { return };
        self.actions.push(Action::Drop(End::Client(key)));
        self.unlink(key, state, now);
    }

    /// Octets came from a shard.
    pub fn shard_sent(&mut self, key: TransportKey, octets: &[u8], now: Instant) {
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
        polled.take(octets);
        if !polled.outbound.waiting().is_empty() {
            self.touched.push(End::Shard(key));
        }
        self.deliver(key, now);
        if self.count_transport(key) {
            // A slow consumer: nobody fetches what waits.
            self.finish(key, now);
        }
    }

    /// The shard has closed the stream, or it has failed. What has come before may still be fetched.
    pub fn shard_ended(&mut self, key: TransportKey, now: Instant) {
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
        if polled.life == Life::Finishing || !polled.has_messages() {
            return self.remove(key, now);
        }
        if polled.life != Life::Ended {
            polled.life = Life::Ended;
            self.answer_senders(key, u64::MAX, &GONE, now);
            self.rearm_transport(key);
        }
    }

    /// Octets were written to an end.
    pub fn advance(&mut self, end: End, bytes: usize, now: Instant) {
        match end {
            End::Client(key) => {
                let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
                connection.outbound.advance(bytes);
                if bytes > 0 {
                    connection.stalled = None;
                }
                if connection.outbound.waiting().is_empty() {
                    self.progress(key, now);
                } else if bytes > 0 {
                    self.settle(key, now);
                }
            }
            End::Shard(key) => {
                let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
                polled.outbound.advance(bytes);
                let (written, _) = polled.outbound.written();
                if polled.life == Life::Finishing && polled.outbound.waiting().is_empty() {
                    self.actions.push(Action::Shutdown(end));
                }
                self.answer_senders(key, written, &Answer::nothing(), now);
                self.count_transport(key);
            }
        }
    }

    /// Deadlines that have passed.
    pub fn expire(&mut self, now: Instant) {
        while let Some((at, end)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, end));
            match end {
                End::Client(key) => self.on_client_deadline(key, now),
                End::Shard(key) => self.on_transport_deadline(key, now),
            }
        }
    }

    /// Begins the shutdown: no transport is opened any more, and connections end with the last one.
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        let keys: Vec<_> = self.transports.iter().map(|(place, _)| TransportKey(place as u32)).collect();
        for key in keys {
            self.rearm_transport(key);
        }
        self.end_connections(now);
    }

    // Output.

    /// What is to be written to an end.
    pub fn outbound(&self, end: End) -> &[u8] {
        match end {
            End::Client(key) => {
                self.connections.get(key.0 as usize).map_or(&[], |end| end.outbound.waiting())
            }
            End::Shard(key) => self.transports.get(key.0 as usize).map_or(&[], |end| end.outbound.waiting()),
        }
    }

    /// False if an end must not be read now; it is touched when it may be again.
    pub fn wants_input(&self, end: End) -> bool {
        match end {
            End::Client(key) => self.connections.get(key.0 as usize).is_some_and(|connection| {
                let held_back =
                    connection.state != State::Reading || !connection.outbound.waiting().is_empty();
                connection.state == State::Closing
                    || !held_back
                    || connection.reader.ahead_bytes() < AHEAD_BYTES_MAX
            }),
            End::Shard(key) => {
                let polled = self.transports.get(key.0 as usize);
                polled.is_some_and(|polled| polled.wants_input(self.limits.longpoll_queue_bytes_max))
            }
        }
    }

    /// Takes the ends that may have something to be written, or may be read again.
    pub fn touched(&mut self, into: &mut Vec<End>) {
        into.append(&mut self.touched);
    }

    /// Takes what is to be done, in its order.
    pub fn actions(&mut self, into: &mut Vec<Action>) {
        debug_assert!(self.is_consistent());
        into.append(&mut self.actions);
    }

    /// Takes the origins of pages that were refused, one for each request.
    pub fn foreign(&mut self, into: &mut Vec<String>) {
        into.append(&mut self.foreign);
    }

    /// How long the shell may sleep.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// True if there is no connection, no transport and no deadline.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
            && self.transports.is_empty()
            && self.ids.is_empty()
            && self.deadlines.is_empty()
            && self.held == 0
    }

    // Requests.

    /// Looks at the requests that have arrived, up to the first one that must wait.
    fn progress(&mut self, key: ConnectionKey, now: Instant) {
        loop {
            let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
            if connection.state != State::Reading || !connection.outbound.waiting().is_empty() {
                break;
            }
            match connection.next_request() {
                Ok(None) => break,
                Ok(Some((Target::Elsewhere, _))) if !self.draining => return self.give_back(key),
                Ok(Some((target, body))) => self.on_request(key, &target, &body, now),
                Err(malformed) => self.refuse(key, malformed, now),
            }
        }
        self.settle(key, now);
    }

    /// What is left to do for a connection when no request can be served.
    fn settle(&mut self, key: ConnectionKey, now: Instant) {
        if self.count_connection(key) {
            let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
            match connection.state {
                // Its messages are on their way: no answer but that would be true.
                State::Sending(_) => return self.disconnect(key, now),
                _ if !connection.outbound.waiting().is_empty() => return self.disconnect(key, now),
                state => {
                    self.unlink(key, state, now);
                    self.answer_last(key, &FULL, now);
                }
            }
        }
        let last = self.draining && self.transports.is_empty();
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        self.touched.push(End::Client(key));
        if connection.outbound.waiting().is_empty() {
            match connection.state {
                // Nobody would hear of it any more, or ask for anything.
                State::Reading if connection.input_ended || last => return self.disconnect(key, now),
                State::Closing if connection.input_ended => return self.disconnect(key, now),
                State::Closing if !connection.shut => {
                    // The last answer would be lost to a reset if it was closed with octets unread.
                    connection.shut = true;
                    let deadline = now + Limits::ms(self.limits.goodbye_ms_max);
                    set(&mut self.deadlines, &mut connection.deadline, Some(deadline), End::Client(key));
                    self.actions.push(Action::Shutdown(End::Client(key)));
                }
                _ => {}
            }
        }
        self.rearm(key, now);
    }

    fn on_request(&mut self, key: ConnectionKey, target: &Target, body: &[u8], now: Instant) {
        match target {
            Target::Preflight => {
                self.answer(key, &Answer { headers: PREFLIGHT, ..Answer::nothing() }, now);
            }
            Target::NotPost => self.answer(key, &NOT_POST, now),
            Target::Foreign(claim) => {
                self.foreign.push(claim.shown().to_owned());
                self.answer(key, &FOREIGN, now);
            }
            // It was left in the input, and there is nobody to give it to.
            Target::Elsewhere => self.answer_last(key, &FULL, now),
            Target::Unknown => self.answer(key, &UNKNOWN, now),
            Target::Open => self.on_open(key, body, now),
            Target::Receive(id) | Target::Send(id) | Target::Close(id) => match self.ids.get(id) {
                None => self.answer(key, &GONE, now),
                Some(&transport) => match target {
                    Target::Receive(_) => self.on_receive(key, transport, now),
                    Target::Send(_) => self.on_send(key, transport, body, now),
                    _ => self.on_close(key, transport, now),
                },
            },
        }
    }

    fn on_receive(&mut self, key: ConnectionKey, transport: TransportKey, now: Instant) {
        let polled = &mut self.transports[transport.0 as usize];
        if polled.life == Life::Ended && !polled.has_messages() {
            self.answer(key, &GONE, now);
            return self.remove(transport, now);
        }
        let before = polled.receiving.replace(key);
        self.wait(key, State::Receiving(transport), now);
        if let Some(before) = before {
            self.answer(before, &Answer::nothing(), now);
        }
        self.deliver(transport, now);
        self.await_request(transport, now);
    }

    fn on_send(&mut self, key: ConnectionKey, transport: TransportKey, body: &[u8], now: Instant) {
        let polled = &mut self.transports[transport.0 as usize];
        if polled.life == Life::Ended {
            return self.answer(key, &GONE, now);
        }
        let decodes = |message: &&[u8]| polled.decodes(message);
        let Some(messages) = polled.messages(body).filter(|messages| messages.iter().all(decodes)) else {
            self.await_request(transport, now);
            return self.answer(key, &UNDECODABLE, now);
        };
        for message in messages {
            polled.send(message);
        }
        let (_, last) = polled.outbound.written();
        polled.sending.push_back((last, key));
        self.wait(key, State::Sending(transport), now);
        self.touched.push(End::Shard(transport));
        self.await_request(transport, now);
        if self.count_transport(transport) {
            self.finish(transport, now);
        }
    }

    fn on_close(&mut self, key: ConnectionKey, transport: TransportKey, now: Instant) {
        self.answer(key, &Answer::nothing(), now);
        self.finish(transport, now);
    }

    /// No request from here on is known to end where the client ends it: the answer is the last one.
    fn refuse(&mut self, key: ConnectionKey, malformed: Malformed, now: Instant) {
        let (status, sentence) = malformed.answer();
        self.answer_last(key, &text(status, sentence), now);
    }

    fn give_back(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        let octets = connection.reader.take_octets();
        self.forget(key);
        self.actions.push(Action::Return(key, octets));
    }

    // Answers.

    /// The same, and the connection ends behind it.
    fn answer_last(&mut self, key: ConnectionKey, answer: &Answer<'_>, now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        connection.answering.keep_alive = false;
        self.answer(key, answer, now);
    }

    /// Queues the answer to the request in hand.
    fn answer(&mut self, key: ConnectionKey, answer: &Answer<'_>, now: Instant) {
        let last = self.draining && self.transports.is_empty();
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        connection.answer(answer, last, now);
        self.touched.push(End::Client(key));
        self.count_connection(key);
        self.rearm(key, now);
    }

    /// A request is to be answered later.
    fn wait(&mut self, key: ConnectionKey, state: State, now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        connection.state = state;
        set(&mut self.deadlines, &mut connection.deadline, None, End::Client(key));
        self.rearm(key, now);
    }

    /// Answers the waiting `receive` if there are messages.
    fn deliver(&mut self, transport: TransportKey, now: Instant) {
        let polled = &mut self.transports[transport.0 as usize];
        if !polled.has_messages() {
            return;
        }
        let Some(key) = polled.receiving.take() else { return };
        let body = Cow::Owned(polled.next_body());
        let content_type = Some(polled.content_type());
        self.touched.push(End::Shard(transport));
        self.answer(key, &Answer { status: "200 OK", content_type, headers: "", body }, now);
        self.count_transport(transport);
        self.await_request(transport, now);
    }

    /// Answers each `send` whose messages were written.
    fn answer_senders(&mut self, transport: TransportKey, written: u64, answer: &Answer<'_>, now: Instant) {
        let due = |polled: &mut Polled| polled.sending.pop_front_if(|(last, _)| *last <= written);
        while let Some((_, key)) = self.transports.get_mut(transport.0 as usize).and_then(due) {
            self.answer(key, answer, now);
            self.await_request(transport, now);
        }
    }

    // Deadlines.

    /// Sets the deadline that fits the state of a connection.
    fn rearm(&mut self, key: ConnectionKey, now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        let (limits, end) = (&self.limits, End::Client(key));
        let after = |ms| Some(now + Limits::ms(ms));
        let waits = !connection.outbound.waiting().is_empty();
        connection.stalled = waits.then(|| connection.stalled.unwrap_or(now));
        let deadline = match connection.state {
            // Whatever is sent to us meanwhile.
            _ if let Some(since) = connection.stalled => {
                Some(since + Limits::ms(limits.outbound_stall_ms_max))
            }
            State::Reading => match connection.began {
                Some(began) => Some(began + Limits::ms(limits.longpoll_request_ms_max)),
                None => after(limits.longpoll_connection_idle_ms_max),
            },
            // What is read ahead does not make it wait longer.
            State::Receiving(_) => connection.deadline.or_else(|| after(limits.longpoll_receive_ms_max)),
            State::Closing => connection.deadline,
            State::Opening(_) | State::Sending(_) => None,
        };
        set(&mut self.deadlines, &mut connection.deadline, deadline, end);
    }

    fn on_client_deadline(&mut self, key: ConnectionKey, now: Instant) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return };
        connection.deadline = None;
        match connection.state {
            state @ State::Receiving(_) => {
                self.unlink(key, state, now);
                self.answer(key, &Answer::nothing(), now);
            }
            State::Reading if connection.outbound.waiting().is_empty() && connection.began.is_some() => {
                self.answer_last(key, &LATE, now);
            }
            _ => self.disconnect(key, now),
        }
    }

    /// The transport was asked for something: it may now be idle for a while.
    fn await_request(&mut self, key: TransportKey, now: Instant) {
        if let Some(polled) = self.transports.get_mut(key.0 as usize) {
            polled.asked = now;
            self.rearm_transport(key);
        }
    }

    /// Sets the deadline that fits the state of a transport. While somebody waits for it, it has none.
    fn rearm_transport(&mut self, key: TransportKey) {
        let (limits, draining) = (&self.limits, self.draining);
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
        let waits = polled.receiving.is_some() || !polled.sending.is_empty();
        let after_ms = match polled.life {
            Life::Ended if draining => limits.goodbye_ms_max.min(limits.longpoll_idle_ms_max),
            Life::Finishing => limits.goodbye_ms_max,
            _ => limits.longpoll_idle_ms_max,
        };
        let due = !waits || polled.life == Life::Finishing;
        let deadline = due.then(|| polled.asked + Limits::ms(after_ms));
        set(&mut self.deadlines, &mut polled.deadline, deadline, End::Shard(key));
    }

    fn on_transport_deadline(&mut self, key: TransportKey, now: Instant) {
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
        polled.deadline = None;
        match polled.life {
            Life::Opening | Life::Open => self.finish(key, now),
            Life::Finishing | Life::Ended => self.remove(key, now),
        }
    }

    // Ends.

    /// The transport is no longer its client's: what it has sent is written, and the stream shut down. Its shard
    /// closes it then, and that is its end.
    fn finish(&mut self, key: TransportKey, now: Instant) {
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return };
        self.ids.remove(&polled.id);
        if polled.life == Life::Ended {
            return self.remove(key, now);
        }
        polled.life = Life::Finishing;
        polled.forget_messages();
        let receiving = polled.receiving.take();
        if polled.outbound.waiting().is_empty() {
            self.actions.push(Action::Shutdown(End::Shard(key)));
        }
        self.touched.push(End::Shard(key));
        if let Some(receiving) = receiving {
            self.answer(receiving, &Answer::nothing(), now);
        }
        self.count_transport(key);
        self.await_request(key, now);
    }

    /// The transport is gone, and so is its stream; nobody waits for it any more.
    fn remove(&mut self, key: TransportKey, now: Instant) {
        if !self.transports.contains(key.0 as usize) {
            return;
        }
        let mut polled = self.transports.remove(key.0 as usize);
        set(&mut self.deadlines, &mut polled.deadline, None, End::Shard(key));
        // A transport that finishes has lost its id before, and nobody else has it.
        self.ids.remove(&polled.id);
        self.held -= polled.held;
        self.actions.push(Action::Drop(End::Shard(key)));
        for (_, sending) in polled.sending {
            self.answer(sending, &GONE, now);
        }
        if let Some(receiving) = polled.receiving {
            self.answer(receiving, &Answer::nothing(), now);
        }
        self.end_connections(now);
    }

    /// When the router shuts down and the last transport is gone, connections are of no use.
    fn end_connections(&mut self, now: Instant) {
        if !self.draining || !self.transports.is_empty() {
            return;
        }
        let keys: Vec<_> = self.connections.iter().map(|(place, _)| ConnectionKey(place as u32)).collect();
        for key in keys {
            self.settle(key, now);
        }
    }

    /// A connection that was in this state waits no longer: its transport names it no more.
    fn unlink(&mut self, key: ConnectionKey, state: State, now: Instant) {
        match state {
            State::Receiving(transport) => {
                self.transports[transport.0 as usize].receiving = None;
                self.await_request(transport, now);
            }
            State::Sending(transport) => {
                self.transports[transport.0 as usize].sending.retain(|(_, waiting)| *waiting != key);
                self.await_request(transport, now);
            }
            // Nobody will ever know its id.
            State::Opening(transport) => self.remove(transport, now),
            State::Reading | State::Closing => {}
        }
    }

    /// Takes a connection out. Its transport must then be told, see [`LongPoll::unlink`].
    fn forget(&mut self, key: ConnectionKey) -> Option<State> {
        let mut connection = self.connections.try_remove(key.0 as usize)?;
        set(&mut self.deadlines, &mut connection.deadline, None, End::Client(key));
        self.held -= connection.held;
        Some(connection.state)
    }

    /// Counts the memory of a connection. True if it holds more than its share while all hold too much: requests that
    /// are begun and never finished, and answers that nobody takes, must not fill the memory.
    fn count_connection(&mut self, key: ConnectionKey) -> bool {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else { return false };
        let held = connection.memory();
        self.held = self.held + held - std::mem::replace(&mut connection.held, held);
        connection.state != State::Closing && self.above_share(held)
    }

    /// The same for a transport, which holds what its client does not fetch, and what its shard does not take.
    fn count_transport(&mut self, key: TransportKey) -> bool {
        let Some(polled) = self.transports.get_mut(key.0 as usize) else { return false };
        let held = polled.memory();
        self.held = self.held + held - std::mem::replace(&mut polled.held, held);
        polled.life != Life::Finishing && self.above_share(held)
    }

    fn above_share(&self, held: usize) -> bool {
        let most = self.limits.longpoll_bytes_max;
        self.held > most && held > most / (self.connections.len() + self.transports.len()).max(1)
    }
}

/// Changes a deadline, of which each end has one at most.
fn set(
    deadlines: &mut BTreeSet<(Instant, End)>,
    deadline: &mut Option<Instant>,
    to: Option<Instant>,
    end: End,
) {
    if *deadline == to {
        return;
    }
    if let Some(at) = deadline.take() {
        deadlines.remove(&(at, end));
    }
    if let Some(at) = to {
        deadlines.insert((at, end));
    }
    *deadline = to;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wamp::Serializer;

    const HELLO: &str = r#"[1,"realm1",{"roles":{"caller":{}}}]"#;

    fn settings() -> Arc<Settings> {
        Arc::new(Settings {
            message_bytes_max: 1000,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: Some("/lp".into()),
            pages: Default::default(),
        })
    }

    fn post(path: &str, body: &str) -> String {
        format!("POST /lp/{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    /// The transports with everything a shell does, but without sockets.
    struct Shell {
        core: LongPoll,
        now: Instant,
        /// What was written to each end, in order; ends that were dropped have lost nothing.
        written: Vec<(End, Vec<u8>)>,
        dropped: Vec<End>,
        shut: Vec<End>,
        returned: Vec<Vec<u8>>,
    }

    impl Shell {
        fn new() -> Shell {
            let limits = Limits { longpoll_queue_bytes_max: 10, ..Limits::DEFAULT };
            let core = LongPoll::new(limits, [7; 32]);
            let (written, dropped, shut, returned) = Default::default();
            Shell { core, now: Instant::now(), written, dropped, shut, returned }
        }

        fn connect(&mut self) -> ConnectionKey {
            self.core.connect(settings(), self.now)
        }

        /// Does what is asked and writes at most `most` octets to each end at once.
        fn act(&mut self, most: usize) {
            loop {
                let (mut actions, mut touched) = (Vec::new(), Vec::new());
                self.core.actions(&mut actions);
                self.core.touched(&mut touched);
                if actions.is_empty() && touched.is_empty() {
                    return;
                }
                for action in actions {
                    match action {
                        Action::Open { transport, connection, request, .. } => {
                            let path = request.read(|request| request.path.map(str::to_owned));
                            assert_eq!(path.flatten().as_deref(), Some("/lp/open"));
                            self.core.opened(transport, connection, true, self.now);
                        }
                        Action::Shutdown(end) => self.shut.push(end),
                        Action::Drop(end) => self.dropped.push(end),
                        Action::Return(_, octets) => self.returned.push(octets),
                    }
                }
                for end in touched {
                    while !self.core.outbound(end).is_empty() {
                        let octets = self.core.outbound(end);
                        let octets = octets[..octets.len().min(most)].to_vec();
                        self.core.advance(end, octets.len(), self.now);
                        self.written.push((end, octets));
                    }
                }
            }
        }

        fn receive(&mut self, key: ConnectionKey, octets: &str) {
            self.core.receive(key, octets.as_bytes(), self.now);
            self.act(usize::MAX);
        }

        /// What was written to an end since the last question.
        fn take(&mut self, end: End) -> String {
            let (mine, others) = self.written.drain(..).partition(|(to, _)| *to == end);
            self.written = others;
            let mine: Vec<(End, Vec<u8>)> = mine;
            String::from_utf8(mine.into_iter().flat_map(|(_, octets)| octets).collect()).unwrap()
        }

        /// The status of each answer to a client.
        fn statuses(&mut self, key: ConnectionKey) -> Vec<u16> {
            let text = self.take(End::Client(key));
            let heads = text.split("HTTP/1.1 ").skip(1);
            heads.map(|head| head[..3].parse().unwrap()).collect()
        }

        /// Opens a transport; returns its id.
        fn open(&mut self, key: ConnectionKey, protocol: &str) -> String {
            self.receive(key, &post("open", &format!("{{\"protocols\":[\"{protocol}\"]}}")));
            let answer = self.take(End::Client(key));
            answer.rsplit('"').nth(1).unwrap().to_owned()
        }

        fn pass(&mut self, ms: u64) {
            self.now += Duration::from_millis(ms);
            self.core.expire(self.now);
            self.act(usize::MAX);
        }
    }

    #[test]
    fn cuts_change_nothing() {
        let id = {
            let mut shell = Shell::new();
            let key = shell.connect();
            shell.open(key, "wamp.2.json")
        };
        let stream = [
            post("open", r#"{"protocols":["wamp.2.x","wamp.2.json"]}"#),
            post(&format!("{id}/send"), HELLO),
            post(&format!("{id}/send"), "[1"),
            "OPTIONS /lp/open HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            post(&format!("{id}/close"), ""),
            post(&format!("{id}/receive"), ""),
            "GET /page HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ]
        .concat();
        let mut outcomes = Vec::new();
        for (piece, most) in
            [(stream.len(), usize::MAX), (1, usize::MAX), (stream.len(), 1), (7, 3), (64, 64)]
        {
            let mut shell = Shell::new();
            let key = shell.connect();
            for octets in stream.as_bytes().chunks(piece) {
                if shell.returned.is_empty() {
                    shell.core.receive(key, octets, shell.now);
                    shell.act(most);
                } else {
                    shell.returned[0].extend_from_slice(octets);
                }
            }
            let to_shard = shell.take(End::Shard(TransportKey(0)));
            outcomes.push((to_shard, shell.take(End::Client(key)), shell.returned));
        }
        let statuses: Vec<_> = outcomes[0].1.split("HTTP/1.1 ").skip(1).map(|head| &head[..3]).collect();
        assert_eq!(statuses, ["200", "204", "400", "204", "204", "404"]);
        assert!(outcomes[0].0.ends_with(HELLO));
        assert_eq!(outcomes[0].2, [b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n"]);
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    }

    #[test]
    fn the_shard_is_held_back_while_its_client_does_not_poll() {
        let mut shell = Shell::new();
        let key = shell.connect();
        let id = shell.open(key, "wamp.2.json");
        let stream = End::Shard(TransportKey(0));
        shell.core.shard_sent(TransportKey(0), b"\0\0\0\x09[1,2,3,4]\0\0\0\x03[5]", shell.now);
        assert!(!shell.core.wants_input(stream));
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        assert!(shell.take(End::Client(key)).ends_with("\r\n\r\n[1,2,3,4]"));
        assert!(shell.core.wants_input(stream));
        shell.core.shard_ended(TransportKey(0), shell.now);
        assert_eq!(shell.dropped, [], "one message is left");
        shell.receive(key, &post(&format!("{id}/send"), HELLO));
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        assert_eq!(shell.statuses(key), [404, 200, 404]);
        assert_eq!(shell.dropped, [stream]);
        shell.core.disconnect(key, shell.now);
        assert!(shell.core.is_empty());
    }

    #[test]
    fn who_holds_more_than_its_share_is_closed_when_all_hold_too_much() {
        let mut shell = Shell::new();
        shell.core.limits.longpoll_bytes_max = 4000;
        let (opener, begun) = (shell.connect(), shell.connect());
        shell.open(opener, "wamp.2.json");
        shell.open(opener, "wamp.2.json");
        shell.core.shard_sent(TransportKey(0), b"\0\0\0\x03[1]", shell.now);
        let frame = [&[0, 0, 0xf0, 0][..], &[b' '; 3000]].concat();
        shell.core.shard_sent(TransportKey(1), &frame, shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.shut, [], "there is room for that");
        shell.receive(begun, &post("x/send", &" ".repeat(400))[..200]);
        shell.core.shard_sent(TransportKey(1), &[b' '; 2000], shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.shut, [End::Shard(TransportKey(1))], "and none for more, but for the others");
        shell.core.shard_ended(TransportKey(1), shell.now);
        shell.core.shard_ended(TransportKey(0), shell.now);
        shell.pass(Limits::DEFAULT.longpoll_idle_ms_max);
        shell.core.disconnect(begun, shell.now);
        shell.core.disconnect(opener, shell.now);
        assert!(shell.core.is_empty());
    }

    #[test]
    fn who_is_refused_for_its_memory_is_forgotten_by_its_transport() {
        let mut shell = Shell::new();
        shell.core.limits.longpoll_bytes_max = 4000;
        let opener = shell.connect();
        let mine = shell.open(opener, "wamp.2.json");
        let theirs = shell.open(opener, "wamp.2.json");
        // Much waits for somebody, within the limit.
        let frame = [&[0, 0, 0xf0, 0][..], &[b' '; 3500]].concat();
        shell.core.shard_sent(TransportKey(1), &frame, shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.shut, []);
        // A connection waits in `receive` and pipelines the beginning of its next request: over the limit now.
        let poller = shell.connect();
        shell.receive(poller, &post(&format!("{mine}/receive"), ""));
        shell.receive(poller, &post("x/send", &" ".repeat(4000))[..1500]);
        assert_eq!(shell.statuses(poller), [503]);
        shell.core.disconnect(poller, shell.now);
        shell.act(usize::MAX);
        // Somebody else comes and gets the same place.
        let other = shell.connect();
        assert_eq!(other, poller);
        shell.receive(other, &post(&format!("{theirs}/receive"), ""));
        let _ = shell.take(End::Client(other));
        shell.core.shard_sent(TransportKey(0), b"\0\0\0\x08[\"mine\"]", shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.take(End::Client(other)), "", "a message of another client's session");
    }

    #[test]
    fn an_answer_that_is_not_taken_has_a_deadline_whatever_comes() {
        let mut shell = Shell::new();
        let key = shell.connect();
        shell.core.receive(key, post("x/receive", "").as_bytes(), shell.now);
        assert!(!shell.core.outbound(End::Client(key)).is_empty(), "404 waits, and the socket takes nothing");
        let begin = shell.now;
        for _ in 0..1000 {
            shell.now += Duration::from_millis(Limits::DEFAULT.outbound_stall_ms_max - 1);
            shell.core.receive(key, b"P", shell.now);
            shell.core.expire(shell.now);
        }
        assert!(shell.core.is_empty(), "still there after {:?}", shell.now - begin);
    }

    #[test]
    fn what_nobody_asks_for_ends_by_itself() {
        let limits = Limits::DEFAULT;
        let mut shell = Shell::new();
        let key = shell.connect();
        let id = shell.open(key, "wamp.2.json");
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        shell.pass(limits.longpoll_receive_ms_max - 1);
        assert_eq!(shell.statuses(key), [0u16; 0]);
        shell.pass(1);
        assert_eq!(shell.statuses(key), [204]);
        shell.pass(limits.longpoll_idle_ms_max - 1);
        assert_eq!(shell.shut, []);
        shell.pass(1);
        assert_eq!(shell.shut, [End::Shard(TransportKey(0))], "the client is taken to be gone");
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        assert_eq!(shell.statuses(key), [404]);
        shell.pass(limits.goodbye_ms_max);
        assert_eq!(shell.dropped, [End::Shard(TransportKey(0))], "its shard has not closed it in time");
        shell.receive(key, "POST /lp");
        shell.pass(limits.longpoll_request_ms_max);
        assert_eq!(shell.statuses(key), [408]);
        assert_eq!(shell.shut[1..], [End::Client(key)]);
        shell.pass(limits.goodbye_ms_max);
        assert!(shell.core.is_empty());
    }

    #[test]
    fn who_waits_is_answered_when_the_transport_goes() {
        let mut shell = Shell::new();
        let (opener, first, second) = (shell.connect(), shell.connect(), shell.connect());
        let id = shell.open(opener, "wamp.2.json");
        shell.receive(first, &post(&format!("{id}/receive"), ""));
        // The stream takes nothing, so this one waits.
        shell.core.receive(second, post(&format!("{id}/send"), HELLO).as_bytes(), shell.now);
        shell.core.shard_ended(TransportKey(0), shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.statuses(first), [204]);
        assert_eq!(shell.statuses(second), [404]);
        for key in [opener, first, second] {
            shell.core.input_ended(key, shell.now);
        }
        assert!(shell.core.is_empty());
    }

    #[test]
    fn a_client_that_goes_while_it_opens_leaves_no_transport() {
        let mut shell = Shell::new();
        let key = shell.connect();
        shell.core.receive(key, post("open", r#"{"protocols":["wamp.2.cbor"]}"#).as_bytes(), shell.now);
        shell.core.disconnect(key, shell.now);
        shell.act(usize::MAX);
        assert_eq!(shell.dropped, [End::Client(key), End::Shard(TransportKey(0))]);
        assert!(shell.core.is_empty());
    }

    #[test]
    fn the_shutdown_ends_connections_with_the_last_transport() {
        let mut shell = Shell::new();
        let (key, idle) = (shell.connect(), shell.connect());
        let id = shell.open(key, "wamp.2.json.batched");
        shell.core.drain(shell.now);
        shell.receive(idle, &post("open", r#"{"protocols":["wamp.2.json"]}"#));
        assert_eq!(shell.statuses(idle), [503]);
        shell.core.shard_sent(TransportKey(0), b"\0\0\0\x03[6]", shell.now);
        shell.core.shard_ended(TransportKey(0), shell.now);
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        assert!(shell.take(End::Client(key)).ends_with("[6]\u{1e}"));
        shell.receive(key, &post(&format!("{id}/receive"), ""));
        let last = shell.take(End::Client(key));
        assert!(last.starts_with("HTTP/1.1 404"), "{last}");
        assert_eq!(shell.dropped, [End::Shard(TransportKey(0)), End::Client(idle), End::Client(key)]);
        assert!(shell.core.is_empty());
    }
}
