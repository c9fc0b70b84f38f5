//! RawSocket: four octets of handshake each way, then frames of four octets and a payload.
//!
//! ```text
//!   handshake  0111 1111  LLLL SSSS  0000 0000  0000 0000     L: 2^(9+L) octets are received at most, S: serializer
//!   refusal    0111 1111  EEEE 0000  0000 0000  0000 0000     E: which error
//!   frame      0000 XTTT  LLLL LLLL  LLLL LLLL  LLLL LLLL     T: 0 message, 1 PING, 2 PONG; X: exactly 2^24 octets
//! ```
//!
//! Owns both, for routers and clients, and the receiving half of a router's connection. Of several errors in one
//! handshake the first of this list is told: reserved octets (who sets them speaks a later protocol, in which the
//! rest may mean something else), serializer, length, and only then that the router is full, so that a client which
//! could never be accepted is not told to come again. A frame's header is judged before its payload arrives.
//!
//! Spec: advanced profile, "RawSocket Transport".

use super::kept::Kept;
use super::{Framing, Inbound, Link, Settings};
use crate::error::Violation;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::wamp::Serializer;

/// The first octet of a handshake; no HTTP request can begin with it.
pub const MAGIC: u8 = 0x7F;

/// Octets of a handshake, and of a frame's header.
pub const HEADER_BYTES: usize = 4;

/// The lowest length that can be announced.
pub const LENGTH_MIN: usize = 1 << 9;

/// What one side says when it opens: a client first, and a router that agrees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// The serializer of both directions.
    pub serializer: Serializer,
    /// Octets of the largest message the sender takes: a power of two from 2^9 to 2^24.
    pub message_bytes_max: usize,
}

/// Why a router refuses a handshake. The value is the one on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HandshakeError {
    /// The serializer is unknown or not allowed.
    Serializer = 1,
    /// The announced length is too small.
    Length = 2,
    /// Reserved octets are set.
    Reserved = 3,
    /// The router has too many connections.
    ConnectionLimit = 4,
}

impl Handshake {
    /// The handshake that announces the largest length not above `message_bytes_max`. What can be announced lies
    /// between 2^9 and 2^24, so a smaller bound is raised to 2^9.
    pub fn new(serializer: Serializer, message_bytes_max: usize) -> Handshake {
        let bounded = message_bytes_max.clamp(LENGTH_MIN, MESSAGE_BYTES_CEILING);
        Handshake { serializer, message_bytes_max: 1 << bounded.ilog2() }
    }

    /// Reads a handshake of either side, except for the magic octet.
    pub fn read(octets: [u8; HEADER_BYTES]) -> Result<Handshake, HandshakeError> {
        let [_, second, third, fourth] = octets;
        if third != 0 || fourth != 0 {
            return Err(HandshakeError::Reserved);
        }
        let serializer = match second & 0x0F {
            1 => Serializer::Json,
            2 => Serializer::MessagePack,
            3 => Serializer::Cbor,
            4 => Serializer::Ubjson,
            _ => return Err(HandshakeError::Serializer),
        };
        Ok(Handshake { serializer, message_bytes_max: LENGTH_MIN << (second >> 4) })
    }

    /// The handshake on the wire.
    pub fn octets(self) -> [u8; HEADER_BYTES] {
        let length = self.message_bytes_max.ilog2().saturating_sub(LENGTH_MIN.ilog2()) as u8;
        let serializer = self.serializer.index() as u8 + 1;
        [MAGIC, length << 4 | serializer, 0, 0]
    }
}

impl HandshakeError {
    /// The refusal on the wire.
    pub fn octets(self) -> [u8; HEADER_BYTES] {
        [MAGIC, (self as u8) << 4, 0, 0]
    }

    /// The error in a router's answer; none if the answer is a handshake or no known error.
    pub fn read(octets: [u8; HEADER_BYTES]) -> Option<HandshakeError> {
        match octets[1] {
            0x10 => Some(HandshakeError::Serializer),
            0x20 => Some(HandshakeError::Length),
            0x30 => Some(HandshakeError::Reserved),
            0x40 => Some(HandshakeError::ConnectionLimit),
            _ => None,
        }
    }

