//! The dealer of one realm in one shard (basic profile, "Remote Procedure Calls"; advanced profile, "Call Canceling",
//! "Pattern-based Registrations", "Shared Registration", "Registration Revocation").
//!
//! A call is two promises, and so two tables. The *caller's* shard owns the call: exactly one final answer, and its
//! cancel. The *callee's* shard owns the invocation: request ids that count 1, 2, 3 for that callee, and INTERRUPT only
//! for what is open. Neither shard reads the other's table; they write letters.
//!
//! ```text
//!   caller's shard                                   callee's shard
//!   on_call    calls.insert    -- Invoke -->         invoke      invocations.insert, INVOCATION
//!   on_further_call            -- Invoke -->         invoke      INVOCATION with the same request id
//!   progress   RESULT          <-- Progress --       on_yield    YIELD of which more will come
//!   complete   calls.remove    <-- Complete --       on_yield, on_error, leave   invocations.remove
//!   on_cancel, on_timeout, leave  -- Interrupt -->   interrupt   INTERRUPT
//!   returned                   <-- Return --         invoke      the callee has gone, or has too many open
//! ```
//!
//! Which of several callees is called, and what waits until one is free: see `choice.rs`; who is called after one that
//! is unavailable: see `kept.rs`.
//!
//! A caller that gives a call up is answered at once, unless it waits for the callee. If the callee is told, it owes
//! nothing any more. One that is not told, since it cannot be interrupted or the caller does not want it, goes on: its
//! invocation is *abandoned*, but stays in its tables and where it is counted until it has answered or left.
//!
//! What the router itself calls has no caller: see `own.rs`.
//!
//! Invariants: a call stands in `calls` exactly if it stands in its caller's session, or in what the router remembers
//! of the peer it asks about; while it does and has a timeout here, its deadline is set, whether it has a callee or
//! waits for one. An invocation stands in both maps of its callee's session or in neither. `complete` is the only way a
//! call is answered for good, and `close_call` the only way off the table.

mod calls;
mod choice;
mod invocations;
mod kept;
mod own;
mod passthru;
mod registrations;
mod timeouts;

use std::collections::BTreeMap;
use std::sync::Arc;

use slab::Slab;

use self::choice::Line;
use self::kept::{Kept, KeptBytes, Shares};
use self::timeouts::Timeout;
use super::directory::{Asked, Callee, Slot, Workload};
use super::letter::{CallKey, Complete, Letter, Outcome};
use super::match_cache::MatchCache;
use super::peer::Sent;
use super::realm::Realm;
use super::session::Session;
use super::{Context, PeerKey};
use crate::error::Refusal;
use crate::wamp::options::CancelMode;
use crate::wamp::{RegistrationId, RequestId};

pub use self::calls::call_options;
pub use self::own::{Answered, OwnCall};

/// The dealer.
#[derive(Debug)]
pub struct Dealer {
    realm: Arc<Realm>,
    cache: MatchCache,
    calls: Slab<OpenCall>,
    /// Calls that wait for a callee.
    lines: BTreeMap<RegistrationId, Line>,
    serial: u64,
    /// How often callees here have registered; see [`Callee::membership`].
    memberships: u32,
    /// What the sessions here have in those lines.
    waiting: Shares,
    kept_bytes: KeptBytes,
}

/// A call that waits for its answer: of a peer here, or of the router about one.
#[derive(Debug)]
struct OpenCall {
    serial: u64,
    /// Who calls, or whom the router asks about.
    caller: PeerKey,
    /// Under which request; [`RequestId::NONE`] if it is the router that asks, and is to be answered: see `own.rs`.
    request: RequestId,
    /// As it was called.
    procedure: Arc<str>,
    /// `None` while it waits for one.
    callee: Option<Callee>,
    /// Where its invocation is counted, or will be, if it is.
    workload: Option<Arc<Workload>>,
    /// As what.
    slot: Option<Slot>,
    /// The callees that could not take it.
    asked: Option<Arc<Asked>>,
    /// One of them has said so itself.
    declined: bool,
    /// The caller has canceled it and waits for the callee's answer.
    canceled: bool,
    /// The caller takes progressive results.
    receives_progress: bool,
    /// The caller has got one: no other callee can begin anew.
    progressed: bool,
    /// What is needed to invoke again, if that may be.
    kept: Option<Box<Kept>>,
    /// The time the callee has left, if it is kept here.
    timeout: Option<Box<Timeout>>,
}

// What is larger is moved by a call of memcpy, thrice for each call.
const _: () = assert!(size_of::<OpenCall>() <= 128);

impl OpenCall {
    /// True if it is the router that asks.
    fn is_own(&self) -> bool {
        self.request == RequestId::NONE
    }
}

impl Dealer {
    /// A dealer without registrations.
    pub fn new(realm: Arc<Realm>, match_cache_entries_max: usize) -> Dealer {
        let cache = MatchCache::new(match_cache_entries_max);
        Dealer {
            realm,
            cache,
            calls: Slab::new(),
            lines: BTreeMap::new(),
            serial: 0,
            memberships: 0,
            waiting: Shares::default(),
            kept_bytes: KeptBytes::default(),
        }
    }

    /// Other settings of the realm hold from now on, for calls that come. All that was found out by the old ones is
    /// forgotten.
    pub fn configure(&mut self, realm: Arc<Realm>, match_cache_entries_max: usize) {
        self.realm = realm;
        self.cache.clear(match_cache_entries_max);
    }

    // Leaving.

    /// Takes all of a leaving session's: its registrations, then the invocations it owes, then the calls it waits for.
    pub fn leave(&mut self, cx: &mut Context<'_>, session: &mut Session) {
        for (registration, held) in sorted(session.registrations.take()) {
            self.unregister(cx, held.place, registration, session.id);
        }
        let by_call = std::mem::take(&mut session.invocations_by_call);
        for (_, call) in sorted(session.invocations.take()) {
            if by_call.get(&call).is_some_and(|open| open.abandoned.is_some()) {
                continue;
            }
            *cx.invocations_open -= 1;
            self.complete_with(cx, call, Outcome::Refused(Refusal::Canceled));
        }
        for (_, call) in sorted(session.calls.take()) {
            let callee = self.calls[call.index as usize].callee;
            self.interrupt_callee(cx, call, callee, CancelMode::KillNoWait, Refusal::Canceled);
            self.close_call(cx, call, false);
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

    /// True if nothing is called here. What is registered, the directory knows.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.lines.is_empty()
            && self.waiting.is_empty()
            && self.kept_bytes.is_empty()
    }
}

/// In order: nothing a peer sees may depend on the order of a map.
fn sorted<K: Ord + Copy, V>(items: impl Iterator<Item = (K, V)>) -> Vec<(K, V)> {
    let mut items: Vec<_> = items.collect();
    items.sort_unstable_by_key(|(key, _)| *key);
    items
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
