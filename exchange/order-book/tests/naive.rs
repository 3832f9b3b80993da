//! The book against a naive one: a vector that is sorted whenever it is asked.

use proptest::prelude::*;
use quorate_domain::{MAX_PRICE, MAX_QTY, OrderId, Price, Qty, Side};
use quorate_order_book::{BookError, Level, OrderBook, Resting, crosses};

#[derive(Debug, Clone)]
enum Op {
    Insert(Resting),
    Cancel(OrderId),
    Fill(OrderId, Qty),
}

#[derive(Default)]
struct Naive(Vec<Resting>);

impl Naive {
    fn find(&mut self, order_id: OrderId) -> Option<&mut Resting> {
        self.0.iter_mut().find(|resting| resting.order_id == order_id)
    }

    fn apply(&mut self, op: &Op) -> Result<(), BookError> {
        match *op {
            Op::Insert(order) => {
                if self.find(order.order_id).is_some() {
                    return Err(BookError::Duplicate(order.order_id));
                }
                let fits = (1..=MAX_PRICE).contains(&order.price.0) && (1..=MAX_QTY).contains(&order.leaves.0);
                if !fits {
                    return Err(BookError::OutOfRange(order.order_id));
                }
                self.0.push(order);
            }
            Op::Cancel(order_id) => {
                self.find(order_id).ok_or(BookError::Unknown(order_id))?;
                self.0.retain(|resting| resting.order_id != order_id);
            }
            Op::Fill(order_id, qty) => {
                let resting = self.find(order_id).ok_or(BookError::Unknown(order_id))?;
                if !(1..=MAX_QTY).contains(&qty.0) {
                    return Err(BookError::OutOfRange(order_id));
                }
                if qty > resting.leaves {
                    return Err(BookError::Overfilled { order_id, leaves: resting.leaves });
                }
                resting.leaves.0 -= qty.0;
                self.0.retain(|resting| resting.leaves.0 > 0);
            }
        }
        Ok(())
    }

    fn side(&self, side: Side) -> Vec<Resting> {
        let mut orders: Vec<Resting> = self.0.iter().filter(|resting| resting.side == side).copied().collect();
        orders.sort_by(|a, b| {
            let by_price = match side {
                Side::Buy => b.price.cmp(&a.price),
                Side::Sell => a.price.cmp(&b.price),
            };
            by_price.then(a.priority.cmp(&b.priority)).then(a.order_id.cmp(&b.order_id))
        });
        orders
    }

    fn depth(&self, side: Side, n: usize) -> Vec<Level> {
        let mut levels: Vec<Level> = Vec::new();
        for order in self.side(side) {
            match levels.last_mut().filter(|level| level.price == order.price) {
                Some(level) => {
                    level.qty.0 += order.leaves.0;
                    level.orders += 1;
                }
                None => levels.push(Level { price: order.price, qty: order.leaves, orders: 1 }),
            }
        }
        levels.truncate(n);
        levels
    }
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Buy), Just(Side::Sell)]
}

fn op() -> impl Strategy<Value = Op> {
    // Few ids and prices, so that they meet; some out of range, some at its ends.
    let price =
        prop_oneof![20 => 95..106i64, 1 => Just(0), 1 => Just(-3), 1 => Just(MAX_PRICE), 1 => Just(MAX_PRICE + 1)];
    let qty = prop_oneof![20 => 1..9i64, 1 => Just(0), 1 => Just(-1), 1 => Just(MAX_QTY), 1 => Just(MAX_QTY + 1)];
    let qty = qty.prop_map(Qty).boxed();
    let insert = (1..40u64, side(), price.prop_map(Price), qty.clone(), 0..6u64)
        .prop_map(|(order_id, side, price, leaves, priority)| Resting { order_id, side, price, leaves, priority });
    prop_oneof![
        5 => insert.prop_map(Op::Insert),
        1 => (1..40u64).prop_map(Op::Cancel),
        4 => ((1..40u64), qty).prop_map(|(order_id, qty)| Op::Fill(order_id, qty)),
    ]
}

proptest! {
    #[test]
    fn equals_a_naive_book(ops in prop::collection::vec(op(), 1..200), limit in 94..107i64, n in 0..8usize) {
        let mut book = OrderBook::new();
        let mut naive = Naive::default();
        for op in ops {
            let expected = naive.apply(&op);
            let before = book.clone();
            let got = match op {
                Op::Insert(order) => book.insert(order),
                Op::Cancel(order_id) => {
                    let stood = book.get(order_id);
                    book.cancel(order_id).map(|cancelled| assert_eq!(Some(cancelled), stood))
                }
                Op::Fill(order_id, qty) => {
                    book.fill(order_id, qty).map(|left| {
                        assert_eq!(left, naive.find(order_id).map_or(Qty::ZERO, |resting| resting.leaves));
                    })
                }
            };
            prop_assert_eq!(got, expected);
            if got.is_err() {
                prop_assert_eq!(&book, &before, "a refused change leaves the book as it was");
            }
            prop_assert_eq!(book.len(), naive.0.len());
            prop_assert_eq!(book.is_empty(), naive.0.is_empty());
            for side in [Side::Buy, Side::Sell] {
                let orders = naive.side(side);
                prop_assert_eq!(book.best(side), orders.first().copied());
                prop_assert_eq!(book.iter(side).collect::<Vec<_>>(), orders.clone());
                prop_assert_eq!(book.depth(side, n).collect::<Vec<_>>(), naive.depth(side, n));
                let taker = side.opposite();
                for limit in [None, Some(Price(limit))] {
                    let hit: Vec<Resting> =
                        orders.iter().filter(|resting| crosses(taker, limit, resting.price)).copied().collect();
                    prop_assert_eq!(book.crossing(taker, limit).collect::<Vec<_>>(), hit);
                }
                for order in orders {
                    prop_assert_eq!(book.get(order.order_id), Some(order));
                }
            }
        }
    }
}

#[test]
fn a_limit_crosses_at_its_price_and_better() {
    assert!(crosses(Side::Buy, Some(Price(100)), Price(100)));
    assert!(crosses(Side::Buy, Some(Price(100)), Price(99)));
    assert!(!crosses(Side::Buy, Some(Price(100)), Price(101)));
    assert!(crosses(Side::Sell, Some(Price(100)), Price(100)));
    assert!(crosses(Side::Sell, Some(Price(100)), Price(101)));
    assert!(!crosses(Side::Sell, Some(Price(100)), Price(99)));
    assert!(crosses(Side::Buy, None, Price(MAX_PRICE)) && crosses(Side::Sell, None, Price(1)));
}
