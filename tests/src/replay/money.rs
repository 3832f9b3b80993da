//! The judge's own money: profit, fees, balances, high-water marks and breakers, recomputed from the events alone and with
//! code of its own. Nothing here calls the ledger's or the domain's arithmetic of money.
//!
//! It knows everything only where it saw everything: an export that begins later than the first index is not judged.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{Account, Asset, Instrument, Kind, Side, Symbol};
use quorate_ledger::{ControlChange, Event, FillCommitted, FilledMaker, Frame, MarkTaken, NewOrder, Settlement};

use super::{
    Replay,
    amounts::scaled,
    rules::{MARK_AGE_MAX_MS, MARK_AHEAD_MAX_MS, MARK_BAND_PPM, MARK_WAIT_MS},
};

/// What was recomputed, at the end of a frame. All sums are in 10^-12 of their asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Whether everything was seen from the first index on.
    pub whole: bool,
    /// By symbol: position in lots, cost, realised, fees, cash.
    pub symbols: BTreeMap<Symbol, Profit>,
    /// By quote asset: equity, high-water mark, whether the breaker has tripped.
    pub equity: BTreeMap<Asset, (i128, i128, bool)>,
    /// By account and asset, where one of them is not 0: all of it, and what of that is locked.
    pub balances: BTreeMap<(Account, Asset), (i128, i128)>,
    /// By asset, where it is not 0.
    pub fees: BTreeMap<Asset, i128>,
}

/// What a symbol brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Profit {
    /// Lots.
    pub position: i128,
    /// The exact total cost of the open position.
    pub cost: i128,
    /// What closing brought.
    pub realised: i128,
    /// What was paid in fees.
    pub fees: i128,
    /// Received less paid.
    pub cash: i128,
}

/// What is known of a symbol's money.
pub(super) struct Traded {
    pub(super) instrument: Instrument,
    revision: u64,
    /// What one lot is worth at a price of one tick.
    unit: i128,
    /// What one lot is of the base asset.
    lot: i128,
    pub(super) profit: Profit,
    /// Lots that quotes bought and sold in all.
    pub(super) bought: i128,
    pub(super) sold: i128,
    /// The mark that counts, and the one that waits: half ticks and time.
    pub(super) counts: Option<(i128, u64)>,
    waits: Option<(i128, u64)>,
    /// The time of the last mark taken.
    last_mark: Option<u64>,
    pub(super) closed: bool,
}

/// What an order that rests locks.
struct Rests {
    account: Account,
    symbol: Symbol,
    side: Side,
    price: i128,
    leaves: i128,
    uncovered: i128,
}

/// The breaker of a quote asset.
#[derive(Clone, Copy, Default)]
pub(super) struct Breaker {
    pub(super) limit: Option<i128>,
    pub(super) high_water: i128,
    pub(super) tripped: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Money {
    pub(super) symbols: BTreeMap<Symbol, Traded>,
    pub(super) limited: BTreeSet<Account>,
    pub(super) balances: BTreeMap<(Account, Asset), i128>,
    pub(super) fees: BTreeMap<Asset, i128>,
    pub(super) deposits: BTreeMap<Asset, i128>,
    breakers: BTreeMap<Asset, Breaker>,
    rests: BTreeMap<u64, Rests>,
    /// Orders of this frame.
    orders: BTreeMap<u64, NewOrder>,
    /// Assets whose equity this frame may have changed.
    due: BTreeSet<Asset>,
    /// Whose coverage this frame may have changed.
    touched: BTreeSet<Account>,
    /// Breakers that the frame says to have tripped.
    told: BTreeMap<Asset, (i128, i128)>,
}

impl Traded {
    fn new(instrument: &Instrument) -> Self {
        let mut traded = Self {
            instrument: instrument.clone(),
            revision: 1,
            unit: 0,
            lot: 0,
            profit: Profit::default(),
            bought: 0,
            sold: 0,
            counts: None,
            waits: None,
            last_mark: None,
            closed: false,
        };
        traded.measure();
        traded
    }

