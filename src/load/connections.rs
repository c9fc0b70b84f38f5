//! Many connections on one poll: connecting, reading into one shared buffer, walking frames, writing.
//!
//! Owns the sockets, what is left of a cut frame, and what the kernel did not take. What to send and what to count is
//! the [`Load`]'s.
//!
//! Invariants: of the input only the beginning of a frame that is not whole is copied; a connection is read until a
//! read is short, and written once for each time that it was read or written to; one that has ended is reported once
//! and never touched again.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::alarm::Alarm;
use super::drive::histogram;
use super::socket::Socket;
pub use super::socket::{Address, Tls};
use super::{Dialect, Ending, Incoming, LoadError, Role, Stamp};

/// Octets of the buffer that all connections read into: what a socket holds is mostly read at once, and the buffer
/// still stays in the second level cache.
const BUFFER_BYTES: usize = 256 * 1024;

/// Events of one poll.
const EVENTS_MAX: usize = 1024;

/// Reads of one connection in a turn: a router that sends without end does not keep a run from ending.
const READS_PER_TURN: usize = 64;

/// How long a poll waits at most, so that interrupts and deadlines are seen.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// The token of the alarm; connections use their number.
const ALARM: Token = Token(usize::MAX);

/// Connections that may be on their way to being ready: fewer than a listener's usual backlog of 128.
pub const OPENING_MAX: usize = 100;

/// What is done with the connections.
pub trait Load<D: Dialect> {
    /// A frame has come. Appending to what is sent on this connection is done through `side`; it is written as soon as
    /// all that was read is walked. `now`: nanoseconds of [`Connections::now`], the same for all of one read.
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, side: &mut Side<'_, D>);

    /// A connection has ended, or was never made.
    fn ended(&mut self, connection: usize, ending: Ending);
}

/// The sending half of a connection.
#[derive(Debug)]
pub struct Side<'a, D: Dialect> {
    dialect: &'a D,
    session: &'a mut D::Session,
    out: &'a mut Vec<u8>,
}

impl<D: Dialect> Side<'_, D> {
    /// Sends a publication.
    #[inline]
    pub fn publish(&mut self, topic: u32, stamp: Stamp) {
        self.dialect.publish(self.session, topic, stamp, self.out);
    }

    /// Sends a call.
    #[inline]
    pub fn call(&mut self, procedure: u32, stamp: Stamp) {
        self.dialect.call(self.session, procedure, stamp, self.out);
    }

    /// Answers an invocation.
    #[inline]
    pub fn answer(&mut self, request: u64, stamp: Stamp) {
        self.dialect.answer(self.session, request, stamp, self.out);
    }

    /// Octets that wait to be written.
    pub fn unsent_bytes(&self) -> usize {
        self.out.len()
    }
}

/// All connections of a run.
#[derive(Debug)]
pub struct Connections<D: Dialect> {
    dialect: D,
    tls: Option<Tls>,
    poll: Poll,
    /// Wakes the poll at a time that it cannot tell itself, since it counts milliseconds.
    alarm: Alarm,
    events: Events,
    list: Vec<Connection<D::Session>>,
    buffer: Box<[u8]>,
    /// What is read of TLS goes through this.
    records: Box<[u8]>,
    /// Connections with more to read, for which no event comes.
    unread: Vec<usize>,
    begin: Instant,
    stop: Arc<AtomicBool>,
    bytes_read: u64,
}

#[derive(Debug)]
struct Connection<S> {
    socket: Option<Socket>,
    session: S,
    /// The beginning of a frame that is not whole.
    kept: Vec<u8>,
    /// What is to be written.
    out: Vec<u8>,
    state: State,
    /// Readable, and not read, since its reader is slow.
    held: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Connecting,
    Open,
}

impl<D: Dialect> Connections<D> {
    /// None yet. `stop` ends every wait; the run that waits then reports what it has.
    pub fn new(dialect: D, stop: Arc<AtomicBool>) -> io::Result<Connections<D>> {
        let buffer_bytes = BUFFER_BYTES.max(2 * dialect.frame_bytes_max());
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        Ok(Connections {
            dialect,
            tls: None,
            poll,
            alarm,
            events: Events::with_capacity(EVENTS_MAX),
            list: Vec::new(),
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            records: vec![0; buffer_bytes].into_boxed_slice(),
            unread: Vec::new(),
            begin: Instant::now(),
            stop,
            bytes_read: 0,
        })
    }

