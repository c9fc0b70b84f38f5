//! What can go wrong with a peer, sorted by who must act: a [`Violation`] ends the connection, a [`Refusal`] is
//! answered with ERROR and the session goes on. Every connection ends with exactly one [`CloseReason`].
//!
//! All are flat enums of facts; one function each says what goes on the wire.

use std::fmt;

use crate::wamp::options::WrongOption;
use crate::wamp::reason;

/// The peer broke the protocol of its transport, its serializer or WAMP. It gets ABORT
/// `wamp.error.protocol_violation` (where a session could be open), a close code, and is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Violation {
    /// The bytes are not a whole value of the serializer, or not a WAMP message.
    Undecodable,
    /// The bytes are BJData, which newer versions of autobahn-python send where UBJSON was agreed on.
    BjData,
    /// The message type does not exist, or only a router sends it.
    UnexpectedMessage,
    /// A message came before HELLO, or HELLO came in a session.
    OutOfSession,
    /// HELLO announces no role.
    NoRoles,
    /// A request id does not follow the one before it.
    RequestOutOfOrder,
    /// A caller sends a call in parts and has not announced that it would.
    UnannouncedProgress,
    /// YIELD or ERROR names an invocation that was never sent.
    UnknownInvocation,
    /// ERROR answers something that is not an invocation.
    ErrorForNothing,
    /// A payload that is not to be looked into, from a peer that has not announced payload passthru mode.
    PassthruUnannounced,
    /// A message or frame is larger than announced or allowed.
    MessageTooLarge,
    /// The first octet opens neither RawSocket nor HTTP.
    UnknownTransport,
    /// The connection has no PROXY header, where a proxy must send one. It has become no peer.
    ProxyHeader,
    /// The TLS handshake has failed, or something else came. The connection has become no peer.
    TlsHandshake,
    /// The handshake is good, but the router has too many connections: no fault of the peer, and the connection ends
    /// with [`CloseReason::ConnectionLimit`].
    ConnectionLimit,
    /// RawSocket handshake: the serializer is not spoken here.
    RawSocketSerializer,
    /// RawSocket handshake: a length that is not accepted.
    RawSocketLength,
    /// RawSocket handshake: reserved octets are set.
    RawSocketReserved,
    /// RawSocket frame: reserved bits or an unknown type.
    RawSocketFrame,
    /// The upgrade request is not one.
    Upgrade,
    /// A WebSocket from a page that may not open one.
    Origin,
    /// WebSocket: reserved bits, opcode, masking, fragmentation or a control frame's size.
    WebSocketFrame,
    /// WebSocket: text that is not UTF-8.
    WebSocketText,
    /// WebSocket: a text message where the subprotocol wants binary, or the other way round.
    WebSocketMessageType,
    /// A batch without messages, or cut in the middle of one.
    Batch,
}

impl Violation {
    /// One clause for people, sent with ABORT and close frames and written to the log.
    pub fn text(self) -> &'static str {
        match self {
            Violation::Undecodable => "the message cannot be decoded",
            Violation::BjData => "this is BJData and not UBJSON (draft 12); use CBOR or MessagePack",
            Violation::UnexpectedMessage => "a router does not take this message",
            Violation::OutOfSession => "the message does not fit the state of the session",
            Violation::NoRoles => "HELLO must announce at least one role",
            Violation::RequestOutOfOrder => "the request id is not the next one, or is in use",
            Violation::UnannouncedProgress => "progressive_call_invocations was not announced",
            Violation::UnknownInvocation => "no such invocation was sent",
            Violation::ErrorForNothing => "ERROR must answer an INVOCATION",
            Violation::PassthruUnannounced => "payload passthru mode was not announced",
            Violation::MessageTooLarge => "the message is larger than allowed",
            Violation::UnknownTransport => "neither RawSocket nor HTTP",
            Violation::ProxyHeader => "no PROXY header",
            Violation::TlsHandshake => "the TLS handshake has failed",
            Violation::ConnectionLimit => "the router has too many connections",
            Violation::RawSocketSerializer => "RawSocket serializer unsupported",
            Violation::RawSocketLength => "RawSocket maximum message length unacceptable",
            Violation::RawSocketReserved => "RawSocket reserved bits are set",
            Violation::RawSocketFrame => "RawSocket frame with reserved bits or unknown type",
            Violation::Upgrade => "not a WebSocket upgrade",
            Violation::Origin => "pages of this origin may not connect here",
            Violation::WebSocketFrame => "invalid WebSocket frame",
            Violation::WebSocketText => "WebSocket text is not UTF-8",
            Violation::WebSocketMessageType => "wrong WebSocket message type for the subprotocol",
            Violation::Batch => "empty or truncated batch",
        }
    }

    /// True if it is a breach of WAMP and not of the transport below it: WAMP's own word, ABORT, is due then. A broken
    /// WebSocket stream is told with a close code alone (RFC 6455, section 7.1.7).
    pub fn is_told_with_abort(self) -> bool {
        !matches!(
            self,
            Violation::UnknownTransport
                | Violation::ProxyHeader
                | Violation::TlsHandshake
                | Violation::RawSocketSerializer
                | Violation::RawSocketLength
                | Violation::RawSocketReserved
                | Violation::Upgrade
                | Violation::Origin
                | Violation::WebSocketFrame
                | Violation::WebSocketText
        )
    }

    /// The WebSocket close code that says it (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::MessageTooLarge => 1009,
            Violation::WebSocketText => 1007,
            Violation::WebSocketMessageType => 1003,
            _ => 1002,
        }
    }
}

