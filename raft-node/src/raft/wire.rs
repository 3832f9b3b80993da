//! The binary forms that peers exchange: length, checksum, postcard.
//!
//! A frame is `u32` length, `u32` CRC-32 of the payload (both little endian), payload. Both ends run the
//! same release line; `docs/adr` says what happens at an upgrade.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::BodyDataStream;
use openraft::raft::{AppendEntriesRequest, SnapshotResponse};
use quorate_api::{ChangeMembers, GroupId, Member, OpeningBalance, StoreId};
use quorate_domain::Millis;
use quorate_ledger::{Input, Response};
use quorate_seams::Body;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::types::{LogId, SnapshotMeta, TypeConfig, Vote};
use crate::node::verdict::{Claim, Digests};

/// Bytes of one frame, and of one unary body, at most.
pub(crate) const FRAME_MAX: usize = 32 << 20;
const HEADER: usize = 8;
/// Bytes that most frames do not exceed: a longer one makes its buffer grow.
const FRAME_USUAL: usize = 1024;
/// How often the receiver of a snapshot says that it is alive.
pub(crate) const SNAPSHOT_BEAT: Duration = Duration::from_millis(500);

/// Names the cluster; checked on every call.
pub(crate) const CLUSTER_HEADER: &str = "x-quorate-cluster";
/// Names the sender; checked on every call.
pub(crate) const FROM_HEADER: &str = "x-quorate-from";
/// Names the node that is meant; checked on every call.
pub(crate) const TO_HEADER: &str = "x-quorate-to";
/// Names the group of which the sender is a member; checked on every call but hello.
pub(crate) const GROUP_HEADER: &str = "x-quorate-group";
/// Names the sender's store, on a call and on its answer; checked on both.
pub(crate) const STORE_HEADER: &str = "x-quorate-store";
/// Names the store that is meant; checked on every call but hello.
pub(crate) const TO_STORE_HEADER: &str = "x-quorate-to-store";

/// Paths of the peer port.
pub(crate) mod paths {
    pub(crate) const APPEND: &str = "/peer/v1/append";
    pub(crate) const STREAM_APPEND: &str = "/peer/v1/stream-append";
    pub(crate) const VOTE: &str = "/peer/v1/vote";
    pub(crate) const PRE_VOTE: &str = "/peer/v1/pre-vote";
    pub(crate) const SNAPSHOT: &str = "/peer/v1/snapshot";
    pub(crate) const TRANSFER_LEADER: &str = "/peer/v1/transfer-leader";
    pub(crate) const FORWARD: &str = "/peer/v1/forward";
    pub(crate) const READ_INDEX: &str = "/peer/v1/read-index";
    pub(crate) const COMPARE: &str = "/peer/v1/compare";
    pub(crate) const HELLO: &str = "/peer/v1/hello";
    pub(crate) const ADMIN: &str = "/peer/v1/admin";
    pub(crate) const STANDING: &str = "/peer/v1/standing";
}

/// Entries, or a heartbeat, with the leader's clock.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Append {
    /// The leader's log clock at the moment of sending.
    pub(crate) clock: Option<Millis>,
    /// What the leader has at the last index that it applied.
    pub(crate) claim: Option<Claim>,
    pub(crate) request: AppendEntriesRequest<TypeConfig>,
}

/// A part of a snapshot on its way, in this order: one `Begin`, then ledger parts, then frame parts, one `End`.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum SnapshotPart {
    Begin { vote: Vote, meta: SnapshotMeta, first_index: u64, opening: Vec<OpeningBalance> },
    Ledger(Vec<u8>),
    Frames(Vec<(u64, Vec<u8>)>),
    End { ledger_bytes: u64, frames: u64 },
}

/// What a receiver of a snapshot says, until it is done.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum SnapshotReply {
    /// Still at it: comes at least every `SNAPSHOT_BEAT`.
    Receiving,
    Done(SnapshotResponse<TypeConfig>),
    Failed(String),
}

/// Commands on their way from the node that took them to the leader.
#[derive(Serialize, Deserialize)]
pub(crate) struct Forward {
    pub(crate) deadline_ms: u64,
    pub(crate) batch: Vec<Arc<Input>>,
}

