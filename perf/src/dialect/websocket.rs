//! Plain WebSocket broadcast: who connects to `/subscribe` gets every message that comes in on `/publish`.
//!
//! There is one topic, there are no calls, and a subscriber is ready when its upgrade is answered. Messages are binary, so
//! that no server checks them as text. The masks are zero, which unmasks at the price of any other mask.

use fanwire::load::{Dialect, Ending, Incoming, Role, Stamp};
use fanwire::transport::websocket::{FrameHeader, HEADER_BYTES_MAX, Opcode};

use super::{filler, stamped_bytes};

/// Longest answer to an upgrade.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Speaks plain WebSocket.
pub struct WebSocket {
    /// A publication up to its stamp.
    publication: Vec<u8>,
    payload_bytes: usize,
}

/// One connection.
pub struct Session {
    role: Role,
    upgraded: bool,
}

impl WebSocket {
    /// With payloads of that many octets.
    pub fn new(payload_bytes: usize) -> WebSocket {
        let payload_bytes = stamped_bytes(payload_bytes);
        let mut publication = Vec::new();
        write_header(Opcode::Binary, payload_bytes, &mut publication);
        publication.extend_from_slice(&filler(payload_bytes));
        WebSocket { publication, payload_bytes }
    }
}

impl Dialect for WebSocket {
    type Session = Session;

    fn session(&self, role: Role, _way: usize) -> Session {
        Session { role, upgraded: false }
    }

    fn open(&self, session: &mut Session, out: &mut Vec<u8>) {
        let path = match session.role {
            Role::Subscriber { .. } => "/subscribe",
            _ => "/publish",
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
    }

    fn next(
        &self,
        session: &mut Session,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<(usize, Incoming)>, Ending> {
        if !session.upgraded {
            let answered = answer(input)?;
            session.upgraded = answered.is_some();
            return Ok(answered.map(|bytes| (bytes, Incoming::Ready)));
        }
        let Some(Frame { opcode, payload, bytes }) = frame(input)? else { return Ok(None) };
        let incoming = match opcode {
            Opcode::Binary | Opcode::Text => {
                let stamp = payload.last_chunk().and_then(Stamp::read);
                Incoming::Event(
                    stamp.ok_or_else(|| Ending::Protocol("a message without a stamp".to_owned()))?,
                )
            }
            Opcode::Ping => {
                write_header(Opcode::Pong, payload.len(), out);
                out.extend_from_slice(payload);
                Incoming::Other
            }
            Opcode::Pong => Incoming::Other,
            Opcode::Close => return Err(Ending::Goodbye("closed by the server".to_owned())),
            Opcode::Continuation => return Err(Ending::Protocol("a message in fragments".to_owned())),
        };
        Ok(Some((bytes, incoming)))
    }

    fn publish(&self, _session: &mut Session, _topic: u32, stamp: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.publication);
        out.extend_from_slice(&stamp.octets());
    }

    fn call(&self, _session: &mut Session, _procedure: u32, _stamp: Stamp, _out: &mut Vec<u8>) {
        unreachable!("a broadcast has no calls: the command line refuses them");
    }

    fn answer(&self, _session: &mut Session, _request: u64, _stamp: Stamp, _out: &mut Vec<u8>) {
        unreachable!("a broadcast has no calls: the command line refuses them");
    }

    fn frame_bytes_max(&self) -> usize {
        self.payload_bytes + ANSWER_BYTES_MAX
    }
}

/// The header of a frame from client to server, with a mask of zeros.
fn write_header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    let header = FrameHeader { fin: true, opcode, payload_bytes: payload_bytes as u64, mask: Some([0; 4]) };
    let mut room = [0; HEADER_BYTES_MAX];
    let bytes = header.write_before(&mut room);
    out.extend_from_slice(&room[HEADER_BYTES_MAX - bytes..]);
}

/// Octets of the answer to the upgrade, once it is whole.
fn answer(input: &[u8]) -> Result<Option<usize>, Ending> {
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else {
        return match input.len() {
            ..=ANSWER_BYTES_MAX => Ok(None),
            _ => Err(Ending::Handshake("an answer without end".to_owned())),
        };
    };
    if !input.starts_with(b"HTTP/1.1 101 ") {
        let line = input.split(|octet| *octet == b'\r').next().unwrap_or_default();
        return Err(Ending::Handshake(String::from_utf8_lossy(line).into_owned()));
    }
    Ok(Some(end + 4))
}

