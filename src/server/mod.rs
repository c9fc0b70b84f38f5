//! The shell around the shards: everything that blocks, fails or sleeps, and nothing else.
//!
//! ```text
//!   acceptor ---Adopt, Drain, Stop---> worker 0 (shard 0) <---letters---> worker 1 (shard 1) ...
//!   listeners, signals, clock          sockets                            sockets
//!                                        |  ^
//!                             HandedOver v  | Adopt
//!                                      bridge
//!                                      sockets of long-poll clients
//! ```
//!
//! One thread accepts, one thread drives each shard, one compares hashed tickets, one serves long-poll clients, and one
//! looks whether certificates have changed.
//! [`Server::start`] binds every listener before it starts anything, so a server that cannot listen leaves no trace.
//! What peers are told, when and how fast, is the router's business; the shell moves octets, letters and time.

mod acceptor;
mod askers;
mod bridge;
pub mod change;
mod checker;
mod connection;
mod entrance;
mod farewell;
mod listener;
pub mod mailbox;
mod request;
mod socket;
mod tls;
mod watcher;
mod worker;

use std::fmt;
use std::io;
use std::mem;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle, available_parallelism};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crossbeam::utils::CachePadded;
use mio::{Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

pub use self::change::{ChangeError, Changes};
pub use self::entrance::Entrance;
pub use self::listener::{Address, is_socket_path};
pub use self::request::{Request, Wish, ask};
pub use self::tls::{ClientCertificates, IdentityFiles, TlsError, TlsSettings};
pub use self::watcher::Renewed;

use self::acceptor::{Acceptor, Command, Event, Outside};
use self::askers::Askers;
use self::bridge::Bridge;
use self::change::{Door, Running};
use self::checker::checker;
use self::entrance::Gate;
use self::listener::Listener;
use self::mailbox::{Mailbox, Mailboxes};
use self::tls::Certificates;
use self::watcher::{Watched, Watcher, name_ports};
use self::worker::{Neighbours, Worker};
use crate::counters::Counters;
use crate::limits::Limits;
use crate::router::{Clock, ListenerIndex, Router, Settings, Shard, ShardIndex};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen, in the order of [`Settings::listeners`]; one for each of them.
    pub addresses: Vec<Address>,
    /// What each listener asks of a connection before it is a peer, in the same order.
    pub entrances: Vec<Entrance>,
    /// Shards, and so workers: 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: usize,
    /// What the router is told.
    pub settings: Settings,
    /// SIGINT and SIGTERM drain this server, and a second one ends the process with 128 and its number. A process has
    /// one such server at most.
    pub signals: bool,
    /// SIGHUP is a [`Request`], if signals are taken. Otherwise it does what it does to every process: a server with
    /// nothing to read again ends with the terminal that it was started in.
    pub hangup: bool,
    /// Where a socket is made for requests of this user, if one is wanted.
    pub control: Option<PathBuf>,
}

/// Why a server did not start. Nothing of it is left.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened at.
    Listen(Address, io::Error),
    /// There cannot be a control socket at that path.
    Control(PathBuf, io::Error),
    /// TLS cannot be spoken with these files.
    Tls(TlsError),
    /// The operating system refuses something else a server needs.
    System(&'static str, io::Error),
}

/// How long threads may take to answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// A running server. Dropping it leaves it running.
#[derive(Debug)]
pub struct Server {
    addresses: Vec<(ListenerIndex, Address)>,
    running: Running,
    commands: Sender<Command>,
    events: Receiver<Event>,
    waker: Arc<Waker>,
    threads: Threads,
}

/// The threads of a running server.
#[derive(Debug)]
pub struct Threads(Vec<JoinHandle<Counters>>);

impl Threads {
    /// Waits for the end of a shutdown that [`Server::drain`] or a signal began, or will begin. Returns what all shards
    /// have counted.
    pub fn join(self) -> Counters {
        let mut counters = Counters::default();
        for thread in self.0 {
            counters.add(&thread.join().expect("a panic ends the process"));
        }
        counters
    }
}

impl Server {
    /// Reads certificates and binds the listeners, then starts the threads. Peers are served when this returns.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let Config { addresses, entrances, shards, settings, signals, hangup, control } = config;
        let counts = (addresses.len(), entrances.len());
        assert_eq!(counts, (settings.listeners.len(), addresses.len()), "each listener has one of each");
        let (gates, mut certificates) = gates(&addresses, entrances.clone()).map_err(StartError::Tls)?;
        let listeners = bind(&addresses)?;
        let (commands, received) = unbounded();
        let (event, events) = unbounded();
        let outside = outside((signals, hangup), control, received, event)?;
        let mut bound = Vec::with_capacity(listeners.len());
        for (listener, index) in &listeners {
            bound.push((*index, listener.address().map_err(system("the address of a listener"))?));
        }
        name_ports(&mut certificates, &bound);

