//! Fan-out: publishers to one topic, subscribers that each get everything.
//!
//! Owns when a publication is sent, what is under way, and the count of what was lost or out of order. A publication is
//! under way until every subscriber has it. The loop is closed ([`Pace::Window`]: at most so many under way, which
//! finds the highest rate) or open ([`Pace::Rate`]: sent when it is due, whatever the router does, which is how latency
//! is measured). Subscribers that read slowly are not waited for.
//!
//! Latency is counted from when a publication was due to be sent. In an open loop that includes all the time by which
//! the generator was late because the router was ("coordinated omission"); in a closed loop both moments are one.
//!
//! Invariants: for each publisher a subscriber expects one sequence number. A higher one means that those between are
//! lost until they come, and they are credited to what is under way, so that a loss never stalls a run; a lower one is
//! out of order, and either late, which ends its loss, or there twice. Only what comes in order counts for latency.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::connections::{Connections, Load, Side};
use super::drive::{self, Drive, Measured, Schedule, State};
use super::process::Process;
use super::verdict::{Ended, Fault, Tally};
use super::{Dialect, Ending, Incoming, LoadError, Stamp};

/// Publications under way at most in an open loop; what is due beyond waits, and that counts as latency.
const OPEN_LOOP_WINDOW: usize = 1 << 14;

/// Octets of unsent publications of one publisher, above which an open loop waits.
const UNSENT_BYTES_MAX: usize = 4 << 20;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Octets that a slow subscriber reads at once when it may read all.
const CATCH_UP_BYTES: usize = 16 << 20;

/// Gaps in what subscribers got, up to which an event that comes late is known from one that comes twice. What is lost
/// in gaps beyond stays lost.
const GAPS_MAX: usize = 1 << 16;

/// Silence after which slow subscribers have read all there is, and nothing comes late any more.
const QUIET: Duration = Duration::from_millis(200);

/// Of how many publications one is measured for latency where the rate is what matters: recording costs as much as
/// counting.
pub const LATENCY_EVERY: u64 = 16;

/// When publications are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As soon as fewer than so many are under way.
    Window(usize),
    /// So many in a second, evenly.
    Rate(f64),
}

/// Subscribers that do not keep up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slow {
    /// How many, behind the other subscribers.
    pub count: usize,
    /// Octets that each reads in a second; 0: nothing at all.
    pub bytes_per_second: u64,
}

/// One run over connections that are ready: publishers first, then subscribers, then slow ones.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Publishers; publications are theirs in turn.
    pub publishers: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Subscribers that are not waited for.
    pub slow: Slow,
    /// When publications are sent.
    pub pace: Pace,
    /// How long.
    pub schedule: Schedule,
    /// Of how many publications one is measured for latency: a power of two, [`LATENCY_EVERY`] or 1.
    pub latency_every: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Publications and events, slow subscribers left out.
    pub measured: Measured,
    /// Events that never came.
    pub lost: u64,
    /// Events that came after a later one of their publisher, or twice, or were never sent.
    pub out_of_order: u64,
    /// Events that were under way when the run ended, because it stalled or was interrupted or they took too long. They
    /// are also lost.
    pub missing: u64,
    /// Publications that were due when the time was over, but not sent since the router was too far behind. What their
    /// latency would have been is in no figure. In a closed loop 0.
    pub not_sent: u64,
    /// Connections that ended during the run, slow ones left out, and how the first one did.
    pub ended: Ended,
    /// Nanoseconds from when a publication was due to each delivery.
    pub latency: Histogram<u64>,
    /// Nanoseconds by which publications were sent later than due. In a closed loop empty.
    pub lag: Histogram<u64>,
    /// What became of the slow ones.
    pub slow: SlowOutcome,
}

impl Outcome {
    /// What was wrong with the run, if anything was.
    pub fn verdict(&self) -> Result<(), Fault> {
        let Outcome { lost, missing, out_of_order, .. } = *self;
        let tally = Tally { lost, missing, out_of_order, ..Tally::default() };
        tally.verdict(&self.measured, &self.ended)
    }
}

