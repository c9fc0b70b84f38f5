//! What a shard learns of a peer from the HTTP request that its connection began with.

use std::sync::Arc;

use super::Shard;
use crate::origin::Origin;
use crate::router::{HttpFacts, PeerKey, TransportFacts};
use crate::transport::pages::Claim;
use crate::transport::upgrade::{RequestHead, values};

/// Origins that wait for the shell at most.
const FOREIGN_MAX: usize = 16;

impl Shard {
    /// A page may not connect.
    pub(super) fn on_foreign(&mut self, claim: &Claim) {
        self.peers.counters.pages_refused += 1;
        if self.foreign.len() < FOREIGN_MAX {
            self.foreign.push(claim.shown().to_owned());
        }
    }

    /// Takes the origins of pages that were refused; of many, not all.
    pub fn foreign(&mut self, into: &mut Vec<String>) {
        into.append(&mut self.foreign);
    }

    /// The same of the request that has opened a long-poll transport.
    pub(super) fn learn_longpoll(&mut self, key: PeerKey, request: RequestHead) {
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.longpoll = true;
        }
        self.learn(key, request);
    }

    /// Keeps what the request says beyond what was agreed on, and takes whom a proxy that is believed names for the
    /// client.
    pub(super) fn learn(&mut self, key: PeerKey, request: RequestHead) {
        let Some(peer) = self.peers.peer_mut(key) else { return };
        let trusted = &self.router.settings.listeners[peer.listener.0 as usize].forwarded_from;
        if !trusted.is_empty() {
            let address = peer.origin.address;
            let client = request
                .read(|request| address.forwarded(values(request, "x-forwarded-for"), trusted))
                .flatten();
            if let Some(client) = client {
                let origin = Arc::make_mut(&mut peer.origin);
                origin.proxy.get_or_insert(origin.address);
                origin.address = client;
                self.learned.push((key, Arc::clone(&peer.origin)));
            }
        }
        peer.http = Some(HttpFacts::new(request));
    }

    /// Takes the peers of whose origin more is known than when they were opened.
    pub fn learned(&mut self) -> impl Iterator<Item = (PeerKey, Arc<Origin>)> {
        self.learned.drain(..)
    }

    /// Where a peer comes from, as far as it is known by now; `None` for a dead key.
    pub fn origin(&self, key: PeerKey) -> Option<&Arc<Origin>> {
        self.peers.peer(key).map(|peer| &peer.origin)
    }

    /// What its connection has shown; `None` for a dead key, and before something is agreed on.
    pub fn transport_facts(&self, key: PeerKey) -> Option<TransportFacts<'_>> {
        self.peers.peer(key)?.transport_facts()
    }
}
