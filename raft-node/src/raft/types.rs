//! The types that openraft is instantiated with.
//!
//! Leader ids are the standard ones: at most one leader in a term. The ledger relies on that, for it
//! takes one `BeginTerm` a term.

use std::{fmt, sync::Arc};

use openraft::{
    EntryPayload,
    impls::leader_id_std,
    raft::{ClientWriteResult, responder::Responder},
    vote::leader_id_std::CommittedLeaderId,
};
use quorate_api::{GroupId, Member, StoreId};
use quorate_domain::Millis;
use quorate_ledger::{Input, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{runtime::NodeRuntime, state_machine::StateMachine};

/// The group's types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = EntryResponse;
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Proposal, u64, Peer>;
    type Entry = openraft::Entry<CommittedLeaderId<u64>, Self::Payload>;
    type Responder<T>
        = Reply<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type AsyncRuntime = NodeRuntime;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// The consensus handle.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;
/// A position in the log.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// A log entry.
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
/// The members, with where in the log they were set.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
/// How a write ended.
pub type WriteResult = ClientWriteResult<TypeConfig>;

/// What a log entry carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Log time, as the proposing leader had it.
    pub stamp: Millis,
    /// For the ledger. Shared, because the log, the replication to each peer and the state machine each take a copy.
    pub input: Arc<Input>,
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.input {
            Input::Client(envelope) => write!(f, "{} @{}", envelope.command.name(), self.stamp),
            Input::Leader(command) => write!(f, "{command:?} @{}", self.stamp),
        }
    }
}

/// What applying an entry answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryResponse {
    /// The ledger's answer.
    Ledger(Response),
    /// The entry was not for the ledger: a new leader's blank entry, or a change of members.
    None,
}

/// A member, as every membership names it: where it is reached, and which store it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Where its peers reach it: `host:port`.
    pub peer_addr: String,
    /// Where clients reach it: `host:port`.
    pub api_addr: String,
    /// The group: the same in all members.
    pub group_id: GroupId,
    /// The store that this member was founded or added with. No other store votes or counts under its id.
    pub store_id: StoreId,
}

impl Peer {
    /// `member` of the group `group_id`, on the store `store_id`.
    #[must_use]
    pub fn new(member: &Member, group_id: GroupId, store_id: StoreId) -> Self {
        Self { peer_addr: member.peer_addr.clone(), api_addr: member.api_addr.clone(), group_id, store_id }
    }

    /// Whether this member is reached as `member` says.
    #[must_use]
    pub fn is_at(&self, member: &Member) -> bool {
        self.peer_addr == member.peer_addr && self.api_addr == member.api_addr
    }
}

/// Carries the outcome of a write to whoever waits, and holds its place among the writes in flight until
/// then, also where nobody waits any more.
pub struct Reply<T> {
    to: oneshot::Sender<T>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<T> Reply<T> {
    /// With the receiving end.
    #[must_use]
    pub fn new(place: Option<OwnedSemaphorePermit>) -> (Self, oneshot::Receiver<T>) {
        let (to, from) = oneshot::channel();
        (Self { to, _place: place }, from)
    }
}

impl<T: Send + 'static> Responder<TypeConfig, T> for Reply<T> {
    fn on_complete(self, result: T) {
        // Whoever waited may have given up: the outcome stands in the log all the same.
        drop(self.to.send(result));
    }
}
