//! Fills, posted one by one after the whole order was checked.
//!
//! Invariant: a trade id is used once and none is skipped; what a fill takes from a quote leaves its
//! reservation, moves the position and moves the cash in one change; both sides' balances and fees move in the same apply.

use quorate_planted::{Bug, planted};

use crate::{
    accounts::Leg,
    answer::{OrderStatus, Trade},
    apply::Applying,
    command::{Against, NewOrder, PlannedFill},
    event::{Event, FillCommitted, FilledMaker, QuoteEndReason},
    state::{Order, SymbolState},
};
use quorate_domain::{Instrument, Money, OrderId, Qty, Side, Symbol, fee};

/// A fill that is being posted.
struct Posting<'a> {
    trade_id: u64,
    taker: OrderId,
    order: &'a NewOrder,
    fill: &'a PlannedFill,
    instrument: Instrument,
    notional: Money,
    taker_fee: Money,
    maker_fee: Money,
}

impl Applying<'_> {
    pub(crate) fn post_fill(&mut self, taker: OrderId, order: &NewOrder, fill: &PlannedFill) -> Trade {
        self.tables.last_trade_id += 1;
        let trade_id = self.tables.last_trade_id;
        let trade = Trade { trade_id, price: fill.price, qty: fill.qty };
        let Some(posting) = self.posting(trade_id, taker, order, fill) else { return trade };
        let Posting { instrument, notional, taker_fee, maker_fee, .. } = &posting;
        let leg = Leg { side: order.side, qty: fill.qty, notional: *notional, fee: *taker_fee };
        self.fill_account(&order.account, instrument, &leg);
        self.count_fees(instrument, Money(taker_fee.0.saturating_add(maker_fee.0)));
        match fill.against {
            Against::Quote(_) => self.fill_quote(&posting),
            Against::Order(id) => self.fill_order(&posting, id),
        }
        trade
    }

    fn posting<'a>(
        &self,
        trade_id: u64,
        taker: OrderId,
        order: &'a NewOrder,
        fill: &'a PlannedFill,
    ) -> Option<Posting<'a>> {
        let instrument = self.tables.symbols.get(&order.symbol)?.instrument.clone();
        let notional = instrument.notional(fill.price, fill.qty)?;
        let taker_fee = fee(notional, instrument.taker_fee_ppm)?;
        let maker_fee = fee(notional, instrument.maker_fee_ppm)?;
        Some(Posting { trade_id, taker, order, fill, instrument, notional, taker_fee, maker_fee })
    }

    fn fill_quote(&mut self, posting: &Posting<'_>) {
        let symbol = &posting.order.symbol;
        self.equity_due.insert(posting.instrument.quote.clone());
        let mut maker = None;
        self.change_symbol(symbol, |state| maker = take_lots(state, posting));
        let Some((maker, filled_whole)) = maker else { return };
        self.push_fill(posting, maker);
        if filled_whole {
            self.end_quote(symbol, QuoteEndReason::Filled);
        }
    }

    fn fill_order(&mut self, posting: &Posting<'_>, id: OrderId) {
        let Some(resting) = self.tables.orders.get(&id) else { return };
        let Posting { order, fill, instrument, notional, maker_fee, .. } = posting;
        let cum_qty = Qty(resting.cum_qty.0 + fill.qty.0);
        let cum_quote = Money(resting.cum_quote.0.saturating_add(notional.0));
        let filled = Order { status: OrderStatus::PartiallyFilled, cum_qty, cum_quote, ..resting.as_ref().clone() };
        let leaves = filled.leaves();
        let account = filled.order.account.clone();
        let client_order_id = filled.order.client_order_id.clone();
        let leg = Leg { side: order.side.opposite(), qty: fill.qty, notional: *notional, fee: *maker_fee };
        self.fill_account(&account, instrument, &leg);
        self.set_order(filled);
        self.push_fill(posting, FilledMaker::Order { order_id: id, account, client_order_id, leaves });
        if leaves == Qty::ZERO {
            self.close_order(id, OrderStatus::Filled);
        }
    }

    fn push_fill(&mut self, posting: &Posting<'_>, maker: FilledMaker) {
        let Posting { trade_id, taker, order, fill, notional, taker_fee, maker_fee, .. } = posting;
        self.events.push(Event::FillCommitted(FillCommitted {
            trade_id: *trade_id,
            symbol: Symbol::clone(&order.symbol),
            price: fill.price,
            qty: fill.qty,
            notional: *notional,
            taker_order_id: *taker,
            taker_side: order.side,
            taker_fee: *taker_fee,
            maker_fee: *maker_fee,
            maker,
        }));
    }
}

/// Takes a fill from the symbol's quote; says which quote it was, and whether nothing is left of it.
fn take_lots(state: &mut SymbolState, posting: &Posting<'_>) -> Option<(FilledMaker, bool)> {
    let Posting { order, fill, notional, maker_fee, .. } = posting;
    let mut pnl = state.pnl.fill(order.side.opposite(), fill.qty, *notional, *maker_fee)?;
    if planted(Bug::CostRemainderDropped) && pnl.position.0 != 0 {
        pnl.cost.0 -= pnl.cost.0 % i128::from(pnl.position.0);
    }
    let quote = state.quote.as_mut()?;
    let leg = quote.sides.of_mut(order.side.opposite()).as_mut()?;
    leg.leaves = Qty(leg.leaves.0 - fill.qty.0);
    let leaves = leg.leaves;
    match order.side {
        Side::Buy => state.sold = Qty(state.sold.0 + fill.qty.0),
        Side::Sell => state.bought = Qty(state.bought.0 + fill.qty.0),
    }
    state.pnl = pnl;
    state.position_seq += 1;
    let filled_whole = quote.leaves(Side::Buy) == Qty::ZERO && quote.leaves(Side::Sell) == Qty::ZERO;
    let maker = FilledMaker::Quote {
        quote_id: quote.id,
        maker: quote.maker.clone(),
        epoch: quote.epoch,
        leaves,
        position: state.pnl.position,
        position_seq: state.position_seq,
    };
    Some((maker, filled_whole))
}
