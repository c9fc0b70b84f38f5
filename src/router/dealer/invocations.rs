//! The callee's side: INVOCATION, INTERRUPT, and what the callee answers with YIELD or ERROR (basic profile, "Calling
//! and Invocations"; advanced profile, "Call Canceling", "Progressive Call Results", "Progressive Call Invocations",
//! "Call Timeouts", "Caller Identification", "Call Trust Levels").

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Dealer, unsendable};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::{Refusal, Violation};
use crate::router::directory::{Callee, Slot, Workload};
use crate::router::features::{Feature, Features};
use crate::router::letter::{
    Attributes, CallKey, Caller, Complete, Invoke, Letter, Outcome, Progress, Returned, details,
};
use crate::router::peer::Sent;
use crate::router::session::{CalleeWishes, OpenInvocation, Session};
use crate::router::{Context, Disclosure, PeerKey, passthru};
use crate::wamp::message::{self, Invocation, Yield};
use crate::wamp::options::{CancelMode, CustomOptions, YieldOptions};
use crate::wamp::{Dict, Message, RequestId, UriCheck, Value, reason};

impl Dealer {
    /// Sends INVOCATION, or completes the call with the reason why not. If the callee has gone, or has as many open as
    /// it may, the call goes back: there may be others.
    pub fn invoke(&mut self, cx: &mut Context<'_>, callee: Callee, invoke: Arc<Invoke>) {
        if invoke.further {
            return self.invoke_further(cx, callee, &invoke);
        }
        match self.try_invoke(cx, callee, &invoke) {
            Ok(()) => {}
            Err(NotInvoked::Returned(why)) => {
                cx.letters.post(invoke.call.shard, Letter::Return { invoke, why });
            }
            Err(NotInvoked::Refused(refusal)) => {
                self.complete_with(cx, invoke.call, Outcome::Refused(refusal));
            }
        }
    }

    fn try_invoke(
        &mut self,
        cx: &mut Context<'_>,
        callee: Callee,
        invoke: &Invoke,
    ) -> Result<(), NotInvoked> {
        let invocations_open_max = cx.router.settings.limits.invocations_open_per_session_max;
        // Unregistered, or left, after the caller's shard looked.
        let gone = match cx.draining {
            true => NotInvoked::Refused(Refusal::Unavailable),
            false => NotInvoked::Returned(Returned::Gone),
        };
        let Callee { peer: callee, membership, .. } = callee;
        if let Caller::Router(about) = invoke.terms.caller {
            // The router waits for this peer itself, and until then does not read what it answers.
            let waits = about == callee && invoke.call.shard == cx.index;
            // Who is asked about chooses what is in the question, and may be many: they do not make a slow consumer of
            // who answers for them.
            let waiting = cx.peers.outbound(callee).map_or(0, |waiting| waiting.len());
            if waits || waiting > cx.router.settings.limits.outbound_bytes_max / 2 {
                return Err(NotInvoked::Returned(Returned::Full));
            }
        }
        let session = self.callee_session(cx, callee).ok_or(gone)?;
        let held = session.registrations.get(&invoke.registration);
        let wishes = held.filter(|held| held.membership == membership).ok_or(gone)?.wishes;
        if session.invocations.count() >= invocations_open_max {
            return Err(NotInvoked::Returned(Returned::Full));
        }
        if invoke.progress && !session.features.takes_parts() {
            return Err(NotInvoked::Refused(Refusal::FeatureNotSupported));
        }
        let passthru = invoke.attributes.as_ref().is_some_and(Attributes::passthru);
        if passthru && !session.features.has(Feature::CalleePayloadPassthru) {
            return Err(NotInvoked::Refused(Refusal::FeatureNotSupported));
        }
        let (request, features) = (session.invocation.next(), session.features);
        match self.send_invocation(cx, callee, invoke, request, (wishes, features)) {
            Sent::Queued => {}
            Sent::Gone => return Err(NotInvoked::Returned(Returned::Going)),
            sent => return Err(NotInvoked::Refused(unsendable(sent).unwrap_or(Refusal::Canceled))),
        }
        // The request id is spent only now: ids of what was not sent would leave gaps.
        let session = cx.peers.session(callee).expect("seen above");
        session.invocation = request;
        session.invocations.insert(request, invoke.call);
        session.invocations_by_call.insert(invoke.call, OpenInvocation { request, wishes, abandoned: None });
        *cx.invocations_open += 1;
        if invoke.terms.timeout_ms > 0 && keeps_time(wishes, features) {
            let letter = Letter::TimeoutForwarded { realm: self.realm.key, call: invoke.call };
            cx.letters.post(invoke.call.shard, letter);
        }
        Ok(())
    }

