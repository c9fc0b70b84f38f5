//! Fanwire beside a relay and beside other systems.
//!
//! [`relay`] is the yardstick: what a single epoll thread does that copies frames and knows no protocol.
//! [`frame`] is what it speaks. The binaries are `relay` and `load`; `compare`, beside this package's manifest,
//! runs them all and writes the tables and plots.

#![forbid(unsafe_code)]

pub mod frame;
pub mod relay;
