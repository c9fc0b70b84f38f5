//! WAMP as a load generator speaks it: over RawSocket or WebSocket, in any serializer, in several of them at once.
//!
//! Owns the handshakes, the few message types a benchmark meets, and the names of topics and procedures. What is sent
//! often is encoded once (`template`) and copied; of what is received the type code, an invocation's id and the stamp
//! are read (`walk`); everything rare goes through [`crate::codec`].
//!
//! Spec: basic profile, "Sessions", "Publish and Subscribe", "Remote Procedure Calls"; advanced profile, "RawSocket
//! Transport", "Pattern-based Subscriptions"; RFC 6455.

mod template;
mod walk;

use super::{Dialect, Ending, Incoming, Next, Role, Stamp};
use crate::codec;
use crate::limits::{MESSAGE_BYTES_CEILING, UPGRADE_BYTES_MAX};
use crate::transport::rawsocket::{self, HandshakeError};
use crate::wamp::message::{self, Message, code};
use crate::wamp::{Dict, MatchPolicy, RequestId, Serializer, Value};
use template::Template;
use walk::Frame;

/// What a connection speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// WebSocket frames; otherwise those of RawSocket.
    pub websocket: bool,
    /// The serializer of both directions.
    pub serializer: Serializer,
}

/// What the messages of a run look like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The realm to join.
    pub realm: String,
    /// The name to join under.
    pub authid: Option<String>,
    /// In front of the numbers of topics and procedures; another one for each run, so that runs do not meet.
    pub prefix: String,
    /// Octets of the one text that is the payload; a stamp's at least.
    pub payload_bytes: usize,
    /// How topics are subscribed to.
    pub policy: MatchPolicy,
    /// Host and port for the upgrade request.
    pub host: String,
    /// Path for the upgrade request.
    pub path: String,
    /// In which ways connections speak; one at least.
    pub ways: Vec<Way>,
}

/// The dialect.
#[derive(Debug)]
pub struct Wamp {
    options: Options,
    ways: Vec<Frames>,
}

/// What is sent in one way, encoded.
#[derive(Debug)]
struct Frames {
    way: Way,
    /// The transport's handshake.
    opening: Vec<u8>,
    hello: Vec<u8>,
    publish: Template,
    call: Template,
    answer: Template,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Session {
    role: Role,
    way: u8,
    step: Step,
    /// Octets behind the stamp in what this connection receives.
    tail: u16,
    /// Answers that are missing until it is ready.
    awaited: u32,
    /// The last request that was sent (basic profile, "Session Scope IDs": they count 1, 2, 3).
    request: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The transport is being opened.
    Opening,
    /// HELLO was sent.
    Joining,
    /// SUBSCRIBE or REGISTER were sent.
    Preparing,
    Ready,
}

impl Wamp {
    /// Encodes all that will be sent often.
    pub fn new(options: Options) -> Wamp {
        let ways = options.ways.iter().map(|way| Frames::new(*way, &options)).collect();
        Wamp { options, ways }
    }

