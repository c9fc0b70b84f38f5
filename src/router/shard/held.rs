//! What is held until somebody else has answered: a message until an authorizer has, and who is about to join until an
//! authenticator has. What the peer has sent behind it waits.
//!
//! ```text
//!   on_message -- a question is open --> call_procedure, hold --> Answered letter --> on_answered: at hand, resumed
//!        ^                                                                                    |
//!        +---------- with the answer ----- read takes it up again <---------------------------+
//! ```
//!
//! One thing is held for each peer, and its octets count among those that are kept of its input. Who leaves takes it
//! along: nobody is answered, and the procedure is told not to go on. What can be answered at once, since nobody is
//! there to be asked, is not held.
//!
//! Nothing waits for ever: a procedure has its time, and then has refused. So two sessions that authorize each other,
//! and have each asked for something, wait for that time and go on; one that would have to answer for itself is not
//! asked at all (see [`OwnCall::about`]).

use std::time::Instant;

use super::authorizing::Put;
use super::{Next, Shard};
use crate::codec::payload::OwnedPayload;
use crate::error::Violation;
use crate::router::authorization::dynamic::Cause;
use crate::router::dealer::{Answered, OwnCall};
use crate::router::letter::CallKey;
use crate::router::peer::{Held, HeldFor, HeldMessage};
use crate::router::{PeerKey, RealmKey};

/// A procedure that the router is to call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Procedure<'a> {
    pub(super) uri: &'a str,
    /// The realm it is in.
    pub(super) realm: &'a str,
    pub(super) timeout_ms: u64,
}

impl Shard {
    /// Calls it about a peer. An error is the answer.
    pub(super) fn call_procedure(
        &mut self,
        about: PeerKey,
        procedure: Procedure<'_>,
        payload: Option<OwnedPayload>,
    ) -> Result<(RealmKey, CallKey), Cause> {
        let Procedure { uri, realm, timeout_ms } = procedure;
        let own = OwnCall { about, procedure: uri, payload: payload.ok_or(Cause::Untellable)?, timeout_ms };
        let realm = self.router.realm(realm).ok_or(Cause::NoSuchRealm)?;
        self.learn_of(&realm);
        let at = realm.key;
        let (realm, mut cx) = self.lend(at);
        realm.dealer.call_own(&mut cx, &own).map(|call| (at, call)).map_err(Cause::Refused)
    }

    /// A call of the router's own is over. If its peer does not wait for it, it has been canceled and the answer was
    /// under way.
    pub(super) fn on_answered(&mut self, answered: Answered) {
        let Answered { peer: key, realm, call, outcome } = answered;
        match self.peers.answered(key, (realm, call)) {
            None => return,
            Some(HeldFor::Join(join)) => join.outcome = Some(outcome),
            Some(HeldFor::Message(message)) => {
                let HeldMessage { question, role, form, purges, .. } = message;
                let put =
                    Put { question: question.clone(), role: role.clone(), form: *form, purges: *purges };
                if let Some(ruling) = self.on_ruling(key, realm, &put, &outcome) {
                    self.peers.at_hand(key, put.question, ruling);
                }
            }
        }
        self.peers.released(key);
    }

    /// Somebody else decides now about the session of a peer, or its rules do: nobody waits for the answer that a
    /// message of it is held for, which is handled as if it came now.
    pub(super) fn ask_no_more(&mut self, key: PeerKey) {
        let Some((realm, call)) = self.peers.message_held_for(key) else { return };
        self.peers.answered(key, (realm, call));
        if let Some((realm, mut cx)) = self.lend_if_known(realm) {
            realm.dealer.cancel_own(&mut cx, call);
        }
        self.peers.released(key);
    }

    /// What was held is handled now.
    pub(super) fn on_held(&mut self, key: PeerKey, held: Held, now: Instant) -> Result<Next, Violation> {
        match held.what {
            HeldFor::Message(message) => self.on_held_message(key, message, now),
            HeldFor::Join(join) => Ok(self.on_held_join(key, *join, now)),
        }
    }

    /// What is held of the peer is not handled any more.
    pub(super) fn let_go(&mut self, key: PeerKey) {
        let Some(held) = self.peers.take_held(key) else { return };
        // A realm that is no more has canceled the calls in it.
        if let Some((realm, call)) = held.call
            && self.knows(realm)
        {
            let (realm, mut cx) = self.lend(realm);
            realm.dealer.cancel_own(&mut cx, call);
        }
        self.peers.released(key);
    }
}