    /// Connections that are added from now on speak TLS.
    pub fn speak_tls(&mut self, tls: Tls) {
        self.tls = Some(tls);
    }

    /// Nanoseconds since these connections exist: the clock of a run.
    #[inline]
    pub fn now(&self) -> u64 {
        self.begin.elapsed().as_nanos() as u64
    }

    /// True once the run was told to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// How many connections were added.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Octets received so far on all connections.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Starts another connection; its number is the next one. What becomes of it the load is told. If the router's
    /// backlog is full ([`Ending::is_backlog_full`]) it is to be tried again.
    pub fn add(
        &mut self,
        address: &Address,
        source: Option<IpAddr>,
        wanted: Wanted,
    ) -> Result<usize, Ending> {
        let number = self.list.len();
        let connection = self.connection(number, address, source, wanted)?;
        self.list.push(connection);
        Ok(number)
    }

    fn connection(
        &self,
        number: usize,
        address: &Address,
        source: Option<IpAddr>,
        wanted: Wanted,
    ) -> Result<Connection<D::Session>, Ending> {
        let mut socket = Socket::connect(address, source, self.tls.as_ref()).map_err(Ending::Connect)?;
        socket.register(self.poll.registry(), Token(number)).map_err(Ending::Connect)?;
        let socket = Some(socket);
        let session = self.dialect.session(wanted.role, wanted.way);
        let (kept, out, state) = (Vec::new(), Vec::new(), State::Connecting);
        Ok(Connection { socket, session, kept, out, state, held: false })
    }

    /// From now on this connection is read by [`Connections::read_held`] only.
    pub fn hold(&mut self, connection: usize) {
        self.list[connection].held = true;
    }

