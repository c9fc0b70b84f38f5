//! WebSocket after the upgrade: frames to messages, the control frames, the close handshake.
//!
//! Owns the frame header, for routers and clients, the mask, and the receiving half of a router's connection. The
//! upgrade itself is [`super::upgrade`]'s; no extension is ever agreed on, so every reserved bit is a violation.
//!
//! An unfragmented frame that is whole is unmasked and handed out where it stands. Otherwise its octets are unmasked
//! as they arrive and collected in `message`; text is checked at that moment, so it fails at the first wrong octet
//! and not at the end (RFC 6455, section 8.1). JSON is checked to be UTF-8 here, because a transport must fail with
//! its own code, and again by the codec, which must not depend on who calls it. The limit holds for the whole
//! WebSocket message: all its fragments together, and a batch with all that is in it.
//!
//! A batch is always collected in `message` and cut there: JSON messages end with 0x1E each, the others have 32 bits
//! of length in front. A batch is refused when the message that is wrong is reached; those before it are handed out.
//!
//! Spec: RFC 6455, sections 5 to 8; advanced profile, "Message Batching".

use super::kept::{Kept, append};
use super::text::{self, Text};
use super::upgrade::RequestHead;
use super::{Framing, Inbound, Link};
use crate::error::Violation;
use crate::wamp::Serializer;

/// Ends each JSON message of a batch.
pub const RECORD_SEPARATOR: u8 = 0x1E;

/// Octets of the length before each message of a binary batch.
pub const BATCH_LENGTH_BYTES: usize = 4;

/// Octets of the largest header a frame can have: 2, 64 bits of length, the mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Octets of a control frame's payload at most.
pub const CONTROL_BYTES_MAX: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opcode {
    /// The next part of a fragmented message.
    Continuation = 0,
    /// The first or only part of a text.
    Text = 1,
    /// The first or only part of a binary message.
    Binary = 2,
    /// One half of the close handshake.
    Close = 8,
    /// To be answered by a PONG with the same payload.
    Ping = 9,
    /// The answer to a PING.
    Pong = 10,
}

impl Opcode {
    /// May come between the fragments of a message, and is never fragmented.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }

    fn read(octet: u8) -> Option<Opcode> {
        match octet & 0x0F {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }
}

/// What stands before a payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The message ends with this frame.
    pub fin: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Octets of the payload, below 2^63.
    pub payload_bytes: u64,
    /// The mask; every client's frame has one, no server's does.
    pub mask: Option<[u8; 4]>,
}

