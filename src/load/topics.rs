//! Publications to one of many topics, each with one subscription: what a publish costs as subscriptions grow.
//!
//! Topics are chosen at random, so that no cache of the router is of more use than it would be to a real crowd. Of the
//! connections one publishes; the others are the subscribers. However many subscriptions there are, they are spread
//! over about the same number of sessions: a publication then costs the router about one write at any number, and what
//! changes is the cost of finding the subscriber. (Only of few subscriptions the events go to few sessions, and share
//! writes.)
//!
//! Invariant: each publication has a place in the window until its one event has come; what is lost keeps its place,
//! and is what is missing in the end.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::connections::{Connections, Load, Side, Wanted};
use super::drive::{self, Drive, Measured, Schedule, State};
use super::process::Process;
use super::verdict::{Ended, Fault, Tally};
use super::{Dialect, Ending, Incoming, LoadError, Role, Stamp};

/// The connection that publishes.
const PUBLISHER: usize = 0;

/// One run over connections that are ready: the publisher, then all subscribers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Topics that are published to: those below this number.
    pub topics: u32,
    /// Publications under way at most.
    pub window: usize,
    /// How long.
    pub schedule: Schedule,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Publications and events.
    pub measured: Measured,
    /// Events that were missing when the run ended.
    pub lost: u64,
    /// Events that came after a later one on the same connection, or twice, or unasked.
    pub out_of_order: u64,
    /// Connections that ended during the run, and how the first one did.
    pub ended: Ended,
    /// Nanoseconds from each publication to its event.
    pub latency: Histogram<u64>,
}

impl Outcome {
    /// What was wrong with the run, if anything was.
    pub fn verdict(&self) -> Result<(), Fault> {
        let (lost, out_of_order) = (self.lost, self.out_of_order);
        let tally = Tally { lost, missing: lost, out_of_order, ..Tally::default() };
        tally.verdict(&self.measured, &self.ended)
    }
}

/// At most that many sessions, which subscribe to the topics from `first` to `end`, each to about as many.
pub fn subscribers(first: u32, end: u32, sessions: u32, way: usize) -> Vec<Wanted> {
    let each = (end - first).div_ceil(sessions).max(1);
    let starts = (first..end).step_by(each as usize);
    starts
        .map(|first| Wanted { role: Role::Subscriber { first, count: each.min(end - first) }, way })
        .collect()
}

#[derive(Debug)]
struct Run<'a> {
    plan: &'a Plan,
    /// When what is under way in each place was sent, and its sequence.
    places: Vec<Option<(u64, u64)>>,
    free: Vec<usize>,
    /// The last sequence that came on each connection.
    last: Vec<Option<u64>>,
    random: u64,
    sent: u64,
    events: u64,
    out_of_order: u64,
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
    let mut run = Run::new(plan, connections.count());
    let measured = drive::run(connections, &mut run, &plan.schedule, process, told)?;
    Ok(Outcome {
        measured,
        lost: run.sent - run.events,
        out_of_order: run.out_of_order,
        ended: run.ended,
        latency: run.latency,
    })
}

impl Run<'_> {
    fn new(plan: &Plan, connections: usize) -> Run<'_> {
        Run {
            plan,
            places: vec![None; plan.window],
            free: (0..plan.window).collect(),
            last: vec![None; connections],
            random: 0x9E37_79B9_7F4A_7C15,
            sent: 0,
            events: 0,
            out_of_order: 0,
            measured_from: u64::MAX,
            latency: drive::histogram(),
            ended: Ended::default(),
        }
    }

    /// The next publication, if there is a place: to which topic.
    #[inline]
    fn publish(&mut self, now: u64) -> Option<(u32, Stamp)> {
        let place = self.free.pop()?;
        let sequence = self.sent * self.plan.window as u64 + place as u64;
        self.sent += 1;
        self.places[place] = Some((now, sequence));
        // xorshift64, and its upper half scaled to the number of topics.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let topic = ((self.random >> 32) * u64::from(self.plan.topics)) >> 32;
        Some((topic as u32, Stamp { sender: 0, sequence }))
    }

    #[inline]
    fn on_event(&mut self, from: usize, stamp: Stamp, now: u64) {
        let place = (stamp.sequence % self.plan.window as u64) as usize;
        let Some((sent_at, _)) = self.places[place].filter(|(_, sequence)| *sequence == stamp.sequence)
        else {
            self.out_of_order += 1;
            return;
        };
        self.places[place] = None;
        self.free.push(place);
        self.events += 1;
        let last = self.last[from].replace(stamp.sequence);
        self.out_of_order += u64::from(last.is_some_and(|last| last > stamp.sequence));
        if sent_at >= self.measured_from {
            self.latency.saturating_record(now - sent_at);
        }
    }
}

impl<D: Dialect> Load<D> for Run<'_> {
    #[inline]
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, _side: &mut Side<'_, D>) {
        if let Incoming::Event(stamp) = incoming {
            self.on_event(from, stamp, now);
        }
    }

    fn ended(&mut self, _connection: usize, ending: Ending) {
        self.ended.add(&ending);
    }
}

impl<D: Dialect> Drive<D> for Run<'_> {
    fn state(&self) -> State {
        let under_way = self.sent > self.events;
        State { sent: self.sent, received: self.events, under_way, over: self.ended.count > 0 }
    }

    fn measure(&mut self, now: u64) {
        self.measured_from = now;
    }

    fn send(&mut self, connections: &mut Connections<D>, now: u64) -> Duration {
        while let Some((topic, stamp)) = self.publish(now) {
            connections.side(PUBLISHER).publish(topic, stamp);
        }
        Drive::flush(self, connections);
        drive::TICK
    }

    fn end(&mut self, _now: u64) {}

    fn flush(&mut self, connections: &mut Connections<D>) {
        if connections.side(PUBLISHER).unsent_bytes() > 0 {
            connections.flush(PUBLISHER, self);
        }
    }

    fn tick(&mut self, _connections: &mut Connections<D>, _now: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_one_subscription() {
        for (first, end, sessions) in [(0, 1, 9), (1, 1000, 10), (1000, 1100, 7), (0, 4097, 4096)] {
            let wanted = subscribers(first, end, sessions, 0);
            assert!((1..=sessions as usize).contains(&wanted.len()));
            let mut next = first;
            for Wanted { role, .. } in wanted {
                let Role::Subscriber { first, count } = role else { panic!("they subscribe") };
                assert!(first == next && count >= 1);
                next += count;
            }
            assert_eq!(next, end);
        }
        assert!(subscribers(5, 5, 10, 0).is_empty());
    }

    #[test]
    fn a_publication_has_its_place_until_its_event_has_come() {
        let schedule = Schedule {
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(1),
            patience: Duration::from_secs(1),
        };
        let plan = Plan { topics: 10, window: 2, schedule };
        let mut run = Run { measured_from: 0, ..Run::new(&plan, 3) };
        let (topic, first) = run.publish(10).unwrap();
        let (_, second) = run.publish(20).unwrap();
        assert!(topic < 10 && run.publish(30).is_none());
        run.on_event(1, second, 50);
        let (_, third) = run.publish(60).unwrap();
        run.on_event(2, third, 70);
        run.on_event(2, third, 80);
        assert_eq!((run.events, run.out_of_order), (2, 1));
        // Behind the third on the same connection, although it was sent before.
        run.on_event(2, first, 90);
        assert_eq!((run.events, run.out_of_order, run.sent), (3, 2, 3));
        assert_eq!((run.latency.len(), run.latency.max()), (3, 80));
    }
}
