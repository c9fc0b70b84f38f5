//! Settings that change while a server runs: what is tried first, what is told to whom, and in which order.
//!
//! ```text
//!   change:  certificates, binds --all good--> realms -> acceptor -> workers, bridge -> applied
//! ```
//!
//! Everything that can fail is tried before anything is changed, so what is of no use changes nothing. The rest goes
//! through the acceptor, who alone tells workers of certificates and gives them connections: a worker hears of a
//! listener before it gets a connection from it.
//!
//! Listeners have their index for as long as the server runs, and one that is closed keeps it: peers that came in there
//! stay. An address that was listened at before has the index it had, so there are never more than addresses.

use std::fmt;
use std::io::ErrorKind;
use std::mem;
use std::path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use rustls::ServerConfig;

use super::acceptor::Command;
use super::entrance::{Entrance, Gate};
use super::listener::{self, Address, Listener};
use super::tls::Certificates;
use super::watcher::{Watched, name_ports};
use super::{Config, Server, StartError, system};
use crate::limits::Limits;
use crate::router::{ListenerIndex, ListenerSettings, Losses, RealmChanges, Router, Settings};

/// How long it may take until every worker has taken a change. Then it is taken later.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);

/// What a server runs with.
#[derive(Debug)]
pub(super) struct Running {
    /// What is set, for all shards.
    pub router: Arc<Router>,
    /// Of each listener by its index: where it listens or did, and what it asks of connections.
    pub doors: Vec<Door>,
    /// What was asked for, the control socket's path apart.
    pub shards: usize,
    /// The bounds that it was started with: mailboxes keep theirs.
    pub limits: Limits,
}

/// A listener as it was set.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub address: Address,
    pub entrance: Entrance,
    pub is_open: bool,
}

/// What workers and the bridge are told.
#[derive(Debug)]
pub struct Change {
    /// What is set from now on.
    pub router: Arc<Router>,
    /// The gates of the listeners, by their indexes; none where nothing has changed.
    pub(super) gates: Vec<Option<Gate>>,
    /// What sessions have lost, from each worker that has taken it. It is dropped when everybody has, which is waited
    /// for.
    taken: Sender<Losses>,
}

impl Change {
    /// A worker has taken it.
    pub(super) fn tell_taken(&self, losses: Losses) {
        // Whoever waited may have given up.
        let _ = self.taken.send(losses);
    }
}

/// Why settings do not hold.
#[derive(Debug)]
pub enum ChangeError {
    /// They are of no use, and nothing has changed.
    Unfit(StartError),
    /// The first address overlaps the second, which is listened at, and nothing has changed.
    Overlap(Address, Address),
    /// The server is shutting down: nothing changes any more.
    Ending,
    /// Not everybody has taken them yet. They will.
    Late,
}

impl From<StartError> for ChangeError {
    fn from(error: StartError) -> ChangeError {
        ChangeError::Unfit(error)
    }
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeError::Unfit(error) => error.fmt(f),
            ChangeError::Overlap(new, old) => write!(
                f,
                "cannot listen on {new} while {old} is listened at, which overlaps it; leave both \
                 out in one reload, and put {new} in with the next"
            ),
            ChangeError::Ending => f.write_str("the router is shutting down"),
            ChangeError::Late => write!(
                f,
                "the router has not taken the change within {} seconds; it will",
                APPLIED_WITHIN.as_secs()
            ),
        }
    }
}

impl std::error::Error for ChangeError {}

/// What the acceptor is told.
#[derive(Debug)]
pub(super) struct Opening {
    /// What the others are told.
    pub change: Arc<Change>,
    /// Sockets that connections come in by from now on.
    pub opened: Vec<(Listener, ListenerIndex)>,
    /// Listeners by which none come in any more.
    pub closed: Vec<ListenerIndex>,
    /// Listeners whose certificates are no longer watched, or others.
    pub unwatched: Vec<ListenerIndex>,
    /// The certificates that are watched from now on.
    pub watched: Vec<Watched>,
}

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Realms.
    pub realms: RealmChanges,
    /// Where it listens now, and did not before.
    pub opened: Vec<(ListenerIndex, Address)>,
    /// Where it listens no more.
    pub closed: Vec<Address>,
    /// What sessions have lost.
    pub losses: Losses,
    /// Settings that have changed and hold only when the server is started again.
    pub later: Vec<&'static str>,
}

