//! Single rules of the maker's loop, each by one example.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod keep;
mod lease;
mod maker;
mod prices;

use maker::{INCARNATION, Maker, config, fresh, kept, ms, renewed, symbol};
use quorate_domain::{Exposure, Millis, OrderType, Position, Price, Qty, Side, TimeInForce};
use quorate_ledger::{Answer, Command, Event, OrderStatus, QuoteCause, QuoteEndReason, Refusal, Turn};
use quorate_quoter::{Config, Input, InvalidConfig, Quoter};

#[test]
fn a_fill_is_answered_at_once_with_a_quote_computed_from_it() {
    let mut maker = Maker::quoting();
    maker.fill(8, 4, 1);
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.position_seq, place.basis.computed_at), (QuoteCause::Fill, 1, 8));
    assert_eq!(place.bid.unwrap().price, Price(994), "the skew of four lots");
    assert_eq!((place.epoch, place.incarnation, place.quote_seq, place.allow_reduced), (1, INCARNATION, 2, true));
}

#[test]
fn what_happens_while_a_quote_is_in_flight_is_merged_and_the_latest_wins() {
    let mut maker = Maker::quoting();
    maker.fill(8, 1, 1);
    let (id, _) = maker.placed();
    maker.fill(9, 2, 2);
    maker.fill(10, 12, 3);
    maker.give(fresh(1_100));
    assert!(maker.submitted.is_empty());
    maker.refuse(id, 11, Refusal::StalePosition { position_seq: 3, position: Position(12) });
    let (_, place) = maker.placed();
    assert_eq!((place.position_seq, place.bid.unwrap().price), (3, Price(1_100 - 3 - 5)));
}

#[test]
fn after_two_stale_positions_in_a_row_it_pulls_and_then_places() {
    let mut maker = Maker::quoting();
    maker.fill(8, 1, 1);
    let (id, _) = maker.placed();
    maker.refuse(id, 10, Refusal::StalePosition { position_seq: 2, position: Position(2) });
    let (id, place) = maker.placed();
    assert_eq!((place.position_seq, place.basis.computed_at), (2, 10));
    maker.refuse(id, 12, Refusal::StalePosition { position_seq: 3, position: Position(3) });
    let (id, pull) = maker.only();
    assert!(matches!(pull, Command::PullQuote(pull) if pull.epoch == 1));
    maker.accept(id, 13, Answer::QuotePulled { quote_id: Some(7) });
    let (_, place) = maker.placed();
    assert_eq!(place.position_seq, 3);
}

#[test]
fn a_position_that_arrives_late_does_not_undo_a_newer_one() {
    let mut maker = Maker::quoting();
    maker.fill(8, 1, 1);
    let (id, _) = maker.placed();
    maker.refuse(id, 12, Refusal::StalePosition { position_seq: 3, position: Position(9) });
    let (id, _) = maker.placed();
    maker.fill(9, 2, 2);
    maker.fill(10, 9, 3);
    maker.accept_quote(id, 13);
    assert!(maker.submitted.is_empty(), "nothing new was learnt");
}

#[test]
fn a_fill_heard_of_twice_brings_one_quote() {
    // The refusal of a quote tells of the fill first; that it used up the old quote comes later, by the stream.
    let mut maker = Maker::quoting();
    maker.give(fresh(1_100));
    let (id, _) = maker.placed();
    maker.refuse(id, 9, Refusal::StalePosition { position_seq: 1, position: Position(10) });
    let (id, place) = maker.placed();
    assert_eq!((place.cause, place.position_seq), (QuoteCause::Fill, 1));
    maker.fill(8, 10, 1);
    let (released_long, released_short) = (Exposure(0), Exposure(0));
    let reason = QuoteEndReason::Filled;
    maker.frame(9, vec![Event::QuoteEnded { symbol: symbol(), quote_id: 7, released_long, released_short, reason }]);
    maker.accept_quote(id, 10);
    assert!(maker.submitted.is_empty(), "nothing new was learnt: {:?}", maker.submitted);
}

#[test]
fn the_reference_price_counts_beyond_the_tolerance() {
    let mut maker = Maker::quoting();
    maker.give(fresh(1_003));
    assert!(maker.submitted.is_empty());
    maker.give(fresh(996));
    let (_, place) = maker.placed();
    assert_eq!((place.cause, place.ask.unwrap().price), (QuoteCause::ReferenceMoved, Price(1_001)));
}

#[test]
fn a_quote_is_refreshed_within_five_seconds() {
    let mut maker = Maker::quoting();
    maker.pass(ms(3_900));
    maker.renew();
    assert!(maker.submitted.is_empty());
    maker.pass(ms(200));
    let (_, keep) = maker.kept();
    assert_eq!(keep.quote_id, 7);
}

#[test]
fn without_a_fresh_reference_price_the_quote_is_pulled() {
    let mut maker = Maker::quoting();
    let mut index = 8;
    while !maker.submitted.iter().any(|(_, command)| matches!(command, Command::PullQuote(_))) {
        maker.now += ms(50);
        maker.give(Input::Timer);
        // The refresh of the fourth second is accepted.
        if let Some((id, Command::KeepQuote(_))) = maker.submitted.last().cloned() {
            maker.submitted.pop();
            maker.accept(id, index, kept());
            index += 1;
        }
        assert!(maker.now < ms(7_000));
    }
    assert!(maker.now > ms(1_000 + 5_000));
}

