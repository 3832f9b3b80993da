//! Order entry. What an order's sender is told here is certain, or it is told that it is not.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, http::HeaderMap, response::Response};
use futures_util::{StreamExt, stream};
use quorate_api::OrderView;
use quorate_binance_api::{
    ApiError, SymbolFilters,
    model::{CancelRestriction, OrderCancelled, OrderInfo, OrderPlaced, OrderStanding, SelfTradePrevention},
    params::{CancelOrder, NamedOrder, Params},
    signing::{RECV_WINDOW_DEFAULT_MS, RECV_WINDOW_MAX_MS},
};
use quorate_client::{OrderQuery, StreamItem};
use quorate_domain::{Account, ClientOrderId, Millis, Symbol};
use quorate_ledger::{
    Event, NewOrder, OrderResult, Refusal,
    bounds::{self, ORDER_TIMESTAMP_AHEAD_MS},
    order_check,
};
use quorate_matching::{Known, NotExecuted, Only, OrderOutcome, SelfTrade, Target, Terms, Tick};
use serde::Serialize;
use tokio::time::timeout;

use super::call::{
    App, Failed, Sent, account, authenticated, banded_filters, check_window, filters, listed, live, ok, reading,
    symbol_filters, unread,
};
use crate::{
    accounts::Permission,
    desk::Desk,
    orders::{self, Shown, cancelled, known_info, new_order, placed_before, result_of, standing},
    refusals::Stamped,
};

/// `recvWindow` at most, in microseconds.
const WINDOW_MAX_US: u64 = RECV_WINDOW_MAX_MS * 1_000;
/// The ledger knows a name for as long as a request can be taken here.
const _: () = assert!(RECV_WINDOW_MAX_MS <= bounds::RECV_WINDOW_MAX_MS);
/// How long the event that took an order is waited for.
const EVENT_WITHIN: Duration = Duration::from_secs(1);
/// Cancels of one request under way at a time.
const CANCELS_AT_ONCE: usize = 16;

pub(super) async fn place(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = authenticated(&desk, &headers, &params, Permission::Trade)?;
    let now_us = desk.world().clocks.wall_ms().saturating_mul(1_000);
    let request = stamped(&account, &params)?;
    if let Err(outside) = check_window(&desk, &params) {
        return match request.filter(|request| may_count_later(request, now_us)) {
            Some(early) => ok(&desk.refusals.once(early, now_us, async { Err::<OrderPlaced, _>(outside) }).await?),
            None => Err(outside.into()),
        };
    }
    let place = place_now(&desk, account, &params);
    let placed = match request {
        Some(request) => desk.refusals.once(request, now_us, place).await?,
        // No copy of it can be told from a new request.
        None => place.await?,
    };
    ok(&placed)
}

/// Whether a request that is outside of its window now, for it came too early, can come to lie in it while its refusal is
/// remembered. What came too late never counts, and takes no place in that memory.
fn may_count_later(request: &Stamped, now_us: u64) -> bool {
    (now_us..now_us.saturating_add(WINDOW_MAX_US)).contains(&request.timestamp_us)
}

/// The request as one that can be remembered, where it has a timestamp.
fn stamped(account: &Account, params: &Params) -> Result<Option<Stamped>, ApiError> {
    let Some(timestamp_us) = params.timestamp_us()? else { return Ok(None) };
    let window_us = params.recv_window_us()?.unwrap_or(RECV_WINDOW_DEFAULT_MS * 1_000).min(WINDOW_MAX_US);
    let (account, digest) = (account.clone(), params.digest());
    Ok(Some(Stamped { account, digest, timestamp_us, until_us: timestamp_us.saturating_add(window_us) }))
}

