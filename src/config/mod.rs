//! What an operator may set, and the check that it fits together: plain values in, what the server is started with or
//! one clear sentence out.
//!
//! Whatever reads the values (the command line) only collects them; every rule about them stands here. With nothing
//! set, [`Config::default`] is the router people expect: one port on this machine for both transports, one realm.
//!
//! Beside the command line there is the configuration [`mod@file`], which can say more: [`load`] reads and checks it.
//! [`crossbar`] turns a Crossbar.io node configuration into one.

mod caution;
mod check;
mod convert;
pub mod crossbar;
pub mod file;
mod may;
mod reader;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::{Limits, MESSAGE_BYTES_CEILING, SHARDS_MAX};
use crate::origin::Network;
use crate::router::authentication::{self, Access, RouterSettings};
use crate::router::{Disclosure, HistoryRule, ListenerSettings, RealmSettings, RequestIds, Role, Settings};
use crate::server::{self, Address, Entrance, TlsSettings};
use crate::transport;
use crate::transport::pages::{Origins, Pages};
use crate::wamp::{MatchPolicy, Serializer, UriCheck, uri};

pub use self::caution::{cautions, open_to_everybody};
pub use self::check::methods;
pub use self::convert::{Loaded, load};
pub use self::file::control;
pub use self::may::{Explained, May, may};
pub use self::reader::{Mistake, Surroundings};

/// The port without any setting, the one people know from other routers.
pub const PORT: u16 = 8080;

/// The realm without any setting.
pub const REALM: &str = "realm1";

/// The path of the long-poll transport without any setting, the one people know from other routers.
pub const LONGPOLL: &str = "/lp";

/// A configuration file with every key, and comments.
pub const EXAMPLE: &str = include_str!("example.toml");

/// What pages say that have no origin.
const NULL_ORIGIN: &str = "null";

/// Pages that may connect: their origin, in which stars stand for any text, or `null` for those without one.
pub fn page_origin(text: &str) -> Result<String, String> {
    if text == NULL_ORIGIN { Ok(text.to_owned()) } else { file::origin(text) }
}

/// What the router calls itself in WELCOME.
const AGENT: &str = concat!("fanwire-", env!("CARGO_PKG_VERSION"));

/// The smallest value of `message_bytes_max`: what every RawSocket peer can announce.
pub const MESSAGE_BYTES_MIN: usize = 512;

/// All that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; at least one.
    pub listens: Vec<Listen>,
    /// Shards: 1 to [`SHARDS_MAX`].
    pub shards: usize,
    /// Realms; at least one.
    pub realms: Vec<String>,
    /// Which URIs are valid in them.
    pub uri_check: UriCheck,
    /// Whether receivers are told who publishes and calls.
    pub disclosure: Disclosure,
    /// Which publications are kept in the event history of each realm.
    pub event_history: Vec<HistoryRule>,
    /// How many events the topics of a realm retain together.
    pub retained_count_max: usize,
    /// Octets of those.
    pub retained_bytes_max: usize,
    /// Clients may change what is not theirs: see [`Role::administers`]. That is for a machine of one's own.
    pub administers: bool,
    /// Which request ids are taken where a listener does not say.
    pub request_ids: RequestIds,
    /// How long the answer of a call may take that says nothing of it; 0: however long it takes.
    pub call_timeout_ms: u64,
    /// RawSocket peers that announce less are refused; [`MESSAGE_BYTES_MIN`] refuses none.
    pub peer_message_bytes_min: usize,
    /// The path of the long-poll transport, on every listener that speaks WebSocket; none if it is not spoken.
    pub longpoll: Option<String>,
    /// The TLS of the listeners that speak it; their own settings say which do, and whether on a shared port.
    pub tls: Option<TlsSettings>,
    /// Proxies whose connections begin with a PROXY header, on every listener.
    pub proxy_protocol_from: Vec<Network>,
    /// Proxies whose `X-Forwarded-For` names the client, on every listener.
    pub forwarded_from: Vec<Network>,
    /// Pages that may connect, on every listener, as [`page_origin`] reads them; none: all.
    pub origins: Vec<String>,
    /// The bounds.
    pub limits: Limits,
}

