//! What a run is told as: lines for people, and one JSON object with the same figures.
//!
//! Names in the object end in their unit: `_ns`, `_s`, `_bytes`, `_per_s`. They are part of the command line's
//! interface, and so never renamed.

use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;
use crate::load::drive::Measured;
use crate::wamp::Value;

/// The percentiles that are told.
const PERCENTILES: [(&str, f64); 5] =
    [("p50_ns", 50.0), ("p90_ns", 90.0), ("p99_ns", 99.0), ("p99_9_ns", 99.9), ("p99_99_ns", 99.99)];

/// A report, or a group of figures in one.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Members of a JSON object.
    members: String,
    /// What people read: a label and a text each.
    lines: Vec<(&'static str, String)>,
}

impl Report {
    /// A whole number.
    pub fn whole(&mut self, name: &str, number: u64) -> &mut Report {
        self.member(name, number)
    }

    /// A number with at most six decimals.
    pub fn number(&mut self, name: &str, number: f64) -> &mut Report {
        if !number.is_finite() {
            return self.member(name, "null");
        }
        self.member(name, (number * 1e6).round() / 1e6)
    }

    /// A text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Report {
        self.member(name, output::json(&Value::text(text)))
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, flag: bool) -> &mut Report {
        self.member(name, flag)
    }

    /// Figures in an object of their own. Its lines are not taken over.
    pub fn group(&mut self, name: &str, group: &Report) -> &mut Report {
        self.member(name, format!("{{{}}}", group.members))
    }

    /// Objects in a list. Their lines are not taken over.
    pub fn list(&mut self, name: &str, objects: &[Report]) -> &mut Report {
        let objects: Vec<_> = objects.iter().map(|object| format!("{{{}}}", object.members)).collect();
        self.member(name, format!("[{}]", objects.join(",")))
    }

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
            return output::line(&format!("{{{}}}", self.members));
        }
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        let lines = self.lines.iter().map(|(label, text)| format!("{label:width$}  {text}"));
        output::line(&lines.collect::<Vec<_>>().join("\n"))
    }

    /// Percentiles of times in nanoseconds, with up to 100 points of the distribution if they are wanted for a plot.
    pub fn latency(&mut self, name: &str, histogram: &Histogram<u64>, points: bool) -> &mut Report {
        let mut group = Report::default();
        group.whole("count", histogram.len());
        for (name, percentile) in PERCENTILES {
            group.whole(name, histogram.value_at_percentile(percentile));
        }
        group.whole("max_ns", histogram.max()).number("mean_ns", histogram.mean());
        if points {
            group.member("points", distribution(histogram));
        }
        self.group(name, &group)
    }

    /// What was sent and received, and how the run ended. `names`: of what was sent, and of what was received.
    pub fn course(&mut self, measured: &Measured, names: [&'static str; 2]) -> &mut Report {
        let [sent, received] = names;
        let seconds = measured.time.as_secs_f64();
        let rate = |count: u64| count as f64 / seconds;
        self.number("measured_s", seconds);
        self.number(&format!("{sent}_per_s"), rate(measured.sent));
        self.number(&format!("{received}_per_s"), rate(measured.received));
        self.number("bytes_per_s", rate(measured.bytes));
        self.whole(&format!("{sent}_total"), measured.sent_total);
        self.whole(&format!("{received}_total"), measured.received_total);
        self.flag("stalled", measured.stalled).flag("interrupted", measured.interrupted);
        self.line(sent, format!("{}/s", amount(rate(measured.sent))));
        let octets = bytes(rate(measured.bytes));
        self.line(received, format!("{}/s, {octets}/s", amount(rate(measured.received))))
    }

    /// What the router used, in all and for each thing that was received; and how busy this process was: near a whole
    /// core the router could have done more.
    pub fn usage(&mut self, measured: &Measured, thing: &str) -> &mut Report {
        let share = |cpu: Duration| cpu.as_secs_f64() / measured.time.as_secs_f64();
        if let Some(spent) = &measured.spent {
            let each = spent.cpu.as_nanos() as f64 / measured.received as f64;
            let (thread, busiest) = (&spent.busiest.0, share(spent.busiest.1));
            let mut group = Report::default();
            group.number("cpu_s", spent.cpu.as_secs_f64()).number(&format!("cpu_ns_per_{thing}"), each);
            group.number("cores", share(spent.cpu));
            group.text("busiest_thread", thread).number("busiest_thread_cores", busiest);
            group.whole("resident_bytes", spent.resident_bytes);
            self.group("router", &group);
            let (each, cores, busiest) = (time(each), percent(share(spent.cpu)), percent(busiest));
            let resident = bytes(spent.resident_bytes as f64);
            let text = format!(
                "{each} CPU per {thing}, {cores} of a core, busiest thread {thread} {busiest}, {resident} resident"
            );
            self.line("router", text);
        }
        self.number("generator_cores", share(measured.own_cpu));
        self.line("generator", format!("{} of a core", percent(share(measured.own_cpu))))
    }

    fn member(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Report {
        let comma = if self.members.is_empty() { "" } else { "," };
        write!(self.members, "{comma}\"{name}\":{value}").expect("a string takes everything");
        self
    }
}

/// What was wrong with a run that was reported. `missing`: what had not come when it ended.
pub fn verdict(measured: &Measured, missing: u64, ended: &(usize, Option<String>)) -> Result<(), Failure> {
    if ended.0 > 0 {
        return Err(sessions_ended(ended));
    }
    if measured.stalled {
        let what =
            format!("the router has stalled: {missing} deliveries are missing, and none came for --timeout");
        return Err(Failure::Run(Exit::Timeout, what));
    }
    Ok(())
}

/// Sessions ended that should not have.
pub fn sessions_ended((count, why): &(usize, Option<String>)) -> Failure {
    let why = why.as_deref().unwrap_or("for no reason");
    let what = format!("sessions ended during the run, {count} in all, the first one so: {why}");
    Failure::Run(Exit::Connection, what)
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

/// Part of all values and the value it lies below, closer together towards the end.
fn distribution(histogram: &Histogram<u64>) -> String {
    let points = histogram.iter_quantiles(5).map(|point| {
        format!("[{},{}]", (point.quantile_iterated_to() * 1e7).round() / 1e7, point.value_iterated_to())
    });
    format!("[{}]", points.collect::<Vec<_>>().join(","))
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
pub fn percent(part: f64) -> String {
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
    fn an_object_has_its_members_in_order() {
        let mut inner = Report::default();
        inner.text("name", "a \"b\"").number("none", f64::NAN);
        let mut report = Report::default();
        report.whole("events", 5).number("rate", 0.123_456_7).flag("stalled", false);
        report.group("router", &inner).list("steps", &[inner.clone(), Report::default()]);
        let inner = r#"{"name":"a \"b\"","none":null}"#;
        let expected =
            format!(r#""events":5,"rate":0.123457,"stalled":false,"router":{inner},"steps":[{inner},{{}}]"#);
        assert_eq!(report.members, expected);
    }

    #[test]
    fn a_distribution_ends_with_everything() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value).unwrap());
        let points = distribution(&histogram);
        assert!(points.starts_with("[[0,1],") && points.ends_with(",[1,1000]]"), "{points}");
        assert!(latency_text(&histogram).starts_with("p50 500 ns, p90 900 ns"));
    }
}