/// The request cannot be granted. The peer gets ERROR with this URI; the session goes on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// It could not be found out whether the session may do this.
    AuthorizationFailed,
    /// A call was canceled.
    Canceled,
    /// The realm does not tell who publishes or calls.
    DiscloseMe,
    /// The payload is not to be looked into, or the call comes in parts, and its sender or receiver has not announced
    /// that.
    FeatureNotSupported,
    /// A known option has the wrong type or an unknown value, or the payload has no form in the receiver's serializer;
    /// what it is about.
    InvalidArgument(&'static str),
    /// The URI breaks the realm's rule, or is reserved, or too long.
    InvalidUri,
    /// Every callee has said that it cannot take the call.
    NoAvailableCallee,
    /// Nobody has registered the procedure.
    NoSuchProcedure,
    /// Not a registration of this session.
    NoSuchRegistration,
    /// An argument names a publication that is not known, or no longer; which argument.
    NoSuchPublication(&'static str),
    /// There is no such session.
    NoSuchSession,
    /// Not a subscription of this session.
    NoSuchSubscription,
    /// The session may not do this.
    NotAuthorized,
    /// A known option that is not allowed here; which.
    OptionNotAllowed(&'static str),
    /// The message does not fit the receiver's transport.
    PayloadSizeExceeded,
    /// Somebody has registered the procedure.
    ProcedureAlreadyExists,
    /// The call was not answered in the time its caller gave it.
    Timeout,
    /// A limit of the router is reached, or it is shutting down.
    Unavailable,
}

impl Refusal {
    /// The error URI.
    pub fn uri(self) -> &'static str {
        match self {
            Refusal::AuthorizationFailed => reason::AUTHORIZATION_FAILED,
            Refusal::Canceled => reason::CANCELED,
            Refusal::DiscloseMe => reason::DISCLOSE_ME_DISALLOWED,
            Refusal::FeatureNotSupported => reason::FEATURE_NOT_SUPPORTED,
            // The specification has no word of its own for a publication.
            Refusal::InvalidArgument(_) | Refusal::NoSuchPublication(_) => reason::INVALID_ARGUMENT,
            Refusal::InvalidUri => reason::INVALID_URI,
            Refusal::NoAvailableCallee => reason::NO_AVAILABLE_CALLEE,
            Refusal::NoSuchProcedure => reason::NO_SUCH_PROCEDURE,
            Refusal::NoSuchRegistration => reason::NO_SUCH_REGISTRATION,
            Refusal::NoSuchSession => reason::NO_SUCH_SESSION,
            Refusal::NoSuchSubscription => reason::NO_SUCH_SUBSCRIPTION,
            Refusal::NotAuthorized => reason::NOT_AUTHORIZED,
            Refusal::OptionNotAllowed(_) => reason::OPTION_NOT_ALLOWED,
            Refusal::PayloadSizeExceeded => reason::PAYLOAD_SIZE_EXCEEDED,
            Refusal::ProcedureAlreadyExists => reason::PROCEDURE_ALREADY_EXISTS,
            Refusal::Timeout => reason::TIMEOUT,
            Refusal::Unavailable => reason::UNAVAILABLE,
        }
    }

    /// One sentence for people, sent as the argument of ERROR.
    pub fn text(self) -> &'static str {
        match self {
            Refusal::AuthorizationFailed => "it could not be found out whether the session may do this",
            Refusal::Canceled => "the call was canceled",
            Refusal::DiscloseMe => "this realm does not tell who publishes or calls",
            Refusal::FeatureNotSupported => "a feature this needs was not announced",
            Refusal::InvalidArgument("payload") => "the payload has no form in the receiver's serializer",
            Refusal::InvalidArgument(_) => "an option or argument has the wrong type or an unknown value",
            Refusal::InvalidUri => "the URI is not valid here, or is reserved",
            Refusal::NoAvailableCallee => "every callee is unavailable",
            Refusal::NoSuchProcedure => "nobody has registered this procedure",
            Refusal::NoSuchRegistration => "there is no such registration, or not of this session",
            Refusal::NoSuchPublication(_) => "the history does not know this publication, or no longer",
            Refusal::NoSuchSession => "there is no such session",
            Refusal::NoSuchSubscription => "there is no such subscription, or not of this session",
            Refusal::NotAuthorized => "the session may not do this",
            Refusal::OptionNotAllowed(_) => "an option is not allowed here",
            Refusal::PayloadSizeExceeded => "the message is larger than its receiver takes",
            Refusal::ProcedureAlreadyExists => "the procedure is registered already",
            Refusal::Timeout => "the call was not answered in time",
            Refusal::Unavailable => "a limit is reached, or the router is shutting down",
        }
    }
}