    /// Sends the next part of an invocation that is open. If it is not, the callee has answered and the caller will be
    /// told. The registration does not matter: who has given it up ends what it has begun. A part that does not fit
    /// ends the call: the callee would go on with a gap.
    fn invoke_further(&mut self, cx: &mut Context<'_>, callee: Callee, invoke: &Invoke) {
        let callee = callee.peer;
        let Some(session) = self.callee_session(cx, callee) else { return };
        let open = session.invocations_by_call.get(&invoke.call);
        let Some(&OpenInvocation { request, wishes, abandoned: None }) = open else { return };
        let features = session.features;
        let sent = self.send_invocation(cx, callee, invoke, request, (wishes, features));
        if let Some(refusal) = unsendable(sent).filter(|_| sent != Sent::Gone) {
            self.interrupt(cx, callee, invoke.call, CancelMode::KillNoWait, refusal);
            self.complete_with(cx, invoke.call, Outcome::Refused(refusal));
        }
    }

    fn send_invocation(
        &self,
        cx: &mut Context<'_>,
        callee: PeerKey,
        invoke: &Invoke,
        request: RequestId,
        (wishes, features): (CalleeWishes, Features),
    ) -> Sent {
        let Invoke { terms, .. } = invoke;
        let mut pairs: SmallVec<[(&str, Value<'_>); 8]> = SmallVec::new();
        if let Some(procedure) = &invoke.procedure {
            pairs.push(("procedure", Value::text(procedure)));
        }
        // A registration that asks for it may be older than the setting.
        let tells = self.realm.settings.disclosure != Disclosure::Never;
        if let Caller::Session(identity) = &terms.caller {
            if terms.disclosed || wishes.disclose_caller && tells {
                pairs.push(("caller", Value::Unsigned(identity.session.0)));
                pairs.push(("caller_authid", Value::text(&identity.authid)));
                pairs.push(("caller_authrole", Value::text(&identity.role.name)));
            }
            if let Some(trust_level) = identity.role.trust_level {
                pairs.push(("trustlevel", Value::Unsigned(trust_level)));
            }
        }
        if terms.receive_progress && features.yields_progress() {
            pairs.push(("receive_progress", Value::Bool(true)));
        }
        if invoke.progress {
            pairs.push(("progress", Value::Bool(true)));
        }
        if terms.timeout_ms > 0 && keeps_time(wishes, features) {
            pairs.push(("timeout", Value::Unsigned(terms.timeout_ms)));
        }
        let invocation = Invocation {
            request,
            registration: invoke.registration,
            details: details(&pairs, &invoke.attributes),
            payload: invoke.payload.borrow(),
        };
        cx.peers.send(callee, &Message::Invocation(invocation))
    }

    /// YIELD. One whose options cannot be read is the last all the same: the caller is told in its place, since YIELD
    /// itself has no answer.
    pub fn on_yield(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Yield<'_>,
    ) -> Result<(), Violation> {
        let (progress, mut attributes) = match codec::options(&message.options) {
            Ok(YieldOptions { progress, custom }) => {
                (progress, forwarded(cx, key, &message.options, custom)?)
            }
            Err(wrong) => (false, Err(wrong.into())),
        };
        match (progress, attributes) {
            (true, Ok(attributes)) => return self.on_progress(cx, key, message, attributes),
            (true, Err(refusal)) => return self.refuse_progress(cx, key, message.request, refusal),
            (false, last) => attributes = last,
        }
        let Some(call) = self.close_invocation(cx, key, message.request)? else { return Ok(()) };
        let outcome = match attributes {
            Ok(attributes) => {
                self.ask_for_passthru(cx, (call, &attributes), Some(message.request));
                Outcome::Result { attributes, payload: OwnedPayload::copy(message.payload) }
            }
            Err(refusal) => Outcome::Refused(refusal),
        };
        self.complete_with(cx, call, outcome);
        Ok(())
    }

    /// YIELD of which more will come. Whether the caller takes it is known in its shard; a callee that may not send
    /// such has its invocation still open.
    fn on_progress(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Yield<'_>,
        attributes: Option<Attributes>,
    ) -> Result<(), Violation> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let Some(call) = session.thought_of(message.request) else {
            return answered_too_late(cx, key, message.request);
        };
        if !session.features.yields_progress() {
            cx.peers.counters.results_unasked += 1;
            return Ok(());
        }
        self.ask_for_passthru(cx, (call, &attributes), Some(message.request));
        let payload = OwnedPayload::copy(message.payload);
        let progress = Progress { call, realm: self.realm.key, attributes, payload };
        cx.letters.post(call.shard, Letter::Progress(Box::new(progress)));
        Ok(())
    }

    /// A progressive YIELD with attributes that mean nothing: the caller is told in its place, and the callee not to go
    /// on.
    fn refuse_progress(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        request: RequestId,
        refusal: Refusal,
    ) -> Result<(), Violation> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        let Some(call) = session.thought_of(request) else { return answered_too_late(cx, key, request) };
        self.interrupt(cx, key, call, CancelMode::KillNoWait, refusal);
        self.complete_with(cx, call, Outcome::Refused(refusal));
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
        let reroutes =
            cx.peers.session(key).is_some_and(|session| session.features.has(Feature::CalleeCallReroute));
        let CustomOptions { custom } = codec::options(&message.details).unwrap_or_default();
        let attributes = forwarded(cx, key, &message.details, custom)?;
        let Some(call) = self.close_invocation(cx, key, message.request)? else { return Ok(()) };
        let uri_bytes_max = cx.router.settings.limits.uri_bytes_max;
        let valid = message.error.len() <= uri_bytes_max && UriCheck::Loose.uri(&message.error);
        let error = if valid { &*message.error } else { reason::INVALID_URI };
        let outcome = match (attributes, error) {
            (Ok(attributes), reason::UNAVAILABLE) if reroutes => {
                Outcome::Declined { attributes, payload: OwnedPayload::copy(message.payload) }
            }
            (Ok(attributes), error) => {
                self.ask_for_passthru(cx, (call, &attributes), None);
                let payload = OwnedPayload::copy(message.payload);
                Outcome::Error { error: error.into(), attributes, payload }
            }
            (Err(refusal), _) => Outcome::Refused(refusal),
        };
        self.complete_with(cx, call, outcome);
        Ok(())
    }

