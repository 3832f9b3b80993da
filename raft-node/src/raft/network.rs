//! openraft's network: each of its calls as a call to the peer port of the node that is meant.
//!
//! Appends stream, pipelined and in order, over one bidirectional HTTP/2 stream; heartbeats go as single
//! calls beside it, so that a stream that is busy or stuck does not hold them up.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{RPCOption, stream_append_sequential},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use quorate_seams::stream_body;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};

use super::{
    applied::Applied,
    clock::SharedClock,
    links::{LinkError, Links, Target},
    snapshot::{self, HistorySource, SnapshotImage},
    state_machine::SnapshotCounts,
    types::{Peer, TypeConfig, Vote},
    wire::{self, Append, FrameReader, SnapshotReply, paths},
};

/// Longest a snapshot may take to be sent and installed.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(60);
/// A receiver that is silent for this long is given up.
const SNAPSHOT_SILENCE: Duration = Duration::from_secs(2);

/// That a node takes no snapshot is said so often at most.
const WARN_EVERY: Duration = Duration::from_secs(30);
/// What is to be done about a snapshot that took too long.
const SLOW_CURE: &str = "the link to it, or its disk, is too slow for so much within 60 seconds: make them faster, or start \
     the nodes with a lower --event-retention, for the history that is kept is sent along";

/// When it was last said of a peer that it took no snapshot.
pub(crate) type NotTaken = Arc<Mutex<BTreeMap<u64, Instant>>>;

type Rpc<T> = Result<T, RPCError<TypeConfig>>;
type Results<'s> = BoxStream<'s, Rpc<StreamAppendResult<TypeConfig>>>;

/// Makes the clients.
pub(crate) struct Network {
    pub(crate) links: Links,
    pub(crate) clock: SharedClock,
    pub(crate) history: HistorySource,
    pub(crate) snapshots: Arc<SnapshotCounts>,
    /// Which peers did not take a snapshot, and when that was last said.
    pub(crate) not_taken: NotTaken,
    /// Longest a pipelined append may stay unanswered.
    pub(crate) stall: Duration,
    /// Why this node does not serve, where it does not trust its own state.
    pub(crate) suspended: watch::Receiver<Option<String>>,
}

impl Network {
    fn client(&self, target: u64, node: &Peer, streaming: bool) -> PeerClient {
        PeerClient {
            links: self.links.clone(),
            clock: self.clock.clone(),
            history: self.history.clone(),
            snapshots: Arc::clone(&self.snapshots),
            not_taken: Arc::clone(&self.not_taken),
            stall: self.stall,
            suspended: self.suspended.clone(),
            target,
            peer: node.clone(),
            streaming,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Peer) -> PeerClient {
        self.client(target, node, true)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Peer) -> PeerClient {
        self.client(target, node, false)
    }
}

/// A client of one peer.
pub(crate) struct PeerClient {
    links: Links,
    clock: SharedClock,
    history: HistorySource,
    snapshots: Arc<SnapshotCounts>,
    not_taken: NotTaken,
    stall: Duration,
    suspended: watch::Receiver<Option<String>>,
    target: u64,
    peer: Peer,
    streaming: bool,
}

/// Makes appends of openraft's requests.
#[derive(Clone)]
struct Sender {
    clock: SharedClock,
    applied: Arc<Applied>,
}

impl Sender {
    fn append(&self, request: AppendEntriesRequest<TypeConfig>) -> Append {
        Append { clock: self.clock.leading_stamp(), claim: self.applied.latest(), request }
    }
}

impl PeerClient {
    fn to(&self) -> Target<'_> {
        Target::member(self.target, &self.peer)
    }

    fn sender(&self) -> Sender {
        Sender { clock: self.clock.clone(), applied: Arc::clone(&self.history.applied) }
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&self, path: &str, message: &Q, option: &RPCOption) -> Rpc<A> {
        let answer = self.links.call(self.to(), path, message, option.soft_ttl()).await;
        answer.map_err(rpc_error)
    }

    /// Counts a snapshot that was sent in vain, and says so, unless the peer was not there or took no call.
    fn snapshot_not_taken(&self, error: &LinkError, sent_bytes: u64, took: Duration) {
        if matches!(error, LinkError::NotReached(_) | LinkError::Refused(..)) {
            return;
        }
        self.snapshots.failed.add(1);
        let mut said = self.not_taken.lock().unwrap_or_else(PoisonError::into_inner);
        if said.get(&self.target).is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        said.insert(self.target, Instant::now());
        let cure = match error {
            LinkError::Timeout(limit) if *limit == SNAPSHOT_DEADLINE => SLOW_CURE,
            LinkError::Timeout(_) => "see that the node is not stopped or overloaded",
            _ => snapshot::TOO_LARGE_CURE,
        };
        tracing::warn!(
            peer = self.target,
            sent_bytes,
            seconds = took.as_secs(),
            %error,
            "a node did not take a snapshot: it stays behind, and is sent one again and again; if that goes on, {cure}"
        );
    }

