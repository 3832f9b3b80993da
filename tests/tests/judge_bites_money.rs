//! The judge of money can fail: each planted fault in a small, sound history, and in what nodes say of it, is found.

#![allow(clippy::unwrap_used, reason = "what does not work ends the test")]

use quorate_ledger::Frame;
use quorate_tests::{
    evidence::Export,
    replay::{Findings, MoneySaid, VIEWS, replay_and_hear},
};
use serde_json::{Value, json};

/// What the maker quotes by.
const PARAMETERS: &str = "half spread 1 tick";
/// One lot at a price of one tick, in 10^-12 USDT.
const UNIT: i128 = 10_000_000;
/// Parts per million of the notional.
const MAKER_FEE: i128 = 100;
const TAKER_FEE: i128 = 500;

fn digest() -> String {
    blake3::hash(PARAMETERS.as_bytes()).to_string()
}

/// So many units of 10^-12, none of them a whole USDT or more.
fn part(units: i128) -> String {
    format!("0.{units:012}")
}

fn control(version: u64, change: &Value) -> Value {
    json!({"control_changed": {"control_version": version, "actor": "op", "reason": "a test", "change": change}})
}

fn instrument() -> Value {
    json!({"base": "BTC", "quote": "USDT", "tick_size": "0.01", "lot_size": "0.001", "exposure_per_lot": 1,
        "maker_fee_ppm": 100, "taker_fee_ppm": 500})
}

fn contract() -> Value {
    json!({"base": "RAIN", "quote": "USDT", "tick_size": "0.01", "lot_size": "1", "exposure_per_lot": 1,
        "max_price": 99, "kind": {"binary": {"pays": 100}}})
}

fn granted(symbol: &str) -> Value {
    json!({"authority_granted": {"symbol": symbol, "maker": "a", "incarnation": 3, "epoch": 1}})
}

fn committed(symbol: &str) -> Value {
    json!({"parameters_committed": {"maker": "a", "incarnation": 3, "symbol": symbol, "digest": digest(), "text": PARAMETERS}})
}

fn marked(price: i64, time: u64) -> Value {
    json!({"marks_published": {"marks": [{"symbol": "BTCUSDT", "price": price, "time": time, "counts": true}]}})
}

/// Ten lots bid at 99, and these asked.
fn quote(id: u64, seq: u64, position_seq: u64, ask: (i64, i64), superseded: Option<u64>) -> Value {
    let basis = json!({"computed_at": 3, "reference": null, "strategy": "test", "version": 1, "parameters": digest()});
    json!({"quote_placed": {"symbol": "BTCUSDT", "quote_id": id, "maker": "a", "incarnation": 3, "epoch": 1, "quote_seq": seq,
        "position_seq": position_seq, "bid": {"price": 99, "qty": 10}, "ask": {"price": ask.0, "qty": ask.1}, "bid_asked": 10,
        "ask_asked": ask.1, "deadline": 31_000, "cause": "refresh", "basis": basis, "superseded": superseded}})
}

/// An order that takes so many lots of a quote whole, and its fill.
fn taken(
    trade_id: u64,
    (order_id, account): (u64, &str),
    (quote_id, price): (u64, i64),
    after: (i64, i64),
) -> Vec<Value> {
    let (leaves, position) = after;
    let (side, qty) = if price > 100 { ("buy", if trade_id == 1 { 2 } else { 1 }) } else { ("sell", 1) };
    let notional = i128::from(price * qty) * UNIT;
    vec![
        json!({"order_executed": {"order_id": order_id, "exchange_epoch": 2, "exec_id": trade_id, "order": {"account": account,
            "client_order_id": format!("o{trade_id}"), "symbol": "BTCUSDT", "side": side, "order_type": "market",
            "time_in_force": "ioc", "price": null, "qty": qty, "timestamp": 1_000}, "status": "filled", "cum_qty": qty,
            "leaves_qty": 0}}),
        json!({"fill_committed": {"trade_id": trade_id, "symbol": "BTCUSDT", "price": price, "qty": qty,
            "notional": part(notional), "taker_fee": part(notional * TAKER_FEE / 1_000_000),
            "maker_fee": part(notional * MAKER_FEE / 1_000_000), "taker_order_id": order_id, "taker_side": side,
            "maker": {"quote": {"quote_id": quote_id, "maker": "a", "epoch": 1, "leaves": leaves,
                "position": position.to_string(), "position_seq": trade_id}}}}),
    ]
}

