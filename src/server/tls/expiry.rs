//! Certificates whose time is nearly over, told to the operator while there is time to do something about it: when they
//! are read, and once a day.
//!
//! Nothing else happens: clients refuse an expired certificate themselves, and some are set up not to.

use std::time::{Duration, Instant};

use tracing::warn;

use super::Certificates;
use crate::server::since_epoch;

/// How long before its end a certificate is told of. Those that renew themselves do it 30 days before or later.
const AHEAD_SECONDS: i64 = 30 * DAY_SECONDS;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// When the certificates of a listener are looked at next.
#[derive(Debug, Default)]
pub(in crate::server) struct Expiry {
    due: Option<Instant>,
}

impl Expiry {
    /// Tells which certificates end soon, if they were just read or a day is over.
    pub fn tell(&mut self, certificates: &Certificates, just_read: bool, now: Instant) {
        if !just_read && self.due.is_some_and(|due| now < due) {
            return;
        }
        self.due = Some(now + Duration::from_secs(DAY_SECONDS as u64));
        let unix_seconds = since_epoch().as_secs() as i64;
        for (file, end) in certificates.ends() {
            if let Some(what) = what(end - unix_seconds) {
                warn!(certificate = %file.display(), "the certificate {what}");
            }
        }
    }
}

/// What is to be told of a certificate with so many seconds left.
fn what(seconds_left: i64) -> Option<String> {
    let days = |seconds: i64| match seconds / DAY_SECONDS {
        0 => "less than a day".to_owned(),
        1 => "a day".to_owned(),
        days => format!("{days} days"),
    };
    match seconds_left {
        AHEAD_SECONDS.. => None,
        0.. => Some(format!("expires in {}", days(seconds_left))),
        _ => Some(format!("has expired {} ago", days(-seconds_left))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_thirty_days_before_and_after() {
        assert_eq!((what(AHEAD_SECONDS), what(i64::MAX)), (None, None));
        for (left, text) in [
            (AHEAD_SECONDS - 1, "expires in 29 days"),
            (DAY_SECONDS, "expires in a day"),
            (0, "expires in less than a day"),
            (-1, "has expired less than a day ago"),
            (-3 * DAY_SECONDS, "has expired 3 days ago"),
        ] {
            assert_eq!(what(left).as_deref(), Some(text), "{left}");
        }
    }
}
