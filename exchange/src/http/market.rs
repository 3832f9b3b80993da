//! What anybody may read: symbols, depth, best prices, reference prices. The last may also be set from outside.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
    response::Response,
};
use quorate_binance_api::{
    ApiError,
    model::{BookTicker, Depth, ExchangeInfo, OrderType, ReferencePrice, ServerTime, SetReferencePrice, SymbolInfo},
};
use quorate_ledger::{Decimal, Price, Symbol, SymbolSpec};
use quorate_matching::QuoteLeaves;

use super::{App, Failed, NoParams, Sent, filters, json, ok, read_symbols, spec_of, symbol_filters, whole};
use crate::{desk::Desk, reference::floor_ticks};

/// Levels of a side where `limit` is not given, and at most.
const DEPTH_DEFAULT: u64 = 100;
const DEPTH_MAX: u64 = 5_000;
/// Assets that a symbol's name may end in.
const QUOTE_ASSETS: [&str; 8] = ["USDT", "USDC", "FDUSD", "BUSD", "BTC", "ETH", "EUR", "USD"];

pub(super) async fn ping(_: Sent) -> Response {
    json(StatusCode::OK, &serde_json::json!({}))
}

pub(super) async fn time(State(desk): App, _: Sent) -> Response {
    json(StatusCode::OK, &ServerTime { server_time: desk.world().clocks.wall_ms() })
}

/// The symbols asked for, or all.
async fn chosen(desk: &Desk, Sent(params): &Sent) -> Result<Vec<(Symbol, SymbolSpec)>, ApiError> {
    let Some(wanted) = params.symbols()? else {
        if desk.listings.all().is_empty() {
            read_symbols(desk).await?;
        }
        return Ok(desk.listings.all().into_iter().collect());
    };
    let mut rows = Vec::with_capacity(wanted.len());
    for symbol in wanted {
        let spec = spec_of(desk, &symbol).await?;
        rows.push((symbol, spec));
    }
    Ok(rows)
}

pub(super) async fn exchange_info(State(desk): App, sent: Sent) -> Result<Response, Failed> {
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let name = symbol.as_str();
        let quote = QUOTE_ASSETS.iter().find(|quote| name.len() > quote.len() && name.ends_with(**quote));
        let (base, quote) = quote.map_or((name, ""), |quote| (&name[..name.len() - quote.len()], *quote));
        SymbolInfo {
            status: "TRADING".to_owned(),
            base_asset: base.to_owned(),
            base_asset_precision: spec.lot_size.decimals(),
            quote_asset: quote.to_owned(),
            quote_asset_precision: spec.tick_size.decimals(),
            order_types: vec![OrderType::Limit, OrderType::LimitMaker, OrderType::Market],
            filters: filters(&desk, spec).describe(),
            is_spot_trading_allowed: true,
            permissions: vec!["SPOT".to_owned()],
            symbol: name.to_owned(),
        }
    };
    let traded = sent.0.asks_for_traded_symbols()?;
    let chosen = if traded { chosen(&desk, &sent).await? } else { Vec::new() };
    ok(&ExchangeInfo {
        timezone: "UTC".to_owned(),
        server_time: desk.world().clocks.wall_ms(),
        rate_limits: Vec::new(),
        exchange_filters: Vec::new(),
        symbols: chosen.into_iter().map(row).collect(),
    })
}

pub(super) async fn depth(State(desk): App, Sent(params): Sent) -> Result<Response, Failed> {
    let symbol = params.symbol()?;
    let limit = params.number("limit")?.unwrap_or(DEPTH_DEFAULT).min(DEPTH_MAX);
    if limit == 0 {
        return Err(ApiError::invalid("limit").into());
    }
    let filters = symbol_filters(&desk, &symbol).await?;
    let levels = usize::try_from(limit).unwrap_or(1);
    let seen = desk.look(|engine, now| engine.depth(now, &symbol, levels)).unwrap_or_default();
    let rows = |side: &[QuoteLeaves]| {
        side.iter().map(|level| (filters.price(level.price), filters.qty(level.leaves))).collect()
    };
    ok(&Depth { last_update_id: seen.index, bids: rows(&seen.bids), asks: rows(&seen.asks) })
}

/// One row where `symbol` is given, else a list.
pub(super) async fn book_ticker(State(desk): App, sent: Sent) -> Result<Response, Failed> {
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let filters = filters(&desk, spec);
        let seen = desk.look(|engine, now| engine.depth(now, &symbol, 1)).unwrap_or_default();
        let best = |side: &[QuoteLeaves]| {
            let text = |level: &QuoteLeaves| (filters.price(level.price), filters.qty(level.leaves));
            side.first().map_or_else(|| ("0".to_owned(), "0".to_owned()), text)
        };
        let ((bid_price, bid_qty), (ask_price, ask_qty)) = (best(&seen.bids), best(&seen.asks));
        BookTicker { symbol: symbol.to_string(), bid_price, bid_qty, ask_price, ask_qty }
    };
    let mut rows: Vec<BookTicker> = chosen(&desk, &sent).await?.into_iter().map(row).collect();
    match rows.pop() {
        Some(only) if sent.0.get("symbol").is_some() => ok(&only),
        last => {
            rows.extend(last);
            ok(&rows)
        }
    }
}

pub(super) async fn reference_prices(State(desk): App, _: NoParams) -> Result<Response, Failed> {
    let row = |(symbol, spec): (Symbol, SymbolSpec)| {
        let (price, seq) = desk.listings.reference(&symbol, spec.tick_size)?;
        let text = filters(&desk, spec).price(price);
        Some(ReferencePrice { symbol: symbol.to_string(), price: text, price_ticks: price.0, seq })
    };
    ok(&desk.listings.all().into_iter().filter_map(row).collect::<Vec<_>>())
}

pub(super) async fn set_reference_price(
    State(desk): App,
    _: NoParams,
    symbol: Path<String>,
    request: Request,
) -> Result<Response, Failed> {
    let symbol: Symbol = symbol.parse().map_err(|_| ApiError::invalid_symbol())?;
    let set: SetReferencePrice =
        serde_json::from_slice(&whole(request, &()).await?).map_err(|_| ApiError::missing("price"))?;
    let price: Decimal = set.price.parse().map_err(|_| ApiError::illegal("price", "^[0-9]+(\\.[0-9]+)?$"))?;
    let spec = spec_of(&desk, &symbol).await?;
    if !Price(floor_ticks(price, spec.tick_size)).is_valid() {
        return Err(ApiError::filter("PRICE_FILTER").into());
    }
    if !desk.listings.set_reference(&symbol, price) {
        let what = "The reference price of this symbol does not come from outside.";
        return Err(Failed(ApiError::new(-1013, what), StatusCode::CONFLICT));
    }
    ok(&serde_json::json!({}))
}
