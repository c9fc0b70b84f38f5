//! What a run is told as to programs: one JSON object.
//!
//! Owns which figures a run has, what they are called and how they are derived; who runs a load adds the options and
//! what only its scenario has. Names end in their unit: `_ns`, `_s`, `_bytes`, `_per_s`. They are part of an interface,
//! and so never renamed.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::drive::Measured;
use super::process::Spent;
use crate::codec::payload::OwnedPayload;
use crate::wamp::{Serializer, Value};

/// The percentiles that are told: their name in the object, and how many percent.
pub const PERCENTILES: [(&str, f64); 5] =
    [("p50_ns", 50.0), ("p90_ns", 90.0), ("p99_ns", 99.0), ("p99_9_ns", 99.9), ("p99_99_ns", 99.99)];

/// A JSON object to which members are added, in that order. Displayed it is the object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    members: String,
}

impl Figures {
    /// A whole number.
    pub fn whole(&mut self, name: &str, number: u64) -> &mut Figures {
        self.member(name, number)
    }

    /// A number with at most six decimals; null if there is none, as after a division by zero.
    pub fn number(&mut self, name: &str, number: f64) -> &mut Figures {
        if !number.is_finite() {
            return self.member(name, "null");
        }
        self.member(name, (number * 1e6).round() / 1e6)
    }

    /// A text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Figures {
        let list = OwnedPayload::from_values(Serializer::Json, &[Value::text(text)], &[]);
        let list = list.expect("every text has a form in JSON");
        let bytes = list.borrow().bytes();
        // A payload is a list of arguments; the text stands between its brackets.
        self.member(name, String::from_utf8_lossy(&bytes[1..bytes.len() - 1]))
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, flag: bool) -> &mut Figures {
        self.member(name, flag)
    }

    /// Figures in an object of their own.
    pub fn group(&mut self, name: &str, group: &Figures) -> &mut Figures {
        self.member(name, group)
    }

    /// Objects in a list.
    pub fn list<'a>(&mut self, name: &str, objects: impl IntoIterator<Item = &'a Figures>) -> &mut Figures {
        let objects: Vec<_> = objects.into_iter().map(Figures::to_string).collect();
        self.member(name, format_args!("[{}]", objects.join(",")))
    }

    /// Percentiles of times in nanoseconds, with up to 100 points of the distribution if they are wanted for a plot.
    pub fn latency(&mut self, name: &str, histogram: &Histogram<u64>, points: bool) -> &mut Figures {
        let mut group = Figures::default();
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
    pub fn course(&mut self, measured: &Measured, names: [&str; 2]) -> &mut Figures {
        let [sent, received] = names;
        let seconds = measured.time.as_secs_f64();
        let rate = |count: u64| count as f64 / seconds;
        self.number("measured_s", seconds)
            .number(&format!("{sent}_per_s"), rate(measured.sent))
            .number(&format!("{received}_per_s"), rate(measured.received))
            .number("bytes_per_s", rate(measured.bytes))
            .whole(&format!("{sent}_total"), measured.sent_total)
            .whole(&format!("{received}_total"), measured.received_total)
            .flag("stalled", measured.stalled)
            .flag("interrupted", measured.interrupted)
    }

    /// What the router used, in all and for each thing that was received; and how busy this process was: near a whole
    /// core the router could have done more.
    pub fn usage(&mut self, measured: &Measured, thing: &str) -> &mut Figures {
        if let Some(spent) = &measured.spent {
            let mut group = Figures::default();
            group
                .number("cpu_s", spent.cpu.as_secs_f64())
                .number(&format!("cpu_ns_per_{thing}"), cpu_nanos_each(measured, spent))
                .number("cores", cores(measured, spent.cpu))
                .text("busiest_thread", &spent.busiest.0)
                .number("busiest_thread_cores", cores(measured, spent.busiest.1))
                .whole("resident_bytes", spent.resident_bytes);
            self.group("router", &group);
        }
        self.number("generator_cores", cores(measured, measured.own_cpu))
    }

    fn member(&mut self, name: &str, value: impl Display) -> &mut Figures {
        let comma = if self.members.is_empty() { "" } else { "," };
        write!(self.members, "{comma}\"{name}\":{value}").expect("a string takes everything");
        self
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.members)
    }
}

/// Nanoseconds of CPU time for each thing that was received; not finite if there was none.
pub fn cpu_nanos_each(measured: &Measured, spent: &Spent) -> f64 {
    spent.cpu.as_nanos() as f64 / measured.received as f64
}

/// CPU time as a part of one core.
pub fn cores(measured: &Measured, cpu: Duration) -> f64 {
    cpu.as_secs_f64() / measured.time.as_secs_f64()
}

/// Part of all values and the value it lies below, closer together towards the end.
fn distribution(histogram: &Histogram<u64>) -> String {
    let points = histogram.iter_quantiles(5).map(|point| {
        format!("[{},{}]", (point.quantile_iterated_to() * 1e7).round() / 1e7, point.value_iterated_to())
    });
    format!("[{}]", points.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_its_members_in_order() {
        let mut inner = Figures::default();
        inner.text("name", "a \"b\"").number("none", f64::NAN);
        let mut figures = Figures::default();
        figures.whole("events", 5).number("rate", 0.123_456_7).flag("stalled", false);
        figures.group("router", &inner).list("steps", &[inner.clone(), Figures::default()]);
        let inner = r#"{"name":"a \"b\"","none":null}"#;
        let expected =
            format!(r#""events":5,"rate":0.123457,"stalled":false,"router":{inner},"steps":[{inner},{{}}]"#);
        assert_eq!(figures.to_string(), format!("{{{expected}}}"));
    }

    #[test]
    fn a_distribution_ends_with_everything() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value).unwrap());
        let points = distribution(&histogram);
        assert!(points.starts_with("[[0,1],") && points.ends_with(",[1,1000]]"), "{points}");
    }

    #[test]
    fn what_the_router_used_is_told_for_each_event_and_second() {
        let mut measured = Measured {
            time: Duration::from_secs(2),
            sent: 10,
            received: 1000,
            bytes: 4000,
            sent_total: 11,
            received_total: 1100,
            spent: None,
            own_cpu: Duration::from_secs(1),
            stalled: false,
            interrupted: true,
        };
        let mut figures = Figures::default();
        figures.course(&measured, ["calls", "results"]).usage(&measured, "call");
        let course = r#""measured_s":2,"calls_per_s":5,"results_per_s":500,"bytes_per_s":2000"#;
        let totals = r#""calls_total":11,"results_total":1100,"stalled":false,"interrupted":true"#;
        assert_eq!(figures.to_string(), format!(r#"{{{course},{totals},"generator_cores":0.5}}"#));

        let busiest = ("shard-0".to_owned(), Duration::from_secs(2));
        measured.spent = Some(Spent { cpu: Duration::from_secs(3), busiest, resident_bytes: 7 });
        let mut figures = Figures::default();
        figures.usage(&measured, "call");
        let router = r#""cpu_s":3,"cpu_ns_per_call":3000000,"cores":1.5,"busiest_thread":"shard-0""#;
        let router = format!(r#"{{{router},"busiest_thread_cores":1,"resident_bytes":7}}"#);
        assert_eq!(figures.to_string(), format!(r#"{{"router":{router},"generator_cores":0.5}}"#));
    }
}
