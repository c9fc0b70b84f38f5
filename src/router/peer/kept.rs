//! What is kept of a peer's input, and for how long: the octets of messages that are not whole, the message that is
//! held, and the request that its connection began with.
//!
//! The request is kept until the peer joins in a role without an authorizer: nobody asks for it then, but for the
//! cookie. If an authorizer is set for its role later, that is told that nothing is known of HTTP, and so is whoever
//! looks at another session of this connection.

use super::{Peer, Peers, State};
use crate::error::CloseReason;
use crate::router::{HttpFacts, PeerKey};

impl Peer {
    fn forget_request(&mut self) {
        self.http = self.http.take().and_then(HttpFacts::without_request);
    }

    /// Octets that are kept beside those in its transport.
    fn kept_besides(&self) -> usize {
        let request = self.http.as_ref().map_or(0, HttpFacts::bytes);
        request + self.held.as_ref().map_or(0, |held| held.bytes())
    }
}

impl Peers {
    /// Nobody will ask any more for the peer's request, but for the cookie.
    pub fn forget_request(&mut self, key: PeerKey) {
        let Some(peer) = self.peer_mut(key) else { return };
        peer.forget_request();
        // A transport that the shard has in hand is counted when it is given back.
        if let Some(kept) = peer.transport.as_ref().map(|transport| transport.kept_bytes()) {
            self.set_kept(key, kept);
        }
    }

    /// Notes how many octets of the peer's input its transport keeps. One that keeps more than its share is doomed when
    /// the shard keeps too many: messages that are begun and never finished must not fill the memory. A session is
    /// worth more than its request, which is forgotten first.
    pub fn set_kept(&mut self, key: PeerKey, kept: usize) {
        let connections = self.slab.len();
        let inbound_max = self.limits.inbound_shard_bytes_max;
        let Some(peer) = self.slab.get_mut(key.index as usize).filter(|peer| peer.key == key) else { return };
        let of_others = self.kept_bytes - peer.kept;
        let too_much = |kept| of_others + kept > inbound_max && kept > inbound_max / connections;
        let mut whole = kept + peer.kept_besides();
        if too_much(whole) && matches!(peer.state, State::Joined(_)) {
            peer.forget_request();
            whole = kept + peer.kept_besides();
        }
        peer.kept = whole;
        self.kept_bytes = of_others + whole;
        if too_much(whole) {
            self.doom(key, CloseReason::InboundLimit);
        }
    }
}
