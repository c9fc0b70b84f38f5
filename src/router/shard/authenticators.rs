//! Those about whom a procedure is asked before they join: whether its answer lets them in, or what they are asked
//! next.

use std::sync::Arc;
use std::time::Instant;

use super::authenticating::place;
use super::held::Procedure;
use super::{Next, Shard};
use crate::auth::Method;
use crate::error::{CloseReason, JoinFailure};
use crate::router::authentication::dynamic::{self, NotSaid, Said};
use crate::router::authentication::{Claim, Principal, Question, Refused, Step, Who, attempt};
use crate::router::authorization::dynamic::Cause;
use crate::router::letter::Outcome;
use crate::router::peer::{Held, HeldFor, HeldJoin};
use crate::router::session::Admission;
use crate::router::{PeerKey, RealmSettings};

/// Who vouches for those whom a procedure knows.
pub(super) const DYNAMIC: &str = "dynamic";

impl Shard {
    /// Asks, and holds who is about to join. The time for it is the procedure's, but no more than a client has to
    /// answer a challenge.
    pub(super) fn ask_authenticator(
        &mut self,
        key: PeerKey,
        admission: Admission,
        question: Question,
    ) -> Next {
        let Some(peer) = self.peers.peer(key) else { return Next::Read };
        let dynamic = question.dynamic.clone();
        let payload = dynamic::arguments(peer, &admission.realm.name, &question);
        let challenge_ms_max = self.router.settings.authentication.challenge_ms_max;
        let procedure = Procedure {
            uri: &dynamic.procedure,
            realm: dynamic.realm.as_deref().unwrap_or(&admission.realm.name),
            timeout_ms: dynamic.timeout_ms.min(challenge_ms_max).max(1),
        };
        match self.call_procedure(key, procedure, payload) {
            Ok(call) => {
                self.peers.clear_deadline(key, &mut self.timers);
                let join = HeldJoin { admission, question, outcome: None };
                self.peers.hold(key, Held { call: Some(call), what: HeldFor::Join(Box::new(join)) });
                Next::Hold
            }
            Err(cause) => self.not_said(key, &admission.realm, &question, NotSaid::Unanswered(cause)),
        }
    }

    /// It has answered.
    pub(super) fn on_held_join(&mut self, key: PeerKey, held: HeldJoin, now: Instant) -> Next {
        let HeldJoin { admission, question, outcome } = held;
        // Many may have been asked about before the first of them was refused.
        let Some(peer) = self.peers.peer(key) else { return Next::Read };
        if place(&self.router, peer, &admission.realm, now).must_wait() {
            let (authid, name) = (question.claim.authid.clone(), Some(question.named.name));
            return self.turn_away(key, &admission.realm, authid, name, JoinFailure::TooMany.into());
        }
        let outcome = outcome.unwrap_or(Outcome::Refused(crate::error::Refusal::Canceled));
        match dynamic::said(question.named.method, &outcome) {
            Ok(said) => self.on_said(key, admission, question, said, now),
            Err(not_said) => self.not_said(key, &admission.realm, &question, not_said),
        }
    }

    /// It knows who it is: that one may join, or is to prove it.
    fn on_said(
        &mut self,
        key: PeerKey,
        admission: Admission,
        question: Question,
        said: Said,
        now: Instant,
    ) -> Next {
        let (realm, principal) = match self.principal(key, &admission.realm, &question, said) {
            Ok(found) => found,
            Err(Unfit::Failure(failure)) => {
                let authid = question.claim.authid.clone();
                let name = Some(question.named.name);
                return self.turn_away(key, &admission.realm, authid, name, failure.into());
            }
            Err(Unfit::Result(wrong)) => {
                let not_said = NotSaid::Unanswered(Cause::Result(wrong));
                return self.not_said(key, &admission.realm, &question, not_said);
            }
        };
        let sent = (realm.name != admission.realm.name).then(|| admission.realm.name.as_str().into());
        let admission = Admission { realm, asked: sent, ..admission };
        let Question { named, claim, session, .. } = question;
        let claim = claimed(claim, &principal);
        let known = named.method != Method::Cryptosign
            || claim.pubkey.is_some_and(|key| principal.keys.contains(&key));
        let fails = (!known).then_some(JoinFailure::UnknownPrincipal);
        let who = Who { principal: Arc::new(principal), fails, authprovider: DYNAMIC };
        let authid = claim.authid.clone();
        let Shard { router, peers, entropy, .. } = self;
        let Some(peer) = peers.peer(key) else { return Next::Read };
        let place = place(router, peer, &admission.realm, now);
        let step = match named.method {
            Method::WampCra | Method::Scram | Method::Cryptosign => {
                attempt::challenge(claim, named, Some(who), session, &place, entropy)
            }
            Method::Anonymous | Method::Cookie | Method::Ticket | Method::Tls => {
                let mut step = Step::from(attempt::join(&claim, named, &who, &place));
                if let Step::Join(proved) = &mut step {
                    proved.session = Some(session);
                }
                step
            }
        };
        self.take_step(key, admission, authid, step, now)
    }

