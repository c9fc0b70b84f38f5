//! What the caller's shard keeps of a call to invoke again: for the next part of a progressive call (advanced profile,
//! "Progressive Call Invocations"), and for another callee when one is unavailable ("Call Re-Routing").
//!
//! What is kept for another callee is let go when no other can begin any more: with the first result, with the second
//! part, when the caller has given it up.
//!
//! Invariant: `KeptBytes` is the sum over the open calls of the shard's realm, and at most `call_kept_bytes_max`.

use std::sync::Arc;

use super::Dealer;
use crate::codec::payload::OwnedPayload;
use crate::error::Refusal;
use crate::router::letter::{Attributes, CallKey, Invoke, Outcome};
use crate::router::session::Map;
use crate::router::{Context, PeerKey};

/// About what a kept call takes beside what its CALL carried.
const KEPT_BYTES: usize = 512;

/// What is kept of one call.
#[derive(Debug)]
pub(super) struct Kept {
    /// The first INVOCATION; without its payload, unless the call is `whole`.
    pub(super) invoke: Arc<Invoke>,
    /// Another callee may begin anew.
    whole: bool,
    /// The caller has said that more follows.
    pub(super) more_follows: bool,
    /// More than one part was sent, so that no other callee can begin anew.
    pub(super) in_parts: bool,
}

impl Kept {
    /// Octets it counts for. They change only with the payload.
    fn bytes(&self) -> usize {
        let Invoke { attributes, payload, .. } = &*self.invoke;
        let attributes = attributes.as_ref().map_or(0, |attributes| attributes.bytes());
        KEPT_BYTES + attributes + payload.borrow().bytes().len()
    }
}

/// What a session has of room that it shares with others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// How many things.
    pub(super) count: usize,
    /// And their octets.
    pub(super) bytes: usize,
}

/// The shares of the sessions here. Who asks for more must leave to others as much as it has then, so that there is
/// always room for those who have little.
#[derive(Debug, Default)]
pub(super) struct Shares(Map<PeerKey, Share>);

impl Shares {
    /// One thing more; what the session has now.
    pub(super) fn add(&mut self, session: PeerKey, bytes: usize) -> Share {
        let share = self.0.entry(session).or_default();
        (share.count, share.bytes) = (share.count + 1, share.bytes + bytes);
        *share
    }

    /// One thing less.
    pub(super) fn take_back(&mut self, session: PeerKey, bytes: usize) {
        let share = self.0.get_mut(&session).expect("it was added");
        (share.count, share.bytes) = (share.count - 1, share.bytes - bytes);
        if share.count == 0 {
            self.0.remove(&session);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Octets that are kept.
#[derive(Debug, Default)]
pub(super) struct KeptBytes {
    all: usize,
    shares: Shares,
}

impl KeptBytes {
    /// Keeps what `invoke` needs to be sent again to another callee, if it `may_reroute`, or else what its further
    /// parts need; if there is room.
    pub(super) fn keep(
        &mut self,
        bytes_max: usize,
        caller: PeerKey,
        invoke: &Arc<Invoke>,
        may_reroute: bool,
    ) -> Option<Box<Kept>> {
        let more_follows = invoke.progress;
        let invoke = if may_reroute { invoke.clone() } else { without_payload(invoke) };
        let kept = Kept { invoke, whole: may_reroute, more_follows, in_parts: false };
        self.add(caller, &kept);
        let own = self.shares.0.get(&caller).map_or(0, |share| share.bytes);
        if self.all + own > bytes_max {
            self.take_back(caller, &kept);
            return None;
        }
        Some(Box::new(kept))
    }

    fn add(&mut self, caller: PeerKey, kept: &Kept) {
        self.all += kept.bytes();
        self.shares.add(caller, kept.bytes());
    }

    /// What was kept is no longer.
    pub(super) fn take_back(&mut self, caller: PeerKey, kept: &Kept) {
        self.all -= kept.bytes();
        self.shares.take_back(caller, kept.bytes());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all == 0 && self.shares.is_empty()
    }
}

fn without_payload(invoke: &Invoke) -> Arc<Invoke> {
    let part = invoke.part(invoke.progress, OwnedPayload::EMPTY);
    Arc::new(Invoke { further: false, ..part })
}

impl Dealer {
    /// Keeps nothing of a call any more.
    pub(super) fn forget(&mut self, call: CallKey) {
        let open = &mut self.calls[call.index as usize];
        if let Some(kept) = open.kept.take() {
            self.kept_bytes.take_back(open.caller, &kept);
        }
    }

    /// No other callee can begin the call any more.
    pub(super) fn keep_no_payload(&mut self, call: CallKey) {
        let open = &mut self.calls[call.index as usize];
        let Some(kept) = open.kept.as_mut().filter(|kept| kept.whole) else { return };
        if !kept.more_follows {
            return self.forget(call);
        }
        self.kept_bytes.take_back(open.caller, kept);
        kept.invoke = without_payload(&kept.invoke);
        kept.whole = false;
        self.kept_bytes.add(open.caller, kept);
    }

    /// A callee is unavailable: another one is asked, each at most once, when it is free; the one that has the call has
    /// its slot back at once, since it has not begun. `Some`: the call has begun or was given up, so that this is the
    /// answer; or nothing is kept of it: its registration takes but one callee, its parts are gone, or there was no
    /// room.
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
        self.calls[call.index as usize].declined = true;
        self.give_back(cx, call, true);
        let open = &self.calls[call.index as usize];
        let Some(kept) = open.kept.as_ref().filter(|kept| kept.whole) else {
            return Some(Outcome::Refused(Refusal::NoAvailableCallee));
        };
        let invoke = kept.invoke.clone();
        // The one before kept the time itself; nobody says how much of it is left.
        if open.timeout.is_none() {
            self.begin_timeout(cx, call, invoke.terms.timeout_ms);
        }
        self.choose_again(cx, invoke, Refusal::NoAvailableCallee);
        None
    }
}
