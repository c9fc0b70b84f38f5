//! The caller's side: CALL, CANCEL, the progressive results and the one answer of each call (basic profile, "Calling
//! and Invocations"; advanced profile, "Call Canceling", "Progressive Call Results", "Progressive Call Invocations",
//! "Caller Identification").

use std::sync::Arc;

use super::choice::{Choice, Unchosen, choose};
use super::own::Answered;
use super::{Dealer, OpenCall, unsendable};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::{Refusal, Violation};
use crate::limits::Limits;
use crate::router::authorization::{Granted, Question};
use crate::router::directory::Callee;
use crate::router::features::Feature;
use crate::router::letter::{
    Attributes, CallKey, CallTerms, Caller, Complete, Invoke, Letter, Outcome, Progress, details,
};
use crate::router::peer::Sent;
use crate::router::rules::Action;
use crate::router::session::Session;
use crate::router::{Context, Disclosure, PeerKey, passthru};
use crate::wamp::message::{self, Call, Cancel};
use crate::wamp::options::{CallOptions, CancelMode, CancelOptions, FurtherCallOptions};
use crate::wamp::{MatchPolicy, Message, RequestId, Value, reason};

/// The options of a CALL that is not a further part of another. Only a caller that has announced to send calls in parts
/// may say that one is, and only one that has announced the passthru mode may use it.
pub fn call_options(
    cx: &mut Context<'_>,
    key: PeerKey,
    message: &Call<'_>,
) -> Result<Result<CallOptions, Refusal>, Violation> {
    let options: CallOptions = match codec::options(&message.options) {
        Ok(options) => options,
        Err(wrong) => return Ok(Err(wrong.into())),
    };
    if options.progress
        && let Some(session) = cx.peers.session(key)
    {
        if !session.features.has(Feature::CallerProgressiveCallInvocations) {
            return Err(Violation::UnannouncedProgress);
        }
        session.calls_in_parts = true;
    }
    if options.custom {
        passthru::admit(cx, key, Feature::CallerPayloadPassthru, &message.options)?;
    }
    Ok(Ok(options))
}

/// A call that is about to be made.
#[derive(Debug)]
pub(super) struct NewCall {
    pub(super) caller: PeerKey,
    /// [`RequestId::NONE`] if it is the router's own.
    pub(super) request: RequestId,
    /// Where the match cache has its procedure, just looked up.
    pub(super) place: usize,
    pub(super) terms: CallTerms,
    /// How long it may take, as this shard keeps the time; 0: however long it takes.
    pub(super) time_ms: u64,
    /// More of it follows.
    pub(super) progress: bool,
    pub(super) attributes: Option<Attributes>,
    pub(super) payload: OwnedPayload,
}

