//! The options that every scenario has, and how they become connections.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::client::Resumption;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::progress::Progress;
use super::report::Report;
use crate::cli::exit::Failure;
use crate::cli::target::{seconds, serializers};
use crate::client::{self, ClientError, Scheme, Trust, Url};
use crate::limits::MESSAGE_BYTES_CEILING;
use crate::load::connections::{Address, Connections, OPENING_MAX, Opened, Setup, Tls, Wanted};
use crate::load::drive::Schedule;
use crate::load::process::Process;
use crate::load::stamp::STAMP_BYTES;
use crate::load::wamp::{Options as WampOptions, Wamp, Way};
use crate::load::{Ending, LoadError};
use crate::wamp::{MatchPolicy, Serializer, UriCheck, uri};

/// Heading of the options that say what is done.
pub const LOAD: &str = "Load";

/// Files a process has open besides its sockets.
const FILES_BESIDES: u64 = 16;

/// Connections from one local address to one port: fewer than the kernel's 28,232 ports for them.
const SESSIONS_PER_SOURCE: usize = 25_000;

/// What every scenario can be told.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    /// Router: ws://, wss://, tcp://, tcps:// (RawSocket) or unix:///path (RawSocket)
    #[arg(long, env = "FANWIRE_URL", default_value = "ws://127.0.0.1:8080/ws", help_heading = "Connection")]
    url: Url,

    /// Realm to join
    #[arg(long, env = "FANWIRE_REALM", default_value = "realm1", help_heading = "Connection")]
    realm: String,

    /// Serializer on the wire
    #[arg(
        long,
        env = "FANWIRE_SERIALIZER",
        default_value = "json",
        value_parser = serializers(),
        help_heading = "Connection"
    )]
    serializer: Serializer,

    /// Trust the authorities in this PEM file, besides those the machine trusts
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    ca: Option<PathBuf>,

    /// Trust whoever answers over TLS
    #[arg(long, conflicts_with = "ca", help_heading = "Connection")]
    insecure: bool,

    /// Name to join under
    #[arg(long, help_heading = "Connection")]
    authid: Option<String>,

    /// What the URIs of all topics and procedures begin with, where not all are allowed
    #[arg(
        long,
        value_name = "URI",
        default_value = "fanwire.bench",
        value_parser = prefix,
        help_heading = "Connection"
    )]
    prefix: String,

    /// Silence after which a run has stalled, or a session will not be ready any more
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, help_heading = "Connection")]
    timeout: Duration,

    /// Octets of the one text that every message carries
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = payload_bytes, help_heading = LOAD)]
    payload: usize,

    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, help_heading = LOAD)]
    duration: Duration,

    /// How long to put the load on before measuring
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds_or_none, help_heading = LOAD)]
    warm_up: Duration,

    /// Process id of the router, to report its CPU time and memory; of several processes the one that routes
    ///
    /// Only that one process is measured, with all its threads, and none of its children: of Crossbar.io give the id of
    /// the worker, not that of the node which has started it.
    #[arg(long, help_heading = "Report")]
    pid: Option<u32>,

    /// Print the report as a JSON object; its fields are those of the scenario's --help
    #[arg(long, help_heading = "Report")]
    pub json: bool,
}

impl Common {
    /// The same at another URL.
    pub fn at(&self, url: Url) -> Common {
        Common { url, ..self.clone() }
    }

    /// Where.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// How long a run takes.
    pub fn schedule(&self) -> Schedule {
        Schedule { warm_up: self.warm_up, duration: self.duration, patience: self.timeout }
    }

    /// What all reports begin with.
    pub fn report(&self, scenario: &str) -> Report {
        let mut report = Report::default();
        report.figures.text("scenario", scenario).text("url", &self.url.to_string());
        report.figures.text("serializer", self.serializer.name()).whole("payload_bytes", self.payload as u64);
        report
    }

