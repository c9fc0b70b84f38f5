//! For tests: a run of a [`Transport`] over input cut anyhow, and the naive twins it must equal.
//!
//! The twins look at the whole stream at once, copy everything, and check each rule in the plainest way.

use std::sync::Arc;

use super::random::Random;
use super::{Framing, Inbound, Link, Settings, Transport};
use crate::error::Violation;
use crate::wamp::Serializer;

/// All that a stream led to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Outcome {
    pub link: Option<Link>,
    pub messages: Vec<Vec<u8>>,
    pub reply: Vec<u8>,
    pub finished: bool,
    pub violation: Option<Violation>,
}

pub(super) fn settings() -> Settings {
    Settings {
        message_bytes_max: 1 << 20,
        peer_message_bytes_min: 512,
        serializers: [true; Serializer::COUNT],
        rawsocket: true,
        websocket: true,
        longpoll: None,
        pages: Default::default(),
    }
}

/// Feeds the pieces one after the other, until there is nothing more to ask for.
pub(super) fn run<'p>(settings: &Settings, pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    run_keeping(settings, pieces, |_| false)
}

/// The same, and after some messages the rest of the piece is kept for later.
pub(super) fn run_keeping<'p>(
    settings: &Settings,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut pauses: impl FnMut(usize) -> bool,
) -> Outcome {
    let mut transport = Transport::new(Arc::new(settings.clone()), false);
    let mut outcome = Outcome::default();
    let mut pieces: Vec<&[u8]> = pieces.into_iter().collect();
    // What the last pause has kept is handled now.
    pieces.push(&[]);
    let last = pieces.len() - 1;
    for (index, piece) in pieces.into_iter().enumerate() {
        let mut octets = piece.to_vec();
        let mut input = &mut octets[..];
        loop {
            match transport.next(&mut input, &mut outcome.reply) {
                Ok(Inbound::Opened) => {}
                Ok(Inbound::LongPoll) => panic!("the settings of these runs do not have it"),
                Ok(Inbound::Message(message)) => outcome.messages.push(message.to_vec()),
                Ok(Inbound::Incomplete) => {
                    assert!(input.is_empty(), "what is incomplete must be kept");
                    break;
                }
                Ok(Inbound::Finished) => {
                    outcome.finished = true;
                    return outcome;
                }
                Err(violation) => {
                    outcome.violation = Some(violation);
                    return outcome;
                }
            }
            outcome.link = transport.link();
            if index < last && pauses(outcome.messages.len()) {
                transport.keep(input);
                break;
            }
        }
    }
    outcome
}

/// Cuts into pieces of random sizes, small ones more often.
pub(super) fn cut<'p>(stream: &'p [u8], random: &mut Random) -> Vec<&'p [u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let scale = random.below(rest.len()) + 1;
        let (piece, after) = rest.split_at(random.below(scale) + 1);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Runs the stream whole, octet by octet, cut in two everywhere (if it is short), cut randomly and with pauses; all
/// must come to the same, which is returned.
pub(super) fn run_all_cuts(settings: &Settings, stream: &[u8], random: &mut Random) -> Outcome {
    let whole = run(settings, [stream]);
    if stream.len() < 600 {
        assert_eq!(run(settings, stream.chunks(1)), whole);
        for position in 0..stream.len() {
            let (before, after) = stream.split_at(position);
            assert_eq!(run(settings, [before, after]), whole, "cut at {position}");
        }
    }
    for _ in 0..4 {
        assert_eq!(run(settings, cut(stream, random)), whole);
        let pieces = cut(stream, random);
        assert_eq!(run_keeping(settings, pieces, |_| random.below(3) == 0), whole);
    }
    whole
}

/// The naive twin of RawSocket after the handshake.
pub(super) fn rawsocket(stream: &[u8], payload_bytes_max: usize, pong_bytes_max: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut rest = stream;
    while rest.len() >= 4 {
        let length = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
        let (extra, kind) = (rest[0] & 8 != 0, rest[0] & 7);
        if rest[0] & 0xF0 != 0 || kind > 2 || extra && length > 0 {
            outcome.violation = Some(Violation::RawSocketFrame);
            break;
        }
        let length = if extra { 16_777_216 } else { length };
        if length > payload_bytes_max || kind == 1 && length > pong_bytes_max {
            outcome.violation = Some(Violation::MessageTooLarge);
            break;
        }
        if rest.len() < 4 + length {
            break;
        }
        match kind {
            0 => outcome.messages.push(rest[4..4 + length].to_vec()),
            1 => {
                outcome.reply.push(rest[0] + 1);
                outcome.reply.extend_from_slice(&rest[1..4 + length]);
            }
            _ => {}
        }
        rest = &rest[4 + length..];
    }
    outcome
}

/// The naive twin of WebSocket after the upgrade.
pub(super) fn websocket(stream: &[u8], link: Link, message_bytes_max: usize) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(violation) = websocket_frames(stream, link, message_bytes_max, &mut outcome) {
        outcome.violation = Some(violation);
    }
    outcome
}

