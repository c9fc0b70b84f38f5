//! What the WAMP specification promises, file by file.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod vectors;
