//! The `fanwire` command. What it does stands in `cli`, one file for each subcommand.

use std::process::ExitCode;

fn main() -> ExitCode {
    fanwire::cli::run()
}
