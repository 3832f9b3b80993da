//! What happened: watched as it is committed, or exported whole.

use quorate_api::OpeningBalance;
use quorate_client::{EventStream, ReadOptions, StreamItem};
use quorate_domain::Millis;
use quorate_ledger::Frame;
use serde::Serialize;

use crate::{Ctl, failure::CtlError, state::Instruments, watch};

/// How often an export begins again where what is kept moved on before its first frame.
const EXPORT_ATTEMPTS: usize = 10;

/// The first line of an export.
#[derive(Debug, Serialize)]
pub(crate) struct Opening {
    /// The cluster.
    cluster_id: String,
    /// Frames follow from this index on.
    pub(crate) first_index: u64,
    /// Up to this index and with it.
    applied_index: u64,
    /// Log time there.
    log_time: Millis,
    /// What the fills before `first_index` add up to.
    pub(crate) balances: Vec<OpeningBalance>,
}

#[derive(Debug, Serialize)]
struct OpeningLine {
    opening: Opening,
}

impl Ctl {
    /// JSON has every frame whole; words leave out renewals unless `all` is set.
    pub(crate) async fn watch(&mut self, from: Option<u64>, all: bool) -> Result<(), CtlError> {
        let from = match from {
            Some(from) => from,
            None => self.client.status(&self.read()).await?.applied_index + 1,
        };
        let mut instruments = if self.out.is_json() { Instruments::default() } else { self.instruments().await? };
        let mut events = self.client.events(from);
        while let Some(item) = events.next().await {
            match item {
                StreamItem::Frame(frame) if self.out.is_json() => self.out.object(&frame)?,
                StreamItem::Frame(frame) => {
                    for line in watch::lines(&frame, &mut instruments, all) {
                        self.out.line(&line)?;
                    }
                }
                StreamItem::Applied { .. } => {}
                StreamItem::Resync { first_index } => {
                    eprintln!("events before index {first_index} are no longer kept; going on from there");
                    events = self.client.events(first_index);
                }
            }
        }
        Ok(())
    }

    pub(crate) async fn export(&mut self) -> Result<(), CtlError> {
        let options = ReadOptions::linearizable().within(self.timeout);
        let end = self.client.status(&options).await?.applied_index;
        let (opening, first, events) = self.history(end).await?;
        self.out.object(&OpeningLine { opening })?;
        self.frames_up_to(end, first, events, |ctl, frame| ctl.out.object(frame)).await
    }

    /// What the fills that are no longer kept add up to, the first item that is kept, and what follows it; read at `end` or later.
    pub(crate) async fn history(&self, end: u64) -> Result<(Opening, StreamItem, EventStream), CtlError> {
        let options = ReadOptions::linearizable().within(self.timeout).at_least(end);
        let status = self.client.status(&options).await?;
        for _ in 0..EXPORT_ATTEMPTS {
            let fills = self.client.fills(0, Some(1), None, &options).await?;
            let opening = Opening {
                cluster_id: status.data.cluster_id.clone(),
                first_index: fills.data.first_index,
                applied_index: end,
                log_time: status.log_time,
                balances: fills.data.opening,
            };
            let mut events = self.client.events(opening.first_index);
            let Some(first) = self.within(&mut events).await? else { continue };
            return Ok((opening, first, events));
        }
        Err(CtlError::Unavailable("what is kept moves on faster than it can be read".to_owned()))
    }

    /// Hands on every frame up to `end`.
    pub(crate) async fn frames_up_to(
        &self,
        end: u64,
        first: StreamItem,
        mut events: EventStream,
        mut take: impl FnMut(&Self, &Frame) -> Result<(), CtlError>,
    ) -> Result<(), CtlError> {
        let mut item = first;
        loop {
            match item {
                StreamItem::Frame(frame) => {
                    if frame.index <= end {
                        take(self, &frame)?;
                    }
                    if frame.index >= end {
                        return Ok(());
                    }
                }
                StreamItem::Applied { index, .. } if index >= end => return Ok(()),
                StreamItem::Applied { .. } => {}
                StreamItem::Resync { .. } => break,
            }
            match self.within(&mut events).await? {
                Some(next) => item = next,
                None => break,
            }
        }
        Err(CtlError::Check("the history is incomplete: what is kept moved on past it".to_owned()))
    }

    /// The next item; `None` where frames are missing.
    async fn within(&self, events: &mut EventStream) -> Result<Option<StreamItem>, CtlError> {
        let next = tokio::time::timeout(self.timeout, events.next());
        let item = next.await.map_err(|_| CtlError::Unavailable("no node sends events".to_owned()))?;
        Ok(item.filter(|item| !matches!(item, StreamItem::Resync { .. })))
    }
}
