//! Values by URI and match policy, split among locks: one of the two tables of a directory.
//!
//! Exact URIs stand in `BUCKETS` partitions by hash, all patterns in one more. Beside them stands where each identifier
//! is, for the meta API. What the locks and the generations promise stands with the directory, which alone calls what
//! is here.

use std::hash::BuildHasher;

use crossbeam::utils::CachePadded;
use foldhash::fast::RandomState;

use super::super::pattern::UriMap;
use super::super::session::Map;
use super::DirectoryKey;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::wamp::MatchPolicy;

/// When an answer was given: [`topic_current`](super::Directory::topic_current) and
/// [`procedure_current`](super::Directory::procedure_current) tell whether it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    bucket: usize,
    bucket_generation: u64,
    patterns_generation: u64,
}

/// Values by URI and policy, split among locks.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: RandomState,
    /// Exact URIs, by hash.
    buckets: Box<[Partition<V>]>,
    /// All prefixes and wildcards: a lookup must see every one of them.
    pub(super) patterns: Partition<V>,
    /// Where each identifier stands, by its lowest bits.
    places: Box<[Mutex<Map<u64, DirectoryKey>>]>,
}

impl<V> Table<V> {
    pub(super) fn new(pattern_shapes_max: usize) -> Table<V> {
        Table {
            hasher: RandomState::default(),
            // Exact URIs are one shape.
            buckets: (0..BUCKETS).map(|_| Partition::new(1)).collect(),
            patterns: Partition::new(pattern_shapes_max),
            places: (0..BUCKETS).map(|_| Mutex::new(Map::default())).collect(),
        }
    }

    /// An identifier has been given to the entry at this place, whose partition is locked.
    pub(super) fn begin(&self, id: u64, place: DirectoryKey) {
        self.places[id as usize % BUCKETS].lock().insert(id, place);
    }

    /// An identifier stands for nothing any more.
    pub(super) fn end(&self, id: u64) {
        let mut places = self.places[id as usize % BUCKETS].lock();
        places.remove(&id);
        let count = places.len();
        if places.capacity() > SMALL.max(ROOM_MAX * count) {
            places.shrink_to(2 * count);
        }
    }

    /// Where an identifier stands, or stood just now.
    pub(super) fn place_of(&self, id: u64) -> Option<DirectoryKey> {
        self.places[id as usize % BUCKETS].lock().get(&id).copied()
    }

    /// Where `uri` with this policy is kept.
    pub(super) fn partition_of(&self, uri: &str, policy: MatchPolicy) -> (u32, &Partition<V>) {
        let place = match policy {
            MatchPolicy::Exact => self.bucket(uri).0,
            MatchPolicy::Prefix | MatchPolicy::Wildcard => self.buckets.len(),
        } as u32;
        (place, self.partition(place))
    }

    /// A bucket, or the patterns.
    pub(super) fn partition(&self, place: u32) -> &Partition<V> {
        self.buckets.get(place as usize).unwrap_or(&self.patterns)
    }

    pub(super) fn bucket(&self, uri: &str) -> (usize, &Partition<V>) {
        // The maps inside use the lowest and the highest bits of their hashes; theirs have other seeds besides.
        let index = (self.hasher.hash_one(uri) >> 32) as usize % BUCKETS;
        (index, &self.buckets[index])
    }

    /// To be asked while the bucket and the patterns are locked.
    pub(super) fn stamp(&self, bucket: usize) -> Stamp {
        Stamp {
            bucket,
            bucket_generation: self.buckets[bucket].generation(),
            patterns_generation: self.patterns.generation(),
        }
    }

    pub(super) fn current(&self, stamp: Stamp) -> bool {
        self.buckets[stamp.bucket].generation() == stamp.bucket_generation
            && self.patterns.generation() == stamp.patterns_generation
    }

    /// All partitions, in the order of their places.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &Partition<V>> {
        self.buckets.iter().chain([&self.patterns])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patterns.entries.read().is_empty()
            && self.buckets.iter().all(|bucket| bucket.entries.read().is_empty())
            && self.places.iter().all(|places| places.lock().is_empty())
    }
}

/// One lock's part of a table. The generation has a cache line to itself: it is read at every lookup, and the lock is
/// written to by every miss.
#[derive(Debug)]
pub(super) struct Partition<V> {
    generation: CachePadded<AtomicU64>,
    pub(super) entries: CachePadded<RwLock<UriMap<V>>>,
}

impl<V> Partition<V> {
    pub(super) fn new(shapes_max: usize) -> Partition<V> {
        Partition {
            generation: CachePadded::new(AtomicU64::new(0)),
            entries: CachePadded::new(RwLock::new(UriMap::new(shapes_max))),
        }
    }

    /// To be called under the write lock.
    pub(super) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Partitions of the exact URIs of a table: so many that shards seldom meet, and that one change makes few cached
/// answers stale. A model has one, because it must not depend on a random hash.
pub(super) const BUCKETS: usize = if cfg!(loom) { 1 } else { 64 };

/// A map of places shrinks when it has room for more than so many times what is in it, unless it is small.
const ROOM_MAX: usize = 8;
const SMALL: usize = 64;
