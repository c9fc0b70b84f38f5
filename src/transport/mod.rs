//! A byte stream to WAMP messages and back, for one peer.
//!
//! A [`Transport`] begins undecided and is told by the first octet: 0x7F opens RawSocket, anything that can begin an
//! HTTP request line opens an upgrade to WebSocket (or gets a page). From then on it cuts bytes into messages. It
//! holds no socket and queues nothing itself: what it must answer (handshakes, PONG, close frames) it appends to
//! `reply`, and the shard queues that.
//!
//! ```text
//!   Opening --0x7F--------> RawSocket ---------------------> (the peer just closes)
//!      '----HTTP token----> WebSocket ----close frame------> Finished
//!                '--------> Finished, after a page
//!                '--------> LongPoll: the connection is served elsewhere, with all its octets
//! ```
//!
//! Whatever the cuts between inputs are, the same octets give the same messages, the same replies and the same
//! violation. A peer between two messages holds no buffer.

pub mod arena;
mod kept;
pub mod outbound;
pub mod pages;
#[cfg(test)]
mod random;
pub mod rawsocket;
mod text;
#[cfg(test)]
mod twin;
pub mod upgrade;
pub mod websocket;

use std::sync::Arc;

use self::kept::Kept;
use self::pages::{Claim, Pages};
use self::rawsocket::RawSocket;
use self::upgrade::{Answered, Asked, RequestHead};
use self::websocket::WebSocket;
use crate::error::Violation;
use crate::wamp::Serializer;

/// What a listener allows and how long its messages may be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Octets of one message from the peer; RawSocket announces the largest power of two that is not above it.
    pub message_bytes_max: usize,
    /// RawSocket peers that announce less than this get error 2. 512 accepts all.
    pub peer_message_bytes_min: usize,
    /// Serializers that may be agreed on, by [`Serializer::index`].
    pub serializers: [bool; Serializer::COUNT],
    /// RawSocket may be opened.
    pub rawsocket: bool,
    /// WebSocket may be opened.
    pub websocket: bool,
    /// Where HTTP requests for the long-poll transport go: a path that begins with `/` and does not end with one. None
    /// if it is not spoken.
    pub longpoll: Option<Arc<str>>,
    /// Which pages may open WebSockets and long-poll transports, and the cookie that browsers are given.
    pub pages: Pages,
}

/// How messages are put into frames.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Framing {
    /// Four octets: type and length.
    RawSocket,
    /// One unfragmented, unmasked frame for a message.
    WebSocket,
    /// The same, and the message in a batch of one.
    WebSocketBatched,
}

/// How messages become octets. A frame is the same for all peers of one format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Format {
    /// Messages to octets.
    pub serializer: Serializer,
    /// Octets to frames.
    pub framing: Framing,
}

impl Format {
    /// How many there are.
    pub const COUNT: usize = Serializer::COUNT * 3;

    /// A number for each, counted from 0.
    #[inline]
    pub fn index(self) -> usize {
        self.serializer.index() * 3 + self.framing as usize
    }
}

/// What the handshake agreed on: all it takes to send to this peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The serializer of both directions.
    pub serializer: Serializer,
    /// The framing of both directions.
    pub framing: Framing,
    /// Octets of the largest message the peer takes: what it has announced over RawSocket, and over WebSocket, which
    /// cannot announce it, the most that RawSocket can.
    pub message_bytes_max: usize,
}

impl Link {
    /// The format of both directions.
    pub fn format(&self) -> Format {
        Format { serializer: self.serializer, framing: self.framing }
    }
}

