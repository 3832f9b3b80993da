//! Commands that the ledger refuses, or that cannot be read, one row each, with what a node must answer.

use serde_json::{Value, json};

use super::{
    node_rows::{COMMANDS, INVALID, Row, command, row},
    wire::Ask,
};

/// What stands when the refusals are asked for.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) session: u64,
    /// A number of the session that is used.
    pub(crate) used_seq: u64,
    pub(crate) incarnation: u64,
    pub(crate) epoch: u64,
    pub(crate) exchange_epoch: u64,
    /// A resting buy of account `acc`, named `rest`, at 9000 ticks.
    pub(crate) order_id: u64,
    pub(crate) log_time: u64,
    pub(crate) control_version: u64,
    /// The digest of the parameters that the maker committed for its symbol.
    pub(crate) parameters: String,
}

/// The maker's secret.
pub(crate) fn secret() -> String {
    "07".repeat(32)
}

/// What a quote was computed from.
fn basis(facts: &Facts) -> Value {
    json!({"computed_at": 1, "reference": null, "strategy": "test", "version": 1, "parameters": facts.parameters})
}

/// A control command that would be accepted if nothing were wrong with `change`.
pub(crate) fn control(control_version: u64, change: &Value) -> Value {
    json!({"control": {"actor": "operator", "reason": "a test", "control_version": control_version, "change": change}})
}

/// A quote that would be placed if nothing were wrong with it; `changed` overwrites fields.
pub(crate) fn quote(facts: &Facts, quote_seq: u64, changed: &Value) -> Value {
    let mut quote = json!({
        "symbol": "BTCUSDT", "incarnation": facts.incarnation, "secret": secret(), "epoch": facts.epoch, "revision": 1, "quote_seq": quote_seq,
        "position_seq": 0, "bid": {"price": 9_900, "qty": 5}, "ask": {"price": 10_100, "qty": 5},
        "allow_reduced": false, "ttl_ms": 30_000, "cause": "refresh", "basis": basis(facts),
    });
    overwrite(&mut quote, changed);
    json!({"place_quote": quote})
}

/// An order that would rest if nothing were wrong with it; `changed` overwrites fields of it, `of_order` those of what
/// it orders.
pub(crate) fn execution(facts: &Facts, changed: &Value, of_order: &Value) -> Value {
    let mut execution = json!({
        "exchange_epoch": facts.exchange_epoch, "exec_id": 2, "answered_below": 1, "revision": 1, "deadline": facts.log_time + 50_000, "fills": [],
        "remainder": "rest", "order": {
            "account": "acc", "client_order_id": "next", "symbol": "BTCUSDT", "side": "buy", "order_type": "limit",
            "time_in_force": "gtc", "price": 9_000, "qty": 3, "timestamp": facts.log_time,
        },
    });
    overwrite(&mut execution, changed);
    overwrite(&mut execution["order"], of_order);
    json!({"execute_order": execution})
}

fn overwrite(value: &mut Value, changed: &Value) {
    for (field, to) in changed.as_object().into_iter().flatten() {
        value[field] = to.clone();
    }
}

/// A quote that is refused once its number is used up: the one that it was to replace ends with it.
pub(crate) fn crossing(facts: &Facts, quote_seq: u64) -> Row {
    let crossing = quote(facts, quote_seq, &json!({"bid": null, "ask": {"price": 9_000, "qty": 1}}));
    command("an ask at a resting buy", crossing, 409, "refused:crosses_resting")
}

