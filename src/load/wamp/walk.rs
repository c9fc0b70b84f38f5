//! What a load generator reads of a frame: where it ends, the type of its message, the number behind the type.
//!
//! Nothing else is looked at: that payload arrives as it was sent is the business of tests, not of a benchmark.

use super::{Ending, Way};
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::transport::rawsocket::{self, FrameType};
use crate::transport::websocket::{self, HEADER_BYTES_MAX, Opcode};
use crate::wamp::Serializer;

/// A frame that is whole.
pub(super) enum Frame<'a> {
    Message(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
}

/// Cuts the frame at the front: its octets, header included.
#[inline]
pub(super) fn frame(way: Way, input: &[u8]) -> Result<Option<(usize, Frame<'_>)>, Ending> {
    if way.websocket { websocket_frame(input) } else { rawsocket_frame(input) }
}

#[inline]
fn rawsocket_frame(input: &[u8]) -> Result<Option<(usize, Frame<'_>)>, Ending> {
    let Some(octets) = input.first_chunk() else { return Ok(None) };
    let header = rawsocket::FrameHeader::read(*octets)
        .map_err(|_| Ending::Protocol("a RawSocket frame of no known type".to_owned()))?;
    let end = rawsocket::HEADER_BYTES + header.payload_bytes;
    let Some(payload) = input.get(rawsocket::HEADER_BYTES..end) else { return Ok(None) };
    let frame = match header.frame_type {
        FrameType::Message => Frame::Message(payload),
        FrameType::Ping => Frame::Ping(payload),
        FrameType::Pong => Frame::Pong,
    };
    Ok(Some((end, frame)))
}

#[inline]
fn websocket_frame(input: &[u8]) -> Result<Option<(usize, Frame<'_>)>, Ending> {
    let Some(first) = input.first_chunk::<2>() else { return Ok(None) };
    let header_bytes = websocket::FrameHeader::bytes(*first);
    if input.len() < header_bytes {
        return Ok(None);
    }
    let broken = |what: &str| Ending::Protocol(what.to_owned());
    let header = websocket::FrameHeader::read(input).map_err(|_| broken("a WebSocket frame that is none"))?;
    if header.mask.is_some() || header.payload_bytes > MESSAGE_BYTES_CEILING as u64 {
        return Err(broken("a WebSocket frame that is masked or too large"));
    }
    let end = header_bytes + header.payload_bytes as usize;
    let Some(payload) = input.get(header_bytes..end) else { return Ok(None) };
    let frame = match header.opcode {
        Opcode::Text | Opcode::Binary if header.fin => Frame::Message(payload),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => {
            return Err(broken("a message in several WebSocket frames, which a benchmark does not join"));
        }
        Opcode::Close => return Err(closed(payload)),
        Opcode::Ping => Frame::Ping(payload),
        Opcode::Pong => Frame::Pong,
    };
    Ok(Some((end, frame)))
}

#[cold]
fn closed(payload: &[u8]) -> Ending {
    match payload.split_first_chunk() {
        None => Ending::Closed,
        Some((code, text)) => {
            let (code, text) = (u16::from_be_bytes(*code), String::from_utf8_lossy(text));
            Ending::Goodbye(format!("WebSocket close {code} {text}").trim_end().to_owned())
        }
    }
}

/// Appends the answer to a PING.
#[cold]
pub(super) fn push_pong(way: Way, payload: &[u8], out: &mut Vec<u8>) {
    if way.websocket {
        push_websocket_header(Opcode::Pong, payload.len(), out);
    } else {
        let header = rawsocket::FrameHeader { frame_type: FrameType::Pong, payload_bytes: payload.len() };
        out.extend_from_slice(&header.octets());
    }
    out.extend_from_slice(payload);
}

/// Appends the header of a client's frame. The masking key is 0: a client must mask (RFC 6455, section 5.1), and with
/// this key masked octets are the octets themselves. Keys are to be unforeseeable so that no page can make a browser
/// write what a proxy takes for HTTP (section 10.3); a load generator sends only what it has made itself.
#[inline]
pub(super) fn push_websocket_header(opcode: Opcode, payload_bytes: usize, out: &mut Vec<u8>) {
    let payload_bytes = payload_bytes as u64;
    let header = websocket::FrameHeader { fin: true, opcode, payload_bytes, mask: Some([0; 4]) };
    let mut room = [0; HEADER_BYTES_MAX];
    let header_bytes = header.write_before(&mut room);
    out.extend_from_slice(&room[HEADER_BYTES_MAX - header_bytes..]);
}

/// The type code of a message, and where what follows it begins; none if it is written in a way that only the codec
/// reads.
#[inline]
pub(super) fn code(serializer: Serializer, message: &[u8]) -> Option<(u64, usize)> {
    let first = *message.first()?;
    let list = match serializer {
        Serializer::Json => first == b'[',
        Serializer::MessagePack => first & 0xF0 == 0x90,
        Serializer::Cbor => (0x80..=0x97).contains(&first) || first == 0x9F,
        // Behind it stands a number: the list has neither a type nor a count.
        Serializer::Ubjson => first == b'[',
    };
    if !list {
        return None;
    }
    let (code, octets) = read_number(serializer, &message[1..])?;
    Some((code, 1 + octets))
}

