//! The HTTP in front of WebSocket: one request head, one answer.
//!
//! A request that asks for WebSocket on any path is checked and answered with 101; from its last octet on the
//! connection is [`super::websocket`]'s. Everything else gets a short answer that says what to do instead, a page
//! for people at `/`, and the connection ends: this is no web server. Only a request for the long-poll transport is
//! left as it is, for whoever speaks that. Bodies are not read. The head may be cut
//! anywhere; it is parsed again for each line that has arrived, which the bound on the number of headers keeps cheap.
//!
//! Spec: RFC 6455, section 4.2; basic profile, "WebSocket Transport".

use std::borrow::Cow;
use std::fmt;

use httparse::{Request, Status};
use sha1::{Digest, Sha1};

use super::kept::Kept;
use super::pages::Claim;
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
pub const SUBPROTOCOLS: [(&str, Serializer, Framing); 2 * Serializer::COUNT] = [
    ("wamp.2.json", Serializer::Json, Framing::WebSocket),
    ("wamp.2.msgpack", Serializer::MessagePack, Framing::WebSocket),
    ("wamp.2.cbor", Serializer::Cbor, Framing::WebSocket),
    ("wamp.2.ubjson", Serializer::Ubjson, Framing::WebSocket),
    ("wamp.2.json.batched", Serializer::Json, Framing::WebSocketBatched),
    ("wamp.2.msgpack.batched", Serializer::MessagePack, Framing::WebSocketBatched),
    ("wamp.2.cbor.batched", Serializer::Cbor, Framing::WebSocketBatched),
    ("wamp.2.ubjson.batched", Serializer::Ubjson, Framing::WebSocketBatched),
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
    Upgraded(Link, RequestHead),
    /// It was refused because of whose page it is.
    Foreign(Claim),
    /// It was plain HTTP, and the connection ends.
    Page,
    /// It is for the long-poll transport, and was not taken from the input.
    LongPoll,
}

/// Who asks, and what there is to answer with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'s> {
    pub settings: &'s Settings,
    /// There are too many connections.
    pub full: bool,
    /// The cookie for a browser that has none.
    pub cookie: Option<&'s str>,
}

/// The head of a request that was granted, for whoever asks what else the client has said. At most
/// [`UPGRADE_BYTES_MAX`] octets.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RequestHead(Box<Granted>);

#[derive(Clone, PartialEq, Eq, Default)]
struct Granted {
    octets: Box<[u8]>,
    /// The cookie that the browser has from now on.
    cookie: Option<Box<str>>,
    /// What it was given that cookie with.
    set_cookie: Option<Box<str>>,
}

impl fmt::Debug for RequestHead {
    /// Without the octets: cookies and tokens are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestHead({} octets)", self.bytes())
    }
}

impl RequestHead {
    /// These octets, which should be those of a whole head; else [`RequestHead::read`] reads nothing.
    pub fn of(octets: &[u8]) -> RequestHead {
        RequestHead(Box::new(Granted { octets: octets.into(), cookie: None, set_cookie: None }))
    }

    /// Octets of it.
    pub fn bytes(&self) -> usize {
        self.0.octets.len()
    }

    /// The value of the cookie that the browser has, if the listener gives cookies.
    pub fn cookie(&self) -> Option<&str> {
        self.0.cookie.as_deref()
    }

    /// What the browser was given that cookie with, if it had none.
    pub fn set_cookie(&self) -> Option<&str> {
        self.0.set_cookie.as_deref()
    }

    /// Gives the memory back, but for the cookie. Nothing can be read any more.
    pub fn forget(&mut self) {
        self.0.octets = Box::default();
        self.0.set_cookie = None;
    }

    /// What `read` makes of it. It is parsed each time.
    pub fn read<T>(&self, read: impl FnOnce(&Request<'_, '_>) -> T) -> Option<T> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = Request::new(&mut headers);
        let status = request.parse(&self.0.octets).ok()?;
        status.is_complete().then(|| read(&request))
    }
}

