//! What the WAMP specification promises, file by file.

mod vectors;