    /// Whom a procedure has named, and where that one joins.
    fn principal(
        &self,
        key: PeerKey,
        asked: &Arc<RealmSettings>,
        question: &Question,
        said: Said,
    ) -> Result<(Arc<RealmSettings>, Principal), Unfit> {
        let Some(peer) = self.peers.peer(key) else { return Err(Unfit::Failure(JoinFailure::Unavailable)) };
        let mut realm = asked.clone();
        if let Some(name) = said.realm.as_deref() {
            let access = &self.router.settings.listeners[peer.listener.0 as usize].access;
            let offered = self.router.realm_table().offered(name).filter(|realm| realm.is_opened_by(access));
            realm = offered.ok_or(Unfit::Result("its realm does not exist, or is not open here"))?;
        }
        let default_role = match question.named.method {
            Method::Anonymous => asked.anonymous(),
            method => asked.authentication.method(method).default_role.as_ref(),
        };
        let name = said.role.as_deref().or_else(|| default_role.map(|role| &*role.name));
        let name = name.ok_or(Unfit::Failure(JoinFailure::NoSuchRole))?;
        let role = realm.roles.iter().find(|role| role.name == name).cloned();
        let role = Some(role.ok_or(Unfit::Result("its role does not exist in the realm"))?);
        let principal = said.principal(question.claim.authid.as_deref(), role);
        Ok((realm, principal.ok_or(Unfit::Result("it does not say who it is"))?))
    }

    /// ABORT: with what the procedure has said, if it has, and else as for a wrong secret.
    fn not_said(
        &mut self,
        key: PeerKey,
        realm: &RealmSettings,
        question: &Question,
        not_said: NotSaid,
    ) -> Next {
        let (failure, cause) = match &not_said {
            // The client is told the same, but it has guessed nothing.
            NotSaid::Refused(error, _) if dynamic::is_own_failure(error) => {
                (JoinFailure::Unanswered, Cause::Error(error.clone()))
            }
            NotSaid::Refused(error, _) => (JoinFailure::TurnedDown, Cause::Error(error.clone())),
            NotSaid::Unanswered(cause) => (JoinFailure::Unanswered, cause.clone()),
        };
        let (authid, name) = (question.claim.authid.clone(), Some(question.named.name));
        self.note_failure(key, realm, (authid, name), Refused::from(failure), Some(cause));
        match not_said {
            NotSaid::Refused(error, text) if !dynamic::is_private(&error) => {
                let text = text.unwrap_or_else(|| failure.message().into());
                self.send_abort(key, &error, &text);
            }
            NotSaid::Refused(..) | NotSaid::Unanswered(_) => {
                self.send_abort(key, failure.reason(), failure.message());
            }
        }
        Next::Finish(CloseReason::Aborted)
    }
}

/// Why what a procedure has said lets nobody in.
enum Unfit {
    Failure(JoinFailure),
    /// What is wrong with its result.
    Result(&'static str),
}

/// What the client says of itself, as far as the procedure has left that open: it knows which role it asks for, and has
/// decided.
fn claimed(mut claim: Claim, principal: &Principal) -> Claim {
    claim.authid.get_or_insert_with(|| principal.authid.clone());
    claim.authrole = None;
    claim.pubkey = claim.pubkey.or_else(|| principal.keys.first().copied());
    claim
}