    fn on_opening(&self, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Next {
        let frames = &self.ways[usize::from(session.way)];
        let taken = if frames.way.websocket { upgraded(input)? } else { opened(input, frames.way)? };
        let Some(taken) = taken else { return Ok(None) };
        session.step = Step::Joining;
        out.extend_from_slice(&frames.hello);
        Ok(Some((taken, Incoming::Handshake)))
    }

    /// A message that is neither EVENT nor RESULT nor INVOCATION.
    #[cold]
    fn on_message(
        &self,
        session: &mut Session,
        message: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Incoming, Ending> {
        let serializer = self.ways[usize::from(session.way)].way.serializer;
        let message =
            codec::decode(serializer, message).map_err(|error| Ending::Protocol(error.to_string()))?;
        Ok(match message {
            Message::Welcome(_) if session.step == Step::Joining => self.on_welcome(session, out),
            Message::Subscribed(_) | Message::Registered(_) if session.step == Step::Preparing => {
                session.awaited = session.awaited.saturating_sub(1);
                ready_if(session, session.awaited == 0)
            }
            Message::Published(_) => Incoming::Acknowledged,
            Message::Error(error) if session.step != Step::Ready => {
                return Err(Ending::Refused(error.error.into_owned()));
            }
            Message::Error(error) if error.request_type == code::CALL => {
                Incoming::Failed(error.request.0.saturating_sub(1))
            }
            Message::Abort(abort) => return Err(Ending::Aborted(words(&abort.reason, &abort.details))),
            Message::Goodbye(goodbye) => {
                return Err(Ending::Goodbye(words(&goodbye.reason, &goodbye.details)));
            }
            Message::Challenge(challenge) => {
                return Err(Ending::Aborted(format!("it asks for authentication: {}", challenge.authmethod)));
            }
            _ => Incoming::Other,
        })
    }

    fn on_welcome(&self, session: &mut Session, out: &mut Vec<u8>) -> Incoming {
        let way = self.ways[usize::from(session.way)].way;
        session.step = Step::Preparing;
        match session.role {
            Role::Subscriber { first, count } => {
                for topic in first..first.saturating_add(count) {
                    session.request += 1;
                    self.subscribe(way, session.request, topic, out);
                }
                session.awaited = count;
            }
            Role::Callee { procedure } => {
                session.request += 1;
                session.awaited = 1;
                let procedure = procedure_name(&self.options, procedure).into();
                let request = RequestId(session.request);
                let register = message::Register { request, options: Dict::EMPTY, procedure };
                template::push_frame(way, &Message::Register(register), out);
            }
            Role::Publisher | Role::Caller | Role::Idle => {}
        }
        ready_if(session, session.awaited == 0)
    }

    fn subscribe(&self, way: Way, request: u64, topic: u32, out: &mut Vec<u8>) {
        let policy = [("match", Value::text(self.options.policy.name()))];
        let options = match self.options.policy {
            MatchPolicy::Exact => Dict::EMPTY,
            MatchPolicy::Prefix | MatchPolicy::Wildcard => Dict::Pairs(&policy),
        };
        let topic = subscribed_name(&self.options, topic).into();
        let subscribe = message::Subscribe { request: RequestId(request), options, topic };
        template::push_frame(way, &Message::Subscribe(subscribe), out);
    }
}

impl Dialect for Wamp {
    type Session = Session;

    fn session(&self, role: Role, way: usize) -> Session {
        let way = (way % self.ways.len()) as u8;
        Session { role, way, step: Step::Opening, tail: 0, awaited: 0, request: 0 }
    }

    fn open(&self, session: &mut Session, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ways[usize::from(session.way)].opening);
    }

    #[inline]
    fn next(&self, session: &mut Session, input: &[u8], out: &mut Vec<u8>) -> Next {
        if session.step == Step::Opening {
            return self.on_opening(session, input, out);
        }
        let way = self.ways[usize::from(session.way)].way;
        let Some((octets, frame)) = walk::frame(way, input)? else { return Ok(None) };
        let message = match frame {
            Frame::Message(message) => message,
            Frame::Ping(payload) => {
                walk::push_pong(way, payload, out);
                return Ok(Some((octets, Incoming::Other)));
            }
            Frame::Pong => return Ok(Some((octets, Incoming::Other))),
        };
        let incoming = match walk::code(way.serializer, message) {
            Some((code::EVENT, _)) => Incoming::Event(stamp(session, message)?),
            Some((code::RESULT, _)) => Incoming::Result(stamp(session, message)?),
            Some((code::INVOCATION, behind)) => {
                let request = walk::number(way.serializer, &message[behind..])
                    .ok_or_else(|| Ending::Protocol("an invocation without a number".to_owned()))?;
                Incoming::Invocation { request, stamp: stamp(session, message)? }
            }
            _ => self.on_message(session, message, out)?,
        };
        Ok(Some((octets, incoming)))
    }

    #[inline]
    fn publish(&self, session: &mut Session, topic: u32, stamp: Stamp, out: &mut Vec<u8>) {
        session.request += 1;
        let frames = &self.ways[usize::from(session.way)];
        frames.publish.push(frames.way, session.request, topic, stamp, out);
    }

    #[inline]
    fn call(&self, session: &mut Session, procedure: u32, stamp: Stamp, out: &mut Vec<u8>) {
        session.request += 1;
        let frames = &self.ways[usize::from(session.way)];
        frames.call.push(frames.way, session.request, procedure, stamp, out);
    }

    #[inline]
    fn answer(&self, session: &mut Session, request: u64, stamp: Stamp, out: &mut Vec<u8>) {
        let frames = &self.ways[usize::from(session.way)];
        frames.answer.push(frames.way, request, 0, stamp, out);
    }

    fn frame_bytes_max(&self) -> usize {
        // A router may add details, such as the topic of a pattern's event.
        self.options.payload_bytes + 4096
    }
}

impl Frames {
    fn new(way: Way, options: &Options) -> Frames {
        Frames {
            way,
            opening: if way.websocket { upgrade(way, options) } else { handshake(way) },
            hello: hello(way, options),
            publish: Template::publish(way, &published_name(options, 0), options.payload_bytes),
            call: Template::call(way, &procedure_name(options, 0), options.payload_bytes),
            answer: Template::answer(way, options.payload_bytes),
        }
    }
}

/// The session as it is after another answer.
fn ready_if(session: &mut Session, ready: bool) -> Incoming {
    if !ready {
        return Incoming::Handshake;
    }
    session.step = Step::Ready;
    Incoming::Ready
}

#[inline]
fn stamp(session: &mut Session, message: &[u8]) -> Result<Stamp, Ending> {
    Stamp::find(message, &mut session.tail)
        .ok_or_else(|| Ending::Protocol("a delivery whose payload is not what was sent".to_owned()))
}

/// A reason, and the message for people that came with it.
fn words(reason: &str, details: &Dict<'_>) -> String {
    let message = codec::entries(details).find(|(key, _)| key == "message");
    match message {
        Some((_, Value::Text(text))) => format!("{reason} ({text})"),
        _ => reason.to_owned(),
    }
}

fn subscribed_name(options: &Options, number: u32) -> String {
    let tail = match options.policy {
        MatchPolicy::Exact | MatchPolicy::Prefix => "",
        MatchPolicy::Wildcard => "..event",
    };
    format!("{}.{number:08}{tail}", options.prefix)
}

/// What is published to reach the subscription of that number, and no other one.
fn published_name(options: &Options, number: u32) -> String {
    let tail = match options.policy {
        MatchPolicy::Exact => "",
        MatchPolicy::Prefix => ".event",
        MatchPolicy::Wildcard => ".any.event",
    };
    format!("{}.{number:08}{tail}", options.prefix)
}

fn procedure_name(options: &Options, number: u32) -> String {
    format!("{}.{number:08}", options.prefix)
}

fn hello(way: Way, options: &Options) -> Vec<u8> {
    let roles = ["publisher", "subscriber", "caller", "callee"].map(|role| (role, Value::Dict(Dict::EMPTY)));
    let mut details = vec![
        ("roles", Value::Dict(Dict::Pairs(&roles))),
        ("agent", Value::text(concat!("fanwire-bench/", env!("CARGO_PKG_VERSION")))),
    ];
    if let Some(authid) = &options.authid {
        details.push(("authid", Value::text(authid)));
    }
    let hello = message::Hello { realm: options.realm.as_str().into(), details: Dict::Pairs(&details) };
    let mut out = Vec::new();
    template::push_frame(way, &Message::Hello(hello), &mut out);
    out
}

fn handshake(way: Way) -> Vec<u8> {
    rawsocket::Handshake::new(way.serializer, MESSAGE_BYTES_CEILING).octets().to_vec()
}

/// The upgrade request. The key is the same for all connections, since nobody is to be protected from a cache here.
fn upgrade(way: Way, options: &Options) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: ZmFud2lyZS1iZW5jaC0xNg==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: wamp.2.{serializer}\r\n\r\n",
        path = options.path,
        host = options.host,
        serializer = way.serializer.name(),
    )
    .into_bytes()
}

