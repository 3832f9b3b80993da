//! What the invariants are shown: values, copied out of the nodes and clients at one instant.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use quorate_domain::Symbol;
use quorate_ledger::{Digest, Epoch, Incarnation};
use quorate_seams::Clocks;
use quorate_tests::replay::Sums;

/// The nodes at the end of a step.
#[derive(Debug, Default)]
pub struct View {
    /// Counts the steps.
    pub step: u64,
    /// Every node that ever was, by id.
    pub nodes: BTreeMap<u64, NodeView>,
    /// The feed of a reference price, where the run has one.
    pub feed: Option<FeedView>,
}

/// One node.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// Counts its lives.
    pub life: u64,
    /// Whether it runs. Otherwise all else is as it was last seen.
    pub up: bool,
    /// Whether an empty disk took the place of the one that the group knows.
    pub wiped: bool,
    /// The wall clock of its machine, in milliseconds since the Unix epoch.
    pub wall_ms: u64,
    /// Its consensus, where it was seen yet.
    pub raft: Option<RaftView>,
    /// What it has applied.
    pub applied: Option<AppliedView>,
}

/// A node's consensus state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftView {
    /// The life in which it was looked at.
    pub life: u64,
    /// The step at whose end it was asked.
    pub asked: u64,
    /// The term of its vote.
    pub term: u64,
    /// Whom it voted for in that term.
    pub voted_for: u64,
    /// Whether it is the vote of a quorum: that node was elected.
    pub vote_committed: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Its log.
    pub log: LogView,
    /// The last entry that it knows to be committed: (term, index).
    pub committed: Option<(u64, u64)>,
    /// The voters of the membership in effect: several sets while it changes.
    pub voters: Vec<BTreeSet<u64>>,
    /// All its members, voters or not.
    pub members: BTreeSet<u64>,
    /// Where in the log that membership stands.
    pub membership_at: Option<u64>,
    /// Whether that is committed.
    pub membership_committed: bool,
}

/// A log by its terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogView {
    /// The last entry purged: (term, index).
    pub purged: Option<(u64, u64)>,
    /// Where each term begins, among the entries not purged: (first index, term).
    pub starts: Vec<(u64, u64)>,
    /// The last entry: (term, index).
    pub last: Option<(u64, u64)>,
}

impl LogView {
    /// The first index that is not purged.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.purged.map_or(0, |(_, index)| index + 1)
    }

    /// The term of the entry at `index`, where it is in this log.
    #[must_use]
    pub fn term_at(&self, index: u64) -> Option<u64> {
        let (_, last) = self.last?;
        if index > last || index < self.first() {
            return self.purged.filter(|(_, at)| *at == index).map(|(term, _)| term);
        }
        let after = self.starts.partition_point(|(start, _)| *start <= index);
        self.starts.get(after.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// Whether it holds this entry, or has purged beyond it.
    #[must_use]
    pub fn holds(&self, term: u64, index: u64) -> bool {
        self.purged.is_some_and(|(_, purged)| index <= purged) || self.term_at(index) == Some(term)
    }
}

/// A node's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedView {
    /// The last index applied.
    pub index: u64,
    /// The chain of digests there.
    pub chain: Digest,
    /// The digest of the whole state, where it was computed at this step.
    pub state: Option<Digest>,
    /// What its audit found at this step.
    pub audit: Vec<String>,
    /// Its money.
    pub sums: Sums,
}

/// What a feed says of its symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedView {
    /// The symbol.
    pub symbol: Symbol,
    /// For how long at least the exchange has taken no good price.
    pub silence: Duration,
    /// Whether nothing else goes wrong in this run.
    pub alone: bool,
}

/// A maker sends a quote for the symbol of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    /// Which maker.
    pub maker: u64,
    /// Under which epoch.
    pub epoch: Epoch,
    /// Which of its quotes.
    pub quote_seq: u64,
    /// For how long at least the exchange had taken no good price.
    pub silence: Duration,
}

/// A maker's word on what it believes to hold.
#[derive(Debug, Clone)]
pub struct Believed {
    /// Which maker.
    pub maker: u64,
    /// Its life.
    pub life: u64,
    /// What; `None`: nothing at all from now on.
    pub symbol: Option<Symbol>,
    /// Under which epoch.
    pub epoch: Epoch,
    /// As which incarnation.
    pub incarnation: Incarnation,
    /// Whether it holds it from now on.
    pub holds: bool,
    /// When it no longer believes so, unless it says otherwise, by `clock`.
    pub until: Duration,
    /// The maker's own clock.
    pub clock: Arc<dyn Clocks>,
}

/// An answer of the ledger, as a client got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acked {
    /// The index.
    pub index: u64,
    /// Log time there.
    pub log_time: u64,
    /// Who was told.
    pub to: String,
}

/// A read, as a client got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadSeen {
    /// Which node answered.
    pub node: u64,
    /// Whether it was asked to be linearizable.
    pub linearizable: bool,
    /// The index that it was made at.
    pub applied_index: u64,
    /// The highest index acknowledged to anybody before the read began.
    pub acked_before: u64,
    /// The highest index that this node had answered (to anybody) before the read began.
    pub served_before: u64,
}
