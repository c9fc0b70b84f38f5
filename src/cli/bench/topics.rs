//! `fanwire bench topics`: what a publication costs as there are more subscriptions.

use super::fanout::Window;
use super::options::{Common, LOAD, Prepared};
use super::report::{Report, amount, bytes, time};
use crate::cli::exit::{EXIT_CODES, Failure};
use crate::cli::target::match_policies;
use crate::limits::Limits;
use crate::load::connections::Wanted;
use crate::load::report::Figures;
use crate::load::topics::{Outcome, Plan, run, subscribers};
use crate::load::{LoadError, Role};
use crate::wamp::MatchPolicy;

/// Subscriptions of one session if nothing else is said: what this router allows.
const PER_SESSION: u32 = Limits::DEFAULT.subscriptions_per_session_max as u32;

/// Publish to one of many topics, each with one subscription
///
/// The number of subscriptions grows step by step; after each step publications to topics chosen at random are
/// measured. Each is one event, and each step spreads its subscriptions over the same number of sessions, so that what
/// changes is the cost of finding the subscriber. Of a single subscription all events go to one session and share its
/// writes, which is cheaper: compare with a step of as many subscriptions as sessions.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Topics {
    /// Numbers of subscriptions, each larger than the one before
    #[arg(
        long,
        value_name = "COUNTS",
        value_delimiter = ',',
        default_values_t = [1, 1000, 100_000],
        value_parser = clap::value_parser!(u32).range(1..=10_000_000),
        help_heading = LOAD
    )]
    subscriptions: Vec<u32>,

    /// Sessions that each step spreads its subscriptions over; else as many as 4096 subscriptions each need at the end
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = LOAD)]
    sessions: Option<u32>,

    /// Publish to the first so many topics only, at random; else to all
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), help_heading = LOAD)]
    busy: Option<u32>,

    /// How topics are matched: with prefix or wildcard each subscription is a pattern
    #[arg(long, value_name = "POLICY", default_value = "exact", value_parser = match_policies(), help_heading = LOAD)]
    patterns: MatchPolicy,

    #[command(flatten)]
    window: Window,

    #[command(flatten)]
    common: Common,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, patterns, spread_over_sessions, window, busy (if given)
  steps: a list, for each number of subscriptions
    subscriptions, sessions, subscribing_s, subscribed_per_s
    resident_bytes_per_subscription (with --pid; of those the step has added, their sessions included)
    measured_s, publications_per_s, events_per_s, bytes_per_s, publications_total, events_total
    stalled, interrupted, lost, out_of_order, sessions_ended
    latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns
    router (with --pid): cpu_s, cpu_ns_per_publication, cores, busiest_thread, busiest_thread_cores, resident_bytes
    generator_cores";

impl Topics {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        if !self.subscriptions.is_sorted_by(|a, b| a < b) {
            let what =
                "each number of --subscriptions must be larger than the one before, like 1,1000,100000";
            return Err(Failure::Usage(what.to_owned()));
        }
        let sessions = self.spread() as usize * self.subscriptions.len();
        let mut prepared = self.common.prepare(&[], self.patterns, sessions + 1)?;
        prepared.open(&[Wanted { role: Role::Publisher, way: 0 }])?;
        let mut report = self.common.report("topics");
        report
            .figures
            .text("patterns", self.patterns.name())
            .whole("spread_over_sessions", self.spread().into());
        report.figures.whole("window", self.window.count.into());
        if let Some(busy) = self.busy {
            report.figures.whole("busy", busy.into());
        }
        let mut steps = Vec::new();
        let mut before = 0;
        let mut judged = Ok(());
        for count in &self.subscriptions {
            let (step, outcome) = match self.step(&mut prepared, before, *count, &mut report) {
                // What was measured before is reported.
                Err(Failure::Load(LoadError::Interrupted)) if !steps.is_empty() => break,
                step => step?,
            };
            steps.push(step);
            before = *count;
            judged = outcome.verdict().map_err(Failure::from);
            if judged.is_err() || outcome.measured.interrupted {
                break;
            }
        }
        prepared.progress.end();
        report.figures.list("steps", &steps);
        report.print(self.common.json)?;
        judged
    }

    /// Sessions of each step.
    fn spread(&self) -> u32 {
        let most = self.subscriptions.last().copied().unwrap_or(1);
        self.sessions.unwrap_or(most.div_ceil(PER_SESSION))
    }

    /// Adds subscriptions up to that number and measures.
    fn step(
        &self,
        prepared: &mut Prepared,
        before: u32,
        count: u32,
        report: &mut Report,
    ) -> Result<(Figures, Outcome), Failure> {
        let wanted = subscribers(before, count, self.spread(), 0);
        let resident = prepared.resident_bytes();
        let opened = prepared.open(&wanted)?;
        let grown =
            prepared.resident_bytes().zip(resident).map(|(after, before)| after.saturating_sub(before));
        let schedule = self.common.schedule();
        let topics = self.busy.map_or(count, |busy| busy.min(count));
        let plan = Plan { topics, window: self.window.count as usize, schedule };
        let Prepared { connections, process, progress, .. } = prepared;
        let outcome = run(connections, &plan, process.as_ref(), &mut |part| progress.running(part))?;

        let added = f64::from(count - before);
        let mut step = Figures::default();
        step.whole("subscriptions", count.into()).whole("sessions", connections.count() as u64 - 1);
        let seconds = opened.time.as_secs_f64();
        step.number("subscribing_s", seconds).number("subscribed_per_s", added / seconds);
        if let Some(grown) = grown {
            step.number("resident_bytes_per_subscription", grown as f64 / added);
        }
        step.course(&outcome.measured, ["publications", "events"]);
        step.whole("lost", outcome.lost).whole("out_of_order", outcome.out_of_order);
        step.whole("sessions_ended", outcome.ended.count);
        step.latency("latency", &outcome.latency, false).usage(&outcome.measured, "publication");
        report.line("subscriptions", line(count, &outcome, grown.map(|grown| grown as f64 / added)));
        Ok((step, outcome))
    }
}

/// A step in words.
fn line(count: u32, outcome: &Outcome, resident: Option<f64>) -> String {
    let measured = &outcome.measured;
    let rate = measured.received as f64 / measured.time.as_secs_f64();
    let cpu = measured.spent.as_ref().map(|spent| spent.cpu.as_nanos() as f64 / measured.received as f64);
    let cpu = cpu.map_or_else(String::new, |cpu| format!(", {} CPU each", time(cpu)));
    let resident =
        resident.map_or_else(String::new, |octets| format!(", {} per subscription", bytes(octets)));
    let p50 = time(outcome.latency.value_at_percentile(50.0) as f64);
    let wrong = format!("lost {}, out of order {}", outcome.lost, outcome.out_of_order);
    format!("{count:>9}: {} publications/s{cpu}, p50 {p50}{resident}, {wrong}", amount(rate))
}
