//! `fanwire serve`: the options, the log, the lines a start prints, and the exit code.
//!
//! What is printed on stdout is stable, for scripts that wait for it: a line with version, shards and realms, one
//! `listening on <address> (<transports>)` for each listener, with the real port, and at last `ready`. The log goes to
//! stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use super::reloading::{Reloading, Source};
use super::usage_error;
use crate::config::file::{File, LogFormat};
use crate::config::{self, Config, Listen};
use crate::limits::Limits;
use crate::origin::Network;
use crate::router::{Disclosure, HistoryRule, RealmSettings, RequestIds};
use crate::server::{self, ClientCertificates, IdentityFiles, Server, StartError, TlsSettings};
use crate::wamp::UriCheck;

/// The variable that sets what is logged if `--log` does not.
const LOG_VARIABLE: &str = "FANWIRE_LOG";

/// What stands for no path of the long-poll transport.
const LONGPOLL_OFF: &str = "off";

/// Run a router.
///
/// Without options it listens on 127.0.0.1:8080 for WebSocket (every path) and RawSocket, told apart by the first
/// byte, and serves realm1 to everybody. SIGINT or SIGTERM says goodbye to all sessions and ends it; a second one ends
/// it at once. SIGHUP reads the configuration file again, if there is one.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// A configuration file. Options that are given too win over what it says, but for those of listeners and realms,
    /// which then stand in the file only. `fanwire config example` prints one [default: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to listen: host:port, [ipv6]:port, :port (every address), unix:/path; with ws:// or rs:// before it only
    /// for WebSocket or RawSocket, with tcps://, wss:// or rss:// over TLS; with ?tls=shared behind it also over TLS.
    /// May be given again. Port 0 takes a free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", value_parser = str::parse::<Listen>)]
    listen: Vec<Listen>,

    /// PEM file with the certificate of listeners that speak TLS, and those up to its authority behind it. May be given
    /// again, each with its --tls-key, for other hosts. Files that change are read again [default: no TLS]
    #[arg(long, value_name = "FILE")]
    tls_certificate: Vec<PathBuf>,

    /// PEM file with the private key of the certificate [default: no TLS]
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,

    /// Whether clients must have a certificate: off, optional, required [default: required with
    /// --tls-client-authorities, else off]
    #[arg(long, value_name = "RULE", requires = "tls_certificate",
        value_parser = PossibleValuesParser::new(ClientCertificates::NAMED.map(|(name, _)| name)).map(client_certificates))]
    tls_client: Option<ClientCertificates>,

    /// PEM file with the authorities that must have issued those certificates [default: any certificate is taken, and
    /// its subject not believed]
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_client_authorities: Option<PathBuf>,

    /// Proxies that begin each connection with a PROXY header (version 1 or 2) about the client: 10.0.0.0/8, an
    /// address, or unix. May be given again [default: none]
    #[arg(long, value_name = "NETWORK")]
    proxy_protocol_from: Vec<Network>,

    /// Proxies whose X-Forwarded-For names the client of a WebSocket or long-poll transport. May be given again
    /// [default: none]
    #[arg(long, value_name = "NETWORK")]
    forwarded_from: Vec<Network>,

    /// Pages that may open a WebSocket or a long-poll transport: https://*.example.com; stars stand for any text, null
    /// for pages without an origin. Clients that are no pages always may. May be given again [default: all pages]
    #[arg(long, value_name = "ORIGIN", value_parser = config::page_origin)]
    origin: Vec<String>,

    /// Shards, each with a thread of its own: 1 to 64 [default: the cores there are]
    #[arg(long, value_name = "COUNT")]
    shards: Option<usize>,

    /// A realm that clients may join. May be given again [default: realm1]
    #[arg(long, value_name = "URI")]
    realm: Vec<String>,

    /// Which request ids are taken: strict, they count 1, 2, 3 in each session, as the specification says; increasing,
    /// with gaps; any. For one listener only, write --listen 'ADDRESS?request-ids=any'. Over long-poll it is any: HTTP
    /// keeps no order between requests
    #[arg(long, value_name = "RULE", default_value = "strict",
        value_parser = PossibleValuesParser::new(["strict", "increasing", "any"]).map(request_ids))]
    request_ids: RequestIds,

    /// Which URIs are valid: with anything but spaces, dots and `#` between the dots, or only with a-z, 0-9 and `_`
    #[arg(long, value_name = "RULE", default_value = "loose")]
    uri: Uri,

    /// Whether subscribers and callees are told who publishes and calls: as-asked, if the sender asks for it with
    /// `disclose_me`; always; never, and who asks is refused
    #[arg(long, value_name = "RULE", default_value = "as-asked")]
    disclose: Disclose,

    /// Keep an event history of a topic, for wamp.subscription.get_events. May be given again; the first that matches a
    /// topic keeps its events. Options follow the topic: 'com.example.?match=prefix&events=1000&seconds=3600&bytes=16M'
    /// [default: none is kept]
    #[arg(long, value_name = "TOPIC", value_parser = config::history_rule)]
    event_history: Vec<HistoryRule>,

    /// Events that the topics of a realm retain together, for who subscribes later and asks for them; the oldest make
    /// room. 0: none
    #[arg(long, value_name = "COUNT", default_value_t = RealmSettings::RETAINED_COUNT_MAX)]
    retained_max: usize,

    /// Octets that those may take
    #[arg(long, value_name = "BYTES", default_value = "8M", value_parser = octets)]
    retained_bytes_max: usize,

    /// Clients may call wamp.session.kill, modify_details, the other procedures that change what is not theirs, and
    /// register with force_reregister [default: they may in realm1 where no --realm is given, and nowhere else]
    #[arg(long)]
    administer: bool,

    /// Seconds that the answer of a call may take whose caller does not say how long; 0: however long it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    call_timeout_seconds: u64,

    /// Seconds of silence after which a WebSocket peer is pinged; as long again, and it is dropped. 0 sends no pings
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.silence_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    ping_seconds: u64,

    /// The same for RawSocket peers; not by default, since autobahn-python fails on a RawSocket PING
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.rawsocket_silence_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(0..=86_400))]
    rawsocket_ping_seconds: u64,

    /// Seconds a peer has for each step of joining: the transport's handshake, then HELLO
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.handshake_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(1..=3_600))]
    handshake_seconds: u64,

    /// Seconds that bytes may wait for a peer that takes none before it is dropped as a slow consumer
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.outbound_stall_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    stall_seconds: u64,

    /// Microseconds that a shard goes on asking for input before it sleeps: 50 takes most of the waking up out of the
    /// time of a single call, and a core that has nothing else to do
    #[arg(long, value_name = "MICROSECONDS", default_value_t = Limits::DEFAULT.busy_poll_us,
        value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    busy_poll_micros: u64,

    /// The path of the HTTP long-poll transport, for clients that cannot open a WebSocket; off: it is not spoken
    #[arg(long, value_name = "PATH", default_value = config::LONGPOLL)]
    longpoll: String,

    /// Seconds that a long-poll request waits for a message; autobahn-js expects less than 12
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.longpoll_receive_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(1..=3_600))]
    longpoll_receive_seconds: u64,

    /// Seconds without a request after which a long-poll client is taken to be gone
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.longpoll_idle_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    longpoll_idle_seconds: u64,

    /// Long-poll clients at the same time; those above are told that the router is full
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.longpoll_transports_max,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    longpoll_max: usize,

    /// Seconds that a shutdown may take; calls may finish in the first half of them
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::DEFAULT.drain_ms_max / 1000,
        value_parser = clap::value_parser!(u64).range(0..=3_600))]
    drain_seconds: u64,

    /// The longest message a peer may send, up to 16M
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = octets)]
    message_bytes_max: usize,

    /// RawSocket peers that announce to take only shorter messages than this are refused
    #[arg(long, value_name = "BYTES", default_value = "512", value_parser = octets)]
    peer_message_bytes_min: usize,

    /// Bytes that may wait to be sent to one peer before it is dropped as a slow consumer
    #[arg(long, value_name = "BYTES", default_value = "32M", value_parser = octets)]
    outbound_bytes_max: usize,

    /// Connections at the same time; those above are told that the router is full
    #[arg(long, value_name = "COUNT", default_value_t = Limits::DEFAULT.connections_max)]
    connections_max: usize,

    /// Make a Unix socket at which this user may ask for the configuration file to be read again, as `fanwire reload`
    /// does. SIGHUP asks for it too [default: none]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,fanwire::server=debug [default: the
    /// environment's FANWIRE_LOG, else info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,

    /// How it is logged
    #[arg(long, value_name = "FORMAT", default_value = "text",
        value_parser = PossibleValuesParser::new(["text", "json"]).map(log_format))]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Uri {
    Loose,
    Strict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Disclose {
    AsAsked,
    Always,
    Never,
}

impl Serve {
    /// Serves until a signal ends it. `options` are what this was parsed from.
    pub fn run(self, options: &ArgMatches) -> ExitCode {
        match self.config.clone() {
            Some(path) => self.run_file(&path, options),
            None => self.run_options(),
        }
    }

    fn run_options(self) -> ExitCode {
        if let Err(error) = start_log(self.log.as_deref(), self.log_format) {
            return usage_error(format_args!("the log filter cannot be read: {error}"));
        }
        if self.tls_certificate.len() != self.tls_key.len() {
            return usage_error("each --tls-certificate needs its --tls-key");
        }
        let control = self.control.clone();
        let config = self.config();
        let transports = config.listens.iter().map(Listen::transports).collect::<Vec<_>>();
        match config.server() {
            Ok(server) => {
                serve(server::Config { control, ..server }, &transports, "--listen", Reloading::none())
            }
            Err(error) => usage_error(error),
        }
    }

    fn run_file(self, path: &Path, options: &ArgMatches) -> ExitCode {
        let given = |option: &str| options.value_source(option) == Some(ValueSource::CommandLine);
        if let Some((option, table)) = ONLY_WITHOUT_FILE.into_iter().find(|(option, _)| given(option)) {
            return usage_error(format_args!(
                "--{} cannot be given with --config; write it under [[{table}]] in {}",
                option.replace('_', "-"),
                path.display()
            ));
        }
        let source = Source { serve: self, options: options.clone(), path: path.to_owned() };
        let file = match source.read() {
            Ok(file) => file,
            Err(refused) => return refused.tell(),
        };
        if let Err(error) = start_log(file.log.as_deref(), file.log_format) {
            return usage_error(format_args!("the log filter cannot be read: {error}"));
        }
        let transports: Vec<_> =
            file.listeners.iter().map(|listener| listener.transports().join(", ")).collect();
        match file.server() {
            Ok(server) => {
                let reloading = Reloading::new(source, file);
                serve(server, &transports, "address in the configuration file", reloading)
            }
            Err(error) => usage_error(error),
        }
    }

    /// Puts what was given on the command line in place of what the file says.
    pub(super) fn override_file(self, file: &mut File, given: impl Fn(&str) -> bool) {
        if given("log") {
            file.log = self.log.clone();
        }
        if given("log_format") {
            file.log_format = self.log_format;
        }
        if given("control") {
            file.control = self.control.clone();
        }
        let said = self.config();
        if given("shards") {
            file.shards = said.shards;
        }
        if given("request_ids") {
            file.request_ids = said.request_ids;
            file.listeners.iter_mut().for_each(|listener| listener.request_ids = None);
        }
        if given("peer_message_bytes_min") {
            file.peer_message_bytes_min = said.peer_message_bytes_min;
            file.listeners.iter_mut().for_each(|listener| listener.peer_message_bytes_min = None);
        }
        if given("message_bytes_max") {
            file.listeners.iter_mut().for_each(|listener| listener.message_bytes_max = None);
        }
        if given("longpoll") {
            file.listeners.iter_mut().for_each(|listener| {
                listener.longpoll &= said.longpoll.is_some();
                listener.longpoll_path = said.longpoll.clone();
            });
        }
        for (_, set) in LIMITS.into_iter().filter(|(option, _)| given(option)) {
            set(&mut file.limits, &said.limits);
        }
    }

    fn config(self) -> Config {
        let default = Config::default();
        let limits = Limits {
            message_bytes_max: self.message_bytes_max,
            outbound_bytes_max: self.outbound_bytes_max,
            outbound_bytes_soft: Limits::DEFAULT.outbound_bytes_soft.min(self.outbound_bytes_max / 2),
            outbound_stall_ms_max: self.stall_seconds * 1000,
            connections_max: self.connections_max,
            handshake_ms_max: self.handshake_seconds * 1000,
            silence_ms_max: self.ping_seconds * 1000,
            rawsocket_silence_ms_max: self.rawsocket_ping_seconds * 1000,
            busy_poll_us: self.busy_poll_micros,
            drain_ms_max: self.drain_seconds * 1000,
            longpoll_receive_ms_max: self.longpoll_receive_seconds * 1000,
            longpoll_idle_ms_max: self.longpoll_idle_seconds * 1000,
            longpoll_transports_max: self.longpoll_max,
            ..Limits::DEFAULT
        };
        let named = !self.realm.is_empty();
        let identities = self.tls_certificate.into_iter().zip(self.tls_key);
        let identities: Vec<_> =
            identities.map(|(certificate, key)| IdentityFiles::new(certificate, key)).collect();
        let client_default = match self.tls_client_authorities {
            Some(_) => ClientCertificates::Required,
            None => ClientCertificates::Off,
        };
        let tls = (!identities.is_empty()).then_some(TlsSettings {
            identities,
            shared: false,
            client: self.tls_client.unwrap_or(client_default),
            client_authorities: self.tls_client_authorities,
            watch_ms: TlsSettings::WATCH_MS,
        });
        Config {
            listens: if self.listen.is_empty() { default.listens } else { self.listen },
            shards: self.shards.unwrap_or(default.shards),
            realms: if named { self.realm } else { default.realms },
            administers: self.administer || !named,
            uri_check: match self.uri {
                Uri::Loose => UriCheck::Loose,
                Uri::Strict => UriCheck::Strict,
            },
            disclosure: match self.disclose {
                Disclose::AsAsked => Disclosure::AsAsked,
                Disclose::Always => Disclosure::Always,
                Disclose::Never => Disclosure::Never,
            },
            event_history: self.event_history,
            retained_count_max: self.retained_max,
            retained_bytes_max: self.retained_bytes_max,
            request_ids: self.request_ids,
            call_timeout_ms: self.call_timeout_seconds * 1000,
            peer_message_bytes_min: self.peer_message_bytes_min,
            longpoll: Some(self.longpoll).filter(|path| path != LONGPOLL_OFF),
            tls,
            proxy_protocol_from: self.proxy_protocol_from,
            forwarded_from: self.forwarded_from,
            origins: self.origin,
            limits,
        }
    }
}

/// Options that say what stands in the tables of a file, of which there may be many, and which tables those are.
const ONLY_WITHOUT_FILE: [(&str, &str); 16] = [
    ("listen", "listener"),
    ("origin", "listener"),
    ("tls_certificate", "listener"),
    ("tls_key", "listener"),
    ("tls_client", "listener"),
    ("tls_client_authorities", "listener"),
    ("proxy_protocol_from", "listener"),
    ("forwarded_from", "listener"),
    ("realm", "realm"),
    ("uri", "realm"),
    ("disclose", "realm"),
    ("event_history", "realm"),
    ("retained_max", "realm"),
    ("retained_bytes_max", "realm"),
    ("administer", "realm"),
    ("call_timeout_seconds", "realm"),
];

/// Takes a bound from other bounds.
type TakeLimit = fn(&mut Limits, &Limits);

/// Options that set bounds.
const LIMITS: [(&str, TakeLimit); 12] = [
    ("message_bytes_max", |to, from| to.message_bytes_max = from.message_bytes_max),
    ("outbound_bytes_max", |to, from| {
        to.outbound_bytes_max = from.outbound_bytes_max;
        to.outbound_bytes_soft = from.outbound_bytes_soft.min(to.outbound_bytes_soft);
    }),
    ("stall_seconds", |to, from| to.outbound_stall_ms_max = from.outbound_stall_ms_max),
    ("connections_max", |to, from| to.connections_max = from.connections_max),
    ("handshake_seconds", |to, from| to.handshake_ms_max = from.handshake_ms_max),
    ("ping_seconds", |to, from| to.silence_ms_max = from.silence_ms_max),
    ("rawsocket_ping_seconds", |to, from| to.rawsocket_silence_ms_max = from.rawsocket_silence_ms_max),
    ("busy_poll_micros", |to, from| to.busy_poll_us = from.busy_poll_us),
    ("drain_seconds", |to, from| to.drain_ms_max = from.drain_ms_max),
    ("longpoll_receive_seconds", |to, from| to.longpoll_receive_ms_max = from.longpoll_receive_ms_max),
    ("longpoll_idle_seconds", |to, from| to.longpoll_idle_ms_max = from.longpoll_idle_ms_max),
    ("longpoll_max", |to, from| to.longpoll_transports_max = from.longpoll_transports_max),
];

/// Serves until a signal ends it. `transports` are those of each listener, for people; `place` is where its address
/// may be changed.
fn serve(server: server::Config, transports: &[String], place: &str, reloading: Reloading) -> ExitCode {
    let realms: Vec<_> = server.settings.realms.iter().map(|realm| realm.name.clone()).collect();
    let cautions = config::open_to_everybody(&server);
    let shards = server.shards;
    raise_open_files();
    abort_on_panic();
    let mut server = match Server::start(server::Config { signals: true, ..server }) {
        Ok(server) => server,
        Err(error) => return usage_error(format_args!("{error}{}", advice(&error, place))),
    };
    cautions.iter().for_each(|caution| tracing::warn!("configuration: {caution}"));
    // A closed stdout is no reason not to serve.
    let _ = announce(&server, transports, &realms, shards);
    let threads = server.take_threads();
    if let Err(error) = reloading.spawn(server) {
        return usage_error(format_args!("the system does not give a thread: {error}"));
    }
    let counters = threads.join();
    tracing::info!("ended; {counters}");
    ExitCode::SUCCESS
}

/// A panic is a broken invariant: no thread may go on beside a half-changed directory. Release builds abort anyway.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// What is printed when peers are served.
fn announce(server: &Server, transports: &[String], realms: &[String], shards: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let noun = if shards == 1 { "shard" } else { "shards" };
    let realm = if realms.len() == 1 { "realm" } else { "realms" };
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "fanwire {version}: {shards} {noun}, {realm} {}", realms.join(", "))?;
    for (index, address) in server.addresses() {
        let transports = &transports[index.0 as usize];
        writeln!(out, "listening on {address} ({transports})")?;
    }
    writeln!(out, "ready")?;
    out.flush()
}