/// A listener as an operator writes it: an address, and the transports its scheme stands for.
///
/// ```text
///   127.0.0.1:8080   tcp://127.0.0.1:8080   [::1]:8080   localhost:8080   :8080   unix:/run/fanwire.sock     both
///   ws://127.0.0.1:8080                                                                              WebSocket only
///   rs://127.0.0.1:8080                                                                              RawSocket only
///   tcps://127.0.0.1:8443   wss://127.0.0.1:8443   rss://127.0.0.1:8443                   the same three over TLS only
/// ```
///
/// Options follow `?`, and `&` stands between them: `request-ids=any` (or `strict`, `increasing`) sets that rule for
/// this listener, and with `tls=shared` it speaks TLS to those who begin with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// RawSocket may be opened.
    pub rawsocket: bool,
    /// WebSocket may be opened.
    pub websocket: bool,
    /// Which request ids are taken, if not what holds for all.
    pub request_ids: Option<RequestIds>,
    /// Whether TLS is spoken.
    pub tls: ListenTls,
}

/// Whether a listener speaks TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListenTls {
    /// It does not.
    Off,
    /// With those who begin with it.
    Shared,
    /// With everybody.
    Only,
}

/// Why the settings are of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// No host and port, and no path.
    ListenAddress(String),
    /// A scheme that is not served.
    ListenScheme(String),
    /// Something follows the port.
    ListenPath(String),
    /// What stands behind `?` is no option of a listener.
    ListenOption(String),
    /// Two listeners are the same.
    ListenTwice(String),
    /// A listener is to speak TLS, and there is no certificate.
    TlsWithout(String),
    /// There is a certificate, and no listener speaks TLS.
    TlsUnused,
    /// Not from 1 to [`SHARDS_MAX`].
    Shards(usize),
    /// Not a URI that clients can name, or reserved.
    Realm(String),
    /// Two realms are the same.
    RealmTwice(String),
    /// The topic or pattern of a rule of the event history is not valid, or reserved.
    HistoryUri(String),
    /// What stands behind `?` is no option of a rule of the event history.
    HistoryOption(String),
    /// Two rules of the event history are for the same topic or pattern.
    HistoryTwice(String),
    /// Below [`MESSAGE_BYTES_MIN`] or above [`MESSAGE_BYTES_CEILING`].
    MessageBytes(usize),
    /// Not a path that a request can name.
    LongPollPath(String),
    /// A queue that cannot hold the largest message; the least it must hold.
    OutboundBytes(usize),
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listens: vec![Listen {
                address: Address::local(PORT),
                rawsocket: true,
                websocket: true,
                request_ids: None,
                tls: ListenTls::Off,
            }],
            shards: server::cores().min(SHARDS_MAX),
            realms: vec![REALM.to_owned()],
            uri_check: UriCheck::Loose,
            disclosure: Disclosure::default(),
            event_history: Vec::new(),
            retained_count_max: RealmSettings::RETAINED_COUNT_MAX,
            retained_bytes_max: RealmSettings::RETAINED_BYTES_MAX,
            administers: true,
            request_ids: RequestIds::Strict,
            call_timeout_ms: 0,
            peer_message_bytes_min: MESSAGE_BYTES_MIN,
            longpoll: Some(LONGPOLL.to_owned()),
            tls: None,
            proxy_protocol_from: Vec::new(),
            forwarded_from: Vec::new(),
            origins: Vec::new(),
            limits: Limits::DEFAULT,
        }
    }
}

