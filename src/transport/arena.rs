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
pub struct Linked {
    /// The octets.
    pub span: Span,
    /// The one after it, or [`NO_LINK`].
    pub next: u32,
}

/// No link of any chain.
pub const NO_LINK: u32 = u32::MAX;

/// No segment: the lane has not begun.
const NO_SEGMENT: u32 = u32::MAX;

/// What was written in this turn.
#[derive(Debug)]
pub struct Arena {
    segments: Vec<Segment>,
    /// The segment each lane is at.
    lanes: [u32; LANES],
    /// Ranges of peers that hold more than one.
    links: Vec<Linked>,
    free: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Segment {
    octets: Vec<u8>,
    /// The same octets, once somebody had to hold them beyond the turn; `octets` is empty then.
    shared: Option<Bytes>,
}

impl Default for Arena {
    fn default() -> Arena {
        Arena { segments: Vec::new(), lanes: [NO_SEGMENT; LANES], links: Vec::new(), free: Vec::new() }
    }
}

/// What is left of a range that its peer has not taken.
#[derive(Debug)]
pub enum Leftover<'a> {
    /// Little of a segment: to be copied.
    Little(&'a [u8]),
    /// Much of it: to be shared with the others that have not taken it.
    Much(Bytes),
}

impl Arena {
    /// Appends to a lane what `encode` appends to the buffer it is given, which holds other frames already. What a
    /// failed `encode` has appended is taken back.
    #[inline]
    pub fn write<T, E>(
        &mut self,
        lane: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<T, E>,
    ) -> Result<(Span, T), E> {
        let segment = self.segment(lane);
        let octets = &mut self.segments[segment as usize].octets;
        let start = octets.len();
        match encode(octets) {
            Ok(told) => {
                // The largest frame, in the longest form its payload can take, is far from 2^32 octets.
                let span = Span { segment, start: start as u32, end: octets.len() as u32 };
                Ok((span, told))
            }
            Err(error) => {
                octets.truncate(start);
                Err(error)
            }
        }
    }

    /// Takes back what was written last in its lane and nobody holds.
    pub fn take_back(&mut self, span: Span) {
        let octets = &mut self.segments[span.segment as usize].octets;
        debug_assert_eq!(octets.len(), span.end as usize, "only the last frame can be taken back");
        octets.truncate(span.start as usize);
    }

    /// The segment a lane is to be continued in.
    fn segment(&mut self, lane: usize) -> u32 {
        let current = self.lanes[lane];
        if let Some(segment) = self.segments.get(current as usize)
            && segment.octets.len() < ARENA_SEGMENT_BYTES
        {
            return current;
        }
        let next = self.segments.len() as u32;
        self.segments.push(Segment { octets: self.free.pop().unwrap_or_default(), shared: None });
        self.lanes[lane] = next;
        next
    }

    /// The octets of a span.
    #[inline]
    pub fn octets(&self, span: Span) -> &[u8] {
        let segment = &self.segments[span.segment as usize];
        let octets = segment.shared.as_ref().map_or(&segment.octets[..], |shared| &shared[..]);
        &octets[span.start as usize..span.end as usize]
    }

    /// Adds a range to the chain whose last link is `after` (or begins one); returns its link.
    pub fn chain_on(&mut self, span: Span, after: u32) -> u32 {
        let link = self.links.len() as u32;
        self.links.push(Linked { span, next: NO_LINK });
        if let Some(after) = self.links.get_mut(after as usize) {
            after.next = link;
        }
        link
    }

    /// A link of a chain.
    pub fn linked(&mut self, link: u32) -> &mut Linked {
        &mut self.links[link as usize]
    }

    /// The ranges of the chain that begins with `first`.
    pub fn chain(&self, first: u32) -> impl Iterator<Item = Span> {
        let mut next = first;
        std::iter::from_fn(move || {
            let link = self.links.get(next as usize)?;
            next = link.next;
            Some(link.span)
        })
    }

