//! What anybody may read: symbols, depth, best prices, reference prices. The last may also be set from outside.

use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use quorate_binance_api::{
    ApiError, Params,
    model::{
        BookTicker, Depth, ExchangeInfo, Offers, OrderType, ReferencePrice, SelfTradePrevention, ServerTime,
        SetReferencePrice, SymbolInfo, SymbolStatus,
    },
    reference::{Given, Stamp},
};
use quorate_domain::{Decimal, Instrument, Symbol};
use quorate_matching::{ACCOUNT_ORDERS_MAX, QuoteLeaves, SYMBOL_ORDERS_MAX};

use super::call::{
    App, Failed, NoParams, Sent, banded_filters, filters, json, listed, live, may_feed, ok, read_symbols,
    symbol_filters, whole,
};
use crate::{
    desk::Desk,
    listings::Listed,
    reference::{Set, Unset},
};

/// Levels of a side where `limit` is not given, and at most.
const DEPTH_DEFAULT: u64 = 100;
const DEPTH_MAX: u64 = 5_000;
/// Bytes of the name of a feed at most.
const FEED_NAME_MAX_BYTES: usize = 64;
/// Digits after the point of an amount of any asset.
const ASSET_PRECISION: u32 = 8;

pub(super) async fn ping(_: Sent) -> Response {
    json(StatusCode::OK, &serde_json::json!({}))
}

pub(super) async fn time(State(desk): App, _: Sent) -> Response {
    json(StatusCode::OK, &ServerTime { server_time: desk.world().clocks.wall_ms() })
}

/// The symbols asked for, or all.
async fn chosen(desk: &Desk, Sent(params): &Sent) -> Result<Vec<(Symbol, Listed)>, ApiError> {
    let Some(wanted) = params.symbols()? else {
        if desk.listings.all().is_empty() {
            read_symbols(desk).await?;
        }
        return Ok(desk.listings.all().into_iter().collect());
    };
    let mut rows = Vec::with_capacity(wanted.len());
    for symbol in wanted {
        let listed = listed(desk, &symbol).await?;
        rows.push((symbol, listed));
    }
    Ok(rows)
}

pub(super) async fn exchange_info(State(desk): App, sent: Sent) -> Result<Response, Failed> {
    let wanted = sent.0.wanted_symbols()?;
    let chosen = if wanted.spot { chosen(&desk, &sent).await? } else { Vec::new() };
    // The kill switch stops all symbols, and so does a ledger that is out of reach.
    let open = if desk.is_trading() { SymbolStatus::Trading } else { SymbolStatus::Halt };
    let status = |listed: &Listed| if listed.closed { SymbolStatus::Break } else { open };
    let asked_for = |(_, listed): &(Symbol, Listed)| wanted.status.is_none_or(|wanted| wanted == status(listed));
    let row = |(symbol, listed): (Symbol, Listed)| {
        let status = status(&listed);
        symbol_info(&desk, &symbol, listed.instrument, status, wanted.permission_sets)
    };
    let symbols = chosen.into_iter().filter(asked_for).map(row).collect();
    ok(&ExchangeInfo {
        timezone: "UTC".to_owned(),
        server_time: desk.world().clocks.wall_ms(),
        rate_limits: Vec::new(),
        exchange_filters: vec![
            serde_json::json!({"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": ACCOUNT_ORDERS_MAX}),
        ],
        symbols,
    })
}

fn symbol_info(
    desk: &Desk,
    symbol: &Symbol,
    instrument: Instrument,
    status: SymbolStatus,
    permission_sets: bool,
) -> SymbolInfo {
    let spot = || vec!["SPOT".to_owned()];
    SymbolInfo {
        symbol: symbol.to_string(),
        status,
        base_asset: instrument.base.to_string(),
        base_asset_precision: ASSET_PRECISION,
        quote_asset: instrument.quote.to_string(),
        quote_precision: ASSET_PRECISION,
        quote_asset_precision: ASSET_PRECISION,
        base_commission_precision: ASSET_PRECISION,
        quote_commission_precision: ASSET_PRECISION,
        order_types: vec![OrderType::Limit, OrderType::LimitMaker, OrderType::Market],
        offers: Offers { is_spot_trading_allowed: true, ..Offers::default() },
        filters: banded_filters(desk, symbol, instrument).describe(SYMBOL_ORDERS_MAX),
        permissions: spot(),
        permission_sets: permission_sets.then(|| vec![spot()]),
        default_self_trade_prevention_mode: desk.config.self_trade,
        allowed_self_trade_prevention_modes: vec![
            SelfTradePrevention::None,
            SelfTradePrevention::ExpireTaker,
            SelfTradePrevention::ExpireMaker,
            SelfTradePrevention::ExpireBoth,
        ],
    }
}

pub(super) async fn depth(State(desk): App, Sent(params): Sent) -> Result<Response, Failed> {
    let symbol = params.symbol()?;
    let limit = params.number("limit")?.unwrap_or(DEPTH_DEFAULT).min(DEPTH_MAX);
    if limit == 0 {
        return Err(ApiError::invalid("limit").into());
    }
    let filters = symbol_filters(&desk, &symbol).await?;
    let levels = usize::try_from(limit).unwrap_or(1);
    live(&desk)?;
    let seen = desk.look(|engine, now| engine.depth(now, &symbol, levels)).unwrap_or_default();
    let rows = |side: &[QuoteLeaves]| {
        side.iter().map(|level| (filters.price(level.price), filters.qty(level.leaves))).collect()
    };
    ok(&Depth { last_update_id: seen.index, bids: rows(&seen.bids), asks: rows(&seen.asks) })
}

