//! `fanwire call`: calls a procedure and prints its result.

use std::process::ExitCode;

use super::arguments::{ARGUMENT_RULES, Arguments};
use super::exit::{EXIT_CODES, Failure, finish};
use super::output;
use super::target::Target;
use crate::client::Outcome;

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
        let mut client = self.target.connect()?;
        let called = client.call(&self.procedure, payload.borrow(), self.target.timeout());
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
