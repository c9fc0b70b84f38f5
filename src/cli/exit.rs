//! How the client commands end: every failure in words on standard error, and one exit code for each kind.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::output;
use crate::client::ClientError;
use crate::load::{Ending, LoadError};

/// Exit codes of `sub`, `pub`, `call`, `register` and `bench`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// All went well; also after an interrupt.
    Done = 0,
    /// The request was answered with ERROR, or what it had got was taken back.
    Refused = 1,
    /// The command line is wrong. The same code as clap's.
    Usage = 2,
    /// No connection, or it was lost, or the router ended the session.
    Connection = 3,
    /// The router refused the session or aborted it.
    Aborted = 4,
    /// No answer came in time.
    Timeout = 5,
    /// A benchmark was reported, and the router lost something or delivered it out of order or unasked.
    Misdelivered = 6,
}

/// What `--help` says about them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  all went well, or the command was interrupted (Ctrl-C)
  1  the router or the callee answered with an error
  2  the command line is wrong
  3  no connection, or it was lost, or the router ended the session
  4  the router refused or aborted the session
  5  no answer came in time
  6  a benchmark was reported, but something was lost, or came out of order, twice or unasked";

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub enum Failure {
    /// The client's request or session failed.
    Client(ClientError),
    /// A benchmark came to nothing.
    Load(LoadError),
    /// A benchmark was reported, and something in it went wrong.
    Run(Exit, String),
    /// The router has taken the subscription or registration back.
    Revoked,
    /// Standard output was closed by whoever read it. They have had enough: this is no error.
    OutputClosed,
    /// Standard output cannot be written to.
    Output(io::Error),
    /// What is wrong with the command line.
    Usage(String),
    /// The operating system refused something that a command cannot do without.
    System(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Client(error)
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        Failure::Load(error)
    }
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Client(error) => match error {
                ClientError::Refused(_) => Exit::Refused,
                ClientError::Aborted(_) | ClientError::Authentication(_) => Exit::Aborted,
                ClientError::Timeout => Exit::Timeout,
                ClientError::Unencodable | ClientError::TooLarge => Exit::Usage,
                ClientError::Connect(..)
                | ClientError::Handshake(_)
                | ClientError::Tls(_)
                | ClientError::Goodbye(_)
                | ClientError::Closed(_)
                | ClientError::Lost(_)
                | ClientError::Protocol(_)
                | ClientError::Overrun => Exit::Connection,
            },
            Failure::Load(error) => load_exit(error),
            Failure::Run(exit, _) => *exit,
            Failure::Revoked => Exit::Refused,
            Failure::OutputClosed => Exit::Done,
            Failure::Usage(_) => Exit::Usage,
            Failure::Output(_) | Failure::System(_) => Exit::Connection,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Client(error) => error.fmt(f),
            Failure::Load(error) => error.fmt(f),
            Failure::Run(_, what) => f.write_str(what),
            Failure::Revoked => f.write_str("the router has taken it back"),
            Failure::OutputClosed => f.write_str("standard output was closed"),
            Failure::Output(error) => write!(f, "standard output cannot be written to: {error}"),
            Failure::Usage(what) => f.write_str(what),
            Failure::System(error) => error.fmt(f),
        }
    }
}

fn load_exit(error: &LoadError) -> Exit {
    match error {
        LoadError::Setup { ending: Ending::Aborted(_), .. } => Exit::Aborted,
        LoadError::Setup { ending: Ending::Refused(_), .. } => Exit::Refused,
        LoadError::Setup { .. } | LoadError::System(_) => Exit::Connection,
        LoadError::SetupTimeout { .. } => Exit::Timeout,
        LoadError::FileLimit { .. } | LoadError::Process(_) => Exit::Usage,
        LoadError::Interrupted => Exit::Done,
    }
}

/// Tells a failure on standard error; returns the code to exit with.
pub fn finish(outcome: Result<(), Failure>, json: bool) -> ExitCode {
    let Err(failure) = outcome else {
        return code(Exit::Done);
    };
    match &failure {
        Failure::OutputClosed => {}
        Failure::Client(ClientError::Refused(refused)) => output::refused(refused, json),
        failure => output::error(&failure.to_string()),
    }
    code(failure.exit())
}

fn code(exit: Exit) -> ExitCode {
    ExitCode::from(exit as u8)
}