    /// What a tick and a lot are worth, from their texts.
    fn measure(&mut self) {
        self.lot = scaled(&self.instrument.lot_size.to_string()).unwrap_or(0);
        self.unit = self.tick() * self.lot / 1_000_000_000_000;
    }

    /// One tick, in 10^-12 of the quote asset for one of the base asset.
    fn tick(&self) -> i128 {
        scaled(&self.instrument.tick_size.to_string()).unwrap_or(0)
    }

    fn revised(&mut self, instrument: &Instrument) {
        let before = self.unit;
        self.instrument = instrument.clone();
        self.revision += 1;
        self.measure();
        let after = self.unit.max(1);
        let rescaled = |mark: Option<(i128, u64)>| mark.map(|(price, time)| (price * before / after, time));
        (self.counts, self.waits) = (rescaled(self.counts), rescaled(self.waits));
    }

    /// What a number of lots is of the base asset.
    pub(super) fn base_of(&self, lots: i128) -> i128 {
        lots * self.lot
    }

    /// The price of so many half ticks, in 10^-12 of the quote asset for one of the base asset.
    pub(super) fn price_of(&self, half_ticks: i128) -> i128 {
        half_ticks * self.tick() / 2
    }

    /// Since when its position has had no fresh mark, where that is so at `time`: 0 where it never had one.
    pub(super) fn unmarked_since(&self, time: u64) -> Option<u64> {
        let since = self.counts.map_or(0, |(_, at)| at + MARK_AGE_MAX_MS);
        (!self.closed && self.profit.position != 0 && since <= time).then_some(since)
    }

    fn trade(&mut self, signed: i128, price: i128, fee: i128) {
        let unit = self.unit;
        let profit = &mut self.profit;
        let opposite = profit.position.signum() * signed.signum() < 0;
        let closes = if opposite { signed.abs().min(profit.position.abs()) } else { 0 };
        if closes > 0 {
            // floor(cost x closes / position), the quotient and the rest apart.
            let held = profit.position.abs();
            let (whole, rest) = (profit.cost.div_euclid(held), profit.cost.rem_euclid(held));
            let taken = whole * closes + rest * closes / held;
            let brought = closes * price * unit * profit.position.signum();
            profit.realised += brought - taken;
            profit.cost -= taken;
        }
        profit.cost += (signed.abs() - closes) * signed.signum() * price * unit;
        profit.position += signed;
        profit.cash -= signed * price * unit + fee;
        profit.fees += fee;
        (self.bought, self.sold) = (self.bought + signed.max(0), self.sold - signed.min(0));
    }

    /// The position at the mark that counts.
    pub(super) fn at_mark(&self) -> Option<i128> {
        self.counts.map(|(half_ticks, _)| half_ticks * self.profit.position * self.unit / 2)
    }

    /// Cash, and the position at the mark that counts; at its cost where there is none.
    fn equity(&self) -> i128 {
        self.profit.cash + self.at_mark().unwrap_or(self.profit.cost)
    }

    /// Whether a mark may be taken at all, in words where it may not.
    fn takes(&self, half_ticks: i128, time: u64, log_time: u64) -> Option<&'static str> {
        let (min, max) = (i128::from(self.instrument.min_price.0), i128::from(self.instrument.max_price.0));
        if self.closed {
            Some("its symbol is closed")
        } else if !(2 * min..=2 * max).contains(&half_ticks) {
            Some("its price is out of the instrument's range")
        } else if time > log_time + MARK_AHEAD_MAX_MS {
            Some("its time is too far ahead")
        } else if self.last_mark.is_some_and(|last| time < last) {
            Some("a later one was taken before")
        } else {
            None
        }
    }

    fn marked(&mut self, half_ticks: i128, time: u64) -> bool {
        self.last_mark = Some(time);
        // Of a contract the band is a share of what it pays; it is a tick at least.
        let pays = match self.instrument.kind {
            Kind::Spot => None,
            Kind::Binary { pays } => Some(2 * i128::from(pays.0)),
        };
        let near = |(around, _): (i128, u64)| {
            let apart = (half_ticks - around).abs();
            apart <= 2 || apart * 1_000_000 <= pays.unwrap_or(around) * MARK_BAND_PPM
        };
        let borne_out = self.waits.is_some_and(|waits| near(waits) && time >= waits.1 + MARK_WAIT_MS);
        if self.counts.is_none_or(near) || borne_out {
            (self.counts, self.waits) = (Some((half_ticks, time)), None);
            return true;
        }
        if !self.waits.is_some_and(near) {
            self.waits = Some((half_ticks, time));
        }
        false
    }
}

