//! The client's end of RawSocket and WebSocket: bytes in, messages out, and the other way round.
//!
//! Written apart from the router's transports, as [`crate::item`] is. Anything the router sends that a client may not
//! take (masked frames, reserved bits, a batch that is cut) is an error, and fails the run.

use std::collections::VecDeque;

use fanwire::transport::Framing;
use fanwire::wamp::Serializer;

use crate::chance::Chance;
use crate::item::Message;

/// What came from the router.
#[derive(Debug)]
pub enum Inbound {
    /// The handshake was answered well.
    Opened,
    /// The handshake was refused.
    Refused,
    /// A message.
    Message(Message),
    /// PING; these bytes answer it.
    Ping(Vec<u8>),
    /// WebSocket close; these bytes answer it.
    Close(Vec<u8>),
}

/// The client's side of a connection.
#[derive(Debug)]
pub struct Wire {
    pub framing: Framing,
    pub serializer: Serializer,
    /// RawSocket: the largest message this client takes is 2^(9 + this).
    pub length_code: u8,
    opened: bool,
    inbound: Vec<u8>,
    batch: VecDeque<Message>,
}

impl Wire {
    pub fn new(framing: Framing, serializer: Serializer, length_code: u8) -> Wire {
        Wire { framing, serializer, length_code, opened: false, inbound: Vec::new(), batch: VecDeque::new() }
    }

    /// Octets of the largest message this client takes.
    pub fn message_bytes_max(&self) -> usize {
        match self.framing {
            Framing::RawSocket => 1 << (9 + self.length_code),
            _ => usize::MAX,
        }
    }

    /// What opens the connection.
    pub fn handshake(&self) -> Vec<u8> {
        match self.framing {
            Framing::RawSocket => {
                vec![0x7f, self.length_code << 4 | (self.serializer.index() as u8 + 1), 0, 0]
            }
            Framing::WebSocket => self.upgrade(""),
            Framing::WebSocketBatched => self.upgrade(".batched"),
        }
    }

    fn upgrade(&self, suffix: &str) -> Vec<u8> {
        format!(
            "GET /ws HTTP/1.1\r\nHost: router\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: wamp.2.{}{suffix}\r\n\r\n",
            self.serializer.name()
        )
        .into_bytes()
    }

    /// Messages in frames. Only a batching connection takes several at once.
    pub fn frame(&self, messages: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
        match self.framing {
            Framing::RawSocket => messages.iter().flat_map(|message| rawsocket_frame(0, message)).collect(),
            Framing::WebSocket => {
                messages.iter().flat_map(|message| self.fragments(message, chance)).collect()
            }
            Framing::WebSocketBatched => {
                let mut batch = Vec::new();
                for message in messages {
                    match self.serializer {
                        Serializer::Json => {
                            batch.extend(message);
                            batch.push(0x1e);
                        }
                        _ => {
                            batch.extend((message.len() as u32).to_be_bytes());
                            batch.extend(message);
                        }
                    }
                }
                self.fragments(&batch, chance)
            }
        }
    }

    /// One WebSocket message, now and then in fragments with a PING between them.
    fn fragments(&self, message: &[u8], chance: &mut Chance) -> Vec<u8> {
        let opcode = if self.serializer == Serializer::Json { 1 } else { 2 };
        if message.len() < 2 || !chance.percent(10) {
            return websocket_frame(true, opcode, message, chance);
        }
        let (head, tail) = message.split_at(chance.between(1, message.len() - 1));
        let mut out = websocket_frame(false, opcode, head, chance);
        if chance.percent(30) {
            out.extend(websocket_frame(true, 9, b"alive?", chance));
        }
        out.extend(websocket_frame(true, 0, tail, chance));
        out
    }

    /// Bytes came.
    pub fn take(&mut self, bytes: &[u8]) {
        self.inbound.extend(bytes);
    }

    /// The next whole thing among them.
    pub fn next(&mut self, chance: &mut Chance) -> Result<Option<Inbound>, String> {
        if let Some(message) = self.batch.pop_front() {
            return Ok(Some(Inbound::Message(message)));
        }
        match (self.opened, self.framing) {
            (false, Framing::RawSocket) => Ok(self.rawsocket_opened()),
            (false, _) => self.websocket_opened(),
            (true, Framing::RawSocket) => self.rawsocket_next(),
            (true, _) => self.websocket_next(chance),
        }
    }

    fn rawsocket_opened(&mut self) -> Option<Inbound> {
        if self.inbound.len() < 4 {
            return None;
        }
        let answer: Vec<u8> = self.inbound.drain(..4).collect();
        if answer[0] == 0x7f && answer[1] & 15 == self.serializer.index() as u8 + 1 {
            self.opened = true;
            return Some(Inbound::Opened);
        }
        Some(Inbound::Refused)
    }

