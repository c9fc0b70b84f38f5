//! Configuration files for the subcommands: read with the files and variables they name, and every mistake told on
//! standard error, one a line, as `file:line:column: key: what`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::usage_error;
use crate::auth::Secret;
use crate::config::{Explained, Loaded, May, Mistake, Surroundings, control, load, may};
use crate::server::{TlsError, TlsSettings};

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

    fn check_tls(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        settings.check()
    }

    fn check_socket(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        if !fs::metadata(folder).is_ok_and(|folder| folder.is_dir()) {
            return Err(io::Error::other("there is no such folder"));
        }
        // One that a router has left behind is taken away by the next.
        let in_the_way = fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket());
        if in_the_way { Err(io::Error::other("a file that is not a socket is in the way")) } else { Ok(()) }
    }
}

/// Where the descriptors of this process are files: what was opened for it, as by `<(command)` of a shell.
const DESCRIPTORS: [&str; 3] = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];

/// What is in a file, if it is of a sensible length.
///
/// Of what is no regular file only that is read which was opened for this process: a device may have no end, and at a
/// named pipe whoever reads waits for somebody to write, however long.
fn read_octets(path: &Path) -> io::Result<Secret> {
    let is_descriptor = DESCRIPTORS.iter().any(|place| path.starts_with(place));
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() && !is_descriptor {
        return Err(io::Error::other(if metadata.is_dir() {
            "it is a folder"
        } else {
            "it is no regular file"
        }));
    }
    let room = if metadata.is_file() { metadata.len().min(FILE_BYTES_MAX) as usize + 1 } else { 0 };
    // With room for all of it no copy of a secret is left behind by growing.
    let mut octets = Vec::with_capacity(room);
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets)?;
    let octets = Secret::new(octets);
    if octets.expose().len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is too large"));
    }
    if octets.is_empty() && !metadata.is_file() {
        // That is not the same as a file in which nothing is said.
        return Err(io::Error::other("nothing comes from it; what was in it has been read already"));
    }
    Ok(octets)
}

/// The text of a file, which is wiped when it is dropped: secrets may stand in it.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let octets = read_octets(path)?;
    let text =
        octets.text().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Why a configuration is not used.
pub struct Refused {
    /// What is wrong in the file, a line for each mistake.
    pub mistakes: Vec<String>,
    /// All of it in one sentence.
    pub summary: String,
}

impl Refused {
    /// Tells it on standard error; the exit code.
    pub fn tell(&self) -> ExitCode {
        let mut stderr = anstream::stderr().lock();
        for mistake in &self.mistakes {
            // Nobody is left to tell if stderr is closed.
            let _ = writeln!(stderr, "{mistake}");
        }
        drop(stderr);
        usage_error(&self.summary)
    }
}

/// Reads a configuration.
pub fn read_configuration(path: &Path) -> Result<Loaded, Refused> {
    understood(path, |text, base| load(text, base, &System))
}

/// Whether a role of a configuration may do something; a sentence if the question is about nothing in it.
pub fn explained(path: &Path, question: &May<'_>) -> Result<Result<Explained, String>, Refused> {
    understood(path, |text, base| may(text, base, &System, question))
}

/// Where a router with that file is asked. Nothing else in it is looked at: secrets may be there for the router only.
pub fn control_socket(path: &Path) -> Result<Option<PathBuf>, Refused> {
    understood(path, control)
}

fn understood<T>(
    path: &Path,
    read_text: impl FnOnce(&str, &Path) -> Result<T, Vec<Mistake>>,
) -> Result<T, Refused> {
    let text = read(path).map_err(|error| {
        let summary = format!("cannot read {}: {error}", path.display());
        Refused { mistakes: Vec::new(), summary }
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    read_text(&text, base).map_err(|wrong| {
        let summary = format!("{} in {}", count(wrong.len(), "mistake"), path.display());
        Refused { mistakes: mistakes(path, &wrong), summary }
    })
}

/// Reads a configuration; tells what is wrong with it, and the exit code, if something is.
pub fn loaded(path: &Path) -> Result<Loaded, ExitCode> {
    read_configuration(path).map_err(|refused| refused.tell())
}

/// Mistakes as lines for people.
pub fn mistakes(path: &Path, mistakes: &[Mistake]) -> Vec<String> {
    mistakes.iter().map(|mistake| format!("{}:{}", path.display(), printable(&mistake.to_string()))).collect()
}

/// Tells mistakes on standard error.
pub fn tell(path: &Path, wrong: &[Mistake]) {
    let mut stderr = anstream::stderr().lock();
    for mistake in mistakes(path, wrong) {
        // Nobody is left to tell if stderr is closed.
        let _ = writeln!(stderr, "{mistake}");
    }
}

/// `1 mistake`, `2 mistakes`.
pub fn count(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Text of a file on its way to a terminal: control characters are shown, not obeyed.
pub fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device may have no end; that of the third is that nothing is there.
    #[test]
    fn only_regular_files_are_read_and_what_was_opened_for_this_process() {
        for (path, expected) in [
            ("/dev/zero", "it is no regular file"),
            ("/dev", "it is a folder"),
            ("/dev/null", "it is no regular file"),
        ] {
            let error = read(Path::new(path)).expect_err("it is not read");
            assert_eq!(error.to_string(), expected, "{path}");
        }
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"shards = 1").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(*read(Path::new(&path)).unwrap(), "shards = 1");
        let error = read(Path::new(&path)).expect_err("it has been read");
        assert!(error.to_string().starts_with("nothing comes from it"), "{error}");
    }
}
