//! A small TCP proxy in front of each node's peer port: it lets bytes stand still, come late, or stutter, each way of
//! each link apart.
//!
//! Invariant: it never loses, changes or reorders a byte of a connection, as TCP does not either. Who is at the other
//! end is told by its address, where each node has one of its own, or else by whose socket the kernel says it is; a
//! connection of nobody we know is refused. Needs no privilege without namespaces.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc as ready,
    },
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::Instant,
};

use super::network::{Host, Link, Spoil};
use crate::harness::{Cluster, Site, Sites};

/// Bytes of one chunk at most.
const CHUNK_MAX: usize = 64 << 10;
/// Chunks under way in one direction of one connection at most.
const CHUNKS_MAX: usize = 256;
/// How long a chunk waits where a packet would have been lost: the least time after which TCP repeats one.
const REPEAT_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Rule {
    links: Vec<(u64, u64)>,
    spoil: Spoil,
    hit: AtomicU64,
}

type Rules = BTreeMap<u64, Arc<Rule>>;

/// The proxies of all nodes. They end with this.
#[derive(Debug)]
pub(super) struct Proxies {
    rules: watch::Sender<Rules>,
    next: u64,
}

/// What one proxy needs to know.
#[derive(Debug)]
struct Front {
    node: u64,
    netns: Option<String>,
    listen: SocketAddr,
    target: SocketAddr,
    /// Who has which address, where that tells.
    known: BTreeMap<IpAddr, u64>,
    seed: u64,
}

impl Proxies {
    /// Where nodes live that share the loopback address with all: told by another address of it.
    pub(super) fn sites(nodes: u64) -> Sites {
        let told = |id: u64| IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10 + u8::try_from(id).unwrap_or(u8::MAX - 10)));
        let nodes = (1..=nodes).map(|id| (id, Site { peer_told: told(id), ..Site::default() })).collect();
        Sites { nodes, others: BTreeMap::new() }
    }

    /// Starts a proxy in front of each node.
    pub(super) fn open(cluster: &Cluster, sites: &Sites, seed: u64) -> Result<Self> {
        let rules = watch::Sender::new(Rules::new());
        for node in cluster.ids() {
            let (site, port) = (sites.node(node), cluster.peer_port(node));
            let known = if site.netns.is_some() {
                cluster.ids().into_iter().map(|id| (sites.node(id).address, id)).collect()
            } else {
                BTreeMap::new()
            };
            let front = Front {
                node,
                listen: SocketAddr::new(site.peer_told, port),
                target: SocketAddr::new(site.peer_listen, port),
                netns: site.netns,
                known,
                seed: seed.wrapping_add(node),
            };
            let (tell, told) = ready::channel();
            let watched = rules.subscribe();
            std::thread::Builder::new().name(format!("front-{node}")).spawn(move || serve(&front, watched, &tell))?;
            told.recv().context("the proxy's thread ended")??;
        }
        Ok(Self { rules, next: 0 })
    }

    pub(super) fn spoil(&mut self, spoil: Spoil, links: &[Link]) -> u64 {
        self.next += 1;
        let rule = Rule { links: peers(links), spoil, hit: AtomicU64::new(0) };
        let id = self.next;
        self.rules.send_modify(|rules| {
            rules.insert(id, Arc::new(rule));
        });
        id
    }

    /// Chunks and openings of connections that it held up so far.
    pub(super) fn hit(&self, id: u64) -> u64 {
        self.rules.borrow().get(&id).map_or(0, |rule| rule.hit.load(Ordering::Relaxed))
    }

    pub(super) fn mend(&mut self, id: u64) {
        self.rules.send_modify(|rules| {
            rules.remove(&id);
        });
    }
}

/// The links between nodes among these.
pub(super) fn peers(links: &[Link]) -> Vec<(u64, u64)> {
    let peer = |link: &Link| match link {
        (Host::Node(from), Host::Node(to)) => Some((*from, *to)),
        _ => None,
    };
    links.iter().filter_map(peer).collect()
}

