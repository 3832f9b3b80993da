//! At most one leader in a term; and a vote once seen to be kept is not forgotten by a restart.

use std::collections::BTreeMap;

use super::{Invariant, hold};
use crate::view::{NodeView, RaftView, View};

/// See the module.
#[derive(Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
    /// By node: its life, and the vote with which it was still running one step later.
    kept: BTreeMap<u64, (u64, (u64, u64, bool))>,
    last: BTreeMap<u64, (u64, (u64, u64, bool))>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(raft) = node.raft.as_ref().filter(|raft| node.up && raft.life == node.life) else { continue };
            self.vote(*id, node, raft)?;
            if !raft.leads {
                continue;
            }
            let first = *self.leaders.entry(raft.term).or_insert(*id);
            hold(first == *id, || format!("nodes {first} and {id} both lead term {}", raft.term))?;
        }
        Ok(())
    }
}

impl ElectionSafety {
    fn vote(&mut self, id: u64, node: &NodeView, raft: &RaftView) -> Result<(), String> {
        let vote = (raft.term, raft.voted_for, raft.vote_committed);
        if let Some((life, kept)) = self.kept.get(&id)
            && *life != node.life
        {
            // Within a term a vote is given once; that its candidate has won is news for it.
            let grew = kept.0 < vote.0 || (kept.0 == vote.0 && kept.1 == vote.1 && kept.2 <= vote.2);
            hold(grew, || format!("node {id} kept the vote {kept:?}, and came back with {vote:?}"))?;
        }
        if let Some((life, before)) = self.last.insert(id, (node.life, vote))
            && life == node.life
        {
            self.kept.insert(id, (life, before));
        } else {
            self.kept.remove(&id);
        }
        Ok(())
    }
}