impl Config {
    /// Checks everything. Signals are left alone; whoever owns the process may say otherwise.
    pub fn server(self) -> Result<server::Config, ConfigError> {
        self.check()?;
        let pages = self.pages();
        let Config { listens, shards, realms, request_ids, .. } = self;
        let (longpoll, limits) = (self.longpoll.map(Arc::from), self.limits);
        let listeners = listens.iter().map(|listen| ListenerSettings {
            transport: Arc::new(transport::Settings {
                message_bytes_max: limits.message_bytes_max,
                peer_message_bytes_min: self.peer_message_bytes_min,
                serializers: [true; Serializer::COUNT],
                rawsocket: listen.rawsocket,
                websocket: listen.websocket,
                longpoll: longpoll.clone().filter(|_| listen.websocket),
                pages: pages.clone(),
            }),
            request_ids: listen.request_ids.unwrap_or(request_ids),
            forwarded_from: self.forwarded_from.clone(),
            access: Access::default(),
        });
        let anonymous = Arc::new(Role { administers: self.administers, ..Role::anonymous() });
        let settings = Settings {
            listeners: listeners.collect(),
            realms: realms
                .into_iter()
                .map(|name| RealmSettings {
                    uri_check: self.uri_check,
                    disclosure: self.disclosure,
                    authentication: Arc::new(authentication::Settings::anonymous(anonymous.clone())),
                    roles: vec![anonymous.clone()],
                    event_history: self.event_history.clone(),
                    retained_count_max: self.retained_count_max,
                    retained_bytes_max: self.retained_bytes_max,
                    call_timeout_ms: self.call_timeout_ms,
                    ..RealmSettings::open(name)
                })
                .collect(),
            agent: AGENT.to_owned(),
            authentication: RouterSettings::default(),
            limits,
        };
        let entrances = listens.iter().map(|listen| Entrance {
            tls: listen.tls_settings(self.tls.as_ref()),
            proxy_protocol_from: self.proxy_protocol_from.clone(),
        });
        let entrances: Vec<_> = entrances.collect();
        let hangup = entrances.iter().any(|entrance| entrance.tls.is_some());
        let addresses = listens.into_iter().map(|listen| listen.address).collect();
        Ok(server::Config { addresses, entrances, shards, settings, signals: false, hangup, control: None })
    }

    fn pages(&self) -> Pages {
        let origins = Some(&*self.origins).filter(|origins| !origins.is_empty());
        let null = |origins: &[String]| origins.iter().any(|origin| origin == NULL_ORIGIN);
        Pages { origins: Origins::new(origins, origins.is_none_or(null)), cookie: None }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(ConfigError::Shards(self.shards));
        }
        for (place, realm) in self.realms.iter().enumerate() {
            if !self.uri_check.uri(realm) || uri::reserved(realm) || realm.len() > self.limits.uri_bytes_max {
                return Err(ConfigError::Realm(realm.clone()));
            }
            if self.realms[..place].contains(realm) {
                return Err(ConfigError::RealmTwice(realm.clone()));
            }
        }
        self.check_event_history()?;
        for (place, listen) in self.listens.iter().enumerate() {
            let same = |other: &Listen| other.address == listen.address && !listen.address.is_any_port();
            if self.listens[..place].iter().any(same) {
                return Err(ConfigError::ListenTwice(listen.address.to_string()));
            }
        }
        let speaks_tls = |listen: &&Listen| listen.tls != ListenTls::Off;
        match (self.listens.iter().find(speaks_tls), &self.tls) {
            (Some(listen), None) => return Err(ConfigError::TlsWithout(listen.address.to_string())),
            (None, Some(_)) => return Err(ConfigError::TlsUnused),
            _ => {}
        }
        let limits = &self.limits;
        if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_CEILING).contains(&limits.message_bytes_max) {
            return Err(ConfigError::MessageBytes(limits.message_bytes_max));
        }
        if !(MESSAGE_BYTES_MIN..=MESSAGE_BYTES_CEILING).contains(&self.peer_message_bytes_min) {
            return Err(ConfigError::MessageBytes(self.peer_message_bytes_min));
        }
        if let Some(path) = self.longpoll.as_deref().filter(|path| !is_path(path)) {
            return Err(ConfigError::LongPollPath(path.to_owned()));
        }
        let outbound_bytes_min = limits.outbound_bytes_soft.max(limits.message_bytes_max) + 1;
        if limits.outbound_bytes_max < outbound_bytes_min {
            return Err(ConfigError::OutboundBytes(outbound_bytes_min));
        }
        Ok(())
    }
}

