//! How this node and the others stand now: whether they answer, and how much of the log they hold.
//!
//! Whoever is to vote, or to lead, is asked first. What was true a while ago decides nothing.

use std::time::Duration;

use openraft::{async_runtime::WatchReceiver, errors::Fatal};
use tokio::time::{Instant, timeout_at};

use super::Inner;
use crate::raft::{
    links::Target,
    types::{LogId, Peer, TypeConfig},
    wire::{Standing, paths},
};

/// A member that is asked must answer within this.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What a member lacks to be counted on now. Reads as the end of a sentence that begins with its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lacking {
    /// It does not answer.
    #[error("does not answer at {addr} ({why})")]
    Answer { addr: String, why: String },
    /// It says that it does not serve.
    #[error("does not serve ({0})")]
    Service(String),
    /// It does not hold the log up to its end.
    #[error("is {0} entries behind the end of the log")]
    Entries(u64),
}

impl Inner {
    /// The end of this node's log.
    pub(crate) async fn log_end(&self) -> Result<Option<LogId>, Fatal<TypeConfig>> {
        self.raft.with_raft_state(|state| state.log_ids.last().copied()).await
    }

    /// What this node says of itself.
    pub(crate) async fn standing_here(&self) -> Result<Standing, Fatal<TypeConfig>> {
        Ok(Standing { last_log: self.log_end().await?, serving: self.serving() })
    }

    /// What the node `id` says of itself, if it answers and serves.
    pub(crate) async fn standing_of(&self, id: u64, peer: &Peer) -> Result<Standing, Lacking> {
        let answer: Result<Standing, _> =
            self.links.call(Target::member(id, peer), paths::STANDING, &(), ANSWER_WITHIN).await;
        let standing =
            answer.map_err(|error| Lacking::Answer { addr: peer.peer_addr.clone(), why: error.to_string() })?;
        match standing.serving {
            Ok(()) => Ok(standing),
            Err(why) => Err(Lacking::Service(why)),
        }
    }

    /// As the leader: whether the member `id` is level now. It is where it comes to hold, within a second, the log up to
    /// where that ended when the second began, and then answers within another and says the same.
    pub(crate) async fn level(&self, id: u64, peer: &Peer) -> Result<(), Lacking> {
        let stopped = |fatal: Fatal<TypeConfig>| Lacking::Service(fatal.to_string());
        if id == self.links.me() {
            return self.log_end().await.map(drop).map_err(stopped);
        }
        let end = self.log_end().await.map_err(stopped)?;
        let matched = self.wait_matched(id, end, Instant::now() + ANSWER_WITHIN).await;
        let standing = self.standing_of(id, peer).await?;
        let holds = if matched >= end { standing.last_log } else { matched };
        if holds >= end { Ok(()) } else { Err(Lacking::Entries(index(end).saturating_sub(index(holds)))) }
    }

    /// As the leader: up to where the member `id` is known to hold the log.
    pub(crate) fn matched(&self, id: u64) -> Option<LogId> {
        self.raft.metrics().borrow_watched().replication.as_ref()?.get(&id).copied().flatten()
    }

    /// Waits until the member `id` is known to hold the log up to `end`, or `until`; gives what is known then.
    async fn wait_matched(&self, id: u64, end: Option<LogId>, until: Instant) -> Option<LogId> {
        let mut metrics = self.raft.metrics();
        let reached = async {
            while self.matched(id) < end {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Where it is not reached, what is known says so.
        drop(timeout_at(until, reached).await);
        self.matched(id)
    }
}

fn index(log_id: Option<LogId>) -> u64 {
    log_id.map_or(0, |log_id| log_id.index)
}
