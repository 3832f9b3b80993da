//! An audit that finds nothing wrong is worth something only if it finds what is wrong.

use super::{Rig, maker, symbol};
use crate::{
    names::ClosedName,
    state::{Order, Tables},
    *,
};
use quorate_domain::*;

/// Two makers, a quote, resting orders, a demand, a symbol that waits for its turn, a move, kept answers.
fn busy() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA", "BBB", "CCC"]);
    rig.join("m1");
    rig.register_exchange();
    rig.place("AAA", 90);
    rig.rest("AAA", "o1", Side::Buy, 90, 5);
    rig.rest("AAA", "o2", Side::Sell, 110, 5);
    rig.take("AAA", "o3", Side::Buy, 4);
    assert!(rig.ask_for("BBB", 20, 0).is_ok());
    assert!(rig.ask_for("CCC", 20, 0).is_err());
    rig.join("m2");
    rig
}

#[test]
fn damage_is_found() {
    let state = |tables: &mut Tables, change: fn(&mut SymbolState)| {
        change(tables.symbols.get_mut(&symbol("AAA")).unwrap());
    };
    let waiting = |tables: &mut Tables, change: fn(&mut Demand)| {
        change(&mut tables.symbols.get_mut(&symbol("CCC")).unwrap().demand);
    };
    let order = |tables: &mut Tables, change: fn(&mut Order)| {
        let order = tables.orders.values().find(|order| order.status.is_open()).unwrap();
        let mut order = order.as_ref().clone();
        change(&mut order);
        tables.orders.insert(order.id, std::sync::Arc::new(order));
    };
    type Damage = Box<dyn Fn(&mut Tables)>;
    let quote = |change: fn(&mut Quote)| -> Damage {
        Box::new(move |tables| change(tables.symbols.get_mut(&symbol("AAA")).unwrap().quote.as_mut().unwrap()))
    };
    let closed =
        |change: fn(&mut ClosedName)| -> Damage { Box::new(move |tables| change(&mut tables.names.closed[0])) };
    let damages: Vec<(&str, Damage)> = vec![
        ("limit", Box::new(|tables| tables.control.limit = Exposure(99))),
        ("limit", Box::new(|tables| tables.control.limit = Exposure(101))),
        ("bought", Box::new(move |tables| state(tables, |state| state.pnl.position = Position(1)))),
        ("quote fills", Box::new(move |tables| state(tables, |state| state.position_seq = 0))),
        ("fills in all", Box::new(|tables| tables.last_trade_id = 0)),
        ("nobody", Box::new(move |tables| state(tables, |state| state.holder = None))),
        ("present epoch", Box::new(move |tables| state(tables, |state| state.epoch += 1))),
        ("newest", Box::new(move |tables| state(tables, |state| state.quote_seq = 0))),
        ("position's limit", Box::new(move |tables| state(tables, |state| state.position_max = Some(Qty(5))))),
        ("wait for a turn", Box::new(move |tables| waiting(tables, |demand| demand.turn = None))),
        ("lots set aside", Box::new(move |tables| waiting(tables, |demand| demand.set_aside = false))),
        ("exposure held", Box::new(move |tables| waiting(tables, |demand| demand.lot.bid = Exposure(7)))),
        ("demands due", Box::new(move |tables| waiting(tables, |demand| demand.until.bid = Some(Millis(5))))),
        ("index of exposure reserved", quote(|quote| quote.sides.bid.as_mut().unwrap().leaves = Qty(1))),
        ("out of range", quote(|quote| quote.sides.bid.as_mut().unwrap().leaves = Qty(91))),
        ("less than nothing", quote(|quote| quote.sides.bid.as_mut().unwrap().leaves = Qty(-1))),
        ("crosses itself", quote(|quote| quote.sides.bid.as_mut().unwrap().price = Price(101))),
        ("a sell rests", quote(|quote| quote.sides.bid.as_mut().unwrap().price = Price(110))),
        ("a buy rests", quote(|quote| quote.sides.ask.as_mut().unwrap().price = Price(90))),
        ("position that never was", quote(|quote| quote.position_seq = 9)),
        ("index of quotes due", quote(|quote| quote.deadline = Millis(1))),
        ("quoting is off", Box::new(|tables| tables.control.symbols_off = [symbol("AAA")].into())),
        ("kill switch", Box::new(|tables| tables.control.kill_switch = true)),
        ("not registered", Box::new(|tables| assert!(tables.makers.remove(&maker("m2")).is_some()))),
        (
            "due",
            Box::new(|tables| tables.makers = tables.makers.update(maker("m3"), tables.makers[&maker("m2")].clone())),
        ),
        ("lease longer", Box::new(|tables| tables.makers.get_mut(&maker("m1")).unwrap().deadline = Millis(u64::MAX))),
        ("does not add up", Box::new(move |tables| order(tables, |order| order.cum_qty = Qty(1)))),
        ("a buy rests at 110", Box::new(move |tables| order(tables, |order| order.order.price = Some(Price(110))))),
        ("does not add up", Box::new(move |tables| order(tables, |o| o.status = OrderStatus::Cancelled))),
        ("closed order 99 does not add up", closed(|closed| closed.record.order_id = 99)),
        ("does not add up", closed(|closed| closed.record.status = OrderStatus::New)),
        ("does not add up", closed(|closed| closed.record.cum_qty = Qty::ZERO)),
        ("out of its turn", closed(|closed| closed.record.closed_at = Millis(u64::MAX))),
        ("number 7, which nobody has", closed(|closed| closed.record.account = 7)),
        ("index of names", closed(|closed| closed.record.order_id -= 1)),
        ("have gaps", Box::new(|tables| tables.names.free.push_back(2))),
        ("given twice", Box::new(|tables| tables.names.free.push_back(0))),
        ("no name", Box::new(|tables| drop(tables.names.accounts.insert(1, Account::new("nobody").unwrap())))),
        ("without a number", Box::new(|tables| drop(tables.names.accounts.remove(&0)))),
        (
            "has the name of a closed one",
            Box::new(move |tables| order(tables, |o| o.order.client_order_id = ClientOrderId::new("o3").unwrap())),
        ),
        (
            "have one id",
            Box::new(|tables| {
                let first = tables.names.closed[0];
                tables.names.closed.push_back(first);
            }),
        ),
        (
            "exec ids",
            Box::new(|tables| tables.exchange.as_mut().unwrap().lanes.get_mut(&symbol("AAA")).unwrap().last += 1),
        ),
        ("answers to executions", Box::new(|tables| tables.exchange.as_mut().unwrap().kept += 1)),
        ("keeps answers", Box::new(|tables| tables.sessions.get_mut(&1).unwrap().highest_seq = 1)),
        ("in the future", Box::new(|tables| tables.log_time = Millis(5))),
    ];
    for (words, damage) in damages {
        let mut ledger = busy().ledger;
        damage(&mut ledger.tables);
        let found: Vec<String> = ledger.audit().iter().map(ToString::to_string).collect();
        // A book is judged by its index, which damage to an order does not reach.
        let rebuilt = {
            ledger.indexes = crate::indexes::Indexes::of(&ledger.tables);
            ledger.audit().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let all = [found, rebuilt].concat();
        assert!(all.iter().any(|violation| violation.contains(words)), "looked for '{words}' in {all:?}");
    }
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let ledger = busy().ledger;
    let bytes = ledger.encode();
    assert_eq!(Ledger::decode(&bytes).unwrap().state_digest(), ledger.state_digest());

    let mut other_form = bytes.clone();
    other_form[0] = 9;
    assert!(matches!(Ledger::decode(&other_form), Err(DecodeError::Format { found: 9 })));
    assert!(matches!(Ledger::decode(&[1]), Err(DecodeError::Damaged(_))));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(Ledger::decode(&longer), Err(DecodeError::Damaged(_))));
    for len in 2..bytes.len() {
        assert!(matches!(Ledger::decode(&bytes[..len]), Err(DecodeError::Damaged(_))), "cut to {len} bytes");
    }

    let mut wrong = ledger.clone();
    wrong.tables.control.limit = Exposure(7);
    assert!(matches!(Ledger::decode(&wrong.encode()), Err(DecodeError::Violations(_))));
    let mut newer = ledger.clone();
    newer.tables.ledger_version = LEDGER_VERSION + 1;
    assert!(matches!(Ledger::decode(&newer.encode()), Err(DecodeError::Version(_))));
}

#[test]
fn no_flipped_bit_makes_decoding_panic() {
    let bytes = busy().ledger.encode();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            // Many flips change a plain value and still add up: the store's checksums see those.
            drop(Ledger::decode(&flipped));
        }
    }
}
