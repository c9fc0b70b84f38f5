//! Fanwire: a WAMP router for high fan-out.

pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod counters;
pub mod error;
pub mod limits;
pub mod router;
pub mod server;
mod sync;
pub mod transport;
pub mod wamp;
