//! The client's half of opening a transport: RawSocket's four octets, and the upgrade to WebSocket.
//!
//! Owns no socket: it makes the request and reads the answer out of the bytes that have come so far.
//!
//! Spec: advanced profile, "RawSocket Transport"; RFC 6455, section 4.1.

use httparse::{EMPTY_HEADER, Header, Response, Status};

use super::error::Handshake;
use super::framing::Framing;
use super::url::Url;
use crate::limits::{MESSAGE_BYTES_CEILING, UPGRADE_BYTES_MAX};
use crate::transport::rawsocket::{self, HandshakeError};
use crate::transport::upgrade;
use crate::wamp::Serializer;

/// Octets of the body that are read of an answer other than 101; the rest would not be shown anyway.
const BODY_BYTES_MAX: usize = 1024;

/// Headers of an answer at most.
const HEADERS_MAX: usize = 64;

/// A handshake whose answer is waited for.
#[derive(Debug)]
pub struct Opening {
    serializer: Serializer,
    /// The key of the upgrade; none in RawSocket.
    key: Option<String>,
}

impl Opening {
    /// Begins a handshake: returns it and what must be sent.
    pub fn begin(url: &Url, serializer: Serializer) -> (Opening, Vec<u8>) {
        if !url.scheme.is_websocket() {
            let handshake = rawsocket::Handshake::new(serializer, MESSAGE_BYTES_CEILING);
            return (Opening { serializer, key: None }, handshake.octets().to_vec());
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("the operating system has entropy");
        let key = base64_simd::STANDARD.encode_to_string(random);
        let request = request(url, serializer, &key);
        (Opening { serializer, key: Some(key) }, request)
    }

    /// Reads the answer. If it is whole, returns the opened transport and how many octets it took. `ended`: no more
    /// will come.
    pub fn answer(&self, input: &[u8], ended: bool) -> Result<Option<(Framing, usize)>, Handshake> {
        match &self.key {
            None => self.rawsocket_answer(input, ended),
            Some(key) => self.upgrade_answer(key, input, ended),
        }
    }

    fn rawsocket_answer(&self, input: &[u8], ended: bool) -> Result<Option<(Framing, usize)>, Handshake> {
        let Some(octets) = input.first_chunk().copied() else {
            return if ended { Err(Handshake::NotRawSocket) } else { Ok(None) };
        };
        if octets[0] != rawsocket::MAGIC {
            return Err(Handshake::NotRawSocket);
        }
        if let Some(error) = HandshakeError::read(octets) {
            return Err(Handshake::RawSocket(error));
        }
        let router = rawsocket::Handshake::read(octets).map_err(|_| Handshake::NotRawSocket)?;
        if router.serializer != self.serializer {
            return Err(Handshake::OtherSerializer);
        }
        let framing = Framing::rawsocket(self.serializer, router.message_bytes_max);
        Ok(Some((framing, rawsocket::HEADER_BYTES)))
    }

    fn upgrade_answer(
        &self,
        key: &str,
        input: &[u8],
        ended: bool,
    ) -> Result<Option<(Framing, usize)>, Handshake> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let head_bytes = match response.parse(input).map_err(|_| Handshake::NotHttp)? {
            Status::Complete(head_bytes) => head_bytes,
            Status::Partial if ended || input.len() > UPGRADE_BYTES_MAX => return Err(Handshake::NotHttp),
            Status::Partial => return Ok(None),
        };
        if response.code != Some(101) {
            return refused(&response, &input[head_bytes..], ended);
        }
        if value(response.headers, "Sec-WebSocket-Accept") != Some(&upgrade::accept_key(key.as_bytes())) {
            return Err(Handshake::AcceptKey);
        }
        let agreed = value(response.headers, "Sec-WebSocket-Protocol");
        if agreed != Some(&subprotocol(self.serializer)) {
            return Err(Handshake::Subprotocol);
        }
        Ok(Some((Framing::websocket(self.serializer), head_bytes)))
    }
}

