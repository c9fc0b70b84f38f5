//! How often each source has failed to prove who it is, and whether it must wait.
//!
//! All shards share the counts, since a source picks its shard by connecting again. They are looked at only when
//! somebody is to prove something, and changed only when that fails: those who say nothing of themselves, and sessions
//! that are there, touch no lock here.
//!
//! Behind a proxy that is believed, the source is the client's. Peers on Unix sockets are no source: who may open the
//! file is decided by its mode, and they have no address to tell them apart by, so one of them could shut out all the
//! others.
//!
//! A window begins with a source's first failure; when it is over, the source begins anew. Success does not end it:
//! whoever has one right secret could go on guessing others'.
//!
//! Invariant: there are no more than [`SOURCES_MAX`] counts. When there is no room, the oldest window makes some.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::session::Map;
use crate::origin::Source;
use crate::sync::Mutex;

/// Parts of the table, each with a lock of its own.
const PARTS: usize = 16;

/// Counts of one part.
const SOURCES_PER_PART_MAX: usize = 1024;

/// Sources that are counted at a time.
pub const SOURCES_MAX: usize = PARTS * SOURCES_PER_PART_MAX;

/// Failures since a moment.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    count: u32,
}

/// The counts.
#[derive(Debug)]
pub struct Failures {
    parts: [Mutex<Map<Source, Window>>; PARTS],
}

impl Default for Failures {
    fn default() -> Failures {
        Failures { parts: std::array::from_fn(|_| Mutex::new(Map::default())) }
    }
}

impl Failures {
    /// True if the source has failed so often in its window that it must wait.
    pub fn must_wait(&self, source: Source, count_max: u32, window: Duration, now: Instant) -> bool {
        let part = self.parts[part(source)].lock();
        let count = part.get(&source).filter(|seen| !seen.is_over(window, now)).map_or(0, |seen| seen.count);
        count_max > 0 && count >= count_max
    }

    /// Counts a failure.
    pub fn add(&self, source: Source, window: Duration, now: Instant) {
        let mut part = self.parts[part(source)].lock();
        if let Some(seen) = part.get_mut(&source).filter(|seen| !seen.is_over(window, now)) {
            seen.count = seen.count.saturating_add(1);
            return;
        }
        if part.len() >= SOURCES_PER_PART_MAX && !part.contains_key(&source) {
            part.retain(|_, seen| !seen.is_over(window, now));
        }
        if part.len() >= SOURCES_PER_PART_MAX
            && !part.contains_key(&source)
            && let Some(oldest) = part.iter().min_by_key(|(_, seen)| seen.since).map(|(source, _)| *source)
        {
            part.remove(&oldest);
        }
        part.insert(source, Window { since: now, count: 1 });
    }

    /// Sources that are counted.
    pub fn sources(&self) -> usize {
        self.parts.iter().map(|part| part.lock().len()).sum()
    }
}

/// Somebody who is about to guess, for whoever looks at the guess elsewhere.
#[derive(Clone, Debug)]
pub struct Guesser {
    failures: Arc<Failures>,
    source: Option<Source>,
    count_max: u32,
    window: Duration,
}

impl Guesser {
    /// From there; none: nobody counts.
    pub fn new(failures: Arc<Failures>, source: Option<Source>, count_max: u32, window: Duration) -> Guesser {
        Guesser { failures, source, count_max, window }
    }

    /// Where it is.
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// See [`Failures::must_wait`].
    pub fn must_wait(&self, now: Instant) -> bool {
        self.source.is_some_and(|source| self.failures.must_wait(source, self.count_max, self.window, now))
    }

    /// See [`Failures::add`].
    pub fn add(&self, now: Instant) {
        if let Some(source) = self.source {
            self.failures.add(source, self.window, now);
        }
    }
}

/// The part of the table that a source is in.
fn part(source: Source) -> usize {
    let octets = match source {
        Source::V4(octets) => octets.into(),
        Source::V6(octets) => octets,
    };
    (octets.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60) as usize % PARTS
}

impl Window {
    fn is_over(&self, window: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn who_has_failed_too_often_waits_for_the_end_of_the_window() {
        let (failures, start) = (Failures::default(), Instant::now());
        let (one, other) = (Source::V4(1), Source::V4(2));
        let waits =
            |source, seconds| failures.must_wait(source, 3, MINUTE, start + Duration::from_secs(seconds));
        for second in 0..3 {
            assert!(!waits(one, second));
            failures.add(one, MINUTE, start + Duration::from_secs(second));
        }
        assert!(waits(one, 3) && waits(one, 59) && !waits(one, 60) && !waits(other, 3));
        assert!(!failures.must_wait(one, 0, MINUTE, start));
        failures.add(one, MINUTE, start + MINUTE);
        assert!(!waits(one, 61), "it begins anew");
    }

    #[test]
    fn there_are_no_more_counts_than_there_is_room_for() {
        let (failures, start) = (Failures::default(), Instant::now());
        let at = |step: u64| start + Duration::from_millis(step);
        let nth = |step: u64| Source::V6(step.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let steps = 4 * SOURCES_MAX as u64;
        for step in 0..steps {
            failures.add(nth(step), 10 * MINUTE, at(step));
        }
        assert!(failures.sources() <= SOURCES_MAX);
        let waits = |step| failures.must_wait(nth(step), 1, 10 * MINUTE, at(steps));
        assert!(waits(steps - 1) && !waits(0), "the oldest have made room");
    }
}
