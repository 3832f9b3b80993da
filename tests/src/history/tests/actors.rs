//! What the clients want: they look at the ledger when they decide, and it has moved on when their command arrives.

use quorate_domain::{
    Account, ClientOrderId, Decimal, ExchangeName, Exposure, Instrument, MakerName, OrderType, Price, Qty, QuoteSide,
    Side, Symbol, TimeInForce,
};
use quorate_ledger::{
    Against, CancelOrder, Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest, ExecuteOrder,
    KeepQuote, MakerRef, NewOrder, PlaceQuote, PlannedFill, PullQuote, QuoteBasis, QuoteCause, QuotingScope,
    RegisterExchange, RegisterMaker, ReleaseSymbol, Remainder, Secret,
};

use super::group::Group;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Operator,
    Ada,
    Bob,
    Exchange,
    Reader,
}

pub(super) const ROLES: [Role; 7] =
    [Role::Operator, Role::Ada, Role::Bob, Role::Exchange, Role::Reader, Role::Reader, Role::Reader];
/// Of every maker here.
const SECRET: Secret = Secret([7; 32]);
/// What every maker here quotes with.
const PARAMETERS: &str = "none";
const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];

impl Role {
    pub(super) fn reads(self) -> bool {
        self == Self::Reader
    }
}

/// The next command of a client, if it has one.
pub(super) fn next(group: &mut Group, client: usize) -> Option<Command> {
    match group.role(client) {
        Role::Operator => operate(group),
        Role::Ada => make(group, &MakerName::new("ada").unwrap()),
        Role::Bob => make(group, &MakerName::new("bob").unwrap()),
        Role::Exchange => exchange(group),
        Role::Reader => None,
    }
}

fn operate(group: &mut Group) -> Option<Command> {
    let names = SYMBOLS.map(|name| Symbol::new(name).unwrap());
    // A lot of the last one is more than its share: it takes turns.
    let missing = names.iter().zip([1, 1, 28]).find(|(symbol, _)| group.ledger.symbol(symbol).is_none());
    if let Some((symbol, exposure_per_lot)) = missing {
        let size = Decimal::new(1, 2).unwrap();
        let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), size, size, exposure_per_lot);
        return Some(Command::DefineSymbol(DefineSymbol { symbol: symbol.clone(), instrument }));
    }
    let control = group.ledger.control().clone();
    let changes = |change| Some(change_of(control.version, change));
    if control.kill_switch {
        return changes(ControlChange::KillSwitch { engaged: false });
    }
    if let Some(off) = control.symbols_off.iter().next() {
        let scope = QuotingScope::Symbol(off.clone());
        return changes(ControlChange::Quoting { scope, on: true });
    }
    match group.dice.between(0, 100) {
        0..6 => {
            let limit = Exposure(i128::from(group.dice.between(30, 101)));
            changes(ControlChange::ExposureLimit { limit })
        }
        6..8 => {
            let scope = QuotingScope::Symbol(group.dice.pick(&names)?.clone());
            changes(ControlChange::Quoting { scope, on: false })
        }
        8..9 => changes(ControlChange::KillSwitch { engaged: true }),
        9..11 => {
            let symbol = group.dice.pick(&names)?.clone();
            let max = (!group.dice.percent(50)).then_some(Qty(i64::try_from(group.dice.between(20, 200)).unwrap()));
            changes(ControlChange::PositionLimit { symbol, max })
        }
        _ => None,
    }
}

fn change_of(control_version: u64, change: ControlChange) -> Command {
    let (actor, reason) = ("operator".parse().unwrap(), "a test".to_owned());
    Command::Control(ControlCommand { actor, reason, control_version, change })
}

