//! HTTP/1.0 and 1.1 as a server speaks it: the requests of one connection, one after the other, and their answers.
//!
//! A [`RequestReader`] is given octets in any cut and hands out a head, and then the body that belongs to it; what
//! follows is the next request and waits. Where a request ends must be beyond doubt, because a proxy in front may
//! see it otherwise: two lengths, a length beside chunks, a transfer coding that is not `chunked` alone, an obsolete
//! fold are refused, and the connection ends. Memory grows with the octets that have arrived, and the bounds are on
//! the head, on a chunk's line, on the trailer, and on the body.
//!
//! Spec: RFC 9110, RFC 9112; the CORS protocol of the Fetch standard.

use std::borrow::Cow;

use httparse::{Request, Status};

use crate::limits::UPGRADE_BYTES_MAX;
use crate::transport::pages::Claim;
use crate::transport::upgrade;

/// Headers of a request at most.
const HEADERS_MAX: usize = 100;

/// Octets of the line in front of a chunk, extensions included.
const CHUNK_LINE_BYTES_MAX: usize = 256;

/// Octets behind the last chunk. They are not looked at.
const TRAILER_BYTES_MAX: usize = 4096;

/// Octets of an origin, or of a list of headers, that are said back in an answer.
const ECHO_BYTES_MAX: usize = 1024;

/// What a request asks for, and what its answer must heed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// It asks for another protocol.
    pub upgrade: bool,
    /// The client waits for a word before it sends the body.
    pub expects_continue: bool,
    /// Whose page asks.
    pub claim: Claim,
    /// What its answer must heed.
    pub answering: Answering,
    bytes: usize,
    body: BodyLength,
}

/// The methods that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// What all requests of the transport are.
    Post,
    /// A question of a browser whether it may ask.
    Options,
    /// Its answer has no body.
    Head,
    /// Any other.
    Other,
}

/// What of a request shapes its answer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answering {
    /// The connection may go on.
    pub keep_alive: bool,
    /// The client speaks HTTP/1.0, in which going on must be said.
    pub http_1_0: bool,
    /// The body is left out.
    pub head_only: bool,
    /// Who asks, if it is a browser.
    pub origin: Option<String>,
    /// The headers a browser wants to send.
    pub headers: Option<String>,
    /// It is a page that may not connect, which the browser shall not let read the answer.
    pub foreign: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BodyLength {
    Octets(usize),
    Chunked,
}

/// Why it cannot be known where the request ends, or why nobody waits for its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// No HTTP/1 request.
    Head,
    /// A head that is too long.
    HeadTooLarge,
    /// Not exactly one Host.
    Host,
    /// A length that is none, or two of them.
    Length,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// A chunk that is none.
    Chunk,
    /// A body above its bound.
    BodyTooLarge,
}

impl Malformed {
    /// The status that says it, and a sentence for people.
    pub fn answer(self) -> (&'static str, &'static str) {
        match self {
            Malformed::Head => ("400 Bad Request", "This is not an HTTP/1.1 request.\n"),
            Malformed::HeadTooLarge => ("431 Request Header Fields Too Large", "The request is too large.\n"),
            Malformed::Host => ("400 Bad Request", "A request has exactly one Host.\n"),
            Malformed::Length => ("400 Bad Request", "The length of the body is not beyond doubt.\n"),
            Malformed::TransferCoding => ("501 Not Implemented", "Bodies may be chunked, and no more.\n"),
            Malformed::Chunk => ("400 Bad Request", "The body is not chunked as it should be.\n"),
            Malformed::BodyTooLarge => ("413 Content Too Large", "The body is larger than allowed.\n"),
        }
    }
}

/// Reads the requests of one connection.
#[derive(Debug, Default)]
pub struct RequestReader {
    /// What has arrived and is not used.
    input: Vec<u8>,
    /// Octets of `input` in which the end of the head was looked for: a head is parsed again for each line that has
    /// arrived, and not for each octet.
    seen: usize,
    head: Option<Head>,
    body: Vec<u8>,
    progress: Progress,
}

