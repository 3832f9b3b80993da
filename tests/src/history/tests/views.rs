//! The answers of a node to reads, from the real ledger.

use quorate_api::{
    AuthorityView, Consistency, ExposureView, PositionView, QuoteSideView, QuoteView, Read, SymbolExposure, paths,
};
use quorate_domain::{Exposure, ExposureBasis};
use quorate_ledger::{Ledger, QuoteLeg, bounds::HARD_EXPOSURE_LIMIT};
use serde_json::Value;

pub(super) fn answer(ledger: &Ledger, node: u64, path: &str, consistency: Consistency) -> Value {
    let data = match path {
        paths::POSITIONS => serde_json::to_value(positions(ledger)),
        paths::QUOTES => serde_json::to_value(quotes(ledger)),
        paths::EXPOSURE => serde_json::to_value(exposure(ledger)),
        _ => serde_json::to_value(authority(ledger)),
    };
    let (applied_index, log_time) = (ledger.last_index(), ledger.log_time());
    let read = Read { applied_index, log_time, node_id: node, consistency, data: data.unwrap() };
    serde_json::to_value(read).unwrap()
}

fn positions(ledger: &Ledger) -> Vec<PositionView> {
    let row = |(symbol, state): (&quorate_domain::Symbol, &quorate_ledger::SymbolState)| PositionView {
        symbol: symbol.clone(),
        position: state.position(),
        position_units: state.position().to_string(),
        position_seq: state.position_seq,
        position_max: state.position_max,
        bought: state.bought,
        sold: state.sold,
        cash: state.pnl.cash,
        cost: state.pnl.cost,
        realised: state.pnl.realised,
        unrealised: state.unrealised(),
        fees: state.pnl.fees,
        mark: None,
    };
    ledger.symbols().map(row).collect()
}

fn quotes(ledger: &Ledger) -> Vec<QuoteView> {
    let leg = |leg: Option<QuoteLeg>| {
        leg.filter(|leg| leg.leaves.0 > 0).map(|leg| QuoteSideView {
            price: leg.price,
            qty: leg.qty,
            leaves: leg.leaves,
            price_units: leg.price.to_string(),
            leaves_units: leg.leaves.to_string(),
        })
    };
    let rows = ledger.symbols().filter_map(|(symbol, _)| {
        let quote = ledger.active_quote(symbol)?;
        Some(QuoteView {
            symbol: symbol.clone(),
            quote_id: quote.id,
            maker: quote.maker.clone(),
            incarnation: quote.incarnation,
            epoch: quote.epoch,
            quote_seq: quote.quote_seq,
            position_seq: quote.position_seq,
            bid: leg(quote.sides.bid),
            ask: leg(quote.sides.ask),
            placed_at: quote.placed_at,
            deadline: quote.deadline,
            cause: quote.cause,
            basis: quote.basis.clone(),
            confirmed_at: quote.confirmation.as_ref().map(|confirmation| confirmation.at),
            confirmation: quote.confirmation.as_ref().map(|confirmation| confirmation.basis.clone()),
        })
    });
    rows.collect()
}

fn exposure(ledger: &Ledger) -> ExposureView {
    let rows = ledger.symbols().map(|(symbol, state)| SymbolExposure {
        symbol: symbol.clone(),
        long: state.reserved().bid,
        short: state.reserved().ask,
        long_demand_until: state.demand.until.bid,
        short_demand_until: state.demand.until.ask,
        turn: state.demand.turn,
    });
    let (limit, reserved) = (ledger.exposure_limit(), ledger.reserved());
    let hard_limit = Exposure(HARD_EXPOSURE_LIMIT);
    let basis = ExposureBasis::Units;
    ExposureView { basis, limit, hard_limit, long: reserved.bid, short: reserved.ask, symbols: rows.collect() }
}

fn authority(ledger: &Ledger) -> Vec<AuthorityView> {
    let rows = ledger.symbols().map(|(symbol, state)| AuthorityView {
        symbol: symbol.clone(),
        epoch: state.epoch,
        holder: state.holder.as_ref().map(|holder| holder.maker.clone()),
        incarnation: state.holder.as_ref().map(|holder| holder.incarnation),
        deadline: ledger.authority_deadline(symbol),
        moving_to: state.moving().map(|moving| moving.to.clone()),
        moving_until: state.moving().map(|moving| moving.until),
    });
    rows.collect()
}
