//! The bridge between openraft and the ledger: applies what is committed, answers whoever waits, hands the
//! frames to the store, and makes and installs snapshots.
//!
//! It translates and never decides: what an entry does is the ledger's business. The ledger lives in
//! memory; a snapshot is durable before the log it covers may be purged, and a restart replays the rest.

use std::{io, mem, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::{
    EntryPayload, LogIdOptionExt, OptionalSend, RaftSnapshotBuilder,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use quorate_api::CheckpointView;
use quorate_domain::Millis;
use quorate_ledger::{DecodeError, Frame, Ledger};
use quorate_log_store::{History, Storage};
use quorate_seams::Failpoints;
use tokio::sync::RwLock;

use super::{
    applied::{Applied, Core, HistoryBase},
    runtime::NodeScope,
    snapshot::{self, SnapshotImage},
    types::{Entry, EntryResponse, LogId, SnapshotMeta, StoredMembership, TypeConfig},
};
use crate::node::{StartError, StopCell, StopReason};

/// Entries applied under one hold of the lock.
const APPLY_CHUNK: usize = 64;
/// A checkpoint is taken at every index that this divides.
pub(crate) const CHECKPOINT_EVERY: u64 = 16_384;
/// Bytes that most frames do not exceed: a longer one makes its buffer grow.
const RECORD_USUAL: usize = 512;
/// Frames read at a time while the oldest are carried forward.
const PRUNE_CHUNK: usize = 1_024;
/// Bytes of frames read at a time likewise.
const PRUNE_CHUNK_BYTES: usize = 1 << 20;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotImage>;

/// What the state machine, its builders and the snapshots it sends have in common.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) applied: Arc<Applied>,
    pub(crate) storage: Storage,
    pub(crate) scope: NodeScope,
    pub(crate) failpoints: Failpoints,
    pub(crate) stop: StopCell,
    /// Written while snapshot and history change, read while they are sent.
    pub(crate) pruning: Arc<RwLock<()>>,
    /// Frames that are kept behind a snapshot.
    pub(crate) retention: u64,
    pub(crate) counts: Arc<SnapshotCounts>,
}

/// Snapshots built and installed.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCounts {
    pub(crate) built: crate::node::Counter,
    pub(crate) installed: crate::node::Counter,
    /// Sent to a peer, and not taken.
    pub(crate) failed: crate::node::Counter,
}

/// See the module.
pub struct StateMachine {
    shared: Shared,
}

/// Recovers from `storage` what was there at the last snapshot.
pub(crate) async fn recover(storage: &Storage) -> Result<Applied, StartError> {
    let unreadable = |error: io::Error| StartError::Storage(error.to_string());
    let base = storage.history_base();
    let base = if base.is_empty() {
        HistoryBase::default()
    } else {
        postcard::from_bytes(&base).map_err(|error| StartError::Storage(format!("history base: {error}")))?
    };
    let Some(stored) = storage.load_snapshot().await.map_err(unreadable)? else {
        return Ok(Applied::new(Ledger::new(), None, StoredMembership::default(), base));
    };
    let meta = snapshot::decode_meta(&stored.meta).map_err(unreadable)?;
    let ledger = Ledger::decode(&stored.payload).map_err(|error| match error {
        DecodeError::Version(_) | DecodeError::Format { .. } => StartError::Unsupported(error.to_string()),
        DecodeError::Damaged(_) | DecodeError::Violations(_) => StartError::Storage(error.to_string()),
    })?;
    Ok(Applied::new(ledger, meta.last_log_id, meta.last_membership, base))
}

/// What became of a chunk of entries.
#[derive(Default)]
struct Done {
    answers: Vec<(ApplyResponder<TypeConfig>, EntryResponse)>,
    frames: Vec<Arc<Frame>>,
    checkpoints: Vec<(u64, Ledger)>,
}

