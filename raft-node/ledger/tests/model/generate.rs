//! Commands chosen by chance, but with an eye on the state: mostly such as are accepted, so that deep
//! states are reached, and with a share that is stale, late, repeated, overdone or plainly wrong.

use quorate_domain::{Exposure, ExposureBasis, Instrument, MAX_QTY, MakerName, Millis, Qty, Symbol};
use quorate_ledger::{
    Command, CommitParameters, ControlChange, ControlCommand, Envelope, Input, LeaderCommand, MakerRef, QuotingScope,
    RegisterExchange, RegisterMaker, ReleaseSymbol, Secret, Turn,
    bounds::{MARK_AGE_MAX_MS, NAME_MEMORY_MS, NAMES_MAX, PARAMETERS_MAX, REASON_MAX},
};

use crate::{generate_money, naive::Model, rng::Rng};

/// One entry of the log.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) index: u64,
    pub(crate) now: Millis,
    pub(crate) input: Input,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    OpenSession,
    CloseSession,
    DefineSymbol,
    SetLimit,
    SetBasis,
    Revise,
    Protect,
    SetDrawdown,
    Rearm,
    LimitAccount,
    Deposit,
    Settle,
    CloseSymbol,
    PublishMarks,
    SetListing,
    SetPositionLimit,
    SetQuoting,
    SetKillSwitch,
    Upgrade,
    RegisterMaker,
    RenewMaker,
    DeregisterMaker,
    CommitParameters,
    ReleaseSymbol,
    PlaceQuote,
    KeepQuote,
    PullQuote,
    RegisterExchange,
    ExecuteOrder,
    CancelOrder,
    Tick,
    BeginTerm,
    Repeat,
}

/// How often each is done before the seed's own bent is applied.
const ACTS: [(Act, u64); 33] = [
    (Act::OpenSession, 4),
    (Act::CloseSession, 1),
    (Act::DefineSymbol, 4),
    (Act::SetLimit, 8),
    (Act::SetBasis, 1),
    (Act::Revise, 6),
    (Act::Protect, 5),
    (Act::SetDrawdown, 5),
    (Act::Rearm, 2),
    (Act::LimitAccount, 3),
    (Act::Deposit, 10),
    (Act::Settle, 2),
    (Act::CloseSymbol, 1),
    (Act::PublishMarks, 30),
    (Act::SetListing, 2),
    (Act::SetPositionLimit, 6),
    (Act::SetQuoting, 4),
    (Act::SetKillSwitch, 2),
    (Act::Upgrade, 2),
    (Act::RegisterMaker, 8),
    (Act::RenewMaker, 40),
    (Act::DeregisterMaker, 3),
    (Act::CommitParameters, 4),
    (Act::ReleaseSymbol, 12),
    (Act::PlaceQuote, 200),
    (Act::KeepQuote, 60),
    (Act::PullQuote, 12),
    (Act::RegisterExchange, 3),
    (Act::ExecuteOrder, 170),
    (Act::CancelOrder, 16),
    (Act::Tick, 12),
    (Act::BeginTerm, 8),
    (Act::Repeat, 24),
];

const SYMBOLS: [&str; 12] =
    ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "AAA", "BBB", "CCC", "DDD", "XXX", "YYY", "ZZZ", "ZZZ1"];

