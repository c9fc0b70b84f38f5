//! The frames of one turn: each is written once, whoever it goes to, and peers hold ranges of what was written.
//!
//! ```text
//!   lane of (MessagePack, RawSocket) events:   | event 1 | event 2 | event 3 |        one segment
//!                        a subscriber to all:  [----------------------------]         one range, one write
//!                        one that joined late:           [------------------]
//! ```
//!
//! Frames of the same kind follow one another in their *lane*, so what a subscriber gets in a turn is mostly one
//! range, however many events it is: the frame is not copied for each subscriber, and the kernel copies from octets
//! that are in the cache. A lane is cut into *segments*, so that what a slow peer holds on to is not the whole turn.
//!
//! At the end of the turn every peer's ranges are written or set apart (`Outbound::set_apart`), and the arena is
//! cleared; its memory is used again, up to a bound.

use bytes::Bytes;

use super::Format;
use crate::limits::{ARENA_FREE_SEGMENTS_MAX, ARENA_SEGMENT_BYTES};

/// Lanes there are: one for the events of each format, by [`Format::index`], and [`REPLIES`].
pub const LANES: usize = Format::COUNT + 1;

/// The lane of what goes to one peer only. It is kept out of the way of the events, which would not follow one another
/// any more.
pub const REPLIES: usize = Format::COUNT;

/// Octets that stand in a row in one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Which segment.
    pub segment: u32,
    /// The first octet.
    pub start: u32,
    /// The one after the last.
    pub end: u32,
}

impl Span {
    /// How many octets.
    #[inline]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// True if there are none.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// True if `next` begins where this one ends.
    #[inline]
    pub fn continues_with(self, next: Span) -> bool {
        self.segment == next.segment && self.end == next.start
    }
}

/// One range of a peer's chain: see [`Arena::chain_on`].
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// The octets.
    pub span: Span,
    /// The one after it, or [`NO_NODE`].
    pub next: u32,
}

/// No node of any chain.
pub const NO_NODE: u32 = u32::MAX;

/// No segment: the lane has not begun.
const NO_SEGMENT: u32 = u32::MAX;

/// Frames above this have a segment of their own.
const LARGE_FRAME_BYTES: usize = 32 * 1024;

/// Room for what stands around the payload of a large frame, so that its segment need not grow.
const FRAME_OVERHEAD_BYTES: usize = 512;

/// What is less than this is copied, however much of its segment it is: copies come to stand together.
const SHARED_BYTES_MIN: usize = 4 * 1024;

/// What is at least this is shared, however little of its segment it is.
const SHARED_ALWAYS_BYTES: usize = 64 * 1024;

/// What was written in this turn.
#[derive(Debug)]
pub struct Arena {
    segments: Vec<Segment>,
    /// The segment each lane is at.
    lanes: [u32; LANES],
    /// Ranges of peers that hold more than one.
    nodes: Vec<Node>,
    free: Vec<Vec<u8>>,
    bytes: usize,
}

#[derive(Debug)]
struct Segment {
    octets: Vec<u8>,
    /// The same octets, once somebody had to hold them beyond the turn; `octets` is empty then.
    shared: Option<Shared>,
}

impl Default for Arena {
    fn default() -> Arena {
        Arena {
            segments: Vec::new(),
            lanes: [NO_SEGMENT; LANES],
            nodes: Vec::new(),
            free: Vec::new(),
            bytes: 0,
        }
    }
}

/// What is left of a range that its peer has not taken.
#[derive(Debug)]
pub enum Leftover<'a> {
    /// Little of a segment: to be copied.
    Little(&'a [u8]),
    /// Much of it: to be shared with the others that have not taken it.
    Much(Shared),
}

/// A part of a segment that several may hold beyond the turn.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The part.
    pub octets: Bytes,
    /// Octets of memory that it holds on to, with all others who hold a part of the segment.
    pub memory_bytes: usize,
}

