//! `fanwire sub`: prints the events of a topic until it is told to stop.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use super::exit::{EXIT_CODES, Failure, finish};
use super::interrupt::Interrupt;
use super::options::MessageOptions;
use super::output;
use super::target::{Target, match_option, match_policies};
use crate::client::{Client, Event, Incoming};
use crate::wamp::{MatchPolicy, Value};

/// Print the events of a topic, one on a line
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Subscribe {
    /// Topic, or pattern with --match
    topic: String,

    /// How the topic is matched
    #[arg(long = "match", value_name = "POLICY", default_value = "exact", value_parser = match_policies())]
    match_policy: MatchPolicy,

    /// Print the topic's retained event first
    #[arg(long)]
    retained: bool,

    #[command(flatten)]
    options: MessageOptions,

    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Put the time (UTC) before each event
    #[arg(long, conflicts_with = "json")]
    time: bool,

    /// Print each event as a JSON object: topic, args, kwargs, publication, subscription, details
    #[arg(long)]
    json: bool,

    /// Say nothing but events and errors
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    target: Target,
}

impl Subscribe {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        finish(self.subscribe(), self.json)
    }

    fn subscribe(&self) -> Result<(), Failure> {
        let mut client = self.target.connect()?;
        let interrupt = Interrupt::watch(&client).map_err(Failure::System)?;
        let retained = self.retained.then_some(("get_retained", Value::Bool(true)));
        let flags = match_option(self.match_policy).into_iter().chain(retained).collect();
        client.subscribe(&self.topic, &self.options.with(flags))?;
        if !self.quiet {
            output::notice(&format!("subscribed to {} ({})", self.topic, self.match_policy.name()));
        }
        self.print_events(&mut client, &interrupt)?;
        client.leave()?;
        Ok(())
    }

    fn print_events(&self, client: &mut Client, interrupt: &Interrupt) -> Result<(), Failure> {
        let mut count = 0;
        while !interrupt.asked() && self.count.is_none_or(|count_max| count < count_max) {
            match client.receive(None)? {
                Incoming::Event(event) => {
                    output::line(&self.event_line(&event))?;
                    count += 1;
                }
                Incoming::Unsubscribed(_) => return Err(Failure::Revoked),
                Incoming::Woken
                | Incoming::Invocation(_)
                | Incoming::Interrupt(_)
                | Incoming::Unregistered(_) => {}
            }
        }
        Ok(())
    }

    fn event_line(&self, event: &Event) -> String {
        // Routers name the topic only where the subscription does not.
        let topic = event.details.text("topic").unwrap_or_else(|| self.topic.clone());
        if self.json {
            let (args, kwargs) = output::arguments(event.payload.borrow());
            return output::object(&[
                ("topic", Value::text(&topic)),
                ("args", args),
                ("kwargs", kwargs),
                ("publication", Value::Unsigned(event.publication.0)),
                ("subscription", Value::Unsigned(event.subscription.0)),
                ("details", output::details(&event.details)),
            ]);
        }
        let line = output::named_line(&topic, event.payload.borrow());
        if self.time { format!("{} {line}", time_of_day(SystemTime::now())) } else { line }
    }
}

/// Hours, minutes, seconds and milliseconds of a day in UTC.
fn time_of_day(time: SystemTime) -> String {
    // Before 1970 there were no events.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}Z", seconds % 60, since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_of_day_is_in_utc() {
        let time = UNIX_EPOCH + Duration::from_millis(86_400_000 * 20_000 + 3_723_045);
        assert_eq!(time_of_day(time), "01:02:03.045Z");
    }
}
