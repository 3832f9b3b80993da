//! Requests as orders, and outcomes as answers. Translates; decides nothing.

use quorate_api::OrderView;
use quorate_binance_api::{
    ApiError, SymbolFilters,
    model::{self, Fill, OrderInfo, OrderPlaced, OrderStanding, PlacedResult, ResponseType},
    params::{NamedOrder, PlaceOrder},
};
use quorate_domain::{Account, ClientOrderId, Instrument, Millis, OrderType, Price, Side, TimeInForce, fee};
use quorate_ledger::{NewOrder, OrderResult, OrderStatus, Refusal, RefusalClass, Trade};
use quorate_matching::{CancelOutcome, Committed, NotExecuted, OrderOutcome};

use crate::{
    desk::Placed,
    history::{History, Known},
};

/// What it takes to show an order.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Of the order's symbol.
    pub filters: &'a SymbolFilters,
    /// What is known of orders beyond the ledger's word.
    pub history: &'a History,
}

/// The order that a request asks for, with every filter checked but that of the reference price.
///
/// # Errors
/// -1013 with the filter's name.
pub fn new_order(
    request: &PlaceOrder,
    filters: &SymbolFilters,
    account: Account,
    client_order_id: ClientOrderId,
    timestamp: Millis,
) -> Result<NewOrder, ApiError> {
    let market = request.order_type == model::OrderType::Market;
    let price = request.price.map(|price| filters.ticks(price)).transpose()?;
    let qty = filters.lots(request.quantity, market)?;
    let side = match request.side {
        model::Side::Buy => Side::Buy,
        model::Side::Sell => Side::Sell,
    };
    if let Some(price) = price {
        filters.check_notional(price, qty)?;
    }
    Ok(NewOrder {
        account,
        client_order_id,
        symbol: request.symbol.clone(),
        side,
        order_type: match request.order_type {
            model::OrderType::Limit => OrderType::Limit,
            model::OrderType::Market => OrderType::Market,
            model::OrderType::LimitMaker => OrderType::LimitMaker,
        },
        time_in_force: match request.time_in_force {
            model::TimeInForce::Gtc => TimeInForce::Gtc,
            model::TimeInForce::Ioc => TimeInForce::Ioc,
            model::TimeInForce::Fok => TimeInForce::Fok,
        },
        price,
        qty,
        timestamp,
    })
}

/// The answer to a new order.
///
/// # Errors
/// What came of it, where it was not placed or is not known.
pub fn placed(
    order: &NewOrder,
    shown: Shown<'_>,
    wanted: ResponseType,
    placed: Placed,
) -> Result<OrderPlaced, ApiError> {
    let executed_by = placed.instrument.as_ref().unwrap_or_else(|| shown.filters.instrument());
    let committed = match placed.outcome {
        OrderOutcome::Committed(committed) => committed,
        OrderOutcome::Refused(refusal) => return Err(refused(&refusal)),
        OrderOutcome::NotExecuted(why) => return Err(not_executed(why)),
        OrderOutcome::Unknown => return Err(ApiError::unknown()),
    };
    answer(order, shown, wanted, committed.log_time, (&committed.result, executed_by))
}

/// The answer to an order that was placed before: `kept` is what its name stands for, `result` where that stands.
///
/// # Errors
/// -2010 where that is another order, or was rejected.
pub fn placed_before(
    shown: Shown<'_>,
    wanted: ResponseType,
    order: &NewOrder,
    kept: &NewOrder,
    result: &OrderResult,
) -> Result<OrderPlaced, ApiError> {
    // By the ledger's own rule the timestamp does not count.
    if *kept != (NewOrder { timestamp: kept.timestamp, ..order.clone() }) {
        return Err(ApiError::duplicate_order());
    }
    let taken_at = shown.history.of(result.order_id).taken_at.unwrap_or(kept.timestamp);
    answer(kept, shown, wanted, taken_at, (result, shown.filters.instrument()))
}

fn answer(
    order: &NewOrder,
    shown: Shown<'_>,
    wanted: ResponseType,
    at: Millis,
    (result, executed_by): (&OrderResult, &Instrument),
) -> Result<OrderPlaced, ApiError> {
    let Shown { filters, history } = shown;
    let known = history.of(result.order_id);
    if result.status == OrderStatus::Rejected {
        return Err(ApiError::rejected("Order would immediately match and take."));
    }
    let stands = PlacedResult {
        price: price_text(filters, order.price),
        orig_qty: filters.qty(order.qty),
        executed_qty: filters.qty(result.cum_qty),
        cummulative_quote_qty: result.cum_quote.to_string(),
        status: status(result.status, known),
        time_in_force: time_in_force(order),
        order_type: order_type(order.order_type),
        side: side(order.side),
    };
    Ok(OrderPlaced {
        symbol: order.symbol.to_string(),
        order_id: result.order_id,
        order_list_id: -1,
        client_order_id: order.client_order_id.to_string(),
        transact_time: at.0,
        result: (wanted != ResponseType::Ack).then_some(stands),
        fills: (wanted == ResponseType::Full).then(|| fills(executed_by, result)),
    })
}

