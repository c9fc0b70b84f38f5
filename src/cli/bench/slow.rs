//! `fanwire bench slow`: subscribers that do not keep up, and what they do to those that do.

use super::fanout::{Sessions, Window, deliveries};
use super::options::{Common, LOAD};
use super::report::{Report, bytes};
use crate::cli::exit::{EXIT_CODES, Failure};
use crate::load::fanout::{self, LATENCY_EVERY, Pace, Plan, SlowOutcome, run};
use crate::load::report::Figures;
use crate::load::{Role, connections::Wanted};
use crate::wamp::MatchPolicy;

/// Publish to many subscribers of which some read slowly or not at all
///
/// The others decide how fast publications are sent. At the end the slow ones read all that the router still has for
/// them; the report tells how many the router had closed and what they got, what that cost the others, and the
/// router's memory.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Slow {
    #[command(flatten)]
    sessions: Sessions,

    /// Subscribers that do not keep up, besides the others
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 10,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = LOAD
    )]
    slow: u32,

    /// Octets that each of them reads in a second; 0 for nothing at all
    #[arg(long, value_name = "BYTES", default_value_t = 0, help_heading = LOAD)]
    slow_rate: u64,

    #[command(flatten)]
    window: Window,

    #[command(flatten)]
    common: Common,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, publishers, subscribers, window, measured_s
  publications_per_s, events_per_s, bytes_per_s, publications_total, events_total    without the slow ones
  stalled, interrupted, lost, out_of_order, sessions_ended                           without the slow ones
  slow: sessions, bytes_per_s, events, skipped, closed
  latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns       without the slow ones
  resident_bytes_before (with --pid)
  router (with --pid): cpu_s, cpu_ns_per_event, cores, busiest_thread, busiest_thread_cores, resident_bytes
  generator_cores";

impl Slow {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        let mut wanted = self.sessions.wanted();
        let slow = Wanted { role: Role::Subscriber { first: 0, count: 1 }, way: 0 };
        wanted.resize(wanted.len() + self.slow as usize, slow);
        let mut prepared = self.common.prepare(self.sessions.ways(), MatchPolicy::Exact, wanted.len())?;
        prepared.open(&wanted)?;
        let before = prepared.resident_bytes();
        let pace = Pace::Window(self.window.count as usize);
        let slow = fanout::Slow { count: self.slow as usize, bytes_per_second: self.slow_rate };
        let plan = Plan { slow, ..self.sessions.plan(&self.common, pace, LATENCY_EVERY) };
        let progress = &prepared.progress;
        let process = prepared.process.as_ref();
        let outcome = run(&mut prepared.connections, &plan, process, &mut |part| progress.running(part))?;
        progress.end();
        let mut report = self.common.report("slow");
        self.sessions.report(&mut report);
        report.figures.whole("window", u64::from(self.window.count));
        deliveries(&mut report, &outcome);
        self.report_slow(&mut report, &outcome.slow);
        report.latency("latency", "latency", &outcome.latency);
        if let Some(before) = before {
            report.figures.whole("resident_bytes_before", before);
            report.line("memory", format!("{} before", bytes(before as f64)));
        }
        report.usage(&outcome.measured, "event");
        report.print(self.common.json)?;
        Ok(outcome.verdict()?)
    }

    fn report_slow(&self, report: &mut Report, slow: &SlowOutcome) {
        let mut group = Figures::default();
        group.whole("sessions", self.slow.into()).whole("bytes_per_s", self.slow_rate);
        group.whole("events", slow.events).whole("skipped", slow.skipped).whole("closed", slow.closed as u64);
        report.figures.group("slow", &group);
        let read = format!("{} events read, {} left out", slow.events, slow.skipped);
        report.line("slow", format!("{} sessions, {} were closed, {read}", self.slow, slow.closed));
    }
}
