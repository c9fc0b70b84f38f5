//! The course of a run: warm-up, measurement, and the wait for what is still under way.
//!
//! Owns the clock of a run, the marks between which is counted, and the verdict that a router has stalled. What is sent
//! is the [`Drive`]'s.
//!
//! Invariant: a run ends. It is over when its time is over and nothing is under way, or when nothing has come for
//! [`Schedule::patience`] while something was, or when it is told to stop; and in any case that patience after the last
//! thing was sent.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::connections::{Connections, Load};
use super::process::{self, Process, Spent, Usage};
use super::{Dialect, LoadError};

/// How often [`Drive::tick`] is called, about.
pub const TICK: Duration = Duration::from_millis(20);

/// Times above a minute are one minute.
const NANOS_MAX: u64 = 60_000_000_000;

/// How long a run takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    /// How long the load is on before anything is counted.
    pub warm_up: Duration,
    /// How long is counted.
    pub duration: Duration,
    /// Silence with something under way after which the run has stalled; also how long what is under way at the end may
    /// take to come in all.
    pub patience: Duration,
}

/// What was counted.
#[derive(Clone, PartialEq, Debug)]
pub struct Measured {
    /// How long.
    pub time: Duration,
    /// Publications or calls sent in that time.
    pub sent: u64,
    /// Events or results received in that time.
    pub received: u64,
    /// Octets received in that time.
    pub bytes: u64,
    /// Publications or calls in all, before and after included.
    pub sent_total: u64,
    /// Events or results in all.
    pub received_total: u64,
    /// What the measured process used in that time.
    pub spent: Option<Spent>,
    /// CPU time of this thread in that time.
    pub own_cpu: Duration,
    /// Nothing came for too long.
    pub stalled: bool,
    /// The run was told to stop.
    pub interrupted: bool,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// Publications or calls sent so far.
    pub sent: u64,
    /// Events or results received so far.
    pub received: u64,
    /// Something is to come yet.
    pub under_way: bool,
    /// It cannot go on: its connections have ended.
    pub over: bool,
}

/// A load that has a course.
pub trait Drive<D: Dialect>: Load<D> {
    /// How far it is.
    fn state(&self) -> State;

    /// From now on it is measured: what began before does not count for latency.
    fn measure(&mut self, now: u64);

    /// Sends what may be sent now; how long to wait for input if there is none.
    fn send(&mut self, connections: &mut Connections<D>, now: u64) -> Duration;

    /// The time is over: nothing new is sent from now on.
    fn end(&mut self, now: u64);

    /// Writes what could not be written before.
    fn flush(&mut self, connections: &mut Connections<D>);

    /// What is done now and then.
    fn tick(&mut self, connections: &mut Connections<D>, now: u64);
}

/// A histogram with three digits of everything up to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(NANOS_MAX, 3).expect("the bounds are valid")
}

/// Runs a load over connections that are ready. `told` hears which part of the time is over, now and then.
pub fn run<D: Dialect>(
    connections: &mut Connections<D>,
    drive: &mut impl Drive<D>,
    schedule: &Schedule,
    process: Option<&Process>,
    told: &mut dyn FnMut(f64),
) -> Result<Measured, LoadError> {
    let begin = connections.now();
    let mut watch = Watch { patience: schedule.patience, received: 0, at: begin, stalled: false };
    let warm = begin + schedule.warm_up.as_nanos() as u64;
    let end = warm + schedule.duration.as_nanos() as u64;
    let mut last_tick = begin;
    let mut first = None;
    let last = loop {
        let now = connections.now();
        if first.is_none() && now >= warm {
            drive.measure(now);
            first = Some(Mark::take(connections, drive.state(), process));
        }
        if now >= end || watch.ends(drive.state(), now) || connections.stopped() {
            break Mark::take(connections, drive.state(), process);
        }
        if now - last_tick >= TICK.as_nanos() as u64 {
            last_tick = now;
            drive.tick(connections, now);
            told((now - begin) as f64 / (end - begin) as f64);
        }
        let wait = drive.send(connections, now);
        connections.turn(wait, drive)?;
    };
    drive.end(connections.now());
    // While the load is still on.
    let resident_bytes = process.map_or(0, Process::resident_bytes);
    let given_up = connections.now() + schedule.patience.as_nanos() as u64;
    while drive.state().under_way && !watch.stalled && !connections.stopped() {
        drive.flush(connections);
        connections.turn(TICK, drive)?;
        let now = connections.now();
        drive.tick(connections, now);
        if watch.ends(drive.state(), now) || now > given_up {
            break;
        }
    }
    let first = match first {
        Some(first) => first,
        None if watch.stalled || drive.state().over => last.clone(),
        None => return Err(LoadError::Interrupted),
    };
    let state = drive.state();
    let measured = last.since(&first);
    Ok(Measured {
        sent_total: state.sent,
        received_total: state.received,
        stalled: watch.stalled,
        interrupted: connections.stopped(),
        spent: measured.spent.map(|spent| Spent { resident_bytes, ..spent }),
        ..measured
    })
}

