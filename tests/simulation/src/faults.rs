//! What goes wrong, and when. A fault of the schedule is a kind, a time, a length and a seed of its own; whom it hits is
//! drawn from that seed when it happens. Faults overlap freely.

mod clock;
mod control;
mod disk;
mod keeps;
pub mod membership;
mod mischief;
mod network;
mod process;
mod strangers;
mod transfer;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use quorate_domain::Symbol;
use quorate_seams::{FailAction, Failpoints};
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};

pub use strangers::STRANGERS_FROM;

use crate::{note, operator::Operator, plan::SYMBOLS, process::Who, sim::Sim};

/// One entry of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// For how long, where it lasts.
    pub for_ms: u64,
    /// What.
    pub kind: Kind,
    /// Whom, and how exactly.
    pub seed: u64,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal, $low:literal..$high:literal;)+) => {
        /// Kinds of faults.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// All of them.
            pub const ALL: [Self; [$($low,)+].len()] = [$(Self::$kind,)+];

            /// Its name, as on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// How long it lasts at least and at most, in milliseconds.
            #[must_use]
            pub fn lasts_ms(self) -> (u64, u64) {
                match self { $(Self::$kind => ($low, $high),)+ }
            }
        }
    };
}

kinds! {
    /// The nodes fall into two halves that do not hear each other; clients hear one of them or both.
    Partition = "partition", 500..8_000;
    /// The same, with the leader among the fewer.
    LeaderMinority = "leader-minority", 500..8_000;
    /// The leader alone.
    IsolateLeader = "isolate-leader", 500..8_000;
    /// A node is heard by nobody, and hears all.
    Mute = "mute", 500..6_000;
    /// A node hears nobody, and is heard.
    Deaf = "deaf", 500..6_000;
    /// Two halves that hear each other only through one node.
    Bridge = "bridge", 500..8_000;
    /// Single links between two of all are cut, one way or both.
    CutLinks = "cut-links", 300..6_000;
    /// A maker, the exchange or another client is cut off from all.
    CutClient = "cut-client", 300..6_000;
    /// Links hold what is sent, and let it go at once.
    Hold = "hold", 100..3_000;
    /// Messages are lost.
    Loss = "loss", 500..6_000;
    /// Messages are late.
    Delay = "delay", 500..6_000;
    /// Messages overtake each other.
    Reorder = "reorder", 500..6_000;
    /// Calls arrive twice.
    Double = "double", 500..6_000;
    /// A node is killed, and started again.
    Kill = "kill", 0..2_000;
    /// The leader is.
    KillLeader = "kill-leader", 0..2_000;
    /// A majority at once.
    KillMajority = "kill-majority", 0..2_000;
    /// Every node at once.
    KillAll = "kill-all", 0..2_000;
    /// A node, between two polls of any of its tasks.
    KillAnywhere = "kill-anywhere", 0..0;
    /// A node, at a named failpoint.
    Failpoint = "failpoint", 0..0;
    /// An operation of a node fails at a named failpoint.
    FailpointError = "failpoint-error", 0..0;
    /// A node is down for so long that the others' logs no longer reach back.
    LongOutage = "long-outage", 6_000..14_000;
    /// A node stands still.
    PauseNode = "pause-node", 200..8_000;
    /// A maker stands still, past its lease at times.
    PauseMaker = "pause-maker", 200..12_000;
    /// The exchange stands still.
    PauseExchange = "pause-exchange", 200..6_000;
    /// A maker is killed, and started again.
    KillMaker = "kill-maker", 0..6_000;
    /// A maker leaves in good order, and comes back.
    LeaveMaker = "leave-maker", 0..4_000;
    /// The exchange is killed, and started again.
    KillExchange = "kill-exchange", 0..3_000;
    /// The exchange ends at a failpoint, or between two polls.
    ExchangeFailpoint = "exchange-failpoint", 0..0;
    /// A second exchange takes over while the first still runs.
    Takeover = "takeover", 0..0;
    /// The nodes are stopped in good order and started again, one after the other.
    RollingRestart = "rolling-restart", 100..1_500;
    /// A node's machine loses power: what was not synced is lost, or torn.
    PowerLoss = "power-loss", 0..2_000;
    /// All machines do.
    PowerLossAll = "power-loss-all", 0..2_000;
    /// A node's machine loses power at the k-th operation of its disk.
    DieAtOperation = "die-at-operation", 0..0;
    /// An fsync fails.
    FailSync = "fail-sync", 0..0;
    /// A disk is full.
    FullDisk = "full-disk", 500..5_000;
    /// A node's disk is replaced by an empty one, under the old id; never of more disks than a minority.
    WipeDisk = "wipe-disk", 0..2_000;
    /// Bits of a disk flip while its node is down or runs; never of more disks than a minority.
    Rot = "rot", 0..1_000;
    /// A wall clock steps.
    StepWall = "step-wall", 0..0;
    /// A wall clock steps while its process is down.
    StepWallRestart = "step-wall-restart", 0..1_000;
    /// An oscillator drifts.
    Drift = "drift", 1_000..10_000;
    /// A member is replaced by a new one.
    ReplaceMember = "replace-member", 0..0;
    /// The group grows by one member, or shrinks by one.
    ResizeGroup = "resize-group", 0..0;
    /// Leadership is handed over.
    TransferLeader = "transfer-leader", 0..0;
    /// A node is killed, and leadership is to be handed to it.
    TransferToDead = "transfer-to-dead", 500..4_000;
    /// A node that founded a group of its own is to be added.
    ForeignNode = "foreign-node", 0..0;
    /// A member is to be added at an address that nobody serves.
    AddDeadAddress = "add-dead-address", 0..0;
    /// A snapshot is asked for.
    Snapshot = "snapshot", 0..0;
    /// The exposure limit changes.
    SetLimit = "set-limit", 0..4_000;
    /// A position is given a limit, and then none.
    SetPositionLimit = "set-position-limit", 500..6_000;
    /// Equity may fall only so far for a while.
    SetDrawdown = "set-drawdown", 500..6_000;
    /// A symbol is paused for a while when much of it is filled.
    SetProtection = "set-protection", 500..6_000;
    /// Quoting is turned off for all, a symbol or a maker, and on again.
    SetQuoting = "set-quoting", 0..3_000;
    /// The kill switch is engaged, and turned off.
    KillSwitch = "kill-switch", 0..2_000;
    /// The feed of a reference price says nothing.
    FeedDies = "feed-dies", 4_000..20_000;
    /// It says zero.
    FeedZero = "feed-zero", 200..12_000;
    /// It says a bid above the ask.
    FeedCrosses = "feed-crosses", 200..12_000;
    /// Somebody who knows the makers' secrets keeps their quotes, and tries to keep what may not be kept.
    KeepQuotes = "keep-quotes", 500..6_000;
    /// A client that sends what it should not.
    Mischief = "mischief", 0..0;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| format!("'{text}' is none of: {}", names()))
    }
}

