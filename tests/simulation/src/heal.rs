//! All faults stop. Within a bound of simulated time the group must converge, serve, and quote every symbol again, and
//! hold everything that was acknowledged.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_client::ReadOptions;
use quorate_domain::Symbol;
use quorate_ledger::Frame;
use quorate_tests::{
    evidence::Export,
    history,
    replay::{Replay, hold},
};
use tokio::time::{Instant, sleep};

use crate::{flow::Flow, note, operator::Operator, plan::SYMBOLS, process::Who, sim::Sim, watch};

/// How long all of it may take.
pub const HEAL_MAX: Duration = Duration::from_secs(60);
/// How long orders in doubt may take to be settled once the group serves.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long things took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Healed {
    /// Until all was well, in milliseconds.
    pub heal_ms: u64,
}

/// Ends all faults; whoever is down is started.
pub fn stop_faults(sim: &Arc<Sim>) {
    note!(sim.trace, "all faults stop");
    sim.net.rule(crate::net::Rules::heal);
    sim.feed.heal();
    let everybody = sim.everybody();
    {
        let mut state = sim.state();
        state.healing = true;
        for host in state.nodes.values_mut() {
            host.held_down = 0;
            host.machine.set_drift(0);
            host.disk.set_capacity(None);
            host.disk.fail_sync(u64::MAX / 2);
            host.disk.die_at(u64::MAX / 2);
            if let Some(process) = &host.process {
                process.world.tasks.resume();
                process.world.tasks.after_polls(u64::MAX, || {});
                crate::faults::disarm(&process.world.failpoints);
            }
        }
        for host in state.makers.values_mut() {
            host.held_down = 0;
            host.machine.set_drift(0);
            if let Some(process) = &host.process {
                if process.world.tasks.is_paused() {
                    host.resumed = Some(Instant::now());
                }
                process.world.tasks.resume();
                process.world.tasks.after_polls(u64::MAX, || {});
            }
        }
        let exchange = &mut state.exchange;
        exchange.held_down = 0;
        exchange.machine.set_drift(0);
        if let Some(process) = &exchange.process {
            process.world.tasks.resume();
            process.world.tasks.after_polls(u64::MAX, || {});
            crate::faults::disarm(&process.world.failpoints);
        }
    }
    for who in everybody {
        sim.ensure_up(who);
    }
}

/// See the module. Problems are found by the checks.
pub async fn heal(sim: &Arc<Sim>, operator: &Operator, flow: &Arc<Flow>) -> Healed {
    stop_faults(sim);
    let began = Instant::now();
    let well = tokio::time::timeout(HEAL_MAX, async {
        crate::faults::membership::replace_lost(sim, operator).await;
        operator.reset_control().await;
        let mut quoted = BTreeSet::new();
        while let Err(what) = is_well(sim, operator, &mut quoted).await {
            tracing::debug!(what, "not well yet");
            sleep(LOOK_EVERY).await;
        }
    });
    if well.await.is_err() {
        let what = tokio::time::timeout(Duration::from_secs(5), is_well(sim, operator, &mut BTreeSet::new())).await;
        sim.wrong("heals", format!("not within {HEAL_MAX:?}: {what:?}"));
        return Healed::default();
    }
    let heal_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    note!(sim.trace, "healed");
    serves(sim, flow).await;
    settle(sim, flow).await;
    Healed { heal_ms }
}

/// Whether all members serve and every symbol is quoted, or waits for its next turn and is among those that were `quoted`
/// before; otherwise what is missing.
async fn is_well(sim: &Arc<Sim>, operator: &Operator, quoted: &mut BTreeSet<Symbol>) -> Result<(), String> {
    let members = operator.members().await.ok_or("the members cannot be read")?;
    crate::faults::membership::keep_members(sim, &members);
    for id in &members {
        let node = {
            let state = sim.state();
            state.nodes.get(id).and_then(|host| host.running().cloned())
        };
        node.ok_or_else(|| format!("node {id} does not run"))?
            .readiness()
            .map_err(|what| format!("node {id}: {what}"))?;
    }
    let ready = {
        let state = sim.state();
        state.exchange.desk.as_ref().is_some_and(|desk| desk.health().ready)
    };
    if !ready {
        return Err("the exchange is not ready".to_owned());
    }
    let options = ReadOptions::linearizable().within(Duration::from_secs(2));
    let quotes = operator.client().quotes(None, &options).await.map_err(|error| error.to_string())?;
    let waiting = operator.client().waiting(&options).await.map_err(|error| error.to_string())?;
    let now: BTreeSet<Symbol> = quotes.data.into_iter().map(|quote| quote.symbol).collect();
    quoted.extend(now.iter().cloned());
    let waits = |symbol: &Symbol| waiting.data.iter().any(|view| view.symbol == *symbol);
    for (symbol, ..) in &SYMBOLS[..sim.plan.symbols] {
        let symbol: Symbol = symbol.parse().map_err(|_| "the symbols are constant")?;
        let takes_turns = quoted.contains(&symbol) && waits(&symbol);
        if !now.contains(&symbol) && !takes_turns {
            return Err(format!("{symbol} is not quoted"));
        }
    }
    Ok(())
}