/// Rounded up to a whole unit.
fn fee(notional: i128, ppm: i32) -> i128 {
    let exact = notional * i128::from(ppm);
    exact.div_euclid(1_000_000) + i128::from(exact.rem_euclid(1_000_000) > 0)
}

impl Money {
    pub(super) fn sums(&self) -> Sums {
        let equity = self.assets().into_iter().map(|asset| {
            let Breaker { high_water, tripped, .. } = self.breaker(asset);
            (asset.clone(), (self.equity(asset), high_water, tripped))
        });
        let balances = self.known_balances().into_iter().map(|(account, asset)| {
            let sums = (self.has(&account, &asset), self.locked(&account, &asset));
            ((account, asset), sums)
        });
        Sums {
            whole: true,
            symbols: self.symbols.iter().map(|(symbol, traded)| (symbol.clone(), traded.profit)).collect(),
            equity: equity.collect(),
            balances: balances.filter(|(_, sums)| *sums != (0, 0)).collect(),
            fees: self.fees.iter().filter(|(_, sum)| **sum != 0).map(|(asset, sum)| (asset.clone(), *sum)).collect(),
        }
    }

    /// The quote assets of all symbols.
    pub(super) fn assets(&self) -> BTreeSet<&Asset> {
        self.symbols.values().map(|traded| &traded.instrument.quote).collect()
    }

    /// The breaker of a quote asset.
    pub(super) fn breaker(&self, asset: &Asset) -> Breaker {
        self.breakers.get(asset).copied().unwrap_or_default()
    }

    /// The symbols that are quoted in an asset.
    pub(super) fn quoted_in<'a>(&'a self, asset: &'a Asset) -> impl Iterator<Item = &'a Traded> {
        self.symbols.values().filter(move |traded| traded.instrument.quote == *asset)
    }

    /// Accounts with assets of which they may have, or have locked, something.
    fn known_balances(&self) -> BTreeSet<(Account, Asset)> {
        let mut known: BTreeSet<(Account, Asset)> = self.balances.keys().cloned().collect();
        for rests in self.rests.values() {
            let Some(traded) = self.symbols.get(&rests.symbol) else { continue };
            for asset in [&traded.instrument.base, &traded.instrument.quote] {
                known.insert((rests.account.clone(), asset.clone()));
            }
        }
        known
    }

    /// What the house has, by asset: cash, and positions.
    pub(super) fn house(&self) -> BTreeMap<&Asset, i128> {
        let mut sums = BTreeMap::new();
        for traded in self.symbols.values() {
            *sums.entry(&traded.instrument.quote).or_default() += traded.profit.cash;
            *sums.entry(&traded.instrument.base).or_default() += traded.base_of(traded.profit.position);
        }
        sums
    }

    /// What one lot may cost at most, bought at the first price and sold at the second.
    pub(super) fn worst_losses(&self, symbol: &Symbol, (bid, ask): (i64, i64)) -> Option<(i128, i128)> {
        let traded = self.symbols.get(symbol)?;
        let sold = match traded.instrument.kind {
            Kind::Spot => ask,
            Kind::Binary { pays } => pays.0 - ask,
        };
        Some((i128::from(bid) * traded.unit, i128::from(sold) * traded.unit))
    }

    /// Whether a symbol has ended.
    pub(super) fn is_closed(&self, symbol: &Symbol) -> bool {
        self.symbols.get(symbol).is_some_and(|traded| traded.closed)
    }

    /// The equity of a quote asset.
    pub(super) fn equity(&self, asset: &Asset) -> i128 {
        self.quoted_in(asset).map(Traded::equity).sum()
    }

