//! What is committed is in the logs of a quorum of the voters, those that are down included (as they were last seen, and
//! again as soon as they are back). Not looked at while the membership changes.

use super::{Invariant, hold};
use crate::view::View;

/// See the module.
#[derive(Default)]
pub(super) struct CommittedOnQuorum {
    highest: Option<(u64, u64)>,
}

impl Invariant for CommittedOnQuorum {
    fn name(&self) -> &'static str {
        "committed on a quorum"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        let rafts = || view.nodes.iter().filter_map(|(id, node)| Some((*id, node.raft.as_ref()?)));
        for (_, raft) in rafts() {
            if let Some((term, index)) = raft.committed
                && self.highest.is_none_or(|(_, known)| index > known)
            {
                self.highest = Some((term, index));
            }
        }
        let Some((term, index)) = self.highest else { return Ok(()) };
        let Some((_, newest)) = rafts().max_by_key(|(_, raft)| (raft.membership_at, raft.term)) else { return Ok(()) };
        let [voters] = newest.voters.as_slice() else { return Ok(()) };
        if !newest.membership_committed {
            return Ok(());
        }
        let holding = rafts().filter(|(id, raft)| voters.contains(id) && raft.log.holds(term, index)).count();
        hold(holding > voters.len() / 2, || {
            let logs: Vec<_> = rafts().map(|(id, raft)| (id, &raft.log)).collect();
            format!("{term}-{index} is committed, and held by {holding} of {voters:?}: {logs:?}")
        })
    }
}