/// A buy of three lots at 90 rests.
fn rests() -> Value {
    json!({"order_executed": {"order_id": 17, "exchange_epoch": 2, "exec_id": 5, "order": {"account": "ann",
        "client_order_id": "rest", "symbol": "BTCUSDT", "side": "buy", "order_type": "limit", "time_in_force": "gtc",
        "price": 90, "qty": 3, "timestamp": 1_000}, "status": "new", "cum_qty": 0, "leaves_qty": 3}})
}

fn ended(quote_id: u64, reason: &str) -> Value {
    json!({"quote_ended": {"symbol": "BTCUSDT", "quote_id": quote_id, "released_long": "8", "released_short": "9", "reason": reason}})
}

fn protected(until: u64) -> Value {
    json!({"protection_tripped": {"symbol": "BTCUSDT", "until": until}})
}

fn tripped(equity: &str, high_water: &str) -> Value {
    json!({"breaker_tripped": {"asset": "USDT", "equity": equity, "high_water": high_water}})
}

/// Each frame's log time and events; the first has index 1.
type History = Vec<(u64, Vec<Value>)>;

/// A maker sells 3 lots and buys back 2, until its protection trips; then the price rises, until the breaker does; and a limited
/// account's order rests.
fn sound() -> History {
    let rules = json!({"lots_max": 5, "window_ms": 1_000, "pause_ms": 5_000});
    vec![
        (
            1_000,
            vec![
                json!({"symbol_defined": {"symbol": "BTCUSDT", "instrument": instrument()}}),
                json!({"symbol_defined": {"symbol": "RAIN", "instrument": contract()}}),
            ],
        ),
        (1_000, vec![json!({"exchange_registered": {"exchange": "x", "exchange_epoch": 2}})]),
        (1_000, vec![json!({"listing_changed": {"symbols": ["BTCUSDT"]}}), granted("BTCUSDT"), committed("BTCUSDT")]),
        (1_000, vec![control(1, &json!({"limit_account": {"account": "ann"}}))]),
        (1_000, vec![control(2, &json!({"deposit": {"account": "ann", "asset": "USDT", "amount": "1"}}))]),
        (1_000, vec![control(3, &json!({"drawdown_limit": {"asset": "USDT", "limit": "0.00005"}}))]),
        (1_000, vec![control(4, &json!({"protection": {"symbol": "BTCUSDT", "protection": rules}}))]),
        (1_000, vec![marked(200, 900)]),
        (1_000, vec![quote(9, 1, 0, (101, 2), None)]),
        (1_100, taken(1, (10, "ann"), (9, 101), (0, -2))),
        (1_200, vec![quote(11, 2, 1, (102, 10), Some(9))]),
        (1_300, taken(2, (12, "ann"), (11, 102), (9, -3))),
        (1_400, taken(3, (13, "bob"), (11, 99), (9, -2))),
        (1_500, [taken(4, (14, "ann"), (11, 99), (8, -1)), vec![protected(6_500), ended(11, "protection")]].concat()),
        (2_000, vec![marked(210, 1_950)]),
        (2_100, vec![marked(212, 2_050), tripped("-0.000000502", "0.000059498")]),
        (2_200, vec![rests()]),
        (17_050, Vec::new()),
    ]
}

fn export(history: &History) -> Export {
    let chain = "00".repeat(32);
    let frame = |(at, (log_time, events)): (usize, &(u64, Vec<Value>))| -> Frame {
        let frame = json!({"index": at + 1, "log_time": log_time, "chain": chain, "events": events});
        serde_json::from_value(frame).unwrap()
    };
    Export { opening: Vec::new(), frames: history.iter().enumerate().map(frame).collect() }
}

fn judged(history: &History, said: &[(&str, Value)]) -> Findings {
    let mut heard = MoneySaid::default();
    for (view, answer) in said {
        assert!(heard.take(&format!("/v1/{view}"), answer.clone()).unwrap());
    }
    replay_and_hear(&export(history), &heard)
}

fn answer(index: u64, log_time: u64, data: &Value) -> Value {
    json!({"applied_index": index, "log_time": log_time, "node_id": 1, "consistency": "local", "data": data})
}

