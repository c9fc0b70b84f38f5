//! The thread that compares tickets with what Argon2 has made of them: hundredths of a second each, in which a worker
//! would serve nobody.
//!
//! One thread, so that guessing takes one core at most; a queue of [`WAITING_MAX`], so that nobody waits for long: who
//! finds it full is refused at once, as not available, and may come again.

use std::sync::{Arc, Weak};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::mailbox::{Errand, Mailboxes};
use crate::router::ShardIndex;
use crate::router::authentication::Check;

/// Checks that wait, of all workers together: about two seconds' work.
const WAITING_MAX: usize = 64;

/// A worker's way to have something checked. When the last one is dropped, the thread ends.
#[derive(Clone, Debug)]
pub struct Checks {
    waiting: Arc<Sender<(ShardIndex, Check)>>,
}

/// Does the checks.
#[derive(Debug)]
pub struct Checker {
    waiting: Receiver<(ShardIndex, Check)>,
    /// Gone when nobody is there any more to hear what comes of it.
    asking: Weak<Sender<(ShardIndex, Check)>>,
    mailboxes: Mailboxes,
}

/// Both ends.
pub fn checker(mailboxes: &Mailboxes) -> (Checks, Checker) {
    let (sender, waiting) = bounded(WAITING_MAX);
    let sender = Arc::new(sender);
    let checker = Checker { waiting, asking: Arc::downgrade(&sender), mailboxes: Arc::clone(mailboxes) };
    (Checks { waiting: sender }, checker)
}

impl Checks {
    /// Has it done for that shard, which gets what comes of it as an errand; gives it back if too much waits.
    pub fn hand_over(&self, shard: ShardIndex, check: Check) -> Result<(), Check> {
        self.waiting.try_send((shard, check)).map_err(|error| match error {
            TrySendError::Full((_, check)) | TrySendError::Disconnected((_, check)) => check,
        })
    }
}

impl Checker {
    /// Does them one after the other, until nobody hears of it any more.
    pub fn run(self) {
        while let Ok((shard, check)) = self.waiting.recv() {
            if self.asking.strong_count() == 0 {
                return;
            }
            self.mailboxes[shard.index()].errands().send(Errand::Checked(check.run()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam::utils::CachePadded;
    use mio::{Poll, Token, Waker};

    use super::super::mailbox::Mailbox;
    use super::*;
    use crate::auth::ticket::Stored;
    use crate::limits::Limits;
    use crate::router::PeerKey;
    use crate::router::authentication::{Checked, Outcome};

    fn check(index: u32, ticket: &str) -> Check {
        let key = PeerKey { index, serial: 0 };
        Check::new(key, ticket.into(), Stored::read("swordfish").unwrap())
    }

    fn results(mailboxes: &Mailboxes) -> Vec<Checked> {
        let results = std::iter::from_fn(|| mailboxes[0].errands().errand()).map(|errand| match errand {
            Errand::Checked(checked) => checked,
            other => panic!("{other:?}"),
        });
        results.collect()
    }

    #[test]
    fn what_is_handed_over_is_done_and_what_is_too_much_given_back() {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let mailboxes: Mailboxes = vec![CachePadded::new(Mailbox::new(&Limits::DEFAULT, waker))].into();
        let (checks, checker) = checker(&mailboxes);
        for index in 0..WAITING_MAX as u32 {
            let ticket = if index % 2 == 0 { "swordfish" } else { "salmon" };
            checks.hand_over(ShardIndex(0), check(index, ticket)).unwrap();
        }
        let back = checks.hand_over(ShardIndex(0), check(99, "swordfish")).unwrap_err();
        assert_eq!((back.decline().outcome, results(&mailboxes)), (Outcome::Unavailable, vec![]));
        let thread = std::thread::spawn(move || checker.run());
        let mut done = Vec::new();
        while done.len() < WAITING_MAX {
            done.append(&mut results(&mailboxes));
        }
        for (index, checked) in done.into_iter().enumerate() {
            let outcome = if index % 2 == 0 { Outcome::Right } else { Outcome::Wrong };
            assert_eq!((checked.key.index as usize, checked.outcome), (index, outcome));
        }
        drop(checks);
        thread.join().unwrap();
    }
}
