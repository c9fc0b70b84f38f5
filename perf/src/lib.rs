//! Fanwire beside a relay and beside other systems.
//!
//! [`relay`] is the yardstick: what a single epoll thread does that copies frames and knows no protocol.
//! [`frame`] is what it speaks. [`dialect`] is what the load generator needs to know of it and of the other systems.
//! The binaries are `relay` and `load`; `compare`, beside this package's manifest, runs them all and writes the tables
//! and plots.

#![forbid(unsafe_code)]

pub mod dialect;
pub mod frame;
pub mod relay;
