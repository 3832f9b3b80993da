//! What the house gains and loses, from the list of all that it traded; what it is worth, and the breakers on that.

use quorate_domain::{Asset, Money, Side, Symbol};
use quorate_ledger::{Event, QuoteEndReason};

use super::{
    Breaker, Fill, Model, Posting,
    instruments::{fee, notional, worth},
};

/// One thing that the house bought or sold.
struct Trade {
    /// Bought; below 0 sold.
    lots: i128,
    /// Money for one lot.
    price: i128,
    fee: i128,
}

/// By average cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Profit {
    pub(crate) position: i128,
    pub(crate) cost: i128,
    pub(crate) realised: i128,
    pub(crate) fees: i128,
    pub(crate) cash: i128,
}

impl Profit {
    fn after(self, trade: &Trade) -> Self {
        let paid = Self { fees: self.fees + trade.fee, cash: self.cash - trade.lots * trade.price - trade.fee, ..self };
        let (q, k) = (self.position.abs(), self.closed_by(trade));
        let opened = trade.lots - trade.lots.signum() * k;
        paid.close(k, q, trade.price).open(opened, trade.price)
    }

    /// How many lots of the position a trade closes.
    fn closed_by(&self, trade: &Trade) -> i128 {
        let against = self.position.signum() != 0 && self.position.signum() == -trade.lots.signum();
        if against { self.position.abs().min(trade.lots.abs()) } else { 0 }
    }

    /// Closes k of q lots.
    fn close(self, k: i128, q: i128, price: i128) -> Self {
        let takes = if q == 0 { 0 } else { (self.cost * k).div_euclid(q) };
        let closed = self.position.signum() * k;
        Self {
            position: self.position - closed,
            cost: self.cost - takes,
            realised: self.realised + closed * price - takes,
            ..self
        }
    }

    fn open(self, lots: i128, price: i128) -> Self {
        Self { position: self.position + lots, cost: self.cost + lots * price, ..self }
    }
}

impl Fill {
    pub(crate) fn notional(&self) -> i128 {
        notional(&self.instrument, self.price, self.qty.0.into())
    }

    pub(crate) fn taker_fee(&self) -> i128 {
        fee(self.notional(), self.instrument.taker_fee_ppm)
    }

    pub(crate) fn maker_fee(&self) -> i128 {
        fee(self.notional(), self.instrument.maker_fee_ppm)
    }

    /// As the house has it: the other side of the taker's.
    fn as_trade(&self) -> Trade {
        let lots = i128::from(self.qty.0);
        let lots = if self.taker_side == Side::Buy { -lots } else { lots };
        Trade { lots, price: notional(&self.instrument, self.price, 1), fee: self.maker_fee() }
    }
}

impl Model {
    /// Everything that the house ever traded in a symbol, and what it came to after each.
    pub(crate) fn profits(&self, symbol: &Symbol) -> Vec<Profit> {
        let mut profits = vec![Profit::default()];
        for posting in &self.book {
            let so_far = *profits.last().unwrap();
            let trade = match posting {
                Posting::Fill(place) => {
                    let fill = &self.fills[*place];
                    (fill.symbol == *symbol && fill.is_of_quote()).then(|| fill.as_trade())
                }
                Posting::Settled { symbol: settled, instrument, price } => (settled == symbol && so_far.position != 0)
                    .then(|| Trade { lots: -so_far.position, price: notional(instrument, *price, 1), fee: 0 }),
                Posting::Deposit { .. } => None,
            };
            profits.extend(trade.map(|trade| so_far.after(&trade)));
        }
        profits
    }

    pub(crate) fn profit(&self, symbol: &Symbol) -> Profit {
        *self.profits(symbol).last().unwrap()
    }

    /// What the position is worth by the mark that counts; at its cost without one.
    pub(crate) fn marked(&self, symbol: &Symbol) -> i128 {
        let (state, profit) = (&self.symbols[symbol], self.profit(symbol));
        let by_mark = |mark: &super::Mark| worth(&state.instrument, mark.price.0.into(), profit.position);
        state.mark.as_ref().map_or(profit.cost, by_mark)
    }

    fn quoted_in(&self, asset: &Asset) -> Vec<Symbol> {
        let quoted = self.symbols.iter().filter(|(_, state)| state.instrument.quote == *asset);
        quoted.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn quote_assets(&self) -> Vec<Asset> {
        let mut assets: Vec<Asset> = self.symbols.values().map(|state| state.instrument.quote.clone()).collect();
        assets.sort();
        assets.dedup();
        assets
    }

    pub(crate) fn equity(&self, asset: &Asset) -> i128 {
        let worths = self.quoted_in(asset).into_iter().map(|symbol| self.profit(&symbol).cash + self.marked(&symbol));
        worths.sum()
    }

    pub(crate) fn is_unmarked(&self, asset: &Asset) -> bool {
        self.quoted_in(asset).iter().any(|symbol| {
            let state = &self.symbols[symbol];
            let fresh = state.mark.as_ref().is_some_and(|mark| !self.too_old(mark));
            state.closed.is_none() && self.profit(symbol).position != 0 && !fresh
        })
    }

    pub(crate) fn breaker(&self, asset: &Asset) -> Breaker {
        self.breakers.get(asset).cloned().unwrap_or_default()
    }

    /// After a command that can change what the house is worth, or what it may be: of every asset, since where nothing
    /// changed there is nothing new to find.
    pub(super) fn evaluate(&mut self, events: &mut Vec<Event>) {
        for asset in self.quote_assets() {
            let (equity, mut breaker) = (self.equity(&asset), self.breaker(&asset));
            if !self.is_unmarked(&asset) {
                breaker.high_water = breaker.high_water.max(equity);
            }
            let trips = !breaker.tripped && breaker.limit.is_some_and(|limit| breaker.high_water - equity > limit);
            breaker.tripped |= trips;
            let high_water = Money(breaker.high_water);
            self.breakers.insert(asset.clone(), breaker);
            if trips {
                events.push(Event::BreakerTripped { asset: asset.clone(), equity: Money(equity), high_water });
                for symbol in self.quoted_in(&asset) {
                    self.end_quote(&symbol, QuoteEndReason::Breaker, events);
                    self.forget_demands(&symbol, events);
                }
            }
        }
    }

    pub(super) fn rearm(&mut self, asset: &Asset) {
        let breaker = Breaker { tripped: false, high_water: self.equity(asset), ..self.breaker(asset) };
        self.breakers.insert(asset.clone(), breaker);
    }
}