/// The fills of an order that took them, with what it paid for each: a fee in the quote asset, by the ledger's own rule. Both by
/// what was traded then: ticks and fees may have been revised since.
fn fills(instrument: &Instrument, result: &OrderResult) -> Vec<Fill> {
    let commission = |trade: &Trade| fee(instrument.notional(trade.price, trade.qty)?, instrument.taker_fee_ppm);
    let row = |trade: &Trade| Fill {
        price: instrument.tick_size.times(i128::from(trade.price.0)),
        qty: instrument.lot_size.times(i128::from(trade.qty.0)),
        commission: commission(trade).unwrap_or_default().to_string(),
        commission_asset: instrument.quote.to_string(),
        trade_id: trade.trade_id,
    };
    result.trades.iter().map(row).collect()
}

/// Where an order of the ledger stands; which fills made it so is not kept there.
pub(crate) fn result_of(row: &OrderView) -> OrderResult {
    OrderResult {
        order_id: row.order_id,
        status: row.status,
        cum_qty: row.cum_qty,
        leaves_qty: row.leaves_qty,
        cum_quote: row.cum_quote,
        trades: Vec::new(),
    }
}

/// Where a closed order of the ledger stands, whose own terms nobody has any more, as a query answers it.
pub(crate) fn standing(shown: Shown<'_>, named: &NamedOrder, row: &OrderView) -> OrderStanding {
    let Shown { filters, history } = shown;
    let (known, closed_at) = (history.of(row.order_id), row.closed_at);
    OrderStanding {
        symbol: named.symbol.to_string(),
        order_id: row.order_id,
        order_list_id: -1,
        client_order_id: named.client_order_id.as_ref().map(ToString::to_string),
        executed_qty: filters.qty(row.cum_qty),
        cummulative_quote_qty: row.cum_quote.to_string(),
        status: status(row.status, known),
        time: known.taken_at.or(closed_at).map(|at| at.0),
        update_time: closed_at.map(|at| at.0),
        is_working: row.status.is_open(),
    }
}

/// An order and where it stands, as a query answers it.
#[must_use]
pub fn known_info(shown: Shown<'_>, order: &NewOrder, result: &OrderResult) -> OrderInfo {
    let Shown { filters, history } = shown;
    let known = history.of(result.order_id);
    // What was not seen here is as old as its sender says, until the ledger itself keeps when it took an order.
    let time = known.taken_at.unwrap_or(order.timestamp);
    OrderInfo {
        symbol: order.symbol.to_string(),
        order_id: result.order_id,
        order_list_id: -1,
        client_order_id: order.client_order_id.to_string(),
        price: price_text(filters, order.price),
        orig_qty: filters.qty(order.qty),
        executed_qty: filters.qty(result.cum_qty),
        cummulative_quote_qty: result.cum_quote.to_string(),
        status: status(result.status, known),
        time_in_force: time_in_force(order),
        order_type: order_type(order.order_type),
        side: side(order.side),
        time: time.0,
        update_time: known.updated_at.unwrap_or(time).max(time).0,
        working_time: time.0,
        is_working: result.status.is_open(),
    }
}

/// What came of a cancel, where it is not done.
///
/// # Errors
/// -2011 where nothing was open, and others where it was not done or is not known.
pub fn cancelled(outcome: CancelOutcome) -> Result<Committed, ApiError> {
    match outcome {
        CancelOutcome::Cancelled(committed) => Ok(committed),
        CancelOutcome::Closed(_) | CancelOutcome::UnknownOrder => Err(ApiError::cancel_rejected()),
        CancelOutcome::Restricted => Err(ApiError::cancel_restricted()),
        CancelOutcome::NotExecuted(why) => Err(not_executed(why)),
        CancelOutcome::Unknown => Err(ApiError::unknown()),
    }
}

fn not_executed(why: NotExecuted) -> ApiError {
    match why {
        NotExecuted::Overloaded => ApiError::overloaded(),
        NotExecuted::NotReady => ApiError::disconnected("not done: this exchange is catching up with the ledger"),
        NotExecuted::Halted => {
            ApiError::disconnected("not done: this exchange has stopped, or is fenced by a newer one")
        }
        NotExecuted::Unavailable => ApiError::disconnected("not done: the ledger takes no proposals now"),
        NotExecuted::TimedOut => ApiError::disconnected("not done: it could not be proposed in time"),
        NotExecuted::ClientIdInFlight => ApiError::duplicate_order(),
        NotExecuted::SymbolOrdersMax => ApiError::filter("MAX_NUM_ORDERS"),
        NotExecuted::AccountOrdersMax => ApiError::filter("EXCHANGE_MAX_NUM_ORDERS"),
        NotExecuted::OffTick => ApiError::filter("PRICE_FILTER"),
    }
}