/// What became of slow subscribers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SlowOutcome {
    /// Events they read: slowly during the run, and at its end all that the router still had for them.
    pub events: u64,
    /// Events that were left out between those they read.
    pub skipped: u64,
    /// How many the router closed.
    pub closed: usize,
}

/// A publication that may be under way.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// When it was due.
    due: u64,
    /// Subscribers that do not have it.
    missing: u32,
}

#[derive(Debug)]
struct Counts {
    publishers: usize,
    subscribers: usize,
    /// Subscribers that have not ended, slow ones left out.
    live: u32,
    /// The next sequence, by publisher.
    published: Vec<u64>,
    /// The sequence expected next, by subscriber and then publisher.
    expected: Vec<u64>,
    /// By publisher and then the low bits of the sequence.
    slots: Vec<Slot>,
    slots_each: usize,
    under_way: usize,
    events: u64,
    lost: u64,
    out_of_order: u64,
    /// Sequences that did not come in order and have not come yet: where a gap begins, by place in `expected`, and
    /// where it ends.
    gaps: BTreeMap<(usize, u64), u64>,
    sample_mask: u64,
    /// From when on publications are measured for latency.
    measured_from: u64,
    latency: Histogram<u64>,
    alive: Vec<bool>,
    /// A publisher has ended: the run cannot go on.
    broken: bool,
    ended: Ended,
    slow: SlowOutcome,
    begin: u64,
}

/// Runs the plan.
pub fn run<D: Dialect>(
    connections: &mut Connections<D>,
    plan: &Plan,
    process: Option<&Process>,
    told: &mut dyn FnMut(f64),
) -> Result<Outcome, LoadError> {
    let begin = connections.now();
    for slow in 0..plan.slow.count {
        connections.hold(plan.publishers + plan.subscribers + slow);
    }
    let mut run = Run::new(plan, begin);
    let measured = drive::run(connections, &mut run, &plan.schedule, process, told)?;
    run.catch_up(connections)?;
    let Run { counts, lag, not_sent, .. } = run;
    let missing = counts.missing();
    Ok(Outcome {
        measured: Measured { received_total: counts.events, ..measured },
        lost: counts.lost + missing,
        out_of_order: counts.out_of_order,
        missing,
        not_sent,
        ended: counts.ended,
        latency: counts.latency,
        lag,
        slow: counts.slow,
    })
}

#[derive(Debug)]
struct Run<'a> {
    plan: &'a Plan,
    counts: Counts,
    lag: Histogram<u64>,
    /// Publications of all publishers.
    sent: u64,
    /// What was due last could not be sent.
    held_back: bool,
    not_sent: u64,
    last_tick: u64,
    /// What each slow subscriber may read by now, in octets times nanoseconds of a second.
    allowed: u128,
}

impl<D: Dialect> Drive<D> for Run<'_> {
    fn state(&self) -> State {
        State {
            sent: self.sent,
            received: self.counts.events,
            under_way: self.counts.under_way > 0,
            over: self.counts.broken || self.counts.live == 0,
        }
    }

    fn measure(&mut self, now: u64) {
        self.counts.measured_from = now;
    }

    fn send(&mut self, connections: &mut Connections<D>, now: u64) -> Duration {
        let wait = match self.plan.pace {
            Pace::Window(window) => {
                while self.counts.under_way < window {
                    self.publish(connections, now);
                }
                drive::TICK
            }
            Pace::Rate(rate) => self.send_due(connections, rate, now),
        };
        self.flush(connections);
        wait
    }

    fn end(&mut self, now: u64) {
        if let (Pace::Rate(rate), true) = (self.plan.pace, self.held_back) {
            self.not_sent = due_by(rate, now - self.counts.begin).saturating_sub(self.sent);
        }
    }

    fn flush(&mut self, connections: &mut Connections<D>) {
        for publisher in 0..self.plan.publishers {
            if connections.side(publisher).unsent_bytes() > 0 {
                connections.flush(publisher, &mut self.counts);
            }
        }
    }

    fn tick(&mut self, connections: &mut Connections<D>, now: u64) {
        let elapsed = now - std::mem::replace(&mut self.last_tick, now);
        let bytes = self.allow(elapsed);
        if bytes == 0 {
            return;
        }
        let first = self.plan.publishers + self.plan.subscribers;
        for slow in first..first + self.plan.slow.count {
            connections.read_held(slow, bytes, &mut self.counts);
        }
    }
}

