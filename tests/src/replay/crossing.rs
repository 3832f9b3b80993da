//! No book is ever crossed: of the orders that rest, no buy is as high as a sale, and no quote is placed that meets one of them.

use quorate_domain::{QuoteSide, Side, Symbol};
use quorate_ledger::{Event, Frame, QuotePlaced};

use super::Replay;

impl Replay {
    /// After a frame: the books of the symbols in which an order came to rest, or a quote was placed.
    pub(super) fn not_crossed(&mut self, frame: &Frame) {
        let mut wrong = Vec::new();
        for event in &frame.events {
            match event {
                Event::OrderExecuted { order, leaves_qty, .. } if leaves_qty.0 > 0 => {
                    let (bid, ask) = (self.best(&order.symbol, Side::Buy), self.best(&order.symbol, Side::Sell));
                    if meet(bid, ask) {
                        wrong.push(format!("{}: orders rest at {bid:?} and {ask:?}", order.symbol));
                    }
                }
                Event::QuotePlaced(QuotePlaced { symbol, bid, ask, .. }) => {
                    let price = |side: &Option<QuoteSide>| side.map(|side| side.price.0);
                    let crosses = meet(price(bid), self.best(symbol, Side::Sell))
                        || meet(self.best(symbol, Side::Buy), price(ask))
                        || meet(price(bid), price(ask));
                    if crosses {
                        wrong.push(format!("{symbol}: a quote of {bid:?} and {ask:?} meets what rests"));
                    }
                }
                _ => {}
            }
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }

    /// The best price of the orders that rest on a side.
    fn best(&self, symbol: &Symbol, side: Side) -> Option<i64> {
        let rests = self.orders.values().filter(|order| order.symbol == *symbol && order.side == side);
        let prices = rests.filter_map(|order| order.price);
        if side == Side::Buy { prices.max() } else { prices.min() }
    }
}

fn meet(bid: Option<i64>, ask: Option<i64>) -> bool {
    bid.zip(ask).is_some_and(|(bid, ask)| bid >= ask)
}
