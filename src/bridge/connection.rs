//! The connections of long-poll clients: what each of their requests is for, and the answers that are always the same.
//!
//! A connection is read request by request; it knows nothing of other connections, and transports only by key.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use super::http::{Answer, Answering, Head, Malformed, Method, RequestReader, TEXT};
use super::longpoll::TransportKey;
use super::polled::Outbound;
use crate::codec;
use crate::transport::Settings;
use crate::transport::pages::Claim;
use crate::transport::upgrade::{self, RequestHead};
use crate::wamp::{Serializer, Value};

/// Octets of a body that is not `send`'s.
const SMALL_BODY_BYTES_MAX: usize = 4096;

/// One connection of a client.
#[derive(Debug)]
pub(super) struct Connection {
    /// What its listener allows.
    pub settings: Arc<Settings>,
    /// Its requests.
    pub reader: RequestReader,
    /// Its answers.
    pub outbound: Outbound,
    /// What it waits for.
    pub state: State,
    /// What the answer to the request in hand must heed.
    pub answering: Answering,
    /// What the head that was read asks for.
    target: Option<Target>,
    /// The head of the request that opens a transport, while that is in hand.
    pub opening: RequestHead,
    /// The client was told that its body is welcome.
    continued: bool,
    /// The client has ended its side.
    pub input_ended: bool,
    /// The shell was told to shut the writing side down.
    pub shut: bool,
    /// When the first octet of the request came.
    pub began: Option<Instant>,
    /// Since when its socket has taken nothing of what waits for it.
    pub stalled: Option<Instant>,
    /// Octets of memory, as counted.
    pub held: usize,
    /// When something must be done about it.
    pub deadline: Option<Instant>,
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// A request, or the end of one.
    Reading,
    /// The stream of the transport it opens.
    Opening(TransportKey),
    /// Messages.
    Receiving(TransportKey),
    /// A stream that takes its messages.
    Sending(TransportKey),
    /// The end of the client's side; the last answer is queued, or written.
    Closing,
}

/// What a request is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// Nothing here.
    Elsewhere,
    /// A page that may not connect.
    Foreign(Claim),
    /// The browser asks first.
    Preflight,
    /// Only POST is served.
    NotPost,
    /// No such place.
    Unknown,
    /// A new transport.
    Open,
    /// Messages of the transport with this id.
    Receive(String),
    /// Messages for it.
    Send(String),
    /// Its end.
    Close(String),
}

impl Connection {
    /// A connection on which nothing has come.
    pub fn new(settings: Arc<Settings>) -> Connection {
        Connection {
            settings,
            reader: RequestReader::default(),
            outbound: Outbound::default(),
            state: State::Reading,
            answering: Answering::default(),
            target: None,
            opening: RequestHead::default(),
            continued: false,
            input_ended: false,
            shut: false,
            began: None,
            stalled: None,
            held: 0,
            deadline: None,
        }
    }

    /// Octets of memory held for requests and answers.
    pub fn memory(&self) -> usize {
        self.reader.memory() + self.outbound.memory() + self.opening.bytes()
    }

    /// Queues the answer to the request in hand; the `last` one ends the connection.
    pub fn answer(&mut self, answer: &Answer<'_>, last: bool, now: Instant) {
        let mut answering = std::mem::take(&mut self.answering);
        answering.keep_alive &= !last;
        answer.write(&answering, self.outbound.end());
        self.continued = false;
        if answering.keep_alive {
            self.state = State::Reading;
        } else {
            self.state = State::Closing;
            self.reader = RequestReader::default();
        }
        self.began = (!self.reader.is_idle()).then_some(now);
    }

