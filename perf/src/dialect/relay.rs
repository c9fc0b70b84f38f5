//! The relay's frames.
//!
//! The relay knows one topic and one procedure, so their numbers are not sent. A connection joins in two exchanges, as it
//! does over RawSocket: what it asks for comes after the answer to a first frame.

use fanwire::load::{Dialect, Ending, Incoming, Role, Stamp};

use super::{filler, stamped_bytes};
use crate::frame::{self, HEADER_BYTES, Kind, SLOT};

/// Speaks [`frame`].
pub struct Relay {
    /// A publication up to its stamp.
    publication: Vec<u8>,
    /// A call up to its stamp; an answer but for its kind and slot.
    call: Vec<u8>,
    frame_bytes_max: usize,
}

impl Relay {
    /// With payloads of that many octets.
    pub fn new(payload_bytes: usize) -> Relay {
        let slot = [0; SLOT.end - SLOT.start];
        let publication = frame::header(Kind::Publish, stamped_bytes(payload_bytes));
        let call = frame::header(Kind::Call, slot.len() + stamped_bytes(payload_bytes));
        Relay {
            publication: [&publication[..], &filler(payload_bytes)].concat(),
            call: [&call[..], &slot, &filler(payload_bytes)].concat(),
            frame_bytes_max: SLOT.end + stamped_bytes(payload_bytes),
        }
    }
}

/// A connection to the relay.
pub struct Session {
    role: Role,
    /// The first frame was answered.
    greeted: bool,
}

impl Dialect for Relay {
    type Session = Session;

    fn session(&self, role: Role, _way: usize) -> Session {
        Session { role, greeted: false }
    }

    fn open(&self, _session: &mut Session, out: &mut Vec<u8>) {
        frame::append(Kind::Join, &[], out);
    }

    fn next(
        &self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(usize, Incoming)>, Ending> {
        let Some(bytes) = frame::bytes(input) else { return Ok(None) };
        if !(HEADER_BYTES..=self.frame_bytes_max).contains(&bytes) {
            return Err(Ending::Protocol(format!("a frame of {bytes} octets")));
        }
        let Some(frame) = input.get(..bytes) else { return Ok(None) };
        let stamp = || {
            let stamp = frame.last_chunk().and_then(Stamp::read);
            stamp.ok_or_else(|| Ending::Protocol("a frame without a stamp".to_owned()))
        };
        let incoming = match Kind::of(frame[HEADER_BYTES - 1]) {
            Some(Kind::Publish) => Incoming::Event(stamp()?),
            Some(Kind::Call) => Incoming::Invocation { request: slot(frame), stamp: stamp()? },
            Some(Kind::Answer) => Incoming::Result(stamp()?),
            Some(Kind::Join) if !session.greeted => {
                session.greeted = true;
                frame::append(session.wanted(), &[], out);
                Incoming::Handshake
            }
            Some(Kind::Subscribe | Kind::Register | Kind::Join) => Incoming::Ready,
            None => return Err(Ending::Protocol("a frame of no known kind".to_owned())),
        };
        Ok(Some((bytes, incoming)))
    }

    fn publish(&self, _session: &mut Session, _topic: u32, stamp: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.publication);
        out.extend_from_slice(&stamp.octets());
    }

    fn call(&self, _session: &mut Session, _procedure: u32, stamp: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.call);
        out.extend_from_slice(&stamp.octets());
    }

    fn answer(&self, _session: &mut Session, request: u64, stamp: Stamp, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.call);
        out.extend_from_slice(&stamp.octets());
        out[start + HEADER_BYTES - 1] = Kind::Answer as u8;
        out[start..][SLOT].copy_from_slice(&(request as u32).to_le_bytes());
    }

    fn frame_bytes_max(&self) -> usize {
        self.frame_bytes_max
    }
}

impl Session {
    /// What is asked for after the first exchange.
    fn wanted(&self) -> Kind {
        match self.role {
            Role::Subscriber { .. } => Kind::Subscribe,
            Role::Callee { .. } => Kind::Register,
            Role::Publisher | Role::Caller | Role::Idle => Kind::Join,
        }
    }
}

/// The caller's slot in the frame of a call, 0 if it is cut.
fn slot(frame: &[u8]) -> u64 {
    let place = frame.get(SLOT).and_then(<[u8]>::first_chunk);
    place.map_or(0, |place| u64::from(u32::from_le_bytes(*place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 1, sequence: 2 };

    #[test]
    fn what_is_sent_is_read_when_it_is_whole() {
        let relay = Relay::new(40);
        let mut session = relay.session(Role::Idle, 0);
        let mut out = Vec::new();
        relay.open(&mut session, &mut out);
        let greeting = out.clone();
        let (bytes, incoming) = relay.next(&mut session, &greeting, &mut out).unwrap().unwrap();
        assert_eq!((bytes, incoming), (greeting.len(), Incoming::Handshake));
        out.drain(..bytes);
        relay.publish(&mut session, 0, STAMP, &mut out);
        relay.call(&mut session, 0, STAMP, &mut out);
        relay.answer(&mut session, 258, STAMP, &mut out);
        assert_eq!(&out[out.len() - 40 - 5..][..5], b"A\x02\x01\0\0");
        let (mut all, mut start) = (Vec::new(), 0);
        while start < out.len() {
            let (bytes, incoming) = (start..)
                .find_map(|end| relay.next(&mut session, &out[start..end], &mut Vec::new()).unwrap())
                .unwrap();
            all.push(incoming);
            start += bytes;
        }
        let invocation = Incoming::Invocation { request: 0, stamp: STAMP };
        assert_eq!(all, [Incoming::Ready, Incoming::Event(STAMP), invocation, Incoming::Result(STAMP)]);
    }

    #[test]
    fn what_was_not_asked_for_is_refused() {
        let relay = Relay::new(40);
        for wrong in [&b"\xff\xff\0\0P"[..], b"\0\0\0\0P", b"\x01\0\0\0?", b"\x01\0\0\0P"] {
            assert!(
                relay.next(&mut relay.session(Role::Idle, 0), wrong, &mut Vec::new()).is_err(),
                "{wrong:?}"
            );
        }
    }
}
