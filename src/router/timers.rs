//! Deadlines of a shard: one ordered set, one enum of reasons.
//!
//! Deadlines are set and canceled exactly. They are few: one or two a connection, one a call that has a timeout. What
//! is active never re-arms its deadline on activity: the deadline fires, looks, and is set anew.

use std::collections::BTreeSet;
use std::time::Instant;

use super::letter::CallKey;
use super::{PeerKey, RealmKey};

/// What is due.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// The answer of a call is late.
    Call {
        /// Where its caller is.
        realm: RealmKey,
        /// Which.
        call: CallKey,
    },
    /// The shutdown no longer waits for open calls.
    DrainCalls,
    /// The shutdown no longer waits for the testaments of other shards.
    DrainTestaments,
    /// The shutdown no longer waits for anybody.
    DrainEnd,
    /// Nobody may have been in the realm for as long as it may be idle.
    Idle(RealmKey),
    /// The peer's answer to our last words is late.
    Goodbye(PeerKey),
    /// The handshake, HELLO or the answer to a challenge is late.
    Handshake(PeerKey),
    /// Time to see whether the peer is still there.
    Silence(PeerKey),
    /// Time to see whether the peer takes its bytes.
    Stall(PeerKey),
}

/// The deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    set: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets a deadline. The same timer may be set for several instants; each is canceled by itself.
    pub fn set(&mut self, at: Instant, timer: Timer) {
        self.set.insert((at, timer));
    }

    /// Takes a deadline back, if it is still set.
    pub fn cancel(&mut self, at: Instant, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    /// Takes the earliest deadline if it is not after `now`.
    pub fn expired(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, timer)| timer)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// True if no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_expire_in_order_and_cancel_exactly() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let peer = |index| PeerKey { index, serial: 0 };
        let mut timers = Timers::default();
        timers.set(later, Timer::Silence(peer(1)));
        timers.set(start, Timer::Stall(peer(2)));
        timers.set(later, Timer::Handshake(peer(3)));
        assert_eq!(timers.next(), Some(start));
        assert_eq!(timers.expired(start), Some(Timer::Stall(peer(2))));
        assert_eq!(timers.expired(start), None);
        timers.cancel(start, Timer::Silence(peer(1)));
        assert_eq!(timers.expired(later), Some(Timer::Handshake(peer(3))));
        timers.cancel(later, Timer::Silence(peer(1)));
        assert!(timers.is_empty());
    }
}
