//! Sessions that come and go: what joining costs, and whether anything is left behind.
//!
//! How many sessions join is [`super::connections::Setup::open`]'s. Here sessions of a crowd that has joined leave
//! without a word, in turn, and join again, as fast as the router takes them.

use std::time::Duration;

use super::connections::{Connections, Load, Setup, Side, Wanted};
use super::drive::{self, Drive, Measured, Schedule, State};
use super::process::Process;
use super::verdict::{Ended, Fault, Tally};
use super::{Dialect, Ending, Incoming, LoadError};

/// How long a crowd is left alone before its memory is looked at.
pub const SETTLE: Duration = Duration::from_millis(500);

/// What came of a run: sessions that left were sent, sessions that joined received.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Sessions that left and joined.
    pub measured: Measured,
    /// Connections that failed, and how the first one did.
    pub ended: Ended,
}

impl Outcome {
    /// What was wrong with the run, if anything was.
    pub fn verdict(&self) -> Result<(), Fault> {
        let missing = self.measured.sent_total - self.measured.received_total;
        let tally = Tally { lost: missing, missing, ..Tally::default() };
        tally.verdict(&self.measured, &self.ended)
    }
}

#[derive(Debug)]
struct Run<'a> {
    setup: &'a Setup,
    wanted: &'a [Wanted],
    /// Sessions that may be on their way to being ready: not all, or one would leave before it has joined.
    opening_max: u64,
    left: u64,
    joined: u64,
    ended: Ended,
}

/// Lets the sessions, which are all ready, leave and join again in turn.
pub fn run<D: Dialect>(
    connections: &mut Connections<D>,
    setup: &Setup,
    wanted: &[Wanted],
    schedule: &Schedule,
    process: Option<&Process>,
    told: &mut dyn FnMut(f64),
) -> Result<Outcome, LoadError> {
    let opening_max = setup.opening_max.min(wanted.len().div_ceil(2)) as u64;
    let mut run = Run { setup, wanted, opening_max, left: 0, joined: 0, ended: Ended::default() };
    let measured = drive::run(connections, &mut run, schedule, process, told)?;
    Ok(Outcome { measured, ended: run.ended })
}

/// Leaves all sessions alone for a while; how many ended meanwhile, and how the first one did.
pub fn rest<D: Dialect>(connections: &mut Connections<D>, time: Duration) -> Result<Ended, LoadError> {
    let mut rest = Rest { ended: Ended::default() };
    let end = connections.now() + time.as_nanos() as u64;
    while connections.now() < end && !connections.stopped() {
        connections.turn(drive::TICK, &mut rest)?;
    }
    Ok(rest.ended)
}

#[derive(Debug)]
struct Rest {
    ended: Ended,
}

impl<D: Dialect> Load<D> for Rest {
    fn incoming(&mut self, _from: usize, _incoming: Incoming, _now: u64, _side: &mut Side<'_, D>) {}

    fn ended(&mut self, _connection: usize, ending: Ending) {
        self.ended.add(&ending);
    }
}

impl<D: Dialect> Load<D> for Run<'_> {
    fn incoming(&mut self, _from: usize, incoming: Incoming, _now: u64, _side: &mut Side<'_, D>) {
        self.joined += u64::from(incoming == Incoming::Ready);
    }

    fn ended(&mut self, _connection: usize, ending: Ending) {
        self.ended.add(&ending);
    }
}

impl<D: Dialect> Drive<D> for Run<'_> {
    fn state(&self) -> State {
        State {
            sent: self.left,
            received: self.joined,
            under_way: self.left > self.joined,
            over: self.ended.count > 0,
        }
    }

    fn measure(&mut self, _now: u64) {}

    fn send(&mut self, connections: &mut Connections<D>, _now: u64) -> Duration {
        while self.left - self.joined < self.opening_max && self.ended.count == 0 {
            let number = self.left as usize % self.wanted.len();
            let wanted = self.wanted[number];
            let (address, source) = (self.setup.address(wanted.way), self.setup.source(number));
            match connections.replace(number, address, source, wanted) {
                Ok(()) => self.left += 1,
                Err(ending) if ending.is_backlog_full() => break,
                Err(ending) => Load::<D>::ended(self, number, ending),
            }
        }
        drive::TICK
    }

    fn end(&mut self, _now: u64) {}

    fn flush(&mut self, _connections: &mut Connections<D>) {}

    fn tick(&mut self, _connections: &mut Connections<D>, _now: u64) {}
}
