//! Recomputes every derived figure and says what does not hold. Tests and simulations ask after every
//! apply, a node on request and before it trusts a snapshot. It changes nothing and repairs nothing.

use std::fmt;

use imbl::OrdMap;

use crate::{
    answer::OrderStatus,
    bounds::{
        DEMAND_MEMORY_MS, ENDED_SYMBOLS_MAX, EXEC_WINDOW, MAKERS_MAX, OFFER_MS, OPEN_ORDERS_MAX, QUOTE_TTL_MAX_MS,
        QUOTING_OFF_MAKERS_MAX, SESSIONS_MAX, SYMBOLS_MAX, TURN_MS,
    },
    control::hard_limit,
    event::Turn,
    indexes::Indexes,
    ledger::Ledger,
    session::window_from,
    state::{Demand, Holder, Order, Quote, SymbolState},
};
use quorate_domain::{Asset, Exposure, MakerName, Millis, Money, Pnl, Position, Qty, Side, Symbol};

/// Something that must hold and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was found so far.
#[derive(Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    /// Notes what `must` hold, in words, where it does not.
    pub(crate) fn check(&mut self, holds: bool, must: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation(must()));
        }
    }
}

impl Ledger {
    /// What does not hold, in words; empty where all does. Costs a walk over the whole state.
    #[must_use]
    pub fn audit(&self) -> Vec<Violation> {
        let mut found = Findings(self.audit_tables());
        self.audit_indexes(&mut found);
        found.0
    }

    /// As [`Ledger::audit`], where the indexes were made from the tables this moment.
    pub(crate) fn audit_tables(&self) -> Vec<Violation> {
        let mut found = Findings::default();
        self.audit_bounds(&mut found);
        self.audit_exposure(&mut found);
        for (symbol, state) in &self.tables.symbols {
            audit_position(&mut found, symbol, state);
            self.audit_end(&mut found, symbol, state);
            self.audit_holder(&mut found, symbol, state);
            self.audit_book(&mut found, symbol, state);
            self.audit_demand(&mut found, symbol, state);
            if let Some(quote) = &state.quote {
                self.audit_quote(&mut found, symbol, state, quote);
            }
        }
        self.audit_loads(&mut found);
        self.audit_makers(&mut found);
        self.audit_orders(&mut found);
        self.audit_balances(&mut found);
        self.audit_locks(&mut found);
        self.audit_breakers(&mut found);
        self.audit_answers(&mut found);
        found.0
    }

    fn audit_bounds(&self, found: &mut Findings) {
        let tables = &self.tables;
        let live = tables.symbols.values().filter(|state| state.closed.is_none()).count();
        for (what, count, max) in [
            ("sessions", tables.sessions.len(), SESSIONS_MAX),
            ("symbols that have not ended", live, SYMBOLS_MAX),
            ("symbols", tables.symbols.len(), SYMBOLS_MAX + ENDED_SYMBOLS_MAX),
            ("makers", tables.makers.len(), MAKERS_MAX),
            ("makers turned off", tables.control.makers_off.len(), QUOTING_OFF_MAKERS_MAX),
            ("symbols turned off", tables.control.symbols_off.len(), tables.symbols.len()),
            ("open orders", tables.orders.len(), OPEN_ORDERS_MAX),
            ("names", tables.name_count(), self.names_max),
        ] {
            found.check(count <= max, || format!("{count} {what}, at most {max}"));
        }
    }

    fn audit_exposure(&self, found: &mut Findings) {
        let limit = self.tables.control.limit;
        let hard = 0..=hard_limit(&self.tables.control.basis).0;
        found.check(hard.contains(&limit.0), || format!("the limit {limit} lies outside {hard:?}"));
        for (name, side) in [("long", Side::Buy), ("short", Side::Sell)] {
            let sum: i128 = self.tables.symbols.values().map(|state| state.reserved().of(side).0).sum();
            let kept = *self.indexes.reserved.of(side);
            found.check(kept.0 == sum, || format!("{name} exposure is kept as {kept}, and sums to {sum}"));
            found.check(sum <= limit.0, || format!("{name} exposure {sum} is above the limit {limit}"));
        }
    }