    fn violation(self) -> Violation {
        match self {
            HandshakeError::Serializer => Violation::RawSocketSerializer,
            HandshakeError::Length => Violation::RawSocketLength,
            HandshakeError::Reserved => Violation::RawSocketReserved,
            HandshakeError::ConnectionLimit => Violation::ConnectionLimit,
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameType {
    /// A serialized WAMP message.
    Message = 0,
    /// To be answered by a PONG with the same payload.
    Ping = 1,
    /// The answer to a PING.
    Pong = 2,
}

/// The four octets in front of a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// What the frame carries.
    pub frame_type: FrameType,
    /// Octets of the payload, at most 2^24.
    pub payload_bytes: usize,
}

impl FrameHeader {
    /// Reads a header. The extra length bit stands for 2^24 octets and allows no other bit of the length.
    #[inline]
    pub fn read(octets: [u8; HEADER_BYTES]) -> Result<FrameHeader, Violation> {
        let word = u32::from_be_bytes(octets);
        let length = (word & 0x00FF_FFFF) as usize;
        let (frame_type, extra) = match octets[0] {
            0 => (FrameType::Message, false),
            1 => (FrameType::Ping, false),
            2 => (FrameType::Pong, false),
            8 => (FrameType::Message, true),
            9 => (FrameType::Ping, true),
            10 => (FrameType::Pong, true),
            _ => return Err(Violation::RawSocketFrame),
        };
        match (extra, length) {
            (false, length) => Ok(FrameHeader { frame_type, payload_bytes: length }),
            (true, 0) => Ok(FrameHeader { frame_type, payload_bytes: MESSAGE_BYTES_CEILING }),
            (true, _) => Err(Violation::RawSocketFrame),
        }
    }

    /// The header on the wire. A payload of more than 2^24 octets has none: such a frame must not be sent.
    #[inline]
    pub fn octets(self) -> [u8; HEADER_BYTES] {
        let extra = u32::from(self.payload_bytes >= MESSAGE_BYTES_CEILING) << 27;
        let length = if extra > 0 { 0 } else { self.payload_bytes as u32 };
        ((self.frame_type as u32) << 24 | extra | length).to_be_bytes()
    }
}

/// An opened connection, on the router's side.
#[derive(Debug)]
pub(super) struct RawSocket {
    link: Link,
    /// Octets of a payload that this side has announced to take.
    payload_bytes_max: u32,
}

impl RawSocket {
    /// Answers the client's handshake.
    pub fn open(
        octets: [u8; HEADER_BYTES],
        settings: &Settings,
        full: bool,
        reply: &mut Vec<u8>,
    ) -> Result<RawSocket, Violation> {
        match agree(octets, settings, full) {
            Ok(peer) => {
                let ours = Handshake::new(peer.serializer, settings.message_bytes_max);
                reply.extend_from_slice(&ours.octets());
                Ok(RawSocket {
                    link: Link {
                        serializer: peer.serializer,
                        framing: Framing::RawSocket,
                        message_bytes_max: peer.message_bytes_max,
                    },
                    payload_bytes_max: ours.message_bytes_max as u32,
                })
            }
            Err(error) => {
                reply.extend_from_slice(&error.octets());
                Err(error.violation())
            }
        }
    }

    /// The router's own end of a stream whose other end is the router's as well: nothing is to be agreed on.
    pub fn linked(link: Link, settings: &Settings) -> RawSocket {
        let payload_bytes_max = settings.message_bytes_max.min(MESSAGE_BYTES_CEILING) as u32;
        RawSocket { link, payload_bytes_max }
    }

    /// The next message; answers PINGs on the way.
    #[inline]
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        kept: &'a mut Kept,
        input: &mut &'b mut [u8],
        reply: &mut Vec<u8>,
    ) -> Result<Inbound<'a>, Violation> {
        loop {
            if !kept.gather(HEADER_BYTES, input) {
                return Ok(Inbound::Incomplete);
            }
            let Some(octets) = kept.front(input).first_chunk() else {
                return Ok(Inbound::Incomplete);
            };
            let header = FrameHeader::read(*octets)?;
            self.check_length(header)?;
            if !kept.gather(HEADER_BYTES + header.payload_bytes, input) {
                return Ok(Inbound::Incomplete);
            }
            match header.frame_type {
                FrameType::Message => {
                    let frame = kept.take(HEADER_BYTES + header.payload_bytes, input);
                    return Ok(Inbound::Message(&frame[HEADER_BYTES..]));
                }
                FrameType::Ping => {
                    let frame = kept.take(HEADER_BYTES + header.payload_bytes, input);
                    let pong = FrameHeader { frame_type: FrameType::Pong, ..header };
                    reply.extend_from_slice(&pong.octets());
                    reply.extend_from_slice(&frame[HEADER_BYTES..]);
                }
                // Also one that nobody asked for: it shows that the peer lives.
                FrameType::Pong => {
                    kept.take(HEADER_BYTES + header.payload_bytes, input);
                }
            }
        }
    }

    /// Appends a PING.
    pub fn ping(&self, reply: &mut Vec<u8>) {
        let ping = FrameHeader { frame_type: FrameType::Ping, payload_bytes: 0 };
        reply.extend_from_slice(&ping.octets());
    }

    /// What was agreed on.
    pub fn link(&self) -> Link {
        self.link
    }

