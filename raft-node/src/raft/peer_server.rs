//! What this node's peers call. The router is independent of sockets.
//!
//! Every call names the cluster, the sender with its group and store, and the node and store that it means; a call
//! that [`identity`](super::identity) does not take is refused with 421 before its body is read. Nothing here decides:
//! it hands over to openraft and to the node.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult, TransferLeaderRequest, VoteRequest};
use quorate_domain::Millis;
use quorate_ledger::{Input, LeaderCommand};
use quorate_planted::{Bug, planted};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    identity::Caller,
    snapshot,
    types::{Proposal, TypeConfig},
    wire::{
        self, Admin, Append, Compare, FRAME_MAX, Forward, FrameReader, SNAPSHOT_BEAT, STORE_HEADER, SnapshotReply,
        paths,
    },
};
use crate::node::{Inner, NotAdmitted};

/// The longest deadline that a peer may name for a forwarded call.
const FORWARD_DEADLINE_MAX: Duration = Duration::from_secs(60);

/// Who sent a request, as its checked headers say.
#[derive(Clone)]
struct Sender(Caller);

type Node = State<Arc<Inner>>;
type Answer = Result<Response, Refusal>;

/// The routes.
pub(crate) fn router(node: Arc<Inner>) -> Router {
    Router::new()
        .route(paths::APPEND, post(append))
        .route(paths::STREAM_APPEND, post(stream_append))
        .route(paths::VOTE, post(vote))
        .route(paths::PRE_VOTE, post(pre_vote))
        .route(paths::SNAPSHOT, post(install_snapshot))
        .route(paths::TRANSFER_LEADER, post(transfer_leader))
        .route(paths::FORWARD, post(forward))
        .route(paths::READ_INDEX, post(read_index))
        .route(paths::COMPARE, post(compare))
        .route(paths::HELLO, post(hello))
        .route(paths::ADMIN, post(admin))
        .route(paths::STANDING, post(standing))
        .layer(DefaultBodyLimit::max(FRAME_MAX + 64))
        .layer(from_fn_with_state(Arc::clone(&node), admit))
        .with_state(node)
}

/// A call that was not taken.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// openraft has stopped: the caller should try another node.
fn stopped(error: impl ToString) -> Refusal {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    wire::decode_whole(body).map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))
}

fn write<T: Serialize>(answer: &T) -> Answer {
    let body = wire::encode(answer).map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(body.into_response())
}

/// Checks who calls and whom the call means, lets the fault switch lose it, and runs it in the node's scope.
async fn admit(State(node): Node, mut request: Request, next: Next) -> Response {
    let mut response = match node.admit_caller(request.headers(), request.uri().path() == paths::HELLO) {
        Ok(caller) => {
            let (faults, from) = (&node.links.faults, caller.id);
            faults.pass_from(from).await;
            request.extensions_mut().insert(Sender(caller));
            let response = node.scope.run(next.run(request)).await;
            faults.pass_to(from).await;
            response
        }
        Err(NotAdmitted::Refused(what)) => Refusal(StatusCode::MISDIRECTED_REQUEST, what).into_response(),
        Err(NotAdmitted::NotYet(why)) => Refusal(StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    };
    if let Ok(store) = HeaderValue::from_str(&node.links.store().to_string()) {
        response.headers_mut().insert(HeaderName::from_static(STORE_HEADER), store);
    }
    response
}

fn sender(request: &Request) -> Result<u64, Refusal> {
    let sender = request.extensions().get().map(|Sender(caller)| caller.id);
    sender.ok_or_else(|| Refusal(StatusCode::INTERNAL_SERVER_ERROR, "the sender was not checked".to_owned()))
}

async fn append(State(node): Node, Extension(Sender(caller)): Extension<Sender>, body: Bytes) -> Answer {
    let Append { clock, claim, request } = read(&body)?;
    node.heard_claim(caller.id, claim);
    let committed = request.leader_commit.map(|log_id| log_id.index);
    let answer = node.raft.append_entries(request).await.map_err(stopped)?;
    if answer.is_success() || answer.is_conflict() {
        node.heard_leader(clock, committed);
    }
    write(&answer)
}

async fn stream_append(State(node): Node, request: Request) -> Answer {
    let from = sender(&request)?;
    let body = request.into_body().map_err(std::io::Error::other).boxed_unsync();
    let results = node.raft.stream_append(requests(Arc::clone(&node), from, FrameReader::new(body)));
    Ok(Body::from_stream(answers(node, from, results)).into_response())
}

/// The appends that come in, until the stream ends, breaks or is cut.
fn requests(
    node: Arc<Inner>,
    from: u64,
    reader: FrameReader,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + 'static {
    stream::unfold((node, reader), move |(node, mut reader)| async move {
        let next = tokio::select! {
            biased;
            () = node.stream_ends(from) => return None,
            next = reader.next::<Append>() => next,
        };
        match next {
            Ok(Some(Append { clock, claim, request })) => {
                node.heard_claim(from, claim);
                node.heard_leader_of(&request.vote, clock, request.leader_commit.map(|log_id| log_id.index));
                Some((request, (node, reader)))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::debug!(from, %error, "a stream of appends broke off");
                None
            }
        }
    })
}

/// The answers that go out, in the order of the appends.
fn answers<S, E>(node: Arc<Inner>, from: u64, results: S) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static
where
    S: Stream<Item = Result<StreamAppendResult<TypeConfig>, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    stream::unfold(Some(Box::pin(results)), move |results| {
        let node = Arc::clone(&node);
        async move {
            let mut results = results?;
            let next = tokio::select! {
                biased;
                () = node.stream_ends(from) => return None,
                next = results.next() => next?,
            };
            match next {
                Ok(result) => Some((wire::encode(&result), Some(results))),
                Err(fatal) => Some((Err(std::io::Error::other(fatal)), None)),
            }
        }
    })
}

