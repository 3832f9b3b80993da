//! What reads answer. Every answer is a [`Read`], which says how fresh it is.

use quorate_domain::{
    Account, Exposure, ExposureBasis, Instrument, MakerName, Millis, Money, OrderId, Position, Price, Qty, QuoteId,
    Symbol,
};
use quorate_ledger::{Digest, Epoch, FillCommitted, Incarnation, NewOrder, OrderStatus, QuoteBasis, QuoteCause, Turn};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    identity::{GroupId, StoreId},
    money::MarkView,
};

/// Lots as text.
mod as_text {
    use quorate_domain::Qty;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(qty: &Qty, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(qty)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Qty, D::Error> {
        String::deserialize(d)?.parse().map(Qty).map_err(de::Error::custom)
    }
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// At or after every write acknowledged before the call (ReadIndex, Raft thesis 6.4).
    #[default]
    Linearizable,
    /// Whatever this node has applied.
    Local,
}

/// An answer, with where it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Read<T> {
    /// The log index that this node had applied.
    pub applied_index: u64,
    /// Log time there.
    pub log_time: Millis,
    /// Which node answered.
    pub node_id: u64,
    /// How it was read.
    pub consistency: Consistency,
    /// What was asked for.
    pub data: T,
}

/// A symbol's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PositionView {
    /// The symbol.
    pub symbol: Symbol,
    /// Lots.
    pub position: Position,
    /// The same, in units of the symbol.
    pub position_units: String,
    /// How many quote fills it is the sum of.
    pub position_seq: u64,
    /// The largest position, long or short, in lots, where there is one.
    pub position_max: Option<Qty>,
    /// Lots bought by quotes in all. A string in JSON: it can pass 2^53.
    #[serde(with = "as_text")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub bought: Qty,
    /// Lots sold by quotes in all, likewise.
    #[serde(with = "as_text")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub sold: Qty,
    /// Received less paid, fees included, in the quote asset.
    pub cash: Money,
    /// What the open position cost; below 0 what was received for a short one.
    pub cost: Money,
    /// What closing brought.
    pub realised: Money,
    /// What closing at the mark would bring; none where there is no mark.
    pub unrealised: Option<Money>,
    /// What the house paid in fees.
    pub fees: Money,
    /// The mark that counts.
    pub mark: Option<MarkView>,
}

/// The exposure ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExposureView {
    /// How exposure is counted: in units, or as the worst loss in 10^-12 of an asset.
    pub basis: ExposureBasis,
    /// The limit, each side.
    pub limit: Exposure,
    /// What no limit may pass.
    pub hard_limit: Exposure,
    /// Reserved by bids.
    pub long: Exposure,
    /// Reserved by asks.
    pub short: Exposure,
    /// Symbols that reserve something or wait for something.
    pub symbols: Vec<SymbolExposure>,
}

/// One symbol's part of the exposure ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymbolExposure {
    /// The symbol.
    pub symbol: Symbol,
    /// Reserved by its bid.
    pub long: Exposure,
    /// Reserved by its ask.
    pub short: Exposure,
    /// A refused or reduced bid is remembered until then.
    pub long_demand_until: Option<Millis>,
    /// A refused or reduced ask is remembered until then.
    pub short_demand_until: Option<Millis>,
    /// Its place in the turns, where it is in them.
    pub turn: Option<Turn>,
}

/// A symbol that waits for one lot a side, or whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingView {
    /// The symbol.
    pub symbol: Symbol,
    /// Whether it waits, is offered its lot, or has its turn.
    pub turn: Turn,
    /// Exposure of the lot that its bid asks for; 0 where it asks for none.
    pub long_lot: Exposure,
    /// Exposure of the lot that its ask asks for; 0 where it asks for none.
    pub short_lot: Exposure,
    /// Whether that lot is kept free for it.
    pub set_aside: bool,
}

/// An active quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuoteView {
    /// The symbol.
    pub symbol: Symbol,
    /// Its id.
    pub quote_id: QuoteId,
    /// Who quotes.
    pub maker: MakerName,
    /// The maker's incarnation.
    pub incarnation: Incarnation,
    /// The epoch.
    pub epoch: Epoch,
    /// The maker's number for it.
    pub quote_seq: u64,
    /// The position it was computed from.
    pub position_seq: u64,
    /// The bid, while it has leaves.
    pub bid: Option<QuoteSideView>,
    /// The ask, while it has leaves.
    pub ask: Option<QuoteSideView>,
    /// Log time of its commit.
    pub placed_at: Millis,
    /// From then on it cannot be filled.
    pub deadline: Millis,
    /// Why it was placed.
    pub cause: QuoteCause,
    /// What it was computed from.
    pub basis: QuoteBasis,
    /// Log time at which its maker kept it last.
    pub confirmed_at: Option<Millis>,
    /// What the maker compared it with then.
    pub confirmation: Option<QuoteBasis>,
}

