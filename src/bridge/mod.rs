//! What makes peers of clients that have no byte stream of their own.
//!
//! [`longpoll`] is the HTTP long-poll transport: many short requests on any number of connections are one peer.
//! [`http`] reads requests and writes answers, [`batch`] puts messages into bodies. All of it is sans-IO: octets and
//! time go in, octets and deadlines come out, and `server/bridge.rs` moves them. To a shard such a client is a peer
//! like any other, on a stream whose other end is here.

pub mod batch;
mod connection;
pub mod http;
pub mod longpoll;
mod polled;
#[cfg(test)]
mod scrambled;
