//! A snapshot between nodes: the ledger, and the history that is kept, in checked parts of bounded size.
//!
//! Invariant: what is received is installed whole or not at all; its frames run without a gap from the
//! base's first index to the snapshot's last.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use openraft::{LogIdOptionExt, alias::SnapshotOf};
use quorate_log_store::Storage;
use quorate_seams::Body;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::{
    applied::{Applied, HistoryBase},
    types::{SnapshotMeta, TypeConfig, Vote},
    wire::{self, FrameReader, SnapshotPart},
};

/// Bytes of the ledger in one part.
const LEDGER_PART: usize = 256 << 10;
/// Frames in one part.
const FRAMES_PART: usize = 512;
/// Bytes of frames in one part.
const FRAMES_PART_BYTES: usize = 256 << 10;
/// Bytes of a whole snapshot at most; a larger one is refused while it is received.
pub(crate) const SNAPSHOT_MAX: usize = 512 << 20;

/// What is to be done about a snapshot that is too large.
pub(crate) const TOO_LARGE_CURE: &str = "start the nodes with a lower --event-retention, for the history that is kept \
     is sent along, and close sessions that nobody uses";

/// A snapshot's content.
#[derive(Debug, Clone)]
pub struct SnapshotImage {
    /// The ledger, encoded.
    pub(crate) ledger: Bytes,
    /// The history that came with it; `None` where it lies in this node's own store.
    pub(crate) history: Option<ReceivedHistory>,
}

/// History on its way into the store.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedHistory {
    pub(crate) base: HistoryBase,
    /// Encoded frames by index, without a gap.
    pub(crate) frames: Vec<(u64, Bytes)>,
}

/// Where a snapshot that is sent takes its history from.
#[derive(Clone)]
pub(crate) struct HistorySource {
    pub(crate) applied: Arc<Applied>,
    pub(crate) storage: Storage,
    /// Held for reading while frames are read, for writing while some are dropped.
    pub(crate) pruning: Arc<RwLock<()>>,
}

type Snapshot = SnapshotOf<TypeConfig, SnapshotImage>;

/// What is sent next.
enum Stage {
    Begin { vote: Vote, snapshot: Snapshot },
    Ledger { sending: Sending, ledger: Bytes },
    Frames { sending: Sending },
    End,
}

struct Sending {
    /// The history is not pruned while it is sent.
    _unpruned: OwnedRwLockReadGuard<()>,
    next: u64,
    /// The index after the snapshot's last.
    end: u64,
    ledger_bytes: u64,
    frames: u64,
}

/// `snapshot` as the body of a request.
pub(crate) fn parts(
    vote: Vote,
    snapshot: Snapshot,
    source: HistorySource,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    stream::unfold((Stage::Begin { vote, snapshot }, source), |(stage, source)| async move {
        let (part, next) = match step(stage, &source).await {
            Ok(Some((part, next))) => (wire::encode(&part), next),
            Ok(None) => return None,
            Err(error) => (Err(error), Stage::End),
        };
        Some((part, (next, source)))
    })
}

async fn step(stage: Stage, source: &HistorySource) -> io::Result<Option<(SnapshotPart, Stage)>> {
    let step = match stage {
        Stage::Begin { vote, snapshot } => {
            let unpruned = Arc::clone(&source.pruning).read_owned().await;
            let base = source.applied.base();
            let end = snapshot.meta.last_log_id.next_index();
            if base.first_index > end {
                return Err(io::Error::other("a newer snapshot took this one's place: send that one"));
            }
            let sending = Sending {
                _unpruned: unpruned,
                next: base.first_index,
                end,
                ledger_bytes: snapshot.snapshot.ledger.len() as u64,
                frames: 0,
            };
            let begin = SnapshotPart::Begin {
                vote,
                meta: snapshot.meta,
                first_index: base.first_index,
                opening: base.opening_balances(),
            };
            (begin, Stage::Ledger { sending, ledger: snapshot.snapshot.ledger })
        }
        Stage::Ledger { sending, mut ledger } if !ledger.is_empty() => {
            let part = ledger.split_to(LEDGER_PART.min(ledger.len()));
            (SnapshotPart::Ledger(part.to_vec()), Stage::Ledger { sending, ledger })
        }
        Stage::Ledger { sending, .. } | Stage::Frames { sending } if sending.next < sending.end => {
            send_frames(sending, source).await?
        }
        Stage::Ledger { sending, .. } | Stage::Frames { sending } => {
            let end = SnapshotPart::End { ledger_bytes: sending.ledger_bytes, frames: sending.frames };
            (end, Stage::End)
        }
        Stage::End => return Ok(None),
    };
    Ok(Some(step))
}

