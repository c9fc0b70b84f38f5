//! A small blocking WAMP client over the router's own codec and framing: the command line, the tests and the
//! benchmark use it.
//!
//! One [`Client`] is one session, used by one thread. Requests wait for their reply; what comes meanwhile is kept, in
//! order, for [`Client::receive`]. Another thread may only wake it ([`Client::waker`]), which is how signals and
//! finished work reach a client that waits.
//!
//! ```text
//!   Client        requests and replies, events and invocations        mod, incoming
//!   Credentials   who the client is, and how it proves that           authentication
//!   Connection    waiting, reading, writing                           connection
//!   Framing       messages in frames; handshakes                      framing, handshake
//!   Stream        TCP, Unix domain sockets, TLS                       stream
//! ```
//!
//! Invariants: request ids count 1, 2, 3; at most one request waits for its reply; nothing a router sends makes the
//! client panic or keep memory without bound.
//!
//! Spec: basic profile, "Sessions", "Publish and Subscribe", "Remote Procedure Calls"; advanced profile, "Call
//! Canceling", "Progressive Call Results", "Pattern-based Subscriptions", "Pattern-based Registrations", "Payload
//! Passthru Mode".

mod authentication;
mod connection;
mod error;
mod framing;
mod handshake;
mod incoming;
mod stream;
mod url;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;

use crate::codec;
use crate::codec::payload::OwnedPayload;
use crate::wamp::message::{self, Message, code};
use crate::wamp::options::CancelMode;
use crate::wamp::{
    Dict, List, Payload, PublicationId, RegistrationId, RequestId, Serializer, SessionId, SubscriptionId,
    Value, reason,
};
use authentication::Authentication;
pub use authentication::{AuthenticationError, Credentials};
use connection::{Connection, Received};
pub use error::{ClientError, Farewell, Handshake, Refused, Tls};
use incoming::Queue;
pub use incoming::{Event, Incoming, Invocation, OwnedDict};
pub use stream::{Trust, tls};
pub use url::{Scheme, Url, UrlError};

/// How to join.
#[derive(Clone, Debug)]
pub struct Options {
    /// The realm to join.
    pub realm: String,
    /// The serializer of both directions.
    pub serializer: Serializer,
    /// How long connecting and joining may take together, and each request after that.
    pub timeout: Duration,
    /// The name to join under.
    pub authid: Option<String>,
    /// What proves it.
    pub credentials: Credentials,
    /// What TLS needs to know, if it is spoken.
    pub tls: TlsFiles,
}

/// The files of TLS, all of them PEM.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// Certificates of authorities to be trusted besides those that the machine trusts.
    pub authorities: Option<PathBuf>,
    /// The client's own certificate, with those that sign it, for routers that ask for one.
    pub certificate: Option<PathBuf>,
    /// Its private key, if that is not in the same file.
    pub key: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            realm: "realm1".to_owned(),
            serializer: Serializer::Json,
            timeout: Duration::from_secs(10),
            authid: None,
            credentials: Credentials::default(),
            tls: TlsFiles::default(),
        }
    }
}

/// Options of a message, by the names of the specification.
pub type Pairs<'a> = &'a [(&'a str, Value<'a>)];

/// A session.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    session: SessionId,
    last_request: RequestId,
    queue: Queue,
    timeout: Duration,
}

/// The result of a call, or the reply of a router with what it carries.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Details of RESULT.
    pub details: OwnedDict,
    /// What the callee returned.
    pub payload: OwnedPayload,
}

/// A reply to the request that is waited for.
enum Reply {
    Subscribed(SubscriptionId),
    Unsubscribed,
    Published(PublicationId),
    Registered(RegistrationId),
    Unregistered,
    Result(Outcome),
}

impl Client {
    /// Connects, opens the transport and joins the realm. Looking up the host's name has the system's own time limit.
    pub fn connect(url: &Url, options: &Options) -> Result<Client, ClientError> {
        let deadline = Instant::now() + options.timeout;
        let connection = Connection::open(url, options.serializer, &options.tls, deadline)?;
        let mut client = Client {
            connection,
            session: SessionId(0),
            last_request: RequestId::NONE,
            queue: Queue::default(),
            timeout: options.timeout,
        };
        client.session = client.hello(options, deadline)?;
        Ok(client)
    }

