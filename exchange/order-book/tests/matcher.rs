//! The matcher against a naive one: lot by lot, each time the best of all that is left.

use proptest::prelude::*;
use quorate_domain::{Price, Qty, Side};
use quorate_order_book::{Maker, Matched, OrderBook, Resting, SelfTrade, Stopped, Taker, match_taker};

const MODES: [SelfTrade; 4] = [SelfTrade::Allow, SelfTrade::ExpireTaker, SelfTrade::ExpireMaker, SelfTrade::ExpireBoth];

/// A maker, and whether it rests in the book or stands beside it.
type Row = (Maker<u64>, bool);

fn run(taker: &Taker, rows: &[Row]) -> Matched<u64> {
    let mut book = OrderBook::new();
    for (maker, rests) in rows {
        if *rests {
            let Maker { what, price, priority, .. } = *maker;
            // What the book shows need not be what may be taken.
            let leaves = Qty(maker.leaves.0 + 1);
            let side = taker.side.opposite();
            book.insert(Resting { order_id: what, side, price, leaves, priority }).expect("a valid order");
        }
    }
    let seen = |resting: Resting| rows.iter().find(|(maker, _)| maker.what == resting.order_id).map(|row| row.0);
    let others = rows.iter().filter(|(_, rests)| !rests).map(|row| row.0).collect();
    match_taker(taker, &book, seen, others)
}

/// What is taken of which maker, in order; which own orders end; whether the taker met one before which it ends.
fn naive(taker: &Taker, rows: &[Row]) -> (Vec<(u64, i64)>, Vec<u64>, bool) {
    let mut left: Vec<Maker<u64>> = rows.iter().map(|row| row.0).collect();
    let (mut hits, mut expired): (Vec<(u64, i64)>, Vec<u64>) = (Vec::new(), Vec::new());
    for _ in 0..taker.qty.0 {
        loop {
            let within = |maker: &&Maker<u64>| match (taker.side, taker.limit) {
                (_, None) => true,
                (Side::Buy, Some(limit)) => maker.price <= limit,
                (Side::Sell, Some(limit)) => maker.price >= limit,
            };
            let sign = if taker.side == Side::Buy { 1 } else { -1 };
            let best = left.iter().filter(|maker| maker.leaves.0 > 0).filter(within);
            let Some(best) = best.min_by_key(|maker| (sign * maker.price.0, maker.priority)).copied() else {
                return (hits, expired, false);
            };
            if hits.len() == taker.fills_max && hits.last().is_none_or(|(what, _)| *what != best.what) {
                return (hits, expired, false);
            }
            if best.own && taker.self_trade != SelfTrade::Allow {
                if taker.self_trade != SelfTrade::ExpireTaker {
                    expired.push(best.what);
                }
                if taker.self_trade != SelfTrade::ExpireMaker {
                    return (hits, expired, true);
                }
                left.retain(|maker| maker.what != best.what);
                continue;
            }
            match hits.last_mut() {
                Some((what, lots)) if *what == best.what => *lots += 1,
                _ => hits.push((best.what, 1)),
            }
            for maker in left.iter_mut().filter(|maker| maker.what == best.what) {
                maker.leaves.0 -= 1;
            }
            break;
        }
    }
    (hits, expired, false)
}

prop_compose! {
    fn rows()(rows in prop::collection::vec((95..106i64, 0..6i64, any::<bool>(), any::<bool>(), any::<u8>()), 0..14))
        -> Vec<Row> {
        let mut rows: Vec<_> = rows.into_iter().zip(1..).collect();
        rows.sort_by_key(|((.., shuffle), _)| *shuffle);
        let priorities = 1..;
        rows.into_iter().zip(priorities).map(|(((price, leaves, own, rests, _), what), priority)| {
            (Maker { what, price: Price(price), leaves: Qty(leaves), priority, own }, rests)
        }).collect()
    }
}

proptest! {
    #[test]
    fn takes_what_a_naive_matcher_takes(
        rows in rows(),
        buys in any::<bool>(),
        limit in prop::option::of(94..107i64),
        qty in 1..30i64,
        fills_max in 1..8usize,
        mode in prop::sample::select(MODES.to_vec()),
    ) {
        let side = if buys { Side::Buy } else { Side::Sell };
        let taker = Taker { side, limit: limit.map(Price), qty: Qty(qty), fills_max, self_trade: mode };
        let matched = run(&taker, &rows);
        let hits: Vec<(u64, i64)> = matched.fills.iter().map(|hit| (hit.maker.what, hit.qty.0)).collect();
        let filled: i64 = hits.iter().map(|(_, lots)| lots).sum();
        let (wanted, expired, met) = naive(&taker, &rows);
        prop_assert_eq!(&hits, &wanted);
        prop_assert_eq!(&matched.expired, &expired);
        prop_assert_eq!(matched.left.0, qty - filled);
        prop_assert_eq!(matched.stopped == Stopped::SelfTrade, met);
        prop_assert_eq!(matched.stopped == Stopped::Filled, filled == qty);
        if mode != SelfTrade::Allow {
            prop_assert!(matched.fills.iter().all(|hit| !hit.maker.own), "no order of its own is hit");
        }
    }
}

fn maker(what: u64, price: i64, own: bool) -> Row {
    (Maker { what, price: Price(price), leaves: Qty(2), priority: what, own }, true)
}

#[test]
fn each_mode_ends_what_it_says() {
    let rows = [maker(1, 100, false), maker(2, 101, true), maker(3, 102, false), maker(4, 103, true)];
    let of = |self_trade, qty| {
        let taker = Taker { side: Side::Buy, limit: None, qty: Qty(qty), fills_max: 9, self_trade };
        let matched = run(&taker, &rows);
        let hit: Vec<u64> = matched.fills.iter().map(|hit| hit.maker.what).collect();
        (hit, matched.left.0, matched.stopped, matched.expired)
    };
    assert_eq!(of(SelfTrade::Allow, 6), (vec![1, 2, 3], 0, Stopped::Filled, vec![]));
    assert_eq!(of(SelfTrade::ExpireTaker, 6), (vec![1], 4, Stopped::SelfTrade, vec![]));
    assert_eq!(of(SelfTrade::ExpireBoth, 6), (vec![1], 4, Stopped::SelfTrade, vec![2]));
    assert_eq!(of(SelfTrade::ExpireMaker, 6), (vec![1, 3], 2, Stopped::NoMore, vec![2, 4]));
    // What it does not come to stays.
    assert_eq!(of(SelfTrade::ExpireMaker, 4), (vec![1, 3], 0, Stopped::Filled, vec![2]));
    assert_eq!(of(SelfTrade::ExpireTaker, 2), (vec![1], 0, Stopped::Filled, vec![]));
}

#[test]
fn more_fills_than_may_be_are_cut_short_only_where_more_would_be_hit() {
    let rows = [maker(1, 100, false), maker(2, 101, false)];
    let of = |fills_max, limit| {
        let limit = Some(Price(limit));
        run(&Taker { side: Side::Buy, limit, qty: Qty(9), fills_max, self_trade: SelfTrade::Allow }, &rows).stopped
    };
    assert_eq!(of(1, 101), Stopped::FillsMax);
    assert_eq!((of(1, 100), of(2, 101)), (Stopped::NoMore, Stopped::NoMore));
}
