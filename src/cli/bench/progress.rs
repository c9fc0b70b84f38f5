//! The progress bar: on standard error, if that is a terminal, and gone when the report is printed.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::fanout;

/// Steps of a bar.
const STEPS: u64 = 1000;

/// A bar, or nothing where nobody would see it.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// An empty bar.
    pub fn new(hidden: bool) -> Progress {
        if hidden || !std::io::stderr().is_terminal() {
            return Progress { bar: ProgressBar::hidden() };
        }
        let style = ProgressStyle::with_template("{msg:12} {bar:40.cyan} {percent:>3} %  {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        Progress { bar: ProgressBar::new(STEPS).with_style(style) }
    }

    /// So many sessions of all are ready.
    pub fn joining(&self, ready: usize, wanted: usize) {
        self.bar.set_message("joining");
        self.bar.set_position(ready as u64 * STEPS / wanted.max(1) as u64);
    }

    /// So much of a run is over.
    pub fn running(&self, at: fanout::Progress) {
        self.bar.set_message("measuring");
        self.bar.set_position((at.part * STEPS as f64) as u64);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
