//! The control thread: it accepts connections and places them, takes signals, and keeps the clock of the shutdown.
//!
//! One thread accepts for all workers, since WAMP's connections are few, long and unequal: it can see which shard has
//! the fewest, where the kernel would only hash. It holds no connection itself.
//!
//! Invariants: no `Adopt` of an accepted connection follows `Drain`, and each follows the `Change` that its listener
//! came with; `Stop` is sent when neither a worker nor the bridge has a connection any more, or when the shutdown has
//! taken too long; the thread ends after `Stop`. Without file descriptors it rests, it does not spin.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;
use slab::Slab;
use tracing::{debug, error, info, warn};

use super::askers::Askers;
use super::change::Opening;
use super::connection::{Arrival, Stage};
use super::listener::Listener;
use super::mailbox::{self, BridgeErrand, Errand, Errands, Mailboxes};
use super::request::Request;
use super::watcher::{Fresh, Renewed, WatchErrand, Watched};
use super::worker::Neighbours;
use crate::counters::Counters;
use crate::limits::Limits;
use crate::router::{ListenerIndex, ShardIndex};

/// The token of the acceptor's waker; listeners use their place.
pub const WAKER: Token = Token(usize::MAX);

/// The token of the signals.
const SIGNALS: Token = Token(usize::MAX - 1);

/// Requests that wait to be served. Who comes then is told to come again.
const REQUESTS_MAX: usize = 64;

/// Connections accepted from one listener before the others get their turn.
const ACCEPT_BATCH: usize = 64;

/// Connections above `connections_max` that are still told why they are refused. Beyond them they are just dropped.
const REFUSALS_MAX: usize = 256;

/// How long accepting rests when the system has no descriptors or memory for another connection.
const EXHAUSTED_REST: Duration = Duration::from_millis(100);

/// How often it is logged at most that accepting rests.
const EXHAUSTED_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// What the workers get on top of `drain_ms_max`, by which their shards should have closed every connection.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// What the server asks of the acceptor.
#[derive(Debug)]
pub(super) enum Command {
    /// Begin the shutdown.
    Drain,
    /// Other settings hold from now on.
    Change(Box<Opening>),
    /// Look now whether files of TLS have changed, and tell which have.
    Renew(Sender<Renewed>),
    /// They have.
    Renewed(Fresh),
    /// Have everybody tell what it has counted.
    Count(Sender<Counters>),
}

/// What the acceptor listens to beside clients.
pub(super) struct Outside {
    /// Signals, if they are to be taken.
    pub signals: Option<Signals>,
    /// The control socket, if there is one.
    pub askers: Askers,
    /// What the server asks for.
    pub commands: Receiver<Command>,
    /// Where what is asked for from outside goes.
    pub events: Sender<Event>,
}

/// What whoever waits for requests is told.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGHUP.
    Hangup,
    /// Somebody wants something at the control socket.
    Request(Request),
    /// The server has ended.
    Ended,
}

/// The control thread's state.
pub(super) struct Acceptor {
    poll: Poll,
    sources: Slab<Source>,
    outside: Outside,
    mailboxes: Mailboxes,
    bridge: Arc<Errands<BridgeErrand>>,
    limits: Limits,
    spare: Option<File>,
    /// Accepting rests until then.
    resting_until: Option<Instant>,
    /// When it was last logged that accepting rests.
    exhausted_logged: Option<Instant>,
    /// When the shutdown ends at the latest; set when it begins.
    drain_deadline: Option<Instant>,
    /// Who looks at the files of certificates.
    watcher: Sender<WatchErrand>,
    /// Changes of settings until now.
    changes: u64,
    /// Of each listener with certificates, which change they came with.
    certified: HashMap<ListenerIndex, u64>,
}

/// A listener and what is known of it.
#[derive(Debug)]
struct Source {
    listener: Listener,
    index: ListenerIndex,
    /// Connections may be waiting: an edge came, and no accept has found nothing since.
    ready: bool,
}

/// How a batch of accepting ended.
enum Batch {
    /// Nobody waits.
    Drained,
    /// More may wait.
    Full,
    /// No descriptor or no memory.
    Exhausted(io::Error),
}

impl Acceptor {
    /// Registers everything with `poll`, which must wake on [`WAKER`] when a command was sent.
    pub fn new(
        poll: Poll,
        listeners: Vec<(Listener, ListenerIndex)>,
        mut outside: Outside,
        neighbours: Neighbours,
        (watcher, certificates): (Sender<WatchErrand>, &[Watched]),
        limits: Limits,
    ) -> io::Result<Acceptor> {
        let Neighbours { mailboxes, bridge, .. } = neighbours;
        let mut sources = Slab::with_capacity(listeners.len());
        for listener in listeners {
            open(&mut sources, &poll, listener)?;
        }
        if let Some(signals) = &mut outside.signals {
            poll.registry().register(signals, SIGNALS, Interest::READABLE)?;
        }
        outside.askers.register(poll.registry())?;
        Ok(Acceptor {
            poll,
            sources,
            outside,
            mailboxes,
            bridge,
            limits,
            spare: spare(),
            resting_until: None,
            exhausted_logged: None,
            drain_deadline: None,
            watcher,
            changes: 0,
            certified: certificates.iter().map(|watched| (watched.listener, 0)).collect(),
        })
    }