pub(crate) struct Generator {
    pub(super) rng: Rng,
    weights: Vec<(Act, u64)>,
    /// Room for so many names of orders: in most runs fewer than there is.
    pub(crate) names_max: usize,
    /// How many in a thousand commands are bent out of shape.
    pub(super) wrong: u64,
    /// How many in a thousand steps leap in time.
    leaps: u64,
    step_ms: u64,
    /// How many in a thousand leases that are about to end are renewed at once.
    care: u64,
    start: u64,
    /// How many in a thousand steps define a symbol, while there are more.
    defining: u64,
    /// What the exposure limit is mostly set to.
    pub(super) limits: Vec<i128>,
    /// Whether exposure is to be the worst loss.
    pub(super) worst_loss: bool,
    /// How many in a thousand accounts are limited before they trade.
    limited: u64,
    /// Log time at the entry that is being made.
    pub(super) log_time: u64,
    index: u64,
    pub(super) symbols: Vec<(Symbol, Instrument)>,
    makers: Vec<MakerName>,
    pub(super) accounts: u64,
    pub(super) orders_named: u64,
    sent: Vec<Envelope>,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        // Half of the seeds have more symbols than the limit has lots: there the turns go round.
        let crowded = rng.chance(500);
        // Of the others, half are calm: nobody comes or goes, and there is trade after trade.
        let calm = !crowded && rng.chance(500);
        let count = if crowded { 4 + rng.below(9) } else { 1 + rng.below(4) };
        let heaviest = *rng.pick(&[3, 8, 20, 30]).unwrap();
        let worst_loss = rng.chance(300);
        let symbols = (0..count).map(|n| {
            let name = Symbol::new(SYMBOLS[usize::try_from(n).unwrap()]).unwrap();
            let per_lot =
                if crowded { rng.within(1, heaviest) } else { *rng.pick(&[1, 1, 2, 3, 7, 10, 25, 100]).unwrap() };
            let lot = if worst_loss { 1 + per_lot / 8 } else { rng.within(1, 2) };
            (name, generate_money::instrument(&mut rng, n, per_lot, lot, worst_loss))
        });
        let symbols = symbols.collect();
        let limits: Vec<i128> = if crowded {
            let heaviest = i128::from(heaviest);
            vec![heaviest, heaviest, heaviest + heaviest / 2, 2 * heaviest, 3 * heaviest, heaviest - 1]
        } else {
            vec![100, 100, 60, 30, 10, 3, 0]
        };
        let scale = if worst_loss { 2 * generate_money::TICK_LOT } else { 1 };
        let limits = limits.into_iter().map(|limit| limit * scale).collect();
        let makers = (0..=rng.below(4))
            .map(|n| MakerName::new(["ada", "bob", "cyd", "dee"][usize::try_from(n).unwrap()]).unwrap());
        let makers = makers.collect();
        // Each seed has a bent of its own: some things more often, some hardly at all.
        let weights = ACTS.iter().map(|(act, weight)| {
            let bent = [0, 1, 2, 4, 4, 4, 6, 8];
            let bent = (weight * bent[usize::try_from(rng.below(8)).unwrap()]).max(1);
            // Turns take time, in which nobody comes or goes; so does trade.
            let ends_turns = matches!(
                act,
                Act::RegisterMaker | Act::DeregisterMaker | Act::ReleaseSymbol | Act::SetKillSwitch | Act::SetLimit
            );
            let upsets =
                matches!(act, Act::Settle | Act::CloseSymbol | Act::SetListing | Act::Protect | Act::SetDrawdown);
            let trades = matches!(act, Act::PlaceQuote | Act::ExecuteOrder | Act::PublishMarks);
            let bent = match (crowded, calm) {
                (true, _) if ends_turns || upsets => 1,
                (_, true) if ends_turns => 1,
                (_, true) if upsets => weight * 8,
                (_, true) if trades => weight * 6,
                _ => bent,
            };
            (*act, bent)
        });
        let weights = weights.collect();
        Self {
            weights,
            names_max: [NAMES_MAX, 6, 20, 60][usize::try_from(seed % 4).unwrap()],
            wrong: if calm { 30 } else { [0, 40, 120, 120, 250][usize::try_from(rng.below(5)).unwrap()] },
            leaps: if crowded || calm {
                rng.below(5)
            } else {
                [0, 0, 5, 20, 60][usize::try_from(rng.below(5)).unwrap()]
            },
            step_ms: [0, 10, 60, 150, 400][usize::try_from(rng.below(5)).unwrap()],
            care: if crowded || calm { 990 } else { [0, 300, 700, 900][usize::try_from(rng.below(4)).unwrap()] },
            defining: if crowded || calm { 800 } else { 300 },
            limits,
            worst_loss,
            limited: [0, 0, 500, 1_000][usize::try_from(rng.below(4)).unwrap()],
            start: if rng.chance(100) { 0 } else { 1_700_000_000_000 },
            log_time: 0,
            index: rng.below(3),
            symbols,
            makers,
            accounts: 1 + rng.below(3),
            orders_named: 0,
            sent: Vec::new(),
            rng,
        }
    }

    /// The next entry, chosen on the state before it.
    pub(crate) fn next(&mut self, model: &Model) -> Step {
        // Entries that are not applied (membership, blanks) leave gaps.
        self.index += 1 + u64::from(self.rng.chance(20));
        let now = self.stamp(model);
        self.log_time = model.log_time.max(now).0;
        let input = self.input(model);
        Step { index: self.index, now, input }
    }

    fn stamp(&mut self, model: &Model) -> Millis {
        let log_time = model.log_time.0.max(self.start);
        if self.rng.chance(self.leaps) {
            let leap = [1_000, 5_000, 10_000, 30_000, 60_000, 130_000, 600_000, 86_400_000];
            let leap = *self.rng.pick(&leap).unwrap();
            return Millis(log_time + leap + self.rng.below(3) * self.rng.below(500));
        }
        match self.rng.below(100) {
            0..5 => Millis(log_time - self.rng.below(100_000).min(log_time)),
            5..9 => self.due_soon(model).unwrap_or(Millis(log_time)),
            _ => Millis(log_time + self.rng.below(self.step_ms + 1)),
        }
    }

    /// A deadline to the millisecond, or one before it: where `<` and `<=` part ways.
    fn due_soon(&mut self, model: &Model) -> Option<Millis> {
        let quotes = model.symbols.values().filter_map(|state| Some(state.quote.as_ref()?.deadline));
        let moves = model.symbols.values().filter_map(|state| Some(state.moving.as_ref()?.1));
        let leases = model.makers.values().map(|maker| maker.deadline);
        let demands = model.symbols.values().flat_map(|state| [state.demands.bid, state.demands.ask]).flatten();
        let turns = model.symbols.values().filter_map(|state| match state.turn? {
            Turn::Offered { until } | Turn::Running { until } => Some(until),
            Turn::Waiting { .. } => None,
        });
        let names = model.orders.iter().filter(|order| !order.swept).filter_map(|order| order.closed_at);
        let names = names.map(|closed_at| Millis(closed_at.0 + NAME_MEMORY_MS));
        let ages = model.symbols.values().filter_map(|state| Some(state.mark?.time.plus(MARK_AGE_MAX_MS)));
        let waits = model
            .symbols
            .values()
            .filter_map(|state| Some(state.waiting_mark?.time.plus(quorate_domain::MARK_WAIT_MS)));
        let pauses = model.symbols.values().filter_map(|state| state.paused_until);
        let all = quotes
            .chain(moves)
            .chain(leases)
            .chain(demands)
            .chain(turns)
            .chain(ages)
            .chain(waits)
            .chain(pauses)
            .chain(names);
        let mut due: Vec<Millis> = if self.rng.chance(200) {
            all.collect()
        } else {
            // What is due first takes the least with it.
            all.filter(|at| *at > model.log_time).min().into_iter().collect()
        };
        due.retain(|at| *at > model.log_time);
        let at = *self.rng.pick(&due)?;
        Some(Millis(at.0 - self.rng.below(2)))
    }

    fn input(&mut self, model: &Model) -> Input {
        let act = self.act(model);
        if act == Act::Tick {
            return Input::Leader(LeaderCommand::Tick);
        }
        if act == Act::BeginTerm {
            let term = if self.rng.chance(200) { self.rng.below(model.term + 1) } else { model.term + 1 };
            let quote_age_proven = self.rng.chance(500);
            return Input::Leader(LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms: term * 3 });
        }
        if act == Act::Repeat
            && let Some(again) = self.repeat(model)
        {
            return Input::Client(again);
        }
        let command = self.command(act, model);
        let envelope = self.envelope(command, model);
        self.sent.push(envelope.clone());
        Input::Client(envelope)
    }

    fn act(&mut self, model: &Model) -> Act {
        if self.worst_loss && model.basis == ExposureBasis::Units && model.symbols.is_empty() && self.rng.chance(950) {
            return Act::SetBasis;
        }
        // What everything else needs comes first, mostly.
        if self.rng.chance(700) {
            let usable = model.sessions.values().filter(|session| session.highest_seen() < u64::MAX / 2).count();
            if usable == 0 || (usable < 3 && self.rng.chance(30)) {
                return Act::OpenSession;
            } else if model.symbols.len() < self.symbols.len() && self.rng.chance(self.defining) {
                return Act::DefineSymbol;
            } else if model.control_version == 0 && self.rng.chance(200) {
                return Act::SetLimit;
            } else if model.makers.is_empty() || (model.makers.len() < self.makers.len() && self.rng.chance(60)) {
                return Act::RegisterMaker;
            } else if model.exchange.is_none() {
                return Act::RegisterExchange;
            } else if let Some(act) = self.fund(model) {
                return act;
            } else if model.breakers.values().any(|breaker| breaker.tripped) && self.rng.chance(60) {
                return Act::Rearm;
            } else if model.kill_switch && self.rng.chance(200) {
                return Act::SetKillSwitch;
            } else if self.quoting_is_off(model) && self.rng.chance(100) {
                return Act::SetQuoting;
            } else if self.a_lease_is_short(model) && self.rng.chance(self.care) {
                return Act::RenewMaker;
            }
        }
        let mut at = self.rng.below(self.weights.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in &self.weights {
            if at < *weight {
                return *act;
            }
            at -= weight;
        }
        Act::Tick
    }

    /// Limits accounts before they trade, and gives them something.
    fn fund(&mut self, model: &Model) -> Option<Act> {
        if model.symbols.is_empty() || !self.rng.chance(self.limited / 4) {
            return None;
        }
        let wanted = usize::try_from(self.accounts).unwrap();
        if model.limited.len() < wanted && (model.orders.is_empty() || self.rng.chance(50)) {
            return Some(Act::LimitAccount);
        }
        self.rng.chance(150).then_some(Act::Deposit)
    }

    fn envelope(&mut self, command: Command, model: &Model) -> Envelope {
        if command == Command::OpenSession && !self.rng.chance(20) {
            return Envelope { session: 0, seq: self.rng.below(2), command };
        }
        if !command.needs_session() && self.rng.chance(400) {
            return Envelope { session: 0, seq: 0, command };
        }
        let mut sessions: Vec<u64> = model.sessions.keys().copied().collect();
        sessions.retain(|id| model.sessions[id].highest_seen() < u64::MAX / 2 || self.rng.chance(50));
        let mut session = self.rng.pick(&sessions).copied().unwrap_or(0);
        if self.rng.chance(self.wrong / 8) {
            session = self.rng.below(self.index + 2);
        }
        let highest = model.sessions.get(&session).map_or(0, |session| session.highest_seen());
        let seq = match self.rng.below(1_000) {
            0..5 => 0,
            5..30 => self.rng.below(highest.saturating_add(1)),
            30..80 => highest.saturating_add(1 + self.rng.below(4)),
            80..82 => highest.saturating_add(130),
            82 => highest.saturating_add(127 + self.rng.below(3)),
            83 if self.rng.chance(200) => u64::MAX,
            _ => highest.saturating_add(1),
        };
        Envelope { session, seq, command }
    }

    /// Something sent before: as it was, under another number, or with another body.
    fn repeat(&mut self, model: &Model) -> Option<Envelope> {
        let last = self.sent.len().checked_sub(1)?;
        let furthest = if self.rng.chance(800) { 8 } else { 200 };
        let back = usize::try_from(self.rng.below(furthest)).unwrap();
        let before = self.sent[last.saturating_sub(back)].clone();
        match self.rng.below(10) {
            0..6 => Some(before),
            6..9 => Some(self.envelope(before.command, model)),
            _ => {
                let other = self.command(Act::RenewMaker, model);
                Some(Envelope { command: other, ..before })
            }
        }
    }

    fn command(&mut self, act: Act, model: &Model) -> Command {
        match act {
            Act::OpenSession => Command::OpenSession,
            Act::CloseSession => Command::CloseSession,
            Act::DefineSymbol => self.define_symbol(),
            Act::SetLimit => {
                let usual = *self.rng.pick(&self.limits).unwrap();
                let odd = [0, 1, -1, 101, i128::MAX];
                let limit = if self.rng.chance(150) { *self.rng.pick(&odd).unwrap() } else { usual };
                self.control(model, ControlChange::ExposureLimit { limit: Exposure(limit) })
            }
            Act::SetBasis => self.set_basis(model),
            Act::Revise => self.revise(model),
            Act::Protect => self.protect(model),
            Act::SetDrawdown => self.set_drawdown(model),
            Act::Rearm => self.rearm(model),
            Act::LimitAccount => self.limit_account(model),
            Act::Deposit => self.deposit(model),
            Act::Settle | Act::CloseSymbol if self.few_are_open(model) => self.publish_marks(model),
            Act::Settle => self.settle(model),
            Act::CloseSymbol => self.close_symbol(model),
            Act::PublishMarks => self.publish_marks(model),
            Act::SetListing => self.set_listing(model),
            Act::SetPositionLimit => {
                let lots = *self.rng.pick(&[0, 1, 3, 10, 10, 40, 40, MAX_QTY, -1, MAX_QTY + 1]).unwrap();
                let max = self.rng.chance(600).then_some(Qty(lots));
                let symbol = self.symbol();
                self.control(model, ControlChange::PositionLimit { symbol, max })
            }
            Act::SetQuoting => self.set_quoting(model),
            Act::SetKillSwitch => {
                let engaged = if model.kill_switch { self.rng.chance(100) } else { self.rng.chance(800) };
                self.control(model, ControlChange::KillSwitch { engaged })
            }
            Act::Upgrade => {
                let version = *self.rng.pick(&[model.ledger_version, 0, model.ledger_version + 1]).unwrap();
                self.control(model, ControlChange::LedgerVersion { version })
            }
            Act::RegisterMaker => {
                let ttl_ms = *self
                    .rng
                    .pick(&[500, 2_000, 9_000, 9_000, 9_000, 20_000, 60_000, 60_000, 60_000, 60_000, 499, 60_001])
                    .unwrap();
                let secret_hash = secrets()[usize::try_from(self.rng.below(3)).unwrap()].hash();
                Command::RegisterMaker(RegisterMaker { maker: self.maker(), ttl_ms, secret_hash })
            }
            Act::RenewMaker | Act::Tick | Act::BeginTerm | Act::Repeat => Command::RenewMaker(self.maker_ref(model)),
            Act::DeregisterMaker => Command::DeregisterMaker(self.maker_ref(model)),
            Act::ReleaseSymbol => {
                let moving =
                    model.symbols.iter().find(|(_, state)| state.moving.is_some()).map(|(name, _)| name.clone());
                let symbol = moving.filter(|_| self.rng.chance(500)).unwrap_or_else(|| self.symbol());
                let (epoch, secret) = (self.epoch(&symbol, model), self.holders_secret(&symbol, model));
                Command::ReleaseSymbol(ReleaseSymbol { symbol, epoch, secret })
            }
            Act::CommitParameters => {
                let symbol = self.symbol();
                let MakerRef { maker, .. } = self.maker_ref(model);
                self.commit_parameters(maker, symbol, model)
            }
            Act::PlaceQuote => self.place_quote(model),
            Act::KeepQuote => self.keep_or_place_quote(model),
            Act::PullQuote => Command::PullQuote(self.pull_quote(model)),
            Act::RegisterExchange => {
                let exchange = self.rng.pick(&["x1", "x2"]).unwrap().parse().unwrap();
                Command::RegisterExchange(RegisterExchange { exchange })
            }
            Act::ExecuteOrder => Command::ExecuteOrder(self.execute_order(model)),
            Act::CancelOrder => Command::CancelOrder(self.cancel_order(model)),
        }
    }

    fn quoting_is_off(&self, model: &Model) -> bool {
        model.all_off || !model.symbols_off.is_empty() || !model.makers_off.is_empty()
    }

    /// The lease that ends first, of those registered.
    fn shortest_lease(&self, model: &Model) -> Option<(MakerName, u64)> {
        let left = |maker: &crate::naive::Maker| maker.deadline.0 - model.log_time.0;
        let leases = model.makers.iter().map(|(name, maker)| (name.clone(), left(maker)));
        leases.min_by_key(|(_, left)| *left)
    }

    fn a_lease_is_short(&self, model: &Model) -> bool {
        self.shortest_lease(model).is_some_and(|(_, left)| left < 5 * self.step_ms)
    }

    fn set_quoting(&mut self, model: &Model) -> Command {
        let off_symbol = model.symbols_off.first().cloned().filter(|_| self.rng.chance(700));
        let off_maker = model.makers_off.first().cloned().filter(|_| self.rng.chance(700));
        let scope = match (self.rng.below(3), off_symbol, off_maker) {
            (_, Some(symbol), _) => QuotingScope::Symbol(symbol),
            (_, None, Some(maker)) => QuotingScope::Maker(maker),
            (0, None, None) => QuotingScope::All,
            (1, None, None) => QuotingScope::Symbol(self.symbol()),
            (_, None, None) => QuotingScope::Maker(self.maker()),
        };
        let on = self.rng.chance(if self.quoting_is_off(model) { 850 } else { 100 });
        self.control(model, ControlChange::Quoting { scope, on })
    }

    pub(super) fn control(&mut self, model: &Model, change: ControlChange) -> Command {
        let control_version = self.control_version(model);
        let reason = if self.rng.chance(self.wrong / 4) {
            let wrong = [String::new(), "r".repeat(REASON_MAX + 1), "a\nb".to_owned(), "\u{85}".to_owned()];
            self.rng.pick(&wrong).unwrap().clone()
        } else {
            self.rng.pick(&["drill".to_owned(), "é".repeat(REASON_MAX / 2)]).unwrap().clone()
        };
        let actor = self.rng.pick(&["ops", "desk"]).unwrap().parse().unwrap();
        Command::Control(ControlCommand { actor, reason, control_version, change })
    }

    pub(super) fn commit_parameters(&mut self, maker: MakerName, symbol: Symbol, model: &Model) -> Command {
        let text = if self.rng.chance(self.wrong) {
            self.rng.pick(&[String::new(), "p".repeat(PARAMETERS_MAX + 1)]).unwrap().clone()
        } else {
            self.rng.pick(&["a = 1".to_owned(), "a = 2".to_owned(), "p".repeat(PARAMETERS_MAX)]).unwrap().clone()
        };
        let incarnation = self.incarnation(&maker, model);
        let secret = self.secret(&maker, model);
        Command::CommitParameters(CommitParameters { maker, incarnation, secret, symbol, text })
    }

    /// The secret of a maker's present incarnation, or another.
    fn secret(&mut self, maker: &MakerName, model: &Model) -> Secret {
        let hash = model.makers.get(maker).map(|known| known.secret_hash);
        let right = secrets().into_iter().find(|secret| Some(secret.hash()) == hash);
        right.filter(|_| !self.rng.chance(self.wrong / 4)).unwrap_or(Secret([9; 32]))
    }

    pub(super) fn holders_secret(&mut self, symbol: &Symbol, model: &Model) -> Secret {
        match model.symbols.get(symbol).and_then(|state| state.holder.as_ref()) {
            Some(holder) => self.secret(holder, model),
            None => Secret([9; 32]),
        }
    }

    fn control_version(&mut self, model: &Model) -> u64 {
        if self.rng.chance(60 + self.wrong / 2) {
            return self.rng.below(model.control_version + 2);
        }
        model.control_version
    }

    pub(super) fn symbol(&mut self) -> Symbol {
        if self.rng.chance(self.wrong / 16) {
            return Symbol::new("UNKNOWN").unwrap();
        }
        self.rng.pick(&self.symbols).unwrap().0.clone()
    }

    fn maker(&mut self) -> MakerName {
        self.rng.pick(&self.makers).unwrap().clone()
    }

    fn maker_ref(&mut self, model: &Model) -> MakerRef {
        let registered: Vec<MakerName> = model.makers.keys().cloned().collect();
        let any = self.rng.pick(&registered).cloned().unwrap_or_else(|| self.maker());
        let urgent = self.shortest_lease(model).map(|(name, _)| name).filter(|_| self.rng.chance(500));
        let maker = urgent.unwrap_or(any);
        let maker = if self.rng.chance(self.wrong / 4) { self.maker() } else { maker };
        let (incarnation, secret) = (self.incarnation(&maker, model), self.secret(&maker, model));
        MakerRef { maker, incarnation, secret }
    }

    fn incarnation(&mut self, maker: &MakerName, model: &Model) -> u64 {
        let present = model.makers.get(maker).map_or(self.index, |known| known.incarnation);
        if self.rng.chance(self.wrong / 2) { self.rng.below(self.index + 1) } else { present }
    }

    pub(super) fn epoch(&mut self, symbol: &Symbol, model: &Model) -> u64 {
        let present = model.symbols.get(symbol).map_or(0, |state| state.epoch);
        if self.rng.chance(self.wrong / 2) {
            return self.rng.below(present + 2);
        }
        present
    }
}

/// The secrets that makers choose among.
fn secrets() -> [Secret; 3] {
    [1, 2, 3].map(|byte| Secret([byte; 32]))
}
