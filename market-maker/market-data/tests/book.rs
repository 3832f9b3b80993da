//! The book against a naive venue that remembers what its book was at every update id.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quorate_domain::{Price, Qty, RefPrice, Side};
use quorate_market_data::{Applied, Bounds, Delta, Gap, L2Book, Level, MarketEvent, Snapshot, State, Top};

fn level(price: i64, qty: i64) -> Level {
    Level { price: Price(price), qty: Qty(qty) }
}

fn levels(given: &[(i64, i64)]) -> Vec<Level> {
    given.iter().map(|(price, qty)| level(*price, *qty)).collect()
}

fn snapshot(last: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> MarketEvent {
    MarketEvent::Snapshot(Snapshot { last, partial: false, bids: levels(bids), asks: levels(asks) })
}

fn partial(last: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> MarketEvent {
    MarketEvent::Snapshot(Snapshot { last, partial: true, bids: levels(bids), asks: levels(asks) })
}

fn delta(first: u64, last: u64, bids: &[(i64, i64)], asks: &[(i64, i64)]) -> MarketEvent {
    MarketEvent::Delta(Delta { first, last, previous: None, bids: levels(bids), asks: levels(asks) })
}

fn seen(book: &L2Book, side: Side) -> Vec<(i64, i64)> {
    book.levels(side).map(|level| (level.price.0, level.qty.0)).collect()
}

#[test]
fn deltas_that_come_before_the_snapshot_follow_on_it() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&delta(8, 10, &[(90, 1)], &[])), Applied::Waits);
    assert_eq!(book.apply(&delta(11, 13, &[(99, 5)], &[])), Applied::Waits);
    assert_eq!(book.apply(&delta(14, 14, &[], &[(102, 0)])), Applied::Waits);
    assert_eq!((book.state(), book.mid(), book.waiting()), (State::Waiting, None, 3));
    let applied = book.apply(&snapshot(12, &[(98, 2), (99, 4)], &[(102, 1), (101, 3)]));
    assert_eq!(applied, Applied::Synced { followed: 2 });
    assert_eq!(book.state(), State::Synced { at: 14, partial: false });
    assert_eq!(seen(&book, Side::Buy), [(99, 5), (98, 2)]);
    assert_eq!(seen(&book, Side::Sell), [(101, 3)]);
    assert_eq!((book.mid(), book.spread(), book.waiting()), (Some(RefPrice(200)), Some(2), 0));
}

#[test]
fn a_gap_ends_the_book_until_the_next_snapshot_and_says_so() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&snapshot(10, &[(99, 1)], &[(101, 1)])), Applied::Synced { followed: 0 });
    let gap = Gap { at: 10, after: 11 };
    assert_eq!(book.apply(&delta(12, 12, &[(100, 1)], &[])), Applied::Gap(gap));
    assert_eq!((book.state(), book.best(Side::Buy), book.best(Side::Sell)), (State::Broken(gap), None, None));
    assert_eq!(
        gap.to_string(),
        "the book stands at update 10, and the next message begins after 11: what lies between is missing"
    );
    assert_eq!(book.apply(&delta(13, 14, &[(98, 7)], &[])), Applied::Waits);
    // One that is older than what waits does not help; a later one does, and what waited follows.
    assert_eq!(book.apply(&snapshot(10, &[(99, 1)], &[])), Applied::SnapshotTooOld(gap));
    assert_eq!(book.state(), State::Broken(gap));
    assert_eq!(book.apply(&snapshot(12, &[(100, 1)], &[(101, 1)])), Applied::Synced { followed: 1 });
    assert_eq!(seen(&book, Side::Buy), [(100, 1), (98, 7)]);
}

#[test]
fn a_gap_among_what_waits_is_a_gap() {
    let mut book = L2Book::default();
    for (first, last) in [(11, 12), (14, 15), (16, 17)] {
        assert_eq!(book.apply(&delta(first, last, &[(5, 1)], &[])), Applied::Waits);
    }
    assert_eq!(book.apply(&snapshot(10, &[], &[])), Applied::Gap(Gap { at: 12, after: 13 }));
    assert_eq!(book.waiting(), 2);
    assert_eq!(book.clone().apply(&snapshot(13, &[], &[])), Applied::Synced { followed: 2 });
    // One that some of them are older than, and the next does not follow on, is too old.
    assert_eq!(book.apply(&delta(20, 21, &[], &[])), Applied::Waits);
    assert_eq!(book.apply(&snapshot(18, &[], &[])), Applied::SnapshotTooOld(Gap { at: 18, after: 19 }));
    assert_eq!(book.apply(&snapshot(19, &[], &[])), Applied::Synced { followed: 1 });
}

