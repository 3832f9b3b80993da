//! The judge can fail: each planted fault in a small, sound history is found.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use quorate_domain::Money;
use quorate_ledger::Frame;
use quorate_tests::{
    evidence::{Export, Journal, Sent},
    replay::{Findings, hold, replay},
};
use serde_json::{Value, json};

/// What the maker quotes by.
const PARAMETERS: &str = "half spread 1 tick";

fn digest() -> String {
    blake3::hash(PARAMETERS.as_bytes()).to_string()
}

fn basis() -> Value {
    json!({"computed_at": 3, "reference": null, "strategy": "test", "version": 1, "parameters": digest()})
}

fn committed(symbol: &str) -> Value {
    json!({"parameters_committed": {"maker": "a", "incarnation": 3, "symbol": symbol, "digest": digest(), "text": PARAMETERS}})
}

fn quote(id: u64, seq: u64, position_seq: u64, qty: i64, superseded: Option<u64>) -> Value {
    json!({"quote_placed": {"symbol": "BTCUSDT", "quote_id": id, "maker": "a", "incarnation": 3, "epoch": 1, "quote_seq": seq,
        "position_seq": position_seq, "bid": {"price": 99, "qty": qty}, "ask": {"price": 101, "qty": qty}, "bid_asked": qty,
        "ask_asked": qty, "deadline": 31_000, "cause": "refresh", "basis": basis(), "superseded": superseded}})
}

fn fill(trade_id: u64, order_id: u64, qty: i64, leaves: i64, position: i64) -> Value {
    json!({"fill_committed": {"trade_id": trade_id, "symbol": "BTCUSDT", "price": 101, "qty": qty, "notional": Money(i128::from(101 * qty) * 10_000_000),
        "taker_fee": "0", "maker_fee": "0", "taker_order_id": order_id,
        "taker_side": "buy", "maker": {"quote": {"quote_id": 4, "maker": "a", "epoch": 1, "leaves": leaves,
        "position": position.to_string(), "position_seq": trade_id}}}})
}

fn order(order_id: u64, exec_id: u64, name: &str, qty: i64) -> Value {
    json!({"order_executed": {"order_id": order_id, "exchange_epoch": 2, "exec_id": exec_id, "order": {"account": "p",
        "client_order_id": name, "symbol": "BTCUSDT", "side": "buy", "order_type": "market", "time_in_force": "ioc",
        "price": null, "qty": qty, "timestamp": 1_000}, "status": "filled", "cum_qty": qty, "leaves_qty": 0}})
}

/// Each frame's log time and events; the first has index 1.
type History = Vec<(u64, Vec<Value>)>;

fn sound() -> History {
    vec![
        (
            1_000,
            vec![
                json!({"symbol_defined": {"symbol": "BTCUSDT", "instrument": {"base": "BTC", "quote": "USDT", "tick_size": "0.01", "lot_size": "0.001",
            "exposure_per_lot": 1}}}),
            ],
        ),
        (1_000, vec![json!({"exchange_registered": {"exchange": "x", "exchange_epoch": 2}})]),
        (
            1_000,
            vec![
                json!({"authority_granted": {"symbol": "BTCUSDT", "maker": "a", "incarnation": 3, "epoch": 1}}),
                committed("BTCUSDT"),
            ],
        ),
        (1_000, vec![quote(4, 1, 0, 50, None)]),
        (1_100, vec![order(5, 1, "o1", 3), fill(1, 5, 3, 47, -3)]),
        (1_200, vec![order(6, 2, "o2", 2), fill(2, 6, 2, 45, -5)]),
        (1_300, vec![quote(7, 2, 2, 60, Some(4))]),
    ]
}

fn judged(history: &History) -> Findings {
    let chain = "00".repeat(32);
    let frame = |(at, (log_time, events)): (usize, &(u64, Vec<Value>))| -> Frame {
        let frame = json!({"index": at + 1, "log_time": log_time, "chain": chain, "events": events});
        serde_json::from_value(frame).unwrap()
    };
    replay(&Export { opening: Vec::new(), frames: history.iter().enumerate().map(frame).collect() })
}

fn told(name: &str, trade_id: u64, qty: &str) -> (String, Sent) {
    let sent = Sent {
        intents: 1,
        order_id: Some(trade_id + 4),
        trades: [(trade_id, qty.to_owned())].into(),
        status: Some("FILLED".to_owned()),
        executed_qty: Some(qty.to_owned()),
        ended: true,
    };
    (name.to_owned(), sent)
}