/// How far the body is.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
enum Progress {
    /// The head is still in the input.
    #[default]
    Head,
    /// So many octets of it are missing, in this chunk or at all.
    Octets(usize),
    /// The line of a chunk is next.
    ChunkLine,
    /// The end of a chunk is next.
    ChunkEnd,
    /// The last chunk was read, and so many octets of what follows.
    Trailer(usize),
}

impl RequestReader {
    /// Octets have arrived.
    pub fn push(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
    }

    /// True if nothing of a request has arrived. Empty lines in front of one are nothing (RFC 9112, section 2.2).
    pub fn is_idle(&self) -> bool {
        self.head.is_none() && self.input.iter().all(|octet| matches!(octet, b'\r' | b'\n'))
    }

    /// Octets that wait behind the request in hand, or are the beginning of one.
    pub fn ahead_bytes(&self) -> usize {
        self.input.len()
    }

    /// Octets of memory held.
    pub fn memory(&self) -> usize {
        self.input.capacity() + self.body.capacity()
    }

    /// The head of the next request, once it is whole.
    pub fn head(&mut self) -> Result<Option<&Head>, Malformed> {
        if self.head.is_none() {
            let front = &self.input[..self.input.len().min(UPGRADE_BYTES_MAX)];
            let new = front[self.seen..].iter().rposition(|octet| *octet == b'\n');
            let end = new.map_or(0, |last| self.seen + last + 1);
            self.seen = front.len();
            if end > 0 {
                self.head = read_head(&front[..end])?;
            }
            if self.head.is_none() && front.len() == UPGRADE_BYTES_MAX {
                return Err(Malformed::HeadTooLarge);
            }
        }
        Ok(self.head.as_ref())
    }

    /// The octets of the head in hand; nothing of its body may have been asked for.
    pub fn head_octets(&self) -> &[u8] {
        debug_assert_eq!(self.progress, Progress::Head, "the head is still in the input");
        let head_bytes = self.head.as_ref().map_or(0, |head| head.bytes);
        &self.input[..head_bytes]
    }

    /// The request with this head and its body of at most `body_bytes_max` octets, once it is whole.
    pub fn request(&mut self, body_bytes_max: usize) -> Result<Option<(Head, Vec<u8>)>, Malformed> {
        let Some(head) = &self.head else { return Ok(None) };
        let mut used = 0;
        if self.progress == Progress::Head {
            used = head.bytes;
            self.progress = match head.body {
                BodyLength::Octets(length) if length > body_bytes_max => return Err(Malformed::BodyTooLarge),
                BodyLength::Octets(length) => Progress::Octets(length),
                BodyLength::Chunked => Progress::ChunkLine,
            };
        }
        let whole = match head.body {
            BodyLength::Octets(_) => self.read_octets(&mut used) == 0,
            BodyLength::Chunked => self.read_chunks(&mut used, body_bytes_max)?,
        };
        self.input.drain(..used);
        if !whole {
            return Ok(None);
        }
        if self.input.is_empty() {
            // A connection between two requests holds no buffer.
            self.input = Vec::new();
        }
        self.seen = 0;
        self.progress = Progress::Head;
        Ok(self.head.take().map(|head| (head, std::mem::take(&mut self.body))))
    }

    /// All octets from the head in hand on; nothing of its body may have been asked for.
    pub fn take_octets(&mut self) -> Vec<u8> {
        debug_assert_eq!(self.progress, Progress::Head, "the head is still in the input");
        std::mem::take(self).input
    }

    /// Moves octets of the body; returns how many are still missing.
    fn read_octets(&mut self, used: &mut usize) -> usize {
        let Progress::Octets(missing) = self.progress else { return 0 };
        let there = (self.input.len() - *used).min(missing);
        self.body.extend_from_slice(&self.input[*used..*used + there]);
        *used += there;
        self.progress = Progress::Octets(missing - there);
        missing - there
    }

