//! What other threads hand to a worker: letters from shards, errands from the acceptor, and one waker for both.
//!
//! ```text
//!   worker A --append--+
//!   worker B --append--+--> Queue<Letter> --take--> worker C      swapped whole; both buffers are used again
//!   acceptor --send-------> errands ------------->
//! ```
//!
//! The bridge has [`Errands`] too, though no letters: it is no shard.
//!
//! Invariants: letters of one sender stay in order; the owner is woken when the queue stops being empty, and only
//! then, so a batch costs one system call however long it is; no lock is held across a call to anything else.
//!
//! The bounds are soft. A queue never refuses: whoever posts to a congested one stops reading its peers until it is
//! relieved, so it overshoots by one turn's reading for each sender. Taking letters waits for nobody but peers that
//! take what they are owed, so no circle of congested shards can stand still.

use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::utils::CachePadded;
use mio::Waker;
use rustls::ServerConfig;

use super::change::Change;
use super::connection::{Arrival, HandedOver};
use crate::counters::Counters;
use crate::limits::Limits;
use crate::router::authentication::Checked;
use crate::router::{Letter, ListenerIndex, ShardIndex};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// What the acceptor asks of a worker.
#[derive(Debug)]
pub enum Errand {
    /// Serve this socket. It is counted in [`Errands::connections`] already.
    Adopt(Arrival),
    /// What has come of a check of this worker's shard.
    Checked(Checked),
    /// TLS sessions of this listener begin with this from now on; those that are there go on.
    Renew(ListenerIndex, Arc<ServerConfig>),
    /// Other settings hold from now on.
    Change(Arc<Change>),
    /// Say what was counted.
    Count(Sender<Counters>),
    /// Begin the shutdown. An `Adopt` that follows is the bridge's, and is turned away.
    Drain,
    /// End, whatever is open.
    Stop,
}

/// What a thread that serves connections is asked to do, how many of them it has, and what wakes it.
#[derive(Debug)]
pub struct Errands<E> {
    waiting: (Sender<E>, Receiver<E>),
    connections: AtomicUsize,
    waker: Waker,
}

impl<E> Errands<E> {
    /// None; `waker` wakes the thread that takes them.
    pub fn new(waker: Waker) -> Errands<E> {
        Errands { waiting: unbounded(), connections: AtomicUsize::new(0), waker }
    }

    /// Hands over an errand, and wakes the owner.
    pub fn send(&self, errand: E) {
        self.deposit(errand);
        self.wake();
    }

    /// Hands over an errand without waking the owner: [`Errands::wake`] must follow, after the last one. Their number
    /// is bounded by that of connections.
    pub fn deposit(&self, errand: E) {
        self.waiting
            .0
            .send(errand)
            .expect("the receiver lives as long as the sender: both are in this struct");
    }

    /// Takes the next errand.
    pub fn errand(&self) -> Option<E> {
        self.waiting.1.try_recv().ok()
    }

    /// Connections of the owner, those still on their way to it included. A hint for whoever places the next one.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts a connection that is handed over.
    pub fn connection_added(&self) {
        self.connections.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a connection that has ended.
    pub fn connection_removed(&self) {
        self.connections.fetch_sub(1, Ordering::AcqRel);
    }

    /// Wakes the owner.
    pub fn wake(&self) {
        self.waker.wake().expect("writing to an eventfd fails only if the descriptor is bad");
    }
}

/// What is asked of the bridge, which serves the connections of long-poll clients.
#[derive(Debug)]
pub enum BridgeErrand {
    /// Serve this socket. It is counted in [`Errands::connections`] already.
    Serve(HandedOver),
    /// Other settings hold from now on.
    Change(Arc<Change>),
    /// Say what was counted.
    Count(Sender<Counters>),
    /// Begin the shutdown.
    Drain,
    /// End, whatever is open.
    Stop,
}

/// The mailboxes of all workers, by the index of their shards; each on cache lines of its own.
pub type Mailboxes = Arc<[CachePadded<Mailbox>]>;

/// The mailbox of one worker.
#[derive(Debug)]
pub struct Mailbox {
    letters: Queue<Letter>,
    errands: Errands<Errand>,
}

impl Mailbox {
    /// An empty mailbox; `waker` wakes the worker that takes from it.
    pub fn new(limits: &Limits, waker: Waker) -> Mailbox {
        Mailbox {
            letters: Queue::new(limits.mailbox_letters_max, limits.mailbox_bytes_max),
            errands: Errands::new(waker),
        }
    }

