//! The queue of octets to one peer.
//!
//! ```text
//!   backlog: Copied - Shared - Copied   first -> ... -> last   open
//!            '- of earlier turns: what  '- ranges of this turn's arena -'
//!               the socket did not take
//! ```
//!
//! What is queued in a turn is not copied: the queue holds ranges of the turn's [`Arena`], mostly one, since frames
//! that follow one another there become one range. What the socket has not taken at the turn's end is set apart:
//! copied if it is little, shared with others who have not taken it either if it is much. So a peer that takes what it
//! gets costs no memory, and an empty `Outbound` owns nothing at all.
//!
//! Invariants: `len` is the sum of what is kept and of the ranges; no range but `open` is empty; ranges are of the
//! current turn.

use std::collections::VecDeque;

use super::arena::{Arena, Leftover, NO_NODE, Shared, Span};

/// Copies that follow one another collect in pieces of about this size, so that what is written already does not stay
/// for long.
const COPIED_BYTES: usize = 64 * 1024;

/// The queue.
#[derive(Debug)]
pub struct Outbound {
    len: usize,
    /// The range that still grows; it comes after the chain.
    open: Span,
    /// The chain of the ranges before it.
    first: u32,
    last: u32,
    backlog: Option<Box<Backlog>>,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound { len: 0, open: Span::default(), first: NO_NODE, last: NO_NODE, backlog: None }
    }
}

impl Outbound {
    /// Octets not yet written.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if all is written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True if earlier turns have left something.
    #[inline]
    pub fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Octets of memory that this queue alone holds, beyond the turn.
    #[inline]
    pub fn copied_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.copied_bytes)
    }

    /// Those that it holds together with others.
    pub fn shared(&self) -> impl Iterator<Item = &Shared> {
        let chunks = self.backlog.iter().flat_map(|backlog| &backlog.chunks);
        chunks.filter_map(|chunk| if let Chunk::Shared(shared) = chunk { Some(shared) } else { None })
    }

    /// Appends a range of the turn's arena.
    #[inline]
    pub fn push(&mut self, span: Span, arena: &mut Arena) {
        self.len += span.len();
        if self.open.continues_with(span) {
            self.open.end = span.end;
        } else {
            self.begin(span, arena);
        }
    }

    fn begin(&mut self, span: Span, arena: &mut Arena) {
        if !self.open.is_empty() {
            self.last = arena.chain_on(self.open, self.last);
            if self.first == NO_NODE {
                self.first = self.last;
            }
        }
        self.open = span;
    }

    /// What is to be written, in order.
    pub fn chunks<'a>(&'a self, arena: &'a Arena) -> impl Iterator<Item = &'a [u8]> {
        let backlog = self.backlog.as_deref().map(Backlog::octets).into_iter().flatten();
        let open = (!self.open.is_empty()).then_some(self.open);
        backlog.chain(arena.chain(self.first).chain(open).map(|span| arena.octets(span)))
    }

    /// `bytes` octets were written; at most [`Outbound::len`].
    pub fn advance(&mut self, bytes: usize, arena: &mut Arena) {
        assert!(bytes <= self.len, "more octets written than were queued");
        self.len -= bytes;
        let mut bytes = bytes;
        if let Some(backlog) = &mut self.backlog {
            bytes = backlog.advance(bytes);
            if backlog.chunks.is_empty() {
                self.backlog = None;
            }
        }
        while bytes > 0 && self.first != NO_NODE {
            let node = arena.node(self.first);
            let taken = bytes.min(node.span.len());
            node.span.start += taken as u32;
            bytes -= taken;
            if node.span.is_empty() {
                self.first = node.next;
            }
        }
        if self.first == NO_NODE {
            self.last = NO_NODE;
            self.open.start += bytes as u32;
        }
    }

    /// The turn ends: what it has not written of the arena is kept apart from it. Returns the octets that were copied.
    #[inline]
    pub fn set_apart(&mut self, arena: &mut Arena) -> usize {
        let (first, open) = (self.first, self.open);
        (self.first, self.last, self.open) = (NO_NODE, NO_NODE, Span::default());
        // Most have written everything.
        if first == NO_NODE && open.is_empty() { 0 } else { self.keep_all(first, open, arena) }
    }

    #[cold]
    fn keep_all(&mut self, first: u32, open: Span, arena: &mut Arena) -> usize {
        let before = self.copied_bytes();
        let mut next = first;
        while next != NO_NODE {
            let node = *arena.node(next);
            self.keep(node.span, arena);
            next = node.next;
        }
        self.keep(open, arena);
        self.copied_bytes() - before
    }

    fn keep(&mut self, span: Span, arena: &mut Arena) {
        if span.is_empty() {
            return;
        }
        let backlog = self.backlog.get_or_insert_default();
        match arena.outlive(span) {
            Leftover::Little(octets) => backlog.copy(octets),
            Leftover::Much(shared) => backlog.chunks.push_back(Chunk::Shared(shared)),
        }
    }
}