    /// True if the last chunk and what follows it was read.
    fn read_chunks(&mut self, used: &mut usize, body_bytes_max: usize) -> Result<bool, Malformed> {
        loop {
            let rest = &self.input[*used..];
            match self.progress {
                Progress::ChunkLine => {
                    let Some((line_bytes, length)) = chunk_line(rest)? else { return Ok(false) };
                    if length > (body_bytes_max - self.body.len()) as u64 {
                        return Err(Malformed::BodyTooLarge);
                    }
                    *used += line_bytes;
                    self.progress =
                        if length == 0 { Progress::Trailer(0) } else { Progress::Octets(length as usize) };
                }
                Progress::Octets(_) => {
                    if self.read_octets(used) > 0 {
                        return Ok(false);
                    }
                    self.progress = Progress::ChunkEnd;
                }
                Progress::ChunkEnd => {
                    let Some(end) = rest.first_chunk::<2>() else { return Ok(false) };
                    if end != b"\r\n" {
                        return Err(Malformed::Chunk);
                    }
                    *used += 2;
                    self.progress = Progress::ChunkLine;
                }
                Progress::Trailer(before) => {
                    let Some(end) = rest.iter().position(|octet| *octet == b'\n') else {
                        let too_large = before + rest.len() > TRAILER_BYTES_MAX;
                        return if too_large { Err(Malformed::Chunk) } else { Ok(false) };
                    };
                    *used += end + 1;
                    if matches!(&rest[..end], b"" | b"\r") {
                        return Ok(true);
                    }
                    if before + end + 1 > TRAILER_BYTES_MAX {
                        return Err(Malformed::Chunk);
                    }
                    self.progress = Progress::Trailer(before + end + 1);
                }
                Progress::Head => return Ok(false),
            }
        }
    }
}

/// The line in front of a chunk: its octets and the length it says, once it is whole.
fn chunk_line(rest: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    // A line without a digit must not be taken for the last chunk.
    if rest.first().is_some_and(|octet| !octet.is_ascii_hexdigit()) {
        return Err(Malformed::Chunk);
    }
    let front = &rest[..rest.len().min(CHUNK_LINE_BYTES_MAX)];
    match httparse::parse_chunk_size(front) {
        Ok(Status::Complete((line_bytes, length))) => Ok(Some((line_bytes, length))),
        Ok(Status::Partial) if front.len() < CHUNK_LINE_BYTES_MAX => Ok(None),
        Ok(Status::Partial) | Err(_) => Err(Malformed::Chunk),
    }
}

fn read_head(octets: &[u8]) -> Result<Option<Head>, Malformed> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let bytes = match request.parse(octets) {
        Ok(Status::Complete(bytes)) => bytes,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::HeadTooLarge),
        Err(_) => return Err(Malformed::Head),
    };
    let http_1_0 = request.version == Some(0);
    let hosts = upgrade::values(&request, "host").count();
    if hosts > 1 || hosts == 0 && !http_1_0 {
        return Err(Malformed::Host);
    }
    let method = match request.method {
        Some("POST") => Method::Post,
        Some("OPTIONS") => Method::Options,
        Some("HEAD") => Method::Head,
        _ => Method::Other,
    };
    let asks_to_keep = upgrade::lists(&request, "connection", "keep-alive");
    let keep_alive = !upgrade::lists(&request, "connection", "close") && (!http_1_0 || asks_to_keep);
    let expects_continue = !http_1_0 && upgrade::lists(&request, "expect", "100-continue");
    let upgrade = upgrade::wants_websocket(&request);
    let answering = Answering {
        keep_alive,
        http_1_0,
        head_only: method == Method::Head,
        origin: echo(&request, "origin"),
        headers: echo(&request, "access-control-request-headers"),
        foreign: false,
    };
    let body = body_length(&request, http_1_0)?;
    let path = upgrade::path(request.path.unwrap_or("/")).to_owned();
    let claim = Claim::of(&request);
    Ok(Some(Head { method, path, upgrade, expects_continue, claim, answering, bytes, body }))
}

