//! What the WAMP specification promises, file by file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod limits;
mod pubsub;
mod rpc;
mod sessions;
mod shared;
mod vectors;
mod wire;
