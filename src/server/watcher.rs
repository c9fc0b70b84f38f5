//! The thread that looks at the files of certificates. A file system that does not answer holds up this thread alone:
//! nothing waits for it, so connections come in and the process ends without it.
//!
//! What has changed goes to the acceptor, who alone tells workers of certificates. On its way it may be overtaken by a
//! change of settings: so it says which change its listener's certificates came with, and the acceptor hands on nothing
//! that is older than what the workers have.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender};
use mio::Waker;
use rustls::ServerConfig;
use tracing::{info, warn};

use super::acceptor::Command;
use super::listener::Address;
use super::tls::{Certificates, Expiry};
use crate::limits::Limits;
use crate::router::ListenerIndex;

/// Certificates that have changed, or would have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renewed {
    /// Where they are shown.
    pub address: Address,
    /// Why they are of no use, if so: those before are still shown.
    pub error: Option<String>,
}

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Watched {
    /// The listener.
    pub listener: ListenerIndex,
    /// Where it listens, as it was set; the port is the real one.
    pub address: Address,
    /// The certificates.
    pub certificates: Certificates,
}

/// Puts in the ports that listeners have where any was asked for.
pub(super) fn name_ports(watched: &mut [Watched], bound: &[(ListenerIndex, Address)]) {
    for Watched { listener, address, .. } in watched.iter_mut().filter(|one| one.address.is_any_port()) {
        if let Some((_, real)) = bound.iter().find(|(index, _)| index == listener) {
            *address = real.clone();
        }
    }
}

/// What the acceptor asks of the watcher.
#[derive(Debug)]
pub(super) enum WatchErrand {
    /// Certificates have changed with settings.
    Change {
        /// Which change it is.
        change: u64,
        /// Listeners whose certificates are no longer watched, or others.
        unwatched: Vec<ListenerIndex>,
        /// The certificates that are watched from now on.
        watched: Vec<Watched>,
    },
    /// Look now, and tell which have changed and which are of no use.
    Look(Sender<Renewed>),
}

/// What sessions of a listener begin with from now on.
#[derive(Debug)]
pub(super) struct Fresh {
    /// The listener.
    pub listener: ListenerIndex,
    /// The change that its certificates came with.
    pub change: u64,
    /// It.
    pub config: Arc<ServerConfig>,
    /// Where they are shown.
    pub address: Address,
    /// Who is told when the workers have been.
    pub asker: Option<Sender<Renewed>>,
}

/// The watcher's state.
#[derive(Debug)]
pub(super) struct Watcher {
    watches: Vec<Watch>,
    errands: Receiver<WatchErrand>,
    commands: Sender<Command>,
    acceptor: Arc<Waker>,
}

/// Certificates, and when their files are looked at next.
#[derive(Debug)]
struct Watch {
    watched: Watched,
    change: u64,
    due: Instant,
    expiry: Expiry,
}

impl Watch {
    fn new(watched: Watched, change: u64) -> Watch {
        let now = Instant::now();
        let due = now + Limits::ms(watched.certificates.settings().watch_ms);
        let mut expiry = Expiry::default();
        expiry.tell(&watched.certificates, true, now);
        Watch { watched, change, due, expiry }
    }
}

impl Watcher {
    /// Watches what a server is started with.
    pub fn new(
        watched: Vec<Watched>,
        errands: Receiver<WatchErrand>,
        commands: Sender<Command>,
        acceptor: Arc<Waker>,
    ) -> Watcher {
        let watches = watched.into_iter().map(|watched| Watch::new(watched, 0)).collect();
        Watcher { watches, errands, commands, acceptor }
    }

    /// Looks at files until the acceptor is no more.
    pub fn run(mut self) {
        loop {
            let due = self.watches.iter().map(|watch| watch.due).min();
            let errand = match due {
                Some(due) => self.errands.recv_deadline(due),
                None => self.errands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match errand {
                Ok(WatchErrand::Change { change, unwatched, watched }) => {
                    self.watches.retain(|watch| !unwatched.contains(&watch.watched.listener));
                    self.watches.extend(watched.into_iter().map(|watched| Watch::new(watched, change)));
                }
                Ok(WatchErrand::Look(asker)) => self.look(Some(&asker)),
                Err(RecvTimeoutError::Timeout) => self.look(None),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Looks at the files of those that are due, or of all if somebody asks.
    fn look(&mut self, asker: Option<&Sender<Renewed>>) {
        let now = Instant::now();
        let mut renewed_any = false;
        for Watch { watched: Watched { listener, address, certificates }, change, due, expiry } in
            &mut self.watches
        {
            if asker.is_none() && *due > now {
                continue;
            }
            *due = now + Limits::ms(certificates.settings().watch_ms);
            let renewed = certificates.renew(asker.is_some());
            expiry.tell(certificates, matches!(renewed, Some(Ok(_))), now);
            match renewed {
                None => {}
                Some(Ok(config)) => {
                    info!(%address, "certificates have changed; new connections get the new ones");
                    let (listener, address, asker) = (*listener, address.clone(), asker.cloned());
                    let fresh = Fresh { listener, change: *change, config, address, asker };
                    // If the acceptor has ended, nobody comes in any more.
                    renewed_any |= self.commands.send(Command::Renewed(fresh)).is_ok();
                }
                Some(Err(error)) => {
                    warn!(%address, "certificates have changed and are of no use, so those before stay: {error}");
                    let renewed = Renewed { address: address.clone(), error: Some(error.to_string()) };
                    // Whoever has asked may have given up.
                    asker.map(|asker| asker.send(renewed));
                }
            }
        }
        if renewed_any {
            self.acceptor.wake().expect("writing to an eventfd fails only if the descriptor is bad");
        }
    }
}