/// RFC 9112, section 6.3; what it lets a server repair is refused.
fn body_length(request: &Request<'_, '_>, http_1_0: bool) -> Result<BodyLength, Malformed> {
    let mut codings = upgrade::tokens(request, "transfer-encoding");
    let mut lengths = upgrade::values(request, "content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(BodyLength::Octets(0)),
        (Some(_), Some(_)) => Err(Malformed::Length),
        (Some(_), None) if http_1_0 => Err(Malformed::Length),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() => {
            Ok(BodyLength::Chunked)
        }
        (Some(_), None) => Err(Malformed::TransferCoding),
        (None, Some(length)) if lengths.next().is_none() && length.iter().all(u8::is_ascii_digit) => {
            let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
            length.map(BodyLength::Octets).ok_or(Malformed::Length)
        }
        (None, Some(_)) => Err(Malformed::Length),
    }
}

/// The value of a header that is said back, if it can be: nothing but visible ASCII and spaces.
fn echo(request: &Request<'_, '_>, name: &str) -> Option<String> {
    let value = upgrade::one(request, name).filter(|value| value.len() <= ECHO_BYTES_MAX)?;
    let plain = value.iter().all(|octet| matches!(octet, b' '..=b'~'));
    (plain && !value.is_empty()).then(|| String::from_utf8_lossy(value).into_owned())
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<'a> {
    /// Code and phrase.
    pub status: &'static str,
    /// What the body is; there is none without.
    pub content_type: Option<&'static str>,
    /// Whole lines beside those every answer has.
    pub headers: &'static str,
    /// The body.
    pub body: Cow<'a, [u8]>,
}

/// What a text for people is.
pub const TEXT: &str = "text/plain; charset=utf-8";

