//! What a fault is: it starts, it can be healed, and it measures that it happened.

use std::{fmt, future::Future, pin::Pin};

use anyhow::Result;
use serde::Serialize;

use super::{
    arena::Arena,
    asked::{MustRefuse, Wish},
    clock::WrongClock,
    disk::FullDisk,
    feeder::Ailment,
    feeds::{BadFeed, DeadFeed},
    kill::Kill,
    links::{BadLinks, Shape},
    network::Spoil,
    pause::Pause,
    wiped::WipedDisk,
};

/// One step of a fault: a future that borrows the fault and the arena.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A fault. Its steps are short: what takes long is seen by looking again.
pub trait Fault: Send {
    /// Which one it is.
    fn kind(&self) -> Kind;

    /// Begins it, and tells whom it hit and by what. An error means that it did not begin, and nothing needs healing.
    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String>;

    /// What it did so far.
    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened>;

    /// Undoes it. May be called again after an error.
    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()>;
}

/// The measure of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happened {
    /// How much.
    pub amount: u64,
    /// Of what.
    pub of: &'static str,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.of)
    }
}

/// Which process or processes a fault hits, decided when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The node that leads.
    Leader,
    /// A node that does not lead.
    Follower,
    /// More than half of the nodes, the leader among them.
    Majority,
    /// All nodes, the exchange and the makers.
    Everything,
    /// The exchange.
    Exchange,
    /// A maker.
    Maker,
    /// A node that does not lead, and could: it and enough others reach each other.
    Candidate,
    /// A node that the leader reaches, and without which it still leads.
    Spare,
}