impl Arena {
    /// Appends to a lane what `encode` appends to the buffer it is given, which may hold other frames already. What a
    /// failed `encode` has appended is taken back. `bytes_expected` is about what it will be: a large frame stands in a
    /// segment of its own, so that whoever has not taken it holds on to nothing else.
    #[inline]
    pub fn write<T, E>(
        &mut self,
        lane: usize,
        bytes_expected: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<(Span, T), E> {
        let segment = self.segment(lane, bytes_expected);
        let octets = &mut self.segments[segment as usize].octets;
        let start = octets.len();
        match encode(octets) {
            Ok(told) => {
                let written = octets.len() - start;
                self.bytes += written;
                if written > LARGE_FRAME_BYTES && start > 0 {
                    return Ok((self.move_out(segment, start), told));
                }
                // The largest frame, in the longest form its payload can take, is far from 2^32 octets.
                Ok((Span { segment, start: start as u32, end: (start + written) as u32 }, told))
            }
            Err(error) => {
                self.truncate(segment, start);
                Err(error)
            }
        }
    }

    /// The segment a frame is to be written to.
    fn segment(&mut self, lane: usize, bytes_expected: usize) -> u32 {
        if bytes_expected > LARGE_FRAME_BYTES {
            return self.begin(Vec::with_capacity(bytes_expected + FRAME_OVERHEAD_BYTES));
        }
        let current = self.lanes[lane];
        if let Some(segment) = self.segments.get(current as usize)
            && segment.octets.len() + bytes_expected <= ARENA_SEGMENT_BYTES
        {
            return current;
        }
        let octets = self.free.pop().unwrap_or_default();
        self.lanes[lane] = self.begin(octets);
        self.lanes[lane]
    }

    fn begin(&mut self, octets: Vec<u8>) -> u32 {
        self.segments.push(Segment { octets, shared: None });
        self.segments.len() as u32 - 1
    }

    /// A frame has become larger than was expected: it gets a segment of its own.
    fn move_out(&mut self, segment: u32, start: usize) -> Span {
        let octets = &mut self.segments[segment as usize].octets;
        let frame = octets.split_off(start);
        octets.shrink_to(ARENA_SEGMENT_BYTES);
        let end = frame.len() as u32;
        Span { segment: self.begin(frame), start: 0, end }
    }

    /// Takes back what was written last in its lane and nobody holds.
    pub fn take_back(&mut self, span: Span) {
        let filled = self.segments[span.segment as usize].octets.len();
        debug_assert_eq!(filled, span.end as usize, "only the last frame can be taken back");
        self.truncate(span.segment, span.start as usize);
        self.bytes -= span.len();
    }

    /// Memory that a large frame had to itself goes with it: no other frame is written there, and a turn may see any
    /// number of them that nobody takes.
    fn truncate(&mut self, segment: u32, bytes: usize) {
        let octets = &mut self.segments[segment as usize].octets;
        octets.truncate(bytes);
        if bytes == 0 && !self.lanes.contains(&segment) {
            *octets = Vec::new();
        }
    }

    /// Octets written in this turn.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The octets of a span.
    #[inline]
    pub fn octets(&self, span: Span) -> &[u8] {
        let segment = &self.segments[span.segment as usize];
        let octets = segment.shared.as_ref().map_or(&segment.octets[..], |shared| &shared.octets[..]);
        &octets[span.start as usize..span.end as usize]
    }

    /// Adds a range to the chain whose last node is `after` (or begins one); returns its node.
    pub fn chain_on(&mut self, span: Span, after: u32) -> u32 {
        let node = self.nodes.len() as u32;
        self.nodes.push(Node { span, next: NO_NODE });
        if let Some(after) = self.nodes.get_mut(after as usize) {
            after.next = node;
        }
        node
    }

    /// A node of a chain.
    pub fn node(&mut self, node: u32) -> &mut Node {
        &mut self.nodes[node as usize]
    }

    /// The ranges of the chain that begins with `first`.
    pub fn chain(&self, first: u32) -> impl Iterator<Item = Span> {
        let mut next = first;
        std::iter::from_fn(move || {
            let node = self.nodes.get(next as usize)?;
            next = node.next;
            Some(node.span)
        })
    }

    /// A range that must outlive the turn. Much is shared, a little is copied: the memory that a part holds on to is at
    /// most eight times the part. Nothing may be written afterwards before [`Arena::clear`].
    pub fn outlive(&mut self, span: Span) -> Leftover<'_> {
        let segment = &mut self.segments[span.segment as usize];
        let filled = segment.shared.as_ref().map_or(segment.octets.len(), |shared| shared.octets.len());
        let much = span.len() >= filled / 4 || span.len() >= SHARED_ALWAYS_BYTES;
        if !much || span.len() < SHARED_BYTES_MIN {
            return Leftover::Little(self.octets(span));
        }
        let shared = segment.shared.get_or_insert_with(|| {
            // A buffer that is much larger than what is in it is worth more to the next turn.
            if segment.octets.capacity() > 2 * filled {
                return Shared { octets: Bytes::copy_from_slice(&segment.octets), memory_bytes: filled };
            }
            let memory_bytes = segment.octets.capacity();
            Shared { octets: Bytes::from(std::mem::take(&mut segment.octets)), memory_bytes }
        });
        let octets = shared.octets.slice(span.start as usize..span.end as usize);
        Leftover::Much(Shared { octets, ..*shared })
    }

