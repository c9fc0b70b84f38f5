//! Calls: callers that each keep some calls open, callees that answer with what they were given.
//!
//! Owns which call is open and when it was sent. Caller and callee are both here, so a round trip is a call through the
//! router to this thread, and the answer back the same way. A result is followed by the next call at once; what one
//! read has brought is answered by one write.
//!
//! Invariants: a caller has at most `open` calls under way, each in a place of its own, which is part of its stamp; a
//! result that no open call waits for is counted as unexpected.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::connections::{Connections, Load, Side};
use super::drive::{self, Drive, Measured, Schedule, State};
use super::process::Process;
use super::verdict::{Ended, Fault, Tally};
use super::{Dialect, Ending, Incoming, LoadError, Stamp};

/// One run over connections that are ready: callers first, then callees, each with the procedure of its number.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Callers.
    pub callers: usize,
    /// Callees; every caller calls them in turn.
    pub callees: usize,
    /// Calls that each caller keeps open.
    pub open: usize,
    /// How long.
    pub schedule: Schedule,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Calls and results.
    pub measured: Measured,
    /// Calls that were answered by an error.
    pub errors: u64,
    /// Results that no call waited for.
    pub unexpected: u64,
    /// Calls that were open when the run ended, because it stalled or was interrupted.
    pub missing: u64,
    /// Connections that ended during the run, and how the first one did.
    pub ended: Ended,
    /// Nanoseconds from each call to its result.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// What was wrong with the run, if anything was.
    pub fn verdict(&self) -> Result<(), Fault> {
        let Outcome { errors, unexpected, missing, .. } = *self;
        let tally = Tally { errors, lost: missing, missing, unexpected, out_of_order: 0 };
        tally.verdict(&self.measured, &self.ended)
    }
}

/// A place for one open call of one caller.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// The stamp's sequence; none if no call is open.
    sequence: Option<u64>,
    /// Which call of its caller it is.
    number: u64,
    sent_at: u64,
}

#[derive(Debug)]
struct Run<'a> {
    plan: &'a Plan,
    /// By caller, then place.
    places: Vec<Place>,
    /// Calls, by caller.
    calls: Vec<u64>,
    under_way: u64,
    sent: u64,
    results: u64,
    errors: u64,
    unexpected: u64,
    sending: bool,
    measured_from: u64,
    latency: Histogram<u64>,
    ended: Ended,
}

/// Runs the plan.
pub fn run<D: Dialect>(
    connections: &mut Connections<D>,
    plan: &Plan,
    process: Option<&Process>,
    told: &mut dyn FnMut(f64),
) -> Result<Outcome, LoadError> {
    let mut run = Run::new(plan);
    let measured = drive::run(connections, &mut run, &plan.schedule, process, told)?;
    Ok(Outcome {
        measured,
        errors: run.errors,
        unexpected: run.unexpected,
        missing: run.under_way,
        ended: run.ended,
        latency: run.latency,
    })
}

impl Run<'_> {
    fn new(plan: &Plan) -> Run<'_> {
        Run {
            plan,
            places: vec![Place::default(); plan.callers * plan.open],
            calls: vec![0; plan.callers],
            under_way: 0,
            sent: 0,
            results: 0,
            errors: 0,
            unexpected: 0,
            sending: false,
            measured_from: u64::MAX,
            latency: drive::histogram(),
            ended: Ended::default(),
        }
    }

    /// The next call of that caller, in that place.
    #[inline]
    fn call(&mut self, caller: usize, place: usize, now: u64) -> (u32, Stamp) {
        let number = self.calls[caller];
        self.calls[caller] += 1;
        self.sent += 1;
        self.under_way += 1;
        let sequence = number * self.plan.open as u64 + place as u64;
        self.places[caller * self.plan.open + place] =
            Place { sequence: Some(sequence), number, sent_at: now };
        let callee = (caller as u64 + number) % self.plan.callees as u64;
        (callee as u32, Stamp { sender: caller as u16, sequence })
    }

    /// Ends the call that waits for this result; its place.
    #[inline]
    fn on_result(&mut self, caller: usize, stamp: Stamp, now: u64) -> Option<usize> {
        let index = (stamp.sequence % self.plan.open as u64) as usize;
        let place = &mut self.places[caller * self.plan.open + index];
        if usize::from(stamp.sender) != caller || place.sequence != Some(stamp.sequence) {
            self.unexpected += 1;
            return None;
        }
        place.sequence = None;
        self.under_way -= 1;
        self.results += 1;
        if place.sent_at >= self.measured_from {
            self.latency.saturating_record(now - place.sent_at);
        }
        Some(index)
    }

    /// Ends the call that has failed; its place.
    #[cold]
    fn on_failure(&mut self, caller: usize, number: u64) -> Option<usize> {
        let places = &mut self.places[caller * self.plan.open..][..self.plan.open];
        let index = places.iter().position(|place| place.sequence.is_some() && place.number == number);
        match index {
            Some(index) => {
                places[index].sequence = None;
                self.under_way -= 1;
                self.errors += 1;
            }
            None => self.unexpected += 1,
        }
        index
    }
}

