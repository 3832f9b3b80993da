//! The next revision of an instrument: what may change, and when.

use super::{Rig, control, instrument, side, symbol};
use crate::*;
use quorate_domain::*;

fn contract(tick: &str, pays: i64) -> Instrument {
    let kind = Kind::Binary { pays: Price(pays) };
    Instrument { tick_size: tick.parse().unwrap(), kind, max_price: Price(pays - 1), ..instrument(1) }
}

/// With a symbol of these terms, and an exchange.
fn rig(instrument: Instrument) -> Rig {
    let mut rig = Rig::new();
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("AAA"), instrument }));
    rig.register_exchange();
    rig
}

fn revise(rig: &mut Rig, next: Instrument, revision: u64) -> Result<(), Refusal> {
    let change = ControlChange::Instrument { symbol: symbol("AAA"), instrument: next, revision };
    match rig.send(control(change, rig.ledger.control().version)) {
        Outcome::Accepted(_) => Ok(()),
        Outcome::Refused(refusal) => Err(refusal),
    }
}

#[test]
fn a_contract_pays_the_same_amount_in_every_tick() {
    let mut rig = rig(contract("0.01", 200));
    assert!(matches!(revise(&mut rig, contract("0.005", 200), 2), Err(Refusal::Invalid { .. })));
    assert_eq!(revise(&mut rig, contract("0.005", 400), 2), Ok(()));
    assert_eq!(revise(&mut rig, contract("0.02", 100), 3), Ok(()));
    assert_eq!(rig.state("AAA").revision, 3);
}

#[test]
fn what_a_revision_may_not_change() {
    let mut rig = rig(instrument(1));
    let asset = |name: &str| name.parse().unwrap();
    for other in [
        Instrument { base: asset("OTHER"), ..instrument(1) },
        Instrument { quote: asset("OTHER"), ..instrument(1) },
        Instrument { lot_size: "0.002".parse().unwrap(), ..instrument(1) },
        Instrument { kind: Kind::Binary { pays: Price(200) }, max_price: Price(199), ..instrument(1) },
        Instrument { exposure_per_lot: 0, ..instrument(1) },
    ] {
        assert!(matches!(revise(&mut rig, other, 2), Err(Refusal::Invalid { .. })));
    }
    let next = Instrument { taker_fee_ppm: 5, ..instrument(1) };
    assert_eq!(revise(&mut rig, next.clone(), 3), Err(Refusal::StaleRevision { revision: 1 }));
    assert_eq!(revise(&mut rig, next.clone(), 2), Ok(()));
    assert_eq!(rig.state("AAA").instrument, next);
}

#[test]
fn nothing_of_the_symbol_may_be_under_way() {
    let mut rig = rig(instrument(1));
    let busy = Err(Refusal::SymbolBusy { symbol: symbol("AAA") });
    let next = || Instrument { taker_fee_ppm: 5, ..instrument(1) };
    rig.join("m1");
    rig.place("AAA", 1);
    assert_eq!(revise(&mut rig, next(), 2), busy);
    rig.pull("AAA");
    let order = rig.rest("AAA", "o1", Side::Buy, 99, 1);
    assert_eq!(revise(&mut rig, next(), 2), busy);
    let (exchange_epoch, account) = (rig.ledger.exchange().unwrap().epoch, "alice".parse().unwrap());
    rig.ok(Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id: order }));
    rig.define("BBB", 1);
    rig.join("m2");
    let moves = if rig.moving_to("AAA").is_some() { "AAA" } else { "BBB" };
    let change = ControlChange::Instrument { symbol: symbol(moves), instrument: next(), revision: 2 };
    let refused = rig.refused(control(change, rig.ledger.control().version));
    assert_eq!(refused, Refusal::SymbolBusy { symbol: symbol(moves) });
}

#[test]
fn quotes_and_orders_name_the_revision() {
    let mut rig = rig(instrument(1));
    rig.join("m1");
    let quote = rig.quote("AAA", 1);
    let order = rig.order("AAA", "o1", Side::Buy, 90, 1);
    assert_eq!(revise(&mut rig, Instrument { taker_fee_ppm: 5, ..instrument(1) }, 2), Ok(()));
    let stale = Refusal::StaleRevision { revision: 2 };
    assert_eq!(rig.refused(Command::PlaceQuote(quote.clone())), stale);
    assert!(rig.events.is_empty(), "no event of a quote for another instrument");
    assert_eq!(rig.refused(Command::ExecuteOrder(order)), stale);
    rig.ok(Command::PlaceQuote(PlaceQuote { revision: 2, ..quote }));
    let keep = KeepQuote { revision: 1, ..rig.keep("AAA") };
    assert_eq!(rig.refused(Command::KeepQuote(keep)), stale);
}

#[test]
fn marks_are_told_in_the_half_ticks_of_the_new_tick() {
    let mut rig = rig(instrument(1));
    rig.mark("AAA", 201, rig.now);
    let tick = |tick: &str| Instrument { tick_size: tick.parse().unwrap(), ..instrument(1) };
    assert!(matches!(revise(&mut rig, tick("0.02"), 2), Err(Refusal::Invalid { .. })), "201 is odd");
    assert_eq!(revise(&mut rig, tick("0.005"), 2), Ok(()));
    assert_eq!(rig.state("AAA").marks.counted.map(|mark| mark.price), Some(RefPrice(402)));
    rig.join("m1");
    rig.ok(Command::PlaceQuote(PlaceQuote { bid: Some(side(199, 1)), ask: None, ..rig.quote("AAA", 1) }));
}
