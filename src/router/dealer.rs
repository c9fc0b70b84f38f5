//! The dealer of one realm in one shard (basic profile, "Remote Procedure Calls"; advanced profile, "Call Canceling",
//! "Pattern-based Registrations").
//!
//! A call is two promises, and so two tables. The *caller's* shard owns the call: exactly one final answer, and its
//! cancel. The *callee's* shard owns the invocation: request ids that count 1, 2, 3 for that callee, and INTERRUPT only
//! for what is open. Neither shard reads the other's table; they write letters.
//!
//! ```text
//!   caller's shard                                   callee's shard
//!   on_call    calls.insert    -- Invoke -->         invoke      invocations.insert, INVOCATION
//!   complete   calls.remove    <-- Complete --       on_yield, on_error, leave   invocations.remove
//!   on_cancel, leave           -- Interrupt -->      interrupt   INTERRUPT
//! ```
//!
//! Invariants: a call stands in `calls` exactly if it stands in its caller's session. An invocation stands in both
//! maps of its callee's session or in neither. `complete` is the only way a call is answered.

use std::sync::Arc;

use slab::Slab;

use super::directory::{Callee, DirectoryKey, RegisterRefusal};
use super::letter::{Attributes, CallKey, Complete, Invoke, Letter, Outcome, details};
use super::match_cache::MatchCache;
use super::peer::Sent;
use super::realm::Realm;
use super::session::{LazyMap, Map, Session};
use super::{Context, PeerKey};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::error::{Refusal, Violation};
use crate::wamp::message::{
    self, Call, Cancel, Invocation, Register, Registered, Unregister, Unregistered, Yield,
};
use crate::wamp::options::{CancelMode, CancelOptions, CustomOptions, RegisterOptions};
use crate::wamp::{Dict, MatchPolicy, Message, RegistrationId, RequestId, UriCheck, Value, reason, uri};

/// The dealer.
#[derive(Debug)]
pub struct Dealer {
    realm: Arc<Realm>,
    cache: MatchCache,
    /// The registrations of peers here, and where the directory has each.
    registrations: Map<RegistrationId, DirectoryKey>,
    calls: Slab<OpenCall>,
    serial: u64,
}

/// A call of a peer here that waits for its answer.
#[derive(Debug)]
struct OpenCall {
    serial: u64,
    caller: PeerKey,
    request: RequestId,
    callee: Callee,
    /// The caller has canceled it and waits for the callee's answer.
    canceled: bool,
}

impl Dealer {
    /// A dealer without registrations.
    pub fn new(realm: Arc<Realm>, match_cache_entries_max: usize) -> Dealer {
        let cache = MatchCache::new(match_cache_entries_max);
        Dealer { realm, cache, registrations: Map::default(), calls: Slab::new(), serial: 0 }
    }

    // Registrations.