impl<D: Dialect> Load<D> for Run<'_> {
    #[inline]
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, side: &mut Side<'_, D>) {
        let freed = match incoming {
            Incoming::Invocation { request, stamp } => return side.answer(request, stamp),
            Incoming::Result(stamp) if from < self.plan.callers => self.on_result(from, stamp, now),
            Incoming::Failed(number) if from < self.plan.callers => self.on_failure(from, number),
            _ => None,
        };
        if let Some(place) = freed.filter(|_| self.sending) {
            let (callee, stamp) = self.call(from, place, now);
            side.call(callee, stamp);
        }
    }

    fn ended(&mut self, _connection: usize, ending: Ending) {
        self.ended.add(&ending);
    }
}

impl<D: Dialect> Drive<D> for Run<'_> {
    fn state(&self) -> State {
        State {
            sent: self.sent,
            // An error is an answer too: a router that gives only errors has not stalled.
            received: self.results + self.errors,
            under_way: self.under_way > 0,
            over: self.ended.count > 0,
        }
    }

    fn measure(&mut self, now: u64) {
        self.measured_from = now;
    }

    /// Opens all calls once; from then on each result is followed by a call where it comes in.
    fn send(&mut self, connections: &mut Connections<D>, now: u64) -> Duration {
        if std::mem::replace(&mut self.sending, true) {
            return drive::TICK;
        }
        for caller in 0..self.plan.callers {
            for place in 0..self.plan.open {
                let (callee, stamp) = self.call(caller, place, now);
                connections.side(caller).call(callee, stamp);
            }
            connections.flush(caller, self);
        }
        drive::TICK
    }

    fn end(&mut self, _now: u64) {
        self.sending = false;
    }

    fn flush(&mut self, _connections: &mut Connections<D>) {}

    fn tick(&mut self, _connections: &mut Connections<D>, _now: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(open: usize) -> Plan {
        let schedule = Schedule {
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
            patience: Duration::from_secs(1),
        };
        Plan { callers: 2, callees: 3, open, schedule }
    }

    #[test]
    fn calls_end_in_any_order_and_callees_take_turns() {
        let plan = plan(2);
        let mut run = Run { measured_from: 0, ..Run::new(&plan) };
        let (first_callee, first) = run.call(1, 0, 10);
        let (second_callee, second) = run.call(1, 1, 20);
        assert_eq!((first_callee, second_callee), (1, 2));
        assert_eq!(run.on_result(1, second, 50), Some(1));
        let (third_callee, third) = run.call(1, 1, 60);
        assert_eq!(third_callee, 0);
        assert_eq!(run.on_result(1, third, 100), Some(1));
        assert_eq!((run.under_way, run.results), (1, 2));
        assert_eq!(run.on_result(1, first, 110), Some(0));
        assert_eq!((run.under_way, run.latency.len(), run.latency.max()), (0, 3, 100));
    }

    #[test]
    fn a_result_comes_once_and_to_its_caller() {
        let plan = plan(1);
        let mut run = Run::new(&plan);
        let (_, stamp) = run.call(0, 0, 0);
        assert_eq!(run.on_result(1, stamp, 0), None);
        assert_eq!(run.on_result(0, stamp, 0), Some(0));
        assert_eq!(run.on_result(0, stamp, 0), None);
        assert_eq!((run.unexpected, run.under_way), (2, 0));
    }

    #[test]
    fn a_failed_call_frees_its_place() {
        let plan = plan(2);
        let mut run = Run::new(&plan);
        run.call(0, 0, 0);
        run.call(0, 1, 0);
        assert_eq!(run.on_failure(0, 1), Some(1));
        assert_eq!(run.on_failure(0, 1), None);
        assert_eq!((run.errors, run.unexpected, run.under_way), (1, 1, 1));
    }
}
