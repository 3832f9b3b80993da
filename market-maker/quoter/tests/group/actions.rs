//! What is done to a group: orders, prices, faults, switches, and their end.

use quorate_domain::{Exposure, OrderType, Price, Qty, Side, Symbol, TimeInForce};
use quorate_ledger::{
    Against, CancelOrder, Command, ControlChange, ControlCommand, ExecuteOrder, Input as Entry, LeaderCommand,
    NewOrder, PlannedFill, QuotingScope, Remainder,
};
use quorate_quoter::Input;
use rand::Rng;

use super::makers::{Group, Happening, name, symbol};

/// Clock jumps of new leaders sum up to less than the margin of a belief.
const JUMP_MAX_MS: u64 = 800;

/// What is done to the group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Time passes.
    Run(u64),
    /// An order takes from a quote: symbol, side, lots.
    Take(usize, bool, i64),
    /// A run of orders takes from a quote, one lot each: symbol, how many, milliseconds between them.
    Burst(usize, u64, u64),
    /// An order rests a number of ticks from the reference price: symbol, side, ticks.
    RestOrder(usize, bool, i64),
    /// Every resting order is cancelled.
    CancelAll,
    /// The reference price moves.
    Reference(usize, i64),
    /// A maker's process stands still.
    Pause(usize, u64),
    /// Nothing passes between a maker and the group.
    Cut(usize, u64),
    /// A maker's next commands come late, and their answers are lost.
    Delay(usize, u64),
    /// No frame comes to a maker and no read is answered, while its commands are.
    Deafen(usize, u64),
    /// A maker misses every frame on its way.
    RestartStream(usize),
    /// A maker leaves, and a new process takes its name.
    Leave(usize),
    /// A maker's process dies, and a new one takes its name.
    Kill(usize),
    /// A new leader, with its clock ahead.
    NewTerm(u64),
    /// Quoting off, and on again a second later.
    QuotingOff(usize),
    /// The kill switch, turned off a second later.
    KillSwitch,
    /// The exposure limit.
    Limit(i64),
}

impl Group {
    /// Does it.
    pub(crate) fn act(&mut self, action: Action) {
        let count = self.setup.symbols;
        match action {
            Action::Run(ms) => self.run(ms),
            Action::Take(at, buy, lots) => self.take(&symbol(at % count), buy, lots),
            Action::Burst(at, orders, every) => {
                for order in 0..orders {
                    let buy = self.rng.random();
                    self.at(order * every, 0, Happening::Take(at % count, buy));
                }
            }
            Action::RestOrder(at, buy, ticks) => self.rest(at % count, buy, ticks),
            Action::CancelAll => self.cancel_all(),
            Action::Reference(at, ticks) => {
                let price = &mut self.references[at % count];
                *price = (*price + ticks).clamp(5_000, 15_000);
            }
            Action::Pause(at, ms) => self.makers[at % 3].paused_until = self.now + ms,
            Action::Cut(at, ms) => self.makers[at % 3].cut_until = self.now + ms,
            Action::Delay(at, ms) => self.makers[at % 3].delayed_until = self.now + ms,
            Action::Deafen(at, ms) => self.makers[at % 3].deaf_until = self.now + ms,
            Action::RestartStream(at) => {
                let at = at % 3;
                if self.makers[at].paused_until <= self.now {
                    self.makers[at].frames.clear();
                    self.handle(at, Input::StreamRestarted);
                }
            }
            Action::Leave(at) => {
                if self.makers[at % 3].paused_until <= self.now {
                    self.handle(at % 3, Input::Leave);
                }
            }
            Action::Kill(at) => self.reborn(at % 3),
            Action::NewTerm(jump) => self.new_term(jump),
            Action::QuotingOff(at) => {
                let scopes =
                    [QuotingScope::All, QuotingScope::Symbol(symbol(at % count)), QuotingScope::Maker(name(at % 3))];
                let scope = scopes[at % 3].clone();
                let version = self.ledger.control().version;
                let set = |on, version| control(version, ControlChange::Quoting { scope: scope.clone(), on });
                self.command(set(false, version));
                self.at(1_000, 0, Happening::Control(set(true, version + 1)));
            }
            Action::KillSwitch => {
                let version = self.ledger.control().version;
                let set = |engaged, version| control(version, ControlChange::KillSwitch { engaged });
                self.command(set(true, version));
                self.at(1_000, 0, Happening::Control(set(false, version + 1)));
            }
            Action::Limit(limit) => self.change(ControlChange::ExposureLimit { limit: Exposure(limit.into()) }),
        }
    }

