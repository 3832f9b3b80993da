//! The largest answer of every kind, and that it stays within its bounds: as it is kept, and as JSON.

#![allow(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

use std::collections::BTreeSet;

use quorate_api::{Applied, Problem};
use quorate_domain::*;
use quorate_ledger::{bounds::*, *};
use serde::{Serialize, de::DeserializeOwned};

/// The longest in JSON and in the log, whatever is allowed.
const LONG: i64 = i64::MIN;
const WIDE: i128 = i128::MIN;
const MOST: u64 = u64::MAX;

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(len: usize) -> T {
    assert!("A".repeat(len + 1).parse::<T>().is_err(), "a longer one is not accepted");
    "A".repeat(len).parse().unwrap()
}

fn symbol() -> Symbol {
    name(20)
}

fn asset() -> Asset {
    name(20)
}

fn maker() -> MakerName {
    name(32)
}

fn account() -> Account {
    name(32)
}

fn text() -> String {
    "t".repeat(REFUSAL_TEXT_MAX)
}

/// With the fills of as large an order as there may be.
fn order_result() -> OrderResult {
    OrderResult {
        order_id: MOST,
        status: OrderStatus::PartiallyFilled,
        cum_qty: Qty(LONG),
        leaves_qty: Qty(LONG),
        cum_quote: Money(WIDE),
        trades: vec![Trade { trade_id: MOST, price: Price(LONG), qty: Qty(LONG) }; FILLS_PER_ORDER_MAX],
    }
}

fn answers() -> Vec<Answer> {
    let deadline = Millis(MOST);
    vec![
        Answer::SessionOpened { session: MOST },
        Answer::SessionClosed,
        Answer::SymbolDefined { existed: false },
        Answer::ControlChanged { control_version: MOST },
        Answer::MakerRegistered { incarnation: MOST, deadline, holdings_index: MOST },
        Answer::MakerRenewed { deadline, holdings_index: MOST },
        Answer::MakerDeregistered,
        Answer::ParametersCommitted { digest: Digest([255; 32]) },
        Answer::SymbolReleased,
        Answer::QuotePlaced { quote_id: MOST, bid_qty: Qty(LONG), ask_qty: Qty(LONG), reduced: false, deadline },
        Answer::QuoteKept { deadline },
        Answer::QuotePulled { quote_id: Some(MOST) },
        Answer::ExchangeRegistered { exchange_epoch: MOST },
        Answer::OrderExecuted(order_result()),
        Answer::OrderCancelled(order_result()),
        Answer::MarksPublished { counted: u32::MAX, waiting: u32::MAX, ignored: u32::MAX },
        Answer::ListingSet,
        Answer::Done,
    ]
}