    fn add(&mut self, account: &Account, asset: &Asset, amount: i128) {
        *self.balances.entry((account.clone(), asset.clone())).or_default() += amount;
        self.touched.insert(account.clone());
    }

    /// What an account has of an asset.
    pub(super) fn has(&self, account: &Account, asset: &Asset) -> i128 {
        self.balances.get(&(account.clone(), asset.clone())).copied().unwrap_or(0)
    }

    /// Accounts that have a record: limited ones, and those with an open order or a balance.
    pub(super) fn accounts(&self) -> BTreeSet<&Account> {
        let with_orders = self.rests.values().map(|rests| &rests.account);
        let with_balances = self.balances.iter().filter(|(_, sum)| **sum != 0).map(|((account, _), _)| account);
        self.limited.iter().chain(with_orders).chain(with_balances).collect()
    }

    /// What an account's open sales lock of a contract or a base asset.
    fn base_locked(&self, account: &Account, asset: &Asset) -> i128 {
        let locks = |rests: &&Rests| rests.account == *account && rests.side == Side::Sell;
        let base = |rests: &Rests| {
            let traded = self.symbols.get(&rests.symbol).filter(|traded| traded.instrument.base == *asset)?;
            Some(traded.base_of(rests.leaves - rests.uncovered.min(rests.leaves)))
        };
        self.rests.values().filter(locks).filter_map(base).sum()
    }

    /// What of an asset an account's open orders and short contracts lock; nothing where the account is open.
    pub(super) fn locked(&self, account: &Account, asset: &Asset) -> i128 {
        if !self.limited.contains(account) {
            return 0;
        }
        let rests = self.rests.values().filter(|rests| rests.account == *account);
        let quote: i128 = rests.filter_map(|rests| self.quote_locked(rests, asset)).sum();
        let shorts: i128 = self.quoted_in(asset).map(|traded| self.shorts_lock(account, traded)).sum();
        self.base_locked(account, asset) + quote + shorts
    }

    /// What an open order locks of the quote asset, where it is this one.
    fn quote_locked(&self, rests: &Rests, asset: &Asset) -> Option<i128> {
        let traded = self.symbols.get(&rests.symbol).filter(|traded| traded.instrument.quote == *asset)?;
        let (lots, price) = match (traded.instrument.kind, rests.side) {
            (_, Side::Buy) => (rests.leaves, rests.price),
            (Kind::Spot, Side::Sell) => return None,
            (Kind::Binary { pays }, Side::Sell) => {
                (rests.uncovered.min(rests.leaves), i128::from(pays.0) - rests.price)
            }
        };
        let ppm = i128::from(traded.instrument.maker_fee_ppm.max(0));
        // Each lot may be filled by itself, and the fee on it be rounded up.
        let fees = if ppm > 0 { lots * rests.price * traded.unit * ppm / 1_000_000 + lots } else { 0 };
        Some(lots * price * traded.unit + fees)
    }

    /// Limited accounts that this frame touched and that have less than nothing free, in words.
    fn uncovered(&mut self) -> Vec<String> {
        let touched = std::mem::take(&mut self.touched);
        let contracts = |asset: &Asset| {
            let is = |traded: &Traded| traded.instrument.base == *asset && traded.instrument.kind != Kind::Spot;
            self.symbols.values().any(is)
        };
        let mut wrong = Vec::new();
        for (account, asset) in self.known_balances() {
            if !touched.contains(&account) || !self.limited.contains(&account) || contracts(&asset) {
                continue;
            }
            let free = self.has(&account, &asset) - self.locked(&account, &asset);
            if free < 0 {
                wrong.push(format!("limited account {account} has {free} of 10^-12 {asset} free"));
            }
        }
        wrong
    }

    /// What short contracts lock.
    fn shorts_lock(&self, account: &Account, traded: &Traded) -> i128 {
        let Kind::Binary { pays } = traded.instrument.kind else { return 0 };
        let base = &traded.instrument.base;
        let short = self.base_locked(account, base) - self.has(account, base);
        short.max(0) / traded.lot.max(1) * i128::from(pays.0) * traded.unit
    }
}

