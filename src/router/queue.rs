//! The outbound queues of a shard's peers: where every octet that goes to a peer is queued, in [`Queues::push`].
//!
//! What queueing an event for a peer touches stands together in one cache line, apart from the rest of the peer: in a
//! large fan-out that is all there is to do for each subscriber. Frames are written once, to the turn's arena.
//!
//! Bounds: the octets waiting for one peer; the memory that all they take in the shard (above it, who holds more than
//! its share is a slow consumer); and the octets queued since peers were last written. A frame that is large takes its
//! memory once, however many peers have not taken it yet: a crowd that is given something large is no crowd of slow
//! ones.
//!
//! Invariants: a queue that was pushed to is in `dirty` until the shell takes it; `outliving` are the segments of which
//! somebody may hold a part, and `held_bytes` is their memory and that of all queues' copies; between turns no queue
//! refers to the arena.

use super::PeerKey;
use crate::limits::Limits;
use crate::transport::arena::{Arena, Shared, Span};
use crate::transport::outbound::Outbound;
use crate::transport::{Format, Link};

/// Segments looked at in one turn to see whether somebody still holds a part.
const RELEASED_PER_TURN: usize = 1024;

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
    /// An empty queue would not take it either: that is no fault of the peer's.
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
pub struct PeerQueue {
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

const _: () = assert!(size_of::<PeerQueue>() == 64, "a queue is one cache line");

/// The queues of a shard, by [`PeerKey::index`].
#[derive(Debug)]
pub struct Queues {
    queues: Vec<PeerQueue>,
    /// The frames of this turn.
    pub arena: Arena,
    dirty: Vec<PeerKey>,
    /// Who has been given to the shell to be written in this turn, and may hold ranges of the arena.
    given: Vec<PeerKey>,
    open: usize,
    /// Octets of memory that queues hold beyond the turn, each for itself or together.
    held_bytes: usize,
    /// What queues hold together, or have held.
    outliving: Vec<Shared>,
    /// Where the next look at `outliving` begins.
    looked_at: usize,
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
            held_bytes: 0,
            outliving: Vec::new(),
            looked_at: 0,
            queued_bytes: 0,
            outbound_bytes_max: limits.outbound_bytes_max,
            outbound_shard_bytes_max: limits.outbound_shard_bytes_max,
            queued_bytes_per_turn: limits.queued_bytes_per_turn,
        }
    }

    /// Other bounds hold from now on.
    pub fn configure(&mut self, limits: &Limits) {
        self.outbound_bytes_max = limits.outbound_bytes_max;
        self.outbound_shard_bytes_max = limits.outbound_shard_bytes_max;
        self.queued_bytes_per_turn = limits.queued_bytes_per_turn;
    }

    /// A queue for a new peer, whose place is free.
    pub fn open(&mut self, key: PeerKey) {
        let queue = PeerQueue {
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
        self.held_bytes -= forgotten.copied_bytes();
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

    fn at(&mut self, index: u32) -> &mut PeerQueue {
        &mut self.queues[index as usize]
    }

    /// Queues a frame that was written to the arena.
    #[inline]
    pub fn push(&mut self, index: u32, frame: Span, cause: Cause) -> Pushed {
        let queue = &mut self.queues[index as usize];
        if queue.mute {
            return Pushed::Mute;
        }
        let (octets, waiting) = (frame.len(), queue.outbound.len());
        let mut bytes_max = self.outbound_bytes_max;
        if self.held_bytes + self.arena.bytes() > self.outbound_shard_bytes_max {
            bytes_max = bytes_max.min(self.outbound_shard_bytes_max / self.open);
        }
        if waiting + octets > bytes_max {
            let too_large = octets > bytes_max && waiting <= bytes_max;
            return if too_large { Pushed::TooLarge } else { Pushed::Slow };
        }
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
            let outbound = &mut self.queues[key.index as usize].outbound;
            self.held_bytes += outbound.set_apart(&mut self.arena);
        }
        self.release();
        let known = self.outliving.len();
        self.arena.clear(&mut self.outliving);
        self.held_bytes += self.outliving[known..].iter().map(|shared| shared.memory_bytes).sum::<usize>();
        self.queued_bytes = 0;
    }

    /// Gives back the memory of segments of which nobody holds a part any more. If there are very many, each turn looks
    /// at some of them.
    fn release(&mut self) {
        if self.looked_at >= self.outliving.len() || self.outliving.len() <= RELEASED_PER_TURN {
            self.looked_at = 0;
        }
        for _ in 0..RELEASED_PER_TURN {
            let Some(shared) = self.outliving.get(self.looked_at) else { return };
            if shared.octets.is_unique() {
                self.held_bytes -= self.outliving.swap_remove(self.looked_at).memory_bytes;
            } else {
                self.looked_at += 1;
            }
        }
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
        // Who takes what it gets has no backlog, and holds nothing.
        let before = queue.outbound.has_backlog().then(|| queue.outbound.copied_bytes());
        queue.outbound.advance(bytes, &mut self.arena);
        if let Some(before) = before {
            self.held_bytes = self.held_bytes - before + queue.outbound.copied_bytes();
        }
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
        let copied: usize = self.queues.iter().map(|queue| queue.outbound.copied_bytes()).sum();
        let shared: usize = self.outliving.iter().map(|shared| shared.memory_bytes).sum();
        copied + shared == self.held_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::super::pattern::tests::Random;
    use super::*;
    use crate::transport::arena::REPLIES;

    fn key(index: u32, serial: u32) -> PeerKey {
        PeerKey { index, serial }
    }

    /// Queues of that many peers, all of serial 0.
    fn queues(peers: u32, change: impl FnOnce(&mut Limits)) -> Queues {
        let mut limits = Limits::DEFAULT;
        change(&mut limits);
        let mut queues = Queues::new(&limits);
        for index in 0..peers {
            queues.open(key(index, 0));
        }
        queues
    }

    fn write(queues: &mut Queues, lane: usize, octets: &[u8]) -> Span {
        let written = queues.arena.write(lane, octets.len(), |out| {
            out.extend_from_slice(octets);
            Ok::<(), Infallible>(())
        });
        let Ok((frame, ())) = written;
        frame
    }

    fn push(queues: &mut Queues, index: u32, octets: &[u8]) -> Pushed {
        let frame = write(queues, REPLIES, octets);
        queues.push(index, frame, Cause::Others)
    }

    fn waiting(queues: &Queues, key: PeerKey) -> Option<Vec<u8>> {
        let waiting = queues.waiting(key)?;
        let octets = waiting.chunks().collect::<Vec<_>>().concat();
        assert_eq!((waiting.len(), waiting.is_empty()), (octets.len(), octets.is_empty()));
        Some(octets)
    }

    fn dirty(queues: &mut Queues) -> Vec<PeerKey> {
        let mut dirty = Vec::new();
        queues.take_dirty(&mut dirty);
        dirty
    }

    #[test]
    fn what_is_not_queued_says_why() {
        let mut queues = queues(1, |limits| limits.outbound_bytes_max = 100);
        assert_eq!(push(&mut queues, 0, &[1; 101]), Pushed::TooLarge);
        assert_eq!(dirty(&mut queues), [], "what is refused leaves nothing to write");
        assert_eq!(push(&mut queues, 0, &[2; 100]), Pushed::Queued, "a bound is the last value allowed");
        assert_eq!(push(&mut queues, 0, &[3]), Pushed::Slow);
        assert_eq!(push(&mut queues, 0, &[4; 101]), Pushed::TooLarge, "whoever takes what before it");
        queues.silence(0);
        assert!(queues.mute(0));
        for octets in [&[5; 101][..], &[6]] {
            assert_eq!(push(&mut queues, 0, octets), Pushed::Mute);
        }
        assert_eq!(waiting(&queues, key(0, 0)), Some(vec![2; 100]), "what was queued before is written");
        assert!(queues.is_settled());
    }

    #[test]
    fn in_a_crowded_shard_only_who_would_hold_more_than_its_share_is_slow() {
        let mut queues = queues(2, |limits| limits.outbound_shard_bytes_max = 100);
        assert_eq!(push(&mut queues, 0, &[0; 60]), Pushed::Queued, "nobody needs the rest");
        assert_eq!(push(&mut queues, 1, &[0; 40]), Pushed::Queued);
        queues.flushed();
        assert_eq!(push(&mut queues, 1, &[0; 10]), Pushed::Queued, "its share is half of the bound");
        assert_eq!(push(&mut queues, 1, &[0]), Pushed::Slow);
        assert_eq!(push(&mut queues, 0, &[0]), Pushed::Slow);
        queues.open(key(2, 0));
        queues.open(key(3, 0));
        assert_eq!(push(&mut queues, 2, &[0; 25]), Pushed::Queued, "one share of four");
        assert_eq!(push(&mut queues, 3, &[0; 26]), Pushed::TooLarge, "it holds nothing, and is not to blame");
        assert_eq!(push(&mut queues, 0, &[0; 26]), Pushed::Slow, "it holds more than that already");
        queues.close(key(0, 0));
        queues.advance(key(1, 0), 50);
        queues.advance(key(2, 0), 25);
        queues.flushed();
        assert_eq!(push(&mut queues, 3, &[0; 70]), Pushed::Queued, "the crowd has gone");
        assert!(queues.is_settled());
    }

    #[test]
    fn what_many_have_not_taken_yet_takes_its_memory_once() {
        const PEERS: u32 = 100;
        let mut queues = queues(PEERS, |limits| limits.outbound_shard_bytes_max = 200_000);
        let everybody = |queues: &mut Queues, octets: &[u8]| -> Vec<Pushed> {
            let frame = write(queues, 0, octets);
            let mut pushed: Vec<_> =
                (0..PEERS).map(|index| queues.push(index, frame, Cause::Others)).collect();
            pushed.dedup();
            pushed
        };
        assert_eq!(everybody(&mut queues, &[1; 90_000]), [Pushed::Queued]);
        queues.flushed();
        assert_eq!(queues.held_bytes, 90_000 + 512, "a segment of its own");
        assert_eq!(everybody(&mut queues, &[2; 100]), [Pushed::Queued], "they wait for 9 MB, and hold 90 kB");
        queues.flushed();
        assert_eq!((queues.held_bytes, queues.outliving.len()), (90_512 + 100 * 100, 1));
        assert_eq!(everybody(&mut queues, &[3; 120_000]), [Pushed::Slow], "now it is too much");
        for index in 0..PEERS {
            queues.advance(key(index, 0), if index == 0 { 85_000 } else { 90_100 });
        }
        queues.flushed();
        assert_eq!(queues.held_bytes, 5_000 + 100, "who has little left holds a copy of that");
        assert_eq!(queues.outliving.len(), 0);
        assert!(queues.is_settled());
    }

    #[test]
    fn replies_leave_in_proportion() {
        let mut queues = queues(1, |_| {});
        push(&mut queues, 0, &[0; 100]);
        let reply = write(&mut queues, REPLIES, &[0; 50]);
        queues.push(0, reply, Cause::Itself);
        for (written, left) in [(0, 50), (30, 40), (60, 20), (60, 0)] {
            queues.advance(key(0, 0), written);
            assert_eq!(queues.replies(0), left);
        }
        queues.push(0, reply, Cause::Itself);
        queues.close(key(0, 0));
        assert_eq!(queues.replies(0), 0);
    }

    #[test]
    fn replies_saturate() {
        let mut queues = queues(1, |limits| {
            (limits.outbound_bytes_max, limits.outbound_shard_bytes_max) = (usize::MAX, usize::MAX);
        });
        let reply = write(&mut queues, REPLIES, &[0; 1 << 20]);
        for _ in 0..5_000 {
            assert_eq!(queues.push(0, reply, Cause::Itself), Pushed::Queued);
        }
        assert_eq!(queues.replies(0), u32::MAX as usize);
        for round in 1..=5_000 {
            queues.advance(key(0, 0), reply.len());
            assert!(queues.replies(0) <= (5_000 - round) * reply.len());
        }
        assert!(queues.replies(0) == 0 && queues.is_settled());
    }

    #[test]
    fn a_write_says_what_the_queue_has_come_to() {
        let consequences: [fn(&mut Queues); 3] = [
            |queues| queues.silence(0),
            |queues| queues.set_paused(0, true),
            |queues| queues.set_watched(0, true),
        ];
        for awaited in consequences {
            let mut queues = queues(1, |_| {});
            for (written, advanced) in [(0, Advanced::Part), (1, Advanced::Part), (2, Advanced::All)] {
                push(&mut queues, 0, &[0]);
                assert_eq!(queues.advance(key(0, 0), written), advanced);
            }
            push(&mut queues, 0, &[0; 2]);
            awaited(&mut queues);
            assert_eq!(queues.advance(key(0, 0), 1), Advanced::Part);
            assert_eq!(queues.advance(key(0, 0), 1), Advanced::AllAwaited);
            queues.set_paused(0, false);
            queues.set_watched(0, false);
            let last = if queues.mute(0) { Advanced::AllAwaited } else { Advanced::All };
            assert_eq!(queues.advance(key(0, 0), 0), last);
        }
    }

    #[test]
    fn a_dead_key_has_no_queue() {
        let mut queues = queues(1, |_| {});
        push(&mut queues, 0, b"lost");
        queues.close(key(0, 0));
        assert!(queues.is_settled(), "what waited is no longer counted");
        for dead in [key(0, 0), key(1, 0)] {
            assert_eq!(queues.advance(dead, 0), Advanced::Dead);
            assert_eq!(waiting(&queues, dead), None);
        }
        assert_eq!(push(&mut queues, 0, b"late"), Pushed::Mute);
        queues.open(key(0, 1));
        assert_eq!(queues.advance(key(0, 0), 4), Advanced::Dead);
        assert_eq!(queues.advance(key(0, 1), 0), Advanced::All);
    }

    #[test]
    fn who_has_a_place_after_another_gets_only_its_own() {
        let mut queues = queues(1, |_| {});
        push(&mut queues, 0, b"first");
        queues.close(key(0, 0));
        queues.open(key(0, 1));
        push(&mut queues, 0, b"second");
        assert_eq!(dirty(&mut queues), [key(0, 0), key(0, 1)]);
        assert_eq!(waiting(&queues, key(0, 0)), None);
        assert_eq!(waiting(&queues, key(0, 1)).unwrap(), b"second");
        // Another one, while peers are written.
        queues.close(key(0, 1));
        queues.open(key(0, 2));
        push(&mut queues, 0, b"third");
        queues.flushed();
        assert_eq!(waiting(&queues, key(0, 1)), None);
        assert_eq!(waiting(&queues, key(0, 2)).unwrap(), b"third");
        write(&mut queues, REPLIES, b"of the next turn");
        assert_eq!(waiting(&queues, key(0, 2)).unwrap(), b"third", "it holds nothing of the arena");
        assert_eq!(dirty(&mut queues), [key(0, 2)]);
        assert_eq!(queues.advance(key(0, 2), 5), Advanced::All);
        assert!(queues.is_settled());
    }

    #[test]
    fn what_is_queued_while_peers_are_written_is_kept() {
        let mut queues = queues(2, |_| {});
        push(&mut queues, 0, b"written");
        assert_eq!(dirty(&mut queues), [key(0, 0)]);
        queues.advance(key(0, 0), 7);
        push(&mut queues, 0, b"more");
        push(&mut queues, 1, b"other");
        queues.flushed();
        assert!(queues.arena.is_empty());
        assert_eq!(waiting(&queues, key(0, 0)).unwrap(), b"more");
        assert_eq!(waiting(&queues, key(1, 0)).unwrap(), b"other");
        assert_eq!(dirty(&mut queues), [key(0, 0), key(1, 0)], "they are still to be written");
        assert_eq!(dirty(&mut queues), []);
    }

    #[test]
    fn much_queued_or_much_written_sates() {
        let mut queues = queues(11, |limits| limits.queued_bytes_per_turn = 100);
        for _ in 0..2 {
            let frame = write(&mut queues, REPLIES, &[0; 10]);
            for index in 0..10 {
                queues.push(index, frame, Cause::Others);
            }
            assert!(!queues.sated(), "a bound is the last value allowed");
            queues.push(10, frame, Cause::Others);
            assert!(queues.sated(), "10 octets, queued 11 times");
            queues.advance(key(10, 0), 10);
            assert!(queues.sated(), "the turn is not over");
            queues.flushed();
            assert!(!queues.sated(), "what is left from before does not count");
            let frame = write(&mut queues, REPLIES, &[0; 101]);
            assert!(queues.sated(), "nobody has it, and yet it takes memory");
            queues.arena.take_back(frame);
            assert!(!queues.sated());
            write(&mut queues, REPLIES, &[0; 101]);
            queues.flushed();
            assert!(!queues.sated());
        }
    }

    /// A peer as it would be without any cleverness.
    #[derive(Default)]
    struct Twin {
        serial: u32,
        open: bool,
        mute: bool,
        waiting: Vec<u8>,
    }

    /// Queues, and what should be in them.
    struct Pair {
        random: Random,
        queues: Queues,
        twins: Vec<Twin>,
        dirty: Vec<PeerKey>,
        queued: usize,
        written: usize,
        seen: Vec<Pushed>,
    }

    const PEERS: u32 = 6;
    const PEER_BYTES_MAX: usize = 12_000;
    const SHARD_BYTES_MAX: usize = 30_000;
    const TURN_BYTES_MAX: usize = 8_000;

    impl Pair {
        fn new(seed: u64) -> Pair {
            let queues = queues(PEERS, |limits| {
                limits.outbound_bytes_max = PEER_BYTES_MAX;
                limits.outbound_shard_bytes_max = SHARD_BYTES_MAX;
                limits.queued_bytes_per_turn = TURN_BYTES_MAX;
            });
            let twins = (0..PEERS).map(|_| Twin { open: true, ..Twin::default() }).collect();
            let random = Random(seed);
            Pair { random, queues, twins, dirty: Vec::new(), queued: 0, written: 0, seen: Vec::new() }
        }

        fn any(&mut self) -> (u32, PeerKey) {
            let index = self.random.below(PEERS as usize) as u32;
            (index, key(index, self.twins[index as usize].serial))
        }

        fn push_to_some(&mut self) {
            let bytes_max = [20, 300, 5_000, 15_000][self.random.below(4)];
            let (first, count) = (self.random.below(256), 1 + self.random.below(bytes_max));
            let octets: Vec<u8> = (first..first + count).map(|octet| octet as u8).collect();
            let lane = [0, 1, REPLIES][self.random.below(3)];
            let frame = write(&mut self.queues, lane, &octets);
            self.written += octets.len();
            for index in 0..PEERS {
                if self.random.below(3) > 0 {
                    let cause = [Cause::Itself, Cause::Others][self.random.below(2)];
                    let expected = self.expected(index, octets.len());
                    assert_eq!(self.queues.push(index, frame, cause), expected);
                    if !self.seen.contains(&expected) {
                        self.seen.push(expected);
                    }
                    if expected == Pushed::Queued {
                        self.note_pushed(index, &octets);
                    }
                }
            }
        }

        fn expected(&self, index: u32, octets: usize) -> Pushed {
            let twin = &self.twins[index as usize];
            let held = twin.waiting.len();
            let open = self.twins.iter().filter(|twin| twin.open).count();
            let crowded = self.held_bytes() > SHARD_BYTES_MAX;
            let share = if crowded { SHARD_BYTES_MAX / open.max(1) } else { PEER_BYTES_MAX };
            match share.min(PEER_BYTES_MAX) {
                _ if twin.mute || !twin.open => Pushed::Mute,
                room if held + octets <= room => Pushed::Queued,
                room if held > room || octets <= room => Pushed::Slow,
                _ => Pushed::TooLarge,
            }
        }

        /// What was written in this turn, each copy, and each segment once of which somebody holds a part.
        fn held_bytes(&self) -> usize {
            let queues = self.queues.queues.iter();
            let copied: usize = queues.clone().map(|queue| queue.outbound.copied_bytes()).sum();
            let outliving = self.queues.outliving.iter();
            let shared: usize = outliving.map(|shared| shared.memory_bytes).sum();
            self.written + copied + shared
        }

        /// Right after a turn nothing is kept of which nobody holds a part, and everything that somebody holds is known.
        fn check_outliving(&self) {
            let parts = self.queues.queues.iter().flat_map(|queue| queue.outbound.shared());
            let held: Vec<_> = parts.map(|shared| shared.octets.as_ptr_range()).collect();
            for whole in &self.queues.outliving {
                let range = whole.octets.as_ptr_range();
                assert!(held.iter().any(|part| range.contains(&part.start)), "nobody holds it");
            }
            for part in held {
                let known = self.queues.outliving.iter().map(|whole| whole.octets.as_ptr_range());
                assert!(known.into_iter().any(|range| range.contains(&part.start)), "it is not counted");
            }
        }

        fn note_pushed(&mut self, index: u32, octets: &[u8]) {
            let twin = &mut self.twins[index as usize];
            twin.waiting.extend_from_slice(octets);
            self.queued += octets.len();
            let key = key(index, twin.serial);
            if !self.dirty.contains(&key) {
                self.dirty.push(key);
            }
        }

        fn advance(&mut self) {
            let (index, key) = self.any();
            let twin = &mut self.twins[index as usize];
            let written = [0, twin.waiting.len(), self.random.below(twin.waiting.len() + 1)];
            let written = written[self.random.below(3)];
            twin.waiting.drain(..written);
            let expected = match (twin.open, twin.waiting.is_empty()) {
                (false, _) => Advanced::Dead,
                (true, false) => Advanced::Part,
                (true, true) if twin.mute => Advanced::AllAwaited,
                (true, true) => Advanced::All,
            };
            assert_eq!(self.queues.advance(key, written), expected);
        }

        fn open_or_close(&mut self) {
            let (index, key) = self.any();
            let twin = &mut self.twins[index as usize];
            if twin.open {
                self.queues.close(key);
                *twin = Twin { serial: twin.serial, ..Twin::default() };
            } else {
                *twin = Twin { serial: twin.serial + 1, open: true, ..Twin::default() };
                self.queues.open(PeerKey { serial: twin.serial, ..key });
            }
        }

        fn silence(&mut self) {
            let (index, _) = self.any();
            self.queues.silence(index);
            self.twins[index as usize].mute = true;
        }

        fn flush(&mut self) {
            self.queues.flushed();
            (self.queued, self.written) = (0, 0);
            self.check_outliving();
        }

        fn check(&self) {
            for (index, twin) in (0..).zip(&self.twins) {
                let octets = waiting(&self.queues, key(index, twin.serial));
                assert!(octets.as_ref() == twin.open.then_some(&twin.waiting), "peer {index}");
                assert!(self.queues.replies(index) <= twin.waiting.len());
            }
            assert!(self.queues.is_settled());
            assert_eq!(self.queues.sated(), self.queued.max(self.written) > TURN_BYTES_MAX);
        }
    }

    /// Peers come and go, are sent to, take what they take; turns end, and peers are named to be written.
    #[test]
    fn equals_one_vector_for_each_peer() {
        for seed in 1..=4 {
            let mut pair = Pair::new(seed);
            for _ in 0..3_000 {
                match pair.random.below(12) {
                    0..=3 => pair.push_to_some(),
                    4..=7 => pair.advance(),
                    8 => pair.open_or_close(),
                    9 if pair.random.below(8) == 0 => pair.silence(),
                    10 => assert_eq!(dirty(&mut pair.queues), std::mem::take(&mut pair.dirty)),
                    _ => pair.flush(),
                }
                pair.check();
            }
            assert_eq!(pair.seen.len(), 4, "{:?}", pair.seen);
        }
    }
}