        let poll = Poll::new().map_err(system("an event queue"))?;
        let waker = Waker::new(poll.registry(), acceptor::WAKER).map_err(system("a waker"))?;
        let waker = Arc::new(waker);
        let (limits, started) = (settings.limits.clone(), settings.limits.clone());
        let (polls, mailboxes) = mailboxes(shards, &limits)?;
        let bridge = bridge(&settings, &mailboxes, &waker)?;
        let (checks, checker) = checker(&mailboxes);
        let (acceptor, errands) = (Arc::clone(&waker), bridge.errands());
        let neighbours = Neighbours { mailboxes, acceptor, bridge: errands, checks };
        let router = Router::new(settings, shards, Clock::new(Instant::now(), since_epoch()));
        let workers = workers(&router, polls, &neighbours, &gates)?;
        let (watch_errand, watch_errands) = unbounded();
        let acceptor =
            Acceptor::new(poll, listeners, outside, neighbours, (watch_errand, &certificates), limits)
                .map_err(system("an event queue"))?;
        let watcher = Watcher::new(certificates, watch_errands, commands.clone(), Arc::clone(&waker));

        let doors = addresses.into_iter().zip(entrances);
        let doors = doors.map(|(address, entrance)| Door { address, entrance, is_open: true }).collect();
        let running = Running { router, doors, shards, limits: started };
        let threads = Threads(Vec::with_capacity(shards + 3));
        let mut server = Server { addresses: bound, running, commands, events, waker, threads };
        // If a thread cannot be started, those before it must end: the acceptor goes first, since it stops the others.
        server.spawn("fanwire-accept".to_owned(), move || {
            acceptor.run();
            Counters::default()
        })?;
        for (place, worker) in workers.into_iter().enumerate() {
            server.spawn(format!("fanwire-{place}"), move || worker.run())?;
        }
        server.spawn("fanwire-check".to_owned(), move || {
            checker.run();
            Counters::default()
        })?;
        server.spawn("fanwire-bridge".to_owned(), move || bridge.run())?;
        // It is not waited for: it ends by itself, but perhaps not while it reads a file.
        let watching = Builder::new().name("fanwire-watch".to_owned()).spawn(move || watcher.run());
        if let Err(error) = watching {
            server.drain();
            return Err(StartError::System("a thread", error));
        }
        Ok(server)
    }

    /// Begins the shutdown: listeners are closed, open calls may finish, every session gets GOODBYE. It takes no
    /// longer than `drain_ms_max` and a second. [`Server::join`] waits for its end.
    pub fn drain(&self) {
        self.command(Command::Drain);
    }

    /// Looks now whether certificates, keys and authorities have changed, without waiting until it is time. Sessions
    /// that are there go on; what is of no use is logged and changes nothing.
    /// Returns those that have changed or are of no use, `None` if the files cannot be read in time; it does not wait
    /// for workers.
    pub fn renew_certificates(&self) -> Option<Vec<Renewed>> {
        let (asker, answers) = unbounded();
        self.command(Command::Renew(asker));
        let until = Instant::now() + ANSWERED_WITHIN;
        let mut renewed = Vec::new();
        loop {
            match answers.recv_deadline(until) {
                Ok(one) => renewed.push(one),
                Err(RecvTimeoutError::Disconnected) => return Some(renewed),
                Err(RecvTimeoutError::Timeout) => return None,
            }
        }
    }

    /// True if a listener shows certificates.
    pub fn has_certificates(&self) -> bool {
        self.running.doors.iter().any(|door| door.is_open && door.entrance.tls.is_some())
    }

    /// What everybody has counted until now; `None` if somebody does not answer.
    pub fn counters(&self) -> Option<Counters> {
        let (asker, counted) = unbounded();
        self.command(Command::Count(asker));
        let (mut answers, mut counters) = (0, Counters::default());
        let until = Instant::now() + ANSWERED_WITHIN;
        while let Ok(other) = counted.recv_deadline(until) {
            counters.add(&other);
            answers += 1;
        }
        // The shards, and the bridge.
        (answers == self.running.shards + 1).then_some(counters)
    }

    /// Waits until somebody wants something, by SIGHUP or at the control socket; `None` when the server has ended.
    pub fn request(&self) -> Option<Request> {
        match self.events.recv() {
            Ok(Event::Hangup) => Some(Request::signaled()),
            Ok(Event::Request(request)) => Some(request),
            Ok(Event::Ended) | Err(_) => None,
        }
    }

    fn command(&self, command: Command) {
        // If the acceptor has ended, it has drained before, and nobody comes in any more.
        if self.commands.send(command).is_ok() {
            self.waker.wake().expect("writing to an eventfd fails only if the descriptor is bad");
        }
    }

    /// Waits for the end as [`Threads::join`] does.
    pub fn join(self) -> Counters {
        self.threads.join()
    }

    /// Hands over the threads, so that one may wait for the end while another serves requests. None are left here.
    pub fn take_threads(&mut self) -> Threads {
        Threads(mem::take(&mut self.threads.0))
    }

    /// Where it listens, with the real ports. A name may stand for several addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (ListenerIndex, &Address)> {
        self.addresses.iter().map(|(index, address)| (*index, address))
    }

    fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() -> Counters + Send + 'static,
    ) -> Result<(), StartError> {
        match Builder::new().name(name).spawn(run) {
            Ok(thread) => self.threads.0.push(thread),
            Err(error) => {
                self.drain();
                return Err(StartError::System("a thread", error));
            }
        }
        Ok(())
    }
}