impl Replay {
    pub(super) fn money_event(&mut self, frame: &Frame, event: &Event) {
        if !self.whole {
            return;
        }
        match event {
            Event::SymbolDefined { symbol, instrument } => {
                self.money.symbols.insert(symbol.clone(), Traded::new(instrument));
            }
            Event::ControlChanged { change, .. } => self.money_decided(frame, change),
            Event::OrderExecuted { order_id, order, .. } => {
                if self.money.is_closed(&order.symbol) {
                    self.wrong(frame, &format!("order {order_id} of {}, which is closed", order.symbol));
                }
                self.money.orders.insert(*order_id, order.clone());
                self.money.touched.insert(order.account.clone());
            }
            Event::FillCommitted(fill) => self.money_filled(frame, fill),
            Event::OrderClosed { order_id, .. } => {
                if let Some(rests) = self.money.rests.remove(order_id) {
                    self.money.touched.insert(rests.account);
                }
            }
            Event::MarksPublished { marks } => marks.iter().for_each(|mark| self.money_marked(frame, mark)),
            Event::SymbolClosed { symbol, settled } => self.money_closed(frame, symbol, settled.as_ref()),
            Event::BreakerTripped { asset, equity, high_water } => {
                self.money.told.insert(asset.clone(), (equity.0, high_water.0));
            }
            _ => {}
        }
    }

    fn money_decided(&mut self, frame: &Frame, change: &ControlChange) {
        let money = &mut self.money;
        match change {
            ControlChange::Instrument { symbol, instrument, revision } => {
                self.money_revised(frame, symbol, instrument, *revision);
            }
            ControlChange::DrawdownLimit { asset, limit } => {
                money.breakers.entry(asset.clone()).or_default().limit = limit.map(|limit| limit.0);
                money.due.insert(asset.clone());
            }
            ControlChange::Rearm { asset } => {
                let equity = money.equity(asset);
                let breaker = money.breakers.entry(asset.clone()).or_default();
                (breaker.high_water, breaker.tripped) = (equity, false);
            }
            ControlChange::LimitAccount { account } => {
                money.limited.insert(account.clone());
                money.touched.insert(account.clone());
            }
            ControlChange::Deposit { account, asset, amount } => {
                money.add(account, asset, amount.0);
                *money.deposits.entry(asset.clone()).or_default() += amount.0;
            }
            _ => {}
        }
    }

    /// A revision keeps what is traded, and what it is worth.
    fn money_revised(&mut self, frame: &Frame, symbol: &Symbol, next: &Instrument, revision: u64) {
        let Some(traded) = self.money.symbols.get_mut(symbol) else { return };
        let (before, worth) = (traded.instrument.clone(), traded.equity());
        let paid = |traded: &Traded| match traded.instrument.kind {
            Kind::Binary { pays } => Some(i128::from(pays.0) * traded.unit),
            Kind::Spot => None,
        };
        let (pays, numbered) = (paid(traded), revision == traded.revision + 1);
        traded.revised(next);
        let kept = before.base == next.base && before.quote == next.quote && before.lot_size == next.lot_size;
        let sound = numbered && kept && pays == paid(traded) && worth == traded.equity() && !traded.closed;
        let busy = self.books.get(symbol).is_some_and(|book| book.quote.is_some())
            || self.orders.values().any(|order| order.symbol == *symbol);
        self.money.due.insert(next.quote.clone());
        if !sound || busy {
            self.wrong(frame, &format!("{symbol}: revision {revision} is not one that could be made, busy: {busy}"));
        }
    }