/// What a node says after frame 17, worked out by hand.
fn said() -> Vec<(&'static str, Value)> {
    let nothing = json!({"symbol": "RAIN", "position": "0", "position_units": "0", "position_seq": 0, "position_max": null,
        "bought": "0", "sold": "0", "cash": "0", "cost": "0", "realised": "0", "unrealised": null, "fees": "0", "mark": null});
    // 2 lots sold at 101 and 1 at 102 cost 3.04; a third of that, rounded down, is what the first lot that is bought back had cost.
    let traded = json!({"symbol": "BTCUSDT", "position": "-1", "position_units": "-0.001", "position_seq": 4,
        "position_max": null, "bought": "2", "sold": "3", "cash": "0.001059498", "cost": "-0.001013333333",
        "realised": "0.000046666667", "unrealised": "-0.000046666667", "fees": "0.000000502",
        "mark": {"half_ticks": 212, "price": "1.06", "time": 2_050}});
    let pnl = json!([{"asset": "USDT", "equity": "-0.000000502", "cash": "0.001059498", "realised": "0.000046666667",
        "unrealised": "-0.000046666667", "fees": "0.000000502", "unmarked_since": null, "high_water": "0.000059498"}]);
    let breakers = json!({
        "drawdowns": [{"asset": "USDT", "equity": "-0.000000502", "high_water": "0.000059498", "limit": "0.00005",
            "tripped": true, "unmarked_since": null}],
        "protections": [{"symbol": "BTCUSDT", "protection": {"lots_max": 5, "window_ms": 1_000, "pause_ms": 5_000},
            "lots": 0, "window_until": null, "paused_until": 6_500}],
    });
    // The order locks 2.7 of 10^-3, a fee of 0.01 % on that, and one unit for each lot.
    let balances = json!({
        "accounts": [
            {"account": "ann", "limited": true, "balances": [
                {"asset": "BTC", "total": "0.002", "locked": "0", "free": "0.002"},
                {"asset": "USDT", "total": "0.997947985", "locked": "0.002700270003", "free": "0.995247714997"}]},
            {"account": "bob", "limited": false, "balances": [
                {"asset": "BTC", "total": "-0.001", "locked": "0", "free": "-0.001"},
                {"asset": "USDT", "total": "0.000989505", "locked": "0", "free": "0.000989505"}]},
        ],
        "house": [{"asset": "BTC", "amount": "-0.001"}, {"asset": "USDT", "amount": "0.001059498"}],
        "fees": [{"asset": "USDT", "amount": "0.000003012"}],
        "deposits": [{"asset": "USDT", "amount": "1"}],
        "next_after": null,
    });
    let views = [json!([traded, nothing]), pnl, breakers, balances];
    VIEWS.into_iter().zip(views.map(|data| answer(17, 2_200, &data))).collect()
}

#[test]
fn a_sound_history_and_what_is_said_of_it_pass() {
    let found = judged(&sound(), &said());
    assert_eq!(found.violations, Vec::<String>::new());
    assert!(found.whole && VIEWS.iter().all(|view| found.money_said[view] == 1));
}

#[test]
fn what_is_not_0_alone_counts_and_a_symbol_may_be_asked_for() {
    let mut said = said();
    let mut with_zero = said.clone();
    let zero = json!({"asset": "RAIN", "total": "0", "locked": "0", "free": "0"});
    with_zero[3].1["data"]["accounts"][0]["balances"].as_array_mut().unwrap().push(zero);
    assert_eq!(judged(&sound(), &with_zero).violations.len(), 1, "no account has a record of 0 of an asset");
    said[3].1["data"]["house"].as_array_mut().unwrap().push(json!({"asset": "RAIN", "amount": "0"}));
    assert_eq!(judged(&sound(), &said).violations, Vec::<String>::new());
    let mut heard = MoneySaid::default();
    said[0].1["data"].as_array_mut().unwrap().pop();
    assert!(heard.take("/v1/positions?consistency=local&symbol=BTCUSDT", said[0].1.clone()).unwrap());
    assert_eq!(replay_and_hear(&export(&sound()), &heard).violations, Vec::<String>::new());
    assert!(!heard.take("/v1/quotes", said[0].1.clone()).unwrap());
    assert!(!heard.take("/v1/balances?account=ann", said[3].1.clone()).unwrap());
    heard.take("/v1/positions", json!({"type": "urn:quorate:not-ready"})).unwrap_err();
}