/// Reads the request at the front and answers it. `lines_end` remembers between calls how far lines have been seen.
pub(super) fn answer(
    kept: &mut Kept,
    lines_end: &mut usize,
    input: &mut &mut [u8],
    asked: Asked<'_>,
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
            Ok(Status::Complete(_)) if !asked.full && wants_longpoll(&request, asked.settings) => {
                return Ok(Answered::LongPoll);
            }
            Ok(Status::Complete(head_bytes)) => {
                let mut answered = answer_request(&request, asked, reply);
                let head = kept.take(head_bytes, input);
                if let Ok(Answered::Upgraded(_, granted)) = &mut answered {
                    granted.0.octets = Box::from(&*head);
                }
                return answered;
            }
            Ok(Status::Partial) => {}
            Err(httparse::Error::TooManyHeaders) => return HEAD_TOO_LARGE.refuse(reply),
            Err(_) => return MALFORMED.refuse(reply),
        }
    }
    if front.len() == UPGRADE_BYTES_MAX {
        return HEAD_TOO_LARGE.refuse(reply);
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

const FULL: Response = Response {
    status: "503 Service Unavailable",
    headers: TEXT,
    body: Cow::Borrowed("The router has too many connections; try again later.\n"),
    violation: Some(Violation::ConnectionLimit),
};

const fn refusal(status: &'static str, text: &'static str) -> Response {
    Response { status, headers: TEXT, body: Cow::Borrowed(text), violation: Some(Violation::Upgrade) }
}

const fn bad_request(text: &'static str) -> Response {
    refusal("400 Bad Request", text)
}

/// What a page is told that may not connect.
pub(crate) const FOREIGN: &str = "Pages of this origin may not connect here.\n";

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

impl Response {
    /// The answer where the request could not be read.
    fn refuse(&self, reply: &mut Vec<u8>) -> Result<Answered, Violation> {
        self.send(false, reply).map(|()| Answered::Page)
    }

    fn send(&self, head_only: bool, reply: &mut Vec<u8>) -> Result<(), Violation> {
        let Response { status, headers, body, .. } = self;
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nServer: fanwire\r\n{headers}Content-Length: {length}\r\n{SAFE_HEADERS}\r\n"
        );
        reply.extend_from_slice(head.as_bytes());
        if !head_only {
            reply.extend_from_slice(body.as_bytes());
        }
        self.violation.map_or(Ok(()), Err)
    }
}

/// True if the request asks for WebSocket, however badly.
pub(crate) fn wants_websocket(request: &Request<'_, '_>) -> bool {
    lists(request, "upgrade", "websocket") || one(request, "sec-websocket-key").is_some()
}

fn wants_longpoll(request: &Request<'_, '_>, settings: &Settings) -> bool {
    let (Some(target), Some(base)) = (request.path, &settings.longpoll) else { return false };
    below(path(target), base).is_some() && !wants_websocket(request)
}

/// The path of a request's target: without the query, and without what a proxy may put before it (RFC 9112, section
/// 3.2.2).
pub(crate) fn path(target: &str) -> &str {
    let target = target.split('?').next().unwrap_or(target);
    let rest = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://"));
    match rest {
        Some(rest) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        None => target,
    }
}

/// What follows `base` in a path that is `base` or below it.
pub(crate) fn below<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a whole request; the head that is returned with a link has no octets yet.
fn answer_request(
    request: &Request<'_, '_>,
    asked: Asked<'_>,
    reply: &mut Vec<u8>,
) -> Result<Answered, Violation> {
    let Asked { settings, full, cookie } = asked;
    if !wants_websocket(request) {
        if full && wants_longpoll(request, settings) {
            return FULL.send(false, reply).map(|()| Answered::Page);
        }
        return plain(request, settings).send(request.method == Some("HEAD"), reply).map(|()| Answered::Page);
    }
    let Upgrade { accept, subprotocol, link } = match upgrade(request, settings, full) {
        Ok(upgrade) => upgrade,
        Err(response) => {
            return match response.send(false, reply) {
                Err(Violation::Origin) => Ok(Answered::Foreign(Claim::of(request))),
                sent => sent.map(|()| Answered::Page),
            };
        }
    };
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nServer: fanwire\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n"
    );
    reply.extend_from_slice(head.as_bytes());
    let mut granted = Granted::default();
    if let Some(rule) = &settings.pages.cookie {
        let brought = rule.value(request);
        granted.cookie = brought.or(cookie).map(Box::from);
        granted.set_cookie = cookie.filter(|_| brought.is_none()).map(|value| rule.set(value).into());
    }
    if let Some(set_cookie) = &granted.set_cookie {
        reply.extend_from_slice(format!("Set-Cookie: {set_cookie}\r\n").as_bytes());
    }
    reply.extend_from_slice(b"\r\n");
    Ok(Answered::Upgraded(link, RequestHead(Box::new(granted))))
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
    if !settings.pages.origins.allow(&Claim::of(request)) {
        return Err(Response { violation: Some(Violation::Origin), ..refusal("403 Forbidden", FOREIGN) });
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
        return Err(FULL);
    }
    // A WebSocket peer cannot announce what it takes.
    let link = Link { serializer, framing, message_bytes_max: MESSAGE_BYTES_CEILING };
    Ok(Upgrade { accept: accept_key(key), subprotocol, link })
}

