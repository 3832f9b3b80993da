//! Looks at everything, step by step, and shows it to the checks.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use openraft::{RaftState, ServerState};
use quorate_api::Consistency;
use quorate_domain::Asset;
use quorate_ledger::{Balance, Equity, Ledger, SymbolState};
use quorate_node::{node::Node, raft::types::TypeConfig};
use quorate_tests::replay::{Profit, Sums};
use tokio::time::{Instant, sleep};

use crate::{
    checks::STEP,
    note,
    sim::Sim,
    view::{AppliedView, LogView, NodeView, RaftView, View},
};

/// Steps between two looks at whole states: digests and audits.
const DEEP_EVERY: u64 = 25;
/// Frames taken at a time.
const FRAMES: usize = 1_000;

/// Steps until the run ends.
pub async fn watch(sim: Arc<Sim>) {
    let mut step = 0;
    loop {
        sleep(STEP).await;
        step += 1;
        look(&sim, step, step % DEEP_EVERY == 0).await;
    }
}

/// One step.
pub async fn look(sim: &Arc<Sim>, step: u64, deep: bool) {
    let ids: Vec<u64> = sim.state().nodes.keys().copied().collect();
    let mut view = View { step, feed: sim.feed_view(), ..View::default() };
    for id in ids {
        take_frames(sim, id).await;
        let (life, wiped, wall_ms, node, raft) = {
            let state = sim.state();
            let Some(host) = state.nodes.get(&id) else { continue };
            (host.life, host.wiped, host.machine.wall_ms(), host.running().cloned(), host.raft_view())
        };
        let applied = match &node {
            Some(node) if deep => applied(node).await,
            Some(_) | None => None,
        };
        if let Some(node) = &node {
            ask(sim, id, (life, step), node);
        }
        view.nodes.insert(id, NodeView { life, up: node.is_some(), wiped, wall_ms, raft, applied });
    }
    sim.checks().step(&view);
}

/// The frames that a node has applied since the last look.
async fn take_frames(sim: &Arc<Sim>, id: u64) {
    loop {
        let (node, next, life) = {
            let state = sim.state();
            let Some(host) = state.nodes.get(&id) else { return };
            let Some(node) = host.running().cloned() else { return };
            (node, host.next_frame, host.life)
        };
        let metrics = node.metrics();
        if metrics.applied_index < next || (metrics.applied_index == 0 && metrics.last_log_index == 0) {
            return;
        }
        let Some(Ok(page)) = node.history(next, FRAMES).now_or_never() else { return };
        let Some(last) = page.frames.last() else { return };
        let (index, chain) = (last.index, last.chain);
        note!(sim.trace, "n{id} applied {index} {chain}");
        for frame in page.frames {
            sim.checks().frame(id, frame);
        }
        let mut state = sim.state();
        match state.nodes.get_mut(&id) {
            Some(host) if host.life == life => host.next_frame = index + 1,
            Some(_) | None => return,
        }
    }
}

/// The whole of a node's ledger, audited. Nothing where it does not serve.
async fn applied(node: &Node) -> Option<AppliedView> {
    let snapshot = node.read(Consistency::Local, Instant::now()).now_or_never()?.ok()?;
    let audit = node.audit(&snapshot).await;
    Some(AppliedView {
        index: snapshot.applied_index,
        chain: audit.chain,
        state: Some(audit.state),
        audit: audit.violations,
        sums: sums_of(&snapshot.ledger),
    })
}

