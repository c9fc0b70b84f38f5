//! Client libraries that others wrote against the real binary.
//!
//! Each library has a script that plays both sides of every scenario and reports on it; `scenario.rs` lists what must
//! be reported; `advanced.rs` does so for the features of the Advanced Profile. `cross.rs` lets all libraries, transports
//! and serializers meet on one router, and `examples.rs` runs the examples that newcomers are given.
//!
//! Over TLS and with configurations, `authentication.rs` lets each library prove who it is by every method that it has,
//! `dynamic.rs` has procedures in Python decide that and what clients may do, and `imported.rs` does both as Crossbar.io
//! was told to: there the scripts do what a [`joiner`] tells them.
//!
//! The libraries are installed by the tests (`install.rs`), pinned by `requirements.txt` and `package.json`.
//!
//! Each test starts a router of its own on a free port. `FANWIRE_TEST_URL=ws://host:port/ws` has those without a
//! configuration use one that runs already, of any make, which must offer `realm1` to anonymous clients there, with
//! RawSocket on the same port, and long-poll at `/lp`.

mod advanced;
mod authentication;
mod authority;
mod cross;
mod dynamic;
mod examples;
mod imported;
mod install;
mod joiner;
mod node;
mod process;
mod python;
mod router;
mod scenario;