/// What earlier turns have left.
///
/// Invariants: `offset` is less than the length of the first chunk; no chunk is empty.
#[derive(Debug, Default)]
struct Backlog {
    chunks: VecDeque<Chunk>,
    /// Octets of the first chunk that are written already.
    offset: usize,
    /// The sum of the chunks that are copies.
    copied_bytes: usize,
}

impl Backlog {
    fn copy(&mut self, octets: &[u8]) {
        self.copied_bytes += octets.len();
        if let Some(Chunk::Copied(last)) = self.chunks.back_mut()
            && last.len() < COPIED_BYTES
        {
            last.extend_from_slice(octets);
        } else {
            self.chunks.push_back(Chunk::Copied(octets.to_vec()));
        }
    }

    fn octets(&self) -> impl Iterator<Item = &[u8]> {
        let mut offset = self.offset;
        self.chunks.iter().map(move |chunk| &chunk.octets()[std::mem::take(&mut offset)..])
    }

    /// Returns how many of the octets were none of its own.
    fn advance(&mut self, bytes: usize) -> usize {
        self.offset += bytes;
        while let Some(first) = self.chunks.front_mut() {
            let first_len = first.octets().len();
            if self.offset < first_len {
                // The end of a shared chunk must not hold on to all of its segment.
                if let Chunk::Shared(shared) = first
                    && first_len - self.offset < shared.memory_bytes / 8
                {
                    *first = Chunk::Copied(shared.octets[self.offset..].to_vec());
                    self.copied_bytes += first_len - self.offset;
                    self.offset = 0;
                }
                return 0;
            }
            self.offset -= first_len;
            if let Some(Chunk::Copied(octets)) = self.chunks.pop_front() {
                self.copied_bytes -= octets.len();
            }
        }
        std::mem::take(&mut self.offset)
    }
}

#[derive(Debug)]
enum Chunk {
    Copied(Vec<u8>),
    Shared(Shared),
}

