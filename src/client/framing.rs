//! The client's half of RawSocket and WebSocket: messages into frames, and the bytes that arrive back into messages.
//!
//! Owns no socket: bytes go in, messages come out, and what the transport itself must answer (PONG, the answer to a
//! close frame) is appended to `reply`. Handshakes are [`super::handshake`]'s; frame headers and the mask are
//! [`crate::transport`]'s.
//!
//! Spec: advanced profile, "RawSocket Transport"; RFC 6455, sections 5 to 7.

use super::error::ClientError;
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::transport::{rawsocket, websocket};
use crate::wamp::Serializer;
use websocket::{HEADER_BYTES_MAX, Opcode};

/// What was found at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Inbound {
    /// One whole serialized message.
    Message(Vec<u8>),
    /// A control frame was handled, or one part of a message has been kept: ask again.
    Handled,
    /// Nothing whole is there.
    Incomplete,
    /// The router has said that it will send no more.
    Closed(Option<(u16, String)>),
}

/// One opened transport.
#[derive(Debug)]
pub struct Framing {
    kind: Kind,
    serializer: Serializer,
}

#[derive(Debug)]
enum Kind {
    RawSocket {
        /// Octets of a message that the router takes.
        peer_bytes_max: usize,
    },
    WebSocket {
        /// The parts that have come of a fragmented message.
        fragments: Option<Vec<u8>>,
        masks: Masks,
        close_sent: bool,
    },
}

impl Framing {
    /// RawSocket after its handshake.
    pub fn rawsocket(serializer: Serializer, peer_bytes_max: usize) -> Framing {
        Framing { kind: Kind::RawSocket { peer_bytes_max }, serializer }
    }

    /// WebSocket after its upgrade.
    pub fn websocket(serializer: Serializer) -> Framing {
        let kind = Kind::WebSocket { fragments: None, masks: Masks::default(), close_sent: false };
        Framing { kind, serializer }
    }

    /// The serializer that was agreed on.
    pub fn serializer(&self) -> Serializer {
        self.serializer
    }

    /// Appends a message as one frame. `encode` appends the message itself. On an error `out` is as it was.
    pub fn wrap(
        &mut self,
        out: &mut Vec<u8>,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let start = out.len();
        let wrapped = match &mut self.kind {
            Kind::RawSocket { peer_bytes_max } => wrap_rawsocket(out, *peer_bytes_max, encode),
            Kind::WebSocket { masks, .. } => {
                let opcode = match self.serializer {
                    Serializer::Json => Opcode::Text,
                    Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => Opcode::Binary,
                };
                wrap_websocket(out, opcode, masks.next(), encode)
            }
        };
        wrapped.inspect_err(|_| out.truncate(start))
    }