/// What became of one proposed command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Applied.
    Applied(Response),
    /// Certainly not proposed, and another attempt, perhaps elsewhere, makes sense.
    NotProposed,
    /// Certainly not proposed: too much is in flight.
    Overloaded,
    /// Certainly not proposed: it would not be understood.
    Invalid(String),
    /// Certainly not proposed: the node is not serving.
    NotServing(String),
    /// Perhaps proposed, perhaps applied.
    Unknown(String),
}

/// What a leader answers to a question for the read index.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) enum ReadIndex {
    Index(LogId),
    NotLeader,
}

/// What a node says of itself to anybody who names its cluster and its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The group of which its log makes it a member; none while its store is empty.
    pub(crate) group: Option<GroupId>,
    /// Its store.
    pub(crate) store: StoreId,
    /// Random for each start: tells two processes on copies of one store apart.
    pub(crate) opening: u128,
    /// The first members that it was started with.
    pub(crate) initial_members: Vec<Member>,
    /// The store that its group knows under the id of the node that asks.
    pub(crate) knows_you_as: Option<StoreId>,
}

/// How a node stands now, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub(crate) struct Standing {
    /// The end of its log.
    pub(crate) last_log: Option<LogId>,
    /// Why it does not serve, where it does not.
    pub(crate) serving: Result<(), String>,
}

/// Administration, on its way to the leader.
#[derive(Serialize, Deserialize)]
pub(crate) struct Admin {
    pub(crate) deadline_ms: u64,
    pub(crate) call: AdminCall,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum AdminCall {
    ChangeMembers(ChangeMembers),
    TransferLeader(u64),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum AdminOutcome {
    Done,
    /// Nothing was begun.
    NotLeader,
    /// It cannot be; nothing was begun.
    Invalid(String),
    /// The group as it is now does not allow it; nothing was changed.
    Conflict(String),
    /// It was begun; how it ends is not known.
    Unknown(String),
}

/// Asks for the digests at an index, and tells the asker's.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compare {
    pub(crate) claim: Claim,
    /// Whether an operator gave the state of the node that is asked up for the asker's.
    pub(crate) given_up: bool,
}

/// What the node that was asked has there.
#[derive(Serialize, Deserialize)]
pub(crate) struct Compared {
    /// `None` where it has not applied that index, or no longer knows.
    pub(crate) digests: Option<Digests>,
    /// Whether an operator gave the asker's state up for this node's.
    pub(crate) given_up: bool,
}

/// `value` as a frame.
pub(crate) fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    let mut frame = Vec::with_capacity(FRAME_USUAL);
    frame.resize(HEADER, 0);
    let mut frame = postcard::to_io(value, frame).map_err(io::Error::other)?;
    let length = frame.len() - HEADER;
    if length > FRAME_MAX {
        return Err(io::Error::other(format!("a message of {length} bytes is above {FRAME_MAX}")));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let crc = crc32fast::hash(&frame[HEADER..]);
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4..HEADER].copy_from_slice(&crc.to_le_bytes());
    Ok(Bytes::from(frame))
}

/// The one value of a whole body.
pub(crate) fn decode_whole<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let mut buffer = BytesMut::from(body);
    match take_frame(&mut buffer)? {
        Some(payload) if buffer.is_empty() => decode(&payload),
        _ => Err(malformed("not exactly one frame")),
    }
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    postcard::from_bytes(payload).map_err(|error| malformed(&error.to_string()))
}

