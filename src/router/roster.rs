//! Who here has which subscription: the *rosters* of one realm in one shard, and the *places* a session has in them.
//!
//! There may be a million of either, most with one peer or in one session, so both are as small as that allows: a
//! roster holds four peers without memory of its own, a session two places, and a place is eight octets.
//!
//! Invariant: a peer stands in a roster exactly if the roster stands among the places of its session, with the peer's
//! position in it. [`Rosters`] and [`Places`] each know one half; the broker changes both in one function.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use super::directory::DirectoryKey;
use super::hashed_slab::HashedSlab;
use crate::wamp::SubscriptionId;

/// The peers here that have a subscription.
#[derive(Debug)]
struct Roster {
    subscription: SubscriptionId,
    /// Where the directory has it.
    key: DirectoryKey,
    /// Places in the shard's slab. Their order is that of subscribing, but for the gaps that leaving closes with the
    /// last one.
    peers: SmallVec<[u32; 4]>,
}

/// Names a roster while there is one; afterwards it may name another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RosterKey(u32);

/// What [`Rosters::strike`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Struck {
    /// Whose roster it was.
    pub subscription: SubscriptionId,
    /// Where the directory has the subscription.
    pub key: DirectoryKey,
    /// The peer that has the position now, if any.
    pub moved: Option<u32>,
    /// Nobody is left, and the roster is gone.
    pub last: bool,
}

/// The rosters.
#[derive(Debug, Default)]
pub struct Rosters {
    slab: HashedSlab<Roster>,
    hasher: RandomState,
}

impl Rosters {
    /// The roster of a subscription, if anybody here has it.
    pub fn find(&self, subscription: SubscriptionId) -> Option<RosterKey> {
        let hash = self.hasher.hash_one(subscription);
        self.slab.find(hash, |roster| roster.subscription == subscription).map(RosterKey)
    }

    /// The peers that have a subscription.
    pub fn peers(&self, subscription: SubscriptionId) -> &[u32] {
        let roster = self.find(subscription).and_then(|key| self.slab.get(key.0));
        roster.map_or(&[], |roster| &roster.peers)
    }

    /// Whose roster it is.
    ///
    /// # Panics
    ///
    /// If there is none: a session's places are in rosters.
    pub fn subscription(&self, key: RosterKey) -> SubscriptionId {
        self.slab.get(key.0).expect("a session stands in rosters that are here").subscription
    }

    /// Puts a peer last in the roster of a subscription; says which roster that is, and the peer's position in it.
    pub fn enroll(&mut self, subscription: SubscriptionId, key: DirectoryKey, peer: u32) -> (RosterKey, u32) {
        let Some(roster_key) = self.find(subscription) else {
            let roster = Roster { subscription, key, peers: SmallVec::from_iter([peer]) };
            return (RosterKey(self.slab.insert(roster, hash_of(&self.hasher))), 0);
        };
        let roster = self.slab.get_mut(roster_key.0).expect("it was found");
        let position = roster.peers.len() as u32;
        roster.peers.push(peer);
        (roster_key, position)
    }

    /// Takes the peer at this position out.
    ///
    /// # Panics
    ///
    /// If there is no such position: where a session stands is known to the session.
    pub fn strike(&mut self, key: RosterKey, position: u32) -> Struck {
        let roster = self.slab.get_mut(key.0).expect("a session leaves a roster it stands in");
        roster.peers.swap_remove(position as usize);
        let moved = roster.peers.get(position as usize).copied();
        let last = roster.peers.is_empty();
        let struck = Struck { subscription: roster.subscription, key: roster.key, moved, last };
        if last {
            self.slab.remove(key.0, hash_of(&self.hasher));
        }
        struck
    }

    /// True if nobody here is subscribed to anything.
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

fn hash_of(hasher: &RandomState) -> impl Fn(&Roster) -> u64 {
    |roster| hasher.hash_one(roster.subscription)
}

/// Where a session stands: its position in the roster of each of its subscriptions.
///
/// A sorted list. Most sessions have few; with 4,096, the most a session may have by default, a search takes 12 steps,
/// and an insertion moves 32 KiB at worst.
#[derive(Debug, Default)]
pub struct Places {
    sorted: SmallVec<[(RosterKey, u32); 2]>,
}

impl Places {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The position in a roster, if the session stands in it.
    pub fn position(&self, roster: RosterKey) -> Option<u32> {
        self.search(roster).ok().map(|place| self.sorted[place].1)
    }