/// By what a kind of fault hits, and whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// kill -9 of processes.
    Kill(Pick),
    /// SIGSTOP of one process.
    Pause(Pick),
    /// Spoilt links.
    Links(Shape, Spoil),
    /// The disk of the node that has a small one.
    FullDisk,
    /// The clock of a node that could lead.
    WrongClock,
    /// The disk of a node that the leader can spare.
    WipedDisk,
    /// A request to the leader that must be refused.
    Refusal(Wish),
    /// The feed of one symbol's reference price.
    Feed(Ailment),
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// The faults that have names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// kill -9 of the leader, and its restart.
    KillLeader = "kill-leader",
    /// Likewise of a node that does not lead.
    KillFollower = "kill-follower",
    /// Likewise of more than half of the nodes at once.
    KillMajority = "kill-majority",
    /// Likewise of every process.
    KillAll = "kill-all",
    /// Likewise of the exchange.
    KillExchange = "kill-exchange",
    /// Likewise of a maker.
    KillMaker = "kill-maker",
    /// SIGSTOP of the leader, and SIGCONT.
    PauseLeader = "pause-leader",
    /// Likewise of a node that does not lead.
    PauseFollower = "pause-follower",
    /// Likewise of the exchange.
    PauseExchange = "pause-exchange",
    /// Likewise of a maker.
    PauseMaker = "pause-maker",
    /// The leader cut off from its peers, and still reached by its clients.
    LeaderIsolated = "leader-isolated",
    /// A node that does not lead cut off from its peers.
    FollowerIsolated = "follower-isolated",
    /// A node that is not heard by its peers, and hears them.
    Mute = "mute",
    /// A node that does not hear its peers, and is heard.
    Deaf = "deaf",
    /// Two nodes that reach each other only through the third.
    Bridge = "bridge",
    /// The leader and the exchange on one side, the majority and the makers on the other.
    SplitMarket = "split-market",
    /// The exchange cut off from the leader.
    ExchangeCutOff = "exchange-cut-off",
    /// A maker cut off from all nodes.
    MakerCutOff = "maker-cut-off",
    /// Links between the nodes that lose packets.
    Loss = "loss",
    /// Links between the nodes that are slow.
    Delay = "delay",
    /// A node's disk is full.
    FullDisk = "full-disk",
    /// A node's wall clock is wrong, and it leads.
    WrongClock = "wrong-clock",
    /// A node has lost its data, and starts under its old id.
    WipedDisk = "wiped-disk",
    /// Leadership is to be handed to a node that was killed.
    TransferToDead = "transfer-to-dead",
    /// A member is to be added at an address where nobody listens.
    DeadAddressAdded = "dead-address-added",
    /// A member of another group is to be added.
    ForeignNode = "foreign-node",
    /// The feed of a symbol's reference price says nothing any more.
    FeedDies = "feed-dies",
    /// It says zero.
    FeedZero = "feed-zero",
    /// It says a bid above its ask.
    FeedCrosses = "feed-crosses",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// The fault of this kind; `choice` decides what is left open.
    #[must_use]
    pub fn fault(self, choice: u64) -> Box<dyn Fault> {
        match self.aim(choice) {
            Aim::Kill(pick) => Box::new(Kill::new(self, pick, choice)),
            Aim::Pause(pick) => Box::new(Pause::new(self, pick, choice)),
            Aim::Links(shape, spoil) => Box::new(BadLinks::new(self, shape, spoil, choice)),
            Aim::FullDisk => Box::new(FullDisk::default()),
            Aim::WrongClock => Box::new(WrongClock::new(choice)),
            Aim::WipedDisk => Box::new(WipedDisk::new(choice)),
            Aim::Refusal(wish) => Box::new(MustRefuse::new(self, wish, choice)),
            Aim::Feed(Ailment::Silent) => Box::new(DeadFeed::among_others()),
            Aim::Feed(ailment) => Box::new(BadFeed::new(self, ailment)),
        }
    }

    pub(super) fn aim(self, choice: u64) -> Aim {
        let cut = |shape| Aim::Links(shape, Spoil::Cut);
        match self {
            Self::KillLeader => Aim::Kill(Pick::Leader),
            Self::KillFollower => Aim::Kill(Pick::Follower),
            Self::KillMajority => Aim::Kill(Pick::Majority),
            Self::KillAll => Aim::Kill(Pick::Everything),
            Self::KillExchange => Aim::Kill(Pick::Exchange),
            Self::KillMaker => Aim::Kill(Pick::Maker),
            Self::PauseLeader => Aim::Pause(Pick::Leader),
            Self::PauseFollower => Aim::Pause(Pick::Follower),
            Self::PauseExchange => Aim::Pause(Pick::Exchange),
            Self::PauseMaker => Aim::Pause(Pick::Maker),
            Self::LeaderIsolated => cut(Shape::LeaderIsolated),
            Self::FollowerIsolated => cut(Shape::FollowerIsolated),
            Self::Mute => cut(Shape::Mute),
            Self::Deaf => cut(Shape::Deaf),
            Self::Bridge => cut(Shape::Bridge),
            Self::SplitMarket => cut(Shape::SplitMarket),
            Self::ExchangeCutOff => cut(Shape::ExchangeFromLeader),
            Self::MakerCutOff => cut(Shape::MakerFromAll),
            Self::Loss => {
                Aim::Links(Shape::AllPeers, Spoil::Loss { percent: u8::try_from(10 + choice % 21).unwrap_or(30) })
            }
            Self::Delay => {
                Aim::Links(Shape::AllPeers, Spoil::Delay { ms: u16::try_from(20 + choice % 101).unwrap_or(120) })
            }
            Self::FullDisk => Aim::FullDisk,
            Self::WrongClock => Aim::WrongClock,
            Self::WipedDisk => Aim::WipedDisk,
            Self::TransferToDead => Aim::Refusal(Wish::TransferToDead),
            Self::DeadAddressAdded => Aim::Refusal(Wish::DeadAddress),
            Self::ForeignNode => Aim::Refusal(Wish::ForeignNode),
            Self::FeedDies => Aim::Feed(Ailment::Silent),
            Self::FeedZero => Aim::Feed(Ailment::Zero),
            Self::FeedCrosses => Aim::Feed(Ailment::Crossed),
        }
    }
}
