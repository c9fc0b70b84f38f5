//! A load generator: many connections on one thread, messages encoded before the run, input only walked.
//!
//! Owns what any benchmark of a publish-and-subscribe or remote-call system needs: connections ([`connections`]), the
//! stamp by which deliveries are recognised ([`stamp`]), the CPU time and memory of the measured process
//! ([`process`]), and one module for each kind of load. What is particular to a system stands in its [`Dialect`];
//! [`wamp`] is the one of this crate. Command lines and reports are others' work.
//!
//! ```text
//!   fanout  rpc  topics  crowd        what is sent when, and what is counted       (Load)
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

pub mod connections;
pub mod fanout;
pub mod process;
pub mod stamp;
pub mod wamp;

use std::fmt;
use std::io;

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
    fn next(
        &self,
        session: &mut Self::Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(usize, Incoming)>, Ending>;

    /// Appends a publication to a topic.
    fn publish(&self, session: &mut Self::Session, topic: u32, stamp: Stamp, out: &mut Vec<u8>);

    /// Appends a call of a procedure.
    fn call(&self, session: &mut Self::Session, procedure: u32, stamp: Stamp, out: &mut Vec<u8>);

    /// Appends the answer to an invocation: the same payload.
    fn answer(&self, session: &mut Self::Session, request: u64, stamp: Stamp, out: &mut Vec<u8>);

    /// Octets that the largest frame of a run may have.
    fn frame_bytes_max(&self) -> usize;
}

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

/// Why a connection has ended, or never began.
#[derive(Debug)]
pub enum Ending {
    /// Nobody answers.
    Connect(io::Error),
    /// The transport's handshake failed.
    Handshake(String),
    /// The session was refused or aborted: the router's words.
    Aborted(String),
    /// A request of the setup was answered by an error: the router's words.
    Refused(String),
    /// The router ended the session in good order: its words.
    Goodbye(String),
    /// The router closed the connection without a word.
    Closed,
    /// The connection broke.
    Lost(io::Error),
    /// The router sent what cannot be understood.
    Protocol(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Connect(error) => write!(f, "cannot connect: {error}"),
            Ending::Handshake(what) => write!(f, "no transport was opened: {what}"),
            Ending::Aborted(what) => write!(f, "the router refused or aborted the session: {what}"),
            Ending::Refused(what) => write!(f, "the router refused a request: {what}"),
            Ending::Goodbye(what) => write!(f, "the router ended the session: {what}"),
            Ending::Closed => f.write_str("the router closed the connection"),
            Ending::Lost(error) => write!(f, "the connection broke: {error}"),
            Ending::Protocol(what) => write!(f, "the router broke the protocol: {what}"),
        }
    }
}

impl std::error::Error for Ending {}

/// Why a run came to nothing.
#[derive(Debug)]
pub enum LoadError {
    /// Sessions could not be set up. How many were ready, of how many, and why the first one failed.
    Setup {
        /// Sessions that were ready.
        ready: usize,
        /// Sessions that are needed.
        wanted: usize,
        /// What happened to the first one that failed.
        ending: Ending,
    },
    /// Sessions were not ready in time.
    SetupTimeout {
        /// Sessions that were ready.
        ready: usize,
        /// Sessions that are needed.
        wanted: usize,
    },
    /// The process may not open so many files.
    FileLimit {
        /// Open files that are needed.
        wanted: u64,
        /// Open files that the process may have.
        allowed: u64,
    },
    /// It was interrupted before there was anything to report.
    Interrupted,
    /// The process that is to be measured cannot be.
    Process(String),
    /// The operating system refused something that cannot be done without.
    System(io::Error),
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> LoadError {
        LoadError::System(error)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Setup { ready: 0, ending, .. } => ending.fmt(f),
            LoadError::Setup { ready, wanted, ending } => {
                write!(f, "{ready} of {wanted} sessions were ready, then one failed: {ending}")
            }
            LoadError::SetupTimeout { ready, wanted } => {
                write!(f, "no answer came in time: {ready} of {wanted} sessions are ready")
            }
            LoadError::FileLimit { wanted, allowed } => {
                write!(
                    f,
                    "{wanted} open files are needed and {allowed} allowed: raise it with ulimit -n {wanted}"
                )
            }
            LoadError::Interrupted => f.write_str("interrupted before anything was measured"),
            LoadError::Process(what) => f.write_str(what),
            LoadError::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}
