//! The caller's side: CALL, CANCEL, and the one answer of each call (basic profile, "Calling and Invocations"; advanced
//! profile, "Call Canceling").

use super::choice::{Choice, choose};
use super::{Dealer, OpenCall, unsendable};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::directory::Callee;
use crate::router::letter::{Attributes, CallKey, Complete, Invoke, Letter, Outcome, details};
use crate::router::{Context, PeerKey, passthru};
use crate::wamp::message::{self, Call, Cancel};
use crate::wamp::options::{CancelMode, CancelOptions, CustomOptions};
use crate::wamp::{MatchPolicy, Message};

impl Dealer {
    /// CALL of a procedure that is not the router's own.
    pub fn on_call(&mut self, cx: &mut Context<'_>, key: PeerKey, message: &Call<'_>) -> Result<(), Refusal> {
        let CustomOptions { custom } = codec::options(&message.options)?;
        if custom {
            passthru::used(&message.options)?;
        }
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        if procedure.len() > limits.uri_bytes_max || !self.realm.uri_check.uri(procedure) {
            return Err(Refusal::InvalidUri);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if cx.draining || session.calls.count() >= limits.calls_open_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let registration =
            self.cache.procedure(&self.realm.directory, procedure).ok_or(Refusal::NoSuchProcedure)?;
        let Choice { callee, slot, registration: shared } = choose(cx, registration)?;
        self.serial += 1;
        let call = OpenCall {
            serial: self.serial,
            caller: key,
            request: message.request,
            callee,
            slot,
            registration: shared,
            canceled: false,
        };
        let index = self.calls.insert(call) as u32;
        let call = CallKey { serial: self.serial, index, shard: cx.index };
        let session = cx.peers.session(key).expect("seen above");
        session.calls.insert(message.request, call);
        cx.peers.counters.calls += 1;
        let invoke = Invoke {
            call,
            realm: self.realm.key,
            callee: callee.map_or(key, |callee| callee.peer),
            registration: registration.id,
            procedure: (registration.policy != MatchPolicy::Exact).then(|| procedure.into()),
            attributes: Attributes::of(&message.options, custom),
            payload: OwnedPayload::copy(message.payload),
        };
        self.assign(cx, Box::new(invoke));
        Ok(())
    }

    /// CANCEL. A call that has been answered, or never was one, is none to cancel: the answer may have crossed the
    /// CANCEL.
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
        let callee = open.callee;
        // Nobody has to be told of a call that waits, or will answer it.
        let mode = if callee.is_some() { mode } else { CancelMode::Skip };
        self.interrupt_callee(cx, call, callee, mode);
        if mode != CancelMode::Kill {
            self.complete(
                cx,
                Complete { call, realm: self.realm.key, outcome: Outcome::Refused(Refusal::Canceled) },
            );
        }
        Ok(())
    }

    pub(super) fn interrupt_callee(
        &self,
        cx: &mut Context<'_>,
        call: CallKey,
        callee: Option<Callee>,
        mode: CancelMode,
    ) {
        let Some(callee) = callee else { return };
        let letter = Letter::Interrupt { callee: callee.peer, realm: self.realm.key, call, mode };
        cx.letters.post(callee.shard, letter);
    }

    /// Answers a call, if it is still open: it may have been canceled, or its caller may have left.
    pub fn complete(&mut self, cx: &mut Context<'_>, complete: Complete) {
        let index = complete.call.index as usize;
        if self.calls.get(index).is_none_or(|call| call.serial != complete.call.serial) {
            return;
        }
        let call = self.calls.remove(index);
        let answered = !matches!(complete.outcome, Outcome::Refused(_));
        self.close(cx, complete.call, &call, answered);
        if let Some(session) = cx.peers.session(call.caller) {
            session.calls.remove(&call.request);
        }
        let sent = match &complete.outcome {
            Outcome::Refused(refusal) => return cx.refuse_call(call.caller, call.request, *refusal),
            Outcome::Result { attributes, payload } => {
                let details = details(&[], attributes);
                let result = message::Result { request: call.request, details, payload: payload.borrow() };
                cx.peers.send(call.caller, &Message::Result(result))
            }
            Outcome::Error { error, attributes, payload } => {
                let error = message::Error {
                    request_type: message::code::CALL,
                    request: call.request,
                    details: details(&[], attributes),
                    error: (&**error).into(),
                    payload: payload.borrow(),
                };
                cx.peers.send(call.caller, &Message::Error(error))
            }
        };
        if let Some(refusal) = unsendable(sent) {
            cx.refuse_call(call.caller, call.request, refusal);
        }
    }
}