/// What was tried and is good.
struct Tried {
    doors: Vec<Door>,
    listeners: Vec<ListenerSettings>,
    gates: Vec<Option<Gate>>,
    opened: Vec<(Listener, ListenerIndex)>,
    bound: Vec<(ListenerIndex, Address)>,
    closed: Vec<ListenerIndex>,
    unwatched: Vec<ListenerIndex>,
    watched: Vec<Watched>,
}

impl Server {
    /// Other settings hold when this returns, or nothing has changed; see [`ChangeError`]. Sessions go on, but those
    /// that could not have joined by the new settings; see
    /// [`Shard::configure`](crate::router::Shard::configure). Signals and the control socket stay as they are.
    ///
    /// An address that overlaps one that is listened at, as `:8080` does `127.0.0.1:8080`, cannot be taken in one step.
    pub fn change(&mut self, config: Config) -> Result<Changes, ChangeError> {
        let Config { addresses, entrances, shards, settings, .. } = config;
        let Running { router, doors, .. } = &self.running;
        let wanted = addresses.into_iter().zip(entrances).zip(settings.listeners);
        let wanted: Vec<_> =
            wanted.map(|((address, entrance), settings)| (address, entrance, settings)).collect();
        let tried = attempt(doors, &router.settings.listeners, wanted)?;
        let later = later(&self.running.limits, &settings.limits, (self.running.shards, shards));
        let (router, realms) = router.changed(Settings { listeners: tried.listeners, ..settings });
        let Tried { doors, gates, opened, bound, closed, unwatched, mut watched, .. } = tried;

        let (taken, all_taken) = unbounded();
        let change = Arc::new(Change { router: Arc::clone(&router), gates, taken });
        let closed_at = self.addresses.extract_if(.., |(index, _)| closed.contains(index));
        let closed_at = closed_at.map(|(_, address)| address).collect();
        self.addresses.extend(bound.iter().cloned());
        name_ports(&mut watched, &self.addresses);
        self.running.router = router;
        self.running.doors = doors;
        self.command(Command::Change(Box::new(Opening { change, opened, closed, unwatched, watched })));
        let losses = await_taken(&all_taken, self.running.shards, Instant::now() + APPLIED_WITHIN)?;
        Ok(Changes { realms, opened: bound, closed: closed_at, losses, later })
    }
}

/// Waits until nobody has the change any more. What sessions have lost, if every shard has taken it.
fn await_taken(taken: &Receiver<Losses>, shards: usize, until: Instant) -> Result<Losses, ChangeError> {
    let (mut shards_changed, mut losses) = (0, Losses::default());
    loop {
        match taken.recv_deadline(until) {
            Ok(lost) => (shards_changed, losses) = (shards_changed + 1, losses + lost),
            Err(RecvTimeoutError::Timeout) => return Err(ChangeError::Late),
            Err(RecvTimeoutError::Disconnected) if shards_changed == shards => return Ok(losses),
            // The acceptor has dropped it, or is no more.
            Err(RecvTimeoutError::Disconnected) => return Err(ChangeError::Ending),
        }
    }
}

