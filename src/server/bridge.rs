//! The thread that serves long-poll clients: it owns their sockets and this side of the streams to shards, and decides
//! nothing about the transport.
//!
//! ```text
//!   turn:  wait -> errands -> read -> expire -> write -> act
//! ```
//!
//! One thread for all of them: whoever polls has a slow path already, and no shard is held up by it. A transport is a
//! Unix socket pair, whose other end goes to the worker with the fewest connections, so backpressure, bounds and
//! deadlines are those of every peer.
//!
//! Invariants: the bridge sleeps only if nothing waits to be read or written; what the core asks for is done before
//! it is told anything else, so a key it uses again is free here.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Poll, Token, Waker};
use tracing::debug;

use super::connection::{Arrival, Connection, Connections, HandedOver, Input, Stage};
use super::farewell::Foreigners;
use super::mailbox::{self, BridgeErrand, Errands, Mailboxes};
use super::socket::Socket;
use crate::bridge::longpoll::{Action, ConnectionKey, End, LongPoll, TransportKey};
use crate::counters::Counters;
use crate::limits::Limits;
use crate::router::{ListenerSettings, PeerKey, Settings, ShardIndex};

/// The token of the bridge's waker.
pub const WAKER: Token = Token(usize::MAX);

/// Octets of the read buffer, which all sockets share.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Events taken from the kernel at once; the rest comes in the next turn.
const EVENTS_MAX: usize = 256;

/// Serves the long-poll transport.
#[derive(Debug)]
pub struct Bridge {
    core: LongPoll,
    errands: Arc<Errands<BridgeErrand>>,
    mailboxes: Mailboxes,
    /// Of the acceptor, who waits for the last connection when the router drains.
    acceptor: Arc<Waker>,
    listeners: Vec<ListenerSettings>,
    limits: Limits,
    poll: Poll,
    /// The sockets of both kinds of ends, see [`key`].
    connections: Connections,
    read_buffer: Box<[u8]>,
    /// What is read of TLS goes through this.
    records: Box<[u8]>,
    gathered: Vec<u8>,
    touched: Vec<End>,
    actions: Vec<Action>,
    draining: bool,
    foreigners: Foreigners,
    counters: Counters,
}

/// What an end is called here: those of clients have even numbers, those of shards odd ones.
fn key(end: End) -> PeerKey {
    let index = match end {
        End::Client(ConnectionKey(key)) => 2 * key,
        End::Shard(TransportKey(key)) => 2 * key + 1,
    };
    PeerKey { index, serial: 0 }
}

/// The end of that name.
fn end(key: PeerKey) -> End {
    match key.index % 2 {
        0 => End::Client(ConnectionKey(key.index / 2)),
        _ => End::Shard(TransportKey(key.index / 2)),
    }
}

impl Bridge {
    /// A bridge at rest. `waker` wakes `poll`.
    pub fn new(
        settings: &Settings,
        seed: [u8; 32],
        mailboxes: Mailboxes,
        acceptor: Arc<Waker>,
        poll: Poll,
        waker: Waker,
    ) -> Bridge {
        Bridge {
            core: LongPoll::new(settings.limits.clone(), seed),
            errands: Arc::new(Errands::new(waker)),
            mailboxes,
            acceptor,
            listeners: settings.listeners.clone(),
            limits: settings.limits.clone(),
            poll,
            connections: Connections::default(),
            read_buffer: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            records: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
            gathered: Vec::new(),
            touched: Vec::new(),
            actions: Vec::new(),
            draining: false,
            foreigners: Foreigners::default(),
            counters: Counters::default(),
        }
    }

    /// Where it takes errands from.
    pub fn errands(&self) -> Arc<Errands<BridgeErrand>> {
        Arc::clone(&self.errands)
    }