    /// The sending half of a connection, outside of a turn. [`Connections::flush`] writes what was sent.
    #[inline]
    pub fn side(&mut self, connection: usize) -> Side<'_, D> {
        let Connection { session, out, .. } = &mut self.list[connection];
        Side { dialect: &self.dialect, session, out }
    }

    /// Ends a connection from this side, without a word, and starts another one in its place. If the router's backlog
    /// is full ([`Ending::is_backlog_full`]) it is to be tried again.
    pub fn replace(
        &mut self,
        number: usize,
        address: &Address,
        source: Option<IpAddr>,
        wanted: Wanted,
    ) -> Result<(), Ending> {
        // The old one is closed first, or a limit of open files would be one too low.
        self.list[number].socket = None;
        self.list[number] = self.connection(number, address, source, wanted)?;
        Ok(())
    }

    /// Waits for something to happen, at most for `timeout`, and handles all of it.
    pub fn turn(&mut self, timeout: Duration, load: &mut impl Load<D>) -> io::Result<()> {
        let unread = std::mem::take(&mut self.unread);
        let wait = if unread.is_empty() { self.alarm.set(timeout)?.min(WAIT_MAX) } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => self.events.clear(),
            polled => polled?,
        }
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() == ALARM {
                continue;
            }
            let number = event.token().0;
            if self.list[number].state == State::Connecting && !self.connected(number, load) {
                continue;
            }
            if self.list[number].held {
                // What it has not read is lost to it.
                if event.is_read_closed() {
                    self.end(number, Ending::Closed, load);
                }
            } else if event.is_readable() {
                self.read(number, event.is_read_closed(), load);
            }
            if !self.list[number].out.is_empty() {
                self.flush(number, load);
            }
        }
        self.events = events;
        for number in unread {
            if self.list[number].state == State::Open && !self.unread.contains(&number) {
                self.read(number, true, load);
                self.flush(number, load);
            }
        }
        Ok(())
    }

    /// Reads a connection that is held: at most that many octets.
    pub fn read_held(&mut self, number: usize, bytes: usize, load: &mut impl Load<D>) {
        let before = self.bytes_read;
        loop {
            let read = (self.bytes_read - before) as usize;
            if read >= bytes || self.read_once(number, bytes - read, load) == 0 {
                break;
            }
        }
        if !self.list[number].out.is_empty() {
            self.flush(number, load);
        }
    }

    /// Writes what waits to be written on a connection, as far as the kernel takes it.
    pub fn flush(&mut self, number: usize, load: &mut impl Load<D>) {
        let connection = &mut self.list[number];
        let Some(socket) = &mut connection.socket else {
            connection.out.clear();
            return;
        };
        if connection.state == State::Connecting {
            return;
        }
        let mut written = 0;
        while written < connection.out.len() {
            match socket.write(&connection.out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    connection.out.clear();
                    return self.end(number, Ending::Lost(error), load);
                }
            }
        }
        if written == connection.out.len() {
            connection.out.clear();
        } else {
            connection.out.drain(..written);
        }
    }

    /// The outcome of a connect, once there is one; true if the connection is open.
    #[cold]
    fn connected(&mut self, number: usize, load: &mut impl Load<D>) -> bool {
        let connection = &mut self.list[number];
        let Some(socket) = &mut connection.socket else { return false };
        match socket.connected() {
            Ok(false) => return false,
            Ok(true) => {}
            Err(error) => {
                self.end(number, Ending::Connect(error), load);
                return false;
            }
        }
        connection.state = State::Open;
        self.dialect.open(&mut connection.session, &mut connection.out);
        true
    }

    /// Reads until a read is short. If the router has said that it sends no more, until that is read too.
    #[inline]
    fn read(&mut self, number: usize, closing: bool, load: &mut impl Load<D>) {
        let buffer_bytes = self.buffer.len();
        for _ in 0..READS_PER_TURN {
            let filled = self.read_once(number, buffer_bytes, load);
            if filled == 0 || (filled < buffer_bytes && !closing) {
                return;
            }
        }
        self.unread.push(number);
    }

    /// One read of at most `bytes` octets behind those that were kept, and all frames in them. Returns how many octets
    /// there were then, kept ones included; 0 if nothing came.
    #[inline]
    fn read_once(&mut self, number: usize, bytes: usize, load: &mut impl Load<D>) -> usize {
        let connection = &mut self.list[number];
        let Some(socket) = &mut connection.socket else { return 0 };
        let kept = connection.kept.len();
        if kept > 0 {
            self.buffer[..kept].copy_from_slice(&connection.kept);
            connection.kept.clear();
        }
        let end = kept.saturating_add(bytes).min(self.buffer.len());
        let read = socket.read(&mut self.buffer[kept..end], &mut self.records);
        let filled = match read {
            Ok(count) if count > 0 => kept + count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                connection.kept.extend_from_slice(&self.buffer[..kept]);
                return 0;
            }
            ended => {
                self.end(number, ended.err().map_or(Ending::Closed, Ending::Lost), load);
                return 0;
            }
        };
        self.bytes_read += (filled - kept) as u64;
        let now = self.now();
        match self.walk(number, filled, now, load) {
            Ok(walked) => {
                self.keep(number, walked, filled, load);
                filled
            }
            Err(ending) => {
                self.end(number, ending, load);
                0
            }
        }
    }

    /// Hands every whole frame of what was read to the load; how many octets they have.
    #[inline]
    fn walk(
        &mut self,
        number: usize,
        filled: usize,
        now: u64,
        load: &mut impl Load<D>,
    ) -> Result<usize, Ending> {
        let Connection { session, out, .. } = &mut self.list[number];
        let input = &self.buffer[..filled];
        let mut walked = 0;
        while let Some((octets, incoming)) = self.dialect.next(session, &input[walked..], out)? {
            walked += octets;
            let mut side = Side { dialect: &self.dialect, session, out };
            load.incoming(number, incoming, now, &mut side);
        }
        Ok(walked)
    }

    /// Keeps the beginning of a frame. One that is larger than the buffer is not from this benchmark.
    #[inline]
    fn keep(&mut self, number: usize, walked: usize, filled: usize, load: &mut impl Load<D>) {
        if walked == filled {
            return;
        }
        if filled - walked == self.buffer.len() {
            let what = format!("a frame of more than {} octets", self.buffer.len());
            return self.end(number, Ending::Protocol(what), load);
        }
        self.list[number].kept.extend_from_slice(&self.buffer[walked..filled]);
    }

    #[cold]
    fn end(&mut self, number: usize, ending: Ending, load: &mut impl Load<D>) {
        let connection = &mut self.list[number];
        if connection.socket.take().is_some() {
            (connection.kept, connection.out) = (Vec::new(), Vec::new());
            load.ended(number, ending);
        }
    }
}