    fn audit_holder(&self, found: &mut Findings, symbol: &Symbol, state: &SymbolState) {
        found.check(state.holder.is_some() || state.quote.is_none(), || {
            format!("{symbol} has a quote, and nobody holds it")
        });
        let no_demand = state.demand == Demand::default();
        found.check(state.holder.is_some() || no_demand, || format!("{symbol} remembers a demand of nobody"));
        let Some(Holder { maker, incarnation, moving }) = &state.holder else {
            let nobody = self.tables.makers.is_empty() || !self.tables.is_traded(symbol, state);
            return found.check(nobody, || format!("{symbol} is held by nobody"));
        };
        found.check(self.incarnation(maker) == Some(*incarnation), || {
            format!("{symbol} is held by {maker}, incarnation {incarnation}, which is not registered")
        });
        found.check(state.epoch > 0, || format!("{symbol} is held at epoch 0"));
        if let Some(moving) = moving {
            let to = &moving.to;
            found.check(to != maker, || format!("{symbol} moves from {maker} to itself"));
            found.check(self.maker(to).is_some(), || format!("{symbol} moves to {to}, which is not registered"));
        }
    }

    fn audit_quote(&self, found: &mut Findings, symbol: &Symbol, state: &SymbolState, quote: &Quote) {
        let id = quote.id;
        let holder = state.holder.as_ref();
        let same = holder.is_some_and(|holder| holder.maker == quote.maker && holder.incarnation == quote.incarnation);
        found.check(same && quote.epoch == state.epoch, || {
            format!("quote {id} of {symbol} is not its holder's, under the present epoch")
        });
        found.check(quote.quote_seq <= state.quote_seq, || format!("quote {id} of {symbol} is newer than the newest"));
        found.check(!state.may_pass_position_max(), || format!("quote {id} of {symbol} may pass its position's limit"));
        found.check(quote.position_seq <= state.position_seq, || {
            format!("quote {id} of {symbol} was computed from a position that never was")
        });
        let fits = |side| {
            quote.sides.of(side).is_none_or(|leg| {
                let in_range = state.instrument.accepts(leg.price) && leg.qty.is_valid();
                in_range && (Qty::ZERO..=leg.qty).contains(&leg.leaves)
            })
        };
        let lot = |side, price| state.instrument.exposure(&self.tables.control.basis, side, price, Qty(1));
        let weighs = |side| quote.sides.of(side).is_none_or(|leg| lot(side, leg.price) == Some(leg.lot));
        found.check(weighs(Side::Buy) && weighs(Side::Sell), || {
            format!("quote {id} of {symbol} weighs something else than its prices and the basis say")
        });
        let latest = self.log_time().plus(QUOTE_TTL_MAX_MS);
        found.check(quote.deadline <= latest, || format!("quote {id} of {symbol} lives longer than a quote may"));
        found.check(fits(Side::Buy) && fits(Side::Sell), || format!("quote {id} of {symbol} has a side out of range"));
        let leaves = quote.leaves(Side::Buy) > Qty::ZERO || quote.leaves(Side::Sell) > Qty::ZERO;
        found.check(leaves, || format!("quote {id} of {symbol} stands, with nothing left"));
        if let (Some(bid), Some(ask)) = (quote.sides.bid, quote.sides.ask) {
            found.check(bid.price < ask.price, || format!("quote {id} of {symbol} crosses itself"));
        }
        let control = &self.tables.control;
        let off = control.kill_switch || control.quoting_off(symbol, &quote.maker).is_some();
        found.check(!off, || format!("quote {id} of {symbol} stands, and quoting is off for it"));
    }

    /// Nothing of a demand lies farther ahead than what it is made of lasts.
    fn audit_demand(&self, found: &mut Findings, symbol: &Symbol, state: &SymbolState) {
        let within = |until: Millis, lasts: u64| until <= self.log_time().plus(lasts);
        let in_time = match state.demand.turn {
            None => true,
            Some(Turn::Waiting { since }) => since <= self.last_index(),
            Some(Turn::Offered { until }) => within(until, OFFER_MS),
            Some(Turn::Running { until }) => within(until, TURN_MS),
        };
        found.check(in_time, || format!("{symbol} has a turn that lasts too long: {:?}", state.demand.turn));
        let until = &state.demand.until;
        let remembered = [until.bid, until.ask].into_iter().flatten().all(|until| within(until, DEMAND_MEMORY_MS));
        found.check(remembered, || format!("{symbol} remembers a demand for too long"));
    }