    /// Moves all of `batch` here, in order.
    pub fn append(&self, batch: &mut Vec<Letter>) {
        let bytes = batch.iter().map(Letter::bytes).sum();
        if self.letters.append(batch, bytes) {
            self.errands.wake();
        }
    }

    /// Errands and connections.
    pub fn errands(&self) -> &Errands<Errand> {
        &self.errands
    }

    /// Takes all letters; `into` must be empty, its buffer is used for those that come next.
    pub fn take(&self, into: &mut Vec<Letter>) {
        self.letters.take(into);
    }

    /// See [`Queue::congested`].
    pub fn congested(&self) -> bool {
        self.letters.congested()
    }

    /// See [`Queue::relieved`].
    pub fn relieved(&self) -> bool {
        self.letters.relieved()
    }
}

/// Leaves a connection with the worker that has the fewest, and counts it there; the worker is to be woken. `None` if
/// there is no worker.
pub fn place(mailboxes: &Mailboxes, arrival: Arrival) -> Option<ShardIndex> {
    let places = (0..).map(ShardIndex).zip(&**mailboxes);
    let (index, mailbox) = places.min_by_key(|(_, mailbox)| mailbox.errands.connections())?;
    mailbox.errands.connection_added();
    mailbox.errands.deposit(Errand::Adopt(arrival));
    Some(index)
}

/// Connections of all workers.
pub fn connections(mailboxes: &Mailboxes) -> usize {
    mailboxes.iter().map(|mailbox| mailbox.errands.connections()).sum()
}

/// The queue itself. It knows no waker, so that it can be model-checked.
#[derive(Debug)]
pub struct Queue<T> {
    waiting: Mutex<Vec<T>>,
    /// Items in `waiting`, to be read without the lock; a hint that lags behind by nothing but the reader's luck.
    count: AtomicUsize,
    /// Their octets.
    bytes: AtomicUsize,
    count_max: usize,
    bytes_max: usize,
}

impl<T> Queue<T> {
    /// An empty queue with these soft bounds.
    pub fn new(count_max: usize, bytes_max: usize) -> Queue<T> {
        Queue {
            waiting: Mutex::new(Vec::new()),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            count_max,
            bytes_max,
        }
    }

