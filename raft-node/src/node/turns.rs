//! Bounds on what readers may ask of a node at a time: event streams, audits, walks through the ledger.

use std::sync::Arc;

use quorate_api::{Problem, ProblemKind};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::Node;
use crate::config::NodeConfig;

/// Walks through many rows of the ledger at a time.
const WALKS_MAX: usize = 2;

/// The turns of one node.
pub(crate) struct Turns {
    streams: Arc<Semaphore>,
    audits: Arc<Semaphore>,
    walks: Arc<Semaphore>,
}

impl Turns {
    pub(super) fn new(config: &NodeConfig) -> Self {
        Self {
            streams: Arc::new(Semaphore::new(config.max_event_streams)),
            audits: Arc::new(Semaphore::new(1)),
            walks: Arc::new(Semaphore::new(WALKS_MAX)),
        }
    }
}

/// A turn, until it is dropped.
pub(crate) type Turn = OwnedSemaphorePermit;

impl Node {
    /// A place for one more event stream, if there is one.
    pub(crate) fn place_for_stream(&self) -> Option<Turn> {
        let place = Arc::clone(&self.inner.turns.streams).try_acquire_owned().ok();
        if place.is_none() {
            self.inner.counters.streams_refused.add(1);
        }
        place
    }

    /// The turn to audit: one at a time.
    pub(crate) async fn turn_to_audit(&self, deadline: Instant) -> Result<Turn, Problem> {
        turn(&self.inner.turns.audits, deadline, "another audit is under way here, and there is one at a time").await
    }

    /// Does `work`, a walk through many rows, off the runtime's workers and two at a time.
    pub(crate) async fn walk<T, F>(&self, deadline: Instant, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let turn = turn(&self.inner.turns.walks, deadline, "too many reads of many rows wait here").await?;
        let work = move || {
            let done = work();
            drop(turn);
            done
        };
        let done = self.inner.scope.blocking(work).await;
        done.map_err(|error| Problem::new(ProblemKind::Internal, format!("the read failed: {error}")))
    }
}

async fn turn(turns: &Arc<Semaphore>, deadline: Instant, why: &str) -> Result<Turn, Problem> {
    let turn = timeout_at(deadline, Arc::clone(turns).acquire_owned()).await;
    // The semaphores are never closed.
    turn.ok()
        .and_then(Result::ok)
        .ok_or_else(|| Problem::new(ProblemKind::Overloaded, format!("{why}: try again later, or at another node")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_comes_second_waits_for_the_turn_or_hears_why_not() {
        let turns = Arc::new(Semaphore::new(1));
        let soon = || Instant::now() + Duration::from_secs(1);
        let first = turn(&turns, soon(), "an audit is under way").await.unwrap();
        let refused = turn(&turns, soon(), "an audit is under way").await.unwrap_err();
        assert_eq!((refused.kind, refused.status), (ProblemKind::Overloaded, 503));
        assert!(refused.detail.starts_with("an audit is under way: try again later"), "{}", refused.detail);
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turn(&turns, Instant::now() + Duration::from_secs(1), "").await.is_ok() }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
        assert!(waiting.await.unwrap());
    }
}
