//! Faults of processes.

use std::time::Duration;

use quorate_log_store::sim_disk::CrashMode;
use quorate_seams::FailAction;
use rand::{
    Rng,
    seq::{IndexedRandom, SliceRandom},
};
use tokio::time::{Instant, sleep};

use super::{Kind, Scene};
use crate::process::Who;

/// Failpoints of a node.
pub(super) const FAILPOINTS: [&str; 19] = [
    "log.append.before_commit",
    "log.append.after_commit",
    "log.vote.before_commit",
    "log.vote.after_commit",
    "log.truncate.before_commit",
    "log.truncate.after_commit",
    "log.purge.before_commit",
    "log.purge.after_commit",
    "snapshot.save.before_commit",
    "snapshot.save.after_commit",
    "snapshot.install.before_commit",
    "snapshot.install.after_commit",
    "state.apply.before",
    "state.apply.after",
    "snapshot.build",
    "snapshot.install.before",
    "snapshot.install.after",
    "propose.before",
    "answer.before",
];

/// Failpoints of the exchange.
pub(super) const EXCHANGE_FAILPOINTS: [&str; 2] =
    [quorate_exchange::desk::BEFORE_PROPOSE, quorate_exchange::desk::AFTER_COMMIT];

pub(super) async fn happen(mut scene: Scene) {
    match scene.fault.kind {
        Kind::Kill | Kind::KillLeader | Kind::KillMajority | Kind::KillAll | Kind::LongOutage => kill(scene).await,
        Kind::KillAnywhere => {
            let Some(id) = scene.one_up() else { return };
            let polls = scene.rng.random_range(0..=20_000);
            scene.happened((id, polls));
            end_after_polls(&scene, Who::Node(id), polls);
        }
        Kind::Failpoint | Kind::FailpointError => failpoint(scene),
        Kind::PauseNode => {
            let leader = scene.sim.leader().filter(|_| scene.rng.random_bool(0.5));
            let Some(id) = leader.or_else(|| scene.one_up()) else { return };
            pause(scene, Who::Node(id)).await;
        }
        Kind::PauseMaker => {
            let number = scene.one_maker();
            pause(scene, Who::Maker(number)).await;
        }
        Kind::PauseExchange => pause(scene, Who::Exchange).await,
        Kind::KillMaker => {
            let number = scene.one_maker();
            down(&scene, Who::Maker(number)).await;
        }
        Kind::LeaveMaker => leave(scene).await,
        Kind::KillExchange => down(&scene, Who::Exchange).await,
        Kind::ExchangeFailpoint => exchange_failpoint(scene),
        Kind::Takeover => {
            scene.happened("x");
            scene.sim.start_exchange();
        }
        _ => rolling_restart(scene).await,
    }
}

/// Kills `who`, keeps it down for the fault's length, and starts it again.
async fn down(scene: &Scene, who: Who) {
    scene.happened(who);
    scene.hold_down(who, 1);
    scene.sim.kill(who);
    scene.last().await;
    scene.hold_down(who, -1);
    scene.sim.ensure_up(who);
}

async fn kill(mut scene: Scene) {
    let mut victims = scene.up();
    victims.shuffle(&mut scene.rng);
    let leader = scene.sim.leader();
    let count = match scene.fault.kind {
        Kind::KillMajority => victims.len() / 2 + 1,
        Kind::KillAll => victims.len(),
        _ => 1,
    };
    if scene.fault.kind == Kind::KillLeader {
        victims.retain(|id| Some(*id) == leader);
    }
    victims.truncate(count);
    if victims.is_empty() {
        return;
    }
    scene.happened(&victims);
    for id in &victims {
        scene.hold_down(Who::Node(*id), 1);
        scene.sim.crash_node(*id, CrashMode::KeepAll);
    }
    scene.last().await;
    for id in &victims {
        scene.hold_down(Who::Node(*id), -1);
        scene.sim.ensure_node(*id);
        // They do not come back all at once.
        sleep(Duration::from_millis(scene.rng.random_range(0..=500))).await;
    }
}