#[test]
fn a_resting_order_is_stepped_behind() {
    let mut maker = Maker::quoting();
    maker.fill(8, 0, 1);
    let (id, place) = maker.placed();
    assert_eq!(place.bid.unwrap().price, Price(995));
    maker.refuse(id, 9, Refusal::CrossesResting { side: Side::Buy, price: Price(990) });
    let (_, place) = maker.placed();
    assert_eq!((place.bid.unwrap().price, place.ask.unwrap().price), (Price(989), Price(1_005)));
}

/// An order of a stranger rests, as a frame tells.
fn rests(order_id: u64, side: Side, price: i64) -> Event {
    let order = quorate_ledger::NewOrder {
        symbol: symbol(),
        account: "a".parse().unwrap(),
        client_order_id: "c".parse().unwrap(),
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        price: Some(Price(price)),
        qty: Qty(1),
        timestamp: Millis(1),
    };
    let (exchange_epoch, exec_id, status) = (3, 1, OrderStatus::New);
    let (cum_qty, leaves_qty) = (Qty(0), Qty(1));
    Event::OrderExecuted { order_id, exchange_epoch, exec_id, order, status, cum_qty, leaves_qty }
}

/// That order is cancelled.
fn cancelled(order_id: u64) -> Event {
    let (account, client_order_id) = ("a".parse().unwrap(), "c".parse().unwrap());
    let (symbol, status, cum_qty) = (symbol(), OrderStatus::Cancelled, Qty(0));
    Event::OrderClosed { order_id, symbol, account, client_order_id, status, cum_qty }
}

/// A quote ran out.
fn expired(quote_id: u64) -> Event {
    let (released_long, released_short, reason) = (Exposure(10), Exposure(10), QuoteEndReason::Expired);
    Event::QuoteEnded { symbol: symbol(), quote_id, released_long, released_short, reason }
}

#[test]
fn orders_that_are_heard_of_are_stepped_behind_without_a_refusal() {
    let mut maker = Maker::quoting();
    maker.frame(8, vec![expired(7), rests(8, Side::Sell, 990)]);
    let (id, place) = maker.placed();
    assert_eq!((place.bid.unwrap().price, place.ask.unwrap().price), (Price(989), Price(1_005)));
    maker.accept_quote(id, 9);
    maker.frame(10, vec![cancelled(8)]);
    let (id, place) = maker.placed();
    assert_eq!((place.cause, place.bid.unwrap().price), (QuoteCause::Refresh, Price(995)));
    maker.accept_quote(id, 11);
    // A buyer that bids twice the reference price: the ask cannot stand at or below it.
    maker.frame(12, vec![expired(11), rests(12, Side::Buy, 2_000)]);
    let (_, place) = maker.placed();
    assert_eq!((place.bid.unwrap().price, place.ask.unwrap().price), (Price(995), Price(2_001)));
}

#[test]
fn an_order_that_only_a_refusal_told_of_counts_until_the_stream_has_come_so_far() {
    let mut maker = Maker::quoting();
    maker.fill(8, 0, 1);
    let (id, _) = maker.placed();
    maker.refuse(id, 12, Refusal::CrossesResting { side: Side::Buy, price: Price(990) });
    let (id, place) = maker.placed();
    assert_eq!(place.bid.unwrap().price, Price(989));
    maker.accept_quote(id, 13);
    maker.frame(11, vec![rests(11, Side::Sell, 990)]);
    assert!(maker.submitted.is_empty(), "{:?}", maker.submitted);
    // What it was refused for is gone by the time that the refusal speaks of, as far as anybody knows.
    maker.frame(12, vec![cancelled(11)]);
    assert_eq!(maker.placed().1.bid.unwrap().price, Price(995));
}

#[test]
fn short_exposure_is_tried_again_after_a_growing_pause() {
    let mut maker = Maker::holding();
    let (mut id, _) = maker.placed();
    let mut pauses = Vec::new();
    for index in 7..13 {
        maker.refuse(
            id,
            index,
            Refusal::ExposureShort { long_free: quorate_domain::Exposure(0), short_free: quorate_domain::Exposure(0) },
        );
        let from = maker.now;
        maker.submitted.clear();
        while maker.submitted.iter().all(|(_, command)| !matches!(command, Command::PlaceQuote(_))) {
            maker.pass(ms(100));
        }
        maker.submitted.retain(|(_, command)| matches!(command, Command::PlaceQuote(_)));
        let (next, place) = maker.placed();
        assert_eq!(place.cause, QuoteCause::AuthorityGained);
        id = next;
        pauses.push(maker.now - from);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 1_600].map(ms));
}

