//! What a run is told as: one JSON object whose fields are named as those of `fanwire bench`.

use std::fmt::{Display, Write};
use std::time::Duration;

use fanwire::load::fanout;
use fanwire::load::process::Spent;
use hdrhistogram::Histogram;

const PERCENTILES: [(&str, f64); 5] =
    [("p50_ns", 50.0), ("p90_ns", 90.0), ("p99_ns", 99.0), ("p99_9_ns", 99.9), ("p99_99_ns", 99.99)];

/// The members of an object so far.
#[derive(Default)]
pub struct Report(String);

impl Report {
    /// A number, a flag, or anything else that is JSON as it is displayed.
    pub fn plain(&mut self, name: &str, value: impl Display) -> &mut Report {
        let comma = if self.0.is_empty() { "" } else { "," };
        write!(self.0, "{comma}\"{name}\":{value}").expect("a string takes everything");
        self
    }

    /// A number with a fraction; null if there is none, as after a division by zero.
    pub fn number(&mut self, name: &str, number: f64) -> &mut Report {
        if number.is_finite() { self.plain(name, number) } else { self.plain(name, "null") }
    }

    /// A text without anything that JSON escapes.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Report {
        self.plain(name, format_args!("\"{text}\""))
    }

    /// How much was delivered and what was not.
    pub fn delivered(&mut self, outcome: &fanout::Outcome) -> &mut Report {
        let seconds = outcome.measured.as_secs_f64();
        self.number("measured_s", seconds)
            .number("publications_per_s", outcome.publications as f64 / seconds)
            .number("events_per_s", outcome.events as f64 / seconds)
            .number("bytes_per_s", outcome.bytes as f64 / seconds)
            .plain("lost", outcome.lost)
            .plain("out_of_order", outcome.out_of_order)
            .plain("stalled", outcome.stalled.is_some())
            .plain("interrupted", outcome.interrupted)
            .plain("sessions_ended", outcome.ended.0)
    }

    /// The percentiles of times in nanoseconds, and the distribution for a plot.
    pub fn latency(&mut self, histogram: &Histogram<u64>) -> &mut Report {
        let mut group = Report::default();
        group.plain("count", histogram.len());
        for (name, percentile) in PERCENTILES {
            group.plain(name, histogram.value_at_percentile(percentile));
        }
        group.plain("max_ns", histogram.max());
        let points = histogram
            .iter_quantiles(5)
            .map(|point| format!("[{:.7},{}]", point.quantile_iterated_to(), point.value_iterated_to()));
        group.plain("points", format_args!("[{}]", points.collect::<Vec<_>>().join(",")));
        self.plain("latency", format_args!("{{{}}}", group.0))
    }

    /// What the measured process used, for each of `count` things.
    pub fn spent(
        &mut self,
        spent: Option<&Spent>,
        measured: Duration,
        count: u64,
        thing: &str,
    ) -> &mut Report {
        let Some(spent) = spent else { return self };
        let mut group = Report::default();
        group
            .number("cpu_s", spent.cpu.as_secs_f64())
            .number(&format!("cpu_ns_per_{thing}"), spent.cpu.as_nanos() as f64 / count as f64)
            .number("cores", spent.cpu.as_secs_f64() / measured.as_secs_f64())
            .plain("resident_bytes", spent.resident_bytes);
        self.plain("router", format_args!("{{{}}}", group.0))
    }

    /// How busy this process was.
    pub fn generator(&mut self, cpu: Duration, measured: Duration) -> &mut Report {
        self.number("generator_cores", cpu.as_secs_f64() / measured.as_secs_f64())
    }

    /// Writes it to standard output.
    pub fn print(&self) {
        println!("{{{}}}", self.0);
    }
}
