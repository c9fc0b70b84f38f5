//! Messages that are sent often, encoded once and cut open at their request id.
//!
//! ```text
//!   [16,  4711  ,{},"fanwire.bench.7.00000042",["xxxx....xxxxABCDEFGHIJKLMNOP"]]
//!   head   id                      ^^^^^^^^ number            ^^^^^^^^^^^^^^^^ stamp
//!               '----------------------------- rest ----------------------------'
//! ```
//!
//! Sending is three copies and two patches in place. The id stands open since its length varies, in the rest all
//! lengths are fixed.

use super::walk::push_websocket_header;
use super::{Stamp, Way};
use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::load::stamp::{FILLER, STAMP_BYTES};
use crate::transport::rawsocket;
use crate::transport::websocket::Opcode;
use crate::wamp::message::{self, Message};
use crate::wamp::{Dict, RequestId, Serializer, Value};

/// Digits of a topic's or procedure's number.
pub(super) const NUMBER_DIGITS: usize = 8;

/// One message, encoded but for request id, number and stamp.
#[derive(Debug)]
pub(super) struct Template {
    head: Vec<u8>,
    rest: Vec<u8>,
    /// Where in `rest` the digits of the number stand; none if the message names nothing.
    number_at: Option<usize>,
    /// Where in `rest` the stamp stands.
    stamp_at: usize,
}

impl Template {
    /// PUBLISH to `topic`, which ends in or holds the digits of number 0.
    pub fn publish(way: Way, topic: &str, payload_bytes: usize) -> Template {
        let payload = payload(way.serializer, payload_bytes);
        Template::cut(way.serializer, |request| {
            let (topic, payload) = (topic.into(), payload.borrow());
            Message::Publish(message::Publish { request, options: Dict::EMPTY, topic, payload })
        })
    }

    /// CALL of `procedure`, likewise.
    pub fn call(way: Way, procedure: &str, payload_bytes: usize) -> Template {
        let payload = payload(way.serializer, payload_bytes);
        Template::cut(way.serializer, |request| {
            let (procedure, payload) = (procedure.into(), payload.borrow());
            Message::Call(message::Call { request, options: Dict::EMPTY, procedure, payload })
        })
    }

    /// YIELD.
    pub fn answer(way: Way, payload_bytes: usize) -> Template {
        let payload = payload(way.serializer, payload_bytes);
        Template::cut(way.serializer, |request| {
            let payload = payload.borrow();
            Message::Yield(message::Yield { request, options: Dict::EMPTY, payload })
        })
    }

    /// The id is what differs between the same message with the ids 1 and 2, one octet in every serializer; in UBJSON
    /// with the marker before it.
    fn cut<'a>(serializer: Serializer, message: impl Fn(RequestId) -> Message<'a>) -> Template {
        let [one, two] = [1, 2].map(|id| {
            let mut out = Vec::new();
            codec::encode(&message(RequestId(id)), serializer, &mut out)
                .expect("texts and numbers have a form in every serializer");
            out
        });
        let id_at = one.iter().zip(&two).position(|(one, two)| one != two).expect("the ids differ");
        let head_bytes = id_at - usize::from(serializer == Serializer::Ubjson);
        let rest = one[id_at + 1..].to_vec();
        let stamp = zero_stamp();
        let stamp_at =
            rest.windows(STAMP_BYTES).rposition(|part| part == stamp).expect("the payload ends with a stamp");
        let digits = [b'0'; NUMBER_DIGITS];
        let number_at = rest[..stamp_at].windows(NUMBER_DIGITS).rposition(|part| part == digits);
        Template { head: one[..head_bytes].to_vec(), rest, number_at, stamp_at }
    }

    /// Appends the message as one frame.
    #[inline]
    pub fn push(&self, way: Way, request: u64, number: u32, stamp: Stamp, out: &mut Vec<u8>) {
        let mut room = [0; ID_BYTES_MAX];
        let id = write_id(way.serializer, request, &mut room);
        push_header(way, self.head.len() + id.len() + self.rest.len(), out);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(id);
        let start = out.len();
        out.extend_from_slice(&self.rest);
        let rest = &mut out[start..];
        rest[self.stamp_at..self.stamp_at + STAMP_BYTES].copy_from_slice(&stamp.octets());
        if let Some(at) = self.number_at.filter(|_| number > 0) {
            write_digits(number, &mut rest[at..at + NUMBER_DIGITS]);
        }
    }
}

/// Appends any message as one frame.
pub(super) fn push_frame(way: Way, message: &Message<'_>, out: &mut Vec<u8>) {
    let mut encoded = Vec::new();
    codec::encode(message, way.serializer, &mut encoded)
        .expect("texts and numbers have a form in every serializer");
    push_header(way, encoded.len(), out);
    out.extend_from_slice(&encoded);
}