async fn vote(State(node): Node, body: Bytes) -> Answer {
    let request: VoteRequest<TypeConfig> = read(&body)?;
    write(&node.raft.vote(request).await.map_err(stopped)?)
}

async fn pre_vote(State(node): Node, body: Bytes) -> Answer {
    let request: VoteRequest<TypeConfig> = read(&body)?;
    write(&node.raft.pre_vote(request).await.map_err(stopped)?)
}

/// The answer begins at once, and says that this node is alive until the snapshot is installed.
async fn install_snapshot(State(node): Node, request: Request) -> Answer {
    let from = sender(&request)?;
    let body = request.into_body().map_err(std::io::Error::other).boxed_unsync();
    let receiver = Arc::clone(&node);
    let work = async move {
        let install = async {
            let (vote, snapshot) = snapshot::receive(body).await.map_err(|error| error.to_string())?;
            receiver.heard_leader_of(&vote, None, None);
            receiver.raft.install_full_snapshot(vote, snapshot).await.map_err(|fatal| fatal.to_string())
        };
        match receiver.scope.run(install).await {
            Ok(response) => SnapshotReply::Done(response),
            Err(why) => SnapshotReply::Failed(why),
        }
    };
    let replies = stream::unfold(Some((node, Box::pin(work))), move |state| async move {
        let (node, mut work) = state?;
        let (reply, next) = tokio::select! {
            biased;
            () = node.stream_ends(from) => return None,
            reply = &mut work => (reply, None),
            () = tokio::time::sleep(SNAPSHOT_BEAT) => (SnapshotReply::Receiving, Some((node, work))),
        };
        Some((wire::encode(&reply), next))
    });
    Ok(Body::from_stream(replies).into_response())
}

async fn transfer_leader(State(node): Node, body: Bytes) -> Answer {
    let request: TransferLeaderRequest<TypeConfig> = read(&body)?;
    write(&node.raft.handle_transfer_leader(request).await.map_err(stopped)?)
}

async fn forward(State(node): Node, body: Bytes) -> Answer {
    let Forward { deadline_ms, batch } = read(&body)?;
    if planted(Bug::StaleLeaderTicks) && batch.is_empty() {
        let late = Proposal { stamp: Millis(deadline_ms), input: Arc::new(Input::Leader(LeaderCommand::Tick)) };
        node.raft.write(late).await.map_err(stopped)?;
    }
    write(&node.propose_here(batch, deadline(deadline_ms)).await)
}

async fn read_index(State(node): Node, body: Bytes) -> Answer {
    let deadline_ms: u64 = read(&body)?;
    write(&node.read_index_here(deadline(deadline_ms)).await)
}

async fn compare(State(node): Node, Extension(Sender(caller)): Extension<Sender>, body: Bytes) -> Answer {
    let asked: Compare = read(&body)?;
    write(&node.compared(caller.id, asked).await)
}

async fn hello(State(node): Node, Extension(Sender(caller)): Extension<Sender>) -> Answer {
    write(&node.hello(&caller))
}

async fn standing(State(node): Node) -> Answer {
    write(&node.standing_here().await.map_err(stopped)?)
}

async fn admin(State(node): Node, body: Bytes) -> Answer {
    let Admin { deadline_ms, call } = read(&body)?;
    write(&node.admin_here(call, deadline(deadline_ms)).await)
}

fn deadline(ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(ms).min(FORWARD_DEADLINE_MAX)
}