/// A connection that is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What it is for.
    pub role: Role,
    /// In which way of the dialect.
    pub way: usize,
}

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where to, by way of the dialect; of fewer addresses the last one serves the rest.
    pub addresses: Vec<Address>,
    /// How long the next session may take to be ready, after the last one that was.
    pub patience: Duration,
    /// Connections that may be on their way to being ready.
    pub opening_max: usize,
    /// Local addresses to connect from, in turn; the kernel's choice if there are none.
    pub sources: Vec<IpAddr>,
}

impl Setup {
    /// Where a connection of that way goes.
    pub fn address(&self, way: usize) -> &Address {
        &self.addresses[way.min(self.addresses.len() - 1)]
    }

    /// Where a connection of that number comes from.
    pub fn source(&self, number: usize) -> Option<IpAddr> {
        (!self.sources.is_empty()).then(|| self.sources[number % self.sources.len()])
    }

    /// Adds all of these connections and waits until every one is ready. `told` hears how many are, now and then.
    pub fn open<D: Dialect>(
        &self,
        connections: &mut Connections<D>,
        wanted: &[Wanted],
        mut told: impl FnMut(usize),
    ) -> Result<Opened, LoadError> {
        let begin = connections.now();
        let first = connections.count();
        let mut opening = Opening { first, begun: Vec::new(), ready: 0, ending: None, latency: histogram() };
        let mut last = (0, begin);
        let failed = |ready, ending| LoadError::Setup { ready, wanted: wanted.len(), ending };
        while opening.ready < wanted.len() {
            while let Some(next) = wanted.get(opening.begun.len())
                && opening.begun.len() - opening.ready < self.opening_max
            {
                let (number, begun) = (opening.begun.len(), connections.now());
                match connections.add(self.address(next.way), self.source(number), *next) {
                    Ok(_) => opening.begun.push(begun),
                    Err(ending) if ending.is_backlog_full() => break,
                    Err(ending) => return Err(failed(opening.ready, ending)),
                }
            }
            connections.turn(WAIT_MAX, &mut opening)?;
            if let Some(ending) = opening.ending {
                return Err(failed(opening.ready, ending));
            }
            if connections.stopped() {
                return Err(LoadError::Interrupted);
            }
            let now = connections.now();
            if opening.ready > last.0 {
                last = (opening.ready, now);
                told(opening.ready);
            } else if now - last.1 > self.patience.as_nanos() as u64 {
                return Err(LoadError::SetupTimeout { ready: opening.ready, wanted: wanted.len() });
            }
        }
        Ok(Opened { time: Duration::from_nanos(connections.now() - begin), latency: opening.latency })
    }
}

/// How connections were made.
#[derive(Clone, Debug)]
pub struct Opened {
    /// From the first connect until all were ready.
    pub time: Duration,
    /// Nanoseconds from each connect to being ready.
    pub latency: Histogram<u64>,
}

/// Counts sessions that are ready, until the first one fails.
#[derive(Debug)]
struct Opening {
    /// Number of the first connection.
    first: usize,
    /// When each was begun.
    begun: Vec<u64>,
    ready: usize,
    ending: Option<Ending>,
    latency: Histogram<u64>,
}