async fn place_now(desk: &Arc<Desk>, account: Account, params: &Params) -> Result<OrderPlaced, ApiError> {
    let request = params.place_order()?;
    let listed = listed(desk, &request.symbol).await?;
    let tick = Tick::of(&listed.instrument, listed.revision);
    let filters = banded_filters(desk, &request.symbol, listed.instrument);
    let timestamp = order_time(desk, params.timestamp_us()?.map(|us| us / 1_000));
    let order =
        new_order(&request, &filters, account, name_or_fresh(desk, request.client_order_id.clone())?, timestamp)?;
    if let Err(error) = may_be_placed(desk, &filters, &order) {
        if request.client_order_id.is_some()
            && let Some((kept, result)) = named_in_ledger(desk, &order).await?
        {
            return placed_before(shown(desk, &filters), request.response, &order, &kept, &result);
        }
        return Err(error);
    }
    let self_trade = request.self_trade.unwrap_or(desk.config.self_trade);
    let worst = order.price.is_none().then(|| filters.worst(order.side)).flatten();
    let terms = Terms { self_trade: mode(self_trade), worst, tick };
    let placed = desk.place(order.clone(), terms).await;
    if request.client_order_id.is_some()
        && let Some((kept, result)) = placed_earlier(desk, &order, &placed.outcome).await?
    {
        return placed_before(shown(desk, &filters), request.response, &order, &kept, &result);
    }
    orders::placed(&order, shown(desk, &filters), request.response, placed)
}

/// What may be otherwise at another moment, and so says nothing of an earlier request for the same order.
fn may_be_placed(desk: &Desk, filters: &SymbolFilters, order: &NewOrder) -> Result<(), ApiError> {
    if desk.limits.is_due(&order.account) {
        return Err(ApiError::disconnected("not done: the ledger does not hold this account to its balances yet"));
    }
    order.price.map_or(Ok(()), |price| filters.check_band(order.side, price))
}

fn shown<'a>(desk: &'a Desk, filters: &'a SymbolFilters) -> Shown<'a> {
    Shown { filters, history: &desk.history }
}

fn mode(asked: SelfTradePrevention) -> SelfTrade {
    match asked {
        SelfTradePrevention::None => SelfTrade::Allow,
        SelfTradePrevention::ExpireTaker => SelfTrade::ExpireTaker,
        SelfTradePrevention::ExpireMaker => SelfTrade::ExpireMaker,
        SelfTradePrevention::ExpireBoth => SelfTrade::ExpireBoth,
    }
}

/// The name that is given, or one of the exchange's own making.
fn name_or_fresh(desk: &Desk, given: Option<ClientOrderId>) -> Result<ClientOrderId, ApiError> {
    if let Some(name) = given {
        return Ok(name);
    }
    let name =
        desk.fresh_name().ok_or_else(|| ApiError::disconnected("not done: this exchange is not registered yet"))?;
    ClientOrderId::new(&name).map_err(|error| ApiError::internal(&error.to_string()))
}

/// When an order was made, as the ledger counts: by its sender's word, but never so far ahead of log time that the
/// ledger would refuse it for that.
fn order_time(desk: &Desk, given: Option<u64>) -> Millis {
    let now = desk.look(|_, now| now).unwrap_or(Millis::ZERO);
    given.map_or(now, |given| Millis(given).min(now.plus(ORDER_TIMESTAMP_AHEAD_MS / 2)))
}

/// A repeat of an order that was placed long ago may be refused for a reason of today: the ledger's rules on time and
/// on the kill switch come before its memory of names. Its sender must hear of the order, not of the refusal.
async fn placed_earlier(
    desk: &Desk,
    order: &NewOrder,
    outcome: &OrderOutcome,
) -> Result<Option<(NewOrder, OrderResult)>, ApiError> {
    match outcome {
        OrderOutcome::Refused(Refusal::DuplicateOrder { .. }) | OrderOutcome::Committed(_) | OrderOutcome::Unknown => {
            return Ok(None);
        }
        OrderOutcome::NotExecuted(
            NotExecuted::SymbolOrdersMax | NotExecuted::AccountOrdersMax | NotExecuted::OffTick,
        )
        | OrderOutcome::Refused(_) => {}
        OrderOutcome::NotExecuted(_) => return Ok(None),
    }
    named_in_ledger(desk, order).await
}