/// Looks for a router that has stalled.
#[derive(Debug)]
struct Watch {
    patience: Duration,
    /// How much had been received when something last came, and when.
    received: u64,
    at: u64,
    stalled: bool,
}

impl Watch {
    /// True if the run cannot go on.
    fn ends(&mut self, state: State, now: u64) -> bool {
        if state.received > self.received || !state.under_way {
            (self.received, self.at) = (state.received, now);
        }
        self.stalled = now - self.at > self.patience.as_nanos() as u64;
        self.stalled || state.over
    }
}

/// The state at the beginning or end of what is counted.
#[derive(Clone, Debug)]
struct Mark {
    at: u64,
    state: State,
    bytes: u64,
    usage: Option<Usage>,
    own_cpu: Duration,
}

impl Mark {
    fn take<D: Dialect>(connections: &Connections<D>, state: State, process: Option<&Process>) -> Mark {
        let usage = process.map(Process::usage);
        let (at, bytes) = (connections.now(), connections.bytes_read());
        Mark { at, state, bytes, usage, own_cpu: process::own_cpu() }
    }

    fn since(&self, first: &Mark) -> Measured {
        let spent = match (&self.usage, &first.usage) {
            (Some(last), Some(first)) => Some(last.since(first)),
            _ => None,
        };
        Measured {
            time: Duration::from_nanos(self.at - first.at),
            sent: self.state.sent - first.state.sent,
            received: self.state.received - first.state.received,
            bytes: self.bytes - first.bytes,
            sent_total: self.state.sent,
            received_total: self.state.received,
            spent,
            own_cpu: self.own_cpu.saturating_sub(first.own_cpu),
            stalled: false,
            interrupted: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::load::connections::Side;
    use crate::load::connections::tests::{Frames, connections};
    use crate::load::{Ending, Incoming};

    const SECOND: u64 = 1_000_000_000;

    /// A router that delivers something each time, and never everything.
    #[derive(Default)]
    struct Endless {
        received: u64,
        sending: bool,
    }

    impl Load<Frames> for Endless {
        fn incoming(&mut self, _from: usize, _incoming: Incoming, _now: u64, _side: &mut Side<'_, Frames>) {}

        fn ended(&mut self, _connection: usize, _ending: Ending) {}
    }

    impl Drive<Frames> for Endless {
        fn state(&self) -> State {
            State { sent: u64::MAX, received: self.received, under_way: true, over: false }
        }

        fn measure(&mut self, _now: u64) {}

        fn send(&mut self, _connections: &mut Connections<Frames>, _now: u64) -> Duration {
            self.sending = true;
            Duration::from_millis(1)
        }

        fn end(&mut self, _now: u64) {
            self.sending = false;
        }

        fn flush(&mut self, _connections: &mut Connections<Frames>) {
            assert!(!self.sending);
            self.received += 1;
        }

        fn tick(&mut self, _connections: &mut Connections<Frames>, _now: u64) {}
    }

    #[test]
    fn what_is_under_way_at_the_end_has_one_patience_in_all() {
        let schedule = Schedule {
            warm_up: Duration::ZERO,
            duration: Duration::from_millis(5),
            patience: Duration::from_millis(100),
        };
        let mut drive = Endless::default();
        let measured = run(&mut connections(1), &mut drive, &schedule, None, &mut |_| {}).unwrap();
        assert!(!measured.stalled && !measured.interrupted);
        assert!(measured.received_total > 0 && measured.received_total == drive.received);
    }

    #[test]
    fn a_router_has_stalled_if_nothing_comes_while_something_is_under_way() {
        let mut watch = Watch { patience: Duration::from_secs(2), received: 0, at: 0, stalled: false };
        let state = |received, under_way| State { sent: 9, received, under_way, over: false };
        assert!(!watch.ends(state(1, true), SECOND));
        assert!(!watch.ends(state(1, true), 3 * SECOND));
        // Silence with nothing under way is nobody's fault.
        assert!(!watch.ends(state(1, false), 9 * SECOND));
        assert!(!watch.ends(state(2, true), 10 * SECOND));
        assert!(watch.ends(state(2, true), 12 * SECOND + 1) && watch.stalled);
    }

    #[test]
    fn a_load_that_is_over_ends_and_has_not_stalled() {
        let mut watch = Watch { patience: Duration::from_secs(2), received: 0, at: 0, stalled: false };
        let state = State { sent: 1, received: 0, under_way: true, over: true };
        assert!(watch.ends(state, 1) && !watch.stalled);
    }

    #[test]
    fn what_is_measured_lies_between_the_marks() {
        let mark = |at, count, cpu| Mark {
            at,
            state: State { sent: count, received: 10 * count, under_way: true, over: false },
            bytes: 1000 * count,
            usage: None,
            own_cpu: Duration::from_millis(cpu),
        };
        let measured = mark(3 * SECOND, 7, 50).since(&mark(SECOND, 3, 20));
        assert_eq!((measured.time, measured.own_cpu), (Duration::from_secs(2), Duration::from_millis(30)));
        assert_eq!((measured.sent, measured.received, measured.bytes), (4, 40, 4000));
        assert_eq!((measured.sent_total, measured.received_total), (7, 70));
    }
}
