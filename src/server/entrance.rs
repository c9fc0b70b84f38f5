//! Connections that are no peers yet: what a proxy says of them, whether they speak TLS, and its handshake.
//!
//! ```text
//!   accepted --> PROXY header --> first octet --0x16--> handshake --> a peer
//!                (from proxies)       '-----------(shared port)--------^
//! ```
//!
//! A shard gets a connection with all that is known of it, so this comes before. Octets are looked at and left in the
//! socket until it is known whose they are: the peer's transport begins with the first that is its own.
//!
//! Invariants: each newcomer has one deadline, `handshake_ms_max` after it came, and is in one of the two queues once
//! at most; a turn spends no more than [`TLS_HANDSHAKE_US_PER_TURN`] and one step on handshakes, in the order in which
//! their records came, and nobody who only has a header to read waits for them; no more than
//! [`TLS_HANDSHAKES_OPEN_MAX`] are under way, since what has come of one is kept here and not in the socket.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Registry, Token};
use rustls::{ServerConfig, ServerConnection};
use slab::Slab;

use super::connection::{Arrival, Stage};
use super::socket::{Socket, Stream};
use super::tls::{self, TlsSettings};
use crate::error::{CloseReason, Violation};
use crate::limits::{TLS_HANDSHAKE_US_PER_TURN, TLS_HANDSHAKES_OPEN_MAX};
use crate::origin::proxy_protocol::{self, HEADER_BYTES_MAX, Header, NoHeader};
use crate::origin::{Network, Origin, PeerAddress};
use crate::router::ListenerIndex;
use crate::tls::Session;

/// The token of the first newcomer; the next ones follow. Peers are far below.
const FIRST_TOKEN: usize = usize::MAX / 2 + 1;

/// What a listener asks of a connection before it is a peer. By default nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entrance {
    /// TLS is spoken.
    pub tls: Option<TlsSettings>,
    /// Proxies that begin each connection with a PROXY header. Connections from there must have it, and the client it
    /// names is taken for the peer; from elsewhere it is no good beginning.
    pub proxy_protocol_from: Vec<Network>,
}

/// The entrance of one listener, as a worker has it.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// What was set.
    pub entrance: Arc<Entrance>,
    /// What new TLS sessions begin with. It changes when certificates do.
    pub tls: Option<Arc<ServerConfig>>,
}

impl Gate {
    fn is_proxy(&self, address: &PeerAddress) -> bool {
        self.entrance.proxy_protocol_from.iter().any(|network| network.contains(address))
    }

    /// True if connections from there are peers at once.
    fn is_open(&self, address: &PeerAddress) -> bool {
        self.tls.is_none() && !self.is_proxy(address)
    }
}

/// The newcomers of one worker.
#[derive(Debug)]
pub(super) struct Newcomers {
    gates: Vec<Gate>,
    slots: Slab<Newcomer>,
    /// Those that an event has come for and that do not shake hands yet, and the serial of each.
    ready: VecDeque<(usize, u64)>,
    /// The same of those that do.
    ready_to_shake: VecDeque<(usize, u64)>,
    /// Those that shake hands, in the order in which they began. Some may be gone.
    shaking: VecDeque<(usize, u64)>,
    /// How many of them are not gone.
    shaking_count: usize,
    shaking_max: usize,
    /// When they came, in that order, which is that of their deadlines, however long they may take by now. Some may be
    /// gone.
    arrivals: VecDeque<(Instant, usize, u64)>,
    next_serial: u64,
    patience: Duration,
}

/// One newcomer.
#[derive(Debug)]
struct Newcomer {
    /// Tells it from another in the same place.
    serial: u64,
    stream: Stream,
    origin: Origin,
    listener: ListenerIndex,
    /// The gate it has come to. It goes its whole way by this one: what a handshake has shown means what was set when
    /// it began.
    gate: Gate,
    stage: Stage,
    step: Step,
    is_ready: bool,
}

/// What a newcomer has to do next.
#[derive(Debug)]
enum Step {
    /// Its PROXY header.
    ProxyHeader,
    /// Its first octet.
    FirstOctet,
    /// The TLS handshake.
    Handshake(Box<Session>),
}

/// A newcomer's way is over.
#[derive(Debug)]
pub(super) enum Entered {
    /// It is a peer from here on, registered under a newcomer's token.
    Peer(Arrival),
    /// It is dropped.
    Refused(Origin, Refusal),
}

