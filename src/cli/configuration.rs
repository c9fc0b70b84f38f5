//! Configuration files for the subcommands: read with the files and variables they name, and every mistake told on
//! standard error, one a line, as `file:line:column: key: what`.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::usage_error;
use crate::auth::Secret;
use crate::config::{Explained, Loaded, May, Mistake, Surroundings, load, may};

/// Octets of a file beyond which it is none that somebody has written.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The files and variables of this process.
pub struct System;

impl Surroundings for System {
    fn file(&self, path: &Path) -> io::Result<Secret> {
        read_octets(path)
    }

    fn variable(&self, name: &str) -> Option<Secret> {
        std::env::var(name).ok().map(Secret::from)
    }
}

/// What is in a file, if it is of a sensible length.
fn read_octets(path: &Path) -> io::Result<Secret> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    fs::read(path).map(Secret::new)
}

/// The text of a file, which is wiped when it is dropped: secrets may stand in it.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let octets = read_octets(path)?;
    let text =
        octets.text().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a configuration; tells what is wrong with it, and the exit code, if something is.
pub fn loaded(path: &Path) -> Result<Loaded, ExitCode> {
    understood(path, |text, base| load(text, base, &System))
}

/// Whether a role of a configuration may do something; a sentence if the question is about nothing in it.
pub fn explained(path: &Path, question: &May<'_>) -> Result<Result<Explained, String>, ExitCode> {
    understood(path, |text, base| may(text, base, &System, question))
}

fn understood<T>(
    path: &Path,
    read_text: impl FnOnce(&str, &Path) -> Result<T, Vec<Mistake>>,
) -> Result<T, ExitCode> {
    let text =
        read(path).map_err(|error| usage_error(format_args!("cannot read {}: {error}", path.display())))?;
    let base = path.parent().unwrap_or(Path::new(""));
    read_text(&text, base).map_err(|mistakes| {
        tell(path, &mistakes);
        usage_error(format_args!("{} in {}", count(mistakes.len(), "mistake"), path.display()))
    })
}

/// Tells mistakes on standard error.
pub fn tell(path: &Path, mistakes: &[Mistake]) {
    let mut stderr = anstream::stderr().lock();
    for mistake in mistakes {
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(stderr, "{}:{}", path.display(), Printable(mistake));
    }
}

/// `1 mistake`, `2 mistakes`.
pub fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Text of a file on its way to a terminal: control characters are shown, not obeyed.
struct Printable<'a>(&'a Mistake);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        text.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") }
        })
    }
}