impl Config {
    fn check_event_history(&self) -> Result<(), ConfigError> {
        for (place, rule) in self.event_history.iter().enumerate() {
            let HistoryRule { uri: pattern, policy, .. } = rule;
            let valid =
                pattern.len() <= self.limits.uri_bytes_max && self.uri_check.pattern(pattern, *policy);
            if !valid || uri::reserved(pattern) {
                return Err(ConfigError::HistoryUri(pattern.clone()));
            }
            let same = |other: &HistoryRule| other.uri == *pattern && other.policy == *policy;
            if self.event_history[..place].iter().any(same) {
                return Err(ConfigError::HistoryTwice(pattern.clone()));
            }
        }
        Ok(())
    }
}

/// A rule of the event history as an operator writes it: a topic or pattern, and options behind it.
///
/// ```text
///   com.example.log
///   com.example.?match=prefix&events=10000&seconds=3600&bytes=64M
/// ```
///
/// `match` is `exact`, `prefix` or `wildcard`; what is not said is as in [`HistoryRule::new`].
pub fn history_rule(text: &str) -> Result<HistoryRule, ConfigError> {
    let (uri, options) = text.split_once('?').unwrap_or((text, ""));
    let mut rule = HistoryRule::new(uri, MatchPolicy::Exact);
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let set = match key {
            "match" => MatchPolicy::from_name(value).map(|policy| rule.policy = policy),
            "events" => positive(value).map(|events| rule.events_max = events),
            "bytes" => bytes(value).filter(|bytes| *bytes > 0).map(|bytes| rule.bytes_max = bytes),
            "seconds" => positive(value)
                .and_then(|seconds| (seconds as u64).checked_mul(1000))
                .map(|age_ms| rule.age_ms_max = age_ms),
            _ => None,
        };
        set.ok_or_else(|| ConfigError::HistoryOption(option.to_owned()))?;
    }
    Ok(rule)
}

fn positive(digits: &str) -> Option<usize> {
    digits.parse().ok().filter(|number| *number > 0)
}

impl Listen {
    /// The transports, for people.
    pub fn transports(&self) -> String {
        let transports = match (self.websocket, self.rawsocket) {
            (true, true) => "WebSocket and RawSocket",
            (true, false) => "WebSocket",
            (false, true) => "RawSocket",
            (false, false) => "nothing",
        };
        let tls = match self.tls {
            ListenTls::Off => "",
            ListenTls::Shared => ", with and without TLS",
            ListenTls::Only => " over TLS",
        };
        format!("{transports}{tls}")
    }

    fn tls_settings(&self, tls: Option<&TlsSettings>) -> Option<TlsSettings> {
        let shared = match self.tls {
            ListenTls::Off => return None,
            ListenTls::Shared => true,
            ListenTls::Only => false,
        };
        tls.map(|tls| TlsSettings { shared, ..tls.clone() })
    }
}

