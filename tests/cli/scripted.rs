//! The client against routers that do what the real one does not: a thread with the router's own transport and codec,
//! and a script of messages.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fanwire::client::{Client, ClientError, Incoming, Options, Outcome};
use fanwire::codec;
use fanwire::codec::payload::OwnedPayload;
use fanwire::transport::{self, Inbound, Settings, Transport};
use fanwire::wamp::message::{self, Message, code};
use fanwire::wamp::{Dict, Payload, PublicationId, RequestId, Serializer, SessionId, SubscriptionId, Value};

/// The router's end of one connection.
pub struct Peer<S> {
    stream: S,
    transport: Transport,
}

impl<S: Read + Write> Peer<S> {
    pub fn new(stream: S) -> Peer<S> {
        let settings = Settings {
            message_bytes_max: 1 << 20,
            peer_message_bytes_min: 512,
            serializers: [true; Serializer::COUNT],
            rawsocket: true,
            websocket: true,
            longpoll: None,
            pages: Default::default(),
        };
        Peer { stream, transport: Transport::new(Arc::new(settings), false) }
    }

    /// The next message, and its name; none at the end.
    pub fn receive(&mut self) -> Option<(&'static str, RequestId)> {
        self.receive_as(summary)
    }

    /// What is read of the next message; none at the end.
    pub fn receive_as<R>(&mut self, read: impl FnOnce(&Message<'_>) -> R) -> Option<R> {
        let mut buffer = [0; 4096];
        let mut input: &mut [u8] = &mut [];
        loop {
            let mut reply = Vec::new();
            let received = match self.transport.next(&mut input, &mut reply).unwrap() {
                Inbound::Message(bytes) => Some(bytes.to_vec()),
                Inbound::Finished | Inbound::LongPoll => return None,
                Inbound::Opened => Some(Vec::new()),
                Inbound::Incomplete => None,
            };
            self.stream.write_all(&reply).unwrap();
            match received {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    self.transport.keep(input);
                    let serializer = self.transport.link().unwrap().serializer;
                    return Some(read(&codec::decode(serializer, &bytes).unwrap()));
                }
                None => {
                    let count = self.stream.read(&mut buffer).unwrap_or(0);
                    if count == 0 {
                        return None;
                    }
                    input = &mut buffer[..count];
                }
            }
        }
    }

    /// The request of the next message, which must have that name.
    pub fn expect(&mut self, name: &str) -> RequestId {
        let (received, request) = self.receive().expect(name);
        assert_eq!(received, name);
        request
    }

    pub fn send(&mut self, message: &Message<'_>) {
        let link = self.transport.link().unwrap();
        let mut scratch = Vec::new();
        let framed = transport::frame(link.framing, link.serializer, &mut scratch, |out| {
            codec::encode(message, link.serializer, out)
        });
        framed.unwrap();
        self.stream.write_all(&scratch).unwrap();
    }

    /// HELLO and WELCOME.
    pub fn welcome(&mut self) {
        self.expect("HELLO");
        self.send(&Message::Welcome(message::Welcome { session: SessionId(7), details: Dict::EMPTY }));
    }

    /// GOODBYE and its answer, and then the end.
    pub fn goodbye(&mut self) {
        self.expect("GOODBYE");
        let reason = "wamp.close.goodbye_and_out".into();
        self.send(&Message::Goodbye(message::Goodbye { details: Dict::EMPTY, reason }));
        assert!(self.receive().is_none());
    }

    fn ping(&mut self) {
        let mut ping = Vec::new();
        self.transport.ping(&mut ping);
        self.stream.write_all(&ping).unwrap();
    }
}

fn summary(message: &Message<'_>) -> (&'static str, RequestId) {
    let request = match message {
        Message::Subscribe(subscribe) => subscribe.request,
        Message::Register(register) => register.request,
        Message::Call(call) => call.request,
        Message::Cancel(cancel) => cancel.request,
        Message::Yield(answer) => answer.request,
        _ => RequestId::NONE,
    };
    (message.name(), request)
}

/// A router that plays this script for one client, and a client that has joined it.
fn joined(
    url: &str,
    serializer: Serializer,
    script: impl FnOnce(Peer<TcpStream>) + Send + 'static,
) -> (Client, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url.replace("ROUTER", &listener.local_addr().unwrap().to_string());
    let router = thread::spawn(move || {
        let mut peer = Peer::new(listener.accept().unwrap().0);
        peer.welcome();
        script(peer);
    });
    let options = Options { serializer, timeout: Duration::from_secs(30), ..Options::default() };
    let client = Client::connect(&url.parse().unwrap(), &options).unwrap();
    assert_eq!(client.session(), SessionId(7));
    (client, router)
}