    /// Notes a position, in a new roster or in one where it had another.
    pub fn set(&mut self, roster: RosterKey, position: u32) {
        match self.search(roster) {
            Ok(place) => self.sorted[place].1 = position,
            Err(place) => self.sorted.insert(place, (roster, position)),
        }
    }

    /// Takes a place out; says the position it had.
    pub fn remove(&mut self, roster: RosterKey) -> Option<u32> {
        let place = self.search(roster).ok()?;
        let (_, position) = self.sorted.remove(place);
        if self.sorted.is_empty() {
            self.sorted = SmallVec::new();
        }
        Some(position)
    }

    /// All, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (RosterKey, u32)> {
        self.sorted.iter().copied()
    }

    fn search(&self, roster: RosterKey) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&roster, |(known, _)| *known)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use std::collections::BTreeMap;

    use super::super::directory::Directory;
    use super::super::pattern::tests::Random;
    use super::*;
    use crate::router::ShardIndex;
    use crate::wamp::{MatchPolicy, SessionId};

    /// Any key of a directory; the rosters only keep it.
    fn directory_key() -> DirectoryKey {
        let directory = Directory::new(1);
        directory.subscribe("a", MatchPolicy::Exact, ShardIndex(0), SessionId(1), 0).unwrap().key
    }

    /// Rosters, the places of eight peers, and what both should say: who has what, in order.
    struct Pair {
        rosters: Rosters,
        places: [Places; 8],
        twin: BTreeMap<SubscriptionId, Vec<u32>>,
    }

    impl Pair {
        fn enroll(&mut self, subscription: SubscriptionId, peer: u32, key: DirectoryKey) {
            let (roster, position) = self.rosters.enroll(subscription, key, peer);
            self.places[peer as usize].set(roster, position);
            self.twin.entry(subscription).or_default().push(peer);
        }

        fn strike(&mut self, subscription: SubscriptionId, peer: u32) {
            let roster = self.rosters.find(subscription).unwrap();
            let position = self.places[peer as usize].remove(roster).unwrap();
            let struck = self.rosters.strike(roster, position);
            if let Some(moved) = struck.moved {
                self.places[moved as usize].set(roster, position);
            }
            let peers = self.twin.get_mut(&subscription).unwrap();
            peers.swap_remove(peers.iter().position(|known| *known == peer).unwrap());
            assert_eq!((struck.subscription, struck.last), (subscription, peers.is_empty()));
            if struck.last {
                self.twin.remove(&subscription);
            }
        }

        fn check(&self) {
            let places: usize = self.places.iter().map(Places::count).sum();
            assert_eq!(places, self.twin.values().map(Vec::len).sum::<usize>());
            for (subscription, peers) in &self.twin {
                assert_eq!(self.rosters.peers(*subscription), peers);
                let roster = self.rosters.find(*subscription).unwrap();
                for (position, peer) in peers.iter().enumerate() {
                    assert_eq!(self.places[*peer as usize].position(roster), Some(position as u32));
                }
            }
        }
    }

    #[test]
    fn rosters_and_places_say_what_their_naive_twin_says() {
        let key = directory_key();
        let mut random = Random(3);
        let mut pair =
            Pair { rosters: Rosters::default(), places: Default::default(), twin: BTreeMap::default() };
        for _ in 0..3000 {
            let (subscription, peer) = (SubscriptionId(random.below(12) as u64), random.below(8) as u32);
            match pair.twin.get(&subscription).is_some_and(|peers| peers.contains(&peer)) {
                true => pair.strike(subscription, peer),
                false => pair.enroll(subscription, peer, key),
            }
            pair.check();
        }
        while let Some((&subscription, peers)) = pair.twin.first_key_value() {
            pair.strike(subscription, peers[0]);
        }
        assert!(pair.rosters.is_empty() && pair.places.iter().all(|places| !places.sorted.spilled()));
    }

    #[test]
    fn one_of_a_million_subscriptions_is_small() {
        assert_eq!((size_of::<Roster>(), size_of::<Places>()), (40, 24));
    }
}