/// The number that follows the type code.
#[inline]
pub(super) fn number(serializer: Serializer, behind: &[u8]) -> Option<u64> {
    let behind = match serializer {
        Serializer::Json => {
            let start = behind.iter().position(u8::is_ascii_digit)?;
            // Nothing but a comma and spaces stands between the two.
            behind[..start].iter().all(|octet| b", ".contains(octet)).then_some(&behind[start..])?
        }
        Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => behind,
    };
    Some(read_number(serializer, behind)?.0)
}

/// A number at the front, and its octets.
#[inline]
fn read_number(serializer: Serializer, octets: &[u8]) -> Option<(u64, usize)> {
    let first = *octets.first()?;
    let wide = match serializer {
        Serializer::Json => return read_digits(octets),
        Serializer::MessagePack => match first {
            0..=0x7F => return Some((u64::from(first), 1)),
            0xCC..=0xCF => 1 << (first - 0xCC),
            _ => return None,
        },
        Serializer::Cbor => match first {
            0..=0x17 => return Some((u64::from(first), 1)),
            0x18..=0x1B => 1 << (first - 0x18),
            _ => return None,
        },
        Serializer::Ubjson => match first {
            b'U' => 1,
            b'I' => 2,
            b'l' => 4,
            b'L' => 8,
            _ => return None,
        },
    };
    let number = octets.get(1..=wide)?.iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
    Some((number, 1 + wide))
}

#[inline]
fn read_digits(octets: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    let mut count = 0;
    for digit in octets.iter().take_while(|octet| octet.is_ascii_digit()).take(18) {
        number = number * 10 + u64::from(digit - b'0');
        count += 1;
    }
    (count > 0).then_some((number, count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::wamp::message::{self, Message};
    use crate::wamp::{Dict, Payload, RegistrationId, RequestId};

    #[test]
    fn code_and_number_are_those_that_the_codec_reads() {
        for serializer in Serializer::ALL {
            for id in [1, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, 1 << 53] {
                let (request, registration) = (RequestId(id), RegistrationId(7));
                let (details, payload) = (Dict::EMPTY, Payload::EMPTY);
                let invocation = message::Invocation { request, registration, details, payload };
                let mut bytes = Vec::new();
                codec::encode(&Message::Invocation(invocation), serializer, &mut bytes).unwrap();
                let (code, behind) = code(serializer, &bytes).unwrap();
                assert_eq!((code, number(serializer, &bytes[behind..])), (68, Some(id)), "{serializer:?}");
            }
        }
        let spaced = b"[ 68 , 12 ,1,{}]";
        assert_eq!(code(Serializer::Json, spaced), None);
        assert_eq!(code(Serializer::Json, b"[68, 12,1,{}]"), Some((68, 3)));
        assert_eq!(number(Serializer::Json, b", 12,1,{}]"), Some(12));
    }

    #[test]
    fn no_cut_of_a_message_is_read_past_its_end() {
        let octets: [&[u8]; Serializer::COUNT] =
            [b"[68,12345,1", b"\x94\x44\xCE\0\x01\0\0", b"\x84\x18\x44\x1A\0\x01\0\0", b"[U\x44l\0\x01\0\0"];
        for (serializer, octets) in Serializer::ALL.into_iter().zip(octets) {
            for end in 0..octets.len() {
                if let Some((_, behind)) = code(serializer, &octets[..end]) {
                    number(serializer, &octets[behind..end]);
                }
            }
        }
    }

    #[test]
    fn frames_are_cut_where_they_end() {
        let rawsocket = Way { websocket: false, serializer: Serializer::Json };
        let websocket = Way { websocket: true, serializer: Serializer::Json };
        let long = [&[0x81, 126, 0, 200][..], &[b'x'; 200]].concat();
        for (way, octets, message) in [
            (rawsocket, &b"\0\0\0\x02ab"[..], &b"ab"[..]),
            (websocket, b"\x81\x02ab", b"ab"),
            (websocket, &long, &[b'x'; 200]),
        ] {
            for end in 0..octets.len() {
                assert!(frame(way, &octets[..end]).unwrap().is_none(), "cut at {end}");
            }
            let more = [octets, b"more"].concat();
            match frame(way, &more).unwrap() {
                Some((taken, Frame::Message(found))) => assert_eq!((taken, found), (octets.len(), message)),
                _ => panic!("it is a message"),
            }
        }
    }

    #[test]
    fn what_no_benchmark_understands_is_refused_in_words() {
        let way = Way { websocket: true, serializer: Serializer::Json };
        let told = |octets: &[u8]| match frame(way, octets) {
            Err(ending) => ending.to_string(),
            Ok(_) => panic!("it is refused"),
        };
        assert!(told(b"\x01\x01a").contains("several WebSocket frames"));
        assert!(told(b"\x81\x81\0\0\0\0a").contains("masked"));
        assert!(told(b"\x88\x04\x03\xF0no").contains("WebSocket close 1008 no"));
        assert!(told(b"\x88\0").contains("closed the connection"));
    }

    #[test]
    fn pings_are_answered_in_kind() {
        let mut out = Vec::new();
        push_pong(Way { websocket: true, serializer: Serializer::Cbor }, b"p", &mut out);
        push_pong(Way { websocket: false, serializer: Serializer::Cbor }, b"p", &mut out);
        assert_eq!(out, b"\x8A\x81\0\0\0\0p\x02\0\0\x01p");
    }
}