    /// Cuts the next thing out of `input`. Returns it and how many octets of the input it took.
    pub fn next(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<(Inbound, usize), ClientError> {
        match &self.kind {
            Kind::RawSocket { .. } => next_rawsocket(input, reply),
            Kind::WebSocket { .. } => self.next_websocket(input, reply),
        }
    }

    /// Appends a close frame with the code for a session that has ended in good order; nothing for RawSocket.
    pub fn close(&mut self, reply: &mut Vec<u8>) {
        if let Kind::WebSocket { masks, close_sent: close_sent @ false, .. } = &mut self.kind {
            *close_sent = true;
            control_frame(Opcode::Close, &1000_u16.to_be_bytes(), masks.next(), reply);
        }
    }

    fn next_websocket(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<(Inbound, usize), ClientError> {
        let Some((header, header_bytes)) = websocket_header(input)? else {
            return Ok((Inbound::Incomplete, 0));
        };
        let frame_bytes = header_bytes + header.payload_bytes as usize;
        let Some(payload) = input.get(header_bytes..frame_bytes) else {
            return Ok((Inbound::Incomplete, 0));
        };
        let inbound = match header.opcode {
            Opcode::Close => self.on_close(payload, reply),
            Opcode::Ping => {
                if let Kind::WebSocket { masks, close_sent: false, .. } = &mut self.kind {
                    control_frame(Opcode::Pong, payload, masks.next(), reply);
                }
                Inbound::Handled
            }
            Opcode::Pong => Inbound::Handled,
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.on_data(header, payload)?,
        };
        Ok((inbound, frame_bytes))
    }

    fn on_close(&mut self, payload: &[u8], reply: &mut Vec<u8>) -> Inbound {
        self.close(reply);
        Inbound::Closed(
            payload
                .split_first_chunk()
                .map(|(code, text)| (u16::from_be_bytes(*code), String::from_utf8_lossy(text).into_owned())),
        )
    }

    fn on_data(&mut self, header: websocket::FrameHeader, payload: &[u8]) -> Result<Inbound, ClientError> {
        let Kind::WebSocket { fragments, .. } = &mut self.kind else {
            return Ok(Inbound::Handled);
        };
        let expected = match self.serializer {
            Serializer::Json => Opcode::Text,
            Serializer::MessagePack | Serializer::Cbor | Serializer::Ubjson => Opcode::Binary,
        };
        let mut message = match (header.opcode, fragments.take()) {
            (Opcode::Continuation, Some(message)) => message,
            (opcode, None) if opcode == expected => Vec::new(),
            _ => return Err(ClientError::Protocol("a WebSocket frame of the wrong type")),
        };
        if message.len() + payload.len() > MESSAGE_BYTES_CEILING {
            return Err(ClientError::Protocol("a message that is too large"));
        }
        message.extend_from_slice(payload);
        if header.fin {
            return Ok(Inbound::Message(message));
        }
        *fragments = Some(message);
        Ok(Inbound::Handled)
    }
}

fn wrap_rawsocket(
    out: &mut Vec<u8>,
    peer_bytes_max: usize,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let start = out.len();
    out.extend_from_slice(&[0; rawsocket::HEADER_BYTES]);
    let payload_start = out.len();
    encode(out)?;
    let payload_bytes = out.len() - payload_start;
    if payload_bytes > peer_bytes_max {
        return Err(ClientError::TooLarge);
    }
    let header = rawsocket::FrameHeader { frame_type: rawsocket::FrameType::Message, payload_bytes };
    out[start..payload_start].copy_from_slice(&header.octets());
    Ok(())
}

fn wrap_websocket(
    out: &mut Vec<u8>,
    opcode: Opcode,
    key: [u8; 4],
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES_MAX]);
    let payload_start = out.len();
    encode(out)?;
    let payload_bytes = (out.len() - payload_start) as u64;
    let header = websocket::FrameHeader { fin: true, opcode, payload_bytes, mask: Some(key) };
    let mut room = [0; HEADER_BYTES_MAX];
    let header_bytes = header.write_before(&mut room);
    websocket::mask(&mut out[payload_start..], key);
    // The header was given the most room it can need; what it does not need is taken out again.
    let header = &room[HEADER_BYTES_MAX - header_bytes..];
    out.splice(start..payload_start, header.iter().copied());
    Ok(())
}

fn next_rawsocket(input: &[u8], reply: &mut Vec<u8>) -> Result<(Inbound, usize), ClientError> {
    let Some(octets) = input.first_chunk() else {
        return Ok((Inbound::Incomplete, 0));
    };
    let header = rawsocket::FrameHeader::read(*octets)
        .map_err(|_| ClientError::Protocol("a RawSocket frame with reserved bits or unknown type"))?;
    let frame_bytes = rawsocket::HEADER_BYTES + header.payload_bytes;
    let Some(payload) = input.get(rawsocket::HEADER_BYTES..frame_bytes) else {
        return Ok((Inbound::Incomplete, 0));
    };
    let inbound = match header.frame_type {
        rawsocket::FrameType::Message => Inbound::Message(payload.to_vec()),
        rawsocket::FrameType::Ping => {
            let pong = rawsocket::FrameHeader { frame_type: rawsocket::FrameType::Pong, ..header };
            reply.extend_from_slice(&pong.octets());
            reply.extend_from_slice(payload);
            Inbound::Handled
        }
        rawsocket::FrameType::Pong => Inbound::Handled,
    };
    Ok((inbound, frame_bytes))
}

/// The header at the front and its size, as soon as it is whole.
fn websocket_header(input: &[u8]) -> Result<Option<(websocket::FrameHeader, usize)>, ClientError> {
    let Some(first) = input.first_chunk::<2>() else {
        return Ok(None);
    };
    let header_bytes = websocket::FrameHeader::bytes(*first);
    if input.len() < header_bytes {
        return Ok(None);
    }
    let header = websocket::FrameHeader::read(input)
        .map_err(|_| ClientError::Protocol("a WebSocket frame that is not one"))?;
    if header.mask.is_some() {
        return Err(ClientError::Protocol("a WebSocket frame with a mask"));
    }
    if header.payload_bytes > MESSAGE_BYTES_CEILING as u64 {
        return Err(ClientError::Protocol("a message that is too large"));
    }
    Ok(Some((header, header_bytes)))
}

