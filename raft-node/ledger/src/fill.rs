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

impl Applying<'_> {
    pub(crate) fn post_fill(&mut self, taker: OrderId, order: &NewOrder, fill: &PlannedFill) -> Trade {
        self.tables.last_trade_id += 1;
        let trade_id = self.tables.last_trade_id;
        match fill.against {
            Against::Quote(_) => self.fill_quote(trade_id, taker, order, fill),
            Against::Order(id) => self.fill_order(trade_id, taker, order, fill, id),
        }
        Trade { trade_id, price: fill.price, qty: fill.qty }
    }

    fn fill_quote(&mut self, trade_id: u64, taker: OrderId, order: &NewOrder, fill: &PlannedFill) {
        let mut maker = None;
        self.change_symbol(&order.symbol, |state| maker = take_lots(state, order.side, fill));
        let Some((maker, filled_whole)) = maker else { return };
        self.push_fill(trade_id, taker, order, fill, maker);
        if filled_whole {
            self.end_quote(&order.symbol, QuoteEndReason::Filled);
        }
    }

    fn fill_order(&mut self, trade_id: u64, taker: OrderId, order: &NewOrder, fill: &PlannedFill, id: OrderId) {
        let Some(resting) = self.tables.orders.get(&id) else { return };
        let cum_qty = Qty(resting.cum_qty.0 + fill.qty.0);
        let cum_quote = Money(resting.cum_quote.0 + Money::of(fill.price, fill.qty).0);
        let filled = Order { status: OrderStatus::PartiallyFilled, cum_qty, cum_quote, ..resting.as_ref().clone() };
        let leaves = filled.leaves();
        let maker = FilledMaker::Order {
            order_id: id,
            account: filled.order.account.clone(),
            client_order_id: filled.order.client_order_id.clone(),
            leaves,
        };
        self.set_order(filled);
        self.push_fill(trade_id, taker, order, fill, maker);
        if leaves == Qty::ZERO {
            self.close_order(id, OrderStatus::Filled);
        }
    }

    fn push_fill(&mut self, trade_id: u64, taker: OrderId, order: &NewOrder, fill: &PlannedFill, maker: FilledMaker) {
        self.events.push(Event::FillCommitted(FillCommitted {
            trade_id,
            symbol: order.symbol.clone(),
            price: fill.price,
            qty: fill.qty,
            taker_order_id: taker,
            taker_side: order.side,
            maker,
        }));
    }
}

/// Takes a fill from the symbol's quote; says which quote it was, and whether nothing is left of it.
fn take_lots(state: &mut SymbolState, taker: Side, fill: &PlannedFill) -> Option<(FilledMaker, bool)> {
    let quote = state.quote.as_mut()?;
    let leg = quote.sides.of_mut(taker.opposite()).as_mut()?;
    leg.leaves = Qty(leg.leaves.0 - fill.qty.0);
    let leaves = leg.leaves;
    let money = Money::of(fill.price, fill.qty).0;
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
