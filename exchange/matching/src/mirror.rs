//! Committed state as the ledger's frames tell it: control, quotes and open orders, and the orders
//! closed not long ago.
//!
//! Invariant: once [`Mirror::is_ready`], it equals the ledger's state at [`Mirror::applied`], for what
//! it holds. The sections it starts from may be newer than the first frames handed in: nothing is executed
//! between an exchange's registration and its recovery, and all else that happens then, applied again on
//! top of a newer section, ends where that section is. It changes by frames alone: no answer, plan or
//! guess enters it.

use std::collections::{BTreeMap, VecDeque};

use quorate_domain::{Account, ClientOrderId, Instrument, Millis, Money, OrderId, Qty, QuoteSide, Side, Symbol};
use quorate_ledger::{
    ControlChange, Event, ExchangeEpoch, FillCommitted, FilledMaker, Frame, NewOrder, OrderResult, OrderStatus,
    QuotePlaced, Trade,
};
use quorate_order_book::{OrderBook, Resting};

use crate::{
    held::Held,
    ticks::exactly,
    types::{Committed, OpenOrder, Quote, QuoteLeaves, Snapshot, Tick},
};

/// What a frame says that concerns more than the mirror.
#[derive(Debug)]
pub(crate) enum Seen {
    /// An order was executed.
    Executed(Box<Executed>),
    /// A quote was placed, at this log time.
    Quoted(Symbol, Millis),
    /// A quote was filled, likewise.
    QuoteFilled(Symbol, Millis),
    /// An exchange registered.
    ExchangeRegistered(ExchangeEpoch),
}

/// An execution, as its frame shows it.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) exchange_epoch: ExchangeEpoch,
    pub(crate) exec_id: u64,
    pub(crate) order: NewOrder,
    pub(crate) committed: Committed,
}

/// What frames said cannot be: the mirror is not to be trusted any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) String);

/// One symbol's committed liquidity.
#[derive(Debug, Default)]
pub(crate) struct Market {
    /// What is traded; `None` only until the section of control is taken in.
    pub(crate) instrument: Option<Instrument>,
    /// Which revision of that.
    pub(crate) revision: u64,
    pub(crate) quote: Option<Quote>,
    pub(crate) book: OrderBook,
}

impl Market {
    /// In what prices count.
    pub(crate) fn tick(&self) -> Option<Tick> {
        Tick::of(self.instrument.as_ref()?, self.revision)
    }
}

/// (account, client order id).
pub(crate) type ClientKey = (Account, ClientOrderId);

/// See the module.
#[derive(Debug)]
pub(crate) struct Mirror {
    applied: u64,
    log_time: Millis,
    ready_at: u64,
    control_version: u64,
    kill_switch: bool,
    markets: BTreeMap<Symbol, Market>,
    orders: BTreeMap<OrderId, OpenOrder>,
    by_client: BTreeMap<ClientKey, OrderId>,
    /// How many orders of each account are open.
    open_counts: Held,
    closed: ClosedOrders,
}

/// The order that a frame executes, while the frame is read.
struct Taking {
    exchange_epoch: ExchangeEpoch,
    exec_id: u64,
    order: NewOrder,
    result: OrderResult,
}

impl Mirror {
    /// Empty, at the index from which frames must follow.
    pub(crate) fn new(snapshot: &Snapshot, closed_max: usize) -> Self {
        let applied = snapshot.first_frame().saturating_sub(1);
        let sections = [(snapshot.control.index, snapshot.control.log_time)]
            .into_iter()
            .chain([(snapshot.quotes.index, snapshot.quotes.log_time)])
            .chain(snapshot.orders.iter().map(|page| (page.index, page.log_time)));
        let log_time = sections.filter(|(index, _)| *index == applied).map(|(_, at)| at).max().unwrap_or_default();
        Self {
            applied,
            log_time,
            ready_at: snapshot.ready_at(),
            control_version: snapshot.control.data.control_version,
            kill_switch: snapshot.control.data.kill_switch,
            markets: BTreeMap::new(),
            orders: BTreeMap::new(),
            by_client: BTreeMap::new(),
            open_counts: Held::default(),
            closed: ClosedOrders::new(closed_max),
        }
    }