fn take_frame(buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > FRAME_MAX {
        return Err(malformed(&format!("a frame of {length} bytes is above {FRAME_MAX}")));
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    let payload = buffer.split_to(length).freeze();
    if crc32fast::hash(&payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(malformed("checksum does not match"));
    }
    Ok(Some(payload))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed peer message: {what}"))
}

/// Frames out of a streaming body.
pub(crate) struct FrameReader {
    body: BodyDataStream<Body>,
    buffer: BytesMut,
}

impl FrameReader {
    pub(crate) fn new(body: Body) -> Self {
        Self { body: BodyDataStream::new(body), buffer: BytesMut::new() }
    }

    /// The next value, or `None` at a clean end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(payload) = take_frame(&mut self.buffer)? {
                return decode(&payload).map(Some);
            }
            match self.body.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(malformed("the stream ends inside a frame")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::{
        entry::EntryPayload,
        raft::{StreamAppendError, StreamAppendResult, TransferLeaderRequest, VoteRequest},
    };
    use quorate_ledger::{Command, Digest, Envelope};

    use super::*;
    use crate::raft::types::{Entry, Peer, Proposal};

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(openraft::vote::leader_id_std::CommittedLeaderId::new(term), index)
    }

    fn peer(host: &str, store: u128) -> Peer {
        Peer {
            peer_addr: format!("{host}:1"),
            api_addr: format!("{host}:2"),
            group_id: GroupId::new(9),
            store_id: StoreId::new(store),
        }
    }

    fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
        decode_whole(&encode(value).unwrap()).unwrap()
    }

    #[test]
    fn consensus_messages_survive() {
        let membership = openraft::Membership::new(
            vec![[1, 2, 3].into()],
            std::collections::BTreeMap::from([(1, peer("a", 1)), (2, peer("b", 2)), (3, peer("c", 3))]),
        )
        .unwrap();
        let input = Input::Client(Envelope { session: 0, seq: 0, command: Command::OpenSession });
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Membership(membership.clone()),
            EntryPayload::Normal(Proposal { stamp: Millis(7), input: Arc::new(input) }),
        ];
        let entries: Vec<Entry> =
            payloads.into_iter().zip(4..).map(|(payload, index)| Entry { log_id: log_id(2, index), payload }).collect();
        let request = AppendEntriesRequest {
            vote: Vote::new_committed(2, 1),
            prev_log_id: Some(log_id(1, 3)),
            entries: entries.clone(),
            leader_commit: Some(log_id(1, 2)),
        };
        let claim = Claim { index: 2, digests: Digests { chain: Digest([7; 32]), state: None } };
        let back = round_trip(&Append { clock: Some(Millis(9)), claim: Some(claim), request });
        assert_eq!((back.clock, back.claim, back.request.entries), (Some(Millis(9)), Some(claim), entries));

        let vote = VoteRequest::<TypeConfig> { leadership_transfer: true, ..VoteRequest::new(Vote::new(3, 2), None) };
        assert_eq!(round_trip(&vote), vote);
        let transfer = TransferLeaderRequest::<TypeConfig>::new(Vote::new_committed(2, 1), 3, Some(log_id(2, 9)));
        assert_eq!(round_trip(&transfer), transfer);
        let results: [StreamAppendResult<TypeConfig>; 3] = [
            Ok(Some(log_id(2, 9))),
            Err(StreamAppendError::Conflict(log_id(2, 1))),
            Err(StreamAppendError::HigherVote(Vote::new(5, 1))),
        ];
        for result in results {
            assert_eq!(round_trip(&result), result);
        }
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(2, 9)),
            last_membership: openraft::StoredMembership::new(Some(log_id(1, 0)), membership),
        };
        assert_eq!(round_trip(&meta), meta);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let hello = Hello {
            group: Some(GroupId::new(9)),
            store: StoreId::new(1),
            opening: 7,
            initial_members: Vec::new(),
            knows_you_as: None,
        };
        let whole = encode(&hello).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_whole::<Hello>(&bytes).is_err(), "bit {bit}");
        }
    }

    #[tokio::test]
    async fn frames_come_out_whatever_the_chunks() {
        let mut bytes = Vec::new();
        for index in 0..5_u64 {
            bytes.extend_from_slice(&encode(&index).unwrap());
        }
        let chunks: Vec<_> = bytes.chunks(3).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let mut reader = FrameReader::new(quorate_seams::stream_body(futures_util::stream::iter(chunks)));
        for index in 0..5_u64 {
            assert_eq!(reader.next::<u64>().await.unwrap(), Some(index));
        }
        assert_eq!(reader.next::<u64>().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_torn_end_is_an_error() {
        let bytes = encode(&7_u64).unwrap();
        let torn = bytes.slice(..bytes.len() - 1);
        let mut reader = FrameReader::new(quorate_seams::full_body(torn));
        assert!(reader.next::<u64>().await.is_err());
    }
}
