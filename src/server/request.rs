//! What comes from outside beside connections of clients: SIGHUP, and what is asked for at the control socket. The
//! acceptor passes it on to whoever waits at [`Server::request`](super::Server::request).
//!
//! The control socket is a Unix socket that only the user of the process can connect to. One line is read from it, one
//! word; the answer is lines of text and at last `exit` and a code. What may be asked for is what signals may do, so
//! whoever may connect could do it anyway.

use std::io::{self, BufRead, BufReader, Read, Write};
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
    /// All of them by their words.
    const NAMED: [(&str, Wish); 2] = [("reload", Wish::Reload), ("counters", Wish::Counters)];

    /// The word for it.
    pub fn word(self) -> &'static str {
        let mut named = Wish::NAMED.into_iter();
        named.find(|(_, wish)| *wish == self).map_or("", |(word, _)| word)
    }
}

/// What the last line of an answer begins with.
const EXIT: &str = "exit ";

/// How long whoever asks may take to say it, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long an answer may take: files are read, names looked up, and every shard is told.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// Octets of an answer beyond which it is none.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Octets of a question beyond which it is none.
const QUESTION_BYTES_MAX: u64 = 64;

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

    /// Reads what is asked for at the control socket; `None` if it is nothing known, which is answered.
    pub(super) fn read(asker: OwnedFd) -> Option<Request> {
        let stream = UnixStream::from(asker);
        let question = question(&stream).unwrap_or_default();
        let known = Wish::NAMED.into_iter().find(|(word, _)| *word == question.trim_end());
        let request = Request { wish: known.map_or(Wish::Reload, |(_, wish)| wish), asker: Some(stream) };
        if known.is_some() {
            return Some(request);
        }
        let words = Wish::NAMED.map(|(word, _)| format!("`{word}`")).join(" and ");
        request.answer(2, &[format!("what is asked for is not known; {words} are")]);
        None
    }

    /// Tells whoever asks how it went. An asker that does not listen is left.
    pub fn answer(self, exit: u8, lines: &[String]) {
        let Some(mut asker) = self.asker else { return };
        let text: String = lines.iter().map(|line| line.replace('\n', " ") + "\n").collect();
        let _ = writeln!(asker, "{text}{EXIT}{exit}");
    }
}

fn question(stream: &UnixStream) -> io::Result<String> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut question = String::new();
    BufReader::new(stream.take(QUESTION_BYTES_MAX)).read_line(&mut question)?;
    Ok(question)
}

/// Asks a running server for something: its exit code and the lines of its answer.
pub fn ask(control: &Path, wish: Wish) -> io::Result<(u8, Vec<String>)> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{}", wish.word())?;
    let mut answer = String::new();
    (&stream).take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
    let exit = lines.pop().and_then(|last| last.strip_prefix(EXIT)?.parse().ok());
    let exit = exit.ok_or_else(|| io::Error::other("the answer was cut off"))?;
    Ok((exit, lines))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_question_is_answered_with_lines_and_a_code() {
        let path = std::env::temp_dir().join(format!("fanwire-control-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let asker = thread::spawn({
            let path = path.clone();
            move || ask(&path, Wish::Counters)
        });
        let request = Request::read(listener.accept().unwrap().0.into()).unwrap();
        assert_eq!(request.wish, Wish::Counters);
        request.answer(2, &["one\nline".to_owned(), "another".to_owned()]);
        let (exit, lines) = asker.join().unwrap().unwrap();
        assert_eq!((exit, lines), (2, vec!["one line".to_owned(), "another".to_owned()]));

        let mut stranger = UnixStream::connect(&path).unwrap();
        stranger.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(Request::read(listener.accept().unwrap().0.into()).is_none());
        let mut answer = String::new();
        stranger.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("exit 2\n"), "{answer}");
        std::fs::remove_file(&path).unwrap();
    }
}