fn refusals() -> Vec<Refusal> {
    let (against, price, side) = (Against::Order(MOST), Price(LONG), Side::Sell);
    vec![
        Refusal::SessionRequired,
        Refusal::SessionExpired { session: MOST },
        Refusal::SeqReused { seq: MOST },
        Refusal::SeqTooOld { seq: MOST, window_from: MOST },
        Refusal::TooManySessions { max: MOST },
        Refusal::Invalid { what: text() },
        Refusal::Full { what: text(), max: MOST },
        Refusal::UnknownSymbol { symbol: symbol() },
        Refusal::SymbolExists { symbol: symbol() },
        Refusal::SymbolClosed { symbol: symbol(), settled: Some(price) },
        Refusal::StaleRevision { revision: MOST },
        Refusal::UnknownAsset { asset: asset() },
        Refusal::SymbolsDefined,
        Refusal::OtherQuoteAsset { asset: asset() },
        Refusal::SymbolBusy { symbol: symbol() },
        Refusal::NotTripped { asset: asset() },
        Refusal::AccountBusy { account: account() },
        Refusal::ControlVersion { control_version: MOST },
        Refusal::LimitOutOfRange { hard_limit: Exposure(WIDE) },
        Refusal::LedgerVersion { present: u32::MAX, known: u32::MAX },
        Refusal::KillSwitch { control_version: MOST },
        Refusal::QuotingOff { scope: QuotingScope::Maker(maker()) },
        Refusal::BreakerTripped { asset: asset() },
        Refusal::Paused { until: Millis(MOST) },
        Refusal::UnknownMaker { incarnation: MOST, present: Some(MOST) },
        Refusal::StaleEpoch { symbol: symbol(), epoch: MOST, holder: Some(maker()) },
        Refusal::AuthorityExpired { symbol: symbol(), deadline: Millis(MOST) },
        Refusal::WrongSecret { maker: maker() },
        Refusal::UnknownParameters { committed: Some(Digest([255; 32])) },
        Refusal::StaleQuoteSeq { last: MOST },
        Refusal::StalePosition { position_seq: MOST, position: Position(LONG) },
        Refusal::CrossesResting { side, price },
        Refusal::ExposureShort { long_free: Exposure(WIDE), short_free: Exposure(WIDE) },
        Refusal::TooHeavy { lot: Exposure(WIDE), limit: Exposure(WIDE) },
        Refusal::PositionLimit { position: Position(LONG), max: Qty(LONG) },
        Refusal::StaleExchange { exchange_epoch: MOST },
        Refusal::ExecGap { expected: MOST },
        Refusal::ExecWindowFull { max: MOST },
        Refusal::ExecReused { exec_id: MOST },
        Refusal::DeadlinePassed { log_time: Millis(MOST) },
        Refusal::DuplicateOrder { client_order_id: name(36), same: false, result: order_result() },
        Refusal::NamesFull { account: account(), max: MOST },
        Refusal::NotActive { against },
        Refusal::LeavesMoved { against, leaves: Qty(LONG) },
        Refusal::DoesNotCross { against, price },
        Refusal::WouldCross { against, price },
        Refusal::BalanceShort { asset: asset(), free: Money(WIDE), needed: Money(WIDE) },
        Refusal::Overflow { what: text() },
        Refusal::UnknownOrder { account: account(), order_id: MOST },
        Refusal::OrderClosed { result: order_result() },
    ]
}

/// The names of the variants of `T`: serde lists them where it meets another.
fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_str::<T>(r#""no such variant""#).err().map(|error| error.to_string()).unwrap();
    let listed = error.split_once("expected one of ").unwrap().1.split(" at line").next().unwrap();
    listed.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

fn names<T: Serialize>(values: &[T]) -> BTreeSet<String> {
    let name = |value: &T| match serde_json::to_value(value).unwrap() {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(fields) => fields.keys().next().unwrap().clone(),
        other => panic!("{other}"),
    };
    values.iter().map(name).collect()
}

#[test]
fn the_largest_answer_of_every_kind_is_within_its_bounds() {
    let (answers, refusals) = (answers(), refusals());
    assert_eq!(names(&answers), variants::<Answer>());
    assert_eq!(names(&refusals), variants::<Refusal>());
    let outcomes = answers.into_iter().map(Outcome::Accepted).chain(refusals.into_iter().map(Outcome::Refused));
    let mut largest = (0, 0);
    for outcome in outcomes {
        let response = Response { index: MOST, log_time: Millis(MOST), outcome };
        let kept = postcard::to_stdvec(&response).unwrap().len();
        assert!(kept <= ANSWER_MAX_BYTES, "{kept} bytes: {response:?}");
        let applied = match response.outcome.clone() {
            Outcome::Accepted(_) => Applied::Response(response),
            Outcome::Refused(refusal) => {
                let problem = Problem::refused(response, &refusal);
                Applied::Problem(Problem { leader: Some(MOST), first_index: Some(MOST), ..problem })
            }
        };
        let json = serde_json::to_vec(&applied).unwrap().len();
        assert!(json <= ANSWER_JSON_MAX_BYTES, "{json} bytes of JSON: {applied:?}");
        largest = (largest.0.max(kept), largest.1.max(json));
    }
    // The bounds say something: they are not far above what there is.
    assert!(largest.0 > ANSWER_MAX_BYTES / 2 && largest.1 > ANSWER_JSON_MAX_BYTES / 2, "{largest:?}");
}