    /// REGISTER.
    pub fn on_register(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Register<'_>,
    ) -> Result<(), Refusal> {
        let RegisterOptions { match_policy: policy } = codec::options(&message.options)?;
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        let valid =
            procedure.len() <= limits.uri_bytes_max && self.realm.uri_check.pattern(procedure, policy);
        if !valid || uri::reserved(procedure) {
            return Err(Refusal::InvalidUri);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if session.registrations.count() >= limits.registrations_per_session_max {
            return Err(Refusal::Unavailable);
        }
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let registered = match self.realm.directory.register(procedure, policy, callee) {
            Ok(registered) => registered,
            Err(RegisterRefusal::AlreadyExists) => return Err(Refusal::ProcedureAlreadyExists),
            Err(RegisterRefusal::Full) => return Err(Refusal::Unavailable),
        };
        let registration = registered.registration;
        session.registrations.insert(registration, ());
        self.registrations.insert(registration, registered.key);
        // Queued before any letter is taken, and so before the first INVOCATION.
        cx.peers.send(key, &Message::Registered(Registered { request: message.request, registration }));
        self.nudge(cx, registered.recorded);
        Ok(())
    }

    /// UNREGISTER.
    pub fn on_unregister(
        &mut self,
        cx: &mut Context<'_>,
        key: PeerKey,
        message: &Unregister,
    ) -> Result<(), Refusal> {
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        session.registrations.remove(&message.registration).ok_or(Refusal::NoSuchRegistration)?;
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let recorded = self.unregister(message.registration, callee);
        cx.peers.send(key, &Message::Unregistered(Unregistered { request: message.request, details: None }));
        self.nudge(cx, recorded);
        Ok(())
    }

    fn unregister(&mut self, registration: RegistrationId, callee: Callee) -> bool {
        let key = self.registrations.remove(&registration).expect("a session's registration is known here");
        self.realm.directory.unregister(key, registration, callee).recorded
    }

    // The caller's side.

    /// CALL.
    pub fn on_call(&mut self, cx: &mut Context<'_>, key: PeerKey, message: &Call<'_>) -> Result<(), Refusal> {
        let CustomOptions { custom } = codec::options(&message.options)?;
        let procedure = &*message.procedure;
        let limits = &cx.router.settings.limits;
        if procedure.len() > limits.uri_bytes_max || !self.realm.uri_check.uri(procedure) {
            return Err(Refusal::InvalidUri);
        }
        let Some(session) = cx.peers.session(key) else { return Ok(()) };
        if cx.draining || session.calls.count() >= limits.calls_open_per_session_max {
            return Err(Refusal::Unavailable);
        }
        if uri::reserved(procedure) {
            // A pattern that happens to match must not answer in the router's name.
            return Err(Refusal::NoSuchProcedure);
        }
        let registration =
            self.cache.procedure(&self.realm.directory, procedure).ok_or(Refusal::NoSuchProcedure)?;
        let callee = *registration.callees.first().expect("a registration has a callee");
        self.serial += 1;
        let call =
            OpenCall { serial: self.serial, caller: key, request: message.request, callee, canceled: false };
        let index = self.calls.insert(call) as u32;
        let call = CallKey { serial: self.serial, index, shard: cx.index };
        session.calls.insert(message.request, call);
        cx.peers.counters.calls += 1;
        let invoke = Invoke {
            call,
            realm: self.realm.key,
            callee: callee.peer,
            registration: registration.id,
            procedure: (registration.policy != MatchPolicy::Exact).then(|| procedure.into()),
            attributes: Attributes::of(&message.options, custom),
            payload: OwnedPayload::copy(message.payload),
        };
        cx.letters.post(callee.shard, Letter::Invoke(Box::new(invoke)));
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
        self.interrupt_callee(cx, call, callee, mode);
        if mode != CancelMode::Kill {
            self.complete(
                cx,
                Complete { call, realm: self.realm.key, outcome: Outcome::Refused(Refusal::Canceled) },
            );
        }
        Ok(())
    }

    fn interrupt_callee(&self, cx: &mut Context<'_>, call: CallKey, callee: Callee, mode: CancelMode) {
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

    // The callee's side.

    /// Sends INVOCATION, or completes the call with the reason why not.
    pub fn invoke(&mut self, cx: &mut Context<'_>, invoke: Invoke) {
        if let Err(refusal) = self.try_invoke(cx, &invoke) {
            self.complete_with(cx, invoke.call, Outcome::Refused(refusal));
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
        let attributes = custom_attributes(&message.options);
        self.complete_with(
            cx,
            call,
            Outcome::Result { attributes, payload: OwnedPayload::copy(message.payload) },
        );
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
        let attributes = custom_attributes(&message.details);
        let payload = OwnedPayload::copy(message.payload);
        self.complete_with(cx, call, Outcome::Error { error: error.into(), attributes, payload });
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
        let told = session.call_canceling && mode != CancelMode::Skip;
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

    fn complete_with(&self, cx: &mut Context<'_>, call: CallKey, outcome: Outcome) {
        let complete = Complete { call, realm: self.realm.key, outcome };
        cx.letters.post(call.shard, Letter::Complete(Box::new(complete)));
    }

    // Leaving.

    /// Takes all of a leaving session's: its registrations, then the invocations it owes, then the calls it waits for.
    pub fn leave(&mut self, cx: &mut Context<'_>, key: PeerKey, session: &mut Session) {
        let callee = Callee { shard: cx.index, peer: key, session: session.id };
        let mut recorded = false;
        for registration in sorted(session.registrations.take().map(|(registration, ())| registration)) {
            recorded |= self.unregister(registration, callee);
        }
        self.nudge(cx, recorded);
        session.invocations_by_call = LazyMap::default();
        for (_, call) in sorted(session.invocations.take()) {
            *cx.invocations_open -= 1;
            self.complete_with(cx, call, Outcome::Refused(Refusal::Canceled));
        }
        for (_, call) in sorted(session.calls.take()) {
            let open = self.calls.remove(call.index as usize);
            self.interrupt_callee(cx, call, open.callee, CancelMode::KillNoWait);
        }
    }

    /// Answers every open call of the peers here: the shutdown waits no longer.
    pub fn cancel_all(&mut self, cx: &mut Context<'_>) {
        let calls: Vec<CallKey> = self
            .calls
            .iter()
            .map(|(index, call)| CallKey { serial: call.serial, index: index as u32, shard: cx.index })
            .collect();
        for call in calls {
            self.complete(
                cx,
                Complete { call, realm: self.realm.key, outcome: Outcome::Refused(Refusal::Canceled) },
            );
        }
    }

    fn nudge(&self, cx: &mut Context<'_>, recorded: bool) {
        if recorded {
            cx.letters.post(self.realm.home, Letter::Meta { realm: self.realm.key });
        }
    }

    /// True if no call of a peer here waits for its answer.
    pub fn has_no_calls(&self) -> bool {
        self.calls.is_empty()
    }

    /// How often procedures were looked up in the directory.
    pub fn directory_lookups(&self) -> u64 {
        self.cache.misses()
    }

    /// True if nothing is registered or called here.
    pub fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.calls.is_empty()
    }
}

fn custom_attributes(options: &Dict<'_>) -> Option<Attributes> {
    let CustomOptions { custom } = codec::options(options).expect("custom options refuse nothing");
    Attributes::of(options, custom)
}

/// What the caller is told when a message could not be queued. A peer that is gone is told nothing, or its shard
/// completes what it leaves open.
fn unsendable(sent: Sent) -> Option<Refusal> {
    match sent {
        Sent::Queued => None,
        Sent::Gone => Some(Refusal::Canceled),
        Sent::TooLarge => Some(Refusal::PayloadSizeExceeded),
        Sent::Untranslatable => Some(Refusal::InvalidArgument("payload")),
    }
}

/// In order: nothing a peer sees may depend on the order of a map.
fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
}
