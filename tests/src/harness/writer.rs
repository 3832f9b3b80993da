//! A writer of small commands at one node, in a session of its own: each is a commit, and a repeat of one tells
//! whether the group still knows it.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{cluster::instrument, wait::eventually};

/// How long a node may take longer than it was told, before its answer counts as lost.
const ALLOWANCE: Duration = Duration::from_secs(2);
/// How long the opening of a session may take.
const OPEN_MS: u64 = 3_000;

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// Acknowledged, with the log index at which it was first applied.
    Applied(u64),
    /// Certainly not proposed by this call.
    NotProposed(String),
    /// It may be applied or not.
    Unknown(String),
}

/// Writes in one session, each write with the next number.
#[derive(Debug)]
pub struct Writer {
    http: reqwest::Client,
    base: String,
    symbol: &'static str,
    session: u64,
    seq: u64,
}

impl Writer {
    /// Opens a session at `base`, the base URL of a node. Writes define `symbol` as [`super::Cluster`] does, again and
    /// again, which changes nothing.
    ///
    /// # Errors
    /// Where no session is opened within 30 seconds.
    pub async fn open(base: String, symbol: &'static str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let mut writer = Self { http, base, symbol, session: 0, seq: 0 };
        writer.session = eventually("a session", || async {
            let (status, answer) = writer.post(&json!({"command": "open_session"}), OPEN_MS).await?;
            let session = answer["outcome"]["accepted"]["session_opened"]["session"].as_u64();
            session.map(Some).with_context(|| format!("{status} {answer}"))
        })
        .await?;
        Ok(writer)
    }

    /// Writes at another node from now on.
    pub fn turn_to(&mut self, base: String) {
        self.base = base;
    }

    /// The number of the last write.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The next write; the node has `deadline_ms` for it.
    pub async fn write(&mut self, deadline_ms: u64) -> Wrote {
        self.seq += 1;
        self.send(self.seq, deadline_ms).await
    }

    /// Sends the write of this number, for the first time or again.
    pub async fn send(&self, seq: u64, deadline_ms: u64) -> Wrote {
        let command = json!({"define_symbol": {"symbol": self.symbol, "instrument": instrument(self.symbol)}});
        let body = json!({"session": self.session, "seq": seq, "command": command});
        match self.post(&body, deadline_ms).await {
            Ok((200, answer)) => match answer["index"].as_u64() {
                Some(index) if answer["outcome"]["accepted"].is_object() => Wrote::Applied(index),
                _ => Wrote::Unknown(format!("an answer without effect: {answer}")),
            },
            Ok((503, problem)) if problem["outcome_unknown"] == json!(false) => {
                Wrote::NotProposed(problem["detail"].to_string())
            }
            Ok((status, problem)) => Wrote::Unknown(format!("{status} {problem}")),
            Err(error) if error.downcast_ref().is_some_and(reqwest::Error::is_connect) => {
                Wrote::NotProposed(error.to_string())
            }
            Err(error) => Wrote::Unknown(error.to_string()),
        }
    }

    async fn post(&self, body: &Value, deadline_ms: u64) -> Result<(u16, Value)> {
        let request = self.http.post(format!("{}/v1/commands", self.base));
        let request = request.timeout(Duration::from_millis(deadline_ms) + ALLOWANCE);
        let request = request.header("x-quorate-deadline-ms", deadline_ms).header("content-type", "application/json");
        let response = request.body(serde_json::to_vec(body)?).send().await?;
        let status = response.status().as_u16();
        Ok((status, serde_json::from_slice(&response.bytes().await?)?))
    }
}
