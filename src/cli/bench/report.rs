//! What a run is told as: lines for people, and with `--json` the object with the same [`Figures`].

use hdrhistogram::Histogram;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::load::drive::Measured;
use crate::load::report::{Figures, PERCENTILES, cores, cpu_nanos_each};
use crate::load::verdict::Fault;

/// A report: figures, and lines with the same ones.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// For programs.
    pub figures: Figures,
    /// What people read: a label and a text each.
    lines: Vec<(&'static str, String)>,
}

impl Report {
    /// A line for people.
    pub fn line(&mut self, label: &'static str, text: String) -> &mut Report {
        self.lines.push((label, text));
        self
    }

    /// Takes over the lines of a group.
    pub fn lines_of(&mut self, group: Report) -> &mut Report {
        self.lines.extend(group.lines);
        self
    }

    /// Writes the report to standard output.
    pub fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return output::line(&self.figures.to_string());
        }
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let lines = self.lines.iter().map(|(label, text)| format!("{label:width$}  {text}"));
        output::line(&lines.collect::<Vec<_>>().join("\n"))
    }

    /// Percentiles of times in nanoseconds: their name, and the label of their line.
    pub fn latency(&mut self, name: &str, label: &'static str, histogram: &Histogram<u64>) -> &mut Report {
        self.figures.latency(name, histogram, false);
        self.line(label, latency_text(histogram))
    }

    /// What was sent and received, and how the run ended. `names`: of what was sent, and of what was received.
    pub fn course(&mut self, measured: &Measured, names: [&'static str; 2]) -> &mut Report {
        self.figures.course(measured, names);
        let [sent, received] = names;
        let rate = |count: u64| count as f64 / measured.time.as_secs_f64();
        self.line(sent, format!("{}/s", amount(rate(measured.sent))));
        let octets = bytes(rate(measured.bytes));
        self.line(received, format!("{}/s, {octets}/s", amount(rate(measured.received))))
    }

    /// What the router used, in all and for each thing that was received; and how busy this process was.
    pub fn usage(&mut self, measured: &Measured, thing: &str) -> &mut Report {
        self.figures.usage(measured, thing);
        if let Some(spent) = &measured.spent {
            let each = time(cpu_nanos_each(measured, spent));
            let (all, busiest) = (cores(measured, spent.cpu), cores(measured, spent.busiest.1));
            let (all, busiest, thread) = (percent(all), percent(busiest), &spent.busiest.0);
            let resident = bytes(spent.resident_bytes as f64);
            let text = format!(
                "{each} CPU per {thing}, {all} of a core, busiest thread {thread} {busiest}, {resident} resident"
            );
            self.line("router", text);
        }
        self.line("generator", format!("{} of a core", percent(cores(measured, measured.own_cpu))))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let exit = match fault {
            Fault::Errors { .. } => Exit::Refused,
            Fault::Ended(_) => Exit::Connection,
            Fault::Stalled { .. } => Exit::Timeout,
            Fault::Misdelivered(_) => Exit::Misdelivered,
        };
        Failure::Run(exit, fault.to_string())
    }
}

/// The percentiles in words.
pub fn latency_text(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return "nothing was measured".to_owned();
    }
    let names = ["p50", "p90", "p99", "p99.9", "p99.99"];
    let percentiles = names.iter().zip(PERCENTILES).map(|(name, (_, percentile))| {
        format!("{name} {}", time(histogram.value_at_percentile(percentile) as f64))
    });
    format!("{}, max {}", percentiles.collect::<Vec<_>>().join(", "), time(histogram.max() as f64))
}

/// A time in nanoseconds with its unit.
pub fn time(nanos: f64) -> String {
    match nanos {
        n if !n.is_finite() => "-".to_owned(),
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{} µs", digits(n / 1e3)),
        n if n < 1e9 => format!("{} ms", digits(n / 1e6)),
        n => format!("{} s", digits(n / 1e9)),
    }
}

/// A number with k, M or G.
pub fn amount(number: f64) -> String {
    match number {
        n if !n.is_finite() => "-".to_owned(),
        n if n < 1e4 => digits(n),
        n if n < 1e6 => format!("{} k", digits(n / 1e3)),
        n if n < 1e9 => format!("{} M", digits(n / 1e6)),
        n => format!("{} G", digits(n / 1e9)),
    }
}

/// Octets with their unit.
pub fn bytes(number: f64) -> String {
    match number {
        n if !n.is_finite() => "-".to_owned(),
        n if n < 10240.0 => format!("{n:.0} B"),
        n if n < 1048576.0 => format!("{} KiB", digits(n / 1024.0)),
        n if n < 1073741824.0 => format!("{} MiB", digits(n / 1048576.0)),
        n => format!("{} GiB", digits(n / 1073741824.0)),
    }
}

/// A part of one in percent.
fn percent(part: f64) -> String {
    if part.is_finite() { format!("{:.0} %", part * 100.0) } else { "-".to_owned() }
}

/// Three digits that count, and all of those before the point.
fn digits(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(time(203.4), "203 ns");
        assert_eq!(time(1_234.0), "1.23 µs");
        assert_eq!(time(45_678_000.0), "45.7 ms");
        assert_eq!(time(2e9), "2.00 s");
        assert_eq!(time(f64::INFINITY), "-");
        assert_eq!(amount(4_600_000.0), "4.60 M");
        assert_eq!(amount(9_999.0), "9999");
        assert_eq!(bytes(1_536.0), "1536 B");
        assert_eq!(bytes(12.5 * 1048576.0), "12.5 MiB");
        assert_eq!((percent(0.954).as_str(), percent(f64::NAN).as_str()), ("95 %", "-"));
    }

    #[test]
    fn percentiles_have_their_names() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value).unwrap());
        assert!(latency_text(&histogram).starts_with("p50 500 ns, p90 900 ns"));
    }
}