/// Loads every certificate and binds every address that is new.
fn attempt(
    doors: &[Door],
    listeners: &[ListenerSettings],
    wanted: Vec<(Address, Entrance, ListenerSettings)>,
) -> Result<Tried, ChangeError> {
    let places = places(doors, wanted.iter().map(|(address, ..)| address));
    let mut tried = Tried {
        doors: doors.iter().map(|door| Door { is_open: false, ..door.clone() }).collect(),
        listeners: listeners.to_vec(),
        gates: vec![None; doors.len()],
        opened: Vec::new(),
        bound: Vec::new(),
        closed: Vec::new(),
        unwatched: Vec::new(),
        watched: Vec::new(),
    };
    for (place, (address, entrance, settings)) in places.into_iter().zip(wanted) {
        let index = ListenerIndex(place as u32);
        let before = doors.get(place);
        let tls = entrance.tls.clone().map(Certificates::load).transpose().map_err(StartError::Tls)?;
        let gate = match before {
            // Its certificates are watched, and what sessions go on with stays good.
            Some(door) if door.is_open && door.entrance == entrance => None,
            _ => Some(tried.gate(index, &address, &entrance, tls)),
        };
        if !before.is_some_and(|door| door.is_open) {
            tried.bind(index, &address).map_err(|error| overlapping(error, &address, doors))?;
        }
        let door = Door { address, entrance, is_open: true };
        if place < tried.doors.len() {
            (tried.doors[place], tried.listeners[place], tried.gates[place]) = (door, settings, gate);
        } else {
            tried.doors.push(door);
            tried.listeners.push(settings);
            tried.gates.push(gate);
        }
    }
    let indexes = (0..).map(ListenerIndex).zip(doors.iter().zip(&tried.doors));
    let closed = indexes.filter(|(_, (before, now))| before.is_open && !now.is_open);
    tried.closed = closed.map(|(index, _)| index).collect();
    tried.unwatched.extend(tried.closed.iter().copied());
    Ok(tried)
}

impl Tried {
    fn gate(
        &mut self,
        index: ListenerIndex,
        address: &Address,
        entrance: &Entrance,
        tls: Option<(Certificates, Arc<ServerConfig>)>,
    ) -> Gate {
        self.unwatched.push(index);
        let tls = tls.map(|(certificates, config)| {
            self.watched.push(Watched { listener: index, address: address.clone(), certificates });
            config
        });
        Gate { entrance: Arc::new(entrance.clone()), tls }
    }

    fn bind(&mut self, index: ListenerIndex, address: &Address) -> Result<(), StartError> {
        let sockets = listener::bind(address).map_err(|error| StartError::Listen(address.clone(), error))?;
        for socket in sockets {
            self.bound.push((index, socket.address().map_err(system("the address of a listener"))?));
            self.opened.push((socket, index));
        }
        Ok(())
    }
}

/// What is said of an address that is taken: by a listener of the server's own, if one overlaps it.
fn overlapping(error: StartError, address: &Address, doors: &[Door]) -> ChangeError {
    let taken = matches!(&error, StartError::Listen(_, error) if error.kind() == ErrorKind::AddrInUse);
    let mut open = doors.iter().filter(|door| taken && door.is_open);
    match open.find(|door| may_overlap(&door.address, address)) {
        Some(door) => ChangeError::Overlap(address.clone(), door.address.clone()),
        None => error.into(),
    }
}

/// True if two addresses may be in each other's way: they have the same port, or the path of the same file.
fn may_overlap(one: &Address, other: &Address) -> bool {
    let port = |address: &Address| match address {
        Address::Everywhere(port) => Some(*port),
        Address::Tcp(address) => Some(address.port()),
        Address::Name(name) => name.rsplit_once(':').and_then(|(_, port)| port.parse().ok()),
        Address::Unix(_) => None,
    };
    match (one, other) {
        (Address::Unix(one), Address::Unix(other)) => {
            path::absolute(one).is_ok_and(|one| path::absolute(other).is_ok_and(|other| one == other))
        }
        _ => port(one).is_some_and(|port_of_one| port(other) == Some(port_of_one)),
    }
}

/// The places of the listeners that are wanted: those that they have if they are open, or had, or new ones. Addresses
/// with any free port may be there more than once.
fn places<'a>(doors: &[Door], wanted: impl Iterator<Item = &'a Address>) -> Vec<usize> {
    let mut taken = vec![false; doors.len()];
    let mut next = doors.len();
    let place = |address: &Address| {
        let mut find = |is_open| {
            let mut doors = doors.iter().zip(&mut taken);
            doors.position(|(door, taken)| {
                door.is_open == is_open && door.address == *address && !mem::replace(taken, true)
            })
        };
        find(true).or_else(|| find(false)).unwrap_or_else(|| {
            next += 1;
            next - 1
        })
    };
    wanted.map(place).collect()
}

