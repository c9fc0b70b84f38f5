//! What time it is: instants from the shell, and what they are in the world's time, for people and for `created`.

use std::time::{Duration, Instant, SystemTime};

use crate::sync::atomic::{AtomicU64, Ordering};

/// The moment a router was made at, in both times. Whoever drives a shard tells now and then what the world's time is
/// meanwhile ([`Clock::follow`]), since a machine may learn it late, or sleep; asking is two loads and no system call.
/// A simulated router is never told, so a run is the same each time.
#[derive(Debug)]
pub struct Clock {
    /// The moment.
    pub instant: Instant,
    /// What the moment was in milliseconds since 1970-01-01T00:00:00Z, as far as is known now.
    unix_ms: AtomicU64,
}

/// How long what was told of the world's time is believed.
pub const FOLLOW_EVERY: Duration = Duration::from_secs(1);

impl Clock {
    /// A clock for what is simulated: the router is made at 1970-01-01T00:00:00Z.
    pub fn at_epoch(instant: Instant) -> Clock {
        Clock::new(instant, Duration::ZERO)
    }

    /// A clock that knows what the moment is since 1970-01-01T00:00:00Z.
    pub fn new(instant: Instant, since_epoch: Duration) -> Clock {
        Clock { instant, unix_ms: AtomicU64::new(since_epoch.as_millis() as u64) }
    }

    /// The world's time is this now. Times may jump, to and fro, as far as somebody has set the machine's clock.
    pub fn follow(&self, now: Instant, since_epoch: Duration) {
        let since = now.saturating_duration_since(self.instant).as_millis();
        let unix_ms = since_epoch.as_millis().saturating_sub(since) as u64;
        // What is less than this is only how instants and milliseconds are rounded.
        if unix_ms.abs_diff(self.unix_ms.load(Ordering::Relaxed)) > 1 {
            self.unix_ms.store(unix_ms, Ordering::Relaxed);
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.instant).as_millis() as u64;
        self.unix_ms.load(Ordering::Relaxed).saturating_add(since)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z of a time as RFC 3339 writes it, with any offset: 2026-01-31T23:59:59Z or
    /// 2026-02-01T00:59:59.5+01:00. What was before is counted as the beginning of 1970.
    pub fn unix_ns_of(text: &str) -> Option<i128> {
        if !text.is_ascii() {
            return None;
        }
        let (time, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(time) => (time, 0),
            None => {
                let (time, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
                (time, offset_minutes(offset)?)
            }
        };
        let utc = format!("{}Z", time.to_ascii_uppercase());
        let since_epoch = match humantime::parse_rfc3339(&utc) {
            Ok(time) => time.duration_since(SystemTime::UNIX_EPOCH).ok()?,
            Err(_) if is_before_1970(&utc) => return Some(0),
            Err(_) => return None,
        };
        let since_epoch = i128::try_from(since_epoch.as_nanos()).ok()?;
        Some((since_epoch - offset * 60_000_000_000).max(0))
    }

    /// Those milliseconds as ISO 8601 in UTC, as the meta API writes times: `2026-01-31T23:59:59.000Z`.
    pub fn utc(unix_ms: u64) -> String {
        humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
    }
}

/// `+01:00` as minutes east of Greenwich.
fn offset_minutes(offset: &str) -> Option<i128> {
    let number = |digits: &str| -> Option<i128> {
        let number = digits.parse().ok()?;
        digits.bytes().all(|digit| digit.is_ascii_digit()).then_some(number)
    };
    let (sign, rest) = offset.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        "+" => Some(hours * 60 + minutes),
        "-" => Some(-(hours * 60 + minutes)),
        _ => None,
    }
}

/// True if the time is a good one but for its year, which the parser does not take below 1970.
fn is_before_1970(utc: &str) -> bool {
    let Some((year, rest)) = utc.split_at_checked(4) else { return false };
    // Good in a leap year, so that the 29th of February is.
    year.bytes().all(|digit| digit.is_ascii_digit())
        && year < "1970"
        && humantime::parse_rfc3339(&format!("2000{rest}")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_world_follow_the_instants() {
        let instant = Instant::now();
        let clock = Clock::new(instant, Duration::from_secs(1_769_904_000));
        let unix_ms = clock.unix_ms(instant + Duration::from_millis(1_234));
        assert_eq!(Clock::utc(unix_ms), "2026-02-01T00:00:01.234Z");
        assert_eq!(clock.unix_ms(instant), 1_769_904_000_000);
    }

    #[test]
    fn times_follow_the_machines_clock_when_it_is_set() {
        let instant = Instant::now();
        let clock = Clock::at_epoch(instant);
        let now = instant + Duration::from_secs(10);
        clock.follow(now, Duration::from_secs(1_769_904_000));
        assert_eq!(clock.unix_ms(now), 1_769_904_000_000);
        assert_eq!(clock.unix_ms(now + Duration::from_secs(1)), 1_769_904_001_000);
        clock.follow(now, Duration::from_secs(20));
        assert_eq!(clock.unix_ms(now), 20_000);
        clock.follow(now, Duration::from_millis(20_001));
        assert_eq!(clock.unix_ms(now), 20_000, "times do not tremble");
        clock.follow(now, Duration::ZERO);
        assert_eq!(clock.unix_ms(now), 10_000, "a router is not made before 1970");
    }

    #[test]
    fn times_of_rfc_3339_are_read_with_any_offset() {
        let seconds = |text: &str| Clock::unix_ns_of(text).map(|ns| ns as f64 / 1e9);
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", 1.0),
            ("1970-01-01t00:00:01.250z", 1.25),
            ("1970-01-01T02:00:00+01:30", 1_800.0),
            ("1969-12-31T23:00:00-02:00", 0.0),
            ("0000-02-29T00:00:00Z", 0.0),
            ("2026-02-01T00:00:01.234Z", 1_769_904_001.234),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for wrong in [
            "",
            "Z",
            "2026",
            "2026-02-30T00:00:00Z",
            "2026-02-01T00:00:00",
            "2026-02-01T00:00:00+1:00",
            "2026-02-01T00:00:00+24:00",
            "2026-02-01T00:00:00++1:00",
            "1969-13-01T00:00:00Z",
            "ü",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
