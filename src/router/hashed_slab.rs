//! A slab whose entries are also found by a hash of what they are.
//!
//! For tables of very many small entries. A hash map keeps free places, after it has grown more free ones than taken
//! ones, and each is as large as an entry. Here the entries stand close together, a free place costs five octets, and
//! whoever refers to an entry does so by a key of four. The price is one more memory access for a search.
//!
//! What an entry is found by, and how that is hashed, is its owner's: the same for every call, and never changed while
//! the entry is in.
//!
//! Invariants: every entry's key is in `keys` once, under its hash. Memory follows the number of entries down as well
//! as up, but for the slab's: its free places are used again, and given back when the last entry goes. Room for a few
//! is kept even then, since entries that come and go alone are common.

use hashbrown::HashTable;
use slab::Slab;

/// The table of keys shrinks when it has room for more than so many times what is in it; grown, it has room for twice
/// as much.
const ROOM_MAX: usize = 8;

/// Tables of this many keys are not worth shrinking.
const SMALL: usize = 64;

/// What an empty slab keeps room for, at most.
const ENTRIES_KEPT_MAX: usize = 4;

/// The slab.
#[derive(Debug)]
pub struct HashedSlab<T> {
    entries: Slab<T>,
    keys: HashTable<u32>,
}

impl<T> Default for HashedSlab<T> {
    /// Empty; no memory is held.
    fn default() -> HashedSlab<T> {
        HashedSlab { entries: Slab::new(), keys: HashTable::new() }
    }
}

impl<T> HashedSlab<T> {
    /// The key of the entry with this hash that `is_it`.
    #[inline]
    pub fn find(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<u32> {
        self.keys.find(hash, |&key| is_it(&self.entries[key as usize])).copied()
    }

    /// Takes an entry in, of which there must be none equal, and says its key.
    pub fn insert(&mut self, entry: T, hash_of: impl Fn(&T) -> u64) -> u32 {
        let hash = hash_of(&entry);
        let key = self.entries.insert(entry);
        let key = u32::try_from(key).expect("so many entries have no room in memory");
        self.keys.insert_unique(hash, key, |&key| hash_of(&self.entries[key as usize]));
        key
    }

    /// Takes an entry out. Its key will be used again.
    pub fn remove(&mut self, key: u32, hash_of: impl Fn(&T) -> u64) -> Option<T> {
        let entry = self.entries.try_remove(key as usize)?;
        if let Ok(found) = self.keys.find_entry(hash_of(&entry), |&known| known == key) {
            found.remove();
        }
        let len = self.keys.len();
        if len == 0 && self.entries.capacity() > ENTRIES_KEPT_MAX {
            *self = HashedSlab::default();
        } else if self.keys.capacity() > SMALL.max(ROOM_MAX * len) {
            self.keys.shrink_to(2 * len, |&key| hash_of(&self.entries[key as usize]));
        }
        Some(entry)
    }

    /// The entry of a key.
    #[inline]
    pub fn get(&self, key: u32) -> Option<&T> {
        self.entries.get(key as usize)
    }

    /// The same, to change it, but not what it is found by.
    #[inline]
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.entries.get_mut(key as usize)
    }

    /// All entries; their order means nothing.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// True if nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::pattern::tests::Random;
    use super::*;

    /// Poor on purpose: many share one.
    fn hash_of((name, _): &(u32, u32)) -> u64 {
        u64::from(name % 50).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn find(slab: &HashedSlab<(u32, u32)>, name: u32) -> Option<u32> {
        slab.find(hash_of(&(name, 0)), |entry| entry.0 == name)
    }

    #[test]
    fn finds_what_its_naive_twin_finds() {
        let mut random = Random(11);
        let mut slab = HashedSlab::default();
        let mut twin: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for round in 0..20_000 {
            let name = random.below(500) as u32;
            assert_eq!(find(&slab, name), twin.get(&name).map(|known| known.0));
            // It fills up, and then empties.
            match (twin.get(&name).copied(), random.below(10) < if round < 10_000 { 7 } else { 3 }) {
                (None, true) => {
                    let key = slab.insert((name, round), hash_of);
                    assert!(twin.insert(name, (key, round)).is_none());
                }
                (Some((key, value)), false) => {
                    assert_eq!(slab.remove(key, hash_of), Some((name, value)));
                    assert_eq!(slab.remove(key, hash_of), None);
                    twin.remove(&name);
                }
                (Some((key, value)), true) => assert_eq!(slab.get(key), Some(&(name, value))),
                (None, false) => {}
            }
        }
        for (key, _) in twin.into_values() {
            assert!(slab.remove(key, hash_of).is_some());
        }
        assert!(slab.is_empty());
    }

    #[test]
    fn memory_is_given_back() {
        let mut slab = HashedSlab::default();
        let keys: Vec<u32> = (0..10_000).map(|name| slab.insert((name, 0), hash_of)).collect();
        for key in &keys[10..] {
            slab.remove(*key, hash_of);
        }
        assert!(slab.keys.capacity() <= SMALL.max(ROOM_MAX * 10), "{}", slab.keys.capacity());
        assert!((0..10).all(|name| find(&slab, name) == Some(keys[name as usize])));
        for key in &keys[..10] {
            slab.remove(*key, hash_of);
        }
        assert_eq!((slab.keys.capacity(), slab.entries.capacity()), (0, 0));
    }

    #[test]
    fn an_entry_that_comes_and_goes_alone_costs_no_new_memory() {
        let mut slab = HashedSlab::default();
        let key = slab.insert((0, 0), hash_of);
        slab.remove(key, hash_of);
        let kept = (slab.entries.capacity(), slab.keys.allocation_size());
        assert!((1..=ENTRIES_KEPT_MAX).contains(&kept.0), "{kept:?}");
        for name in 0..1_000 {
            assert_eq!(slab.insert((name, 0), hash_of), key);
            assert!(slab.remove(key, hash_of).is_some() && slab.is_empty());
            assert_eq!((slab.entries.capacity(), slab.keys.allocation_size()), kept);
        }
    }
}
