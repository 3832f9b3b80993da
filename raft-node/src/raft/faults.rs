//! The fault switch: makes one node's peer traffic vanish as a partition would, for tests and demos.
//!
//! A call to or from a peer that is cut off hangs until its deadline; streams under way end. Without
//! `fault_injection` the switch cannot be set.

use std::sync::Arc;

use quorate_api::Faults;
use tokio::sync::watch;

use crate::node::counters::Counter;

/// One node's switch. Clones are the same switch.
#[derive(Clone, Debug)]
pub(crate) struct FaultSwitch {
    enabled: bool,
    state: watch::Sender<Faults>,
    dropped: Arc<Counter>,
}

impl FaultSwitch {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, state: watch::Sender::new(Faults::default()), dropped: Arc::default() }
    }

    /// Sets it; false where it is not there.
    pub(crate) fn set(&self, faults: Faults) -> bool {
        if self.enabled {
            self.state.send_replace(faults);
        }
        self.enabled
    }

    pub(crate) fn get(&self) -> Faults {
        self.state.borrow().clone()
    }

    /// How many calls, answers and streams it made vanish.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    async fn lose(&self) {
        self.dropped.add(1);
        std::future::pending().await
    }

    /// Whether what is sent to `peer` arrives.
    pub(crate) fn sends_to(&self, peer: u64) -> bool {
        !self.enabled || !self.state.borrow().drop_to.contains(&peer)
    }

    /// Whether what `peer` sends arrives.
    pub(crate) fn takes_from(&self, peer: u64) -> bool {
        !self.enabled || !self.state.borrow().drop_from.contains(&peer)
    }

    /// Hangs while nothing sent to `peer` arrives, and for good: a lost message does not come later.
    pub(crate) async fn pass_to(&self, peer: u64) {
        if !self.sends_to(peer) {
            self.lose().await;
        }
    }

    /// Hangs for good where nothing from `peer` arrives.
    pub(crate) async fn pass_from(&self, peer: u64) {
        if !self.takes_from(peer) {
            self.lose().await;
        }
    }

    /// Resolves once a stream with `peer` is cut in either direction.
    pub(crate) async fn cut(&self, peer: u64) {
        if !self.enabled {
            return std::future::pending().await;
        }
        let mut state = self.state.subscribe();
        let cut = |faults: &Faults| faults.drop_to.contains(&peer) || faults.drop_from.contains(&peer);
        if state.wait_for(cut).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.dropped.add(1);
    }
}
