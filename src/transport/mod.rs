//! A byte stream to WAMP messages and back, for one peer.
//!
//! A [`Transport`] begins undecided and is told by the first octet: 0x7F opens RawSocket, anything that can begin an
//! HTTP request line opens an upgrade to WebSocket (or gets a page). From then on it cuts bytes into messages. It
//! holds no socket and queues nothing itself: what it must answer (handshakes, PONG, close frames) it appends to
//! `reply`, and the shard queues that.

pub mod outbound;
pub mod rawsocket;
pub mod upgrade;
pub mod websocket;

use std::ops::Range;
use std::sync::Arc;

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
    pub serializers: [bool; 3],
    /// RawSocket may be opened.
    pub rawsocket: bool,
    /// WebSocket may be opened.
    pub websocket: bool,
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

/// What the handshake agreed on: all it takes to send to this peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// The serializer of both directions.
    pub serializer: Serializer,
    /// The framing of both directions.
    pub framing: Framing,
    /// Octets of the largest message the peer takes; RawSocket announces it.
    pub message_bytes_max: usize,
}

/// What [`Transport::next`] found.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// The handshake is done; [`Transport::link`] is known from now on.
    Opened,
    /// One whole serialized message.
    Message(&'a [u8]),
    /// Nothing whole is left in the input; what there is has been kept.
    Incomplete,
    /// The peer has ended its side in good order (a close handshake, or a page that was asked for): write what is
    /// queued, then close. Further input is ignored.
    Finished,
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Transport {
    settings: Arc<Settings>,
}

impl Transport {
    /// A connection of which nothing is known yet. If `full`, its handshake is refused because the router has too
    /// many connections: RawSocket error 4, HTTP 503.
    pub fn new(settings: Arc<Settings>, full: bool) -> Transport {
        let _ = full;
        Transport { settings }
    }

    /// Cuts the next thing out of `input`, which it advances, or out of what it has kept from before. Unmasks in
    /// place. Appends to `reply` what the transport itself must answer, also when it returns a violation: a refused
    /// handshake is answered here, a violation after it is not ([`Transport::close`] says it).
    ///
    /// Call it until it returns `Incomplete` or `Finished`, or an error; after an error never again.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b mut [u8],
        reply: &mut Vec<u8>,
    ) -> Result<Inbound<'a>, Violation> {
        let _ = (input, reply, &self.settings);
        Ok(Inbound::Incomplete)
    }

    /// Keeps input that is not to be handled now; `next` begins with it.
    pub fn keep(&mut self, input: &[u8]) {
        let _ = input;
    }

    /// What was agreed on, once `next` has returned `Opened`.
    pub fn link(&self) -> Option<Link> {
        None
    }

    /// Appends a PING.
    pub fn ping(&mut self, reply: &mut Vec<u8>) {
        let _ = reply;
    }

    /// Appends a close frame with code and reason, once; nothing where the transport has none. The peer's answer
    /// comes as `Finished`.
    pub fn close(&mut self, code: u16, text: &str, reply: &mut Vec<u8>) {
        let _ = (code, text, reply);
    }
}

/// Writes one frame into `scratch` (cleared first): `encode` appends the message, the framing goes around it. Returns
/// where in `scratch` the frame stands and how long the message in it is (to be held against
/// [`Link::message_bytes_max`]). The frame is the same for every peer with this framing and serializer.
pub fn frame<E>(
    framing: Framing,
    serializer: Serializer,
    scratch: &mut Vec<u8>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(Range<usize>, usize), E> {
    let _ = (framing, serializer);
    encode(scratch)?;
    Ok((0..scratch.len(), scratch.len()))
}
