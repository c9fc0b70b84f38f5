//! `fanwire call`: calls a procedure and prints its result.

use std::process::ExitCode;

use super::arguments::{ARGUMENT_RULES, Arguments};
use super::exit::{EXIT_CODES, Failure, finish};
use super::options::MessageOptions;
use super::output;
use super::target::Target;
use crate::client::Outcome;
use crate::wamp::Value;

/// Call a procedure and print its result
///
/// A single result is printed alone, a text without quotes. Several are printed as JSON with spaces between them, then
/// keyword results as key=JSON. An error goes to standard error, and the exit code is 1.
#[derive(clap::Args, Debug)]
#[command(after_help = format!("{ARGUMENT_RULES}\n\n{EXIT_CODES}"))]
pub struct Call {
    /// Procedure to call
    procedure: String,

    #[command(flatten)]
    arguments: Arguments,

    /// Ask for progressive results, and print each as it comes; --timeout is the time to the next one
    #[arg(long)]
    progress: bool,

    /// Let the callee know who calls
    #[arg(long)]
    disclose: bool,

    #[command(flatten)]
    options: MessageOptions,

    /// Print the result as a JSON object: args, kwargs, details; an error: error, args, kwargs, details
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    target: Target,
}

impl Call {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        finish(self.call(), self.json)
    }

    fn call(&self) -> Result<(), Failure> {
        let payload = self.arguments.payload()?;
        if self.options.flag("progress")? == Some(true) {
            let text = "this command sends a call in one part; for a result in parts there is --progress";
            return Err(Failure::Usage(text.to_owned()));
        }
        let mut client = self.target.connect()?;
        let flags = [("receive_progress", self.progress), ("disclose_me", self.disclose)];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(key, _)| (key, Value::Bool(true)));
        let options = self.options.with(flags.collect());
        let timeout = self.target.timeout();
        let called: Result<Outcome, Failure> =
            client.call(&self.procedure, &options, payload.borrow(), timeout, |part| self.print(part));
        let printed = match &called {
            Ok(outcome) => self.print(outcome),
            Err(_) => Ok(()),
        };
        // The answer is what counts, not how the router takes the farewell.
        let _ = client.leave();
        called?;
        printed
    }

    fn print(&self, outcome: &Outcome) -> Result<(), Failure> {
        if self.json {
            let (args, kwargs) = output::arguments(outcome.payload.borrow());
            let details = output::details(&outcome.details);
            return output::line(&output::object(&[
                ("args", args),
                ("kwargs", kwargs),
                ("details", details),
            ]));
        }
        match output::result_text(outcome.payload.borrow()) {
            Some(text) => output::line(&text),
            None => Ok(()),
        }
    }
}
