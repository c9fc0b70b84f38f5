//! Messages that are held: an authorizer is asked first, and what the peer has sent after them waits.
//!
//! ```text
//!   on_message -- a question is open --> ask -- call_own --> Answered letter --> on_answered: at hand, resumed
//!        ^                                |                                                    |
//!        +------ go_on, with the answer ---+----- read takes the message up again <-------------+
//! ```
//!
//! A held message is one message for each peer, and counts among the octets that are kept of its input. The session
//! that ends takes it along: nobody is answered, and the authorizer is told not to go on. What can be answered at once,
//! since the authorizer is not there, holds nothing.
//!
//! Nothing waits for ever: an authorizer has its time, and then has refused. So two sessions that authorize each other,
//! and have each asked for something, wait for that time and go on; one that would have to answer for itself is not
//! asked at all (see [`OwnCall::about`]).

use std::time::Instant;

use super::{Next, Shard, Unanswered, undecodable};
use crate::codec;
use crate::error::{Refusal, Violation};
use crate::router::authorization::dynamic::{Cause, Complaint, OwnedQuestion, Ruling, dialogue};
use crate::router::dealer::{Answered, OwnCall, Purpose};
use crate::router::letter::CallKey;
use crate::router::peer::Held;
use crate::router::role::Permissions;
use crate::router::session::Admitted;
use crate::router::{PeerKey, RealmKey};
use crate::wamp::{Dict, Message};

/// A message of a session, found to follow the one before.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) realm: RealmKey,
    pub(super) message: &'a Message<'a>,
    /// What it was decoded from.
    pub(super) bytes: &'a [u8],
    pub(super) admitted: Admitted,
}

impl Shard {
    /// Takes what is wrong with authorizers and is worth a line in the log.
    pub fn complaints(&mut self) -> Vec<Complaint> {
        self.authorizers.take_complaints()
    }

    /// A message could not be handled before a question is answered. Asks, and holds it; or goes on if there is nobody
    /// to ask.
    #[cold]
    pub(super) fn ask(
        &mut self,
        key: PeerKey,
        arrived: Arrived<'_>,
        mut rulings: Vec<(OwnedQuestion, Ruling)>,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Some(question) = self.authorizers.take_open() else { return Ok(Next::Read) };
        match self.call_authorizer(key, &arrived, &question) {
            Ok(call) => {
                let held = Held {
                    message: arrived.bytes.into(),
                    admitted: arrived.admitted,
                    call: Some(call),
                    question,
                    purges: self.authorizers.purges(),
                    rulings,
                };
                self.peers.hold(key, held);
                Ok(Next::Hold)
            }
            Err(cause) => {
                self.on_no_answer(key, arrived.realm, cause);
                rulings.push((question, Ruling::Failed));
                self.go_on(key, arrived, rulings, now)
            }
        }
    }

    /// Handles a message with these answers at hand.
    fn go_on(
        &mut self,
        key: PeerKey,
        arrived: Arrived<'_>,
        rulings: Vec<(OwnedQuestion, Ruling)>,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Arrived { realm, message, admitted, .. } = arrived;
        self.authorizers.put_at_hand(rulings);
        let handled = self.on_session_message(key, realm, message, admitted, now);
        let rulings = self.authorizers.take_at_hand();
        match handled? {
            Ok(next) => Ok(next),
            Err(Unanswered) => self.ask(key, arrived, rulings, now),
        }
    }

    /// A held message may be handled.
    pub(super) fn on_held(&mut self, key: PeerKey, held: &Held, now: Instant) -> Result<Next, Violation> {
        let Some(link) = self.peers.peer(key).and_then(|peer| peer.link) else { return Ok(Next::Read) };
        let Some(realm) = self.peers.session(key).map(|session| session.realm) else { return Ok(Next::Read) };
        let message = codec::decode(link.serializer, &held.message).map_err(undecodable)?;
        let arrived = Arrived { realm, message: &message, bytes: &held.message, admitted: held.admitted };
        self.go_on(key, arrived, held.rulings.clone(), now)
    }

    fn call_authorizer(
        &mut self,
        key: PeerKey,
        arrived: &Arrived<'_>,
        question: &OwnedQuestion,
    ) -> Result<(RealmKey, CallKey), Cause> {
        let gone = Cause::Refused(Refusal::Canceled);
        let Some(identity) = self.peers.session(key).map(|session| session.identity.clone()) else {
            return Err(gone);
        };
        let Permissions::Authorizer(authorizer) = &identity.role.permissions else { return Err(gone) };
        let Some(peer) = self.peers.peer(key) else { return Err(gone) };
        let realm = &*self.realms[arrived.realm.0 as usize].shared.name;
        let options = options(arrived.message);
        let payload = dialogue::arguments((peer, &identity, realm), &question.borrow(), options);
        let own = OwnCall {
            about: key,
            purpose: Purpose::Authorization,
            procedure: &authorizer.procedure,
            payload: payload.ok_or(Cause::Untellable)?,
            timeout_ms: authorizer.timeout_ms,
        };
        let where_it_is = match &authorizer.realm {
            Some(name) => self.router.realm(name).map(|realm| realm.key).ok_or(Cause::NoSuchRealm)?,
            None => arrived.realm,
        };
        let (realm, mut cx) = self.lend(where_it_is);
        realm.dealer.call_own(&mut cx, &own).map(|call| (where_it_is, call)).map_err(Cause::Refused)
    }

    /// A call of the router's own is over. If its peer does not wait for it, it has been canceled and the answer was
    /// under way.
    pub(super) fn on_answered(&mut self, answered: &Answered) {
        let Answered { peer: key, realm, call, purpose, ref outcome } = *answered;
        match purpose {
            Purpose::Authorization => {}
        }
        let Some(session) = self.peers.session(key) else { return };
        let (identity, home) = (session.identity.clone(), session.realm);
        let Some(held) = self.peers.held_for(key, (realm, call)) else { return };
        held.call = None;
        let (question, asked) = (held.question.clone(), (held.purges, self.now));
        let ruling = match dialogue::said(outcome) {
            Ok(said) => {
                self.peers.counters.authorizer_answers += 1;
                self.authorizers.learn((&identity, [home, realm]), &question, said, asked)
            }
            Err(cause) => {
                self.on_no_answer(key, home, cause);
                Ruling::Failed
            }
        };
        if let Some(held) = self.peers.held(key) {
            held.rulings.push((question, ruling));
        }
        self.peers.released(key);
    }

    fn on_no_answer(&mut self, key: PeerKey, realm: RealmKey, cause: Cause) {
        self.peers.counters.authorizer_failures += 1;
        if cause == Cause::Refused(Refusal::Timeout) {
            self.peers.counters.authorizer_timeouts += 1;
        }
        let realm = &*self.realms[realm.0 as usize].shared.name;
        if let Some(session) = self.peers.session(key) {
            self.authorizers.complain(&session.identity, realm, cause);
        }
    }

    /// What the peer has held is not handled any more: its session ends.
    pub(super) fn let_go(&mut self, key: PeerKey) {
        let Some(held) = self.peers.take_held(key) else { return };
        if let Some((realm, call)) = held.call {
            let (realm, mut cx) = self.lend(realm);
            realm.dealer.cancel_own(&mut cx, call);
        }
        self.peers.released(key);
    }
}

/// The options of what may be asked about.
fn options<'a>(message: &Message<'a>) -> Dict<'a> {
    match message {
        Message::Call(call) => call.options,
        Message::Register(register) => register.options,
        Message::Publish(publish) => publish.options,
        Message::Subscribe(subscribe) => subscribe.options,
        _ => Dict::EMPTY,
    }
}