#[test]
fn what_the_book_has_already_changes_nothing() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&snapshot(10, &[(99, 1)], &[])), Applied::Synced { followed: 0 });
    let before = book.clone();
    assert_eq!(book.apply(&delta(1, 10, &[(99, 0)], &[])), Applied::Old);
    assert_eq!(book.apply(&snapshot(9, &[(1, 1)], &[])), Applied::Old);
    let top = MarketEvent::Top(Top { update_id: 99, bid: level(1, 1), ask: level(2, 1) });
    assert_eq!(book.apply(&top), Applied::NotOfTheBook);
    assert_eq!(book.apply(&MarketEvent::Reference(RefPrice(5))), Applied::NotOfTheBook);
    assert_eq!(book.levels(Side::Buy).collect::<Vec<_>>(), before.levels(Side::Buy).collect::<Vec<_>>());
    assert_eq!(book.state(), before.state());
}

#[test]
fn a_stream_of_partial_snapshots_is_a_book_until_deltas_come() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&partial(10, &[(99, 1)], &[(101, 1)])), Applied::Synced { followed: 0 });
    assert_eq!(book.apply(&partial(9, &[(98, 1)], &[])), Applied::Old);
    assert_eq!(book.apply(&partial(11, &[(97, 1)], &[(101, 1)])), Applied::Synced { followed: 0 });
    assert_eq!(book.state(), State::Synced { at: 11, partial: true });
    assert_eq!(seen(&book, Side::Buy), [(97, 1)]);
    // What lies beyond a partial book is unknown, so that no delta follows on it.
    assert_eq!(book.apply(&delta(12, 12, &[(96, 1)], &[])), Applied::Waits);
    assert_eq!(book.apply(&partial(12, &[(97, 1)], &[])), Applied::Old);
    assert_eq!(book.state(), State::Waiting);
    assert_eq!(book.apply(&snapshot(11, &[(97, 1)], &[])), Applied::Synced { followed: 1 });
    assert_eq!(seen(&book, Side::Buy), [(97, 1), (96, 1)]);
    // A source that begins anew may be of either kind.
    book.end();
    assert_eq!(book.apply(&partial(3, &[(95, 1)], &[])), Applied::Synced { followed: 0 });
    assert_eq!(seen(&book, Side::Buy), [(95, 1)]);
}

#[test]
fn a_crossed_book_is_told_and_has_no_middle() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&snapshot(1, &[(100, 1)], &[(100, 1)])), Applied::CrossedSnapshot);
    assert_eq!(book.state(), State::Waiting);
    assert_eq!(book.apply(&snapshot(1, &[(100, 1)], &[(101, 1)])), Applied::Synced { followed: 0 });
    assert_eq!((book.is_crossed(), book.mid()), (false, Some(RefPrice(201))));
    assert_eq!(book.apply(&delta(2, 2, &[(102, 1)], &[])), Applied::Changed);
    assert_eq!((book.is_crossed(), book.mid(), book.spread()), (true, None, None));
    assert_eq!(book.apply(&delta(3, 3, &[(102, 0)], &[])), Applied::Changed);
    assert_eq!((book.is_crossed(), book.spread()), (false, Some(1)));
}

#[test]
fn depth_is_summed_over_levels_and_up_to_a_price() {
    let mut book = L2Book::default();
    let asks = [(101, 2), (102, 3), (105, i64::MAX), (106, i64::MAX)];
    assert_eq!(book.apply(&snapshot(1, &[(99, 4), (97, 6)], &asks)), Applied::Synced { followed: 0 });
    assert_eq!((book.depth(Side::Sell, 0), book.depth(Side::Sell, 2), book.depth(Side::Buy, 9)), (0, 5, 10));
    assert_eq!(book.depth(Side::Sell, 4), 5 + 2 * i128::from(i64::MAX));
    assert_eq!((book.depth_to(Side::Sell, Price(104)), book.depth_to(Side::Buy, Price(98))), (5, 4));
    assert_eq!((book.qty_at(Side::Sell, Price(102)), book.qty_at(Side::Sell, Price(103))), (Qty(3), Qty(0)));
    assert_eq!(book.levels(Side::Sell).len(), 4);
}

#[test]
fn numbers_that_begin_anew_do_not_block_the_next_snapshot() {
    let mut book = L2Book::default();
    assert_eq!(book.apply(&delta(1_000, 1_001, &[(5, 1)], &[])), Applied::Waits);
    assert_eq!(book.apply(&delta(3, 4, &[(6, 1)], &[])), Applied::Waits);
    assert_eq!(book.apply(&snapshot(2, &[], &[])), Applied::Synced { followed: 1 });
    book.end();
    assert_eq!((book.state(), book.best(Side::Buy)), (State::Waiting, None));
    assert_eq!(book.apply(&snapshot(1, &[], &[])), Applied::Synced { followed: 0 });
}