/// Runs one proxy on this thread, in the node's namespace where it has one, until the rules are gone.
fn serve(front: &Front, rules: watch::Receiver<Rules>, tell: &ready::Sender<Result<()>>) {
    let begin = || {
        if let Some(netns) = &front.netns {
            let link = fs::File::open(format!("/run/netns/{netns}"))?;
            move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(front.listen)).with_context(|| front.listen.to_string())?;
        anyhow::Ok((runtime, listener))
    };
    // Where nobody listens any more there is nobody to tell.
    match begin() {
        Err(error) => drop(tell.send(Err(error))),
        Ok((runtime, listener)) => {
            drop(tell.send(Ok(())));
            runtime.block_on(accept(front, &listener, rules));
        }
    }
}

async fn accept(front: &Front, listener: &TcpListener, mut rules: watch::Receiver<Rules>) {
    let mut nth = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            changed = rules.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((inbound, address)) = accepted else { continue };
        let known = front.known.get(&address.ip()).copied();
        let Some(peer) = known.or_else(|| owner(address)) else { continue };
        nth += 1;
        let seed = front.seed.wrapping_mul(1_000_003).wrapping_add(nth);
        tokio::spawn(pass(inbound, front.target, (peer, front.node), rules.clone(), seed));
    }
}

async fn pass(inbound: TcpStream, target: SocketAddr, link: (u64, u64), mut rules: watch::Receiver<Rules>, seed: u64) {
    // The opening of a connection is held up like a chunk: over a cut link a caller does not learn whether anybody is there.
    let late = held_up(&rules.borrow(), link, &mut SmallRng::seed_from_u64(seed.rotate_left(32)));
    tokio::time::sleep(late).await;
    // An error means that the proxies are gone.
    if rules.wait_for(|rules| !is_cut(rules, link)).await.is_err() {
        return;
    }
    // A node that does not run refuses; the caller sees the connection end.
    let Ok(outbound) = TcpStream::connect(target).await else { return };
    // Only a matter of speed.
    let _ = (inbound.set_nodelay(true), outbound.set_nodelay(true));
    let (from_peer, to_peer) = inbound.into_split();
    let (from_node, to_node) = outbound.into_split();
    let back = (link.1, link.0);
    tokio::join!(
        carry(from_peer, to_node, link, rules.clone(), SmallRng::seed_from_u64(seed)),
        carry(from_node, to_peer, back, rules, SmallRng::seed_from_u64(!seed)),
    );
}

/// One direction of one connection.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    link: (u64, u64),
    mut rules: watch::Receiver<Rules>,
    mut rng: SmallRng,
) {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let watched = rules.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK_MAX];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let late = Instant::now() + held_up(&watched.borrow(), link, &mut rng);
            if send.send((late, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((when, chunk)) = receive.recv().await {
            tokio::time::sleep_until(when).await;
            // An error means that the proxies are gone.
            if rules.wait_for(|rules| !is_cut(rules, link)).await.is_err() || to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The other end is gone where this fails.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

fn is_cut(rules: &Rules, link: (u64, u64)) -> bool {
    rules.values().any(|rule| rule.spoil == Spoil::Cut && rule.links.contains(&link))
}

/// How much later a chunk comes; counts what was done to it.
fn held_up(rules: &Rules, link: (u64, u64), rng: &mut SmallRng) -> Duration {
    let mut late = Duration::ZERO;
    for rule in rules.values().filter(|rule| rule.links.contains(&link)) {
        let more = match rule.spoil {
            Spoil::Cut => Duration::ZERO,
            Spoil::Delay { ms } => Duration::from_millis(ms.into()),
            Spoil::Loss { percent } if rng.random_range(0..100) < percent => REPEAT_AFTER,
            Spoil::Loss { .. } => continue,
        };
        rule.hit.fetch_add(1, Ordering::Relaxed);
        late += more;
    }
    late
}

/// The node whose socket has this address, as the kernel tells: its id is on its command line.
fn owner(address: SocketAddr) -> Option<u64> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let wanted = format!("{:08X}:{:04X}", u32::from_le_bytes(ip.octets()), address.port());
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let row = table.lines().find(|row| row.split_whitespace().nth(1) == Some(&wanted))?;
    let socket = format!("socket:[{}]", row.split_whitespace().nth(9)?);
    let processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    processes
        .filter_map(|process| {
            let line = fs::read(process.join("cmdline")).ok()?;
            let mut args = line.split(|byte| *byte == 0);
            let id = args.find_map(|arg| std::str::from_utf8(arg).ok()?.strip_prefix("--node-id=")?.parse().ok())?;
            let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
            files.any(|file| fs::read_link(file.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())).then_some(id)
        })
        .next()
}
