//! When the quote that stands is kept, and when another is placed.

use quorate_domain::{Exposure, Millis, Price, Qty, QuoteSide};
use quorate_ledger::{Answer, Digest, Event, QuoteBasis, QuoteCause, QuotePlaced, Refusal};

use crate::maker::{Maker, aged, fresh, kept, ms};

/// Another symbol's quote was granted so many lots on each side.
fn granted_elsewhere(quote_id: u64, lots: i64) -> Event {
    let side = Some(QuoteSide { price: Price(500), qty: Qty(lots) });
    Event::QuotePlaced(QuotePlaced {
        symbol: "B".parse().unwrap(),
        quote_id,
        maker: "n".parse().unwrap(),
        incarnation: 4,
        epoch: 1,
        quote_seq: 1,
        position_seq: 0,
        bid: side,
        ask: side,
        bid_asked: Qty(10),
        ask_asked: Qty(10),
        deadline: Millis(30_000),
        cause: QuoteCause::Refresh,
        basis: QuoteBasis {
            computed_at: 1,
            reference: None,
            room: None,
            strategy: "fixed-spread".parse().unwrap(),
            version: 1,
            parameters: Digest::default(),
            state: vec![],
        },
        superseded: None,
    })
}

/// A maker whose first quote was granted less than it asked for.
fn reduced() -> Maker {
    let mut maker = Maker::holding();
    let (id, _) = maker.placed();
    let (bid_qty, ask_qty, deadline) = (Qty(4), Qty(10), Millis(0));
    maker.accept(id, 7, Answer::QuotePlaced { quote_id: 7, bid_qty, ask_qty, reduced: true, deadline });
    maker
}

#[test]
fn a_quote_that_nothing_changes_keeps_its_id_at_one_command_a_refresh() {
    let mut maker = Maker::quoting();
    for index in 8..20 {
        let (id, keep) = maker.refresh();
        assert_eq!((keep.quote_id, keep.position_seq, keep.quote_seq), (7, 0, index - 6));
        assert_eq!(keep.basis.reference.unwrap().price, Price(1_000).into());
        maker.accept(id, index, kept());
        assert!(maker.submitted.is_empty(), "{:?}", maker.submitted);
    }
}

#[test]
fn a_price_within_the_tolerance_is_kept_on_and_one_beyond_it_is_not() {
    let mut maker = Maker::quoting();
    maker.give(fresh(1_003));
    maker.give(fresh(997));
    assert!(maker.submitted.is_empty());
    let (id, _) = maker.refresh();
    maker.give(fresh(1_004));
    assert!(maker.submitted.is_empty(), "one command at a time");
    maker.accept(id, 8, kept());
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.bid.unwrap().price), (QuoteCause::ReferenceMoved, Price(999)));
}

#[test]
fn what_would_give_something_away_is_placed_anew_whatever_the_tolerance() {
    // Short of 20 lots its bid is at the reference price: one tick lower, and it would buy above that.
    let mut maker = Maker::quoting();
    maker.fill(8, -20, 1);
    let (id, place) = maker.placed();
    assert_eq!((place.bid.unwrap().price, place.ask), (Price(1_000), None));
    maker.accept_quote(id, 9);
    maker.give(fresh(1_001));
    assert!(maker.submitted.is_empty(), "above the bid, and within the tolerance");
    maker.give(fresh(999));
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.bid.unwrap().price), (QuoteCause::ReferenceMoved, Price(999)));
}

#[test]
fn a_filled_quote_is_never_kept() {
    let mut maker = Maker::quoting();
    let (id, _) = maker.refresh();
    maker.fill(8, 1, 1);
    maker.refuse(id, 9, Refusal::StalePosition { position_seq: 1, position: quorate_domain::Position(1) });
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.position_seq), (QuoteCause::Fill, 1));
}

#[test]
fn what_could_not_be_kept_is_placed() {
    for refusal in [
        Refusal::ExposureShort { long_free: Exposure(0), short_free: Exposure(0) },
        Refusal::NotActive { against: quorate_ledger::Against::Quote(7) },
    ] {
        let mut maker = Maker::quoting();
        let (id, _) = maker.refresh();
        maker.refuse(id, 8, refusal);
        maker.pass(ms(100));
        let (id, place) = maker.placed();
        assert_eq!((place.cause, place.quote_seq), (QuoteCause::Refresh, 3));
        maker.accept_quote(id, 9);
        assert_eq!(maker.refresh().1.quote_id, 9, "the next one is kept again");
    }
}

#[test]
fn a_keep_whose_fate_is_unknown_is_tried_again() {
    let mut maker = Maker::quoting();
    let (id, _) = maker.refresh();
    maker.give(quorate_quoter::Input::Answered { id, answer: quorate_quoter::Answered::Unknown });
    maker.pass(ms(200));
    let (_, keep) = maker.kept();
    assert_eq!((keep.quote_id, keep.quote_seq), (7, 3));
}

#[test]
fn a_reduced_quote_asks_for_more_only_where_exposure_came_free() {
    let mut maker = reduced();
    let (id, keep) = maker.refresh();
    assert_eq!(keep.quote_id, 7);
    maker.accept(id, 8, kept());
    // Others take, and take more: nothing came free.
    maker.frame(9, vec![granted_elsewhere(9, 5)]);
    maker.frame(10, vec![granted_elsewhere(10, 6)]);
    let (id, _) = maker.refresh();
    maker.accept(id, 11, kept());
    maker.frame(12, vec![granted_elsewhere(12, 5)]);
    assert!(maker.submitted.is_empty(), "not before the refresh");
    maker.pass(ms(4_100));
    maker.renew();
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.bid.unwrap().qty), (QuoteCause::Refresh, Qty(10)));
}

#[test]
fn a_quote_on_a_price_that_is_too_old_is_not_kept() {
    let mut maker = Maker::quoting();
    maker.now += ms(4_100);
    maker.give(aged(1_000, 5_001));
    maker.renew();
    let (_, command) = maker.only();
    assert!(matches!(command, quorate_ledger::Command::PullQuote(_)), "{command:?}");
}
