//! Faults of the network.

use rand::{
    Rng,
    seq::{IndexedRandom, SliceRandom},
};

use super::{Kind, Scene};
use crate::{
    net::{Quality, Scope},
    process::Who,
};

type Link = (Who, Who);

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::Loss | Kind::Delay | Kind::Reorder | Kind::Double => quality(scene).await,
        Kind::Hold => {
            let links = some_links(&mut scene);
            scene.happened(&links);
            scene.sim.net.rule(|rules| links.iter().for_each(|(from, to)| rules.hold(*from, *to)));
            scene.last().await;
            scene.sim.net.rule(|rules| links.iter().for_each(|(from, to)| rules.release(*from, *to)));
        }
        _ => {
            let links = cuts(&mut scene);
            if links.is_empty() {
                return;
            }
            scene.happened(&links);
            scene.sim.net.rule(|rules| links.iter().for_each(|(from, to)| rules.cut(*from, *to)));
            scene.last().await;
            scene.sim.net.rule(|rules| links.iter().for_each(|(from, to)| rules.mend(*from, *to)));
        }
    }
}

async fn quality(mut scene: Scene) {
    let scope = match scene.rng.random_range(0..3) {
        0 => Scope::All,
        1 => Scope::Peers,
        _ => Scope::Of(scene.sim.everybody().choose(&mut scene.rng).copied().unwrap_or(Who::Exchange)),
    };
    let quality = match scene.fault.kind {
        Kind::Loss => Quality { loss: scene.rng.random_range(1..=40), ..Quality::default() },
        Kind::Delay => Quality { delay_ms: scene.rng.random_range(5..=600), delayed: 100, ..Quality::default() },
        Kind::Reorder => Quality {
            delay_ms: scene.rng.random_range(20..=2_000),
            delayed: scene.rng.random_range(5..=50),
            ..Quality::default()
        },
        _ => Quality { double: scene.rng.random_range(5..=60), ..Quality::default() },
    };
    let key = scene.key;
    scene.happened((scope, quality));
    scene.sim.net.rule(|rules| rules.set_quality(key, scope, quality));
    scene.last().await;
    scene.sim.net.rule(|rules| rules.clear_quality(key));
}

fn both(a: Who, b: Who) -> [Link; 2] {
    [(a, b), (b, a)]
}

/// The links that a fault cuts.
fn cuts(scene: &mut Scene) -> Vec<Link> {
    let mut nodes = scene.nodes();
    nodes.shuffle(&mut scene.rng);
    let leader = scene.sim.leader().filter(|leader| nodes.contains(leader));
    let one = nodes.first().copied().map(Who::Node);
    match scene.fault.kind {
        Kind::Partition => {
            let size = scene.rng.random_range(1..nodes.len().max(2));
            halves(scene, &nodes, size)
        }
        Kind::LeaderMinority => {
            // The leader first, so that it is among the fewer.
            nodes.sort_by_key(|id| Some(*id) != leader);
            let size = (nodes.len() - 1) / 2;
            halves(scene, &nodes, size.max(1))
        }
        Kind::IsolateLeader => {
            nodes.sort_by_key(|id| Some(*id) != leader);
            halves(scene, &nodes, 1)
        }
        Kind::Mute => one.map_or_else(Vec::new, |one| others(scene, one).map(|other| (one, other)).collect()),
        Kind::Deaf => one.map_or_else(Vec::new, |one| others(scene, one).map(|other| (other, one)).collect()),
        Kind::Bridge => {
            let rest = nodes.get(1..).unwrap_or_default();
            let (left, right) = rest.split_at(rest.len() / 2);
            between(left, right)
        }
        Kind::CutClient => {
            let clients: Vec<Who> =
                scene.sim.everybody().into_iter().filter(|who| !matches!(who, Who::Node(_))).collect();
            let client = clients.choose(&mut scene.rng).copied().unwrap_or(Who::Exchange);
            others(scene, client).flat_map(|other| both(client, other)).collect()
        }
        _ => some_links(scene),
    }
}

fn others(scene: &Scene, one: Who) -> impl Iterator<Item = Who> {
    scene.sim.everybody().into_iter().filter(move |who| *who != one)
}

fn between(left: &[u64], right: &[u64]) -> Vec<Link> {
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (Who::Node(*a), Who::Node(*b))));
    pairs.flat_map(|(a, b)| both(a, b)).collect()
}

/// The first `size` nodes against the rest; each client hears the one, the other or both.
fn halves(scene: &mut Scene, nodes: &[u64], size: usize) -> Vec<Link> {
    let (left, right) = nodes.split_at(size.min(nodes.len()));
    let mut links = between(left, right);
    for who in scene.sim.everybody() {
        if matches!(who, Who::Node(_)) {
            continue;
        }
        let unheard = match scene.rng.random_range(0..3) {
            0 => left,
            1 => right,
            _ => &[],
        };
        links.extend(unheard.iter().flat_map(|id| both(who, Who::Node(*id))));
    }
    links
}

fn some_links(scene: &mut Scene) -> Vec<Link> {
    let everybody = scene.sim.everybody();
    let count = scene.rng.random_range(1..=everybody.len());
    let mut links = Vec::new();
    for _ in 0..count {
        let two: Vec<Who> = everybody.choose_multiple(&mut scene.rng, 2).copied().collect();
        let [a, b] = two[..] else { continue };
        links.push((a, b));
        if scene.rng.random_bool(0.5) {
            links.push((b, a));
        }
    }
    links.sort_unstable();
    links.dedup();
    links
}
