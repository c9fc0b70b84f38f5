//! One partition of the router's state: bytes, letters and time go in; bytes, letters and a deadline come out.
//!
//! The order of calls in one turn of whoever drives it:
//!
//! ```text
//!   take_letter*  (open | receive | input_ended | close)*  expire  settle  letters(to)*  dirty -> outbound/advance  closing
//! ```

use std::sync::Arc;
use std::time::Instant;

use super::{Letter, ListenerIndex, PeerKey, Router, ShardIndex};
use crate::error::CloseReason;
use crate::transport::outbound::Outbound;

/// What must be done to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closing {
    /// All is written: shut the writing side down, go on reading (what comes is ignored) until the peer closes. The
    /// peer would lose our last words to a reset if we closed with its bytes unread.
    Shutdown,
    /// Drop the connection. The key is dead.
    Drop(CloseReason),
}

/// The shard.
#[derive(Debug)]
pub struct Shard {}

#[allow(unused_variables)]
impl Shard {
    /// An empty shard. `seed` is its only source of chance: session ids (from a strong generator), publication ids.
    pub fn new(router: Arc<Router>, index: ShardIndex, seed: [u8; 32]) -> Shard {
        Shard {}
    }

    // Input.

    /// A connection exists. `full`: there are too many; its handshake will be refused.
    pub fn open(&mut self, listener: ListenerIndex, full: bool, now: Instant) -> PeerKey {
        PeerKey { index: 0, serial: 0 }
    }

    /// Bytes came, cut anywhere; unmasks in place. Handles whole messages while [`Shard::wants_input`] holds, keeps
    /// the rest. A dead key is ignored.
    pub fn receive(&mut self, key: PeerKey, bytes: &mut [u8], now: Instant) {}

    /// The peer will send no more (end of file). Its session leaves; what is queued for it is still written.
    pub fn input_ended(&mut self, key: PeerKey, now: Instant) {}

    /// The connection is gone, or must go at once: nothing more can be written. The key is dead afterwards.
    pub fn close(&mut self, key: PeerKey, reason: CloseReason, now: Instant) {}

    /// A letter from another shard.
    pub fn take_letter(&mut self, letter: Letter, now: Instant) {}

    /// Takes the letters this shard has sent to itself, until there are none.
    pub fn settle(&mut self, now: Instant) {}

    /// Deadlines that have passed.
    pub fn expire(&mut self, now: Instant) {}

    /// Begins the shutdown: new sessions and calls are refused, open calls may finish for half of `drain_ms_max`, then
    /// every session gets GOODBYE. Done when [`Shard::peer_count`] is 0.
    pub fn drain(&mut self, now: Instant) {}

    /// Some other shard's mailbox is above its bound (or no longer): peers are not read meanwhile.
    pub fn congested(&mut self, congested: bool) {}

    // Output.

    /// Takes the peers that have bytes to write. A peer whose bytes were not all taken by its socket is not listed
    /// again for them: the shell writes on when the socket is writable.
    pub fn dirty(&mut self, into: &mut Vec<PeerKey>) {}

    /// The bytes to write; empty for a dead key.
    pub fn outbound(&self, key: PeerKey) -> Option<&Outbound> {
        None
    }

    /// `bytes` octets were written.
    pub fn advance(&mut self, key: PeerKey, bytes: usize, now: Instant) {}

    /// Takes what must be done to connections.
    pub fn closing(&mut self, into: &mut Vec<(PeerKey, Closing)>) {}

    /// Takes the peers that [`Shard::wants_input`] had refused and that want input again. The shell calls `receive`
    /// with no bytes (there may be kept ones) and then reads on.
    pub fn resumed(&mut self, into: &mut Vec<PeerKey>) {}

    /// The letters to another shard, first in first out; the shell takes them all.
    pub fn letters(&mut self, to: ShardIndex) -> &mut Vec<Letter> {
        unimplemented!()
    }

    // Questions.

    /// How long the shell may sleep.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// False if the peer must not be read now.
    pub fn wants_input(&mut self, key: PeerKey) -> bool {
        true
    }

    /// Connections, joined or not.
    pub fn peer_count(&self) -> usize {
        0
    }
}
