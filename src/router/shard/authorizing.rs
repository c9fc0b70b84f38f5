//! Messages of sessions whose role has an authorizer: it is asked first, about each question that such a message poses.

use std::sync::Arc;
use std::time::Instant;

use super::held::Procedure;
use super::{Next, Shard, Unanswered, undecodable};
use crate::codec;
use crate::error::{Refusal, Violation};
use crate::router::authorization::dynamic::dialogue::Form;
use crate::router::authorization::dynamic::{Cause, Complaint, OwnedQuestion, Ruling, dialogue};
use crate::router::letter::{CallKey, Outcome};
use crate::router::peer::{Held, HeldFor, HeldMessage};
use crate::router::role::{Permissions, Role};
use crate::router::session::Admitted;
use crate::router::{PeerKey, RealmKey};
use crate::wamp::Message;

/// A message of a session, found to follow the one before.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a> {
    pub(super) realm: RealmKey,
    /// See [`Session::unrestricted`](crate::router::session::Session).
    pub(super) unrestricted: bool,
    pub(super) message: &'a Message<'a>,
    /// What it was decoded from.
    pub(super) bytes: &'a [u8],
    pub(super) admitted: Admitted,
}

/// A question that was put to somebody; see [`HeldMessage`].
#[derive(Debug)]
pub(super) struct Put {
    pub(super) question: OwnedQuestion,
    pub(super) role: Arc<Role>,
    pub(super) form: Form,
    pub(super) purges: u64,
}

impl Shard {
    /// Takes what is wrong with authorizers and is worth a line in the log.
    pub fn complaints(&mut self) -> Vec<Complaint> {
        self.authorizers.take_complaints()
    }

    /// A message could not be handled before a question is answered. Asks, and holds it; or goes on if there is nobody
    /// to ask. `rulings`: what was answered about it already.
    #[cold]
    pub(super) fn ask(
        &mut self,
        key: PeerKey,
        arrived: Arrived<'_>,
        mut rulings: Vec<(OwnedQuestion, Ruling)>,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Some(question) = self.authorizers.take_open() else { return Ok(Next::Read) };
        let Some(role) = self.peers.session(key).map(|session| session.identity.role.clone()) else {
            return Ok(Next::Read);
        };
        match self.call_authorizer(key, &arrived, &question) {
            Ok((call, form)) => {
                let message = HeldMessage {
                    bytes: arrived.bytes.into(),
                    admitted: arrived.admitted,
                    question,
                    role,
                    form,
                    purges: self.authorizers.purges(),
                    rulings,
                };
                self.peers.hold(key, Held { call: Some(call), what: HeldFor::Message(message) });
                Ok(Next::Hold)
            }
            Err(cause) => {
                self.on_no_answer(key, cause);
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
        self.authorizers.put_at_hand(rulings);
        let handled = self.on_session_message(key, arrived, now);
        let rulings = self.authorizers.take_at_hand();
        match handled? {
            Ok(next) => Ok(next),
            Err(Unanswered) => self.ask(key, arrived, rulings, now),
        }
    }

    pub(super) fn on_held_message(
        &mut self,
        key: PeerKey,
        held: HeldMessage,
        now: Instant,
    ) -> Result<Next, Violation> {
        let Some(link) = self.peers.peer(key).and_then(|peer| peer.link) else { return Ok(Next::Read) };
        let Some(session) = self.peers.session(key) else { return Ok(Next::Read) };
        let (realm, unrestricted) = (session.realm, session.unrestricted);
        let HeldMessage { bytes, admitted, mut rulings, role, .. } = held;
        if !self.has_role(key, &role) {
            rulings.clear();
        }
        let message = &codec::decode(link.serializer, &bytes).map_err(undecodable)?;
        self.go_on(key, Arrived { realm, unrestricted, message, bytes: &bytes, admitted }, rulings, now)
    }

    fn call_authorizer(
        &mut self,
        key: PeerKey,
        arrived: &Arrived<'_>,
        question: &OwnedQuestion,
    ) -> Result<((RealmKey, CallKey), Form), Cause> {
        let gone = Cause::Refused(Refusal::Canceled);
        let Some(identity) = self.peers.session(key).map(|session| session.identity.clone()) else {
            return Err(gone);
        };
        let Permissions::Authorizer(authorizer) = &identity.role.permissions else { return Err(gone) };
        let Some(peer) = self.peers.peer(key) else { return Err(gone) };
        let realm = self.router.realm_table().realm(arrived.realm).ok_or(gone)?;
        let other = authorizer.realm.as_deref().and_then(|name| self.router.realm(name));
        let at = other.map_or(realm.key, |other| other.key);
        let form = self.authorizers.form(at, &authorizer.procedure);
        let payload = dialogue::arguments((peer, &identity, &realm.name), question, form);
        let procedure = Procedure {
            uri: &authorizer.procedure,
            realm: authorizer.realm.as_deref().unwrap_or(&realm.name),
            timeout_ms: authorizer.timeout_ms,
        };
        self.call_procedure(key, procedure, payload).map(|call| (call, form))
    }

    /// True if the session still has the very role that somebody was asked about.
    fn has_role(&mut self, key: PeerKey, role: &Arc<Role>) -> bool {
        self.peers.session(key).is_some_and(|session| Arc::ptr_eq(&session.identity.role, role))
    }

    /// An authorizer in `realm` has answered, or not. None if it is to be asked again, or somebody else: the role has
    /// changed meanwhile, or it takes no options.
    pub(super) fn on_ruling(
        &mut self,
        key: PeerKey,
        realm: RealmKey,
        Put { question, role, form, purges }: &Put,
        outcome: &Outcome,
    ) -> Option<Ruling> {
        if !self.has_role(key, role) {
            return None;
        }
        let session = self.peers.session(key)?;
        let (identity, home) = (session.identity.clone(), session.realm);
        match dialogue::said(outcome) {
            Ok(said) => {
                self.peers.counters.authorizer_answers += 1;
                Some(self.authorizers.learn((&identity, [home, realm]), question, said, (*purges, self.now)))
            }
            Err(cause) => {
                let old = *form == Form::Whole && dialogue::takes_three(outcome);
                if let Permissions::Authorizer(authorizer) = &role.permissions {
                    let form = if old { Form::Old } else { Form::Whole };
                    self.authorizers.set_form(realm, &authorizer.procedure, form);
                }
                if old {
                    self.complain(key, Cause::OldForm);
                    return None;
                }
                self.on_no_answer(key, cause);
                Some(Ruling::Failed)
            }
        }
    }

    fn on_no_answer(&mut self, key: PeerKey, cause: Cause) {
        self.peers.counters.authorizer_failures += 1;
        if cause == Cause::Refused(Refusal::Timeout) {
            self.peers.counters.authorizer_timeouts += 1;
        }
        self.complain(key, cause);
    }

    fn complain(&mut self, key: PeerKey, cause: Cause) {
        if let Some(session) = self.peers.session(key) {
            let (key, identity) = (session.realm, session.identity.clone());
            let (realm, cx) = self.lend(key);
            cx.authorizers.complain(&identity, (key, &realm.shared.name), cause, cx.now);
        }
    }
}
