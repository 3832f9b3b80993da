//! Calls to peers over [`Http`]: the headers that say who is meant, a deadline on every call, and the
//! fault switch. Everything that leaves the node for a peer goes through here.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Version, header::CONTENT_TYPE};
use quorate_seams::{Body, CallError, Http, full_body, read_body};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    faults::FaultSwitch,
    wire::{self, CLUSTER_HEADER, FRAME_MAX, FROM_HEADER, TO_HEADER},
};

/// Bytes read of the text of a refused call.
const REFUSAL_TEXT_MAX: usize = 4 << 10;

/// Why a call to a peer gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LinkError {
    /// The peer was not reached: it certainly did not take the request.
    #[error("not reached: {0}")]
    NotReached(String),
    /// The peer refused to take the request.
    #[error("refused with {0}: {1}")]
    Refused(StatusCode, String),
    /// Broken off: whether the peer took the request is unknown.
    #[error("broken off: {0}")]
    Broken(String),
    /// No answer in time: whether the peer took the request is unknown.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl From<CallError> for LinkError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Connect(text) => Self::NotReached(text),
            CallError::Broken(text) => Self::Broken(text),
            CallError::Timeout(after) => Self::Timeout(after),
        }
    }
}

/// One node's way to its peers. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    http: Arc<dyn Http>,
    cluster_id: Arc<str>,
    me: u64,
    pub(crate) faults: FaultSwitch,
}

impl Links {
    pub(crate) fn new(http: Arc<dyn Http>, cluster_id: &str, me: u64, faults: FaultSwitch) -> Self {
        Self { http, cluster_id: Arc::from(cluster_id), me, faults }
    }

    pub(crate) fn me(&self) -> u64 {
        self.me
    }

    /// Sends `message`, and reads the one value of the answer.
    pub(crate) async fn call<Q, A>(
        &self,
        to: u64,
        addr: &str,
        path: &str,
        message: &Q,
        within: Duration,
    ) -> Result<A, LinkError>
    where
        Q: Serialize,
        A: DeserializeOwned,
    {
        let body = wire::encode(message).map_err(|error| LinkError::NotReached(error.to_string()))?;
        let call = async {
            let response = self.send(to, addr, path, full_body(body)).await?;
            let bytes = read_body(response, FRAME_MAX + 64).await?;
            wire::decode_whole(&bytes).map_err(|error| LinkError::Broken(error.to_string()))
        };
        timeout(within, call).await.unwrap_or(Err(LinkError::Timeout(within)))
    }

    /// Sends a streaming body; the answer's body streams too. The head of the answer is waited for
    /// at most `within`.
    pub(crate) async fn stream(
        &self,
        to: u64,
        addr: &str,
        path: &str,
        body: Body,
        within: Duration,
    ) -> Result<Body, LinkError> {
        timeout(within, self.send(to, addr, path, body)).await.unwrap_or(Err(LinkError::Timeout(within)))
    }

    async fn send(&self, to: u64, addr: &str, path: &str, body: Body) -> Result<Body, LinkError> {
        self.faults.pass_to(to).await;
        let request = Request::post(format!("http://{addr}{path}"))
            .version(Version::HTTP_2)
            .header(CLUSTER_HEADER, &*self.cluster_id)
            .header(FROM_HEADER, self.me)
            .header(TO_HEADER, to)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .map_err(|error| LinkError::NotReached(error.to_string()))?;
        let response = self.http.call(request).await?;
        self.faults.pass_from(to).await;
        if response.status() == StatusCode::OK {
            return Ok(response.into_body());
        }
        let status = response.status();
        let text = read_body(response.into_body(), REFUSAL_TEXT_MAX).await.unwrap_or_else(|_| Bytes::new());
        Err(LinkError::Refused(status, String::from_utf8_lossy(&text).into_owned()))
    }
}