    /// Takes an invocation off the callee's table. `None`: it was, but is no longer open, since INTERRUPT and YIELD
    /// crossed; or its caller has given it up, and it counts no longer.
    fn close_invocation(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        request: RequestId,
    ) -> Result<Option<CallKey>, Violation> {
        let Some(session) = cx.peers.session(key) else { return Ok(None) };
        let Some(call) = session.invocations.remove(&request) else {
            return answered_too_late(cx, key, request).map(|()| None);
        };
        let open = session.invocations_by_call.remove(&call);
        if let Some(abandoned) = open.and_then(|open| open.abandoned) {
            cx.peers.counters.answers_too_late += 1;
            if let Some((workload, slot)) = abandoned.counted {
                self.release(cx, &workload, slot);
            }
            return Ok(None);
        }
        *cx.invocations_open -= 1;
        Ok(Some(call))
    }

    /// The caller has given up an invocation that is still open. Unless its answer is waited for, a callee that is told
    /// owes nothing any more: what still comes is ignored, and takes no room from others. A callee that did not
    /// announce `call_canceling`, or whose caller does not want it, is not told and goes on: the invocation is
    /// abandoned. A caller that waits for a callee that is not told is answered here.
    pub fn interrupt(
        &mut self,
        cx: &mut Context<'_>,
        callee: PeerKey,
        call: CallKey,
        mode: CancelMode,
        reason: Refusal,
    ) {
        let Some(session) = self.callee_session(cx, callee) else { return };
        let told = session.features.has(Feature::CalleeCallCanceling) && mode != CancelMode::Skip;
        let open = session.invocations_by_call.get_mut(&call);
        let Some(open) = open.filter(|open| open.abandoned.is_none()) else { return };
        let request = open.request;
        if !told {
            open.abandoned = Some(Box::default());
            *cx.invocations_open -= 1;
            if mode == CancelMode::Kill {
                self.complete_with(cx, call, Outcome::Refused(reason));
            }
            return;
        }
        if mode == CancelMode::KillNoWait {
            session.invocations.remove(&request);
            session.invocations_by_call.remove(&call);
            *cx.invocations_open -= 1;
        }
        let options = [("mode", Value::text(mode.name())), ("reason", Value::text(reason.uri()))];
        let interrupt = message::Interrupt { request, options: Dict::Pairs(&options) };
        cx.peers.send(callee, &Message::Interrupt(interrupt));
    }

