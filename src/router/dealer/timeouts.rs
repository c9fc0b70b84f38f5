//! The time a callee has to answer (advanced profile, "Call Timeouts").
//!
//! It runs from CALL to the first result, and from each progressive result to the next; a CALL that goes on with a
//! call does not begin it anew, nor does another callee that is asked, unless the one before it kept the time itself.
//! A call that waits for a callee spends its time in line. A deadline is set exactly while the call is open. A
//! progressive result only moves `due`: the deadline fires, looks, and is set again.
//!
//! A callee that has asked for it at REGISTER keeps the time itself: its shard says so when INVOCATION is queued, and
//! from then on there is no deadline here. It is told the whole time, even of a call that has waited: what the caller
//! asks for is the callee's to keep.

use std::time::{Duration, Instant};

use super::Dealer;
use crate::error::Refusal;
use crate::limits::Limits;
use crate::router::Context;
use crate::router::letter::CallKey;
use crate::router::timers::Timer;
use crate::wamp::options::CancelMode;

/// The time of one call.
#[derive(Debug)]
pub(super) struct Timeout {
    /// Where the deadline is set.
    at: Instant,
    /// When it is over; not before `at`.
    due: Instant,
    length: Duration,
}

impl Timeout {
    /// The callee has shown that it is at work.
    pub(super) fn restart(&mut self, now: Instant) {
        self.due = now + self.length;
    }
}

impl Dealer {
    /// What a call may take, in milliseconds: what its caller says, or else the realm, but no more than the limit. 0:
    /// however long it takes, which a caller may ask for even if the realm has a time.
    pub(super) fn timeout_ms(&self, limits: &Limits, asked_ms: Option<u64>) -> u64 {
        asked_ms.unwrap_or(self.realm.settings.call_timeout_ms).min(limits.call_timeout_ms_max)
    }

    /// Sets the deadline of a call that has none.
    pub(super) fn begin_timeout(&mut self, cx: &mut Context<'_>, call: CallKey, timeout_ms: u64) {
        if timeout_ms == 0 {
            return;
        }
        let length = Limits::ms(timeout_ms);
        let due = cx.now + length;
        cx.timers.set(due, Timer::Call { realm: self.realm.key, call });
        self.calls[call.index as usize].timeout = Some(Box::new(Timeout { at: due, due, length }));
    }

    /// Takes the deadline of a call back.
    pub(super) fn end_timeout(&self, cx: &mut Context<'_>, call: CallKey, timeout: Option<Box<Timeout>>) {
        if let Some(timeout) = timeout {
            cx.timers.cancel(timeout.at, Timer::Call { realm: self.realm.key, call });
        }
    }

    /// The callee keeps the time itself.
    pub fn timeout_forwarded(&mut self, cx: &mut Context<'_>, call: CallKey) {
        let Some(open) = self.open_call(call) else { return };
        let timeout = open.timeout.take();
        self.end_timeout(cx, call, timeout);
    }

    /// A deadline has passed: the caller is answered, and the callee is told not to go on.
    pub fn on_timeout(&mut self, cx: &mut Context<'_>, call: CallKey) {
        let Some(open) = self.open_call(call) else { return };
        let Some(timeout) = &mut open.timeout else { return };
        if timeout.due > cx.now {
            timeout.at = timeout.due;
            let at = timeout.at;
            return cx.timers.set(at, Timer::Call { realm: self.realm.key, call });
        }
        self.give_up(cx, call, CancelMode::KillNoWait, Refusal::Timeout);
    }
}