/// The order of this name as the ledger has it.
///
/// # Errors
/// -1007 where one of that name is under way, or the ledger cannot be read; -2010 where it is another order.
async fn named_in_ledger(desk: &Desk, order: &NewOrder) -> Result<Option<(NewOrder, OrderResult)>, ApiError> {
    let (known, _) = desk.known(&order.account, &Target::Client(order.client_order_id.clone()));
    if matches!(known, Some(Known::Pending { .. })) {
        return Err(ApiError::unknown());
    }
    let query = OrderQuery {
        account: Some(order.account.clone()),
        client_order_id: Some(order.client_order_id.clone()),
        limit: Some(1),
        ..OrderQuery::default()
    };
    // Where it cannot be read, nobody may be told that the order is not there.
    let read = desk.client.orders(&query, &reading(desk)).await.map_err(|_| ApiError::unknown())?;
    let Some(row) = read.data.into_iter().next() else { return Ok(None) };
    let result = result_of(&row);
    match row.sent.or_else(|| kept_here(desk, &order.account, row.order_id)) {
        Some(kept) => Ok(Some((kept, result))),
        // What it was is kept nowhere; whether it was the same, by the ledger.
        None if row.check == Some(order_check(order)) => Ok(Some((order.clone(), result))),
        None => Err(ApiError::duplicate_order()),
    }
}

/// The order of this id, as this exchange remembers it.
fn kept_here(desk: &Desk, account: &Account, order_id: u64) -> Option<NewOrder> {
    desk.known(account, &Target::Order(order_id)).0.map(|known| known.order().clone())
}

/// What a query answers: of an order that closed before this exchange started, only where it stands.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Order(OrderInfo),
    Standing(OrderStanding),
}

pub(super) async fn query(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = account(&desk, &headers, &params, Permission::Read)?;
    ok(&find(&desk, &account, &params.named_order()?).await?)
}

/// An order as the ledger has it. That it does not exist is said only where it is certain: where it neither waits nor
/// is in doubt, and no exchange before this one can still execute it.
async fn find(desk: &Desk, account: &Account, named: &NamedOrder) -> Result<Found, ApiError> {
    let filters = symbol_filters(desk, &named.symbol).await?;
    // Before the read: what is not in doubt now, and not in what is read after, is not there.
    let (pending, certain) = match &named.client_order_id {
        Some(name) => {
            let (known, certain) = desk.known(account, &Target::Client(name.clone()));
            (matches!(known, Some(Known::Pending { .. })), certain)
        }
        None => (false, desk.health().ready),
    };
    let query = OrderQuery {
        account: Some(account.clone()),
        client_order_id: named.client_order_id.clone(),
        // Of a closed order the ledger keeps no name to compare: it is looked for by its name, and its id is compared here.
        order_id: named.order_id.filter(|_| named.client_order_id.is_none()),
        limit: Some(1),
        ..OrderQuery::default()
    };
    let read = desk.client.orders(&query, &reading(desk)).await.map_err(|error| unread(&error))?;
    let shown = shown(desk, &filters);
    if let Some(row) = read.data.into_iter().next() {
        if named.order_id.is_some_and(|id| id != row.order_id) {
            return Err(ApiError::no_such_order());
        }
        return match whole_order(desk, account, &row).await {
            Whole::Order(order) if is_meant(&order, named) => {
                Ok(Found::Order(known_info(shown, &order, &result_of(&row))))
            }
            Whole::Old(order) if is_meant(&order, named) => Ok(Found::Standing(standing(shown, named, &row))),
            Whole::Order(_) | Whole::Old(_) => Err(ApiError::no_such_order()),
            Whole::Unknown => Ok(Found::Standing(standing(shown, named, &row))),
        };
    }
    match closed_long_ago(desk, account, named) {
        Some((order, result)) => Ok(Found::Order(known_info(shown, &order, &result))),
        None if pending => Err(ApiError::unknown()),
        None if !certain => Err(ApiError::disconnected("this exchange is catching up with the ledger")),
        None => Err(ApiError::no_such_order()),
    }
}