/// New orders are filled again.
async fn serves(sim: &Arc<Sim>, flow: &Arc<Flow>) {
    let before = fills(sim);
    let mut rng = sim.plan.part(0x6865_616c);
    let deadline = Instant::now() + SETTLE_MAX;
    let mut number = 0;
    while fills(sim) == before {
        if Instant::now() >= deadline {
            return sim.wrong("serves again", "no order is filled after healing".to_owned());
        }
        number += 1;
        flow.send(&mut rng, &format!("h{number}"));
        sleep(Duration::from_millis(300)).await;
    }
}

fn fills(sim: &Sim) -> u64 {
    let state = sim.state();
    state.nodes.values().filter_map(|host| Some(host.running()?.status().fills)).max().unwrap_or(0)
}

/// Every order comes to a known end.
async fn settle(sim: &Arc<Sim>, flow: &Arc<Flow>) {
    let deadline = Instant::now() + SETTLE_MAX;
    while flow.pending() > 0 {
        if Instant::now() >= deadline {
            let open = flow.with_journal(|journal| {
                let open = journal.orders.iter().filter(|(_, sent)| !sent.ended);
                open.map(|(name, _)| name.clone()).collect::<Vec<_>>()
            });
            return sim.wrong("orders settle", format!("no end for {open:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Quoting has stopped: all members must come to one index, and hold one state.
pub async fn converge(sim: &Arc<Sim>, operator: &Operator) {
    let deadline = Instant::now() + HEAL_MAX;
    let Some(members) = operator.members().await else {
        return sim.wrong("converges", "the members cannot be read".to_owned());
    };
    loop {
        let nodes: Vec<_> = {
            let state = sim.state();
            members.iter().filter_map(|id| Some((*id, state.nodes.get(id)?.running()?.clone()))).collect()
        };
        let mut states = Vec::new();
        for (id, node) in &nodes {
            if let Some(applied) = watch::applied_within(node, Duration::from_secs(1)).await {
                states.push((*id, applied.index, applied.state, applied.audit));
            }
        }
        let first = states.first().map(|(_, index, state, _)| (*index, *state));
        let equal = states.iter().all(|(_, index, state, _)| first == Some((*index, *state)));
        if states.len() == members.len() && equal {
            note!(sim.trace, "converged at {first:?}");
            return;
        }
        if Instant::now() >= deadline {
            return sim.wrong("converges", format!("members {members:?} stand at {states:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Holds the journal, and the whole history, against a judge that knows nothing of this simulation.
pub fn judge(sim: &Arc<Sim>, flow: &Arc<Flow>) -> quorate_tests::replay::Findings {
    let mut checks = sim.checks();
    checks.end();
    let mut replay = Replay::new(&Export { opening: Vec::new(), frames: Vec::new() });
    // The founding entry stands at index 0, and does nothing; exports begin after it.
    for frame in checks.frames().iter().skip(1) {
        replay.frame(frame);
    }
    let found = replay.finish();
    let held = flow.with_journal(|journal| hold(&found, journal));
    for violation in found.violations.iter().chain(&held.violations) {
        checks.wrong("independent judge", violation.clone());
    }
    let frames: Vec<Frame> = checks.frames().iter().skip(1).map(|frame| Frame::clone(frame)).collect();
    match history::check(&sim.history(), &frames) {
        Ok(report) => {
            report.violations.iter().for_each(|found| checks.wrong("history", found.to_string()));
            let counts = &mut sim.state().counts;
            counts.insert("calls in the history".to_owned(), report.figures.operations as u64);
            counts.insert("calls in the history unknown".to_owned(), report.figures.unknown as u64);
        }
        Err(error) => checks.wrong("history", error.to_string()),
    }
    let acked = sim.net_acked();
    let last = checks.frames().len() as u64;
    if acked >= last.max(1) {
        checks.wrong("acknowledged", format!("index {acked} was acknowledged, the history ends before {last}"));
    }
    drop(checks);
    let counted: Vec<(String, u64)> = {
        let state = sim.state();
        state.nodes.iter().map(|(id, host)| (Who::Node(*id).to_string(), host.life)).collect()
    };
    note!(sim.trace, "lives {counted:?}");
    found
}
