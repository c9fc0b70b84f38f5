//! `fanwire bench`: puts a load on any WAMP router and reports what it took. One file for each scenario.
//!
//! The load itself is [`crate::load`]'s. Here stand the options, what is refused before anything is connected, the
//! progress bar, and the reports: for people, or with `--json` one object on standard output.

mod compared;
mod conns;
mod fanout;
mod latency;
mod options;
mod progress;
mod report;
mod rpc;
mod slow;
mod topics;

use std::process::ExitCode;

use clap::Subcommand;

use super::exit::{EXIT_CODES, finish};

/// Put a load on a WAMP router and measure it
///
/// Any router will do: it is reached over WebSocket (ws://) or RawSocket (tcp://, unix://). Publications, calls and
/// their answers are encoded before the run and hardly read, so that the router is what is measured; the report also
/// tells how busy this generator was. Give the router's process id to --pid to have its CPU time and memory in the
/// report. Ctrl-C ends a run early and still reports it.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand, Debug)]
enum Scenario {
    Fanout(fanout::Fanout),
    Rpc(rpc::Rpc),
    Latency(latency::Latency),
    Topics(topics::Topics),
    Conns(conns::Conns),
    Slow(slow::Slow),
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> ExitCode {
        let outcome = match self.scenario {
            Scenario::Fanout(fanout) => fanout.run(),
            Scenario::Rpc(rpc) => rpc.run(),
            Scenario::Latency(latency) => latency.run(),
            Scenario::Topics(topics) => topics.run(),
            Scenario::Conns(conns) => conns.run(),
            Scenario::Slow(slow) => slow.run(),
        };
        finish(outcome, false)
    }
}
