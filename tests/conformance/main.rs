//! What the WAMP specification promises, file by file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod history;
mod limits;
mod passthru;
mod publishing;
mod pubsub;
mod retention;
mod rpc;
mod sessions;
mod vectors;
mod wire;
