//! The network between the processes of a cluster, and how it is spoilt.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

use super::{namespaces::Namespaces, proxy::Proxies, switch::Switch, tools::can_have_namespaces, undo::Undo};
use crate::harness::{Cluster, Sites};

/// Overrides the means that would be chosen: `namespaces`, `proxy` or `switch`.
const CHOSEN: &str = "QUORATE_MEANS";

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A node.
    Node(u64),
    /// The exchange.
    Exchange,
    /// A maker, by its name.
    Maker(String),
    /// The publishers.
    Publisher,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(id) => write!(f, "node-{id}"),
            Self::Exchange => write!(f, "exchange"),
            Self::Maker(name) => write!(f, "maker-{name}"),
            Self::Publisher => write!(f, "publisher"),
        }
    }
}

/// A link one way: from, to.
pub type Link = (Host, Host);

/// What is done to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// Nothing comes through.
    Cut,
    /// So many of a hundred packets are lost at random. A proxy, which sees no packets, lets so many of a hundred
    /// chunks wait as long as a lost packet's repetition takes.
    Loss {
        /// Of a hundred.
        percent: u8,
    },
    /// Everything comes so much later.
    Delay {
        /// Milliseconds.
        ms: u16,
    },
}

/// By what links are spoilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A network namespace for each process, and nftables in it.
    Namespaces,
    /// A proxy in front of each node's peer port.
    Proxy,
    /// The nodes' own fault switch.
    Switch,
}

impl Means {
    /// The environment's choice, or the best that this machine allows.
    ///
    /// # Errors
    /// Where the environment's choice is none of them.
    pub fn best() -> Result<Self> {
        match std::env::var(CHOSEN).ok().as_deref() {
            Some("namespaces") => Ok(Self::Namespaces),
            Some("proxy") => Ok(Self::Proxy),
            Some("switch") => Ok(Self::Switch),
            Some(other) => bail!("{CHOSEN}: '{other}' is none of namespaces, proxy, switch"),
            None if can_have_namespaces().is_none() => Ok(Self::Namespaces),
            None => Ok(Self::Proxy),
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "network namespaces with nftables",
            Self::Proxy => "a proxy in front of each node's peer port",
            Self::Switch => "the nodes' fault switch",
        })
    }
}

/// The network of one cluster.
#[derive(Debug)]
pub struct Network {
    means: Means,
    namespaces: Option<Namespaces>,
    proxies: Option<Proxies>,
    switch: Option<Switch>,
}

/// A spoilt state of some links, to be mended.
#[derive(Debug)]
pub(super) enum Spoilt {
    Namespaces(u64),
    Netem(Vec<Host>),
    Proxies(u64),
    Switch(u64),
}

impl Network {
    pub(super) fn open(means: Means, nodes: u64, makers: &[&str], undo: &mut Undo) -> Result<Self> {
        let mut network = Self { means, namespaces: None, proxies: None, switch: None };
        match means {
            Means::Namespaces => network.namespaces = Some(Namespaces::open(nodes, makers, undo)?),
            Means::Proxy => {}
            Means::Switch => network.switch = Some(Switch::default()),
        }
        Ok(network)
    }

    /// By what its links are spoilt.
    #[must_use]
    pub fn means(&self) -> Means {
        self.means
    }

    /// Whether something stands in front of the nodes' peer ports: always with proxies, and with namespaces where the
    /// kernel cannot delay.
    fn has_fronts(&self) -> bool {
        self.means == Means::Proxy || self.namespaces.as_ref().is_some_and(|found| !found.has_netem())
    }

    pub(super) fn sites(&self, nodes: u64) -> Sites {
        match &self.namespaces {
            Some(namespaces) => namespaces.sites(self.has_fronts()),
            None if self.has_fronts() => Proxies::sites(nodes),
            None => Sites::default(),
        }
    }

