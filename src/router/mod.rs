//! All routing state: sans-IO and deterministic.

pub mod directory;
pub mod letter;
pub mod match_cache;
pub mod pattern;
pub mod realm;
pub mod shard;

pub use letter::Letter;
pub use realm::{ListenerSettings, RealmSettings, Router, Settings};
pub use shard::{Closing, Shard};

/// Which shard; below the router's shard count, at most 63.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardIndex(pub u8);

impl ShardIndex {
    /// As a position in arrays of one entry a shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A peer of one shard. `index` is its place in the shard's slab, which is used again after the peer has gone; with
/// `serial` the key is never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PeerKey {
    /// Place in the slab; small and dense, so the shell can index its sockets by it.
    pub index: u32,
    /// How often the place was used before.
    pub serial: u32,
}

/// Position of a listener in [`Settings::listeners`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerIndex(pub u32);

/// Position of a realm in the router's list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RealmKey(pub u32);