/// One row where `symbol` is given, else a list.
pub(super) async fn book_ticker(State(desk): App, sent: Sent) -> Result<Response, Failed> {
    let row = |(symbol, listed): (Symbol, Listed)| {
        let filters = filters(&desk, listed.instrument);
        let seen = desk.look(|engine, now| engine.depth(now, &symbol, 1)).unwrap_or_default();
        let best = |side: &[QuoteLeaves]| {
            let text = |level: &QuoteLeaves| (filters.price(level.price), filters.qty(level.leaves));
            side.first().map_or_else(|| ("0".to_owned(), "0".to_owned()), text)
        };
        let ((bid_price, bid_qty), (ask_price, ask_qty)) = (best(&seen.bids), best(&seen.asks));
        BookTicker { symbol: symbol.to_string(), bid_price, bid_qty, ask_price, ask_qty }
    };
    let chosen = chosen(&desk, &sent).await?;
    live(&desk)?;
    let mut rows: Vec<BookTicker> = chosen.into_iter().map(row).collect();
    match rows.pop() {
        Some(only) if sent.0.get("symbol").is_some() => ok(&only),
        last => {
            rows.extend(last);
            ok(&rows)
        }
    }
}

/// None before the first registration: what log time is, and so where the walks are, is not known until then.
pub(super) async fn reference_prices(State(desk): App, _: NoParams) -> Result<Response, Failed> {
    let Some((exchange_epoch, now)) = desk.look(|engine, now| (engine.exchange_epoch(), now)) else {
        return ok(&Vec::<ReferencePrice>::new());
    };
    let row = |(symbol, listed): (Symbol, Listed)| {
        let tick_size = listed.instrument.tick_size;
        let seen = desk.listings.reference(&symbol, tick_size, now)?;
        let age_ms = u64::try_from(seen.age.as_millis()).unwrap_or(u64::MAX);
        Some(ReferencePrice {
            symbol: symbol.to_string(),
            price: half_ticks_text(tick_size, seen.half_ticks),
            price_ticks: seen.half_ticks / 2,
            price_half_ticks: seen.half_ticks,
            source: seen.source.to_owned(),
            exchange_epoch,
            seq: seen.seq,
            changed_at: seen.changed_at.0,
            confirmed_at: now.0.saturating_sub(age_ms),
            age_ms,
        })
    };
    ok(&desk.listings.all().into_iter().filter_map(row).collect::<Vec<_>>())
}

/// A price in units of the quote currency; half a tick takes one digit more than a tick.
fn half_ticks_text(tick_size: Decimal, half_ticks: i64) -> String {
    let steps = i128::from(half_ticks);
    match tick_size.tenth() {
        Some(tenth) if half_ticks % 2 != 0 => tenth.times(5 * steps),
        _ => tick_size.times(steps / 2),
    }
}

pub(super) async fn set_reference_price(
    State(desk): App,
    headers: HeaderMap,
    symbol: Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let query = Params::parse(request.uri().query().unwrap_or_default(), "")?;
    let body = whole(request).await?;
    let body = std::str::from_utf8(&body).map_err(|_| ApiError::new(-1100, "The body is not text."))?;
    may_feed(&desk, &headers, &query, body)?;
    let symbol: Symbol = symbol.parse().map_err(|_| ApiError::invalid_symbol())?;
    let body: SetReferencePrice = serde_json::from_str(body).map_err(|_| ApiError::missing("price"))?;
    let decimal = |name: &str, text: &str| -> Result<Decimal, ApiError> {
        text.parse().map_err(|_| ApiError::illegal(name, "^[0-9]+(\\.[0-9]+)?$"))
    };
    let given = match (&body.price, &body.bid, &body.ask) {
        (Some(price), None, None) => Given::Price(decimal("price", price)?),
        (None, Some(bid), Some(ask)) => Given::Best { bid: decimal("bid", bid)?, ask: decimal("ask", ask)? },
        (None, Some(_), None) => return Err(ApiError::missing("ask").into()),
        (None, None, Some(_)) => return Err(ApiError::missing("bid").into()),
        (None, None, None) => return Err(ApiError::missing("price").into()),
        // Either a price, or the two that it is the middle of.
        (Some(_), ..) => return Err(ApiError::not_required("price").into()),
    };
    if body.feed.as_ref().is_some_and(|feed| feed.len() > FEED_NAME_MAX_BYTES) {
        return Err(ApiError::illegal("feed", "^.{0,64}$").into());
    }
    let instrument = listed(&desk, &symbol).await?.instrument;
    let stamp = Stamp { epoch: 0, seq: body.seq, time: body.time };
    let set = Set { given, stamp, feed: body.feed };
    match desk.listings.set_reference(&symbol, instrument.tick_size, &set) {
        Ok(()) => ok(&serde_json::json!({})),
        Err(Unset::Doubted(doubt)) => {
            let what = format!("Not taken: {doubt}. The price before it stands, and ages.");
            Err(Failed(ApiError::new(-1013, what), StatusCode::BAD_REQUEST))
        }
        Err(Unset::NotExternal) => {
            let what = "The reference price of this symbol does not come from outside.";
            Err(Failed(ApiError::new(-1013, what), StatusCode::CONFLICT))
        }
    }
}