/// Commands of makers that the ledger refuses, or that cannot be read.
pub(crate) fn refused_quotes(facts: &Facts) -> Vec<Row> {
    // Numbers far above those of the quotes that the test itself places.
    let quote = |changed: Value| quote(facts, 1 << 40, &changed);
    let invalid = |what, changed| command(what, quote(changed), 422, "refused:invalid");
    let unreadable = |what, changed| command(what, quote(changed), 400, INVALID);
    let refused = |what, changed, kind| command(what, quote(changed), 409, kind);
    let side = |price: Value, qty: Value| json!({"bid": {"price": price, "qty": qty}});
    let register = |what, maker: &str, ttl: Value, status, kind| {
        command(
            what,
            json!({"register_maker": {"maker": maker, "ttl_ms": ttl, "secret_hash": "00".repeat(32)}}),
            status,
            kind,
        )
    };
    let pull = |changed: Value| {
        let mut pull = json!({"symbol": "BTCUSDT", "epoch": facts.epoch, "secret": secret(), "quote_seq": 1_u64 << 40});
        overwrite(&mut pull, &changed);
        json!({"pull_quote": pull})
    };
    let of_basis = |field: &str, to: Value| {
        let mut basis = basis(facts);
        basis[field] = to;
        json!({"basis": basis})
    };
    let keep = |what, changed: Value, status, kind| {
        let mut keep = json!({
            "symbol": "BTCUSDT", "incarnation": facts.incarnation, "secret": secret(), "epoch": facts.epoch, "revision": 1,
            "quote_seq": 1_u64 << 40, "quote_id": 1, "position_seq": 0, "ttl_ms": 30_000, "basis": basis(facts),
        });
        overwrite(&mut keep, &changed);
        command(what, json!({"keep_quote": keep}), status, kind)
    };
    let commit = |what, text: &str, status, kind| {
        let commit = json!({"maker": "alpha", "incarnation": facts.incarnation, "secret": secret(), "symbol": "BTCUSDT", "text": text});
        command(what, json!({"commit_parameters": commit}), status, kind)
    };
    vec![
        command("a quote of an unknown symbol", quote(json!({"symbol": "NOPE"})), 404, "refused:unknown_symbol"),
        unreadable("a symbol in small letters", json!({"symbol": "btcusdt"})),
        unreadable("a price off the tick", side(json!(9_900.5), json!(5))),
        unreadable("a price in decimals", side(json!("99.00"), json!(5))),
        unreadable("a price of 64 bits", side(json!(9_223_372_036_854_775_808_u64), json!(5))),
        unreadable("a quantity that is null", side(json!(9_900), Value::Null)),
        unreadable("a side that is a number", json!({"bid": 9_900})),
        unreadable("a cause there is not", json!({"cause": "whim"})),
        unreadable("a negative epoch", json!({"epoch": -1})),
        invalid("a price of 0", side(json!(0), json!(5))),
        invalid("a negative price", side(json!(-9_900), json!(5))),
        invalid("a price above all", side(json!(1_000_000_000_000_001_u64), json!(5))),
        invalid("the largest price there is", side(json!(i64::MAX), json!(5))),
        invalid("the lowest price there is", side(json!(i64::MIN), json!(5))),
        invalid("a quantity of 0", side(json!(9_900), json!(0))),
        invalid("a negative quantity", side(json!(9_900), json!(-5))),
        invalid("the largest quantity there is", side(json!(9_900), json!(i64::MAX))),
        invalid("a bid at the ask", side(json!(10_100), json!(5))),
        invalid("no side", json!({"bid": null, "ask": null})),
        invalid("no life", json!({"ttl_ms": 0})),
        invalid("a life too short", json!({"ttl_ms": 99})),
        invalid("a life too long", json!({"ttl_ms": 30_001})),
        invalid("an endless life", json!({"ttl_ms": u64::MAX})),
        refused("the epoch before", json!({"epoch": facts.epoch - 1}), "refused:stale_epoch"),
        refused("an epoch to come", json!({"epoch": facts.epoch + 1}), "refused:stale_epoch"),
        refused("the last epoch there is", json!({"epoch": u64::MAX}), "refused:stale_epoch"),
        refused("another incarnation", json!({"incarnation": 1}), "refused:unknown_maker"),
        refused("a number used before", json!({"quote_seq": 1}), "refused:stale_quote_seq"),
        refused("number 0", json!({"quote_seq": 0}), "refused:stale_quote_seq"),
        refused("a position to come", json!({"position_seq": 1}), "refused:stale_position"),
        refused("the last position there is", json!({"position_seq": u64::MAX}), "refused:stale_position"),
        register("a lease of 0", "gamma", json!(0), 422, "refused:invalid"),
        register("a lease without end", "gamma", json!(u64::MAX), 422, "refused:invalid"),
        register("a negative lease", "gamma", json!(-1), 400, INVALID),
        register("a maker without a name", "", json!(9_000), 400, INVALID),
        register("a maker with a space", "ga mma", json!(9_000), 400, INVALID),
        register("a maker's name too long", &"g".repeat(33), json!(9_000), 400, INVALID),
        register("a maker's name not in ASCII", "γ", json!(9_000), 400, INVALID),
        command(
            "a renewal by nobody",
            json!({"renew_maker": {"maker": "gamma", "incarnation": facts.incarnation, "secret": secret()}}),
            409,
            "refused:unknown_maker",
        ),
        command(
            "a renewal by an older self",
            json!({"renew_maker": {"maker": "alpha", "incarnation": 1, "secret": secret()}}),
            409,
            "refused:unknown_maker",
        ),
        command(
            "a departure of nobody",
            json!({"deregister_maker": {"maker": "alpha", "incarnation": 0, "secret": secret()}}),
            409,
            "refused:unknown_maker",
        ),
        command(
            "a release under another epoch",
            json!({"release_symbol": {"symbol": "BTCUSDT", "epoch": 0, "secret": secret()}}),
            409,
            "refused:stale_epoch",
        ),
        command("a pull under another epoch", pull(json!({"epoch": 99})), 409, "refused:stale_epoch"),
        command("a pull of an unknown symbol", pull(json!({"symbol": "NOPE"})), 404, "refused:unknown_symbol"),
        command("a pull with a number used before", pull(json!({"quote_seq": 1})), 409, "refused:stale_quote_seq"),
        command("a pull with another's secret", pull(json!({"secret": "08".repeat(32)})), 409, "refused:wrong_secret"),
        command("a pull with half a secret", pull(json!({"secret": "07".repeat(16)})), 400, INVALID),
        refused("another's secret", json!({"secret": "08".repeat(32)}), "refused:wrong_secret"),
        unreadable("a secret in words", json!({"secret": "secret"})),
        unreadable("no secret", json!({"secret": Value::Null})),
        unreadable("no basis", json!({"basis": Value::Null})),
        refused("other parameters", of_basis("parameters", json!("00".repeat(32))), "refused:unknown_parameters"),
        invalid("a state too long", of_basis("state", json!(vec![0; 257]))),
        keep("a keep of an unknown symbol", json!({"symbol": "NOPE"}), 404, "refused:unknown_symbol"),
        keep("a keep without life", json!({"ttl_ms": 0}), 422, "refused:invalid"),
        keep("a keep under the epoch before", json!({"epoch": facts.epoch - 1}), 409, "refused:stale_epoch"),
        keep("a keep with another's secret", json!({"secret": "08".repeat(32)}), 409, "refused:wrong_secret"),
        keep("a keep with a number used before", json!({"quote_seq": 1}), 409, "refused:stale_quote_seq"),
        keep("a keep from a position to come", json!({"position_seq": 1}), 409, "refused:stale_position"),
        commit("no parameters", "", 422, "refused:invalid"),
        commit("parameters too long", &"p".repeat(1_025), 422, "refused:invalid"),
    ]
}