impl<D: Dialect> Load<D> for Opening {
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, _side: &mut Side<'_, D>) {
        if incoming == Incoming::Ready {
            self.ready += 1;
            let begun = from.checked_sub(self.first).and_then(|number| self.begun.get(number));
            self.latency.saturating_record(now - begun.copied().unwrap_or(now));
        }
    }

    fn ended(&mut self, _connection: usize, ending: Ending) {
        self.ending.get_or_insert(ending);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use socket2::{Domain, SockAddr, Socket as RawSocket, Type};

    use super::*;
    use crate::load::Next;

    /// Frames of so many octets that mean nothing; each connection is ready with its first one.
    pub struct Frames(pub usize);

    impl Dialect for Frames {
        type Session = bool;

        fn session(&self, _role: Role, _way: usize) -> bool {
            false
        }

        fn open(&self, _session: &mut bool, _out: &mut Vec<u8>) {}

        fn next(&self, ready: &mut bool, input: &[u8], _out: &mut Vec<u8>) -> Next {
            if input.len() < self.0 {
                return Ok(None);
            }
            let incoming = if *ready { Incoming::Other } else { Incoming::Ready };
            *ready = true;
            Ok(Some((self.0, incoming)))
        }

        fn publish(&self, _session: &mut bool, _topic: u32, _stamp: Stamp, _out: &mut Vec<u8>) {}

        fn call(&self, _session: &mut bool, _procedure: u32, _stamp: Stamp, _out: &mut Vec<u8>) {}

        fn answer(&self, _session: &mut bool, _request: u64, _stamp: Stamp, _out: &mut Vec<u8>) {}

        fn frame_bytes_max(&self) -> usize {
            self.0
        }
    }

    #[derive(Default)]
    struct Seen {
        frames: usize,
        ended: usize,
    }

    impl Load<Frames> for Seen {
        fn incoming(&mut self, _from: usize, _incoming: Incoming, _now: u64, _side: &mut Side<'_, Frames>) {
            self.frames += 1;
        }

        fn ended(&mut self, _connection: usize, _ending: Ending) {
            self.ended += 1;
        }
    }

    const IDLE: Wanted = Wanted { role: Role::Idle, way: 0 };

    pub fn connections(frame_bytes: usize) -> Connections<Frames> {
        Connections::new(Frames(frame_bytes), Arc::new(AtomicBool::new(false))).unwrap()
    }

    /// A listener with room for one connection that is not accepted, and how to reach it.
    fn listener(name: &str, patience: Duration) -> (UnixListener, Setup) {
        let path = std::env::temp_dir().join(format!("fanwire-load-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = RawSocket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let addresses = vec![Address::Unix(path)];
        (listener.into(), Setup { addresses, patience, opening_max: 10, sources: Vec::new() })
    }

    #[test]
    fn a_full_backlog_is_waited_for_and_not_without_bound() {
        let (never, setup) = listener("never", Duration::from_millis(60));
        let failed = setup.open(&mut connections(1), &[IDLE; 5], |_| {}).unwrap_err();
        assert!(matches!(failed, LoadError::SetupTimeout { ready: 0, wanted: 5 }), "{failed}");
        drop(never);

        let (slowly, setup) = listener("slowly", Duration::from_secs(30));
        let router = thread::spawn(move || {
            let accepted = (0..20).map(|_| {
                let mut socket = slowly.accept().unwrap().0;
                socket.write_all(b"x").unwrap();
                socket
            });
            accepted.collect::<Vec<_>>()
        });
        let opened = setup.open(&mut connections(1), &[IDLE; 20], |_| {}).unwrap();
        assert_eq!((opened.latency.len(), router.join().unwrap().len()), (20, 20));
    }

    #[test]
    fn a_connection_that_is_held_is_read_as_far_as_it_may_be() {
        let (listener, setup) = listener("held", Duration::from_secs(30));
        let mut connections = connections(100);
        let number = connections.add(setup.address(0), None, IDLE).unwrap();
        connections.hold(number);
        let mut router = listener.accept().unwrap().0;
        router.write_all(&[7; 250]).unwrap();
        let mut seen = Seen::default();
        for (bytes, read, frames) in [(30, 30, 0), (0, 30, 0), (69, 99, 0), (1, 100, 1), (120, 220, 2)] {
            connections.read_held(number, bytes, &mut seen);
            assert_eq!((connections.bytes_read(), seen.frames), (read, frames));
        }
        connections.read_held(number, 1000, &mut seen);
        assert_eq!((connections.bytes_read(), seen.frames, seen.ended), (250, 2, 0));
        router.write_all(&[7; 50]).unwrap();
        drop(router);
        connections.read_held(number, 1000, &mut seen);
        assert_eq!((connections.bytes_read(), seen.frames, seen.ended), (300, 3, 1));
    }
}