    fn websocket_opened(&mut self) -> Result<Option<Inbound>, String> {
        let Some(end) = self.inbound.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head: Vec<u8> = self.inbound.drain(..end + 4).collect();
        let head = String::from_utf8(head).map_err(|error| error.to_string())?;
        if !head.starts_with("HTTP/1.1 101") {
            self.inbound.clear();
            return Ok(Some(Inbound::Refused));
        }
        // The accept key of the specification's own example, RFC 6455 section 1.3.
        if !head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            return Err(format!("wrong accept key in {head}"));
        }
        self.opened = true;
        Ok(Some(Inbound::Opened))
    }

    fn rawsocket_next(&mut self) -> Result<Option<Inbound>, String> {
        if self.inbound.len() < 4 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, self.inbound[1], self.inbound[2], self.inbound[3]]) as usize;
        if self.inbound.len() < 4 + length {
            return Ok(None);
        }
        let kind = self.inbound[0];
        let body: Vec<u8> = self.inbound.drain(..4 + length).skip(4).collect();
        match kind {
            0 if length > self.message_bytes_max() => {
                Err(format!("a message of {length} octets, {} are taken", self.message_bytes_max()))
            }
            0 => Ok(Some(Inbound::Message(Message::read(self.serializer, &body)?))),
            1 => Ok(Some(Inbound::Ping(rawsocket_frame(2, &body)))),
            2 => self.rawsocket_next(),
            _ => Err(format!("RawSocket frame of type {kind}")),
        }
    }

    fn websocket_next(&mut self, chance: &mut Chance) -> Result<Option<Inbound>, String> {
        if self.inbound.len() < 2 {
            return Ok(None);
        }
        let (first, second) = (self.inbound[0], self.inbound[1]);
        if first & 0xf0 != 0x80 || second & 0x80 != 0 {
            return Err(format!("fragmented, masked or reserved frame: {first:#x} {second:#x}"));
        }
        let extended = match second {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.inbound.len() < 2 + extended {
            return Ok(None);
        }
        let length = match extended {
            0 => usize::from(second),
            _ => self.inbound[2..2 + extended].iter().fold(0, |n, octet| n << 8 | usize::from(*octet)),
        };
        let head = 2 + extended;
        if self.inbound.len() < head + length {
            return Ok(None);
        }
        let body: Vec<u8> = self.inbound.drain(..head + length).skip(head).collect();
        match first & 15 {
            opcode @ (1 | 2) if (opcode == 1) == (self.serializer == Serializer::Json) => {
                self.unbatch(&body)?;
                self.next(chance)
            }
            8 => Ok(Some(Inbound::Close(websocket_frame(true, 8, &body[..body.len().min(2)], chance)))),
            9 => Ok(Some(Inbound::Ping(websocket_frame(true, 10, &body, chance)))),
            10 => self.websocket_next(chance),
            opcode => Err(format!("WebSocket opcode {opcode}")),
        }
    }

    fn unbatch(&mut self, mut body: &[u8]) -> Result<(), String> {
        if self.framing == Framing::WebSocket {
            self.batch.push_back(Message::read(self.serializer, body)?);
            return Ok(());
        }
        if body.is_empty() {
            return Err("an empty batch".to_owned());
        }
        while !body.is_empty() {
            let (message, rest) = if self.serializer == Serializer::Json {
                let end = body.iter().position(|octet| *octet == 0x1e).ok_or("a batch without its end")?;
                (&body[..end], &body[end + 1..])
            } else {
                let length = body.get(..4).ok_or("a batch cut in a length")?;
                let length = length.iter().fold(0, |n, octet| n << 8 | usize::from(*octet));
                let message = body.get(4..4 + length).ok_or("a batch cut in a message")?;
                (message, &body[4 + length..])
            };
            self.batch.push_back(Message::read(self.serializer, message)?);
            body = rest;
        }
        Ok(())
    }
}

/// A RawSocket frame.
pub fn rawsocket_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32).to_be_bytes().to_vec();
    out[0] = kind;
    out.extend(body);
    out
}

/// A masked WebSocket frame.
pub fn websocket_frame(last: bool, opcode: u8, body: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut out = vec![u8::from(last) << 7 | opcode];
    match body.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => out.extend([0x80 | 126, (length >> 8) as u8, length as u8]),
        length => {
            out.push(0x80 | 127);
            out.extend((length as u64).to_be_bytes());
        }
    }
    let mask = (chance.next() as u32).to_be_bytes();
    out.extend(mask);
    out.extend(body.iter().enumerate().map(|(index, octet)| octet ^ mask[index % 4]));
    out
}
