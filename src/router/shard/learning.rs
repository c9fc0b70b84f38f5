//! What a shard learns of a peer from the HTTP request that its connection began with.

use std::sync::Arc;

use super::Shard;
use crate::router::{HttpFacts, PeerKey};
use crate::transport::upgrade::{RequestHead, values};

impl Shard {
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
            }
        }
        peer.http = Some(Box::new(HttpFacts::new(request)));
    }
}
