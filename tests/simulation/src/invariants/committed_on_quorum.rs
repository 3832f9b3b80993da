//! What is committed is in the logs of a quorum of the voters. A node that is down, or does not say, may hold it; it is
//! looked at again once it is back. One whose disk was wiped may have held it, and counts no more. Not looked at while the
//! membership changes.

use super::{Invariant, hold};
use crate::view::View;

/// See the module.
#[derive(Default)]
pub(super) struct CommittedOnQuorum {
    /// The highest commit seen: term, index, and the step at which it was.
    highest: Option<(u64, u64, u64)>,
}

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        let rafts = || view.nodes.iter().filter_map(|(id, node)| Some((*id, node, node.raft.as_ref()?)));
        for (_, _, raft) in rafts() {
            if let Some((term, index)) = raft.committed
                && self.highest.is_none_or(|(_, known, _)| index > known)
            {
                self.highest = Some((term, index, view.step));
            }
        }
        let Some((term, index, seen_at)) = self.highest else { return Ok(()) };
        let newest = rafts().max_by_key(|(_, _, raft)| (raft.membership_at, raft.term));
        let Some((_, _, newest)) = newest else { return Ok(()) };
        let [voters] = newest.voters.as_slice() else { return Ok(()) };
        if !newest.membership_committed {
            return Ok(());
        }
        // Only what was copied after the commit was seen says that it is missing.
        let missing = rafts().filter(|(id, node, raft)| {
            let says = node.up && !node.wiped && raft.life == node.life && raft.asked > seen_at;
            says && voters.contains(id) && !raft.log.holds(term, index)
        });
        let missing: Vec<_> = missing.map(|(id, _, raft)| (id, &raft.log)).collect();
        hold(voters.len() - missing.len() > voters.len() / 2, || {
            format!("{term}-{index} is committed, and is missing in {missing:?} of {voters:?}")
        })
    }
}
