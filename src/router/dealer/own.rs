//! The router's own calls: it asks a procedure that a client has registered, about a peer of this shard.
//!
//! Such a call is one like any other: it is chosen for, counted, queued, rerouted and timed as those of sessions are.
//! It differs in who waits for it. No request id stands for it and no session holds it; what the router remembers of
//! the peer does, by [`CallKey`]; what the answer is for stands there (see [`HeldFor`](crate::router::peer::HeldFor)).
//! The answer is a letter of this shard to itself, [`Answered`], so that whoever asks goes on when the dealer is done
//! with what it does. A shutdown refuses it at once, as it refuses every new call.
//!
//! Only who has registered that very procedure is asked. Whoever may register patterns below it would be the authority
//! otherwise, as soon as the one that is meant has gone.
//!
//! Callees are told no caller, since none has a session. The time is kept here and never left to the callee.

use super::calls::NewCall;
use super::choice::Unchosen;
use super::{Dealer, OpenCall};
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::directory::Registration;
use crate::router::letter::{CallKey, CallTerms, Caller, Outcome};
use crate::router::{Context, PeerKey, RealmKey};
use crate::wamp::options::CancelMode;
use crate::wamp::{MatchPolicy, RequestId};

/// A call of the router's own.
#[derive(Clone, Debug)]
pub struct OwnCall<'a> {
    /// The peer of this shard that it is about. If that should be the callee too, it is not asked: it is not read while
    /// it waits.
    pub about: PeerKey,
    /// The procedure; not one of the router's.
    pub procedure: &'a str,
    /// Its arguments.
    pub payload: OwnedPayload,
    /// How long it may take; 0: however long it takes.
    pub timeout_ms: u64,
}

/// The answer of a call of the router's own.
#[derive(Debug)]
pub struct Answered {
    /// The peer it is about, which may be gone.
    pub peer: PeerKey,
    /// Where the procedure was called.
    pub realm: RealmKey,
    /// Which call of that realm.
    pub call: CallKey,
    /// How it ended; never [`Outcome::Declined`].
    pub outcome: Outcome,
}

impl OpenCall {
    /// True if the registration is one that may answer: whenever a callee is chosen, at first or again.
    pub(super) fn may_be_answered_by(&self, registration: &Registration) -> bool {
        !self.is_own() || answers_the_router(registration)
    }
}

fn answers_the_router(registration: &Registration) -> bool {
    registration.policy == MatchPolicy::Exact
}

impl Dealer {
    /// Calls. An error is the answer, and nothing else comes.
    pub fn call_own(&mut self, cx: &mut Context<'_>, own: &OwnCall<'_>) -> Result<CallKey, Refusal> {
        if cx.draining {
            return Err(Refusal::Unavailable);
        }
        let mut called = self.try_call_own(cx, own);
        // The registration that was found was no more, which the directory says now too.
        if let Err(Unchosen::Closed) = called {
            called = self.try_call_own(cx, own);
        }
        let call = called.map_err(|unchosen| unchosen.refusal(Refusal::NoSuchProcedure))?;
        cx.peers.counters.calls_own += 1;
        Ok(call)
    }

    #[cold]
    fn try_call_own(&mut self, cx: &mut Context<'_>, own: &OwnCall<'_>) -> Result<CallKey, Unchosen> {
        let place = self.cache.procedure_place(&self.realm.directory, own.procedure);
        let called = self.cache.called(&self.realm.directory, place);
        if !called.is_some_and(|(_, registration)| answers_the_router(registration)) {
            return Err(Refusal::NoSuchProcedure.into());
        }
        let terms = CallTerms {
            caller: Caller::Router(own.about),
            disclosed: false,
            receive_progress: false,
            timeout_ms: 0,
        };
        let call = NewCall {
            caller: own.about,
            request: RequestId::NONE,
            place,
            terms,
            time_ms: own.timeout_ms,
            progress: false,
            attributes: None,
            payload: own.payload.clone(),
        };
        self.begin(cx, call)
    }

    /// Nobody waits for the answer any more: the peer has gone. None comes; the callee is told.
    pub fn cancel_own(&mut self, cx: &mut Context<'_>, call: CallKey) {
        let Some(open) = self.open_call(call) else { return };
        let callee = open.callee;
        self.interrupt_callee(cx, call, callee, CancelMode::KillNoWait, Refusal::Canceled);
        self.close_call(cx, call, false);
    }
}