    /// A payload may be as long as this side has announced; that of a PING also no longer than the peer takes back.
    #[inline]
    fn check_length(&self, header: FrameHeader) -> Result<(), Violation> {
        let pong_too_large =
            header.frame_type == FrameType::Ping && header.payload_bytes > self.link.message_bytes_max;
        if header.payload_bytes > self.payload_bytes_max as usize || pong_too_large {
            return Err(Violation::MessageTooLarge);
        }
        Ok(())
    }
}

/// The client's handshake, if it is accepted.
fn agree(octets: [u8; HEADER_BYTES], settings: &Settings, full: bool) -> Result<Handshake, HandshakeError> {
    let peer = Handshake::read(octets)?;
    if !settings.serializers[peer.serializer.index()] {
        return Err(HandshakeError::Serializer);
    }
    if peer.message_bytes_max < settings.peer_message_bytes_min {
        return Err(HandshakeError::Length);
    }
    if full {
        return Err(HandshakeError::ConnectionLimit);
    }
    Ok(peer)
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::super::twin::{self, Outcome, run, run_all_cuts, settings};
    use super::super::{Inbound, Transport};
    use super::*;
    use std::sync::Arc;

    /// A handshake for CBOR that takes 2^24 octets.
    const HELLO: [u8; 4] = [0x7F, 0xF3, 0, 0];

    fn opened(settings: &Settings, frames: &[u8]) -> Outcome {
        let stream = [&HELLO[..], frames].concat();
        run_all_cuts(settings, &stream, &mut Random::new(frames.len() as u64))
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&[first, length[1], length[2], length[3]], payload].concat()
    }

    #[test]
    fn handshakes_are_answered_with_our_length() {
        for (message_bytes_max, second) in
            [(0, 0x03), (512, 0x03), (1023, 0x03), (1024, 0x13), (1 << 20, 0xB3), (1 << 30, 0xF3)]
        {
            let settings = Settings { message_bytes_max, ..settings() };
            let outcome = opened(&settings, b"");
            assert_eq!(outcome.reply, [0x7F, second, 0, 0]);
            let link = outcome.link.unwrap();
            assert_eq!(link.message_bytes_max, 1 << 24);
            assert_eq!((link.serializer, link.framing), (Serializer::Cbor, Framing::RawSocket));
        }
    }

    #[test]
    fn every_second_octet_is_accepted_or_refused() {
        let settings =
            Settings { serializers: [true, false, true, false], peer_message_bytes_min: 2048, ..settings() };
        for second in 0..=255 {
            let outcome = run_all_cuts(&settings, &[0x7F, second, 0, 0], &mut Random::new(3));
            let (length, serializer) = (second >> 4, second & 15);
            let (reply, violation) = match serializer {
                1 | 3 if length >= 2 => (0xB0 | serializer, None),
                1 | 3 => (0x20, Some(Violation::RawSocketLength)),
                _ => (0x10, Some(Violation::RawSocketSerializer)),
            };
            assert_eq!(outcome.reply, [0x7F, reply, 0, 0]);
            assert_eq!(outcome.violation, violation);
            assert_eq!(outcome.link.is_some(), violation.is_none());
        }
    }

    #[test]
    fn reserved_octets_are_told_before_any_other_error() {
        for stream in [[0x7F, 0, 1, 0], [0x7F, 0, 0, 0x80], [0x7F, 0xF1, 255, 255]] {
            let outcome = run_all_cuts(&settings(), &stream, &mut Random::new(4));
            assert_eq!(outcome.reply, [0x7F, 0x30, 0, 0]);
            assert_eq!(outcome.violation, Some(Violation::RawSocketReserved));
        }
    }

    #[test]
    fn a_full_router_says_so_to_those_it_could_serve() {
        for (second, reply, violation) in
            [(0xF1, 0x40, Violation::ConnectionLimit), (0xF0, 0x10, Violation::RawSocketSerializer)]
        {
            let mut transport = Transport::new(Arc::new(settings()), true);
            let mut replies = Vec::new();
            let refused = transport.next(&mut &mut [0x7F, second, 0, 0][..], &mut replies).unwrap_err();
            assert_eq!((refused, &replies[..]), (violation, &[0x7F, reply, 0, 0][..]));
        }
    }

    #[test]
    fn handshakes_and_headers_read_as_written() {
        for serializer in Serializer::ALL {
            for exponent in 9..=24 {
                let handshake = Handshake::new(serializer, 1 << exponent);
                assert_eq!(Handshake::read(handshake.octets()), Ok(handshake));
                assert_eq!(HandshakeError::read(handshake.octets()), None);
            }
        }
        for error in [
            HandshakeError::Serializer,
            HandshakeError::Length,
            HandshakeError::Reserved,
            HandshakeError::ConnectionLimit,
        ] {
            assert_eq!(HandshakeError::read(error.octets()), Some(error));
        }
        for frame_type in [FrameType::Message, FrameType::Ping, FrameType::Pong] {
            for payload_bytes in [0, 1, 255, 65_536, (1 << 24) - 1, 1 << 24] {
                let header = FrameHeader { frame_type, payload_bytes };
                assert_eq!(FrameHeader::read(header.octets()), Ok(header));
            }
        }
    }

    #[test]
    fn reserved_bits_and_types_are_violations() {
        for first in 0..=255u8 {
            let known = first < 3 || (8..11).contains(&first);
            let outcome = opened(&settings(), &[first, 0, 0, 0]);
            let violation = match first {
                8..11 => Some(Violation::MessageTooLarge),
                _ => (!known).then_some(Violation::RawSocketFrame),
            };
            assert_eq!(outcome.violation, violation, "{first}");
        }
        assert_eq!(opened(&settings(), &[8, 0, 0, 1]).violation, Some(Violation::RawSocketFrame));
    }

    #[test]
    fn the_announced_length_is_the_enforced_one() {
        let settings = Settings { message_bytes_max: 1500, ..settings() };
        let outcome = opened(&settings, &frame(0, &[5; 1024]));
        assert_eq!(outcome.messages, [vec![5; 1024]]);
        // The header is enough.
        assert_eq!(opened(&settings, &[0, 0, 4, 1]).violation, Some(Violation::MessageTooLarge));
    }

    #[test]
    fn a_ping_is_answered_once_with_its_payload() {
        let frames =
            [frame(1, b""), frame(0, b"message"), frame(1, b"payload"), frame(2, b"unasked")].concat();
        let outcome = opened(&settings(), &frames);
        assert_eq!(outcome.reply[4..], [frame(2, b""), frame(2, b"payload")].concat());
        assert_eq!(outcome.messages, [b"message"]);
    }

    #[test]
    fn a_ping_the_peer_could_not_take_back_is_too_large() {
        let hello = [0x7F, 0x03, 0, 0];
        for (length, violation) in [(512, None), (513, Some(Violation::MessageTooLarge))] {
            let stream = [&hello[..], &frame(1, &vec![1; length])].concat();
            assert_eq!(run(&settings(), [&stream[..]]).violation, violation);
        }
    }

    #[test]
    fn sixteen_mebibytes_arrive_with_the_extra_bit() {
        let settings = Settings { message_bytes_max: 1 << 24, ..settings() };
        let payload: Vec<u8> = (0..1 << 24).map(|index: u32| (index % 251) as u8).collect();
        let stream = [&HELLO[..], &[8, 0, 0, 0], &payload, &[0, 0, 0, 1, 9]].concat();
        for piece_bytes in [stream.len(), 65_536, 7_777_777] {
            let outcome = run(&settings, stream.chunks(piece_bytes));
            assert!(outcome.messages[0] == payload);
            assert_eq!(outcome.messages[1], [9]);
        }
    }

    #[test]
    fn whole_frames_are_handed_out_in_place() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let mut octets = [&HELLO[..], &frame(0, b"first"), &frame(0, b"second")].concat();
        let range = octets.as_ptr_range();
        let mut input = &mut octets[..];
        assert!(matches!(transport.next(&mut input, &mut Vec::new()), Ok(Inbound::Opened)));
        for expected in [&b"first"[..], b"second"] {
            let Ok(Inbound::Message(message)) = transport.next(&mut input, &mut Vec::new()) else {
                panic!("no message");
            };
            assert_eq!(message, expected);
            assert!(range.contains(&message.as_ptr()));
        }
    }

    #[test]
    fn ping_and_close_say_what_rawsocket_can() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let mut reply = Vec::new();
        transport.ping(&mut reply);
        assert!(reply.is_empty());
        transport.next(&mut &mut { HELLO }[..], &mut Vec::new()).unwrap();
        transport.ping(&mut reply);
        transport.close(1000, "bye", &mut reply);
        assert_eq!(reply, [1, 0, 0, 0]);
    }

    #[test]
    fn equals_the_naive_twin() {
        let mut random = Random::new(5);
        let settings = Settings { message_bytes_max: 512, ..settings() };
        for _ in 0..400 {
            let mut frames = Vec::new();
            for _ in 0..random.below(8) {
                let payload = random.octets(600);
                let first = [0, 0, 0, 1, 2, 1, 0, random.next() as u8][random.below(8)];
                frames.extend(frame(first, &payload));
            }
            frames.truncate(frames.len() - random.below(frames.len().min(20)));
            let outcome = opened(&settings, &frames);
            let naive = twin::rawsocket(&frames, 512, 1 << 24);
            assert_eq!(outcome.messages, naive.messages);
            assert_eq!(outcome.reply[4..], naive.reply);
            assert_eq!(outcome.violation, naive.violation);
        }
    }
}
