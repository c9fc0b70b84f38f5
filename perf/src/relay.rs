//! The yardstick: a relay with one thread and no protocol, written as fast as its design allows.
//!
//! A turn takes what epoll tells, reads each readable socket into one shared buffer, copies every whole publication to
//! every subscriber's output, and then gives each socket that has output exactly one write. There is no session, no
//! topic, no serializer, no acknowledgement and no bound: what a router does beyond this is what it costs.
//!
//! Invariants: a socket is in `dirty` exactly if its `dirty` is set; after a turn every output that is not empty belongs
//! to a `blocked` socket, which waits for its WRITABLE edge; what a read left behind stands in `unread`, and epoll is
//! only asked, not waited for, until it is read.

use std::io::{self, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::frame::{self, HEADER_BYTES, Kind, SLOT};

/// Octets of one read, and with it what a turn takes from one publisher. Enough for hundreds of small frames; more would
/// let the outputs of large ones outgrow the caches before they are written: with frames of 64 KiB, reads of 256 KiB
/// cost nearly twice as much for each event.
const READ_BYTES: usize = 64 << 10;

/// Octets of the longest frame.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// What epoll tells in one turn.
const EVENTS_COUNT: usize = 1024;

const LISTENER: Token = Token(usize::MAX);

/// The relay: [`Relay::turn`] runs it.
pub struct Relay {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    connections: Slab<Connection>,
    subscribers: Vec<usize>,
    callees: Vec<usize>,
    callee_next: usize,
    dirty: Vec<usize>,
    unread: Vec<usize>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The first part of a frame whose rest has not come.
    partial: Vec<u8>,
    output: Vec<u8>,
    /// Octets of `output` that are written.
    written: usize,
    dirty: bool,
    /// The kernel took less than it was given: the next write waits for the WRITABLE edge.
    blocked: bool,
}

/// The socket is at its end, or its peer does not speak [`frame`].
struct Closed;

impl Relay {
    /// A relay that listens on that address.
    pub fn bind(address: SocketAddr) -> io::Result<Relay> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Relay {
            poll,
            events: Events::with_capacity(EVENTS_COUNT),
            listener,
            connections: Slab::new(),
            subscribers: Vec::new(),
            callees: Vec::new(),
            callee_next: 0,
            dirty: Vec::new(),
            unread: Vec::new(),
            buffer: vec![0; FRAME_BYTES_MAX + READ_BYTES],
        })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits until something can be read or written, does it all, and writes what came of it.
    pub fn turn(&mut self) -> io::Result<()> {
        let wait = if self.unread.is_empty() { None } else { Some(Duration::ZERO) };
        let mut events = mem::replace(&mut self.events, Events::with_capacity(0));
        if let Err(error) = self.poll.poll(&mut events, wait)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        for slot in mem::take(&mut self.unread) {
            self.read(slot, false);
        }
        for event in &events {
            match event.token() {
                LISTENER => self.accept()?,
                Token(slot) => self.ready(slot, event),
            }
        }
        self.events = events;
        self.flush();
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
            entry.insert(Connection {
                stream,
                partial: Vec::new(),
                output: Vec::new(),
                written: 0,
                dirty: false,
                blocked: false,
            });
        }
    }

    fn ready(&mut self, slot: usize, event: &Event) {
        if event.is_writable()
            && let Some(connection) = self.connections.get_mut(slot)
            && mem::take(&mut connection.blocked)
        {
            connection.mark(slot, &mut self.dirty);
        }
        if event.is_readable() {
            self.read(slot, event.is_read_closed());
        }
    }

    /// One read, or all up to the end if the peer has closed; a socket that may have more is read again next turn, so
    /// that what was read goes out first.
    fn read(&mut self, slot: usize, to_the_end: bool) {
        loop {
            match self.read_once(slot) {
                Ok(true) if to_the_end => {}
                Ok(true) => return self.unread.push(slot),
                Ok(false) => return,
                Err(Closed) => return self.close(slot),
            }
        }
    }

    /// Reads once and handles each whole frame. Says whether there may be more.
    fn read_once(&mut self, slot: usize) -> Result<bool, Closed> {
        let Some(connection) = self.connections.get_mut(slot) else { return Ok(false) };
        let mut buffer = mem::take(&mut self.buffer);
        let kept = connection.partial.len();
        buffer[..kept].copy_from_slice(&connection.partial);
        connection.partial.clear();
        let read = connection.stream.read(&mut buffer[kept..kept + READ_BYTES]);
        let outcome = match read {
            Ok(0) => Err(Closed),
            Ok(count) => self.frames(slot, &mut buffer[..kept + count]).map(|()| count == READ_BYTES),
            Err(error) => {
                connection.partial.extend_from_slice(&buffer[..kept]);
                match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(false),
                    io::ErrorKind::Interrupted => Ok(true),
                    _ => Err(Closed),
                }
            }
        };
        self.buffer = buffer;
        outcome
    }

    /// Handles each whole frame of `input` and keeps the rest.
    fn frames(&mut self, slot: usize, mut input: &mut [u8]) -> Result<(), Closed> {
        while let Some(bytes) = frame::bytes(input) {
            if !(HEADER_BYTES..=FRAME_BYTES_MAX).contains(&bytes) {
                return Err(Closed);
            }
            if bytes > input.len() {
                break;
            }
            let (frame, rest) = input.split_at_mut(bytes);
            self.frame(slot, frame)?;
            input = rest;
        }
        self.connections[slot].partial.extend_from_slice(input);
        Ok(())
    }

    fn frame(&mut self, slot: usize, frame: &mut [u8]) -> Result<(), Closed> {
        match Kind::of(frame[HEADER_BYTES - 1]).ok_or(Closed)? {
            Kind::Publish => self.publish(frame),
            Kind::Call => return self.call(slot, frame),
            Kind::Answer => return self.answer(frame),
            Kind::Join => self.send(slot, frame),
            Kind::Subscribe => {
                self.subscribers.push(slot);
                self.send(slot, frame);
            }
            Kind::Register => {
                self.callees.push(slot);
                self.send(slot, frame);
            }
        }
        Ok(())
    }

    fn publish(&mut self, frame: &[u8]) {
        for slot in &self.subscribers {
            self.connections[*slot].send(*slot, frame, &mut self.dirty);
        }
    }

    /// To the callees in turn; a call that nobody takes ends the caller's connection.
    fn call(&mut self, slot: usize, frame: &mut [u8]) -> Result<(), Closed> {
        let place = frame.get_mut(SLOT).ok_or(Closed)?;
        place.copy_from_slice(&u32::try_from(slot).map_err(|_| Closed)?.to_le_bytes());
        self.callee_next = (self.callee_next + 1) % self.callees.len().max(1);
        let callee = *self.callees.get(self.callee_next).ok_or(Closed)?;
        self.send(callee, frame);
        Ok(())
    }

    /// To the caller, if it is still there.
    fn answer(&mut self, frame: &[u8]) -> Result<(), Closed> {
        let place = frame.get(SLOT).and_then(<[u8]>::first_chunk).ok_or(Closed)?;
        let caller = u32::from_le_bytes(*place) as usize;
        if self.connections.contains(caller) {
            self.send(caller, frame);
        }
        Ok(())
    }

    fn send(&mut self, slot: usize, frame: &[u8]) {
        self.connections[slot].send(slot, frame, &mut self.dirty);
    }

    /// One write for each socket that has output.
    fn flush(&mut self) {
        let mut dirty = mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            connection.dirty = false;
            if let Err(Closed) = connection.write() {
                self.close(slot);
            }
        }
        self.dirty = dirty;
    }

    fn close(&mut self, slot: usize) {
        self.connections.remove(slot);
        self.subscribers.retain(|subscriber| *subscriber != slot);
        self.callees.retain(|callee| *callee != slot);
        self.unread.retain(|unread| *unread != slot);
        self.dirty.retain(|dirty| *dirty != slot);
    }
}

