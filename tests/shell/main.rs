//! The shell over real sockets: readiness, cut and reset streams, full queues, limits, drain, and the process itself.
//!
//! What messages mean is tested elsewhere; here a client is forty lines that write and read frames. Every port is 0,
//! and nothing sleeps: a test waits for an octet, the end of a stream, or the end of a thread.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod connections;
mod drain;
mod flow;
mod longpoll;
mod pages;
mod process;
mod proxies;
mod reload;
mod setup;
mod tls;
mod tls_flow;
mod tls_log;
