//! The callee's side: INVOCATION, INTERRUPT, and what the callee answers with YIELD or ERROR.

use super::{Dealer, unsendable};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::{Refusal, Violation};
use crate::router::features::Feature;
use crate::router::letter::{Attributes, CallKey, Complete, Invoke, Letter, Outcome, details};
use crate::router::session::Session;
use crate::router::{Context, PeerKey, passthru};
use crate::wamp::message::{self, Invocation, Yield};
use crate::wamp::options::{CancelMode, CustomOptions};
use crate::wamp::{Dict, Message, RequestId, UriCheck, Value, reason};

impl Dealer {
    /// Sends INVOCATION, or completes the call with the reason why not. If the callee has gone the call goes back: it
    /// may have been one of several.
    pub fn invoke(&mut self, cx: &mut Context<'_>, invoke: Box<Invoke>) {
        match self.try_invoke(cx, &invoke) {
            Ok(()) => {}
            Err(Refusal::NoSuchProcedure) => cx.letters.post(invoke.call.shard, Letter::Return(invoke)),
            Err(refusal) => self.complete_with(cx, invoke.call, Outcome::Refused(refusal)),
        }
    }

    fn try_invoke(&mut self, cx: &mut Context<'_>, invoke: &Invoke) -> Result<(), Refusal> {
        let invocations_open_max = cx.router.settings.limits.invocations_open_per_session_max;
        // Unregistered, or left, after the caller's shard looked.
        let gone = if cx.draining { Refusal::Unavailable } else { Refusal::NoSuchProcedure };
        let session = self.callee_session(cx, invoke.callee);
        let session = session.filter(|session| session.registrations.contains_key(&invoke.registration));
        let session = session.ok_or(gone)?;
        if session.invocations.count() >= invocations_open_max {
            return Err(Refusal::Unavailable);
        }
        let passthru = invoke.attributes.as_ref().is_some_and(Attributes::passthru);
        if passthru && !session.features.has(Feature::CalleePayloadPassthru) {
            return Err(Refusal::FeatureNotSupported);
        }
        let request = session.invocation.next();
        let procedure = invoke.procedure.as_deref().map(|procedure| [("procedure", Value::text(procedure))]);
        let invocation = Invocation {
            request,
            registration: invoke.registration,
            details: details(procedure.as_ref().map_or(&[], |pairs| &pairs[..]), &invoke.attributes),
            payload: invoke.payload.borrow(),
        };
        let sent = cx.peers.send(invoke.callee, &Message::Invocation(invocation));
        if let Some(refusal) = unsendable(sent) {
            return Err(refusal);
        }
        // The request id is spent only now: ids of what was not sent would leave gaps.
        let session = cx.peers.session(invoke.callee).expect("seen above");
        session.invocation = request;
        session.invocations.insert(request, invoke.call);
        session.invocations_by_call.insert(invoke.call, request);
        *cx.invocations_open += 1;
        Ok(())
    }

    /// YIELD.
    pub fn on_yield(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Yield<'_>,
    ) -> Result<(), Violation> {
        let Some(call) = self.close_invocation(cx, key, message.request)? else { return Ok(()) };
        let outcome = match forwarded_attributes(&message.options) {
            Ok(attributes) => {
                self.ask_for_passthru(cx, key, (call, &attributes), Some(message.request));
                Outcome::Result { attributes, payload: OwnedPayload::copy(message.payload) }
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        self.complete_with(cx, call, outcome);
        Ok(())
    }

    /// ERROR for an INVOCATION. An error URI that is none would disturb the caller's own checks; it is replaced.
    pub fn on_error(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &message::Error<'_>,
    ) -> Result<(), Violation> {
        if message.request_type != message::code::INVOCATION {
            return Err(Violation::ErrorForNothing);
        }
        let Some(call) = self.close_invocation(cx, key, message.request)? else { return Ok(()) };
        let uri_bytes_max = cx.router.settings.limits.uri_bytes_max;
        let valid = message.error.len() <= uri_bytes_max && UriCheck::Loose.uri(&message.error);
        let error = if valid { &*message.error } else { reason::INVALID_URI };
        let outcome = match forwarded_attributes(&message.details) {
            Ok(attributes) => {
                self.ask_for_passthru(cx, key, (call, &attributes), None);
                let payload = OwnedPayload::copy(message.payload);
                Outcome::Error { error: error.into(), attributes, payload }
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        self.complete_with(cx, call, outcome);
        Ok(())
    }

    /// Takes an invocation off the callee's table. `None`: it was, but is no longer open, since INTERRUPT and YIELD
    /// crossed.
    fn close_invocation(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        request: RequestId,
    ) -> Result<Option<CallKey>, Violation> {
        let Some(session) = cx.peers.session(key) else { return Ok(None) };
        let Some(call) = session.invocations.remove(&request) else {
            if request > session.invocation {
                return Err(Violation::UnknownInvocation);
            }
            cx.peers.counters.answers_too_late += 1;
            return Ok(None);
        };
        session.invocations_by_call.remove(&call);
        *cx.invocations_open -= 1;
        Ok(Some(call))
    }

    /// The caller has given up an invocation that is still open. Unless the callee was asked to end it and its answer
    /// is waited for, it is forgotten: what still comes for it is ignored, and it takes no room from others. A callee
    /// that did not announce `call_canceling` is not told; a caller that waits for it then is answered here.
    pub fn interrupt(&mut self, cx: &mut Context<'_>, callee: PeerKey, call: CallKey, mode: CancelMode) {
        let Some(session) = self.callee_session(cx, callee) else { return };
        let Some(&request) = session.invocations_by_call.get(&call) else { return };
        let told = session.features.has(Feature::CalleeCallCanceling) && mode != CancelMode::Skip;
        if !told || mode == CancelMode::KillNoWait {
            session.invocations.remove(&request);
            session.invocations_by_call.remove(&call);
            *cx.invocations_open -= 1;
        }
        if !told {
            if mode == CancelMode::Kill {
                self.complete_with(cx, call, Outcome::Refused(Refusal::Canceled));
            }
            return;
        }
        let options = [("mode", Value::text(mode.name()))];
        let interrupt = message::Interrupt { request, options: Dict::Pairs(&options) };
        cx.peers.send(callee, &Message::Interrupt(interrupt));
    }

    /// The session of a callee that a letter names. The peer may have left meanwhile and joined another realm, where
    /// the same ids mean something else.
    fn callee_session<'s>(&self, cx: &'s mut Context<'_>, callee: PeerKey) -> Option<&'s mut Session> {
        cx.peers.session(callee).filter(|session| session.realm == self.realm.key)
    }

    pub(super) fn complete_with(&self, cx: &mut Context<'_>, call: CallKey, outcome: Outcome) {
        let complete = Complete { call, realm: self.realm.key, outcome };
        cx.letters.post(call.shard, Letter::Complete(Box::new(complete)));
    }
}

/// What travels on with an answer. Attributes that mean nothing are refused, and the caller is told in the answer's
/// place: YIELD and ERROR have no answer of their own.
fn forwarded_attributes(options: &Dict<'_>) -> Result<Option<Attributes>, Refusal> {
    let CustomOptions { custom } = codec::options(options)?;
    if custom {
        passthru::used(options)?;
    }
    Ok(Attributes::of(options, custom))
}