    /// Forgets all frames; those segments of which somebody holds a part go to `outliving`. Nobody may hold a range any
    /// more.
    pub fn clear(&mut self, outliving: &mut Vec<Shared>) {
        self.lanes = [NO_SEGMENT; LANES];
        self.bytes = 0;
        if self.nodes.len() < NODES_KEPT_MAX {
            self.nodes.shrink_to(NODES_KEPT_MAX);
        }
        self.nodes.clear();
        for segment in self.segments.drain(..) {
            outliving.extend(segment.shared);
            let mut octets = segment.octets;
            // One that a large frame had to itself is given back.
            let usual = (1..=2 * ARENA_SEGMENT_BYTES).contains(&octets.capacity());
            if usual && self.free.len() < ARENA_FREE_SEGMENTS_MAX {
                octets.clear();
                self.free.push(octets);
            }
        }
    }

    /// True if nothing was written in this turn.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

/// Nodes whose memory is kept for the next turn: 1 MiB.
const NODES_KEPT_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn append(arena: &mut Arena, lane: usize, frame: &[u8]) -> Span {
        let written: Result<_, ()> = arena.write(lane, frame.len(), |out| {
            out.extend_from_slice(frame);
            Ok(())
        });
        written.unwrap().0
    }

    #[test]
    fn frames_of_a_lane_follow_one_another() {
        let mut arena = Arena::default();
        let first = append(&mut arena, 0, b"one");
        let other = append(&mut arena, REPLIES, b"reply");
        let second = append(&mut arena, 0, b"two");
        assert!(first.continues_with(second) && !first.continues_with(other));
        assert_eq!((arena.octets(first), arena.octets(second)), (&b"one"[..], &b"two"[..]));
        assert_eq!(arena.octets(Span { end: second.end, ..first }), b"onetwo");
        assert_eq!(arena.octets(other), b"reply");
    }

    #[test]
    fn a_failed_frame_leaves_nothing() {
        let mut arena = Arena::default();
        let first = append(&mut arena, 0, b"one");
        let failed = arena.write(0, 4, |out| {
            out.extend_from_slice(b"half");
            Err::<(), _>("no form")
        });
        assert_eq!(failed, Err("no form"));
        let second = append(&mut arena, 0, b"two");
        assert!(first.continues_with(second));
        arena.take_back(second);
        assert_eq!(append(&mut arena, 0, b"2"), Span { end: second.start + 1, ..second });
    }

    #[test]
    fn a_full_segment_is_followed_by_another() {
        let mut arena = Arena::default();
        let frame = vec![7; LARGE_FRAME_BYTES];
        let spans: Vec<_> = (0..10).map(|_| append(&mut arena, 0, &frame)).collect();
        let segments = spans.iter().map(|span| span.segment).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(segments.len(), 2);
        assert!(arena.segments.iter().all(|segment| segment.octets.len() <= ARENA_SEGMENT_BYTES));
        assert_eq!(arena.bytes(), 10 * frame.len());
        arena.take_back(spans[9]);
        assert_eq!(arena.bytes(), 9 * frame.len());
    }

    #[test]
    fn a_large_frame_stands_alone_also_if_it_comes_as_a_surprise() {
        let mut arena = Arena::default();
        let large = vec![7; LARGE_FRAME_BYTES + 1];
        let small = append(&mut arena, 0, b"small");
        let surprise: Result<_, ()> = arena.write(0, 10, |out| {
            out.extend_from_slice(&large);
            Ok(())
        });
        let surprise = surprise.unwrap().0;
        let expected = append(&mut arena, 0, &large);
        let after = append(&mut arena, 0, b"after");
        assert!(small.continues_with(after), "the lane goes on where it was");
        for span in [surprise, expected] {
            assert_eq!(arena.octets(span), large);
            assert_eq!(arena.segments[span.segment as usize].octets.len(), large.len());
        }
        assert_eq!(arena.octets(small), b"small");
    }

