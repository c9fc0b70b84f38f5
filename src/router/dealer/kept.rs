//! What the caller's shard keeps of a call to invoke again: for the next part of a progressive call (advanced profile,
//! "Progressive Call Invocations"), and for another callee when one is unavailable ("Call Re-Routing").
//!
//! Invariant: `KeptBytes` is the sum over the open calls of the shard's realm, and at most `call_kept_bytes_max`.

use std::sync::Arc;

use super::Dealer;
use super::choice::{choose_other, post};
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::Context;
use crate::router::directory::Asked;
use crate::router::letter::{Attributes, CallKey, Invoke, Outcome};

/// About what a kept call takes beside what its CALL carried.
const KEPT_BYTES: usize = 512;

/// What is kept of one call.
#[derive(Debug)]
pub(super) struct Kept {
    /// As it was called: every part names it.
    pub(super) procedure: Box<str>,
    /// The first INVOCATION.
    pub(super) invoke: Arc<Invoke>,
    /// The caller has said that more follows.
    pub(super) more_follows: bool,
    /// More than one part was sent, so that no other callee can begin anew.
    pub(super) in_parts: bool,
    /// The callees that were unavailable.
    pub(super) asked: Asked,
}

impl Kept {
    /// True if a callee was unavailable.
    pub(super) fn declined(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Octets it counts for. They do not change while it is kept.
    fn bytes(&self) -> usize {
        let attributes = self.invoke.attributes.as_ref().map_or(0, |attributes| attributes.bytes());
        KEPT_BYTES + self.procedure.len() + attributes + self.invoke.payload.borrow().bytes().len()
    }
}

/// Octets that are kept.
#[derive(Debug, Default)]
pub(super) struct KeptBytes(usize);

impl KeptBytes {
    /// Keeps what `invoke` and its parts need to be sent again, if there is room.
    pub(super) fn keep(
        &mut self,
        bytes_max: usize,
        procedure: &str,
        invoke: &Arc<Invoke>,
    ) -> Option<Box<Kept>> {
        let kept = Kept {
            procedure: procedure.into(),
            invoke: invoke.clone(),
            more_follows: invoke.progress,
            in_parts: false,
            asked: Asked::default(),
        };
        if self.0 + kept.bytes() > bytes_max {
            return None;
        }
        self.0 += kept.bytes();
        Some(Box::new(kept))
    }

    /// What was kept is no longer.
    pub(super) fn take_back(&mut self, kept: &Kept) {
        self.0 -= kept.bytes();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

impl Dealer {
    /// Keeps nothing of a call any more.
    pub(super) fn forget(&mut self, call: CallKey) {
        if let Some(kept) = self.calls[call.index as usize].kept.take() {
            self.kept_bytes.take_back(&kept);
        }
    }

    /// A callee is unavailable: another one is asked, each at most once. A callee whose shard refuses the call without
    /// asking it, because it has too many open, is no such case: that is the answer. `Some`: there is none, or the call
    /// has begun or was given up, so that this is the answer.
    pub(super) fn declined(
        &mut self,
        cx: &mut Context<'_>,
        call: CallKey,
        attributes: Option<Attributes>,
        payload: OwnedPayload,
    ) -> Option<Outcome> {
        let open = self.calls.get(call.index as usize)?;
        if open.progressed || open.canceled {
            let passthru = attributes.as_ref().is_some_and(Attributes::passthru);
            return Some(match passthru && !open.takes_passthru(cx) {
                true => Outcome::Refused(Refusal::FeatureNotSupported),
                false => Outcome::Declined { attributes, payload },
            });
        }
        match self.reroute(cx, call) {
            true => None,
            false => Some(Outcome::Refused(Refusal::NoAvailableCallee)),
        }
    }

    /// Asks another callee in place of the one that has the call, which has its slot back at once: it has not begun.
    /// False if there is none. A call of which nothing is kept has none: its registration had but one, its parts are
    /// gone, or there was no room.
    pub(super) fn reroute(&mut self, cx: &mut Context<'_>, call: CallKey) -> bool {
        let open = &mut self.calls[call.index as usize];
        if let (Some(registration), Some(slot)) = (open.registration.clone(), open.slot.take()) {
            self.release(cx, &registration, slot);
        }
        let open = &mut self.calls[call.index as usize];
        let Some(kept) = open.kept.as_mut().filter(|kept| !kept.in_parts && !cx.draining) else {
            return false;
        };
        kept.asked.extend(open.callee);
        let registration = self.cache.procedure(&self.realm.directory, &kept.procedure);
        let registration = registration.filter(|registration| registration.id == kept.invoke.registration);
        let Some(registration) = registration else { return false };
        let Some((callee, slot)) = choose_other(cx, registration, &kept.asked) else { return false };
        (open.callee, open.slot, open.registration) = (Some(callee), slot, Some(registration.clone()));
        let invoke = kept.invoke.clone();
        // The one before kept the time itself; nobody says how much of it is left.
        if open.timeout.is_none() {
            self.begin_timeout(cx, call, invoke.terms.timeout_ms);
        }
        post(cx, callee, invoke);
        true
    }
}