impl FromStr for Listen {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Listen, ConfigError> {
        let (text, options) = text.split_once('?').unwrap_or((text, ""));
        let (mut request_ids, mut shared) = (None, ListenTls::Off);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let set = match (key, value) {
                ("request-ids", rule) => RequestIds::from_name(rule).map(|rule| request_ids = Some(rule)),
                ("tls", "shared") => {
                    shared = ListenTls::Shared;
                    Some(())
                }
                _ => None,
            };
            set.ok_or_else(|| ConfigError::ListenOption(option.to_owned()))?;
        }
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x` is the same path written as a URL.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(ConfigError::ListenAddress(text.to_owned()));
            }
            return Ok(Listen {
                address: Address::Unix(PathBuf::from(path)),
                rawsocket: true,
                websocket: true,
                request_ids,
                tls: shared,
            });
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let (rawsocket, websocket, tls) = match scheme {
            "tcp" => (true, true, shared),
            "ws" => (false, true, shared),
            "rs" => (true, false, shared),
            "tcps" => (true, true, ListenTls::Only),
            "wss" => (false, true, ListenTls::Only),
            "rss" => (true, false, ListenTls::Only),
            _ => return Err(ConfigError::ListenScheme(scheme.to_owned())),
        };
        if rest.contains('/') {
            return Err(ConfigError::ListenPath(text.to_owned()));
        }
        let address = Address::tcp(rest).ok_or_else(|| ConfigError::ListenAddress(text.to_owned()))?;
        Ok(Listen { address, rawsocket, websocket, request_ids, tls })
    }
}

/// True for `/a` or `/a/b`: nothing that is written differently in a request, as clients do with `.` and `..`, and not
/// the page at `/`.
fn is_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let is_segment = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(plain);
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

/// A count of octets as people write it: `65536`, `64k`, `1M`, each unit 1,024 of the one before.
pub fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

impl fmt::Display for ConfigError {
    /// What is wrong, and what would be right.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::ListenAddress(text) => {
                write!(f, "`{text}` is no address; write 127.0.0.1:8080, [::1]:8080, :8080 or unix:/path")
            }
            ConfigError::ListenScheme(scheme) => {
                write!(
                    f,
                    "`{scheme}://` is not served; write tcp:// (both transports), ws://, rs://, tcps://, wss://, \
                     rss:// or unix:"
                )
            }
            ConfigError::ListenPath(text) => {
                write!(f, "`{text}` has a path; leave it out, every path is served")
            }
            ConfigError::ListenOption(option) => {
                write!(
                    f,
                    "`?{option}` is no option of a listener; write ?request-ids=strict, increasing or any, or \
                     ?tls=shared"
                )
            }
            ConfigError::ListenTwice(text) => write!(f, "{text} is listed twice"),
            ConfigError::TlsWithout(text) => {
                write!(f, "{text} is to speak TLS; give --tls-certificate and --tls-key")
            }
            ConfigError::TlsUnused => f.write_str(
                "there is a certificate and no listener speaks TLS; listen on wss://, rss://, tcps:// or with \
                 ?tls=shared",
            ),
            ConfigError::Shards(shards) => write!(f, "{shards} shards; there must be 1 to {SHARDS_MAX}"),
            ConfigError::Realm(name) => write!(
                f,
                "`{name}` cannot be a realm; write a URI such as com.example.realm, not below `wamp.`"
            ),
            ConfigError::RealmTwice(name) => write!(f, "realm {name} is listed twice"),
            ConfigError::HistoryUri(uri) => write!(
                f,
                "`{uri}` has no event history; write a topic such as com.example.log, or a pattern with ?match=prefix \
                 or ?match=wildcard, not below `wamp.`"
            ),
            ConfigError::HistoryOption(option) => write!(
                f,
                "`{option}` is no option of an event history; write ?match=prefix&events=1000&seconds=3600&bytes=16M"
            ),
            ConfigError::HistoryTwice(uri) => write!(f, "the event history of {uri} is listed twice"),
            ConfigError::MessageBytes(bytes) => write!(
                f,
                "messages of {bytes} octets; the limit must be {MESSAGE_BYTES_MIN} to {MESSAGE_BYTES_CEILING}"
            ),
            ConfigError::LongPollPath(path) => {
                write!(f, "`{path}` cannot be the path of long-poll; write one such as {LONGPOLL}, or off")
            }
            ConfigError::OutboundBytes(least) => write!(
                f,
                "the outbound queue is too short for the messages allowed; it must hold {least} octets or more"
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn listeners_read_as_they_are_written() {
        let local = Address::local(8080);
        for text in ["127.0.0.1:8080", "tcp://127.0.0.1:8080"] {
            assert_eq!(
                listen(text),
                Listen {
                    address: local.clone(),
                    rawsocket: true,
                    websocket: true,
                    request_ids: None,
                    tls: ListenTls::Off
                }
            );
        }
        assert_eq!(listen("ws://127.0.0.1:8080").transports(), "WebSocket");
        assert_eq!(listen("rs://127.0.0.1:8080").transports(), "RawSocket");
        assert_eq!(listen(":8080").address, Address::Everywhere(8080));
        assert_eq!(listen("[::1]:0").address, Address::Tcp("[::1]:0".parse().unwrap()));
        assert_eq!(listen("localhost:80").address, Address::Name("localhost:80".to_owned()));
        for text in ["unix:/run/a.sock", "unix:///run/a.sock"] {
            assert_eq!(listen(text).address, Address::Unix("/run/a.sock".into()));
        }
        assert_eq!(listen("unix:a.sock").address, Address::Unix("a.sock".into()));
    }

    #[test]
    fn a_listener_may_have_its_own_rule_for_request_ids() {
        assert_eq!(listen(":1?request-ids=any").request_ids, Some(RequestIds::Any));
        assert_eq!(listen("unix:/x?request-ids=increasing").request_ids, Some(RequestIds::Increasing));
        let refused = ConfigError::ListenOption("request-ids=some".to_owned());
        assert_eq!(":1?request-ids=some".parse::<Listen>(), Err(refused));
    }

    #[test]
    fn a_listener_may_speak_tls() {
        for (text, tls, transports) in [
            ("wss://x:1", ListenTls::Only, "WebSocket over TLS"),
            ("rss://x:1", ListenTls::Only, "RawSocket over TLS"),
            ("tcps://x:1?request-ids=any", ListenTls::Only, "WebSocket and RawSocket over TLS"),
            (
                "x:1?request-ids=any&tls=shared",
                ListenTls::Shared,
                "WebSocket and RawSocket, with and without TLS",
            ),
            ("unix:/x?tls=shared", ListenTls::Shared, "WebSocket and RawSocket, with and without TLS"),
        ] {
            assert_eq!((listen(text).tls, &*listen(text).transports()), (tls, transports), "{text}");
        }
        let refused = ConfigError::ListenOption("tls=maybe".to_owned());
        assert_eq!(":1?tls=maybe".parse::<Listen>(), Err(refused));
    }

    #[test]
    fn certificates_go_to_the_listeners_that_speak_tls() {
        let tls = Some(TlsSettings::new("a.pem", "a.key"));
        let listens = ["127.0.0.1:0", "wss://127.0.0.1:0", ":0?tls=shared"].map(listen).to_vec();
        let config = Config { listens, tls: tls.clone(), ..Config::default() };
        let shared = config.clone().server().unwrap().entrances.into_iter();
        let shared: Vec<_> = shared.map(|entrance| entrance.tls.map(|tls| tls.shared)).collect();
        assert_eq!(shared, [None, Some(false), Some(true)]);
        let without = Config { tls: None, ..config };
        assert!(matches!(without.server(), Err(ConfigError::TlsWithout(_))));
        let unused = Config { tls, ..Config::default() };
        assert!(matches!(unused.server(), Err(ConfigError::TlsUnused)));
    }

    #[test]
    fn an_address_is_shown_as_it_may_be_written() {
        for text in ["tcp://127.0.0.1:1", "tcp://[::1]:2", "tcp://:3", "tcp://localhost:4", "unix:/run/a"] {
            assert_eq!(listen(text).address.to_string(), text);
        }
    }

    #[test]
    fn addresses_with_mistakes_are_refused() {
        for text in
            ["", "8080", "localhost", "127.0.0.1", "127.0.0.300:80", "::1:80", "a b:80", "x:70000", "unix:"]
        {
            assert_eq!(text.parse::<Listen>(), Err(ConfigError::ListenAddress(text.to_owned())), "{text}");
        }
        assert!(matches!("http://x:1".parse::<Listen>(), Err(ConfigError::ListenScheme(_))));
        assert!(matches!("ws://x:1/ws".parse::<Listen>(), Err(ConfigError::ListenPath(_))));
    }

    #[test]
    fn rules_of_the_event_history_read_as_they_are_written() {
        let plain = HistoryRule::new("com.example", MatchPolicy::Exact);
        assert_eq!(history_rule("com.example"), Ok(plain));
        let rule = history_rule("a..?match=wildcard&events=5&seconds=60&bytes=1M").unwrap();
        assert_eq!((&*rule.uri, rule.policy), ("a..", MatchPolicy::Wildcard));
        assert_eq!((rule.events_max, rule.age_ms_max, rule.bytes_max), (5, 60_000, 1 << 20));
        for wrong in
            ["match=glob", "events=0", "events=-1", "seconds=0", "bytes=0", "bytes=x", "events", "x=1"]
        {
            let refused = ConfigError::HistoryOption(wrong.to_owned());
            assert_eq!(history_rule(&format!("a?bytes=1&{wrong}")), Err(refused), "{wrong}");
        }
    }

    #[test]
    fn octets_have_units() {
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("64k"), Some(65_536));
        assert_eq!(bytes("1MiB"), Some(1 << 20));
        for text in ["", "k", "1x", "-1", "1.5M", "99999999999999999999", "18446744073709551615k", "1 k"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn the_default_is_sound() {
        let config = Config::default().server().unwrap();
        assert_eq!(config.settings.realms[0].name, "realm1");
        assert_eq!(config.addresses[0].to_string(), "tcp://127.0.0.1:8080");
        assert!((1..=SHARDS_MAX).contains(&config.shards));
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.server().expect_err("refused")
        };
        assert_eq!(refused(|c| c.shards = 0), ConfigError::Shards(0));
        assert_eq!(refused(|c| c.shards = 65), ConfigError::Shards(65));
        assert_eq!(refused(|c| c.realms[0] = "a b".into()), ConfigError::Realm("a b".into()));
        assert_eq!(refused(|c| c.realms[0] = "wamp.x".into()), ConfigError::Realm("wamp.x".into()));
        assert_eq!(refused(|c| c.realms.push("realm1".into())), ConfigError::RealmTwice("realm1".into()));
        assert_eq!(refused(|c| c.limits.message_bytes_max = 511), ConfigError::MessageBytes(511));
        assert!(matches!(refused(|c| c.limits.outbound_bytes_max = 1 << 20), ConfigError::OutboundBytes(_)));
        assert_eq!(
            refused(|c| c.event_history = vec![history_rule("a..b").unwrap()]),
            ConfigError::HistoryUri("a..b".into())
        );
        assert_eq!(
            refused(|c| c.event_history = vec![history_rule("wamp.?match=prefix").unwrap()]),
            ConfigError::HistoryUri("wamp.".into())
        );
        assert_eq!(
            refused(|c| c.event_history =
                ["a?events=1", "a?match=prefix", "a"].map(|rule| history_rule(rule).unwrap()).into()),
            ConfigError::HistoryTwice("a".into())
        );
        for path in ["", "/", "lp", "/lp/", "/l p", "/a//b", "/lp?x", "/./lp", "/../lp", "/lp/.."] {
            let config = Config { longpoll: Some(path.to_owned()), ..Config::default() };
            assert_eq!(config.server().expect_err("refused"), ConfigError::LongPollPath(path.to_owned()));
        }
        let twice = refused(|c| c.listens.push(c.listens[0].clone()));
        assert_eq!(twice, ConfigError::ListenTwice("tcp://127.0.0.1:8080".into()));
    }

    #[test]
    fn a_free_port_may_be_asked_for_twice() {
        let config = Config { listens: vec![listen("[::1]:0"), listen("[::1]:0")], ..Config::default() };
        assert_eq!(config.server().unwrap().addresses.len(), 2);
    }
}
