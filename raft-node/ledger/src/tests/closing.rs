//! How symbols end: settled, or closed.

use super::{Rig, control, instrument, symbol};
use crate::*;
use quorate_domain::*;

const PAYS: i64 = 200;

/// With a contract that pays 200 ticks, which is quoted at 99 and 101.
fn rig() -> Rig {
    let kind = Kind::Binary { pays: Price(PAYS) };
    let contract = Instrument { base: "RAIN".parse().unwrap(), kind, max_price: Price(PAYS - 1), ..instrument(1) };
    let mut rig = Rig::new();
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("RAIN"), instrument: contract }));
    rig.define("SPOT", 1);
    rig.join("m1");
    rig.register_exchange();
    rig.place("RAIN", 10);
    rig
}

fn settle(price: i64) -> ControlChange {
    ControlChange::Settle { symbol: symbol("RAIN"), price: Price(price) }
}

#[test]
fn a_settled_position_becomes_cash_and_the_books_add_up() {
    let mut rig = rig();
    rig.take("RAIN", "o1", Side::Buy, 4);
    assert_eq!(rig.state("RAIN").position(), Position(-4));
    rig.decide(settle(PAYS));
    let state = rig.state("RAIN");
    assert_eq!((state.position(), state.position_seq), (Position(0), 2));
    let lost = super::money(4 * (101 - 200));
    assert_eq!((state.pnl.cash, state.pnl.realised, state.pnl.cost), (lost, lost, Money::ZERO));
    assert_eq!(Ledger::decode(&rig.ledger.encode()).unwrap().state_digest(), rig.ledger.state_digest());
}

#[test]
fn authority_and_orders_end_before_the_symbol_and_the_accounts_are_paid() {
    let mut rig = rig();
    rig.take("RAIN", "o1", Side::Buy, 4);
    let resting = rig.rest("RAIN", "o2", Side::Buy, 90, 1);
    rig.decide(settle(PAYS));
    let told: Vec<Event> = rig.events.iter().skip(1).cloned().collect();
    let [quote_ended, authority_ended, order_closed, closed] = told.as_slice() else { panic!("{told:?}") };
    assert!(matches!(quote_ended, Event::QuoteEnded { reason: QuoteEndReason::AuthorityEnded, .. }));
    let reason = AuthorityEndReason::SymbolClosed;
    assert!(matches!(authority_ended, Event::AuthorityEnded { reason: found, .. } if *found == reason));
    let cancelled = OrderStatus::Cancelled;
    assert!(
        matches!(order_closed, Event::OrderClosed { order_id, status, .. } if (*order_id, *status) == (resting, cancelled))
    );
    let (price, cash) = (Price(PAYS), super::money(-4 * i128::from(PAYS)));
    let settled = Some(Settlement { price, position: Position(-4), cash, position_seq: 2 });
    assert_eq!(*closed, Event::SymbolClosed { symbol: symbol("RAIN"), settled });
    let (_, alice) = rig.ledger.accounts().next().unwrap();
    let [contracts, cash] = ["RAIN", "QUOTE"].map(|asset| alice.balance(&asset.parse().unwrap()).total);
    assert_eq!((contracts, cash), (Money::ZERO, super::money(4 * i128::from(PAYS - 101))));
}

#[test]
fn what_owes_contracts_pays_for_them() {
    let mut rig = rig();
    let deposit = |amount| {
        let (account, asset) = ("alice".parse().unwrap(), "QUOTE".parse().unwrap());
        ControlChange::Deposit { account, asset, amount }
    };
    rig.decide(ControlChange::LimitAccount { account: "alice".parse().unwrap() });
    rig.decide(deposit(super::money(303)));
    rig.take("RAIN", "o1", Side::Sell, 3);
    rig.decide(settle(PAYS));
    let (_, alice) = rig.ledger.accounts().next().unwrap();
    let balance = alice.balance(&"QUOTE".parse().unwrap());
    assert_eq!((balance.total, balance.locked), (Money::ZERO, Money::ZERO), "303 + 297 - 600");
}