    /// Takes turns until it is told to stop. Returns what it has counted.
    pub fn run(mut self) -> Counters {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut now = Instant::now();
        loop {
            self.wait(&mut events, now);
            now = Instant::now();
            for event in &events {
                self.connections.note(event);
            }
            if !self.take_errands(now) {
                return self.counters;
            }
            self.read(now);
            self.core.expire(now);
            self.act(now);
            self.write(now);
            if self.draining && self.errands.connections() == 0 {
                self.acceptor.wake().expect("writing to an eventfd fails only if the descriptor is bad");
            }
        }
    }

    fn wait(&mut self, events: &mut Events, now: Instant) {
        let busy = self.connections.to_read() > 0 || self.connections.to_write() > 0;
        let deadline = self.core.next_deadline().map(|deadline| deadline.saturating_duration_since(now));
        let timeout = if busy { Some(Duration::ZERO) } else { deadline };
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("polling fails only if the descriptor is bad: {error}"),
        }
    }

    /// False if the bridge is to end.
    fn take_errands(&mut self, now: Instant) -> bool {
        while let Some(errand) = self.errands.errand() {
            match errand {
                BridgeErrand::Serve(handed_over) => self.serve(handed_over, now),
                BridgeErrand::Change(change) => {
                    let settings = &change.router.settings;
                    self.core.limits = settings.limits.clone();
                    self.limits = settings.limits.clone();
                    self.listeners = settings.listeners.clone();
                }
                BridgeErrand::Count(asker) => {
                    // Whoever has asked may have given up.
                    let _ = asker.send(self.counters.clone());
                }
                BridgeErrand::Drain => {
                    self.draining = true;
                    self.core.drain(now);
                }
                BridgeErrand::Stop => return false,
            }
            self.act(now);
        }
        true
    }

    fn serve(&mut self, handed_over: HandedOver, now: Instant) {
        let HandedOver { mut socket, origin, listener, octets } = handed_over;
        let settings = Arc::clone(&self.listeners[listener.0 as usize].transport);
        let client = self.core.connect(settings, now);
        let place = key(End::Client(client));
        let registered = socket.register(self.poll.registry(), Token(place.index as usize));
        // What is encrypted may have been taken from the socket already.
        self.connections.insert_readable(Connection::new(place, listener, socket, origin));
        match registered {
            Ok(()) => self.core.receive(client, &octets, now),
            Err(_) => self.core.disconnect(client, now),
        }
    }

    /// Reads each readable socket once.
    fn read(&mut self, now: Instant) {
        for _ in 0..self.connections.to_read() {
            let Some(key) = self.connections.next_to_read() else { return };
            self.read_end(key, now);
            self.act(now);
        }
    }

    fn read_end(&mut self, key: PeerKey, now: Instant) {
        let end = end(key);
        if !self.core.wants_input(end) {
            return;
        }
        let Some(connection) = self.connections.find(key) else { return };
        let read = connection.read(&mut self.read_buffer, &mut self.records);
        match (read, end) {
            (Ok(Input::Bytes(bytes)), End::Client(client)) => {
                self.core.receive(client, &self.read_buffer[..bytes], now);
            }
            (Ok(Input::Bytes(bytes)), End::Shard(transport)) => {
                self.core.shard_sent(transport, &self.read_buffer[..bytes], now);
            }
            (Ok(Input::Nothing), _) => {}
            (Ok(Input::End), End::Client(client)) => self.core.input_ended(client, now),
            (Err(_), End::Client(client)) => self.core.disconnect(client, now),
            (Ok(Input::End) | Err(_), End::Shard(transport)) => self.core.shard_ended(transport, now),
        }
        self.connections.read_later(key);
    }

    /// Writes to each socket that has something to be written, until it takes no more.
    fn write(&mut self, now: Instant) {
        for _ in 0..self.connections.to_write() {
            let Some(key) = self.connections.next_to_write() else { return };
            self.write_end(key, now);
            self.act(now);
        }
    }

    fn write_end(&mut self, key: PeerKey, now: Instant) {
        let end = end(key);
        let Some(connection) = self.connections.find(key) else { return };
        let waiting = self.core.outbound(end);
        if waiting.is_empty() {
            // What the encryption has to say without being asked; if that fails, so does the next read.
            let _ = connection.flush();
            return;
        }
        let room = self.limits.write_bytes_per_peer_turn;
        match (connection.write([waiting].into_iter(), room, &mut self.gathered), end) {
            (Ok(0), _) => {}
            (Ok(bytes), _) => self.core.advance(end, bytes, now),
            (Err(_), End::Client(client)) => return self.core.disconnect(client, now),
            (Err(_), End::Shard(transport)) => return self.core.shard_ended(transport, now),
        }
        if !self.core.outbound(end).is_empty() {
            self.connections.write_later(key);
        }
    }

    /// Does what the core asks for, and notes whom it concerns.
    fn act(&mut self, now: Instant) {
        let mut actions = std::mem::take(&mut self.actions);
        self.core.actions(&mut actions);
        while !actions.is_empty() {
            for action in actions.drain(..) {
                self.do_one(action, now);
            }
            self.core.actions(&mut actions);
        }
        self.actions = actions;
        self.core.foreign(&mut self.foreigners.waiting);
        self.counters.pages_refused += self.foreigners.tell();
        self.core.touched(&mut self.touched);
        for end in self.touched.drain(..) {
            self.connections.write_later(key(end));
            self.connections.read_later(key(end));
        }
    }

    fn do_one(&mut self, action: Action, now: Instant) {
        match action {
            Action::Open { transport, connection, link, request } => {
                let made = self.open(transport, connection, Stage::Linked(link, request));
                self.core.opened(transport, connection, made.is_some(), now);
            }
            Action::Shutdown(end) => {
                if let Some(connection) = self.connections.find(key(end)) {
                    connection.shutdown_write();
                }
            }
            Action::Drop(end) => {
                if let Some(mut connection) = self.take(end)
                    && let End::Client(_) = end
                {
                    connection.socket().say_end();
                    debug!(peer = %connection.origin.address, "long-poll connection ended");
                    self.errands.connection_removed();
                }
            }
            Action::Return(client, octets) => {
                let Some(connection) = self.take(End::Client(client)) else { return };
                let (listener, origin) = (connection.listener, Arc::clone(&connection.origin));
                let stage = Stage::Returned(octets);
                self.place(Arrival { socket: connection.into_socket(), origin, listener, stage });
                // It is counted where it goes before it is no longer counted here.
                self.errands.connection_removed();
            }
        }
    }

    /// Makes the stream of a transport; `None` if there is no room for it.
    fn open(&mut self, transport: TransportKey, client: ConnectionKey, stage: Stage) -> Option<()> {
        let open = mailbox::connections(&self.mailboxes) + self.errands.connections();
        if open >= self.limits.connections_max {
            return None;
        }
        let (ours, theirs) = UnixStream::pair().ok()?;
        let place = key(End::Shard(transport));
        let (listener, origin) = {
            let opener = self.connections.find(key(End::Client(client)))?;
            (opener.listener, Arc::clone(&opener.origin))
        };
        let mut ours = Socket::from(ours);
        ours.register(self.poll.registry(), Token(place.index as usize)).ok()?;
        self.connections.insert(Connection::new(place, listener, ours, Arc::clone(&origin)));
        self.place(Arrival { socket: Socket::from(theirs), origin, listener, stage });
        Some(())
    }

    fn place(&self, arrival: Arrival) {
        if let Some(ShardIndex(worker)) = mailbox::place(&self.mailboxes, arrival) {
            self.mailboxes[worker as usize].errands().wake();
        }
    }

    fn take(&mut self, end: End) -> Option<Connection> {
        let mut connection = self.connections.remove(key(end))?;
        let _ = connection.socket().deregister(self.poll.registry());
        Some(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_ends_have_names_of_their_own() {
        for index in [0, 1, 2, 77] {
            for named in [End::Client(ConnectionKey(index)), End::Shard(TransportKey(index))] {
                assert_eq!(end(key(named)), named);
            }
        }
    }
}
