//! Log time keeps the pace of real time: within a term it never runs ahead of it, whatever wall clocks do and whoever
//! else would stamp entries; and no term begins behind the slowest wall clock of all machines. So a quote lives neither
//! longer nor shorter than its time, whoever leads.

use std::collections::BTreeMap;

use quorate_ledger::{Event, Frame};

use super::{Invariant, hold};
use crate::{checks::STEP, view::View};

/// A node's term is seen a few steps after it began, and oscillators are off by a hundredth at most.
const SLACK_MS: u64 = 1_000;
/// Oscillators are off by this part at most.
const DRIFT_PART: u64 = 99;

/// A term since somebody was first seen in it.
#[derive(Debug, Clone, Copy)]
struct Seen {
    at: u64,
    /// The lowest wall clock of all machines since then.
    wall: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct LogPace {
    terms: BTreeMap<u64, Seen>,
    /// The term that the log is in: what was seen of it, and its first log time.
    present: Option<(Seen, u64)>,
    now: u64,
}

impl Invariant for LogPace {
    fn name(&self) -> &'static str {
        "log pace"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let log_time = frame.log_time.0;
        for event in &frame.events {
            let Event::TermBegan { term, .. } = event else { continue };
            // Whoever led was never looked at: nothing is known of when it began.
            self.present = self.terms.get(term).map(|seen| (*seen, log_time));
            let Some((seen, _)) = self.present else { continue };
            hold(log_time + SLACK_MS >= seen.wall, || {
                format!("term {term} began at {log_time}, and no wall clock was behind {}", seen.wall)
            })?;
        }
        let Some((seen, began)) = self.present else { return Ok(()) };
        let passed = self.now.saturating_sub(seen.at);
        let most = began + passed + passed / DRIFT_PART + SLACK_MS;
        hold(log_time <= most, || {
            format!("log time {log_time} at {}, {passed} ms into a term that began at {began}", frame.index)
        })
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        let step_ms = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        // The last look of a run has no number.
        self.now = if view.step == u64::MAX { self.now + step_ms } else { view.step * step_ms };
        let lowest = view.nodes.values().map(|node| node.wall_ms).min().unwrap_or(0);
        for raft in view.nodes.values().filter_map(|node| node.raft.as_ref()) {
            self.terms.entry(raft.term).or_insert(Seen { at: self.now, wall: lowest });
        }
        for seen in self.terms.values_mut() {
            seen.wall = seen.wall.min(lowest);
        }
        Ok(())
    }
}