/// Binds all addresses or none.
fn bind(addresses: &[Address]) -> Result<Vec<(Listener, ListenerIndex)>, StartError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for (index, address) in (0..).map(ListenerIndex).zip(addresses) {
        let bound = listener::bind(address).map_err(|error| StartError::Listen(address.clone(), error))?;
        listeners.extend(bound.into_iter().map(|listener| (listener, index)));
    }
    Ok(listeners)
}

/// What time it is in the world. A machine whose clock stands before 1970 has no better idea than that.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The entrances with what TLS sessions begin with, and the files of those that have any.
fn gates(addresses: &[Address], entrances: Vec<Entrance>) -> Result<(Vec<Gate>, Vec<Watched>), TlsError> {
    let mut gates = Vec::with_capacity(entrances.len());
    let mut watched = Vec::new();
    for ((listener, address), entrance) in (0..).map(ListenerIndex).zip(addresses).zip(entrances) {
        let loaded = entrance.tls.clone().map(Certificates::load).transpose()?;
        let tls = loaded.map(|(certificates, config)| {
            watched.push(Watched { listener, address: address.clone(), certificates });
            config
        });
        gates.push(Gate { entrance: Arc::new(entrance), tls });
    }
    Ok((gates, watched))
}

/// An event queue and a mailbox that wakes it, for each worker.
fn mailboxes(count: usize, limits: &Limits) -> Result<(Vec<Poll>, Mailboxes), StartError> {
    let mut polls = Vec::with_capacity(count);
    let mut mailboxes = Vec::with_capacity(count);
    for _ in 0..count {
        let poll = Poll::new().map_err(system("an event queue"))?;
        let waker = Waker::new(poll.registry(), worker::WAKER).map_err(system("a waker"))?;
        mailboxes.push(CachePadded::new(Mailbox::new(limits, waker)));
        polls.push(poll);
    }
    Ok((polls, mailboxes.into()))
}

/// What the acceptor listens to beside clients.
fn outside(
    (signals, hangup): (bool, bool),
    control: Option<PathBuf>,
    commands: Receiver<Command>,
    events: Sender<Event>,
) -> Result<Outside, StartError> {
    let taken = [SIGINT, SIGTERM].into_iter().chain(hangup.then_some(SIGHUP));
    let signals = signals.then(|| Signals::new(taken));
    let signals = signals.transpose().map_err(system("signals"))?;
    let bound = control.as_deref().map(listener::bind_private).transpose();
    let control = bound.map_err(|error| StartError::Control(control.unwrap_or_default(), error))?;
    Ok(Outside { signals, askers: Askers::new(control), commands, events })
}

/// Who serves long-poll clients, as soon as a listener takes them.
fn bridge(settings: &Settings, mailboxes: &Mailboxes, acceptor: &Arc<Waker>) -> Result<Bridge, StartError> {
    let poll = Poll::new().map_err(system("an event queue"))?;
    let waker = Waker::new(poll.registry(), bridge::WAKER).map_err(system("a waker"))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| system("random numbers")(error.into()))?;
    let (mailboxes, acceptor) = (Arc::clone(mailboxes), Arc::clone(acceptor));
    Ok(Bridge::new(settings, seed, mailboxes, acceptor, poll, waker))
}

/// A worker for each shard.
fn workers(
    router: &Arc<Router>,
    polls: Vec<Poll>,
    neighbours: &Neighbours,
    gates: &[Gate],
) -> Result<Vec<Worker>, StartError> {
    let mut workers = Vec::with_capacity(polls.len());
    for (index, poll) in (0..).map(ShardIndex).zip(polls) {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| system("random numbers")(error.into()))?;
        let shard = Shard::new(Arc::clone(router), index, seed);
        let limits = router.settings.limits.clone();
        workers.push(Worker::new(shard, index, neighbours.clone(), gates.to_vec(), limits, poll));
    }
    Ok(workers)
}

/// The cores this process may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System(what, error)
}

impl fmt::Display for StartError {
    /// One line, without advice: what may be done about it depends on where the address came from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Listen(address, error) => write!(f, "cannot listen on {address}: {error}"),
            StartError::Control(path, error) => {
                write!(f, "cannot make the control socket {}: {error}", path.display())
            }
            StartError::Tls(error) => error.fmt(f),
            StartError::System(what, error) => write!(f, "the system does not give {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
