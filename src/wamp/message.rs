//! Every WAMP message as a struct that borrows from the bytes it was read from (basic profile, "Messages"; advanced
//! profile, "Messages"), with the specification's names and order of fields.

use std::borrow::Cow;

use super::id::{PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};
use super::value::{Dict, Payload};

/// Text of a message; owned only where the serializer had escaped it.
pub type Text<'a> = Cow<'a, str>;

/// One WAMP message, of either direction.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Message<'a> {
    Hello(Hello<'a>),
    Welcome(Welcome<'a>),
    Abort(Abort<'a>),
    Challenge(Challenge<'a>),
    Authenticate(Authenticate<'a>),
    Goodbye(Goodbye<'a>),
    Error(Error<'a>),
    Publish(Publish<'a>),
    Published(Published),
    Subscribe(Subscribe<'a>),
    Subscribed(Subscribed),
    Unsubscribe(Unsubscribe),
    Unsubscribed(Unsubscribed<'a>),
    Event(Event<'a>),
    EventReceived(EventReceived),
    Call(Call<'a>),
    Cancel(Cancel<'a>),
    Result(Result<'a>),
    Register(Register<'a>),
    Registered(Registered),
    Unregister(Unregister),
    Unregistered(Unregistered<'a>),
    Invocation(Invocation<'a>),
    Interrupt(Interrupt<'a>),
    Yield(Yield<'a>),
}

/// Message type codes.
#[allow(missing_docs)]
pub mod code {
    pub const HELLO: u64 = 1;
    pub const WELCOME: u64 = 2;
    pub const ABORT: u64 = 3;
    pub const CHALLENGE: u64 = 4;
    pub const AUTHENTICATE: u64 = 5;
    pub const GOODBYE: u64 = 6;
    pub const ERROR: u64 = 8;
    pub const PUBLISH: u64 = 16;
    pub const PUBLISHED: u64 = 17;
    pub const SUBSCRIBE: u64 = 32;
    pub const SUBSCRIBED: u64 = 33;
    pub const UNSUBSCRIBE: u64 = 34;
    pub const UNSUBSCRIBED: u64 = 35;
    pub const EVENT: u64 = 36;
    pub const CALL: u64 = 48;
    pub const CANCEL: u64 = 49;
    pub const RESULT: u64 = 50;
    pub const REGISTER: u64 = 64;
    pub const REGISTERED: u64 = 65;
    pub const UNREGISTER: u64 = 66;
    pub const UNREGISTERED: u64 = 67;
    pub const INVOCATION: u64 = 68;
    pub const INTERRUPT: u64 = 69;
    pub const YIELD: u64 = 70;
    /// Acknowledged delivery; the specification's vectors have it, its text does not.
    pub const EVENT_RECEIVED: u64 = 337;
}

impl Message<'_> {
    /// Octets of the payload, in the serializer it came in.
    pub fn payload_bytes(&self) -> usize {
        let payload = match self {
            Message::Abort(message) => &message.payload,
            Message::Error(message) => &message.payload,
            Message::Publish(message) => &message.payload,
            Message::Event(message) => &message.payload,
            Message::Call(message) => &message.payload,
            Message::Result(message) => &message.payload,
            Message::Invocation(message) => &message.payload,
            Message::Yield(message) => &message.payload,
            _ => return 0,
        };
        payload.bytes().len()
    }

    /// The type code.
    pub fn code(&self) -> u64 {
        match self {
            Message::Hello(_) => code::HELLO,
            Message::Welcome(_) => code::WELCOME,
            Message::Abort(_) => code::ABORT,
            Message::Challenge(_) => code::CHALLENGE,
            Message::Authenticate(_) => code::AUTHENTICATE,
            Message::Goodbye(_) => code::GOODBYE,
            Message::Error(_) => code::ERROR,
            Message::Publish(_) => code::PUBLISH,
            Message::Published(_) => code::PUBLISHED,
            Message::Subscribe(_) => code::SUBSCRIBE,
            Message::Subscribed(_) => code::SUBSCRIBED,
            Message::Unsubscribe(_) => code::UNSUBSCRIBE,
            Message::Unsubscribed(_) => code::UNSUBSCRIBED,
            Message::Event(_) => code::EVENT,
            Message::EventReceived(_) => code::EVENT_RECEIVED,
            Message::Call(_) => code::CALL,
            Message::Cancel(_) => code::CANCEL,
            Message::Result(_) => code::RESULT,
            Message::Register(_) => code::REGISTER,
            Message::Registered(_) => code::REGISTERED,
            Message::Unregister(_) => code::UNREGISTER,
            Message::Unregistered(_) => code::UNREGISTERED,
            Message::Invocation(_) => code::INVOCATION,
            Message::Interrupt(_) => code::INTERRUPT,
            Message::Yield(_) => code::YIELD,
        }
    }

    /// The request id, of a message whose request ids must count 1, 2, 3 (basic profile, "Protocol Errors").
    pub fn counted_request(&self) -> Option<RequestId> {
        match self {
            Message::Publish(publish) => Some(publish.request),
            Message::Subscribe(subscribe) => Some(subscribe.request),
            Message::Unsubscribe(unsubscribe) => Some(unsubscribe.request),
            Message::Register(register) => Some(register.request),
            Message::Unregister(unregister) => Some(unregister.request),
            Message::Call(call) => Some(call.request),
            _ => None,
        }
    }

    /// The message's name in capitals, as the specification writes it.
    pub fn name(&self) -> &'static str {
        name(self.code()).expect("every message has a name")
    }
}

/// The name of the message with that type code.
pub fn name(code: u64) -> Option<&'static str> {
    Some(match code {
        code::HELLO => "HELLO",
        code::WELCOME => "WELCOME",
        code::ABORT => "ABORT",
        code::CHALLENGE => "CHALLENGE",
        code::AUTHENTICATE => "AUTHENTICATE",
        code::GOODBYE => "GOODBYE",
        code::ERROR => "ERROR",
        code::PUBLISH => "PUBLISH",
        code::PUBLISHED => "PUBLISHED",
        code::SUBSCRIBE => "SUBSCRIBE",
        code::SUBSCRIBED => "SUBSCRIBED",
        code::UNSUBSCRIBE => "UNSUBSCRIBE",
        code::UNSUBSCRIBED => "UNSUBSCRIBED",
        code::EVENT => "EVENT",
        code::EVENT_RECEIVED => "EVENTRECEIVED",
        code::CALL => "CALL",
        code::CANCEL => "CANCEL",
        code::RESULT => "RESULT",
        code::REGISTER => "REGISTER",
        code::REGISTERED => "REGISTERED",
        code::UNREGISTER => "UNREGISTER",
        code::UNREGISTERED => "UNREGISTERED",
        code::INVOCATION => "INVOCATION",
        code::INTERRUPT => "INTERRUPT",
        code::YIELD => "YIELD",
        _ => return None,
    })
}

/// `[1, Realm|uri, Details|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Hello<'a> {
    pub realm: Text<'a>,
    pub details: Dict<'a>,
}

/// `[2, Session|id, Details|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Welcome<'a> {
    pub session: SessionId,
    pub details: Dict<'a>,
}

/// `[3, Details|dict, Reason|uri, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Abort<'a> {
    pub details: Dict<'a>,
    pub reason: Text<'a>,
    pub payload: Payload<'a>,
}

/// `[4, AuthMethod|string, Extra|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Challenge<'a> {
    pub authmethod: Text<'a>,
    pub extra: Dict<'a>,
}

/// `[5, Signature|string, Extra|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Authenticate<'a> {
    pub signature: Text<'a>,
    pub extra: Dict<'a>,
}

/// `[6, Details|dict, Reason|uri]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Goodbye<'a> {
    pub details: Dict<'a>,
    pub reason: Text<'a>,
}

/// `[8, REQUEST.Type|int, REQUEST.Request|id, Details|dict, Error|uri, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Error<'a> {
    pub request_type: u64,
    pub request: RequestId,
    pub details: Dict<'a>,
    pub error: Text<'a>,
    pub payload: Payload<'a>,
}

/// `[16, Request|id, Options|dict, Topic|uri, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Publish<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
    pub topic: Text<'a>,
    pub payload: Payload<'a>,
}

/// `[17, PUBLISH.Request|id, Publication|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Published {
    pub request: RequestId,
    pub publication: PublicationId,
}

/// `[32, Request|id, Options|dict, Topic|uri]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subscribe<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
    pub topic: Text<'a>,
}

/// `[33, SUBSCRIBE.Request|id, Subscription|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Subscribed {
    pub request: RequestId,
    pub subscription: SubscriptionId,
}

/// `[34, Request|id, SUBSCRIBED.Subscription|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Unsubscribe {
    pub request: RequestId,
    pub subscription: SubscriptionId,
}

/// `[35, UNSUBSCRIBE.Request|id]`, or with request 0 `[35, 0, Details|dict]`: revoked by the router (advanced profile).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Unsubscribed<'a> {
    pub request: RequestId,
    pub details: Option<Dict<'a>>,
}

/// `[36, SUBSCRIBED.Subscription|id, PUBLISHED.Publication|id, Details|dict, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Event<'a> {
    pub subscription: SubscriptionId,
    pub publication: PublicationId,
    pub details: Dict<'a>,
    pub payload: Payload<'a>,
}

/// `[337, EVENT.Publication|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EventReceived {
    pub publication: PublicationId,
}

