//! A run's state: who there is, what runs, and the way to start and end it. Actions are synchronous: nothing is held
//! over a wait.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use quorate_log_store::sim_disk::CrashMode;
use quorate_seams::seeded_rng;
use quorate_tests::history::calls::History;
use rand::{Rng, rngs::SmallRng};
use tokio::time::{Instant, sleep};

use crate::{
    checks::Checks, clock::Machine, exchange::ExchangeHost, feed::Feed, maker::MakerHost, net::Net, node::NodeHost,
    note, plan::Plan, process::Who, tap::Tap, trace::Trace,
};

/// The stream of the seed from which processes and ends are drawn.
const SIM_STREAM: u64 = 0x7369_6d00;

/// One run.
pub struct Sim {
    /// What the seed means.
    pub plan: Plan,
    /// The trace.
    pub trace: Arc<Trace>,
    /// The network.
    pub net: Net,
    /// The feed of a reference price.
    pub feed: Feed,
    /// When it began.
    pub zero: Instant,
    state: Mutex<State>,
    checks: Mutex<Checks>,
    tap: OnceLock<Arc<Tap>>,
}

/// What runs.
pub struct State {
    /// Members, present, past and to come, by id.
    pub nodes: BTreeMap<u64, NodeHost>,
    /// Makers, by number.
    pub makers: BTreeMap<u64, MakerHost>,
    /// The exchange.
    pub exchange: ExchangeHost,
    /// All chance of faults and restarts.
    pub rng: SmallRng,
    /// What happened, by name.
    pub counts: BTreeMap<String, u64>,
    /// From now on processes are started again at once, and nothing else happens to them.
    pub healing: bool,
}

impl Sim {
    /// A run of `plan`, before anything is started.
    #[must_use]
    pub fn new(plan: Plan, keep_trace: bool) -> Arc<Self> {
        let trace = Arc::new(Trace::new(keep_trace));
        let net = Net::new(plan.seed, plan.latency_ms, Arc::clone(&trace));
        let zero = Instant::now();
        let mut rng = seeded_rng(plan.seed, SIM_STREAM);
        let mut machine = || {
            let skew = i64::try_from(plan.skew_ms).unwrap_or(0);
            let drift = i64::try_from(plan.drift_ppm).unwrap_or(0);
            Machine::new(zero, rng.random_range(-skew..=skew), rng.random_range(-drift..=drift))
        };
        let nodes = (1..=plan.nodes).map(|id| (id, NodeHost::new(machine()))).collect();
        let makers = (1..=plan.makers).map(|number| (number, MakerHost::new(machine()))).collect();
        let exchange = ExchangeHost::new(machine());
        let state = State { nodes, makers, exchange, rng, counts: BTreeMap::new(), healing: false };
        let sim = Arc::new(Self {
            plan,
            trace,
            net,
            feed: Feed::default(),
            zero,
            state: Mutex::new(state),
            checks: Mutex::default(),
            tap: OnceLock::new(),
        });
        let tap = Arc::new(Tap::new(Arc::downgrade(&sim)));
        sim.net.tap(Arc::clone(&tap));
        // Set once, here.
        let _ = sim.tap.set(tap);
        sim
    }

    /// What runs; never held over a wait.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checks, told what time it is.
    pub fn checks(&self) -> MutexGuard<'_, Checks> {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.at(self.zero.elapsed());
        checks
    }

    /// Counts something for the report.
    pub fn count(&self, what: impl Into<String>) {
        *self.state().counts.entry(what.into()).or_default() += 1;
    }

    /// A machine that joins later.
    pub fn machine(&self, state: &mut State) -> Arc<Machine> {
        let skew = i64::try_from(self.plan.skew_ms).unwrap_or(0);
        let drift = i64::try_from(self.plan.drift_ppm).unwrap_or(0);
        let rng = &mut state.rng;
        Machine::new(self.zero, rng.random_range(-skew..=skew), rng.random_range(-drift..=drift))
    }

    /// The seed of a process's life.
    #[must_use]
    pub fn process_seed(&self, who: Who, life: u64) -> u64 {
        let stream = match who {
            Who::Node(id) => 0x1000 + id,
            Who::Exchange => 0x2000,
            Who::Maker(number) => 0x3000 + number,
            Who::Flow => 0x4000,
            Who::Operator => 0x5000,
            Who::Reader => 0x6000,
            Who::Feed => 0x7000,
        };
        seeded_rng(self.plan.seed, (stream << 16) + life).random()
    }

    /// Where clients that start now are told that nodes are reached: whoever is not given up.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let state = self.state();
        let present = state.nodes.iter().filter(|(_, host)| !host.removed && !host.refused);
        present.map(|(id, _)| format!("http://{}", crate::node::api_address(*id))).collect()
    }

    /// Everybody that there is.
    #[must_use]
    pub fn everybody(&self) -> Vec<Who> {
        let state = self.state();
        let mut all: Vec<Who> = state.nodes.keys().map(|id| Who::Node(*id)).collect();
        all.extend(state.makers.keys().map(|number| Who::Maker(*number)));
        all.extend([Who::Exchange, Who::Flow, Who::Operator, Who::Reader]);
        all.extend(self.plan.fed.then_some(Who::Feed));
        all
    }

    /// The id of a node that leads now, by its own word: the one of the highest term.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        let state = self.state();
        let leading = state.nodes.iter().filter_map(|(id, host)| {
            let metrics = host.running()?.metrics();
            metrics.is_leader.then_some((metrics.term, *id))
        });
        leading.max().map(|(_, id)| id)
    }

    /// Starts `who` again after a while, unless something keeps it down.
    pub fn start_later(self: &Arc<Self>, who: Who, after: Duration) {
        let sim = Arc::clone(self);
        tokio::spawn(async move {
            sleep(after).await;
            sim.ensure_up(who);
        });
    }

    /// Starts `who`, unless it runs or something keeps it down.
    pub fn ensure_up(self: &Arc<Self>, who: Who) {
        match who {
            Who::Node(id) => self.ensure_node(id),
            Who::Maker(number) => self.ensure_maker(number),
            Who::Exchange => self.ensure_exchange(),
            Who::Flow | Who::Operator | Who::Reader | Who::Feed => {}
        }
    }

    /// Ends `who` as kill -9.
    pub fn kill(self: &Arc<Self>, who: Who) {
        match who {
            Who::Node(id) => self.crash_node(id, CrashMode::KeepAll),
            Who::Maker(number) => self.kill_maker(number),
            Who::Exchange => self.kill_exchange(),
            Who::Flow | Who::Operator | Who::Reader | Who::Feed => {}
        }
    }

    /// A pause before a supervisor starts a process again.
    pub fn restart_pause(&self) -> Duration {
        let mut state = self.state();
        let most = if state.healing { 300 } else { 3_000 };
        Duration::from_millis(state.rng.random_range(50..=most))
    }

    /// Something that must never be seen.
    pub fn wrong(&self, invariant: &'static str, what: String) {
        note!(self.trace, "VIOLATION {invariant}: {what}");
        self.checks().wrong(invariant, what);
    }
}

impl Sim {
    /// The highest index that anybody was told is committed.
    #[must_use]
    pub fn net_acked(&self) -> u64 {
        self.tap.get().map_or(0, |tap| tap.acked())
    }

    /// Everything that clients asked nodes and were told.
    #[must_use]
    pub fn history(&self) -> History {
        self.tap.get().map(|tap| tap.history()).unwrap_or_default()
    }
}
