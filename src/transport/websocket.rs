//! WebSocket after the upgrade: frames to messages, the control frames, the close handshake.
//!
//! Owns the frame header, for routers and clients, the mask, and the receiving half of a router's connection. The
//! upgrade itself is [`super::upgrade`]'s; no extension is ever agreed on, so every reserved bit is a violation.
//!
//! An unfragmented frame that is whole is unmasked and handed out where it stands. Otherwise its octets are unmasked
//! as they arrive and collected in `message`; text is checked at that moment, so it fails at the first wrong octet
//! and not at the end (RFC 6455, section 8.1). JSON is checked to be UTF-8 here, because the transport must fail
//! with its own code, and again by the codec, which must not depend on who calls it; the first costs about 3 % of
//! the second. The limit holds for the whole WebSocket message, all fragments or the whole batch.
//!
//! A batch is always collected in `message` and cut there: JSON messages end with 0x1E each, the others have 32 bits
//! of length in front. A batch is refused when the message that is wrong is reached; those before it are handed out.
//!
//! Spec: RFC 6455, sections 5 to 8; advanced profile, "Message Batching".

use super::kept::{Kept, append};
use super::text::{self, Text};
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
    pub fn new(link: Link, message_bytes_max: usize) -> WebSocket {
        WebSocket {
            link,
            message_bytes_max,
            message: Vec::new(),
            payload: None,
            fragmented: false,
            text: Text::default(),
            progress: Progress::Arriving,
            close_sent: false,
        }
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
