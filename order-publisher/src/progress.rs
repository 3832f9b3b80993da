//! Progress: a bar on a terminal, a line of the log now and then elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::summary::Summary;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far a run is.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    line_due: Instant,
}

impl Progress {
    /// `count`: how many orders there will be, where that is known.
    pub(crate) fn new(count: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = count.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let template = if count.is_some() { "{bar:30} {pos}/{len} {msg}" } else { "{spinner} {pos} {msg}" };
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, line_due: Instant::now() + LINE_EVERY }
    }

    pub(crate) fn show(&mut self, summary: &Summary) {
        let Summary { sent, filled, partially_filled, rested, expired, .. } = summary;
        let rejected: u64 = summary.rejected.values().sum();
        if let Some(bar) = &self.bar {
            bar.set_position(summary.ended());
            bar.set_message(format!("filled {filled}, in part {partially_filled}, rejected {rejected}"));
        } else if Instant::now() >= self.line_due {
            self.line_due = Instant::now() + LINE_EVERY;
            let unknown = summary.unknown.seen;
            tracing::info!(sent, filled, partially_filled, rested, expired, rejected, unknown, "publishing");
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
