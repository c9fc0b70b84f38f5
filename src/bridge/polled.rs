//! One long-poll transport: what waits for its client, and the stream that makes it a peer of a shard.
//!
//! ```text
//!   send    --> messages --> `outbound`, framed as RawSocket --> shard
//!   receive <-- `queue`  <-- `inbound`, cut into messages    <-- shard
//! ```
//!
//! Both ends of the stream are the router's, so there is no handshake, and frames are never malformed.

use std::collections::VecDeque;
use std::time::Instant;

use super::batch;
use super::longpoll::ConnectionKey;
use crate::codec::{self, DecodeError};
use crate::transport::Framing;
use crate::transport::rawsocket::{FrameHeader, FrameType, HEADER_BYTES};
use crate::wamp::Serializer;

/// Octets to be written to a socket.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    octets: Vec<u8>,
    /// Octets of `octets` that are written.
    start: usize,
    /// Octets that were ever written.
    written: u64,
}

impl Outbound {
    /// Where octets are appended.
    pub fn end(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// What is to be written.
    pub fn waiting(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// Octets that were ever written, and will have been when all that waits is.
    pub fn written(&self) -> (u64, u64) {
        (self.written, self.written + self.waiting().len() as u64)
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.octets.capacity()
    }

    /// Octets were written.
    pub fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.written += bytes as u64;
        if self.start == self.octets.len() {
            self.octets = Vec::new();
            self.start = 0;
        }
    }
}

/// Where a transport is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// Its stream is being made.
    Opening,
    /// It is open.
    Open,
    /// The client has closed it, or is gone: what it has sent is written, and then its stream is shut down.
    Finishing,
    /// Its shard has closed it: the client may fetch what is left.
    Ended,
}

/// One transport.
#[derive(Debug)]
pub(super) struct Polled {
    /// Its name, which only its client knows.
    pub id: String,
    /// What was agreed on, as `open` names it.
    pub protocol: &'static str,
    /// Of both directions.
    pub serializer: Serializer,
    /// Bodies are batches.
    pub batched: bool,
    /// The life.
    pub life: Life,
    /// To the shard.
    pub outbound: Outbound,
    /// The connection on which `receive` waits.
    pub receiving: Option<ConnectionKey>,
    /// The connections on which `send` waits, and what must have been written before it is answered.
    pub sending: VecDeque<(u64, ConnectionKey)>,
    /// Octets of memory, as counted.
    pub held: usize,
    /// When its client last asked for something, or got its answer.
    pub asked: Instant,
    /// When something must be done about it.
    pub deadline: Option<Instant>,
    inbound: Vec<u8>,
    queue: VecDeque<Vec<u8>>,
    queue_bytes: usize,
}