#[test]
fn an_offer_is_taken_in_time_though_an_order_is_in_the_way() {
    let mut maker = Maker::holding();
    let turn = |turn| vec![Event::TurnChanged { symbol: symbol(), turn: Some(turn) }];
    let none = quorate_domain::Exposure(0);
    let (mut id, _) = maker.placed();
    for index in 7..13 {
        maker.refuse(id, index, Refusal::ExposureShort { long_free: none, short_free: none });
        maker.submitted.clear();
        while maker.submitted.iter().all(|(_, command)| !matches!(command, Command::PlaceQuote(_))) {
            maker.pass(ms(100));
        }
        maker.submitted.retain(|(_, command)| matches!(command, Command::PlaceQuote(_)));
        id = maker.placed().0;
    }
    maker.refuse(id, 13, Refusal::ExposureShort { long_free: none, short_free: none });
    maker.frame(14, turn(Turn::Waiting { since: 13 }));
    maker.submitted.clear();
    maker.frame(15, turn(Turn::Offered { until: Millis(20_000) }));
    let (id, _) = maker.placed();
    maker.refuse(id, 16, Refusal::CrossesResting { side: Side::Buy, price: Price(990) });
    let (id, place) = maker.placed();
    assert_eq!(place.bid.unwrap().price, Price(989), "at once");
    // The book has moved again: the pause is the shortest.
    maker.refuse(id, 17, Refusal::CrossesResting { side: Side::Buy, price: Price(985) });
    assert!(maker.submitted.is_empty());
    maker.pass(ms(200));
    assert_eq!(maker.placed().1.bid.unwrap().price, Price(984));
}

#[test]
fn a_symbol_that_is_to_move_is_released_at_once_and_not_believed_in() {
    let mut maker = Maker::quoting();
    let moving =
        Event::AuthorityMoving { symbol: symbol(), epoch: 1, to: Some("n".parse().unwrap()), until: Millis(9_000) };
    maker.frame(8, vec![moving]);
    let (id, release) = maker.only();
    assert!(matches!(release, Command::ReleaseSymbol(release) if release.epoch == 1));
    assert_eq!(maker.quoter.beliefs().count(), 0);
    // Calling the move off does not call a release back that is on its way.
    let kept = Event::AuthorityMoving { symbol: symbol(), epoch: 1, to: None, until: Millis(9_000) };
    maker.frame(9, vec![kept]);
    assert_eq!(maker.quoter.beliefs().count(), 0);
    maker.accept(id, 10, Answer::SymbolReleased);
    assert_eq!(maker.quoter.beliefs().count(), 0);
}

#[test]
fn a_lost_incarnation_registers_anew_and_waits_where_its_name_was_taken() {
    let refused = |present| {
        let mut maker = Maker::quoting();
        let id = maker.renewal();
        maker.refuse(id, 20, Refusal::UnknownMaker { incarnation: INCARNATION, present });
        assert_eq!(maker.quoter.beliefs().count(), 0);
        maker.submitted
    };
    assert!(matches!(&refused(None)[..], [(_, Command::RegisterMaker(_))]));
    assert!(refused(Some(17)).is_empty());
}

#[test]
fn after_a_pause_it_renews_then_reads_then_places() {
    let mut maker = Maker::quoting();
    maker.now += ms(7_000);
    maker.fill(8, 1, 1);
    let (renew, command) = maker.only();
    assert!(matches!(command, Command::RenewMaker(_)), "{command:?}");
    let reads = maker.reads.len();
    maker.accept(renew, 9, renewed(INCARNATION));
    assert_eq!(maker.reads.len(), reads + 1);
    maker.give(fresh(1_000));
    assert!(maker.submitted.is_empty());
    maker.read(10);
    assert_eq!(maker.placed().1.position_seq, 1);
}

#[test]
fn it_leaves_with_nothing_believed_and_nothing_sent_after() {
    let mut maker = Maker::quoting();
    maker.give(Input::Leave);
    assert_eq!(maker.quoter.beliefs().count(), 0);
    let (id, command) = maker.only();
    assert!(matches!(command, Command::DeregisterMaker(_)));
    maker.accept(id, 8, Answer::MakerDeregistered);
    assert!(maker.left);
    maker.fill(9, 1, 1);
    maker.pass(ms(20_000));
    assert!(maker.submitted.is_empty());
}

#[test]
fn leaving_does_not_wait_for_ever() {
    let mut maker = Maker::quoting();
    maker.give(Input::Leave);
    maker.pass(ms(8_900));
    assert!(!maker.left);
    maker.pass(ms(200));
    assert!(maker.left);
}

#[test]
fn a_field_out_of_range_is_named() {
    let refused = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        Quoter::new(config).map(|_| ()).unwrap_err().field
    };
    let _: fn(InvalidConfig) -> &'static str = |error| error.field;
    assert_eq!(refused(|config| config.lease_ttl_ms = 100), "lease_ttl_ms");
    assert_eq!(refused(|config| config.quote_ttl_ms = 30_001), "quote_ttl_ms");
    assert_eq!(refused(|config| config.refresh = ms(6_000)), "refresh_ms");
    assert_eq!(refused(|config| config.tolerance_ticks = -1), "tolerance_ticks");
}