    fn money_filled(&mut self, frame: &Frame, fill: &FillCommitted) {
        let Some(traded) = self.money.symbols.get_mut(&fill.symbol) else { return };
        let (price, qty) = (i128::from(fill.price.0), i128::from(fill.qty.0));
        let (notional, lot) = (price * qty * traded.unit, traded.lot);
        let (base, quote) = (traded.instrument.base.clone(), traded.instrument.quote.clone());
        let taker_fee = fee(notional, traded.instrument.taker_fee_ppm);
        let maker_fee = fee(notional, traded.instrument.maker_fee_ppm);
        let bought = if fill.taker_side == Side::Buy { 1 } else { -1 };
        let told = (fill.notional.0, fill.taker_fee.0, fill.maker_fee.0);
        let mut wrong = Vec::new();
        if told != (notional, taker_fee, maker_fee) {
            wrong.push(format!(
                "trade {}: notional and fees are {told:?}, and come to {:?}",
                fill.trade_id,
                (notional, taker_fee, maker_fee)
            ));
        }
        let closed = traded.closed;
        if let FilledMaker::Quote { position, .. } = &fill.maker {
            traded.trade(-bought * qty, price, maker_fee);
            let profit = traded.profit;
            if profit.position != i128::from(position.0) {
                wrong.push(format!(
                    "trade {}: the position is {position}, and comes to {}",
                    fill.trade_id, profit.position
                ));
            }
            // At a mark of 0, and so at any.
            if profit.realised - profit.cost - profit.fees != profit.cash {
                wrong.push(format!("{}: {profit:?} does not add up", fill.symbol));
            }
            self.money.due.insert(quote.clone());
        }
        if closed {
            wrong.push(format!("trade {} of {}, which is closed", fill.trade_id, fill.symbol));
        }
        if let Some(taker) = self.money.orders.get(&fill.taker_order_id).map(|order| order.account.clone()) {
            self.money.add(&taker, &base, bought * qty * lot);
            self.money.add(&taker, &quote, -bought * notional - taker_fee);
        }
        if let FilledMaker::Order { order_id, account, leaves, .. } = &fill.maker {
            self.money.add(account, &base, -bought * qty * lot);
            self.money.add(account, &quote, bought * notional - maker_fee);
            if let Some(rests) = self.money.rests.get_mut(order_id) {
                rests.leaves = i128::from(leaves.0);
            }
        }
        *self.money.fees.entry(quote).or_default() += taker_fee + maker_fee;
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }

    fn money_marked(&mut self, frame: &Frame, mark: &MarkTaken) {
        let Some(traded) = self.money.symbols.get_mut(&mark.symbol) else { return };
        let (half_ticks, time) = (i128::from(mark.price.0), mark.time.0);
        let ignored = traded.takes(half_ticks, time, frame.log_time.0);
        let counts = traded.marked(half_ticks, time);
        self.money.due.insert(traded.instrument.quote.clone());
        if let Some(why) = ignored {
            self.wrong(frame, &format!("{}: a mark of {half_ticks} at {time} was taken: {why}", mark.symbol));
        }
        if counts != mark.counts {
            let what = format!(
                "{}: a mark of {} counts: {}, and it is told: {}",
                mark.symbol, mark.price.0, counts, mark.counts
            );
            self.wrong(frame, &what);
        }
    }

