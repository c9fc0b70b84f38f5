//! Fanwire: a WAMP router for high fan-out.

pub mod client;
pub mod codec;
pub mod error;
pub mod limits;
pub mod router;
pub mod transport;
pub mod wamp;
