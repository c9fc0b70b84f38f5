//! `fanwire bench fanout`: publishers to subscribers of one topic, as fast as the router delivers.

use super::options::Common;
use super::progress::Progress;
use super::report::{Report, amount, bytes, latency_text};
use crate::cli::exit::{Exit, Failure};
use crate::load::Role;
use crate::load::connections::Wanted;
use crate::load::fanout::{Outcome, Pace, Plan, Slow, run};
use crate::load::wamp::Way;
use crate::wamp::{MatchPolicy, Serializer};

/// Of how many publications one is measured for latency.
const LATENCY_EVERY: u64 = 16;

/// Publish to many subscribers as fast as the router delivers
///
/// A publication is under way until every subscriber has it, and only so many are under way at once: the rate is found by
/// the router, and nothing can pile up. Latency is from sending to each delivery, of one publication in 16.
#[derive(clap::Args, Debug)]
#[command(after_help = FIELDS)]
pub struct Fanout {
    #[command(flatten)]
    sessions: Sessions,

    /// Publications under way at most, of all publishers together
    #[arg(long, value_name = "COUNT", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Load")]
    window: u32,

    #[command(flatten)]
    common: Common,
}

/// Who publishes and who subscribes.
#[derive(clap::Args, Clone, Debug)]
pub struct Sessions {
    /// Sessions that publish
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Load")]
    pub publishers: u16,

    /// Sessions that have subscribed
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Load")]
    pub subscribers: u32,

    /// Transports and serializers of the subscribers in turn, on the port of --url: tcp+msgpack,ws+json,ws+cbor
    #[arg(long, value_name = "WAYS", value_delimiter = ',', value_parser = way, help_heading = "Load")]
    subscribers_as: Vec<Way>,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, target, publishers, subscribers, window, payload_bytes, measured_s
  publications_per_s, events_per_s, bytes_per_s   while it was measured
  publications_total, events_total                warm-up and the end included
  lost, out_of_order, stalled, interrupted, sessions_ended
  latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns
  router (with --pid): cpu_s, cpu_ns_per_event, cores, busiest_thread, busiest_thread_cores, resident_bytes
  generator_cores                                 near 1: the generator is the limit";

impl Fanout {
    /// Runs the scenario.
    pub fn bench(&self) -> Result<(), Failure> {
        let process = self.common.process()?;
        let wanted = self.sessions.wanted();
        let (mut connections, setup) =
            self.common.connections(&self.sessions.subscribers_as, MatchPolicy::Exact, wanted.len())?;
        let progress = Progress::new(self.common.json);
        setup
            .open(&mut connections, &wanted, |ready| progress.joining(ready, wanted.len()))
            .map_err(|error| self.common.failure(error))?;
        let plan = self.sessions.plan(&self.common, Pace::Window(self.window as usize), LATENCY_EVERY);
        let outcome = run(&mut connections, &plan, process.as_ref(), &mut |at| progress.running(at))?;
        progress.end();
        let mut report = Report::default();
        report.text("scenario", "fanout").text("target", &self.common.target());
        report.whole("publishers", u64::from(self.sessions.publishers));
        report.whole("subscribers", u64::from(self.sessions.subscribers));
        report.whole("window", u64::from(self.window)).whole("payload_bytes", self.common.payload as u64);
        report.line(
            "fanout",
            format!(
                "{} to {} subscribers, {} under way, {} payload, {}",
                self.sessions.publishers,
                self.sessions.subscribers,
                self.window,
                bytes(self.common.payload as f64),
                self.common.target(),
            ),
        );
        delivered(&mut report, &outcome);
        report.latency("latency", &outcome.latency, false).line("latency", latency_text(&outcome.latency));
        report.spent(outcome.spent.as_ref(), outcome.measured, outcome.events, "event");
        report.generator(outcome.own_cpu, outcome.measured);
        report.print(self.common.json)?;
        verdict(&outcome)
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
            warm_up: common.warm_up,
            duration: common.duration,
            latency_every,
            patience: common.patience(),
        }
    }
}

/// Reports how much was delivered and what was not.
pub fn delivered(report: &mut Report, outcome: &Outcome) {
    let seconds = outcome.measured.as_secs_f64();
    let rate = |count: u64| count as f64 / seconds;
    report.number("measured_s", seconds);
    report.number("publications_per_s", rate(outcome.publications));
    report.number("events_per_s", rate(outcome.events));
    report.number("bytes_per_s", rate(outcome.bytes));
    report.whole("publications_total", outcome.publications_total);
    report.whole("events_total", outcome.events_total);
    report.whole("lost", outcome.lost).whole("out_of_order", outcome.out_of_order);
    report.flag("stalled", outcome.stalled.is_some()).flag("interrupted", outcome.interrupted);
    report.whole("sessions_ended", outcome.ended.0 as u64);
    report.line("publications", format!("{}/s", amount(rate(outcome.publications))));
    let events = format!("{}/s, {}/s", amount(rate(outcome.events)), bytes(rate(outcome.bytes)));
    report.line("events", events);
    report.line("lost", format!("{}, out of order {}", outcome.lost, outcome.out_of_order));
}

/// What was wrong with a run that was reported.
pub fn verdict(outcome: &Outcome) -> Result<(), Failure> {
    if let (count @ 1.., why) = &outcome.ended {
        let why = why.as_deref().unwrap_or("for no reason");
        return Err(Failure::Run(Exit::Connection, format!("{count} sessions ended during the run: {why}")));
    }
    if let Some(missing) = outcome.stalled {
        let what = format!("the router stalled: {missing} events are missing, and none came for --timeout");
        return Err(Failure::Run(Exit::Timeout, what));
    }
    Ok(())
}

/// A way such as `tcp+msgpack`.
fn way(text: &str) -> Result<Way, String> {
    let wrong = || "must be ws or tcp, +, and json, msgpack or cbor, like tcp+msgpack".to_owned();
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