/// Publications that are due so many nanoseconds after the begin: the first one at once.
fn due_by(rate: f64, elapsed: u64) -> u64 {
    (elapsed as f64 * rate / 1e9) as u64 + 1
}

impl Run<'_> {
    fn new(plan: &Plan, begin: u64) -> Run<'_> {
        Run {
            plan,
            counts: Counts::new(plan, begin),
            lag: drive::histogram(),
            sent: 0,
            held_back: false,
            not_sent: 0,
            last_tick: begin,
            allowed: 0,
        }
    }

    /// Octets that each slow subscriber may read after another time, in nanoseconds. Less than one is not forgotten.
    fn allow(&mut self, elapsed: u64) -> usize {
        self.allowed += u128::from(self.plan.slow.bytes_per_second) * u128::from(elapsed);
        let bytes = self.allowed / NANOS_PER_SECOND;
        self.allowed %= NANOS_PER_SECOND;
        // Nobody is slow who reads more.
        bytes.min(CATCH_UP_BYTES as u128) as usize
    }

    /// Sends what is due; how long it is until the next one is.
    fn send_due<D: Dialect>(&mut self, connections: &mut Connections<D>, rate: f64, now: u64) -> Duration {
        self.held_back = false;
        loop {
            let due = self.counts.begin + (self.sent as f64 * 1e9 / rate) as u64;
            if due > now {
                return Duration::from_nanos(due - now);
            }
            let publisher = self.sent as usize % self.plan.publishers;
            let unsent = connections.side(publisher).unsent_bytes();
            if self.counts.under_way >= OPEN_LOOP_WINDOW || unsent > UNSENT_BYTES_MAX {
                self.held_back = true;
                return drive::TICK;
            }
            if due >= self.counts.measured_from {
                self.lag.saturating_record(now - due);
            }
            self.publish(connections, due);
        }
    }

    /// Lets slow subscribers read what the router still has for them. One that reads nothing does not see that it was
    /// closed: the end stands behind what it has not read. What the others have not got in order may also come yet.
    fn catch_up<D: Dialect>(&mut self, connections: &mut Connections<D>) -> Result<(), LoadError> {
        let first = self.plan.publishers + self.plan.subscribers;
        let end = connections.now() + self.plan.schedule.patience.as_nanos() as u64;
        let mut last = (connections.bytes_read(), connections.now());
        let waits = |counts: &Counts| self.plan.slow.count > 0 || !counts.gaps.is_empty();
        while waits(&self.counts) && connections.now() < end && !connections.stopped() {
            for slow in first..first + self.plan.slow.count {
                connections.read_held(slow, CATCH_UP_BYTES, &mut self.counts);
            }
            connections.turn(drive::TICK, &mut self.counts)?;
            let now = connections.now();
            if connections.bytes_read() > last.0 {
                last = (connections.bytes_read(), now);
            } else if now - last.1 > QUIET.as_nanos() as u64 {
                break;
            }
        }
        Ok(())
    }

    #[inline]
    fn publish<D: Dialect>(&mut self, connections: &mut Connections<D>, due: u64) {
        let publisher = self.sent as usize % self.plan.publishers;
        self.sent += 1;
        let stamp = self.counts.publish(publisher, due);
        connections.side(publisher).publish(0, stamp);
    }
}

impl<D: Dialect> Load<D> for Run<'_> {
    #[inline]
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, side: &mut Side<'_, D>) {
        self.counts.incoming(from, incoming, now, side);
    }

    fn ended(&mut self, connection: usize, ending: Ending) {
        Load::<D>::ended(&mut self.counts, connection, ending);
    }
}

