//! The same fan-out over two URLs of one router, in turn: what TLS costs, or WebSocket, or another path to it.
//!
//! Both crowds are connected all the time, so that what the second one takes in memory is not what the first has left;
//! and rounds alternate, so that what drifts on the machine drifts for both. The median of the rounds is told.

use super::fanout::{Sessions, Window};
use super::options::{Common, LOAD, Prepared};
use super::report::{amount, bytes, time};
use crate::cli::exit::Failure;
use crate::client::Url;
use crate::load::connections::Wanted;
use crate::load::crowd::{self, SETTLE};
use crate::load::fanout::{LATENCY_EVERY, Outcome, Pace, run};
use crate::load::process::Process;
use crate::load::report::{Figures, cpu_nanos_each};
use crate::load::verdict::Fault;
use crate::wamp::MatchPolicy;

/// Another URL, and how often.
#[derive(clap::Args, Clone, Debug)]
pub struct Compare {
    /// Another URL of the same router, such as wss://: the same load is put on both in turn, and CPU time for each
    /// event and memory for each connection are told of both
    #[arg(
        long,
        value_name = "URL",
        requires = "pid",
        conflicts_with = "subscribers_as",
        help_heading = LOAD
    )]
    pub compare: Option<Url>,

    /// Rounds with each URL, for --compare
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        requires = "compare",
        help_heading = LOAD
    )]
    pub rounds: u32,
}

/// The crowd of one URL.
struct Side {
    common: Common,
    prepared: Prepared,
    resident_bytes_each: f64,
    /// Of each round.
    cpu_nanos: Vec<f64>,
    events_per_s: Vec<f64>,
}

/// Runs the scenario over the URL of `common` and over the other.
pub fn compare(
    sessions: &Sessions,
    window: &Window,
    common: &Common,
    with: &Compare,
    url: &Url,
) -> Result<(), Failure> {
    let wanted = sessions.wanted();
    let mut sides = Vec::with_capacity(2);
    for common in [common.clone(), common.at(url.clone())] {
        sides.push(Side::open(common, &wanted)?);
    }
    let mut fault = None;
    for _ in 0..with.rounds {
        for side in &mut sides {
            fault = fault.or(side.round(sessions, window)?);
        }
    }
    sides[0].prepared.progress.end();
    report(sessions, window, common, with, &sides)?;
    fault.map_or(Ok(()), |fault| Err(fault.into()))
}

impl Side {
    fn open(common: Common, wanted: &[Wanted]) -> Result<Side, Failure> {
        // The files of both sides are open at the same time.
        let mut prepared = common.prepare(&[], MatchPolicy::Exact, 2 * wanted.len())?;
        let resident = |prepared: &Prepared| prepared.process.as_ref().map_or(0, Process::resident_bytes);
        let before = resident(&prepared);
        prepared.open(wanted)?;
        crowd::rest(&mut prepared.connections, SETTLE)?;
        let grown = resident(&prepared).saturating_sub(before);
        let resident_bytes_each = grown as f64 / wanted.len() as f64;
        Ok(Side { common, prepared, resident_bytes_each, cpu_nanos: Vec::new(), events_per_s: Vec::new() })
    }

    /// One run; what was wrong with it, if anything was.
    fn round(&mut self, sessions: &Sessions, window: &Window) -> Result<Option<Fault>, Failure> {
        let plan = sessions.plan(&self.common, Pace::Window(window.count as usize), LATENCY_EVERY);
        let Prepared { connections, process, progress, .. } = &mut self.prepared;
        let outcome = run(connections, &plan, process.as_ref(), &mut |part| progress.running(part))?;
        let Outcome { measured, .. } = &outcome;
        if let Some(spent) = &measured.spent {
            self.cpu_nanos.push(cpu_nanos_each(measured, spent));
        }
        self.events_per_s.push(measured.received as f64 / measured.time.as_secs_f64());
        Ok(outcome.verdict().err())
    }
}

fn report(
    sessions: &Sessions,
    window: &Window,
    common: &Common,
    with: &Compare,
    sides: &[Side],
) -> Result<(), Failure> {
    let mut report = common.report("fanout");
    sessions.report(&mut report);
    report.figures.whole("window", u64::from(window.count)).whole("rounds", u64::from(with.rounds));
    let mut compared = Vec::with_capacity(sides.len());
    for (side, label) in sides.iter().zip(["first", "second"]) {
        let (cpu, rate) = (median(&side.cpu_nanos), median(&side.events_per_s));
        let mut figures = Figures::default();
        figures
            .text("url", &side.common.url().to_string())
            .number("cpu_ns_per_event", cpu)
            .number("cpu_ns_per_event_least", side.cpu_nanos.iter().copied().fold(f64::NAN, f64::min))
            .number("cpu_ns_per_event_most", side.cpu_nanos.iter().copied().fold(f64::NAN, f64::max))
            .number("events_per_s", rate)
            .number("resident_bytes_per_connection", side.resident_bytes_each);
        compared.push(figures);
        let memory = bytes(side.resident_bytes_each);
        let (cpu, rate, url) = (time(cpu), amount(rate), side.common.url());
        report.line(label, format!("{cpu} CPU per event, {rate} events/s, {memory} per connection: {url}"));
    }
    report.figures.list("compared", &compared);
    let ratio = |of: fn(&Side) -> f64| of(&sides[1]) / of(&sides[0]);
    let (cpu, memory) = (ratio(|side| median(&side.cpu_nanos)), ratio(|side| side.resident_bytes_each));
    report.figures.number("cpu_ratio", cpu).number("memory_ratio", memory);
    report.line("second / first", format!("{cpu:.2} CPU, {memory:.2} memory"));
    report.print(common.json)
}

/// The one in the middle, or the mean of the two that are; not a number if there is none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            (median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0]), median(&[7.0])),
            (2.0, 2.5, 7.0)
        );
        assert!(median(&[]).is_nan());
    }
}
