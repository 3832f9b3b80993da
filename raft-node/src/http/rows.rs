//! The ledger's state as the API shows it.

use quorate_api::{
    AuthorityView, ClosedView, ExposureView, HoldingView, MakerView, MarkView, OrderView, PositionView, QuoteSideView,
    QuoteView, SymbolExposure, SymbolView, WaitingView,
};
use quorate_domain::{Exposure, Instrument, MakerName, Mark, Money, Symbol};
use quorate_ledger::{KnownOrder, Ledger, OrderResult, QuoteLeg, SymbolState, Turn};

type Row<'a> = (&'a Symbol, &'a SymbolState);

fn chosen<'a>(ledger: &'a Ledger, only: Option<&'a Symbol>) -> impl Iterator<Item = Row<'a>> {
    let one = only.and_then(|only| Some((only, ledger.symbol(only)?)));
    let all = only.is_none().then(|| ledger.symbols());
    one.into_iter().chain(all.into_iter().flatten())
}

pub(super) fn positions(ledger: &Ledger, only: Option<&Symbol>) -> Vec<PositionView> {
    let row = |(symbol, state): Row<'_>| PositionView {
        symbol: symbol.clone(),
        position: state.position(),
        position_units: state.instrument.lot_size.times(i128::from(state.position().0)),
        position_seq: state.position_seq,
        position_max: state.position_max,
        bought: state.bought,
        sold: state.sold,
        cash: state.pnl.cash,
        cost: state.pnl.cost,
        realised: state.pnl.realised,
        unrealised: state.unrealised(),
        fees: state.pnl.fees,
        mark: state.marks.counted.map(|mark| mark_view(&state.instrument, mark)),
    };
    chosen(ledger, only).map(row).collect()
}

fn mark_view(instrument: &Instrument, mark: Mark) -> MarkView {
    // One half tick of one lot is half of an even number of units.
    let (half, lot) = (instrument.tick_lot_units().unwrap_or(0) / 2, instrument.lot_units().max(1));
    let units = i128::from(mark.price.0).saturating_mul(half).saturating_mul(1_000_000_000_000) / lot;
    MarkView { half_ticks: mark.price, price: Money(units).to_string(), time: mark.at }
}

pub(super) fn exposure(ledger: &Ledger, only: Option<&Symbol>) -> ExposureView {
    let row = |(symbol, state): Row<'_>| {
        let reserved = state.reserved();
        SymbolExposure {
            symbol: symbol.clone(),
            long: reserved.bid,
            short: reserved.ask,
            long_demand_until: state.demand.until.bid,
            short_demand_until: state.demand.until.ask,
            turn: state.demand.turn,
        }
    };
    let concerned = |row: &SymbolExposure| {
        row.long != Exposure::ZERO
            || row.short != Exposure::ZERO
            || row.long_demand_until.is_some()
            || row.short_demand_until.is_some()
            || row.turn.is_some()
    };
    let reserved = ledger.reserved();
    ExposureView {
        limit: ledger.exposure_limit(),
        basis: ledger.control().basis.clone(),
        hard_limit: ledger.control().hard_limit(),
        long: reserved.bid,
        short: reserved.ask,
        symbols: chosen(ledger, only).map(row).filter(concerned).collect(),
    }
}

/// Those whose turn it is, by its end; then those that wait, in their order.
pub(super) fn waiting(ledger: &Ledger, only: Option<&Symbol>) -> Vec<WaitingView> {
    let row = |(symbol, state): Row<'_>| {
        let demand = &state.demand;
        Some(WaitingView {
            symbol: symbol.clone(),
            turn: demand.turn?,
            long_lot: demand.lot.bid,
            short_lot: demand.lot.ask,
            set_aside: demand.set_aside || demand.has_turn(),
        })
    };
    let mut rows: Vec<WaitingView> = chosen(ledger, only).filter_map(row).collect();
    rows.sort_by_key(|row| match row.turn {
        Turn::Running { until } => (0, until.0),
        Turn::Offered { until } => (1, until.0),
        Turn::Waiting { since } => (2, since),
    });
    rows
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
            bid: side(&state.instrument, quote.sides.bid),
            ask: side(&state.instrument, quote.sides.ask),
            placed_at: quote.placed_at,
            deadline: quote.deadline,
            cause: quote.cause,
            basis: quote.basis.clone(),
            confirmed_at: quote.confirmation.as_ref().map(|confirmation| confirmation.at),
            confirmation: quote.confirmation.as_ref().map(|confirmation| confirmation.basis.clone()),
        })
    };
    chosen(ledger, only).filter_map(row).collect()
}

fn side(instrument: &Instrument, leg: Option<QuoteLeg>) -> Option<QuoteSideView> {
    leg.filter(|leg| leg.leaves.0 > 0).map(|leg| QuoteSideView {
        price: leg.price,
        qty: leg.qty,
        leaves: leg.leaves,
        price_units: instrument.tick_size.times(i128::from(leg.price.0)),
        leaves_units: instrument.lot_size.times(i128::from(leg.leaves.0)),
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
            holdings_index: maker.holdings_index,
            holds: holdings(ledger, name),
            quoting: !ledger.control().makers_off.contains(name),
        })
        .collect()
}

fn holdings(ledger: &Ledger, maker: &MakerName) -> Vec<HoldingView> {
    let held = ledger.held_by(maker).filter_map(|symbol| Some((symbol, ledger.symbol(symbol)?)));
    held.map(|(symbol, state)| HoldingView {
        symbol: symbol.clone(),
        epoch: state.epoch,
        moving_until: state.moving().map(|moving| moving.until),
    })
    .collect()
}

pub(super) fn symbols(ledger: &Ledger, only: Option<&Symbol>) -> Vec<SymbolView> {
    let row = |(symbol, state): Row<'_>| SymbolView {
        symbol: symbol.clone(),
        instrument: state.instrument.clone(),
        revision: state.revision,
        listed: ledger.is_listed(symbol),
        closed: state.closed.map(|closed| ClosedView { at: closed.at, settled: closed.settled }),
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
