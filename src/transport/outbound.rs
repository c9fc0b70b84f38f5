//! The queue of bytes to one peer.
//!
//! ```text
//!   Copied(16 KiB) - Shared(Bytes) - Copied(...)      small frames are copied together, large ones shared
//!    ^ offset: octets of the first chunk that are written already
//! ```

use bytes::Bytes;

/// Free chunks of a shard.
#[derive(Debug, Default)]
pub struct ChunkPool {}

/// The queue.
#[derive(Debug, Default)]
pub struct Outbound {}

impl Outbound {
    /// Octets not yet written.
    pub fn len(&self) -> usize {
        0
    }

    /// True if all is written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a copy.
    pub fn copy(&mut self, frame: &[u8], pool: &mut ChunkPool) {
        let _ = (frame, pool);
    }

    /// Appends a reference.
    pub fn share(&mut self, frame: Bytes) {
        let _ = frame;
    }

    /// What is to be written, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// `bytes` octets were written.
    pub fn advance(&mut self, bytes: usize, pool: &mut ChunkPool) {
        let _ = (bytes, pool);
    }

    /// Forgets everything.
    pub fn clear(&mut self, pool: &mut ChunkPool) {
        let _ = pool;
    }
}
