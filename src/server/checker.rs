//! The thread that compares tickets with what Argon2 has made of them: hundredths of a second each, in which a worker
//! would serve nobody.
//!
//! One thread, so that guessing takes one core at most; a queue that holds about two seconds' work, so that nobody
//! waits for long: who finds it full is refused at once, as not available, and may come again. Sources take turns, and
//! none may fill the queue alone; whoever has left, or was late, has no place in it.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, unbounded};

use super::mailbox::{Errand, Mailboxes};
use crate::auth::ticket::Kind;
use crate::router::ShardIndex;
use crate::router::authentication::Check;
use crate::sync::Mutex;

/// Checks that wait, of all workers together.
const WAITING_MAX: usize = 64;

/// Those of one source. Several clients may come from one address, when they connect again after a restart.
const WAITING_OF_SOURCE_MAX: usize = 16;

/// Work that waits: as much as that many tickets of the usual cost are. They may be made to cost more.
const WORK_KIB_MAX: u64 = WAITING_MAX as u64 * Kind::ARGON2ID_WORK_KIB;

/// A worker's way to have something checked. When the last one is dropped, the thread ends.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Something waits.
    signal: Arc<Sender<()>>,
    queue: Arc<Mutex<Queue>>,
    mailboxes: Mailboxes,
}

/// Does the checks.
#[derive(Debug)]
pub struct Checker {
    signal: Receiver<()>,
    /// Gone when nobody is there any more to hear what comes of it.
    asking: Weak<Sender<()>>,
    queue: Arc<Mutex<Queue>>,
    mailboxes: Mailboxes,
}

/// What waits, by its round: in each there is one check of each source. Peers on Unix sockets are sources of their own.
#[derive(Default, Debug)]
struct Queue {
    waiting: Vec<Waiting>,
    /// The round of what was taken last.
    round: u64,
}

#[derive(Debug)]
struct Waiting {
    round: u64,
    shard: ShardIndex,
    check: Box<Check>,
}

/// Both ends.
pub fn checker(mailboxes: &Mailboxes) -> (Checks, Checker) {
    let (sender, receiver) = unbounded();
    let (signal, queue) = (Arc::new(sender), Arc::new(Mutex::new(Queue::default())));
    let checker = Checker {
        signal: receiver,
        asking: Arc::downgrade(&signal),
        queue: Arc::clone(&queue),
        mailboxes: Arc::clone(mailboxes),
    };
    (Checks { signal, queue, mailboxes: Arc::clone(mailboxes) }, checker)
}

impl Checks {
    /// Has it done for that shard, which gets what comes of it as an errand; gives it back if too much waits.
    pub fn hand_over(&self, shard: ShardIndex, check: Box<Check>) -> Result<(), Box<Check>> {
        let mut queue = self.queue.lock();
        let left = queue.remove_left();
        let pushed = queue.push(shard, check);
        drop(queue);
        for Waiting { shard, check, .. } in left {
            self.mailboxes[shard.index()].errands().send(Errand::Checked(check.decline()));
        }
        pushed?;
        // The checker is there as long as there is one of these, unless the process ends.
        let _ = self.signal.send(());
        Ok(())
    }
}

impl Checker {
    /// Does them one after the other, until nobody hears of it any more.
    pub fn run(self) {
        while self.signal.recv().is_ok() {
            if self.asking.strong_count() == 0 {
                return;
            }
            let next = self.queue.lock().pop();
            let Some(Waiting { shard, check, .. }) = next else { continue };
            self.mailboxes[shard.index()].errands().send(Errand::Checked(check.run(Instant::now())));
        }
    }
}