/// Whether an order is the one that a request names, in every respect.
fn is_meant(order: &NewOrder, named: &NamedOrder) -> bool {
    order.symbol == named.symbol && named.client_order_id.as_ref().is_none_or(|name| *name == order.client_order_id)
}

/// An order of the ledger, of which that may keep no more than where it ended.
enum Whole {
    /// The order, in ticks of today.
    Order(NewOrder),
    /// The order, in ticks that may be others than those of today.
    Old(NewOrder),
    /// Nothing more is known of it.
    Unknown,
}

/// The order itself: from the ledger while it is open, from this exchange's memory, or from the event that took it, while nodes
/// keep that. From the event comes also when it was taken, of open ones that this exchange has not seen taken as well.
async fn whole_order(desk: &Desk, account: &Account, row: &OrderView) -> Whole {
    let kept = row.sent.clone().or_else(|| kept_here(desk, account, row.order_id));
    if kept.is_some() && desk.history.of(row.order_id).taken_at.is_some() {
        return kept.map_or(Whole::Unknown, Whole::Order);
    }
    let taken = taken_by_event(desk, account, row.order_id).await;
    if let Some((_, at)) = &taken {
        desk.history.taken(row.order_id, *at);
    }
    if let Some(closed_at) = row.closed_at {
        desk.history.updated(row.order_id, closed_at);
    }
    match (kept, taken) {
        (Some(order), _) => Whole::Order(order),
        (None, Some((order, _))) => {
            let since = desk.listings.get(&order.symbol).and_then(|listed| listed.since);
            if since.is_some_and(|since| since < row.order_id) { Whole::Order(order) } else { Whole::Old(order) }
        }
        (None, None) => Whole::Unknown,
    }
}

/// The order that the ledger took at this index, and log time there, where a node still keeps that event.
async fn taken_by_event(desk: &Desk, account: &Account, order_id: u64) -> Option<(NewOrder, Millis)> {
    let mut events = desk.client.events(order_id);
    let first = timeout(EVENT_WITHIN.min(desk.config.patience), events.next()).await.ok()??;
    let StreamItem::Frame(frame) = first else { return None };
    let taken = |event: Event| match event {
        Event::OrderExecuted { order_id: id, order, .. } if id == order_id && order.account == *account => Some(order),
        _ => None,
    };
    let at = frame.log_time;
    frame.events.into_iter().find_map(taken).map(|order| (order, at))
}

/// An order that the ledger has forgotten, and this exchange has not yet.
fn closed_long_ago(desk: &Desk, account: &Account, named: &NamedOrder) -> Option<(NewOrder, OrderResult)> {
    let target = match (named.order_id, &named.client_order_id) {
        (Some(id), _) => Target::Order(id),
        (None, Some(name)) => Target::Client(name.clone()),
        (None, None) => return None,
    };
    match desk.known(account, &target).0 {
        Some(Known::Closed { order, committed }) if is_meant(&order, named) => Some((order, committed.result)),
        _ => None,
    }
}

pub(super) async fn cancel(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = account(&desk, &headers, &params, Permission::Trade)?;
    let asked = params.cancel_order()?;
    symbol_filters(&desk, &asked.order.symbol).await?;
    ok(&cancel_one(&desk, &account, asked).await?)
}

