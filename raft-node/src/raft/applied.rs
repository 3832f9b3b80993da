//! What this node has applied, for everybody who reads: the ledger, the recent frames, the checkpoints.
//!
//! The state machine alone changes it. Readers take a clone of the ledger, which is cheap, and never hold
//! the lock while they work; the lock never crosses an `await`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openraft::LogIdOptionExt;
use quorate_api::{CheckpointView, OpeningBalance};
use quorate_domain::{Millis, Symbol};
use quorate_ledger::{Digest, Frame, Ledger};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::types::{LogId, StoredMembership};
use crate::node::{
    Snapshot,
    verdict::{Claim, Digests},
};

/// Frames kept in memory, beside the store, for readers that keep up.
const RECENT_MAX: usize = 4_096;
/// Checkpoints remembered.
const CHECKPOINTS_MAX: usize = 8;

/// How far this node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// The index after the last one applied.
    next: u64,
    /// The term of the last entry applied.
    term: u64,
    /// The chain of digests up to it.
    chain: Digest,
    /// Grows when a snapshot replaces the state.
    generation: u64,
}

/// Where the kept history begins, and what came before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryBase {
    /// The first index whose frame is kept.
    pub(crate) first_index: u64,
    balances: BTreeMap<Symbol, OpeningBalance>,
}

impl HistoryBase {
    /// Takes in the frame at `first_index`, which is dropped.
    pub(crate) fn carry(&mut self, frame: &Frame) {
        frame.events.iter().for_each(|event| OpeningBalance::carry(&mut self.balances, event));
        self.first_index = frame.index + 1;
    }

    pub(crate) fn opening_balances(&self) -> Vec<OpeningBalance> {
        self.balances.values().cloned().collect()
    }

    pub(crate) fn from_opening(first_index: u64, opening: Vec<OpeningBalance>) -> Self {
        let balances = opening.into_iter().map(|balance| (balance.symbol.clone(), balance));
        Self { first_index, balances: balances.collect() }
    }
}

/// What memory says of an index.
pub(crate) enum Recent {
    /// The frames from it on.
    Frames(Vec<Arc<Frame>>),
    /// It is older than memory: the store has it.
    Older,
    /// It is no longer kept; this is the first that is.
    Gone(u64),
    /// It is not applied yet.
    NotYet,
}

/// The state, under the lock.
pub(crate) struct Core {
    pub(crate) ledger: Ledger,
    pub(crate) last: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) base: Arc<HistoryBase>,
    recent: VecDeque<Arc<Frame>>,
    checkpoints: VecDeque<CheckpointView>,
}

/// See the module.
pub(crate) struct Applied {
    core: Mutex<Core>,
    progress: watch::Sender<Progress>,
}