/// One side of an active quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuoteSideView {
    /// Ticks.
    pub price: Price,
    /// Lots granted.
    pub qty: Qty,
    /// Lots left.
    pub leaves: Qty,
    /// The price, in units of the quote currency.
    pub price_units: String,
    /// What is left, in units of the symbol.
    pub leaves_units: String,
}

/// Who holds a symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityView {
    /// The symbol.
    pub symbol: Symbol,
    /// The present epoch; 0 where it was never held.
    pub epoch: Epoch,
    /// The holder.
    pub holder: Option<MakerName>,
    /// The holder's incarnation.
    pub incarnation: Option<Incarnation>,
    /// Until then at the latest, unless it is renewed.
    pub deadline: Option<Millis>,
    /// To whom it moves.
    pub moving_to: Option<MakerName>,
    /// At the latest then.
    pub moving_until: Option<Millis>,
}

/// A registered maker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MakerView {
    /// Its name.
    pub maker: MakerName,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its lease's length, in milliseconds.
    pub ttl_ms: u64,
    /// When its lease ends.
    pub deadline: Millis,
    /// The index at which what it holds, or is to give up, last changed.
    pub holdings_index: u64,
    /// What it holds, in symbol order.
    pub holds: Vec<HoldingView>,
    /// Whether quoting is on for it.
    pub quoting: bool,
}

/// A symbol that a maker holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HoldingView {
    /// The symbol.
    pub symbol: Symbol,
    /// The fencing token.
    pub epoch: Epoch,
    /// Where the symbol moves away: held until then at the latest, whatever is renewed.
    pub moving_until: Option<Millis>,
}

/// A defined symbol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymbolView {
    /// The symbol.
    pub symbol: Symbol,
    /// What is traded.
    pub instrument: Instrument,
    /// Which revision of that, from 1.
    pub revision: u64,
    /// Whether the exchange has a price source for it.
    pub listed: bool,
    /// How it ended, where it has.
    pub closed: Option<ClosedView>,
    /// Whether quoting is on for it.
    pub quoting: bool,
}

/// How a symbol ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClosedView {
    /// Log time.
    pub at: Millis,
    /// The price at which positions became cash, in ticks; none where they did not.
    pub settled: Option<Price>,
}

/// An order: one that is open, or one that closed not long ago, of which the ledger keeps less.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Its id.
    pub order_id: OrderId,
    /// Whose.
    pub account: Account,
    /// Its state.
    pub status: OrderStatus,
    /// Lots filled.
    pub cum_qty: Qty,
    /// Lots that rest.
    pub leaves_qty: Qty,
    /// Sum of price x quantity of its fills, in the quote asset.
    pub cum_quote: Money,
    /// Log time when it closed; none of an open order.
    pub closed_at: Option<Millis>,
    /// The order as its sender made it; none of a closed order.
    pub sent: Option<NewOrder>,
    /// Of a closed order, what tells it from another of its name: 24 bits of a digest of its content.
    pub check: Option<u32>,
}

/// A fill, with the index at which it was committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FillView {
    /// The log index.
    pub index: u64,
    /// Log time there.
    pub log_time: Millis,
    /// The fill.
    pub fill: FillCommitted,
}

/// Fills that are still kept, and what came before them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FillsView {
    /// The first index from which every frame is kept.
    pub first_index: u64,
    /// Positions from all fills before `first_index`.
    pub opening: Vec<OpeningBalance>,
    /// The fills, in order.
    pub fills: Vec<FillView>,
    /// Where to go on, where the limit cut the answer short.
    pub next_from: Option<u64>,
}

/// A position carried forward from fills that are no longer kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpeningBalance {
    /// The symbol.
    pub symbol: Symbol,
    /// Lots.
    pub position: Position,
    /// How many quote fills it is the sum of.
    pub position_seq: u64,
    /// Received less paid, fees included, in the quote asset.
    pub cash: Money,
}

