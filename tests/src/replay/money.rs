//! The judge's own money: profit, fees, balances, high-water marks and breakers, recomputed from the events alone and with
//! code of its own. Nothing here calls the ledger's or the domain's arithmetic of money.
//!
//! It knows everything only where it saw everything: an export that begins later than the first index is not judged.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{Account, Asset, Instrument, Kind, Side, Symbol};
use quorate_ledger::{ControlChange, Event, FillCommitted, FilledMaker, Frame, MarkTaken, NewOrder, Settlement};

use super::Replay;

/// A mark is too old when its time lies so far behind log time.
const MARK_AGE_MAX_MS: u64 = 15_000;
/// A mark counts at once within this part of the one that counts, in parts per million.
const BAND_PPM: i128 = 100_000;
/// A mark outside the band counts when it was borne out so much later.
const BORNE_OUT_AFTER_MS: u64 = 1_000;

/// What was recomputed, at the end of a frame. All sums are in 10^-12 of their asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Whether everything was seen from the first index on.
    pub whole: bool,
    /// By symbol: position in lots, cost, realised, fees, cash.
    pub symbols: BTreeMap<Symbol, Profit>,
    /// By quote asset: equity, high-water mark, whether the breaker has tripped.
    pub equity: BTreeMap<Asset, (i128, i128, bool)>,
    /// By account and asset, where it is not 0.
    pub balances: BTreeMap<(Account, Asset), i128>,
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
struct Traded {
    instrument: Instrument,
    profit: Profit,
    counts: Option<(i128, u64)>,
    waits: Option<(i128, u64)>,
    closed: bool,
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

#[derive(Default)]
struct Breaker {
    limit: Option<i128>,
    high_water: i128,
    tripped: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Money {
    whole: bool,
    symbols: BTreeMap<Symbol, Traded>,
    balances: BTreeMap<(Account, Asset), i128>,
    limited: BTreeSet<Account>,
    fees: BTreeMap<Asset, i128>,
    deposits: BTreeMap<Asset, i128>,
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
    fn unit(&self) -> i128 {
        let (tick, lot) =
            (scaled(&self.instrument.tick_size.to_string()), scaled(&self.instrument.lot_size.to_string()));
        tick * lot / 1_000_000_000_000
    }

    fn lot(&self) -> i128 {
        scaled(&self.instrument.lot_size.to_string())
    }

    fn trade(&mut self, signed: i128, price: i128, fee: i128) {
        let unit = self.unit();
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
    }

    /// Cash, and the position at the mark that counts; at its cost where there is none.
    fn equity(&self) -> i128 {
        let unit = self.unit();
        self.profit.cash
            + self.counts.map_or(self.profit.cost, |(half_ticks, _)| half_ticks * self.profit.position * unit / 2)
    }

    fn marked(&mut self, half_ticks: i128, time: u64) -> bool {
        let near = |(around, _): (i128, u64)| (half_ticks - around).abs() * 1_000_000 <= around * BAND_PPM;
        let borne_out = self.waits.is_some_and(|waits| near(waits) && time >= waits.1 + BORNE_OUT_AFTER_MS);
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

/// A decimal in units of 10^-12.
fn scaled(text: &str) -> i128 {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{part:0<12}").parse().unwrap_or(0)
}

/// Rounded up to a whole unit.
fn fee(notional: i128, ppm: i32) -> i128 {
    let exact = notional * i128::from(ppm);
    exact.div_euclid(1_000_000) + i128::from(exact.rem_euclid(1_000_000) > 0)
}

impl Money {
    /// At the first frame: whether nothing came before.
    pub(super) fn begin(&mut self, first_index: u64) {
        self.whole = first_index <= 1;
    }

    pub(super) fn sums(&self) -> Sums {
        let assets: BTreeSet<&Asset> = self.symbols.values().map(|traded| &traded.instrument.quote).collect();
        let equity = assets.into_iter().map(|asset| {
            let breaker = self.breakers.get(asset);
            let state = breaker.map_or((0, false), |breaker| (breaker.high_water, breaker.tripped));
            (asset.clone(), (self.equity(asset), state.0, state.1))
        });
        Sums {
            whole: self.whole,
            symbols: self.symbols.iter().map(|(symbol, traded)| (symbol.clone(), traded.profit)).collect(),
            equity: equity.collect(),
            balances: self
                .balances
                .iter()
                .filter(|(_, sum)| **sum != 0)
                .map(|(key, sum)| (key.clone(), *sum))
                .collect(),
            fees: self.fees.iter().filter(|(_, sum)| **sum != 0).map(|(asset, sum)| (asset.clone(), *sum)).collect(),
        }
    }

    /// What one lot may cost at most, bought at the first price and sold at the second.
    pub(super) fn worst_losses(&self, symbol: &Symbol, (bid, ask): (i64, i64)) -> Option<(i128, i128)> {
        let traded = self.symbols.get(symbol)?;
        let sold = match traded.instrument.kind {
            Kind::Spot => ask,
            Kind::Binary { pays } => pays.0 - ask,
        };
        Some((i128::from(bid) * traded.unit(), i128::from(sold) * traded.unit()))
    }

    fn equity(&self, asset: &Asset) -> i128 {
        self.symbols.values().filter(|traded| traded.instrument.quote == *asset).map(Traded::equity).sum()
    }

    fn add(&mut self, account: &Account, asset: &Asset, amount: i128) {
        *self.balances.entry((account.clone(), asset.clone())).or_default() += amount;
        self.touched.insert(account.clone());
    }

    fn has(&self, account: &Account, asset: &Asset) -> i128 {
        self.balances.get(&(account.clone(), asset.clone())).copied().unwrap_or(0)
    }

    /// What an account's open sales lock of a contract or a base asset.
    fn base_locked(&self, account: &Account, asset: &Asset) -> i128 {
        let locks = |rests: &&Rests| rests.account == *account && rests.side == Side::Sell;
        let base = |rests: &Rests| {
            let traded = self.symbols.get(&rests.symbol).filter(|traded| traded.instrument.base == *asset)?;
            Some((rests.leaves - rests.uncovered.min(rests.leaves)) * traded.lot())
        };
        self.rests.values().filter(locks).filter_map(base).sum()
    }

    /// What an account has free of an asset.
    fn free(&self, account: &Account, asset: &Asset) -> i128 {
        let mut locked = self.base_locked(account, asset);
        for rests in self.rests.values().filter(|rests| rests.account == *account) {
            let Some(traded) = self.symbols.get(&rests.symbol).filter(|traded| traded.instrument.quote == *asset)
            else {
                continue;
            };
            let (lots, price) = match (traded.instrument.kind, rests.side) {
                (_, Side::Buy) => (rests.leaves, rests.price),
                (Kind::Spot, Side::Sell) => continue,
                (Kind::Binary { pays }, Side::Sell) => {
                    (rests.uncovered.min(rests.leaves), i128::from(pays.0) - rests.price)
                }
            };
            locked += lots * price * traded.unit();
            let ppm = i128::from(traded.instrument.maker_fee_ppm.max(0));
            if ppm > 0 {
                locked += lots * rests.price * traded.unit() * ppm / 1_000_000 + lots;
            }
        }
        for traded in self.symbols.values().filter(|traded| traded.instrument.quote == *asset) {
            let Kind::Binary { pays } = traded.instrument.kind else { continue };
            let base = &traded.instrument.base;
            let short = self.base_locked(account, base) - self.has(account, base);
            locked += (short.max(0) / traded.lot()) * i128::from(pays.0) * traded.unit();
        }
        self.has(account, asset) - locked
    }
}

impl Replay {
    pub(super) fn money_event(&mut self, frame: &Frame, event: &Event) {
        if !self.money.whole {
            return;
        }
        match event {
            Event::SymbolDefined { symbol, instrument } => {
                let instrument = instrument.clone();
                let traded = Traded { instrument, profit: Profit::default(), counts: None, waits: None, closed: false };
                self.money.symbols.insert(symbol.clone(), traded);
            }
            Event::ControlChanged { change, .. } => self.money_decided(change),
            Event::OrderExecuted { order_id, order, .. } => {
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

    fn money_decided(&mut self, change: &ControlChange) {
        let money = &mut self.money;
        match change {
            ControlChange::Instrument { symbol, instrument, .. } => {
                let Some(traded) = money.symbols.get_mut(symbol) else { return };
                let before = traded.unit();
                traded.instrument = instrument.clone();
                let after = traded.unit();
                let rescaled = |mark: Option<(i128, u64)>| mark.map(|(price, time)| (price * before / after, time));
                (traded.counts, traded.waits) = (rescaled(traded.counts), rescaled(traded.waits));
                money.due.insert(instrument.quote.clone());
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
            ControlChange::LimitAccount { account } => drop(money.limited.insert(account.clone())),
            ControlChange::Deposit { account, asset, amount } => {
                money.add(account, asset, amount.0);
                *money.deposits.entry(asset.clone()).or_default() += amount.0;
            }
            _ => {}
        }
    }

    fn money_filled(&mut self, frame: &Frame, fill: &FillCommitted) {
        let Some(traded) = self.money.symbols.get_mut(&fill.symbol) else { return };
        let (price, qty) = (i128::from(fill.price.0), i128::from(fill.qty.0));
        let (notional, lot) = (price * qty * traded.unit(), traded.lot());
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
        let counts = traded.marked(i128::from(mark.price.0), mark.time.0);
        self.money.due.insert(traded.instrument.quote.clone());
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
        if let Some(settlement) = settled {
            let price = i128::from(settlement.price.0);
            let (position, before) = (traded.profit.position, traded.profit.cash);
            traded.trade(-position, price, 0);
            let (cash, unit, lot) = (traded.profit.cash - before, traded.unit(), traded.lot());
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
        if !self.money.whole {
            return;
        }
        self.money_rests(frame);
        let mut wrong = Vec::new();
        for account in std::mem::take(&mut self.money.touched) {
            if !self.money.limited.contains(&account) {
                continue;
            }
            for asset in self.money.symbols.values().flat_map(|traded| {
                let spot = (traded.instrument.kind == Kind::Spot).then_some(&traded.instrument.base);
                spot.into_iter().chain([&traded.instrument.quote])
            }) {
                let free = self.money.free(&account, asset);
                if free < 0 {
                    wrong.push(format!("limited account {account} has {free} of 10^-12 {asset} free"));
                }
            }
        }
        let due = std::mem::take(&mut self.money.due);
        let told = std::mem::take(&mut self.money.told);
        for asset in &due {
            wrong.extend(self.money_of_asset(asset));
            let equity = self.money.equity(asset);
            let time = frame.log_time.0;
            let fresh = self.money.symbols.values().filter(|traded| traded.instrument.quote == *asset).all(|traded| {
                let marked = traded.counts.is_some_and(|(_, at)| at + MARK_AGE_MAX_MS > time);
                traded.closed || traded.profit.position == 0 || marked
            });
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
                if binary && order.side == Side::Sell { (free / traded.lot()).clamp(0, leaves) } else { leaves };
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
        let house = money.symbols.values().map(|traded| {
            let cash = if traded.instrument.quote == *asset { traded.profit.cash } else { 0 };
            let held = if traded.instrument.base == *asset { traded.profit.position * traded.lot() } else { 0 };
            cash + held
        });
        let accounts = money.balances.iter().filter(|((_, of), _)| of == asset).map(|(_, sum)| *sum);
        let sum = house.chain(accounts).sum::<i128>() + money.fees.get(asset).copied().unwrap_or(0);
        let deposits = money.deposits.get(asset).copied().unwrap_or(0);
        (sum != deposits).then(|| format!("{asset}: balances, house and fees are {sum}, and deposits {deposits}"))
    }
}