impl Applied {
    pub(crate) fn new(ledger: Ledger, last: Option<LogId>, membership: StoredMembership, base: HistoryBase) -> Self {
        let (next, term, chain) = (last.next_index(), term_of(last.as_ref()), ledger.chain());
        let progress = Progress { next, term, chain, generation: 0 };
        let core = Core {
            ledger,
            last,
            membership,
            base: Arc::new(base),
            recent: VecDeque::new(),
            checkpoints: VecDeque::new(),
        };
        Self { core: Mutex::new(core), progress: watch::Sender::new(progress) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody how far `core` is.
    pub(crate) fn publish(&self, core: MutexGuard<'_, Core>) {
        let (next, term, chain) = (core.last.next_index(), term_of(core.last.as_ref()), core.ledger.chain());
        drop(core);
        self.progress.send_modify(|progress| {
            *progress = Progress { next, term, chain, generation: progress.generation };
        });
    }

    /// Puts another state in place of this one; every stream of frames is cut.
    pub(crate) fn replace(&self, ledger: Ledger, last: Option<LogId>, membership: StoredMembership, base: HistoryBase) {
        let (next, term, chain) = (last.next_index(), term_of(last.as_ref()), ledger.chain());
        let mut core = self.lock();
        *core = Core {
            ledger,
            last,
            membership,
            base: Arc::new(base),
            recent: VecDeque::new(),
            checkpoints: VecDeque::new(),
        };
        drop(core);
        self.progress.send_modify(|progress| {
            *progress = Progress { next, term, chain, generation: progress.generation + 1 };
        });
    }

    /// The last index applied, 0 where there is none.
    pub(crate) fn index(&self) -> u64 {
        self.progress.borrow().next.saturating_sub(1)
    }

    /// What this node has at the last index applied, where there is one. Takes no lock that an apply holds.
    pub(crate) fn latest(&self) -> Option<Claim> {
        let progress = self.progress.borrow();
        let digests = Digests { chain: progress.chain, state: None };
        progress.next.checked_sub(1).map(|index| Claim { index, digests })
    }

    /// The chain at `index`, where memory has it.
    pub(crate) fn chain_at(&self, index: u64) -> Option<Digest> {
        let core = self.lock();
        if core.last.is_some_and(|last| last.index == index) {
            return Some(core.ledger.chain());
        }
        let offset = index.checked_sub(core.recent.front()?.index)?;
        core.recent.get(usize::try_from(offset).ok()?).map(|frame| frame.chain)
    }

    pub(crate) fn generation(&self) -> u64 {
        self.progress.borrow().generation
    }

    pub(crate) fn log_time(&self) -> Millis {
        self.lock().ledger.log_time()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.lock().ledger.next_deadline()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let core = self.lock();
        Snapshot {
            ledger: core.ledger.clone(),
            applied_index: core.last.next_index().saturating_sub(1),
            first_event_index: core.base.first_index,
        }
    }

    pub(crate) fn base(&self) -> Arc<HistoryBase> {
        Arc::clone(&self.lock().base)
    }

    pub(crate) fn first_index(&self) -> u64 {
        self.lock().base.first_index
    }

    /// Whether `index` is applied by `deadline`.
    pub(crate) async fn wait(&self, index: u64, deadline: Instant) -> bool {
        timeout_at(deadline, self.wait_index(index)).await.is_ok()
    }

    /// Resolves when `index` is applied.
    pub(crate) async fn wait_index(&self, index: u64) {
        let mut progress = self.progress.subscribe();
        // The sender lives as long as `self`.
        drop(progress.wait_for(|now| now.next > index).await);
    }

    /// Resolves when `index` is applied, or the state was replaced.
    pub(crate) async fn wait_for_frame(&self, index: u64) {
        let mut progress = self.progress.subscribe();
        let generation = progress.borrow().generation;
        let reached = |now: &Progress| now.next > index || now.generation != generation;
        // The sender lives as long as `self`.
        drop(progress.wait_for(reached).await);
    }

    /// Whether an entry of `term` (or a later one) is applied within `patience`.
    pub(crate) async fn wait_term(&self, term: u64, patience: std::time::Duration) -> bool {
        let mut progress = self.progress.subscribe();
        tokio::time::timeout(patience, progress.wait_for(|now| now.term >= term)).await.is_ok()
    }

    /// At most `limit` frames from `from` on, out of memory.
    pub(crate) fn recent(&self, from: u64, limit: usize) -> Recent {
        let core = self.lock();
        if from >= core.last.next_index() {
            return Recent::NotYet;
        }
        if from < core.base.first_index {
            return Recent::Gone(core.base.first_index);
        }
        let offset = core.recent.front().and_then(|first| from.checked_sub(first.index));
        match offset.and_then(|offset| usize::try_from(offset).ok()) {
            Some(offset) => Recent::Frames(core.recent.iter().skip(offset).take(limit).cloned().collect()),
            None => Recent::Older,
        }
    }

    pub(crate) fn checkpoints(&self) -> Vec<CheckpointView> {
        self.lock().checkpoints.iter().cloned().collect()
    }

    /// Remembers a checkpoint of the state that is `generation`.
    pub(crate) fn remember(&self, checkpoint: CheckpointView, generation: u64) {
        if self.generation() != generation {
            return;
        }
        let mut core = self.lock();
        core.checkpoints.push_back(checkpoint);
        if core.checkpoints.len() > CHECKPOINTS_MAX {
            core.checkpoints.pop_front();
        }
    }
}

impl Core {
    /// Keeps a frame in memory, in place of the oldest where there are many.
    pub(crate) fn push(&mut self, frame: Arc<Frame>) {
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(frame);
    }

    /// Frames dropped from the store are dropped from memory too.
    pub(crate) fn rebase(&mut self, base: Arc<HistoryBase>) {
        while self.recent.front().is_some_and(|first| first.index < base.first_index) {
            self.recent.pop_front();
        }
        self.base = base;
    }
}

fn term_of(last: Option<&LogId>) -> u64 {
    last.map_or(0, |log_id| log_id.committed_leader_id().term)
}
