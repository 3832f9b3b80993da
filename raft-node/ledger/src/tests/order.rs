use super::{Rig, START, instrument, money, symbol};
use crate::{bounds::*, *};
use quorate_domain::*;

/// With a quote of 10 lots at 99 and 101.
fn rig() -> Rig {
    let mut rig = Rig::with_symbols(&["AAA", "BBB"]);
    rig.join("m1");
    rig.register_exchange();
    rig.place("AAA", 10);
    rig
}

fn quote_id(rig: &Rig) -> QuoteId {
    rig.state("AAA").quote.as_ref().unwrap().id
}

fn fill(against: Against, leaves: i64, price: i64, qty: i64) -> PlannedFill {
    PlannedFill { against, leaves: Qty(leaves), price: Price(price), qty: Qty(qty) }
}

fn refuse(rig: &mut Rig, order: ExecuteOrder) -> Refusal {
    let symbol = order.order.symbol.clone();
    let last = |rig: &Rig| rig.ledger.exchange().unwrap().last_exec_id(&symbol);
    let before = last(rig);
    let refusal = rig.refused(Command::ExecuteOrder(order));
    assert_eq!(last(rig), before, "a refused exec_id is not used up");
    assert!(rig.events.is_empty());
    refusal
}

fn result(answer: Answer) -> OrderResult {
    match answer {
        Answer::OrderExecuted(result) | Answer::OrderCancelled(result) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fill_moves_position_cash_and_leaves_in_one_apply() {
    let mut rig = rig();
    let quote = quote_id(&rig);
    let bought = result(rig.take("AAA", "o1", Side::Buy, 4));
    let order_id = rig.index();
    let trades = vec![Trade { trade_id: 1, price: Price(101), qty: Qty(4) }];
    let expected = OrderResult {
        order_id,
        status: OrderStatus::Filled,
        cum_qty: Qty(4),
        leaves_qty: Qty(0),
        cum_quote: money(404),
        trades,
    };
    assert_eq!(bought, expected);
    let [Event::OrderExecuted { exec_id: 1, status: OrderStatus::Filled, .. }, Event::FillCommitted(fill)] =
        &rig.events[..]
    else {
        panic!("{:?}", rig.events)
    };
    let FilledMaker::Quote { quote_id, leaves, position, position_seq, .. } = &fill.maker else { panic!() };
    assert_eq!((*quote_id, *leaves, *position, *position_seq), (quote, Qty(6), Position(-4), 1));

    rig.take("AAA", "o2", Side::Sell, 10);
    let state = rig.state("AAA");
    assert_eq!((state.position(), state.position_seq), (Position(6), 2));
    assert_eq!((state.bought, state.sold, state.pnl.cash), (Qty(10), Qty(4), money(404 - 990)));
    assert_eq!(rig.reserved(), (0, 6), "the bid has nothing left, the ask has 6, and the quote stands");
    rig.take("AAA", "o3", Side::Buy, 6);
    assert!(matches!(rig.events.last(), Some(Event::QuoteEnded { reason: QuoteEndReason::Filled, .. })));
    assert!(rig.state("AAA").quote.is_none());
    assert_eq!(rig.ledger.fills(), 3);
}

#[test]
fn an_order_takes_from_the_book_and_from_the_quote_and_rests() {
    let mut rig = rig();
    let quote = quote_id(&rig);
    let sell = rig.rest("AAA", "s1", Side::Sell, 100, 3);
    let last = rig.rest("AAA", "s2", Side::Sell, 102, 3);
    let mut order = rig.order("AAA", "b1", Side::Buy, 102, 20);
    order.fills = vec![
        fill(Against::Order(sell), 3, 100, 3),
        fill(Against::Quote(quote), 10, 101, 10),
        fill(Against::Order(last), 3, 102, 1),
        fill(Against::Order(last), 2, 102, 2),
    ];
    let taken = result(rig.ok(Command::ExecuteOrder(order)));
    assert_eq!((taken.status, taken.cum_qty, taken.leaves_qty), (OrderStatus::PartiallyFilled, Qty(16), Qty(4)));
    assert_eq!(taken.cum_quote, money(300 + 1_010 + 306));
    let names: Vec<_> = rig
        .events
        .iter()
        .map(|event| match event {
            Event::OrderExecuted { .. } => "executed",
            Event::FillCommitted(_) => "fill",
            Event::OrderClosed { status: OrderStatus::Filled, .. } => "closed",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["executed", "fill", "closed", "fill", "fill", "fill", "closed"]);
    assert_eq!(rig.ledger.best_resting_price(&symbol("AAA"), Side::Buy), Some(Price(102)));
    assert_eq!(rig.ledger.best_resting_price(&symbol("AAA"), Side::Sell), None);
    assert_eq!(rig.state("AAA").position_seq, 1, "fills against orders do not move the position");
}

#[test]
fn the_exchange_epoch_fences() {
    let mut rig = Rig::with_symbols(&["AAA"]);
    let order = rig.order("AAA", "o1", Side::Buy, 90, 1);
    let none = Refusal::StaleExchange { exchange_epoch: 0 };
    assert_eq!(rig.refused(Command::ExecuteOrder(order)), none);
    let first = rig.register_exchange();
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 1);
    let second = rig.register_exchange();
    let fenced = Refusal::StaleExchange { exchange_epoch: second };
    let mut order = rig.order("AAA", "o2", Side::Buy, 90, 1);
    assert_eq!(order.exec_id, 1, "a new exchange counts anew");
    order.exchange_epoch = first;
    assert_eq!(refuse(&mut rig, order), fenced);
    let account = Account::new("alice").unwrap();
    let cancel = CancelOrder { exchange_epoch: first, account, order_id: id };
    assert_eq!(rig.refused(Command::CancelOrder(cancel)), fenced);
}

#[test]
fn an_exec_id_is_used_once_and_in_order() {
    let mut rig = rig();
    let order = rig.order("AAA", "o1", Side::Buy, 90, 1);
    rig.ok(Command::ExecuteOrder(order.clone()));
    let first = rig.last.clone();
    rig.now += 100;
    rig.ok(Command::ExecuteOrder(order.clone()));
    assert_eq!(rig.last, first, "the same bytes get the first answer, under any seq");
    assert!(rig.events.is_empty());
    let mut other = ExecuteOrder { deadline: Millis(rig.now + 1), ..order.clone() };
    assert_eq!(refuse(&mut rig, other.clone()), Refusal::ExecReused { exec_id: 1 });
    (other.exec_id, other.answered_below) = (0, 0);
    assert_eq!(refuse(&mut rig, other.clone()), Refusal::ExecReused { exec_id: 0 });
    other.answered_below = 1;
    assert!(matches!(refuse(&mut rig, other.clone()), Refusal::Invalid { .. }));
    other.exec_id = 3;
    assert_eq!(refuse(&mut rig, other), Refusal::ExecGap { expected: 2 });
    // Another symbol counts by itself.
    let elsewhere = rig.order("BBB", "o3", Side::Buy, 90, 1);
    assert_eq!(elsewhere.exec_id, 1);
    rig.ok(Command::ExecuteOrder(elsewhere));
    // Once the exchange says that it has the answer, it is no longer kept.
    let mut next = rig.order("AAA", "o2", Side::Buy, 90, 1);
    next.answered_below = 1;
    rig.ok(Command::ExecuteOrder(next));
    rig.ok(Command::ExecuteOrder(order.clone()));
    let next = rig.order("AAA", "o4", Side::Buy, 90, 1);
    rig.ok(Command::ExecuteOrder(next));
    assert_eq!(refuse(&mut rig, order), Refusal::ExecReused { exec_id: 1 });
}

#[test]
fn an_order_that_meets_a_full_window_uses_nothing_up() {
    let mut rig = rig();
    let execute = |rig: &Rig, name: &str, number: usize| {
        let mut order = rig.order(name, &format!("{name}-{number}"), Side::Buy, 90, 1);
        (order.order.time_in_force, order.remainder, order.answered_below) = (TimeInForce::Ioc, Remainder::Expire, 1);
        order
    };
    for number in 0..EXEC_WINDOW {
        let order = execute(&rig, "AAA", number);
        rig.ok(Command::ExecuteOrder(order));
    }
    let order = execute(&rig, "BBB", 0);
    assert_eq!(refuse(&mut rig, order.clone()), Refusal::ExecWindowFull { max: EXEC_WINDOW as u64 });
    let mut next = execute(&rig, "AAA", EXEC_WINDOW);
    next.answered_below = 2;
    rig.ok(Command::ExecuteOrder(next));
    assert!(matches!(refuse(&mut rig, order.clone()), Refusal::ExecWindowFull { .. }), "one went and one came");
    let mut next = execute(&rig, "AAA", EXEC_WINDOW + 1);
    next.answered_below = 4;
    rig.ok(Command::ExecuteOrder(next));
    rig.ok(Command::ExecuteOrder(order));
}

#[test]
fn bad_form_is_invalid() {
    let mut rig = rig();
    let quote = Against::Quote(quote_id(&rig));
    type Change = Box<dyn Fn(&mut ExecuteOrder)>;
    let changes: Vec<Change> = vec![
        Box::new(|order| order.order.qty = Qty(0)),
        Box::new(|order| order.order.qty = Qty(-1)),
        Box::new(|order| order.order.qty = Qty(MAX_QTY + 1)),
        Box::new(|order| order.order.price = Some(Price(0))),
        Box::new(|order| order.order.price = Some(Price(MAX_PRICE + 1))),
        Box::new(|order| order.order.price = None),
        Box::new(|order| order.order.order_type = OrderType::Market),
        Box::new(|order| {
            (order.order.order_type, order.order.price) = (OrderType::Market, None);
            order.remainder = Remainder::Expire;
        }),
        Box::new(|order| {
            (order.order.order_type, order.order.time_in_force) = (OrderType::LimitMaker, TimeInForce::Ioc);
            order.remainder = Remainder::Reject;
        }),
        Box::new(move |order| order.fills = vec![fill(quote, 10, 101, 1); FILLS_PER_ORDER_MAX + 1]),
        Box::new(move |order| order.fills = vec![fill(quote, 10, 101, 0)]),
        Box::new(move |order| order.fills = vec![fill(quote, 10, 0, 1)]),
        Box::new(move |order| order.fills = vec![fill(quote, 10, 101, 6)]),
        Box::new(|order| order.remainder = Remainder::None),
        Box::new(move |order| order.fills = vec![fill(quote, 10, 101, 5)]),
        Box::new(|order| order.order.time_in_force = TimeInForce::Ioc),
        Box::new(|order| order.remainder = Remainder::Reject),
        Box::new(move |order| {
            order.order.order_type = OrderType::LimitMaker;
            order.fills = vec![fill(quote, 10, 101, 1)];
        }),
        Box::new(move |order| {
            order.order.time_in_force = TimeInForce::Fok;
            (order.fills, order.remainder) = (vec![fill(quote, 10, 101, 1)], Remainder::Expire);
        }),
        Box::new(|order| order.deadline = Millis(START + ORDER_DEADLINE_MAX_MS + 1)),
        Box::new(|order| order.order.timestamp = Millis(START + ORDER_TIMESTAMP_AHEAD_MS + 1)),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut order = rig.order("AAA", "o1", Side::Buy, 101, 5);
        change(&mut order);
        let refusal = refuse(&mut rig, order);
        assert!(matches!(refusal, Refusal::Invalid { .. }), "change {number}: {refusal}");
    }
    let unknown = rig.order("ZZZ", "o1", Side::Buy, 101, 5);
    assert_eq!(refuse(&mut rig, unknown), Refusal::UnknownSymbol { symbol: symbol("ZZZ") });
}

#[test]
fn a_client_order_id_is_used_once_open_or_closed() {
    let mut rig = rig();
    rig.rest("AAA", "o1", Side::Buy, 90, 5);
    let id = rig.index();
    let mut again = rig.order("AAA", "o1", Side::Buy, 90, 5);
    again.order.timestamp = Millis(START - 10);
    let duplicate = |refusal| match refusal {
        Refusal::DuplicateOrder { same, result, .. } => (same, result.order_id, result.status),
        other => panic!("{other}"),
    };
    assert_eq!(duplicate(refuse(&mut rig, again.clone())), (true, id, OrderStatus::New));
    again.order.qty = Qty(6);
    assert_eq!(duplicate(refuse(&mut rig, again.clone())), (false, id, OrderStatus::New));
    // Also rejected and unfilled ones, and also past their deadlines.
    let mut rejected = rig.order("AAA", "o2", Side::Buy, 101, 5);
    (rejected.order.order_type, rejected.remainder) = (OrderType::LimitMaker, Remainder::Reject);
    rig.ok(Command::ExecuteOrder(rejected.clone()));
    rejected.exec_id += 1;
    rejected.deadline = Millis(START);
    let refusal = refuse(&mut rig, rejected.clone());
    assert_eq!(duplicate(refusal), (true, rig.index() - 1, OrderStatus::Rejected));
    // Another account's is another.
    rejected.order.account = Account::new("bob").unwrap();
    rejected.deadline = Millis(START + 1);
    rig.ok(Command::ExecuteOrder(rejected));
}

#[test]
fn an_order_past_its_deadline_is_refused_and_no_other_age_is() {
    let mut rig = rig();
    let mut order = rig.order("AAA", "o1", Side::Buy, 90, 5);
    order.deadline = Millis(START);
    assert_eq!(refuse(&mut rig, order.clone()), Refusal::DeadlinePassed { log_time: Millis(START) });
    order.deadline = Millis(START + 1);
    order.order.timestamp = Millis(0);
    rig.ok(Command::ExecuteOrder(order));
}

#[test]
fn a_plan_that_no_longer_holds_is_refused_with_the_fact() {
    let mut rig = rig();
    let old = quote_id(&rig);
    let sell = rig.rest("BBB", "s1", Side::Sell, 100, 3);
    let buy = rig.rest("AAA", "b1", Side::Buy, 95, 3);
    let taking = |rig: &Rig, fills: Vec<PlannedFill>| {
        let mut order = rig.order("AAA", "o1", Side::Buy, 101, 20);
        order.fills = fills;
        order.remainder = Remainder::Expire;
        order
    };
    let mut expect = |fills: Vec<PlannedFill>, refusal: Refusal| {
        let order = taking(&rig, fills);
        assert_eq!(refuse(&mut rig, order), refusal);
    };
    let (quote, other, same_side) = (Against::Quote(old), Against::Order(sell), Against::Order(buy));
    let not_active = |against| Refusal::NotActive { against };
    let moved = |against, leaves| Refusal::LeavesMoved { against, leaves: Qty(leaves) };
    expect(vec![fill(Against::Quote(old + 1), 10, 101, 1)], not_active(Against::Quote(old + 1)));
    expect(vec![fill(Against::Order(99), 10, 101, 1)], not_active(Against::Order(99)));
    expect(vec![fill(other, 3, 100, 1)], not_active(other));
    expect(vec![fill(same_side, 3, 95, 1)], not_active(same_side));
    expect(vec![fill(quote, 9, 101, 1)], moved(quote, 10));
    expect(vec![fill(quote, 10, 101, 4), fill(quote, 10, 101, 1)], moved(quote, 6));
    expect(vec![fill(quote, 10, 101, 10), fill(quote, 0, 101, 1)], not_active(quote));
    expect(vec![fill(quote, 10, 100, 1)], Refusal::DoesNotCross { against: quote, price: Price(101) });
    let mut short = taking(&rig, vec![fill(quote, 10, 101, 1)]);
    short.order.price = Some(Price(100));
    assert_eq!(refuse(&mut rig, short), Refusal::DoesNotCross { against: quote, price: Price(101) });
    let over = taking(&rig, vec![fill(quote, 10, 101, 11)]);
    assert!(matches!(refuse(&mut rig, over), Refusal::Invalid { .. }));

    // A replaced quote is not there, whatever it looks like.
    let order = taking(&rig, vec![fill(quote, 10, 101, 1)]);
    rig.place("AAA", 10);
    assert_eq!(refuse(&mut rig, order), not_active(quote));
    assert_eq!((rig.ledger.fills(), rig.state("AAA").position()), (0, Position(0)));
}

#[test]
fn a_market_order_takes_at_any_price() {
    let mut rig = rig();
    let mut order = rig.order("AAA", "o1", Side::Sell, 1, 20);
    (order.order.order_type, order.order.price) = (OrderType::Market, None);
    order.order.time_in_force = TimeInForce::Ioc;
    order.fills = vec![fill(Against::Quote(quote_id(&rig)), 10, 99, 10)];
    order.remainder = Remainder::Expire;
    let taken = result(rig.ok(Command::ExecuteOrder(order)));
    assert_eq!((taken.status, taken.cum_qty, taken.leaves_qty), (OrderStatus::Expired, Qty(10), Qty(0)));
}

#[test]
fn nothing_rests_across_the_book() {
    let mut rig = rig();
    let quote = quote_id(&rig);
    let late = rig.rest("AAA", "s0", Side::Sell, 102, 3);
    let crossing = rig.order("AAA", "o1", Side::Buy, 102, 5);
    let would = |against, price| Refusal::WouldCross { against, price: Price(price) };
    assert_eq!(refuse(&mut rig, crossing), would(Against::Quote(quote), 101));
    let taking = fill(Against::Quote(quote), 10, 101, 10);
    let mut order = rig.order("AAA", "o1", Side::Buy, 102, 15);
    order.fills = vec![taking];
    assert_eq!(refuse(&mut rig, order.clone()), would(Against::Order(late), 102));
    order.fills = vec![taking, fill(Against::Order(late), 3, 102, 2)];
    assert_eq!(refuse(&mut rig, order.clone()), would(Against::Order(late), 102));
    // Without the quote, the older of two orders at the best price is named.
    rig.pull("AAA");
    rig.rest("AAA", "s1", Side::Sell, 102, 3);
    let crossing = rig.order("AAA", "o1", Side::Buy, 102, 5);
    assert_eq!(refuse(&mut rig, crossing), would(Against::Order(late), 102));
    rig.place("AAA", 10);
    let quote = Against::Quote(quote_id(&rig));
    let younger = rig.ledger.resting_orders(&symbol("AAA"), Side::Sell).last().unwrap().id;
    let all =
        vec![fill(quote, 10, 101, 10), fill(Against::Order(late), 3, 102, 3), fill(Against::Order(younger), 3, 102, 3)];
    let mut order = rig.order("AAA", "o1", Side::Buy, 102, 20);
    order.fills = all;
    rig.ok(Command::ExecuteOrder(order));
}

#[test]
fn a_cancel_closes_an_order_of_its_owner_once() {
    let mut rig = rig();
    let id = rig.rest("AAA", "o1", Side::Buy, 90, 5);
    let exchange_epoch = rig.ledger.exchange().unwrap().epoch;
    let cancel = |name: &str, order_id| {
        let account = Account::new(name).unwrap();
        Command::CancelOrder(CancelOrder { exchange_epoch, account, order_id })
    };
    assert!(matches!(rig.refused(cancel("bob", id)), Refusal::UnknownOrder { order_id, .. } if order_id == id));
    assert!(matches!(rig.refused(cancel("alice", 12_345)), Refusal::UnknownOrder { .. }));
    let cancelled = result(rig.ok(cancel("alice", id)));
    assert_eq!((cancelled.status, cancelled.leaves_qty), (OrderStatus::Cancelled, Qty(0)));
    assert!(matches!(&rig.events[..], [Event::OrderClosed { status: OrderStatus::Cancelled, .. }]));
    assert_eq!(rig.refused(cancel("alice", id)), Refusal::OrderClosed { result: cancelled });
    assert_eq!(rig.ledger.open_order_count(), 0);
}

#[test]
fn what_would_overflow_is_refused() {
    let mut rig = rig();
    // No history of fills gets here in a lifetime: the sums are set by hand.
    let full = |rig: &mut Rig, change: fn(&mut SymbolState)| {
        let tables = &mut rig.ledger.tables;
        let state = tables.symbols.get_mut(&symbol("AAA")).unwrap();
        change(state);
        state.position_seq = 1;
        tables.last_trade_id = 1;
        let Instrument { base, quote, .. } = instrument(1);
        let base_held = i128::from(state.pnl.position.0) * instrument(1).lot_units();
        tables.deposits = [(base, Money(base_held)), (quote, state.pnl.cash)].into_iter().collect();
        rig.ledger.indexes = crate::indexes::Indexes::of(&rig.ledger.tables);
        let order = rig.taking("AAA", "o1", Side::Buy, 1);
        refuse(rig, order)
    };
    let position = full(&mut rig, |state| {
        state.sold = Qty(i64::MAX);
        state.pnl.position = Position(-i64::MAX);
    });
    assert!(matches!(position, Refusal::Overflow { .. }), "{position:?}");
    let cash = full(&mut rig, |state| {
        (state.sold, state.pnl.position) = (Qty(1), Position(-1));
        (state.pnl.realised, state.pnl.cash) = (Money(i128::MAX), Money(i128::MAX));
    });
    assert!(matches!(cash, Refusal::Overflow { .. }), "{cash:?}");
}

#[test]
fn there_is_room_for_so_many_open_orders() {
    let mut rig = rig();
    for number in 0..OPEN_ORDERS_MAX {
        let command = Command::ExecuteOrder(rig.order("BBB", &format!("o{number}"), Side::Buy, 90, 1));
        rig.seq += 1;
        let input = Input::Client(Envelope { session: rig.session, seq: rig.seq, command });
        rig.ledger.apply(rig.ledger.last_index() + 1, Millis(rig.now), &input);
    }
    assert_eq!(rig.ledger.open_order_count(), OPEN_ORDERS_MAX);
    let more = rig.order("BBB", "more", Side::Buy, 90, 1);
    assert_eq!(refuse(&mut rig, more), Refusal::Full { what: "open orders".to_owned(), max: OPEN_ORDERS_MAX as u64 });
    assert_eq!(rig.ledger.open_orders_of_after(&Account::new("alice").unwrap(), 0).count(), OPEN_ORDERS_MAX);
    assert_eq!(rig.ledger.open_orders_of_after(&Account::new("alic").unwrap(), 0).count(), 0);
}

#[test]
fn orders_are_walked_by_id_from_anywhere() {
    let mut rig = rig();
    let (mut ids, mut open) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let id = rig.rest(if number % 2 == 0 { "AAA" } else { "BBB" }, &format!("o{number}"), Side::Buy, 90, 1);
        ids.push(id);
        open.push(id);
        rig.tick();
        if number % 3 == 0 {
            rig.take("AAA", &format!("t{number}"), Side::Buy, 1);
            ids.push(rig.index());
        }
    }
    let account = rig.ledger.order(ids[0]).unwrap().account().clone();
    let nobody: Account = "nobody".parse().unwrap();
    for after in [0, ids[0] - 1, ids[0], ids[0] + 1, ids[3], ids[7] - 1, ids[7], u64::MAX] {
        let from = |all: &[OrderId]| all.iter().copied().filter(|id| *id > after).collect::<Vec<_>>();
        let found: Vec<_> = rig.ledger.orders_after(after).map(|order| order.id()).collect();
        assert_eq!(found, from(&ids), "after {after}");
        let found: Vec<_> = rig.ledger.open_orders_after(after).map(|order| order.id).collect();
        assert_eq!(found, from(&open), "open, after {after}");
        let found: Vec<_> = rig.ledger.open_orders_of_after(&account, after).map(|order| order.id).collect();
        assert_eq!(found, from(&open), "open of one account, after {after}");
        assert_eq!(rig.ledger.open_orders_of_after(&nobody, after).count(), 0);
    }
}
