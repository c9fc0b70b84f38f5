//! Connections at the control socket that have not said yet what they want. The acceptor reads them as octets come: who
//! says nothing holds up nobody.
//!
//! They are a bounded number, and each has its time. When there are too many, the oldest goes: whoever wants something
//! says it at once. What it has said by then is what it wants.

use std::io::{ErrorKind, Read};
use std::mem;
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use slab::Slab;

use super::listener::SocketFile;
use super::request::{QUESTION_BYTES_MAX, Request};

/// The token of the control socket.
const CONTROL: Token = Token(usize::MAX - 2);

/// The token of the first connection. Beyond every place of a listener.
const FIRST: usize = usize::MAX / 2;

/// Connections that have not said yet what they want.
const ASKERS_MAX: usize = 64;

/// How long one may take to say it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The control socket, and who has come there.
#[derive(Debug)]
pub(super) struct Askers {
    listener: Option<(UnixListener, SocketFile)>,
    /// Connections may be waiting.
    ready: bool,
    waiting: Slab<Asker>,
    /// How many have come until now.
    came: u64,
}

#[derive(Debug)]
struct Asker {
    /// Which of all that have come it is.
    number: u64,
    stream: UnixStream,
    /// Octets may be waiting.
    ready: bool,
    said: Vec<u8>,
    until: Instant,
}

impl Askers {
    /// Nobody yet. Without a socket nobody comes.
    pub fn new(listener: Option<(UnixListener, SocketFile)>) -> Askers {
        Askers { listener, ready: false, waiting: Slab::new(), came: 0 }
    }

    /// Registers the socket.
    pub fn register(&mut self, registry: &Registry) -> std::io::Result<()> {
        match &mut self.listener {
            Some((listener, _)) => registry.register(listener, CONTROL, Interest::READABLE),
            None => Ok(()),
        }
    }

    /// Something has come for this token, which may be another's.
    pub fn note(&mut self, token: Token) {
        self.ready |= token == CONTROL;
        if let Some(asker) = token.0.checked_sub(FIRST).and_then(|place| self.waiting.get_mut(place)) {
            asker.ready = true;
        }
    }

    /// When somebody's time is over next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|(_, asker)| asker.until).min()
    }

    /// What is asked for by those that have said it by now. The others that must go are answered here.
    pub fn requests(&mut self, registry: &Registry, now: Instant) -> Vec<Request> {
        let askers = self.waiting.iter_mut();
        let done = askers.filter_map(|(place, asker)| {
            let said = mem::take(&mut asker.ready) && asker.read();
            (said || asker.until <= now).then_some(place)
        });
        let done: Vec<_> = done.collect();
        let mut requests: Vec<_> =
            done.into_iter().filter_map(|place| self.conclude(place, registry)).collect();
        while let Some(mut stream) = self.accept() {
            if self.waiting.len() == ASKERS_MAX {
                let oldest = self.waiting.iter().min_by_key(|(_, asker)| asker.number);
                let oldest = oldest.map(|(place, _)| place);
                requests.extend(oldest.and_then(|place| self.conclude(place, registry)));
            }
            self.came += 1;
            let place = self.waiting.vacant_entry();
            // Who cannot be registered is dropped, which it will notice.
            if registry.register(&mut stream, Token(FIRST + place.key()), Interest::READABLE).is_ok() {
                let (number, until) = (self.came, now + PATIENCE);
                place.insert(Asker { number, stream, ready: false, said: Vec::new(), until });
            }
        }
        requests
    }

    fn accept(&mut self) -> Option<UnixStream> {
        let (listener, _) = self.listener.as_ref().filter(|_| self.ready)?;
        let accepted = listener.accept().ok().map(|(stream, _)| stream);
        self.ready = accepted.is_some();
        accepted
    }

    /// Takes what somebody has said, with all that is there, for what it wants.
    fn conclude(&mut self, place: usize, registry: &Registry) -> Option<Request> {
        let Asker { mut stream, said, .. } = {
            let mut asker = self.waiting.remove(place);
            asker.read();
            asker
        };
        let _ = registry.deregister(&mut stream);
        Request::understood(stream.into(), &said)
    }
}

