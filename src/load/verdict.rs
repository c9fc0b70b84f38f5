//! What was wrong with a run that has been measured: its figures stand, but not for a router that works.
//!
//! Owns the order of what is told: calls that failed, sessions that ended, a router that stalled, and what it did not
//! deliver as it should. An interrupted run does not wait for what is under way, so that is no fault.

use std::fmt;

use super::Ending;
use super::drive::Measured;

/// Connections that ended during a run though nobody here ended them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ended {
    /// How many.
    pub count: u64,
    /// How the first one did, in words.
    pub first: Option<String>,
}

impl Ended {
    /// Another one.
    pub fn add(&mut self, ending: &Ending) {
        self.count += 1;
        self.first.get_or_insert_with(|| ending.to_string());
    }

    /// The fault, if there was one.
    pub fn verdict(&self) -> Result<(), Fault> {
        if self.count > 0 { Err(Fault::Ended(self.clone())) } else { Ok(()) }
    }
}

/// What came of all that was sent, as far as it is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Calls that were answered by an error.
    pub errors: u64,
    /// Deliveries that never came, missing ones included.
    pub lost: u64,
    /// Deliveries that were under way when the run ended.
    pub missing: u64,
    /// Deliveries that came after a later one, or twice.
    pub out_of_order: u64,
    /// Deliveries that nobody waited for.
    pub unexpected: u64,
}

impl Tally {
    /// The first fault of a run.
    pub fn verdict(self, measured: &Measured, ended: &Ended) -> Result<(), Fault> {
        if self.errors > 0 {
            return Err(Fault::Errors { calls: self.errors });
        }
        ended.verdict()?;
        if measured.stalled {
            return Err(Fault::Stalled { missing: self.missing });
        }
        let tally = if measured.interrupted {
            Tally { lost: self.lost.saturating_sub(self.missing), missing: 0, ..self }
        } else {
            self
        };
        if tally.lost + tally.out_of_order + tally.unexpected > 0 {
            return Err(Fault::Misdelivered(tally));
        }
        Ok(())
    }
}

/// What was wrong with a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Calls were answered by an error.
    Errors {
        /// How many.
        calls: u64,
    },
    /// Sessions ended.
    Ended(Ended),
    /// Nothing came for too long.
    Stalled {
        /// Deliveries that were under way.
        missing: u64,
    },
    /// Deliveries were lost, or came out of order or unasked.
    Misdelivered(Tally),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Errors { calls } => write!(f, "{calls} calls were answered by an error"),
            Fault::Ended(Ended { count, first }) => {
                let first = first.as_deref().unwrap_or("for no reason");
                write!(f, "sessions ended during the run, {count} in all, the first one so: {first}")
            }
            Fault::Stalled { missing } => {
                let what = "deliveries are missing, and none came for --timeout";
                write!(f, "the router has stalled: {missing} {what}")
            }
            Fault::Misdelivered(tally) => {
                let Tally { lost, missing, out_of_order, unexpected, .. } = tally;
                let lost = format!("{lost} deliveries were lost ({missing} of them under way at the end)");
                let other = format!("{out_of_order} came out of order or twice, {unexpected} unasked");
                write!(f, "the router did not deliver as it should: {lost}, {other}")
            }
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn measured(stalled: bool, interrupted: bool) -> Measured {
        Measured {
            time: Duration::from_secs(1),
            sent: 1,
            received: 1,
            bytes: 1,
            sent_total: 1,
            received_total: 1,
            spent: None,
            own_cpu: Duration::ZERO,
            stalled,
            interrupted,
        }
    }

    #[test]
    fn whatever_is_wrong_is_a_fault() {
        let (good, none) = (measured(false, false), Ended::default());
        assert_eq!(Tally::default().verdict(&good, &none), Ok(()));
        for wrong in [
            Tally { lost: 1, ..Tally::default() },
            Tally { lost: 1, missing: 1, ..Tally::default() },
            Tally { out_of_order: 1, ..Tally::default() },
            Tally { unexpected: 1, ..Tally::default() },
        ] {
            assert_eq!(wrong.verdict(&good, &none), Err(Fault::Misdelivered(wrong)));
        }
        let wrong = Tally { errors: 2, lost: 5, missing: 3, ..Tally::default() };
        assert_eq!(wrong.verdict(&good, &none), Err(Fault::Errors { calls: 2 }));
        let wrong = Tally { errors: 0, ..wrong };
        assert_eq!(wrong.verdict(&measured(true, false), &none), Err(Fault::Stalled { missing: 3 }));
        let mut ended = Ended::default();
        ended.add(&Ending::Closed);
        ended.add(&Ending::Goodbye("late".to_owned()));
        let fault = wrong.verdict(&measured(true, false), &ended).unwrap_err();
        let told =
            "sessions ended during the run, 2 in all, the first one so: the router closed the connection";
        assert_eq!(fault.to_string(), told);
    }

    #[test]
    fn what_an_interrupt_did_not_wait_for_is_no_fault() {
        let none = Ended::default();
        let under_way = Tally { lost: 4, missing: 4, ..Tally::default() };
        assert_eq!(under_way.verdict(&measured(false, true), &none), Ok(()));
        let lost = Tally { lost: 6, ..under_way };
        let left = Tally { lost: 2, missing: 0, ..lost };
        assert_eq!(lost.verdict(&measured(false, true), &none), Err(Fault::Misdelivered(left)));
        let told = Fault::Misdelivered(left).to_string();
        let expected =
            "2 deliveries were lost (0 of them under way at the end), 0 came out of order or twice";
        assert!(told.contains(expected), "{told}");
    }
}