impl Queue {
    fn push(&mut self, shard: ShardIndex, check: Box<Check>) -> Result<(), Box<Check>> {
        let source = check.source();
        let of_source = || self.waiting.iter().filter(|one| source.is_some() && one.check.source() == source);
        let work_kib: u64 = self.waiting.iter().map(|one| one.check.work_kib()).sum();
        let room = self.waiting.len() < WAITING_MAX
            && of_source().count() < WAITING_OF_SOURCE_MAX
            && (self.waiting.is_empty() || work_kib + check.work_kib() <= WORK_KIB_MAX);
        if !room {
            return Err(check);
        }
        let round = of_source().map(|one| one.round + 1).max().unwrap_or(self.round);
        let place = self.waiting.partition_point(|one| one.round <= round);
        self.waiting.insert(place, Waiting { round, shard, check });
        Ok(())
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = (!self.waiting.is_empty()).then(|| self.waiting.remove(0))?;
        self.round = first.round;
        Some(first)
    }

    /// Those for which nobody waits.
    fn remove_left(&mut self) -> Vec<Waiting> {
        self.waiting.extract_if(.., |one| !one.check.is_awaited()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use crossbeam::utils::CachePadded;
    use mio::{Poll, Token, Waker};

    use super::super::mailbox::Mailbox;
    use super::*;
    use crate::auth::ticket::{Hashed, Stored};
    use crate::limits::Limits;
    use crate::origin::{PeerAddress, Source};
    use crate::router::PeerKey;
    use crate::router::authentication::{Checked, Failures, Guesser, Outcome};

    const MINUTE: Duration = Duration::from_secs(60);

    fn key(index: u32) -> PeerKey {
        PeerKey { index, serial: 0 }
    }

    fn source(host: u32) -> Option<Source> {
        let address: SocketAddr = format!("192.0.2.{host}:1").parse().unwrap();
        Source::of(&PeerAddress::Tcp(address))
    }

    fn check_of(index: u32, guesser: Guesser, ticket: &str, stored: Stored) -> (Box<Check>, Arc<()>) {
        let mut check = Box::new(Check::new(key(index), guesser, ticket.into(), stored));
        let waits = check.wait();
        (check, waits)
    }

    fn check(index: u32, source: Option<Source>, ticket: &str) -> (Box<Check>, Arc<()>) {
        let guesser = Guesser::new(Arc::default(), source, 10, MINUTE);
        check_of(index, guesser, ticket, Stored::read("swordfish").unwrap())
    }

    fn results(mailboxes: &Mailboxes) -> Vec<Checked> {
        let results = std::iter::from_fn(|| mailboxes[0].errands().errand()).map(|errand| match errand {
            Errand::Checked(checked) => checked,
            other => panic!("{other:?}"),
        });
        results.collect()
    }

    fn with_mailboxes(test: impl FnOnce(&Mailboxes, Checks, Checker)) {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(0)).unwrap();
        let mailboxes: Mailboxes = vec![CachePadded::new(Mailbox::new(&Limits::DEFAULT, waker))].into();
        let (checks, checker) = checker(&mailboxes);
        test(&mailboxes, checks, checker);
    }

    /// What comes of all that was handed over, in that order.
    fn done(mailboxes: &Mailboxes, checks: Checks, checker: Checker, count: usize) -> Vec<(u32, Outcome)> {
        let thread = std::thread::spawn(move || checker.run());
        let mut done = Vec::new();
        while done.len() < count {
            done.append(&mut results(mailboxes));
        }
        drop(checks);
        thread.join().unwrap();
        done.iter().map(|checked| (checked.key.index, checked.outcome)).collect()
    }

    #[test]
    fn what_is_handed_over_is_done_and_what_is_too_much_given_back() {
        with_mailboxes(|mailboxes, checks, checker| {
            let mut kept = Vec::new();
            for index in 0..WAITING_MAX as u32 {
                let ticket = if index % 2 == 0 { "swordfish" } else { "salmon" };
                let (check, waits) = check(index, None, ticket);
                kept.push(waits);
                checks.hand_over(ShardIndex(0), check).unwrap();
            }
            let (more, _waits) = check(99, None, "swordfish");
            let back = checks.hand_over(ShardIndex(0), more).unwrap_err();
            assert_eq!((back.decline().outcome, results(mailboxes)), (Outcome::Unavailable, vec![]));
            let outcome = |index| if index % 2 == 0 { Outcome::Right } else { Outcome::Wrong };
            let expected: Vec<_> = (0..WAITING_MAX as u32).map(|index| (index, outcome(index))).collect();
            assert_eq!(done(mailboxes, checks, checker, WAITING_MAX), expected);
        });
    }

    #[test]
    fn sources_take_turns_and_none_fills_the_queue() {
        with_mailboxes(|mailboxes, checks, checker| {
            let mut kept = Vec::new();
            let mut hand_over = |index, host| {
                let (check, waits) = check(index, source(host), "swordfish");
                kept.push(waits);
                checks.hand_over(ShardIndex(0), check).is_ok()
            };
            let all = WAITING_OF_SOURCE_MAX as u32;
            assert!((0..all).all(|index| hand_over(index, 1)) && !hand_over(99, 1));
            assert!(hand_over(100, 2) && hand_over(101, 2) && hand_over(102, 3));
            let order: Vec<_> = done(mailboxes, checks, checker, all as usize + 3)
                .into_iter()
                .map(|(index, _)| index)
                .collect();
            assert_eq!(order[..6], [0, 100, 102, 1, 101, 2]);
        });
    }

    #[test]
    fn who_has_left_takes_no_room_and_no_time() {
        with_mailboxes(|mailboxes, checks, checker| {
            for index in 0..10 * WAITING_MAX as u32 {
                let (check, waits) = check(index, source(index % 8), "salmon");
                drop(waits);
                checks.hand_over(ShardIndex(0), check).unwrap();
            }
            let (last, _waits) = check(9999, source(1), "swordfish");
            checks.hand_over(ShardIndex(0), last).unwrap();
            let done = done(mailboxes, checks, checker, 10 * WAITING_MAX + 1);
            let looked: Vec<_> =
                done.into_iter().filter(|(_, outcome)| *outcome != Outcome::Unavailable).collect();
            assert_eq!(looked, [(9999, Outcome::Right)]);
        });
    }

    #[test]
    fn costly_tickets_fill_the_queue_sooner() {
        let text =
            Hashed::new(&"x".into(), Kind::Argon2id { iterations: 1, memory_kib: 8 }, [3; 16]).unwrap();
        let text = text.to_string().replace("t=1", "t=32768");
        let stored = Stored::read(&text).unwrap();
        assert_eq!(stored.work_kib(), 1 << 18);
        let mut queue = Queue::default();
        let mut kept = Vec::new();
        let taken = (0..WAITING_MAX as u32).take_while(|index| {
            let guesser = Guesser::new(Arc::default(), source(*index), 10, MINUTE);
            let (check, waits) = check_of(*index, guesser, "x", stored.clone());
            kept.push(waits);
            queue.push(ShardIndex(0), check).is_ok()
        });
        assert_eq!(taken.count() as u64, WORK_KIB_MAX >> 18);
    }

    #[test]
    fn no_more_guesses_are_looked_at_than_a_source_has() {
        with_mailboxes(|mailboxes, checks, checker| {
            let failures: Arc<Failures> = Arc::default();
            let stored = Stored::read("swordfish").unwrap();
            let mut kept = Vec::new();
            for index in 0..6 {
                let guesser = Guesser::new(failures.clone(), source(1), 4, MINUTE);
                let (check, waits) = check_of(index, guesser, "salmon", stored.clone());
                kept.push(waits);
                checks.hand_over(ShardIndex(0), check).unwrap();
            }
            let outcomes = done(mailboxes, checks, checker, 6);
            let wrong = outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Wrong).count();
            assert_eq!((wrong, outcomes[5].1), (4, Outcome::TooMany));
        });
    }
}