    /// Starts what stands in front of the nodes, once their ports are known.
    pub(super) fn connect(&mut self, cluster: &Cluster, seed: u64) -> Result<()> {
        if self.has_fronts() {
            self.proxies = Some(Proxies::open(cluster, &self.sites(cluster.ids().len() as u64), seed)?);
        }
        Ok(())
    }

    /// Whether this network can do that, and by what.
    #[must_use]
    pub fn can(&self, spoil: Spoil, links: &[Link]) -> Option<&'static str> {
        let peers = links.iter().all(|link| matches!(link, (Host::Node(_), Host::Node(_))));
        match (self.means, spoil) {
            (Means::Namespaces, Spoil::Cut) => Some("nftables drop"),
            (Means::Namespaces, Spoil::Loss { .. }) => Some("nftables random drop"),
            (Means::Namespaces, Spoil::Delay { .. }) if !self.has_fronts() => Some("netem"),
            (Means::Namespaces | Means::Proxy, Spoil::Delay { .. }) if peers => Some("proxy, late"),
            (Means::Proxy, Spoil::Cut) if peers => Some("proxy, standing still"),
            (Means::Proxy, Spoil::Loss { .. }) if peers => Some("proxy, stuttering"),
            (Means::Switch, Spoil::Cut) if peers => Some("fault switch"),
            _ => None,
        }
    }

    pub(super) fn spoil(&mut self, spoil: Spoil, links: &[Link]) -> Result<Spoilt> {
        ensure!(self.can(spoil, links).is_some(), "{spoil:?} of {links:?} cannot be done by {}", self.means);
        match (self.means, spoil) {
            (Means::Namespaces, Spoil::Delay { ms }) if !self.has_fronts() => {
                let namespaces = self.namespaces.as_mut().context("opened with these means")?;
                Ok(Spoilt::Netem(namespaces.delay(ms, links)?))
            }
            (Means::Namespaces, Spoil::Cut | Spoil::Loss { .. }) => {
                let namespaces = self.namespaces.as_mut().context("opened with these means")?;
                Ok(Spoilt::Namespaces(namespaces.spoil(spoil, links)?))
            }
            (Means::Namespaces | Means::Proxy, _) => {
                let proxies = self.proxies.as_mut().context("the nodes' ports are known")?;
                Ok(Spoilt::Proxies(proxies.spoil(spoil, links)))
            }
            (Means::Switch, _) => {
                Ok(Spoilt::Switch(self.switch.as_mut().context("opened with these means")?.cut(links)))
            }
        }
    }

    /// How much was spoilt so far: packets, chunks or calls.
    pub(super) fn amount(&self, spoilt: &Spoilt) -> Result<u64> {
        match spoilt {
            Spoilt::Namespaces(id) => self.namespaces.as_ref().context("spoilt by it")?.dropped(*id),
            Spoilt::Netem(hosts) => self.namespaces.as_ref().context("spoilt by it")?.delayed(hosts),
            Spoilt::Proxies(id) => Ok(self.proxies.as_ref().context("spoilt by it")?.hit(*id)),
            Spoilt::Switch(id) => Ok(self.switch.as_ref().context("spoilt by it")?.dropped(*id)),
        }
    }

    pub(super) fn mend(&mut self, spoilt: &Spoilt) -> Result<()> {
        match spoilt {
            Spoilt::Namespaces(id) => self.namespaces.as_mut().context("spoilt by it")?.mend(*id),
            Spoilt::Netem(hosts) => self.namespaces.as_mut().context("spoilt by it")?.hurry(hosts),
            Spoilt::Proxies(id) => {
                self.proxies.as_mut().context("spoilt by it")?.mend(*id);
                Ok(())
            }
            Spoilt::Switch(id) => {
                self.switch.as_mut().context("spoilt by it")?.mend(*id);
                Ok(())
            }
        }
    }

    /// Brings the nodes' fault switches to what they should be; nodes forget them when they start again.
    pub(super) async fn keep(&mut self, cluster: &Cluster) {
        if let Some(switch) = &mut self.switch {
            switch.keep(cluster).await;
        }
    }
}