/// A fault while it happens.
#[derive(Clone)]
pub struct Scene {
    sim: Arc<Sim>,
    operator: Operator,
    fault: Fault,
    /// Tells the faults of a run apart.
    key: u64,
    rng: SmallRng,
}

impl Scene {
    async fn last(&self) {
        sleep(Duration::from_millis(self.fault.for_ms)).await;
    }

    /// It has happened, to whom.
    fn happened(&self, to: impl fmt::Debug) {
        note!(self.sim.trace, "FAULT {} {to:?} for {} ms", self.fault.kind, self.fault.for_ms);
        self.sim.count(format!("fault {}", self.fault.kind));
    }

    /// The nodes that run now.
    fn up(&self) -> Vec<u64> {
        let state = self.sim.state();
        state.nodes.iter().filter(|(_, host)| host.running().is_some()).map(|(id, _)| *id).collect()
    }

    fn one_up(&mut self) -> Option<u64> {
        self.up().choose(&mut self.rng).copied()
    }

    /// Members, present and past, that are not given up.
    fn nodes(&self) -> Vec<u64> {
        let state = self.sim.state();
        state.nodes.iter().filter(|(_, host)| !host.refused && !host.removed).map(|(id, _)| *id).collect()
    }

    fn one_symbol(&mut self) -> Symbol {
        let known = &SYMBOLS[..self.sim.plan.symbols];
        known.choose(&mut self.rng).unwrap_or(&SYMBOLS[0]).0.parse().expect("the symbols are constant")
    }

    fn one_maker(&mut self) -> u64 {
        rand::Rng::random_range(&mut self.rng, 1..=self.sim.plan.makers)
    }

