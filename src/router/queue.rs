//! The outbound queues of a shard's peers: where every octet that goes to a peer is queued, in [`Queues::push`].
//!
//! What queueing an event for a peer touches stands together in one cache line, apart from the rest of the peer: in a
//! large fan-out that is all there is to do for each subscriber. Frames are written once, to the turn's arena.
//!
//! Bounds: the octets waiting for one peer, those waiting in the whole shard (then who holds more than its share is a
//! slow consumer), and those queued since peers were last written.
//!
//! Invariants: a queue that was pushed to is in `dirty` until the shell takes it; `outbound_bytes` is the sum of all
//! queues; between turns no queue refers to the arena.

use super::PeerKey;
use crate::limits::Limits;
use crate::transport::arena::{Arena, Span};
use crate::transport::outbound::Outbound;
use crate::transport::{Format, Link};

/// On whose account something is queued for a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It answers the peer's own request.
    Itself,
    /// Somebody else published, called or canceled.
    Others,
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It is in the queue.
    Queued,
    /// Nothing is queued for this peer any more.
    Mute,
    /// No queue takes it, not even an empty one: that is no fault of the peer's.
    TooLarge,
    /// The peer does not take what is queued already.
    Slow,
}

/// What a queue has come to by a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advanced {
    /// The key is dead.
    Dead,
    /// Octets are left.
    Part,
    /// None are left.
    All,
    /// None are left, and that has consequences: the peer is not read, is watched, or is to be closed.
    AllAwaited,
}

/// The queue of one peer.
#[derive(Debug)]
#[repr(align(64))]
pub struct Queue {
    outbound: Outbound,
    key: PeerKey,
    /// About how many of the octets in `outbound` answer the peer's own requests. Only they hold back its input: a
    /// callee that stopped reading INVOCATIONs to write a YIELD must be read, or both sides would wait.
    replies: u32,
    /// Octets of the largest message the peer takes; 2^24 at most.
    message_bytes_max: u32,
    /// What its handshake agreed on, if it is done.
    format: Option<Format>,
    /// It was said its last word, or must go.
    mute: bool,
    dirty: bool,
    /// The peer is not read: see [`super::peer::Peers::wants_input`].
    paused: bool,
    /// A deadline watches whether the peer takes what waits for it.
    watched: bool,
}

const _: () = assert!(size_of::<Queue>() == 64, "a queue is one cache line");

/// The queues of a shard, by [`PeerKey::index`].
#[derive(Debug)]
pub struct Queues {
    queues: Vec<Queue>,
    /// The frames of this turn.
    pub arena: Arena,
    dirty: Vec<PeerKey>,
    /// Who has been given to the shell to be written in this turn, and may hold ranges of the arena.
    given: Vec<PeerKey>,
    open: usize,
    outbound_bytes: usize,
    /// Octets queued since peers were last written.
    queued_bytes: usize,
    outbound_bytes_max: usize,
    outbound_shard_bytes_max: usize,
    queued_bytes_per_turn: usize,
}

/// What is waiting for a peer.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    outbound: &'a Outbound,
    arena: &'a Arena,
}

impl<'a> Waiting<'a> {
    /// Octets.
    pub fn len(self) -> usize {
        self.outbound.len()
    }

    /// True if there are none.
    pub fn is_empty(self) -> bool {
        self.outbound.is_empty()
    }

    /// The octets in order.
    pub fn chunks(self) -> impl Iterator<Item = &'a [u8]> {
        self.outbound.chunks(self.arena)
    }
}

impl Queues {
    /// None yet.
    pub fn new(limits: &Limits) -> Queues {
        Queues {
            queues: Vec::new(),
            arena: Arena::default(),
            dirty: Vec::new(),
            given: Vec::new(),
            open: 0,
            outbound_bytes: 0,
            queued_bytes: 0,
            outbound_bytes_max: limits.outbound_bytes_max,
            outbound_shard_bytes_max: limits.outbound_shard_bytes_max,
            queued_bytes_per_turn: limits.queued_bytes_per_turn,
        }
    }

    /// A queue for a new peer, whose place is free.
    pub fn open(&mut self, key: PeerKey) {
        let queue = Queue {
            outbound: Outbound::default(),
            key,
            replies: 0,
            message_bytes_max: 0,
            format: None,
            mute: false,
            dirty: false,
            paused: false,
            watched: false,
        };
        let place = key.index as usize;
        match self.queues.get_mut(place) {
            Some(before) => *before = queue,
            None => {
                assert_eq!(place, self.queues.len(), "places are given out in order");
                self.queues.push(queue);
            }
        }
        self.open += 1;
    }

    /// Forgets what waits for the peer; nothing more is queued. The key is dead.
    pub fn close(&mut self, key: PeerKey) {
        let queue = self.at(key.index);
        queue.mute = true;
        queue.key.serial = queue.key.serial.wrapping_add(1);
        let forgotten = std::mem::take(&mut queue.outbound);
        queue.replies = 0;
        self.outbound_bytes -= forgotten.len();
        self.open -= 1;
    }