/// Octets of the answer to a RawSocket handshake, if it is whole.
fn opened(input: &[u8], way: Way) -> Result<Option<usize>, Ending> {
    let refused = |what: &str| Err(Ending::Handshake(what.to_owned()));
    let Some(octets) = input.first_chunk().copied() else {
        return if input.first().is_some_and(|octet| *octet != rawsocket::MAGIC) {
            refused("what answers there does not speak RawSocket")
        } else {
            Ok(None)
        };
    };
    if octets[0] != rawsocket::MAGIC {
        return refused("what answers there does not speak RawSocket");
    }
    match (HandshakeError::read(octets), rawsocket::Handshake::read(octets)) {
        (Some(HandshakeError::Serializer), _) => refused("the router does not speak this serializer"),
        (Some(HandshakeError::ConnectionLimit), _) => refused("the router has too many connections"),
        (Some(_), _) => refused("the router refused the RawSocket handshake"),
        (None, Ok(router)) if router.serializer == way.serializer => Ok(Some(rawsocket::HEADER_BYTES)),
        (None, _) => refused("RawSocket was opened with another serializer"),
    }
}

/// Octets of the answer to the upgrade request, if it is whole.
fn upgraded(input: &[u8]) -> Result<Option<usize>, Ending> {
    const STATUS: &[u8] = b"HTTP/1.1 101";
    let begun = input.len().min(STATUS.len());
    let head = input.windows(4).position(|window| window == b"\r\n\r\n");
    if input[..begun] == STATUS[..begun] {
        if head.is_none() && input.len() > UPGRADE_BYTES_MAX {
            return Err(Ending::Handshake("the answer to the upgrade is too long".to_owned()));
        }
        return Ok(head.map(|end| end + 4));
    }
    if !input.starts_with(&b"HTTP/"[..input.len().min(5)]) {
        return Err(Ending::Handshake("what answers there does not speak HTTP".to_owned()));
    }
    let Some(end) = input.iter().position(|octet| *octet == b'\r') else { return Ok(None) };
    let status = String::from_utf8_lossy(&input[..end]);
    let status = status.split_once(' ').map_or("", |(_, status)| status);
    Err(Ending::Handshake(format!("WebSocket was refused: HTTP status {status}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transport::{Inbound, Settings, Transport};

    fn wamp(way: Way, policy: MatchPolicy) -> Wamp {
        Wamp::new(Options {
            realm: "realm1".to_owned(),
            authid: None,
            prefix: "bench.p7".to_owned(),
            payload_bytes: 64,
            policy,
            host: "router:8080".to_owned(),
            path: "/ws".to_owned(),
            ways: vec![way],
        })
    }

    /// What the router's own transport makes of what was sent: its answer, and the names of the messages.
    fn received(transport: &mut Transport, sent: &mut [u8]) -> (Vec<u8>, Vec<String>) {
        let (mut reply, mut names) = (Vec::new(), Vec::new());
        let mut input = sent;
        loop {
            let serializer = transport.link().map(|link| link.serializer);
            match transport.next(&mut input, &mut reply).unwrap() {
                Inbound::Opened => {}
                Inbound::Message(bytes) => {
                    let message = codec::decode(serializer.unwrap(), bytes).unwrap();
                    names.push(match &message {
                        Message::Subscribe(subscribe) => format!("{} {}", message.name(), subscribe.topic),
                        Message::Publish(publish) => format!("{} {}", message.name(), publish.topic),
                        _ => message.name().to_owned(),
                    });
                }
                Inbound::Incomplete | Inbound::Finished | Inbound::LongPoll => return (reply, names),
            }
        }
    }

    fn answer(way: Way, message: &Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        template::push_frame(Way { websocket: false, ..way }, message, &mut out);
        if way.websocket {
            // The same as a server's frame: no mask.
            let payload = out.split_off(rawsocket::HEADER_BYTES);
            out = [&[0x82, payload.len() as u8][..], &payload].concat();
        }
        out
    }

    #[test]
    fn a_subscriber_joins_and_is_ready_when_all_is_subscribed() {
        for serializer in Serializer::ALL {
            for websocket in [false, true] {
                let way = Way { websocket, serializer };
                let wamp = wamp(way, MatchPolicy::Wildcard);
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
                let mut session = wamp.session(Role::Subscriber { first: 41, count: 2 }, 0);
                let mut out = Vec::new();
                wamp.open(&mut session, &mut out);
                let (reply, _) = received(&mut router, &mut std::mem::take(&mut out));
                for end in 0..reply.len() {
                    assert!(wamp.next(&mut session, &reply[..end], &mut out).unwrap().is_none());
                }
                let opened = wamp.next(&mut session, &reply, &mut out).unwrap();
                assert_eq!(opened, Some((reply.len(), Incoming::Handshake)));
                assert_eq!(received(&mut router, &mut std::mem::take(&mut out)).1, ["HELLO"]);

                let session_id = crate::wamp::SessionId(5);
                let welcome = message::Welcome { session: session_id, details: Dict::EMPTY };
                let welcome = answer(way, &Message::Welcome(welcome));
                let joined = wamp.next(&mut session, &welcome, &mut out).unwrap();
                assert_eq!(joined, Some((welcome.len(), Incoming::Handshake)));
                let again = wamp.next(&mut session, &welcome, &mut Vec::new()).unwrap();
                assert_eq!(again, Some((welcome.len(), Incoming::Other)));
                let (_, names) = received(&mut router, &mut std::mem::take(&mut out));
                let topics = ["SUBSCRIBE bench.p7.00000041..event", "SUBSCRIBE bench.p7.00000042..event"];
                assert_eq!(names, topics);
                for (request, incoming) in [(1, Incoming::Handshake), (2, Incoming::Ready)] {
                    let subscription = crate::wamp::SubscriptionId(request);
                    let request = RequestId(request);
                    let subscribed = message::Subscribed { request, subscription };
                    let subscribed = answer(way, &Message::Subscribed(subscribed));
                    let next = wamp.next(&mut session, &subscribed, &mut out).unwrap();
                    assert_eq!(next, Some((subscribed.len(), incoming)));
                }
                wamp.publish(&mut session, 42, Stamp { sender: 1, sequence: 2 }, &mut out);
                let (_, names) = received(&mut router, &mut std::mem::take(&mut out));
                assert_eq!(names, ["PUBLISH bench.p7.00000042.any.event"]);
            }
        }
    }

    #[test]
    fn refusals_are_told_in_the_routers_words() {
        let way = Way { websocket: false, serializer: Serializer::Json };
        let wamp = wamp(way, MatchPolicy::Exact);
        let details = [("message", Value::text("not here"))];
        let reason = || "wamp.error.no_such_realm".into();
        let payload = crate::wamp::Payload::EMPTY;
        let abort = message::Abort { details: Dict::Pairs(&details), reason: reason(), payload };
        let error = message::Error {
            request_type: code::SUBSCRIBE,
            request: RequestId(1),
            details: Dict::EMPTY,
            error: reason(),
            payload,
        };
        for (message, told) in [
            (Message::Abort(abort), "aborted the session: wamp.error.no_such_realm (not here)"),
            (Message::Error(error), "refused a request: wamp.error.no_such_realm"),
        ] {
            let mut session = Session { step: Step::Preparing, ..wamp.session(Role::Idle, 0) };
            let refused = wamp.next(&mut session, &answer(way, &message), &mut Vec::new()).unwrap_err();
            assert!(refused.to_string().contains(told), "{refused}");
        }
    }

    #[test]
    fn handshakes_that_fail_say_why() {
        let rawsocket = Way { websocket: false, serializer: Serializer::Json };
        for (answer, told) in [
            (&b"HTTP"[..], "does not speak RawSocket"),
            (b"H", "does not speak RawSocket"),
            (&[0x7F, 0x10, 0, 0], "does not speak this serializer"),
            (&[0x7F, 0x40, 0, 0], "too many connections"),
            (&[0x7F, 0xF3, 0, 0], "another serializer"),
        ] {
            assert!(opened(answer, rawsocket).unwrap_err().to_string().contains(told), "{answer:?}");
        }
        for (answer, told) in [
            (&b"HTTP/1.1 403 Forbidden\r\n\r\n"[..], "HTTP status 403 Forbidden"),
            (b"SSH-2.0", "does not speak HTTP"),
        ] {
            assert!(upgraded(answer).unwrap_err().to_string().contains(told), "{answer:?}");
        }
        assert_eq!(upgraded(b"HTTP/1.1 10").unwrap(), None);
        assert_eq!(upgraded(b"HTTP/1.1 101 X\r\nA: b\r\n\r\nmore").unwrap(), Some(24));
    }
}
