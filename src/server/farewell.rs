//! How the end of a connection is told, and that somebody could not join: once, with its reason, and not faster than
//! anybody reads.
//!
//! Ends are logged at debug, because they are the peers' daily business. Broken rules and slow consumers are what an
//! operator wants to see; a peer that reconnects and offends in a loop must not fill the disk with it.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use crate::error::{CloseReason, Violation};
use crate::origin::Origin;
use crate::router::authentication::Failed;
use crate::router::authorization::Denial;
use crate::router::authorization::dynamic::{Cause, Complaint};

/// Lines at info that a worker writes in one [`WINDOW`].
const LINES_MAX: u32 = 10;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Tells the ends of the connections of one worker.
#[derive(Debug, Default)]
pub struct Farewells {
    ends: Share,
    /// Their own: who may do nothing must not hide who tries to get in, nor the other way round.
    denials: Share,
}

/// Lines that share one window.
#[derive(Debug, Default)]
struct Share {
    /// When the current window began.
    since: Option<Instant>,
    lines: u32,
    withheld: u64,
}

impl Farewells {
    /// Logs one end.
    pub fn tell(&mut self, origin: &Origin, reason: CloseReason, now: Instant) {
        match reason {
            // Told by origin.
            CloseReason::Violation(Violation::Origin) => {
                debug!(peer = %origin.address, ?reason, "connection ended")
            }
            CloseReason::Violation(violation) => {
                if let Some(withheld) = self.ends.admit(now) {
                    info!(peer = %origin.address, withheld, "connection closed, violation: {}", violation.text());
                }
            }
            CloseReason::SlowConsumer => {
                if let Some(withheld) = self.ends.admit(now) {
                    info!(peer = %origin.address, withheld, "connection closed, slow consumer");
                }
            }
            _ => debug!(peer = %origin.address, ?reason, "connection ended"),
        }
    }

    /// Logs the end of a connection that has become no peer, with what was wrong.
    pub fn tell_refused(&mut self, origin: &Origin, why: &impl Display, now: Instant) {
        if let Some(withheld) = self.ends.admit(now) {
            info!(peer = %origin.address, withheld, "connection refused: {why}");
        }
    }

    /// Logs what a session was not allowed to do.
    pub fn tell_denied(&mut self, denial: &Denial, now: Instant) {
        let Some(withheld) = self.denials.admit(now) else { return };
        let Denial { realm, session, authid, authrole, action, uri, policy, refusal } = denial;
        let (session, action, policy) = (session.0, action.name(), policy.name());
        // What clients have chosen is written so that it is one line.
        info!(
            ?realm,
            session,
            ?authid,
            ?authrole,
            ?uri,
            policy,
            withheld,
            "{action} denied: {}",
            refusal.text()
        );
    }

    /// Logs what is wrong with an authorizer. What is told comes once until it has been well for a while, and is
    /// not withheld.
    pub fn tell_complaint(&self, complaint: &Complaint) {
        let Complaint { realm, authrole, procedure, cause } = complaint;
        if *cause == Cause::OldForm {
            return warn!(?realm, ?authrole, ?procedure, "an authorizer takes no options: {cause}");
        }
        let cause = cause.to_string();
        warn!(?realm, ?authrole, ?procedure, ?cause, "an authorizer does not answer: nothing is allowed");
    }

    /// Logs an attempt to join that has failed. The authid is whatever the client has said, so it is quoted.
    pub fn tell_failed(&mut self, failed: &Failed, now: Instant) {
        let Failed { origin, realm, authid, authmethod, failure, token, cause } = failed;
        let Some(withheld) = self.ends.admit(now) else { return };
        let token = token.map(|error| error.to_string());
        let cause = cause.as_ref().map(|cause| cause.to_string());
        let (peer, method) = (&origin.address, authmethod.unwrap_or("none"));
        info!(%peer, realm, ?authid, method, token, ?cause, withheld, "authentication failed: {failure}");
    }
}

impl Share {
    /// Whether a line may be written now, and if so, how many were withheld since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            self.since = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.withheld += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.withheld))
    }
}

/// Origins of pages that are told, over the life of a thread.
const ORIGINS_MAX: usize = 100;

/// Tells the origins of pages that were refused, each once: an operator who has forgotten one in the settings looks for
/// it here, and a page that tries again and again must not fill the disk.
#[derive(Debug, Default)]
pub struct Foreigners {
    told: HashSet<String>,
    /// Those that wait to be told.
    pub waiting: Vec<String>,
}

impl Foreigners {
    /// Tells those that wait. Returns how many have waited.
    pub fn tell(&mut self) -> u64 {
        let count = self.waiting.len() as u64;
        for origin in self.waiting.drain(..) {
            if self.told.len() == ORIGINS_MAX || self.told.contains(&origin) {
                continue;
            }
            info!(
                origin,
                "pages of this origin may not connect; if they should, name it among the listener's origins"
            );
            self.told.insert(origin);
            if self.told.len() == ORIGINS_MAX {
                info!("many origins were refused; no further one is told");
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut farewells = Share::default();
        let start = Instant::now();
        for _ in 0..LINES_MAX {
            assert_eq!(farewells.admit(start), Some(0));
        }
        assert_eq!(farewells.admit(start), None);
        assert_eq!(farewells.admit(start + WINDOW / 2), None);
        assert_eq!(farewells.admit(start + WINDOW), Some(2), "the next window tells what was withheld");
        assert_eq!(farewells.admit(start + WINDOW), Some(0));
    }

    #[test]
    fn each_origin_is_told_once_and_not_all_are() {
        let mut foreigners = Foreigners::default();
        for number in 0..2 * ORIGINS_MAX {
            foreigners.waiting.extend([format!("https://{number}"), format!("https://{number}")]);
            assert_eq!(foreigners.tell(), 2);
        }
        assert_eq!((foreigners.told.len(), foreigners.tell()), (ORIGINS_MAX, 0));
    }
}
