//! Network namespaces, one for each process, joined by a bridge in a namespace of its own; nftables in each drops what
//! should not arrive.
//!
//! Invariant: names and addresses are of this run alone, and all of it goes away with this process ([`Undo`]). A
//! packet is dropped where it arrives, so that the two ways of a link are spoilt apart.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use serde_json::Value;

use super::{
    network::{Host, Link, Spoil},
    tools::{in_namespace, run},
    undo::Undo,
};
use crate::harness::{Site, Sites};

/// The networks are taken from 198.18.0.0/15, which is set aside for tests of devices.
const BASE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Networks of 32 addresses in it.
const NETWORKS: u32 = 1 << 12;
/// The prefix of such a network.
const PREFIX: u8 = 27;
/// Tries to find a network that nobody has.
const TRIES: usize = 50;

#[derive(Debug)]
struct Place {
    netns: String,
    address: Ipv4Addr,
}

#[derive(Debug)]
pub(super) struct Namespaces {
    places: BTreeMap<Host, Place>,
    has_netem: bool,
    next: u64,
    /// Which namespaces hold a chain of a spoilt state.
    spoilt: BTreeMap<u64, Vec<String>>,
}

impl Namespaces {
    pub(super) fn open(nodes: u64, makers: &[&str], undo: &mut Undo) -> Result<Self> {
        let hosts = (1..=nodes)
            .map(Host::Node)
            .chain([Host::Exchange, Host::Publisher])
            .chain(makers.iter().map(|name| Host::Maker((*name).to_owned())));
        let (network, tag) = free_network()?;
        let hub = format!("quorate-{tag}-hub");
        create(&hub, undo)?;
        run("ip", &["-n", &hub, "-batch", "-"], "link add bridge0 type bridge\nlink set bridge0 up\n")?;
        // This process is one of them, and reaches all others.
        let uplink = format!("q{tag}");
        run("ip", &["link", "add", &uplink, "type", "veth", "peer", "name", "here", "netns", &hub], "")?;
        run("ip", &["-n", &hub, "-batch", "-"], "link set here master bridge0\nlink set here up\n")?;
        let here = Ipv4Addr::from(network + 1);
        run("ip", &["-batch", "-"], &format!("addr add {here}/{PREFIX} dev {uplink}\nlink set {uplink} up\n"))?;
        let mut places = BTreeMap::new();
        for (host, nth) in hosts.zip(2_u32..) {
            ensure!(nth < 31, "a network of 32 addresses holds 29 processes");
            let place = Place { netns: format!("quorate-{tag}-{host}"), address: Ipv4Addr::from(network + nth) };
            create(&place.netns, undo)?;
            let port = format!("port{nth}");
            let pair = format!("link add {port} type veth peer name eth0 netns {}\n", place.netns);
            let join = format!("{pair}link set {port} master bridge0\nlink set {port} up\n");
            run("ip", &["-n", &hub, "-batch", "-"], &join)?;
            let inside = format!("addr add {}/{PREFIX} dev eth0\nlink set eth0 up\nlink set lo up\n", place.address);
            run("ip", &["-n", &place.netns, "-batch", "-"], &inside)?;
            in_namespace(&place.netns, "nft", &["-f", "-"], "table inet quorate { }\n")?;
            places.insert(host, place);
        }
        let probe = places.values().next().context("there are nodes")?;
        let netem = ["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"];
        let has_netem = in_namespace(&probe.netns, "tc", &netem, "").is_ok();
        if has_netem {
            in_namespace(&probe.netns, "tc", &["qdisc", "del", "dev", "lo", "root"], "")?;
        }
        Ok(Self { places, has_netem, next: 0, spoilt: BTreeMap::new() })
    }

    /// Whether the kernel can delay packets.
    pub(super) fn has_netem(&self) -> bool {
        self.has_netem
    }

    pub(super) fn sites(&self, fronts: bool) -> Sites {
        let mut sites = Sites::default();
        for (host, place) in &self.places {
            let address = place.address.into();
            let peer_listen = if fronts { Ipv4Addr::LOCALHOST.into() } else { address };
            let site = Site { address, peer_listen, peer_told: address, netns: Some(place.netns.clone()) };
            match host {
                Host::Node(id) => sites.nodes.insert(*id, site),
                other => sites.others.insert(other.to_string(), site),
            };
        }
        sites
    }

    fn place(&self, host: &Host) -> Result<&Place> {
        self.places.get(host).with_context(|| format!("{host} has no namespace"))
    }