    /// Moves all of `batch`, which counts for `bytes` octets, to the end. True if the queue was empty and no longer
    /// is: the caller must wake the owner, who may be asleep.
    pub fn append(&self, batch: &mut Vec<T>, bytes: usize) -> bool {
        if batch.is_empty() {
            return false;
        }
        let mut waiting = self.waiting.lock();
        let was_empty = waiting.is_empty();
        waiting.append(batch);
        self.count.store(waiting.len(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        was_empty
    }

    /// Takes everything; `into` must be empty, its buffer is used for what comes next.
    pub fn take(&self, into: &mut Vec<T>) {
        debug_assert!(into.is_empty());
        let mut waiting = self.waiting.lock();
        std::mem::swap(&mut *waiting, into);
        self.count.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// True if one of the bounds is passed. Takes no lock.
    pub fn congested(&self) -> bool {
        self.count.load(Ordering::Relaxed) > self.count_max
            || self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// True if the queue is under half of both bounds: senders that had stopped may go on. The gap to
    /// [`Queue::congested`] keeps them from stopping at every letter. Takes no lock.
    pub fn relieved(&self) -> bool {
        self.count.load(Ordering::Relaxed) <= self.count_max / 2
            && self.bytes.load(Ordering::Relaxed) <= self.bytes_max / 2
    }
}

/// Every interleaving of two senders and the owner; run as `sync.rs` says.
#[cfg(all(test, loom))]
mod model {
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::*;

    /// If a wake were lost, the owner would wait for ever, and loom would say so.
    #[test]
    fn the_owner_gets_everything_and_no_wake_is_lost() {
        loom::model(|| {
            let shared = Arc::new((Queue::new(1, 1), Notify::new()));
            for sender in 0..2 {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (queue, wake) = &*shared;
                    if queue.append(&mut vec![sender], 1) {
                        wake.notify();
                    }
                });
            }
            let (queue, wake) = &*shared;
            let mut taken = Vec::new();
            while taken.len() < 2 {
                wake.wait();
                let mut batch = Vec::new();
                queue.take(&mut batch);
                taken.append(&mut batch);
            }
            taken.sort_unstable();
            assert_eq!(taken, [0, 1]);
            assert!(queue.relieved());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn only_the_first_of_many_batches_wakes() {
        let queue = Queue::new(8, 8);
        assert!(!queue.append(&mut Vec::new(), 0), "nothing came, nobody is woken");
        assert!(queue.append(&mut vec![1, 2], 0));
        assert!(!queue.append(&mut vec![3], 0));
        let mut taken = Vec::new();
        queue.take(&mut taken);
        assert_eq!(taken, [1, 2, 3]);
        taken.clear();
        assert!(queue.append(&mut vec![4], 0), "empty again, so the owner may sleep again");
    }

    #[test]
    fn buffers_are_swapped_not_copied() {
        let queue = Queue::new(8, 8);
        let mut taken: Vec<u32> = Vec::with_capacity(100);
        queue.take(&mut taken);
        queue.append(&mut vec![1; 50], 0);
        let mut second = Vec::new();
        queue.take(&mut second);
        assert!(second.capacity() >= 100, "the owner's buffer came back");
    }

    #[test]
    fn either_bound_congests_and_half_of_both_relieves() {
        let queue = Queue::new(4, 100);
        queue.append(&mut vec![0; 4], 100);
        assert!(!queue.congested(), "a bound is the last value allowed");
        assert!(!queue.relieved());
        queue.append(&mut vec![0], 0);
        assert!(queue.congested());
        queue.take(&mut Vec::new());
        assert!(queue.relieved() && !queue.congested());
        queue.append(&mut vec![0], 101);
        assert!(queue.congested());
        queue.take(&mut Vec::new());
        queue.append(&mut vec![0; 2], 50);
        assert!(queue.relieved());
    }

    /// Several senders against an owner that sleeps unless it is woken: a lost wake would hang the test, a lost or
    /// swapped item would fail it.
    #[test]
    fn each_senders_order_holds_and_no_wake_is_lost() {
        const SENDERS: usize = 3;
        const ITEMS: u32 = 20_000;
        let queue = Queue::new(1_000, usize::MAX);
        let (wake, woken) = mpsc::channel();
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let (queue, wake) = (&queue, wake.clone());
                scope.spawn(move || {
                    let mut next = 0;
                    while next < ITEMS {
                        let end = (next + 1 + next % 7).min(ITEMS);
                        let mut batch: Vec<(usize, u32)> = (next..end).map(|item| (sender, item)).collect();
                        next = end;
                        if queue.append(&mut batch, 1) {
                            wake.send(()).unwrap();
                        }
                        assert!(batch.is_empty());
                    }
                });
            }
            let mut expected = [0; SENDERS];
            let mut taken = Vec::new();
            while expected != [ITEMS; SENDERS] {
                woken.recv().unwrap();
                queue.take(&mut taken);
                for (sender, item) in taken.drain(..) {
                    assert_eq!(item, expected[sender]);
                    expected[sender] += 1;
                }
            }
        });
        assert!(queue.relieved());
    }
}