impl Asker {
    /// Reads what is there. True if no more will come, or none is wanted.
    fn read(&mut self) -> bool {
        let mut octets = [0; QUESTION_BYTES_MAX];
        loop {
            let room = QUESTION_BYTES_MAX - self.said.len();
            if room == 0 || self.said.contains(&b'\n') {
                return true;
            }
            match self.stream.read(&mut octets[..room]) {
                Ok(0) => return true,
                Ok(count) => self.said.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net;
    use std::path::PathBuf;

    use mio::{Events, Poll};

    use super::*;
    use crate::server::listener::bind_private;
    use crate::server::request::{Wish, ask};

    struct Fixture {
        poll: Poll,
        events: Events,
        askers: Askers,
        path: PathBuf,
    }

    impl Fixture {
        fn new(name: &str) -> Fixture {
            let path = std::env::temp_dir().join(format!("fanwire-askers-{name}-{}", std::process::id()));
            let mut askers = Askers::new(Some(bind_private(&path).unwrap()));
            let poll = Poll::new().unwrap();
            askers.register(poll.registry()).unwrap();
            Fixture { poll, events: Events::with_capacity(64), askers, path }
        }

        fn connect(&self) -> net::UnixStream {
            net::UnixStream::connect(&self.path).unwrap()
        }

        /// The next requests.
        fn await_requests(&mut self) -> Vec<Request> {
            loop {
                let deadline = self.askers.next_deadline();
                let timeout = deadline.map(|until| until.saturating_duration_since(Instant::now()));
                self.poll.poll(&mut self.events, timeout).unwrap();
                self.events.iter().for_each(|event| self.askers.note(event.token()));
                let requests = self.askers.requests(self.poll.registry(), Instant::now());
                if !requests.is_empty() || self.askers.waiting.is_empty() {
                    return requests;
                }
            }
        }
    }

    fn answer(mut stream: net::UnixStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_question_is_heard_past_those_who_say_nothing() {
        let mut fixture = Fixture::new("heard");
        let silent: Vec<_> = (0..3 * ASKERS_MAX).map(|_| fixture.connect()).collect();
        let mut slow = fixture.connect();
        slow.write_all(b"rel").unwrap();
        let path = fixture.path.clone();
        let asker = std::thread::spawn(move || ask(&path, Wish::Counters));
        let request = fixture.await_requests().pop().unwrap();
        assert_eq!(request.wish, Wish::Counters);
        request.answer(2, &["one\nline".to_owned(), "another".to_owned()]);
        let expected = vec!["one line".to_owned(), "another".to_owned()];
        assert_eq!(asker.join().unwrap().unwrap(), (2, expected));
        assert!(fixture.askers.waiting.len() <= ASKERS_MAX);

        slow.write_all(b"oad\n").unwrap();
        assert_eq!(fixture.await_requests()[0].wish, Wish::Reload, "in pieces");
        assert!(fixture.await_requests().is_empty(), "their time is over");
        assert!(silent.into_iter().map(answer).all(|answer| answer.ends_with("exit 2\n")));
    }

    #[test]
    fn what_is_no_question_is_answered_and_goes() {
        let mut fixture = Fixture::new("strange");
        for said in [&b"GET / HTTP/1.1\r\n"[..], &[b'x'; 2 * QUESTION_BYTES_MAX], b"reload now\n"] {
            let mut stranger = fixture.connect();
            stranger.write_all(said).unwrap();
            assert!(fixture.await_requests().is_empty());
            let mut answer = [0; 16];
            stranger.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"what is asked fo");
        }
        let mut unended = fixture.connect();
        unended.write_all(b"counters").unwrap();
        unended.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(fixture.await_requests()[0].wish, Wish::Counters);
    }
}
