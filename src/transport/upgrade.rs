//! The HTTP in front of WebSocket: one request head, one answer.
//!
//! A request that asks for WebSocket on any path is checked and answered with 101; from its last octet on the
//! connection is [`super::websocket`]'s. Everything else gets a short answer that says what to do instead, a page
//! for people at `/`, and the connection ends: this is no web server. Bodies are not read. The head may be cut
//! anywhere; it is parsed again for each line that has arrived, which the bound on the number of headers keeps cheap.
//!
//! Spec: RFC 6455, section 4.2; basic profile, "WebSocket Transport".

use std::borrow::Cow;

use httparse::{Request, Status};
use sha1::{Digest, Sha1};

use super::kept::Kept;
use super::{Framing, Link, Settings};
use crate::error::Violation;
use crate::limits::{MESSAGE_BYTES_CEILING, UPGRADE_BYTES_MAX};
use crate::wamp::Serializer;

/// Headers of a request at most; browsers send about 15.
const HEADERS_MAX: usize = 100;

/// What a key is joined with before it is hashed (RFC 6455, section 1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The page at `/`, with `{{host}}`, `{{subprotocols}}` and `{{rawsocket}}` to be filled in.
const PAGE: &str = include_str!("page.html");

/// The page and the texts need nothing from outside and may not be guessed to be something else.
const SAFE_HEADERS: &str = "Connection: close\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n";

/// The WebSocket subprotocols and what each stands for.
pub const SUBPROTOCOLS: [(&str, Serializer, Framing); 6] = [
    ("wamp.2.json", Serializer::Json, Framing::WebSocket),
    ("wamp.2.msgpack", Serializer::MessagePack, Framing::WebSocket),
    ("wamp.2.cbor", Serializer::Cbor, Framing::WebSocket),
    ("wamp.2.json.batched", Serializer::Json, Framing::WebSocketBatched),
    ("wamp.2.msgpack.batched", Serializer::MessagePack, Framing::WebSocketBatched),
    ("wamp.2.cbor.batched", Serializer::Cbor, Framing::WebSocketBatched),
];

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
    base64_simd::STANDARD.encode_to_string(digest)
}

