//! `[[listener]]`: an address, what is spoken there, who may come, and TLS.

use std::path::PathBuf;

use super::super::reader::Table;
use super::{DAY_SECONDS, MESSAGE_BYTES_CEILING, MESSAGE_BYTES_MIN, REQUEST_IDS, longpoll_path};
use crate::auth::Method;
use crate::origin;
use crate::router::RequestIds;
use crate::router::authentication::AnonymousHere;
use crate::server::{Address, ClientCertificates};
use crate::wamp::Serializer;

/// A listener.
#[derive(Clone, PartialEq, Debug)]
pub struct Listener {
    /// Where; none only if that was a mistake.
    pub address: Option<Address>,
    /// WebSocket may be opened.
    pub websocket: bool,
    /// RawSocket may be opened.
    pub rawsocket: bool,
    /// Long-poll is spoken.
    pub longpoll: bool,
    /// The path of long-poll, if not that of all listeners.
    pub longpoll_path: Option<String>,
    /// What may be agreed on.
    pub serializers: Vec<Serializer>,
    /// Which request ids are taken, if not what holds for all.
    pub request_ids: Option<RequestIds>,
    /// Octets of one message, if not what holds for all.
    pub message_bytes_max: Option<usize>,
    /// RawSocket peers that announce less are refused, if not what holds for all.
    pub peer_message_bytes_min: Option<usize>,
    /// Which pages may open WebSockets, with stars for any text; none: all.
    pub origins: Option<Vec<String>>,
    /// Pages without an origin (`null`) may too.
    pub allow_null_origin: bool,
    /// Which authentication methods are open; none: all that a realm has.
    pub methods: Option<Vec<Method>>,
    /// What those who say nothing of themselves are here, if not what the realm says.
    pub anonymous: Option<AnonymousHere>,
    /// Which realms may be joined; none: all.
    pub realms: Option<Vec<String>>,
    /// What is different for some sources; the first that holds the address decides.
    pub networks: Vec<Network>,
    /// Who may say with PROXY protocol for whom it speaks.
    pub proxy_protocol_from: Vec<origin::Network>,
    /// Whose `X-Forwarded-For` counts.
    pub forwarded_from: Vec<origin::Network>,
    /// TLS, if it is spoken.
    pub tls: Option<Tls>,
    /// The cookie that browsers are given, if they are.
    pub cookie: Option<Cookie>,
}

/// `[[listener.network]]`: what is different for some sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Which sources.
    pub from: Vec<origin::Network>,
    /// Which authentication methods are open to them.
    pub methods: Vec<Method>,
    /// What those are who say nothing of themselves, if not what the listener or the realm says.
    pub anonymous: Option<AnonymousHere>,
}

/// `[listener.tls]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// What is shown to those who name nobody, or nobody else.
    pub certificate: Certificate,
    /// Peers without TLS are served on the same port as well.
    pub shared: bool,
    /// Whether clients show certificates.
    pub client: ClientCertificates,
    /// A file with the authorities that sign those.
    pub client_authorities: Option<PathBuf>,
    /// Further certificates, by the names they are for.
    pub sni: Vec<(Vec<String>, Certificate)>,
}

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Certificate {
    /// A PEM file with the certificate and those that sign it.
    pub chain: Option<PathBuf>,
    /// A PEM file with the private key; it is watched with the certificate.
    pub key_file: Option<PathBuf>,
}

/// What begins like this is taken by browsers only from the host itself, over TLS and for all its paths: neither a
/// sibling domain nor somebody on the way can give a browser a cookie that they know, to be it when it has logged in.
const HOST_PREFIX: &str = "__Host-";

/// What a cookie is called.
const COOKIE: &str = "__Host-fanwire";

/// `[listener.cookie]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cookie {
    /// What it is called.
    pub name: String,
    /// How long a browser keeps it.
    pub max_age_seconds: u64,
    /// Browsers send it over TLS only.
    pub secure: bool,
    /// Scripts do not see it.
    pub http_only: bool,
    /// When other sites' pages send it.
    pub same_site: SameSite,
}

/// When other sites' pages send a cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SameSite {
    /// Never.
    Strict,
    /// When they are left for ours.
    Lax,
    /// Always.
    None,
}

impl Listener {
    pub(super) fn read(table: &mut Table) -> Listener {
        let octets = MESSAGE_BYTES_MIN as u64..=MESSAGE_BYTES_CEILING as u64;
        let transports = table.choices("transports", &[("websocket", 0), ("rawsocket", 1), ("longpoll", 2)]);
        let speaks = |index| transports.as_ref().is_none_or(|transports| transports.contains(&index));
        let (websocket, rawsocket, longpoll) = (speaks(0), speaks(1), speaks(2));
        let serializers = Serializer::ALL.map(|serializer| (serializer.name(), serializer));
        Listener {
            address: address(table),
            websocket,
            rawsocket,
            longpoll,
            longpoll_path: table.parsed("longpoll", longpoll_path),
            serializers: table
                .choices("serializers", &serializers)
                .unwrap_or_else(|| Serializer::ALL.to_vec()),
            request_ids: table.choice("request_ids", &REQUEST_IDS),
            message_bytes_max: table.octets("message_bytes_max", octets.clone()),
            peer_message_bytes_min: table.octets("peer_message_bytes_min", octets),
            origins: table.parsed_list("origins", origin),
            allow_null_origin: table.flag("allow_null_origin", true),
            methods: methods(table),
            anonymous: table.table("anonymous", anonymous),
            realms: table.texts("realms"),
            networks: table.tables("network", Network::read),
            proxy_protocol_from: table.parsed_list("proxy_protocol_from", network).unwrap_or_default(),
            forwarded_from: table.parsed_list("forwarded_from", network).unwrap_or_default(),
            tls: table.table("tls", Tls::read),
            cookie: table.table("cookie", Cookie::read),
        }
    }