    /// Neither resting orders nor a live quote cross what rests on the other side.
    fn audit_book(&self, found: &mut Findings, symbol: &Symbol, state: &SymbolState) {
        let best = |side| self.best_resting_price(symbol, side);
        let (buy, sell) = (best(Side::Buy), best(Side::Sell));
        if let (Some(buy), Some(sell)) = (buy, sell) {
            found.check(buy < sell, || format!("{symbol}: a buy rests at {buy}, a sell at {sell}"));
        }
        let now = self.log_time();
        let live = self.tables.authority_deadline(state).is_some_and(|deadline| deadline > now);
        let Some(quote) = state.quote.as_ref().filter(|quote| live && quote.is_active(now)) else { return };
        let price = |side| quote.sides.of(side).filter(|leg| leg.leaves > Qty::ZERO).map(|leg| leg.price);
        if let (Some(bid), Some(sell)) = (price(Side::Buy), sell) {
            found.check(bid < sell, || format!("{symbol}: the quote bids {bid}, a sell rests at {sell}"));
        }
        if let (Some(ask), Some(buy)) = (price(Side::Sell), buy) {
            found.check(ask > buy, || format!("{symbol}: the quote asks {ask}, a buy rests at {buy}"));
        }
    }

    /// Loads, counted by where each symbol is or is going, differ by at most one.
    fn audit_loads(&self, found: &mut Findings) {
        let load = |name: &MakerName| {
            let target = |state: &&SymbolState| {
                state.holder.as_ref().map(|holder| holder.moving.as_ref().map_or(&holder.maker, |moving| &moving.to))
                    == Some(name)
            };
            self.tables.symbols.values().filter(target).count()
        };
        let loads: Vec<usize> = self.tables.makers.keys().map(load).collect();
        if let (Some(most), Some(least)) = (loads.iter().max(), loads.iter().min()) {
            found.check(most - least <= 1, || format!("a maker is due {most} symbols and another {least}"));
        }
    }

    fn audit_makers(&self, found: &mut Findings) {
        for (name, maker) in &self.tables.makers {
            let known = maker.incarnation <= self.last_index();
            found.check(known, || format!("maker {name} is of incarnation {}, ahead of the log", maker.incarnation));
            let holdings = maker.incarnation..=self.last_index();
            found.check(holdings.contains(&maker.holdings_index), || {
                format!("the holdings of maker {name} last changed at {}, outside {holdings:?}", maker.holdings_index)
            });
            let latest = self.log_time().plus(maker.ttl_ms);
            found.check(maker.deadline <= latest, || format!("maker {name} has a lease longer than its ttl"));
        }
    }

    fn audit_orders(&self, found: &mut Findings) {
        let orders = self.tables.orders.len();
        let named = self.indexes.names.open.len();
        found.check(named == orders, || format!("{orders} orders have {named} names"));
        found.0.extend(self.audit_names().into_iter().map(Violation));
        for (id, order) in &self.tables.orders {
            found.check(*id == order.id, || format!("order {} is kept as {id}", order.id));
            let Some(state) = self.tables.symbols.get(&order.order.symbol) else {
                found.check(false, || format!("order {id} is of a symbol that is not defined"));
                continue;
            };
            let in_range = order.order.price.is_some_and(|price| state.instrument.accepts(price));
            found.check(in_range, || format!("order {id} rests out of the range of prices"));
            found.check(order_adds_up(order), || format!("order {id} does not add up"));
        }
        let kill_switch = self.tables.control.kill_switch;
        found.check(!kill_switch || self.tables.orders.is_empty(), || {
            "the kill switch is engaged, and orders are open".to_owned()
        });
        let quote_fills: u128 = self.tables.symbols.values().map(|state| u128::from(state.position_seq)).sum();
        let settled = |state: &&SymbolState| state.closed.is_some_and(|closed| closed.settled.is_some());
        // A position that was settled was moved by that once more.
        let settlements = self.tables.symbols.values().filter(settled).count() as u128;
        found.check(quote_fills <= u128::from(self.fills()) + settlements, || {
            format!("{quote_fills} quote fills, and {} fills in all", self.fills())
        });
    }