impl Counts {
    fn new(plan: &Plan, begin: u64) -> Counts {
        let window = match plan.pace {
            Pace::Window(window) => window,
            Pace::Rate(_) => OPEN_LOOP_WINDOW,
        };
        let slots_each = window.next_power_of_two();
        let subscribers = plan.subscribers + plan.slow.count;
        Counts {
            publishers: plan.publishers,
            subscribers: plan.subscribers,
            live: plan.subscribers as u32,
            published: vec![0; plan.publishers],
            expected: vec![0; subscribers * plan.publishers],
            slots: vec![Slot::default(); slots_each * plan.publishers],
            slots_each,
            under_way: 0,
            events: 0,
            lost: 0,
            out_of_order: 0,
            gaps: BTreeMap::new(),
            sample_mask: plan.latency_every.next_power_of_two() - 1,
            measured_from: u64::MAX,
            latency: drive::histogram(),
            alive: vec![true; subscribers],
            broken: false,
            ended: Ended::default(),
            slow: SlowOutcome::default(),
            begin,
        }
    }

    /// Begins the next publication of that publisher.
    #[inline]
    fn publish(&mut self, publisher: usize, due: u64) -> Stamp {
        let sequence = self.published[publisher];
        self.published[publisher] += 1;
        let slot = self.slot(publisher, sequence);
        self.slots[slot] = Slot { due, missing: self.live };
        self.under_way += 1;
        Stamp { sender: publisher as u16, sequence }
    }

    #[inline]
    fn slot(&self, publisher: usize, sequence: u64) -> usize {
        publisher * self.slots_each + (sequence as usize & (self.slots_each - 1))
    }

    /// A subscriber has an event, or will never have it; when it was due.
    #[inline]
    fn credit(&mut self, publisher: usize, sequence: u64) -> u64 {
        let slot = self.slot(publisher, sequence);
        let slot = &mut self.slots[slot];
        slot.missing -= 1;
        if slot.missing == 0 {
            self.under_way -= 1;
        }
        slot.due
    }

    #[inline]
    fn on_event(&mut self, subscriber: usize, stamp: Stamp, now: u64) {
        let publisher = usize::from(stamp.sender);
        if subscriber >= self.subscribers || publisher >= self.publishers {
            return self.on_slow_event(subscriber, stamp);
        }
        let expected = &mut self.expected[subscriber * self.publishers + publisher];
        if *expected != stamp.sequence || stamp.sequence >= self.published[publisher] {
            return self.on_gap(subscriber, stamp);
        }
        *expected += 1;
        self.events += 1;
        let due = self.credit(publisher, stamp.sequence);
        if stamp.sequence & self.sample_mask == 0 && due >= self.measured_from {
            self.latency.saturating_record(now.saturating_sub(due));
        }
    }

    /// Another sequence than the expected one.
    #[cold]
    fn on_gap(&mut self, subscriber: usize, stamp: Stamp) {
        let publisher = usize::from(stamp.sender);
        let place = subscriber * self.publishers + publisher;
        if stamp.sequence < self.expected[place] || stamp.sequence >= self.published[publisher] {
            self.out_of_order += 1;
            let late = u64::from(self.on_late(place, stamp.sequence));
            self.lost -= late;
            self.events += late;
            return;
        }
        self.on_skip(place, stamp.sequence);
        for sequence in self.expected[place]..=stamp.sequence {
            self.credit(publisher, sequence);
        }
        self.lost += stamp.sequence - self.expected[place];
        self.events += 1;
        self.expected[place] = stamp.sequence + 1;
    }

    #[cold]
    fn on_slow_event(&mut self, subscriber: usize, stamp: Stamp) {
        let publisher = usize::from(stamp.sender);
        if publisher >= self.publishers {
            self.out_of_order += 1;
            return;
        }
        let place = subscriber * self.publishers + publisher;
        let expected = self.expected[place];
        self.slow.events += 1;
        if stamp.sequence < expected {
            self.slow.skipped -= u64::from(self.on_late(place, stamp.sequence));
            return;
        }
        self.slow.skipped += stamp.sequence - expected;
        self.on_skip(place, stamp.sequence);
        self.expected[place] = stamp.sequence + 1;
    }