#[inline]
fn push_header(way: Way, payload_bytes: usize, out: &mut Vec<u8>) {
    if !way.websocket {
        let frame_type = rawsocket::FrameType::Message;
        out.extend_from_slice(&rawsocket::FrameHeader { frame_type, payload_bytes }.octets());
        return;
    }
    let opcode = match way.serializer {
        Serializer::Json => Opcode::Text,
        Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => Opcode::Binary,
    };
    push_websocket_header(opcode, payload_bytes, out);
}

fn zero_stamp() -> [u8; STAMP_BYTES] {
    Stamp { sender: 0, sequence: 0 }.octets()
}

/// One text of that many octets, which ends with a stamp.
fn payload(serializer: Serializer, payload_bytes: usize) -> OwnedPayload {
    let mut text = vec![FILLER; payload_bytes.saturating_sub(STAMP_BYTES)];
    text.extend_from_slice(&zero_stamp());
    let text = String::from_utf8(text).expect("all of it are letters");
    OwnedPayload::from_values(serializer, &[Value::text(&text)], &[])
        .expect("a text has a form in every serializer")
}

/// Octets of an id: 20 digits in JSON.
const ID_BYTES_MAX: usize = 20;

/// Writes an id. In the binary serializers those above one octet take nine: any length is allowed.
#[inline]
fn write_id(serializer: Serializer, id: u64, room: &mut [u8; ID_BYTES_MAX]) -> &[u8] {
    let (short_max, five, nine) = match serializer {
        Serializer::Json => {
            let mut digits = itoa::Buffer::new();
            let digits = digits.format(id).as_bytes();
            room[..digits.len()].copy_from_slice(digits);
            return &room[..digits.len()];
        }
        Serializer::MessagePack => (0x7F, 0xCE, 0xCF),
        Serializer::Cbor => (0x17, 0x1A, 0x1B),
        Serializer::Ubjson => return write_ubjson_id(id, room),
    };
    if id <= short_max {
        room[0] = id as u8;
        return &room[..1];
    }
    if let Ok(id) = u32::try_from(id) {
        room[0] = five;
        room[1..5].copy_from_slice(&id.to_be_bytes());
        return &room[..5];
    }
    room[0] = nine;
    room[1..9].copy_from_slice(&id.to_be_bytes());
    &room[..9]
}

#[inline]
fn write_ubjson_id(id: u64, room: &mut [u8; ID_BYTES_MAX]) -> &[u8] {
    let octets = id.to_be_bytes();
    let (marker, octets) = match id {
        0..=0xFF => (b'U', &octets[7..]),
        0x100..=0x7FFF_FFFF => (b'l', &octets[4..]),
        _ => (b'L', &octets[..]),
    };
    room[0] = marker;
    room[1..=octets.len()].copy_from_slice(octets);
    &room[..=octets.len()]
}

#[inline]
fn write_digits(mut number: u32, room: &mut [u8]) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::wamp::walk::{self, Frame};

    #[test]
    fn what_is_pushed_is_what_the_codec_would_write() {
        for serializer in Serializer::ALL {
            for websocket in [false, true] {
                let way = Way { websocket, serializer };
                let publish = Template::publish(way, "a.00000000.event", 100);
                for (request, number) in [(1, 0), (23, 7), (24, 12_345_678), (200, 1), (1 << 40, 99)] {
                    let stamp = Stamp { sender: 3, sequence: request };
                    let mut out = Vec::new();
                    publish.push(way, request, number, stamp, &mut out);
                    let mut unmasked = out.clone();
                    if websocket {
                        let header_bytes = 2 + if out[1] & 0x7F == 126 { 2 } else { 0 };
                        assert_eq!(out[header_bytes..header_bytes + 4], [0; 4], "the masking key");
                        unmasked.drain(header_bytes..header_bytes + 4);
                        unmasked[1] &= 0x7F;
                    }
                    let (octets, frame) = walk::frame(way, &unmasked).unwrap().unwrap();
                    assert_eq!(octets, unmasked.len());
                    let Frame::Message(bytes) = frame else { panic!("it is a message") };
                    let Message::Publish(message) = codec::decode(serializer, bytes).unwrap() else {
                        panic!("it is a PUBLISH")
                    };
                    assert_eq!(message.request, RequestId(request));
                    assert_eq!(message.topic, format!("a.{number:08}.event"));
                    assert_eq!(Stamp::find(bytes, &mut 0), Some(stamp));
                    let (code, behind) = walk::code(serializer, bytes).unwrap();
                    assert_eq!((code, walk::number(serializer, &bytes[behind..])), (16, Some(request)));
                }
            }
        }
    }
}
