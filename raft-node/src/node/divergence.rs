//! What this node has found out of its own state: recovered at the start, looked at by everybody, changed by the
//! duty in `compare.rs` alone.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quorate_api::{DivergenceView, PeerDigest};
use quorate_log_store::Storage;
use quorate_planted::{Bug, planted};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    StartError,
    verdict::{Claim, Ruling, Trust},
};

/// Somebody has other digests than this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alarm {
    pub(crate) from: u64,
    pub(crate) claim: Claim,
    /// Whether an operator gave this node's state up for that one's.
    pub(crate) gave_up: bool,
}

/// See the module.
pub(crate) struct Divergence {
    /// As it is in the store.
    ruling: Mutex<Ruling>,
    claimed: Mutex<Claimed>,
    alarm: Mutex<Option<Alarm>>,
    alarmed: Notify,
}

/// What a leader claims of an index that may not be applied here yet.
#[derive(Default)]
struct Claimed {
    waiting: Option<(u64, Claim)>,
    taken: Option<Instant>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ruling that `storage` holds, after the operator's word where `accept_own_state` is set.
///
/// # Errors
/// Where a majority held another state: this node does not take part any more.
pub(crate) async fn recover(storage: &Storage, accept_own_state: bool) -> Result<Ruling, StartError> {
    let unreadable = |what: String| StartError::Storage(format!("the verdict on this node's state: {what}"));
    if planted(Bug::VerdictForgottenAtRestart) {
        return Ok(Ruling::default());
    }
    let mut ruling = match storage.load_verdict().map_err(|error| unreadable(error.to_string()))? {
        Some(stored) => postcard::from_bytes(&stored).map_err(|error| unreadable(error.to_string()))?,
        None => Ruling::default(),
    };
    if ruling.trust == Trust::Diverged {
        let why = ruling.suspends().unwrap_or_default();
        let refused =
            if accept_own_state { " (--accept-own-state does not cure this: a majority has decided)" } else { "" };
        return Err(StartError::Diverged(format!("{why}{refused}")));
    }
    if accept_own_state {
        if let Some(difference) = ruling.accept() {
            save(storage, &ruling).await.map_err(unreadable)?;
            tracing::warn!(
                "an operator accepts this node's own state as the right one: {difference}; the states of the other nodes \
                 named here are given up: replace each of them under a new node id, and start this node without \
                 --accept-own-state from now on"
            );
        } else {
            tracing::warn!(
                "--accept-own-state has nothing to decide: no difference is open here; start this node without it, or \
                 it accepts whatever difference is open at a later start"
            );
        }
    }
    Ok(ruling)
}

/// Makes `ruling` durable.
pub(crate) async fn save(storage: &Storage, ruling: &Ruling) -> Result<(), String> {
    let stored = postcard::to_stdvec(ruling).map_err(|error| error.to_string())?;
    storage.save_verdict(stored).await.map_err(|error| error.to_string())
}

impl Divergence {
    pub(crate) fn new(ruling: Ruling) -> Self {
        Self { ruling: Mutex::new(ruling), claimed: Mutex::default(), alarm: Mutex::default(), alarmed: Notify::new() }
    }

    pub(crate) fn ruling(&self) -> Ruling {
        lock(&self.ruling).clone()
    }

    pub(crate) fn set(&self, ruling: Ruling) {
        *lock(&self.ruling) = ruling;
    }

    pub(crate) fn is_undecided(&self) -> bool {
        lock(&self.ruling).trust == Trust::Undecided
    }

    pub(crate) fn has_given_up(&self, id: u64) -> bool {
        lock(&self.ruling).given_up.contains(&id)
    }

    /// Takes in what node `from` claims; gives what can be checked, this or an earlier one, now that `applied` is applied
    /// here. One claim waits at a time, so that a node that is always a little behind checks some; one is taken in each
    /// `pause`, or at once where it is of a lower index, for the one that waits may be of an index that never comes.
    pub(crate) fn claimed(&self, from: u64, claim: Claim, applied: u64, pause: Duration) -> Option<(u64, Claim)> {
        let mut claimed = lock(&self.claimed);
        let takes = match &claimed.waiting {
            None => claimed.taken.is_none_or(|taken| taken.elapsed() >= pause),
            Some((_, waiting)) => claim.index < waiting.index,
        };
        if takes {
            *claimed = Claimed { waiting: Some((from, claim)), taken: Some(Instant::now()) };
        }
        claimed.waiting.take_if(|(_, waiting)| waiting.index <= applied)
    }

    pub(crate) fn raise(&self, alarm: Alarm) {
        *lock(&self.alarm) = Some(alarm);
        self.alarmed.notify_one();
    }

    /// The next alarm, or `None` where there is none within `patience`.
    pub(crate) async fn alarmed(&self, patience: Duration) -> Option<Alarm> {
        // A timeout is no error: there is other work then.
        drop(timeout(patience, self.alarmed.notified()).await);
        lock(&self.alarm).take()
    }

    /// As the API shows it; `None` where no difference is known, or all were settled by a majority.
    pub(crate) fn view(&self) -> Option<DivergenceView> {
        let ruling = self.ruling();
        let difference = ruling.difference?;
        let verdict = match ruling.trust {
            Trust::Whole => "accepted",
            Trust::Undecided => "undecided",
            Trust::Diverged => "diverged",
        };
        let others = difference.others.into_iter().map(|(node_id, claim)| PeerDigest {
            node_id,
            index: claim.index,
            chain: claim.digests.chain,
            state: claim.digests.state,
        });
        Some(DivergenceView {
            verdict: verdict.to_owned(),
            index: difference.mine.index,
            chain: difference.mine.digests.chain,
            state: difference.mine.digests.state,
            others: others.collect(),
            given_up: ruling.given_up.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use quorate_ledger::Digest;

    use super::*;
    use crate::node::verdict::Digests;

    const PAUSE: Duration = Duration::from_millis(50);

    fn claim(index: u64) -> Claim {
        Claim { index, digests: Digests { chain: Digest::default(), state: None } }
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_waits_until_its_index_is_applied() {
        let divergence = Divergence::new(Ruling::default());
        assert_eq!(divergence.claimed(1, claim(7), 5, PAUSE), None);
        tokio::time::sleep(PAUSE).await;
        // A node that is always behind still checks the first one.
        assert_eq!(divergence.claimed(1, claim(9), 6, PAUSE), None);
        assert_eq!(divergence.claimed(1, claim(11), 8, PAUSE), Some((1, claim(7))));
        tokio::time::sleep(PAUSE).await;
        assert_eq!(divergence.claimed(2, claim(12), 12, PAUSE), Some((2, claim(12))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_of_an_index_that_never_comes_is_replaced() {
        let divergence = Divergence::new(Ruling::default());
        assert_eq!(divergence.claimed(9, claim(u64::MAX), 5, PAUSE), None);
        assert_eq!(divergence.claimed(1, claim(5), 5, PAUSE), Some((1, claim(5))));
    }
}