fn make(group: &mut Group, maker: &MakerName) -> Option<Command> {
    let log_time = group.ledger.log_time();
    let Some((incarnation, deadline)) = group.ledger.maker(maker).map(|known| (known.incarnation, known.deadline))
    else {
        let (maker, secret_hash) = (maker.clone(), SECRET.hash());
        return Some(Command::RegisterMaker(RegisterMaker { maker, ttl_ms: 2_000, secret_hash }));
    };
    let myself = MakerRef { maker: maker.clone(), incarnation, secret: SECRET };
    if deadline.since(log_time) < 1_200 && group.dice.percent(70) {
        return Some(Command::RenewMaker(myself));
    }
    let held: Vec<Symbol> = group.ledger.held_by(maker).cloned().collect();
    let symbol = group.dice.pick(&held)?.clone();
    let state = group.ledger.symbol(&symbol)?.clone();
    let epoch = state.epoch;
    let digest = Digest::of(PARAMETERS.as_bytes());
    if !group.has_committed(incarnation, &symbol) {
        let (maker, text) = (maker.clone(), PARAMETERS.to_owned());
        return Some(Command::CommitParameters(CommitParameters { maker, incarnation, secret: SECRET, symbol, text }));
    }
    let basis = QuoteBasis {
        computed_at: group.ledger.last_index(),
        reference: None,
        room: None,
        strategy: "test".parse().unwrap(),
        version: 1,
        parameters: digest,
        state: Vec::new(),
    };
    group.names += 1;
    let quote_seq = group.names;
    match group.dice.between(0, 100) {
        0..12 => return Some(Command::PullQuote(PullQuote { symbol, epoch, secret: SECRET, quote_seq })),
        12..15 => return Some(Command::ReleaseSymbol(ReleaseSymbol { symbol, epoch, secret: SECRET })),
        15..16 => return Some(Command::DeregisterMaker(myself)),
        16..36 => {
            return Some(Command::KeepQuote(KeepQuote {
                revision: 1,
                symbol,
                incarnation,
                secret: SECRET,
                epoch,
                quote_seq,
                quote_id: state.quote.as_ref()?.id,
                position_seq: state.position_seq,
                ttl_ms: group.dice.between(100, 1_500),
                basis,
            }));
        }
        _ => {}
    }
    let mut side = |price: u64| {
        let qty = Qty(i64::try_from(group.dice.between(1, 60)).unwrap());
        let price = Price(i64::try_from(price + group.dice.between(0, 5)).unwrap());
        (!group.dice.percent(10)).then_some(QuoteSide { price, qty })
    };
    let (bid, ask) = (side(95), side(101));
    Some(Command::PlaceQuote(PlaceQuote {
        revision: 1,
        symbol,
        incarnation,
        secret: SECRET,
        epoch,
        quote_seq,
        position_seq: state.position_seq,
        bid,
        ask,
        allow_reduced: group.dice.percent(70),
        ttl_ms: group.dice.between(100, 1_500),
        cause: QuoteCause::Refresh,
        basis,
    }))
}

fn exchange(group: &mut Group) -> Option<Command> {
    let Some(epoch) = group.ledger.exchange().map(|exchange| exchange.epoch) else {
        return Some(Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("x").unwrap() }));
    };
    let account = Account::new("fund").unwrap();
    let open: Vec<u64> = group.ledger.open_orders().map(|order| order.id).collect();
    if let Some(order_id) = group.dice.pick(&open).copied()
        && group.dice.percent(15)
    {
        return Some(Command::CancelOrder(CancelOrder { exchange_epoch: epoch, account, order_id }));
    }
    let symbols: Vec<Symbol> = group.ledger.symbols().map(|(symbol, _)| symbol.clone()).collect();
    let symbol = group.dice.pick(&symbols)?.clone();
    let side = if group.dice.percent(50) { Side::Buy } else { Side::Sell };
    let target = target(group, &symbol, side);
    let log_time = group.ledger.log_time();
    group.names += 1;
    let mut order = NewOrder {
        account,
        client_order_id: ClientOrderId::new(&format!("o-{}", group.names)).unwrap(),
        symbol,
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        price: None,
        qty: Qty(5),
        timestamp: log_time,
    };
    let (fills, remainder) = match target {
        Some((against, leaves, price)) if group.dice.percent(85) => {
            let most = u64::try_from(leaves.0).unwrap();
            let qty = Qty(
                i64::try_from(if group.dice.percent(40) { most } else { group.dice.between(1, most + 1) }).unwrap()
            );
            (order.price, order.qty) = (Some(price), qty);
            (vec![PlannedFill { against, leaves, price, qty }], Remainder::None)
        }
        _ => {
            // Off the market, so that it mostly rests.
            let price = if side == Side::Buy { group.dice.between(90, 97) } else { group.dice.between(105, 110) };
            order.price = Some(Price(i64::try_from(price).unwrap()));
            (Vec::new(), Remainder::Rest)
        }
    };
    let exec_id = group.ledger.exchange()?.last_exec_id(&order.symbol) + 1;
    Some(Command::ExecuteOrder(ExecuteOrder {
        revision: 1,
        exchange_epoch: epoch,
        exec_id,
        answered_below: exec_id,
        also_answered: None,
        deadline: log_time.plus(5_000),
        order,
        fills,
        remainder,
    }))
}

/// What an order of this side can hit.
fn target(group: &mut Group, symbol: &Symbol, side: Side) -> Option<(Against, Qty, Price)> {
    let opposite = side.opposite();
    let resting = group.ledger.resting_orders(symbol, opposite).next();
    let resting = resting.and_then(|order| Some((Against::Order(order.id), order.leaves(), order.order.price?)));
    let quoted = group.ledger.active_quote(symbol).and_then(|quote| {
        let leg = (*quote.sides.of(opposite))?;
        (leg.leaves.0 > 0).then_some((Against::Quote(quote.id), leg.leaves, leg.price))
    });
    if group.dice.percent(20) { resting.or(quoted) } else { quoted.or(resting) }
}
