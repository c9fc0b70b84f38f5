//! The queue of bytes to one peer.
//!
//! ```text
//!   queue: Copied - Shared(Bytes) - Copied    tail: what is being filled
//!            ^ offset: octets of the first chunk that are written already
//! ```
//!
//! Small frames are copied together into chunks, large ones are shared. The tail is kept outside the queue, so a peer
//! that gets small frames only, and takes them, never has a queue. It begins small and is exchanged for a large chunk
//! when it is full: an event to 100,000 peers in one turn takes 100 MB for that turn, and not 1.6 GB. An empty
//! `Outbound` owns no memory at all.
//!
//! Invariants: `len` is the sum of all chunks less `offset`; `offset` is less than the length of the first chunk;
//! no chunk of the queue is empty.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;

use crate::limits::{FRAME_COPY_BYTES_MAX, OUTBOUND_CHUNK_BYTES, OUTBOUND_POOL_CHUNKS_MAX};

/// Bytes of the chunk a queue begins with: what is copied fits.
const SMALL_CHUNK_BYTES: usize = FRAME_COPY_BYTES_MAX;

/// Free small chunks a shard keeps: as many bytes as in large ones.
const SMALL_POOL_CHUNKS_MAX: usize = OUTBOUND_POOL_CHUNKS_MAX * (OUTBOUND_CHUNK_BYTES / SMALL_CHUNK_BYTES);

/// Free chunks of a shard.
#[derive(Debug, Default)]
pub struct ChunkPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl ChunkPool {
    fn take_small(&mut self) -> Vec<u8> {
        self.small.pop().unwrap_or_else(|| Vec::with_capacity(SMALL_CHUNK_BYTES))
    }

    fn take_large(&mut self) -> Vec<u8> {
        self.large.pop().unwrap_or_else(|| Vec::with_capacity(OUTBOUND_CHUNK_BYTES))
    }