    /// Subscribes to a topic or pattern, with these options.
    pub fn subscribe(&mut self, topic: &str, options: Pairs<'_>) -> Result<SubscriptionId, ClientError> {
        let request = self.next_request();
        let options = Dict::Pairs(options);
        let subscribe = message::Subscribe { request, options, topic: topic.into() };
        match self.request(&Message::Subscribe(subscribe), request, self.timeout)? {
            Reply::Subscribed(subscription) => Ok(subscription),
            _ => Err(WRONG_REPLY),
        }
    }

    /// Ends a subscription. Events that came before the reply are still received.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) -> Result<(), ClientError> {
        let request = self.next_request();
        let unsubscribe = message::Unsubscribe { request, subscription };
        match self.request(&Message::Unsubscribe(unsubscribe), request, self.timeout)? {
            Reply::Unsubscribed => Ok(()),
            _ => Err(WRONG_REPLY),
        }
    }

    /// Publishes with these options, and does not ask whether the router took it.
    pub fn publish(
        &mut self,
        topic: &str,
        options: Pairs<'_>,
        payload: Payload<'_>,
    ) -> Result<(), ClientError> {
        let request = self.next_request();
        let publish =
            message::Publish { request, options: Dict::Pairs(options), topic: topic.into(), payload };
        self.send(&Message::Publish(publish))
    }

    /// Publishes, and waits for PUBLISHED. The options must not have `acknowledge`.
    pub fn publish_acknowledged(
        &mut self,
        topic: &str,
        options: Pairs<'_>,
        payload: Payload<'_>,
    ) -> Result<PublicationId, ClientError> {
        let request = self.next_request();
        let options = [options, &[("acknowledge", Value::Bool(true))]].concat();
        let options = Dict::Pairs(&options);
        let publish = message::Publish { request, options, topic: topic.into(), payload };
        match self.request(&Message::Publish(publish), request, self.timeout)? {
            Reply::Published(publication) => Ok(publication),
            _ => Err(WRONG_REPLY),
        }
    }

    /// Calls a procedure with these options and waits for its result. If they ask for progressive results, each goes to
    /// `progress`, which says whether to go on; if not, and if nothing comes for as long as `timeout`, the call is
    /// canceled.
    pub fn call<E: From<ClientError>>(
        &mut self,
        procedure: &str,
        options: Pairs<'_>,
        payload: Payload<'_>,
        timeout: Duration,
        mut progress: impl FnMut(&Outcome) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        let request = self.next_request();
        let options = Dict::Pairs(options);
        let call = message::Call { request, options, procedure: procedure.into(), payload };
        let mut reply = self.request(&Message::Call(call), request, timeout);
        loop {
            match reply {
                Ok(Reply::Result(outcome)) if outcome.details.is_true("progress") => {
                    if let Err(error) = progress(&outcome) {
                        self.cancel(request)?;
                        return Err(error);
                    }
                }
                Ok(Reply::Result(outcome)) => return Ok(outcome),
                Ok(_) => return Err(WRONG_REPLY.into()),
                Err(ClientError::Timeout) => {
                    self.cancel(request)?;
                    return Err(ClientError::Timeout.into());
                }
                Err(error) => return Err(error.into()),
            }
            reply = self.reply(request, Instant::now() + timeout);
        }
    }

    /// Registers a procedure or pattern, with these options.
    pub fn register(&mut self, procedure: &str, options: Pairs<'_>) -> Result<RegistrationId, ClientError> {
        let request = self.next_request();
        let options = Dict::Pairs(options);
        let register = message::Register { request, options, procedure: procedure.into() };
        match self.request(&Message::Register(register), request, self.timeout)? {
            Reply::Registered(registration) => Ok(registration),
            _ => Err(WRONG_REPLY),
        }
    }

    /// Ends a registration. Invocations that came before the reply are still received, and are to be answered.
    pub fn unregister(&mut self, registration: RegistrationId) -> Result<(), ClientError> {
        let request = self.next_request();
        let unregister = message::Unregister { request, registration };
        match self.request(&Message::Unregister(unregister), request, self.timeout)? {
            Reply::Unregistered => Ok(()),
            _ => Err(WRONG_REPLY),
        }
    }

    /// Answers an invocation with its result.
    pub fn yield_result(&mut self, invocation: RequestId, payload: Payload<'_>) -> Result<(), ClientError> {
        self.send(&Message::Yield(message::Yield { request: invocation, options: Dict::EMPTY, payload }))
    }

    /// Answers an invocation with an error.
    pub fn error(
        &mut self,
        invocation: RequestId,
        error: &str,
        payload: Payload<'_>,
    ) -> Result<(), ClientError> {
        self.send(&Message::Error(message::Error {
            request_type: code::INVOCATION,
            request: invocation,
            details: Dict::EMPTY,
            error: error.into(),
            payload,
        }))
    }

    /// The next event, invocation or wake, in the order in which they came; waits for one, at most for `timeout`.
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Incoming, ClientError> {
        if let Some(incoming) = self.queue.pop() {
            return Ok(incoming);
        }
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let bytes = match self.connection.receive(deadline)? {
                Received::Woken => return Ok(Incoming::Woken),
                Received::Message(bytes) => bytes,
            };
            let message = decode(self.connection.serializer(), &bytes)?;
            if let Some(incoming) = self.on_unasked(&message)? {
                return Ok(incoming);
            }
        }
    }

    /// Says GOODBYE and waits for the router's, then closes. What comes meanwhile is dropped.
    pub fn leave(mut self) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.timeout;
        let reason = reason::CLOSE_REALM.into();
        let goodbye = message::Goodbye { details: Dict::EMPTY, reason };
        self.send(&Message::Goodbye(goodbye))?;
        loop {
            let Received::Message(bytes) = self.connection.receive(Some(deadline))? else {
                continue;
            };
            match decode(self.connection.serializer(), &bytes)? {
                Message::Goodbye(_) => {
                    self.connection.close();
                    return Ok(());
                }
                Message::Abort(abort) => return Err(ClientError::Aborted(aborted(&abort))),
                _ => {}
            }
        }
    }

    /// The session's id.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Wakes [`Client::receive`] from another thread, now or the next time it waits.
    pub fn waker(&self) -> Arc<Waker> {
        self.connection.waker()
    }

    fn hello(&mut self, options: &Options, deadline: Instant) -> Result<SessionId, ClientError> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).expect("the operating system has entropy");
        let (authid, channel_id) = (options.authid.as_deref(), self.connection.channel_id());
        let mut authentication = Authentication::begin(&options.credentials, authid, channel_id, &random)
            .map_err(ClientError::Authentication)?;
        self.send_hello(options, &authentication)?;
        loop {
            let Received::Message(bytes) = self.connection.receive(Some(deadline))? else {
                continue;
            };
            let refused = match decode(self.connection.serializer(), &bytes)? {
                Message::Welcome(welcome) => match authentication.on_welcome(&welcome.details) {
                    Ok(()) => return Ok(welcome.session),
                    Err(refused) => refused,
                },
                Message::Challenge(challenge) => match authentication.on_challenge(&challenge) {
                    Ok(response) => {
                        let (signature, extra) = (response.signature.into(), Dict::Pairs(&response.extra));
                        self.send(&Message::Authenticate(message::Authenticate { signature, extra }))?;
                        continue;
                    }
                    Err(refused) => refused,
                },
                Message::Abort(abort) => return Err(ClientError::Aborted(aborted(&abort))),
                _ => return Err(ClientError::Protocol("HELLO was answered by something else")),
            };
            return Err(self.refuse(refused));
        }
    }

    fn send_hello(
        &mut self,
        options: &Options,
        authentication: &Authentication<'_>,
    ) -> Result<(), ClientError> {
        let roles = roles();
        let roles: Vec<_> = roles.iter().map(|(role, features)| (*role, Value::Dict(*features))).collect();
        let (methods, extra) = (authentication.authmethods(), authentication.authextra());
        let mut details = vec![("roles", Value::Dict(Dict::Pairs(&roles)))];
        details.push(("agent", Value::text(concat!("fanwire/", env!("CARGO_PKG_VERSION")))));
        details.extend(options.authid.as_ref().map(|authid| ("authid", Value::text(authid))));
        if !methods.is_empty() {
            details.push(("authmethods", Value::List(List::Values(&methods))));
        }
        if !extra.is_empty() {
            details.push(("authextra", Value::Dict(Dict::Pairs(&extra))));
        }
        let realm = options.realm.as_str().into();
        self.send(&Message::Hello(message::Hello { realm, details: Dict::Pairs(&details) }))
    }

    /// Tells the router that the client does not go on, and closes.
    fn refuse(&mut self, error: AuthenticationError) -> ClientError {
        let reason = reason::AUTHENTICATION_FAILED.into();
        let abort = message::Abort { details: Dict::EMPTY, reason, payload: Payload::EMPTY };
        // Whether or not the router still hears this.
        let _ = self.send(&Message::Abort(abort));
        self.connection.close();
        ClientError::Authentication(error)
    }

    /// Gives a call up; the router answers it with an error, which is dropped.
    fn cancel(&mut self, request: RequestId) -> Result<(), ClientError> {
        let options = [("mode", Value::text(CancelMode::KillNoWait.name()))];
        self.send(&Message::Cancel(message::Cancel { request, options: Dict::Pairs(&options) }))
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request = self.last_request.next();
        self.last_request
    }

    fn send(&mut self, message: &Message<'_>) -> Result<(), ClientError> {
        let deadline = Instant::now() + self.timeout;
        let serializer = self.connection.serializer();
        self.connection.send(Some(deadline), |out| {
            codec::encode(message, serializer, out).map_err(|_| ClientError::Unencodable)
        })
    }

    /// Sends a request and waits for its reply; keeps what else comes.
    fn request(
        &mut self,
        message: &Message<'_>,
        request: RequestId,
        timeout: Duration,
    ) -> Result<Reply, ClientError> {
        let deadline = Instant::now() + timeout;
        self.send(message)?;
        self.reply(request, deadline)
    }

    /// Waits for a reply to that request; keeps what else comes.
    fn reply(&mut self, request: RequestId, deadline: Instant) -> Result<Reply, ClientError> {
        let mut woken = false;
        let reply = loop {
            let bytes = match self.connection.receive(Some(deadline)) {
                Ok(Received::Message(bytes)) => bytes,
                Ok(Received::Woken) => {
                    woken = true;
                    continue;
                }
                Err(error) => break Err(error),
            };
            let message = decode(self.connection.serializer(), &bytes)?;
            if let Some(reply) = reply(&message, request) {
                break reply;
            }
            if let Some(incoming) = self.on_unasked(&message)? {
                self.queue.push(incoming)?;
            }
        };
        if woken {
            self.queue.push(Incoming::Woken)?;
        }
        reply
    }

    /// What a message means that no request waits for. Replies to requests that were given up mean nothing.
    fn on_unasked(&mut self, message: &Message<'_>) -> Result<Option<Incoming>, ClientError> {
        Ok(Some(match message {
            Message::Event(event) => Incoming::Event(Event::copy(event)),
            Message::Invocation(invocation) => Incoming::Invocation(Invocation::copy(invocation)),
            Message::Interrupt(interrupt) => Incoming::Interrupt(interrupt.request),
            Message::Unsubscribed(message::Unsubscribed { request: RequestId::NONE, details }) => {
                Incoming::Unsubscribed(details.as_ref().map(OwnedDict::copy).unwrap_or_default())
            }
            Message::Unregistered(message::Unregistered { request: RequestId::NONE, details }) => {
                Incoming::Unregistered(details.as_ref().map(OwnedDict::copy).unwrap_or_default())
            }
            Message::Goodbye(goodbye) => return Err(self.on_goodbye(goodbye)),
            Message::Abort(abort) => return Err(ClientError::Aborted(aborted(abort))),
            Message::Error(_)
            | Message::Published(_)
            | Message::Subscribed(_)
            | Message::Unsubscribed(_)
            | Message::Registered(_)
            | Message::Unregistered(_)
            | Message::Result(_) => return Ok(None),
            _ => return Err(ClientError::Protocol("a message that routers do not send")),
        }))
    }

    /// Answers the router's GOODBYE and closes.
    fn on_goodbye(&mut self, goodbye: &message::Goodbye<'_>) -> ClientError {
        let answer = message::Goodbye { details: Dict::EMPTY, reason: reason::GOODBYE_AND_OUT.into() };
        // The session has ended, whether or not the router still hears this.
        let _ = self.send(&Message::Goodbye(answer));
        self.connection.close();
        ClientError::Goodbye(Farewell {
            reason: goodbye.reason.clone().into_owned(),
            message: incoming::text(&goodbye.details, "message"),
        })
    }
}