impl From<WrongOption> for Refusal {
    fn from(WrongOption(key): WrongOption) -> Refusal {
        Refusal::InvalidArgument(key)
    }
}

/// Why somebody does not join, though the HELLO was in order. The peer gets ABORT, and the connection ends.
///
/// A client is told what it can do something about, and nothing by which it could find out who is known here: a name
/// that nobody has, a wrong secret and a token of somebody else's are one and the same to it. Logs tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JoinFailure {
    /// The client asks for a binding to the connection that cannot be had.
    ChannelBinding,
    /// It was shown no certificate that is known.
    Certificate,
    /// The challenge was not answered in time.
    Late,
    /// It has left before anybody has looked at its answer.
    Left,
    /// None of the client's methods is open to it.
    NoMethod,
    /// HELLO lacks what its methods need to begin.
    Incomplete,
    /// The role that it wants to be is not its own, or there is none for it.
    NoSuchRole,
    /// By the settings that have come since it was asked, it may not.
    NotAllowed,
    /// Somebody has that name, and nothing to prove itself with by the client's methods.
    OtherMethod,
    /// There are as many realms from its template as there may be, and somebody is in each of them.
    RealmsFull,
    /// The token is refused.
    Token,
    /// There were too many failures from there: nothing was looked at.
    TooMany,
    /// The procedure that was asked has refused it.
    TurnedDown,
    /// The procedure that was to be asked has not answered, or nothing that can be understood.
    Unanswered,
    /// Whoever could say is not there, or has too much to do.
    Unavailable,
    /// Nobody has that name, or that key.
    UnknownPrincipal,
    /// The secret is wrong.
    WrongSecret,
}

