//! One run, from its seed to what came of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_ledger::{Event, Frame};
use quorate_log_store::sim_disk::CrashReport;
use tokio::{runtime::Builder, runtime::RngSeed, time::sleep};

use crate::{
    checks::Violation, faults, feed, flow::Flow, heal, operator::Operator, panics, plan::Plan, process::Who, reader,
    sim::Sim, watch,
};

/// What came of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What does not hold; empty where all does.
    pub violations: Vec<Violation>,
    /// The hash over the trace, and how many lines it has.
    pub trace: (u64, String),
    /// Kept lines of the trace.
    pub lines: Vec<String>,
    /// Simulated time in all.
    pub simulated: Duration,
    /// Faults injected, by name.
    pub faults: BTreeMap<String, u64>,
    /// What happened, by name.
    pub counts: BTreeMap<String, u64>,
    /// Refusals of the ledger, by name.
    pub refusals: BTreeMap<String, u64>,
    /// How quotes ended, by the reason.
    pub ends: BTreeMap<String, u64>,
    /// The longest time that a symbol waited for its turn, in milliseconds.
    pub waited_ms_max: u64,
    /// Indexes applied.
    pub indexes: u64,
    /// Fills committed.
    pub fills: u64,
    /// The highest exposure reserved, in a hundredth of the limit.
    pub exposure_max: i128,
    /// Until all was well after the faults, in milliseconds.
    pub heal_ms: u64,
    /// What crashes left of unsynced writes.
    pub crashes: CrashReport,
}

/// Runs `plan`. Everything happens on this thread, in one runtime whose choices are seeded.
#[must_use]
pub fn run(plan: Plan, keep_trace: bool) -> Outcome {
    panics::begin();
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&plan.seed.to_le_bytes()))
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let at = Duration::ZERO;
            let violation = Violation { invariant: "harness", at, what: format!("no runtime: {error}") };
            return Outcome { seed: plan.seed, violations: vec![violation], ..Outcome::default() };
        }
    };
    let mut outcome = runtime.block_on(simulate(plan, keep_trace));
    drop(runtime);
    for what in panics::end(outcome.counts.contains_key("disks refused") || outcome.faults.contains_key("rot")) {
        outcome.violations.push(Violation { invariant: "no panics", at: outcome.simulated, what });
    }
    outcome
}

async fn simulate(plan: Plan, keep_trace: bool) -> Outcome {
    let seed = plan.seed;
    let sim = Sim::new(plan, keep_trace);
    for id in 1..=sim.plan.nodes {
        match sim.plan.late.filter(|(late, _)| *late == id) {
            None => sim.ensure_node(id),
            Some((_, after_ms)) => start_late(&sim, id, Duration::from_millis(after_ms)),
        }
    }
    sim.ensure_exchange();
    for number in 1..=sim.plan.makers {
        sim.ensure_maker(number);
    }
    let watching = tokio::spawn(watch::watch(Arc::clone(&sim)));
    let operator = Operator::new(&sim);
    let setting_up = operator.clone();
    operator.process.world.tasks.spawn(async move { setting_up.set_up().await });
    reader::begin(&sim);
    if sim.plan.fed {
        feed::begin(&sim);
    }
    let flow = Flow::new(&sim);
    let flowing = tokio::spawn(Arc::clone(&flow).run());

    faults::inject(&sim, &operator).await;

    let healed = heal::heal(&sim, &operator, &flow).await;
    flowing.abort();
    if sim.checks().violations().is_empty() {
        end(&sim, &operator).await;
    }
    watch::look(&sim, u64::MAX, true).await;
    watching.abort();
    let found = heal::judge(&sim, &flow);
    let violations = sim.checks().violations().to_vec();
    let state = sim.state();
    let mut crashes = CrashReport::default();
    state.nodes.values().for_each(|host| crashes.add(host.crashes));
    let mut counts = state.counts.clone();
    counts.extend(sim.net.counts().into_iter().map(|(name, count)| (name.to_owned(), count)));
    counts.insert("turns".to_owned(), found.turns);
    counts.insert("unknown settled".to_owned(), flow.with_journal(|journal| journal.unknown_settled));
    let (fault_counts, counts) = faults::split(counts);
    let indexes = sim.checks().frames().len() as u64;
    let ends = ends(sim.checks().frames());
    Outcome {
        seed,
        violations,
        trace: sim.trace.digest(),
        lines: sim.trace.kept(),
        simulated: sim.zero.elapsed(),
        faults: fault_counts,
        counts,
        refusals: sim.net.refusals(),
        ends,
        waited_ms_max: found.waited_ms_max,
        indexes,
        fills: found.fills,
        exposure_max: found.exposure_max,
        heal_ms: healed.heal_ms,
        crashes,
    }
}

/// How often quotes ended for each reason.
fn ends(frames: &[Arc<Frame>]) -> BTreeMap<String, u64> {
    let mut ends = BTreeMap::new();
    for event in frames.iter().flat_map(|frame| &frame.events) {
        if let Event::QuoteEnded { reason, .. } = event {
            let name = serde_json::to_value(reason).ok().and_then(|name| Some(name.as_str()?.to_owned()));
            *ends.entry(name.unwrap_or_default()).or_default() += 1;
        }
    }
    ends
}

/// Starts a first member after the others: until then they must not found the group.
fn start_late(sim: &Arc<Sim>, id: u64, after: Duration) {
    let sim = Arc::clone(sim);
    tokio::spawn(async move {
        sleep(after).await;
        sim.count("fault founding-held-up");
        let founded = sim.state().nodes.values().filter_map(|host| host.running()).any(|node| node.status().term > 0);
        if founded {
            sim.wrong("founding waits for all", format!("a group was founded without node {id}"));
        }
        sim.ensure_node(id);
    });
}

/// Makers leave and the exchange stops; then nothing more is proposed, and all members come to one state.
async fn end(sim: &Arc<Sim>, operator: &Operator) {
    let makers: Vec<u64> = {
        let mut state = sim.state();
        for host in state.makers.values_mut() {
            host.held_down += 1;
            host.leave.send_replace(true);
        }
        state.exchange.held_down += 1;
        state.makers.keys().copied().collect()
    };
    sleep(Duration::from_secs(5)).await;
    for number in makers {
        sim.kill(Who::Maker(number));
    }
    sim.kill(Who::Exchange);
    heal::converge(sim, operator).await;
}
