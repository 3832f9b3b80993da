//! Comparing checkpoints with peers: a node whose state differs from the majority's stops; while a
//! difference is known and no majority decides it, nobody serves.

use std::{sync::Arc, time::Duration};

use quorate_api::CheckpointView;
use tokio::time::sleep;

use super::{Inner, StopReason};
use crate::raft::{
    links::Target,
    wire::{Checkpoints, paths},
};

/// How often the last checkpoint that is not confirmed is compared.
const COMPARE_PERIOD: Duration = Duration::from_secs(2);
/// How long a peer may take to answer.
const COMPARE_DEADLINE: Duration = Duration::from_secs(1);

/// What the known digests at one index say of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A majority holds the same.
    Confirmed,
    /// A majority holds another.
    Diverged,
    /// There is a difference, and no majority for either.
    Undecided,
    /// No difference is known, but too few have answered.
    Open,
}

/// `others` are the digests known of other voters; the group has `voters` voters, this node one of them.
fn judge(mine: &CheckpointView, others: &[CheckpointView], voters: usize) -> Verdict {
    let majority = voters / 2 + 1;
    let same = 1 + others.iter().filter(|other| *other == mine).count();
    if same >= majority {
        return Verdict::Confirmed;
    }
    let agree = |one: &CheckpointView| others.iter().filter(|other| *other == one).count() >= majority;
    if others.iter().any(|other| other != mine && agree(other)) {
        return Verdict::Diverged;
    }
    if others.iter().any(|other| other != mine) { Verdict::Undecided } else { Verdict::Open }
}

impl Inner {
    /// Compares, until the node stops.
    pub(crate) async fn compare_checkpoints(self: Arc<Self>) {
        let mut confirmed = 0;
        loop {
            sleep(COMPARE_PERIOD).await;
            let Some(mine) = self.applied.checkpoints().pop().filter(|mine| mine.index > confirmed) else { continue };
            let voters: Vec<u64> = self.voters();
            if !voters.contains(&self.links.me()) {
                continue;
            }
            let others = self.digests_at(mine.index, &voters).await;
            match judge(&mine, &others, voters.len()) {
                Verdict::Confirmed => {
                    confirmed = mine.index;
                    self.counters.checkpoints_confirmed.add(1);
                    self.suspend(None);
                }
                // Nobody has said that it differs, or those who did are past that index: nothing new is known.
                Verdict::Open => {}
                Verdict::Undecided => {
                    tracing::error!(index = mine.index, "states differ and no majority decides: not serving");
                    self.suspend(Some(format!(
                        "states differ between nodes at index {} and no majority decides which is right",
                        mine.index
                    )));
                }
                Verdict::Diverged => {
                    self.stop(StopReason::Diverged { index: mine.index });
                    return;
                }
            }
        }
    }

    async fn digests_at(&self, index: u64, voters: &[u64]) -> Vec<CheckpointView> {
        let calls = voters.iter().filter(|id| **id != self.links.me()).map(|&id| async move {
            let peer = self.peer(id)?;
            let call = self.links.call(Target::member(id, &peer), paths::CHECKPOINTS, &(), COMPARE_DEADLINE);
            let Checkpoints { checkpoints } = call.await.ok()?;
            checkpoints.into_iter().find(|checkpoint| checkpoint.index == index)
        });
        futures_util::future::join_all(calls).await.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use quorate_ledger::Digest;

    use super::*;

    fn checkpoint(state: u8) -> CheckpointView {
        CheckpointView { index: 16_384, chain: Digest([0; 32]), state: Digest([state; 32]) }
    }

    fn judged(others: &[u8], voters: usize) -> Verdict {
        let others: Vec<_> = others.iter().map(|state| checkpoint(*state)).collect();
        judge(&checkpoint(1), &others, voters)
    }

    #[test]
    fn the_majority_decides() {
        assert_eq!(judged(&[1], 3), Verdict::Confirmed);
        assert_eq!(judged(&[1, 2], 3), Verdict::Confirmed);
        assert_eq!(judged(&[2, 2], 3), Verdict::Diverged);
        assert_eq!(judged(&[2, 2, 2, 1], 5), Verdict::Diverged);
        assert_eq!(judged(&[], 1), Verdict::Confirmed);
    }

    #[test]
    fn without_a_majority_a_difference_suspends() {
        assert_eq!(judged(&[2, 3], 3), Verdict::Undecided);
        assert_eq!(judged(&[2], 3), Verdict::Undecided);
        assert_eq!(judged(&[2], 2), Verdict::Undecided);
        assert_eq!(judged(&[1, 2, 2], 5), Verdict::Undecided);
    }

    #[test]
    fn silence_alone_does_not() {
        assert_eq!(judged(&[], 3), Verdict::Open);
        assert_eq!(judged(&[1], 5), Verdict::Open);
    }
}
