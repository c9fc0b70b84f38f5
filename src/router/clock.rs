//! What time it is: instants from the shell, and what they are in the world's time, for people and for `created`.

use std::time::{Duration, Instant, SystemTime};

/// One moment in both times. A router keeps the moment it began at, so that its times grow evenly even if somebody sets
/// the machine's clock, and a simulated run is the same each time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment.
    pub instant: Instant,
    /// The same since 1970-01-01T00:00:00Z.
    pub since_epoch: Duration,
}

impl Clock {
    /// A clock for what is simulated: the router is made at 1970-01-01T00:00:00Z.
    pub fn at_epoch(instant: Instant) -> Clock {
        Clock { instant, since_epoch: Duration::ZERO }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        (self.since_epoch + now.saturating_duration_since(self.instant)).as_millis() as u64
    }

    /// Those milliseconds as ISO 8601 in UTC, as the meta API writes times: `2026-01-31T23:59:59.000Z`.
    pub fn utc(unix_ms: u64) -> String {
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_world_follow_the_instants() {
        let instant = Instant::now();
        let clock = Clock { instant, since_epoch: Duration::from_secs(1_769_904_000) };
        let unix_ms = clock.unix_ms(instant + Duration::from_millis(1_234));
        assert_eq!(Clock::utc(unix_ms), "2026-02-01T00:00:01.234Z");
        assert_eq!(clock.unix_ms(instant), 1_769_904_000_000);
    }
}