#[test]
fn a_symbol_that_has_ended_is_traded_no_more() {
    let mut rig = rig();
    let (quote, keep, order) = (rig.quote("RAIN", 1), rig.keep("RAIN"), rig.order("RAIN", "o1", Side::Buy, 90, 1));
    rig.decide(settle(0));
    let closed = Refusal::SymbolClosed { symbol: symbol("RAIN"), settled: Some(Price(0)) };
    for command in [Command::PlaceQuote(quote), Command::KeepQuote(keep), Command::ExecuteOrder(order)] {
        assert_eq!(rig.refused(command), closed);
        assert!(rig.events.is_empty());
    }
    rig.join("m2");
    assert_eq!(rig.holder("RAIN"), None);
    let next = rig.state("RAIN").instrument.clone();
    let change = ControlChange::Instrument { symbol: symbol("RAIN"), instrument: next, revision: 2 };
    assert_eq!(rig.refused(control(change, 1)), closed);
    assert_eq!(rig.mark("RAIN", 200, rig.now), Answer::MarksPublished { counted: 0, waiting: 0, ignored: 1 });
    let (symbol, instrument) = (symbol("RAIN"), rig.state("RAIN").instrument.clone());
    let again = Command::DefineSymbol(DefineSymbol { symbol, instrument });
    assert_eq!(rig.ok(again), Answer::SymbolDefined { existed: true }, "its record stays");
}

#[test]
fn settling_is_done_once() {
    let mut rig = rig();
    for price in [1, PAYS - 1, PAYS + 1, -1] {
        assert!(matches!(rig.refused(control(settle(price), 0)), Refusal::Invalid { .. }), "{price}");
    }
    let spot = ControlChange::Settle { symbol: symbol("SPOT"), price: Price(0) };
    assert!(matches!(rig.refused(control(spot, 0)), Refusal::Invalid { .. }));
    let unknown = ControlChange::Settle { symbol: symbol("XXX"), price: Price(0) };
    assert!(matches!(rig.refused(control(unknown, 0)), Refusal::UnknownSymbol { .. }));
    rig.take("RAIN", "o1", Side::Buy, 4);
    rig.decide(settle(PAYS));
    let cash = rig.state("RAIN").pnl.cash;
    rig.decide(settle(PAYS));
    assert_eq!(rig.events.len(), 1, "accepted, and nothing but ControlChanged");
    assert_eq!((rig.state("RAIN").pnl.cash, rig.ledger.control().version), (cash, 2));
    let closed = Refusal::SymbolClosed { symbol: symbol("RAIN"), settled: Some(Price(PAYS)) };
    assert_eq!(rig.refused(control(settle(0), 2)), closed);
}

#[test]
fn a_spot_symbol_is_closed_and_keeps_its_position() {
    let mut rig = rig();
    rig.place("SPOT", 5);
    rig.mark("SPOT", 200, rig.now);
    rig.take("SPOT", "o1", Side::Buy, 4);
    let close = |name: &str| ControlChange::CloseSymbol { symbol: symbol(name) };
    assert!(matches!(rig.refused(control(close("RAIN"), 0)), Refusal::Invalid { .. }));
    assert!(matches!(rig.refused(control(close("XXX"), 0)), Refusal::UnknownSymbol { .. }));
    rig.decide(close("SPOT"));
    assert_eq!(rig.events.last(), Some(&Event::SymbolClosed { symbol: symbol("SPOT"), settled: None }));
    assert_eq!((rig.state("SPOT").position(), rig.holder("SPOT")), (Position(-4), None));
    rig.decide(close("SPOT"));
    assert_eq!(rig.events.len(), 1);
    rig.tick_at(rig.now + crate::bounds::MARK_AGE_MAX_MS);
    let equity = rig.ledger.equity(&"QUOTE".parse().unwrap());
    assert_eq!((equity.equity, equity.unmarked_since), (super::money(4), None), "it stays at its last mark");
}