/// A refusal by the ledger. Those of which a class does not say enough come first.
fn refused(refusal: &Refusal) -> ApiError {
    match refusal {
        Refusal::DuplicateOrder { .. } => return ApiError::duplicate_order(),
        Refusal::UnknownSymbol { .. } => return ApiError::invalid_symbol(),
        Refusal::SymbolClosed { .. } => return ApiError::market_closed(),
        Refusal::NamesFull { .. } => return ApiError::too_many_orders(),
        Refusal::BalanceShort { .. } => return ApiError::insufficient_balance(),
        Refusal::Invalid { what } => {
            return ApiError::new(-1130, format!("Data sent for a parameter is not valid: {what}."));
        }
        _ => {}
    }
    match refusal.class() {
        RefusalClass::Stopped => ApiError::market_closed(),
        RefusalClass::Late => ApiError::disconnected("not done: the order's deadline passed first"),
        RefusalClass::Fenced => ApiError::disconnected("not done: this exchange is fenced by a newer one"),
        RefusalClass::Session
        | RefusalClass::Form
        | RefusalClass::Unknown
        | RefusalClass::Control
        | RefusalClass::Moved
        | RefusalClass::OutOfTurn
        | RefusalClass::Contradiction
        | RefusalClass::Full
        | RefusalClass::Known => ApiError::rejected(&refusal.to_string()),
    }
}

fn price_text(filters: &SymbolFilters, price: Option<Price>) -> String {
    price.map_or_else(|| "0".to_owned(), |price| filters.price(price))
}

fn side(side: Side) -> model::Side {
    match side {
        Side::Buy => model::Side::Buy,
        Side::Sell => model::Side::Sell,
    }
}

fn order_type(order_type: OrderType) -> model::OrderType {
    match order_type {
        OrderType::Limit => model::OrderType::Limit,
        OrderType::Market => model::OrderType::Market,
        OrderType::LimitMaker => model::OrderType::LimitMaker,
    }
}

/// As it is shown: as at Binance, a market order counts as good till cancelled.
fn time_in_force(order: &NewOrder) -> model::TimeInForce {
    match order.time_in_force {
        _ if order.order_type == OrderType::Market => model::TimeInForce::Gtc,
        TimeInForce::Gtc => model::TimeInForce::Gtc,
        TimeInForce::Ioc => model::TimeInForce::Ioc,
        TimeInForce::Fok => model::TimeInForce::Fok,
    }
}

fn status(status: OrderStatus, known: Known) -> model::OrderStatus {
    match status {
        OrderStatus::Expired | OrderStatus::Cancelled if known.in_match => model::OrderStatus::ExpiredInMatch,
        OrderStatus::New => model::OrderStatus::New,
        OrderStatus::PartiallyFilled => model::OrderStatus::PartiallyFilled,
        OrderStatus::Filled => model::OrderStatus::Filled,
        OrderStatus::Cancelled => model::OrderStatus::Canceled,
        OrderStatus::Rejected => model::OrderStatus::Rejected,
        OrderStatus::Expired => model::OrderStatus::Expired,
    }
}

#[cfg(test)]
mod tests {
    use quorate_domain::Money;

    use super::*;

    #[test]
    fn each_refusal_has_its_answer() {
        let (symbol, account): (_, Account) = ("BTCUSDT".parse().expect("valid"), "alice".parse().expect("valid"));
        let short = Refusal::BalanceShort { asset: "USDT".parse().expect("valid"), free: Money(1), needed: Money(2) };
        let table = [
            (Refusal::UnknownSymbol { symbol }, -1121, "Invalid symbol."),
            (
                Refusal::SymbolClosed { symbol: "BTCUSDT".parse().expect("valid"), settled: None },
                -1013,
                "Market is closed.",
            ),
            (Refusal::KillSwitch { control_version: 1 }, -1013, "Market is closed."),
            (Refusal::NamesFull { account, max: 7 }, -1015, "Too many new orders."),
            (short, -2010, "Account has insufficient balance for requested action."),
            (Refusal::Full { what: "accounts".to_owned(), max: 7 }, -2010, "no room for more accounts: at most 7"),
            (
                Refusal::Full { what: "open orders".to_owned(), max: 7 },
                -2010,
                "no room for more open orders: at most 7",
            ),
            (Refusal::Overflow { what: "a balance".to_owned() }, -2010, "this would overflow a balance"),
            (
                Refusal::Invalid { what: "price is missing".to_owned() },
                -1130,
                "Data sent for a parameter is not valid: price is missing.",
            ),
            (Refusal::DeadlinePassed { log_time: Millis(1) }, -1001, "not done: the order's deadline passed first"),
            (Refusal::StaleExchange { exchange_epoch: 9 }, -1001, "not done: this exchange is fenced by a newer one"),
        ];
        for (refusal, code, text) in table {
            let error = refused(&refusal);
            assert_eq!(error.code, code, "{refusal}");
            assert!(error.msg.contains(text), "{refusal}: {error}");
        }
    }
}
