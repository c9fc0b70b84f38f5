//! NATS: core publish and subscribe, and request and reply.
//!
//! Topic 7 is the subject `topic.7`, procedure 7 the subject `procedure.7` in a queue group, and the caller's inbox
//! `inbox.` with the number of its connection. A caller's calls share one inbox subject and are told apart by their stamps;
//! client libraries use a subject for each call, which costs the server more.

use std::cell::Cell;
use std::io::Write;

use fanwire::load::{Dialect, Ending, Incoming, Role, Stamp};

use super::{filler, stamped_bytes};

/// Longest line that is read: INFO lists much.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Speaks NATS.
pub struct Nats {
    /// A payload up to its stamp, and its length as text.
    filler: Vec<u8>,
    length: String,
    connections: Cell<u64>,
}

/// One connection.
pub struct Session {
    role: Role,
    /// Names its inbox.
    number: u64,
    ready: bool,
}

impl Nats {
    /// With payloads of that many octets.
    pub fn new(payload_bytes: usize) -> Nats {
        Nats {
            filler: filler(payload_bytes),
            length: stamped_bytes(payload_bytes).to_string(),
            connections: Cell::new(0),
        }
    }

    /// What stands behind the subjects of a PUB.
    fn payload(&self, stamp: Stamp, out: &mut Vec<u8>) {
        for part in [b" ", self.length.as_bytes(), b"\r\n", &self.filler, &stamp.octets(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }

    /// A MSG: its payload stands behind its line.
    fn message(
        &self,
        session: &Session,
        line: &str,
        input: &[u8],
    ) -> Result<Option<(usize, Incoming)>, Ending> {
        let wrong = || Ending::Protocol(format!("not understood: {line}"));
        // MSG subject subscription [reply] length
        let mut words = line.split(' ').skip(3);
        let (first, second) = (words.next().ok_or_else(wrong)?, words.next());
        let length: usize = second.unwrap_or(first).parse().map_err(|_| wrong())?;
        let start = line.len() + 2;
        let Some(payload) = input.get(start..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
        let end = start + length + 2;
        if input.len() < end {
            return Ok(None);
        }
        let stamp = payload.last_chunk().and_then(Stamp::read).ok_or_else(wrong)?;
        let incoming = match (session.role, second) {
            (Role::Callee { .. }, Some(_)) => {
                let inbox = first.strip_prefix("inbox.").and_then(|number| number.parse().ok());
                Incoming::Invocation { request: inbox.ok_or_else(wrong)?, stamp }
            }
            (Role::Caller, None) => Incoming::Result(stamp),
            _ => Incoming::Event(stamp),
        };
        Ok(Some((end, incoming)))
    }
}

impl Dialect for Nats {
    type Session = Session;

    fn session(&self, role: Role, _way: usize) -> Session {
        let number = self.connections.get();
        self.connections.set(number + 1);
        Session { role, number, ready: false }
    }

    fn open(&self, session: &mut Session, out: &mut Vec<u8>) {
        line(out, format_args!("CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"load\"}}"));
        match session.role {
            Role::Subscriber { first, count } => {
                for topic in first..first + count {
                    line(out, format_args!("SUB topic.{topic} {topic}"));
                }
            }
            Role::Callee { procedure } => line(out, format_args!("SUB procedure.{procedure} callees 0")),
            Role::Caller => line(out, format_args!("SUB inbox.{} 0", session.number)),
            Role::Publisher | Role::Idle => {}
        }
        line(out, format_args!("PING"));
    }

    fn next(
        &self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(usize, Incoming)>, Ending> {
        let Some(end) = input.iter().position(|octet| *octet == b'\n') else {
            if input.len() > LINE_BYTES_MAX {
                return Err(Ending::Protocol("a line without end".to_owned()));
            }
            return Ok(None);
        };
        let text = input[..end].strip_suffix(b"\r").and_then(|text| str::from_utf8(text).ok());
        let text = text.ok_or_else(|| Ending::Protocol("a line that is no text".to_owned()))?;
        let incoming = match text.split(' ').next().unwrap_or_default() {
            "MSG" => return self.message(session, text, input),
            "PONG" if !session.ready => {
                session.ready = true;
                Incoming::Ready
            }
            "PING" => {
                line(out, format_args!("PONG"));
                Incoming::Other
            }
            "-ERR" => return Err(Ending::Refused(text.to_owned())),
            "INFO" | "+OK" | "PONG" => Incoming::Other,
            _ => return Err(Ending::Protocol(format!("not understood: {text}"))),
        };
        Ok(Some((end + 1, incoming)))
    }

    fn publish(&self, _session: &mut Session, topic: u32, stamp: Stamp, out: &mut Vec<u8>) {
        write(out, format_args!("PUB topic.{topic}"));
        self.payload(stamp, out);
    }

    fn call(&self, session: &mut Session, procedure: u32, stamp: Stamp, out: &mut Vec<u8>) {
        write(out, format_args!("PUB procedure.{procedure} inbox.{}", session.number));
        self.payload(stamp, out);
    }

    fn answer(&self, _session: &mut Session, request: u64, stamp: Stamp, out: &mut Vec<u8>) {
        write(out, format_args!("PUB inbox.{request}"));
        self.payload(stamp, out);
    }

    fn frame_bytes_max(&self) -> usize {
        LINE_BYTES_MAX + self.filler.len()
    }
}

fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes what is written");
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    write(out, text);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 1, sequence: 2 };

    /// What comes of `input`, one frame after the other, and how many octets were taken.
    fn walk(nats: &Nats, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> (usize, Vec<Incoming>) {
        let (mut taken, mut all) = (0, Vec::new());
        while let Some((bytes, incoming)) = nats.next(session, &input[taken..], out).unwrap() {
            taken += bytes;
            all.push(incoming);
        }
        (taken, all)
    }

    #[test]
    fn the_first_pong_is_the_subscription() {
        let nats = Nats::new(20);
        let mut session = nats.session(Role::Subscriber { first: 3, count: 2 }, 0);
        let mut out = Vec::new();
        nats.open(&mut session, &mut out);
        let text = String::from_utf8(out.clone()).unwrap();
        assert!(
            text.starts_with("CONNECT {") && text.ends_with("\r\nSUB topic.3 3\r\nSUB topic.4 4\r\nPING\r\n")
        );
        out.clear();
        let input = b"INFO {}\r\nPING\r\nPONG\r\nPONG\r\n";
        let (taken, all) = walk(&nats, &mut session, input, &mut out);
        assert_eq!(taken, input.len());
        assert_eq!(all, [Incoming::Other, Incoming::Other, Incoming::Ready, Incoming::Other]);
        assert_eq!(out, b"PONG\r\n");
        assert!(matches!(nats.next(&mut session, b"-ERR 'no'\r\n", &mut out), Err(Ending::Refused(_))));
        assert!(matches!(nats.next(&mut session, b"HELLO\r\n", &mut out), Err(Ending::Protocol(_))));
        assert!(matches!(nats.next(&mut session, b"MSG a 1 b c\r\n", &mut out), Err(Ending::Protocol(_))));
    }

    #[test]
    fn a_message_counts_when_it_is_whole() {
        let nats = Nats::new(20);
        let mut publisher = nats.session(Role::Publisher, 0);
        let mut out = Vec::new();
        nats.publish(&mut publisher, 3, STAMP, &mut out);
        assert_eq!(out, b"PUB topic.3 20\r\nxxxxAAABAAAAAAAAAAAC\r\n");
        let message = b"MSG topic.3 3 20\r\nxxxxAAABAAAAAAAAAAAC\r\n";
        let mut subscriber = nats.session(Role::Subscriber { first: 3, count: 1 }, 0);
        for cut in 0..message.len() {
            assert!(nats.next(&mut subscriber, &message[..cut], &mut out).unwrap().is_none());
        }
        let (taken, all) = walk(&nats, &mut subscriber, message, &mut out);
        assert_eq!((taken, all), (message.len(), vec![Incoming::Event(STAMP)]));
    }

    #[test]
    fn a_call_is_answered_to_the_inbox_it_came_from() {
        let nats = Nats::new(20);
        let mut callee = nats.session(Role::Callee { procedure: 5 }, 0);
        let mut caller = nats.session(Role::Caller, 0);
        let mut out = Vec::new();
        nats.call(&mut caller, 5, STAMP, &mut out);
        assert_eq!(out, b"PUB procedure.5 inbox.1 20\r\nxxxxAAABAAAAAAAAAAAC\r\n");
        let invocation = b"MSG procedure.5 0 inbox.1 20\r\nxxxxAAABAAAAAAAAAAAC\r\n";
        let (_, all) = walk(&nats, &mut callee, invocation, &mut out);
        assert_eq!(all, [Incoming::Invocation { request: 1, stamp: STAMP }]);
        out.clear();
        nats.answer(&mut callee, 1, STAMP, &mut out);
        assert_eq!(out, b"PUB inbox.1 20\r\nxxxxAAABAAAAAAAAAAAC\r\n");
        let result = b"MSG inbox.1 0 20\r\nxxxxAAABAAAAAAAAAAAC\r\n";
        assert_eq!(walk(&nats, &mut caller, result, &mut out).1, [Incoming::Result(STAMP)]);
    }
}
