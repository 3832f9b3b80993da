//! Simulated makers: the real live loop over its world, with a sink for what it believes.

use std::{io, sync::Arc, time::Duration};

use quorate_domain::MakerName;
use quorate_ledger::Secret;
use quorate_market_maker::{
    LiveConfig,
    beliefs::{BeliefEvent, BeliefRecord, BeliefSink},
    new_secret, run,
};
use quorate_quoter::Config;
use quorate_seams::Clocks;
use quorate_strategy::FixedSpread;
use tokio::{sync::watch, time::Instant};

use crate::{
    clock::Machine,
    exchange::EXCHANGE_ADDRESS,
    note,
    process::{Process, Who},
    sim::Sim,
    view::Believed,
};

/// A maker's machine.
pub struct MakerHost {
    /// Its clocks.
    pub machine: Arc<Machine>,
    /// Counts its lives.
    pub life: u64,
    /// The process, while it runs.
    pub process: Option<Process>,
    /// Tells it to leave in good order.
    pub leave: watch::Sender<bool>,
    /// Faults that keep it down.
    pub held_down: u32,
    /// When it went on last after it stood still: what it had decided before, it sends then.
    pub resumed: Option<Instant>,
}

impl MakerHost {
    /// A machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine, life: 0, process: None, leave: watch::Sender::new(false), held_down: 0, resumed: None }
    }
}

/// Takes a maker's records straight into the checks.
struct Sink {
    sim: Arc<Sim>,
    maker: u64,
    life: u64,
    clock: Arc<dyn Clocks>,
}

impl BeliefSink for Sink {
    fn record(&mut self, record: &BeliefRecord) -> io::Result<()> {
        let holds = match record.event {
            BeliefEvent::Gained | BeliefEvent::Renewed => true,
            BeliefEvent::Started | BeliefEvent::Ended | BeliefEvent::Stopped => false,
        };
        let span = record.belief.as_ref();
        let believed = Believed {
            maker: self.maker,
            life: self.life,
            symbol: span.map(|span| span.symbol.clone()),
            epoch: span.map_or(0, |span| span.epoch),
            incarnation: span.map_or(0, |span| span.incarnation),
            holds,
            until: Duration::from_millis(span.map_or(0, |span| span.until_ms)),
            clock: Arc::clone(&self.clock),
        };
        if record.event != BeliefEvent::Renewed {
            let symbol = span.map_or("", |span| span.symbol.as_str());
            note!(self.sim.trace, "m{} {:?} {symbol} {}", self.maker, record.event, believed.epoch);
        }
        self.sim.checks().belief(&believed);
        Ok(())
    }
}

impl Sim {
    fn maker_config(&self, number: u64, secret: Secret) -> LiveConfig {
        let plan = &self.plan;
        let pricing = FixedSpread::new(5, plan.order_qty, 50, 500).expect("all in their ranges");
        let maker = format!("maker-{number}").parse().expect("a name");
        LiveConfig {
            quoter: Config { lease_ttl_ms: plan.lease_ttl_ms, ..Config::new(maker, secret, pricing) },
            ledger_endpoints: self.endpoints(),
            cluster_id: Some("sim".to_owned()),
            exchange: format!("http://{EXCHANGE_ADDRESS}"),
        }
    }

    /// The secret of the maker of this name, while it runs.
    #[must_use]
    pub fn maker_secret(&self, name: &MakerName) -> Option<Secret> {
        let number: u64 = name.as_str().strip_prefix("maker-")?.parse().ok()?;
        let state = self.state();
        state.makers.get(&number)?.process.as_ref().map(|process| new_secret(&process.world))
    }

    /// Starts a maker, unless it runs, or something keeps it down.
    pub fn ensure_maker(self: &Arc<Self>, number: u64) {
        let who = Who::Maker(number);
        let mut state = self.state();
        let Some(host) = state.makers.get_mut(&number) else { return };
        if host.process.is_some() || host.held_down > 0 {
            return;
        }
        host.life += 1;
        let life = host.life;
        let process = Process::start(who, life, self.process_seed(who, life), &host.machine, &self.net, |_| {});
        host.process = Some(process.clone());
        host.leave.send_replace(false);
        let mut leave = host.leave.subscribe();
        drop(state);
        note!(self.trace, "m{number} starts, life {life}");
        let (sim, world) = (Arc::clone(self), process.world.clone());
        let sink = Sink { sim: Arc::clone(self), maker: number, life, clock: Arc::clone(&world.clocks) };
        let config = self.maker_config(number, new_secret(&process.world));
        process.world.tasks.spawn(async move {
            let shutdown = async move { drop(leave.wait_for(|leave| *leave).await) };
            match run(config, world, Box::new(sink), shutdown).await {
                Ok(()) => note!(sim.trace, "m{number} left"),
                Err(error) => sim.wrong("makers run", format!("maker {number}: {error}")),
            }
            tokio::spawn(async move {
                if sim.state().makers.get(&number).is_some_and(|host| host.life == life) {
                    sim.kill_maker(number);
                    sim.start_later(who, sim.restart_pause());
                }
            });
        });
    }

    /// Ends a maker, as kill -9: from now on it believes nothing.
    pub fn kill_maker(&self, number: u64) {
        let ended = {
            let mut state = self.state();
            let Some(host) = state.makers.get_mut(&number) else { return };
            let Some(process) = host.process.take() else { return };
            process.party.end();
            Believed {
                maker: number,
                life: host.life,
                symbol: None,
                epoch: 0,
                incarnation: 0,
                holds: false,
                until: Duration::ZERO,
                clock: Arc::clone(&process.world.clocks),
            }
        };
        note!(self.trace, "m{number} ended");
        self.checks().belief(&ended);
    }
}
