//! Names, and short ways to say common things.

use quorate_domain::{
    Account, ClientOrderId, Decimal, ExchangeName, Instrument, MakerName, Millis, OrderType, Price, Qty, Side, Symbol,
    TimeInForce,
};
use quorate_ledger::{
    Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest, Incarnation, Ledger, NewOrder,
    QuoteBasis, Secret,
};
use quorate_matching::{OpenOrder, Quote};

pub const SYMBOLS: usize = 2;
/// The maker's.
pub const SECRET: Secret = Secret([7; 32]);
/// What the maker quotes with.
const PARAMETERS: &str = "none";

pub fn symbol(n: usize) -> Symbol {
    Symbol::new(&format!("SYM{n}")).unwrap()
}

pub fn account() -> Account {
    Account::new("taker").unwrap()
}

pub fn maker() -> MakerName {
    MakerName::new("maker").unwrap()
}

pub fn exchange() -> ExchangeName {
    ExchangeName::new("exchange").unwrap()
}

pub fn client_id(n: u64) -> ClientOrderId {
    ClientOrderId::new(&format!("c{n}")).unwrap()
}

pub fn define(n: usize) -> Command {
    let cent = Decimal::new(1, 2).unwrap();
    let instrument = Instrument::spot("B".parse().unwrap(), "Q".parse().unwrap(), cent, cent, 1);
    Command::DefineSymbol(DefineSymbol { symbol: symbol(n), instrument })
}

/// A limit order, good till cancelled, of the first symbol.
pub fn limit(n: u64, side: Side, price: i64, qty: i64, timestamp: u64) -> NewOrder {
    NewOrder {
        account: account(),
        client_order_id: client_id(n),
        symbol: symbol(0),
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        price: Some(Price(price)),
        qty: Qty(qty),
        timestamp: Millis(timestamp),
    }
}

/// A market order of the first symbol.
pub fn market(n: u64, side: Side, qty: i64, timestamp: u64) -> NewOrder {
    let order = limit(n, side, 1, qty, timestamp);
    NewOrder { order_type: OrderType::Market, time_in_force: TimeInForce::Ioc, price: None, ..order }
}

/// The maker says what it quotes with.
pub fn commit_parameters(n: usize, incarnation: Incarnation) -> Command {
    let (maker, symbol, text) = (maker(), symbol(n), PARAMETERS.to_owned());
    Command::CommitParameters(CommitParameters { maker, incarnation, secret: SECRET, symbol, text })
}

/// What every quote is computed from.
pub fn basis() -> QuoteBasis {
    QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: "test".parse().unwrap(),
        version: 1,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: Vec::new(),
    }
}

/// What people decide, on the present state.
pub fn control(ledger: &Ledger, change: ControlChange) -> Command {
    Command::Control(ControlCommand {
        actor: "operator".parse().unwrap(),
        reason: "a test".to_owned(),
        control_version: ledger.control().version,
        change,
    })
}

/// Engages the kill switch, or turns it off.
pub fn switch(ledger: &Ledger, engaged: bool) -> Command {
    control(ledger, ControlChange::KillSwitch { engaged })
}

pub fn all_quotes(ledger: &Ledger) -> Vec<Quote> {
    let quotes = ledger.symbols().filter_map(|(symbol, state)| Some((symbol, state.quote.as_ref()?)));
    quotes.map(|(symbol, quote)| super::quote_of(symbol, quote)).collect()
}

/// By id.
pub fn open_orders(ledger: &Ledger) -> Vec<OpenOrder> {
    let row = |order: &quorate_ledger::Order| OpenOrder {
        order_id: order.id,
        order: order.order.clone(),
        cum_qty: order.cum_qty,
        cum_quote: order.cum_quote,
    };
    let mut orders: Vec<OpenOrder> = ledger.open_orders().map(row).collect();
    orders.sort_by_key(|open| open.order_id);
    orders
}
