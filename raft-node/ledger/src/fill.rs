//! Fills, posted one by one after the whole order was checked.
//!
//! Invariant: a trade id is used once and none is skipped; what a fill takes from a quote leaves its
//! reservation, moves the position and moves the cash in one change.

use crate::{
    answer::{OrderStatus, Trade},
    apply::Applying,
    command::{Against, NewOrder, PlannedFill},
    event::{Event, FillCommitted, FilledMaker, QuoteEndReason},
    state::{Order, SymbolState},
};
use quorate_domain::{Money, OrderId, Position, Qty, Side};

/// One fill of an order that was checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit<'a> {
    /// The order's id.
    pub(crate) taker: OrderId,
    /// The order.
    pub(crate) order: &'a NewOrder,
    /// The fill.
    pub(crate) fill: &'a PlannedFill,
    /// Its price x quantity.
    pub(crate) notional: Money,
}

impl Applying<'_> {
    pub(crate) fn post_fill(&mut self, hit: &Hit<'_>) -> Trade {
        self.tables.last_trade_id += 1;
        let trade_id = self.tables.last_trade_id;
        match hit.fill.against {
            Against::Quote(_) => self.fill_quote(trade_id, hit),
            Against::Order(id) => self.fill_order(trade_id, hit, id),
        }
        Trade { trade_id, price: hit.fill.price, qty: hit.fill.qty }
    }

    fn fill_quote(&mut self, trade_id: u64, hit: &Hit<'_>) {
        let (symbol, mut maker) = (&hit.order.symbol, None);
        self.change_symbol(symbol, |state| maker = take_lots(state, hit));
        let Some((maker, filled_whole)) = maker else { return };
        self.push_fill(trade_id, hit, maker);
        if filled_whole {
            self.end_quote(symbol, QuoteEndReason::Filled);
        }
    }

    fn fill_order(&mut self, trade_id: u64, hit: &Hit<'_>, id: OrderId) {
        let Some(resting) = self.tables.orders.get(&id) else { return };
        let cum_qty = Qty(resting.cum_qty.0 + hit.fill.qty.0);
        // All at its own price, at which its whole quantity fits.
        let cum_quote = Money(resting.cum_quote.0 + hit.notional.0);
        let filled = Order { status: OrderStatus::PartiallyFilled, cum_qty, cum_quote, ..resting.as_ref().clone() };
        let leaves = filled.leaves();
        let maker = FilledMaker::Order {
            order_id: id,
            account: filled.order.account.clone(),
            client_order_id: filled.order.client_order_id.clone(),
            leaves,
        };
        self.set_order(filled);
        self.push_fill(trade_id, hit, maker);
        if leaves == Qty::ZERO {
            self.close_order(id, OrderStatus::Filled);
        }
    }

    fn push_fill(&mut self, trade_id: u64, hit: &Hit<'_>, maker: FilledMaker) {
        let Hit { taker, order, fill, notional } = *hit;
        self.events.push(Event::FillCommitted(FillCommitted {
            trade_id,
            symbol: order.symbol.clone(),
            price: fill.price,
            qty: fill.qty,
            notional,
            taker_order_id: taker,
            taker_side: order.side,
            maker,
        }));
    }
}

/// Takes a fill from the symbol's quote; says which quote it was, and whether nothing is left of it.
fn take_lots(state: &mut SymbolState, hit: &Hit<'_>) -> Option<(FilledMaker, bool)> {
    let (taker, fill, money) = (hit.order.side, hit.fill, hit.notional.0);
    let quote = state.quote.as_mut()?;
    let leg = quote.sides.of_mut(taker.opposite()).as_mut()?;
    leg.leaves = Qty(leg.leaves.0 - fill.qty.0);
    let leaves = leg.leaves;
    match taker {
        Side::Buy => {
            state.sold = Qty(state.sold.0 + fill.qty.0);
            state.cash = Money(state.cash.0 + money);
        }
        Side::Sell => {
            state.bought = Qty(state.bought.0 + fill.qty.0);
            state.cash = Money(state.cash.0 - money);
        }
    }
    // Neither sum passes its range, and neither is below 0: their difference does not either.
    state.position = Position(state.bought.0 - state.sold.0);
    state.position_seq += 1;
    let filled_whole = quote.leaves(Side::Buy) == Qty::ZERO && quote.leaves(Side::Sell) == Qty::ZERO;
    let maker = FilledMaker::Quote {
        quote_id: quote.id,
        maker: quote.maker.clone(),
        epoch: quote.epoch,
        leaves,
        position: state.position,
        position_seq: state.position_seq,
    };
    Some((maker, filled_whole))
}