/// A ledger's money, in the judge's form.
fn sums_of(ledger: &Ledger) -> Sums {
    let profit = |state: &SymbolState| Profit {
        position: state.pnl.position.0.into(),
        cost: state.pnl.cost.0,
        realised: state.pnl.realised.0,
        fees: state.pnl.fees.0,
        cash: state.pnl.cash.0,
    };
    let assets: BTreeSet<Asset> = ledger.symbols().map(|(_, state)| state.instrument.quote.clone()).collect();
    let equity = assets.into_iter().map(|asset| {
        let Equity { equity, drawdown, .. } = ledger.equity(&asset);
        (asset, (equity.0, drawdown.high_water.0, drawdown.tripped))
    });
    let balances = ledger.accounts().flat_map(|(name, account)| {
        let sums = |balance: &Balance| (balance.total.0, balance.locked.0);
        account.balances.iter().map(move |(asset, balance)| ((name.clone(), asset.clone()), sums(balance)))
    });
    let fees = ledger.fees_paid().map(|(asset, fees)| (asset.clone(), fees.0));
    Sums {
        whole: true,
        symbols: ledger.symbols().map(|(symbol, state)| (symbol.clone(), profit(state))).collect(),
        equity: equity.collect(),
        balances: balances.filter(|(_, sums)| *sums != (0, 0)).collect(),
        fees: fees.filter(|(_, sum)| *sum != 0).collect(),
    }
}

/// The whole of a node's ledger, once it serves: waits for so long.
pub async fn applied_within(node: &Node, within: Duration) -> Option<AppliedView> {
    let snapshot = node.read(Consistency::Local, Instant::now() + within).await.ok()?;
    let audit = node.audit(&snapshot).await;
    Some(AppliedView {
        index: snapshot.applied_index,
        chain: audit.chain,
        state: Some(audit.state),
        audit: audit.violations,
        sums: sums_of(&snapshot.ledger),
    })
}

/// Has a node's consensus copy out its state as soon as it comes to it.
fn ask(sim: &Arc<Sim>, id: u64, when: (u64, u64), node: &Node) {
    let Some(cell) = sim.state().nodes.get(&id).map(|host| Arc::clone(&host.raft)) else { return };
    // Where its queue is full, or it has stopped, the next step asks again.
    let _ = node
        .raft()
        .external_request(move |state| {
            let mut cell = cell.lock().unwrap_or_else(PoisonError::into_inner);
            let before = cell.take();
            *cell = Some(raft_view(when, state, before));
        })
        .now_or_never();
}

fn raft_view((life, asked): (u64, u64), state: &RaftState<TypeConfig>, before: Option<RaftView>) -> RaftView {
    let vote = state.vote_ref();
    let committed = state.local_committed().map(|log| (log.committed_leader_id().term, log.index));
    let membership = state.membership_state.effective();
    let voters: Vec<BTreeSet<u64>> =
        membership.membership().get_joint_config().iter().map(|set| set.iter().copied().collect()).collect();
    let membership_at = membership.log_id().as_ref().map(|log| log.index);
    RaftView {
        life,
        asked,
        term: vote.leader_id.term,
        voted_for: vote.leader_id.voted_for,
        vote_committed: vote.committed,
        leads: state.server_state == ServerState::Leader,
        log: log_view(state, before.filter(|view| view.life == life).map(|view| view.log)),
        committed,
        voters,
        members: membership.membership().nodes().map(|(id, _)| *id).collect(),
        membership_at,
        membership_committed: membership_at.is_some_and(|at| committed.is_some_and(|(_, index)| at <= index)),
    }
}

fn log_view(state: &RaftState<TypeConfig>, before: Option<LogView>) -> LogView {
    let ids = &state.log_ids;
    let last = ids.last().map(|log| (log.committed_leader_id().term, log.index));
    let purged = ids.purged().map(|log| (log.committed_leader_id().term, log.index));
    if let Some(before) = before.filter(|log| log.last == last && log.purged == purged) {
        return before;
    }
    let mut view = LogView { purged, starts: Vec::new(), last };
    let Some((_, end)) = last else { return view };
    let term_at = |index| ids.get(index).map(|log| log.committed_leader_id().term);
    let mut index = view.first();
    while index <= end {
        let Some(term) = term_at(index) else { break };
        view.starts.push((index, term));
        // The first index of the next term: terms only grow along a log.
        let (mut low, mut high) = (index, end + 1);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            if term_at(middle) == Some(term) { low = middle } else { high = middle }
        }
        index = high;
    }
    view
}