    /// The next request and its body, once it is whole. What is for somebody else is left where it is.
    pub fn next_request(&mut self) -> Result<Option<(Target, Vec<u8>)>, Malformed> {
        let Some(head) = self.reader.head()? else { return Ok(None) };
        let expects_continue = head.expects_continue;
        let target = match self.target.take() {
            Some(target) => target,
            None => {
                self.answering = head.answering.clone();
                let target = Target::of(head, &self.settings);
                self.answering.foreign = matches!(target, Target::Foreign(_));
                if target == Target::Open {
                    self.opening = RequestHead::of(self.reader.head_octets());
                }
                target
            }
        };
        let body_bytes_max = match target {
            Target::Elsewhere => return Ok(Some((target, Vec::new()))),
            // As for WebSocket, the limit holds for a batch with all that is in it.
            Target::Send(_) => self.settings.message_bytes_max,
            _ => SMALL_BODY_BYTES_MAX,
        };
        if let Some((_, body)) = self.reader.request(body_bytes_max)? {
            return Ok(Some((target, body)));
        }
        self.target = Some(target);
        if expects_continue && !self.continued {
            self.continued = true;
            self.outbound.end().extend_from_slice(CONTINUE);
        }
        Ok(None)
    }
}

impl Target {
    fn of(head: &Head, settings: &Settings) -> Target {
        let below = settings
            .longpoll
            .as_deref()
            .filter(|_| !head.upgrade)
            .and_then(|base| upgrade::below(&head.path, base));
        let Some(below) = below else { return Target::Elsewhere };
        if !settings.pages.origins.allow(&head.claim) {
            return Target::Foreign(head.claim.clone());
        }
        match head.method {
            Method::Options => return Target::Preflight,
            Method::Head | Method::Other => return Target::NotPost,
            Method::Post => {}
        }
        let mut parts = below.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("open"), None, _) => Target::Open,
            (Some(id), Some("receive"), None) => Target::Receive(id.to_owned()),
            (Some(id), Some("send"), None) => Target::Send(id.to_owned()),
            (Some(id), Some("close"), None) => Target::Close(id.to_owned()),
            _ => Target::Unknown,
        }
    }
}

/// The protocols that the body of `open` offers, in its order: its preference.
pub(super) fn protocols(body: &[u8]) -> Option<Vec<String>> {
    let Value::Dict(offer) = codec::value(codec::check(Serializer::Json, body).ok()?) else { return None };
    let (_, protocols) = codec::entries(&offer).find(|(key, _)| key == "protocols")?;
    let Value::List(protocols) = protocols else { return None };
    let texts = codec::items(&protocols).map(|protocol| match protocol {
        Value::Text(text) => Some(text.into_owned()),
        _ => None,
    });
    texts.collect()
}

/// What a page is told that may not connect.
pub(super) const FOREIGN: Answer<'_> = text("403 Forbidden", upgrade::FOREIGN);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const BAD_REQUEST: &str = "400 Bad Request";
/// What the answer to `open` is.
pub(super) const JSON: &str = "application/json; charset=utf-8";
pub(super) const NO_PROTOCOLS: Answer<'_> =
    text(BAD_REQUEST, "The body of `open` is a JSON object with a list of texts, \"protocols\".\n");
pub(super) const NO_COMMON_PROTOCOL: Answer<'_> =
    text(BAD_REQUEST, "None of the protocols is spoken here; wamp.2.json is.\n");
pub(super) const UNDECODABLE: Answer<'_> = text(
    BAD_REQUEST,
    "The body is no message of the protocol that was agreed on, or no batch of them; BJData is no UBJSON.\n",
);
pub(super) const GONE: Answer<'_> = text("404 Not Found", "There is no such transport, or it has ended.\n");
pub(super) const UNKNOWN: Answer<'_> = text(
    "404 Not Found",
    "Long-poll has open, <transport>/receive, <transport>/send and <transport>/close.\n",
);
pub(super) const LATE: Answer<'_> = text("408 Request Timeout", "The request took too long.\n");
pub(super) const FULL: Answer<'_> =
    text("503 Service Unavailable", "The router is full or shutting down; try again later.\n");
pub(super) const NOT_POST: Answer<'_> = Answer {
    status: "405 Method Not Allowed",
    content_type: Some(TEXT),
    headers: "Allow: POST, OPTIONS\r\n",
    body: Cow::Borrowed(b"This is WAMP's long-poll transport; all its requests are POST.\n"),
};

/// A sentence for people.
pub(super) const fn text(status: &'static str, text: &'static str) -> Answer<'static> {
    Answer { status, content_type: Some(TEXT), headers: "", body: Cow::Borrowed(text.as_bytes()) }
}