    #[test]
    fn much_is_shared_and_little_is_copied() {
        let mut arena = Arena::default();
        let much = append(&mut arena, 0, &[1; 10_000]);
        let little = append(&mut arena, 0, &[2; 2_000]);
        let Leftover::Much(first) = arena.outlive(much) else { panic!("it is most of the segment") };
        let Leftover::Much(again) = arena.outlive(much) else { panic!("it is most of the segment") };
        assert_eq!(first.octets.as_ptr(), again.octets.as_ptr());
        assert!(matches!(arena.outlive(little), Leftover::Little(octets) if octets == [2; 2_000]));
        arena.clear(&mut Vec::new());
        assert_eq!(&first.octets[..], [1; 10_000], "what is shared outlives the turn");
        assert!(arena.free.is_empty(), "and its memory is not used again");
    }

    #[test]
    fn what_is_shared_does_not_depend_on_the_buffer_it_came_in() {
        let mut arena = Arena::default();
        append(&mut arena, 0, &[1; 20_000]);
        for _ in 0..9 {
            append(&mut arena, 0, &[1; 20_000]);
        }
        arena.clear(&mut Vec::new());
        let capacity = arena.free[0].capacity();
        let span = append(&mut arena, 0, &[2; 10_000]);
        let Leftover::Much(shared) = arena.outlive(span) else { panic!("it is all of the segment") };
        assert_eq!(shared.octets.len(), 10_000, "and holds on to no more");
        arena.clear(&mut Vec::new());
        assert_eq!(arena.free[0].capacity(), capacity, "the buffer is used again");
        for _ in 0..100 {
            append(&mut arena, 0, &[3; 40]);
        }
        let tiny = Span { segment: 0, start: 0, end: 40 * 100 };
        assert!(matches!(arena.outlive(tiny), Leftover::Little(_)), "small events are copied together");
    }

    #[test]
    fn memory_is_used_again_up_to_a_bound() {
        let mut arena = Arena::default();
        for _ in 0..(ARENA_FREE_SEGMENTS_MAX + 3) * ARENA_SEGMENT_BYTES / LARGE_FRAME_BYTES {
            append(&mut arena, 0, &[1; LARGE_FRAME_BYTES]);
        }
        assert_eq!(arena.segments.len(), ARENA_FREE_SEGMENTS_MAX + 3);
        arena.clear(&mut Vec::new());
        assert!(arena.is_empty() && arena.bytes() == 0);
        assert_eq!(arena.free.len(), ARENA_FREE_SEGMENTS_MAX);
        append(&mut arena, 0, &vec![1; 3 * ARENA_SEGMENT_BYTES]);
        arena.clear(&mut Vec::new());
        assert_eq!(arena.free.len(), ARENA_FREE_SEGMENTS_MAX, "a large frame takes none of them");
    }

    #[test]
    fn frames_that_are_taken_back_hold_no_memory() {
        let mut arena = Arena::default();
        let before = append(&mut arena, 0, b"before");
        let large = vec![1; LARGE_FRAME_BYTES + 1];
        for bytes_expected in [large.len(), 100] {
            for round in 0..100 {
                let written = arena.write(0, bytes_expected, |out| {
                    out.extend_from_slice(&large);
                    if round % 2 == 0 { Ok(()) } else { Err("no form") }
                });
                if let Ok((frame, ())) = written {
                    arena.take_back(frame);
                }
            }
        }
        let held: usize = arena.segments.iter().map(|segment| segment.octets.capacity()).sum();
        assert!(held <= 2 * ARENA_SEGMENT_BYTES, "{held}");
        assert_eq!(arena.bytes(), before.len());
        assert!(before.continues_with(append(&mut arena, 0, b"after")), "the lane goes on where it was");
    }

    #[test]
    fn chains_keep_their_order() {
        let mut arena = Arena::default();
        let spans: Vec<_> = (0..6u8).map(|octet| append(&mut arena, 0, &[octet])).collect();
        let mut ends = [NO_NODE; 2];
        let mut firsts = [NO_NODE; 2];
        for (place, span) in spans.iter().enumerate() {
            let chain = place % 2;
            ends[chain] = arena.chain_on(*span, ends[chain]);
            if firsts[chain] == NO_NODE {
                firsts[chain] = ends[chain];
            }
        }
        assert_eq!(arena.chain(firsts[1]).collect::<Vec<_>>(), [spans[1], spans[3], spans[5]]);
        assert_eq!(arena.chain(NO_NODE).count(), 0);
    }
}
