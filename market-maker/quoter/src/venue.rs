//! The orders that rest at the exchange, as the frames and the state tell: what a quote must not cross.
//!
//! Invariant: an order that a frame closed is not taken up again from a state that was read before that frame.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{OrderId, Price, QuoteSide, Side, Symbol};
use quorate_ledger::Event;
use quorate_strategy::DesiredQuote;

use crate::types::RestingOrder;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Venue {
    orders: BTreeMap<OrderId, (Symbol, Side, Price)>,
    books: BTreeMap<Symbol, Book>,
    /// While the state is read: orders that frames closed since that began.
    closed: Option<BTreeSet<OrderId>>,
}

/// The prices of one symbol at which orders rest, with how many.
#[derive(Debug, Default)]
struct Book {
    buys: BTreeMap<Price, usize>,
    sells: BTreeMap<Price, usize>,
}

impl Book {
    fn side(&mut self, side: Side) -> &mut BTreeMap<Price, usize> {
        match side {
            Side::Buy => &mut self.buys,
            Side::Sell => &mut self.sells,
        }
    }
}

impl Venue {
    /// The state is going to be read.
    pub(crate) fn reading(&mut self) {
        self.closed.get_or_insert_default();
    }

    /// Takes in the orders that were open when the state was read at `index`, or later. `more` where it is being read again.
    pub(crate) fn read(&mut self, orders: &[RestingOrder], index: u64, more: bool) {
        let open: BTreeSet<OrderId> = orders.iter().map(|order| order.order_id).collect();
        let gone: Vec<OrderId> =
            self.orders.range(..=index).map(|(id, _)| *id).filter(|id| !open.contains(id)).collect();
        gone.into_iter().for_each(|id| self.close(id));
        for RestingOrder { order_id, symbol, side, price } in orders {
            if !self.closed.as_ref().is_some_and(|closed| closed.contains(order_id)) {
                self.open(*order_id, symbol, *side, *price);
            }
        }
        if !more {
            self.closed = None;
        }
    }

    /// Takes in one event.
    pub(crate) fn happened(&mut self, event: &Event) {
        match event {
            Event::OrderExecuted { order_id, order, status, .. } if status.is_open() => {
                if let Some(price) = order.price {
                    self.open(*order_id, &order.symbol, order.side, price);
                }
            }
            Event::OrderClosed { order_id, .. } => {
                if let Some(closed) = &mut self.closed {
                    closed.insert(*order_id);
                }
                self.close(*order_id);
            }
            _ => {}
        }
    }

    /// The quote, moved behind the orders that rest on the other side; a side for which no price is left is left out.
    pub(crate) fn behind_resting(&self, symbol: &Symbol, quote: DesiredQuote) -> DesiredQuote {
        let Some(book) = self.books.get(symbol) else { return quote };
        let lowest_sell = book.sells.first_key_value().map(|(price, _)| price.0);
        let highest_buy = book.buys.last_key_value().map(|(price, _)| price.0);
        let bid = quote.bid.map(|side| QuoteSide {
            price: Price(lowest_sell.map_or(side.price.0, |sell| side.price.0.min(sell - 1))),
            ..side
        });
        let ask = quote.ask.map(|side| QuoteSide {
            price: Price(highest_buy.map_or(side.price.0, |buy| side.price.0.max(buy + 1))),
            ..side
        });
        let valid = |side: &QuoteSide| side.price.is_valid();
        DesiredQuote { bid: bid.filter(valid), ask: ask.filter(valid) }
    }

    fn open(&mut self, id: OrderId, symbol: &Symbol, side: Side, price: Price) {
        if self.orders.insert(id, (symbol.clone(), side, price)).is_none() {
            *self.books.entry(symbol.clone()).or_default().side(side).entry(price).or_default() += 1;
        }
    }

    fn close(&mut self, id: OrderId) {
        let Some((symbol, side, price)) = self.orders.remove(&id) else { return };
        let Some(book) = self.books.get_mut(&symbol) else { return };
        let prices = book.side(side);
        if let Some(count) = prices.get_mut(&price) {
            *count -= 1;
            if *count == 0 {
                prices.remove(&price);
            }
        }
        if book.buys.is_empty() && book.sells.is_empty() {
            self.books.remove(&symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_domain::Qty;
    use quorate_ledger::OrderStatus;

    use super::*;

    fn symbol() -> Symbol {
        "A".parse().expect("a symbol")
    }

    fn rests(order_id: OrderId, side: Side, price: i64) -> RestingOrder {
        RestingOrder { order_id, symbol: symbol(), side, price: Price(price) }
    }

    fn closes(order_id: OrderId) -> Event {
        Event::OrderClosed {
            order_id,
            symbol: symbol(),
            account: "a".parse().expect("an account"),
            client_order_id: "c".parse().expect("a name"),
            status: OrderStatus::Cancelled,
            cum_qty: Qty(0),
        }
    }

    /// The bid and the ask of a quote of 100 to 110 beside what rests.
    fn quoted(venue: &Venue) -> (Option<i64>, Option<i64>) {
        let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(1) });
        let quote = venue.behind_resting(&symbol(), DesiredQuote { bid: side(100), ask: side(110) });
        (quote.bid.map(|bid| bid.price.0), quote.ask.map(|ask| ask.price.0))
    }

    #[test]
    fn a_quote_stands_one_tick_behind_what_rests_and_comes_back_when_it_goes() {
        let mut venue = Venue::default();
        assert_eq!(quoted(&venue), (Some(100), Some(110)));
        venue.read(&[rests(3, Side::Buy, 120), rests(4, Side::Sell, 130), rests(5, Side::Buy, 90)], 9, false);
        assert_eq!(quoted(&venue), (Some(100), Some(121)));
        venue.happened(&closes(3));
        assert_eq!(quoted(&venue), (Some(100), Some(110)));
        venue.read(&[rests(6, Side::Sell, 1)], 10, false);
        assert_eq!(quoted(&venue), (None, Some(110)), "no price is left below a tick");
    }

    #[test]
    fn a_level_goes_with_its_last_order() {
        let mut venue = Venue::default();
        venue.read(&[rests(3, Side::Sell, 99), rests(4, Side::Sell, 99)], 9, false);
        venue.happened(&closes(4));
        assert_eq!(quoted(&venue).0, Some(98));
        venue.happened(&closes(3));
        venue.happened(&closes(3));
        assert_eq!(quoted(&venue).0, Some(100));
        assert!(venue.books.is_empty() && venue.orders.is_empty());
    }

    #[test]
    fn a_state_that_was_read_before_a_frame_does_not_undo_it() {
        let mut venue = Venue::default();
        venue.reading();
        venue.happened(&closes(3));
        venue.read(&[rests(3, Side::Sell, 50), rests(4, Side::Sell, 60)], 9, false);
        assert_eq!(quoted(&venue).0, Some(59));
        // An order that came after the state stands on; one that the state no longer has is gone.
        venue.reading();
        venue.read(&[rests(12, Side::Sell, 70)], 12, true);
        venue.happened(&closes(12));
        venue.read(&[rests(12, Side::Sell, 70)], 13, false);
        assert_eq!(quoted(&venue).0, Some(100));
        venue.open(20, &symbol(), Side::Sell, Price(80));
        venue.read(&[], 19, false);
        assert_eq!(quoted(&venue).0, Some(79));
        venue.read(&[], 20, false);
        assert_eq!(quoted(&venue).0, Some(100));
    }
}
