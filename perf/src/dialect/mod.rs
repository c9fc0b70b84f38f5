//! What the systems speak that Fanwire is compared with, as far as a load generator is concerned.
//!
//! One module for each [`fanwire::load::Dialect`]: [`relay`] for the yardstick, [`nats`] for NATS, [`websocket`] for a
//! broadcast of plain WebSocket messages. Each encodes what it sends once, before the run, up to the stamp; none decodes
//! what comes in further than the length of a frame and its stamp.

pub mod nats;
pub mod relay;
pub mod websocket;

use fanwire::load::stamp::{FILLER, STAMP_BYTES};

/// The filler that a stamp makes a payload of that many octets.
fn filler(payload_bytes: usize) -> Vec<u8> {
    vec![FILLER; payload_bytes.saturating_sub(STAMP_BYTES)]
}

/// Octets of a payload for which so many are asked: at least its stamp.
fn stamped_bytes(payload_bytes: usize) -> usize {
    payload_bytes.max(STAMP_BYTES)
}