/// Why a newcomer becomes no peer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It has left.
    Closed,
    /// The network has failed.
    Broken,
    /// There is no PROXY header.
    ProxyHeader,
    /// Something else than TLS.
    NotTls,
    /// The handshake has failed.
    Tls(rustls::Error),
    /// Others have come, and there are too many handshakes at the same time.
    Crowded,
    /// It took too long.
    Timeout,
    /// The router is shutting down.
    Shutdown,
}

impl Newcomers {
    /// None yet; `gates` are those of all listeners.
    pub fn new(gates: Vec<Gate>, patience: Duration) -> Newcomers {
        Newcomers {
            gates,
            slots: Slab::new(),
            ready: VecDeque::new(),
            ready_to_shake: VecDeque::new(),
            shaking: VecDeque::new(),
            shaking_count: 0,
            shaking_max: TLS_HANDSHAKES_OPEN_MAX,
            arrivals: VecDeque::new(),
            next_serial: 0,
            patience,
        }
    }

    /// Other gates hold from now on, where there is one in its place. Who is under way goes on by the one before.
    pub fn configure(&mut self, gates: &[Option<Gate>], patience: Duration) {
        self.patience = patience;
        for (place, gate) in gates.iter().enumerate() {
            match gate {
                None => {}
                Some(gate) if place < self.gates.len() => self.gates[place] = gate.clone(),
                Some(gate) => self.gates.push(gate.clone()),
            }
        }
    }

    /// From now on TLS sessions of this listener begin with this.
    pub fn renew(&mut self, listener: ListenerIndex, config: Arc<ServerConfig>) {
        self.gates[listener.0 as usize].tls = Some(config);
    }

    /// Takes a connection that has a way to go; gives it back if it is a peer at once.
    pub fn receive(&mut self, arrival: Arrival, registry: &Registry, now: Instant) -> Option<Entered> {
        let Arrival { socket, origin, listener, stage } = arrival;
        let gate = &self.gates[listener.0 as usize];
        let stream = match (socket, &stage) {
            (Socket::Plain(stream), Stage::New | Stage::Refused) if !gate.is_open(&origin.address) => stream,
            (socket, _) => return Some(Entered::Peer(Arrival { socket, origin, listener, stage })),
        };
        let step = if gate.is_proxy(&origin.address) { Step::ProxyHeader } else { Step::FirstOctet };
        let origin = Arc::unwrap_or_clone(origin);
        let gate = gate.clone();
        let serial = self.next_serial;
        self.next_serial += 1;
        let entry = self.slots.vacant_entry();
        let place = entry.key();
        let newcomer =
            entry.insert(Newcomer { serial, stream, origin, listener, gate, stage, step, is_ready: false });
        if newcomer.stream.register(registry, Token(FIRST_TOKEN + place)).is_err() {
            let Newcomer { origin, .. } = self.slots.remove(place);
            return Some(Entered::Refused(origin, Refusal::Broken));
        }
        self.arrivals.push_back((now, place, serial));
        None
    }

    /// Notes an event; false if it is not for a newcomer.
    pub fn note(&mut self, event: &Event) -> bool {
        let Some(place) = event.token().0.checked_sub(FIRST_TOKEN) else { return false };
        if let Some(newcomer) = self.slots.get_mut(place)
            && !newcomer.is_ready
        {
            newcomer.is_ready = true;
            let queue = if newcomer.shakes() { &mut self.ready_to_shake } else { &mut self.ready };
            queue.push_back((place, newcomer.serial));
        }
        true
    }

    /// Goes on with those that have something to go on with, a turn's share of handshakes at most, and ends those whose
    /// time is over. Those whose way is over are moved into `entered`. `clock` is asked between handshakes.
    pub fn advance(
        &mut self,
        registry: &Registry,
        now: Instant,
        clock: fn() -> Instant,
        entered: &mut Vec<Entered>,
    ) {
        for _ in 0..self.ready.len() {
            let Some((place, serial)) = self.ready.pop_front() else { break };
            self.advance_one(place, serial, registry, entered);
        }
        let mut share = Share::new(Duration::from_micros(TLS_HANDSHAKE_US_PER_TURN));
        for _ in 0..self.ready_to_shake.len() {
            if share.is_spent(clock) {
                break;
            }
            let Some((place, serial)) = self.ready_to_shake.pop_front() else { break };
            self.advance_one(place, serial, registry, entered);
        }
        while let Some(&(at, place, serial)) = self.arrivals.front() {
            let gone = self.slots.get(place).is_none_or(|newcomer| newcomer.serial != serial);
            if !gone && at + self.patience > now {
                break;
            }
            self.arrivals.pop_front();
            if !gone {
                entered.push(self.refuse(place, Refusal::Timeout, registry));
            }
        }
    }

