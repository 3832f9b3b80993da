//! Links that are cut, lossy or slow.

use anyhow::Context;

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Step},
    network::{Link, Spoil, Spoilt},
};

/// Which links, decided when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The leader and its peers, both ways: the leader is in the minority.
    LeaderIsolated,
    /// A follower and its peers, both ways: the leader keeps its majority.
    FollowerIsolated,
    /// From the leader to its peers.
    Mute,
    /// To a node from its peers.
    Deaf,
    /// Between two nodes, both ways; a third reaches both.
    Bridge,
    /// The leader and the exchange here, all others there.
    SplitMarket,
    /// The exchange and the leader, both ways.
    ExchangeFromLeader,
    /// A maker and all nodes, both ways.
    MakerFromAll,
    /// All links between nodes.
    AllPeers,
}

/// Links spoilt in one way; healing mends them.
#[derive(Debug)]
pub struct BadLinks {
    kind: Kind,
    shape: Shape,
    spoil: Spoil,
    choice: u64,
    links: Vec<Link>,
    spoilt: Option<Spoilt>,
    amount: u64,
}

impl BadLinks {
    /// Of this shape; `choice` decides between several.
    #[must_use]
    pub fn new(kind: Kind, shape: Shape, spoil: Spoil, choice: u64) -> Self {
        Self { kind, shape, spoil, choice, links: Vec::new(), spoilt: None, amount: 0 }
    }
}

impl Fault for BadLinks {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            // Links are not processes: their ends may be hit by something else as well, as long as they run.
            let (whom, links) = arena.scene().await.links(self.shape, self.choice)?;
            let by = arena.network.can(self.spoil, &links).context("these means cannot do that")?;
            self.spoilt = Some(arena.network.spoil(self.spoil, &links)?);
            if self.spoil == Spoil::Cut {
                arena.cut(&links);
                self.links = links;
            }
            arena.look().await;
            let how = match self.spoil {
                Spoil::Cut => String::new(),
                Spoil::Loss { percent } => format!(", {percent} %"),
                Spoil::Delay { ms } => format!(", {ms} ms"),
            };
            Ok(format!("{whom}{how} ({by})"))
        })
    }

    fn happened<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, Happened> {
        Box::pin(async {
            if let Some(spoilt) = &self.spoilt {
                self.amount = arena.network.amount(spoilt)?;
            }
            let of = match (arena.network.means(), self.spoil) {
                (super::Means::Namespaces, Spoil::Cut | Spoil::Loss { .. }) => "packets dropped",
                (super::Means::Switch, _) => "calls lost",
                (_, Spoil::Cut) => "chunks held back",
                (_, Spoil::Loss { .. }) => "chunks held up",
                (_, Spoil::Delay { .. }) => "packets or chunks delayed",
            };
            Ok(Happened { amount: self.amount, of })
        })
    }

    fn heal<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, ()> {
        Box::pin(async {
            if let Some(spoilt) = &self.spoilt {
                self.amount = arena.network.amount(spoilt)?;
                arena.network.mend(spoilt)?;
                arena.uncut(&self.links);
                self.links.clear();
                self.spoilt = None;
                arena.look().await;
            }
            Ok(())
        })
    }
}