impl Chunk {
    fn octets(&self) -> &[u8] {
        match self {
            Chunk::Copied(octets) => octets,
            Chunk::Shared(shared) => &shared.octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::REPLIES;
    use super::super::random::Random;
    use super::*;

    fn append(arena: &mut Arena, lane: usize, frame: &[u8]) -> Span {
        let written: Result<_, ()> = arena.write(lane, frame.len(), |out| {
            out.extend_from_slice(frame);
            Ok(())
        });
        written.unwrap().0
    }

    fn written(outbound: &Outbound, arena: &Arena) -> Vec<u8> {
        outbound.chunks(arena).flatten().copied().collect()
    }

    #[test]
    fn an_idle_queue_is_small_and_owns_nothing() {
        assert!(size_of::<Outbound>() <= 40, "{}", size_of::<Outbound>());
        let (mut outbound, mut arena) = (Outbound::default(), Arena::default());
        outbound.push(append(&mut arena, 0, b"event"), &mut arena);
        outbound.set_apart(&mut arena);
        assert!(outbound.backlog.is_some());
        outbound.advance(5, &mut arena);
        assert!(outbound.backlog.is_none() && outbound.is_empty());
    }

    #[test]
    fn frames_that_follow_one_another_are_one_chunk() {
        let (mut outbound, mut arena) = (Outbound::default(), Arena::default());
        for frame in [b"one", b"two"] {
            outbound.push(append(&mut arena, 0, frame), &mut arena);
        }
        assert_eq!(outbound.chunks(&arena).collect::<Vec<_>>(), [b"onetwo"]);
        outbound.advance(4, &mut arena);
        append(&mut arena, 0, b"not for this one");
        outbound.push(append(&mut arena, 0, b"!"), &mut arena);
        assert_eq!(outbound.chunks(&arena).collect::<Vec<_>>(), [&b"wo"[..], b"!"]);
    }

    #[test]
    fn what_many_have_not_taken_is_held_once() {
        let mut arena = Arena::default();
        let mut peers: Vec<Outbound> = Vec::new();
        peers.resize_with(3, Outbound::default);
        let span = append(&mut arena, 0, &[7; 5000]);
        for (taken, peer) in peers.iter_mut().enumerate() {
            peer.push(span, &mut arena);
            peer.advance(taken, &mut arena);
            peer.set_apart(&mut arena);
        }
        arena.clear(&mut Vec::new());
        let chunks: Vec<&[u8]> = peers.iter().map(|peer| peer.chunks(&arena).next().unwrap()).collect();
        assert_eq!(chunks.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), [5000, 4999, 4998]);
        assert_eq!(chunks[0][2..].as_ptr(), chunks[2].as_ptr());
    }

    #[test]
    fn the_end_of_a_shared_chunk_holds_on_to_nothing_else() {
        let (mut outbound, mut arena) = (Outbound::default(), Arena::default());
        outbound.push(append(&mut arena, 0, &[7; 8_000]), &mut arena);
        outbound.set_apart(&mut arena);
        arena.clear(&mut Vec::new());
        for (taken, shared) in [(7_000, true), (1, false), (998, false)] {
            outbound.advance(taken, &mut arena);
            let chunk = &outbound.backlog.as_ref().unwrap().chunks[0];
            assert_eq!(matches!(chunk, Chunk::Shared(_)), shared, "{} are left", outbound.len());
        }
        assert_eq!(written(&outbound, &arena), [7]);
    }

    /// Some peers, some turns: each gets what it was queued, in order, whatever its socket takes and when.
    #[test]
    fn equals_one_long_vector_for_each_peer() {
        let mut random = Random::new(11);
        for _ in 0..20 {
            let mut arena = Arena::default();
            let mut peers: Vec<(Outbound, Vec<u8>)> = Vec::new();
            peers.resize_with(4, Default::default);
            for _ in 0..100 {
                for _ in 0..random.below(12) {
                    let lane = [0, 1, REPLIES][random.below(3)];
                    let bytes_max = [20, 300, 40_000][random.below(3)];
                    let frame = random.octets(bytes_max);
                    let span = append(&mut arena, lane, &frame);
                    for (outbound, twin) in &mut peers {
                        if random.below(3) > 0 {
                            outbound.push(span, &mut arena);
                            twin.extend_from_slice(&frame);
                        }
                        assert_eq!(outbound.len(), twin.len());
                    }
                    let (outbound, twin) = &mut peers[random.below(4)];
                    let taken = random.below(twin.len() + 1);
                    assert_eq!(written(outbound, &arena)[..taken], twin[..taken]);
                    outbound.advance(taken, &mut arena);
                    twin.drain(..taken);
                }
                for (outbound, twin) in &mut peers {
                    assert!(written(outbound, &arena) == *twin);
                    assert!(outbound.chunks(&arena).all(|chunk| !chunk.is_empty()));
                    let taken = [0, twin.len(), random.below(twin.len() + 1)][random.below(3)];
                    outbound.advance(taken, &mut arena);
                    twin.drain(..taken);
                    outbound.set_apart(&mut arena);
                    assert_eq!(outbound.backlog.is_none(), twin.is_empty());
                }
                arena.clear(&mut Vec::new());
                assert!(peers.iter().all(|(outbound, twin)| written(outbound, &arena) == *twin));
            }
        }
    }
}
