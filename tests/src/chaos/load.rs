//! The recording clients of a chaos run: each reads and writes by turns, and its history is kept.

use std::{
    fs::File,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use quorate_client::{Client, ClientConfig, ReadOptions};
use quorate_domain::Symbol;
use quorate_ledger::{Command, DefineSymbol};
use quorate_seams::{Failpoints, World};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    harness::instrument,
    history::record::{Recorder, Timer},
};

/// How many clients record.
const CLIENTS: u64 = 4;
/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(3);
/// Pause between two calls of one client.
const PAUSE: Duration = Duration::from_millis(25);

/// Running clients. Dropping them ends them.
pub(super) struct Load {
    recorders: Vec<Arc<Recorder>>,
    running: JoinSet<()>,
    stop: watch::Sender<bool>,
    calls: Arc<AtomicU64>,
}

impl Load {
    /// Starts them; each writes its history to a file of its own in `dir`.
    pub(super) fn start(endpoints: &[String], symbol: &str, timer: &Timer, seed: u64, dir: &Path) -> Result<Self> {
        let (stop, calls) = (watch::Sender::new(false), Arc::new(AtomicU64::new(0)));
        let (mut recorders, mut running) = (Vec::new(), JoinSet::new());
        for nth in 0..CLIENTS {
            let name = format!("recorder-{nth}");
            let out = File::create(dir.join(format!("history-{nth}.jsonl")))?;
            let recorder = Arc::new(Recorder::writing(&name, timer.clone(), Box::new(out)));
            let mut config = ClientConfig::new(endpoints.to_vec());
            config.observer = Some(recorder.clone());
            let client = Client::new(World::real(Failpoints::none())?, config)?;
            // As the harness defines it: again the same changes nothing, and is accepted.
            let instrument = serde_json::from_value(instrument(symbol))?;
            let command = Command::DefineSymbol(DefineSymbol { symbol: symbol.parse()?, instrument });
            let caller = Caller {
                client,
                command,
                symbol: symbol.parse()?,
                rng: StdRng::seed_from_u64(seed.wrapping_add(nth)),
                nodes: endpoints.len(),
                calls: calls.clone(),
            };
            running.spawn(caller.run(stop.subscribe()));
            recorders.push(recorder);
        }
        Ok(Self { recorders, running, stop, calls })
    }

    /// Calls that have returned.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Lets every client finish its call, and gives back what they recorded.
    pub(super) async fn finish(mut self) -> Result<Vec<crate::history::record::Line>> {
        self.stop.send_replace(true);
        while let Some(ended) = self.running.join_next().await {
            ended?;
        }
        let mut lines = Vec::new();
        for recorder in &self.recorders {
            lines.extend(recorder.take()?);
        }
        Ok(lines)
    }
}

struct Caller {
    client: Client,
    command: Command,
    symbol: Symbol,
    rng: StdRng,
    nodes: usize,
    calls: Arc<AtomicU64>,
}

impl Caller {
    async fn run(mut self, stop: watch::Receiver<bool>) {
        let session = self.client.session();
        while !*stop.borrow() {
            let node = self.rng.random_range(0..self.nodes);
            let linearizable = ReadOptions::linearizable().within(CALL_MAX);
            let local = ReadOptions::local(node).within(CALL_MAX);
            // What comes of a call is recorded, and nowhere else looked at.
            match self.rng.random_range(0..14) {
                0..3 => drop(session.submit(&self.command, Instant::now() + CALL_MAX).await),
                3..6 => drop(self.client.positions(None, &linearizable).await),
                6 => drop(self.client.positions(Some(&self.symbol), &linearizable).await),
                7 => drop(self.client.quotes(None, &linearizable).await),
                8..10 => drop(self.client.positions(None, &local).await),
                10 => drop(self.client.pnl(&linearizable).await),
                11 => drop(self.client.pnl(&local).await),
                12 => drop(self.client.breakers(&local).await),
                _ => drop(self.client.balances(None, None, &local).await),
            }
            self.calls.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }
}