impl StateMachine {
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared }
    }

    fn apply_chunk(
        &self,
        core: &mut Core,
        chunk: Vec<io::Result<EntryResponder<TypeConfig>>>,
        done: &mut Done,
    ) -> io::Result<()> {
        for item in chunk {
            let (entry, responder) = item?;
            self.shared.failpoints.hit("state.apply.before")?;
            let index = entry.log_id.index;
            let (frame, answer) = self.apply_entry(core, entry)?;
            core.push(Arc::clone(&frame));
            done.frames.push(frame);
            if index.is_multiple_of(CHECKPOINT_EVERY) && index > 0 {
                done.checkpoints.push((index, core.ledger.clone()));
            }
            if let Some(responder) = responder {
                done.answers.push((responder, answer));
            }
            self.shared.failpoints.hit("state.apply.after")?;
        }
        Ok(())
    }

    fn apply_entry(&self, core: &mut Core, entry: Entry) -> io::Result<(Arc<Frame>, EntryResponse)> {
        let log_id = entry.log_id;
        let (events, answer) = match entry.payload {
            EntryPayload::Normal(proposal) => {
                if let Err(what) = core.ledger.supports(&proposal.input) {
                    let reason = StopReason::Unsupported { index: log_id.index, what: what.to_string() };
                    self.shared.stop.set(reason.clone());
                    return Err(io::Error::other(reason));
                }
                // For tests of what a state that differs does: this one has another log time.
                let differs = self.shared.failpoints.hit("state.apply.diverge").is_err();
                let stamp = if differs { Millis(proposal.stamp.0 + 1) } else { proposal.stamp };
                let (response, events) = core.ledger.apply(log_id.index, stamp, &proposal.input);
                (events, EntryResponse::Ledger(response))
            }
            EntryPayload::Blank => (Vec::new(), EntryResponse::None),
            EntryPayload::Membership(membership) => {
                core.membership = StoredMembership::new(Some(log_id), membership);
                (Vec::new(), EntryResponse::None)
            }
        };
        core.last = Some(log_id);
        let (log_time, chain) = (core.ledger.log_time(), core.ledger.chain());
        Ok((Arc::new(Frame { index: log_id.index, log_time, chain, events }), answer))
    }

    /// Digests are computed off the way of the entries.
    fn take_checkpoints(&self, checkpoints: Vec<(u64, Ledger)>) {
        for (index, ledger) in checkpoints {
            let shared = self.shared.clone();
            let generation = shared.applied.generation();
            self.shared.scope.spawn(async move {
                let digest = shared.scope.blocking(move || (ledger.chain(), ledger.state_digest())).await;
                if let Ok((chain, state)) = digest {
                    shared.applied.remember(CheckpointView { index, chain, state }, generation);
                }
            });
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotImage;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let core = self.shared.applied.lock();
        Ok((core.last, core.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_CHUNK);
        while let Some(chunk) = chunks.next().await {
            let mut done = Done::default();
            let applied = {
                let mut core = self.shared.applied.lock();
                let applied = self.apply_chunk(&mut core, chunk, &mut done);
                self.shared.applied.publish(core);
                applied
            };
            // What was applied is answered, whatever became of the entry after it.
            for (responder, answer) in mem::take(&mut done.answers) {
                responder.send(answer);
            }
            self.take_checkpoints(mem::take(&mut done.checkpoints));
            self.shared.storage.put_frames(encode_frames(&done.frames)?).await?;
            applied?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let core = self.shared.applied.lock();
        Builder {
            ledger: core.ledger.clone(),
            meta: SnapshotMeta { last_log_id: core.last, last_membership: core.membership.clone() },
            generation: self.shared.applied.generation(),
            shared: self.shared.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, image: SnapshotImage) -> io::Result<()> {
        let shared = &self.shared;
        shared.failpoints.hit("snapshot.install.before")?;
        let payload = image.ledger.clone();
        let ledger = shared.scope.blocking(move || Ledger::decode(&payload)).await?.map_err(|error| {
            let index = meta.last_log_id.map_or(0, |last| last.index);
            let reason = match error {
                DecodeError::Version(_) | DecodeError::Format { .. } => {
                    StopReason::Unsupported { index, what: error.to_string() }
                }
                DecodeError::Damaged(_) | DecodeError::Violations(_) => {
                    StopReason::Failed(format!("the snapshot received at index {index}: {error}"))
                }
            };
            shared.stop.set(reason.clone());
            io::Error::other(reason)
        })?;
        let _changing = shared.pruning.write().await;
        let base = match image.history {
            Some(history) => {
                let kept = History {
                    first_index: history.base.first_index,
                    base: encode(&history.base)?,
                    frames: history.frames,
                };
                shared.storage.install_snapshot(snapshot::encode_meta(meta)?, image.ledger, kept).await?;
                shared.counts.installed.add(1);
                history.base
            }
            // This node's own, at its start: its history is in the store.
            None => HistoryBase::clone(&shared.applied.base()),
        };
        shared.applied.replace(ledger, meta.last_log_id, meta.last_membership.clone(), base);
        tracing::info!(meta = %meta, "installed a snapshot");
        shared.failpoints.hit("snapshot.install.after")
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(stored) = self.shared.storage.load_snapshot().await? else { return Ok(None) };
        let meta = snapshot::decode_meta(&stored.meta)?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotImage { ledger: stored.payload, history: None } }))
    }
}

