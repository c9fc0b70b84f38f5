//! The command line: which subcommands there are. One file for each subcommand.

mod arguments;
mod call;
mod command;
mod exit;
mod interrupt;
mod output;
mod publish;
mod register;
mod subscribe;
mod target;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser, Debug)]
#[command(name = "fanwire", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
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
        Command::Subscribe(subscribe) => subscribe.run(),
        Command::Publish(publish) => publish.run(),
        Command::Call(call) => call.run(),
        Command::Register(register) => register.run(),
    }
}