/// What [`Transport::next`] found.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// The handshake is done: [`Transport::link`] is known from now on, and [`Transport::take_request`] has what else
    /// was asked, if WebSocket was.
    Opened,
    /// One whole serialized message.
    Message(&'a [u8]),
    /// Nothing whole is left in the input; what there is has been kept.
    Incomplete,
    /// The peer has ended its side in good order (a close handshake, or a page that was asked for): write what is
    /// queued, then close. Further input is ignored.
    Finished,
    /// It is HTTP for the long-poll transport, which is not spoken here: [`Transport::take_octets`] has all of it.
    LongPoll,
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Transport {
    settings: Arc<Settings>,
    kept: Kept,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing is agreed on.
    Opening {
        full: bool,
        /// Octets of an HTTP request up to the end of its last whole line.
        lines_end: usize,
        /// The cookie that a browser without one is given.
        cookie: Option<Box<str>>,
    },
    RawSocket(RawSocket),
    /// Boxed, so that RawSocket peers do not pay for it.
    WebSocket(Box<WebSocket>),
    /// A page was asked for and answered: nothing more is read.
    Finished,
    /// A request for the long-poll transport has come; it is kept.
    LongPoll,
    /// The page may not connect.
    Foreign(Box<Claim>),
}

impl Transport {
    /// A connection of which nothing is known yet. If `full`, its handshake is refused because the router has too
    /// many connections: RawSocket error 4, HTTP 503.
    pub fn new(settings: Arc<Settings>, full: bool) -> Transport {
        Transport {
            settings,
            kept: Kept::default(),
            state: State::Opening { full, lines_end: 0, cookie: None },
        }
    }

    /// A browser that has no cookie is given this one, if the listener gives any. It must be of
    /// [`pages::COOKIE_CHARACTERS`] letters and digits, and not to be guessed.
    pub fn offer_cookie(&mut self, value: String) {
        if let State::Opening { cookie, .. } = &mut self.state {
            *cookie = Some(value.into());
        }
    }

    /// The request that WebSocket was asked for with; once.
    pub fn take_request(&mut self) -> Option<RequestHead> {
        match &mut self.state {
            State::WebSocket(websocket) => websocket.take_request(),
            _ => None,
        }
    }

    /// Whose page was refused, after [`Violation::Origin`].
    pub fn foreign(&self) -> Option<&Claim> {
        match &self.state {
            State::Foreign(claim) => Some(claim),
            _ => None,
        }
    }

    /// The router's end of a stream whose other end is the router's as well: there is no handshake, and RawSocket is
    /// spoken whether or not the listener takes it from others.
    pub fn linked(settings: Arc<Settings>, link: Link) -> Transport {
        let state = State::RawSocket(RawSocket::linked(link, &settings));
        Transport { settings, kept: Kept::default(), state }
    }

    /// Cuts the next thing out of `input`, which it advances, or out of what it has kept from before. Unmasks in
    /// place. Appends to `reply` what the transport itself must answer, also when it returns a violation: a refused
    /// handshake is answered here, a violation after it is not ([`Transport::close`] says it).
    ///
    /// Call it until it returns `Incomplete` or `Finished`, or an error; after an error never again.
    #[inline]
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
        reply: &mut Vec<u8>,
    ) -> Result<Inbound<'a>, Violation> {
        self.kept.release_used();
        if self.finished() {
            *input = &mut [];
            self.kept = Kept::default();
            return Ok(Inbound::Finished);
        }
        match self.state {
            State::Opening { .. } => self.open(input, reply),
            State::RawSocket(ref mut rawsocket) => rawsocket.next(&mut self.kept, input, reply),
            State::WebSocket(ref mut websocket) => websocket.next(&mut self.kept, input, reply),
            State::Finished | State::Foreign(_) => Ok(Inbound::Finished),
            State::LongPoll => {
                self.kept.keep(input);
                *input = &mut [];
                Ok(Inbound::LongPoll)
            }
        }
    }

    /// All octets of a connection that [`Inbound::LongPoll`] was said of.
    pub fn take_octets(&mut self) -> Vec<u8> {
        self.kept.take_all()
    }

    /// Keeps input that is not to be handled now; `next` begins with it.
    pub fn keep(&mut self, input: &[u8]) {
        if !self.finished() {
            self.kept.keep(input);
        }
    }

    /// Octets of memory held for input of which no whole message was made yet.
    pub fn kept_bytes(&self) -> usize {
        let message = match &self.state {
            State::WebSocket(websocket) => websocket.message_memory(),
            _ => 0,
        };
        self.kept.memory() + message
    }

    /// What was agreed on, once `next` has returned `Opened`.
    pub fn link(&self) -> Option<Link> {
        match &self.state {
            State::RawSocket(rawsocket) => Some(rawsocket.link()),
            State::WebSocket(websocket) => Some(websocket.link()),
            State::Opening { .. } | State::Finished | State::LongPoll | State::Foreign(_) => None,
        }
    }

    /// Appends a PING, if the connection is open.
    pub fn ping(&mut self, reply: &mut Vec<u8>) {
        match &self.state {
            State::RawSocket(rawsocket) => rawsocket.ping(reply),
            State::WebSocket(websocket) => websocket.ping(reply),
            State::Opening { .. } | State::Finished | State::LongPoll | State::Foreign(_) => {}
        }
    }

    /// Appends a close frame with code and reason, once; nothing where the transport has none. The peer's answer
    /// comes as `Finished`; messages it has sent before that still come.
    pub fn close(&mut self, code: u16, text: &str, reply: &mut Vec<u8>) {
        if let State::WebSocket(websocket) = &mut self.state {
            websocket.close(code, text, reply);
        }
    }

    fn finished(&self) -> bool {
        match &self.state {
            State::Opening { .. } | State::RawSocket(_) | State::LongPoll => false,
            State::WebSocket(websocket) => websocket.finished(),
            State::Finished | State::Foreign(_) => true,
        }
    }

    /// Tells the transport by its first octet and does its handshake.
    fn open<'a>(&'a mut self, input: &mut &mut [u8], reply: &mut Vec<u8>) -> Result<Inbound<'a>, Violation> {
        let State::Opening { full, lines_end, cookie } = &mut self.state else {
            return Ok(Inbound::Incomplete);
        };
        let settings = &*self.settings;
        let opened = match self.kept.front(input).first() {
            None => return Ok(Inbound::Incomplete),
            Some(&rawsocket::MAGIC) if settings.rawsocket => {
                if !self.kept.gather(rawsocket::HEADER_BYTES, input) {
                    return Ok(Inbound::Incomplete);
                }
                let mut octets = [0; rawsocket::HEADER_BYTES];
                octets.copy_from_slice(self.kept.take(rawsocket::HEADER_BYTES, input));
                State::RawSocket(RawSocket::open(octets, settings, *full, reply)?)
            }
            Some(octet) if upgrade::begins_request(*octet) => {
                let asked = Asked { settings, full: *full, cookie: cookie.as_deref() };
                match upgrade::answer(&mut self.kept, lines_end, input, asked, reply)? {
                    Answered::Incomplete => return Ok(Inbound::Incomplete),
                    Answered::Page => State::Finished,
                    Answered::LongPoll => {
                        self.kept.keep(input);
                        *input = &mut [];
                        State::LongPoll
                    }
                    Answered::Foreign(claim) => {
                        self.state = State::Foreign(Box::new(claim));
                        return Err(Violation::Origin);
                    }
                    Answered::Upgraded(link, request) => {
                        State::WebSocket(Box::new(WebSocket::new(link, request, settings.message_bytes_max)))
                    }
                }
            }
            Some(_) => return Err(Violation::UnknownTransport),
        };
        self.state = opened;
        match self.state {
            State::Finished => Ok(Inbound::Finished),
            State::LongPoll => Ok(Inbound::LongPoll),
            _ => Ok(Inbound::Opened),
        }
    }
}