/// A consistent view, from which a snapshot is built beside further applies.
pub struct Builder {
    shared: Shared,
    ledger: Ledger,
    meta: SnapshotMeta,
    generation: u64,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotImage;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let shared = &self.shared;
        shared.failpoints.hit("snapshot.build")?;
        let ledger = self.ledger.clone();
        let payload = Bytes::from(shared.scope.blocking(move || ledger.encode()).await?);
        let _changing = shared.pruning.write().await;
        // A snapshot installed meanwhile is newer than this one.
        if shared.applied.generation() == self.generation {
            shared.storage.save_snapshot(snapshot::encode_meta(&self.meta)?, payload.clone()).await?;
            shared.counts.built.add(1);
            tracing::info!(meta = %self.meta, bytes = payload.len(), "built a snapshot");
            if payload.len() > snapshot::SNAPSHOT_MAX {
                tracing::warn!(
                    bytes = payload.len(),
                    bound = snapshot::SNAPSHOT_MAX,
                    "the state alone is larger than a snapshot that a peer takes: a node that falls far behind cannot come \
                     back; close sessions that nobody uses"
                );
            }
            let keep_from = self.meta.last_log_id.next_index().saturating_sub(shared.retention);
            prune(shared, keep_from).await?;
        }
        Ok(Snapshot { meta: self.meta.clone(), snapshot: SnapshotImage { ledger: payload, history: None } })
    }
}

/// Drops the frames before `keep_from`, and carries their fills forward.
async fn prune(shared: &Shared, keep_from: u64) -> io::Result<()> {
    let mut base = HistoryBase::clone(&shared.applied.base());
    if keep_from <= base.first_index {
        return Ok(());
    }
    while base.first_index < keep_from {
        let limit = usize::try_from(keep_from - base.first_index).unwrap_or(PRUNE_CHUNK).min(PRUNE_CHUNK);
        let frames = shared.storage.read_frames(base.first_index, limit, PRUNE_CHUNK_BYTES).await?;
        for (index, frame) in &frames {
            let frame: Frame = postcard::from_bytes(frame).map_err(io::Error::other)?;
            if *index != base.first_index || frame.index != *index {
                return Err(io::Error::other(format!("frame {} is missing from the history", base.first_index)));
            }
            base.carry(&frame);
        }
        if frames.is_empty() {
            return Err(io::Error::other(format!("frame {} is missing from the history", base.first_index)));
        }
    }
    // First for readers, then in the store: nobody is sent to the store for what it no longer has.
    let (first_index, record) = (base.first_index, encode(&base)?);
    shared.applied.lock().rebase(Arc::new(base));
    Ok(shared.storage.prune_frames_below(first_index, record).await?)
}

fn encode_frames(frames: &[Arc<Frame>]) -> io::Result<Vec<(u64, Bytes)>> {
    frames.iter().map(|frame| Ok((frame.index, encode(&**frame)?))).collect()
}

fn encode<T: serde::Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_io(value, Vec::with_capacity(RECORD_USUAL)).map(Bytes::from).map_err(io::Error::other)
}