impl Dealer {
    /// CALL of a procedure that is not the router's own.
    pub fn on_call(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Call<'_>,
    ) -> Result<Result<(), Refusal>, Violation> {
        let options = match call_options(cx, key, message)? {
            Ok(options) => options,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut called = self.call(cx, key, message, &options);
        // The registration that was found was no more, which the directory says now too.
        if let Err(Unchosen::Closed) = called {
            called = self.call(cx, key, message, &options);
        }
        Ok(called.map_err(|unchosen| unchosen.refusal(Refusal::NoSuchProcedure)))
    }

    fn call(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Call<'_>,
        options: &CallOptions,
    ) -> Result<(), Unchosen> {
        let limits = &cx.router.settings.limits;
        let (place, granted) = self.authorize(cx, key, message)?;
        self.check_options(message, options)?;
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if cx.draining || session.calls.count() >= limits.calls_open_per_session_max {
            return Err(Refusal::Unavailable.into());
        }
        let terms = self.terms(session, granted, options, limits);
        let call = NewCall {
            caller: key,
            request: message.request,
            place,
            time_ms: terms.timeout_ms,
            terms,
            progress: options.progress,
            attributes: Attributes::of(&message.options, options.custom),
            payload: OwnedPayload::copy(message.payload),
        };
        self.begin(cx, call)?;
        cx.peers.counters.calls += 1;
        Ok(())
    }

    /// Enters a call, and sends it to a callee or puts it in line.
    // `NewCall` is not put together where this is not a call.
    #[inline(always)]
    pub(super) fn begin(&mut self, cx: &mut Context<'_>, new: NewCall) -> Result<CallKey, Unchosen> {
        let NewCall { caller: key, request, place, terms, time_ms, progress, attributes, payload } = new;
        let limits = &cx.router.settings.limits;
        let call =
            CallKey { serial: self.serial + 1, index: self.calls.vacant_key() as u32, shard: cx.index };
        let Dealer { realm, cache, kept_bytes, .. } = self;
        let called = cache.called(&realm.directory, place);
        let (procedure, registration) = called.ok_or(Refusal::NoSuchProcedure)?;
        let invoke = Arc::new(Invoke {
            call,
            realm: realm.key,
            registration: registration.id,
            procedure: (registration.policy != MatchPolicy::Exact).then(|| procedure.clone()),
            terms,
            further: false,
            progress,
            attributes,
            payload,
        });
        let kept = match progress || registration.reroutes {
            true => kept_bytes.keep(limits.call_kept_bytes_max, key, &invoke, registration.reroutes),
            false => None,
        };
        if progress && kept.is_none() {
            return Err(Refusal::Unavailable.into());
        }
        let Choice { callee, workload, slot } = match choose(cx, registration, &invoke, None) {
            Ok(choice) => choice,
            Err(unchosen) => {
                kept.inspect(|kept| kept_bytes.take_back(key, kept));
                return Err(unchosen);
            }
        };
        self.serial += 1;
        self.calls.insert(OpenCall {
            serial: self.serial,
            caller: key,
            request,
            procedure: procedure.clone(),
            callee,
            workload,
            slot,
            asked: None,
            declined: false,
            canceled: false,
            receives_progress: invoke.terms.receive_progress,
            progressed: false,
            kept,
            timeout: None,
        });
        if request != RequestId::NONE
            && let Some(session) = cx.peers.session(key)
        {
            session.calls.insert(request, call);
        }
        self.begin_timeout(cx, call, time_ms);
        self.assign(cx, invoke);
        Ok(call)
    }

    /// Where the procedure stands in the cache, and what goes with the allowance to call it.
    fn authorize(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Call<'_>,
    ) -> Result<(usize, Granted), Refusal> {
        let procedure = &*message.procedure;
        let uri_bytes_max = cx.router.settings.limits.uri_bytes_max;
        if procedure.len() > uri_bytes_max || !self.realm.uri_check.uri(procedure) {
            return Err(Refusal::InvalidUri);
        }
        let known = self.cache.known_procedure(procedure);
        let question = Question::exact(Action::Call, procedure, &message.options);
        let verdicts = known.map(|place| self.cache.call_verdicts(place));
        let granted = cx.authorize(key, &self.realm, &question, verdicts)?;
        let place = known.unwrap_or_else(|| self.cache.procedure_place(&self.realm.directory, procedure));
        Ok((place, granted))
    }

    /// Refuses options that this realm does not grant.
    fn check_options(&self, message: &Call<'_>, options: &CallOptions) -> Result<(), Refusal> {
        if options.disclose_me && self.realm.settings.disclosure == Disclosure::Never {
            return Err(Refusal::DiscloseMe);
        }
        if options.custom {
            passthru::used(&message.options)?;
        }
        Ok(())
    }

    fn terms(
        &self,
        session: &Session,
        granted: Granted,
        options: &CallOptions,
        limits: &Limits,
    ) -> CallTerms {
        let disclosed = match self.realm.settings.disclosure {
            Disclosure::AsAsked => options.disclose_me || granted.disclosed,
            Disclosure::Always => true,
            Disclosure::Never => false,
        };
        CallTerms {
            caller: Caller::Session(session.identity.clone()),
            disclosed,
            // Who has not announced to take several RESULTs takes the first for the last.
            receive_progress: options.receive_progress
                && session.features.has(Feature::CallerProgressiveCallResults),
            timeout_ms: self.timeout_ms(limits, options.timeout_ms),
        }
    }

    /// CALL with the request id of an earlier one. It goes on with that call if there are more parts of it to come; if
    /// the call is over its caller does not know that yet.
    ///
    /// A part behind the last, or of a call that has no parts, is a violation. One of another procedure is too: the
    /// request ids of two calls do not meet.
    pub fn on_further_call(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Call<'_>,
    ) -> Result<(), Violation> {
        let call = cx.peers.session(key).and_then(|session| session.calls.get(&message.request).copied());
        let Some(call) = call else {
            cx.peers.counters.calls_too_late += 1;
            return Ok(());
        };
        let open = self.open_call(call).expect("a session's call is open");
        let (callee, canceled) = (open.callee, open.canceled);
        let kept = open.kept.as_mut().filter(|kept| kept.more_follows);
        let kept = kept.filter(|_| *open.procedure == *message.procedure);
        let kept = kept.ok_or(Violation::RequestOutOfOrder)?;
        let callee = callee.expect("a call in parts does not wait for a callee");
        let FurtherCallOptions { progress } = match codec::options(&message.options) {
            Ok(options) => options,
            Err(wrong) => {
                self.give_up(cx, call, CancelMode::KillNoWait, wrong.into());
                return Ok(());
            }
        };
        kept.in_parts = true;
        kept.more_follows = progress;
        let invoke = kept.invoke.part(progress, OwnedPayload::copy(message.payload));
        match progress {
            true => self.keep_no_payload(call),
            false => self.forget(call),
        }
        // The callee was told to stop: more would only come too late.
        if canceled {
            cx.peers.counters.calls_too_late += 1;
            return Ok(());
        }
        let letter = Letter::Invoke { callee, invoke: Arc::new(invoke) };
        cx.letters.post(callee.shard, letter);
        Ok(())
    }

    /// CANCEL. A call that has been answered, or never was one, is none to cancel: the answer may have crossed the
    /// CANCEL. An unknown mode is answered with ERROR for the CANCEL, and the call goes on: to guess at a mode might
    /// stop what the caller wants to have done.
    pub fn on_cancel(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Cancel<'_>,
    ) -> Result<(), Refusal> {
        let CancelOptions { mode } = codec::options(&message.options)?;
        let call = cx.peers.session(key).and_then(|session| session.calls.get(&message.request).copied());
        let Some(call) = call else { return Ok(()) };
        let open = &mut self.calls[call.index as usize];
        if open.canceled && mode == CancelMode::Kill {
            return Ok(());
        }
        open.canceled = true;
        self.keep_no_payload(call);
        self.give_up(cx, call, mode, Refusal::Canceled);
        Ok(())
    }

    /// Tells the callee that the call is given up, and the caller too unless it waits for the callee's answer. A call
    /// that waits for a callee has nobody to tell, or to wait for.
    pub(super) fn give_up(&mut self, cx: &mut Context<'_>, call: CallKey, mode: CancelMode, reason: Refusal) {
        let callee = self.calls[call.index as usize].callee;
        self.interrupt_callee(cx, call, callee, mode, reason);
        if mode != CancelMode::Kill || callee.is_none() {
            self.complete(cx, Complete { call, realm: self.realm.key, outcome: Outcome::Refused(reason) });
        }
    }

    pub(super) fn interrupt_callee(
        &self,
        cx: &mut Context<'_>,
        call: CallKey,
        callee: Option<Callee>,
        mode: CancelMode,
        reason: Refusal,
    ) {
        let Some(callee) = callee else { return };
        let letter = Letter::Interrupt { callee: callee.peer, realm: self.realm.key, call, mode, reason };
        cx.letters.post(callee.shard, letter);
    }

    /// The call, if it is still open: it may have been canceled, or its caller may have left.
    pub(super) fn open_call(&mut self, call: CallKey) -> Option<&mut OpenCall> {
        self.calls.get_mut(call.index as usize).filter(|open| open.serial == call.serial)
    }

    /// Takes a call that is open off the table, with all that it has here. Its caller's session is the caller's.
    /// `answered`: the callee has answered it.
    pub(super) fn close_call(&mut self, cx: &mut Context<'_>, call: CallKey, answered: bool) -> OpenCall {
        self.forget(call);
        let mut open = self.calls.remove(call.index as usize);
        self.end_timeout(cx, call, open.timeout.take());
        self.vacate(cx, call, &open, answered);
        open
    }

    /// RESULT that is not the last.
    pub fn progress(&mut self, cx: &mut Context<'_>, progress: &Progress) {
        let Some(open) = self.open_call(progress.call) else { return };
        if !open.receives_progress {
            cx.peers.counters.results_unasked += 1;
            return;
        }
        let begins = !std::mem::replace(&mut open.progressed, true);
        if let Some(timeout) = &mut open.timeout {
            timeout.restart(cx.now);
        }
        // The router asks for no progressive results.
        if open.is_own() {
            return;
        }
        let (caller, request) = (open.caller, open.request);
        if begins {
            self.keep_no_payload(progress.call);
        }
        let pairs = [("progress", Value::Bool(true))];
        let details = details(&pairs, &progress.attributes);
        let result = message::Result { request, details, payload: progress.payload.borrow() };
        let sent = cx.peers.send(caller, &Message::Result(result));
        // Without one of its parts the result is not what the callee has said.
        if let Some(refusal) = unsendable(sent).filter(|_| sent != Sent::Gone) {
            self.give_up(cx, progress.call, CancelMode::KillNoWait, refusal);
        }
    }

    /// Answers a call, if it is still open, or asks the next callee.
    pub fn complete(&mut self, cx: &mut Context<'_>, complete: Complete) {
        if self.open_call(complete.call).is_none() {
            return;
        }
        let outcome = match complete.outcome {
            Outcome::Declined { attributes, payload } => {
                match self.declined(cx, complete.call, attributes, payload) {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
            outcome => outcome,
        };
        let answered = !matches!(outcome, Outcome::Refused(_));
        let call = self.close_call(cx, complete.call, answered);
        if call.is_own() {
            let (peer, realm) = (call.caller, self.realm.key);
            let answered = Answered { peer, realm, call: complete.call, outcome };
            return cx.letters.post(cx.index, Letter::Answered(Box::new(answered)));
        }
        if let Some(session) = cx.peers.session(call.caller) {
            session.calls.remove(&call.request);
        }
        answer(cx, (call.caller, call.request), &outcome);
    }
}

/// RESULT or ERROR.
fn answer(cx: &mut Context<'_>, (caller, request): (PeerKey, RequestId), outcome: &Outcome) {
    let sent = match outcome {
        Outcome::Refused(refusal) => return cx.refuse_call(caller, request, *refusal),
        Outcome::Result { attributes, payload } => {
            let details = details(&[], attributes);
            let result = message::Result { request, details, payload: payload.borrow() };
            cx.peers.send(caller, &Message::Result(result))
        }
        Outcome::Error { error, attributes, payload } => {
            send_error(cx, (caller, request), error, attributes, payload)
        }
        Outcome::Declined { attributes, payload } => {
            send_error(cx, (caller, request), reason::UNAVAILABLE, attributes, payload)
        }
    };
    if let Some(refusal) = unsendable(sent) {
        cx.refuse_call(caller, request, refusal);
    }
}

fn send_error(
    cx: &mut Context<'_>,
    (caller, request): (PeerKey, RequestId),
    error: &str,
    attributes: &Option<Attributes>,
    payload: &OwnedPayload,
) -> Sent {
    let error = message::Error {
        request_type: message::code::CALL,
        request,
        details: details(&[], attributes),
        error: error.into(),
        payload: payload.borrow(),
    };
    cx.peers.send(caller, &Message::Error(error))
}
