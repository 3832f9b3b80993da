//! The one who operates the group: defines symbols, switches, changes members, hands leadership over. By the real
//! client, over the simulated network.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use quorate_api::{ChangeMembers, Read, StatusView};
use quorate_client::{Client, ClientConfig, ReadOptions, Session, SubmitError};
use quorate_domain::{Asset, Exposure, Instrument, Money, Protection, Qty, Symbol};
use quorate_ledger::{Command, ControlChange, ControlCommand, DefineSymbol, Outcome, QuotingScope, Refusal, Response};
use tokio::time::{Instant, sleep};

use crate::{
    clock::Machine,
    node::member,
    note,
    plan::SYMBOLS,
    process::{Process, Who},
    sim::Sim,
};

/// How long one attempt is tried.
pub const ATTEMPT: Duration = Duration::from_secs(4);
/// Pause before the next one.
const PAUSE: Duration = Duration::from_millis(300);

/// Longer than a client goes without a look at the members.
const HEARD_OF: Duration = Duration::from_secs(4);

/// See the module.
#[derive(Clone)]
pub struct Operator {
    /// Anew after each change of the members, whose addresses the operator knows first.
    reach: Arc<Mutex<(Client, Session)>>,
    /// One change of the members at a time, from its first thought to its end.
    pub changing: Arc<tokio::sync::Mutex<()>>,
    sim: Arc<Sim>,
    /// Its process.
    pub process: Process,
}

/// What everything is quoted in.
const QUOTE: &str = "USDT";

fn quote() -> Asset {
    QUOTE.parse().expect("an asset")
}

impl Operator {
    /// The operator of a run.
    #[must_use]
    pub fn new(sim: &Arc<Sim>) -> Self {
        let machine = Machine::new(sim.zero, 0, 0);
        let seed = sim.process_seed(Who::Operator, 1);
        let process = Process::start(Who::Operator, 1, seed, &machine, &sim.net, |_| {});
        let client = client(sim, &process);
        let reach = Arc::new(Mutex::new((client.clone(), client.session())));
        Self { reach, changing: Arc::default(), sim: Arc::clone(sim), process }
    }

