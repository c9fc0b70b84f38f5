//! `load`: the load of `fanwire bench` on systems that do not speak WAMP.
//!
//! Options and the fields of the report are those of `fanwire bench`, as far as they mean something here. The report is
//! always JSON: `compare` is who reads it.

use std::error::Error;
use std::iter;
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fanwire::load::connections::{Address, Connections, OPENING_MAX, Opened, Setup, Wanted};
use fanwire::load::crowd::{self, SETTLE};
use fanwire::load::drive::Schedule;
use fanwire::load::fanout::{self, LATENCY_EVERY, Pace, Slow};
use fanwire::load::process::Process;
use fanwire::load::report::Figures;
use fanwire::load::{Dialect, Role, rpc};
use fanwire_perf::dialect::nats::Nats;
use fanwire_perf::dialect::relay::Relay;
use fanwire_perf::dialect::websocket::WebSocket;

/// Why there is nothing to report, in words.
type Failure = Box<dyn Error>;

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
    /// Call procedures that answer at once with what they were given
    Rpc {
        /// Sessions that call
        #[arg(long, default_value_t = 16)]
        callers: usize,
        /// Sessions that have registered a procedure each
        #[arg(long, default_value_t = 4)]
        callees: u32,
        /// Calls that each caller keeps open
        #[arg(long, default_value_t = 8)]
        open: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Open many sessions as fast as the system lets them in, and see what they cost
    Conns {
        /// Sessions
        #[arg(long, default_value_t = 5000)]
        sessions: usize,
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
    let common = scenario.common();
    let done = match common.dialect {
        Name::Relay => scenario.run(Relay::new(common.payload)),
        Name::Nats => scenario.run(Nats::new(common.payload)),
        Name::Websocket if matches!(scenario, Scenario::Rpc { .. }) => Err("a broadcast has no calls".into()),
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
    fn common(&self) -> &Common {
        match self {
            Scenario::Fanout { common, .. }
            | Scenario::Latency { common, .. }
            | Scenario::Rpc { common, .. }
            | Scenario::Conns { common, .. } => common,
        }
    }

    fn run<D: Dialect>(&self, dialect: D) -> Result<(), Failure> {
        let figures = match self {
            Scenario::Fanout { sessions, window, common } => {
                sessions.fanout(dialect, Pace::Window(*window), common)
            }
            Scenario::Latency { sessions, rate, common } => {
                sessions.fanout(dialect, Pace::Rate(*rate), common)
            }
            Scenario::Rpc { callers, callees, open, common } => {
                rpc(dialect, *callers, *callees, *open, common)
            }
            Scenario::Conns { sessions, common } => conns(dialect, *sessions, common),
        };
        println!("{}", figures?);
        Ok(())
    }
}

impl Sessions {
    fn fanout<D: Dialect>(&self, dialect: D, pace: Pace, common: &Common) -> Result<Figures, Failure> {
        let subscriber = Role::Subscriber { first: 0, count: 1 };
        let roles = [vec![Role::Publisher; self.publishers], vec![subscriber; self.subscribers]].concat();
        let (mut connections, _) = common.open(dialect, &roles)?;
        let plan = fanout::Plan {
            publishers: self.publishers,
            subscribers: self.subscribers,
            slow: Slow::default(),
            pace,
            schedule: common.schedule(),
            latency_every: if matches!(pace, Pace::Rate(_)) { 1 } else { LATENCY_EVERY },
        };
        let outcome = fanout::run(&mut connections, &plan, common.process()?.as_ref(), &mut |_| {})?;
        outcome.verdict()?;
        let mut figures = Figures::default();
        figures
            .course(&outcome.measured, ["publications", "events"])
            .whole("lost", outcome.lost)
            .whole("out_of_order", outcome.out_of_order)
            .whole("not_sent", outcome.not_sent)
            .latency("latency", &outcome.latency, true)
            .usage(&outcome.measured, "event");
        Ok(figures)
    }
}

fn rpc<D: Dialect>(
    dialect: D,
    callers: usize,
    callees: u32,
    open: usize,
    common: &Common,
) -> Result<Figures, Failure> {
    let registered = (0..callees).map(|procedure| Role::Callee { procedure });
    let roles: Vec<_> = iter::repeat_n(Role::Caller, callers).chain(registered).collect();
    let (mut connections, _) = common.open(dialect, &roles)?;
    let plan = rpc::Plan { callers, callees: callees as usize, open, schedule: common.schedule() };
    let outcome = rpc::run(&mut connections, &plan, common.process()?.as_ref(), &mut |_| {})?;
    outcome.verdict()?;
    let mut figures = Figures::default();
    figures
        .course(&outcome.measured, ["calls", "results"])
        .whole("errors", outcome.errors)
        .whole("unexpected", outcome.unexpected)
        .whole("missing", outcome.missing)
        .latency("latency", &outcome.latency, true)
        .usage(&outcome.measured, "call");
    Ok(figures)
}

fn conns<D: Dialect>(dialect: D, sessions: usize, common: &Common) -> Result<Figures, Failure> {
    let process = common.process()?;
    let resident = || process.as_ref().map(Process::resident_bytes);
    let before = resident();
    let (mut connections, opened) = common.open(dialect, &vec![Role::Idle; sessions])?;
    crowd::rest(&mut connections, SETTLE)?.verdict()?;
    let mut figures = Figures::default();
    figures.number("joined_per_s", sessions as f64 / opened.time.as_secs_f64()).latency(
        "join",
        &opened.latency,
        true,
    );
    if let Some((before, after)) = before.zip(resident()) {
        figures.number("resident_bytes_per_session", after.saturating_sub(before) as f64 / sessions as f64);
    }
    Ok(figures)
}

impl Common {
    fn open<D: Dialect>(&self, dialect: D, roles: &[Role]) -> Result<(Connections<D>, Opened), Failure> {
        let mut connections = Connections::new(dialect, Arc::new(AtomicBool::new(false)))?;
        let setup = Setup {
            addresses: vec![Address::Tcp(self.url)],
            patience: self.timeout,
            opening_max: OPENING_MAX,
            sources: Vec::new(),
        };
        let wanted: Vec<_> = roles.iter().map(|role| Wanted { role: *role, way: 0 }).collect();
        let opened = setup.open(&mut connections, &wanted, |_| {})?;
        Ok((connections, opened))
    }

    fn schedule(&self) -> Schedule {
        Schedule { warm_up: self.warm_up, duration: self.duration, patience: self.timeout }
    }

    fn process(&self) -> Result<Option<Process>, Failure> {
        Ok(self.pid.map(Process::new).transpose()?)
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