    /// No connections yet, and how to make them. `ways` are those besides `--url`'s, which is the first.
    pub fn prepare(&self, ways: &[Way], policy: MatchPolicy, sessions: usize) -> Result<Prepared, Failure> {
        let process = self.pid.map(Process::new).transpose()?;
        // Trust is settled first: a file that cannot be read should be told even if the router is down.
        let tls = self.tls()?;
        let address = self.address()?;
        allow_files(sessions as u64 + FILES_BESIDES)?;
        let stop = interrupted().map_err(Failure::System)?;
        // Two runs do not meet, even if they have the same process id in different containers.
        let run = getrandom::u32().map_err(|error| Failure::System(error.into()))?;
        let wamp = Wamp::new(WampOptions {
            realm: self.realm.clone(),
            authid: self.authid.clone(),
            prefix: format!("{}.{run:08x}", self.prefix.trim_end_matches('.')),
            payload_bytes: self.payload,
            policy,
            host: self.url.authority(),
            path: if self.url.scheme.is_websocket() { self.url.path.clone() } else { "/ws".to_owned() },
            ways: [&[self.way()], ways].concat(),
        });
        let mut connections = Connections::new(wamp, stop).map_err(Failure::System)?;
        if let Some(tls) = tls {
            connections.speak_tls(tls);
        }
        let sources = sources(&address, sessions);
        let setup =
            Setup { addresses: vec![address], patience: self.timeout, opening_max: OPENING_MAX, sources };
        Ok(Prepared {
            connections,
            setup,
            process,
            progress: Progress::new(self.json),
            url: self.url.clone(),
        })
    }

    fn way(&self) -> Way {
        Way { websocket: self.url.scheme.is_websocket(), serializer: self.serializer }
    }

    fn address(&self) -> Result<Address, Failure> {
        match self.url.scheme {
            Scheme::Unix => Ok(Address::Unix(self.url.path.clone().into())),
            Scheme::Tcp | Scheme::Tcps | Scheme::Ws | Scheme::Wss => {
                let unknown = |error| Failure::from(ClientError::Connect(Box::new(self.url.clone()), error));
                let host = (self.url.host.as_str(), self.url.port);
                let addresses: Vec<_> = host.to_socket_addrs().map_err(unknown)?.collect();
                // Of several addresses, such as both of localhost, the first one that answers.
                let answers = |to: &&SocketAddr| TcpStream::connect_timeout(to, self.timeout).is_ok();
                let answering = if addresses.len() > 1 { addresses.iter().find(answers) } else { None };
                let none = || unknown(std::io::Error::other("the name has no address"));
                answering.or(addresses.first()).map(|to| Address::Tcp(*to)).ok_or_else(none)
            }
        }
    }

    /// How TLS is spoken, if the URL asks for it. Each handshake is a whole one: how many a router takes is to be
    /// measured, not how well this program remembers the last.
    fn tls(&self) -> Result<Option<Tls>, Failure> {
        if !self.url.scheme.is_tls() {
            return Ok(None);
        }
        let trust = if self.insecure { Trust::Anybody } else { Trust::Authorities(self.ca.as_deref()) };
        let (mut config, host) = client::tls(&self.url, trust).map_err(ClientError::Tls)?;
        config.resumption = Resumption::disabled();
        Ok(Some(Tls { config: Arc::new(config), host }))
    }
}

/// Everything that a run needs.
#[derive(Debug)]
pub struct Prepared {
    /// The connections so far.
    pub connections: Connections<Wamp>,
    /// How more are made.
    pub setup: Setup,
    /// The process that is measured, if one was given.
    pub process: Option<Process>,
    /// The bar.
    pub progress: Progress,
    url: Url,
}

