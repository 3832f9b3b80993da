//! What a read must show, by the model.

use quorate_api::{AuthorityView, ExposureView, PositionView, QuoteSideView, QuoteView, paths};
use quorate_domain::{Exposure, Position, Side, Symbol};

use crate::history::{calls::Observed, naive::Model};

/// Whether the model knows what such a read shows.
pub(super) fn is_known(read: &Observed) -> bool {
    matches!(read.path.as_str(), paths::POSITIONS | paths::QUOTES | paths::EXPOSURE | paths::AUTHORITY)
}

/// What a read shows that the model does not hold.
pub(super) fn differs(model: &Model, read: &Observed) -> Option<String> {
    if read.log_time != model.log_time {
        return Some(said(read, &format!("log time {}, and it was {}", read.log_time, model.log_time)));
    }
    let matches = match read.path.as_str() {
        paths::POSITIONS => positions(model, read),
        paths::QUOTES => quotes(model, read),
        paths::EXPOSURE => exposure(model, read),
        paths::AUTHORITY => authority(model, read),
        _ => return None,
    };
    match matches {
        Some(true) => None,
        Some(false) => Some(said(read, &format!("{}, which is not the state at that index", short(&read.data)))),
        None => Some(said(read, &format!("{}, which is no such view", short(&read.data)))),
    }
}

fn said(read: &Observed, what: &str) -> String {
    format!("{} at {} shows at index {}: {what}", read.path, read.node, read.applied_index)
}

fn short(data: &serde_json::Value) -> String {
    data.to_string().chars().take(400).collect()
}

fn asked<'a>(model: &'a Model, read: &'a Observed) -> impl Iterator<Item = &'a Symbol> {
    model.symbols.keys().filter(|symbol| read.symbol.as_deref().is_none_or(|asked| asked == symbol.as_str()))
}

fn positions(model: &Model, read: &Observed) -> Option<bool> {
    let rows: Vec<PositionView> = read.rows()?;
    let shown = rows.into_iter().map(|row| (row.symbol, row.position, row.position_seq, row.cash.0));
    let held = asked(model, read).map(|symbol| {
        let position = model.position(symbol).unwrap_or(Position(i64::MAX));
        (symbol.clone(), position, model.position_seq(symbol), model.profit(symbol).cash)
    });
    Some(shown.eq(held))
}

fn quotes(model: &Model, read: &Observed) -> Option<bool> {
    let rows: Vec<QuoteView> = read.rows()?;
    let leg = |side: &Option<QuoteSideView>| side.as_ref().map(|side| (side.price, side.qty, side.leaves));
    let shown = rows
        .iter()
        .map(|row| (row.symbol.clone(), row.quote_id, row.deadline, row.epoch, leg(&row.bid), leg(&row.ask)));
    let held = asked(model, read).filter_map(|symbol| {
        let state = &model.symbols[symbol];
        let quote = state.quote.as_ref().filter(|quote| quote.deadline > model.log_time)?;
        let leg = |side: Side| {
            let (granted, leaves) = (quote.side(side)?, model.leaves(symbol, side));
            (leaves.0 > 0).then_some((granted.price, granted.qty, leaves))
        };
        Some((symbol.clone(), quote.id, quote.deadline, state.epoch, leg(Side::Buy), leg(Side::Sell)))
    });
    Some(shown.eq(held))
}

fn exposure(model: &Model, read: &Observed) -> Option<bool> {
    let view: ExposureView = read.rows()?;
    let total = (model.limit, model.reserved(Side::Buy), model.reserved(Side::Sell));
    let shown = view.symbols.iter().map(|row| (row.symbol.clone(), row.long, row.short));
    // A symbol that only waits is shown too, and which do is no promise of the view: those that reserve are compared.
    let reserving = |(_, long, short): &(Symbol, Exposure, Exposure)| long.0 != 0 || short.0 != 0;
    let held = asked(model, read).map(|symbol| {
        let units = |side| {
            Exposure(
                i128::from(model.leaves(symbol, side).0)
                    * i128::from(model.symbols[symbol].instrument.exposure_per_lot),
            )
        };
        (symbol.clone(), units(Side::Buy), units(Side::Sell))
    });
    let within = view.long <= view.limit && view.short <= view.limit;
    Some(within && (view.limit, view.long, view.short) == total && shown.filter(reserving).eq(held.filter(reserving)))
}

fn authority(model: &Model, read: &Observed) -> Option<bool> {
    let rows: Vec<AuthorityView> = read.rows()?;
    let shown = rows
        .into_iter()
        .map(|row| (row.symbol, row.epoch, row.holder, row.incarnation, row.moving_to, row.moving_until));
    let held = asked(model, read).map(|symbol| {
        let state = &model.symbols[symbol];
        let incarnation =
            state.holder.as_ref().and_then(|holder| model.makers.get(holder)).map(|maker| maker.incarnation);
        let (to, until) = state.moving.clone().unzip();
        (symbol.clone(), state.epoch, state.holder.clone(), incarnation, to, until)
    });
    Some(shown.eq(held))
}