const WRONG_REPLY: ClientError = ClientError::Protocol("the reply has the wrong type");

/// The reply to that request, if this message is one.
fn reply(message: &Message<'_>, request: RequestId) -> Option<Result<Reply, ClientError>> {
    let (replied, reply) = match message {
        Message::Subscribed(subscribed) => (subscribed.request, Reply::Subscribed(subscribed.subscription)),
        Message::Unsubscribed(unsubscribed) => (unsubscribed.request, Reply::Unsubscribed),
        Message::Published(published) => (published.request, Reply::Published(published.publication)),
        Message::Registered(registered) => (registered.request, Reply::Registered(registered.registration)),
        Message::Unregistered(unregistered) => (unregistered.request, Reply::Unregistered),
        Message::Result(result) => (result.request, Reply::Result(outcome(result))),
        Message::Error(error) if error.request == request && error.request_type != code::INVOCATION => {
            return Some(Err(ClientError::Refused(Box::new(Refused {
                error: error.error.clone().into_owned(),
                details: OwnedDict::copy(&error.details),
                payload: OwnedPayload::copy(error.payload),
            }))));
        }
        _ => return None,
    };
    (replied == request).then_some(Ok(reply))
}

fn outcome(result: &message::Result<'_>) -> Outcome {
    Outcome { details: OwnedDict::copy(&result.details), payload: OwnedPayload::copy(result.payload) }
}

