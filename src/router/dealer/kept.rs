//! What the caller's shard keeps of a call to invoke again: for the next part of a progressive call (advanced profile,
//! "Progressive Call Invocations"), and for another callee when one is unavailable ("Call Re-Routing").
//!
//! Invariant: `KeptBytes` is the sum over the open calls of the shard's realm, and at most `call_kept_bytes_max`.

use std::sync::Arc;

use super::Dealer;
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::Context;
use crate::router::directory::{Callee, Registration};
use crate::router::letter::{Attributes, CallKey, Invoke, Letter, Outcome};

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
    /// The callees that were unavailable, in the order in which they were asked.
    pub(super) unavailable: Vec<Callee>,
}

impl Kept {
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
    /// Counts what is to be kept; false if there is no room for it.
    pub(super) fn add(&mut self, kept: &Kept, bytes_max: usize) -> bool {
        let fits = self.0 + kept.bytes() <= bytes_max;
        if fits {
            self.0 += kept.bytes();
        }
        fits
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
            unavailable: Vec::new(),
        };
        self.kept_bytes.add(&kept, bytes_max).then(|| Box::new(kept))
    }

    /// Keeps nothing of a call any more.
    pub(super) fn forget(&mut self, call: CallKey) {
        if let Some(kept) = self.calls[call.index as usize].kept.take() {
            self.kept_bytes.take_back(&kept);
        }
    }

    /// A callee is unavailable: the next one is asked, each at most once. A callee whose shard refuses the call without
    /// asking it (it has gone, or has too many open) is no such case: that is the answer. `Some`: there is none, or the
    /// call has begun or was given up, so that this is the answer. A call of which nothing is kept has no other callee
    /// either: its registration had but one, its parts are gone, or there was no room.
    pub(super) fn declined(
        &mut self,
        cx: &mut Context<'_>,
        call: CallKey,
        attributes: Option<Attributes>,
        payload: OwnedPayload,
    ) -> Option<Outcome> {
        let open = self.calls.get_mut(call.index as usize)?;
        if open.progressed || open.canceled {
            return Some(Outcome::Declined { attributes, payload });
        }
        const NOBODY: Option<Outcome> = Some(Outcome::Refused(Refusal::NoAvailableCallee));
        let Some(kept) = open.kept.as_mut().filter(|kept| !kept.in_parts && !cx.draining) else {
            return NOBODY;
        };
        kept.unavailable.push(open.callee);
        let registration = self.cache.procedure(&self.realm.directory, &kept.procedure);
        let registration = registration.filter(|registration| registration.id == kept.invoke.registration);
        let Some(callee) = registration.and_then(|registration| next_callee(registration, &kept.unavailable))
        else {
            return NOBODY;
        };
        open.callee = callee;
        let invoke = kept.invoke.clone();
        // The one before kept the time itself; nobody says how much of it is left.
        if open.timeout.is_none() {
            self.begin_timeout(cx, call, invoke.terms.timeout_ms);
        }
        cx.letters.post(callee.shard, Letter::Invoke { callee: callee.peer, invoke });
        None
    }
}

/// Who is asked after the last of those that were unavailable: the next in the order of registering, and after the last
/// one the first.
fn next_callee(registration: &Registration, unavailable: &[Callee]) -> Option<Callee> {
    let callees = &registration.callees;
    let last = unavailable.last()?;
    let after = callees.iter().position(|callee| callee == last).map_or(0, |place| place + 1);
    let (before, behind) = callees.split_at(after);
    behind.iter().chain(before).find(|callee| !unavailable.contains(callee)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::{PeerKey, ShardIndex};
    use crate::wamp::{MatchPolicy, RegistrationId, SessionId};

    fn callee(index: u32) -> Callee {
        Callee {
            shard: ShardIndex(0),
            peer: PeerKey { index, serial: 0 },
            session: SessionId(u64::from(index) + 1),
        }
    }

    #[test]
    fn each_callee_is_asked_once_and_in_order() {
        let callees: Vec<Callee> = (0..4).map(callee).collect();
        let registration = Registration {
            id: RegistrationId(1),
            procedure: "p".into(),
            policy: MatchPolicy::Exact,
            callees,
        };
        for first in 0..4 {
            let mut asked = vec![callee(first)];
            while let Some(next) = next_callee(&registration, &asked) {
                asked.push(next);
            }
            let order = (first..4).chain(0..first).map(callee);
            assert!(asked.iter().copied().eq(order), "{asked:?}");
        }
        // The last one asked has left meanwhile.
        assert_eq!(next_callee(&registration, &[callee(0), callee(9)]), Some(callee(1)));
    }
}
