//! What the WAMP specification promises, file by file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod announced;
mod canceling;
mod disclosure;
mod limits;
mod progressive;
mod pubsub;
mod rerouting;
mod rpc;
mod sessions;
mod shared;
mod timeouts;
mod vectors;
mod wire;