fn event(number: u64, payload: Payload<'_>) -> Message<'_> {
    Message::Event(message::Event {
        subscription: SubscriptionId(1),
        publication: PublicationId(number),
        details: Dict::EMPTY,
        payload,
    })
}

const URLS: [&str; 2] = ["ws://ROUTER/ws", "tcp://ROUTER"];

#[test]
fn events_before_a_reply_are_kept_in_order() {
    for url in URLS {
        for serializer in Serializer::ALL {
            let (mut client, router) = joined(url, serializer, |mut peer| {
                let request = peer.expect("SUBSCRIBE");
                let payload = OwnedPayload::from_json(Some("[1]"), None).unwrap();
                peer.send(&event(1, payload.borrow()));
                peer.ping();
                peer.send(&event(2, Payload::EMPTY));
                let subscription = SubscriptionId(1);
                peer.send(&Message::Subscribed(message::Subscribed { request, subscription }));
                peer.send(&event(3, Payload::EMPTY));
                peer.goodbye();
            });
            assert_eq!(client.subscribe("com.a", &[]).unwrap(), SubscriptionId(1));
            for number in 1..=3 {
                match client.receive(None).unwrap() {
                    Incoming::Event(event) => assert_eq!(event.publication, PublicationId(number)),
                    other => panic!("{other:?}"),
                }
            }
            client.leave().unwrap();
            router.join().unwrap();
        }
    }
}

#[test]
fn an_answer_after_the_timeout_is_not_taken_for_another_call() {
    let (mut client, router) = joined("tcp://ROUTER", Serializer::Json, |mut peer| {
        let late = peer.expect("CALL");
        assert_eq!(peer.expect("CANCEL"), late);
        let request = peer.expect("CALL");
        assert_eq!((late, request), (RequestId(1), RequestId(2)));
        for (request, json) in [(late, "[\"late\"]"), (request, "[\"in time\"]")] {
            let payload = OwnedPayload::from_json(Some(json), None).unwrap();
            let (details, payload) = (Dict::EMPTY, payload.borrow());
            peer.send(&Message::Result(message::Result { request, details, payload }));
        }
        peer.goodbye();
    });
    let given_up = call(&mut client, Duration::from_millis(50));
    assert!(matches!(given_up, Err(ClientError::Timeout)), "{given_up:?}");
    let outcome = call(&mut client, Duration::from_secs(30)).unwrap();
    assert_eq!(outcome.payload.borrow().bytes(), b"[\"in time\"]");
    client.leave().unwrap();
    router.join().unwrap();
}

/// Calls com.a; nothing but the last result is expected.
fn call(client: &mut Client, timeout: Duration) -> Result<Outcome, ClientError> {
    client.call("com.a", &[], Payload::EMPTY, timeout, |part| panic!("{part:?}"))
}

#[test]
fn progressive_results_come_one_by_one_until_the_last() {
    let (mut client, router) = joined(URLS[0], Serializer::Json, |mut peer| {
        let request = peer.expect("CALL");
        for (json, progress) in [("[1]", true), ("[2]", true), ("[3]", false)] {
            let payload = OwnedPayload::from_json(Some(json), None).unwrap();
            let details = [("progress", Value::Bool(progress))];
            let (details, payload) = (Dict::Pairs(&details), payload.borrow());
            peer.send(&Message::Result(message::Result { request, details, payload }));
        }
        // The second call's first part is one too many for the caller.
        let request = peer.expect("CALL");
        let details = Dict::Pairs(&[("progress", Value::Bool(true))]);
        peer.send(&Message::Result(message::Result { request, details, payload: Payload::EMPTY }));
        assert_eq!(peer.expect("CANCEL"), request);
        peer.goodbye();
    });
    let (mut parts, options, timeout) =
        (Vec::new(), [("receive_progress", Value::Bool(true))], Duration::from_secs(30));
    let last: Result<Outcome, ClientError> =
        client.call("com.a", &options, Payload::EMPTY, timeout, |part| {
            parts.push(part.payload.borrow().bytes().to_vec());
            Ok(())
        });
    assert_eq!(parts, [b"[1]", b"[2]"]);
    assert_eq!(last.unwrap().payload.borrow().bytes(), b"[3]");
    let given_up: Result<Outcome, ClientError> =
        client.call("com.a", &options, Payload::EMPTY, timeout, |_| Err(ClientError::Unencodable));
    assert!(matches!(given_up, Err(ClientError::Unencodable)), "{given_up:?}");
    client.leave().unwrap();
    router.join().unwrap();
}

#[test]
fn an_abort_and_a_goodbye_tell_reason_and_message() {
    let details = [("message", Value::text("for people"))];
    let (mut client, router) = joined("ws://ROUTER/", Serializer::Cbor, move |mut peer| {
        let (details, reason) = (Dict::Pairs(&details), "com.reason".into());
        peer.send(&Message::Abort(message::Abort { details, reason, payload: Payload::EMPTY }));
    });
    match client.receive(None) {
        Err(ClientError::Aborted(farewell)) => assert_eq!(farewell.to_string(), "com.reason (for people)"),
        other => panic!("{other:?}"),
    }
    router.join().unwrap();

    let (mut client, router) = joined("tcp://ROUTER", Serializer::Cbor, |mut peer| {
        let (details, reason) = (Dict::EMPTY, "com.reason".into());
        peer.send(&Message::Goodbye(message::Goodbye { details, reason }));
        peer.expect("GOODBYE");
    });
    match client.receive(None) {
        Err(ClientError::Goodbye(farewell)) => assert_eq!(farewell.to_string(), "com.reason"),
        other => panic!("{other:?}"),
    }
    router.join().unwrap();
}

#[test]
fn a_close_frame_tells_code_and_text() {
    let (mut client, router) = joined("ws://ROUTER/", Serializer::Json, |mut peer| {
        let mut close = Vec::new();
        peer.transport.close(1008, "not here", &mut close);
        peer.stream.write_all(&close).unwrap();
        assert!(peer.receive().is_none());
    });
    match client.receive(None) {
        Err(ClientError::Closed(Some((1008, text)))) => assert_eq!(text, "not here"),
        other => panic!("{other:?}"),
    }
    drop(client);
    router.join().unwrap();
}

#[test]
fn an_error_of_an_invocation_is_no_reply_to_a_request_with_that_number() {
    let (mut client, router) = joined("tcp://ROUTER", Serializer::Json, |mut peer| {
        let request = peer.expect("SUBSCRIBE");
        let error = |request_type| {
            Message::Error(message::Error {
                request_type,
                request,
                details: Dict::EMPTY,
                error: "com.error".into(),
                payload: Payload::EMPTY,
            })
        };
        peer.send(&error(code::INVOCATION));
        peer.send(&error(code::SUBSCRIBE));
        peer.goodbye();
    });
    match client.subscribe("com.a", &[]) {
        Err(ClientError::Refused(refused)) => assert_eq!(refused.error, "com.error"),
        other => panic!("{other:?}"),
    }
    client.leave().unwrap();
    router.join().unwrap();
}

#[test]
fn bytes_that_are_no_message_are_the_routers_fault() {
    let (mut client, router) = joined("tcp://ROUTER", Serializer::Json, |mut peer| {
        peer.stream.write_all(b"\0\0\0\x02[]").unwrap();
        assert!(peer.receive().is_none());
    });
    assert!(matches!(client.receive(None), Err(ClientError::Protocol(_))));
    drop(client);
    router.join().unwrap();
}

#[test]
fn a_wake_from_another_thread_is_received_and_not_lost_while_a_reply_is_waited_for() {
    let (mut client, router) = joined("tcp://ROUTER", Serializer::Json, |mut peer| {
        let request = peer.expect("SUBSCRIBE");
        let subscription = SubscriptionId(1);
        peer.send(&Message::Subscribed(message::Subscribed { request, subscription }));
        peer.goodbye();
    });
    let waker = client.waker();
    thread::spawn(move || waker.wake().unwrap()).join().unwrap();
    client.subscribe("com.a", &[]).unwrap();
    assert!(matches!(client.receive(Some(Duration::from_secs(30))), Ok(Incoming::Woken)));
    let nothing = client.receive(Some(Duration::from_millis(10)));
    assert!(matches!(nothing, Err(ClientError::Timeout)), "{nothing:?}");
    client.leave().unwrap();
    router.join().unwrap();
}

#[test]
fn a_router_that_reads_only_what_is_read_from_it_blocks_nobody() {
    const COUNT: u64 = 20;
    let bytes = 500_000;
    // Both sides write more than the sockets between them hold before either side reads.
    let (mut client, router) = joined("tcp://ROUTER", Serializer::Json, move |mut peer| {
        let text = format!("[\"{}\"]", "r".repeat(bytes));
        let payload = OwnedPayload::from_json(Some(&text), None).unwrap();
        for number in 1..=COUNT {
            peer.send(&event(number, payload.borrow()));
        }
        for _ in 0..COUNT {
            peer.expect("PUBLISH");
        }
        peer.goodbye();
    });
    let text = format!("[\"{}\"]", "c".repeat(bytes));
    let payload = OwnedPayload::from_json(Some(&text), None).unwrap();
    for _ in 0..COUNT {
        client.publish("com.a", &[], payload.borrow()).unwrap();
    }
    for _ in 0..COUNT {
        assert!(matches!(client.receive(None), Ok(Incoming::Event(_))));
    }
    client.leave().unwrap();
    router.join().unwrap();
}