/// True if a request can begin with this octet: those of an HTTP token (RFC 9110, section 5.6.2).
pub(super) fn begins_request(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// What a request came to.
#[derive(Debug)]
pub(super) enum Answered {
    /// It is not whole.
    Incomplete,
    /// WebSocket from here on.
    Upgraded(Link),
    /// It was plain HTTP, and the connection ends.
    Page,
}

/// Reads the request at the front and answers it. `lines_end` remembers between calls how far lines have been seen.
pub(super) fn answer(
    kept: &mut Kept,
    lines_end: &mut usize,
    input: &mut &mut [u8],
    settings: &Settings,
    full: bool,
    reply: &mut Vec<u8>,
) -> Result<Answered, Violation> {
    if !kept.is_empty() {
        kept.gather(UPGRADE_BYTES_MAX, input);
    }
    let front = kept.front(input);
    let front = &front[..front.len().min(UPGRADE_BYTES_MAX)];
    let end = front.iter().rposition(|octet| *octet == b'\n').map_or(0, |last| last + 1);
    if end > *lines_end {
        *lines_end = end;
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = Request::new(&mut headers);
        match request.parse(&front[..end]) {
            Ok(Status::Complete(head_bytes)) => {
                let answered = answer_request(&request, settings, full, reply);
                kept.take(head_bytes, input);
                return answered;
            }
            Ok(Status::Partial) => {}
            Err(httparse::Error::TooManyHeaders) => return HEAD_TOO_LARGE.send(false, reply),
            Err(_) => return MALFORMED.send(false, reply),
        }
    }
    if front.len() == UPGRADE_BYTES_MAX {
        return HEAD_TOO_LARGE.send(false, reply);
    }
    kept.gather(UPGRADE_BYTES_MAX, input);
    Ok(Answered::Incomplete)
}

/// An answer other than 101.
struct Response {
    status: &'static str,
    /// Whole lines beside those every answer has.
    headers: &'static str,
    body: Cow<'static, str>,
    /// What the request is to the log, if it is more than plain HTTP.
    violation: Option<Violation>,
}

const HEAD_TOO_LARGE: Response =
    refusal("431 Request Header Fields Too Large", "The request is too large.\n");
const MALFORMED: Response = refusal("400 Bad Request", "This is not an HTTP/1.1 request.\n");

const fn refusal(status: &'static str, text: &'static str) -> Response {
    Response { status, headers: TEXT, body: Cow::Borrowed(text), violation: Some(Violation::Upgrade) }
}

const fn bad_request(text: &'static str) -> Response {
    refusal("400 Bad Request", text)
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

impl Response {
    fn send(&self, head_only: bool, reply: &mut Vec<u8>) -> Result<Answered, Violation> {
        let Response { status, headers, body, .. } = self;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: fanwire\r\n{headers}Content-Length: {length}\r\n{SAFE_HEADERS}\r\n"
        );
        reply.extend_from_slice(head.as_bytes());
        if !head_only {
            reply.extend_from_slice(body.as_bytes());
        }
        self.violation.map_or(Ok(Answered::Page), Err)
    }
}

fn answer_request(
    request: &Request<'_, '_>,
    settings: &Settings,
    full: bool,
    reply: &mut Vec<u8>,
) -> Result<Answered, Violation> {
    let wants_websocket =
        lists(request, "upgrade", "websocket") || one(request, "sec-websocket-key").is_some();
    if !wants_websocket {
        return plain(request, settings).send(request.method == Some("HEAD"), reply);
    }
    match upgrade(request, settings, full) {
        Ok(upgrade) => {
            let Upgrade { accept, subprotocol, link } = upgrade;
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nServer: fanwire\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
                 Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
            );
            reply.extend_from_slice(head.as_bytes());
            Ok(Answered::Upgraded(link))
        }
        Err(response) => response.send(false, reply),
    }
}

/// An upgrade that is granted.
struct Upgrade {
    accept: String,
    subprotocol: &'static str,
    link: Link,
}

/// Checks an upgrade request in the order of RFC 6455, section 4.2.1.
fn upgrade(request: &Request<'_, '_>, settings: &Settings, full: bool) -> Result<Upgrade, Response> {
    if !settings.websocket {
        return Err(refusal("403 Forbidden", "WebSocket is not spoken here.\n"));
    }
    if request.method != Some("GET") || request.version != Some(1) {
        return Err(bad_request("A WebSocket upgrade is a GET of HTTP/1.1.\n"));
    }
    if one(request, "host").is_none() {
        return Err(bad_request("A request has exactly one Host.\n"));
    }
    if !lists(request, "upgrade", "websocket") || !lists(request, "connection", "upgrade") {
        return Err(bad_request(
            "The headers \"Upgrade: websocket\" and \"Connection: Upgrade\" are missing; does a proxy drop them?\n",
        ));
    }
    if one(request, "sec-websocket-version") != Some(b"13") {
        return Err(Response {
            headers: "Content-Type: text/plain; charset=utf-8\r\nSec-WebSocket-Version: 13\r\n",
            ..refusal("426 Upgrade Required", "Only version 13 of WebSocket is spoken here.\n")
        });
    }
    let Some(key) = one(request, "sec-websocket-key").filter(|key| is_key(key)) else {
        return Err(bad_request("Sec-WebSocket-Key must be 16 octets in Base64.\n"));
    };
    let Some((subprotocol, serializer, framing)) = subprotocol(request, settings) else {
        let spoken = spoken(settings);
        return Err(Response {
            body: Cow::Owned(format!(
                "None of the subprotocols in Sec-WebSocket-Protocol is spoken here; these are: {spoken}\n"
            )),
            ..bad_request("")
        });
    };
    if full {
        let text = "The router has too many connections; try again later.\n";
        return Err(Response {
            violation: Some(Violation::ConnectionLimit),
            ..refusal("503 Service Unavailable", text)
        });
    }
    // A WebSocket peer cannot announce what it takes.
    let link = Link { serializer, framing, message_bytes_max: MESSAGE_BYTES_CEILING };
    Ok(Upgrade { accept: accept_key(key), subprotocol, link })
}