    /// Takes back what was taken; gives to the allocator what is too much or not of a chunk's size.
    fn give(&mut self, mut chunk: Vec<u8>) {
        let (free, chunks_max) = match chunk.capacity() {
            OUTBOUND_CHUNK_BYTES.. => (&mut self.large, OUTBOUND_POOL_CHUNKS_MAX),
            SMALL_CHUNK_BYTES.. => (&mut self.small, SMALL_POOL_CHUNKS_MAX),
            _ => return,
        };
        if free.len() < chunks_max {
            chunk.clear();
            free.push(chunk);
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub struct Outbound {
    queue: VecDeque<Chunk>,
    tail: Vec<u8>,
    len: usize,
    offset: usize,
}

impl Outbound {
    /// Octets not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if all is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a copy.
    pub fn copy(&mut self, frame: &[u8], pool: &mut ChunkPool) {
        self.len += frame.len();
        let mut rest = frame;
        while !rest.is_empty() {
            if self.tail.len() == self.tail.capacity() {
                self.exchange_tail(rest.len(), pool);
            }
            let room = self.tail.capacity() - self.tail.len();
            let (fits, after) = rest.split_at(rest.len().min(room));
            self.tail.extend_from_slice(fits);
            rest = after;
        }
    }

    /// Appends a reference.
    pub fn share(&mut self, frame: Bytes) {
        if frame.is_empty() {
            return;
        }
        self.seal_tail();
        self.len += frame.len();
        self.queue.push_back(Chunk::Shared(frame));
    }

    /// What is to be written, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let queue = self.queue.iter().map(Chunk::octets);
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_slice());
        let mut offset = self.offset;
        queue.chain(tail).map(move |octets| &octets[mem::take(&mut offset)..])
    }

    /// `bytes` octets were written; at most [`Outbound::len`].
    pub fn advance(&mut self, bytes: usize, pool: &mut ChunkPool) {
        assert!(bytes <= self.len, "more octets written than were queued");
        self.len -= bytes;
        self.offset += bytes;
        while let Some(first) = self.queue.front() {
            let first_len = first.octets().len();
            if self.offset < first_len {
                return;
            }
            self.offset -= first_len;
            if let Some(Chunk::Copied(chunk)) = self.queue.pop_front() {
                pool.give(chunk);
            }
        }
        if self.len == 0 {
            self.clear(pool);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut ChunkPool) {
        let forgotten = mem::take(self);
        pool.give(forgotten.tail);
        for chunk in forgotten.queue {
            if let Chunk::Copied(chunk) = chunk {
                pool.give(chunk);
            }
        }
    }

    /// The tail is full or not there: a small one is replaced by a large one with the same octets, so `offset` holds.
    fn exchange_tail(&mut self, bytes_wanted: usize, pool: &mut ChunkPool) {
        let full = mem::take(&mut self.tail);
        match full.capacity() {
            0 if bytes_wanted <= SMALL_CHUNK_BYTES && self.queue.is_empty() => self.tail = pool.take_small(),
            0 => self.tail = pool.take_large(),
            OUTBOUND_CHUNK_BYTES.. => {
                self.queue.push_back(Chunk::Copied(full));
                self.tail = pool.take_large();
            }
            _ => {
                self.tail = pool.take_large();
                self.tail.extend_from_slice(&full);
                pool.give(full);
            }
        }
    }

    /// Moves the tail to the end of the queue. If it is less than half full its octets are copied to a buffer of
    /// their size and the chunk goes on as the tail's, so that small copies between shared frames cannot hold many
    /// times the memory that is counted.
    fn seal_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        if self.tail.len() < self.tail.capacity() / 2 {
            self.queue.push_back(Chunk::Copied(self.tail.as_slice().to_vec()));
            self.tail.clear();
        } else {
            self.queue.push_back(Chunk::Copied(mem::take(&mut self.tail)));
        }
    }
}

#[derive(Debug)]
enum Chunk {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn octets(&self) -> &[u8] {
        match self {
            Chunk::Copied(octets) => octets,
            Chunk::Shared(octets) => octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn written(outbound: &Outbound) -> Vec<u8> {
        outbound.chunks().flatten().copied().collect()
    }

    fn assert_invariants(outbound: &Outbound) {
        let sum: usize = outbound.queue.iter().map(|chunk| chunk.octets().len()).sum();
        assert_eq!(outbound.len, sum + outbound.tail.len() - outbound.offset);
        assert!(outbound.chunks().all(|chunk| !chunk.is_empty()));
        if outbound.is_empty() {
            assert_eq!(outbound.queue.capacity() + outbound.tail.capacity(), 0);
        }
    }

    #[test]
    fn small_frames_share_one_chunk() {
        let (mut outbound, mut pool) = (Outbound::default(), ChunkPool::default());
        outbound.copy(b"one", &mut pool);
        outbound.copy(b"two", &mut pool);
        assert_eq!(outbound.chunks().collect::<Vec<_>>(), [b"onetwo"]);
        outbound.advance(4, &mut pool);
        outbound.copy(b"!", &mut pool);
        assert_eq!(written(&outbound), b"wo!");
        assert_eq!(outbound.queue.capacity(), 0);
    }

    #[test]
    fn copies_larger_than_a_chunk_are_cut() {
        let (mut outbound, mut pool) = (Outbound::default(), ChunkPool::default());
        let frame: Vec<u8> = (0..OUTBOUND_CHUNK_BYTES * 2 + 1).map(|octet| octet as u8).collect();
        outbound.copy(&frame, &mut pool);
        assert_eq!(outbound.chunks().count(), 3);
        assert_eq!(written(&outbound), frame);
    }

    #[test]
    fn an_idle_queue_holds_nothing_and_the_pool_is_bounded() {
        let mut pool = ChunkPool::default();
        let mut peers: Vec<Outbound> = Vec::new();
        peers.resize_with(SMALL_POOL_CHUNKS_MAX + 10, Outbound::default);
        for outbound in &mut peers {
            outbound.copy(b"event", &mut pool);
        }
        for outbound in &mut peers {
            outbound.advance(5, &mut pool);
            assert_invariants(outbound);
        }
        assert_eq!((pool.small.len(), pool.large.len()), (SMALL_POOL_CHUNKS_MAX, 0));
        let few = &mut peers[..OUTBOUND_POOL_CHUNKS_MAX + 10];
        for outbound in &mut *few {
            outbound.copy(&[1; SMALL_CHUNK_BYTES + 1], &mut pool);
        }
        for outbound in few {
            outbound.clear(&mut pool);
            assert_invariants(outbound);
        }
        assert_eq!((pool.small.len(), pool.large.len()), (SMALL_POOL_CHUNKS_MAX, OUTBOUND_POOL_CHUNKS_MAX));
        assert!(pool.small.iter().chain(&pool.large).all(|chunk| chunk.is_empty()));
    }

    #[test]
    fn a_queue_begins_with_a_small_chunk() {
        let (mut outbound, mut pool) = (Outbound::default(), ChunkPool::default());
        outbound.copy(&[1; SMALL_CHUNK_BYTES], &mut pool);
        assert_eq!(outbound.tail.capacity(), SMALL_CHUNK_BYTES);
        outbound.advance(1000, &mut pool);
        outbound.copy(&[2; 10], &mut pool);
        assert_eq!(outbound.tail.capacity(), OUTBOUND_CHUNK_BYTES);
        assert_eq!(pool.small.len(), 1);
        assert_eq!(written(&outbound), [vec![1; 24], vec![2; 10]].concat());
    }

    #[test]
    fn small_copies_between_shared_frames_hold_no_whole_chunks() {
        let (mut outbound, mut pool) = (Outbound::default(), ChunkPool::default());
        let large = Bytes::from(vec![1; 2000]);
        for _ in 0..100 {
            outbound.copy(b"small", &mut pool);
            outbound.share(large.clone());
        }
        let held: usize = outbound
            .queue
            .iter()
            .map(|chunk| match chunk {
                Chunk::Copied(octets) => octets.capacity(),
                Chunk::Shared(_) => 0,
            })
            .sum();
        assert!(held <= 100 * 16, "{held}");
    }

    #[test]
    fn equals_one_long_vector() {
        let mut random = Random::new(11);
        for _ in 0..10 {
            let (mut outbound, mut pool) = (Outbound::default(), ChunkPool::default());
            let mut twin: Vec<u8> = Vec::new();
            for _ in 0..200 {
                let octets = random.octets(50_000);
                match random.below(8) {
                    0 => {
                        outbound.copy(&octets, &mut pool);
                        twin.extend_from_slice(&octets);
                    }
                    1 | 2 => {
                        let few = &octets[..octets.len().min(random.below(300))];
                        outbound.copy(few, &mut pool);
                        twin.extend_from_slice(few);
                    }
                    3 => {
                        twin.extend_from_slice(&octets);
                        outbound.share(Bytes::from(octets));
                    }
                    4 if random.below(20) == 0 => {
                        outbound.clear(&mut pool);
                        twin.clear();
                    }
                    5 => {
                        outbound.advance(twin.len(), &mut pool);
                        twin.clear();
                    }
                    _ => {
                        let count = random.below(twin.len() + 1);
                        outbound.advance(count, &mut pool);
                        twin.drain(..count);
                    }
                }
                assert_eq!(outbound.len(), twin.len());
                assert_eq!(outbound.is_empty(), twin.is_empty());
                assert_invariants(&outbound);
            }
            assert_eq!(written(&outbound), twin);
        }
    }
}