    /// Takes what the snapshot holds.
    pub(crate) fn load(&mut self, snapshot: Snapshot) -> Result<(), Contradiction> {
        for (symbol, instrument, revision) in snapshot.control.data.symbols {
            self.learn_instrument(symbol, instrument, revision);
        }
        for quote in snapshot.quotes.data {
            let market = self.markets.entry(quote.symbol.clone()).or_default();
            market.quote = Some(quote);
        }
        for page in snapshot.orders {
            for open in page.data {
                self.insert(open)?;
            }
        }
        Ok(())
    }

    pub(crate) fn applied(&self) -> (u64, Millis) {
        (self.applied, self.log_time)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.applied >= self.ready_at
    }

    /// The control version since which the kill switch is engaged at the latest, where it is.
    pub(crate) fn killed(&self) -> Option<u64> {
        self.kill_switch.then_some(self.control_version)
    }

    pub(crate) fn market(&self, symbol: &Symbol) -> Option<&Market> {
        self.markets.get(symbol)
    }

    pub(crate) fn open(&self, order_id: OrderId) -> Option<&OpenOrder> {
        self.orders.get(&order_id)
    }

    pub(crate) fn open_by_client(&self, key: &ClientKey) -> Option<&OpenOrder> {
        self.by_client.get(key).and_then(|order_id| self.open(*order_id))
    }

    /// How many orders of an account are open.
    pub(crate) fn open_count(&self, account: &Account) -> usize {
        self.open_counts.by(account)
    }

    /// Every open order of an account, by id.
    pub(crate) fn open_of(&self, account: &Account) -> impl Iterator<Item = &OpenOrder> {
        self.orders.values().filter(move |open| open.order.account == *account)
    }

    pub(crate) fn closed(&self, order_id: OrderId) -> Option<(&NewOrder, &Committed)> {
        self.closed.by_id(order_id)
    }

    pub(crate) fn closed_by_client(&self, key: &ClientKey) -> Option<(&NewOrder, &Committed)> {
        self.closed.by_client(key)
    }

    /// The ledger has applied `index`, and nothing before it is missing here.
    pub(crate) fn advance(&mut self, index: u64, log_time: Millis) {
        self.applied = self.applied.max(index);
        self.log_time = self.log_time.max(log_time);
    }

    /// Takes the next frame; one that was seen before is ignored.
    pub(crate) fn apply(&mut self, frame: Frame) -> Result<Vec<Seen>, Contradiction> {
        let mut seen = Vec::new();
        if frame.index <= self.applied {
            return Ok(seen);
        }
        let mut taking: Option<Taking> = None;
        for event in frame.events {
            match event {
                Event::OrderExecuted { order_id, exchange_epoch, exec_id, order, status, cum_qty, leaves_qty } => {
                    let result = OrderResult {
                        order_id,
                        status,
                        cum_qty,
                        leaves_qty,
                        cum_quote: Money::default(),
                        trades: Vec::new(),
                    };
                    taking = Some(Taking { exchange_epoch, exec_id, order, result });
                }
                Event::FillCommitted(fill) => {
                    if let Some(taking) = &mut taking {
                        let sum = &mut taking.result.cum_quote;
                        *sum = Money(sum.0.saturating_add(fill.notional.0));
                        let FillCommitted { trade_id, price, qty, .. } = fill;
                        taking.result.trades.push(Trade { trade_id, price, qty });
                    }
                    self.fill(frame.index, &fill)?;
                    if matches!(fill.maker, FilledMaker::Quote { .. }) {
                        seen.push(Seen::QuoteFilled(fill.symbol, frame.log_time));
                    }
                }
                Event::OrderClosed { order_id, status, .. } => {
                    self.close(frame.index, frame.log_time, order_id, status)
                }
                Event::QuotePlaced(placed) => {
                    seen.push(Seen::Quoted(placed.symbol.clone(), frame.log_time));
                    self.apply_state(Event::QuotePlaced(placed));
                }
                Event::ExchangeRegistered { exchange_epoch, .. } => seen.push(Seen::ExchangeRegistered(exchange_epoch)),
                other => self.apply_state(other),
            }
        }
        if let Some(taking) = taking {
            seen.push(self.executed(frame.index, frame.log_time, taking)?);
        }
        self.advance(frame.index, frame.log_time);
        Ok(seen)
    }

    /// The newest revision of what a symbol trades; an older one changes nothing.
    fn learn_instrument(&mut self, symbol: Symbol, instrument: Instrument, revision: u64) {
        let market = self.markets.entry(symbol.clone()).or_default();
        if revision > market.revision {
            let before = market.tick();
            (market.instrument, market.revision) = (Some(instrument), revision);
            if let (Some(before), Some(tick)) = (before, market.tick())
                && before.units != tick.units
            {
                self.closed.reprice(&symbol, before, tick);
            }
        }
    }

