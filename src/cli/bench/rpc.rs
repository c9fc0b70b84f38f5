//! `fanwire bench rpc`: calls through the router and back.

use super::options::{Common, LOAD};
use crate::cli::exit::{EXIT_CODES, Failure};
use crate::load::Role;
use crate::load::connections::Wanted;
use crate::load::rpc::{Outcome, Plan, run};
use crate::wamp::MatchPolicy;

/// Call procedures that answer at once with what they were given
///
/// Each callee has registered one procedure, and every caller calls them in turn. A result is followed by the next
/// call. For the round trip of one call at a time: --callers 1 --callees 1 --open 1.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Rpc {
    /// Sessions that call
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = LOAD
    )]
    callers: u16,

    /// Sessions that have registered a procedure
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..),
        help_heading = LOAD
    )]
    callees: u16,

    /// Calls that each caller keeps open
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=4096),
        help_heading = LOAD
    )]
    open: u16,

    #[command(flatten)]
    common: Common,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, callers, callees, open, measured_s
  calls_per_s, results_per_s, bytes_per_s    while it was measured
  calls_total, results_total                 warm-up and what came late included
  stalled, interrupted, errors, unexpected, missing, sessions_ended
  latency: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns
  router (with --pid): cpu_s, cpu_ns_per_call, cores, busiest_thread, busiest_thread_cores, resident_bytes
  generator_cores                            near 1: the generator is the limit";

impl Rpc {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        let callers = (0..self.callers).map(|_| Role::Caller);
        let callees = (0..self.callees).map(|procedure| Role::Callee { procedure: procedure.into() });
        let wanted: Vec<_> = callers.chain(callees).map(|role| Wanted { role, way: 0 }).collect();
        let mut prepared = self.common.prepare(&[], MatchPolicy::Exact, wanted.len())?;
        prepared.open(&wanted)?;
        let plan = Plan {
            callers: self.callers.into(),
            callees: self.callees.into(),
            open: self.open.into(),
            schedule: self.common.schedule(),
        };
        let progress = &prepared.progress;
        let process = prepared.process.as_ref();
        let outcome = run(&mut prepared.connections, &plan, process, &mut |part| progress.running(part))?;
        progress.end();
        self.report(&outcome)?;
        Ok(outcome.verdict()?)
    }

    fn report(&self, outcome: &Outcome) -> Result<(), Failure> {
        let mut report = self.common.report("rpc");
        report.figures.whole("callers", self.callers.into()).whole("callees", self.callees.into());
        report.figures.whole("open", self.open.into());
        let sessions =
            format!("{} calling {} callees, {} calls open each", self.callers, self.callees, self.open);
        report.line("sessions", sessions);
        report.course(&outcome.measured, ["calls", "results"]);
        report.figures.whole("errors", outcome.errors).whole("unexpected", outcome.unexpected);
        report.figures.whole("missing", outcome.missing).whole("sessions_ended", outcome.ended.count);
        report.line(
            "errors",
            format!("{}, missing {}, unexpected {}", outcome.errors, outcome.missing, outcome.unexpected),
        );
        report.latency("latency", "round trip", &outcome.latency);
        report.usage(&outcome.measured, "call");
        report.print(self.common.json)
    }
}