/// Appends one frame to `out`: `encode` appends the message, the framing goes around it. Returns how long the message
/// is (to be held against [`Link::message_bytes_max`]; longer than 2^24 octets has no RawSocket header and must not be
/// sent). The frame is the same for every peer with this framing and serializer. If `encode` fails, `out` is to be cut
/// where it was.
pub fn frame<E>(
    framing: Framing,
    serializer: Serializer,
    out: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<usize, E> {
    match framing {
        Framing::RawSocket => {
            let start = room(out, rawsocket::HEADER_BYTES);
            encode(out)?;
            let message_bytes = out.len() - start;
            let header = rawsocket::FrameHeader {
                frame_type: rawsocket::FrameType::Message,
                payload_bytes: message_bytes,
            };
            place_before(out, start, &header.octets());
            Ok(message_bytes)
        }
        Framing::WebSocket => {
            let start = room(out, WEBSOCKET_HEADER_ROOM);
            encode(out)?;
            let message_bytes = out.len() - start;
            websocket_header(out, start, serializer);
            Ok(message_bytes)
        }
        Framing::WebSocketBatched => {
            let start = room(out, WEBSOCKET_HEADER_ROOM);
            let length_bytes = match serializer {
                Serializer::Json => 0,
                Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => {
                    websocket::BATCH_LENGTH_BYTES
                }
            };
            let message = room(out, length_bytes);
            encode(out)?;
            let message_bytes = out.len() - message;
            if serializer == Serializer::Json {
                out.push(websocket::RECORD_SEPARATOR);
            } else {
                let length = u32::try_from(message_bytes).unwrap_or(u32::MAX);
                place_before(out, message, &length.to_be_bytes());
            }
            websocket_header(out, start, serializer);
            Ok(message_bytes)
        }
    }
}

/// What a WebSocket header takes for 126 to 65,535 octets, as most messages have.
const WEBSOCKET_HEADER_ROOM: usize = 4;

/// Appends so many octets to be filled in later; returns where what follows begins.
fn room(out: &mut Vec<u8>, octets: usize) -> usize {
    out.resize(out.len() + octets, 0);
    out.len()
}

/// Puts the header in front of a WebSocket message that begins at `start` behind [`WEBSOCKET_HEADER_ROOM`]. A message
/// that needs another header is moved: frames must follow one another without a gap.
fn websocket_header(out: &mut Vec<u8>, start: usize, serializer: Serializer) {
    let opcode = match serializer {
        Serializer::Json => websocket::Opcode::Text,
        Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => websocket::Opcode::Binary,
    };
    let bytes = out.len() - start;
    let header = websocket::FrameHeader { fin: true, opcode, payload_bytes: bytes as u64, mask: None };
    let mut octets = [0; websocket::HEADER_BYTES_MAX];
    let header_bytes = header.write_before(&mut octets);
    let moved = start - WEBSOCKET_HEADER_ROOM + header_bytes;
    if moved > start {
        out.resize(moved + bytes, 0);
    }
    if moved != start {
        out.copy_within(start..start + bytes, moved);
        out.truncate(moved + bytes);
    }
    place_before(out, moved, &octets[octets.len() - header_bytes..]);
}

/// Writes `octets` so that they end at `end`.
fn place_before(out: &mut [u8], end: usize, octets: &[u8]) {
    out[end - octets.len()..end].copy_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::random::Random;
    use super::twin::{Outcome, run_all_cuts, settings};
    use super::*;

    const FRAMINGS: [Framing; 3] = [Framing::RawSocket, Framing::WebSocket, Framing::WebSocketBatched];

    fn framed(framing: Framing, serializer: Serializer, message: &[u8]) -> Vec<u8> {
        let before = b"the frame before";
        let mut out = before.to_vec();
        let framed = frame(framing, serializer, &mut out, |out| {
            out.extend_from_slice(message);
            Ok::<(), ()>(())
        });
        assert_eq!(framed.unwrap(), message.len());
        assert!(out.starts_with(before));
        out.split_off(before.len())
    }

    #[test]
    fn frames_have_the_smallest_header() {
        let cbor = Serializer::Cbor;
        assert_eq!(framed(Framing::RawSocket, cbor, b"ab"), b"\0\0\0\x02ab");
        assert_eq!(framed(Framing::WebSocket, cbor, b"ab"), b"\x82\x02ab");
        assert_eq!(framed(Framing::WebSocket, Serializer::Json, b"[]"), b"\x81\x02[]");
        assert_eq!(framed(Framing::WebSocketBatched, cbor, b"ab"), b"\x82\x06\0\0\0\x02ab");
        assert_eq!(framed(Framing::WebSocketBatched, Serializer::Json, b"[]"), b"\x81\x03[]\x1e");
        let lengths: [(usize, &[u8]); 5] = [
            (125, b"\x82\x7d"),
            (126, b"\x82\x7e\0\x7e"),
            (65_535, b"\x82\x7e\xff\xff"),
            (65_536, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
            (1 << 24, b"\x82\x7f\0\0\0\0\x01\0\0\0"),
        ];
        for (length, header) in lengths {
            let frame = framed(Framing::WebSocket, cbor, &vec![7; length]);
            assert_eq!(frame.len(), header.len() + length);
            assert!(frame.starts_with(header));
        }
        let largest = framed(Framing::RawSocket, cbor, &vec![7; 1 << 24]);
        assert_eq!(largest[..4], [8, 0, 0, 0]);
        assert_eq!(framed(Framing::RawSocket, cbor, &vec![7; (1 << 24) - 1])[..4], [0, 255, 255, 255]);
    }

    #[test]
    fn a_message_that_cannot_be_encoded_makes_no_frame() {
        for framing in FRAMINGS {
            let failed = frame(framing, Serializer::Json, &mut Vec::new(), |_| Err("no form"));
            assert_eq!(failed, Err("no form"));
        }
    }

    #[test]
    fn the_first_octet_tells_the_transport() {
        let mut random = Random::new(1);
        for octet in 0..=255u8 {
            let outcome = run_all_cuts(&settings(), &[octet], &mut random);
            let tells = octet == 0x7F || upgrade::begins_request(octet);
            let violation = (!tells).then_some(Violation::UnknownTransport);
            assert_eq!(outcome, Outcome { violation, ..Outcome::default() }, "{octet}");
        }
    }

    #[test]
    fn a_transport_that_is_not_allowed_is_unknown() {
        let settings = Settings { rawsocket: false, ..settings() };
        let outcome = run_all_cuts(&settings, b"\x7f\xf1\0\0", &mut Random::new(2));
        assert_eq!(outcome.violation, Some(Violation::UnknownTransport));
        assert!(outcome.reply.is_empty());
    }

    #[test]
    fn an_idle_peer_is_small() {
        assert!(size_of::<Transport>() <= 80, "{}", size_of::<Transport>());
        let websocket = size_of::<Transport>() + size_of::<WebSocket>();
        assert!(websocket <= 168, "{websocket}");
    }
}