    /// Events of control and of quotes.
    fn apply_state(&mut self, event: Event) {
        match event {
            Event::SymbolDefined { symbol, instrument } => {
                self.learn_instrument(symbol, instrument, 1);
            }
            Event::ControlChanged { control_version, change, .. } => {
                self.control_version = control_version;
                match change {
                    ControlChange::KillSwitch { engaged } => self.kill_switch = engaged,
                    ControlChange::Instrument { symbol, instrument, revision } => {
                        self.learn_instrument(symbol, instrument, revision);
                    }
                    _ => {}
                }
            }
            Event::QuoteKept { symbol, quote_id, deadline, .. } => {
                let quote = self.markets.get_mut(&symbol).and_then(|market| market.quote.as_mut());
                if let Some(quote) = quote.filter(|quote| quote.quote_id == quote_id) {
                    quote.deadline = deadline;
                }
            }
            Event::QuotePlaced(placed) => {
                let market = self.markets.entry(placed.symbol.clone()).or_default();
                market.quote = Some(quote_of(placed));
            }
            Event::QuoteEnded { symbol, quote_id, .. } => {
                if let Some(market) = self.markets.get_mut(&symbol) {
                    market.quote.take_if(|quote| quote.quote_id == quote_id);
                }
            }
            Event::TermBegan { .. }
            | Event::MakerRegistered { .. }
            | Event::MakerRenewed { .. }
            | Event::MakerDeparted { .. }
            | Event::ParametersCommitted { .. }
            | Event::TurnChanged { .. }
            | Event::MarksPublished { .. }
            | Event::ListingChanged { .. }
            | Event::BreakerTripped { .. }
            | Event::ProtectionTripped { .. }
            | Event::SymbolClosed { .. }
            | Event::AuthorityGranted { .. }
            | Event::AuthorityMoving { .. }
            | Event::AuthorityEnded { .. }
            | Event::QuoteRefused { .. }
            // Taken by the caller.
            | Event::ExchangeRegistered { .. }
            | Event::OrderExecuted { .. }
            | Event::FillCommitted(_)
            | Event::OrderClosed { .. } => {}
        }
    }

    fn fill(&mut self, index: u64, fill: &FillCommitted) -> Result<(), Contradiction> {
        match &fill.maker {
            FilledMaker::Quote { quote_id, leaves, .. } => {
                let quote = self.markets.get_mut(&fill.symbol).and_then(|market| market.quote.as_mut());
                let Some(quote) = quote.filter(|quote| quote.quote_id == *quote_id) else {
                    return Err(Contradiction(format!("a fill at {index} of quote {quote_id}, which is not active")));
                };
                let side = match fill.taker_side {
                    Side::Buy => &mut quote.ask,
                    Side::Sell => &mut quote.bid,
                };
                match side.as_mut().filter(|side| side.leaves.0 - fill.qty.0 == leaves.0) {
                    Some(side) => side.leaves = *leaves,
                    None => return Err(Contradiction(format!("a fill at {index} leaves {leaves} of {side:?}"))),
                }
                side.take_if(|side| side.leaves <= Qty::ZERO);
                Ok(())
            }
            FilledMaker::Order { order_id, leaves, .. } => {
                let Some(open) = self.orders.get_mut(order_id) else {
                    return Err(Contradiction(format!("a fill at {index} of order {order_id}, which is not open")));
                };
                open.cum_qty.0 = open.cum_qty.0.saturating_add(fill.qty.0);
                open.cum_quote.0 = open.cum_quote.0.saturating_add(fill.notional.0);
                let book = self.markets.get_mut(&open.order.symbol).map(|market| &mut market.book);
                match book.map(|book| book.fill(*order_id, fill.qty)) {
                    Some(Ok(left)) if left == *leaves => Ok(()),
                    other => Err(Contradiction(format!("a fill at {index} of order {order_id}: {other:?}"))),
                }
            }
        }
    }

    fn close(&mut self, index: u64, log_time: Millis, order_id: OrderId, status: OrderStatus) {
        // What a newer section left out already is closed again here.
        let Some(open) = self.orders.remove(&order_id) else { return };
        self.by_client.remove(&key_of(&open.order));
        self.open_counts.take(&open.order.account);
        if let Some(market) = self.markets.get_mut(&open.order.symbol) {
            // Where it was filled whole it has left the book already.
            let _ = market.book.cancel(order_id);
        }
        let result = OrderResult { status, leaves_qty: Qty::ZERO, ..open.result() };
        self.closed.remember(open.order, Committed { index, log_time, result, repeat: false });
    }

