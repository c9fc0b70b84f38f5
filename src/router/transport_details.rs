//! How a peer is connected, in the words of Autobahn's `TransportDetails`: what authorizers and authenticators are
//! told, and what back ends of Crossbar.io look for.
//!
//! What this router does not know stands there as null, so that nobody stumbles over a key that is missing.

use super::peer::Peer;
use crate::auth::certificate::Certificate;
use crate::origin::{Origin, PeerAddress};
use crate::transport::Framing;
use crate::wamp::{Dict, Value};

/// Calls `tell` with them. The peer is the client itself, where a proxy that is believed has named it; the proxy is
/// told too.
pub fn with<T>(peer: &Peer, tell: impl FnOnce(Dict<'_>) -> T) -> T {
    let Origin { address, proxy, tls } = &*peer.origin;
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, |text| Value::Text(text.into()));
    let channel_type = match (tls, address) {
        (Some(_), _) => "tls",
        (None, PeerAddress::Tcp(_)) => "tcp",
        // Autobahn's word for sockets of one machine.
        (None, PeerAddress::Unix) => "memory",
    };
    let framing = peer.link.map(|link| match link.framing {
        Framing::RawSocket => "rawsocket",
        Framing::WebSocket | Framing::WebSocketBatched => "websocket",
    });
    let serializer = peer.link.map(|link| link.serializer.name());
    let name = |name: Option<&'static str>| name.map_or(Value::Null, Value::text);
    let shown = tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    let certificate = shown.and_then(|shown| {
        let certificate = Certificate::read(&shown.der).ok()?;
        Some([
            ("subject", shown.subject.as_deref().map_or(Value::Null, Value::text)),
            ("sha1", Value::Text(certificate.sha1.to_string().into())),
            ("sha256", Value::Text(certificate.sha256.to_string().into())),
        ])
    });
    let details = [
        ("channel_type", Value::text(channel_type)),
        ("channel_framing", name(framing)),
        ("channel_serializer", name(serializer)),
        ("own", Value::Null),
        ("peer", Value::Text(told(*address).into())),
        ("proxy", text(&proxy.map(told))),
        ("is_server", Value::Bool(true)),
        ("is_secure", Value::Bool(tls.is_some())),
        ("channel_id", Value::Null),
        ("peer_cert", certificate.as_ref().map_or(Value::Null, |pairs| Value::Dict(Dict::Pairs(pairs)))),
        ("websocket_protocol", text(&subprotocol(peer))),
        ("websocket_extensions_in_use", Value::Null),
        ("http_headers_received", Value::Null),
        ("http_headers_sent", Value::Null),
        ("http_cbtid", Value::Null),
    ];
    tell(Dict::Pairs(&details))
}

/// An address as Autobahn writes it: `tcp4:127.0.0.1:5000`, `tcp6:::1:5000`, `unix`.
fn told(address: PeerAddress) -> String {
    match address {
        PeerAddress::Tcp(address) => {
            let family = if address.is_ipv4() { "tcp4" } else { "tcp6" };
            format!("{family}:{}:{}", address.ip(), address.port())
        }
        PeerAddress::Unix => "unix".to_owned(),
    }
}

fn subprotocol(peer: &Peer) -> Option<String> {
    let link = peer.link?;
    let batched = match link.framing {
        Framing::RawSocket => return None,
        Framing::WebSocket => "",
        Framing::WebSocketBatched => ".batched",
    };
    Some(format!("wamp.2.{}{batched}", link.serializer.name()))
}
