//! Streams of frames: from memory while they are recent, from the store where they are older.
//!
//! Invariant: the frames of one stream follow one another without a gap; where they cannot, the stream
//! ends and says why.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::Bytes;
use futures_util::stream;
use quorate_api::{Problem, ProblemKind};
use quorate_ledger::Frame;
use quorate_planted::{Bug, planted};
use tokio::time::timeout;

use super::{FrameStream, HISTORY_PAGE_MAX, HistoryPage, Inner, KEEP_ALIVE, Node, StreamEnd, StreamItem};
use crate::raft::applied::Recent;

/// Frames taken from memory or the store at a time.
const CHUNK: usize = 256;
/// Bytes of frames taken from the store at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of frames from the store in one page of the history; the page ends there, and says where to go on.
const PAGE_BYTES: usize = 4 << 20;

impl Node {
    /// Frames from `from_index` on (inclusive), those still to come included.
    #[must_use]
    pub fn frames(&self, from_index: u64) -> FrameStream {
        let reader = Reader {
            _open: self.inner.counters.streams.open(),
            generation: self.inner.applied.generation(),
            node: Arc::clone(&self.inner),
            next: from_index,
            ready: VecDeque::new(),
        };
        Box::pin(stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(item) => Some((Ok(item), Some(reader))),
                Err(end) => Some((Err(end), None)),
            }
        }))
    }

    /// Frames that are kept, from `from_index` on, at most `limit` (and [`HISTORY_PAGE_MAX`]). `from_index`
    /// below the first kept index starts at that one.
    ///
    /// # Errors
    /// `Internal` where the history cannot be read.
    pub async fn history(&self, from_index: u64, limit: usize) -> Result<HistoryPage, Problem> {
        self.inner
            .history_page(from_index, limit.min(HISTORY_PAGE_MAX))
            .await
            .map_err(|error| Problem::new(ProblemKind::Internal, format!("the history cannot be read: {error}")))
    }
}

struct Reader {
    node: Arc<Inner>,
    next: u64,
    generation: u64,
    ready: VecDeque<Arc<Frame>>,
    _open: super::counters::Open,
}

impl Reader {
    async fn next(&mut self) -> Result<StreamItem, StreamEnd> {
        loop {
            if self.node.stop_reason().is_some() {
                return Err(StreamEnd::Stopped);
            }
            if self.node.is_suspended() {
                return Err(StreamEnd::Suspended);
            }
            if self.node.applied.generation() != self.generation && planted(Bug::SkipEventsAfterSnapshot) {
                self.generation = self.node.applied.generation();
                self.next = self.next.max(self.node.applied.index() + 1);
            }
            if self.node.applied.generation() != self.generation {
                return Err(StreamEnd::Cut);
            }
            if let Some(frame) = self.ready.pop_front() {
                self.next = frame.index + 1;
                return Ok(StreamItem::Frame(frame));
            }
            match self.node.applied.recent(self.next, CHUNK) {
                Recent::Frames(frames) => self.ready = frames.into(),
                Recent::Older => self.ready = self.stored().await?.into(),
                Recent::Gone(first_index) => return Err(StreamEnd::Gone { first_index }),
                Recent::NotYet => {
                    if self.node.leader().is_none() {
                        return Err(StreamEnd::NoLeader);
                    }
                    if self.node.is_stalled() {
                        return Err(StreamEnd::Behind);
                    }
                    let more = async {
                        tokio::select! {
                            biased;
                            () = self.node.applied.wait_for_frame(self.next) => {}
                            _ = self.node.stop.wait() => {}
                            () = self.node.wait_suspended() => {}
                        }
                    };
                    if timeout(KEEP_ALIVE, more).await.is_err() {
                        return Ok(StreamItem::Applied(self.node.applied.index()));
                    }
                }
            }
        }
    }

    async fn stored(&self) -> Result<Vec<Arc<Frame>>, StreamEnd> {
        let frames = self.node.stored_frames(self.next, CHUNK).await;
        let (frames, _) = frames.map_err(|error| StreamEnd::Broken(error.to_string()))?;
        match frames.first() {
            Some(first) if first.index == self.next => Ok(frames),
            // Dropped between the look into memory and the look into the store.
            _ => Err(StreamEnd::Gone { first_index: self.node.applied.first_index() }),
        }
    }
}

impl Inner {
    /// Frames from the store, and their bytes there.
    pub(super) async fn stored_frames(&self, from: u64, limit: usize) -> io::Result<(Vec<Arc<Frame>>, usize)> {
        let frames = self.storage.read_frames(from, limit, CHUNK_BYTES).await?;
        let bytes = frames.iter().map(|(_, frame)| frame.len()).sum();
        let decode = |(_, frame): (u64, Bytes)| postcard::from_bytes(&frame).map(Arc::new).map_err(io::Error::other);
        let decoded = self.scope.blocking(move || frames.into_iter().map(decode).collect::<io::Result<_>>()).await??;
        Ok((decoded, bytes))
    }

    async fn history_page(&self, from_index: u64, limit: usize) -> io::Result<HistoryPage> {
        loop {
            let base = self.applied.base();
            let from = from_index.max(base.first_index);
            let mut frames = Vec::new();
            let mut bytes = 0;
            while frames.len() < limit && bytes < PAGE_BYTES {
                let next = from + frames.len() as u64;
                match self.applied.recent(next, limit - frames.len()) {
                    Recent::Frames(more) => frames.extend(more),
                    Recent::Older => {
                        let (more, read) = self.stored_frames(next, limit - frames.len()).await?;
                        bytes += read;
                        if more.first().is_none_or(|first| first.index != next) {
                            break;
                        }
                        frames.extend(more);
                    }
                    Recent::Gone(_) | Recent::NotYet => break,
                }
            }
            // Dropped or replaced meanwhile: the opening balances would not fit the frames.
            if self.applied.base().first_index != base.first_index {
                continue;
            }
            let end = from + frames.len() as u64;
            let next_from = (end <= self.applied.index() && !frames.is_empty()).then_some(end);
            return Ok(HistoryPage {
                first_index: base.first_index,
                opening: base.opening_balances(),
                frames,
                next_from,
            });
        }
    }
}