#[test]
fn what_waits_is_bounded_and_what_was_dropped_is_missed() {
    let mut book = L2Book::new(Bounds { levels: 10, waiting_levels: 10 });
    for id in 1..=20 {
        assert_eq!(book.apply(&delta(id, id, &[(5, 1)], &[])), Applied::Waits);
    }
    assert_eq!(book.waiting(), 5, "a delta of one level counts two");
    assert_eq!(book.apply(&snapshot(3, &[], &[])), Applied::SnapshotTooOld(Gap { at: 3, after: 15 }));
    assert_eq!(book.apply(&snapshot(15, &[], &[])), Applied::Synced { followed: 5 });
}

/// What a venue's book was after each update id.
type Sides = [BTreeMap<i64, i64>; 2];

struct Venue {
    history: Vec<(u64, Sides)>,
    deltas: Vec<Delta>,
}

/// A change: which side, how far from the middle, how much, and how many ids lie before it (futures).
type Change = (bool, i64, i64, u64);

impl Venue {
    /// Makes the changes, and a delta of each `sizes` of them.
    fn new(changes: &[Change], sizes: &[usize], futures: bool) -> Self {
        let mut venue = Self { history: vec![(100, Sides::default())], deltas: Vec::new() };
        let (mut changes, mut at, mut previous) = (changes.iter(), 100, 100);
        for size in sizes.iter().cycle() {
            let mut made =
                Delta { first: 0, last: 0, previous: futures.then_some(previous), bids: vec![], asks: vec![] };
            for (buy, distance, qty, skipped) in changes.by_ref().take(*size) {
                at += 1 + if futures { *skipped } else { 0 };
                let mut sides = venue.history.last().expect("one").1.clone();
                let (side, price) = if *buy { (0, 1_000 - distance) } else { (1, 1_001 + distance) };
                if *qty == 0 {
                    sides[side].remove(&price)
                } else {
                    sides[side].insert(price, *qty)
                };
                venue.history.push((at, sides));
                if *buy { &mut made.bids } else { &mut made.asks }.push(level(price, *qty));
                made.first = if made.first == 0 { at } else { made.first };
                made.last = at;
            }
            if made.last == 0 {
                return venue;
            }
            previous = made.last;
            venue.deltas.push(made);
        }
        venue
    }

    fn at(&self, id: u64) -> &Sides {
        &self.history.iter().rev().find(|(at, _)| *at <= id).expect("the first").1
    }

    fn snapshot(&self, last: u64) -> MarketEvent {
        let [bids, asks] = self.at(last).clone().map(|side| side.into_iter().collect::<Vec<_>>());
        snapshot(last, &bids, &asks)
    }
}

/// What happens to the next delta.
#[derive(Debug, Clone)]
enum Fate {
    Comes,
    Lost,
    Twice,
    /// Before it comes a snapshot of so many changes ago.
    AfterSnapshot(usize),
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Comes),
        1 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        2 => (0..6usize).prop_map(Fate::AfterSnapshot),
    ]
}

fn same(book: &L2Book, sides: &Sides) -> bool {
    let bids: Vec<_> = sides[0].iter().rev().map(|(price, qty)| (*price, *qty)).collect();
    let asks: Vec<_> = sides[1].iter().map(|(price, qty)| (*price, *qty)).collect();
    seen(book, Side::Buy) == bids && seen(book, Side::Sell) == asks
}