impl Connection {
    fn send(&mut self, slot: usize, frame: &[u8], dirty: &mut Vec<usize>) {
        self.output.extend_from_slice(frame);
        if !self.blocked {
            self.mark(slot, dirty);
        }
    }

    fn mark(&mut self, slot: usize, dirty: &mut Vec<usize>) {
        if !mem::replace(&mut self.dirty, true) {
            dirty.push(slot);
        }
    }

    /// One write. What the kernel does not take waits for the WRITABLE edge, which a short write brings about.
    fn write(&mut self) -> Result<(), Closed> {
        match self.stream.write(&self.output[self.written..]) {
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Err(Closed),
        }
        self.blocked = self.written < self.output.len();
        if !self.blocked {
            self.output.clear();
            self.written = 0;
        } else if self.written > self.output.len() / 2 {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    /// A relay that runs until the tests end.
    fn relay() -> SocketAddr {
        let mut relay = Relay::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = relay.address().unwrap();
        thread::spawn(move || {
            loop {
                relay.turn().unwrap();
            }
        });
        address
    }

    fn joined(address: SocketAddr, role: Kind) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        send(&mut stream, role, b"");
        assert_eq!(receive(&mut stream), (role, Vec::new()));
        stream
    }

    fn send(stream: &mut TcpStream, kind: Kind, body: &[u8]) {
        let mut out = Vec::new();
        frame::append(kind, body, &mut out);
        stream.write_all(&out).unwrap();
    }

    fn receive(stream: &mut TcpStream) -> (Kind, Vec<u8>) {
        let mut header = [0; HEADER_BYTES];
        stream.read_exact(&mut header).unwrap();
        let mut body = vec![0; frame::bytes(&header).unwrap() - HEADER_BYTES];
        stream.read_exact(&mut body).unwrap();
        (Kind::of(header[HEADER_BYTES - 1]).unwrap(), body)
    }

    fn at_its_end(stream: &mut TcpStream) -> bool {
        !matches!(stream.read(&mut [0]), Ok(1))
    }

    #[test]
    fn every_subscriber_gets_every_publication_in_order() {
        let address = relay();
        let mut subscribers: Vec<_> = (0..20).map(|_| joined(address, Kind::Subscribe)).collect();
        let mut publisher = joined(address, Kind::Join);
        for number in 0..500_u32 {
            send(&mut publisher, Kind::Publish, &number.to_le_bytes());
        }
        for subscriber in &mut subscribers {
            for number in 0..500_u32 {
                assert_eq!(receive(subscriber), (Kind::Publish, number.to_le_bytes().to_vec()));
            }
        }
    }

    #[test]
    fn frames_larger_than_the_sockets_take_arrive_whole() {
        let address = relay();
        let mut subscribers: Vec<_> = (0..3).map(|_| joined(address, Kind::Subscribe)).collect();
        let mut publisher = joined(address, Kind::Join);
        let body = |number: u8| vec![number; FRAME_BYTES_MAX - HEADER_BYTES];
        let sender = thread::spawn(move || {
            for number in 0..40 {
                send(&mut publisher, Kind::Publish, &body(number));
            }
            publisher
        });
        for subscriber in &mut subscribers {
            for number in 0..40 {
                assert_eq!(receive(subscriber), (Kind::Publish, body(number)));
            }
        }
        sender.join().unwrap();
    }

    #[test]
    fn a_frame_in_single_octets_is_a_frame() {
        let address = relay();
        let mut subscriber = joined(address, Kind::Subscribe);
        let mut publisher = joined(address, Kind::Join);
        publisher.set_nodelay(true).unwrap();
        let mut out = Vec::new();
        frame::append(Kind::Publish, b"slow", &mut out);
        for octet in out {
            publisher.write_all(&[octet]).unwrap();
        }
        assert_eq!(receive(&mut subscriber), (Kind::Publish, b"slow".to_vec()));
    }

    #[test]
    fn calls_go_round_and_answers_come_home() {
        let address = relay();
        let mut callees: Vec<_> = (0..2).map(|_| joined(address, Kind::Register)).collect();
        let mut callers: Vec<_> = (0..3).map(|_| joined(address, Kind::Join)).collect();
        for round in 0..4 {
            for (number, caller) in (0_u8..).zip(&mut callers) {
                send(caller, Kind::Call, &[0, 0, 0, 0, number, round]);
            }
        }
        for callee in &mut callees {
            for _ in 0..6 {
                let (kind, body) = receive(callee);
                assert_eq!(kind, Kind::Call);
                send(callee, Kind::Answer, &body);
            }
        }
        for (number, caller) in (0_u8..).zip(&mut callers) {
            let mut rounds: Vec<u8> = (0..4)
                .map(|_| {
                    let (kind, body) = receive(caller);
                    assert_eq!((kind, body[4]), (Kind::Answer, number));
                    body[5]
                })
                .collect();
            rounds.sort_unstable();
            assert_eq!(rounds, [0, 1, 2, 3]);
        }
    }

    #[test]
    fn who_leaves_is_forgotten() {
        let address = relay();
        let mut staying = joined(address, Kind::Subscribe);
        for _ in 0..10 {
            let leaving = joined(address, Kind::Subscribe);
            drop(leaving);
            drop(joined(address, Kind::Register));
        }
        let mut publisher = joined(address, Kind::Join);
        for _ in 0..3 {
            send(&mut publisher, Kind::Publish, b"still here");
            assert_eq!(receive(&mut staying).1, b"still here");
        }
    }

    #[test]
    fn what_is_no_frame_ends_its_connection_and_no_other() {
        let address = relay();
        let mut subscriber = joined(address, Kind::Subscribe);
        for wrong in
            [&b"\x01\0\0\0?"[..], b"\0\0\0\0P", b"\xff\xff\xff\xffP", b"\x01\0\0\0A", b"\x05\0\0\0C0000"]
        {
            let mut stream = joined(address, Kind::Join);
            stream.write_all(wrong).unwrap();
            assert!(at_its_end(&mut stream), "{wrong:?}");
        }
        let mut publisher = joined(address, Kind::Join);
        send(&mut publisher, Kind::Publish, b"fine");
        assert_eq!(receive(&mut subscriber).1, b"fine");
    }
}
