//! Histories of calls: recorded by clients, checked from outside.
//!
//! | where | what |
//! |---|---|
//! | `record` | the format, and the recorder that writes it |
//! | `calls` | a history read back: calls, commands, reads |
//! | `order` | what came later has the higher index |
//! | `register` | each symbol's position and quote are linearizable |
//! | `ledger` | every answer is what a naive model says, replayed by log index |
//! | `local` | a node never shows less than it has shown, and no two show different things at one index |
//! | `timeline` | what is kept of a failure: the history, and a page to look at |
//!
//! Invariant: checkers are functions of what they are given. They do no input or output, ask no clock, and
//! give the same verdict for the same history; where they cannot decide they say so, which is no pass.

pub mod calls;
pub mod ledger;
pub mod local;
pub mod order;
pub mod record;
pub mod register;
pub mod timeline;

/// The naive model that the ledger's own property tests hold it to, written from `docs/ledger.md` alone: it shares no
/// code with the ledger beyond its types.
#[path = "../../../raft-node/ledger/tests/model/naive/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "a test's model, which may panic where it is wrong itself")]
mod naive;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt};

use quorate_ledger::{Command, Frame};

use calls::{BadHistory, History, Observed, Write};
use record::Got;

/// What a checker looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// [`order`].
    Order,
    /// [`register`].
    Register,
    /// [`ledger`].
    Ledger,
    /// [`local`].
    Local,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "order",
            Self::Register => "register",
            Self::Ledger => "ledger",
            Self::Local => "local",
        })
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub check: Check,
    /// What it is.
    pub what: String,
    /// The calls that show it, as places in [`History::calls`].
    pub calls: Vec<usize>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.what)
    }
}

/// What a history holds: whether it could have shown anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Calls of all kinds.
    pub operations: usize,
    /// Commands that the ledger answered, by name, accepted or refused.
    pub commands: BTreeMap<&'static str, usize>,
    /// Calls whose outcome was unknown when they returned, or that never returned.
    pub unknown: usize,
    /// Commands whose outcome was unknown, and found out by another call.
    pub settled: usize,
    /// Linearizable reads that were answered.
    pub linearizable_reads: usize,
    /// Local reads that were answered.
    pub local_reads: usize,
    /// Nodes that answered reads.
    pub nodes: usize,
    /// Entries of the log that were replayed.
    pub entries: usize,
    /// Operations of the largest register.
    pub largest_register: usize,
    /// Steps of the search for linearizations, over all registers.
    pub search_steps: u64,
}

/// What all checkers found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What must not be; empty where all holds.
    pub violations: Vec<Violation>,
    /// What was looked at.
    pub figures: Figures,
}

impl Report {
    /// Whether nothing was found. An undecided check is a violation.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Runs all checkers over a history and the frames of the whole log, from the group's first entry on, of which no client
/// but those recorded sent any command.
///
/// # Errors
/// [`BadHistory`] where an answer in it is none.
pub fn check(history: &History, frames: &[Frame]) -> Result<Report, BadHistory> {
    let writes = history.writes();
    let reads = history.reads()?;
    let mut report = Report { violations: Vec::new(), figures: figures(history, &writes, &reads, frames) };
    report.violations.extend(order::check(&writes, &reads));
    for register in register::check(&writes, &reads, frames) {
        report.figures.largest_register = report.figures.largest_register.max(register.operations);
        report.figures.search_steps += register.steps;
        report.violations.extend(register.violation());
    }
    report.violations.extend(ledger::check(&writes, &reads, frames));
    report.violations.extend(local::check(&reads));
    Ok(report)
}

fn figures(history: &History, writes: &[Write], reads: &[Observed], frames: &[Frame]) -> Figures {
    let mut commands: BTreeMap<&'static str, usize> = BTreeMap::new();
    for write in writes.iter().filter(|write| write.response.is_some()) {
        *commands.entry(Command::name(&write.command)).or_default() += 1;
    }
    let local = reads.iter().filter(|read| local::is_local(read)).count();
    let unknown = history.calls.iter().filter(|call| matches!(call.got, None | Some(Got::Unknown(_)))).count();
    let settled = |write: &&Write| {
        let in_doubt = |at: &usize| matches!(history.calls[*at].got, None | Some(Got::Unknown(_)));
        write.response.is_some() && write.calls.iter().any(in_doubt)
    };
    let nodes: std::collections::BTreeSet<&str> = reads.iter().map(|read| read.node.as_str()).collect();
    Figures {
        operations: history.calls.len(),
        commands,
        unknown,
        settled: writes.iter().filter(settled).count(),
        linearizable_reads: reads.len() - local,
        local_reads: local,
        nodes: nodes.len(),
        entries: frames.len(),
        largest_register: 0,
        search_steps: 0,
    }
}