proptest! {
    /// Whatever is lost, repeated or late: a synchronised book is the venue's, and a loss is told with the next delta.
    #[test]
    fn a_synchronised_book_is_the_venues(
        changes in proptest::collection::vec((any::<bool>(), 0..12i64, 0..4i64, 0..3u64), 1..120),
        sizes in proptest::collection::vec(1..6usize, 1..6),
        fates in proptest::collection::vec(fates(), 1..60),
        futures in any::<bool>(),
    ) {
        let venue = Venue::new(&changes, &sizes, futures);
        let mut book = L2Book::default();
        let mut lost_while_synced = false;
        let mut synced_once = false;
        for (made, fate) in venue.deltas.iter().zip(fates.iter().cycle()) {
            let event = MarketEvent::Delta(made.clone());
            match fate {
                Fate::Lost => {
                    lost_while_synced |= book.is_synced();
                    continue;
                }
                Fate::AfterSnapshot(ago) => {
                    let now = venue.history.iter().position(|(at, _)| *at == made.last).expect("made");
                    let last = venue.history[now.saturating_sub(*ago)].0;
                    let applied = book.apply(&venue.snapshot(last));
                    if let Applied::Synced { .. } = applied {
                        synced_once = true;
                        lost_while_synced = false;
                    }
                    // A snapshot as new as the newest change is always enough.
                    if *ago == 0 {
                        prop_assert!(matches!(applied, Applied::Synced { .. }), "{:?}", applied);
                    }
                }
                Fate::Comes | Fate::Twice => {}
            }
            let before = book.update_id();
            let applied = book.apply(&event);
            match (before, applied) {
                (Some(_), Applied::Gap(_)) => {
                    prop_assert!(lost_while_synced || matches!(fate, Fate::AfterSnapshot(_)));
                    lost_while_synced = false;
                }
                (Some(at), Applied::Changed) => {
                    prop_assert!(!lost_while_synced && made.last >= at, "a loss went unnoticed");
                }
                (Some(at), Applied::Old) => prop_assert!(made.last <= at),
                (None, Applied::Waits) => {}
                other => prop_assert!(false, "{:?}", other),
            }
            if let Fate::Twice = fate {
                let known = book.update_id();
                let again = book.apply(&event);
                prop_assert_eq!(again, if known.is_some() { Applied::Old } else { Applied::Waits });
                prop_assert_eq!(book.update_id(), known);
            }
            if let Some(at) = book.update_id() {
                prop_assert!(same(&book, venue.at(at)), "at {}", at);
                prop_assert!(!book.is_crossed());
            } else {
                prop_assert!(same(&book, &Sides::default()) && book.mid().is_none());
            }
        }
        let newest = venue.history.last().expect("one").0;
        if !book.is_synced() || synced_once {
            let _ = book.apply(&venue.snapshot(newest));
            prop_assert_eq!(book.update_id(), Some(newest));
            prop_assert!(same(&book, venue.at(newest)));
        }
    }

    /// A bounded book is what is left of a naive one from which the farthest levels are taken after each delta.
    #[test]
    fn a_bounded_book_drops_what_is_farthest(
        changes in proptest::collection::vec((any::<bool>(), 0..12i64, 0..4i64), 1..80),
        max in 1..6usize,
    ) {
        let mut book = L2Book::new(Bounds { levels: max, ..Bounds::default() });
        prop_assert_eq!(book.apply(&snapshot(0, &[], &[])), Applied::Synced { followed: 0 });
        let (mut naive, mut dropped) = (Sides::default(), 0);
        for (id, (buy, distance, qty)) in (1..).zip(&changes) {
            let (side, price) = if *buy { (0, 1_000 - distance) } else { (1, 1_001 + distance) };
            if *qty == 0 { naive[side].remove(&price) } else { naive[side].insert(price, *qty) };
            if naive[side].len() > max {
                if *buy { naive[side].pop_first() } else { naive[side].pop_last() };
                dropped += 1;
            }
            let one = [(price, *qty)];
            let (bids, asks): (&[_], &[_]) = if *buy { (&one, &[]) } else { (&[], &one) };
            prop_assert_eq!(book.apply(&delta(id, id, bids, asks)), Applied::Changed);
            prop_assert!(same(&book, &naive));
            prop_assert_eq!(book.dropped_levels(), dropped);
        }
    }

    /// Whatever comes, nothing panics, and what the book shows hangs together.
    #[test]
    fn a_book_is_total(events in proptest::collection::vec(wild(), 0..40)) {
        let mut book = L2Book::new(Bounds { levels: 3, waiting_levels: 8 });
        for event in &events {
            let _ = book.apply(event);
            for side in Side::BOTH {
                prop_assert!(book.levels(side).len() <= 3);
                prop_assert!(book.levels(side).all(|level| level.price > Price(0) && level.qty > Qty(0)));
                prop_assert_eq!(book.best(side), book.levels(side).next());
                prop_assert!(book.is_synced() || book.best(side).is_none());
                prop_assert!(book.depth(side, 2) <= book.depth(side, 3));
                let _ = book.depth_to(side, Price(i64::MIN));
            }
            prop_assert_eq!(book.mid().is_some_and(|mid| !mid.is_valid()), false);
            prop_assert!(!(book.is_crossed() && book.mid().is_some()));
        }
    }
}

fn wild() -> impl Strategy<Value = MarketEvent> {
    let number = || prop_oneof![0..6u64, Just(u64::MAX), Just(u64::MAX - 1)];
    let amount = || prop_oneof![-1..6i64, Just(i64::MAX), Just(i64::MIN)];
    let side = move || proptest::collection::vec((amount(), amount()).prop_map(|(price, qty)| level(price, qty)), 0..5);
    prop_oneof![
        (number(), any::<bool>(), side(), side())
            .prop_map(|(last, partial, bids, asks)| MarketEvent::Snapshot(Snapshot { last, partial, bids, asks })),
        (number(), number(), proptest::option::of(number()), side(), side()).prop_map(
            |(first, last, previous, bids, asks)| MarketEvent::Delta(Delta { first, last, previous, bids, asks })
        ),
    ]
}