    /// Calls nobody before there is something to send: openraft lets its input wait after errors, and nothing else
    /// keeps it from trying a peer that refuses connections over and over.
    async fn open_stream<S>(&self, mut input: S) -> Rpc<Results<'static>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let Some(first) = input.next().await else { return Ok(Box::pin(stream::empty())) };
        let input = stream::iter([first]).chain(input);
        let (alive, gone) = oneshot::channel();
        let sent = Arc::new(AtomicU64::new(0));
        let body = stream_body(request_frames(input, self.sender(), Arc::clone(&sent), gone));
        let answer = self.links.stream(self.to(), paths::STREAM_APPEND, body, self.stall).await;
        let session = Session {
            reader: FrameReader::new(answer.map_err(rpc_error)?),
            links: self.links.clone(),
            target: self.target,
            stall: self.stall,
            sent,
            answered: 0,
            _alive: alive,
        };
        Ok(Box::pin(stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next().await {
                Ok(None) => None,
                Ok(Some(Ok(matched))) => Some((Ok(Ok(matched)), Some(session))),
                Ok(Some(Err(refused))) => Some((Ok(Err(refused)), None)),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

/// The answering half of a stream of appends.
struct Session {
    reader: FrameReader,
    links: Links,
    target: u64,
    stall: Duration,
    sent: Arc<AtomicU64>,
    answered: u64,
    /// Dropped with the session: ends the request body, and frees what openraft lent to it.
    _alive: oneshot::Sender<()>,
}

impl Session {
    async fn next(&mut self) -> Rpc<Option<StreamAppendResult<TypeConfig>>> {
        let faults = self.links.faults.clone();
        let cut = faults.cut(self.target);
        tokio::pin!(cut);
        let read = self.reader.next::<StreamAppendResult<TypeConfig>>();
        tokio::pin!(read);
        loop {
            let waiting = self.sent.load(Ordering::Acquire) > self.answered;
            tokio::select! {
                biased;
                () = &mut cut => return Err(network_error("the link was cut")),
                answer = timeout(self.stall, &mut read) => match answer {
                    Ok(Ok(answer)) => {
                        self.answered += 1;
                        return Ok(answer);
                    }
                    Ok(Err(error)) => return Err(network_error(error)),
                    Err(_) if waiting => {
                        return Err(network_error(format!("an append was not answered for {:?}", self.stall)));
                    }
                    // Idle: there was nothing to answer.
                    Err(_) => {}
                },
            }
        }
    }
}

/// The request body: what openraft has to send, as frames, until it has no more or `gone` says that
/// nobody waits for answers.
fn request_frames<S>(
    input: S,
    sender: Sender,
    sent: Arc<AtomicU64>,
    gone: oneshot::Receiver<()>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    stream::unfold(Some((input, gone)), move |state| {
        let sender = sender.clone();
        let sent = Arc::clone(&sent);
        async move {
            let (mut input, mut gone) = state?;
            let request = tokio::select! {
                biased;
                _ = &mut gone => None,
                request = input.next() => request,
            }?;
            sent.fetch_add(1, Ordering::Release);
            let frame = wire::encode(&sender.append(request));
            let next = frame.is_ok().then_some((input, gone));
            Some((frame, next))
        }
    })
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotImage;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<TypeConfig>> {
        self.call(paths::APPEND, &self.sender().append(request), &option).await
    }

    fn stream_append<'s, S>(&'s mut self, input: S, option: RPCOption) -> BoxFuture<'s, Rpc<Results<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        if self.streaming {
            Box::pin(async move {
                let results: Results<'s> = self.open_stream(input).await?;
                Ok(results)
            })
        } else {
            stream_append_sequential(self, input, option)
        }
    }

    async fn vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.call(paths::VOTE, &request, &option).await
    }

    async fn pre_vote(&mut self, request: VoteRequest<TypeConfig>, option: RPCOption) -> Rpc<VoteResponse<TypeConfig>> {
        self.call(paths::PRE_VOTE, &request, &option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotImage>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        // Whoever installed it would agree with this node without having applied anything.
        let suspended = self.suspended.borrow().clone();
        if let Some(why) = suspended {
            let why = format!("no snapshot is sent, for this node does not trust its own state: {why}");
            return Err(rpc_error(LinkError::NotReached(why)).into());
        }
        let began = Instant::now();
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let parts = snapshot::parts(vote, snapshot, self.history.clone()).inspect(move |part| {
            count.fetch_add(part.as_ref().map_or(0, |part| part.len() as u64), Ordering::Relaxed);
        });
        let body = stream_body(parts);
        let send = async {
            let path = paths::SNAPSHOT;
            let answer = self.links.stream(self.to(), path, body, SNAPSHOT_SILENCE).await?;
            let mut replies = FrameReader::new(answer);
            loop {
                let reply = timeout(SNAPSHOT_SILENCE, replies.next()).await;
                let reply = reply.map_err(|_| LinkError::Timeout(SNAPSHOT_SILENCE))?;
                match reply.map_err(|error| LinkError::Broken(error.to_string()))? {
                    Some(SnapshotReply::Receiving) => {}
                    Some(SnapshotReply::Done(response)) => return Ok(response),
                    Some(SnapshotReply::Failed(why)) => return Err(LinkError::Broken(why)),
                    None => return Err(LinkError::Broken("no answer to the snapshot".to_owned())),
                }
            }
        };
        let answer = tokio::select! {
            biased;
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = timeout(SNAPSHOT_DEADLINE, send) => answer.unwrap_or(Err(LinkError::Timeout(SNAPSHOT_DEADLINE))),
        };
        answer.map_err(|error| {
            self.snapshot_not_taken(&error, sent.load(Ordering::Relaxed), began.elapsed());
            rpc_error(error).into()
        })
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Rpc<TransferLeaderResponse<TypeConfig>> {
        self.call(paths::TRANSFER_LEADER, &request, &option).await
    }
}

fn network_error(what: impl ToString) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::from_string(what))
}

/// What was not reached or refuses is left alone for a while; what broke off is tried again at once.
fn rpc_error(error: LinkError) -> RPCError<TypeConfig> {
    match error {
        LinkError::NotReached(_) | LinkError::Refused(..) => RPCError::Unreachable(Unreachable::from_string(error)),
        LinkError::Broken(_) | LinkError::Timeout(_) => network_error(error),
    }
}
