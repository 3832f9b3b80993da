//! Whom a fault hits: decided from who runs, who leads, and which links are cut already.
//!
//! Invariant: what is chosen here can be measured whatever else is broken at that moment. A process is hit by one fault
//! at a time; of the links that are spoilt at least one is not cut already, begins at a node that runs, and carries
//! something whoever is elected next. Where nobody can be hit so, the fault does not begin ([`Nobody`]). All of it is
//! pure, so that every three faults are tried together in a moment.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    fault::Pick,
    links::Shape,
    network::{Host, Link},
};

/// There is nobody whom the fault could hit so that it shows; at another moment there may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Nobody(String);

pub(super) fn nobody<T>(why: impl Into<String>) -> Result<T, Nobody> {
    Err(Nobody(why.into()))
}

/// One process, as a fault that begins finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seen {
    /// No fault hits it.
    pub(super) free: bool,
    /// It runs, is not stopped, and takes part.
    pub(super) speaks: bool,
}

/// Everything that a fault that begins has to know of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scene {
    pub(super) hosts: BTreeMap<Host, Seen>,
    /// The node that leads, where one does.
    pub(super) leader: Option<u64>,
    /// The links that are cut, each way apart.
    pub(super) cut: BTreeSet<Link>,
    /// The feed says what it means.
    pub(super) is_fed: bool,
}

impl Scene {
    fn nodes(&self) -> Vec<Host> {
        self.hosts.keys().filter(|host| matches!(host, Host::Node(_))).cloned().collect()
    }

    fn makers(&self) -> Vec<Host> {
        self.hosts.keys().filter(|host| matches!(host, Host::Maker(_))).cloned().collect()
    }

    fn leader(&self) -> Option<Host> {
        self.leader.map(Host::Node)
    }

    fn speaks(&self, host: &Host) -> bool {
        self.hosts.get(host).is_some_and(|seen| seen.speaks)
    }

    fn is_cut(&self, from: &Host, to: &Host) -> bool {
        self.cut.contains(&(from.clone(), to.clone()))
    }

    /// Whether two processes run, and what either sends reaches the other.
    fn meet(&self, a: &Host, b: &Host) -> bool {
        a != b && self.speaks(a) && self.speaks(b) && !self.is_cut(a, b) && !self.is_cut(b, a)
    }

    /// Whether a node is the only one that runs: it goes on to ask the others for their votes.
    fn is_alone(&self, node: &Host) -> bool {
        self.speaks(node) && !self.nodes().iter().any(|other| other != node && self.speaks(other))
    }

    /// Whether a node meets enough others to lead.
    pub(super) fn can_lead(&self, node: &Host) -> bool {
        let nodes = self.nodes();
        let met = nodes.iter().filter(|other| self.meet(node, other)).count();
        self.speaks(node) && met + 1 > nodes.len() / 2
    }

    /// Whether all that can be elected has been: somebody leads whom a majority hears, or nobody can.
    pub(super) fn is_settled(&self) -> bool {
        match self.leader() {
            Some(leader) if self.can_lead(&leader) => true,
            _ => !self.nodes().iter().any(|node| self.can_lead(node)),
        }
    }