    /// From what is expected up to that sequence nothing has come.
    fn on_skip(&mut self, place: usize, sequence: u64) {
        self.add_gap(place, self.expected[place], sequence);
    }

    fn add_gap(&mut self, place: usize, begin: u64, end: u64) {
        if begin < end && self.gaps.len() < GAPS_MAX {
            self.gaps.insert((place, begin), end);
        }
    }

    /// An event before the expected one: true if it is the first time that it comes.
    fn on_late(&mut self, place: usize, sequence: u64) -> bool {
        let gap = self.gaps.range((place, 0)..=(place, sequence)).next_back();
        let Some((begin, end)) = gap.map(|((_, begin), end)| (*begin, *end)) else { return false };
        if sequence >= end {
            return false;
        }
        self.gaps.remove(&(place, begin));
        self.add_gap(place, begin, sequence);
        self.add_gap(place, sequence + 1, end);
        true
    }

    /// Events that are under way.
    fn missing(&self) -> u64 {
        let mut missing = 0;
        for publisher in 0..self.publishers {
            for subscriber in (0..self.subscribers).filter(|subscriber| self.alive[*subscriber]) {
                missing +=
                    self.published[publisher] - self.expected[subscriber * self.publishers + publisher];
            }
        }
        missing
    }

    /// A subscriber gets nothing any more: what it does not have is lost.
    fn on_subscriber_end(&mut self, subscriber: usize) {
        if !std::mem::replace(&mut self.alive[subscriber], false) {
            return;
        }
        self.live -= 1;
        for publisher in 0..self.publishers {
            let place = subscriber * self.publishers + publisher;
            for sequence in self.expected[place]..self.published[publisher] {
                self.credit(publisher, sequence);
                self.lost += 1;
            }
        }
    }
}

impl<D: Dialect> Load<D> for Counts {
    #[inline]
    fn incoming(&mut self, from: usize, incoming: Incoming, now: u64, _side: &mut Side<'_, D>) {
        if let Incoming::Event(stamp) = incoming
            && let Some(subscriber) = from.checked_sub(self.publishers)
        {
            self.on_event(subscriber, stamp, now);
        }
    }

