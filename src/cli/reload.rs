//! `fanwire reload`: asks a running router to read its configuration again, and tells how that went.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::configuration::{control_socket, printable};
use super::usage_error;
use crate::server::{Wish, ask};

/// The router could not be asked, or gave no answer.
pub const EXIT_UNANSWERED: u8 = 1;

/// Nothing has changed, and could not.
pub const EXIT_UNCHANGED: u8 = 2;

/// What may be the matter if nobody answers where a file says: a router has the socket that it was started with.
const CONTROL_CHANGED: &str =
    "; if the router was started with another path for it, write that as --control PATH";

/// Ask a running router to read its configuration file again.
///
/// What has changed is told, a line for each. A file with a mistake in it changes nothing, and every mistake is told.
/// The router must have been started with `--control`, or with `control` in its file; SIGHUP does the same without an
/// answer. Certificates that have changed are shown at once; a router without a file reads those again.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes:
  0  the file was read again, and what it says holds
  1  the router could not be asked or did not answer, or is shutting down, or has not taken all of it yet
  2  there is a mistake in the file, or its listeners or certificates cannot be had: nothing has changed")]
pub struct Reload {
    #[command(flatten)]
    router: Router,
}

/// Where a running router is asked.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Router {
    /// The path of the router's control socket
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,

    /// The router's configuration file, which says where that is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Reload {
    /// Asks, and prints the answer.
    pub fn run(self) -> ExitCode {
        self.router.ask(Wish::Reload, |lines| {
            lines.iter().for_each(|line| anstream::println!("{}", printable(line)));
        })
    }
}

impl Router {
    /// Asks for something; `print` prints a good answer.
    pub fn ask(self, wish: Wish, print: impl FnOnce(&[String])) -> ExitCode {
        let (control, advice) = match (self.control, self.config) {
            (Some(control), _) => (control, ""),
            (None, None) => return usage_error("write --control or --config"),
            (None, Some(file)) => match control_socket(&file) {
                Ok(Some(control)) => (control, CONTROL_CHANGED),
                Ok(None) => {
                    return usage_error(format_args!(
                        "{} has no control socket; write one as control = \"path\", or send SIGHUP",
                        file.display()
                    ));
                }
                Err(refused) => return refused.tell(),
            },
        };
        match ask(&control, wish) {
            Ok((0, lines)) => {
                print(&lines);
                ExitCode::SUCCESS
            }
            Ok((code, lines)) => {
                lines.iter().for_each(|line| anstream::eprintln!("{}", printable(line)));
                ExitCode::from(code)
            }
            Err(error) => {
                let absent = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
                let advice = if absent { advice } else { "" };
                let _ =
                    usage_error(format_args!("no router answers at {}: {error}{advice}", control.display()));
                ExitCode::from(EXIT_UNANSWERED)
            }
        }
    }
}
