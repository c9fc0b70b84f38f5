//! `load`: the load of `fanwire bench` on systems that do not speak WAMP.
//!
//! Options and the fields of the report are those of `fanwire bench`, as far as they mean something here. The report is
//! always JSON: `compare` is who reads it.

mod report;

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fanwire::load::connections::{Address, Connections, Setup, Wanted};
use fanwire::load::fanout::{self, Pace, Slow};
use fanwire::load::process::Process;
use fanwire::load::{Dialect, LoadError, Role};
use fanwire_perf::dialect::nats::Nats;
use fanwire_perf::dialect::relay::Relay;
use fanwire_perf::dialect::websocket::WebSocket;

use report::Report;

/// Connections that may be on their way to being ready: fewer than a listener's usual backlog of 128.
const OPENING_MAX: usize = 100;

/// The load of `fanwire bench` on the relay, on NATS and on a plain WebSocket broadcast
#[derive(Parser)]
struct Load {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Publish to many subscribers as fast as the system delivers
    Fanout {
        #[command(flatten)]
        sessions: Sessions,
        /// Publications under way at most
        #[arg(long, default_value_t = 32)]
        window: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Publish at a fixed rate, and measure from when each publication was due
    Latency {
        #[command(flatten)]
        sessions: Sessions,
        /// Publications in a second
        #[arg(long)]
        rate: f64,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Args)]
struct Sessions {
    /// Sessions that publish
    #[arg(long, default_value_t = 1)]
    publishers: usize,
    /// Sessions that have subscribed
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
}

#[derive(Args)]
struct Common {
    /// What the system speaks
    #[arg(long)]
    dialect: Name,
    /// Where it listens: tcp://host:port or ws://host:port
    #[arg(long, value_parser = address)]
    url: SocketAddr,
    /// Octets of every payload
    #[arg(long, default_value_t = 128)]
    payload: usize,
    /// Seconds to measure
    #[arg(long, default_value = "5", value_parser = seconds)]
    duration: Duration,
    /// Seconds to put the load on before measuring
    #[arg(long, default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// Seconds of silence after which a run has stalled
    #[arg(long, default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Process id of the system, to report its CPU time and memory
    #[arg(long)]
    pid: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The relay of this package
    Relay,
    /// NATS
    Nats,
    /// Plain WebSocket: subscribers on /subscribe, publishers on /publish
    Websocket,
}

fn main() -> ExitCode {
    let Load { scenario } = Load::parse();
    let common = match &scenario {
        Scenario::Fanout { common, .. } | Scenario::Latency { common, .. } => common,
    };
    let done = match common.dialect {
        Name::Relay => scenario.run(Relay::new(common.payload)),
        Name::Nats => scenario.run(Nats::new(common.payload)),
        Name::Websocket => scenario.run(WebSocket::new(common.payload)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Scenario {
    fn run<D: Dialect>(&self, dialect: D) -> Result<(), LoadError> {
        match self {
            Scenario::Fanout { sessions, window, common } => {
                sessions.fanout(dialect, "fanout", Pace::Window(*window), common)
            }
            Scenario::Latency { sessions, rate, common } => {
                sessions.fanout(dialect, "latency", Pace::Rate(*rate), common)
            }
        }
    }
}

impl Sessions {
    fn fanout<D: Dialect>(
        &self,
        dialect: D,
        scenario: &str,
        pace: Pace,
        common: &Common,
    ) -> Result<(), LoadError> {
        let subscriber = Role::Subscriber { first: 0, count: 1 };
        let mut connections = common.open(
            dialect,
            [vec![Role::Publisher; self.publishers], vec![subscriber; self.subscribers]].concat(),
        )?;
        let plan = fanout::Plan {
            publishers: self.publishers,
            subscribers: self.subscribers,
            slow: Slow::default(),
            pace,
            warm_up: common.warm_up,
            duration: common.duration,
            latency_every: 16,
            patience: common.timeout,
        };
        let outcome = fanout::run(&mut connections, &plan, common.process()?.as_ref(), &mut |_| {})?;
        Report::default()
            .text("scenario", scenario)
            .plain("publishers", self.publishers)
            .plain("subscribers", self.subscribers)
            .plain("payload_bytes", common.payload)
            .delivered(&outcome)
            .latency(&outcome.latency)
            .spent(outcome.spent.as_ref(), outcome.measured, outcome.events, "event")
            .generator(outcome.own_cpu, outcome.measured)
            .print();
        Ok(())
    }
}

impl Common {
    fn open<D: Dialect>(&self, dialect: D, roles: Vec<Role>) -> Result<Connections<D>, LoadError> {
        let mut connections = Connections::new(dialect, Arc::new(AtomicBool::new(false)))?;
        let setup = Setup {
            addresses: vec![Address::Tcp(self.url)],
            patience: self.timeout,
            opening_max: OPENING_MAX,
            sources: Vec::new(),
        };
        let wanted: Vec<_> = roles.into_iter().map(|role| Wanted { role, way: 0 }).collect();
        setup.open(&mut connections, &wanted, |_| {})?;
        Ok(connections)
    }

    fn process(&self) -> Result<Option<Process>, LoadError> {
        self.pid.map(Process::new).transpose()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let rest = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("ws://"));
    let host = rest.and_then(|rest| rest.split('/').next()).ok_or("must begin with tcp:// or ws://")?;
    let mut addresses = host.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.next().ok_or_else(|| "the name has no address".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
