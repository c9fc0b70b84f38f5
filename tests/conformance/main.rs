//! What the WAMP specification promises, file by file.

mod pubsub;
mod rpc;
mod sessions;
mod vectors;
mod wire;