    /// Accepts until the shutdown has ended.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut now = Instant::now();
        while !self.ended(now) {
            match self.poll.poll(&mut events, self.sleep_max(now)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("polling fails only if the descriptor is bad: {error}"),
            }
            now = Instant::now();
            let mut signaled = false;
            for event in &events {
                signaled |= event.token() == SIGNALS;
                self.outside.askers.note(event.token());
                if let Some(source) = self.sources.get_mut(event.token().0) {
                    source.ready = true;
                }
            }
            if signaled {
                self.take_signals(now);
            }
            self.take_requests(now);
            while let Ok(command) = self.outside.commands.try_recv() {
                match command {
                    Command::Drain => self.drain(now),
                    Command::Change(opening) => self.change(*opening),
                    Command::Renew(asker) => self.tell_watcher(WatchErrand::Look(asker)),
                    Command::Renewed(fresh) => self.renew(fresh),
                    Command::Count(asker) => self.count(&asker),
                }
            }
            self.accept(now);
        }
        for mailbox in &*self.mailboxes {
            mailbox.errands().send(Errand::Stop);
        }
        self.bridge.send(BridgeErrand::Stop);
        self.tell(Event::Ended);
    }

    /// If nobody waits for it, nobody wants to know.
    fn tell(&self, event: Event) {
        let _ = self.outside.events.send(event);
    }

    fn ended(&self, now: Instant) -> bool {
        let Some(deadline) = self.drain_deadline else { return false };
        let open = self.connections();
        if open > 0 && now >= deadline {
            error!(connections = open, "the shutdown took too long; the last connections are cut");
        }
        open == 0 || now >= deadline
    }

    fn sleep_max(&self, now: Instant) -> Option<Duration> {
        let resting = self.resting_until.map(|until| until.saturating_duration_since(now));
        let accepting =
            self.sources.iter().any(|(_, source)| source.ready).then(|| resting.unwrap_or_default());
        let drain = self.drain_deadline.map(|deadline| deadline.saturating_duration_since(now));
        let askers = self.outside.askers.next_deadline();
        let askers = askers.map(|deadline| deadline.saturating_duration_since(now));
        accepting.into_iter().chain(drain).chain(askers).min()
    }

    /// The first signal begins the shutdown; the second does not wait for its end.
    fn take_signals(&mut self, now: Instant) {
        let Some(mut signals) = self.outside.signals.take() else { return };
        for signal in signals.pending() {
            if signal == SIGHUP {
                self.tell(Event::Hangup);
                continue;
            }
            if self.drain_deadline.is_some() {
                warn!("a second signal: leaving at once");
                // 128 and the signal's number, which is what shells make of a process killed by it. The sockets' files
                // were removed when the shutdown began.
                std::process::exit(128 + signal);
            }
            info!("shutting down; a second signal ends the process at once");
            self.drain(now);
        }
        self.outside.signals = Some(signals);
    }

    fn drain(&mut self, now: Instant) {
        if self.drain_deadline.is_some() {
            return;
        }
        self.drain_deadline = Some(now + Limits::ms(self.limits.drain_ms_max) + DRAIN_GRACE);
        self.sources.clear();
        for mailbox in &*self.mailboxes {
            mailbox.errands().send(Errand::Drain);
        }
        self.bridge.send(BridgeErrand::Drain);
    }

    /// Tells everybody, and listens where it is to be listened from now on. In a shutdown nothing changes any more.
    fn change(&mut self, opening: Opening) {
        if self.drain_deadline.is_some() {
            return;
        }
        let Opening { change, opened, closed, unwatched, watched } = opening;
        self.limits = change.router.settings.limits.clone();
        self.changes += 1;
        self.certified.retain(|listener, _| !unwatched.contains(listener));
        self.certified.extend(watched.iter().map(|watched| (watched.listener, self.changes)));
        self.tell_watcher(WatchErrand::Change { change: self.changes, unwatched, watched });
        for mailbox in &*self.mailboxes {
            mailbox.errands().send(Errand::Change(Arc::clone(&change)));
        }
        self.bridge.send(BridgeErrand::Change(change));
        self.sources.retain(|_, source| !closed.contains(&source.index));
        for listener in opened {
            let address =
                listener.0.address().map_or_else(|error| error.to_string(), |address| address.to_string());
            if let Err(error) = open(&mut self.sources, &self.poll, listener) {
                error!(%address, "the system does not tell of connections here: {error}");
            }
        }
    }

    fn take_requests(&mut self, now: Instant) {
        for request in self.outside.askers.requests(self.poll.registry(), now) {
            if self.outside.events.len() < REQUESTS_MAX {
                self.tell(Event::Request(request));
            } else {
                request.answer_now(1, &["too many requests wait; come again".to_owned()]);
            }
        }
    }

    /// It is there unless a panic is about to end the process.
    fn tell_watcher(&self, errand: WatchErrand) {
        let _ = self.watcher.send(errand);
    }

    /// Asks the workers and the bridge.
    fn count(&self, asker: &Sender<Counters>) {
        for mailbox in &*self.mailboxes {
            mailbox.errands().send(Errand::Count(asker.clone()));
        }
        self.bridge.send(BridgeErrand::Count(asker.clone()));
    }

    /// Tells the workers of certificates, unless they have been told of others since.
    fn renew(&self, fresh: Fresh) {
        let Fresh { listener, change, config, address, asker } = fresh;
        if self.certified.get(&listener) != Some(&change) {
            return;
        }
        for mailbox in &*self.mailboxes {
            mailbox.errands().send(Errand::Renew(listener, Arc::clone(&config)));
        }
        // Whoever has asked may have given up.
        asker.map(|asker| asker.send(Renewed { address, error: None }));
    }

    fn accept(&mut self, now: Instant) {
        if self.resting_until.is_some_and(|until| now < until) {
            return;
        }
        self.resting_until = None;
        let ready = self.sources.iter().filter(|(_, source)| source.ready);
        for place in ready.map(|(place, _)| place).collect::<Vec<_>>() {
            match self.accept_batch(place) {
                Batch::Drained => self.sources[place].ready = false,
                Batch::Full => {}
                Batch::Exhausted(error) => return self.rest(place, &error, now),
            }
        }
    }

    /// Accepts a batch, and wakes each worker that got any of it once.
    fn accept_batch(&mut self, place: usize) -> Batch {
        let mut placed = 0;
        let batch = self.place_batch(place, &mut placed);
        for (worker, mailbox) in self.mailboxes.iter().enumerate() {
            if placed & 1 << worker != 0 {
                mailbox.errands().wake();
            }
        }
        batch
    }

    /// Leaves the connections with the workers, which it adds to the set `placed`.
    fn place_batch(&self, place: usize, placed: &mut u64) -> Batch {
        let index = self.sources[place].index;
        let mut failures = 0;
        for _ in 0..ACCEPT_BATCH {
            match self.sources[place].listener.accept() {
                Ok((socket, address)) => {
                    let origin = Arc::new(address.into());
                    let arrival = Arrival { socket, origin, listener: index, stage: Stage::New };
                    *placed |= self.place(arrival).map_or(0, |worker| 1 << worker.0);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Batch::Drained,
                Err(error) if exhausted(&error) => return Batch::Exhausted(error),
                // A peer that left while it waited, or a failure of its network: accept(2) tells it here.
                Err(error) => {
                    failures += 1;
                    if failures == ACCEPT_BATCH {
                        // It would go on failing: rest instead of spinning.
                        return Batch::Exhausted(error);
                    }
                }
            }
        }
        Batch::Full
    }

    /// Leaves a connection with the worker that has the fewest. `None` if nobody is to have it.
    fn place(&self, mut arrival: Arrival) -> Option<ShardIndex> {
        let open = self.connections();
        if open >= self.limits.connections_max.saturating_add(REFUSALS_MAX) {
            return None;
        }
        if open >= self.limits.connections_max {
            arrival.stage = Stage::Refused;
        }
        mailbox::place(&self.mailboxes, arrival)
    }

    /// Turns one batch away with the spare descriptor, so that those peers learn it now instead of waiting in the
    /// backlog, and lets accepting rest.
    fn rest(&mut self, place: usize, error: &io::Error, now: Instant) {
        let logged = self.exhausted_logged;
        if logged.is_none_or(|logged| now.saturating_duration_since(logged) >= EXHAUSTED_LOG_INTERVAL) {
            self.exhausted_logged = Some(now);
            warn!(
                connections = self.connections(),
                "cannot accept: {error}; new connections are dropped until others end (see `ulimit -n`)"
            );
        }
        if let Some(spare) = self.spare.take() {
            drop(spare);
            let listener = &self.sources[place].listener;
            let dropped = (0..ACCEPT_BATCH).take_while(|_| listener.accept().is_ok()).count();
            debug!(dropped, "connections dropped");
        }
        self.spare = spare();
        self.resting_until = Some(now + EXHAUSTED_REST);
    }

    /// Connections of all workers and the bridge.
    fn connections(&self) -> usize {
        mailbox::connections(&self.mailboxes) + self.bridge.connections()
    }
}

/// Listens to one more.
fn open(
    sources: &mut Slab<Source>,
    poll: &Poll,
    (mut listener, index): (Listener, ListenerIndex),
) -> io::Result<()> {
    let place = sources.vacant_entry();
    listener.register(poll.registry(), Token(place.key()))?;
    place.insert(Source { listener, index, ready: false });
    Ok(())
}

/// A descriptor to give up when there is none left.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// True if the system cannot make another socket now: ENFILE, EMFILE, ENOMEM or ENOBUFS.
fn exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NFILE | Errno::MFILE | Errno::NOMEM | Errno::NOBUFS))
}
