//! Only those take part whom the group knows: an empty disk under a member's id holds neither vote nor log, and nobody
//! who was refused is ever a member.

use super::{Invariant, hold};
use crate::{faults::STRANGERS_FROM, view::View};

/// See the module.
#[derive(Default)]
pub(super) struct MembersOnly;

impl Invariant for MembersOnly {
    fn name(&self) -> &'static str {
        "members only"
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        for (id, node) in &view.nodes {
            let Some(raft) = node.raft.as_ref().filter(|raft| node.up && raft.life == node.life) else { continue };
            let stranger = raft.members.range(STRANGERS_FROM..).next();
            hold(stranger.is_none(), || format!("node {stranger:?} is a member, by node {id}: {:?}", raft.members))?;
            hold(!node.wiped || (raft.term == 0 && raft.log.last.is_none()), || {
                format!("node {id} takes part with an empty disk: {raft:?}")
            })?;
        }
        Ok(())
    }
}
