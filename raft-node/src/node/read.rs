//! Reads of the ledger: linearizable by ReadIndex (Raft thesis 6.4), or whatever is applied here.
//!
//! ReadIndex never trusts a lease: the leader confirms by a round of heartbeats sent after the question
//! that it still leads. It is asked again until the read's own deadline, for a round may be lost.

use std::time::Duration;

use openraft::LinearizerOption;
use quorate_api::{Consistency, Problem, ProblemKind};
use quorate_planted::{Bug, planted};
use tokio::time::{Instant, timeout_at};

use super::{Inner, Node, Snapshot};
use crate::raft::{
    links::Target,
    wire::{ReadIndex, paths},
};

/// Pause before the leader is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// One question to the leader waits so long at most; a lost round is asked for again.
const ROUND_MAX: Duration = Duration::from_secs(1);

impl Node {
    /// The ledger, as fresh as `consistency` asks.
    ///
    /// # Errors
    /// `NoLeader` or `Timeout` where freshness cannot be shown by `deadline`; `NotReady` while the node
    /// recovers or has suspended service.
    pub async fn read(&self, consistency: Consistency, deadline: Instant) -> Result<Snapshot, Problem> {
        let inner = &self.inner;
        let result = match consistency {
            Consistency::Linearizable => inner.read_linearizable(deadline).await,
            Consistency::Local => inner.read_local(),
        };
        match (&result, consistency) {
            (Ok(_), Consistency::Linearizable) => inner.counters.reads_linearizable.add(1),
            (Ok(_), Consistency::Local) => inner.counters.reads_local.add(1),
            (Err(_), _) => inner.counters.reads_failed.add(1),
        }
        result
    }

    /// Waits until `index` is applied here; `false` where that is not so by `deadline`.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        self.inner.applied.wait(index, deadline).await
    }
}

impl Inner {
    fn read_local(&self) -> Result<Snapshot, Problem> {
        self.serving().and_then(|()| self.belongs()).map_err(|why| Problem::new(ProblemKind::NotReady, why))?;
        if !self.is_recovered() {
            let detail = "this node has not yet caught up with what it had applied before it restarted";
            return Err(Problem::new(ProblemKind::NotReady, detail));
        }
        Ok(self.applied.snapshot())
    }

    async fn read_linearizable(&self, deadline: Instant) -> Result<Snapshot, Problem> {
        loop {
            self.serving().and_then(|()| self.belongs()).map_err(|why| Problem::new(ProblemKind::NotReady, why))?;
            if planted(Bug::ReadWithoutReadIndex) {
                return Ok(self.applied.snapshot());
            }
            let question = Instant::now() + ROUND_MAX;
            if let Some(index) = self.read_index(question.min(deadline)).await {
                if self.applied.wait(index, deadline).await {
                    return Ok(self.applied.snapshot());
                }
                let detail = format!("index {index} was not applied here in time: try another node");
                return Err(Problem::new(ProblemKind::Timeout, detail));
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                let detail = "no leader confirmed by a majority answered in time: the read could have been stale";
                return Err(Problem { leader: self.leader(), ..Problem::new(ProblemKind::NoLeader, detail) });
            }
            self.leader_changed(RETRY_PAUSE).await;
        }
    }

    /// The index that a read begun now must have applied, from the leader.
    async fn read_index(&self, deadline: Instant) -> Option<u64> {
        let leader = self.leader()?;
        let answer = if leader == self.links.me() {
            self.read_index_here(deadline).await
        } else {
            let peer = self.peer(leader)?;
            let remaining = deadline.saturating_duration_since(Instant::now());
            let remaining_ms = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
            let call = self.links.call(Target::member(leader, &peer), paths::READ_INDEX, &remaining_ms, remaining);
            call.await.unwrap_or(ReadIndex::NotLeader)
        };
        match answer {
            ReadIndex::Index(log_id) => Some(log_id.index),
            ReadIndex::NotLeader => None,
        }
    }

    /// As the leader: the read index, confirmed by a majority after this call began.
    pub(crate) async fn read_index_here(&self, deadline: Instant) -> ReadIndex {
        let remaining = deadline.saturating_duration_since(Instant::now()).min(ROUND_MAX);
        // A quorum must acknowledge something that was sent after the question: no lease.
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(remaining);
        match timeout_at(deadline, self.raft.get_read_linearizer(option)).await {
            Ok(Ok(linearizer)) => ReadIndex::Index(*linearizer.read_log_id().log_id()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no read index");
                ReadIndex::NotLeader
            }
            Err(_) => ReadIndex::NotLeader,
        }
    }
}