    /// The caller's side of a call that the callee has not answered is over. What the callee still thinks of stays
    /// counted until it has answered.
    pub fn released(
        &mut self,
        cx: &mut Context<'_>,
        callee: PeerKey,
        call: CallKey,
        (workload, slot): (Arc<Workload>, Slot),
    ) {
        let session = self.callee_session(cx, callee);
        let open = session.and_then(|session| session.invocations_by_call.get_mut(&call));
        match open.and_then(|open| open.abandoned.as_mut()) {
            Some(abandoned) => abandoned.counted = Some((workload, slot)),
            None => self.release(cx, &workload, slot),
        }
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

/// Why there is no INVOCATION.
#[derive(Clone, Copy, Debug)]
enum NotInvoked {
    /// Another callee may answer.
    Returned(Returned),
    /// That is the answer.
    Refused(Refusal),
}

/// True if the callee is told the timeout and keeps it itself.
fn keeps_time(wishes: CalleeWishes, features: Features) -> bool {
    wishes.forward_timeout && features.has(Feature::CalleeCallTimeout)
}

/// An answer to an invocation that is not open: its INTERRUPT, or what the caller has given up, had crossed it. Unless
/// there never was one.
fn answered_too_late(cx: &mut Context<'_>, key: PeerKey, request: RequestId) -> Result<(), Violation> {
    if cx.peers.session(key).is_some_and(|session| request > session.invocation) {
        return Err(Violation::UnknownInvocation);
    }
    cx.peers.counters.answers_too_late += 1;
    Ok(())
}

/// What travels on with a YIELD, or an ERROR of which these are the details. Attributes that mean nothing are refused,
/// and the caller is told in the answer's place: neither has an answer of its own.
fn forwarded(
    cx: &mut Context<'_>,
    key: PeerKey,
    options: &Dict<'_>,
    custom: bool,
) -> Result<Result<Option<Attributes>, Refusal>, Violation> {
    if custom {
        passthru::admit(cx, key, Feature::CalleePayloadPassthru, options)?;
        if let Err(wrong) = passthru::used(options) {
            return Ok(Err(wrong.into()));
        }
    }
    Ok(Ok(Attributes::of(options, custom)))
}
