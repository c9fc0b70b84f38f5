//! What a peer's connection has shown, and the dictionary that tells it: `transport` among the details that Crossbar.io
//! gives its authenticators, with the keys and values of autobahn-python's `TransportDetails`.
//!
//! What HTTP has said is kept as it came for as long as somebody may ask (see `peer/kept.rs`), and read each time. It
//! has cookies and tokens in it, so only those who are to judge a peer are told; everybody else who may look at a
//! session gets [`TransportFacts::public_details`].
//!
//! Some keys tell what a process is and not what a connection is (`own`, `own_pid`, `own_tid`, `own_fd`); a shard does
//! not know it, and they are null. Long-poll has no name among theirs: its `channel_framing` is `null` as a text, which
//! is what they call no framing. Four keys are ours: `http_path`, the target of the request, with which browsers say
//! what they cannot say in headers; `proxy`, who has named the client; `tls`; and `tls_exporter`, the channel binding
//! of that name. Their `channel_id` is empty: its reader there takes `tls-unique` alone, which we do not have.

use crate::auth::certificate::{Certificate, Fingerprint};
use crate::auth::distinguished_name::DistinguishedName;
use crate::auth::hex;
use crate::origin::{ClientCertificate, Origin, PeerAddress, TlsOrigin};
use crate::transport::upgrade::{RequestHead, SUBPROTOCOLS};
use crate::transport::{Framing, Link};
use crate::wamp::{Dict, Value};

/// What HTTP has said before WAMP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpFacts {
    head: RequestHead,
}

/// All that is known of a connection on which something is agreed on.
#[derive(Clone, Copy, Debug)]
pub struct TransportFacts<'a> {
    /// Where it comes from, and what TLS has shown.
    pub origin: &'a Origin,
    /// What was agreed on.
    pub link: Link,
    /// It is a long-poll transport; to the shard that is RawSocket.
    pub longpoll: bool,
    /// What HTTP has said, if it was spoken, and as long as it is kept.
    pub http: Option<&'a HttpFacts>,
}

impl HttpFacts {
    /// What this request has said.
    pub fn new(head: RequestHead) -> HttpFacts {
        HttpFacts { head }
    }

    /// What is left when nobody asks for the request any more: the cookie, if there is one.
    pub fn without_request(mut self) -> Option<HttpFacts> {
        self.head.forget();
        self.head.cookie().is_some().then_some(self)
    }

    /// The cookie that the browser has from us.
    pub fn cookie(&self) -> Option<&str> {
        self.head.cookie()
    }

    /// Octets held.
    pub fn bytes(&self) -> usize {
        self.head.bytes()
    }

    /// The target of the request: path and query.
    pub fn target(&self) -> Option<String> {
        self.head.read(|request| request.path.map(str::to_owned)).flatten()
    }

    /// The headers in their order, each name once and in lower case; the values of one name stand behind one another
    /// as HTTP joins them. What is no UTF-8 is read as Latin-1. None if the request is not kept any more.
    pub fn headers(&self) -> Option<Vec<(String, String)>> {
        self.head.read(|request| {
            let mut headers: Vec<(String, String)> = Vec::with_capacity(request.headers.len());
            for header in &*request.headers {
                let (name, value) = (header.name.to_ascii_lowercase(), text(header.value));
                match headers.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, values)) => {
                        values.push_str(if name == "cookie" { "; " } else { ", " });
                        values.push_str(&value);
                    }
                    None => headers.push((name, value)),
                }
            }
            headers
        })
    }
}

fn text(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect(),
    }
}

/// Pairs of a dictionary that is written.
type Pairs<'a> = Vec<(&'a str, Value<'a>)>;