async fn send_frames(mut sending: Sending, source: &HistorySource) -> io::Result<(SnapshotPart, Stage)> {
    let limit = usize::try_from(sending.end - sending.next).unwrap_or(FRAMES_PART).min(FRAMES_PART);
    let frames = source.storage.read_frames(sending.next, limit, FRAMES_PART_BYTES).await?;
    check_contiguous(sending.next, &frames)?;
    sending.next += frames.len() as u64;
    sending.frames += frames.len() as u64;
    let frames = frames.into_iter().map(|(index, frame)| (index, frame.to_vec())).collect();
    Ok((SnapshotPart::Frames(frames), Stage::Frames { sending }))
}

fn check_contiguous(from: u64, frames: &[(u64, Bytes)]) -> io::Result<()> {
    let missing = frames.iter().zip(from..).find(|((index, _), expected)| index != expected);
    match missing.map(|(_, expected)| expected).or(frames.is_empty().then_some(from)) {
        Some(missing) => Err(io::Error::other(format!("frame {missing} is missing from the history"))),
        None => Ok(()),
    }
}

/// A snapshot out of the body of a request.
pub(crate) async fn receive(body: Body) -> io::Result<(Vote, Snapshot)> {
    let mut reader = FrameReader::new(body);
    let Some(SnapshotPart::Begin { vote, meta, first_index, opening }) = reader.next().await? else {
        return Err(io::Error::other("a snapshot begins with its description"));
    };
    let mut receiving = Receiving {
        ledger: BytesMut::new(),
        frames: Vec::new(),
        frame_bytes: 0,
        next: first_index,
        end: meta.last_log_id.next_index(),
    };
    loop {
        match reader.next().await? {
            Some(SnapshotPart::Ledger(part)) => receiving.ledger.extend_from_slice(&part),
            Some(SnapshotPart::Frames(frames)) => receiving.take(frames)?,
            Some(SnapshotPart::End { ledger_bytes, frames }) => {
                receiving.check(ledger_bytes, frames)?;
                break;
            }
            Some(SnapshotPart::Begin { .. }) => return Err(io::Error::other("a snapshot begins once")),
            None => return Err(io::Error::other("the snapshot breaks off")),
        }
        if receiving.ledger.len() + receiving.frame_bytes > SNAPSHOT_MAX {
            tracing::warn!(
                bytes = receiving.ledger.len() + receiving.frame_bytes,
                frames = receiving.frames.len(),
                "the snapshot that the leader sends is too large to be taken: this node stays behind; {TOO_LARGE_CURE}"
            );
            return Err(io::Error::other(format!("a snapshot has at most {SNAPSHOT_MAX} bytes")));
        }
    }
    let base = HistoryBase::from_opening(first_index, opening);
    let history = Some(ReceivedHistory { base, frames: receiving.frames });
    Ok((vote, openraft::Snapshot { meta, snapshot: SnapshotImage { ledger: receiving.ledger.freeze(), history } }))
}

struct Receiving {
    ledger: BytesMut,
    frames: Vec<(u64, Bytes)>,
    frame_bytes: usize,
    next: u64,
    end: u64,
}

impl Receiving {
    fn take(&mut self, frames: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        for (index, frame) in frames {
            if index != self.next {
                return Err(io::Error::other(format!("frame {index} came where {} was due", self.next)));
            }
            self.next += 1;
            self.frame_bytes += frame.len();
            self.frames.push((index, Bytes::from(frame)));
        }
        Ok(())
    }

    fn check(&self, ledger_bytes: u64, frames: u64) -> io::Result<()> {
        if self.ledger.len() as u64 != ledger_bytes || self.frames.len() as u64 != frames || self.next != self.end {
            return Err(io::Error::other("the snapshot's parts do not add up"));
        }
        Ok(())
    }
}

/// `meta` as it is kept.
pub(crate) fn encode_meta(meta: &SnapshotMeta) -> io::Result<Bytes> {
    postcard::to_stdvec(meta).map(Bytes::from).map_err(io::Error::other)
}

/// What was kept.
pub(crate) fn decode_meta(bytes: &[u8]) -> io::Result<SnapshotMeta> {
    postcard::from_bytes(bytes).map_err(io::Error::other)
}
