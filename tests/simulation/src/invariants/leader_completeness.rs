//! What was committed in a term is in the log of every leader of a later one.

use super::{Invariant, hold};
use crate::view::View;

/// One advance of the commit: (index, its term, the highest term in force when it was first seen).
type Commit = (u64, u64, u64);

/// See the module.
#[derive(Default)]
pub(super) struct LeaderCompleteness {
    commits: Vec<Commit>,
}

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(raft) = node.raft.as_ref().filter(|raft| node.up && raft.life == node.life) else { continue };
            if let Some((term, index)) = raft.committed
                && self.commits.last().is_none_or(|(known, _, _)| index > *known)
            {
                self.commits.push((index, term, raft.term));
            }
            if !raft.leads {
                continue;
            }
            // The last commit of an earlier term stands for all before it, by log matching.
            let earlier = self.commits.iter().rev().find(|(_, _, seen_in)| *seen_in < raft.term);
            let Some((index, term, _)) = earlier else { continue };
            hold(raft.log.holds(*term, *index), || {
                format!("node {id} leads term {} without {term}-{index}, committed before: {:?}", raft.term, raft.log)
            })?;
        }
        Ok(())
    }
}