    fn money_closed(&mut self, frame: &Frame, symbol: &Symbol, settled: Option<&Settlement>) {
        let Some(traded) = self.money.symbols.get_mut(symbol) else { return };
        let twice = std::mem::replace(&mut traded.closed, true);
        let quote = traded.instrument.quote.clone();
        self.money.due.insert(quote.clone());
        let mut wrong = Vec::new();
        if twice {
            wrong.push(format!("{symbol} ended twice"));
        }
        let as_it_must = match (traded.instrument.kind, settled) {
            (Kind::Spot, None) => true,
            (Kind::Binary { pays }, Some(settlement)) => settlement.price.0 == 0 || settlement.price == pays,
            (Kind::Spot, Some(_)) | (Kind::Binary { .. }, None) => false,
        };
        if !as_it_must {
            wrong.push(format!("{symbol} ended as {settled:?}"));
        }
        if let Some(settlement) = settled {
            let price = i128::from(settlement.price.0);
            let (position, before) = (traded.profit.position, traded.profit.cash);
            traded.trade(-position, price, 0);
            let (cash, unit, lot) = (traded.profit.cash - before, traded.unit, traded.lot.max(1));
            let base = traded.instrument.base.clone();
            if (settlement.position.0.into(), settlement.cash.0) != (position, cash) {
                wrong.push(format!("{symbol}: {settlement:?}, and the position was {position}, worth {cash}"));
            }
            let holders: Vec<(Account, i128)> = self
                .money
                .balances
                .iter()
                .filter(|((_, asset), held)| *asset == base && **held != 0)
                .map(|((account, _), held)| (account.clone(), *held))
                .collect();
            for (account, held) in holders {
                self.money.add(&account, &base, -held);
                self.money.add(&account, &quote, held / lot * price * unit);
            }
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }

    /// At the end of a frame: what rests locks, sums are sums, and breakers tripped where they had to.
    pub(super) fn money_adds_up(&mut self, frame: &Frame) {
        if !self.whole {
            return;
        }
        self.money_rests(frame);
        let mut wrong = self.money.uncovered();
        let due = std::mem::take(&mut self.money.due);
        let told = std::mem::take(&mut self.money.told);
        for asset in &due {
            wrong.extend(self.money_of_asset(asset));
            let equity = self.money.equity(asset);
            let time = frame.log_time.0;
            let fresh = self.money.quoted_in(asset).all(|traded| traded.unmarked_since(time).is_none());
            let breaker = self.money.breakers.entry(asset.clone()).or_default();
            if fresh {
                breaker.high_water = breaker.high_water.max(equity);
            }
            let trips = !breaker.tripped && breaker.limit.is_some_and(|limit| breaker.high_water - equity > limit);
            breaker.tripped |= trips;
            let expected = trips.then_some((equity, breaker.high_water));
            if told.get(asset).copied() != expected {
                wrong.push(format!("the breaker of {asset} trips: {:?}, and had to: {expected:?}", told.get(asset)));
            }
        }
        for asset in told.keys().filter(|asset| !due.contains(*asset)) {
            wrong.push(format!("the breaker of {asset} trips, and nothing of it changed"));
        }
        for (symbol, book) in &self.books {
            let Some(traded) = self.money.symbols.get(symbol) else { continue };
            let tripped = self.money.breakers.get(&traded.instrument.quote).is_some_and(|breaker| breaker.tripped);
            if book.quote.is_some() && (tripped || traded.closed) {
                wrong.push(format!("{symbol} is quoted, and its breaker has tripped or it is closed"));
            }
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }

    /// Orders of this frame that rest: how much of a sale no free contracts cover.
    fn money_rests(&mut self, frame: &Frame) {
        for (order_id, order) in std::mem::take(&mut self.money.orders) {
            let leaves = frame.events.iter().find_map(|event| match event {
                Event::OrderExecuted { order_id: id, leaves_qty, .. } if *id == order_id => {
                    Some(i128::from(leaves_qty.0))
                }
                _ => None,
            });
            let (Some(leaves), Some(price)) = (leaves.filter(|leaves| *leaves > 0), order.price) else { continue };
            let Some(traded) = self.money.symbols.get(&order.symbol) else { continue };
            let base = &traded.instrument.base;
            let binary = matches!(traded.instrument.kind, Kind::Binary { .. });
            let free = self.money.has(&order.account, base) - self.money.base_locked(&order.account, base);
            let covered =
                if binary && order.side == Side::Sell { (free / traded.lot.max(1)).clamp(0, leaves) } else { leaves };
            let NewOrder { account, symbol, side, .. } = order;
            let price = i128::from(price.0);
            self.money
                .rests
                .insert(order_id, Rests { account, symbol, side, price, leaves, uncovered: leaves - covered });
        }
    }

    /// Balances, house and fees sum to the deposits.
    fn money_of_asset(&self, asset: &Asset) -> Option<String> {
        let money = &self.money;
        let house = money.house().get(asset).copied().unwrap_or(0);
        let accounts: i128 = money.balances.iter().filter(|((_, of), _)| of == asset).map(|(_, sum)| *sum).sum();
        let sum = house + accounts + money.fees.get(asset).copied().unwrap_or(0);
        let deposits = money.deposits.get(asset).copied().unwrap_or(0);
        (sum != deposits).then(|| format!("{asset}: balances, house and fees are {sum}, and deposits {deposits}"))
    }
}
