//! What the parts of one client share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quorate_seams::World;
use tokio::sync::Semaphore;

use crate::{
    config::ClientConfig,
    lane::{Lane, look_now_and_then},
    nodes::Nodes,
    observer::{CallId, Observer, Operation, Returned},
    wire::Wire,
};

/// One client, but for its handle.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) config: ClientConfig,
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) wire: Wire,
    pub(crate) lanes: Vec<Arc<Lane>>,
    /// Which lane the next session takes, and which stream of randomness the next task.
    pub(crate) next: AtomicU64,
    /// Bounds the commands held.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) calls: Arc<Calls>,
}

impl Shared {
    /// A number that no other caller gets.
    pub(crate) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps up with the members also where there are no commands to send: who only reads must find its way too, once
    /// every endpoint that it was told has been replaced.
    pub(crate) fn look_at_topology(&self) {
        look_now_and_then(&self.nodes, &self.wire, &self.world.tasks, self.config.call_timeout);
    }

    /// The lane for a new session.
    pub(crate) fn next_lane(&self) -> Arc<Lane> {
        let count = self.lanes.len() as u64;
        let at = usize::try_from(self.next() % count).unwrap_or(0);
        self.lanes[at].clone()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| lane.close());
    }
}

/// Numbers the calls and tells the observer of them.
#[derive(Debug)]
pub(crate) struct Calls {
    observer: Option<Arc<dyn Observer>>,
    next: AtomicU64,
}

impl Calls {
    pub(crate) fn new(observer: Option<Arc<dyn Observer>>) -> Self {
        Self { observer, next: AtomicU64::new(1) }
    }

    pub(crate) fn invoked(&self, operation: &Operation<'_>) -> CallId {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(observer) = &self.observer {
            observer.invoked(call, operation);
        }
        call
    }

    pub(crate) fn returned(&self, call: CallId, returned: &Returned<'_>) {
        if let Some(observer) = &self.observer {
            observer.returned(call, returned);
        }
    }
}
