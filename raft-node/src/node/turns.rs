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
    use std::{sync::mpsc, time::Duration};

    use axum::{
        body::Body,
        http::{Request, Response},
    };
    use quorate_log_store::{Storage, StorageOptions, WriterMode};
    use quorate_seams::{Failpoints, World};
    use tower::ServiceExt;

    use super::*;
    use crate::{config::Settings, http::api_router};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_second_waits_for_the_turn_or_hears_why_not() {
        let turns = Arc::new(Semaphore::new(1));
        let first = turn(&turns, soon(), "an audit is under way").await.unwrap();
        let refused = turn(&turns, soon(), "an audit is under way").await.unwrap_err();
        assert_eq!((refused.kind, refused.status), (ProblemKind::Overloaded, 503));
        assert!(refused.detail.starts_with("an audit is under way: try again later"), "{}", refused.detail);
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turn(&turns, soon(), "").await.is_ok() }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(first);
        assert!(waiting.await.unwrap());
    }

    async fn get(node: &Node, path: &str, deadline_ms: u64) -> Response<Body> {
        let request = Request::get(path).header("x-quorate-deadline-ms", deadline_ms).body(Body::empty()).unwrap();
        api_router(node.clone()).oneshot(request).await.unwrap()
    }

    async fn is_busy(node: &Node, path: &str) {
        let answer = get(node, path, 100).await;
        assert_eq!(answer.status(), 503, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
    }

    /// A group of one.
    async fn node(dir: &std::path::Path) -> Node {
        let settings = Settings {
            node_id: Some(1),
            data_dir: Some(dir.to_owned()),
            initial_members: Some(vec!["1=127.0.0.1:1/127.0.0.1:2".to_owned()]),
            ..Settings::default()
        };
        let config = settings.resolve().unwrap();
        let world = World::real(Failpoints::none()).unwrap();
        let options = StorageOptions::new("quorate", 1, 1, WriterMode::Thread, Arc::clone(&world.clocks));
        let storage = Storage::open_file(dir.join("1.redb"), options).unwrap();
        let node = Node::start(config, world, storage).await.unwrap();
        let ends = Instant::now() + Duration::from_secs(30);
        while node.readiness().is_err() {
            assert!(Instant::now() < ends, "it does not become ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        node
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn walks_and_audits_take_turns_off_the_workers() {
        let dir = tempfile::tempdir().unwrap();
        let node = node(dir.path()).await;
        // Two walks, each until it is told to end.
        let mut walks = Vec::new();
        for _ in 0..WALKS_MAX {
            let (end, ended) = mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            let walking = node.clone();
            let walk = tokio::spawn(async move {
                let work = move || {
                    begin.send(()).unwrap();
                    ended.recv().is_err()
                };
                walking.walk(soon(), work).await.unwrap()
            });
            // The one worker goes on meanwhile.
            tokio::time::timeout(Duration::from_secs(30), begun).await.expect("a worker is held up").unwrap();
            walks.push((end, walk));
        }
        for path in ["/v1/orders?limit=1", "/v1/orders?open=true", "/v1/orders?account=a"] {
            is_busy(&node, path).await;
        }
        // One order is found without a walk.
        assert_eq!(get(&node, "/v1/orders?order_id=1", 3_000).await.status(), 200);
        assert_eq!(get(&node, "/v1/orders?account=a&client_order_id=b", 3_000).await.status(), 200);
        for (end, walk) in walks {
            drop(end);
            assert!(walk.await.unwrap());
        }
        assert_eq!(get(&node, "/v1/orders?limit=1", 3_000).await.status(), 200);

        let audit = node.turn_to_audit(soon()).await.unwrap();
        is_busy(&node, "/v1/audit").await;
        drop(audit);
        assert_eq!(get(&node, "/v1/audit", 3_000).await.status(), 200);
        node.shutdown().await;
    }
}