/// Names of what has changed and is not looked at again while the server runs.
fn later(before: &Limits, now: &Limits, (shards_before, shards): (usize, usize)) -> Vec<&'static str> {
    let settings = [
        ("shards", shards_before != shards),
        ("mailbox_letters_max", before.mailbox_letters_max != now.mailbox_letters_max),
        ("mailbox_bytes_max", before.mailbox_bytes_max != now.mailbox_bytes_max),
    ];
    settings.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(port: u16, is_open: bool) -> Door {
        Door { address: Address::local(port), entrance: Entrance::default(), is_open }
    }

    #[test]
    fn listeners_keep_their_places_and_closed_ones_come_back_to_theirs() {
        let doors = [door(1, true), door(2, false), door(0, false), door(0, true)];
        let places = |ports: &[u16]| {
            let addresses: Vec<_> = ports.iter().map(|port| Address::local(*port)).collect();
            places(&doors, addresses.iter())
        };
        assert_eq!(places(&[1, 2]), [0, 1]);
        assert_eq!(places(&[2, 1, 3]), [1, 0, 4]);
        assert_eq!(places(&[0, 0, 0, 7]), [3, 2, 4, 5], "open ones first");
        assert_eq!(places(&[]), [0; 0]);
    }

    #[test]
    fn a_change_is_taken_when_every_shard_has_said_so() {
        let (taken, all_taken) = unbounded();
        let soon = || Instant::now() + Duration::from_millis(1);
        let lost = |sessions| Losses { sessions, subscriptions: 1, registrations: 2 };
        taken.send(lost(3)).unwrap();
        assert!(matches!(await_taken(&all_taken, 2, soon()), Err(ChangeError::Late)));
        taken.send(lost(3)).unwrap();
        let other = taken.clone();
        other.send(lost(4)).unwrap();
        drop((taken, other));
        let losses = Losses { sessions: 7, subscriptions: 2, registrations: 4 };
        assert_eq!(await_taken(&all_taken, 2, soon()).unwrap(), losses);
        assert!(matches!(await_taken(&all_taken, 2, soon()), Err(ChangeError::Ending)), "it was dropped");
    }

    #[test]
    fn a_listener_that_cannot_be_had_changes_nothing() {
        let bound = listener::bind(&Address::local(0)).unwrap();
        let taken = bound[0].address().unwrap();
        let transport = crate::transport::Settings {
            message_bytes_max: 1 << 20,
            peer_message_bytes_min: 512,
            serializers: [true; 4],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        };
        let settings = ListenerSettings {
            transport: Arc::new(transport),
            request_ids: Default::default(),
            access: Default::default(),
            forwarded_from: Vec::new(),
        };
        let wanted = |address: &Address| (address.clone(), Entrance::default(), settings.clone());
        let free = Address::local(0);
        let failed = attempt(&[], &[], vec![wanted(&free), wanted(&taken)]);
        assert!(
            matches!(failed, Err(ChangeError::Unfit(StartError::Listen(address, _))) if address == taken)
        );
        let own = [Door { address: taken.clone(), entrance: Entrance::default(), is_open: true }];
        let Address::Tcp(socket) = taken else { panic!("{taken}") };
        let everywhere = Address::Everywhere(socket.port());
        let settings_of_own = [settings.clone()];
        let failed = attempt(&own, &settings_of_own, vec![wanted(&everywhere)]);
        assert!(
            matches!(failed, Err(ChangeError::Overlap(new, old)) if (&new, &old) == (&everywhere, &own[0].address))
        );
        let tried = attempt(&[], &[], vec![wanted(&free)]).unwrap();
        assert_eq!((tried.doors.len(), tried.opened.len(), tried.gates[0].is_some()), (1, 1, true));
        let again = attempt(&tried.doors, &tried.listeners, vec![wanted(&free)]).unwrap();
        assert!(again.opened.is_empty() && again.gates[0].is_none() && again.closed.is_empty());
        let none = attempt(&tried.doors, &tried.listeners, Vec::new()).unwrap();
        assert_eq!((none.closed, none.doors[0].is_open), (vec![ListenerIndex(0)], false));
    }
}
