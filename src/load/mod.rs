//! A load generator: many connections on one thread, messages encoded before the run, input only walked.
//!
//! Owns what any benchmark of a publish-and-subscribe or remote-call system needs: connections ([`connections`]), the
//! stamp by which deliveries are recognised ([`stamp`]), the CPU time and memory of the measured process
//! ([`process`]), one module for each kind of load, what was wrong with a run ([`verdict`]), and its figures as JSON
//! ([`report`]). What is particular to a system stands in its [`Dialect`]; [`wamp`] is the one of this crate. Command
//! lines, and reports for people, are others' work.
//!
//! ```text
//!   fanout  rpc  topics  crowd        what is sent when, and what is counted       (Load)
//!           drive                     warm-up, measurement, the rest, stalls       (Drive)
//!        connections                  poll, connect, read, walk, write
//!           wamp                      octets of a frame <-> what it means          (Dialect)
//! ```
//!
//! # What a delivered event costs
//!
//! All connections read into one buffer, and frames are walked where they stand; only what is left of a cut frame is
//! copied. Of an event the frame's length, the message's type and the stamp are looked at, and then one counter for
//! the subscriber and one for the publication are touched. Nothing is allocated, decoded or looked up. The clock is
//! read once for each read. So the generator costs little beside its `read`, and the router is what is measured.
//!
//! Invariants: one `read` for each readable socket until it is short, one `write` for each connection a turn; every
//! wait is bounded, so that a silent router ends a run with what is missing, and does not hang it.

mod alarm;
pub mod connections;
pub mod crowd;
pub mod drive;
mod error;
pub mod fanout;
pub mod process;
pub mod report;
pub mod rpc;
mod socket;
pub mod stamp;
pub mod topics;
pub mod verdict;
pub mod wamp;

pub use error::{Ending, LoadError};
pub use stamp::Stamp;

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Sends publications.
    Publisher,
    /// Has subscribed to these topics, `first` and the `count - 1` that follow it, before it is ready.
    Subscriber {
        /// Number of the first topic.
        first: u32,
        /// How many; 1 at least.
        count: u32,
    },
    /// Sends calls.
    Caller,
    /// Has registered the procedure of this number before it is ready.
    Callee {
        /// Number of the procedure.
        procedure: u32,
    },
    /// Has joined, and that is all.
    Idle,
}

/// What a system speaks, as far as a load generator is concerned.
///
/// Topics and procedures are numbers here; how they are written is the dialect's. Every payload ends with a
/// [`Stamp`], in text that every serialization leaves as it is.
pub trait Dialect {
    /// What is to be known of one connection: how far its handshake is, ids that count.
    type Session;

    /// The session of a new connection. `way` says in which of the dialect's ways it speaks (transport, serializer);
    /// dialects with one way ignore it.
    fn session(&self, role: Role, way: usize) -> Self::Session;

    /// Appends what a connection says first. If the other side speaks first, nothing.
    fn open(&self, session: &mut Self::Session, out: &mut Vec<u8>);

    /// Looks at the frame at the front of `input`: how many octets it has (1 at least) and what it is; none if it is
    /// not whole. Appends to `out` what must be answered at once: the next step of a handshake, a PONG.
    fn next(&self, session: &mut Self::Session, input: &[u8], out: &mut Vec<u8>) -> Next;

    /// Appends a publication to a topic.
    fn publish(&self, session: &mut Self::Session, topic: u32, stamp: Stamp, out: &mut Vec<u8>);

    /// Appends a call of a procedure.
    fn call(&self, session: &mut Self::Session, procedure: u32, stamp: Stamp, out: &mut Vec<u8>);

    /// Appends the answer to an invocation: the same payload.
    fn answer(&self, session: &mut Self::Session, request: u64, stamp: Stamp, out: &mut Vec<u8>);

    /// Octets that the largest frame of a run may have.
    fn frame_bytes_max(&self) -> usize;
}

/// A frame's octets and what it is; none if it is not whole; or why the connection is of no use any more.
pub type Next = Result<Option<(usize, Incoming)>, Ending>;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// A step of the handshake; more are to come.
    Handshake,
    /// Joined, subscribed, registered: all that the role asks for. Exactly once for each connection.
    Ready,
    /// A publication has been delivered.
    Event(Stamp),
    /// A call is to be answered.
    Invocation {
        /// What [`Dialect::answer`] is to be given.
        request: u64,
        /// The call's.
        stamp: Stamp,
    },
    /// A call was answered.
    Result(Stamp),
    /// A call failed: the number of the call on this connection, counted from 0.
    Failed(u64),
    /// A publication was acknowledged.
    Acknowledged,
    /// Anything else: PING, PONG, messages without meaning for a benchmark.
    Other,
}