/// Commands of exchanges that the ledger refuses, or that cannot be read.
pub(crate) fn refused_orders(facts: &Facts) -> Vec<Row> {
    let none = json!({});
    let whole = |changed: Value| execution(facts, &changed, &none);
    let order = |changed: Value| execution(facts, &json!({}), &changed);
    let invalid = |what, changed| command(what, order(changed), 422, "refused:invalid");
    let plan = |what, changed| command(what, whole(changed), 422, "refused:invalid");
    let fill = |against: Value, price: u64, qty: u64| json!({"fills": [{"against": against, "leaves": 5, "price": price, "qty": qty}]});
    let cancel = |what, epoch: u64, account: &str, order_id: u64, status, kind| {
        let cancel = json!({"exchange_epoch": epoch, "account": account, "order_id": order_id});
        command(what, json!({"cancel_order": cancel}), status, kind)
    };
    let fills = vec![json!({"against": {"order": 1}, "leaves": 1, "price": 1, "qty": 1}); 129];
    vec![
        command(
            "an exchange that was fenced",
            whole(json!({"exchange_epoch": facts.exchange_epoch - 1})),
            409,
            "refused:stale_exchange",
        ),
        command("an execution left out", whole(json!({"exec_id": 3})), 409, "refused:exec_gap"),
        command("the last execution there is", whole(json!({"exec_id": u64::MAX})), 409, "refused:exec_gap"),
        command("an execution for another order", whole(json!({"exec_id": 1})), 409, "refused:exec_reused"),
        command("execution 0", whole(json!({"exec_id": 0, "answered_below": 0})), 409, "refused:exec_reused"),
        plan("answers up to one that was not sent", json!({"answered_below": 3})),
        command("an order of an unknown symbol", order(json!({"symbol": "NOPE"})), 404, "refused:unknown_symbol"),
        invalid("an order of 0", json!({"qty": 0})),
        invalid("an order of less", json!({"qty": -3})),
        invalid("the largest order there is", json!({"qty": i64::MAX})),
        invalid("a limit without a price", json!({"price": null})),
        invalid("a price of 0", json!({"price": 0})),
        invalid("a negative price", json!({"price": -1})),
        invalid("the largest price there is", json!({"price": i64::MAX})),
        invalid("a market order with a price", json!({"order_type": "market"})),
        invalid("a limit maker that is killed", json!({"order_type": "limit_maker", "time_in_force": "fok"})),
        invalid("a time far ahead", json!({"timestamp": facts.log_time + 60_000})),
        invalid("the last time there is", json!({"timestamp": u64::MAX})),
        invalid("a rest that is killed", json!({"time_in_force": "ioc"})),
        plan("a deadline far ahead", json!({"deadline": facts.log_time + 600_000})),
        plan("the last deadline there is", json!({"deadline": u64::MAX})),
        plan("too many fills", json!({"fills": fills})),
        plan("a fill above the order", fill(json!({"order": facts.order_id}), 9_000, 4)),
        plan("a fill of 0", fill(json!({"order": facts.order_id}), 9_000, 0)),
        plan("nothing left of nothing filled", json!({"remainder": "none"})),
        command("a deadline that has passed", whole(json!({"deadline": 1})), 409, "refused:deadline_passed"),
        command(
            "a fill of a quote there is not",
            whole(fill(json!({"quote": 1}), 10_100, 1)),
            409,
            "refused:not_active",
        ),
        command(
            "a fill of its own side",
            whole(fill(json!({"order": facts.order_id}), 9_000, 1)),
            409,
            "refused:not_active",
        ),
        command("a name that is taken", order(json!({"client_order_id": "rest"})), 409, "refused:duplicate_order"),
        command("a rest that would take", order(json!({"price": 10_100})), 409, "refused:would_cross"),
        command("a side there is not", order(json!({"side": "hold"})), 400, INVALID),
        command("a price off the tick", order(json!({"price": 9_000.5})), 400, INVALID),
        command("an account not in ASCII", order(json!({"account": "ä"})), 400, INVALID),
        command("a field too many", order(json!({"iceberg": 1})), 400, INVALID),
        cancel("a cancel by a fenced exchange", 1, "acc", facts.order_id, 409, "refused:stale_exchange"),
        cancel("a cancel of nothing", facts.exchange_epoch, "acc", 1, 404, "refused:unknown_order"),
        cancel(
            "a cancel of the last order there is",
            facts.exchange_epoch,
            "acc",
            u64::MAX,
            404,
            "refused:unknown_order",
        ),
        cancel(
            "a cancel of another's order",
            facts.exchange_epoch,
            "other",
            facts.order_id,
            404,
            "refused:unknown_order",
        ),
    ]
}