    fn audit_answers(&self, found: &mut Findings) {
        for (id, session) in &self.tables.sessions {
            let seqs = window_from(session.highest_seq)..=session.highest_seq;
            let within = session.answers.keys().all(|seq| seqs.contains(seq));
            found.check(within, || format!("session {id} keeps answers outside {seqs:?}"));
            found.check(session.last_use <= self.log_time(), || format!("session {id} was used in the future"));
        }
        let Some(exchange) = &self.tables.exchange else { return };
        for (symbol, lane) in &exchange.lanes {
            // What is kept are the answers to the last ones, without a gap.
            let first = (lane.last + 1).saturating_sub(lane.answers.len() as u64);
            let whole = lane.answers.keys().copied().eq(first..=lane.last);
            found.check(whole, || format!("{symbol} keeps answers to other exec ids than {first}..={}", lane.last));
        }
        let kept: usize = exchange.lanes.values().map(|lane| lane.answers.len()).sum();
        found.check(kept == exchange.kept && kept <= EXEC_WINDOW, || format!("{kept} answers to executions are kept"));
    }

    fn audit_indexes(&self, found: &mut Findings) {
        let (kept, rebuilt) = (&self.indexes, Indexes::of(&self.tables));
        for (name, equal) in [
            ("exposure reserved", kept.reserved == rebuilt.reserved),
            ("equity", nonzero(&kept.equity) == nonzero(&rebuilt.equity)),
            ("unmarked positions", kept.unmarked_from == rebuilt.unmarked_from),
            ("exposure held", kept.held == rebuilt.held),
            ("exposure taken", kept.taken == rebuilt.taken),
            ("those that wait for a turn", kept.queue == rebuilt.queue),
            ("lots set aside", kept.set_aside == rebuilt.set_aside),
            ("turns due", kept.turns_due == rebuilt.turns_due),
            ("demanding symbols", kept.demanding == rebuilt.demanding),
            ("waiting symbols", kept.waiting == rebuilt.waiting),
            ("demands due", kept.demands_due == rebuilt.demands_due),
            ("makers due", kept.makers_due == rebuilt.makers_due),
            ("moves due", kept.moves_due == rebuilt.moves_due),
            ("quotes due", kept.quotes_due == rebuilt.quotes_due),
            ("idle sessions", kept.sessions_idle == rebuilt.sessions_idle),
            ("holders", kept.holders == rebuilt.holders),
            ("open orders by account", kept.open_by_account == rebuilt.open_by_account),
            ("names", kept.names == rebuilt.names),
            ("books", kept.books == rebuilt.books),
        ] {
            found.check(equal, || format!("the index of {name} differs from its tables"));
        }
    }
}

/// The sums that are not 0.
fn nonzero(sums: &OrdMap<Asset, Money>) -> Vec<(&Asset, &Money)> {
    sums.iter().filter(|(_, money)| **money != Money::ZERO).collect()
}

fn audit_position(found: &mut Findings, symbol: &Symbol, state: &SymbolState) {
    let (bought, sold) = (state.bought.0, state.sold.0);
    let difference = i128::from(bought) - i128::from(sold);
    let position = state.position();
    found.check(bought >= 0 && sold >= 0, || format!("{symbol}: bought {bought} and sold {sold} are sums of fills"));
    found.check(i128::from(position.0) == difference, || {
        format!("{symbol}: the position is {position}; bought less sold is {difference}")
    });
    let pnl = &state.pnl;
    let moved = bought != 0 || sold != 0 || *pnl != Pnl::default();
    found.check((state.position_seq > 0) == moved, || {
        format!("{symbol}: {} quote fills bought {bought} and sold {sold}", state.position_seq)
    });
    // At any price the profit adds up; at 0 the position is worth nothing.
    let profit = pnl.realised.0.wrapping_sub(pnl.cost.0).wrapping_sub(pnl.fees.0);
    found.check(profit == pnl.cash.0, || {
        format!("{symbol}: realised less cost and fees is {profit}, the cash {}", pnl.cash)
    });
    found.check(position != Position::ZERO || pnl.cost == Money::ZERO, || {
        format!("{symbol}: no position, at a cost of {}", pnl.cost)
    });
    let reserved = state.reserved();
    found.check(reserved.bid >= Exposure::ZERO && reserved.ask >= Exposure::ZERO, || {
        format!("{symbol}: its quote reserves less than nothing")
    });
}

fn order_adds_up(order: &Order) -> bool {
    let (qty, filled) = (order.order.qty, order.cum_qty);
    let fills = match order.status {
        OrderStatus::New => filled == Qty::ZERO,
        OrderStatus::PartiallyFilled => Qty::ZERO < filled && filled < qty,
        OrderStatus::Filled | OrderStatus::Cancelled | OrderStatus::Rejected | OrderStatus::Expired => false,
    };
    fills && (order.cum_quote == Money::default()) == (filled == Qty::ZERO) && order.order.price.is_some()
}
