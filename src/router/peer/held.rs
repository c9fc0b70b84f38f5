//! A message that waits until somebody else has answered: what its peer has sent after it stays where it is, so that
//! order is kept.

use std::sync::Arc;

use super::{Peer, Peers};
use crate::router::authentication::Question;
use crate::router::authorization::dynamic::dialogue::Form;
use crate::router::authorization::dynamic::{OwnedQuestion, Ruling};
use crate::router::letter::{CallKey, Outcome};
use crate::router::role::Role;
use crate::router::session::{Admission, Admitted};
use crate::router::{PeerKey, RealmKey};

/// What is held of a peer.
#[derive(Debug)]
pub struct Held {
    /// The call that is to be answered first; none if it was.
    pub call: Option<(RealmKey, CallKey)>,
    /// What waits for it.
    pub what: HeldFor,
}

/// What waits for an answer.
#[derive(Debug)]
pub enum HeldFor {
    /// A message of a session.
    Message(HeldMessage),
    /// Who has said HELLO, or answered a challenge.
    Join(Box<HeldJoin>),
}

/// A message of a session that is about to be authorized.
#[derive(Debug)]
pub struct HeldMessage {
    /// Its octets, as they can be decoded again.
    pub bytes: Box<[u8]>,
    /// What its request id was found to be.
    pub admitted: Admitted,
    /// What was asked.
    pub question: OwnedQuestion,
    /// The role whose authorizer was asked. If the session has another one now, nothing that was answered holds.
    pub role: Arc<Role>,
    /// How it was asked.
    pub form: Form,
    /// How often verdicts were purged before it was asked.
    pub purges: u64,
    /// What was answered already.
    pub rulings: Vec<(OwnedQuestion, Ruling)>,
}

/// Somebody who is about to join.
#[derive(Debug)]
pub struct HeldJoin {
    /// What it gets then.
    pub admission: Admission,
    /// What was asked.
    pub question: Question,
    /// What was answered.
    pub outcome: Option<Outcome>,
}

impl Held {
    /// Octets of the peer's input that are kept.
    pub(super) fn bytes(&self) -> usize {
        match &self.what {
            HeldFor::Message(message) => message.bytes.len(),
            HeldFor::Join(_) => 0,
        }
    }
}

impl Peer {
    /// True if it has something that cannot be handled yet.
    #[inline]
    pub(super) fn waits_for_answer(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.call.is_some())
    }
}

impl Peers {
    /// Keeps it, and reads the peer no more until it is answered.
    pub fn hold(&mut self, key: PeerKey, held: Held) {
        if let Some(peer) = self.peer_mut(key) {
            peer.held = Some(Box::new(held));
            self.queues.set_paused(key.index, true);
        }
    }

    /// True if the peer has something that is held.
    pub fn holds(&self, key: PeerKey) -> bool {
        self.peer(key).is_some_and(|peer| peer.held.is_some())
    }

    /// Whether it may be handled or not, it is kept no longer.
    pub fn take_held(&mut self, key: PeerKey) -> Option<Held> {
        let held = self.peer_mut(key)?.held.take()?;
        self.answered -= usize::from(held.call.is_none());
        Some(*held)
    }

    /// How many peers have something that was answered, and is not handled yet.
    pub fn answered_count(&self) -> usize {
        self.answered
    }

    /// The call whose answer a message of it waits for.
    pub fn message_held_for(&self, key: PeerKey) -> Option<(RealmKey, CallKey)> {
        let held = self.peer(key)?.held.as_ref()?;
        if matches!(held.what, HeldFor::Message(_)) { held.call } else { None }
    }

    /// What waits for the answer of this call, which has come: it waits no longer, see [`released`](Self::released).
    pub fn answered(&mut self, key: PeerKey, call: (RealmKey, CallKey)) -> Option<&mut HeldFor> {
        self.peer(key)?.held.as_ref()?.call.filter(|waited| *waited == call)?;
        self.answered += 1;
        let held = self.peer_mut(key)?.held.as_mut()?;
        held.call = None;
        Some(&mut held.what)
    }

    /// An answer to what a held message has asked.
    pub fn at_hand(&mut self, key: PeerKey, question: OwnedQuestion, ruling: Ruling) {
        if let Some(HeldFor::Message(message)) =
            self.peer_mut(key).and_then(|peer| peer.held.as_mut()).map(|held| &mut held.what)
        {
            message.rulings.push((question, ruling));
        }
    }

    /// The message may be handled, or there is none any more: the peer is read again, unless something else forbids it.
    pub fn released(&mut self, key: PeerKey) {
        self.resume(key);
    }
}
