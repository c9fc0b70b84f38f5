//! `fanwire bench fanout`: publishers to subscribers of one topic, as fast as the router delivers.

use super::compared::{self, Compare};
use super::options::{Common, LOAD};
use super::report::Report;
use crate::cli::exit::{EXIT_CODES, Failure};
use crate::load::Role;
use crate::load::connections::Wanted;
use crate::load::fanout::{LATENCY_EVERY, Outcome, Pace, Plan, Slow, run};
use crate::load::wamp::Way;
use crate::wamp::{MatchPolicy, Serializer};

/// Publish to many subscribers as fast as the router delivers
///
/// A publication is under way until every subscriber has it, and only so many are under way at once: the rate is found
/// by the router, and nothing can pile up. Latency is from sending to each delivery, of one publication in 16.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Fanout {
    #[command(flatten)]
    sessions: Sessions,

    #[command(flatten)]
    window: Window,

    #[command(flatten)]
    comparison: Compare,

    #[command(flatten)]
    common: Common,
}

/// How much is under way.
#[derive(clap::Args, Clone, Debug)]
pub struct Window {
    /// Publications under way at most, of all publishers together
    #[arg(
        long = "window",
        value_name = "COUNT",
        default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = LOAD
    )]
    pub count: u32,
}

/// Who publishes and who subscribes.
#[derive(clap::Args, Clone, Debug)]
pub struct Sessions {
    /// Sessions that publish
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=1024),
        help_heading = LOAD
    )]
    publishers: u16,

    /// Sessions that have subscribed
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = LOAD
    )]
    subscribers: u32,

    /// Transports and serializers of the subscribers in turn, on the port of --url, like tcp+msgpack,ws+json,ws+cbor
    #[arg(long, value_name = "WAYS", value_delimiter = ',', value_parser = way, help_heading = LOAD)]
    subscribers_as: Vec<Way>,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, publishers, subscribers, window, measured_s
  publications_per_s, events_per_s, bytes_per_s   while it was measured
  publications_total, events_total                warm-up and what came late included
  stalled, interrupted, lost, out_of_order, sessions_ended
  latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns
  router (with --pid): cpu_s, cpu_ns_per_event, cores, busiest_thread, busiest_thread_cores, resident_bytes
  generator_cores                                 near 1: the generator is the limit
With --compare: scenario to window as above, rounds, cpu_ratio and memory_ratio of the second URL to the first, and
  compared: of each: url, cpu_ns_per_event (the median), cpu_ns_per_event_least, cpu_ns_per_event_most, events_per_s,
    resident_bytes_per_connection";

impl Fanout {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        if let Some(url) = &self.comparison.compare {
            return compared::compare(&self.sessions, &self.window, &self.common, &self.comparison, url);
        }
        let wanted = self.sessions.wanted();
        let mut prepared = self.common.prepare(self.sessions.ways(), MatchPolicy::Exact, wanted.len())?;
        prepared.open(&wanted)?;
        let plan = self.sessions.plan(&self.common, Pace::Window(self.window.count as usize), LATENCY_EVERY);
        let progress = &prepared.progress;
        let process = prepared.process.as_ref();
        let outcome = run(&mut prepared.connections, &plan, process, &mut |part| progress.running(part))?;
        progress.end();
        let mut report = self.common.report("fanout");
        self.sessions.report(&mut report);
        report.figures.whole("window", u64::from(self.window.count));
        deliveries(&mut report, &outcome);
        report.latency("latency", "latency", &outcome.latency);
        report.usage(&outcome.measured, "event");
        report.print(self.common.json)?;
        Ok(outcome.verdict()?)
    }
}

impl Sessions {
    /// The connections, in the order that a fan-out wants.
    pub fn wanted(&self) -> Vec<Wanted> {
        let publishers = (0..self.publishers).map(|_| Wanted { role: Role::Publisher, way: 0 });
        let ways = self.subscribers_as.len();
        let subscribers = (0..self.subscribers as usize).map(|number| Wanted {
            role: Role::Subscriber { first: 0, count: 1 },
            // The first way is that of --url.
            way: if ways == 0 { 0 } else { 1 + number % ways },
        });
        publishers.chain(subscribers).collect()
    }

    /// The ways besides that of `--url`.
    pub fn ways(&self) -> &[Way] {
        &self.subscribers_as
    }

    /// A run over these connections.
    pub fn plan(&self, common: &Common, pace: Pace, latency_every: u64) -> Plan {
        Plan {
            publishers: usize::from(self.publishers),
            subscribers: self.subscribers as usize,
            slow: Slow::default(),
            pace,
            schedule: common.schedule(),
            latency_every,
        }
    }

    /// Reports who there was.
    pub fn report(&self, report: &mut Report) {
        report
            .figures
            .whole("publishers", self.publishers.into())
            .whole("subscribers", self.subscribers.into());
        report.line("sessions", format!("{} publishing, {} subscribed", self.publishers, self.subscribers));
    }
}

/// Reports how much was delivered and what was not.
pub fn deliveries(report: &mut Report, outcome: &Outcome) {
    report.course(&outcome.measured, ["publications", "events"]);
    report.figures.whole("lost", outcome.lost).whole("out_of_order", outcome.out_of_order);
    report.figures.whole("sessions_ended", outcome.ended.count);
    report.line("lost", format!("{}, out of order {}", outcome.lost, outcome.out_of_order));
}

/// A way such as `tcp+msgpack`.
fn way(text: &str) -> Result<Way, String> {
    let wrong = || "must be ws or tcp, +, and json, msgpack, cbor or ubjson, like tcp+msgpack".to_owned();
    let (transport, serializer) = text.split_once('+').ok_or_else(wrong)?;
    let websocket = match transport {
        "ws" => true,
        "tcp" => false,
        _ => return Err(wrong()),
    };
    Ok(Way { websocket, serializer: Serializer::from_name(serializer).ok_or_else(wrong)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_a_transport_and_a_serializer() {
        assert_eq!(way("ws+json"), Ok(Way { websocket: true, serializer: Serializer::Json }));
        assert_eq!(way("tcp+cbor"), Ok(Way { websocket: false, serializer: Serializer::Cbor }));
        for wrong in ["", "ws", "ws+", "udp+json", "ws+xml", "json+ws"] {
            assert!(way(wrong).is_err(), "{wrong}");
        }
    }
}
