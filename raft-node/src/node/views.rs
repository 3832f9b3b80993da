//! What a [`Node`](super::Node) hands out: values only, no behaviour.

use std::{collections::BTreeMap, fmt, pin::Pin, sync::Arc};

use futures_util::Stream;
use quorate_api::OpeningBalance;
use quorate_domain::{Exposure, Millis, Sides};
use quorate_ledger::{Frame, Ledger};
use quorate_log_store::StorageMetrics;

/// The ledger as it stood at one index. Cheap to make and to keep; later applies do not change it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The state.
    pub ledger: Ledger,
    /// The last log index applied to it.
    pub applied_index: u64,
    /// The first index whose frame this node kept at that moment.
    pub first_event_index: u64,
}

/// One item of a [`FrameStream`].
#[derive(Clone, Debug)]
pub enum StreamItem {
    /// What one index did; the next index follows, without a gap.
    Frame(Arc<Frame>),
    /// Nothing new: this node has applied so far. Comes at least every
    /// [`KEEP_ALIVE`](super::KEEP_ALIVE) while nothing else does.
    Applied(u64),
}

/// Why a [`FrameStream`] ended. Always its last item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamEnd {
    /// The frames asked for are no longer kept.
    #[error("frames before {first_index} are no longer kept: read the state again and go on from there")]
    Gone {
        /// The first index that is kept.
        first_index: u64,
    },
    /// This node installed a snapshot: frames between may be missing here. Ask again from the same
    /// index, of this node or another.
    #[error("this node installed a snapshot: ask again from the same index")]
    Cut,
    /// This node has heard of no leader for a while: it cannot know what happens.
    #[error("this node has no leader: ask another one")]
    NoLeader,
    /// This node is behind the group and gets nothing new: it cannot know what happens.
    #[error("this node does not keep up with the group: ask another one")]
    Behind,
    /// This node's state differs from others', and it is not decided which is right.
    #[error("this node does not trust its own state: ask another one")]
    Suspended,
    /// This node is stopping.
    #[error("this node is stopping: ask another one")]
    Stopped,
    /// The node's history cannot be read.
    #[error("the history cannot be read: {0}")]
    Broken(String),
}

/// Frames in index order, until it ends with a [`StreamEnd`].
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<StreamItem, StreamEnd>> + Send>>;

/// A part of what is kept of the history.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    /// The first index from which every frame is kept.
    pub first_index: u64,
    /// Positions from all fills before `first_index`.
    pub opening: Vec<OpeningBalance>,
    /// Frames, in order, from the index asked for.
    pub frames: Vec<Arc<Frame>>,
    /// Where to go on, where the limit cut the page short.
    pub next_from: Option<u64>,
}

/// Why a node stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// It was told to.
    #[error("shut down")]
    Shutdown,
    /// Storage failed; nothing was acknowledged that is not kept.
    #[error("storage failed: {0}")]
    Storage(String),
    /// The log holds what this program does not understand.
    #[error("index {index} cannot be applied: {what}: install the newer program, then start again")]
    Unsupported {
        /// The log index.
        index: u64,
        /// What is not supported.
        what: String,
    },
    /// A majority holds another state than this node at the same index.
    #[error("{why}")]
    Diverged {
        /// Where the difference was found.
        index: u64,
        /// The digests, and the cure.
        why: String,
    },
    /// Another process answers at this node's member address, with a copy of this store.
    #[error(
        "another process with a copy of this store answers at this node's member address {addr}: stop one of the two and \
         remove its copy of the data directory"
    )]
    Copied {
        /// The address.
        addr: String,
    },
    /// The consensus task ended by itself: a bug.
    #[error("the consensus task failed: {0}")]
    Failed(String),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The timing or another setting does not fit together.
    #[error("config: {0}")]
    Config(String),
    /// What is kept cannot be read.
    #[error("storage: {0}")]
    Storage(String),
    /// What is kept was written by a newer program.
    #[error("the data was written under a newer program: {0}")]
    Unsupported(String),
    /// A majority held another state than this node's, before it stopped: it takes no part any more.
    #[error("{0}")]
    Diverged(String),
}

/// Counters and gauges since the start, for `/metrics`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    /// Whether this node leads.
    pub is_leader: bool,
    /// The Raft term.
    pub term: u64,
    /// The leader, where one is known and heard of.
    pub leader: Option<u64>,
    /// The last index in the log.
    pub last_log_index: u64,
    /// The last index known to be committed.
    pub committed_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// The last index of the last snapshot.
    pub snapshot_index: u64,
    /// The last index purged from the log.
    pub purged_index: u64,
    /// The first index whose frame is kept.
    pub first_event_index: u64,
    /// Commands in flight.
    pub in_flight: u64,
    /// Commands taken from callers.
    pub commands: u64,
    /// Commands forwarded to the leader.
    pub forwarded: u64,
    /// Commands refused for overload.
    pub overloaded: u64,
    /// Commands whose outcome could not be told.
    pub unknown: u64,
    /// Commands that were certainly not proposed.
    pub not_proposed: u64,
    /// Peer calls, answers and streams that the fault switch made vanish.
    pub faults_dropped: u64,
    /// Linearizable reads answered.
    pub reads_linearizable: u64,
    /// Local reads answered.
    pub reads_local: u64,
    /// Reads that failed within their deadline.
    pub reads_failed: u64,
    /// Terms that this node began as leader.
    pub terms_begun: u64,
    /// Ticks proposed.
    pub ticks: u64,
    /// Clock jumps seen at the start of a term.
    pub clock_jumps: u64,
    /// Of these, forward jumps that were not followed.
    pub clock_jumps_refused: u64,
    /// Snapshots built.
    pub snapshots_built: u64,
    /// Snapshots installed from a leader.
    pub snapshots_installed: u64,
    /// Peer calls refused because they came from, or meant, another store or group.
    pub identity_refused: u64,
    /// This node's calls that members refused because of whose store or group it is, or they are.
    pub refused_by_members: u64,
    /// Reasons told at WARN why no group was founded.
    pub founding_held_up: u64,
    /// Checkpoints that a majority confirmed.
    pub checkpoints_confirmed: u64,
    /// Differences seen between this node's state and a peer's; one that lasts is seen again and again.
    pub state_differences: u64,
    /// Whether this node does not serve because a difference is not decided.
    pub undecided: bool,
    /// Members that were not let in, or not made voters, because they did not answer or did not catch up.
    pub members_refused: u64,
    /// Times that this node was to hand leadership over, and did not.
    pub transfers_failed: u64,
    /// Whether a change of the voters is half done.
    pub joint: bool,
    /// As the leader: voters that have not answered since it began to lead, some time ago.
    pub voters_unheard: u64,
    /// Open frame streams.
    pub streams: u64,
    /// Event streams refused because all their places were taken.
    pub streams_refused: u64,
    /// Snapshots that could not be sent to a peer, or were not installed there.
    pub snapshots_failed: u64,
    /// What the store has done.
    pub storage: StorageMetrics,
    /// Log time.
    pub log_time: Millis,
    /// Exposure reserved by the quotes that stand; bids are long.
    pub reserved: Sides<Exposure>,
    /// What may be reserved on each side.
    pub exposure_limit: Exposure,
    /// Fills committed.
    pub fills: u64,
    /// Orders that rest.
    pub open_orders: u64,
    /// As the leader: how far each other member is behind the log's end.
    pub lag: BTreeMap<u64, u64>,
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ledger at {}", self.applied_index)
    }
}
