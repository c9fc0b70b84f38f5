//! `fanwire bench latency`: how long deliveries take at a rate that the router does not set.

use std::time::Duration;

use super::fanout::{Sessions, deliveries};
use super::options::{Common, LOAD, Prepared};
use super::report::{amount, latency_text};
use crate::cli::exit::{EXIT_CODES, Exit, Failure};
use crate::load::drive::Schedule;
use crate::load::fanout::{LATENCY_EVERY, Pace, Plan, run};
use crate::wamp::MatchPolicy;

/// Publications under way while the highest rate is looked for.
const WINDOW: usize = 32;

/// How long the highest rate is looked for.
const SEARCH: Duration = Duration::from_secs(2);

/// Publish at a fixed rate and measure how long each delivery takes
///
/// Publications are sent when they are due, whatever the router does, and latency counts from then: if the router falls
/// behind, that is seen in every publication that had to wait. The rate is a part of the highest one, which is looked
/// for first, or given by --rate.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Latency {
    #[command(flatten)]
    sessions: Sessions,

    /// Part of the highest rate, above 0 and below 1
    #[arg(long, value_name = "PART", default_value_t = 0.5, value_parser = part, help_heading = LOAD)]
    load: f64,

    /// Publications in a second, in place of --load
    #[arg(long, value_name = "NUMBER", value_parser = rate, conflicts_with = "load", help_heading = LOAD)]
    rate: Option<f64>,

    #[command(flatten)]
    common: Common,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, publishers, subscribers, measured_s
  rate_max_per_s                                  what was found, null with --rate
  rate_per_s                                      at which publications were due
  publications_per_s, events_per_s, bytes_per_s, publications_total, events_total
  stalled, interrupted, lost, out_of_order, sessions_ended
  not_sent                                        due at the end, but held back: the router is overloaded
  latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns,
           points: [part of all deliveries, ns that it took at most] for a plot
  lag: the same, by which the generator sent later than due; part of the latency
  router (with --pid): cpu_s, cpu_ns_per_event, cores, busiest_thread, busiest_thread_cores, resident_bytes
  generator_cores";

impl Latency {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        let wanted = self.sessions.wanted();
        let mut prepared = self.common.prepare(self.sessions.ways(), MatchPolicy::Exact, wanted.len())?;
        prepared.open(&wanted)?;
        let found = match self.rate {
            Some(_) => None,
            None => Some(self.rate_max(&mut prepared)?),
        };
        let rate = self.rate.unwrap_or(self.load * found.unwrap_or_default());
        let plan = self.sessions.plan(&self.common, Pace::Rate(rate), 1);
        let Prepared { connections, process, progress, .. } = &mut prepared;
        let outcome = run(connections, &plan, process.as_ref(), &mut |part| progress.running(part))?;
        progress.end();
        let mut report = self.common.report("latency");
        self.sessions.report(&mut report);
        report.figures.number("rate_max_per_s", found.unwrap_or(f64::NAN)).number("rate_per_s", rate);
        let of = found.map_or_else(String::new, |found| format!(" of {}/s that were found", amount(found)));
        report.line("rate", format!("{}/s{of}", amount(rate)));
        deliveries(&mut report, &outcome);
        report.figures.whole("not_sent", outcome.not_sent);
        if outcome.not_sent > 0 {
            let what = "publications that were due were not sent, nor is their latency below";
            report.line(
                "overloaded",
                format!("the router was too slow for this rate: {} {what}", outcome.not_sent),
            );
        }
        report.figures.latency("latency", &outcome.latency, true);
        report.line("latency", latency_text(&outcome.latency));
        report.latency("lag", "sent late", &outcome.lag);
        report.usage(&outcome.measured, "event");
        report.print(self.common.json)?;
        Ok(outcome.verdict()?)
    }

    /// Publications in a second of a short run in a closed loop.
    fn rate_max(&self, prepared: &mut Prepared) -> Result<f64, Failure> {
        let schedule = self.common.schedule();
        let duration = schedule.duration.min(SEARCH);
        let plan = self.sessions.plan(&self.common, Pace::Window(WINDOW), LATENCY_EVERY);
        let plan = Plan { schedule: Schedule { duration, ..schedule }, ..plan };
        let Prepared { connections, process, progress, .. } = prepared;
        let outcome = run(connections, &plan, process.as_ref(), &mut |part| progress.searching(part))?;
        outcome.verdict()?;
        if outcome.measured.sent == 0 {
            let what = "nothing was delivered while the highest rate was looked for: give a --rate";
            return Err(Failure::Run(Exit::Timeout, what.to_owned()));
        }
        Ok(outcome.measured.sent as f64 / outcome.measured.time.as_secs_f64())
    }
}

fn part(text: &str) -> Result<f64, String> {
    let part: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if part > 0.0 && part < 1.0 { Ok(part) } else { Err("must be above 0 and below 1".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.001..=1e7).contains(&rate) { Ok(rate) } else { Err("must be from 0.001 to 10000000".to_owned()) }
}
