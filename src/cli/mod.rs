//! The command line: which subcommands there are, and what a failure looks like. One file for each subcommand.
//!
//! Exit codes: 0 when done; 2 when the command line, the configuration or the environment is at fault and nothing was
//! done; those of the commands that are clients are listed in `exit`. A failure is one line on stderr that says what is
//! wrong and what would be right.

mod arguments;
mod bench;
mod call;
mod check;
mod command;
mod config;
mod configuration;
mod counters;
mod credentials;
mod exit;
mod hash;
mod import_crossbar;
mod interrupt;
mod keygen;
mod options;
mod output;
mod publish;
mod register;
mod reload;
mod reloading;
mod serve;
mod shown;
mod subscribe;
mod target;

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
    Bench(bench::Bench),
    Keygen(keygen::Keygen),
    Hash(hash::Hash),
    Check(check::Check),
    Config(config::Config),
    Reload(reload::Reload),
    Counters(counters::Counters),
    ImportCrossbar(import_crossbar::ImportCrossbar),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let parsed = Arguments::command().try_get_matches();
    let parsed = parsed.and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    let (arguments, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        Err(error) if error.use_stderr() => return usage_error(one_line(&error.to_string())),
        Err(error) => error.exit(),
    };
    match arguments.command {
        Command::Serve(serve) => {
            let options = matches.subcommand_matches("serve").expect("it was parsed from them");
            serve.run(options)
        }
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Call(call) => call.run(),
        Command::Register(register) => register.run(),
        Command::Bench(bench) => bench.run(),
        Command::Keygen(keygen) => keygen.run(),
        Command::Hash(hash) => hash.run(),
        Command::Check(check) => check.run(),
        Command::Config(config) => config.run(),
        Command::Reload(reload) => reload.run(),
        Command::Counters(counters) => counters.run(),
        Command::ImportCrossbar(import) => import.run(),
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

/// What clap says in paragraphs, without the usage: its sentence, and its tip if it has one.
fn one_line(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let told = paragraphs.take_while(|paragraph| !paragraph.starts_with("Usage:"));
    told.filter(|paragraph| !paragraph.starts_with("For more information")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_told_in_one_line() {
        let told =
            |line: &str| one_line(&Arguments::try_parse_from(line.split(' ')).unwrap_err().to_string());
        let tip = "tip: a similar argument exists: '--listen'";
        assert_eq!(told("fanwire serve --listem x"), format!("unexpected argument '--listem' found; {tip}"));
        assert_eq!(told("fanwire sub"), "the following required arguments were not provided: <TOPIC>");
        let numbers = "invalid value 'many' for '--shards <COUNT>': invalid digit found in string";
        assert_eq!(told("fanwire serve --shards many"), numbers);
    }
}