impl TransportFacts<'_> {
    /// Calls `send` with everything, for those who judge the peer.
    pub fn details<T>(&self, send: impl FnOnce(Dict<'_>) -> T) -> T {
        let tls = self.origin.tls.as_deref();
        let texts = Texts::of(self);
        let tls_pairs = tls.map(tls_pairs);
        let mut pairs = self.pairs(&texts, tls_pairs.as_deref());

        let exporter = tls.map_or(Value::Null, |tls| Value::Binary(tls.exporter[..].into()));
        pairs.extend([("channel_id", Value::Dict(Dict::EMPTY)), ("tls_exporter", exporter)]);

        let certificate = tls.and_then(|tls| tls.client_certificate.as_ref()).map(PeerCertificate::read);
        let subject = certificate.as_ref().map(PeerCertificate::subject);
        let certificate = certificate.iter().zip(&subject);
        let certificate = certificate.map(|(certificate, subject)| certificate.pairs(subject)).next();
        pairs.push(("peer_cert", dict_or_null(certificate.as_deref())));

        let headers = self.http.and_then(HttpFacts::headers);
        let received = headers.as_ref().map(|headers| texts_of(headers));
        let sent: Pairs<'_> = self
            .http
            .and_then(|http| http.head.set_cookie())
            .iter()
            .map(|set| ("Set-Cookie", Value::text(set)))
            .collect();
        let target = self.http.and_then(HttpFacts::target);
        pairs.extend([
            ("http_headers_received", dict_or_null(received.as_deref())),
            (
                "http_headers_sent",
                dict_or_null(Some(&sent).filter(|sent| !sent.is_empty()).map(|sent| &sent[..])),
            ),
            ("http_cbtid", text_or_null(self.http.and_then(HttpFacts::cookie))),
            ("http_path", text_or_null(target.as_deref())),
        ]);
        send(Dict::Pairs(&pairs))
    }

    /// Calls `send` with what anybody may know who may look at the session: nothing that opens a door elsewhere.
    pub fn public_details<T>(&self, send: impl FnOnce(Dict<'_>) -> T) -> T {
        let texts = Texts::of(self);
        let tls_pairs = self.origin.tls.as_deref().map(tls_pairs);
        send(Dict::Pairs(&self.pairs(&texts, tls_pairs.as_deref())))
    }

    fn pairs<'p>(&'p self, texts: &'p Texts, tls: Option<&'p [(&'p str, Value<'p>)]>) -> Pairs<'p> {
        let TransportFacts { origin: Origin { address, proxy, .. }, link, .. } = self;
        let channel_type = match address {
            _ if tls.is_some() => "tls",
            // Whom a proxy names is somewhere in the network, however the proxy itself has come.
            PeerAddress::Unix if proxy.is_none() => "memory",
            _ => "tcp",
        };
        let framing = match link.framing {
            _ if self.longpoll => "null",
            Framing::RawSocket => "rawsocket",
            Framing::WebSocket | Framing::WebSocketBatched => "websocket",
        };
        let nothing = |name| (name, Value::Null);
        vec![
            ("channel_type", Value::text(channel_type)),
            ("channel_framing", Value::text(framing)),
            ("channel_serializer", Value::text(link.serializer.name())),
            ("peer", Value::text(&texts.peer)),
            ("proxy", text_or_null(texts.proxy.as_deref())),
            ("is_server", Value::Bool(true)),
            nothing("own"),
            nothing("own_pid"),
            nothing("own_tid"),
            nothing("own_fd"),
            ("is_secure", Value::Bool(tls.is_some())),
            ("tls", dict_or_null(tls)),
            ("websocket_protocol", text_or_null(subprotocol(*link))),
            nothing("websocket_extensions_in_use"),
        ]
    }
}

/// Addresses as they are told.
struct Texts {
    peer: String,
    proxy: Option<String>,
}

impl Texts {
    fn of(facts: &TransportFacts<'_>) -> Texts {
        let Origin { address, proxy, .. } = facts.origin;
        Texts { peer: descriptor(address), proxy: proxy.as_ref().map(descriptor) }
    }
}

fn text_or_null(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, Value::text)
}

fn dict_or_null<'p>(pairs: Option<&'p [(&'p str, Value<'p>)]>) -> Value<'p> {
    pairs.map_or(Value::Null, |pairs| Value::Dict(Dict::Pairs(pairs)))
}

fn texts_of(pairs: &[(String, String)]) -> Pairs<'_> {
    pairs.iter().map(|(name, value)| (&**name, Value::text(value))).collect()
}

/// The subprotocol that was agreed on, if that was WebSocket.
fn subprotocol(link: Link) -> Option<&'static str> {
    let known =
        |(_, serializer, framing): &&(&str, _, _)| (*serializer, *framing) == (link.serializer, link.framing);
    SUBPROTOCOLS.iter().find(known).map(|(name, ..)| *name)
}

