//! An audit that finds nothing wrong is worth something only if it finds what is wrong.

use super::{Rig, instrument, maker, money, symbol};
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

/// A contract, one that was settled, a spot symbol that is not listed, a limited account that owes contracts and has a
/// sale of others open, fees, deposits, marks, a protection that counts, and a breaker that has tripped.
fn rich() -> Rig {
    let mut rig = Rig::new();
    let asset = |name: &str| name.parse::<Asset>().unwrap();
    let bob = || "bob".parse::<Account>().unwrap();
    let contract = |name: &str| Instrument {
        base: asset(name),
        kind: Kind::Binary { pays: Price(200) },
        max_price: Price(199),
        maker_fee_ppm: 100,
        taker_fee_ppm: 300,
        ..instrument(1)
    };
    for name in ["RAIN", "SNOW"] {
        let instrument = contract(name);
        rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol(name), instrument }));
    }
    let other = Instrument { quote: asset("OTHER"), ..instrument(1) };
    rig.ok(Command::DefineSymbol(DefineSymbol { symbol: symbol("SPOT"), instrument: other }));
    rig.define("UNLISTED", 1);
    rig.join("m1");
    rig.register_exchange();
    rig.decide(ControlChange::LimitAccount { account: bob() });
    rig.decide(ControlChange::Deposit { account: bob(), asset: asset("QUOTE"), amount: money(5_000) });
    let protection = Some(Protection { lots_max: Qty(50), window_ms: 60_000, pause_ms: 60_000 });
    rig.decide(ControlChange::Protection { symbol: symbol("RAIN"), protection });
    for name in ["RAIN", "SNOW", "SPOT"] {
        rig.place(name, 20);
        rig.mark(name, 200, rig.now);
    }
    let mut take = |name: &str, id: &str, side: Side, qty: i64| {
        let mut order = rig.taking(name, id, side, qty);
        order.order.account = if name == "SPOT" { "alice".parse().unwrap() } else { bob() };
        rig.ok(Command::ExecuteOrder(order));
    };
    take("RAIN", "o1", Side::Buy, 3);
    take("SNOW", "o2", Side::Sell, 2);
    take("SPOT", "o3", Side::Buy, 4);
    let mut sale = rig.order("RAIN", "o4", Side::Sell, 150, 5);
    sale.order.account = bob();
    rig.ok(Command::ExecuteOrder(sale));
    rig.decide(ControlChange::Settle { symbol: symbol("SNOW"), price: Price(0) });
    rig.decide(ControlChange::DrawdownLimit { asset: asset("OTHER"), limit: Some(Money(0)) });
    rig.mark("SPOT", 210, rig.now);
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let symbols = ["RAIN", "SNOW", "SPOT"].map(symbol).to_vec();
    rig.ok(Command::SetListing(SetListing { exchange_epoch, symbols }));
    rig
}

