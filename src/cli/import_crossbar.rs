//! `fanwire import-crossbar`: a configuration file out of a Crossbar.io node configuration.
//!
//! The file goes to standard output or to `--output`; what was dropped and what means something else here is told on
//! standard error. Exit codes: 0; 1 if something has to be put right before the file is served, and with `--strict`
//! also if anything was dropped or means something else; 2 if there is nothing to import.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::configuration::{count, read};
use super::{output, usage_error};
use crate::config::crossbar::{Format, import};

/// The exit code if that is not all.
const EXIT_NOT_ALL: u8 = 1;

/// Make a configuration file from a Crossbar.io node configuration.
///
/// Every key that is dropped is told with the reason, and so is every permission that means something else here. Paths
/// stay relative where the result stands beside it.
#[derive(Args, Debug)]
pub struct ImportCrossbar {
    /// config.json, or config.yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// End with exit code 1 if anything was dropped or must be looked at
    #[arg(long)]
    strict: bool,

    /// Where to write the configuration file, which must not be there yet [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl ImportCrossbar {
    /// Imports it.
    pub fn run(self) -> ExitCode {
        let name = self.file.display();
        let text = match read(&self.file) {
            Ok(text) => text,
            Err(error) => return usage_error(format_args!("cannot read {name}: {error}")),
        };
        let extension = self.file.extension().and_then(|extension| extension.to_str());
        let format = if matches!(extension, Some("yaml" | "yml")) { Format::Yaml } else { Format::Json };
        let folder = match self.folder() {
            Ok(folder) => folder,
            Err(error) => {
                return usage_error(format_args!("cannot find where {name} or its result stands: {error}"));
            }
        };
        let import = match import(&text, format, &folder) {
            Ok(import) => import,
            Err(error) => return usage_error(format_args!("{name}: {error}")),
        };
        if let Err(error) = self.write(&import.text) {
            let output = self.output.as_deref().map_or("the output".into(), Path::to_string_lossy);
            return usage_error(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("{output} is there already: write to another file, or take it away first")
                }
                _ => format!("cannot write {output}: {error}"),
            });
        }
        for warning in &import.warnings {
            output::notice(&format!("look at  {warning}"));
        }
        for dropped in &import.dropped {
            output::notice(&format!("dropped  {dropped}"));
        }
        for mistake in &import.mistakes {
            output::notice(&format!("mistake  {mistake}"));
        }
        let (dropped, warnings) = (import.dropped.len(), import.warnings.len());
        let mut told = format!("{} dropped, {warnings} to look at", count(dropped, "key"));
        if !import.mistakes.is_empty() {
            told +=
                &format!(", {} to put right before it is served", count(import.mistakes.len(), "mistake"));
        }
        output::notice(&told);
        let is_all = import.mistakes.is_empty() && !(self.strict && dropped + warnings > 0);
        if is_all { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_ALL) }
    }

    /// What paths start from that stand in the node configuration, if the result is not beside it.
    fn folder(&self) -> io::Result<PathBuf> {
        let folder = |file: &Path| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.canonicalize(),
            _ => Path::new(".").canonicalize(),
        };
        let source = folder(&self.file)?;
        let is_beside =
            self.output.as_deref().map(folder).transpose()?.is_some_and(|output| output == source);
        Ok(if is_beside { PathBuf::new() } else { source })
    }

    fn write(&self, text: &str) -> io::Result<()> {
        match &self.output {
            // Tickets and passwords stand in it, as they do in what it is made from.
            Some(path) => OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?
                .write_all(text.as_bytes()),
            None => io::stdout().lock().write_all(text.as_bytes()),
        }
    }
}