    fn advance_one(&mut self, place: usize, serial: u64, registry: &Registry, entered: &mut Vec<Entered>) {
        let Some(newcomer) = self.slots.get_mut(place).filter(|newcomer| newcomer.serial == serial) else {
            return;
        };
        let gate = newcomer.gate.clone();
        newcomer.is_ready = false;
        let shook = newcomer.shakes();
        match newcomer.advance(&gate) {
            Ok(Progress::Waits) => {}
            Ok(Progress::GoesOn) => {
                newcomer.is_ready = true;
                if !newcomer.shakes() {
                    return self.ready.push_back((place, serial));
                }
                self.ready_to_shake.push_back((place, serial));
                self.shaking.push_back((place, serial));
                self.shaking_count += 1;
                self.make_room(registry, entered);
            }
            Ok(Progress::Entered) => {
                self.shaking_count -= usize::from(shook);
                entered.push(self.slots.remove(place).entered(&gate));
            }
            Err(refusal) => entered.push(self.refuse(place, refusal, registry)),
        }
    }

    /// Ends the oldest handshakes if there are too many.
    fn make_room(&mut self, registry: &Registry, entered: &mut Vec<Entered>) {
        while self.shaking_count > self.shaking_max
            && let Some((place, serial)) = self.shaking.pop_front()
        {
            if self.slots.get(place).is_some_and(|newcomer| newcomer.serial == serial) {
                entered.push(self.refuse(place, Refusal::Crowded, registry));
            }
        }
        // What is gone does not stay in the queue for long: the oldest of all is gone after its deadline.
        while let Some(&(place, serial)) = self.shaking.front()
            && self.slots.get(place).is_none_or(|newcomer| newcomer.serial != serial)
        {
            self.shaking.pop_front();
        }
    }

    /// Ends all of them.
    pub fn shut(&mut self, registry: &Registry, entered: &mut Vec<Entered>) {
        let places: Vec<usize> = self.slots.iter().map(|(place, _)| place).collect();
        entered.extend(places.into_iter().map(|place| self.refuse(place, Refusal::Shutdown, registry)));
    }

    fn refuse(&mut self, place: usize, refusal: Refusal, registry: &Registry) -> Entered {
        let mut newcomer = self.slots.remove(place);
        self.shaking_count -= usize::from(newcomer.shakes());
        // Closing the socket would do as well, as long as no other descriptor refers to it.
        let _ = newcomer.stream.deregister(registry);
        Entered::Refused(newcomer.origin, refusal)
    }

    /// True if some can go on without an event.
    pub fn is_busy(&self) -> bool {
        !self.ready.is_empty() || !self.ready_to_shake.is_empty()
    }

    /// When [`Newcomers::advance`] is due at the latest.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.arrivals.front().map(|(at, ..)| *at + self.patience)
    }
}

/// The time of a turn that goes to handshakes.
struct Share {
    length: Duration,
    began: Option<Instant>,
}

impl Share {
    fn new(length: Duration) -> Share {
        Share { length, began: None }
    }

    /// Asked before each step: whether there is no time left for it. There always is for the first.
    fn is_spent(&mut self, clock: impl FnOnce() -> Instant) -> bool {
        let now = clock();
        let began = self.began.get_or_insert(now);
        now.saturating_duration_since(*began) >= self.length
    }
}

/// How far a newcomer has come.
enum Progress {
    /// An event will tell when to go on.
    Waits,
    /// The next step may begin.
    GoesOn,
    /// Its way is over.
    Entered,
}

impl Newcomer {
    /// True if its handshake has begun.
    fn shakes(&self) -> bool {
        matches!(self.step, Step::Handshake(_))
    }