#[test]
fn damage_to_money_is_found() {
    type Damage = Box<dyn Fn(&mut Tables)>;
    let of = |name: &'static str, change: fn(&mut SymbolState)| -> Damage {
        Box::new(move |tables| change(tables.symbols.get_mut(&symbol(name)).unwrap()))
    };
    let account = |change: fn(&mut AccountState)| -> Damage {
        Box::new(move |tables| change(tables.accounts.get_mut(&"bob".parse::<Account>().unwrap()).unwrap()))
    };
    let balance = |name: &'static str, change: fn(&mut Balance)| -> Damage {
        Box::new(move |tables| {
            let account = tables.accounts.get_mut(&"bob".parse::<Account>().unwrap()).unwrap();
            change(account.balances.get_mut(&name.parse::<Asset>().unwrap()).unwrap());
        })
    };
    let quote = |name: &str| name.parse::<Asset>().unwrap();
    let held = |tables: &mut Tables, name: &str| {
        let holder = tables.symbols[&symbol("RAIN")].holder.clone();
        tables.symbols.get_mut(&symbol(name)).unwrap().holder = holder;
    };
    let sums = "balances, house and fees less deposits";
    let damages: Vec<(&str, Damage)> = vec![
        (sums, balance("QUOTE", |balance| balance.total.0 += 1)),
        (sums, balance("RAIN", |balance| balance.total.0 -= 1)),
        (sums, Box::new(move |tables| tables.fees.get_mut(&quote("QUOTE")).unwrap().0 += 1)),
        (sums, Box::new(move |tables| tables.deposits.get_mut(&quote("QUOTE")).unwrap().0 += 1)),
        (sums, Box::new(|tables| tables.accounts = tables.accounts.without(&"alice".parse::<Account>().unwrap()))),
        (sums, of("RAIN", |state| state.pnl.cash.0 += 1)),
        ("realised less cost and fees", of("RAIN", |state| state.pnl.cost.0 += 1)),
        ("realised less cost and fees", of("RAIN", |state| state.pnl.fees.0 += 1)),
        ("realised less cost and fees", of("SNOW", |state| state.pnl.realised.0 += 1)),
        ("at a cost of", of("SNOW", |state| state.pnl.cost.0 = 1)),
        ("QUOTE free", balance("QUOTE", |balance| balance.total.0 = 0)),
        ("orders and contracts lock", balance("QUOTE", |balance| balance.locked.0 += 1)),
        (
            "a record of 0 XXX",
            account(|account| assert_eq!(account.balances.insert("XXX".parse().unwrap(), Balance::default()), None)),
        ),
        (
            "nothing to tell of",
            Box::new(|tables| drop(tables.accounts.insert("eve".parse().unwrap(), AccountState::default()))),
        ),
        ("orders and contracts lock", balance("RAIN", |balance| balance.locked.0 = 0)),
        ("orders and contracts lock 0", account(|account| account.limited = false)),
        (
            "breaker of OTHER has tripped",
            Box::new(|tables| {
                let quote = tables.symbols[&symbol("RAIN")].quote.clone();
                tables.symbols.get_mut(&symbol("SPOT")).unwrap().quote = quote;
            }),
        ),
        (
            "breaker of QUOTE has tripped",
            Box::new(move |tables| tables.drawdowns.get_mut(&quote("QUOTE")).unwrap().tripped = true),
        ),
        (
            "nothing is quoted in it",
            Box::new(move |tables| assert!(tables.drawdowns.insert(quote("XXX"), Drawdown::default()).is_none())),
        ),
        (
            "is below 0",
            Box::new(move |tables| tables.drawdowns.get_mut(&quote("OTHER")).unwrap().limit = Some(Money(-1))),
        ),
        ("protection has tripped", of("RAIN", |state| state.guard.paused_until = Some(Millis(u64::MAX)))),
        ("its protection does not", of("RAIN", |state| state.guard.lots = Qty(50))),
        ("its protection does not", of("RAIN", |state| state.protection = None)),
        ("is held, and is not traded", Box::new(move |tables| held(tables, "UNLISTED"))),
        ("is held, and is not traded", Box::new(move |tables| held(tables, "SNOW"))),
        ("is held by nobody", Box::new(|tables| tables.listing = None)),
        (
            "is listed, and not defined",
            Box::new(|tables| tables.listing = tables.listing.as_ref().map(|listing| listing.update(symbol("XXX")))),
        ),
        ("has an open order", of("RAIN", |state| state.closed = Some(Closed { at: Millis(1), settled: None }))),
        (
            "somebody still has of it",
            of("RAIN", |state| state.closed = Some(Closed { at: Millis(1), settled: Some(Price(0)) })),
        ),
        ("the revision 0", of("RAIN", |state| state.revision = 0)),
        ("out of its ranges", of("RAIN", |state| state.instrument.exposure_per_lot = 0)),
        ("mark without a price", of("RAIN", |state| state.marks.counted.as_mut().unwrap().price = RefPrice(0))),
        ("of after the last", of("RAIN", |state| state.marks.last = Some(Millis(1)))),
        ("index of equity", of("RAIN", |state| state.marks.counted.as_mut().unwrap().price = RefPrice(2))),
        ("index of unmarked positions", of("RAIN", |state| state.marks.counted.as_mut().unwrap().at = Millis(2))),
    ];
    let sound = rich().ledger;
    assert_eq!(sound.audit(), []);
    for (words, damage) in damages {
        let mut ledger = sound.clone();
        damage(&mut ledger.tables);
        let found: Vec<String> = ledger.audit().iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|violation| violation.contains(words)), "looked for '{words}' in {found:?}");
    }
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
        (
            "lasts too long",
            Box::new(move |tables| waiting(tables, |demand| demand.turn = Some(Turn::Waiting { since: 1_000 }))),
        ),
        ("for too long", Box::new(move |tables| waiting(tables, |demand| demand.until.bid = Some(Millis(u64::MAX))))),
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
        ("longer than a quote may", quote(|quote| quote.deadline = Millis(u64::MAX))),
        ("weighs something else", quote(|quote| quote.sides.ask.as_mut().unwrap().lot = Exposure(2))),
        ("quoting is off", Box::new(|tables| tables.control.symbols_off = [symbol("AAA")].into())),
        ("kill switch", Box::new(|tables| tables.control.kill_switch = true)),
        ("not registered", Box::new(|tables| assert!(tables.makers.remove(&maker("m2")).is_some()))),
        (
            "due",
            Box::new(|tables| tables.makers = tables.makers.update(maker("m3"), tables.makers[&maker("m2")].clone())),
        ),
        ("lease longer", Box::new(|tables| tables.makers.get_mut(&maker("m1")).unwrap().deadline = Millis(u64::MAX))),
        (
            "the holdings of maker m1 last changed at 0",
            Box::new(|tables| tables.makers.get_mut(&maker("m1")).unwrap().holdings_index = 0),
        ),
        (
            "the holdings of maker m2 last changed",
            Box::new(|tables| tables.makers.get_mut(&maker("m2")).unwrap().holdings_index = u64::MAX),
        ),
        ("does not add up", Box::new(move |tables| order(tables, |order| order.cum_qty = Qty(1)))),
        (
            "out of the range of prices",
            Box::new(move |tables| state(tables, |state| state.instrument.max_price = Price(109))),
        ),
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
    let snapshots = [busy(), rich()].map(|rig| rig.ledger.encode());
    for bytes in snapshots {
        flip_every_bit(&bytes);
    }
}

fn flip_every_bit(bytes: &[u8]) {
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            // Many flips change a plain value and still add up: the store's checksums see those.
            drop(Ledger::decode(&flipped));
        }
    }
}
