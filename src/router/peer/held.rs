//! A message that waits until somebody else has answered: what its peer has sent after it stays where it is, so that
//! order is kept.

use super::{Peer, Peers};
use crate::router::authorization::dynamic::{OwnedQuestion, Ruling};
use crate::router::letter::CallKey;
use crate::router::session::Admitted;
use crate::router::{PeerKey, RealmKey};

/// The message.
#[derive(Debug)]
pub struct Held {
    /// Its octets, as they can be decoded again.
    pub message: Box<[u8]>,
    /// What its request id was found to be.
    pub admitted: Admitted,
    /// The call that is to be answered first; none if it was.
    pub call: Option<(RealmKey, CallKey)>,
    /// What that asks.
    pub question: OwnedQuestion,
    /// How often verdicts were purged before it was asked.
    pub purges: u64,
    /// What was answered already.
    pub rulings: Vec<(OwnedQuestion, Ruling)>,
}

impl Peer {
    /// True if it has a message that cannot be handled yet.
    #[inline]
    pub(super) fn waits_for_answer(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.call.is_some())
    }
}

impl Peers {
    /// Keeps a message, and reads the peer no more until it is answered.
    pub fn hold(&mut self, key: PeerKey, held: Held) {
        if let Some(peer) = self.peer_mut(key) {
            peer.held = Some(Box::new(held));
            self.queues.set_paused(key.index, true);
        }
    }

    /// True if the peer has such a message.
    pub fn holds(&self, key: PeerKey) -> bool {
        self.peer(key).is_some_and(|peer| peer.held.is_some())
    }

    /// Whether it may be handled or not, it is kept no longer.
    pub fn take_held(&mut self, key: PeerKey) -> Option<Box<Held>> {
        self.peer_mut(key)?.held.take()
    }

    /// The message.
    pub fn held(&mut self, key: PeerKey) -> Option<&mut Held> {
        self.peer_mut(key)?.held.as_deref_mut()
    }

    /// The message that waits for the answer of this call.
    pub fn held_for(&mut self, key: PeerKey, call: (RealmKey, CallKey)) -> Option<&mut Held> {
        let held = self.held(key)?;
        (held.call == Some(call)).then_some(held)
    }

    /// The message may be handled, or there is none any more: the peer is read again, unless something else forbids it.
    pub fn released(&mut self, key: PeerKey) {
        self.resume(key);
    }
}