impl Prepared {
    /// Makes connections and waits until all are ready.
    pub fn open(&mut self, wanted: &[Wanted]) -> Result<Opened, Failure> {
        let Prepared { connections, setup, progress, url, .. } = self;
        let opened = setup.open(connections, wanted, |ready| progress.joining(ready, wanted.len()));
        opened.map_err(|error| match error {
            // The URL helps more than that nobody was ready.
            LoadError::Setup { ready: 0, ending: Ending::Connect(error), .. } => {
                ClientError::Connect(Box::new(url.clone()), error).into()
            }
            error => error.into(),
        })
    }

    /// Resident memory of the measured process.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.process.as_ref().map(Process::resident_bytes)
    }
}

/// Octets of a payload: a stamp at least, and at most what fits a message with room for all around it.
fn payload_bytes(text: &str) -> Result<usize, String> {
    let bytes: usize = text.parse().map_err(|_| "not a number of octets".to_owned())?;
    let most = MESSAGE_BYTES_CEILING - 4096;
    if !(STAMP_BYTES..=most).contains(&bytes) {
        return Err(format!("must be from {STAMP_BYTES} to {most}"));
    }
    Ok(bytes)
}

/// The beginning of URIs, as strict routers take them, with room for what comes after it.
fn prefix(text: &str) -> Result<String, String> {
    if !UriCheck::Strict.uri(text.trim_end_matches('.')) || uri::reserved(text) || text.len() > 200 {
        return Err(
            "must be a URI like com.example.bench, not below `wamp.`, of at most 200 octets".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// A time in seconds that may be 0.
fn seconds_or_none(text: &str) -> Result<Duration, String> {
    if text.parse() == Ok(0.0) { Ok(Duration::ZERO) } else { seconds(text) }
}

/// Local addresses to connect from: none if the kernel's choice has enough ports, else more addresses of the loopback
/// network, which has as many as are wanted.
fn sources(address: &Address, sessions: usize) -> Vec<IpAddr> {
    let Address::Tcp(SocketAddr::V4(to)) = address else { return Vec::new() };
    if !to.ip().is_loopback() || sessions <= SESSIONS_PER_SOURCE {
        return Vec::new();
    }
    let count = sessions.div_ceil(SESSIONS_PER_SOURCE) as u32;
    let first = u32::from(Ipv4Addr::new(127, 0, 0, 2));
    (first..first + count).map(|address| IpAddr::V4(Ipv4Addr::from(address))).collect()
}

/// Raises the limit of open files to what the system allows, if that is needed.
fn allow_files(wanted: u64) -> Result<(), LoadError> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    limit.current = limit.maximum;
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    if allowed < wanted || setrlimit(Resource::Nofile, limit).is_err() {
        return Err(LoadError::FileLimit { wanted, allowed });
    }
    Ok(())
}

/// Becomes true with the first SIGINT or SIGTERM, so that the run ends and reports; a second one ends the process.
fn interrupted() -> std::io::Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    let stop = asked.clone();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if asked.swap(true, Ordering::Relaxed) {
                // It can only fail for signals that have no default.
                let _ = emulate_default_handler(signal);
            }
        }
    })?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowds_come_from_several_addresses_of_the_loopback_network() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        assert!(sources(&tcp("127.0.0.1:8080"), 25_000).is_empty());
        let two = sources(&tcp("127.0.0.1:8080"), 25_001);
        assert_eq!(two, ["127.0.0.2", "127.0.0.3"].map(|text| text.parse::<IpAddr>().unwrap()));
        assert!(sources(&tcp("192.0.2.1:8080"), 100_000).is_empty());
        assert!(sources(&tcp("[::1]:8080"), 100_000).is_empty());
        assert!(sources(&Address::Unix("/a".into()), 100_000).is_empty());
    }

    #[test]
    fn payloads_hold_a_stamp_and_fit_a_message() {
        assert_eq!(payload_bytes("16"), Ok(16));
        for wrong in ["15", "16777216", "-1", "1k"] {
            assert!(payload_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!((seconds_or_none("0.0"), seconds_or_none("0.5").is_ok()), (Ok(Duration::ZERO), true));
        assert!(seconds_or_none("-1").is_err());
    }
}
