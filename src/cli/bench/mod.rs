//! `fanwire bench`: puts a load on any WAMP router and reports what it took. One file for each scenario.
//!
//! The load itself is [`crate::load`]'s. Here stand the options, what is refused before anything is connected, the
//! progress bar, and the reports: for people, or with `--json` one object on standard output.

mod fanout;
mod options;
mod progress;
mod report;

use std::process::ExitCode;

use clap::Subcommand;

use super::exit::{EXIT_CODES, finish};

/// Put a load on a WAMP router and measure it
///
/// Any router will do: it is reached over WebSocket (ws://) or RawSocket (tcp://, unix://). Publications, calls and their
/// answers are encoded before the run and hardly read, so that the router is what is measured; the report also tells how
/// busy this generator was. Run it on another core than the router, and give the router's process id to --pid to have
/// its CPU time and memory in the report.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand, Debug)]
enum Scenario {
    Fanout(fanout::Fanout),
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        match self.scenario {
            Scenario::Fanout(fanout) => finish(fanout.bench(), false),
        }
    }
}