impl FrameHeader {
    /// Octets of the header that begins with these two.
    #[inline]
    pub fn bytes(first: [u8; 2]) -> usize {
        let length_bytes = match first[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if first[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length_bytes + mask_bytes
    }

    /// Reads the header at the beginning of `octets`, which must hold all of it. Refuses reserved bits and opcodes,
    /// control frames that are fragmented or too long, and lengths that are not written in the shortest form or
    /// have their highest bit set.
    #[inline]
    pub fn read(octets: &[u8]) -> Result<FrameHeader, Violation> {
        let (first, rest) = octets.split_first_chunk::<2>().ok_or(Violation::WebSocketFrame)?;
        let fin = first[0] & 0x80 != 0;
        let opcode = Opcode::read(first[0]).ok_or(Violation::WebSocketFrame)?;
        let (payload_bytes, rest) = length(first[1] & 0x7F, rest).ok_or(Violation::WebSocketFrame)?;
        let reserved = first[0] & 0x70 != 0;
        if reserved || opcode.is_control() && (!fin || payload_bytes > CONTROL_BYTES_MAX as u64) {
            return Err(Violation::WebSocketFrame);
        }
        let mask = match first[1] & 0x80 {
            0 => None,
            _ => Some(*rest.first_chunk().ok_or(Violation::WebSocketFrame)?),
        };
        Ok(FrameHeader { fin, opcode, payload_bytes, mask })
    }

    /// Writes the header so that it ends with `room`; returns how many octets it has.
    #[inline]
    pub fn write_before(self, room: &mut [u8; HEADER_BYTES_MAX]) -> usize {
        let mut end = HEADER_BYTES_MAX;
        let mut place = |octets: &[u8]| {
            room[end - octets.len()..end].copy_from_slice(octets);
            end -= octets.len();
        };
        if let Some(mask) = self.mask {
            place(&mask);
        }
        let length = match self.payload_bytes {
            0..=125 => self.payload_bytes as u8,
            126..=0xFFFF => {
                place(&(self.payload_bytes as u16).to_be_bytes());
                126
            }
            _ => {
                place(&self.payload_bytes.to_be_bytes());
                127
            }
        };
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        place(&[u8::from(self.fin) << 7 | self.opcode as u8, masked | length]);
        HEADER_BYTES_MAX - end
    }
}

/// The length of a payload and what follows it; none if it is written in more octets than it needs, or negative.
#[inline]
fn length(seven_bits: u8, rest: &[u8]) -> Option<(u64, &[u8])> {
    match seven_bits {
        126 => {
            let (octets, rest) = rest.split_first_chunk()?;
            let length = u64::from(u16::from_be_bytes(*octets));
            (length > 125).then_some((length, rest))
        }
        127 => {
            let (octets, rest) = rest.split_first_chunk()?;
            let length = u64::from_be_bytes(*octets);
            (length > 0xFFFF && length >> 63 == 0).then_some((length, rest))
        }
        short => Some((u64::from(short), rest)),
    }
}

/// Masks or unmasks in place, and returns the key for the octets that follow these. Eight octets a step in the source;
/// the compiler makes vectors of it.
#[inline]
pub fn mask(octets: &mut [u8], key: [u8; 4]) -> [u8; 4] {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = octets.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *octet ^= key;
    }
    let mut next = key;
    next.rotate_left(rest.len() % 4);
    next
}

/// An opened connection, on the router's side.
#[derive(Debug)]
pub(super) struct WebSocket {
    link: Link,
    /// The request that it was asked for with, until somebody takes it.
    request: Option<RequestHead>,
    /// Octets of a message from the peer.
    message_bytes_max: usize,
    /// What has arrived of the message, where it is not handed out in place.
    message: Vec<u8>,
    /// The data frame whose payload is arriving.
    payload: Option<Payload>,
    /// A message has begun and its last frame has not.
    fragmented: bool,
    /// The check of the text in `message`.
    text: Text,
    progress: Progress,
    close_sent: bool,
}

/// How far `message` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// It is empty or arriving.
    Arriving,
    /// It is whole; what begins at this octet is to be handed out.
    Whole { start: usize },
    /// All of it is handed out.
    HandedOut,
    /// The peer's close frame has come: nothing is read any more.
    Finished,
}

/// The rest of a data frame's payload.
#[derive(Debug)]
struct Payload {
    bytes_left: usize,
    /// For the next octet.
    key: [u8; 4],
    fin: bool,
}

impl WebSocket {
    /// A connection whose upgrade has just been answered.
    pub fn new(link: Link, request: RequestHead, message_bytes_max: usize) -> WebSocket {
        WebSocket {
            link,
            request: Some(request),
            message_bytes_max,
            message: Vec::new(),
            payload: None,
            fragmented: false,
            text: Text::default(),
            progress: Progress::Arriving,
            close_sent: false,
        }
    }

    /// See [`Transport::take_request`](super::Transport::take_request).
    pub fn take_request(&mut self) -> Option<RequestHead> {
        self.request.take()
    }