    /// The names of what is spoken here.
    pub fn transports(&self) -> Vec<&'static str> {
        let spoken =
            [(self.websocket, "websocket"), (self.rawsocket, "rawsocket"), (self.longpoll, "longpoll")];
        spoken.into_iter().filter(|(spoken, _)| *spoken).map(|(_, name)| name).collect()
    }
}

impl Network {
    fn read(table: &mut Table) -> Network {
        if !table.has("methods") {
            table
                .mistake("methods", "write which methods are open to them; [] if nobody may join from there");
        }
        Network {
            from: table.parsed_list("from", network).unwrap_or_default(),
            methods: methods(table).unwrap_or_default(),
            anonymous: table.table("anonymous", anonymous),
        }
    }
}

/// `anonymous` of a listener or network. That the role is not said is a mistake: that of the realm is what it replaces.
fn anonymous(table: &mut Table) -> AnonymousHere {
    if !table.has("role") {
        table.mistake("role", "it is missing; write what those who say nothing of themselves are here");
    }
    let role = table.text("role").unwrap_or_default().into();
    AnonymousHere { role, authid: table.text("authid").map(Box::from) }
}

impl Tls {
    fn read(table: &mut Table) -> Tls {
        Tls {
            certificate: Certificate::read(table),
            shared: table.flag("shared", false),
            client: table.choice("client", &ClientCertificates::NAMED).unwrap_or(
                if table.has("client_authorities") {
                    ClientCertificates::Required
                } else {
                    ClientCertificates::Off
                },
            ),
            client_authorities: table.readable("client_authorities"),
            sni: table.tables("sni", |table| {
                (table.parsed_list("names", host).unwrap_or_default(), Certificate::read(table))
            }),
        }
    }
}

impl Certificate {
    fn read(table: &mut Table) -> Certificate {
        Certificate { chain: table.readable("certificate"), key_file: table.readable("key_file") }
    }
}

impl Default for Cookie {
    fn default() -> Cookie {
        Cookie {
            name: COOKIE.to_owned(),
            max_age_seconds: 7 * DAY_SECONDS,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }
}

impl Cookie {
    fn read(table: &mut Table) -> Cookie {
        let default = Cookie::default();
        let sites = [("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
        let secure = table.flag("secure", default.secure);
        Cookie {
            name: table.parsed("name", cookie_name).unwrap_or_else(|| {
                // Without TLS, browsers take no name with that prefix.
                let prefixed = if secure { COOKIE } else { COOKIE.trim_start_matches(HOST_PREFIX) };
                prefixed.to_owned()
            }),
            max_age_seconds: table
                .number("max_age_seconds", 1..=400 * DAY_SECONDS)
                .unwrap_or(default.max_age_seconds),
            secure,
            http_only: table.flag("http_only", default.http_only),
            same_site: table.choice("same_site", &sites).unwrap_or(default.same_site),
        }
    }
}

fn address(table: &mut Table) -> Option<Address> {
    let base = table.base();
    table.parsed("address", |text| {
        let address = match text.strip_prefix("unix:") {
            Some(path) => Some(path.strip_prefix("//").unwrap_or(path))
                .filter(|path| !path.is_empty())
                .map(|path| Address::Unix(base.join(path))),
            None => Address::tcp(text.strip_prefix("tcp://").unwrap_or(text)),
        };
        let advice =
            || format!("`{text}` is no address; write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/path");
        address.ok_or_else(advice)
    })
}

/// The `methods` of a listener or network.
fn methods(table: &mut Table) -> Option<Vec<Method>> {
    let scram = [("scram", Method::Scram)];
    let names = Method::ALL.map(|method| (method.name(), method)).into_iter().chain(scram);
    table.choices("methods", &names.collect::<Vec<_>>())
}

/// The name of a host, as clients send it to be shown its certificate; `*.` for all directly below one.
fn host(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let plain = label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_prefix("*.").unwrap_or(text);
    // Addresses are not sent.
    let is_address = name.rsplit('.').next().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    let valid = text.len() <= 253 && name.split('.').all(is_label) && !is_address;
    valid.then(|| text.to_owned()).ok_or_else(|| {
        format!("`{text}` is no name of a host; write one such as \"www.example.org\" or \"*.example.org\"")
    })
}

/// The origin of pages as an operator writes it: scheme, host, and a port perhaps; stars stand for any text, and one
/// alone for every origin.
pub fn origin(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._*:[]".contains(c);
    let valid = text == "*"
        || text.split_once("://").is_some_and(|(scheme, host)| {
            let scheme_valid =
                !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.*".contains(c));
            scheme_valid && !host.is_empty() && host.chars().all(plain)
        });
    let advice =
        || format!("`{text}` is no origin; write one such as \"https://*.example.com\", without a path");
    valid.then(|| text.to_owned()).ok_or_else(advice)
}

/// `10.0.0.0/8`, one address, or `unix`.
fn network(text: &str) -> Result<origin::Network, String> {
    text.parse().map_err(|error: origin::NetworkError| error.to_string())
}

/// A token of HTTP.
fn cookie_name(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let valid = !text.is_empty() && text.chars().all(token);
    valid.then(|| text.to_owned()).ok_or_else(|| "write letters, digits, - and _".to_owned())
}
