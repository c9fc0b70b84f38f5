//! What the WAMP specification promises, file by file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod announced;
mod authentication;
mod authentication_places;
mod authenticators;
mod authorization;
mod authorizers;
mod authorizers_asked;
mod canceling;
mod chaos;
mod cookies;
mod disclosure;
mod history;
mod limits;
mod meta_registrations;
mod meta_sessions;
mod meta_subscriptions;
mod origin;
mod passthru;
mod permissions;
mod progressive;
mod publishing;
mod pubsub;
mod reloading;
mod rerouting;
mod retention;
mod rpc;
mod sessions;
mod shared;
mod templates;
mod testaments;
mod timeouts;
mod ubjson;
mod vectors;
mod wire;