    fn change(&mut self, change: ControlChange) {
        self.command(control(self.ledger.control().version, change));
    }

    fn new_term(&mut self, jump: u64) {
        self.term += 1;
        let jump = jump.min(JUMP_MAX_MS - self.jumped);
        self.jumped += jump;
        let begin = LeaderCommand::BeginTerm { term: self.term, quote_age_proven: jump == 0, clock_jump_ms: jump };
        self.apply(&Entry::Leader(begin));
    }

    pub(crate) fn take(&mut self, symbol: &Symbol, buy: bool, lots: i64) {
        let Some(quote) = self.ledger.active_quote(symbol) else { return };
        let side = if buy { Side::Buy } else { Side::Sell };
        let resting = if buy { Side::Sell } else { Side::Buy };
        let leaves = quote.leaves(resting);
        let Some(leg) = quote.sides.of(resting).filter(|_| leaves.0 > 0) else { return };
        let qty = Qty(lots.clamp(1, leaves.0));
        let fill = PlannedFill { against: Against::Quote(quote.id), leaves, price: leg.price, qty };
        let (price, kind) = (None, OrderType::Market);
        self.execute(symbol, side, kind, TimeInForce::Ioc, price, qty, vec![fill], Remainder::None);
    }

    fn rest(&mut self, at: usize, buy: bool, ticks: i64) {
        let side = if buy { Side::Buy } else { Side::Sell };
        let price = self.references[at] + if buy { -ticks } else { ticks };
        let (kind, tif) = (OrderType::LimitMaker, TimeInForce::Gtc);
        let price = Some(Price(price));
        self.execute(&symbol(at), side, kind, tif, price, Qty(1), Vec::new(), Remainder::Rest);
    }

    #[allow(clippy::too_many_arguments, reason = "an order has that many parts")]
    fn execute(
        &mut self,
        symbol: &Symbol,
        side: Side,
        order_type: OrderType,
        time_in_force: TimeInForce,
        price: Option<Price>,
        qty: Qty,
        fills: Vec<PlannedFill>,
        remainder: Remainder,
    ) {
        self.orders += 1;
        let order = NewOrder {
            account: "a".parse().unwrap(),
            client_order_id: format!("o{}", self.orders).parse().unwrap(),
            symbol: symbol.clone(),
            side,
            order_type,
            time_in_force,
            price,
            qty,
            timestamp: self.ledger.log_time(),
        };
        let exchange_epoch = self.exchange;
        let exec_id = self.ledger.exchange().map_or(0, |exchange| exchange.last_exec_id(symbol)) + 1;
        let deadline = self.ledger.log_time().plus(10_000);
        let execute = ExecuteOrder {
            exchange_epoch,
            exec_id,
            answered_below: exec_id,
            also_answered: None,
            revision: 1,
            deadline,
            order,
            fills,
            remainder,
        };
        self.command(Command::ExecuteOrder(execute));
    }

    fn cancel_all(&mut self) {
        let open: Vec<_> = self.ledger.open_orders().map(|order| order.id).collect();
        for order_id in open {
            let account = "a".parse().unwrap();
            let cancel = CancelOrder { exchange_epoch: self.exchange, account, order_id };
            self.command(Command::CancelOrder(cancel));
        }
    }

    /// Ends every fault, and gives things the time to settle; then measures afresh.
    pub(crate) fn heal(&mut self) {
        for maker in &mut self.makers {
            (maker.paused_until, maker.cut_until, maker.delayed_until, maker.deaf_until) = (0, 0, 0, 0);
        }
        self.cancel_all();
        self.run(2_000);
        self.change(ControlChange::KillSwitch { engaged: false });
        self.change(ControlChange::Quoting { scope: QuotingScope::All, on: true });
        for at in 0..self.setup.symbols.max(3) {
            for scope in [QuotingScope::Symbol(symbol(at % self.setup.symbols)), QuotingScope::Maker(name(at % 3))] {
                self.change(ControlChange::Quoting { scope, on: true });
            }
        }
        self.change(ControlChange::ExposureLimit { limit: Exposure(100) });
        self.run(40_000);
        self.longest_gap.clear();
        self.quoted_at.clear();
    }
}

fn control(control_version: u64, change: ControlChange) -> Command {
    let (actor, reason) = ("operator".parse().unwrap(), "a test".to_owned());
    Command::Control(ControlCommand { actor, reason, control_version, change })
}
