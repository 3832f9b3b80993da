//! The stream of events: frames in index order, over changes of the node that sends them.
//!
//! Invariant: each log index has a frame, and each comes once, in order; none is left out unless
//! [`StreamItem::Resync`] says so. A node that skips one is not believed.

use futures_util::StreamExt;
use http_body_util::BodyDataStream;
use quorate_api::{Problem, ProblemKind, paths};
use quorate_domain::Millis;
use quorate_ledger::Frame;
use serde::Deserialize;
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};

use crate::{
    backoff::Backoff,
    client::Client,
    config::{EVENT_MAX_BYTES, STREAM_BEHIND_MAX, STREAM_BUFFER},
    nodes::Target,
    sse::{SseEvent, SseReader},
};

/// One item of an [`EventStream`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamItem {
    /// What one log index did: the index after the one before.
    Frame(Frame),
    /// Every frame up to this index has come, and the node that sends has applied no more.
    Applied {
        /// The index.
        index: u64,
        /// Log time there.
        log_time: Millis,
    },
    /// Frames before `first_index` are no longer kept, and some of them are missing here. It is the last
    /// item: read the state (a linearizable read), and open a new stream from its `applied_index + 1`.
    Resync {
        /// The first index that is kept.
        first_index: u64,
    },
}

/// Frames as they are committed. Goes on until it is dropped, or until a [`StreamItem::Resync`].
#[derive(Debug)]
pub struct EventStream {
    items: mpsc::Receiver<StreamItem>,
    feed: AbortHandle,
}

impl EventStream {
    /// The next item; `None` after a [`StreamItem::Resync`]. Cancel-safe: dropping the future loses
    /// nothing. Where nothing happens an [`StreamItem::Applied`] comes every second; where none comes,
    /// no node can be followed, and the stream goes on trying.
    pub async fn next(&mut self) -> Option<StreamItem> {
        self.items.recv().await
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

impl Client {
    /// The events from index `from` on, `from` included, of whichever node serves.
    #[must_use]
    pub fn events(&self, from: u64) -> EventStream {
        self.stream(from, None)
    }

    /// The same, only of the configured endpoint `node`.
    #[must_use]
    pub fn events_of(&self, node: usize, from: u64) -> EventStream {
        self.stream(from, Some(node))
    }

    fn stream(&self, from: u64, node: Option<usize>) -> EventStream {
        let (sender, items) = mpsc::channel(STREAM_BUFFER);
        let next = from.max(1);
        let backoff = self.shared.backoff();
        let feed = Feed { client: self.clone(), node, next, skipped_at: None, behind: None, backoff, sender };
        let feed = self.shared.world.tasks.spawn(feed.run()).abort_handle();
        EventStream { items, feed }
    }
}

/// The task behind a stream.
struct Feed {
    client: Client,
    node: Option<usize>,
    /// The first index that has not been passed on.
    next: u64,
    /// The index that a node left out.
    skipped_at: Option<u64>,
    /// Since when the node has been behind `next`, or has not sent what it says it applied.
    behind: Option<Instant>,
    backoff: Backoff,
    sender: mpsc::Sender<StreamItem>,
}

/// Why following one node ended.
enum Ended {
    /// Nobody reads any more.
    Unread,
    /// The node cannot be followed further.
    Lost(Problem),
    /// What comes next is no longer kept.
    Gone { first_index: u64 },
}

#[derive(Deserialize)]
struct AppliedEvent {
    applied_index: u64,
    log_time: Millis,
}

impl Feed {
    async fn run(mut self) {
        loop {
            let target = self.client.target(self.node);
            self.behind = None;
            match self.follow(&target).await {
                Ended::Unread => return,
                Ended::Gone { first_index } => {
                    // Whoever reads no more needs no word of it.
                    let _ = self.sender.send(StreamItem::Resync { first_index }).await;
                    return;
                }
                Ended::Lost(problem) => {
                    tracing::debug!(node = target.base, %problem, next = self.next, "event stream lost");
                    self.client.shared.nodes.failed(&target, problem.leader, Instant::now());
                }
            }
            tokio::time::sleep(self.backoff.next()).await;
        }
    }

    async fn follow(&mut self, target: &Target) -> Ended {
        let shared = self.client.shared.clone();
        let path = format!("{}?from={}", paths::EVENTS, self.next);
        let mut body = match shared.wire.stream(&target.base, &path, shared.config.call_timeout).await {
            Ok(body) => BodyDataStream::new(body),
            Err(failure) => return self.ended(failure.problem),
        };
        let silence = shared.config.stream_silence;
        let mut reader = SseReader::new(EVENT_MAX_BYTES);
        loop {
            match tokio::time::timeout(silence, body.next()).await {
                Ok(Some(Ok(piece))) => reader.push(&piece),
                Ok(Some(Err(error))) => return lost(format!("broken: {error}")),
                Ok(None) => return lost("closed"),
                Err(_) => return lost(format!("silent for {} ms", silence.as_millis())),
            }
            loop {
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(event)) => {
                        shared.look_at_topology();
                        if let Err(ended) = self.pass_on(event).await {
                            return ended;
                        }
                    }
                    Err(error) => return lost(error.to_string()),
                }
            }
        }
    }

    async fn pass_on(&mut self, event: SseEvent) -> Result<(), Ended> {
        let unreadable = |error: serde_json::Error| lost(format!("unreadable {} event: {error}", event.name));
        match event.name.as_str() {
            "frame" => {
                let frame: Frame = serde_json::from_str(&event.data).map_err(unreadable)?;
                if frame.index < self.next {
                    return Ok(());
                }
                if frame.index > self.next {
                    return Err(self.skipped(frame.index));
                }
                self.backoff.reset();
                self.behind = None;
                self.next = frame.index + 1;
                self.send(StreamItem::Frame(frame)).await
            }
            "applied" => {
                let applied: AppliedEvent = serde_json::from_str(&event.data).map_err(unreadable)?;
                if applied.applied_index + 1 != self.next {
                    return self.lags();
                }
                self.backoff.reset();
                self.behind = None;
                self.send(StreamItem::Applied { index: applied.applied_index, log_time: applied.log_time }).await
            }
            "end" => Err(self.ended(serde_json::from_str(&event.data).map_err(unreadable)?)),
            // A newer node may send more kinds; they change nothing about the frames.
            _ => Ok(()),
        }
    }

    /// A frame came before the one that is due. Once, another node is asked; the second time it is taken
    /// for lost.
    fn skipped(&mut self, index: u64) -> Ended {
        if self.skipped_at == Some(self.next) {
            return Ended::Gone { first_index: index };
        }
        self.skipped_at = Some(self.next);
        lost(format!("frame {index} came where {} is due", self.next))
    }

    /// The node has not applied what was seen already, or has not sent what it applied: for a while it
    /// may catch up.
    fn lags(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        let since = *self.behind.get_or_insert(now);
        if now.saturating_duration_since(since) > STREAM_BEHIND_MAX {
            Err(lost("the node lags behind"))
        } else {
            Ok(())
        }
    }

    fn ended(&self, problem: Problem) -> Ended {
        match (problem.kind, problem.first_index) {
            (ProblemKind::Gone, Some(first_index)) if first_index > self.next => Ended::Gone { first_index },
            _ => Ended::Lost(problem),
        }
    }

    async fn send(&self, item: StreamItem) -> Result<(), Ended> {
        self.sender.send(item).await.map_err(|_| Ended::Unread)
    }
}

fn lost(detail: impl Into<String>) -> Ended {
    Ended::Lost(Problem::new(ProblemKind::NotReady, detail))
}
