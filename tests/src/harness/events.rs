//! A reader of one node's event stream (server-sent events), that trusts nothing it is told about order.

use std::{pin::Pin, time::Duration};

use anyhow::{Context, Result, bail};
use futures_util::{Stream, StreamExt};
use quorate_ledger::Frame;
use serde_json::Value;

/// A stream names its group within this.
const GROUP_WITHIN: Duration = Duration::from_secs(5);

type Bytes = Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>> + Send>>;

/// One item of a stream.
#[derive(Debug)]
pub enum Heard {
    /// What one log index did.
    Frame(Box<Frame>),
    /// The first item: whose log indexes these are.
    Group(String),
    /// A keep-alive: how far the node is.
    Applied(u64),
    /// The last word of the stream, a problem.
    End(Value),
    /// It broke off without a word.
    Closed,
}

/// Why no stream was given.
#[derive(Debug)]
pub struct NoStream {
    /// The HTTP status.
    pub status: u16,
    /// The problem.
    pub problem: Value,
}

/// An open stream.
pub struct Events {
    /// The group that the stream names.
    pub group: String,
    body: Bytes,
    text: Vec<u8>,
}

impl Events {
    /// Opens the stream of the node at `base` after the frame of index `last_seen`.
    ///
    /// # Errors
    /// Where there is no answer, or the stream does not begin with its group.
    pub async fn open(base: &str, last_seen: u64) -> Result<Result<Self, NoStream>> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let request = http.get(format!("{base}/v1/events")).header("last-event-id", last_seen);
        let response = request.send().await?;
        let status = response.status().as_u16();
        if status != 200 {
            let problem = serde_json::from_slice(&response.bytes().await?)?;
            return Ok(Err(NoStream { status, problem }));
        }
        let body = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        let mut events = Self { group: String::new(), body: Box::pin(body), text: Vec::new() };
        match events.next(GROUP_WITHIN).await? {
            Heard::Group(group) => Ok(Ok(Self { group, ..events })),
            other => bail!("a stream begins with its group, and not with {other:?}"),
        }
    }

    /// The next item.
    ///
    /// # Errors
    /// Where nothing comes within `limit` (a stream is never silent for long), or what comes cannot be read.
    pub async fn next(&mut self, limit: Duration) -> Result<Heard> {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let item: Vec<u8> = self.text.drain(..end + 2).collect();
                return parse(std::str::from_utf8(&item)?);
            }
            match tokio::time::timeout(limit, self.body.next()).await {
                Ok(Some(Ok(chunk))) => self.text.extend_from_slice(&chunk),
                Ok(Some(Err(_)) | None) => return Ok(Heard::Closed),
                Err(_) => bail!("the stream said nothing for {} ms", limit.as_millis()),
            }
        }
    }
}

fn parse(item: &str) -> Result<Heard> {
    let field = |name: &str| item.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data = field("data:").with_context(|| format!("no data in {item:?}"))?;
    match field("event:") {
        Some("frame") => {
            let frame: Frame = serde_json::from_str(data)?;
            let id: u64 = field("id:").context("a frame has an id")?.parse()?;
            anyhow::ensure!(id == frame.index, "the id {id} of the frame of index {}", frame.index);
            Ok(Heard::Frame(Box::new(frame)))
        }
        Some("applied") => {
            let note: Value = serde_json::from_str(data)?;
            Ok(Heard::Applied(note["applied_index"].as_u64().context("an applied index")?))
        }
        Some("group") => {
            let note: Value = serde_json::from_str(data)?;
            Ok(Heard::Group(note["group_id"].as_str().context("a group")?.to_owned()))
        }
        Some("end") => Ok(Heard::End(serde_json::from_str(data)?)),
        other => bail!("an event {other:?}: {item:?}"),
    }
}