async fn cancel_one(desk: &Arc<Desk>, account: &Account, asked: CancelOrder) -> Result<OrderCancelled, ApiError> {
    let CancelOrder { order: named, name, only } = asked;
    let name = name_or_fresh(desk, name)?;
    let target = match (named.order_id, &named.client_order_id) {
        (Some(id), _) => Target::Order(id),
        (None, Some(name)) => Target::Client(name.clone()),
        (None, None) => return Err(ApiError::missing("orderId")),
    };
    // What a cancel names must be one and the same order in every respect.
    let (known, _) = desk.known(account, &target);
    if let Some(order) = known.as_ref().map(Known::order)
        && (order.symbol != named.symbol
            || named.client_order_id.as_ref().is_some_and(|name| *name != order.client_order_id))
    {
        return Err(ApiError::cancel_rejected());
    }
    let only = only.map(|only| match only {
        CancelRestriction::OnlyNew => Only::New,
        CancelRestriction::OnlyPartiallyFilled => Only::PartiallyFilled,
    });
    let committed = cancelled(desk.cancel(account.clone(), target, only).await)?;
    let order = order_of(desk, account, committed.result.order_id).await?;
    let filters = symbol_filters(desk, &order.symbol).await?;
    Ok(OrderCancelled {
        orig_client_order_id: order.client_order_id.to_string(),
        transact_time: committed.log_time.0,
        order: OrderInfo {
            client_order_id: name.to_string(),
            ..known_info(shown(desk, &filters), &order, &committed.result)
        },
    })
}

/// The order behind an id, which the ledger knows.
async fn order_of(desk: &Desk, account: &Account, order_id: u64) -> Result<NewOrder, ApiError> {
    if let (Some(known), _) = desk.known(account, &Target::Order(order_id)) {
        return Ok(known.order().clone());
    }
    let query = OrderQuery { account: Some(account.clone()), order_id: Some(order_id), ..OrderQuery::default() };
    // It is cancelled all the same: ask for the order.
    let read = desk.client.orders(&query, &reading(desk)).await.map_err(|_| ApiError::unknown())?;
    read.data.into_iter().next().and_then(|row| row.sent).ok_or_else(ApiError::unknown)
}

pub(super) async fn open(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = account(&desk, &headers, &params, Permission::Read)?;
    ok(&open_of(&desk, &account, params.optional_symbol()?.as_ref()).await?)
}

async fn open_of(desk: &Desk, account: &Account, symbol: Option<&Symbol>) -> Result<Vec<OrderInfo>, ApiError> {
    if let Some(symbol) = symbol {
        symbol_filters(desk, symbol).await?;
    }
    live(desk)?;
    let open = desk.look(|engine, _| engine.is_ready().then(|| engine.open_orders(account, symbol))).flatten();
    let open = open.ok_or_else(|| ApiError::disconnected("this exchange is catching up with the ledger"))?;
    let row = |open: &quorate_matching::OpenOrder| {
        let filters = filters(desk, desk.listings.instrument(&open.order.symbol)?);
        Some(known_info(shown(desk, &filters), &open.order, &open.result()))
    };
    Ok(open.iter().filter_map(row).collect())
}

pub(super) async fn cancel_open(State(desk): App, headers: HeaderMap, Sent(params): Sent) -> Result<Response, Failed> {
    let account = account(&desk, &headers, &params, Permission::Trade)?;
    let symbol = params.symbol()?;
    let open = open_of(&desk, &account, Some(&symbol)).await?;
    // Those under way may rest in a moment; their cancels wait for that.
    let under_way = desk.look(|engine, _| engine.under_way(&account, &symbol)).unwrap_or_default();
    let by_name = under_way.into_iter().map(|name| (None, Some(name)));
    let by_id = open.into_iter().map(|order| (Some(order.order_id), None));
    let cancels = by_id.chain(by_name).map(|(order_id, client_order_id)| {
        let order = NamedOrder { symbol: symbol.clone(), order_id, client_order_id };
        let (desk, account) = (&desk, &account);
        async move { cancel_one(desk, account, CancelOrder { order, name: None, only: None }).await }
    });
    let mut outcomes = stream::iter(cancels).buffered(CANCELS_AT_ONCE);
    let mut ended = Vec::new();
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(order) => ended.push(order),
            // Filled or cancelled meanwhile: it is no longer open, which is what was asked for.
            Err(error) if error.code == ApiError::cancel_rejected().code => {}
            Err(error) => return Err(error.into()),
        }
    }
    if ended.is_empty() { Err(ApiError::cancel_rejected().into()) } else { ok(&ended) }
}