impl Answer<'_> {
    /// Nothing.
    ///
    /// The specification says "202 (no content)", which are two different things. Crossbar.io answers with 204, and
    /// autobahn-js takes every other status but 200 for a failure.
    pub const fn nothing() -> Answer<'static> {
        Answer { status: "204 No Content", content_type: None, headers: "", body: Cow::Borrowed(b"") }
    }

    /// Appends the answer. The origin is said back with leave to send credentials, as Crossbar.io does: autobahn-js
    /// asks for it in every request. No cookie means anything here, and who does not know the id of a transport
    /// cannot reach it, so this opens nothing that a WebSocket from any page does not.
    pub fn write(&self, answering: &Answering, out: &mut Vec<u8>) {
        let mut line = |parts: &[&str]| {
            parts.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
            out.extend_from_slice(b"\r\n");
        };
        line(&["HTTP/1.1 ", self.status]);
        line(&["Server: fanwire"]);
        line(&["Cache-Control: no-store"]);
        line(&["X-Content-Type-Options: nosniff"]);
        match &answering.origin {
            _ if answering.foreign => {}
            None => line(&["Access-Control-Allow-Origin: *"]),
            Some(origin) => {
                line(&["Access-Control-Allow-Origin: ", origin]);
                line(&["Access-Control-Allow-Credentials: true"]);
                line(&["Vary: Origin"]);
            }
        }
        match (answering.keep_alive, answering.http_1_0) {
            (false, _) => line(&["Connection: close"]),
            (true, true) => line(&["Connection: keep-alive"]),
            (true, false) => {}
        }
        if let Some(content_type) = self.content_type {
            line(&["Content-Type: ", content_type]);
            line(&["Content-Length: ", itoa::Buffer::new().format(self.body.len())]);
        }
        out.extend_from_slice(self.headers.as_bytes());
        if let Some(headers) = answering.headers.as_ref().filter(|_| self.headers == PREFLIGHT) {
            for part in ["Access-Control-Allow-Headers: ", headers, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        if !answering.head_only {
            out.extend_from_slice(&self.body);
        }
    }
}

/// What a browser is told that asks whether it may ask.
pub const PREFLIGHT: &str =
    "Access-Control-Allow-Methods: POST\r\nAccess-Control-Max-Age: 600\r\nAllow: POST, OPTIONS\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    /// All requests of a stream, fed in pieces of `piece` octets, up to the first error.
    fn read(stream: &[u8], piece: usize) -> (Vec<(Head, Vec<u8>)>, Option<Malformed>) {
        let (mut reader, mut requests) = (RequestReader::default(), Vec::new());
        for octets in stream.chunks(piece) {
            reader.push(octets);
            loop {
                if let Err(malformed) = reader.head() {
                    return (requests, Some(malformed));
                }
                match reader.request(100) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(malformed) => return (requests, Some(malformed)),
                }
            }
        }
        (requests, None)
    }

    /// The same, whatever the cuts.
    fn read_all_cuts(stream: &[u8]) -> (Vec<(Head, Vec<u8>)>, Option<Malformed>) {
        let whole = read(stream, stream.len());
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(read(stream, piece), whole, "{}", String::from_utf8_lossy(stream));
        }
        whole
    }

    fn bodies(stream: &str) -> Vec<String> {
        let (requests, malformed) = read_all_cuts(stream.as_bytes());
        assert_eq!(malformed, None, "{stream}");
        requests.into_iter().map(|(_, body)| String::from_utf8(body).unwrap()).collect()
    }

    fn refused(stream: &str) -> Malformed {
        read_all_cuts(stream.as_bytes()).1.unwrap_or_else(|| panic!("accepted: {stream}"))
    }

    const POST: &str = "POST /lp/open?x=1 HTTP/1.1\r\nHost: a\r\n";

    #[test]
    fn requests_follow_one_another() {
        let chunked =
            "Transfer-Encoding: Chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n";
        let stream = format!("{POST}Content-Length: 2\r\n\r\nhi\r\n{POST}{chunked}{POST}\r\n{POST}{chunked}");
        assert_eq!(bodies(&stream), ["hi", "abc0123456789", "", "abc0123456789"]);
        assert_eq!(bodies(&format!("{POST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")), [""]);
    }

    #[test]
    fn a_head_says_how_to_answer() {
        let head = |lines: &str| read(format!("{lines}\r\n").as_bytes(), 1000).0.remove(0).0;
        let plain = head(POST);
        assert_eq!((plain.method, &*plain.path), (Method::Post, "/lp/open"));
        assert!(plain.answering.keep_alive && !plain.expects_continue && !plain.upgrade);
        assert!(!head(&format!("{POST}Connection: x, Close\r\n")).answering.keep_alive);
        assert!(!head("POST /lp HTTP/1.0\r\n").answering.keep_alive);
        assert!(head("POST /lp HTTP/1.0\r\nConnection: keep-alive\r\n").answering.keep_alive);
        assert!(head(&format!("{POST}Expect: 100-continue\r\n")).expects_continue);
        assert_eq!(head("OPTIONS http://a:1/lp?x HTTP/1.1\r\nHost: a:1\r\n").path, "/lp");
        let origin = |value: &str| head(&format!("{POST}Origin: {value}\r\n")).answering.origin;
        assert_eq!(origin("https://a.example"), Some("https://a.example".to_owned()));
        assert_eq!(origin("\u{e9}"), None);
        assert_eq!(origin(&"x".repeat(ECHO_BYTES_MAX + 1)), None);
    }

    #[test]
    fn what_leaves_a_doubt_is_refused() {
        for (lines, malformed) in [
            ("Content-Length: 1\r\nContent-Length: 1\r\n\r\na", Malformed::Length),
            ("Content-Length: 1, 1\r\n\r\na", Malformed::Length),
            ("Content-Length: +1\r\n\r\na", Malformed::Length),
            ("Content-Length: \r\n\r\n", Malformed::Length),
            ("Content-Length: 99999999999999999999\r\n\r\n", Malformed::Length),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::Length),
            ("Content-Length: 101\r\n\r\n", Malformed::BodyTooLarge),
            ("Transfer-Encoding: gzip, chunked\r\n\r\n", Malformed::TransferCoding),
            ("Transfer-Encoding: chunked, chunked\r\n\r\n", Malformed::TransferCoding),
            ("Transfer-Encoding: identity\r\n\r\n", Malformed::TransferCoding),
            ("Transfer-Encoding: chunked\r\n\r\n\r\n", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\nx\r\n", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\n-1\r\n", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\nabc", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\n65\r\n", Malformed::BodyTooLarge),
            ("Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", Malformed::BodyTooLarge),
            ("Transfer-Encoding: chunked\r\n\r\n64\r\n", Malformed::BodyTooLarge),
            (" folded: 1\r\n\r\n", Malformed::Head),
            ("Host: b\r\n\r\n", Malformed::Host),
        ] {
            if lines.ends_with("64\r\n") {
                // Exactly the bound is not above it.
                assert_eq!(read_all_cuts(format!("{POST}{lines}").as_bytes()).1, None);
                continue;
            }
            assert_eq!(refused(&format!("{POST}{lines}")), malformed, "{lines}");
        }
        assert_eq!(refused("POST /lp HTTP/1.1\r\n\r\n"), Malformed::Host);
        assert_eq!(refused("POST /lp HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Malformed::Length);
        assert_eq!(refused("POST /lp HTTP/2.0\r\n\r\n"), Malformed::Head);
        assert_eq!(refused("{\"protocols\": []}\r\n"), Malformed::Head);
    }

    #[test]
    fn lines_without_end_are_refused() {
        let long = "x".repeat(UPGRADE_BYTES_MAX);
        assert_eq!(refused(&format!("{POST}{long}")), Malformed::HeadTooLarge);
        assert_eq!(
            refused(&format!("{POST}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX))),
            Malformed::HeadTooLarge
        );
        let chunked = format!("{POST}Transfer-Encoding: chunked\r\n\r\n");
        assert_eq!(refused(&format!("{chunked}1;{}", &long[..CHUNK_LINE_BYTES_MAX])), Malformed::Chunk);
        assert_eq!(refused(&format!("{chunked}0\r\n{}", &long[..TRAILER_BYTES_MAX + 1])), Malformed::Chunk);
        let trailer = "a: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1);
        assert_eq!(refused(&format!("{chunked}0\r\n{trailer}")), Malformed::Chunk);
    }

    #[test]
    fn an_answer_says_what_the_request_needs() {
        let text = |status, body: &'static str| Answer {
            status,
            content_type: Some(TEXT),
            headers: "",
            body: Cow::Borrowed(body.as_bytes()),
        };
        let written = |answering: Answering, answer: &Answer<'_>| {
            let mut out = Vec::new();
            answer.write(&answering, &mut out);
            String::from_utf8(out).unwrap()
        };
        let kept = Answering { keep_alive: true, ..Answering::default() };
        let gone = written(kept.clone(), &text("404 Not Found", "gone\n"));
        assert!(gone.starts_with("HTTP/1.1 404 Not Found\r\n") && gone.ends_with("\r\n\r\ngone\n"), "{gone}");
        assert!(gone.contains("Content-Length: 5\r\n") && !gone.contains("Connection:"), "{gone}");
        assert!(gone.contains("Access-Control-Allow-Origin: *\r\n"), "{gone}");
        let nothing = written(Answering::default(), &Answer::nothing());
        assert!(nothing.contains("Connection: close\r\n") && !nothing.contains("\r\nContent-"), "{nothing}");
        let browser = Answering { origin: Some("null".into()), headers: Some("x-a".into()), ..kept };
        let preflight = written(browser.clone(), &Answer { headers: PREFLIGHT, ..Answer::nothing() });
        assert!(preflight.contains("Access-Control-Allow-Origin: null\r\n"), "{preflight}");
        assert!(preflight.contains("Access-Control-Allow-Credentials: true\r\n"), "{preflight}");
        assert!(preflight.contains("Access-Control-Allow-Headers: x-a\r\n"), "{preflight}");
        let head = written(Answering { head_only: true, ..browser }, &text("200 OK", "page"));
        assert!(head.contains("Content-Length: 4\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    }
}