impl JoinFailure {
    /// The reason of ABORT.
    ///
    /// Who has failed too often gets `unavailable`: it is the one reason after which clients try again later, which is
    /// right for the honest one that shares an address, and says nothing of secrets to the other, whose right guess is
    /// refused as well.
    pub fn reason(self) -> &'static str {
        match self {
            JoinFailure::Certificate
            | JoinFailure::Late
            | JoinFailure::Left
            | JoinFailure::NotAllowed
            | JoinFailure::OtherMethod
            | JoinFailure::Token
            | JoinFailure::TurnedDown
            | JoinFailure::Unanswered
            | JoinFailure::UnknownPrincipal
            | JoinFailure::WrongSecret => reason::AUTHENTICATION_FAILED,
            JoinFailure::ChannelBinding => reason::FEATURE_NOT_SUPPORTED,
            JoinFailure::Incomplete | JoinFailure::NoMethod => reason::NO_MATCHING_AUTH_METHOD,
            JoinFailure::RealmsFull => reason::NO_SUCH_REALM,
            JoinFailure::NoSuchRole => reason::NO_SUCH_ROLE,
            JoinFailure::TooMany | JoinFailure::Unavailable => reason::UNAVAILABLE,
        }
    }

    /// The same for people.
    pub fn message(self) -> &'static str {
        match self {
            JoinFailure::Certificate
            | JoinFailure::OtherMethod
            | JoinFailure::Token
            | JoinFailure::TurnedDown
            | JoinFailure::Unanswered
            | JoinFailure::UnknownPrincipal
            | JoinFailure::WrongSecret => "Authentication failed.",
            JoinFailure::NotAllowed => "By the settings as they are now it may not join.",
            JoinFailure::RealmsFull => {
                "The realm does not exist, and there are too many of its kind for another."
            }
            JoinFailure::Late => "The answer to the challenge is late.",
            JoinFailure::Left => "The client has left.",
            JoinFailure::ChannelBinding => {
                "This channel binding cannot be had here: only tls-exporter, over TLS that ends at the router."
            }
            JoinFailure::Incomplete => {
                "HELLO lacks what its authmethods need: authid; for wamp-scram authextra.nonce in base64, for \
                 cryptosign authextra.pubkey in 64 hexadecimal digits."
            }
            JoinFailure::NoMethod => "None of the authentication methods is open here.",
            JoinFailure::NoSuchRole => "The role does not exist, or is not this one's.",
            JoinFailure::TooMany => "There were too many failures from this address: try again later.",
            JoinFailure::Unavailable => "Authentication is not available now: try again later.",
        }
    }

    /// True if it may have been a guess: it counts against the source.
    pub fn is_guess(self) -> bool {
        matches!(
            self,
            JoinFailure::Certificate
                | JoinFailure::OtherMethod
                | JoinFailure::Token
                | JoinFailure::TurnedDown
                | JoinFailure::UnknownPrincipal
                | JoinFailure::WrongSecret
        )
    }
}

impl fmt::Display for JoinFailure {
    /// For logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            JoinFailure::ChannelBinding => "channel binding that cannot be had",
            JoinFailure::Certificate => "no known certificate",
            JoinFailure::Late => "late answer",
            JoinFailure::Left => "left before its answer was looked at",
            JoinFailure::Incomplete => "incomplete HELLO",
            JoinFailure::NoMethod => "no matching method",
            JoinFailure::NoSuchRole => "no such role",
            JoinFailure::NotAllowed => "not allowed any more",
            JoinFailure::OtherMethod => "not its method",
            JoinFailure::RealmsFull => "no room for another realm of its template",
            JoinFailure::Token => "refused token",
            JoinFailure::TooMany => "too many failures",
            JoinFailure::TurnedDown => "refused by the authenticator",
            JoinFailure::Unanswered => "no answer of the authenticator",
            JoinFailure::Unavailable => "not available",
            JoinFailure::UnknownPrincipal => "unknown principal",
            JoinFailure::WrongSecret => "wrong secret",
        })
    }
}

/// Why a connection ended: set once, counted, logged in one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum CloseReason {
    /// The peer closed its side.
    Closed,
    /// The network failed.
    Broken,
    /// The session was said goodbye to and the peer did not join again.
    Goodbye,
    /// The peer's HELLO was refused, or it aborted its own session.
    Aborted,
    /// The peer broke a rule.
    Violation(Violation),
    /// The handshake or HELLO did not come in time.
    HandshakeTimeout,
    /// The peer said nothing, not even a PONG.
    Silence,
    /// The peer did not take what was queued for it.
    SlowConsumer,
    /// The answer to our GOODBYE or close frame did not come in time.
    GoodbyeTimeout,
    /// The router is full.
    ConnectionLimit,
    /// It was the oldest of too many TLS handshakes.
    HandshakeLimit,
    /// The peer had begun messages and not finished them, when too many of those were kept.
    InboundLimit,
    /// The router is shutting down.
    Shutdown,
    /// A plain HTTP request was answered.
    HttpAnswered,
    /// It speaks HTTP for the long-poll transport, and the connection is served elsewhere.
    LongPoll,
}
