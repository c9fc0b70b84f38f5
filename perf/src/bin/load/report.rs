//! What a run is told as: one JSON object whose fields are named as those of `fanwire bench`.

use std::fmt::{Display, Write};

use fanwire::load::drive::Measured;
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

    /// How much was sent and received: two words for what it was, such as "publications" and "events".
    pub fn course(&mut self, measured: &Measured, words: [&str; 2]) -> &mut Report {
        let seconds = measured.time.as_secs_f64();
        self.number("measured_s", seconds);
        for (word, count) in words.into_iter().zip([measured.sent, measured.received]) {
            self.number(&format!("{word}_per_s"), count as f64 / seconds);
        }
        self.number("bytes_per_s", measured.bytes as f64 / seconds).plain("stalled", measured.stalled)
    }

    /// The percentiles of times in nanoseconds, and the distribution for a plot.
    pub fn latency(&mut self, name: &str, histogram: &Histogram<u64>) -> &mut Report {
        let mut group = Report::default();
        group.plain("count", histogram.len());
        for (name, percentile) in PERCENTILES {
            group.plain(name, histogram.value_at_percentile(percentile));
        }
        let points = histogram
            .iter_quantiles(5)
            .map(|point| format!("[{:.7},{}]", point.quantile_iterated_to(), point.value_iterated_to()));
        let points = points.collect::<Vec<_>>().join(",");
        group.plain("max_ns", histogram.max()).plain("points", format_args!("[{points}]"));
        self.plain(name, format_args!("{{{}}}", group.0))
    }

    /// CPU time and memory: of the measured process for each thing that was received, and of this one.
    pub fn usage(&mut self, measured: &Measured, thing: &str) -> &mut Report {
        let seconds = measured.time.as_secs_f64();
        if let Some(spent) = &measured.spent {
            let each = spent.cpu.as_nanos() as f64 / measured.received as f64;
            let mut group = Report::default();
            group
                .number("cpu_s", spent.cpu.as_secs_f64())
                .number(&format!("cpu_ns_per_{thing}"), each)
                .number("cores", spent.cpu.as_secs_f64() / seconds)
                .plain("resident_bytes", spent.resident_bytes);
            self.plain("router", format_args!("{{{}}}", group.0));
        }
        self.number("generator_cores", measured.own_cpu.as_secs_f64() / seconds)
    }

    /// Writes it to standard output.
    pub fn print(&self, scenario: &str) {
        println!("{{\"scenario\":\"{scenario}\",{}}}", self.0);
    }
}
