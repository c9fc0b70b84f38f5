//! `fanwire pub`: publishes an event, once or many times.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::{ARGUMENT_RULES, Arguments};
use super::exit::{EXIT_CODES, Failure, finish};
use super::options::MessageOptions;
use super::output;
use super::target::Target;
use crate::client::Client;
use crate::wamp::{Payload, Value};

/// Publish an event
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{ARGUMENT_RULES}\n\n{EXIT_CODES}"))]
pub struct Publish {
    /// Topic to publish to
    topic: String,

    #[command(flatten)]
    arguments: Arguments,

    /// Wait until the router has taken each event, and print its publication id
    #[arg(long)]
    ack: bool,

    /// Keep the event as the topic's last: who subscribes later with --retained gets it
    #[arg(long)]
    retain: bool,

    /// Let receivers know who publishes
    #[arg(long)]
    disclose: bool,

    #[command(flatten)]
    options: MessageOptions,

    /// Publish this many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,

    /// Publish this often in a second [default: as fast as possible]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// With --ack, print each publication as a JSON object: topic, publication
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

impl Publish {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        finish(self.publish(), self.json)
    }

    fn publish(&self) -> Result<(), Failure> {
        let payload = self.arguments.payload()?;
        let acknowledged = self.options.flag("acknowledge")?.unwrap_or(self.ack);
        let mut client = self.target.connect()?;
        let start = Instant::now();
        for index in 0..self.count {
            if let Some(rate) = self.rate {
                let due =
                    start + Duration::try_from_secs_f64(index as f64 / rate).unwrap_or(Duration::MAX / 4);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self.publish_once(&mut client, payload.borrow(), acknowledged)?;
        }
        // Leaving is answered after everything that was sent before it: the router has all events then.
        client.leave()?;
        Ok(())
    }

    fn publish_once(
        &self,
        client: &mut Client,
        payload: Payload<'_>,
        acknowledged: bool,
    ) -> Result<(), Failure> {
        let flags = [("retain", self.retain), ("disclose_me", self.disclose)];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(key, _)| (key, Value::Bool(true)));
        let mut options = self.options.with(flags.collect());
        options.retain(|(key, _)| *key != "acknowledge");
        if !acknowledged {
            client.publish(&self.topic, &options, payload)?;
            return Ok(());
        }
        let publication = client.publish_acknowledged(&self.topic, &options, payload)?;
        if self.json {
            let pairs =
                [("topic", Value::text(&self.topic)), ("publication", Value::Unsigned(publication.0))];
            return output::line(&output::object(&pairs));
        }
        output::line(&publication.to_string())
    }
}

/// A rate of at least one in a day and at most a million in a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if !(1.0 / 86_400.0..=1_000_000.0).contains(&rate) {
        return Err("must be at least once a day and at most 1000000".to_owned());
    }
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_bounded() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "x"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }
}
