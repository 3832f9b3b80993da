//! The simulated exchange: the real desk, its follower and its router, without sockets.

use std::sync::Arc;

use quorate_exchange::{
    config::{Config, Settings},
    desk::Desk,
    follow::follow,
    http::router,
    recover::RecoverError,
    reference::References,
};

use crate::{
    clock::Machine,
    feed::FED,
    note,
    plan::SYMBOLS,
    process::{Process, Who},
    sim::Sim,
};

/// Where the exchange is reached: always by this name, whichever process serves.
pub const EXCHANGE_ADDRESS: &str = "x:7200";

/// The exchange's machine.
pub struct ExchangeHost {
    /// Its clocks.
    pub machine: Arc<Machine>,
    /// Counts its lives.
    pub life: u64,
    /// The process that serves.
    pub process: Option<Process>,
    /// The desk in it.
    pub desk: Option<Arc<Desk>>,
    /// Faults that keep it down.
    pub held_down: u32,
}

impl ExchangeHost {
    /// A machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine, life: 0, process: None, desk: None, held_down: 0 }
    }
}

impl Sim {
    fn exchange_config(&self) -> Config {
        let priced =
            SYMBOLS[..self.plan.symbols].iter().map(|(symbol, price, _)| (*symbol, format!("{symbol}={price}")));
        let (fed, walk): (Vec<_>, Vec<_>) = priced.partition(|(symbol, _)| self.plan.fed && *symbol == FED);
        let walk: Vec<String> = walk.into_iter().map(|(_, priced)| priced).collect();
        let external = fed.into_iter().map(|(_, priced)| format!("external:{priced}"));
        let walk = format!("walk:{},{}", self.plan.seed, walk.join(","));
        let settings = Settings {
            ledger_endpoints: Some(self.endpoints()),
            cluster_id: Some("sim".to_owned()),
            reference: Some(external.chain([walk]).collect()),
            fault_injection: Some(true),
            ..Settings::default()
        };
        settings.resolve().expect("the settings are constant, but for the seed")
    }

    /// Starts the exchange, unless it runs, or something keeps it down.
    pub fn ensure_exchange(self: &Arc<Self>) {
        {
            let state = self.state();
            if state.exchange.process.is_some() || state.exchange.held_down > 0 {
                return;
            }
        }
        self.start_exchange();
    }

    /// Starts an exchange, which takes the name over from whichever serves: that one goes on without being called,
    /// and is fenced.
    pub fn start_exchange(self: &Arc<Self>) {
        let config = self.exchange_config();
        let mut state = self.state();
        let host = &mut state.exchange;
        host.life += 1;
        let life = host.life;
        let ended = Arc::downgrade(self);
        let on_crash = move |name: &str| {
            let Some(sim) = ended.upgrade() else { return };
            note!(sim.trace, "x ended at failpoint {name}");
            let name = format!("ended at failpoint {name}");
            tokio::spawn(async move {
                sim.count(name);
                sim.exchange_ended(life);
            });
        };
        let seed = self.process_seed(Who::Exchange, life);
        let process = Process::start(Who::Exchange, life, seed, &host.machine, &self.net, on_crash);
        let references = References::open(&config.references).expect("no files are opened");
        let desk = Desk::new(config, process.world.clone(), references).expect("the endpoints are constant");
        host.process = Some(process.clone());
        host.desk = Some(Arc::clone(&desk));
        drop(state);
        self.feed.exchange_begins(self.zero.elapsed());
        note!(self.trace, "x starts, life {life}");
        self.net.serve(EXCHANGE_ADDRESS, process.party.clone(), Some(router(Arc::clone(&desk))));
        let sim = Arc::clone(self);
        process.world.tasks.spawn(async move {
            let error = follow(&desk).await;
            note!(sim.trace, "x ends, life {life}: {error}");
            match error {
                RecoverError::Fenced(_) => sim.count("exchanges fenced"),
                RecoverError::Refused(_) => sim.wrong("exchange", format!("refused: {error}")),
                RecoverError::Unavailable(_) | RecoverError::InDoubt(_) => {
                    sim.wrong("exchange", format!("gave up: {error}"));
                }
            }
            tokio::spawn(async move { sim.exchange_ended(life) });
        });
    }

    /// The exchange of this life has ended, or is to: what its supervisor does.
    pub fn exchange_ended(self: &Arc<Self>, life: u64) {
        if self.state().exchange.life == life {
            self.kill_exchange();
            self.start_later(Who::Exchange, self.restart_pause());
        }
    }

    /// Ends the exchange that serves, as kill -9.
    pub fn kill_exchange(&self) {
        let mut state = self.state();
        let Some(process) = state.exchange.process.take() else { return };
        state.exchange.desk = None;
        process.party.end();
        note!(self.trace, "x ended");
    }
}
