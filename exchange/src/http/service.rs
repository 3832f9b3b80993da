//! For whoever runs the exchange: its health, and its counters.

use std::fmt::Write;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use quorate_binance_api::reference::Doubt;
use quorate_domain::Symbol;
use serde::Serialize;

use super::call::{App, json};
use crate::desk::Desk;

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    exchange_epoch: u64,
    mirror_index: u64,
    fenced: bool,
    /// Whether orders are executed now: not under the kill switch.
    trading: bool,
    ledger_reachable: bool,
    ledger_silence_ms: Option<u64>,
    orders_pending: usize,
    /// Symbols that are defined and that no reference price is given for: no maker quotes them.
    symbols_without_reference: Vec<String>,
}

/// 200 while orders are taken and the ledger is heard of, else 503.
pub(super) async fn health(State(desk): App) -> Response {
    let health = desk.health();
    let (code, status) = match (health.fenced, health.ready, health.ledger_reachable) {
        (true, _, _) => (StatusCode::SERVICE_UNAVAILABLE, "fenced by a newer exchange"),
        (false, false, _) => (StatusCode::SERVICE_UNAVAILABLE, "catching up with the ledger"),
        (false, true, false) => (StatusCode::SERVICE_UNAVAILABLE, "the ledger is out of reach"),
        (false, true, true) => (StatusCode::OK, "ok"),
    };
    let body = HealthBody {
        status,
        exchange_epoch: health.exchange_epoch,
        mirror_index: health.mirror_index,
        fenced: health.fenced,
        trading: desk.is_trading(),
        ledger_reachable: health.ledger_reachable,
        ledger_silence_ms: health.ledger_silence.and_then(|silence| u64::try_from(silence.as_millis()).ok()),
        orders_pending: health.pending,
        symbols_without_reference: desk.listings.without_reference().iter().map(ToString::to_string).collect(),
    };
    json(code, &body)
}

/// Counters and gauges, in Prometheus' text format.
pub(super) async fn metrics(State(desk): App) -> impl IntoResponse {
    let health = desk.health();
    let stats = health.stats;
    let unpriced = desk.listings.without_reference().len() as u64;
    let rows = [
        ("ready", "gauge", "whether orders are taken", u64::from(health.ready)),
        ("ledger_reachable", "gauge", "whether the ledger was heard of lately", u64::from(health.ledger_reachable)),
        ("trading", "gauge", "whether orders are executed now", u64::from(desk.is_trading())),
        ("epoch", "gauge", "the present registration", health.exchange_epoch),
        ("mirror_index", "gauge", "the index up to which the mirror follows", health.mirror_index),
        ("orders_pending", "gauge", "orders waiting or in flight", health.pending as u64),
        ("orders_total", "counter", "orders taken from callers", stats.orders),
        ("proposed_total", "counter", "executions proposed", stats.proposed),
        ("resent_total", "counter", "proposals sent again after no answer", stats.resent),
        ("committed_total", "counter", "executions committed", stats.committed),
        ("replanned_total", "counter", "refusals after which an order was planned again", stats.replanned),
        ("gaps_total", "counter", "executions refused for an exec_id gap", stats.gaps),
        ("gave_up_total", "counter", "orders expired because every plan was refused", stats.gave_up),
        ("unknown_total", "counter", "requests answered as unknown", stats.unknown),
        ("unknown_settled_total", "counter", "unknown orders that were settled", stats.unknown_settled),
        ("symbols_without_reference", "gauge", "symbols that no reference price is given for", unpriced),
    ];
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let name = format!("quorate_exchange_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    references(&desk, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// The ages of the reference prices, and what was not believed of their sources.
fn references(desk: &Desk, text: &mut String) {
    let now = desk.look(|_, now| now);
    let age = |symbol: &Symbol| {
        let tick_size = desk.listings.instrument(symbol)?.tick_size;
        Some(desk.listings.reference(symbol, tick_size, now?)?.age.as_millis())
    };
    let stats = desk.listings.reference_stats();
    let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, u128)>| {
        let name = format!("quorate_exchange_{name}");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    };
    let labels = |symbol: &Symbol, source: &str| format!("symbol=\"{symbol}\",source=\"{source}\"");
    let ages = stats.iter().filter_map(|(symbol, source, _)| Some((labels(symbol, source), age(symbol)?)));
    family("reference_age_ms", "gauge", "time since the source said last that the price stands", ages.collect());
    let silences = stats.iter().map(|(symbol, source, stats)| (labels(symbol, source), stats.silences.into()));
    family("reference_silences_total", "counter", "times that a source fell silent", silences.collect());
    let dropped = stats.iter().flat_map(|(symbol, source, stats)| {
        let row = move |(doubt, count): (Doubt, u64)| {
            (format!("{},reason=\"{}\"", labels(symbol, source), doubt.name()), u128::from(count))
        };
        Doubt::ALL.into_iter().zip(stats.dropped).map(row)
    });
    family("reference_dropped_total", "counter", "reference prices that were not believed", dropped.collect());
}
