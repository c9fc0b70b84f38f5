//! `fanwire bench conns`: how fast sessions join, and what each costs while it does nothing.

use super::options::{Common, LOAD, Prepared};
use super::report::{Report, amount, bytes};
use crate::cli::exit::{EXIT_CODES, Failure};
use crate::load::connections::Wanted;
use crate::load::crowd::{self, Outcome, SETTLE};
use crate::load::{LoadError, Role};
use crate::wamp::MatchPolicy;

/// Open many sessions as fast as the router lets them in, and see what they cost
///
/// Each session connects and joins; joined, it does nothing. With --churn sessions then leave without a word and join
/// again, in turn and as fast as they may, for --duration.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{FIELDS}\n\n{EXIT_CODES}"))]
pub struct Conns {
    /// Sessions
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 5000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = LOAD
    )]
    sessions: u32,

    /// Connections on their way to being joined at most
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=65_536),
        help_heading = LOAD
    )]
    opening: u32,

    /// Let sessions leave and join again for --duration
    #[arg(long, help_heading = LOAD)]
    churn: bool,

    #[command(flatten)]
    common: Common,
}

const FIELDS: &str = "\
Fields of --json:
  scenario, url, serializer, payload_bytes, sessions, opening
  joining_s, joined_per_s                    from the first connect to the last WELCOME
  join: from connect to WELCOME: count, p50_ns, p90_ns, p99_ns, p99_9_ns, p99_99_ns, max_ns, mean_ns
  sessions_ended
  resident_bytes_before, resident_bytes_after, resident_bytes_per_session if it grew (with --pid)
  churn (with --churn): measured_s, left_per_s, joined_per_s, bytes_per_s, left_total, joined_total, stalled,
    interrupted, router (with --pid): cpu_s, cpu_ns_per_session, cores, busiest_thread, busiest_thread_cores,
    resident_bytes; generator_cores";

impl Conns {
    /// Runs the scenario.
    pub fn run(&self) -> Result<(), Failure> {
        let wanted = vec![Wanted { role: Role::Idle, way: 0 }; self.sessions as usize];
        let mut prepared = self.common.prepare(&[], MatchPolicy::Exact, wanted.len())?;
        prepared.setup.opening_max = self.opening as usize;
        let before = prepared.resident_bytes();
        let opened = prepared.open(&wanted)?;
        let ended = crowd::rest(&mut prepared.connections, SETTLE)?;
        let after = prepared.resident_bytes();

        let mut report = self.common.report("conns");
        report.figures.whole("sessions", self.sessions.into()).whole("opening", self.opening.into());
        let seconds = opened.time.as_secs_f64();
        let rate = f64::from(self.sessions) / seconds;
        report.figures.number("joining_s", seconds).number("joined_per_s", rate);
        report.line("sessions", format!("{}, {}/s joined", self.sessions, amount(rate)));
        report.latency("join", "join", &opened.latency);
        report.figures.whole("sessions_ended", ended.count);
        if let Some((before, after)) = before.zip(after) {
            self.memory(&mut report, before, after);
        }
        if !self.churn || ended.count > 0 {
            prepared.progress.end();
            report.print(self.common.json)?;
            return Ok(ended.verdict()?);
        }
        let outcome = match self.churn(&mut prepared, &wanted, &mut report) {
            // How they joined is still reported.
            Err(Failure::Load(LoadError::Interrupted)) => return report.print(self.common.json),
            outcome => outcome?,
        };
        report.print(self.common.json)?;
        Ok(outcome.verdict()?)
    }

    fn memory(&self, report: &mut Report, before: u64, after: u64) {
        report.figures.whole("resident_bytes_before", before).whole("resident_bytes_after", after);
        let span = format!("{} before, {} after", bytes(before as f64), bytes(after as f64));
        // What earlier sessions have left is used first: then the process does not grow, and nothing can be said.
        if after <= before {
            let why = "a session's cannot be told from a process that did not grow: start the router anew";
            report.line("memory", format!("{span}; {why}"));
            return;
        }
        let each = (after - before) as f64 / f64::from(self.sessions);
        report.figures.number("resident_bytes_per_session", each);
        report.line("memory", format!("{} per session, {span}", bytes(each)));
    }

    fn churn(
        &self,
        prepared: &mut Prepared,
        wanted: &[Wanted],
        report: &mut Report,
    ) -> Result<Outcome, Failure> {
        let Prepared { connections, setup, process, progress, .. } = prepared;
        let schedule = self.common.schedule();
        let told = &mut |part| progress.running(part);
        let outcome = crowd::run(connections, setup, wanted, &schedule, process.as_ref(), told)?;
        progress.end();
        let mut churn = Report::default();
        churn.course(&outcome.measured, ["left", "joined"]).usage(&outcome.measured, "session");
        report.figures.group("churn", &churn.figures);
        report.lines_of(churn);
        Ok(outcome)
    }
}
