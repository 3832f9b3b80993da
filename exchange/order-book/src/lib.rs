//! The book of one symbol's resting orders, in price-time priority.
//!
//! Invariants: every order stands in exactly one level and in the index; a level's total is the sum
//! of its orders' leaves; no level is empty and no leaves are 0. Integers only: ticks and lots.
//! The book does not match by itself and may be crossed: who trades with whom is decided by the
//! ledger alone, and planned by `quorate-matching` with [`match_taker`], the one matcher that there is.

mod matching;

use std::collections::BTreeMap;

use quorate_domain::{OrderId, Price, Qty, Side};

pub use matching::{Hit, Maker, Matched, SelfTrade, Stopped, Taker, match_taker};

/// One resting order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resting {
    /// Its id.
    pub order_id: OrderId,
    /// Buy or sell.
    pub side: Side,
    /// Its limit, in ticks.
    pub price: Price,
    /// Lots still open, above 0.
    pub leaves: Qty,
    /// Lower goes first at the same price; the ledger's log index serves. Ties go by order id.
    pub priority: u64,
}

/// One price with all that rests there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Ticks.
    pub price: Price,
    /// Lots open there in all.
    pub qty: Qty,
    /// How many orders.
    pub orders: usize,
}

/// Why a change of the book was not made; the book is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// An order with this id rests already.
    #[error("order {0} rests in the book already")]
    Duplicate(OrderId),
    /// No order with this id rests.
    #[error("order {0} does not rest in the book")]
    Unknown(OrderId),
    /// A price or quantity outside the range that an order may carry.
    #[error("price or quantity of order {0} is out of range")]
    OutOfRange(OrderId),
    /// More was to be filled than is open.
    #[error("order {order_id} has only {leaves} leaves")]
    Overfilled {
        /// The order.
        order_id: OrderId,
        /// Lots open.
        leaves: Qty,
    },
    /// The level's total would leave its range.
    #[error("the level's total would overflow")]
    Overflow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    side: Side,
    price: Price,
    priority: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Queue {
    orders: BTreeMap<(u64, OrderId), Qty>,
    total: Qty,
}

type Levels = BTreeMap<Price, Queue>;

/// Resting orders of one symbol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrderBook {
    bids: Levels,
    asks: Levels,
    index: BTreeMap<OrderId, Place>,
}

impl OrderBook {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many orders rest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether nothing rests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Adds a resting order.
    ///
    /// # Errors
    /// [`BookError::Duplicate`], [`BookError::OutOfRange`] or [`BookError::Overflow`].
    pub fn insert(&mut self, order: Resting) -> Result<(), BookError> {
        if self.index.contains_key(&order.order_id) {
            return Err(BookError::Duplicate(order.order_id));
        }
        if !order.price.is_valid() || !order.leaves.is_valid() {
            return Err(BookError::OutOfRange(order.order_id));
        }
        let present = self.levels(order.side).get(&order.price).map_or(Qty::ZERO, |queue| queue.total);
        let total = present.checked_add(order.leaves).ok_or(BookError::Overflow)?;
        let queue = self.levels_mut(order.side).entry(order.price).or_default();
        queue.total = total;
        queue.orders.insert((order.priority, order.order_id), order.leaves);
        let place = Place { side: order.side, price: order.price, priority: order.priority };
        self.index.insert(order.order_id, place);
        Ok(())
    }

    /// Takes an order out and says how it stood.
    ///
    /// # Errors
    /// [`BookError::Unknown`].
    pub fn cancel(&mut self, order_id: OrderId) -> Result<Resting, BookError> {
        let order = self.get(order_id).ok_or(BookError::Unknown(order_id))?;
        self.shrink(&order, order.leaves);
        Ok(order)
    }

    /// Fills `qty` lots of an order and says what is left of it; at 0 it is gone. Its priority stays.
    ///
    /// # Errors
    /// [`BookError::Unknown`], [`BookError::OutOfRange`] or [`BookError::Overfilled`].
    pub fn fill(&mut self, order_id: OrderId, qty: Qty) -> Result<Qty, BookError> {
        let order = self.get(order_id).ok_or(BookError::Unknown(order_id))?;
        if !qty.is_valid() {
            return Err(BookError::OutOfRange(order_id));
        }
        let left = order.leaves.checked_sub(qty).filter(|left| *left >= Qty::ZERO);
        let left = left.ok_or(BookError::Overfilled { order_id, leaves: order.leaves })?;
        self.shrink(&order, qty);
        Ok(left)
    }

    /// One order.
    #[must_use]
    pub fn get(&self, order_id: OrderId) -> Option<Resting> {
        let Place { side, price, priority } = *self.index.get(&order_id)?;
        let leaves = *self.levels(side).get(&price)?.orders.get(&(priority, order_id))?;
        Some(Resting { order_id, side, price, leaves, priority })
    }

    /// The first order of a side.
    #[must_use]
    pub fn best(&self, side: Side) -> Option<Resting> {
        self.iter(side).next()
    }

    /// A side's orders in priority order: best price first, then lowest priority, then lowest id.
    pub fn iter(&self, side: Side) -> impl Iterator<Item = Resting> + '_ {
        best_first(self.levels(side), side).flat_map(move |(price, queue)| {
            queue.orders.iter().map(move |((priority, order_id), leaves)| Resting {
                order_id: *order_id,
                side,
                price: *price,
                leaves: *leaves,
                priority: *priority,
            })
        })
    }

    /// What a taker on `taker` may hit at `limit` or better (`None`: at any price), in priority order.
    pub fn crossing(&self, taker: Side, limit: Option<Price>) -> impl Iterator<Item = Resting> + '_ {
        self.iter(taker.opposite()).take_while(move |resting| crosses(taker, limit, resting.price))
    }

    /// The first `n` levels of a side, best first.
    pub fn depth(&self, side: Side, n: usize) -> impl Iterator<Item = Level> + '_ {
        best_first(self.levels(side), side).take(n).map(|(price, queue)| Level {
            price: *price,
            qty: queue.total,
            orders: queue.orders.len(),
        })
    }

    fn levels(&self, side: Side) -> &Levels {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn levels_mut(&mut self, side: Side) -> &mut Levels {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// `order` is as it stands in the book, and `by` at most its leaves.
    fn shrink(&mut self, order: &Resting, by: Qty) {
        let levels = self.levels_mut(order.side);
        let Some(queue) = levels.get_mut(&order.price) else { return };
        let key = (order.priority, order.order_id);
        queue.total = Qty(queue.total.0 - by.0);
        let gone = order.leaves == by;
        if gone {
            queue.orders.remove(&key);
            if queue.orders.is_empty() {
                levels.remove(&order.price);
            }
            self.index.remove(&order.order_id);
        } else {
            queue.orders.insert(key, Qty(order.leaves.0 - by.0));
        }
    }
}

/// Whether a taker on `side` with this limit (`None`: any price) trades at `price`.
#[must_use]
pub fn crosses(side: Side, limit: Option<Price>, price: Price) -> bool {
    match (side, limit) {
        (_, None) => true,
        (Side::Buy, Some(limit)) => price <= limit,
        (Side::Sell, Some(limit)) => price >= limit,
    }
}

/// Levels in the order in which a taker meets them.
fn best_first(levels: &Levels, side: Side) -> impl Iterator<Item = (&Price, &Queue)> {
    let (bids, asks) = match side {
        Side::Buy => (Some(levels.iter().rev()), None),
        Side::Sell => (None, Some(levels.iter())),
    };
    bids.into_iter().flatten().chain(asks.into_iter().flatten())
}