    fn reach(&self) -> (Client, Session) {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of the machines that there are now.
    pub fn learn_addresses(&self) {
        let client = client(&self.sim, &self.process);
        let session = client.session();
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = (client, session);
    }

    /// Sends `command` until the ledger has answered.
    async fn insist(&self, command: &Command) -> Response {
        loop {
            let ((client, session), deadline) = (self.reach(), Instant::now() + ATTEMPT);
            let submission = if command.needs_session() {
                session.submit(command, deadline)
            } else {
                client.submit_without_session(command, deadline)
            };
            match submission.await {
                Ok(response) => match response.outcome {
                    // What came of earlier attempts is not known: the state says.
                    Outcome::Refused(Refusal::SessionExpired { .. }) => {}
                    Outcome::Accepted(_) | Outcome::Refused(_) => return response,
                },
                Err(SubmitError::NotApplied(_) | SubmitError::Unknown { .. }) => {}
            }
            sleep(PAUSE).await;
        }
    }

    async fn status(&self) -> Read<StatusView> {
        loop {
            match self.client().status(&ReadOptions::linearizable().within(ATTEMPT)).await {
                Ok(status) => return status,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Defines the plan's symbols, and sets its limit.
    pub async fn set_up(&self) {
        for (at, (symbol, ..)) in SYMBOLS[..self.sim.plan.symbols].iter().enumerate() {
            let asset = |name: &str| name.parse().expect("an asset");
            let size = |text: &str| text.parse().expect("a decimal");
            let weight = self.sim.plan.exposure_per_lot(at);
            let spot = Instrument::spot(asset("B"), asset(QUOTE), size("0.01"), size("0.001"), weight);
            let instrument = Instrument { maker_fee_ppm: -20, taker_fee_ppm: 400, ..spot };
            let define = DefineSymbol { symbol: symbol.parse().expect("a symbol"), instrument };
            let response = self.insist(&Command::DefineSymbol(define)).await;
            if let Outcome::Refused(refusal) = response.outcome {
                self.sim.wrong("symbols are defined", format!("{symbol}: {refusal}"));
            }
        }
        self.set_limit(self.sim.plan.limit).await;
        let (account, asset) = ("saver".parse().expect("an account"), quote());
        self.control(ControlChange::Deposit { account, asset, amount: Money(1_000_000_000_000_000) }).await;
        note!(self.sim.trace, "op has set up");
    }

    /// Makes a control command from the present version, until the ledger has taken one.
    async fn control(&self, change: ControlChange) {
        loop {
            let version = self.status().await.data.control.control_version;
            match self.insist(&decision(version, change.clone())).await.outcome {
                Outcome::Accepted(_) => return,
                // Another attempt may have been taken.
                Outcome::Refused(Refusal::ControlVersion { .. }) => {}
                Outcome::Refused(refusal) => {
                    return self.sim.wrong("control commands are taken", refusal.to_string());
                }
            }
        }
    }

    /// Sets the limit.
    pub async fn set_limit(&self, limit: i64) {
        self.control(ControlChange::ExposureLimit { limit: Exposure(limit.into()) }).await;
    }

    /// Sets the largest position of a symbol, or takes it away.
    pub async fn set_position_limit(&self, symbol: Symbol, max: Option<i64>) {
        self.control(ControlChange::PositionLimit { symbol, max: max.map(Qty) }).await;
    }

    /// Sets how far equity may fall, or takes that limit away and arms the breaker again, where it has tripped.
    pub async fn set_drawdown_limit(&self, limit: Option<Money>) {
        self.control(ControlChange::DrawdownLimit { asset: quote(), limit }).await;
        while limit.is_none() {
            let Ok(breakers) = self.client().breakers(&ReadOptions::linearizable().within(ATTEMPT)).await else {
                sleep(PAUSE).await;
                continue;
            };
            if breakers.data.drawdowns.iter().any(|breaker| breaker.tripped) {
                self.control(ControlChange::Rearm { asset: quote() }).await;
            }
            return;
        }
    }

    /// Sets the protection of a symbol, or takes it away.
    pub async fn set_protection(&self, symbol: Symbol, protection: Option<Protection>) {
        self.control(ControlChange::Protection { symbol, protection }).await;
    }

    /// Turns quoting on or off.
    pub async fn set_quoting(&self, scope: QuotingScope, on: bool) {
        self.control(ControlChange::Quoting { scope, on }).await;
    }

    /// Engages or re-arms the kill switch.
    pub async fn set_kill_switch(&self, engaged: bool) {
        self.control(ControlChange::KillSwitch { engaged }).await;
    }

    /// Everything on, the kill switch off, the plan's limit, no limit of a position.
    pub async fn reset_control(&self) {
        let control = self.status().await.data.control;
        if control.kill_switch {
            self.set_kill_switch(false).await;
        }
        if !control.quoting {
            self.set_quoting(QuotingScope::All, true).await;
        }
        for symbol in control.symbols_off {
            self.set_quoting(QuotingScope::Symbol(symbol), true).await;
        }
        for maker in control.makers_off {
            self.set_quoting(QuotingScope::Maker(maker), true).await;
        }
        for symbol in self.position_limits().await {
            self.set_position_limit(symbol, None).await;
        }
        self.set_drawdown_limit(None).await;
        for (symbol, ..) in &SYMBOLS[..self.sim.plan.symbols] {
            self.set_protection(symbol.parse().expect("a symbol"), None).await;
        }
        self.set_limit(self.sim.plan.limit).await;
    }

    /// The symbols with a limit of their position.
    async fn position_limits(&self) -> Vec<Symbol> {
        loop {
            if let Ok(positions) = self.client().positions(None, &ReadOptions::linearizable().within(ATTEMPT)).await {
                let limited = positions.data.into_iter().filter(|view| view.position_max.is_some());
                return limited.map(|view| view.symbol).collect();
            }
            sleep(PAUSE).await;
        }
    }

    /// Asks once that `to` leads.
    pub async fn transfer_leader(&self, to: u64) {
        let done = self.client().transfer_leader(to, ATTEMPT).await;
        note!(self.sim.trace, "op: transfer to n{to}: {}", if done.is_ok() { "done" } else { "not done" });
    }

    /// Asks once for a snapshot somewhere.
    pub async fn snapshot(&self) {
        let _ = self.client().snapshot(None, ATTEMPT).await;
    }

    /// Makes these the members, and insists. Then gives clients the time to hear of it: whoever replaces a whole group
    /// faster than its clients look must tell them.
    pub async fn set_members(&self, ids: &BTreeSet<u64>) {
        self.learn_addresses();
        loop {
            let changed = match self.client().cluster(&ReadOptions::linearizable().within(ATTEMPT)).await {
                Ok(cluster) => {
                    let membership_index = cluster.data.membership_index;
                    let members = ids.iter().map(|id| member(*id)).collect();
                    let change = ChangeMembers { membership_index, members };
                    self.client().change_members(&change, Duration::from_secs(10)).await.is_ok()
                }
                Err(_) => false,
            };
            if changed || self.members().await.is_some_and(|present| present == *ids) {
                note!(self.sim.trace, "op: the members are {ids:?}");
                sleep(HEARD_OF).await;
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// The members, as the group has them.
    pub async fn members(&self) -> Option<BTreeSet<u64>> {
        let cluster = self.client().cluster(&ReadOptions::linearizable().within(ATTEMPT)).await.ok()?;
        Some(cluster.data.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect())
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.reach().0
    }
}

/// What the operator decides, on this state.
#[must_use]
pub fn decision(control_version: u64, change: ControlChange) -> Command {
    let (actor, reason) = ("operator".parse().expect("a name"), "to see what comes of it".to_owned());
    Command::Control(ControlCommand { actor, reason, control_version, change })
}

/// A real client of the group in the name of `process`.
#[must_use]
pub fn client(sim: &Arc<Sim>, process: &Process) -> Client {
    let mut config = ClientConfig::new(sim.endpoints());
    config.cluster_id = Some("sim".to_owned());
    Client::new(process.world.clone(), config).expect("the endpoints are constant")
}