impl Polled {
    /// A transport whose stream is still to be made.
    pub fn new(
        id: String,
        (protocol, serializer, framing): (&'static str, Serializer, Framing),
        now: Instant,
    ) -> Polled {
        Polled {
            id,
            protocol,
            serializer,
            batched: framing == Framing::WebSocketBatched,
            life: Life::Opening,
            outbound: Outbound::default(),
            receiving: None,
            sending: VecDeque::new(),
            held: 0,
            asked: now,
            deadline: None,
            inbound: Vec::new(),
            queue: VecDeque::new(),
            queue_bytes: 0,
        }
    }

    /// The messages of a body, if it has any.
    pub fn messages<'b>(&self, body: &'b [u8]) -> Option<Vec<&'b [u8]>> {
        match self.batched {
            true => batch::split(self.serializer, body),
            false => (!body.is_empty()).then(|| vec![body]),
        }
    }

    /// True if the shard can read the message: as it is, or written plainly if it is UBJSON with types.
    pub fn decodes(&self, message: &[u8]) -> bool {
        match codec::decode(self.serializer, message) {
            Err(DecodeError::Dialect) => {
                codec::plain_ubjson(message).is_ok_and(|plain| codec::decode(self.serializer, &plain).is_ok())
            }
            decoded => decoded.is_ok(),
        }
    }

    /// Frames a message for the shard; it must not be longer than 2^24 octets.
    pub fn send(&mut self, message: &[u8]) {
        self.frame(FrameType::Message, message);
    }

    /// Octets from the shard. PINGs are answered: they ask whether the stream lives, and its client has a deadline of
    /// its own.
    pub fn take(&mut self, octets: &[u8]) {
        if matches!(self.life, Life::Finishing) {
            return;
        }
        let mut inbound = std::mem::take(&mut self.inbound);
        inbound.extend_from_slice(octets);
        let mut rest = &inbound[..];
        while let Some((frame_type, payload, after)) = cut(rest) {
            match frame_type {
                FrameType::Message => {
                    self.queue_bytes += payload.len();
                    self.queue.push_back(payload.to_vec());
                }
                FrameType::Ping => self.frame(FrameType::Pong, payload),
                FrameType::Pong => {}
            }
            rest = after;
        }
        // A frame that is longer than a read grows where it is; it is the rest of one read that is copied.
        self.inbound = if rest.len() == inbound.len() { inbound } else { rest.to_vec() };
    }

    /// Octets of memory held for both directions.
    pub fn memory(&self) -> usize {
        self.inbound.capacity() + self.queue_bytes + self.outbound.memory()
    }

    /// True if messages wait for the client.
    pub fn has_messages(&self) -> bool {
        !self.queue.is_empty()
    }

    /// False if so much waits that the shard must keep the rest. A single message is always taken.
    pub fn wants_input(&self, queue_bytes_max: usize) -> bool {
        self.life == Life::Finishing || self.queue.is_empty() || self.queue_bytes < queue_bytes_max
    }

    /// The body that answers `receive`: the next message, or all in a batch.
    pub fn next_body(&mut self) -> Vec<u8> {
        if !self.batched {
            let message = self.queue.pop_front().unwrap_or_default();
            self.queue_bytes -= message.len();
            return message;
        }
        let mut body = Vec::with_capacity(self.queue_bytes + 4 * self.queue.len());
        for message in self.queue.drain(..) {
            batch::append(self.serializer, &message, &mut body);
        }
        self.queue_bytes = 0;
        body
    }

    /// Forgets what waits for the client.
    pub fn forget_messages(&mut self) {
        self.queue.clear();
        self.queue_bytes = 0;
        self.inbound = Vec::new();
    }

    /// What a body is.
    pub fn content_type(&self) -> &'static str {
        match self.serializer {
            Serializer::Json => "application/json; charset=utf-8",
            Serializer::MessagePack => "application/x-msgpack",
            Serializer::Cbor => "application/cbor",
            Serializer::Ubjson => "application/ubjson",
        }
    }

    fn frame(&mut self, frame_type: FrameType, payload: &[u8]) {
        let header = FrameHeader { frame_type, payload_bytes: payload.len() };
        self.outbound.end().extend_from_slice(&header.octets());
        self.outbound.end().extend_from_slice(payload);
    }
}

/// The frame at the beginning, and what follows it; `None` if it is not whole.
fn cut(octets: &[u8]) -> Option<(FrameType, &[u8], &[u8])> {
    let (header, rest) = octets.split_first_chunk::<HEADER_BYTES>()?;
    let header = FrameHeader::read(*header).expect("a shard sends no malformed frame");
    let (payload, after) = rest.split_at_checked(header.payload_bytes)?;
    Some((header.frame_type, payload, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polled(framing: Framing) -> Polled {
        let mut polled =
            Polled::new("id".to_owned(), ("wamp.2.json", Serializer::Json, framing), Instant::now());
        polled.life = Life::Open;
        polled
    }

    #[test]
    fn frames_become_messages_whatever_the_cuts() {
        let stream = b"\0\0\0\x03[1]\x01\0\0\x02hi\0\0\0\x03[2]\x02\0\0\0\0\0\0\x03[3]";
        for piece in 1..=stream.len() {
            let mut polled = polled(Framing::WebSocket);
            stream.chunks(piece).for_each(|octets| polled.take(octets));
            assert_eq!(polled.outbound.waiting(), b"\x02\0\0\x02hi");
            let bodies: Vec<_> = (0..3).map(|_| polled.next_body()).collect();
            assert_eq!(bodies, [b"[1]", b"[2]", b"[3]"]);
            assert!(!polled.has_messages() && polled.queue_bytes == 0);
        }
    }

    #[test]
    fn a_batch_has_all_and_the_bound_lets_one_message_pass() {
        let mut polled = polled(Framing::WebSocketBatched);
        assert!(polled.wants_input(0), "nothing waits");
        polled.take(b"\0\0\0\x03[1]\0\0\0\x03[2]\0");
        assert!(!polled.wants_input(6) && polled.wants_input(7));
        assert_eq!(polled.next_body(), b"[1]\x1e[2]\x1e");
        polled.take(b"\0\0\x03[3]");
        polled.forget_messages();
        assert!(polled.wants_input(0) && !polled.has_messages());
    }

    #[test]
    fn what_was_written_is_counted() {
        let mut outbound = Outbound::default();
        outbound.end().extend_from_slice(b"abcd");
        outbound.advance(3);
        assert_eq!((outbound.waiting(), outbound.written()), (&b"d"[..], (3, 4)));
        outbound.end().push(b'e');
        outbound.advance(2);
        assert_eq!((outbound.waiting(), outbound.written()), (&b""[..], (5, 5)));
    }
}
