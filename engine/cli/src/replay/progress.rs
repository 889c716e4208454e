//! The progress bar: on a terminal only, and never among the results.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Progress over all runs of one trace.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar for `trace`; hidden unless the error stream is a terminal and `shown`.
    pub(crate) fn new(trace: &str, shown: bool) -> Self {
        if !shown || !std::io::stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let bar = ProgressBar::new(0);
        let template = "{msg} {wide_bar} {human_pos}/{human_len} requests, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(trace.to_owned());
        Self { bar }
    }

    /// How many requests all runs play together.
    pub(crate) fn expect(&self, requests: u64) {
        self.bar.set_length(requests);
    }

    /// More requests were played.
    pub(crate) fn advance(&self, requests: u64) {
        self.bar.inc(requests);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