/// Commands about symbols, control and sessions that the ledger refuses, or that cannot be read.
pub(crate) fn refused_control(facts: &Facts) -> Vec<Row> {
    let instrument = |tick: Value, lot: Value, per_lot: Value| {
        let instrument =
            json!({"base": "XRP", "quote": "USDT", "tick_size": tick, "lot_size": lot, "exposure_per_lot": per_lot});
        json!({"define_symbol": {"symbol": "XRPUSDT", "instrument": instrument}})
    };
    let good = instrument(json!("0.01"), json!("0.001"), json!(1));
    let version = facts.control_version;
    let limit = |limit: Value, version: u64| control(version, &json!({"exposure_limit": {"limit": limit}}));
    let in_session = |what, session: u64, seq: u64, status, kind| {
        let body = json!({"session": session, "seq": seq, "command": good});
        row(what, Ask::json(COMMANDS, body.to_string()), status, kind)
    };
    let upgrade = |to: u64| control(version, &json!({"ledger_version": {"version": to}}));
    let switch = control(version + 1, &json!({"kill_switch": {"engaged": false}}));
    let quoting = |scope: Value| control(version, &json!({"quoting": {"scope": scope, "on": false}}));
    let position =
        |symbol: &str, max: Value| control(version, &json!({"position_limit": {"symbol": symbol, "max": max}}));
    let reason = |text: &str| {
        let mut command = limit(json!("50"), version);
        command["control"]["reason"] = json!(text);
        command
    };
    let existing = json!({"define_symbol": {"symbol": "BTCUSDT", "instrument":
        {"base": "BTC", "quote": "USDT", "tick_size": "0.1", "lot_size": "0.001", "exposure_per_lot": 1}}});
    vec![
        command("a tick of 0", instrument(json!("0"), json!("1"), json!(1)), 422, "refused:invalid"),
        command("a negative tick", instrument(json!("-0.01"), json!("1"), json!(1)), 422, "refused:invalid"),
        command("a lot of 0", instrument(json!("1"), json!("0.000"), json!(1)), 422, "refused:invalid"),
        command("a tick in words", instrument(json!("small"), json!("1"), json!(1)), 400, INVALID),
        command("a tick that is a number", instrument(json!(0.01), json!("1"), json!(1)), 400, INVALID),
        command("a tick of 13 digits", instrument(json!("0.0000000000001"), json!("1"), json!(1)), 400, INVALID),
        command("a tick of 30 digits", instrument(json!("1".repeat(30)), json!("1"), json!(1)), 400, INVALID),
        command("a lot that exposes nothing", instrument(json!("1"), json!("1"), json!(0)), 422, "refused:invalid"),
        command("a lot that exposes less", instrument(json!("1"), json!("1"), json!(-1)), 422, "refused:invalid"),
        command("a lot that exposes too much", instrument(json!("1"), json!("1"), json!(101)), 422, "refused:invalid"),
        command("a symbol defined otherwise", existing, 409, "refused:symbol_exists"),
        command("a limit above all", limit(json!("101"), version), 422, "refused:limit_out_of_range"),
        command("a limit below 0", limit(json!("-1"), version), 422, "refused:limit_out_of_range"),
        command(
            "the largest limit there is",
            limit(json!(i128::MAX.to_string()), version),
            422,
            "refused:limit_out_of_range",
        ),
        command("a limit that is a number", limit(json!(50), version), 400, INVALID),
        command("a limit of 129 bits", limit(json!("340282366920938463463374607431768211456"), version), 400, INVALID),
        command("a limit in words", limit(json!("none"), version), 400, INVALID),
        command("a limit decided on other facts", limit(json!("50"), version + 1), 409, "refused:control_version"),
        command("a switch on facts to come", switch, 409, "refused:control_version"),
        command("a position limit of an unknown symbol", position("NOPE", json!(1)), 404, "refused:unknown_symbol"),
        command("a position limit below 0", position("BTCUSDT", json!(-1)), 422, "refused:invalid"),
        command("a position limit above all", position("BTCUSDT", json!(i64::MAX)), 422, "refused:invalid"),
        command("no reason", reason(""), 422, "refused:invalid"),
        command("a reason of two lines", reason("two\nlines"), 422, "refused:invalid"),
        command("a reason too long", reason(&"r".repeat(257)), 422, "refused:invalid"),
        command("quoting of an unknown symbol", quoting(json!({"symbol": "NOPE"})), 404, "refused:unknown_symbol"),
        command("quoting of everything and one", quoting(json!({"symbol": "BTCUSDT", "maker": "alpha"})), 400, INVALID),
        command("quoting of what is not", quoting(json!("some")), 400, INVALID),
        command("a ledger of before", upgrade(0), 422, "refused:ledger_version"),
        command("a ledger to come", upgrade(99), 400, INVALID),
        command("a ledger of 33 bits", upgrade(1 << 32), 400, INVALID),
        command("a session in a session", json!("open_session"), 422, "refused:invalid"),
        in_session("no session", 0, 0, 422, "refused:session_required"),
        in_session("an unknown session", 1, 1, 409, "refused:session_expired"),
        in_session("the last session there is", u64::MAX, 1, 409, "refused:session_expired"),
        in_session("number 0", facts.session, 0, 409, "refused:seq_too_old"),
        in_session("a number used for something else", facts.session, facts.used_seq, 409, "refused:seq_reused"),
    ]
}