    /// The peer's handshake is done.
    pub fn set_link(&mut self, index: u32, link: &Link) {
        let queue = self.at(index);
        queue.format = Some(link.format());
        queue.message_bytes_max = u32::try_from(link.message_bytes_max).unwrap_or(u32::MAX);
    }

    /// What the peer's handshake agreed on, and the octets of the largest message it takes; `None` if nothing is queued
    /// for it.
    #[inline]
    pub fn takes(&self, index: u32) -> Option<(Format, usize)> {
        let queue = &self.queues[index as usize];
        if queue.mute { None } else { Some((queue.format?, queue.message_bytes_max as usize)) }
    }

    /// Nothing is queued for the peer from now on.
    pub fn silence(&mut self, index: u32) {
        self.at(index).mute = true;
    }

    /// True if nothing is queued for the peer at this place any more.
    pub fn mute(&self, index: u32) -> bool {
        self.queues[index as usize].mute
    }

    /// Octets that wait for the peer and answer its own requests.
    pub fn replies(&self, index: u32) -> usize {
        self.queues[index as usize].replies as usize
    }

    /// A deadline is set for the peer, or no longer: see [`Queues::advance`].
    pub fn set_watched(&mut self, index: u32, watched: bool) {
        self.at(index).watched = watched;
    }

    /// The peer is not read, or is again.
    pub fn set_paused(&mut self, index: u32, paused: bool) {
        self.at(index).paused = paused;
    }

    /// True if the peer is not read.
    pub fn paused(&self, index: u32) -> bool {
        self.queues[index as usize].paused
    }

    fn at(&mut self, index: u32) -> &mut Queue {
        &mut self.queues[index as usize]
    }

    /// Queues a frame that was written to the arena.
    #[inline]
    pub fn push(&mut self, index: u32, frame: Span, cause: Cause) -> Pushed {
        let queue = &mut self.queues[index as usize];
        if queue.mute {
            return Pushed::Mute;
        }
        let octets = frame.len();
        let waiting = queue.outbound.len() + octets;
        let crowded = self.outbound_bytes + octets > self.outbound_shard_bytes_max;
        if waiting > self.outbound_bytes_max
            || (crowded && waiting > self.outbound_shard_bytes_max / self.open)
        {
            return if octets > self.outbound_bytes_max { Pushed::TooLarge } else { Pushed::Slow };
        }
        self.outbound_bytes += octets;
        self.queued_bytes += octets;
        if cause == Cause::Itself {
            queue.replies = queue.replies.saturating_add(octets as u32);
        }
        queue.outbound.push(frame, &mut self.arena);
        if !queue.dirty {
            queue.dirty = true;
            self.dirty.push(queue.key);
        }
        Pushed::Queued
    }

    // The shell's side.

    /// Moves the peers that have octets to write into `into`. Some may be gone.
    pub fn take_dirty(&mut self, into: &mut Vec<PeerKey>) {
        for key in &self.dirty {
            self.queues[key.index as usize].dirty = false;
        }
        into.extend_from_slice(&self.dirty);
        self.given.append(&mut self.dirty);
    }

    /// The shell has written what it could: what is left of the turn's frames is set apart, and the arena is cleared.
    pub fn flushed(&mut self) {
        // Those that became dirty since they were asked for hold ranges as well.
        for key in self.given.drain(..).chain(self.dirty.iter().copied()) {
            self.queues[key.index as usize].outbound.set_apart(&mut self.arena);
        }
        self.arena.clear();
        self.queued_bytes = 0;
    }

    /// What waits for the peer; `None` for a dead key.
    #[inline]
    pub fn waiting(&self, key: PeerKey) -> Option<Waiting<'_>> {
        let queue = self.queues.get(key.index as usize).filter(|queue| queue.key == key)?;
        Some(Waiting { outbound: &queue.outbound, arena: &self.arena })
    }

    /// `bytes` octets were written.
    #[inline]
    pub fn advance(&mut self, key: PeerKey, bytes: usize) -> Advanced {
        let queue = self.queues.get_mut(key.index as usize).filter(|queue| queue.key == key);
        let Some(queue) = queue else { return Advanced::Dead };
        if queue.replies > 0 {
            // Replies leave in proportion; where exactly they stand in the queue is not known.
            let left = queue.outbound.len() as u64;
            queue.replies -= (u64::from(queue.replies) * bytes as u64 / left.max(1)) as u32;
        }
        queue.outbound.advance(bytes, &mut self.arena);
        self.outbound_bytes -= bytes;
        match queue.outbound.is_empty() {
            false => Advanced::Part,
            true if queue.mute || queue.paused || queue.watched => Advanced::AllAwaited,
            true => Advanced::All,
        }
    }

    /// True if so much was queued, or written to be queued, that peers must be written before more is read.
    #[inline]
    pub fn sated(&self) -> bool {
        self.queued_bytes.max(self.arena.bytes()) > self.queued_bytes_per_turn
    }

    /// True if the sums are right.
    pub fn is_settled(&self) -> bool {
        self.outbound_bytes == self.queues.iter().map(|queue| queue.outbound.len()).sum::<usize>()
    }
}