    fn advance(&mut self, gate: &Gate) -> Result<Progress, Refusal> {
        match &mut self.step {
            Step::ProxyHeader => self.proxy_header(gate),
            Step::FirstOctet => self.first_octet(gate),
            Step::Handshake(session) => match session.handshake(&mut self.stream) {
                Ok(true) => Ok(Progress::Entered),
                Ok(false) => Ok(Progress::Waits),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Reads the header and not an octet more.
    fn proxy_header(&mut self, gate: &Gate) -> Result<Progress, Refusal> {
        let mut octets = [0; HEADER_BYTES_MAX];
        let Some(there) = self.peek(&mut octets)? else { return Ok(Progress::Waits) };
        let header = proxy_protocol::parse(&octets[..there]).map_err(|NoHeader| Refusal::ProxyHeader)?;
        let Some(Header { bytes, client }) = header else { return Ok(Progress::Waits) };
        self.stream.read_exact(&mut octets[..bytes])?;
        if let Some(client) = client {
            self.origin.proxy = Some(self.origin.address);
            self.origin.address = PeerAddress::tcp(client);
        }
        self.step = Step::FirstOctet;
        Ok(if gate.tls.is_some() { Progress::GoesOn } else { Progress::Entered })
    }

    fn first_octet(&mut self, gate: &Gate) -> Result<Progress, Refusal> {
        let mut octet = [0];
        if self.peek(&mut octet)?.is_none() {
            return Ok(Progress::Waits);
        }
        let (Some(settings), Some(config)) = (&gate.entrance.tls, &gate.tls) else {
            return Ok(Progress::Entered);
        };
        if octet != [tls::FIRST_OCTET] {
            return if settings.shared { Ok(Progress::Entered) } else { Err(Refusal::NotTls) };
        }
        // Memory for a session is taken only when somebody has begun one.
        let session = ServerConnection::new(Arc::clone(config)).map_err(Refusal::Tls)?;
        self.step = Step::Handshake(Box::new(Session::new(session)));
        Ok(Progress::GoesOn)
    }

    /// What there is, left where it is; `None` if nothing has come.
    fn peek(&self, octets: &mut [u8]) -> Result<Option<usize>, Refusal> {
        match self.stream.peek(octets) {
            Ok(0) => Err(Refusal::Closed),
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn entered(mut self, gate: &Gate) -> Entered {
        let socket = match (self.step, &gate.entrance.tls) {
            (Step::Handshake(session), Some(settings)) => {
                self.origin.tls = Some(Box::new(tls::origin(session.connection(), settings)));
                Socket::secured(self.stream, *session)
            }
            _ => Socket::Plain(self.stream),
        };
        let (listener, stage) = (self.listener, self.stage);
        Entered::Peer(Arrival { socket, origin: Arc::new(self.origin), listener, stage })
    }
}

impl Refusal {
    /// As it is counted.
    pub fn reason(&self) -> CloseReason {
        match self {
            Refusal::Closed => CloseReason::Closed,
            Refusal::Broken => CloseReason::Broken,
            Refusal::ProxyHeader => CloseReason::Violation(Violation::ProxyHeader),
            Refusal::NotTls | Refusal::Tls(_) => CloseReason::Violation(Violation::TlsHandshake),
            Refusal::Crowded => CloseReason::HandshakeLimit,
            Refusal::Timeout => CloseReason::HandshakeTimeout,
            Refusal::Shutdown => CloseReason::Shutdown,
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        if error.kind() == ErrorKind::UnexpectedEof {
            return Refusal::Closed;
        }
        match error.downcast::<rustls::Error>() {
            Ok(error) => Refusal::Tls(error),
            Err(_) => Refusal::Broken,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Closed => f.write_str("the peer has left"),
            Refusal::Broken => f.write_str("the network has failed"),
            Refusal::ProxyHeader => f.write_str("a proxy must begin with a PROXY header"),
            Refusal::NotTls => f.write_str("only TLS is spoken here"),
            Refusal::Tls(error) => write!(f, "TLS: {error}"),
            Refusal::Crowded => f.write_str("too many TLS handshakes at the same time"),
            Refusal::Timeout => f.write_str("the TLS handshake took too long"),
            Refusal::Shutdown => f.write_str("the router is shutting down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream as Peer;

    use mio::net::UnixStream;
    use mio::{Events, Poll};
    use rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// Newcomers to one listener that speaks TLS, and the poll they are in.
    fn newcomers() -> (Newcomers, Poll) {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let tls = Some(TlsSettings::new("a.pem", "a.key"));
        let entrance = Arc::new(Entrance { tls, ..Entrance::default() });
        let gate = Gate { entrance, tls: Some(Arc::new(config)) };
        (Newcomers::new(vec![gate], Duration::from_secs(5)), Poll::new().unwrap())
    }

    fn come(newcomers: &mut Newcomers, poll: &Poll) -> Peer {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let origin = Arc::new(Origin::from(PeerAddress::Unix));
        let arrival =
            Arrival { socket: Socket::from(ours), origin, listener: ListenerIndex(0), stage: Stage::New };
        assert!(newcomers.receive(arrival, poll.registry(), Instant::now()).is_none());
        // Mio's own is non-blocking, as sockets of peers are not.
        let theirs = Peer::from(std::os::fd::OwnedFd::from(theirs));
        theirs.set_nonblocking(false).unwrap();
        theirs
    }

    /// Turns until nobody has anything to go on with.
    fn settle(newcomers: &mut Newcomers, poll: &mut Poll, entered: &mut Vec<Entered>) {
        let mut events = Events::with_capacity(64);
        loop {
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            for event in &events {
                newcomers.note(event);
            }
            newcomers.advance(poll.registry(), Instant::now(), Instant::now, entered);
            if events.is_empty() && !newcomers.is_busy() {
                return;
            }
        }
    }

    #[test]
    fn a_turn_takes_one_step_and_more_while_there_is_time() {
        let start = Instant::now();
        let at = |us| move || start + Duration::from_micros(us);
        let mut share = Share::new(Duration::from_micros(1_000));
        assert!(!share.is_spent(at(5_000)), "the first is always taken");
        assert!(!share.is_spent(at(5_999)));
        assert!(share.is_spent(at(6_000)));
    }

    #[test]
    fn less_patience_holds_for_who_comes_after_those_with_more() {
        let (mut newcomers, poll) = newcomers();
        let (mut entered, second) = (Vec::new(), Duration::from_secs(1));
        let peers = [come(&mut newcomers, &poll), come(&mut newcomers, &poll)];
        newcomers.configure(&[None], second);
        let late = come(&mut newcomers, &poll);
        let now = Instant::now();
        assert!(newcomers.next_deadline().unwrap() <= now + second);
        newcomers.advance(poll.registry(), now + second, Instant::now, &mut entered);
        let timeout = |entered: &Entered| matches!(entered, Entered::Refused(_, Refusal::Timeout));
        assert!(entered.len() == 3 && entered.iter().all(timeout), "{entered:?}");
        assert!(newcomers.slots.is_empty() && newcomers.next_deadline().is_none());
        drop((peers, late));
    }

    #[test]
    fn the_oldest_of_too_many_handshakes_goes() {
        let (mut newcomers, mut poll) = newcomers();
        newcomers.shaking_max = 3;
        let mut entered = Vec::new();
        let silent = come(&mut newcomers, &poll);
        let mut peers = Vec::new();
        for _ in 0..7 {
            let mut peer = come(&mut newcomers, &poll);
            // The beginning of a record of 4,096 octets, and not much of it.
            peer.write_all(&[&[0x16, 3, 1, 16, 0][..], &[1; 100]].concat()).unwrap();
            settle(&mut newcomers, &mut poll, &mut entered);
            peers.push(peer);
        }
        assert_eq!((newcomers.shaking_count, newcomers.shaking.len()), (3, 3));
        let crowded = |entered: &Entered| matches!(entered, Entered::Refused(_, refusal) if refusal.reason() == CloseReason::HandshakeLimit);
        assert!(entered.len() == 4 && entered.iter().all(crowded), "{entered:?}");
        entered.clear();
        for (place, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.write_all(&[0]).is_ok(), place >= 4, "{place}");
        }
        // Who has gone makes room, and who has said nothing counts for nothing.
        drop(peers);
        settle(&mut newcomers, &mut poll, &mut entered);
        assert_eq!((newcomers.shaking_count, newcomers.slots.len(), entered.len()), (0, 1, 3));
        drop(silent);
        settle(&mut newcomers, &mut poll, &mut entered);
        assert!(newcomers.slots.is_empty());
    }
}
