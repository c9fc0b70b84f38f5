//! The progress bar: on standard error, if that is a terminal, and gone when the report is printed.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

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
        // A run that fails takes the bar away too.
        let bar = ProgressBar::new(STEPS).with_style(style).with_finish(ProgressFinish::AndClear);
        Progress { bar }
    }

    /// So many sessions of all are ready.
    pub fn joining(&self, ready: usize, wanted: usize) {
        self.at("joining", ready as f64 / wanted.max(1) as f64);
    }

    /// So much of the search for the highest rate is over, 0 to 1.
    pub fn searching(&self, part: f64) {
        self.at("searching", part);
    }

    /// So much of a run is over, 0 to 1.
    pub fn running(&self, part: f64) {
        self.at("measuring", part);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn at(&self, what: &'static str, part: f64) {
        self.bar.set_message(what);
        self.bar.set_position((part * STEPS as f64) as u64);
    }
}