    fn ended(&mut self, connection: usize, ending: Ending) {
        let subscriber = connection.checked_sub(self.publishers);
        if subscriber.is_some_and(|subscriber| subscriber >= self.subscribers) {
            self.slow.closed += 1;
            return;
        }
        self.ended.add(&ending);
        match subscriber {
            Some(subscriber) => self.on_subscriber_end(subscriber),
            None => self.broken = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(publishers: usize, subscribers: usize) -> Plan {
        Plan {
            publishers,
            subscribers,
            slow: Slow { count: 1, bytes_per_second: 0 },
            pace: Pace::Window(4),
            schedule: Schedule {
                warm_up: Duration::ZERO,
                duration: Duration::from_secs(1),
                patience: Duration::from_secs(1),
            },
            latency_every: 1,
        }
    }

    fn counts(publishers: usize, subscribers: usize) -> Counts {
        Counts { measured_from: 0, ..Counts::new(&plan(publishers, subscribers), 0) }
    }

    #[test]
    fn a_publication_is_under_way_until_every_subscriber_has_it() {
        let mut counts = counts(1, 2);
        let (first, second) = (counts.publish(0, 100), counts.publish(0, 200));
        counts.on_event(0, first, 150);
        counts.on_event(0, second, 250);
        assert_eq!((counts.under_way, counts.missing()), (2, 2));
        counts.on_event(1, first, 1100);
        assert_eq!((counts.under_way, counts.missing()), (1, 1));
        counts.on_event(1, second, 1200);
        assert_eq!((counts.under_way, counts.missing(), counts.lost), (0, 0, 0));
        assert_eq!((counts.latency.len(), counts.latency.min()), (4, 50));
    }

    #[test]
    fn a_gap_is_a_loss_and_does_not_stall() {
        let mut counts = counts(2, 1);
        let mine: Vec<_> = (0..3).map(|_| counts.publish(0, 0)).collect();
        let other = counts.publish(1, 0);
        counts.on_event(0, mine[2], 0);
        counts.on_event(0, other, 0);
        assert_eq!((counts.under_way, counts.lost, counts.events), (0, 2, 2));
        // Late, and then twice.
        counts.on_event(0, mine[0], 0);
        assert_eq!((counts.out_of_order, counts.lost, counts.events), (1, 1, 3));
        counts.on_event(0, mine[0], 0);
        counts.on_event(0, mine[2], 0);
        assert_eq!((counts.out_of_order, counts.lost, counts.events), (3, 1, 3));
        counts.on_event(0, mine[1], 0);
        assert_eq!((counts.out_of_order, counts.lost, counts.events), (4, 0, 4));
        assert!(counts.gaps.is_empty());
        // Stamps that were never sent.
        counts.on_event(0, Stamp { sender: 0, sequence: 99 }, 0);
        counts.on_event(0, Stamp { sender: 7, sequence: 0 }, 0);
        assert_eq!((counts.out_of_order, counts.events), (6, 4));
    }

    #[test]
    fn any_order_with_every_event_in_it_loses_nothing() {
        let mut random = 7_u64;
        for _ in 0..200 {
            let mut counts = counts(2, 2);
            let mut events = Vec::new();
            for number in 0..8 {
                let stamp = counts.publish(number % 2, 0);
                // The last subscriber is a slow one.
                events.extend((0..3).map(|subscriber| (subscriber, stamp)));
            }
            for place in (1..events.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                events.swap(place, (random >> 33) as usize % (place + 1));
            }
            let twice = events[3];
            events.push(twice);
            for (subscriber, stamp) in events {
                counts.on_event(subscriber, stamp, 0);
            }
            let again = u64::from(twice.0 == 2);
            assert_eq!((counts.lost, counts.missing(), counts.events), (0, 0, 16));
            assert_eq!((counts.slow.skipped, counts.slow.events, counts.under_way), (0, 8 + again, 0));
            assert!(counts.gaps.is_empty() && counts.out_of_order >= 1 - again);
        }
    }

    #[test]
    fn a_slow_rate_is_kept_however_low_it_is() {
        let mut plan = plan(1, 1);
        plan.slow.bytes_per_second = 7;
        let mut run = Run::new(&plan, 0);
        let read: usize = (0..1000).map(|_| run.allow(3_333_333)).sum();
        assert_eq!(read, 23);
        plan.slow.bytes_per_second = u64::MAX;
        assert_eq!(Run::new(&plan, 0).allow(u64::MAX), CATCH_UP_BYTES);
    }

    #[test]
    fn publications_are_due_from_the_begin_on() {
        assert_eq!([0, 999_999, 1_000_000, 1_999_999].map(|elapsed| due_by(1000.0, elapsed)), [1, 1, 2, 2]);
    }

    #[test]
    fn a_subscriber_that_ends_loses_what_is_under_way() {
        let mut counts = counts(1, 2);
        let first = counts.publish(0, 0);
        counts.publish(0, 0);
        counts.on_event(0, first, 0);
        counts.on_subscriber_end(0);
        counts.on_subscriber_end(0);
        assert_eq!((counts.live, counts.lost, counts.missing(), counts.under_way), (1, 1, 2, 2));
        let third = counts.publish(0, 0);
        assert_eq!(counts.slots[counts.slot(0, third.sequence)].missing, 1);
    }

    #[test]
    fn slow_subscribers_are_not_waited_for() {
        let mut counts = counts(1, 1);
        let stamps: Vec<_> = (0..3).map(|_| counts.publish(0, 0)).collect();
        for stamp in &stamps {
            counts.on_event(0, *stamp, 0);
        }
        assert_eq!(counts.under_way, 0);
        counts.on_event(1, stamps[0], 0);
        counts.on_event(1, stamps[2], 0);
        assert_eq!((counts.slow.events, counts.slow.skipped, counts.lost), (2, 1, 0));
    }
}