fn control_frame(opcode: Opcode, payload: &[u8], key: [u8; 4], reply: &mut Vec<u8>) {
    let payload_bytes = payload.len() as u64;
    let header = websocket::FrameHeader { fin: true, opcode, payload_bytes, mask: Some(key) };
    let mut room = [0; HEADER_BYTES_MAX];
    let header_bytes = header.write_before(&mut room);
    reply.extend_from_slice(&room[HEADER_BYTES_MAX - header_bytes..]);
    let start = reply.len();
    reply.extend_from_slice(payload);
    websocket::mask(&mut reply[start..], key);
}

/// Mask keys that nobody can foresee (RFC 6455, section 10.3), drawn from the operating system many at a time.
#[derive(Debug)]
struct Masks {
    random: Box<[u8; 1024]>,
    used: usize,
}

impl Default for Masks {
    fn default() -> Masks {
        Masks { random: Box::new([0; 1024]), used: 1024 }
    }
}

impl Masks {
    fn next(&mut self) -> [u8; 4] {
        if self.used == self.random.len() {
            getrandom::fill(&mut *self.random).expect("the operating system has entropy");
            self.used = 0;
        }
        let key = &self.random[self.used..self.used + 4];
        self.used += 4;
        key.try_into().expect("four octets were cut out")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::client::handshake::Opening;
    use crate::transport::{self, Settings, Transport};

    /// A client and the router's own transport, with nothing between them.
    struct Pair {
        client: Framing,
        router: Transport,
    }

    fn open(url: &str, serializer: Serializer) -> Pair {
        let settings = Settings {
            message_bytes_max: 1 << 20,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        };
        let mut router = Transport::new(Arc::new(settings), false);
        let (opening, mut request) = Opening::begin(&url.parse().unwrap(), serializer);
        let mut answer = Vec::new();
        let opened = router.next(&mut request.as_mut_slice(), &mut answer).unwrap();
        assert!(matches!(opened, transport::Inbound::Opened), "{opened:?}");
        let (client, taken) = opening.answer(&answer, false).unwrap().unwrap();
        assert_eq!(taken, answer.len());
        Pair { client, router }
    }

    /// Every transport and serializer.
    fn pairs() -> impl Iterator<Item = Pair> {
        ["ws://a/ws", "tcp://a"]
            .into_iter()
            .flat_map(|url| Serializer::ALL.map(|serializer| open(url, serializer)))
    }

    impl Pair {
        fn link(&self) -> transport::Link {
            self.router.link().unwrap()
        }

        fn framed(&self, message: &[u8]) -> Vec<u8> {
            let link = self.link();
            let mut scratch = Vec::new();
            let framed = transport::frame(link.framing, link.serializer, &mut scratch, |out| {
                out.extend_from_slice(message);
                Ok::<(), ()>(())
            });
            framed.unwrap();
            scratch
        }

        fn wrapped(&mut self, message: &[u8]) -> Vec<u8> {
            let mut out = Vec::new();
            self.client
                .wrap(&mut out, |out| {
                    out.extend_from_slice(message);
                    Ok(())
                })
                .unwrap();
            out
        }

        /// All that the client reads from bytes that come in pieces of that size.
        fn read(&mut self, stream: &[u8], piece_bytes: usize, reply: &mut Vec<u8>) -> Vec<Inbound> {
            let (mut input, mut found) = (Vec::new(), Vec::new());
            for piece in stream.chunks(piece_bytes) {
                input.extend_from_slice(piece);
                loop {
                    let (inbound, taken) = self.client.next(&input, reply).unwrap();
                    input.drain(..taken);
                    match inbound {
                        Inbound::Incomplete => break,
                        Inbound::Handled => {}
                        inbound => found.push(inbound),
                    }
                }
            }
            assert!(input.is_empty());
            found
        }
    }

    /// Messages of every size class of a header.
    fn messages() -> Vec<Vec<u8>> {
        [1, 125, 126, 127, 65_535, 65_536, 70_000].map(|bytes| vec![b'x'; bytes]).to_vec()
    }

    #[test]
    fn what_the_client_wraps_the_router_reads() {
        for mut pair in pairs() {
            for message in messages() {
                let mut frame = pair.wrapped(&message);
                let mut reply = Vec::new();
                let mut input = frame.as_mut_slice();
                match pair.router.next(&mut input, &mut reply).unwrap() {
                    transport::Inbound::Message(read) => assert_eq!(read, message),
                    other => panic!("{other:?}"),
                }
                assert!(input.is_empty());
            }
        }
    }

    #[test]
    fn what_the_router_frames_the_client_reads_however_it_is_cut() {
        for mut pair in pairs() {
            let messages = messages();
            let stream: Vec<_> = messages.iter().flat_map(|message| pair.framed(message)).collect();
            let expected: Vec<_> = messages.into_iter().map(Inbound::Message).collect();
            for piece_bytes in [997, 65_536, stream.len()] {
                assert_eq!(pair.read(&stream, piece_bytes, &mut Vec::new()), expected);
            }
        }
    }

    #[test]
    fn headers_may_come_octet_by_octet() {
        for mut pair in pairs() {
            let stream = [pair.framed(b"abc"), pair.framed(&[b'y'; 300])].concat();
            let expected = [Inbound::Message(b"abc".to_vec()), Inbound::Message(vec![b'y'; 300])];
            assert_eq!(pair.read(&stream, 1, &mut Vec::new()), expected);
        }
    }

    #[test]
    fn pings_of_the_router_are_answered() {
        for mut pair in pairs() {
            let (mut ping, mut pong) = (Vec::new(), Vec::new());
            pair.router.ping(&mut ping);
            assert_eq!(pair.read(&ping, 1, &mut pong), []);
            assert!(!pong.is_empty());
            let next = pair.router.next(&mut pong.as_mut_slice(), &mut Vec::new()).unwrap();
            assert!(matches!(next, transport::Inbound::Incomplete), "{next:?}");
        }
    }

    #[test]
    fn the_close_handshake_is_done_from_either_side() {
        let mut pair = open("ws://a/ws", Serializer::Json);
        let (mut close, mut answer) = (Vec::new(), Vec::new());
        pair.router.close(1001, "bye", &mut close);
        let farewell = Inbound::Closed(Some((1001, "bye".to_owned())));
        assert_eq!(pair.read(&close, 1, &mut answer), [farewell]);
        let next = pair.router.next(&mut answer.as_mut_slice(), &mut Vec::new()).unwrap();
        assert!(matches!(next, transport::Inbound::Finished), "{next:?}");

        let mut pair = open("ws://a/ws", Serializer::Json);
        let (mut close, mut answer) = (Vec::new(), Vec::new());
        pair.client.close(&mut close);
        let next = pair.router.next(&mut close.as_mut_slice(), &mut answer).unwrap();
        assert!(matches!(next, transport::Inbound::Finished), "{next:?}");
        let mut twice = Vec::new();
        assert_eq!(pair.read(&answer, 1, &mut twice), [Inbound::Closed(Some((1000, String::new())))]);
        assert!(twice.is_empty());
    }

    #[test]
    fn fragments_are_joined_around_control_frames() {
        let mut pair = open("ws://a/ws", Serializer::Json);
        // "ab" in a text frame, a PING, "c" in the last continuation.
        let stream = [&[0x01, 2, b'a', b'b'][..], &[0x89, 1, b'p'], &[0x80, 1, b'c']].concat();
        let mut pong = Vec::new();
        assert_eq!(pair.read(&stream, 1, &mut pong), [Inbound::Message(b"abc".to_vec())]);
        assert_eq!((pong[0], pong[1]), (0x8A, 0x81));
    }

    #[test]
    fn frames_that_routers_must_not_send_are_refused() {
        for frame in [
            &[0x82, 1, b'a'][..],
            &[0x80, 1, b'a'],
            &[0xC1, 1, b'a'],
            &[0x81, 0x81, 0, 0, 0, 0, b'a'],
            &[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0],
        ] {
            let mut pair = open("ws://a/ws", Serializer::Json);
            assert!(pair.client.next(frame, &mut Vec::new()).is_err(), "{frame:x?}");
        }
        let mut pair = open("tcp://a", Serializer::Json);
        assert!(pair.client.next(&[3, 0, 0, 0], &mut Vec::new()).is_err());
    }

    #[test]
    fn a_message_larger_than_the_router_takes_is_not_sent() {
        let mut framing = Framing::rawsocket(Serializer::Cbor, 512);
        let mut out = b"before".to_vec();
        let wrapped = framing.wrap(&mut out, |out| {
            out.extend_from_slice(&[0; 513]);
            Ok(())
        });
        assert!(matches!(wrapped, Err(ClientError::TooLarge)));
        assert_eq!(out, b"before");
    }
}
