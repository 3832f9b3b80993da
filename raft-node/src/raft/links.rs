//! Calls to peers over [`Http`]: the headers that say who is meant and who calls, a deadline on every call, and the
//! fault switch. Everything that leaves the node for a peer goes through here.
//!
//! Invariant: an answer of another store than the membership names counts as no answer.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Version, header::CONTENT_TYPE};
use quorate_api::StoreId;
use quorate_planted::{Bug, planted};
use quorate_seams::{Body, CallError, Http, full_body, read_body};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::node::Counter;

use super::{
    faults::FaultSwitch,
    types::Peer,
    wire::{self, CLUSTER_HEADER, FRAME_MAX, FROM_HEADER, GROUP_HEADER, STORE_HEADER, TO_HEADER, TO_STORE_HEADER},
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

/// Whom a call is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    id: u64,
    addr: &'a str,
    /// As the membership knows it, where it is a member.
    member: Option<&'a Peer>,
}

impl<'a> Target<'a> {
    /// A member of this node's group, which must be on the store that the membership names.
    pub(crate) fn member(id: u64, peer: &'a Peer) -> Self {
        Self { id, addr: &peer.peer_addr, member: Some(peer) }
    }

    /// A node of which only the address is known. Such a node is asked for nothing but its hello.
    pub(crate) fn stranger(id: u64, addr: &'a str) -> Self {
        Self { id, addr, member: None }
    }
}

/// One node's way to its peers. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    http: Arc<dyn Http>,
    cluster_id: Arc<str>,
    me: u64,
    store: StoreId,
    /// Which members refuse this node's calls, and with which words: each is told once.
    refused: Arc<Mutex<BTreeMap<u64, String>>>,
    refusals: Arc<Counter>,
    pub(crate) faults: FaultSwitch,
}

impl Links {
    pub(crate) fn new(http: Arc<dyn Http>, cluster_id: &str, me: u64, store: StoreId, faults: FaultSwitch) -> Self {
        Self {
            http,
            cluster_id: Arc::from(cluster_id),
            me,
            store,
            refused: Arc::default(),
            refusals: Arc::default(),
            faults,
        }
    }

    pub(crate) fn me(&self) -> u64 {
        self.me
    }

    /// Calls that members refused because of whose store or group they, or this node, are.
    pub(crate) fn refusals(&self) -> u64 {
        self.refusals.get()
    }

    /// This node's store.
    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    /// Sends `message`, and reads the one value of the answer.
    pub(crate) async fn call<Q, A>(
        &self,
        to: Target<'_>,
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
            let response = self.send(to, path, full_body(body)).await?;
            let bytes = read_body(response, FRAME_MAX + 64).await?;
            wire::decode_whole(&bytes).map_err(|error| LinkError::Broken(error.to_string()))
        };
        timeout(within, call).await.unwrap_or(Err(LinkError::Timeout(within)))
    }

    /// Sends a streaming body; the answer's body streams too. The head of the answer is waited for
    /// at most `within`.
    pub(crate) async fn stream(
        &self,
        to: Target<'_>,
        path: &str,
        body: Body,
        within: Duration,
    ) -> Result<Body, LinkError> {
        timeout(within, self.send(to, path, body)).await.unwrap_or(Err(LinkError::Timeout(within)))
    }

    async fn send(&self, to: Target<'_>, path: &str, body: Body) -> Result<Body, LinkError> {
        self.faults.pass_to(to.id).await;
        let mut request = Request::post(format!("http://{}{path}", to.addr))
            .version(Version::HTTP_2)
            .header(CLUSTER_HEADER, &*self.cluster_id)
            .header(FROM_HEADER, self.me)
            .header(TO_HEADER, to.id)
            .header(STORE_HEADER, self.store.to_string())
            .header(CONTENT_TYPE, "application/octet-stream");
        if let Some(peer) = to.member {
            request = request
                .header(GROUP_HEADER, peer.group_id.to_string())
                .header(TO_STORE_HEADER, peer.store_id.to_string());
        }
        let request = request.body(body).map_err(|error| LinkError::NotReached(error.to_string()))?;
        let response = self.http.call(request).await?;
        self.faults.pass_from(to.id).await;
        if response.status() == StatusCode::OK {
            return match to.member.and_then(|peer| other_store(response.headers(), peer.store_id)) {
                None => {
                    self.is_taken(to.id);
                    Ok(response.into_body())
                }
                Some(what) => Err(self.is_refused(to, StatusCode::MISDIRECTED_REQUEST, what)),
            };
        }
        let status = response.status();
        let text = read_body(response.into_body(), REFUSAL_TEXT_MAX).await.unwrap_or_else(|_| Bytes::new());
        Err(self.is_refused(to, status, String::from_utf8_lossy(&text).into_owned()))
    }

    fn is_taken(&self, to: u64) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&to);
    }

    /// A call was refused. Where a member takes none because of who it is, or who this node is, an operator must hear it.
    fn is_refused(&self, to: Target<'_>, status: StatusCode, text: String) -> LinkError {
        if status == StatusCode::MISDIRECTED_REQUEST && to.member.is_some() {
            self.refusals.add(1);
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.get(&to.id) != Some(&text) {
                tracing::warn!(node = to.id, addr = to.addr, "no call is made to this member: {text}");
                refused.insert(to.id, text.clone());
            }
        }
        LinkError::Refused(status, text)
    }
}

/// What is wrong with an answer that must come from the store `expected`.
fn other_store(headers: &HeaderMap, expected: StoreId) -> Option<String> {
    let text = headers.get(STORE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("");
    if text.parse() == Ok(expected) || planted(Bug::WipedNodeVotes) {
        return None;
    }
    Some(format!(
        "the node there runs on the store '{text}', and the group knows the member by the store {expected}: its data \
         directory was removed or replaced, or its address is another node's"
    ))
}
