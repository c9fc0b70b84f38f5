//! The command line: which subcommands there are, and what a failure looks like. One file for each subcommand.
//!
//! Exit codes: 0 when done; 2 when the command line, the configuration or the environment is at fault and nothing was
//! done; those of the commands that are clients are listed in `exit`. A failure is one line on stderr that says what is
//! wrong and what would be right.

mod arguments;
mod call;
mod command;
mod exit;
mod interrupt;
mod output;
mod publish;
mod register;
mod serve;
mod subscribe;
mod target;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Parser, Subcommand};

/// A WAMP router for high fan-out: WebSocket and RawSocket on one port, a shard for each core.
#[derive(Parser, Debug)]
#[command(name = "fanwire", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Serve(serve::Serve),
    #[command(name = "sub")]
    Subscribe(subscribe::Subscribe),
    #[command(name = "pub")]
    Publish(publish::Publish),
    Call(call::Call),
    Register(register::Register),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    match Arguments::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Call(call) => call.run(),
        Command::Register(register) => register.run(),
    }
}

/// The exit code of a failure before anything was done.
const EXIT_USAGE: u8 = 2;

/// Tells a failure the way clap tells its own.
fn usage_error(what: impl fmt::Display) -> ExitCode {
    let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(anstream::stderr(), "{red}error:{red:#} {what}");
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
