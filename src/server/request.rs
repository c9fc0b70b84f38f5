//! What comes from outside beside connections of clients: SIGHUP, and what is asked for at the control socket, where
//! [`askers`](super::askers) hear it. The acceptor passes it on to whoever waits at
//! [`Server::request`](super::Server::request).
//!
//! The control socket is a Unix socket that only the user of the process can connect to. One line is read from it, one
//! word; the answer is lines of text and at last `exit` and a code. What may be asked for changes and tells no more
//! than this user, who may send signals and read the file, could have anyway.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// What may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    /// The configuration is to be read again.
    Reload,
    /// What was counted is to be told.
    Counters,
}

impl Wish {
    /// All of them.
    const ALL: [Wish; 2] = [Wish::Reload, Wish::Counters];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Wish::Reload => "reload",
            Wish::Counters => "counters",
        }
    }
}

/// What the last line of an answer begins with.
const EXIT: &str = "exit ";

/// How long whoever asks may take nothing of the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take: files are read, names looked up, and every shard is told.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Octets of an answer beyond which it is none.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Octets of a question beyond which it is none.
pub(super) const QUESTION_BYTES_MAX: usize = 64;

/// Somebody wants something.
#[derive(Debug)]
pub struct Request {
    /// What that is.
    pub wish: Wish,
    /// Who waits for the answer; nobody after a signal.
    asker: Option<UnixStream>,
}

impl Request {
    /// One that a signal makes.
    pub(super) fn signaled() -> Request {
        Request { wish: Wish::Reload, asker: None }
    }

    /// What is asked for by who has said that at the control socket; `None` if it is nothing known, which is answered.
    /// `asker` does not block yet, so this does not either.
    pub(super) fn understood(asker: OwnedFd, said: &[u8]) -> Option<Request> {
        let stream = UnixStream::from(asker);
        let line = said.split(|octet| *octet == b'\n').next().unwrap_or_default().trim_ascii_end();
        let Some(wish) = Wish::ALL.into_iter().find(|wish| wish.word().as_bytes() == line) else {
            let words = Wish::ALL.map(|wish| format!("`{}`", wish.word())).join(" and ");
            write_answer(stream, 2, &[format!("what is asked for is not known; {words} are")]);
            return None;
        };
        Some(Request { wish, asker: Some(stream) })
    }

    /// Tells whoever asks how it went. An asker that does not listen is left.
    pub fn answer(self, exit: u8, lines: &[String]) {
        let Some(asker) = self.asker else { return };
        let _ = asker.set_nonblocking(false);
        let _ = asker.set_write_timeout(Some(PATIENCE));
        write_answer(asker, exit, lines);
    }

    /// The same, without waiting: the socket takes as much as it has room for, which is more than a few lines.
    pub(super) fn answer_now(self, exit: u8, lines: &[String]) {
        if let Some(asker) = self.asker {
            write_answer(asker, exit, lines);
        }
    }
}

fn write_answer(mut asker: UnixStream, exit: u8, lines: &[String]) {
    let text: String = lines.iter().map(|line| line.replace('\n', " ") + "\n").collect();
    // In one piece, so that it does not matter how much is taken at once. Whoever has asked may have left.
    let _ = asker.write_all(format!("{text}{EXIT}{exit}\n").as_bytes());
}

/// Asks a running server for something: its exit code and the lines of its answer.
pub fn ask(control: &Path, wish: Wish) -> io::Result<(u8, Vec<String>)> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", wish.word())?;
    let mut answer = String::new();
    let read = (&stream).take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
    read.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::other("there is no answer yet"),
        _ => error,
    })?;
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    let exit = lines.pop().and_then(|last| last.strip_prefix(EXIT)?.parse().ok());
    let exit = exit.ok_or_else(|| io::Error::other("the answer was cut off"))?;
    Ok((exit, lines))
}