    fn executed(&mut self, index: u64, log_time: Millis, taking: Taking) -> Result<Seen, Contradiction> {
        let Taking { exchange_epoch, exec_id, order, result } = taking;
        let committed = Committed { index, log_time, result, repeat: false };
        if committed.result.status.is_open() {
            let OrderResult { order_id, cum_qty, cum_quote, .. } = committed.result;
            self.insert(OpenOrder { order_id, order: order.clone(), cum_qty, cum_quote })?;
        } else {
            self.closed.remember(order.clone(), committed.clone());
        }
        Ok(Seen::Executed(Box::new(Executed { exchange_epoch, exec_id, order, committed })))
    }

    fn insert(&mut self, open: OpenOrder) -> Result<(), Contradiction> {
        let OpenOrder { order_id, ref order, .. } = open;
        let Some(price) = order.price else {
            return Err(Contradiction(format!("order {order_id} rests without a price")));
        };
        let resting = Resting { order_id, side: order.side, price, leaves: open.leaves(), priority: order_id };
        let market = self.markets.entry(order.symbol.clone()).or_default();
        market.book.insert(resting).map_err(|error| Contradiction(error.to_string()))?;
        self.by_client.insert(key_of(order), order_id);
        self.open_counts.add(&order.account);
        self.orders.insert(order_id, open);
        Ok(())
    }
}

/// (account, client order id) of an order.
pub(crate) fn key_of(order: &NewOrder) -> ClientKey {
    (order.account.clone(), order.client_order_id.clone())
}

fn quote_of(placed: QuotePlaced) -> Quote {
    let leaves = |side: QuoteSide| QuoteLeaves { price: side.price, leaves: side.qty };
    Quote {
        symbol: placed.symbol,
        quote_id: placed.quote_id,
        bid: placed.bid.map(leaves),
        ask: placed.ask.map(leaves),
        deadline: placed.deadline,
    }
}

/// Orders closed not long ago, at most so many; the oldest closed go first. Their prices are in ticks of the present revision.
#[derive(Debug)]
struct ClosedOrders {
    max: usize,
    rows: BTreeMap<OrderId, (NewOrder, Committed)>,
    by_client: BTreeMap<ClientKey, OrderId>,
    oldest_first: VecDeque<OrderId>,
}

impl ClosedOrders {
    fn new(max: usize) -> Self {
        Self { max, rows: BTreeMap::new(), by_client: BTreeMap::new(), oldest_first: VecDeque::new() }
    }

    fn remember(&mut self, order: NewOrder, mut committed: Committed) {
        committed.result.trades.clear();
        let order_id = committed.result.order_id;
        self.by_client.insert(key_of(&order), order_id);
        if self.rows.insert(order_id, (order, committed)).is_none() {
            self.oldest_first.push_back(order_id);
        }
        while self.rows.len() > self.max {
            let Some(gone) = self.oldest_first.pop_front() else { return };
            if let Some((order, _)) = self.rows.remove(&gone) {
                let key = key_of(&order);
                // Its name may be another order's by now.
                if self.by_client.get(&key) == Some(&gone) {
                    self.by_client.remove(&key);
                }
            }
        }
    }

    /// The tick of a symbol has changed: what has no price in the new one is forgotten.
    fn reprice(&mut self, symbol: &Symbol, before: Tick, tick: Tick) {
        let by_client = &mut self.by_client;
        self.rows.retain(|order_id, (order, _)| {
            let Some(price) = order.price.filter(|_| order.symbol == *symbol) else { return true };
            order.price = exactly(price, before, tick);
            let key = key_of(order);
            if order.price.is_none() && by_client.get(&key) == Some(order_id) {
                by_client.remove(&key);
            }
            order.price.is_some()
        });
        self.oldest_first.retain(|order_id| self.rows.contains_key(order_id));
    }

    fn by_id(&self, order_id: OrderId) -> Option<(&NewOrder, &Committed)> {
        self.rows.get(&order_id).map(|(order, committed)| (order, committed))
    }

    fn by_client(&self, key: &ClientKey) -> Option<(&NewOrder, &Committed)> {
        self.by_client.get(key).and_then(|order_id| self.by_id(*order_id))
    }
}