/// Ends a process in place of the poll after so many polls of its tasks.
fn end_after_polls(scene: &Scene, who: Who, polls: u64) {
    let (process, life) = {
        let state = scene.sim.state();
        let found = match who {
            Who::Node(id) => state.nodes.get(&id).and_then(|host| Some((host.process.clone()?, host.life))),
            _ => state.exchange.process.clone().map(|process| (process, state.exchange.life)),
        };
        let Some(found) = found else { return };
        found
    };
    let sim = std::sync::Arc::clone(&scene.sim);
    let party = process.party.clone();
    process.world.tasks.after_polls(polls, move || {
        if !party.end() {
            return;
        }
        if let Who::Node(id) = who
            && let Some(host) = sim.state().nodes.get(&id)
        {
            host.disk.kill();
        }
        tokio::spawn(async move {
            match who {
                Who::Node(id) => sim.node_ended(id, life),
                _ => sim.exchange_ended(life),
            }
        });
    });
}

fn failpoint(mut scene: Scene) {
    let Some(id) = scene.one_up() else { return };
    let Some(name) = FAILPOINTS.choose(&mut scene.rng).copied() else { return };
    let skip =
        if name.starts_with("snapshot") || name.contains("truncate") { 0 } else { scene.rng.random_range(0..=60) };
    let action = if scene.fault.kind == Kind::Failpoint { FailAction::Crash } else { FailAction::Error };
    let mode = if scene.rng.random_bool(0.5) { CrashMode::KeepAll } else { CrashMode::pick(scene.fault.seed) };
    let armed = {
        let mut state = scene.sim.state();
        let Some(host) = state.nodes.get_mut(&id) else { return };
        host.end_mode = mode;
        host.process.as_ref().map(|process| process.world.failpoints.set(name, skip, action))
    };
    if armed.is_some() {
        scene.happened((id, name, skip, mode));
    }
}

fn exchange_failpoint(mut scene: Scene) {
    if scene.rng.random_bool(0.4) {
        let polls = scene.rng.random_range(0..=3_000);
        scene.happened(polls);
        return end_after_polls(&scene, Who::Exchange, polls);
    }
    let Some(name) = EXCHANGE_FAILPOINTS.choose(&mut scene.rng).copied() else { return };
    let action = if scene.rng.random_bool(0.7) { FailAction::Crash } else { FailAction::Error };
    let skip = scene.rng.random_range(0..=20);
    let failpoints = scene.sim.state().exchange.process.as_ref().map(|process| process.world.failpoints.clone());
    if let Some(failpoints) = failpoints {
        failpoints.set(name, skip, action);
        scene.happened((name, skip, action));
    }
}

/// No task of `who` is polled for a while; its clocks and timers go on, as under SIGSTOP.
async fn pause(scene: Scene, who: Who) {
    let tasks = {
        let state = scene.sim.state();
        let process = match who {
            Who::Node(id) => state.nodes.get(&id).and_then(|host| host.process.as_ref()),
            Who::Maker(number) => state.makers.get(&number).and_then(|host| host.process.as_ref()),
            _ => state.exchange.process.as_ref(),
        };
        let Some(process) = process else { return };
        process.world.tasks.clone()
    };
    scene.happened(who);
    tasks.pause();
    scene.last().await;
    tasks.resume();
    if let Who::Maker(number) = who
        && let Some(host) = scene.sim.state().makers.get_mut(&number)
    {
        host.resumed = Some(Instant::now());
    }
}

async fn leave(mut scene: Scene) {
    let number = scene.one_maker();
    let who = Who::Maker(number);
    scene.happened(who);
    scene.hold_down(who, 1);
    if let Some(host) = scene.sim.state().makers.get(&number) {
        host.leave.send_replace(true);
    }
    scene.last().await;
    scene.hold_down(who, -1);
    scene.sim.ensure_up(who);
}

async fn rolling_restart(scene: Scene) {
    scene.happened("all nodes");
    for id in scene.nodes() {
        scene.sim.terminate_node(id);
        scene.last().await;
        sleep(Duration::from_secs(1)).await;
    }
}
