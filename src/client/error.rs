//! What can go wrong for a client, sorted by what its user can do about it, and in words for people.

use std::fmt;
use std::io;

use super::authentication::AuthenticationError;
use super::incoming::OwnedDict;
use super::url::Url;
use crate::codec::payload::OwnedPayload;
use crate::transport::rawsocket::HandshakeError;

/// Why a client's request, or its whole session, came to nothing.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers there, or the name has no address.
    Connect(Box<Url>, io::Error),
    /// Something answers, but will not open a WAMP transport.
    Handshake(Handshake),
    /// TLS cannot be set up, or the certificate is not to be trusted.
    Tls(Tls),
    /// The router refused the session, or ended it for a violation.
    Aborted(Farewell),
    /// The client does not prove who it is to this router, or the router has not proved itself.
    Authentication(AuthenticationError),
    /// The router ended the session in good order.
    Goodbye(Farewell),
    /// The router or the callee answered ERROR; the session goes on.
    Refused(Box<Refused>),
    /// The router closed the connection: a WebSocket close code and text, where there were any.
    Closed(Option<(u16, String)>),
    /// The connection broke.
    Lost(io::Error),
    /// No answer came in time; the session goes on.
    Timeout,
    /// The router sent something that breaks the protocol.
    Protocol(&'static str),
    /// The message to be sent has no form in the session's serializer.
    Unencodable,
    /// The message to be sent is larger than the router takes; it was not sent.
    TooLarge,
    /// More events came than are kept while a reply is waited for.
    Overrun,
}

/// Why no WAMP transport was opened.
#[derive(Debug)]
pub enum Handshake {
    /// The RawSocket handshake was refused with this error.
    RawSocket(HandshakeError),
    /// The answer is not RawSocket's.
    NotRawSocket,
    /// RawSocket was opened with another serializer than was asked for.
    OtherSerializer,
    /// The upgrade was answered by this status and body.
    Http(u16, String),
    /// The answer is not HTTP, or too long.
    NotHttp,
    /// The answer's accept key is missing or wrong.
    AcceptKey,
    /// The subprotocol was not agreed on.
    Subprotocol,
}

/// Why there is no TLS.
#[derive(Debug)]
pub enum Tls {
    /// The file with certificates of authorities cannot be read.
    Authorities(io::Error),
    /// There is no certificate in it.
    NoAuthorities,
    /// The file of the client's own certificate, or of its key, cannot be read.
    Certificate(io::Error),
    /// There is no certificate in it, or no key.
    NoCertificate,
    /// The host of the URL is neither a name nor an address that a certificate can be issued for.
    HostName,
    /// The handshake failed.
    Failed(rustls::Error),
}

/// The last word of a router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Farewell {
    /// The reason's URI.
    pub reason: String,
    /// The text for people that came with it.
    pub message: Option<String>,
}

/// An ERROR message.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The error's URI.
    pub error: String,
    /// Its details.
    pub details: OwnedDict,
    /// What it carries.
    pub payload: OwnedPayload,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect(url, error) => write!(f, "cannot connect to {url}: {error}"),
            ClientError::Handshake(handshake) => handshake.fmt(f),
            ClientError::Tls(tls) => tls.fmt(f),
            ClientError::Aborted(farewell) => write!(f, "the router aborted the session: {farewell}"),
            ClientError::Authentication(error) => error.fmt(f),
            ClientError::Goodbye(farewell) => write!(f, "the router ended the session: {farewell}"),
            ClientError::Refused(refused) => f.write_str(&refused.error),
            ClientError::Closed(None) => f.write_str("the router closed the connection"),
            ClientError::Closed(Some((code, text))) if text.is_empty() => {
                write!(f, "the router closed the connection (code {code})")
            }
            ClientError::Closed(Some((code, text))) => {
                write!(f, "the router closed the connection: {text} (code {code})")
            }
            ClientError::Lost(error) => write!(f, "the connection broke: {error}"),
            ClientError::Timeout => f.write_str("no answer came in time"),
            ClientError::Protocol(what) => write!(f, "the router broke the protocol: {what}"),
            ClientError::Unencodable => f.write_str("the message has no form in this serializer"),
            ClientError::TooLarge => f.write_str("the message is larger than the router takes"),
            ClientError::Overrun => f.write_str("more events came than can be kept"),
        }
    }
}

impl std::error::Error for ClientError {}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handshake::RawSocket(error) => write!(f, "RawSocket was refused: {}", rawsocket_text(*error)),
            Handshake::NotRawSocket => f.write_str("what answers there does not speak RawSocket"),
            Handshake::OtherSerializer => f.write_str("RawSocket was opened with another serializer"),
            Handshake::Http(status, body) if body.is_empty() => {
                write!(f, "WebSocket was refused: HTTP status {status}")
            }
            Handshake::Http(status, body) => write!(f, "WebSocket was refused: HTTP status {status}: {body}"),
            Handshake::NotHttp => f.write_str("what answers there does not speak HTTP"),
            Handshake::AcceptKey => f.write_str("the WebSocket accept key is wrong"),
            Handshake::Subprotocol => f.write_str("the router does not speak this serializer over WebSocket"),
        }
    }
}

/// What the number in a refused handshake means (advanced profile, "RawSocket Transport").
fn rawsocket_text(error: HandshakeError) -> &'static str {
    match error {
        HandshakeError::Serializer => "the serializer is not supported (error 1)",
        HandshakeError::Length => "the maximum message length is not acceptable (error 2)",
        HandshakeError::Reserved => "reserved bits are in use (error 3)",
        HandshakeError::ConnectionLimit => "the router has too many connections (error 4)",
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tls::Authorities(error) => write!(f, "the file of the authorities cannot be read: {error}"),
            Tls::NoAuthorities => f.write_str("the file of the authorities holds no certificate"),
            Tls::Certificate(error) => write!(f, "the client's certificate or key cannot be read: {error}"),
            Tls::NoCertificate => f.write_str("the client's certificate, or its key, is not in its file"),
            Tls::HostName => f.write_str("no certificate can be issued for this host"),
            Tls::Failed(error) => write!(f, "TLS failed: {error}"),
        }
    }
}

impl fmt::Display for Farewell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{} ({message})", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