    /// Those that a fault of processes hits, of those that no fault hits already.
    pub(super) fn pick(&self, pick: Pick, choice: u64) -> Result<Vec<Host>, Nobody> {
        let leader = self.leader();
        let free: Vec<Host> = self.hosts.iter().filter(|(_, seen)| seen.free).map(|(host, _)| host.clone()).collect();
        let nodes: Vec<Host> = free.iter().filter(|host| matches!(host, Host::Node(_))).cloned().collect();
        let count = self.nodes().len();
        let one = |of: Vec<Host>| turned(of, choice).into_iter().take(1).collect::<Vec<_>>();
        let picked = match pick {
            Pick::Leader => match leader.filter(|leader| nodes.contains(leader)) {
                Some(leader) => vec![leader],
                None => one(nodes),
            },
            Pick::Follower => one(nodes.into_iter().filter(|host| Some(host) != leader.as_ref()).collect()),
            Pick::Candidate => {
                let could = |host: &Host| Some(host) != leader.as_ref() && self.can_lead(host);
                one(nodes.into_iter().filter(could).collect())
            }
            Pick::Spare => {
                self.serves()?;
                let spared = |host: &Host| {
                    let without =
                        |other: &Host| other != host && leader.as_ref().is_some_and(|to| self.meet(to, other));
                    let reached = leader.as_ref().is_some_and(|leader| self.meet(leader, host));
                    reached && self.nodes().iter().filter(|other| without(other)).count() + 1 > count / 2
                };
                one(nodes.into_iter().filter(spared).collect())
            }
            Pick::Majority => {
                let mut all = nodes;
                if all.len() <= count / 2 {
                    return nobody("too few nodes are free for a majority");
                }
                all.sort_by_key(|host| Some(host) != leader.as_ref());
                all.truncate(count / 2 + 1);
                all
            }
            Pick::Everything if nodes.len() < count => return nobody("not all nodes are free"),
            Pick::Everything => free,
            Pick::Exchange => one(free.into_iter().filter(|host| *host == Host::Exchange).collect()),
            Pick::Maker => one(free.into_iter().filter(|host| matches!(host, Host::Maker(_))).collect()),
        };
        if picked.is_empty() {
            return nobody(format!("nobody is free whom {pick:?} means"));
        }
        Ok(picked)
    }

    /// Says whether somebody leads whom a majority hears.
    pub(super) fn serves(&self) -> Result<(), Nobody> {
        match self.leader().filter(|leader| self.can_lead(leader)) {
            Some(_) => Ok(()),
            None => nobody("no node leads that a majority hears"),
        }
    }

    /// Says whether what is wrong with the feed can show now: the exchange hears it.
    pub(super) fn tells(&self) -> Result<(), Nobody> {
        if !self.is_fed {
            return nobody("something is wrong with the feed already");
        }
        if !self.speaks(&Host::Exchange) {
            return nobody("the exchange does not run, and hears no feed");
        }
        Ok(())
    }

    /// Likewise where it shows in what makers quote: one of them hears the exchange, and is heard by a leader whom a
    /// majority hears.
    pub(super) fn prices(&self) -> Result<(), Nobody> {
        self.tells()?;
        self.serves()?;
        let quotes = |maker: &Host| {
            self.meet(maker, &Host::Exchange) && self.leader().is_some_and(|leader| self.meet(maker, &leader))
        };
        if self.makers().iter().any(quotes) {
            Ok(())
        } else {
            nobody("no maker hears both the exchange and the leader")
        }
    }

    /// Says whether the disk of this node can be filled now: only what has to be written shows that there is no room.
    pub(super) fn writes(&self, node: &Host) -> Result<(), Nobody> {
        if !self.hosts.get(node).is_some_and(|seen| seen.free && seen.speaks) {
            return nobody(format!("{node} is hit by something else, or does not run"));
        }
        match self.leader().filter(|leader| self.can_lead(leader)) {
            Some(leader) if leader == *node || self.meet(&leader, node) => Ok(()),
            _ => nobody(format!("no entries reach {node}")),
        }
    }