    /// A range that must outlive the turn. It is shared only if it is a good part of its segment, so that what is held
    /// is never more than a few times what is counted. Nothing may be written afterwards before [`Arena::clear`].
    pub fn leave(&mut self, span: Span) -> Leftover<'_> {
        let segment = &mut self.segments[span.segment as usize];
        let capacity = segment.shared.as_ref().map_or(segment.octets.capacity(), Bytes::len);
        if span.len() < capacity / 4 {
            return Leftover::Little(self.octets(span));
        }
        let shared = segment.shared.get_or_insert_with(|| Bytes::from(std::mem::take(&mut segment.octets)));
        Leftover::Much(shared.slice(span.start as usize..span.end as usize))
    }

    /// Forgets all frames. Nobody may hold a range any more.
    pub fn clear(&mut self) {
        self.lanes = [NO_SEGMENT; LANES];
        self.links.clear();
        self.links.shrink_to(LINKS_KEPT_MAX);
        for segment in self.segments.drain(..) {
            let mut octets = segment.octets;
            // One that had to take a large frame is given back.
            let usual = (1..=2 * ARENA_SEGMENT_BYTES).contains(&octets.capacity());
            if usual && self.free.len() < ARENA_FREE_SEGMENTS_MAX {
                octets.clear();
                self.free.push(octets);
            }
        }
    }

    /// True if nothing was written in this turn.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}

/// Links whose memory is kept for the next turn: 1 MiB.
const LINKS_KEPT_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn append(arena: &mut Arena, lane: usize, frame: &[u8]) -> Span {
        let written: Result<_, ()> = arena.write(lane, |out| {
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
        let failed = arena.write(0, |out| {
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
        let large = vec![7; ARENA_SEGMENT_BYTES - 1];
        let first = append(&mut arena, 0, &large);
        let second = append(&mut arena, 0, &large);
        let third = append(&mut arena, 0, b"three");
        assert!(first.continues_with(second), "a segment that is not full takes whatever comes");
        assert_ne!(second.segment, third.segment);
        assert_eq!(arena.octets(third), b"three");
    }

    #[test]
    fn much_is_shared_and_little_is_copied() {
        let mut arena = Arena::default();
        let much = append(&mut arena, 0, &[1; 1000]);
        let little = append(&mut arena, 0, &[2; 10]);
        let Leftover::Much(first) = arena.leave(much) else { panic!("it is most of the segment") };
        let Leftover::Much(again) = arena.leave(much) else { panic!("it is most of the segment") };
        assert_eq!(first.as_ptr(), again.as_ptr());
        assert!(matches!(arena.leave(little), Leftover::Little(octets) if octets == [2; 10]));
        arena.clear();
        assert_eq!(&first[..], [1; 1000], "what is shared outlives the turn");
        assert!(arena.free.is_empty(), "and its memory is not used again");
    }

    #[test]
    fn memory_is_used_again_up_to_a_bound() {
        let mut arena = Arena::default();
        for _ in 0..ARENA_FREE_SEGMENTS_MAX + 3 {
            append(&mut arena, 0, &[1; ARENA_SEGMENT_BYTES]);
        }
        arena.clear();
        assert!(arena.is_empty());
        assert_eq!(arena.free.len(), ARENA_FREE_SEGMENTS_MAX);
        append(&mut arena, 0, &vec![1; 3 * ARENA_SEGMENT_BYTES]);
        assert_eq!(arena.free.len(), ARENA_FREE_SEGMENTS_MAX - 1);
        arena.clear();
        assert_eq!(arena.free.len(), ARENA_FREE_SEGMENTS_MAX - 1, "a segment that grew is given back");
    }

    #[test]
    fn chains_keep_their_order() {
        let mut arena = Arena::default();
        let spans: Vec<_> = (0..6u8).map(|octet| append(&mut arena, 0, &[octet])).collect();
        let mut ends = [NO_LINK; 2];
        let mut firsts = [NO_LINK; 2];
        for (place, span) in spans.iter().enumerate() {
            let chain = place % 2;
            ends[chain] = arena.chain_on(*span, ends[chain]);
            if firsts[chain] == NO_LINK {
                firsts[chain] = ends[chain];
            }
        }
        assert_eq!(arena.chain(firsts[1]).collect::<Vec<_>>(), [spans[1], spans[3], spans[5]]);
        assert_eq!(arena.chain(NO_LINK).count(), 0);
    }
}