    /// The next message; handles control frames on the way.
    #[inline]
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        kept: &'a mut Kept,
        input: &mut &'b mut [u8],
        reply: &mut Vec<u8>,
    ) -> Result<Inbound<'a>, Violation> {
        match self.progress {
            Progress::Arriving => {}
            Progress::Whole { start } => return self.hand_out(start),
            Progress::HandedOut => {
                self.progress = Progress::Arriving;
                self.message = Vec::new();
            }
            Progress::Finished => return Ok(Inbound::Finished),
        }
        loop {
            if self.payload.is_some() {
                if !self.collect(kept, input)? {
                    return Ok(Inbound::Incomplete);
                }
                if let Progress::Whole { start } = self.progress {
                    return self.hand_out(start);
                }
            }
            let Some((header, header_bytes)) = self.header(kept, input)? else {
                return Ok(Inbound::Incomplete);
            };
            if header.opcode.is_control() {
                let frame_bytes = header_bytes + header.payload_bytes as usize;
                if !kept.gather(frame_bytes, input) {
                    return Ok(Inbound::Incomplete);
                }
                let payload = &mut kept.take(frame_bytes, input)[header_bytes..];
                self.control(header, payload, reply)?;
                if self.finished() {
                    return Ok(Inbound::Finished);
                }
                continue;
            }
            let payload_bytes = self.check_data(header)?;
            kept.take(header_bytes, input);
            let whole = header.fin && !self.fragmented && self.link.framing == Framing::WebSocket;
            if whole && kept.front(input).len() >= payload_bytes {
                let message = kept.take(payload_bytes, input);
                mask(message, header.mask.unwrap_or_default());
                if self.takes_text() {
                    text::check(message)?;
                }
                return Ok(Inbound::Message(message));
            }
            self.fragmented = true;
            self.payload = Some(Payload {
                bytes_left: payload_bytes,
                key: header.mask.unwrap_or_default(),
                fin: header.fin,
            });
        }
    }

    /// Appends a PING.
    pub fn ping(&self, reply: &mut Vec<u8>) {
        if !self.close_sent {
            control_frame(Opcode::Ping, &[], reply);
        }
    }

    /// Octets of memory held for a message whose fragments have not all come.
    pub fn message_memory(&self) -> usize {
        self.message.capacity()
    }

    /// Appends a close frame, once. A text that does not fit a control frame is cut.
    pub fn close(&mut self, code: u16, text: &str, reply: &mut Vec<u8>) {
        if self.close_sent {
            return;
        }
        self.close_sent = true;
        let mut payload = code.to_be_bytes().to_vec();
        let text = &text[..text.floor_char_boundary(CONTROL_BYTES_MAX - payload.len())];
        payload.extend_from_slice(text.as_bytes());
        control_frame(Opcode::Close, &payload, reply);
    }

    /// What was agreed on.
    pub fn link(&self) -> Link {
        self.link
    }

    /// The peer's close frame has come.
    pub fn finished(&self) -> bool {
        self.progress == Progress::Finished
    }

    fn takes_text(&self) -> bool {
        self.link.serializer == Serializer::Json
    }

    /// The header at the front and its size, as soon as it is whole.
    #[inline]
    fn header(
        &self,
        kept: &mut Kept,
        input: &mut &mut [u8],
    ) -> Result<Option<(FrameHeader, usize)>, Violation> {
        if !kept.gather(2, input) {
            return Ok(None);
        }
        let Some(first) = kept.front(input).first_chunk() else {
            return Ok(None);
        };
        let header_bytes = FrameHeader::bytes(*first);
        if !kept.gather(header_bytes, input) {
            return Ok(None);
        }
        let header = FrameHeader::read(kept.front(input))?;
        if header.mask.is_none() {
            return Err(Violation::WebSocketFrame);
        }
        Ok(Some((header, header_bytes)))
    }

    /// Checks a data frame against the message it belongs to and the subprotocol; returns the size of its payload,
    /// which fits the limit together with what came before.
    #[inline]
    fn check_data(&self, header: FrameHeader) -> Result<usize, Violation> {
        if self.fragmented != (header.opcode == Opcode::Continuation) {
            return Err(Violation::WebSocketFrame);
        }
        let wanted = if self.takes_text() { Opcode::Text } else { Opcode::Binary };
        if !self.fragmented && header.opcode != wanted {
            return Err(Violation::WebSocketMessageType);
        }
        let room = self.message_bytes_max - self.message.len();
        match usize::try_from(header.payload_bytes) {
            Ok(bytes) if bytes <= room => Ok(bytes),
            _ => Err(Violation::MessageTooLarge),
        }
    }

    /// Takes what has arrived of the payload into `message`; false if more of it must come.
    fn collect(&mut self, kept: &mut Kept, input: &mut &mut [u8]) -> Result<bool, Violation> {
        let text = self.takes_text();
        while let Some(payload) = &mut self.payload {
            let piece = kept.take_front(payload.bytes_left, input);
            if piece.is_empty() && payload.bytes_left > 0 {
                return Ok(false);
            }
            payload.key = mask(piece, payload.key);
            payload.bytes_left -= piece.len();
            if text {
                self.text.push(piece)?;
            }
            let bytes_expected = self.message.len() + piece.len() + payload.bytes_left;
            append(&mut self.message, piece, bytes_expected);
            if payload.bytes_left > 0 {
                continue;
            }
            if payload.fin {
                self.text.finish()?;
                self.fragmented = false;
                self.progress = Progress::Whole { start: 0 };
            }
            self.payload = None;
        }
        Ok(true)
    }

    /// Hands out `message`, or the message of the batch in it that begins at `start`.
    fn hand_out(&mut self, start: usize) -> Result<Inbound<'_>, Violation> {
        let rest = &self.message[start..];
        let (message, used) = match (self.link.framing, self.link.serializer) {
            (Framing::WebSocketBatched, Serializer::Json) => batched_text(rest)?,
            (Framing::WebSocketBatched, _) => batched_binary(rest)?,
            _ => (rest, rest.len()),
        };
        self.progress =
            if used == rest.len() { Progress::HandedOut } else { Progress::Whole { start: start + used } };
        Ok(Inbound::Message(message))
    }

    /// Unmasks and answers a control frame. Nothing is answered after a close frame of ours.
    fn control(
        &mut self,
        header: FrameHeader,
        payload: &mut [u8],
        reply: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        mask(payload, header.mask.unwrap_or_default());
        if header.opcode == Opcode::Close {
            let code = close_code(payload)?;
            if !self.close_sent {
                self.close_sent = true;
                // Without a code of the peer's the answer is a normal closure: autobahn-js takes an answer without one
                // for a lost connection.
                let code = if code.is_empty() { &NORMAL_CLOSURE.to_be_bytes()[..] } else { code };
                control_frame(Opcode::Close, code, reply);
            }
            self.progress = Progress::Finished;
            return Ok(());
        }
        if header.opcode == Opcode::Ping && !self.close_sent {
            control_frame(Opcode::Pong, payload, reply);
        }
        Ok(())
    }
}