/// `[48, Request|id, Options|dict, Procedure|uri, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Call<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
    pub procedure: Text<'a>,
    pub payload: Payload<'a>,
}

/// `[49, CALL.Request|id, Options|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Cancel<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
}

/// `[50, CALL.Request|id, Details|dict, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Result<'a> {
    pub request: RequestId,
    pub details: Dict<'a>,
    pub payload: Payload<'a>,
}

/// `[64, Request|id, Options|dict, Procedure|uri]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Register<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
    pub procedure: Text<'a>,
}

/// `[65, REGISTER.Request|id, Registration|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Registered {
    pub request: RequestId,
    pub registration: RegistrationId,
}

/// `[66, Request|id, REGISTERED.Registration|id]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Unregister {
    pub request: RequestId,
    pub registration: RegistrationId,
}

/// `[67, UNREGISTER.Request|id]`, or with request 0 `[67, 0, Details|dict]`: revoked by the router (advanced profile).
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Unregistered<'a> {
    pub request: RequestId,
    pub details: Option<Dict<'a>>,
}

/// `[68, Request|id, REGISTERED.Registration|id, Details|dict, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Invocation<'a> {
    pub request: RequestId,
    pub registration: RegistrationId,
    pub details: Dict<'a>,
    pub payload: Payload<'a>,
}

/// `[69, INVOCATION.Request|id, Options|dict]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Interrupt<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
}

/// `[70, INVOCATION.Request|id, Options|dict, Arguments|list?, ArgumentsKw|dict?]`
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Yield<'a> {
    pub request: RequestId,
    pub options: Dict<'a>,
    pub payload: Payload<'a>,
}