/// Pointers to everything in it that is no list and no object.
fn leaves(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, &format!("{at}/{name}"), found));
        }
        Value::Array(rows) => {
            rows.iter().enumerate().for_each(|(nth, row)| leaves(row, &format!("{at}/{nth}"), found));
        }
        _ => found.push(at.to_owned()),
    }
}

/// The next best thing that it could be: one more, one unit of 10^-12 more, another name.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(is) => json!(!is),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        Value::String(text) if text.parse::<f64>().is_ok() => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
            let fraction = format!("{fraction:0<12}").parse::<u64>().unwrap() + 1;
            json!(format!("{whole}.{fraction:012}"))
        }
        Value::String(text) => json!(format!("{text}X")),
        Value::Null | Value::Array(_) | Value::Object(_) => json!(1),
    }
}

/// Makes each field of each answer wrong, and takes each last row away: all of that must be found.
fn each_field_bites(history: &History, answers: &[(&'static str, Value)]) {
    for (nth, (view, whole)) in answers.iter().enumerate() {
        let mut fields = vec!["/log_time".to_owned()];
        leaves(&whole["data"], "/data", &mut fields);
        for field in fields.into_iter().filter(|field| !field.ends_with("next_after")) {
            let mut said = answers.to_vec();
            let leaf = said[nth].1.pointer_mut(&field).unwrap();
            *leaf = other(leaf);
            let violations = judged(history, &said).violations;
            assert!(violations.iter().any(|what| what.contains("node 1 said")), "{view}{field}: {violations:?}");
        }
        let lists = ["/data", "/data/drawdowns", "/data/protections", "/data/accounts", "/data/fees", "/data/deposits"];
        for list in lists {
            let mut said = answers.to_vec();
            let Some(rows) = said[nth].1.pointer_mut(list).and_then(Value::as_array_mut) else { continue };
            rows.pop();
            assert!(!judged(history, &said).violations.is_empty(), "{view}{list}: a row less is not found");
        }
    }
}

#[test]
fn each_field_of_each_answer_that_is_off_by_one_unit_is_found() {
    each_field_bites(&sound(), &said());
}

#[test]
fn an_old_mark_shows_and_what_is_read_past_the_log_is_found() {
    let shown = |since: Value| {
        let mut row = said()[1].1["data"].clone();
        row[0]["unmarked_since"] = since;
        vec![("pnl", answer(18, 17_050, &row))]
    };
    assert_eq!(judged(&sound(), &shown(json!(17_050))).violations, Vec::<String>::new());
    assert!(!judged(&sound(), &shown(Value::Null)).violations.is_empty());
    let later = vec![("pnl", answer(19, 17_050, &said()[1].1["data"]))];
    assert!(judged(&sound(), &later).violations[0].contains("the log ends at 18"));
}

#[test]
fn each_planted_fault_in_money_is_found() {
    type Plant = (&'static str, fn(&mut History), &'static str);
    fn deposit(history: &mut History, amount: &str) {
        history[4].1[0]["control_changed"]["change"]["deposit"]["amount"] = json!(amount);
    }
    fn limit(history: &mut History, limit: &str) {
        history[5].1[0]["control_changed"]["change"]["drawdown_limit"]["limit"] = json!(limit);
    }
    fn revised(revision: u64, instrument: &Value) -> Value {
        control(5, &json!({"instrument": {"symbol": "BTCUSDT", "revision": revision, "instrument": instrument}}))
    }
    let plants: [Plant; 24] = [
        ("a fee one unit less", |h| h[9].1[1]["fill_committed"]["maker_fee"] = json!("0.000000201999"), "fees are"),
        ("a fee one unit more", |h| h[9].1[1]["fill_committed"]["taker_fee"] = json!("0.000001010001"), "fees are"),
        ("a breaker that does not trip", |h| drop(h[15].1.pop()), "had to"),
        ("a breaker that trips one unit too late", |h| limit(h, "0.000049999999"), "had to"),
        ("a breaker that trips too early", |h| h[14].1.push(tripped("0.000009498", "0.000059498")), "had to: None"),
        ("a high-water mark that was missed", |h| h[15].1[1] = tripped("-0.000000502", "0.000049597"), "had to"),
        ("an equity that is none", |h| h[15].1[1] = tripped("-0.000000501", "0.000059498"), "had to"),
        ("a breaker that trips twice", |h| h[16].1.push(tripped("-0.000000502", "0.000059498")), "nothing of it"),
        (
            "a quote in an asset whose breaker tripped",
            |h| h[16].1.push(quote(17, 3, 4, (107, 1), None)),
            "breaker has tripped",
        ),
        ("a mark that goes back", |h| h[14].1[0] = marked(210, 899), "a later one"),
        ("a mark from the future", |h| h[14].1[0] = marked(210, 12_001), "ahead"),
        (
            "a mark out of range",
            |h| h[0].1[0]["symbol_defined"]["instrument"]["max_price"] = json!(105),
            "out of the instrument",
        ),
        ("a limited account that owes", |h| deposit(h, "0.002"), "free"),
        ("a lock of one unit that is not covered", |h| deposit(h, "0.004752285002"), "ann has -1 of 10^-12 USDT free"),
        (
            "a limited account that sells what it does not have",
            |h| h[3].1[0]["control_changed"]["change"]["limit_account"]["account"] = json!("bob"),
            "bob has -1000000000 of 10^-12 BTC free",
        ),
        ("a revision while a quote stands", |h| h[12].1.push(revised(2, &instrument())), "busy: true"),
        ("a revision that is left out", |h| h[14].1.push(revised(3, &instrument())), "not one that could be made"),
        (
            "a revision that changes the lot",
            |h| {
                let mut other = instrument();
                other["lot_size"] = json!("0.01");
                h[14].1.push(revised(2, &other));
            },
            "not one that could be made",
        ),
        (
            "a weight that a revision raised, and that exposure forgot",
            |h| {
                let mut heavier = instrument();
                heavier["exposure_per_lot"] = json!(11);
                h[7].1.push(revised(2, &heavier));
            },
            "over the limit",
        ),
        (
            "a limit above the hard one",
            |h| h[7].1.push(control(5, &json!({"exposure_limit": {"limit": "101"}}))),
            "the hard one",
        ),
        (
            "a settled spot symbol",
            |h| {
                let settled = json!({"price": 0, "position": "-1", "cash": "0", "position_seq": 5});
                h[14].1.push(json!({"symbol_closed": {"symbol": "BTCUSDT", "settled": settled}}));
            },
            "ended as",
        ),
        (
            "an order of a closed symbol",
            |h| h[14].1.push(json!({"symbol_closed": {"symbol": "BTCUSDT", "settled": null}})),
            "which is closed",
        ),
        (
            "a contract that ends without settlement",
            |h| h[14].1.push(json!({"symbol_closed": {"symbol": "RAIN", "settled": null}})),
            "ended as",
        ),
        (
            "a contract settled at a price between",
            |h| {
                let settled = json!({"price": 50, "position": "0", "cash": "0", "position_seq": 0});
                h[14].1.push(json!({"symbol_closed": {"symbol": "RAIN", "settled": settled}}));
            },
            "ended as",
        ),
    ];
    for (what, plant, found) in plants {
        let mut history = sound();
        plant(&mut history);
        let violations = judged(&history, &[]).violations;
        assert!(violations.iter().any(|violation| violation.contains(found)), "{what}: {violations:?}");
    }
    // To the unit: where these are not off, nothing is found.
    let mut history = sound();
    deposit(&mut history, "0.004752285003");
    assert_eq!(judged(&history, &[]).violations, Vec::<String>::new());
}

#[test]
fn each_planted_fault_in_what_bounds_quotes_is_found() {
    type Plant = (&'static str, fn(&mut History), &'static str);
    fn parameters(history: &mut History, frame: usize) {
        history[frame].1[0]["quote_placed"]["basis"]["parameters"] = json!("00".repeat(32));
    }
    let plants: [Plant; 12] = [
        ("a grant of an unlisted symbol", |h| h[2].1.push(granted("RAIN")), "not listed"),
        (
            "a holder that a listing left",
            |h| h[12].1.push(json!({"listing_changed": {"symbols": ["RAIN"]}})),
            "not listed",
        ),
        ("a quote by other parameters", |h| parameters(h, 10), "quotes by parameters"),
        ("a quote by parameters that nobody committed", |h| drop(h[2].1.pop()), "quotes by parameters"),
        (
            "a digest of another text",
            |h| h[2].1[2]["parameters_committed"]["text"] = json!("half spread 2 ticks"),
            "another digest",
        ),
        (
            "a quote by the parameters of a maker that left",
            |h| h[9].1.push(json!({"maker_departed": {"maker": "a", "incarnation": 3, "reason": "left"}})),
            "quotes by parameters",
        ),
        (
            "a quote out of range",
            |h| h[0].1[0]["symbol_defined"]["instrument"]["min_price"] = json!(100),
            "quoted out of",
        ),
        ("a protection that does not trip", |h| h[13].1.truncate(2), "protections trip"),
        ("a protection that pauses for too long", |h| h[13].1[2] = protected(6_501), "protections trip"),
        ("a protection that trips one lot early", |h| h[12].1.push(protected(6_400)), "protections trip"),
        ("a quote that outlives its protection", |h| drop(h[13].1.pop()), "its protection has tripped"),
        ("a quote in the pause", |h| h[14].1.push(quote(15, 3, 4, (107, 1), None)), "pauses it"),
    ];
    for (what, plant, found) in plants {
        let mut history = sound();
        plant(&mut history);
        let violations = judged(&history, &[]).violations;
        assert!(violations.iter().any(|violation| violation.contains(found)), "{what}: {violations:?}");
    }
    // A fill at the end of the window opens another.
    let mut history = sound();
    history[13].0 = 2_100;
    history[14..].iter_mut().for_each(|(time, _)| *time = (*time).max(2_100));
    let violations = judged(&history, &[]).violations;
    assert!(violations[0].contains("protections trip until {BTCUSDT: 6500}, and had to: {}"), "{violations:?}");
}

/// An order of a contract, and its fill of another's order or of the quote.
fn bought(trade_id: u64, (order_id, account): (u64, &str), (price, qty): (i64, i64), maker: &Value) -> Vec<Value> {
    let notional = i128::from(price * qty) * 10_000_000_000;
    let told = |units: i128| format!("{}.{:012}", units / 1_000_000_000_000, units % 1_000_000_000_000);
    vec![
        json!({"order_executed": {"order_id": order_id, "exchange_epoch": 2, "exec_id": trade_id, "order": {"account": account,
            "client_order_id": format!("o{order_id}"), "symbol": "RAIN", "side": "buy", "order_type": "market",
            "time_in_force": "ioc", "price": null, "qty": qty, "timestamp": 1_000}, "status": "filled", "cum_qty": qty,
            "leaves_qty": 0}}),
        json!({"fill_committed": {"trade_id": trade_id, "symbol": "RAIN", "price": price, "qty": qty,
            "notional": told(notional), "taker_fee": told(notional * TAKER_FEE / 1_000_000),
            "maker_fee": told(notional * MAKER_FEE / 1_000_000), "taker_order_id": order_id, "taker_side": "buy",
            "maker": maker}}),
    ]
}

/// A limited account buys 4 contracts, offers 6, sells 5 of these, so that it is short of one, and it rains.
fn contracts() -> History {
    let mut terms = contract();
    (terms["maker_fee_ppm"], terms["taker_fee_ppm"]) = (json!(100), json!(500));
    let mut quoted = quote(6, 1, 0, (62, 10), None);
    quoted["quote_placed"]["symbol"] = json!("RAIN");
    quoted["quote_placed"]["bid"]["price"] = json!(58);
    let of_quote =
        json!({"quote": {"quote_id": 6, "maker": "a", "epoch": 1, "leaves": 6, "position": "-4", "position_seq": 1}});
    let of_order = json!({"order": {"order_id": 8, "account": "ann", "client_order_id": "o8", "leaves": 1}});
    let mut second = bought(2, (9, "bob"), (70, 5), &of_order);
    second[0]["order_executed"]["exec_id"] = json!(3);
    let offered = json!({"order_executed": {"order_id": 8, "exchange_epoch": 2, "exec_id": 2, "order": {"account": "ann",
        "client_order_id": "o8", "symbol": "RAIN", "side": "sell", "order_type": "limit", "time_in_force": "gtc",
        "price": 70, "qty": 6, "timestamp": 1_000}, "status": "new", "cum_qty": 0, "leaves_qty": 6}});
    let settled = vec![
        control(3, &json!({"settle": {"symbol": "RAIN", "price": 100}})),
        json!({"quote_ended": {"symbol": "RAIN", "quote_id": 6, "released_long": "10", "released_short": "6", "reason": "authority_ended"}}),
        json!({"authority_ended": {"symbol": "RAIN", "maker": "a", "incarnation": 3, "epoch": 1, "reason": "symbol_closed"}}),
        json!({"order_closed": {"order_id": 8, "symbol": "RAIN", "account": "ann", "client_order_id": "o8",
            "status": "cancelled", "cum_qty": 5}}),
        json!({"symbol_closed": {"symbol": "RAIN",
            "settled": {"price": 100, "position": "-4", "cash": "-4", "position_seq": 2}}}),
    ];
    vec![
        (1_000, vec![json!({"symbol_defined": {"symbol": "RAIN", "instrument": terms}})]),
        (1_000, vec![json!({"exchange_registered": {"exchange": "x", "exchange_epoch": 2}})]),
        (1_000, vec![granted("RAIN"), committed("RAIN")]),
        (1_000, vec![control(1, &json!({"limit_account": {"account": "ann"}}))]),
        (1_000, vec![control(2, &json!({"deposit": {"account": "ann", "asset": "USDT", "amount": "20"}}))]),
        (1_000, vec![quoted]),
        (1_100, bought(1, (7, "ann"), (62, 4), &of_quote)),
        (1_200, vec![offered]),
        (1_300, second),
        (1_400, settled),
    ]
}

/// The balances after frames 8, 9 and 10, worked out by hand.
fn owed() -> Vec<(&'static str, Value)> {
    let row = |asset: &str, total: &str, locked: &str, free: &str| json!({"asset": asset, "total": total, "locked": locked, "free": free});
    let amounts = |of: &[(&str, &str)]| -> Value {
        of.iter().map(|(asset, amount)| json!({"asset": asset, "amount": amount})).collect()
    };
    let ann = |rows: &[Value]| json!({"account": "ann", "limited": true, "balances": rows});
    let bob = |rows: &[Value]| json!({"account": "bob", "limited": false, "balances": rows});
    let shown = |accounts: &[Value], house: &[(&str, &str)], fees: &str| {
        json!({"accounts": accounts, "house": amounts(house), "fees": amounts(&[("USDT", fees)]),
            "deposits": amounts(&[("USDT", "20")]), "next_after": null})
    };
    // 4 of the 6 contracts are there; of 2 the loss of 0.30 each, the fee on 1.40, and two units are locked.
    let offered = ann(&[row("RAIN", "4", "4", "0"), row("USDT", "17.51876", "0.600140000002", "16.918619999998")]);
    let before = shown(&[offered], &[("RAIN", "-4"), ("USDT", "2.479752")], "0.001488");
    // One is owed, and locks the 1 that it may pay; one is still offered.
    let short = ann(&[row("RAIN", "-1", "0", "-1"), row("USDT", "21.01841", "1.300070000001", "19.718339999999")]);
    let holds = bob(&[row("RAIN", "5", "0", "5"), row("USDT", "-3.50175", "0", "-3.50175")]);
    let after = shown(&[short, holds], &[("RAIN", "-4"), ("USDT", "2.479752")], "0.003588");
    let paid = ann(&[row("USDT", "20.01841", "0", "20.01841")]);
    let got = bob(&[row("USDT", "1.49825", "0", "1.49825")]);
    let ended = shown(&[paid, got], &[("USDT", "-1.520248")], "0.003588");
    let at = [(8, 1_200, before), (9, 1_300, after), (10, 1_400, ended)];
    at.into_iter().map(|(index, time, data)| ("balances", answer(index, time, &data))).collect()
}

#[test]
fn what_contracts_lock_and_bring_is_known_to_the_unit() {
    assert_eq!(judged(&contracts(), &owed()).violations, Vec::<String>::new());
    each_field_bites(&contracts(), &owed());
}

#[test]
fn each_planted_fault_in_a_settlement_is_found() {
    type Plant = (&'static str, fn(&mut History), &'static str);
    fn settled(history: &mut History, field: &str, to: &Value) {
        history[9].1[4]["symbol_closed"]["settled"][field] = to.clone();
    }
    fn deposit(history: &mut History, amount: &str) {
        history[4].1[0]["control_changed"]["change"]["deposit"]["amount"] = json!(amount);
    }
    let plants: [Plant; 8] = [
        ("a unit too much", |h| settled(h, "cash", &json!("-4.000000000001")), "worth"),
        ("another position", |h| settled(h, "position", &json!("-5")), "worth"),
        ("a settlement that is not counted", |h| settled(h, "position_seq", &json!(1)), "ended as"),
        (
            "settled twice",
            |h| {
                let again = h[9].1[4].clone();
                h.push((1_500, vec![again]));
            },
            "ended twice",
        ),
        ("an order that outlives its symbol", |h| drop(h[9].1.remove(3)), "left something: true"),
        ("a holder that outlives its symbol", |h| drop(h[9].1.remove(2)), "has ended"),
        ("a quote that outlives its symbol", |h| drop(h[9].1.drain(1..3)), "left something: true"),
        ("a short sale that is not covered", |h| deposit(h, "3.081380000001"), "ann has -1 of 10^-12 USDT free"),
    ];
    for (what, plant, found) in plants {
        let mut history = contracts();
        plant(&mut history);
        let violations = judged(&history, &[]).violations;
        assert!(violations.iter().any(|violation| violation.contains(found)), "{what}: {violations:?}");
    }
    let mut history = contracts();
    deposit(&mut history, "3.081380000002");
    assert_eq!(judged(&history, &[]).violations, Vec::<String>::new());
}

#[test]
fn a_mark_that_is_too_old_raises_no_high_water_mark() {
    let shown = |log_time: u64, unmarked_since: Value, high_water: &str| {
        let row = json!([{"asset": "USDT", "equity": "0.000049597", "cash": "0.002049597", "realised": "0.000023333334",
            "unrealised": "0.000026666666", "fees": "0.000000403", "unmarked_since": unmarked_since,
            "high_water": high_water}]);
        let mut history = sound();
        history.truncate(13);
        history[12].0 = log_time;
        judged(&history, &[("pnl", answer(13, log_time, &row))]).violations
    };
    assert_eq!(shown(15_899, Value::Null, "0.000049597"), Vec::<String>::new());
    assert_eq!(shown(15_900, json!(15_900), "0.000039696"), Vec::<String>::new());
    assert!(shown(15_900, json!(15_900), "0.000049597")[0].contains("high_water"));
}

#[test]
fn a_mark_far_from_the_last_counts_once_another_has_borne_it_out() {
    let found = |marks: &[(i64, u64, bool)]| {
        let mut history = sound();
        history.truncate(8);
        for (price, time, counts) in marks {
            let mark = json!({"symbol": "BTCUSDT", "price": price, "time": time, "counts": counts});
            history.push((3_000, vec![json!({"marks_published": {"marks": [mark]}})]));
        }
        judged(&history, &[]).violations
    };
    // 220 is just within a tenth of 200; 221 is not, and waits; 240 is near that one, and comes soon, and then late enough.
    assert_eq!(found(&[(220, 1_000, true), (200, 1_000, true)]), Vec::<String>::new());
    let borne_out = [(221, 1_000, false), (240, 1_999, false), (240, 2_000, true), (221, 2_000, true)];
    assert_eq!(found(&borne_out), Vec::<String>::new());
    for nth in 0..borne_out.len() {
        let mut marks = borne_out;
        marks[nth].2 = !marks[nth].2;
        assert!(found(&marks[..=nth])[0].contains("a mark of"), "mark {nth}");
    }
    // One outside of both bands takes the place of the one that waits.
    assert_eq!(found(&[(221, 1_000, false), (300, 1_500, false), (300, 2_499, false)]), Vec::<String>::new());
}

#[test]
fn the_band_of_a_contract_is_a_tenth_of_what_it_pays() {
    let found = |price: i64, counts: bool| {
        let mut history = sound();
        history.truncate(8);
        let instrument = &mut history[0].1[0]["symbol_defined"]["instrument"];
        (instrument["kind"], instrument["max_price"]) = (json!({"binary": {"pays": 150}}), json!(149));
        let mark = json!({"symbol": "BTCUSDT", "price": price, "time": 1_000, "counts": counts});
        history.push((3_000, vec![json!({"marks_published": {"marks": [mark]}})]));
        judged(&history, &[]).violations
    };
    // It pays 300 half ticks, and stands at 200.
    assert_eq!((found(230, true), found(231, false)), (Vec::new(), Vec::new()));
    assert!(found(230, false)[0].contains("a mark of") && found(231, true)[0].contains("a mark of"));
}
