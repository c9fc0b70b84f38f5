//! The client commands end to end: the real binary against the real router, over every transport and in every
//! serializer; and against routers of the tests' own where the real one does not misbehave, or has no TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed, in its helpers as well")]

mod authentication;
mod bench;
mod calls;
mod config;
mod events;
mod exits;
mod joining;
mod keys;
mod process;
mod reload;
mod scripted;
mod tls;