/// The node and its ledger, in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The cluster's name.
    pub cluster_id: String,
    /// This node.
    pub node_id: u64,
    /// This program's version.
    pub version: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// The Raft term.
    pub term: u64,
    /// The leader, where one is known.
    pub leader: Option<u64>,
    /// The last index in this node's log.
    pub last_log_index: u64,
    /// The last index known to be committed.
    pub committed_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// The index of the last snapshot.
    pub snapshot_index: u64,
    /// The first index whose events are kept.
    pub first_event_index: u64,
    /// Log time at the applied index.
    pub log_time: Millis,
    /// The chain of digests at the applied index.
    pub chain: Digest,
    /// The ledger's version.
    pub ledger_version: u32,
    /// Control.
    pub control: ControlView,
    /// Fills in all.
    pub fills: u64,
    /// Open orders.
    pub open_orders: u64,
    /// Sessions.
    pub sessions: u64,
    /// The present exchange's fencing token.
    pub exchange_epoch: u64,
    /// Clock jumps seen by this node as a leader since it started.
    pub clock_jumps: u64,
    /// A difference between this node's state and others', unless a majority has settled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<DivergenceView>,
}

/// A difference between a node's state and others'.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DivergenceView {
    /// `undecided`: no majority decides, and the node does not serve; `accepted`: an operator named this node's state as
    /// the right one; `diverged`: a majority holds another state, and the node stops.
    pub verdict: String,
    /// Where it was found.
    pub index: u64,
    /// This node's chain of digests there.
    pub chain: Digest,
    /// The digest of this node's whole state there, where the states differ and the chains do not.
    pub state: Option<Digest>,
    /// What others have.
    pub others: Vec<PeerDigest>,
    /// Nodes whose states the operator gave up.
    pub given_up: Vec<u64>,
}

/// What another node has that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerDigest {
    /// The node.
    pub node_id: u64,
    /// Where it was found.
    pub index: u64,
    /// Its chain of digests there.
    pub chain: Digest,
    /// The digest of its whole state there, where that was compared.
    pub state: Option<Digest>,
}

/// What can be switched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ControlView {
    /// What a change must name.
    pub control_version: u64,
    /// Whether the kill switch is engaged.
    pub kill_switch: bool,
    /// Whether quoting is on at all.
    pub quoting: bool,
    /// Symbols for which it is off.
    pub symbols_off: Vec<Symbol>,
    /// Makers for which it is off.
    pub makers_off: Vec<MakerName>,
}

/// The group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster_id: String,
    /// The group of which this node is a member; none while its store is empty.
    pub group_id: Option<GroupId>,
    /// The leader, where one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The log index at which the present members were set: what a change of them must name.
    pub membership_index: u64,
    /// Whether a change of the voters is half done: every decision needs a majority of each of two sets.
    pub joint: bool,
    /// The voters, by node id: one set, or two while a change is half done, the new one last.
    pub voter_sets: Vec<Vec<u64>>,
    /// Its members.
    pub members: Vec<MemberView>,
}

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Its id.
    pub node_id: u64,
    /// Where its peers reach it: `host:port`.
    pub peer_addr: String,
    /// Where clients reach it: `host:port`.
    pub api_addr: String,
    /// Its store: no other one votes or counts under its id.
    pub store_id: StoreId,
    /// Whether it votes: in any of the voter sets.
    pub voter: bool,
    /// As the leader sees it: the last index it holds.
    pub matched_index: Option<u64>,
}

/// To `POST /v1/cluster/members`: the members from now on. At least half of the present voters must stay voters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMembers {
    /// The `membership_index` of the members from which this list was made, as `GET /v1/cluster` shows it. The change
    /// is refused where the members were changed since.
    pub membership_index: u64,
    /// Every member, with its addresses; those that are not listed leave.
    pub members: Vec<Member>,
}

/// A member, as it is named in a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its id: from 1, never used again for another machine or disk.
    pub node_id: u64,
    /// `host:port` for peers.
    pub peer_addr: String,
    /// `host:port` for clients.
    pub api_addr: String,
    /// Whether it votes.
    pub voter: bool,
}

/// To `POST /v1/cluster/transfer-leader`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransferLeader {
    /// To which voter.
    pub to: u64,
}

/// An audit of the ledger at one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    /// What does not hold, in words; empty where all does.
    pub violations: Vec<String>,
    /// The digest of the whole state at `applied_index`.
    pub state: Digest,
    /// The chain of digests there.
    pub chain: Digest,
}

/// Digests at one index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckpointView {
    /// The index.
    pub index: u64,
    /// The chain of digests there.
    pub chain: Digest,
    /// The digest of the whole state there.
    pub state: Digest,
}

/// The fault switch of one node's peer traffic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Peers to which nothing is sent.
    pub drop_to: Vec<u64>,
    /// Peers from which nothing is taken.
    pub drop_from: Vec<u64>,
}