/// `tcp4:192.0.2.1:4711`, `tcp6:2001:db8::1:4711`, `unix`.
fn descriptor(address: &PeerAddress) -> String {
    match address {
        PeerAddress::Unix => "unix".to_owned(),
        PeerAddress::Tcp(address) => {
            let ip = address.ip().to_canonical();
            format!("tcp{}:{ip}:{}", if ip.is_ipv4() { 4 } else { 6 }, address.port())
        }
    }
}

fn tls_pairs(tls: &TlsOrigin) -> Pairs<'_> {
    vec![
        ("version", Value::text(tls.version)),
        ("cipher_suite", Value::text(tls.cipher_suite)),
        ("server_name", text_or_null(tls.server_name.as_deref())),
        ("application_protocol", text_or_null(tls.application_protocol.as_deref())),
    ]
}

/// What is told of a client's certificate: its digests, and whose it is if a configured authority says so. A subject
/// that nobody vouches for is not told: an authenticator that reads it would believe it.
struct PeerCertificate {
    sha1: String,
    sha256: String,
    subject: Vec<(String, String)>,
}

impl PeerCertificate {
    fn read(shown: &ClientCertificate) -> PeerCertificate {
        let certificate = Certificate::read(&shown.der).ok();
        let digests = certificate.as_ref().map(|known| (colons(&known.sha1), colons(&known.sha256)));
        let (sha1, sha256) = digests.unwrap_or_default();
        let subject = certificate.filter(|_| shown.subject.is_some()).map(|certificate| certificate.subject);
        let subject = subject.iter().flat_map(DistinguishedName::texts).map(|(name, value)| {
            let name = if name == "E" { "emailaddress".to_owned() } else { name.to_ascii_lowercase() };
            (name, value.to_owned())
        });
        let subject = subject.collect();
        PeerCertificate { sha1, sha256, subject }
    }

    fn subject(&self) -> Pairs<'_> {
        texts_of(&self.subject)
    }

    fn pairs<'p>(&'p self, subject: &'p Pairs<'p>) -> Pairs<'p> {
        let subject = Some(&**subject).filter(|subject| !subject.is_empty());
        vec![
            ("sha1", Value::text(&self.sha1)),
            ("sha256", Value::text(&self.sha256)),
            ("subject", dict_or_null(subject)),
        ]
    }
}