fn websocket_frames(
    stream: &[u8],
    link: Link,
    message_bytes_max: usize,
    outcome: &mut Outcome,
) -> Result<(), Violation> {
    let text = link.serializer == Serializer::Json;
    let mut open: Option<Vec<u8>> = None;
    let mut rest = stream;
    loop {
        let Some(header) = websocket_header(rest)? else { return Ok(()) };
        let (fin, opcode) = (rest[0] & 0x80 != 0, rest[0] & 0x0F);
        if rest[1] & 0x80 == 0 {
            return Err(Violation::WebSocketFrame);
        }
        let (length, mask) = header;
        let control = opcode >= 8;
        if !control {
            if open.is_some() != (opcode == 0) {
                return Err(Violation::WebSocketFrame);
            }
            if opcode != 0 && (opcode == 1) != text {
                return Err(Violation::WebSocketMessageType);
            }
            if length as u128 + open.as_ref().map_or(0, Vec::len) as u128 > message_bytes_max as u128 {
                return Err(Violation::MessageTooLarge);
            }
        }
        let arrived = &mask[4..];
        let whole = arrived.len() as u64 >= length;
        let count = if whole { length as usize } else { arrived.len() };
        let payload: Vec<u8> =
            arrived[..count].iter().enumerate().map(|(index, octet)| octet ^ mask[index % 4]).collect();
        if control {
            if !whole {
                return Ok(());
            }
            if websocket_control(opcode, &payload, outcome)? {
                return Ok(());
            }
        } else {
            let message = open.get_or_insert_default();
            message.extend_from_slice(&payload);
            if text {
                match std::str::from_utf8(message) {
                    Err(error) if error.error_len().is_some() || whole && fin => {
                        return Err(Violation::WebSocketText);
                    }
                    _ => {}
                }
            }
            if !whole {
                return Ok(());
            }
            if fin {
                websocket_message(open.take().unwrap(), link, outcome)?;
            }
        }
        rest = &arrived[count..];
    }
}

/// The length, and everything from the mask on; none if the header is not whole.
fn websocket_header(rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    if rest.len() < 2 {
        return Ok(None);
    }
    let short = rest[1] & 0x7F;
    let length_bytes = [0, 2, 8][usize::from(short.saturating_sub(125))];
    let mask_bytes = if rest[1] & 0x80 != 0 { 4 } else { 0 };
    if rest.len() < 2 + length_bytes + mask_bytes {
        return Ok(None);
    }
    let mut length = 0u64;
    for octet in &rest[2..2 + length_bytes] {
        length = length << 8 | u64::from(*octet);
    }
    let minimum = [0, 126, 65_536][usize::from(short.saturating_sub(125))];
    if length_bytes == 0 {
        length = u64::from(short);
    }
    let opcode = rest[0] & 0x0F;
    let reserved = rest[0] & 0x70 != 0 || matches!(opcode, 3..=7 | 11..=15);
    let bad_control = opcode >= 8 && (rest[0] & 0x80 == 0 || length > 125);
    if reserved || bad_control || length < minimum || length > i64::MAX as u64 {
        return Err(Violation::WebSocketFrame);
    }
    Ok(Some((length, &rest[2 + length_bytes..])))
}

/// True if it was a close frame.
fn websocket_control(opcode: u8, payload: &[u8], outcome: &mut Outcome) -> Result<bool, Violation> {
    match opcode {
        8 => {
            let allowed: Vec<u16> =
                (1000..1015).chain(3000..5000).filter(|code| !(1004..1007).contains(code)).collect();
            if payload.len() == 1 {
                return Err(Violation::WebSocketFrame);
            }
            if payload.len() > 1 {
                let code = u16::from(payload[0]) << 8 | u16::from(payload[1]);
                if !allowed.contains(&code) {
                    return Err(Violation::WebSocketFrame);
                }
                std::str::from_utf8(&payload[2..]).map_err(|_| Violation::WebSocketText)?;
            }
            let code = if payload.is_empty() { &[0x03, 0xE8] } else { &payload[..2] };
            outcome.reply.extend_from_slice(&[0x88, code.len() as u8]);
            outcome.reply.extend_from_slice(code);
            outcome.finished = true;
            Ok(true)
        }
        9 => {
            outcome.reply.extend_from_slice(&[0x8A, payload.len() as u8]);
            outcome.reply.extend_from_slice(payload);
            Ok(false)
        }
        _ => Ok(false),
    }
}

fn websocket_message(message: Vec<u8>, link: Link, outcome: &mut Outcome) -> Result<(), Violation> {
    if link.framing != Framing::WebSocketBatched {
        outcome.messages.push(message);
        return Ok(());
    }
    if message.is_empty() {
        return Err(Violation::Batch);
    }
    if link.serializer == Serializer::Json {
        let mut parts: Vec<Vec<u8>> = message.split(|octet| *octet == 0x1E).map(<[u8]>::to_vec).collect();
        let rest = parts.pop().unwrap();
        outcome.messages.extend(parts);
        return if rest.is_empty() { Ok(()) } else { Err(Violation::Batch) };
    }
    let mut position = 0;
    while position < message.len() {
        if message.len() < position + 4 {
            return Err(Violation::Batch);
        }
        let mut length = 0;
        for octet in &message[position..position + 4] {
            length = length << 8 | usize::from(*octet);
        }
        position += 4;
        if message.len() < position + length {
            return Err(Violation::Batch);
        }
        outcome.messages.push(message[position..position + length].to_vec());
        position += length;
    }
    Ok(())
}