/// Answers a request that does not ask for WebSocket.
fn plain(request: &Request<'_, '_>, settings: &Settings) -> Response {
    let host = one(request, "host");
    let reads = matches!(request.method, Some("GET" | "HEAD"));
    let path = request.path.map(|path| path.split('?').next().unwrap_or(path));
    if host.is_none() && request.version == Some(1) {
        return bad_request("A request has exactly one Host.\n");
    }
    if !reads {
        return Response {
            headers: "Content-Type: text/plain; charset=utf-8\r\nAllow: GET, HEAD\r\n",
            violation: None,
            ..refusal("405 Method Not Allowed", "This is a WAMP router; it takes WebSocket upgrades.\n")
        };
    }
    if path != Some("/") || !settings.websocket {
        let text = match settings.websocket {
            true => "This is a WAMP router. A WebSocket may be opened on any path; there is a page at /.\n",
            false => "This is a WAMP router. Only RawSocket is spoken here.\n",
        };
        return Response { violation: None, ..refusal("404 Not Found", text) };
    }
    Response {
        status: "200 OK",
        headers: HTML,
        body: Cow::Owned(page(host.unwrap_or(b"localhost"), settings)),
        violation: None,
    }
}

fn page(host: &[u8], settings: &Settings) -> String {
    let rawsocket = if settings.rawsocket { "on the same port" } else { "is not spoken here" };
    PAGE.replace("{{rawsocket}}", rawsocket)
        .replace("{{subprotocols}}", &spoken(settings))
        .replace("{{host}}", &escaped(&String::from_utf8_lossy(host)))
}

/// The subprotocols that may be agreed on, in words.
fn spoken(settings: &Settings) -> String {
    let names = SUBPROTOCOLS.iter().filter(|(_, serializer, _)| settings.serializers[serializer.index()]);
    names.map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

/// Text as it may stand in a page.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The first subprotocol of the client that is spoken here: its order is its preference.
fn subprotocol(
    request: &Request<'_, '_>,
    settings: &Settings,
) -> Option<(&'static str, Serializer, Framing)> {
    tokens(request, "sec-websocket-protocol").find_map(|offered| {
        let known = SUBPROTOCOLS.iter().find(|(name, ..)| name.as_bytes() == offered)?;
        settings.serializers[known.1.index()].then_some(*known)
    })
}

/// True for 16 octets in Base64.
fn is_key(key: &[u8]) -> bool {
    let mut decoded = [0; 18];
    // 24 characters are 18 octets at most, so what is decoded fits.
    let decoded = (key.len() == 24)
        .then(|| base64_simd::STANDARD.decode(key, base64_simd::Out::from_slice(&mut decoded)));
    matches!(decoded, Some(Ok(octets)) if octets.len() == 16)
}

/// The values of all headers of that name, without the white space around them.
fn values<'r>(request: &'r Request<'_, '_>, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

/// The value of the header of that name, if there is exactly one.
fn one<'r>(request: &'r Request<'_, '_>, name: &'r str) -> Option<&'r [u8]> {
    let mut values = values(request, name);
    values.next().filter(|_| values.next().is_none())
}

/// The items of a list header, which may stand on several lines.
fn tokens<'r>(request: &'r Request<'_, '_>, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    values(request, name).flat_map(|value| value.split(|octet| *octet == b',')).map(<[u8]>::trim_ascii)
}

fn lists(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    tokens(request, name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}