/// A whole frame of a server.
struct Frame<'a> {
    opcode: Opcode,
    payload: &'a [u8],
    /// Octets of the frame, its header counted.
    bytes: usize,
}

/// The frame at the front, if it is whole.
fn frame(input: &[u8]) -> Result<Option<Frame<'_>>, Ending> {
    let Some(first) = input.first_chunk() else { return Ok(None) };
    let header_bytes = FrameHeader::bytes(*first);
    if input.len() < header_bytes {
        return Ok(None);
    }
    let header = FrameHeader::read(input).map_err(|_| Ending::Protocol("not a frame".to_owned()))?;
    if header.mask.is_some() || !header.fin {
        return Err(Ending::Protocol("a frame that is masked or not a whole message".to_owned()));
    }
    let bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX).saturating_add(header_bytes);
    Ok(input.get(header_bytes..bytes).map(|payload| Frame { opcode: header.opcode, payload, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { sender: 1, sequence: 2 };

    fn upgraded(websocket: &WebSocket) -> Session {
        let mut session = websocket.session(Role::Subscriber { first: 0, count: 1 }, 0);
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        for cut in 0..answer.len() {
            assert!(websocket.next(&mut session, &answer[..cut], &mut Vec::new()).unwrap().is_none());
        }
        let ready = websocket.next(&mut session, answer, &mut Vec::new()).unwrap();
        assert_eq!(ready, Some((answer.len(), Incoming::Ready)));
        session
    }

    /// The same frame as a server sends it.
    fn unmasked(frame: &[u8], header_bytes: usize) -> Vec<u8> {
        let mut unmasked = frame.to_vec();
        unmasked[1] &= 0x7F;
        unmasked.drain(header_bytes - 4..header_bytes);
        unmasked
    }

    #[test]
    fn the_role_is_the_path() {
        let websocket = WebSocket::new(16);
        for (role, path) in
            [(Role::Subscriber { first: 0, count: 1 }, "/subscribe"), (Role::Publisher, "/publish")]
        {
            let mut out = Vec::new();
            websocket.open(&mut websocket.session(role, 0), &mut out);
            assert!(out.starts_with(format!("GET {path} HTTP/1.1\r\n").as_bytes()));
        }
        let mut session = websocket.session(Role::Publisher, 0);
        let refused = websocket.next(&mut session, b"HTTP/1.1 404 Not Found\r\n\r\n", &mut Vec::new());
        assert!(matches!(refused, Err(Ending::Handshake(line)) if line == "HTTP/1.1 404 Not Found"));
    }

    #[test]
    fn every_length_is_read_as_it_is_written() {
        for (payload_bytes, header_bytes) in [(16, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let websocket = WebSocket::new(payload_bytes);
            let mut session = upgraded(&websocket);
            let mut out = Vec::new();
            websocket.publish(&mut session, 0, STAMP, &mut out);
            assert_eq!(out.len(), header_bytes + payload_bytes);
            let frame = unmasked(&out, header_bytes);
            let whole = websocket.next(&mut session, &frame, &mut Vec::new()).unwrap();
            assert_eq!(whole, Some((frame.len(), Incoming::Event(STAMP))));
            for cut in [0, 1, 2, frame.len() - 1] {
                assert!(websocket.next(&mut session, &frame[..cut], &mut Vec::new()).unwrap().is_none());
            }
        }
    }

    #[test]
    fn pings_are_answered_and_the_end_is_told() {
        let websocket = WebSocket::new(16);
        let mut session = upgraded(&websocket);
        let mut out = Vec::new();
        let ping = websocket.next(&mut session, b"\x89\x02hi", &mut out).unwrap();
        assert_eq!((ping, &out[..]), (Some((4, Incoming::Other)), &b"\x8a\x82\0\0\0\0hi"[..]));
        assert!(matches!(websocket.next(&mut session, b"\x88\0", &mut out), Err(Ending::Goodbye(_))));
        assert!(matches!(
            websocket.next(&mut session, b"\x82\x80\0\0\0\0", &mut out),
            Err(Ending::Protocol(_))
        ));
        assert!(matches!(websocket.next(&mut session, b"\x82\x02hi", &mut out), Err(Ending::Protocol(_))));
        let fragment = websocket.next(&mut session, b"\x02\x02hi", &mut out);
        assert!(matches!(fragment, Err(Ending::Protocol(_))));
        let longest = websocket.next(&mut session, b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", &mut out);
        assert_eq!(longest.unwrap(), None);
    }
}
