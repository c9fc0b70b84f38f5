//! What one shard tells another.

/// A letter; at most 64 bytes, bodies are boxed or shared.
#[derive(Debug)]
pub enum Letter {}

impl Letter {
    /// Octets of payload it carries: what it counts for in a mailbox's byte bound.
    pub fn bytes(&self) -> usize {
        match *self {}
    }
}