    /// Whether it is that `who` is kept down by one fault more (or less).
    fn hold_down(&self, who: Who, by: i32) {
        let mut state = self.sim.state();
        let held = match who {
            Who::Node(id) => state.nodes.get_mut(&id).map(|host| &mut host.held_down),
            Who::Maker(number) => state.makers.get_mut(&number).map(|host| &mut host.held_down),
            Who::Exchange => Some(&mut state.exchange.held_down),
            Who::Flow | Who::Operator | Who::Reader | Who::Feed => None,
        };
        if let Some(held) = held {
            *held = held.saturating_add_signed(by);
        }
    }
}

/// Injects the plan's faults, and comes back when it is time to heal.
pub async fn inject(sim: &Arc<Sim>, operator: &Operator) {
    let mut happening = JoinSet::new();
    for (key, fault) in sim.plan.faults.clone().into_iter().enumerate() {
        sleep_until(sim.zero + Duration::from_millis(fault.at_ms)).await;
        let scene = Scene {
            sim: Arc::clone(sim),
            operator: operator.clone(),
            fault,
            key: key as u64,
            rng: SmallRng::seed_from_u64(fault.seed),
        };
        happening.spawn(happen(scene));
    }
    sleep_until(sim.zero + Duration::from_millis(sim.plan.duration_ms)).await;
    // What an operator insists on may never be had; everything else has ended.
    happening.abort_all();
    while happening.join_next().await.is_some() {}
}

async fn happen(scene: Scene) {
    match scene.fault.kind {
        Kind::Partition
        | Kind::LeaderMinority
        | Kind::IsolateLeader
        | Kind::Mute
        | Kind::Deaf
        | Kind::Bridge
        | Kind::CutLinks
        | Kind::CutClient
        | Kind::Hold
        | Kind::Loss
        | Kind::Delay
        | Kind::Reorder
        | Kind::Double => network::happen(scene).await,
        Kind::Kill
        | Kind::KillLeader
        | Kind::KillMajority
        | Kind::KillAll
        | Kind::KillAnywhere
        | Kind::Failpoint
        | Kind::FailpointError
        | Kind::LongOutage
        | Kind::PauseNode
        | Kind::PauseMaker
        | Kind::PauseExchange
        | Kind::KillMaker
        | Kind::LeaveMaker
        | Kind::KillExchange
        | Kind::ExchangeFailpoint
        | Kind::Takeover
        | Kind::RollingRestart => process::happen(scene).await,
        Kind::PowerLoss
        | Kind::PowerLossAll
        | Kind::DieAtOperation
        | Kind::FailSync
        | Kind::FullDisk
        | Kind::WipeDisk
        | Kind::Rot => disk::happen(scene).await,
        Kind::StepWall | Kind::StepWallRestart | Kind::Drift => clock::happen(scene).await,
        Kind::ReplaceMember | Kind::ResizeGroup | Kind::TransferLeader | Kind::Snapshot => {
            membership::happen(scene).await;
        }
        Kind::TransferToDead => transfer::to_dead(scene).await,
        Kind::ForeignNode => strangers::add_foreign(scene).await,
        Kind::AddDeadAddress => strangers::add_dead(scene).await,
        Kind::FeedDies | Kind::FeedZero | Kind::FeedCrosses => {
            scene.happened("");
            scene.sim.feed.spoil(scene.fault.kind);
            scene.last().await;
            scene.sim.feed.mend(scene.fault.kind);
        }
        Kind::SetLimit
        | Kind::SetPositionLimit
        | Kind::SetDrawdown
        | Kind::SetProtection
        | Kind::SetQuoting
        | Kind::KillSwitch => control::happen(scene).await,
        Kind::KeepQuotes => keeps::happen(scene).await,
        Kind::Mischief => mischief::happen(scene).await,
    }
}

/// No failpoint of a process acts any more.
pub fn disarm(failpoints: &Failpoints) {
    for name in process::FAILPOINTS.iter().chain(&process::EXCHANGE_FAILPOINTS) {
        failpoints.set(name, u64::MAX, FailAction::Error);
    }
}

/// Parts the counts of a run into faults and the rest.
#[must_use]
pub fn split(counts: BTreeMap<String, u64>) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let mut faults = BTreeMap::new();
    let mut others = BTreeMap::new();
    for (name, count) in counts {
        match name.strip_prefix("fault ") {
            Some(kind) => faults.insert(kind.to_owned(), count),
            None => others.insert(name, count),
        };
    }
    (faults, others)
}
