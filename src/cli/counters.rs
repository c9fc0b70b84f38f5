//! `fanwire counters`: asks a running router what it has counted.

use std::process::ExitCode;

use clap::Args;

use super::configuration::printable;
use super::reload::Router;
use crate::server::Wish;

/// Print what a running router has counted since it was started, a name and a number a line.
///
/// The router must have been started with `--control`, or with `control` in its file. What is counted by reason has the
/// reason after a dot, and no line before it has happened.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes:
  0  the counters were printed
  1  the router could not be asked, or did not answer
  2  the command line is wrong, or the file does not say where to ask")]
pub struct Counters {
    #[command(flatten)]
    router: Router,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Counters {
    /// Asks, and prints the answer.
    pub fn run(self) -> ExitCode {
        let json = self.json;
        self.router.ask(Wish::Counters, |lines| {
            if json {
                return anstream::println!("{}", object(lines));
            }
            lines.iter().for_each(|line| anstream::println!("{}", printable(line)));
        })
    }
}

fn object(lines: &[String]) -> serde_json::Value {
    let member = |line: &String| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse::<u64>().ok()?.into()))
    };
    serde_json::Value::Object(lines.iter().filter_map(member).collect())
}