    pub(super) fn spoil(&mut self, spoil: Spoil, links: &[Link]) -> Result<u64> {
        self.next += 1;
        let chain = format!("fault{}", self.next);
        let mut rules: BTreeMap<&str, String> = BTreeMap::new();
        for (from, to) in links {
            let from = self.place(from)?.address;
            let rules = rules.entry(&self.place(to)?.netns).or_insert_with(|| {
                format!("add chain inet quorate {chain} {{ type filter hook input priority 0; policy accept; }}\n")
            });
            let some = match spoil {
                Spoil::Cut => String::new(),
                Spoil::Loss { percent } => format!("numgen random mod 100 < {percent} "),
                Spoil::Delay { .. } => anyhow::bail!("nftables cannot delay"),
            };
            rules.push_str(&format!("add rule inet quorate {chain} ip saddr {from} {some}counter drop\n"));
        }
        let mut done = Vec::new();
        for (netns, rules) in &rules {
            in_namespace(netns, "nft", &["-f", "-"], rules)?;
            done.push((*netns).to_owned());
        }
        self.spoilt.insert(self.next, done);
        Ok(self.next)
    }

    /// Packets dropped so far, as nftables counted them.
    pub(super) fn dropped(&self, id: u64) -> Result<u64> {
        let mut packets = 0;
        for netns in self.spoilt.get(&id).into_iter().flatten() {
            let listed =
                in_namespace(netns, "nft", &["-j", "list", "chain", "inet", "quorate", &format!("fault{id}")], "")?;
            let listed: Value = serde_json::from_str(&listed)?;
            let rules = listed["nftables"].as_array().into_iter().flatten();
            let parts = rules.filter_map(|entry| entry["rule"]["expr"].as_array()).flatten();
            packets += parts.filter_map(|part| part["counter"]["packets"].as_u64()).sum::<u64>();
        }
        Ok(packets)
    }

    pub(super) fn mend(&mut self, id: u64) -> Result<()> {
        for netns in self.spoilt.remove(&id).into_iter().flatten() {
            in_namespace(&netns, "nft", &["delete", "chain", "inet", "quorate", &format!("fault{id}")], "")?;
        }
        Ok(())
    }

    /// Delays all that the sending ends of these links send; they are returned.
    pub(super) fn delay(&mut self, ms: u16, links: &[Link]) -> Result<Vec<Host>> {
        let mut senders: Vec<Host> = links.iter().map(|(from, _)| from.clone()).collect();
        senders.sort();
        senders.dedup();
        for host in &senders {
            let late = format!("{ms}ms");
            let args = ["qdisc", "add", "dev", "eth0", "root", "netem", "delay", &late];
            in_namespace(&self.place(host)?.netns, "tc", &args, "")?;
        }
        Ok(senders)
    }

    /// Packets that netem delayed so far.
    pub(super) fn delayed(&self, hosts: &[Host]) -> Result<u64> {
        let mut packets = 0;
        for host in hosts {
            let args = ["-s", "-j", "qdisc", "show", "dev", "eth0"];
            let shown: Value = serde_json::from_str(&in_namespace(&self.place(host)?.netns, "tc", &args, "")?)?;
            let rows = shown.as_array().into_iter().flatten().filter(|row| row["kind"] == "netem");
            packets += rows.filter_map(|row| row["packets"].as_u64()).sum::<u64>();
        }
        Ok(packets)
    }

    pub(super) fn hurry(&mut self, hosts: &[Host]) -> Result<()> {
        for host in hosts {
            in_namespace(&self.place(host)?.netns, "tc", &["qdisc", "del", "dev", "eth0", "root"], "")?;
        }
        Ok(())
    }
}

/// Creates a namespace; it ends with everything that runs in it.
fn create(netns: &str, undo: &mut Undo) -> Result<()> {
    run("ip", &["netns", "add", netns], "")?;
    undo.later(&format!("ip netns pids {netns} | xargs -r kill -KILL; ip netns delete {netns}"))
}

/// A network that no interface here has an address of, and a tag for names.
fn free_network() -> Result<(u32, String)> {
    let taken = run("ip", &["-o", "-4", "addr", "show"], "")?;
    let mut rng = SmallRng::from_os_rng();
    for _ in 0..TRIES {
        let nth = rng.random_range(0..NETWORKS);
        let network = BASE + nth * 32;
        if !taken.contains(&format!(" {}/", Ipv4Addr::from(network + 1))) {
            return Ok((network, format!("{}-{nth:x}", std::process::id())));
        }
    }
    anyhow::bail!("no free network in 198.18.0.0/15: is something left over in `ip netns list`?")
}
