//! At most one leader in a term; and a vote once seen to be kept is not forgotten by a restart, as long as the disk is
//! the same.

use std::collections::BTreeMap;

use super::{Invariant, hold};
use crate::view::{NodeView, RaftView, View};

#[derive(Debug, Clone, Copy)]
struct Vote {
    term: u64,
    node: u64,
    /// Whether a quorum gave it.
    elected: bool,
}

impl Vote {
    /// Whether a node that kept `before` may hold this one. Within a term a vote is given once; who then hears of the
    /// term's leader takes its word for the vote of a quorum, whomever it voted for itself.
    fn follows(self, before: Self) -> bool {
        before.term < self.term
            || (before.term == self.term && (before.node == self.node || (self.elected && !before.elected)))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
    /// By node: its life, and the vote with which it was still running one step later.
    kept: BTreeMap<u64, (u64, Vote)>,
    last: BTreeMap<u64, (u64, Vote)>,
}

impl Invariant for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(raft) = node.raft.as_ref().filter(|raft| node.up && raft.life == node.life) else { continue };
            if node.wiped {
                // What the disk before it held is gone; that the new one gives no vote is another invariant.
                self.kept.remove(id);
                self.last.remove(id);
            } else {
                self.vote(*id, node, raft)?;
            }
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
        let vote = Vote { term: raft.term, node: raft.voted_for, elected: raft.vote_committed };
        if let Some((life, kept)) = self.kept.get(&id)
            && *life != node.life
        {
            hold(vote.follows(*kept), || format!("node {id} kept the vote {kept:?}, and came back with {vote:?}"))?;
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
