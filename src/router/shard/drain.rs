//! The shutdown of a shard: what it waits for, and its last words.
//!
//! ```text
//!   drain -> Calls      no new sessions and calls; every other shard is told, by letter
//!         -> Testaments when every other shard has said the same and no call is open, or half of the time has passed:
//!                       calls still open are canceled, all testaments are published, every other shard is told
//!         -> Goodbye    when every other shard has said the same, or an eighth of the time has passed: what was
//!                       published stands in the queues, and every session gets GOODBYE
//!         -> Done       when the last peer is gone
//! ```

use std::time::{Duration, Instant};

use super::super::meta::testaments;
use super::super::peer::{Sent, State};
use super::super::timers::Timer;
use super::super::{Letter, PeerKey};
use super::Shard;
use crate::error::CloseReason;
use crate::limits::Limits;
use crate::wamp::message::Goodbye;
use crate::wamp::{Dict, Message, Value, reason};

/// How far the shutdown is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Drain {
    /// None was asked for.
    No,
    /// New sessions and calls are refused; open calls may finish until then.
    Calls { until: Instant, end: Instant, whole: Duration },
    /// Testaments of other shards are awaited until then.
    Testaments { until: Instant, end: Instant },
    /// Every session was said goodbye; the last peer is dropped at the end.
    Goodbye { end: Instant },
    /// Nobody is left.
    Done,
}

impl Shard {
    /// No call waits for its answer here, as a call or as an invocation, and no letter can bring one any more: every
    /// other shard has said that it has begun its shutdown, and what it wrote before has come before that. So has every
    /// publication that was acknowledged before. And nobody waits for what an authorizer has allowed by now.
    ///
    /// Authorizers are asked no more: their INVOCATION would follow what this shard has said to the others. So during a
    /// shutdown whom an authorizer decides about can do what is kept, or was asked before, and is refused the rest.
    pub(super) fn owes_nothing(&self) -> bool {
        let others = self.letters.others(self.index);
        others.into_iter().all(|shard| self.draining_shards & (1 << shard.0) != 0)
            && self.invocations_open == 0
            && self.rounds_open == 0
            && self.peers.answered_count() == 0
            && self.realms.iter().all(|realm| realm.dealer.has_no_calls())
    }

    /// Publishes all testaments here while everybody is there to get them: all shards shut down at once.
    pub(super) fn publish_testaments(&mut self, now: Instant) {
        let Drain::Calls { until, end, whole } = self.drain else { return };
        self.timers.cancel(until, Timer::DrainCalls);
        let until = now + whole / 8;
        self.drain = Drain::Testaments { until, end };
        self.timers.set(until, Timer::DrainTestaments);
        for realm in self.realms.keys() {
            let (realm, mut cx) = self.lend(realm);
            realm.dealer.cancel_all(&mut cx);
        }
        for key in self.peers.keys() {
            let Some(realm) = self.peers.session(key).map(|session| session.realm) else { continue };
            let (realm, mut cx) = self.lend(realm);
            testaments::publish(realm, &mut cx, key);
        }
        for shard in self.letters.others(self.index) {
            self.letters.post(shard, Letter::Bequeathed { shard: self.index });
        }
        self.settle(now);
    }

    /// Every other shard has published its testaments, and they have come.
    pub(super) fn has_all_testaments(&self) -> bool {
        let others = self.letters.others(self.index);
        others.into_iter().all(|shard| self.bequeathed_shards & (1 << shard.0) != 0)
    }

    /// GOODBYE to every session; whoever is in none is closed.
    pub(super) fn say_goodbye_to_all(&mut self, now: Instant) {
        let Drain::Testaments { until, end } = self.drain else { return };
        self.timers.cancel(until, Timer::DrainTestaments);
        self.drain = Drain::Goodbye { end };
        for key in self.peers.keys() {
            match self.peers.session_id(key) {
                Some(_) => {
                    let details = [("message", Value::text("The router is shutting down."))];
                    let details = Dict::Pairs(&details);
                    self.say_goodbye(key, Goodbye { details, reason: reason::SYSTEM_SHUTDOWN.into() }, now);
                }
                None => self.finish_peer(key, (1001, "shutting down"), CloseReason::Shutdown, now),
            }
        }
        self.settle(now);
    }

    /// Ends a session with GOODBYE; the peer is to answer it. If it takes no message that long, it is told the reason
    /// alone, and if that is too long, that it was killed.
    pub(super) fn say_goodbye(&mut self, key: PeerKey, goodbye: Goodbye<'_>, now: Instant) {
        self.leave(key);
        let alone = Goodbye { details: Dict::EMPTY, reason: goodbye.reason.clone() };
        let killed = Goodbye { details: Dict::EMPTY, reason: reason::KILLED.into() };
        for goodbye in [goodbye, alone, killed] {
            if self.peers.send_outside(key, &Message::Goodbye(goodbye)) != Sent::TooLarge {
                break;
            }
        }
        if let Some(peer) = self.peers.peer_mut(key) {
            peer.state = State::Leaving;
        }
        let at = now + Limits::ms(self.router.settings.limits.goodbye_ms_max);
        self.peers.set_deadline(key, Timer::Goodbye(key), at, &mut self.timers);
    }
}