/// An answer other than 101: an error as soon as enough of its body is there.
fn refused(
    response: &Response<'_, '_>,
    body: &[u8],
    ended: bool,
) -> Result<Option<(Framing, usize)>, Handshake> {
    let announced = value(response.headers, "Content-Length").and_then(|length| length.parse().ok());
    let wanted = announced.unwrap_or(BODY_BYTES_MAX).min(BODY_BYTES_MAX);
    if body.len() < wanted && !ended {
        return Ok(None);
    }
    let body = String::from_utf8_lossy(&body[..body.len().min(wanted)]);
    // A page is for browsers; its markup would only hide the status.
    let text = if body.trim_start().starts_with('<') { "" } else { body.trim() };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Handshake::Http(response.code.unwrap_or_default(), line))
}

fn request(url: &Url, serializer: Serializer, key: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\
         User-Agent: fanwire/{version}\r\n\r\n",
        path = url.path,
        host = url.authority(),
        subprotocol = subprotocol(serializer),
        version = env!("CARGO_PKG_VERSION"),
    )
    .into_bytes()
}

fn subprotocol(serializer: Serializer) -> String {
    format!("wamp.2.{}", serializer.name())
}

fn value<'h>(headers: &[Header<'h>], name: &str) -> Option<&'h str> {
    let header = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(header.value).ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn websocket() -> (Opening, String) {
        let url = "ws://router:8080/ws".parse().unwrap();
        let (opening, request) = Opening::begin(&url, Serializer::Json);
        let request = String::from_utf8(request).unwrap();
        assert!(request.starts_with("GET /ws HTTP/1.1\r\nHost: router:8080\r\n"), "{request}");
        let accept = upgrade::accept_key(opening.key.as_ref().unwrap().as_bytes());
        (opening, accept)
    }

    fn error(opening: &Opening, answer: &str, ended: bool) -> String {
        opening.answer(answer.as_bytes(), ended).expect_err("it is refused").to_string()
    }

    #[test]
    fn an_upgrade_needs_status_key_and_subprotocol() {
        let (opening, accept) = websocket();
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let good =
            format!("{head}sec-websocket-accept: {accept}\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n");
        for end in 0..good.len() {
            assert!(opening.answer(&good.as_bytes()[..end], false).unwrap().is_none(), "cut at {end}");
        }
        let (framing, taken) = opening.answer(format!("{good}more").as_bytes(), false).unwrap().unwrap();
        assert_eq!((framing.serializer(), taken), (Serializer::Json, good.len()));
        assert!(error(&opening, &good.replace(&accept, "x"), false).contains("accept key"));
        assert!(error(&opening, &good.replace("2.json", "2.cbor"), false).contains("serializer"));
    }

    #[test]
    fn a_refused_upgrade_tells_status_and_text() {
        let (opening, _) = websocket();
        let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\ntoo many\n";
        assert!(opening.answer(&answer.as_bytes()[..answer.len() - 1], false).unwrap().is_none());
        assert!(error(&opening, answer, false).ends_with("503: too many"));
        let endless = "HTTP/1.1 404 Not Found\r\n\r\n<html>";
        assert!(opening.answer(endless.as_bytes(), false).unwrap().is_none());
        assert!(error(&opening, endless, true).ends_with("status 404"));
        assert!(error(&opening, "SSH-2.0-OpenSSH\r\n", false).contains("HTTP"));
        assert!(error(&opening, "HTTP/1.1 101", true).contains("HTTP"));
    }

    #[test]
    fn rawsocket_refusals_are_told_by_their_meaning() {
        let (opening, sent) = Opening::begin(&"tcp://router".parse().unwrap(), Serializer::Cbor);
        assert_eq!(sent, [0x7F, 0xF3, 0, 0]);
        assert!(opening.answer(&[0x7F, 0x53, 0], false).unwrap().is_none());
        let (framing, taken) = opening.answer(&[0x7F, 0x53, 0, 0, 9], false).unwrap().unwrap();
        assert_eq!((framing.serializer(), taken), (Serializer::Cbor, 4));
        for (answer, text) in [
            ([0x7F, 0x10, 0, 0], "serializer is not supported"),
            ([0x7F, 0x20, 0, 0], "message length"),
            ([0x7F, 0x30, 0, 0], "reserved bits"),
            ([0x7F, 0x40, 0, 0], "too many connections"),
            ([0x7F, 0x51, 0, 0], "another serializer"),
            (*b"HTTP", "does not speak RawSocket"),
        ] {
            let told = opening.answer(&answer, false).unwrap_err().to_string();
            assert!(told.contains(text), "{told}");
        }
        assert!(opening.answer(&[0x7F], true).is_err());
    }
}