/// The first message of what is left of a batch, and how many octets it takes there.
fn batched_text(rest: &[u8]) -> Result<(&[u8], usize), Violation> {
    let end = rest.iter().position(|octet| *octet == RECORD_SEPARATOR).ok_or(Violation::Batch)?;
    Ok((&rest[..end], end + 1))
}

/// The same for the binary serializers.
fn batched_binary(rest: &[u8]) -> Result<(&[u8], usize), Violation> {
    let (length, after) = rest.split_first_chunk::<BATCH_LENGTH_BYTES>().ok_or(Violation::Batch)?;
    let message_bytes = u32::from_be_bytes(*length) as usize;
    let message = after.get(..message_bytes).ok_or(Violation::Batch)?;
    Ok((message, BATCH_LENGTH_BYTES + message_bytes))
}

/// Nothing is wrong (RFC 6455, section 7.4.1).
const NORMAL_CLOSURE: u16 = 1000;

/// The code of a close frame, two octets or none, if the payload is a valid one (RFC 6455, sections 5.5.1 and 7.4).
fn close_code(payload: &[u8]) -> Result<&[u8], Violation> {
    if payload.is_empty() {
        return Ok(payload);
    }
    let (code, reason) = payload.split_first_chunk::<2>().ok_or(Violation::WebSocketFrame)?;
    // 1004 is undefined; 1005, 1006 and 1015 stand for frames that were not sent. 1012 to 1014 were registered later.
    if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::WebSocketFrame);
    }
    text::check(reason)?;
    Ok(code)
}