/// Answers a request that does not ask for WebSocket.
fn plain(request: &Request<'_, '_>, settings: &Settings) -> Response {
    let host = one(request, "host");
    let reads = matches!(request.method, Some("GET" | "HEAD"));
    let path = request.path.map(path);
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
        .replace("{{host}}", shown(host))
}

/// The subprotocols that may be agreed on, in words.
fn spoken(settings: &Settings) -> String {
    let names = SUBPROTOCOLS.iter().filter(|(_, serializer, _)| settings.serializers[serializer.index()]);
    names.map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

/// What the client calls this host and port, if it can be a name or an address; else it is not shown. Nothing of such a
/// text must be escaped in a page.
fn shown(host: &[u8]) -> &str {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b".-_:[]".contains(octet);
    let host = Some(host).filter(|host| host.len() <= HOST_BYTES_MAX && host.iter().all(plain));
    host.and_then(|host| std::str::from_utf8(host).ok())
        .filter(|host| !host.is_empty())
        .unwrap_or("localhost")
}

/// Octets of a name in the DNS, and a port.
const HOST_BYTES_MAX: usize = 253 + 6;

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
pub fn values<'r>(request: &'r Request<'_, '_>, name: &'r str) -> impl DoubleEndedIterator<Item = &'r [u8]> {
    let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

/// The value of the header of that name, if there is exactly one.
pub(crate) fn one<'r>(request: &'r Request<'_, '_>, name: &'r str) -> Option<&'r [u8]> {
    let mut values = values(request, name);
    values.next().filter(|_| values.next().is_none())
}

/// The items of a list header, which may stand on several lines.
pub(crate) fn tokens<'r>(request: &'r Request<'_, '_>, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    values(request, name).flat_map(|value| value.split(|octet| *octet == b',')).map(<[u8]>::trim_ascii)
}

/// True if the list header has the token, in any case.
pub(crate) fn lists(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    tokens(request, name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::pages::{CookieRule, Origins, Pages};
    use super::super::random::Random;
    use super::super::twin::{Outcome, run, run_all_cuts, settings};
    use super::super::{Inbound, Transport};
    use super::*;
    use std::sync::Arc;

    const GOOD: &str = "GET /ws?token=1 HTTP/1.1\r\nHost: router.example:8080\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: wamp.2.cbor\r\n\r\n";

    fn outcome(request: &str) -> Outcome {
        run_all_cuts(&settings(), request.as_bytes(), &mut Random::new(request.len() as u64))
    }

    fn reply(outcome: &Outcome) -> &str {
        std::str::from_utf8(&outcome.reply).unwrap()
    }

    /// Replaces a line of the good request, or drops it.
    fn with(line_start: &str, line: &str) -> String {
        let lines = GOOD.split_inclusive("\r\n");
        assert!(GOOD.contains(line_start));
        lines.map(|good| if good.starts_with(line_start) { line } else { good }).collect()
    }

    fn assert_refused(request: &str, status: &str) {
        let outcome = outcome(request);
        assert!(reply(&outcome).starts_with(&format!("HTTP/1.1 {status}")), "{request}{}", reply(&outcome));
        assert_eq!(outcome.violation, Some(Violation::Upgrade), "{request}");
    }

    /// What becomes of a request where long-poll is spoken, fed in pieces: the octets that are left for it, if any.
    fn longpoll(stream: &str, piece: usize, full: bool) -> (Option<Vec<u8>>, Vec<u8>) {
        let settings = Arc::new(Settings { longpoll: Some("/lp".into()), ..settings() });
        let (mut transport, mut reply) = (Transport::new(settings, full), Vec::new());
        let mut handed_over = false;
        for octets in stream.as_bytes().chunks(piece) {
            let mut octets = octets.to_vec();
            let mut input = &mut octets[..];
            match transport.next(&mut input, &mut reply) {
                Ok(Inbound::LongPoll) => {
                    assert!(input.is_empty(), "all of it is kept");
                    handed_over = true;
                }
                Ok(Inbound::Incomplete) => {}
                _ => break,
            }
        }
        (handed_over.then(|| transport.take_octets()), reply)
    }

    #[test]
    fn requests_for_longpoll_are_left_as_they_are() {
        for path in ["/lp", "/lp/open?x=1", "/lp/a/send", "http://router.example/lp/open"] {
            let stream = format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{{\n\n}}\nGET");
            for piece in [1, 2, 30, stream.len()] {
                let (octets, reply) = longpoll(&stream, piece, false);
                assert_eq!((octets.as_deref(), &*reply), (Some(stream.as_bytes()), &b""[..]), "{path}");
                let (octets, reply) = longpoll(&stream, piece, true);
                assert!(octets.is_none() && reply.starts_with(b"HTTP/1.1 503 "), "there are too many");
            }
        }
        for path in ["/", "/lpx", "/l", "/a/lp", "http://router.example?/lp"] {
            let (octets, reply) = longpoll(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 9, false);
            assert!(octets.is_none() && reply.starts_with(b"HTTP/1.1 405 "), "{path}");
        }
        let (octets, reply) = longpoll(&GOOD.replace("/ws", "/lp"), 1000, false);
        assert!(
            octets.is_none() && reply.starts_with(b"HTTP/1.1 101 "),
            "WebSocket may be opened on any path"
        );
    }

    #[test]
    fn the_accept_key_is_the_rfcs() {
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_good_request_is_upgraded_and_the_rest_is_websockets() {
        let mut octets = GOOD.as_bytes().to_vec();
        octets.extend_from_slice(b"\x89\x80\0\0\0\0\x82\x81\0\0\0\0m");
        let outcome = run_all_cuts(&settings(), &octets, &mut Random::new(1));
        assert_eq!(
            outcome.reply,
            b"HTTP/1.1 101 Switching Protocols\r\nServer: fanwire\r\nUpgrade: websocket\r\n\
              Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
              Sec-WebSocket-Protocol: wamp.2.cbor\r\n\r\n\x8a\0"
        );
        assert_eq!(outcome.messages, [b"m"]);
        let link = Link {
            serializer: Serializer::Cbor,
            framing: Framing::WebSocket,
            message_bytes_max: MESSAGE_BYTES_CEILING,
        };
        assert_eq!(outcome.link, Some(link));
    }

    #[test]
    fn headers_are_read_as_lists_without_case() {
        for request in [
            with("Upgrade", "UPGRADE: h2c, WebSocket\r\n"),
            with("Upgrade", "Upgrade: h2c\r\nupgrade: websocket\r\n"),
            with("Connection", "connection:upgrade\r\n"),
            with("Host", "Host: \r\n"),
            GOOD.replace("\r\n", "\n"),
        ] {
            assert!(outcome(&request).link.is_some(), "{request}");
        }
    }

    #[test]
    fn the_clients_first_known_subprotocol_is_taken() {
        let cases = [
            ("wamp.2.json", "wamp.2.json"),
            ("mqtt, wamp.2.msgpack , wamp.2.json", "wamp.2.msgpack"),
            ("mqtt\r\nSec-WebSocket-Protocol: wamp.2.cbor.batched,wamp.2.cbor", "wamp.2.cbor.batched"),
            ("wamp.2.JSON,,wamp.2.json.batched", "wamp.2.json.batched"),
        ];
        for (offered, chosen) in cases {
            let request = with("Sec-WebSocket-Protocol", &format!("Sec-WebSocket-Protocol: {offered}\r\n"));
            let outcome = outcome(&request);
            assert!(reply(&outcome).contains(&format!("Sec-WebSocket-Protocol: {chosen}\r\n")));
            let known = SUBPROTOCOLS.iter().find(|(name, ..)| *name == chosen).unwrap();
            let link = outcome.link.unwrap();
            assert_eq!((link.serializer, link.framing), (known.1, known.2));
        }
    }

    #[test]
    fn subprotocols_that_are_not_allowed_are_not_spoken() {
        let settings = Settings { serializers: [true, false, false, false], ..settings() };
        let outcome = run_all_cuts(&settings, GOOD.as_bytes(), &mut Random::new(2));
        assert_eq!(outcome.violation, Some(Violation::Upgrade));
        assert!(reply(&outcome).ends_with("these are: wamp.2.json, wamp.2.json.batched\n"));
        assert_refused(&with("Sec-WebSocket-Protocol", ""), "400 ");
    }

    #[test]
    fn upgrades_that_are_none_are_refused() {
        for request in [
            with("GET", "POST / HTTP/1.1\r\n"),
            with("GET", "GET / HTTP/1.0\r\n"),
            with("Host", ""),
            with("Host", "Host: a\r\nHost: b\r\n"),
            with("Upgrade", ""),
            with("Upgrade", "Upgrade: websockets\r\n"),
            with("Connection", ""),
            with("Connection", "Connection: close\r\n"),
            with("Sec-WebSocket-Key", ""),
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n"),
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n"),
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ___\r\n"),
            with("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSEh\r\n"),
        ] {
            assert_refused(&request, "400 ");
        }
        for line in ["", "Sec-WebSocket-Version: 8\r\n"] {
            let request = with("Sec-WebSocket-Version", line);
            assert_refused(&request, "426 ");
            assert!(reply(&outcome(&request)).contains("\r\nSec-WebSocket-Version: 13\r\n"));
        }
    }

    #[test]
    fn what_is_no_http_is_refused_at_its_line() {
        for request in
            ["SSH-2.0-OpenSSH_9.9\r\n", "GET / HTTP/2.0\r\n", "GET / HTTP/1.1\r\nno colon\r\n", "\u{41}\n"]
        {
            assert_refused(request, "400 ");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let mut request = "GET / HTTP/1.1\r\nHost: a\r\nX: ".to_owned();
        request.push_str(&"x".repeat(UPGRADE_BYTES_MAX - request.len() - 4));
        let fits = format!("{request}\r\n\r\n");
        assert_eq!(fits.len(), UPGRADE_BYTES_MAX);
        let mut random = Random::new(3);
        assert!(run_all_cuts(&settings(), fits.as_bytes(), &mut random).finished);
        for larger in [format!("{request}x\r\n\r\n"), "G".repeat(20_000)] {
            let outcome = run_all_cuts(&settings(), larger.as_bytes(), &mut random);
            assert!(reply(&outcome).starts_with("HTTP/1.1 431 "));
            assert_eq!(outcome.violation, Some(Violation::Upgrade));
        }
        let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert!(reply(&run(&settings(), [lines.as_bytes()])).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn a_full_router_says_503() {
        let mut transport = Transport::new(Arc::new(settings()), true);
        let mut octets = GOOD.as_bytes().to_vec();
        let mut replied = Vec::new();
        let refused = transport.next(&mut &mut octets[..], &mut replied).unwrap_err();
        assert_eq!(refused, Violation::ConnectionLimit);
        assert!(replied.starts_with(b"HTTP/1.1 503 "));
    }

    #[test]
    fn without_websocket_there_is_no_upgrade_and_no_page() {
        let settings = Settings { websocket: false, ..settings() };
        let mut random = Random::new(4);
        let refused = run_all_cuts(&settings, GOOD.as_bytes(), &mut random);
        assert!(reply(&refused).starts_with("HTTP/1.1 403 "));
        assert_eq!(refused.violation, Some(Violation::Upgrade));
        let page = run_all_cuts(&settings, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &mut random);
        assert!(reply(&page).starts_with("HTTP/1.1 404 ") && page.finished);
    }

    #[test]
    fn plain_requests_are_answered_and_finished() {
        for (line, status) in [
            ("GET / HTTP/1.1", "200 OK"),
            ("GET /?a=b HTTP/1.1", "200 OK"),
            ("HEAD / HTTP/1.1", "200 OK"),
            ("GET / HTTP/1.0", "200 OK"),
            ("GET /ws HTTP/1.1", "404 Not Found"),
            ("POST / HTTP/1.1", "405 Method Not Allowed"),
        ] {
            let outcome = outcome(&format!("{line}\r\nHost: a\r\n\r\n"));
            assert!(outcome.finished && outcome.violation.is_none(), "{line}");
            let (head, body) = reply(&outcome).split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
            for header in ["Connection: close", "X-Content-Type-Options: nosniff", "Server: fanwire"] {
                assert!(head.lines().any(|line| line == header), "{head}");
            }
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let sent = if line.starts_with("HEAD") { 0 } else { length.parse().unwrap() };
            assert_eq!(body.len(), sent);
            assert_ne!(length, "0");
        }
        assert_refused("GET / HTTP/1.1\r\n\r\n", "400 ");
    }

    #[test]
    fn the_page_says_how_to_connect() {
        let outcome = outcome("GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
        let page = reply(&outcome);
        assert!(page.contains("ws://[::1]:8080/"));
        assert!(
            page.contains("wamp.2.json, wamp.2.msgpack, wamp.2.cbor, wamp.2.ubjson, wamp.2.json.batched")
        );
        assert!(page.contains("on the same port"));
        assert!(!page.contains("{{") && PAGE.len() < 3000);
    }

    #[test]
    fn the_page_shows_no_host_that_cannot_be_one() {
        for host in ["<a&'\"b>:8080", "\u{fc}", "a b", "", &"x".repeat(260)] {
            let outcome = outcome(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert!(reply(&outcome).contains("ws://localhost/"), "{host}");
        }
    }

    #[test]
    fn nothing_is_read_after_an_answer() {
        let mut transport = Transport::new(Arc::new(settings()), false);
        let mut octets = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n".to_vec();
        let mut input = &mut octets[..];
        let mut replied = Vec::new();
        assert!(matches!(transport.next(&mut input, &mut replied), Ok(Inbound::Finished)));
        let answered = replied.len();
        transport.keep(b"more");
        assert!(matches!(transport.next(&mut input, &mut replied), Ok(Inbound::Finished)));
        assert!(input.is_empty());
        assert_eq!((replied.len(), transport.link()), (answered, None));
    }

    /// What becomes of a request where browsers are given a cookie: the answer, and the head that was granted.
    fn with_cookie(request: &str, offered: Option<&str>) -> (String, RequestHead) {
        let rule =
            CookieRule { name: "fw".into(), attributes: "; Path=/; HttpOnly".into(), max_age_seconds: 9 };
        let pages = Pages { cookie: Some(rule), ..Pages::default() };
        let mut transport = Transport::new(Arc::new(Settings { pages, ..settings() }), false);
        if let Some(offered) = offered {
            transport.offer_cookie(offered.to_owned());
        }
        let (mut octets, mut reply) = (request.as_bytes().to_vec(), Vec::new());
        match transport.next(&mut &mut octets[..], &mut reply) {
            Ok(Inbound::Opened) => {}
            other => panic!("{other:?}"),
        }
        (String::from_utf8(reply).unwrap(), transport.take_request().unwrap())
    }

    #[test]
    fn a_browser_without_our_cookie_is_given_one() {
        let (fresh, old) = ("abcdefh3479ACEFGHJKLMNPQ", "QPNMLKJHGFECA9743hfedcba");
        let (reply, mut head) = with_cookie(GOOD, Some(fresh));
        assert!(reply.ends_with(&format!("\r\nSet-Cookie: fw={fresh}; Path=/; HttpOnly\r\n\r\n")), "{reply}");
        assert_eq!(head.cookie(), Some(fresh));
        assert_eq!(head.set_cookie(), Some(&*format!("fw={fresh}; Path=/; HttpOnly")));
        head.forget();
        assert_eq!((head.cookie(), head.set_cookie(), head.bytes()), (Some(fresh), None, 0));
        assert!(head.read(|_| ()).is_none());

        let (reply, head) =
            with_cookie(&GOOD.replace("Host", &format!("Cookie: fw={old}\r\nHost")), Some(fresh));
        assert!(!reply.contains("Set-Cookie"), "{reply}");
        assert_eq!((head.cookie(), head.set_cookie()), (Some(old), None));
        let (reply, head) = with_cookie(GOOD, None);
        assert!(!reply.contains("Set-Cookie") && head.cookie().is_none());
    }

    #[test]
    fn a_page_that_may_not_connect_is_refused() {
        let origins = Origins::new(Some(&["https://a.example".to_owned()]), false);
        let settings = Settings { pages: Pages { origins, cookie: None }, ..settings() };
        let mut random = Random::new(5);
        for (origin, allowed) in
            [("", true), ("Origin: https://a.example\r\n", true), ("Origin: http://b\r\n", false)]
        {
            let request = GOOD.replace("Host", &format!("{origin}Host"));
            let outcome = run_all_cuts(&settings, request.as_bytes(), &mut random);
            assert_eq!(outcome.violation, (!allowed).then_some(Violation::Origin), "{origin}");
            assert_eq!(reply(&outcome).starts_with("HTTP/1.1 403 "), !allowed);
        }
    }
}
