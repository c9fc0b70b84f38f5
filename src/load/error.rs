//! What can go wrong under a load: for one connection, and for a whole run; in words for people.

use std::fmt;
use std::io;

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

impl Ending {
    /// True if the router only has to accept others first.
    pub fn is_backlog_full(&self) -> bool {
        matches!(self, Ending::Connect(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
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