fn aborted(abort: &message::Abort<'_>) -> Farewell {
    Farewell { reason: abort.reason.clone().into_owned(), message: incoming::text(&abort.details, "message") }
}

fn decode(serializer: Serializer, bytes: &[u8]) -> Result<Message<'_>, ClientError> {
    codec::decode(serializer, bytes).map_err(|_| ClientError::Protocol("a message that cannot be decoded"))
}

/// What this client can do in each role: the features it makes use of, or bears. Payload passthru mode is what the
/// options of a message ask for, and a result in it is shown with its details; what is invoked in it could not be
/// answered in kind.
fn roles() -> [(&'static str, Dict<'static>); 4] {
    const TRUE: Value<'static> = Value::Bool(true);
    const PUBLISHER: &[(&str, Value<'static>)] =
        &[("features", Value::Dict(Dict::Pairs(&[("payload_passthru_mode", TRUE)])))];
    const SUBSCRIBER: &[(&str, Value<'static>)] = &[(
        "features",
        Value::Dict(Dict::Pairs(&[("pattern_based_subscription", TRUE), ("subscription_revocation", TRUE)])),
    )];
    const CALLER: &[(&str, Value<'static>)] = &[(
        "features",
        Value::Dict(Dict::Pairs(&[
            ("call_canceling", TRUE),
            ("payload_passthru_mode", TRUE),
            ("progressive_call_results", TRUE),
        ])),
    )];
    const CALLEE: &[(&str, Value<'static>)] = &[(
        "features",
        Value::Dict(Dict::Pairs(&[
            ("call_canceling", TRUE),
            ("pattern_based_registration", TRUE),
            ("registration_revocation", TRUE),
            ("shared_registration", TRUE),
        ])),
    )];
    [
        ("publisher", Dict::Pairs(PUBLISHER)),
        ("subscriber", Dict::Pairs(SUBSCRIBER)),
        ("caller", Dict::Pairs(CALLER)),
        ("callee", Dict::Pairs(CALLEE)),
    ]
}