/// What may be done about it; begins where the error's own line ends.
fn advice(error: &StartError, place: &str) -> String {
    let error = match error {
        StartError::Listen(_, error) => error,
        StartError::Control(..) => {
            return "; choose another path with --control, or control in the file".to_owned();
        }
        StartError::Tls(_) | StartError::System(..) => return String::new(),
    };
    match error.kind() {
        ErrorKind::AddrInUse => {
            format!("; stop the program that listens there, or choose another address with {place}")
        }
        ErrorKind::AddrNotAvailable => format!("; choose an address of this machine with {place}"),
        ErrorKind::PermissionDenied => {
            format!("; choose a port above 1023, or a path this user may write, with {place}")
        }
        _ => format!("; choose another address with {place}"),
    }
}

/// Every connection is an open file, and the soft limit is often 1,024 where the hard one is far above it.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!("the limit of open files stays as it is: {error}");
        }
    }
}

fn start_log(filter: Option<&str>, format: LogFormat) -> Result<(), ParseError> {
    let variable = std::env::var(LOG_VARIABLE).ok();
    let filter = filter.or(variable.as_deref()).unwrap_or("info");
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(io::stderr)
        .with_ansi(colours);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn request_ids(rule: String) -> RequestIds {
    RequestIds::from_name(&rule).expect("only these values are possible")
}

fn client_certificates(rule: String) -> ClientCertificates {
    let known = ClientCertificates::NAMED.into_iter().find(|(name, _)| *name == rule);
    known.expect("only these values are possible").1
}

fn log_format(name: String) -> LogFormat {
    if name == "json" { LogFormat::Json } else { LogFormat::Text }
}

fn octets(text: &str) -> Result<usize, &'static str> {
    config::bytes(text).ok_or("write a number of octets such as 65536, 64k or 1M")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::auth::Secret;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: Serve,
    }

    fn config(line: &str) -> Config {
        Line::try_parse_from(line.split(' ').filter(|word| !word.is_empty()))
            .expect("a good line")
            .serve
            .config()
    }

    #[test]
    fn no_options_are_the_default() {
        assert_eq!(format!("{:?}", config("serve")), format!("{:?}", Config::default()));
    }

    #[test]
    fn nobody_administers_a_realm_that_is_named_unless_the_operator_says_so() {
        assert!(config("serve").administers && config("serve --realm a --administer").administers);
        assert!(!config("serve --realm realm1").administers);
    }

    #[test]
    fn authorities_of_clients_are_there_to_be_asked() {
        let client = |line: &str| config(line).tls.map(|tls| tls.client);
        let tls = "serve --tls-certificate a --tls-key b";
        assert_eq!(client(tls), Some(ClientCertificates::Off));
        let required = client(&format!("{tls} --tls-client-authorities c"));
        assert_eq!(required, Some(ClientCertificates::Required));
        assert!(Line::try_parse_from(["serve", "--tls-client-authorities", "c"]).is_err());
    }

    /// Beside a file each option is refused, or the router is another one for it: none is read and forgotten.
    #[test]
    fn no_option_is_without_effect_beside_a_file() {
        let values = [
            ("request_ids", "any"),
            ("longpoll", "/other"),
            ("message_bytes_max", "2k"),
            ("peer_message_bytes_min", "2k"),
            ("outbound_bytes_max", "32k"),
            ("log", "trace"),
            ("log_format", "json"),
        ];
        let text = "[[listener]]\naddress = \":1\"\nmessage_bytes_max = 1024\n";
        let command = <Line as clap::CommandFactory>::command();
        for option in command.get_arguments().map(|argument| argument.get_id().as_str()) {
            if option == "config" || ONLY_WITHOUT_FILE.iter().any(|(refused, _)| *refused == option) {
                continue;
            }
            let value =
                values.into_iter().find(|(known, _)| *known == option).map_or("23", |(_, value)| value);
            let name = format!("--{}", option.replace('_', "-"));
            let Line { serve } = Line::try_parse_from(["serve", &name, value]).expect(option);
            let file = crate::config::file::read(text, Path::new(""), &Nothing).expect("a good file");
            let mut overridden = file.clone();
            serve.override_file(&mut overridden, |given| given == option);
            assert_ne!(format!("{file:?}"), format!("{overridden:?}"), "{name} changes nothing");
        }
    }

    /// No files and no variables.
    struct Nothing;

    impl crate::config::Surroundings for Nothing {
        fn file(&self, _: &Path) -> io::Result<Secret> {
            Err(ErrorKind::NotFound.into())
        }

        fn variable(&self, _: &str) -> Option<Secret> {
            None
        }
    }

    #[test]
    fn longpoll_may_be_off() {
        assert_eq!(config("serve --longpoll off").longpoll, None);
    }

    #[test]
    fn every_option_arrives() {
        let config = config(
            "serve --listen :1 --listen unix:/x --shards 3 --realm a --realm b --request-ids any --uri strict \
             --ping-seconds 0 --handshake-seconds 7 --stall-seconds 8 --drain-seconds 9 --message-bytes-max 2M \
             --outbound-bytes-max 4M --connections-max 5 --disclose never --event-history a?match=prefix \
             --event-history b --call-timeout-seconds 6 --longpoll /a/b --longpoll-receive-seconds 6 \
             --longpoll-idle-seconds 11 --longpoll-max 12 --retained-max 13 --retained-bytes-max 14k \
             --tls-certificate a.pem --tls-key a.key --tls-certificate b.pem --tls-key b.key --tls-client optional \
             --tls-client-authorities ca.pem --proxy-protocol-from 10.0.0.0/8 --forwarded-from unix \
             --origin http://a --origin null",
        );
        let tls = config.tls.expect("there are certificates");
        let files = |name: &str| IdentityFiles::new(format!("{name}.pem"), format!("{name}.key"));
        assert_eq!(tls.identities, [files("a"), files("b")]);
        assert_eq!(tls.client, ClientCertificates::Optional);
        assert_eq!(tls.client_authorities, Some("ca.pem".into()));
        assert_eq!(config.proxy_protocol_from, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(config.forwarded_from, [Network::Unix]);
        assert_eq!(config.origins, ["http://a", "null"]);
        assert_eq!(config.listens.len(), 2);
        assert_eq!((config.shards, config.realms), (3, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!((config.uri_check, config.request_ids), (UriCheck::Strict, RequestIds::Any));
        assert_eq!((config.disclosure, config.event_history.len()), (Disclosure::Never, 2));
        assert_eq!((config.retained_count_max, config.retained_bytes_max), (13, 14 << 10));
        assert_eq!(config.longpoll.as_deref(), Some("/a/b"));
        assert_eq!(config.call_timeout_ms, 6_000);
        let limits = config.limits;
        assert_eq!((limits.longpoll_receive_ms_max, limits.longpoll_idle_ms_max), (6_000, 11_000));
        assert_eq!(limits.longpoll_transports_max, 12);
        assert_eq!((limits.silence_ms_max, limits.handshake_ms_max), (0, 7_000));
        assert_eq!((limits.outbound_stall_ms_max, limits.drain_ms_max), (8_000, 9_000));
        assert_eq!((limits.message_bytes_max, limits.outbound_bytes_max), (2 << 20, 4 << 20));
        assert_eq!(limits.connections_max, 5);
    }
}