fn journal() -> Journal {
    let orders = [told("o1", 1, "0.003"), told("o2", 2, "0.002")].into();
    Journal { orders, ..Journal::default() }
}

#[test]
fn a_sound_history_passes() {
    let found = judged(&sound());
    assert_eq!(found.violations, Vec::<String>::new());
    assert_eq!((found.fills, found.exposure_max, found.positions.values().sum::<i64>()), (2, 60, -5));
    let held = hold(&found, &journal());
    assert_eq!((held.lost, held.doubled, held.unasked, held.acked_fills), (0, 0, 0, 2));
}

#[test]
fn each_planted_fault_in_the_events_is_found() {
    type Plant = (&'static str, fn(&mut History));
    let plants: [Plant; 15] = [
        ("a fill twice", |h| h[5].1.push(fill(2, 6, 2, 43, -7))),
        ("an order twice", |h| h[5].1[0] = order(6, 2, "o1", 2)),
        ("an exec_id twice", |h| h[5].1[0] = order(6, 1, "o2", 2)),
        ("a position that is no sum", |h| h[5].1[1] = fill(2, 6, 2, 45, -6)),
        ("leaves that do not add up", |h| h[5].1[1] = fill(2, 6, 2, 46, -5)),
        ("exposure over the limit", |h| h[6].1[0] = quote(7, 2, 2, 101, Some(4))),
        ("a quote from an old position", |h| h[6].1[0] = quote(7, 2, 1, 60, Some(4))),
        ("an older quote in place of a newer one", |h| h[6].1[0] = quote(7, 1, 2, 60, Some(4))),
        ("a fill past the quote's deadline", |h| h[5].0 = 31_000),
        ("two holders", |h| {
            let other = json!({"symbol": "BTCUSDT", "maker": "b", "incarnation": 5, "epoch": 2});
            h[4].1.push(json!({"authority_granted": other}));
        }),
        ("log time goes back", |h| h[6].0 = 1_100),
        ("a notional that is not price x lots", |h| h[5].1[1]["fill_committed"]["notional"] = json!("0.002021")),
        ("a fee that the instrument does not have", |h| h[5].1[1]["fill_committed"]["taker_fee"] = json!("0.000001")),
        ("a breaker that trips for nothing", |h| {
            h[5].1.push(json!({"breaker_tripped": {"asset": "USDT", "equity": "0", "high_water": "0"}}));
        }),
        ("a mark that leaps and counts", |h| {
            let mark =
                |price: i64, time: u64| json!({"symbol": "BTCUSDT", "price": price, "time": time, "counts": true});
            h[3].1.push(json!({"marks_published": {"marks": [mark(200, 900)]}}));
            h[4].1.push(json!({"marks_published": {"marks": [mark(400, 1_000)]}}));
        }),
    ];
    for (what, plant) in plants {
        let mut history = sound();
        plant(&mut history);
        assert!(!judged(&history).violations.is_empty(), "not found: {what}");
    }
}

fn of(symbol: &str, mut event: Value) -> Value {
    event.as_object_mut().unwrap().values_mut().for_each(|fields| fields["symbol"] = json!(symbol));
    event
}

fn turn(symbol: &str, turn: &Value) -> Value {
    json!({"turn_changed": {"symbol": symbol, "turn": turn}})
}

fn refused(symbol: &str, since: u64) -> Vec<Value> {
    let refusal = json!({"exposure_short": {"long_free": "40", "short_free": "40"}});
    let refused = json!({"symbol": symbol, "incarnation": 3, "quote_seq": 1, "keep": false, "refusal": refusal});
    vec![turn(symbol, &json!({"waiting": {"since": since}})), json!({"quote_refused": refused})]
}

fn ended(symbol: &str, quote_id: u64, reason: &str) -> Value {
    json!({"quote_ended": {"symbol": symbol, "quote_id": quote_id, "released_long": "60", "released_short": "60", "reason": reason}})
}

fn control(version: u64, change: &Value) -> Value {
    json!({"control_changed": {"control_version": version, "actor": "op", "reason": "a test", "change": change}})
}

/// Three symbols of which one at a time can be quoted: `B` and `C` wait for their turns, and `C` keeps its quote.
fn crowded() -> History {
    let instrument =
        json!({"base": "X", "quote": "USDT", "tick_size": "0.01", "lot_size": "0.001", "exposure_per_lot": 60});
    let symbols = ["A", "B", "C"];
    let defined = symbols.map(|symbol| json!({"symbol_defined": {"symbol": symbol, "instrument": instrument}}));
    let held = symbols
        .map(|symbol| json!({"authority_granted": {"symbol": symbol, "maker": "a", "incarnation": 3, "epoch": 1}}));
    let kept = json!({"symbol": "C", "quote_id": 9, "quote_seq": 3, "deadline": 37_300, "basis": basis()});
    vec![
        (1_000, defined.to_vec()),
        (1_000, held.into_iter().chain(symbols.map(committed)).collect()),
        (1_000, vec![of("A", quote(3, 1, 0, 1, None))]),
        (1_100, refused("B", 4)),
        (1_200, refused("C", 5)),
        (2_000, vec![ended("A", 3, "pulled"), turn("B", &json!({"offered": {"until": 3_000}}))]),
        (2_100, vec![of("B", quote(7, 2, 0, 1, None)), turn("B", &json!({"running": {"until": 7_100}}))]),
        (
            7_100,
            vec![
                ended("B", 7, "turn_ended"),
                turn("B", &json!({"waiting": {"since": 8}})),
                turn("C", &json!({"offered": {"until": 8_100}})),
            ],
        ),
        (7_200, vec![of("C", quote(9, 2, 0, 1, None)), turn("C", &json!({"running": {"until": 12_200}}))]),
        (7_300, vec![json!({"quote_kept": kept})]),
        (7_400, vec![control(1, &json!({"position_limit": {"symbol": "C", "max": 1}}))]),
    ]
}

#[test]
fn turns_and_keeps_that_are_sound_pass() {
    let found = judged(&crowded());
    assert_eq!(found.violations, Vec::<String>::new());
    assert_eq!((found.turns, found.kept, found.control_changes, found.waited_ms_max), (2, 1, 1, 6_000));
}

#[test]
fn each_planted_fault_in_turns_keeps_and_control_is_found() {
    type Plant = (&'static str, fn(&mut History), &'static str);
    fn kept(history: &mut History, field: &str, to: u64) {
        history[9].1[0]["quote_kept"][field] = json!(to);
    }
    let plants: [Plant; 18] = [
        ("the second is offered first", |h| h[5].1[1] = turn("C", &json!({"offered": {"until": 3_000}})), "longer"),
        ("nobody is offered", |h| drop(h[5].1.pop()), "is offered nothing"),
        (
            "an offer to one that does not wait",
            |h| h[5].1[1] = turn("A", &json!({"offered": {"until": 3_000}})),
            "a turn goes",
        ),
        ("an offer that is too long", |h| h[5].1[1] = turn("B", &json!({"offered": {"until": 4_000}})), "a turn goes"),
        ("a turn that is too long", |h| h[6].1[1] = turn("B", &json!({"running": {"until": 8_100}})), "a turn goes"),
        ("a turn without a quote", |h| drop(h[6].1.remove(0)), "a turn goes"),
        ("a turn that is over and goes on", |h| h[7].1.clear(), "is over"),
        ("a turn ends and its quote stands", |h| drop(h[7].1.splice(..2, [turn("B", &Value::Null)])), "stands"),
        ("a wrong ticket", |h| h[7].1[1] = turn("B", &json!({"waiting": {"since": 1}})), "a turn goes"),
        ("a turn ends too early", |h| h[7].0 = 7_000, "without that"),
        ("another quote is kept", |h| kept(h, "quote_id", 7), "was kept"),
        ("a quote is kept for too long", |h| kept(h, "deadline", 37_301), "was kept"),
        ("an old number keeps", |h| kept(h, "quote_seq", 2), "was kept"),
        ("a dead quote is kept", |h| h[8].1[0]["quote_placed"]["deadline"] = json!(7_300), "was kept"),
        ("a moved position is kept", |h| h[9].1.insert(0, of("C", fill(1, 5, 1, 0, -1))), "was kept"),
        ("a version is left out", |h| h[10].1.push(control(3, &json!({"ledger_version": {"version": 1}}))), "version"),
        (
            "a quote stands past the position limit",
            |h| h[10].1[0] = control(1, &json!({"position_limit": {"symbol": "C", "max": 0}})),
            "past",
        ),
        (
            "a quote outlives the kill switch",
            |h| h[10].1[0] = control(1, &json!({"kill_switch": {"engaged": true}})),
            "is off",
        ),
    ];
    for (what, plant, found) in plants {
        let mut history = crowded();
        plant(&mut history);
        let violations = judged(&history).violations;
        assert!(violations.iter().any(|violation| violation.contains(found)), "{what}: {violations:?}");
    }
}

#[test]
fn each_planted_fault_between_journal_and_events_is_found() {
    let found = judged(&sound());
    let mut lost = journal();
    lost.orders.extend([told("o3", 3, "0.001")]);
    assert!(hold(&found, &lost).lost > 0);
    let mut other_qty = journal();
    other_qty.orders.extend([told("o2", 2, "0.001")]);
    assert!(hold(&found, &other_qty).lost > 0);
    let mut more = journal();
    more.orders.get_mut("o1").unwrap().executed_qty = Some("0.004".to_owned());
    assert!(hold(&found, &more).lost > 0);
    let mut twice = journal();
    twice.orders.get_mut("o1").unwrap().intents = 2;
    assert!(hold(&found, &twice).doubled > 0);
    let mut unasked = journal();
    unasked.orders.remove("o2");
    assert!(hold(&found, &unasked).unasked > 0);
    let mut open = journal();
    open.orders.get_mut("o1").unwrap().ended = false;
    assert_eq!(open.unknown_left(), 1);
}

fn rest(order_id: u64, exec_id: u64, side: &str, (price, qty): (i64, i64)) -> Value {
    json!({"order_executed": {"order_id": order_id, "exchange_epoch": 2, "exec_id": exec_id, "order": {"account": "p",
        "client_order_id": format!("rest-{order_id}"), "symbol": "BTCUSDT", "side": side, "order_type": "limit",
        "time_in_force": "gtc", "price": price, "qty": qty, "timestamp": 1_000}, "status": "new", "cum_qty": 0,
        "leaves_qty": qty}})
}

/// A sale rests and is filled in part, a buy rests below it, and a quote around both is placed and pulled.
fn resting() -> History {
    let mut taken = fill(1, 5, 2, 0, 0);
    taken["fill_committed"]["maker"] =
        json!({"order": {"order_id": 4, "account": "p", "client_order_id": "rest-4", "leaves": 3}});
    let mut pulled = ended("BTCUSDT", 7, "pulled");
    (pulled["quote_ended"]["released_long"], pulled["quote_ended"]["released_short"]) = (json!("10"), json!("10"));
    let mut history = sound();
    history.truncate(3);
    history.extend([
        (1_000, vec![rest(4, 1, "sell", (101, 5))]),
        (1_100, vec![order(5, 2, "o1", 2), taken]),
        (1_200, vec![rest(6, 3, "buy", (100, 4))]),
        (1_300, vec![quote(7, 1, 0, 10, None)]),
        (1_400, vec![pulled]),
    ]);
    history
}

#[test]
fn each_planted_fault_in_what_rests_is_found() {
    assert_eq!(judged(&resting()).violations, Vec::<String>::new());
    type Plant = (&'static str, fn(&mut History), &'static str);
    let plants: [Plant; 9] = [
        ("a fill at a better price", |h| h[4].1[1]["fill_committed"]["price"] = json!(100), "another price"),
        ("a buy that rests as high as a sale", |h| h[5].1[0] = rest(6, 3, "buy", (101, 4)), "orders rest at"),
        ("a bid that meets a sale", |h| h[6].1[0]["quote_placed"]["bid"]["price"] = json!(101), "meets what rests"),
        ("an ask that meets a buy", |h| h[6].1[0]["quote_placed"]["ask"]["price"] = json!(100), "meets what rests"),
        ("more than was asked for", |h| h[6].1[0]["quote_placed"]["bid_asked"] = json!(9), "asked for"),
        ("too little is released", |h| h[7].1[0]["quote_ended"]["released_short"] = json!("9"), "is released"),
        ("a wrong sum of fills", |h| h[4].1[0]["order_executed"]["cum_qty"] = json!(1), "with fills of"),
        ("a status that is not so", |h| h[5].1[0]["order_executed"]["status"] = json!("expired"), "with fills of"),
        ("an order filled that is not", |h| h[4].1[0]["order_executed"]["order"]["qty"] = json!(3), "with fills of"),
    ];
    for (what, plant, found) in plants {
        let mut history = resting();
        plant(&mut history);
        let violations = judged(&history).violations;
        assert!(violations.iter().any(|violation| violation.contains(found)), "{what}: {violations:?}");
    }
}
