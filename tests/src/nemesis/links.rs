//! Links that are cut, lossy or slow.

use anyhow::{Context, Result};

use super::{
    arena::Arena,
    fault::{Fault, Happened, Kind, Pick, Step},
    network::{Host, Link, Spoil, Spoilt},
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
    spoilt: Option<Spoilt>,
    amount: u64,
}

impl BadLinks {
    /// Of this shape; `choice` decides between several.
    #[must_use]
    pub fn new(kind: Kind, shape: Shape, spoil: Spoil, choice: u64) -> Self {
        Self { kind, shape, spoil, choice, spoilt: None, amount: 0 }
    }

    async fn links(&self, arena: &Arena) -> Result<(String, Vec<Link>)> {
        let nodes: Vec<Host> = arena.cluster.ids().into_iter().map(Host::Node).collect();
        let one = match self.shape {
            Shape::FollowerIsolated | Shape::Deaf | Shape::Bridge => Pick::Follower,
            _ => Pick::Leader,
        };
        // Links are not processes: it does not matter whether somebody is hit by something else as well.
        let node = arena.likely(one, self.choice).await.context("no node leads, and none follows")?;
        let others: Vec<Host> = nodes.iter().filter(|host| **host != node).cloned().collect();
        let from = |a: &Host, others: &[Host]| -> Vec<Link> {
            others.iter().filter(|b| *b != a).map(|b| (a.clone(), b.clone())).collect()
        };
        let both = |side: &[Host], others: &[Host]| -> Vec<Link> {
            let there: Vec<Link> = side.iter().flat_map(|a| from(a, others)).collect();
            let back: Vec<Link> = there.iter().map(|(a, b)| (b.clone(), a.clone())).collect();
            [there, back].concat()
        };
        let makers: Vec<Host> = arena.makers().into_iter().map(Host::Maker).collect();
        Ok(match self.shape {
            Shape::LeaderIsolated | Shape::FollowerIsolated => {
                (format!("{node} | its peers"), both(std::slice::from_ref(&node), &others))
            }
            Shape::Mute => (format!("{node} -> its peers"), from(&node, &others)),
            Shape::Deaf => {
                (format!("{node} <- its peers"), from(&node, &others).into_iter().map(|(a, b)| (b, a)).collect())
            }
            Shape::Bridge => {
                // Two followers have nothing to say to each other: the leader is at one end.
                let leader = arena.likely(Pick::Leader, self.choice).await.filter(|leader| *leader != node);
                let other = leader.or_else(|| others.first().cloned()).context("two nodes at least")?;
                (format!("{node} | {other}"), both(std::slice::from_ref(&node), std::slice::from_ref(&other)))
            }
            Shape::SplitMarket => {
                let there = [others, makers].concat();
                (format!("{node}, exchange | all others"), both(&[node, Host::Exchange], &there))
            }
            Shape::ExchangeFromLeader => (format!("exchange | {node}"), both(&[Host::Exchange], &[node])),
            Shape::MakerFromAll => {
                let maker = makers.get(usize::try_from(self.choice)? % makers.len().max(1)).context("no maker")?;
                (format!("{maker} | all nodes"), both(std::slice::from_ref(maker), &nodes))
            }
            Shape::AllPeers => ("all peers".to_owned(), nodes.iter().flat_map(|a| from(a, &nodes)).collect()),
        })
    }
}

impl Fault for BadLinks {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn start<'a>(&'a mut self, arena: &'a mut Arena) -> Step<'a, String> {
        Box::pin(async {
            let (whom, links) = self.links(arena).await?;
            let by = arena.network.can(self.spoil, &links).context("these means cannot do that")?;
            self.spoilt = Some(arena.network.spoil(self.spoil, &links)?);
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
                self.spoilt = None;
                arena.look().await;
            }
            Ok(())
        })
    }
}