/// `AB:CD:…`, as OpenSSL writes digests.
fn colons(fingerprint: &Fingerprint) -> String {
    let digits = match fingerprint {
        Fingerprint::Sha1(digest) => hex(digest),
        Fingerprint::Sha256(digest) => hex(digest),
    };
    let pairs: Vec<_> = digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    pairs.join(":").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use crate::wamp::message::Goodbye;
    use crate::wamp::{Message, Serializer};

    const HEAD: &[u8] = b"GET /ws?token=1 HTTP/1.1\r\nHost: a\r\nCookie: x=1\r\nX-A: 1\r\ncookie: y=2\r\n\
        x-a: 2\r\nX-B: \xE4\xF6\r\n\r\n";

    fn link(framing: Framing) -> Link {
        Link { serializer: Serializer::Cbor, framing, message_bytes_max: 512 }
    }

    fn address(text: &str) -> PeerAddress {
        PeerAddress::Tcp(text.parse().unwrap())
    }

    /// The dictionary as JSON reads it.
    fn json(details: Dict<'_>) -> serde_json::Value {
        let goodbye = Message::Goodbye(Goodbye { details, reason: "a".into() });
        let mut octets = Vec::new();
        codec::encode(&goodbye, Serializer::Json, &mut octets).unwrap();
        serde_json::from_slice::<serde_json::Value>(&octets).unwrap()[1].take()
    }

    #[test]
    fn a_websocket_behind_a_proxy_is_told_with_all_that_http_has_said() {
        let (address, proxy) = (address("192.0.2.1:0"), Some(address("[::ffff:10.0.0.1]:9")));
        let origin = Origin { address, proxy, tls: None };
        let http = HttpFacts::new(RequestHead::of(HEAD));
        let facts = TransportFacts {
            origin: &origin,
            link: link(Framing::WebSocketBatched),
            longpoll: false,
            http: Some(&http),
        };
        let expected = serde_json::json!({
            "channel_type": "tcp", "channel_framing": "websocket", "channel_serializer": "cbor",
            "peer": "tcp4:192.0.2.1:0", "proxy": "tcp4:10.0.0.1:9", "is_server": true, "own": null, "own_pid": null,
            "own_tid": null, "own_fd": null, "is_secure": false, "tls": null,
            "websocket_protocol": "wamp.2.cbor.batched", "websocket_extensions_in_use": null,
        });
        assert_eq!(facts.public_details(json), expected);
        let mut all = expected;
        all["channel_id"] = serde_json::json!({});
        all["tls_exporter"] = serde_json::Value::Null;
        all["peer_cert"] = serde_json::Value::Null;
        all["http_headers_received"] =
            serde_json::json!({ "host": "a", "cookie": "x=1; y=2", "x-a": "1, 2", "x-b": "\u{e4}\u{f6}" });
        all["http_headers_sent"] = serde_json::Value::Null;
        all["http_cbtid"] = serde_json::Value::Null;
        all["http_path"] = "/ws?token=1".into();
        assert_eq!(facts.details(json), all);
        assert!(!format!("{http:?}").contains("token"), "what may be secret is not logged");
    }

    #[test]
    fn the_subject_of_a_certificate_is_told_if_somebody_vouches_for_it() {
        let issued = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let tls = |subject: Option<&str>| TlsOrigin {
            version: "TLSv1.3",
            cipher_suite: "TLS13_AES_256_GCM_SHA384",
            server_name: Some("a.example".into()),
            application_protocol: None,
            resumed: false,
            client_certificate: Some(ClientCertificate {
                der: issued.cert.der().as_ref().into(),
                subject: subject.map(Into::into),
            }),
            exporter: [7; 32],
        };
        let told = |subject| {
            let tls = Some(Box::new(tls(subject)));
            let origin = Origin { address: address("[2001:db8::1]:7"), proxy: None, tls };
            let facts = TransportFacts {
                origin: &origin,
                link: link(Framing::RawSocket),
                longpoll: false,
                http: None,
            };
            assert!(facts.public_details(json).get("tls_exporter").is_none());
            facts.details(json)
        };
        let all = told(Some("CN=rcgen self signed cert"));
        assert_eq!(all["peer_cert"]["subject"], serde_json::json!({ "cn": "rcgen self signed cert" }));
        assert_eq!(all["peer_cert"]["sha256"].as_str().unwrap().len(), 32 * 3 - 1);
        assert_eq!((&all["channel_type"], &all["is_secure"]), (&"tls".into(), &true.into()));
        assert_eq!(all["peer"], "tcp6:2001:db8::1:7");
        assert_eq!(all["tls"]["server_name"], "a.example");
        assert_eq!(all["channel_id"], serde_json::json!({}), "autobahn-python understands no other binding");
        assert!(all["tls_exporter"].as_str().unwrap().starts_with('\0'), "32 octets");
        assert_eq!((&all["websocket_protocol"], &all["http_path"]), (&().into(), &().into()));
        assert_eq!(told(None)["peer_cert"]["subject"], serde_json::Value::Null);
    }

    #[test]
    fn the_way_of_a_connection_has_a_name() {
        let named = |origin: Origin, longpoll| {
            let facts =
                TransportFacts { origin: &origin, link: link(Framing::RawSocket), longpoll, http: None };
            let details = facts.public_details(json);
            let text = |key: &str| details[key].as_str().unwrap().to_owned();
            (text("channel_type"), text("channel_framing"), text("peer"))
        };
        let expected = |channel_type: &str, framing: &str, peer: &str| {
            (channel_type.to_owned(), framing.to_owned(), peer.to_owned())
        };
        assert_eq!(named(PeerAddress::Unix.into(), false), expected("memory", "rawsocket", "unix"));
        assert_eq!(named(address("[::1]:1").into(), true), expected("tcp", "null", "tcp6:::1:1"));
        let behind = Origin { address: address("192.0.2.1:0"), proxy: Some(PeerAddress::Unix), tls: None };
        assert_eq!(named(behind, false), expected("tcp", "rawsocket", "tcp4:192.0.2.1:0"));
    }
}
