//! How symbols end: settled, or closed.

use super::{Rig, instrument, symbol};
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
