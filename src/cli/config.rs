//! `fanwire config`: what there is to say about configuration files.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config;

/// Show what a configuration file may say.
#[derive(Args, Debug)]
pub struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print a configuration file with every key there is, and what it means
    Example,
}

impl Config {
    /// Prints it.
    pub fn run(self) -> ExitCode {
        let Command::Example = self.command;
        // Whoever has closed stdout has seen enough.
        let _ = io::stdout().lock().write_all(config::EXAMPLE.as_bytes());
        ExitCode::SUCCESS
    }
}