/// Appends a control frame of this side. `payload` fits: it is ours, or was taken from a control frame.
fn control_frame(opcode: Opcode, payload: &[u8], reply: &mut Vec<u8>) {
    reply.extend_from_slice(&[0x80 | opcode as u8, payload.len() as u8]);
    reply.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::super::twin::{self, Outcome, run, run_all_cuts, settings};
    use super::super::{Settings, Transport};
    use super::*;
    use crate::limits::MESSAGE_BYTES_CEILING;
    use std::sync::Arc;

    fn request(subprotocol: &str) -> Vec<u8> {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        .into_bytes()
    }

    /// The outcome of these frames after an upgrade, whatever the cuts, with only the replies that follow the upgrade.
    fn opened(settings: &Settings, subprotocol: &str, frames: &[u8]) -> Outcome {
        let stream = [request(subprotocol), frames.to_vec()].concat();
        let mut outcome = run_all_cuts(settings, &stream, &mut Random::new(frames.len() as u64));
        let head_end = outcome.reply.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap() + 4;
        outcome.reply.drain(..head_end);
        outcome
    }

    fn cbor(frames: &[u8]) -> Outcome {
        opened(&settings(), "wamp.2.cbor", frames)
    }

    fn json(frames: &[u8]) -> Outcome {
        opened(&settings(), "wamp.2.json", frames)
    }

    /// A client's frame; `first` is the first octet.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [0x37, 0xFA, 0x21, 0x3D];
        let (opcode, fin) = (Opcode::read(first).unwrap(), first & 0x80 != 0);
        let header = FrameHeader { fin, opcode, payload_bytes: payload.len() as u64, mask: Some(key) };
        let mut room = [0; HEADER_BYTES_MAX];
        let header_bytes = header.write_before(&mut room);
        let mut frame = room[HEADER_BYTES_MAX - header_bytes..].to_vec();
        frame[0] = first;
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key));
        frame
    }

    const TEXT: u8 = 0x81;
    const BINARY: u8 = 0x82;
    const CLOSE: u8 = 0x88;
    const PING: u8 = 0x89;
    const PONG: u8 = 0x8A;

    #[test]
    fn mask_equals_octet_by_octet() {
        let mut random = Random::new(1);
        for _ in 0..500 {
            let octets = random.octets(300);
            let key = (random.next() as u32).to_ne_bytes();
            let naive: Vec<u8> =
                octets.iter().enumerate().map(|(index, octet)| octet ^ key[index % 4]).collect();
            let mut pieces = octets.clone();
            let mut next = key;
            let mut rest = &mut pieces[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at_mut(random.below(rest.len()) + 1);
                next = mask(piece, next);
                rest = after;
            }
            assert_eq!(pieces, naive);
            let mut whole = octets;
            mask(&mut whole, key);
            assert_eq!(whole, naive);
        }
    }

    #[test]
    fn headers_read_as_written() {
        for payload_bytes in [0, 125, 126, 65_535, 65_536, (1 << 63) - 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                for (fin, opcode) in
                    [(true, Opcode::Text), (false, Opcode::Binary), (true, Opcode::Continuation)]
                {
                    let header = FrameHeader { fin, opcode, payload_bytes, mask };
                    let mut room = [0; HEADER_BYTES_MAX];
                    let count = header.write_before(&mut room);
                    let octets = &room[HEADER_BYTES_MAX - count..];
                    assert_eq!(FrameHeader::bytes([octets[0], octets[1]]), count);
                    assert_eq!(FrameHeader::read(octets), Ok(header));
                    assert!((0..count).all(|end| FrameHeader::read(&octets[..end]).is_err()));
                }
            }
        }
    }

    #[test]
    fn messages_of_every_length_form_arrive() {
        for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537] {
            let payload = vec![b'*'; length];
            let frames = [frame(BINARY, &payload), frame(BINARY, b"next")].concat();
            assert_eq!(cbor(&frames).messages, [&payload[..], b"next"], "{length}");
        }
        assert_eq!(json(&frame(TEXT, "[\"κόσμε\"]".as_bytes())).messages, ["[\"κόσμε\"]".as_bytes()]);
    }

    #[test]
    fn whole_frames_are_handed_out_in_place() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let mut octets = [request("wamp.2.cbor"), frame(BINARY, b"first"), frame(BINARY, b"second")].concat();
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
    fn fragments_with_control_frames_between_make_one_message() {
        let frames = [
            frame(0x01, b"frag"),
            frame(PING, b"one"),
            frame(0x00, b""),
            frame(PONG, b"unasked"),
            frame(0x00, b"me"),
            frame(PING, b"two"),
            frame(0x80, b"nt"),
            frame(0x01, b""),
            frame(0x80, b""),
            frame(TEXT, b"after"),
        ]
        .concat();
        let outcome = json(&frames);
        assert_eq!(outcome.messages, [&b"fragment"[..], b"", b"after"]);
        assert_eq!(outcome.reply, b"\x8a\x03one\x8a\x03two");
        assert_eq!(outcome.violation, None);
    }

    #[test]
    fn fragmentation_must_be_in_order() {
        for frames in [
            frame(0x80, b"nothing to continue"),
            frame(0x00, b"nothing to continue"),
            [frame(0x02, b"begun"), frame(BINARY, b"begun again")].concat(),
            [frame(0x02, b"begun"), frame(TEXT, b"begun again")].concat(),
            [frame(BINARY, b"whole"), frame(0x80, b"more")].concat(),
        ] {
            assert_eq!(cbor(&frames).violation, Some(Violation::WebSocketFrame));
        }
    }

    #[test]
    fn reserved_bits_and_opcodes_are_violations() {
        for first in 0..=255u8 {
            let mut octets = frame(BINARY, b"payload");
            octets[0] = first;
            let known = matches!(first, 0x02 | 0x82 | 0x88 | 0x89 | 0x8A);
            let violation = match first {
                0x01 | 0x81 => Some(Violation::WebSocketMessageType),
                // The payload is no close frame's.
                0x88 => Some(Violation::WebSocketFrame),
                _ => (!known).then_some(Violation::WebSocketFrame),
            };
            assert_eq!(cbor(&octets).violation, violation, "{first:#x}");
        }
    }

    #[test]
    fn headers_that_no_client_may_send_are_violations() {
        let headers: [&[u8]; 7] = [
            b"\x82\x05",
            b"\x82\xfe\x00\x7d\0\0\0\0",
            b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
            b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
            b"\x89\xfe\x00\x7e\0\0\0\0",
            b"\x09\x80\0\0\0\0",
            b"\x08\x80\0\0\0\0",
        ];
        for header in headers {
            assert_eq!(cbor(header).violation, Some(Violation::WebSocketFrame), "{header:x?}");
        }
    }

    #[test]
    fn the_message_type_is_the_subprotocols() {
        assert_eq!(cbor(&frame(TEXT, b"[]")).violation, Some(Violation::WebSocketMessageType));
        assert_eq!(json(&frame(BINARY, b"[]")).violation, Some(Violation::WebSocketMessageType));
        assert_eq!(json(&frame(0x02, b"[")).violation, Some(Violation::WebSocketMessageType));
    }

    #[test]
    fn the_limit_holds_for_all_fragments_together() {
        let settings = Settings { message_bytes_max: 100, ..settings() };
        let cases: [(&[usize], bool); 5] =
            [(&[100], true), (&[101], false), (&[60, 40], true), (&[60, 41], false), (&[100, 0, 1], false)];
        for (lengths, fits) in cases {
            let mut frames = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                let opcode = if index == 0 { 2 } else { 0 };
                let fin = if index + 1 == lengths.len() { 0x80 } else { 0 };
                frames.extend(frame(fin | opcode, &vec![1; *length]));
            }
            let outcome = opened(&settings, "wamp.2.cbor", &frames);
            assert_eq!(outcome.messages.len(), usize::from(fits));
            assert_eq!(outcome.violation, (!fits).then_some(Violation::MessageTooLarge));
        }
        let huge = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(cbor(huge).violation, Some(Violation::MessageTooLarge));
    }

    #[test]
    fn wrong_text_fails_before_its_frame_ends() {
        // The fourth octet of this code point would be beyond U+10FFFF; its second already is.
        let text = "κόσμε".as_bytes().iter().copied().chain(*b"\xf4\x90\x80\x80edited").collect::<Vec<u8>>();
        let good = "κόσμε".len() + 1;
        let whole = frame(TEXT, &text);
        let header_bytes = whole.len() - text.len();
        for end in 0..whole.len() {
            let violation = (end > header_bytes + good).then_some(Violation::WebSocketText);
            assert_eq!(json(&whole[..end]).violation, violation, "{end}");
        }
        for position in 0..text.len() {
            let (before, after) = text.split_at(position);
            let fragments = [frame(0x01, before), frame(PING, b""), frame(0x80, after)].concat();
            assert_eq!(json(&fragments).violation, Some(Violation::WebSocketText));
        }
    }

    #[test]
    fn code_points_may_be_cut_by_fragments_but_not_by_the_end() {
        let text = "a€𐍈".as_bytes();
        for position in 0..=text.len() {
            let (before, after) = text.split_at(position);
            let fragments = [frame(0x01, before), frame(0x80, after)].concat();
            assert_eq!(json(&fragments).messages, [text]);
            let cut = json(&frame(TEXT, before));
            assert_eq!(cut.violation.is_none(), std::str::from_utf8(before).is_ok());
        }
    }

    #[test]
    fn close_codes_are_echoed_or_refused() {
        assert_eq!(cbor(&frame(CLOSE, b"")).reply, [0x88, 2, 0x03, 0xE8]);
        for code in (0..=5100u16).chain([65_535]) {
            let octets = code.to_be_bytes();
            let stream = [request("wamp.2.cbor"), frame(CLOSE, &octets)].concat();
            let outcome = run(&settings(), [&stream[..]]);
            let valid = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert_eq!(outcome.finished, valid, "{code}");
            if valid {
                assert!(outcome.reply.ends_with(&[0x88, 2, octets[0], octets[1]]));
            } else {
                assert_eq!(outcome.violation, Some(Violation::WebSocketFrame));
            }
        }
        let reason = [b"\x03\xe8", "Tschüß".as_bytes()].concat();
        assert_eq!(cbor(&frame(CLOSE, &reason)).reply, [0x88, 2, 0x03, 0xE8]);
        assert_eq!(cbor(&frame(CLOSE, b"\x03")).violation, Some(Violation::WebSocketFrame));
        assert_eq!(cbor(&frame(CLOSE, b"\x03\xe8\xff")).violation, Some(Violation::WebSocketText));
    }

    #[test]
    fn nothing_is_read_after_a_close_frame() {
        let frames = [frame(0x02, b"begun"), frame(CLOSE, b""), frame(PING, b"late"), vec![0xFF; 9]].concat();
        let outcome = cbor(&frames);
        assert!(outcome.finished);
        assert_eq!(outcome.messages, [b""; 0]);
        assert_eq!(outcome.reply, [0x88, 2, 0x03, 0xE8]);
    }

    #[test]
    fn our_close_is_sent_once_and_ends_with_the_peers() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let mut octets = request("wamp.2.cbor");
        let mut reply = Vec::new();
        transport.close(1001, "not yet open", &mut reply);
        transport.ping(&mut reply);
        assert!(reply.is_empty());
        transport.next(&mut &mut octets[..], &mut reply).unwrap();
        reply.clear();
        transport.ping(&mut reply);
        transport.close(1001, &"ü".repeat(100), &mut reply);
        transport.close(1000, "again", &mut reply);
        transport.ping(&mut reply);
        let expected = [&b"\x89\0\x88\x7c\x03\xe9"[..], "ü".repeat(61).as_bytes()].concat();
        assert_eq!(reply, expected);
        reply.clear();
        let mut octets =
            [frame(PING, b"?"), frame(BINARY, b"sent before"), frame(CLOSE, b"\x03\xe9")].concat();
        let mut input = &mut octets[..];
        let next = transport.next(&mut input, &mut reply);
        assert!(matches!(next, Ok(Inbound::Message(b"sent before"))));
        assert!(matches!(transport.next(&mut input, &mut reply), Ok(Inbound::Finished)));
        assert!(matches!(transport.next(&mut input, &mut reply), Ok(Inbound::Finished)));
        assert!(reply.is_empty());
    }

    #[test]
    fn batches_come_out_one_by_one() {
        let outcome = opened(&settings(), "wamp.2.json.batched", &frame(TEXT, b"[1]\x1e[2]\x1e\x1e"));
        assert_eq!(outcome.messages, [&b"[1]"[..], b"[2]", b""]);
        let batch = b"\0\0\0\x02ab\0\0\0\x00\0\0\0\x01c";
        let frames = [frame(0x02, &batch[..5]), frame(0x80, &batch[5..]), frame(BINARY, batch)].concat();
        let outcome = opened(&settings(), "wamp.2.cbor.batched", &frames);
        assert_eq!(outcome.messages, [&b"ab"[..], b"", b"c", b"ab", b"", b"c"]);
        assert_eq!(outcome.violation, None);
    }

    #[test]
    fn empty_and_cut_batches_are_violations() {
        for (batch, messages) in [(&b""[..], 0), (b"[1]", 0), (b"[1]\x1e[2]", 1)] {
            let outcome = opened(&settings(), "wamp.2.json.batched", &frame(TEXT, batch));
            assert_eq!((outcome.messages.len(), outcome.violation), (messages, Some(Violation::Batch)));
        }
        for (batch, messages) in
            [(&b""[..], 0), (b"\0\0\0", 0), (b"\0\0\0\x01a\0", 1), (b"\xff\xff\xff\xffabc", 0)]
        {
            let outcome = opened(&settings(), "wamp.2.msgpack.batched", &frame(BINARY, batch));
            assert_eq!((outcome.messages.len(), outcome.violation), (messages, Some(Violation::Batch)));
        }
    }

    #[test]
    fn a_peer_between_messages_holds_no_buffer() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let frames = [frame(0x02, &[1; 5000]), frame(0x80, &[2; 5000])].concat();
        let octets = [request("wamp.2.cbor"), frames].concat();
        for piece in octets.chunks(700) {
            let mut piece = piece.to_vec();
            let mut input = &mut piece[..];
            while !matches!(transport.next(&mut input, &mut Vec::new()), Ok(Inbound::Incomplete)) {}
        }
        let super::super::State::WebSocket(websocket) = &transport.state else { panic!("not open") };
        assert_eq!(websocket.message.capacity(), 0);
    }

    /// Frames that are mostly right, as a client would send them.
    fn frames(random: &mut Random, text: bool, batched: bool) -> Vec<u8> {
        let words: &[&str] = match (batched, text) {
            (false, _) => &["", "plain", "κόσμε", "a€𐍈c"],
            (true, true) => &["[1,2]\u{1e}", "\u{1e}", "[κόσμε]\u{1e}"],
            (true, false) => &["\0\0\0\u{2}ab", "\0\0\0\0"],
        };
        let mut frames = Vec::new();
        for _ in 0..random.below(6) {
            let mut message: Vec<u8> = Vec::new();
            for _ in 0..random.below(5) {
                message.extend_from_slice(words[random.below(words.len())].as_bytes());
            }
            if random.below(12) == 0 {
                message.push(0xFF);
            }
            let mut first = if text != (random.below(20) == 0) { 1 } else { 2 };
            let mut rest = &message[..];
            while random.below(2) == 0 {
                let (fragment, after) = rest.split_at(random.below(rest.len() + 1));
                frames.extend(frame(first, fragment));
                (first, rest) = (0, after);
                if random.below(3) == 0 {
                    frames.extend(frame(if random.below(2) == 0 { PING } else { PONG }, &random.octets(126)));
                }
            }
            frames.extend(frame(0x80 | first, rest));
        }
        if random.below(6) == 0 {
            frames.extend(frame(CLOSE, &random.octets(6)));
        }
        if random.below(3) == 0 && !frames.is_empty() {
            let position = random.below(frames.len());
            frames[position] ^= 1 << random.below(8);
        }
        frames.truncate(frames.len() - random.below(frames.len().min(9)));
        frames
    }

    #[test]
    fn equals_the_naive_twin() {
        let mut random = Random::new(9);
        let settings = Settings { message_bytes_max: 30, ..settings() };
        let mut ends = std::collections::BTreeMap::new();
        for run in 0..480 {
            let (subprotocol, serializer, framing) = super::super::upgrade::SUBPROTOCOLS[run % 6];
            let link = Link { serializer, framing, message_bytes_max: MESSAGE_BYTES_CEILING };
            let batched = framing == Framing::WebSocketBatched;
            let frames = frames(&mut random, serializer == Serializer::Json, batched);
            let naive = twin::websocket(&frames, link, 30);
            *ends.entry(naive.violation).or_insert(0) += 1;
            let outcome = opened(&settings, subprotocol, &frames);
            assert_eq!(outcome, Outcome { link: Some(link), ..naive }, "{frames:x?}");
        }
        // The random streams reach every way to end.
        assert!(ends.len() >= 6 && ends.values().all(|count| *count >= 3), "{ends:?}");
    }
}