    /// The links that a fault of links spoils, and a name for them.
    pub(super) fn links(&self, shape: Shape, choice: u64) -> Result<(String, Vec<Link>), Nobody> {
        let nodes = self.nodes();
        let without = |node: &Host| nodes.iter().filter(|host| *host != node).cloned().collect::<Vec<_>>();
        Ok(match shape {
            Shape::LeaderIsolated | Shape::FollowerIsolated => {
                let node = self.node(shape, choice)?;
                (format!("{node} | its peers"), both(std::slice::from_ref(&node), &without(&node)))
            }
            Shape::Mute => {
                let node = self.node(shape, choice)?;
                (format!("{node} -> its peers"), from(&node, &nodes))
            }
            Shape::Deaf => {
                let node = self.node(shape, choice)?;
                (format!("{node} <- its peers"), from(&node, &nodes).into_iter().map(|(a, b)| (b, a)).collect())
            }
            Shape::Bridge => {
                let (one, other) = self.ends(choice)?;
                (format!("{one} | {other}"), both(&[one], &[other]))
            }
            Shape::SplitMarket => {
                let node = self.node(shape, choice)?;
                let there = [without(&node), self.makers()].concat();
                (format!("{node}, exchange | all others"), both(&[node, Host::Exchange], &there))
            }
            Shape::ExchangeFromLeader => {
                let served = |leader: &Host| self.can_lead(leader) && self.meet(&Host::Exchange, leader);
                match self.leader().filter(served) {
                    Some(leader) => (format!("exchange | {leader}"), both(&[Host::Exchange], &[leader])),
                    None => return nobody("the exchange does not run, or reaches no leader that a majority hears"),
                }
            }
            Shape::MakerFromAll => {
                let heard = |maker: &Host| nodes.iter().any(|node| self.meet(maker, node));
                match turned(self.makers(), choice).into_iter().find(heard) {
                    Some(maker) => (format!("{maker} | all nodes"), both(&[maker], &nodes)),
                    None => return nobody("no maker runs and reaches a node that runs"),
                }
            }
            Shape::AllPeers => {
                self.node(shape, choice)?;
                ("all peers".to_owned(), nodes.iter().flat_map(|node| from(node, &nodes)).collect())
            }
        })
    }

    /// The node that a fault of links is about: one that meets another, so that they have something to lose. A node that
    /// is alone sends, and is sent nothing.
    fn node(&self, shape: Shape, choice: u64) -> Result<Host, Nobody> {
        let leader = self.leader();
        let mut nodes = turned(self.nodes(), choice);
        let last = matches!(shape, Shape::FollowerIsolated | Shape::Deaf);
        nodes.sort_by_key(|host| (Some(host) == leader.as_ref()) == last);
        let sends = !matches!(shape, Shape::Deaf | Shape::AllPeers);
        let fits = |node: &Host| {
            let others = || nodes.iter().filter(|other| *other != node);
            let asks = || sends && self.is_alone(node) && others().any(|other| !self.is_cut(node, other));
            others().any(|other| self.meet(node, other)) || asks()
        };
        nodes
            .iter()
            .find(|node| fits(node))
            .cloned()
            .map_or_else(|| nobody("no two nodes run and reach each other"), Ok)
    }

    /// Two nodes of which one is sure to have something to say to the other. Two followers have nothing: so the leader is
    /// one of them, or nobody else can lead and they ask for votes, or only one of them runs and does so.
    fn ends(&self, choice: u64) -> Result<(Host, Host), Nobody> {
        let nodes = turned(self.nodes(), choice);
        let pairs = || nodes.iter().flat_map(|one| nodes.iter().map(move |other| (one, other)));
        let met = || pairs().filter(|(one, other)| self.meet(one, other));
        let leads = |host: &Host| self.leader().is_some_and(|leader| leader == *host);
        let else_leads =
            |one: &Host, other: &Host| nodes.iter().any(|node| node != one && node != other && self.can_lead(node));
        let sure = met()
            .find(|(_, other)| leads(other))
            .or_else(|| met().find(|(one, other)| !else_leads(one, other)))
            .or_else(|| pairs().find(|(one, other)| one != other && self.is_alone(one) && !self.is_cut(one, other)));
        match sure {
            Some((one, other)) => Ok((one.clone(), other.clone())),
            None => nobody("no two nodes are sure to have something to say to each other"),
        }
    }
}

fn from(a: &Host, others: &[Host]) -> Vec<Link> {
    others.iter().filter(|b| *b != a).map(|b| (a.clone(), b.clone())).collect()
}

fn both(side: &[Host], others: &[Host]) -> Vec<Link> {
    let there: Vec<Link> = side.iter().flat_map(|a| from(a, others)).collect();
    let back: Vec<Link> = there.iter().map(|(a, b)| (b.clone(), a.clone())).collect();
    [there, back].concat()
}

/// The same, beginning with the one that `choice` says.
fn turned<T>(mut of: Vec<T>, choice: u64) -> Vec<T> {
    if let Some(by) = choice.checked_rem(of.len() as u64) {
        of.rotate_left(usize::try_from(by).unwrap_or(0));
    }
    of
}

#[cfg(test)]
mod pairs;
