//! The ledger's state as the API shows it.

use quorate_api::{
    AuthorityView, ExposureView, MakerView, OrderView, PositionView, QuoteSideView, QuoteView, SymbolExposure,
    SymbolView,
};
use quorate_domain::{Exposure, Symbol, SymbolSpec};
use quorate_ledger::{KnownOrder, Ledger, OrderResult, QuoteLeg, SymbolState, bounds};

type Row<'a> = (&'a Symbol, &'a SymbolState);

fn chosen<'a>(ledger: &'a Ledger, only: Option<&'a Symbol>) -> impl Iterator<Item = Row<'a>> {
    let one = only.and_then(|only| Some((only, ledger.symbol(only)?)));
    let all = only.is_none().then(|| ledger.symbols());
    one.into_iter().chain(all.into_iter().flatten())
}

pub(super) fn positions(ledger: &Ledger, only: Option<&Symbol>) -> Vec<PositionView> {
    let row = |(symbol, state): Row<'_>| PositionView {
        symbol: symbol.clone(),
        position: state.position,
        position_units: state.spec.lot_size.times(i128::from(state.position.0)),
        position_seq: state.position_seq,
        bought: state.bought,
        sold: state.sold,
        cash: state.cash,
        cash_units: state.spec.tick_size.times_both(state.spec.lot_size, state.cash.0),
    };
    chosen(ledger, only).map(row).collect()
}

pub(super) fn exposure(ledger: &Ledger, only: Option<&Symbol>) -> ExposureView {
    let row = |(symbol, state): Row<'_>| {
        let reserved = state.reserved();
        SymbolExposure {
            symbol: symbol.clone(),
            long: reserved.bid,
            short: reserved.ask,
            long_demand_until: state.demand_until.bid,
            short_demand_until: state.demand_until.ask,
        }
    };
    let concerned = |row: &SymbolExposure| {
        row.long != Exposure::ZERO
            || row.short != Exposure::ZERO
            || row.long_demand_until.is_some()
            || row.short_demand_until.is_some()
    };
    let reserved = ledger.reserved();
    ExposureView {
        limit: ledger.exposure_limit(),
        hard_limit: Exposure(bounds::HARD_EXPOSURE_LIMIT),
        long: reserved.bid,
        short: reserved.ask,
        symbols: chosen(ledger, only).map(row).filter(concerned).collect(),
    }
}

pub(super) fn quotes(ledger: &Ledger, only: Option<&Symbol>) -> Vec<QuoteView> {
    let row = |(symbol, state): Row<'_>| {
        let quote = ledger.active_quote(symbol)?;
        Some(QuoteView {
            symbol: symbol.clone(),
            quote_id: quote.id,
            maker: quote.maker.clone(),
            incarnation: quote.incarnation,
            epoch: quote.epoch,
            quote_seq: quote.quote_seq,
            position_seq: quote.position_seq,
            bid: side(state.spec, quote.sides.bid),
            ask: side(state.spec, quote.sides.ask),
            placed_at: quote.placed_at,
            deadline: quote.deadline,
            cause: quote.cause,
            computed_at: quote.computed_at,
        })
    };
    chosen(ledger, only).filter_map(row).collect()
}

fn side(spec: SymbolSpec, leg: Option<QuoteLeg>) -> Option<QuoteSideView> {
    leg.filter(|leg| leg.leaves.0 > 0).map(|leg| QuoteSideView {
        price: leg.price,
        qty: leg.qty,
        leaves: leg.leaves,
        price_units: spec.tick_size.times(i128::from(leg.price.0)),
        leaves_units: spec.lot_size.times(i128::from(leg.leaves.0)),
    })
}

pub(super) fn authority(ledger: &Ledger, only: Option<&Symbol>) -> Vec<AuthorityView> {
    let row = |(symbol, state): Row<'_>| {
        let moving = state.moving();
        AuthorityView {
            symbol: symbol.clone(),
            epoch: state.epoch,
            holder: state.holder.as_ref().map(|holder| holder.maker.clone()),
            incarnation: state.holder.as_ref().map(|holder| holder.incarnation),
            deadline: ledger.authority_deadline(symbol),
            moving_to: moving.map(|moving| moving.to.clone()),
            moving_until: moving.map(|moving| moving.until),
        }
    };
    chosen(ledger, only).map(row).collect()
}

pub(super) fn makers(ledger: &Ledger, only: Option<&Symbol>) -> Vec<MakerView> {
    let holder = only.and_then(|symbol| ledger.symbol(symbol)).and_then(|state| state.holder.as_ref());
    ledger
        .makers()
        .filter(|(name, _)| only.is_none() || holder.is_some_and(|holder| holder.maker == **name))
        .map(|(name, maker)| MakerView {
            maker: name.clone(),
            incarnation: maker.incarnation,
            ttl_ms: maker.ttl_ms,
            deadline: maker.deadline,
            holds: ledger.held_by(name).cloned().collect(),
            quoting: !ledger.control().makers_off.contains(name),
        })
        .collect()
}

pub(super) fn symbols(ledger: &Ledger, only: Option<&Symbol>) -> Vec<SymbolView> {
    let row = |(symbol, state): Row<'_>| SymbolView {
        symbol: symbol.clone(),
        spec: state.spec,
        quoting: !ledger.control().symbols_off.contains(symbol),
    };
    chosen(ledger, only).map(row).collect()
}

pub(super) fn order(order: &KnownOrder<'_>) -> OrderView {
    let OrderResult { order_id, status, cum_qty, leaves_qty, cum_quote, .. } = order.result();
    let (sent, closed) = match order {
        KnownOrder::Open(open) => (Some(open.order.clone()), None),
        KnownOrder::Closed(closed) => (None, Some(closed)),
    };
    let (closed_at, check) = closed.map(|closed| (closed.closed_at, closed.check)).unzip();
    OrderView {
        order_id,
        account: order.account().clone(),
        status,
        cum_qty,
        leaves_qty,
        cum_quote,
        closed_at,
        sent,
        check,
    }
}
