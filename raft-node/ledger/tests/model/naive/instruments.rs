//! What a symbol trades, and sums of money by that: units are 10^-12 of an asset.

use quorate_domain::{Asset, Decimal, ExposureBasis, Instrument, Kind, MAX_PRICE, PAYS_MAX, Price, Side, Symbol};
use quorate_ledger::{ControlChange, DefineSymbol, Refusal, bounds::POSITION_VALUE_MAX};

use super::{Model, invalid};

/// By the digits that a size is written with: a whole number, and how many of its digits stand after the point.
fn digits(size: Decimal) -> (i128, u32) {
    let text = size.to_string();
    let after_point = text.split_once('.').map_or(0, |(_, part)| part.len());
    (text.replace('.', "").parse().unwrap(), u32::try_from(after_point).unwrap())
}

/// A number with so many digits after the point, in 10^-12; `None` where that is not whole or 2^127 and more.
fn in_units((number, after_point): (i128, u32)) -> Option<i128> {
    if after_point <= 12 {
        return number.checked_mul(10i128.pow(12 - after_point));
    }
    let too_fine = 10i128.pow(after_point - 12);
    if number % too_fine == 0 { Some(number / too_fine) } else { None }
}

/// What one lot costs at a price of one tick, in units of the quote asset.
fn units_of_tick_by_lot(of: &Instrument) -> Option<i128> {
    let ((tick, of_tick), (lot, of_lot)) = (digits(of.tick_size), digits(of.lot_size));
    in_units((tick * lot, of_tick + of_lot))
}

/// What one lot is, in units of the base asset.
pub(crate) fn lot_units(of: &Instrument) -> i128 {
    in_units(digits(of.lot_size)).unwrap()
}

/// What so many lots cost at so many half ticks, in units of the quote asset.
pub(crate) fn worth(of: &Instrument, half_ticks: i128, lots: i128) -> i128 {
    half_ticks * lots * (units_of_tick_by_lot(of).unwrap() / 2)
}

/// What so many lots cost at a price, in units of the quote asset.
pub(crate) fn notional(of: &Instrument, price: Price, lots: i128) -> i128 {
    worth(of, 2 * i128::from(price.0), lots)
}

/// Whether a position is not worth too much at so many half ticks.
pub(super) fn worth_in_range(of: &Instrument, half_ticks: i64, lots: i128) -> bool {
    let each = i128::from(half_ticks) * (units_of_tick_by_lot(of).unwrap() / 2);
    lots.abs().checked_mul(each).is_some_and(|worth| worth <= POSITION_VALUE_MAX)
}

/// The fee on a notional, rounded up.
pub(crate) fn fee(notional: i128, ppm: i32) -> i128 {
    let exact = notional * i128::from(ppm);
    exact.div_euclid(1_000_000) + i128::from(exact.rem_euclid(1_000_000) != 0)
}

/// What a contract pays, where it is one.
pub(crate) fn pays(of: &Instrument) -> Option<Price> {
    match of.kind {
        Kind::Spot => None,
        Kind::Binary { pays } => Some(pays),
    }
}

fn well_formed(of: &Instrument) -> bool {
    let (fees, highest) = (
        [of.maker_fee_ppm, of.taker_fee_ppm],
        match of.kind {
            Kind::Spot => MAX_PRICE,
            Kind::Binary { pays } => pays.0.saturating_sub(1),
        },
    );
    of.base != of.quote
        && of.tick_size.is_positive()
        && of.lot_size.is_positive()
        && units_of_tick_by_lot(of).is_some_and(|units| units % 2 == 0)
        && highest >= 1
        && pays(of).is_none_or(|pays| notional(of, pays, 1) <= PAYS_MAX)
        && highest <= MAX_PRICE - i64::from(of.kind != Kind::Spot)
        && of.min_price.0 >= 1
        && of.min_price <= of.max_price
        && of.max_price.0 <= highest
        && of.min_notional.0 >= 0
        && fees.iter().all(|ppm| (-100_000..=100_000).contains(ppm))
        && fees[0] + fees[1] >= 0
        && (1..=100).contains(&of.exposure_per_lot)
}

/// So many of one tick, in ticks of another; `None` where that is no whole number.
pub(super) fn in_other_ticks(count: i64, from: Decimal, to: Decimal) -> Option<i64> {
    let (value, step) = (i128::from(count) * in_units(digits(from))?, in_units(digits(to))?);
    if value % step == 0 { i64::try_from(value / step).ok() } else { None }
}

/// Whether a kind is the same in the ticks of another revision: a contract pays the same amount.
fn same_kind(old: &Instrument, new: &Instrument) -> bool {
    match (pays(old), pays(new)) {
        (None, None) => true,
        (Some(before), Some(after)) => in_other_ticks(before.0, old.tick_size, new.tick_size) == Some(after.0),
        (Some(_), None) | (None, Some(_)) => false,
    }
}

impl Model {
    /// What a fill of one lot could cost a side, by the basis.
    pub(super) fn exposure_of_a_lot(&self, of: &Instrument, side: Side, price: Price) -> i128 {
        match (&self.basis, pays(of), side) {
            (ExposureBasis::Units, _, _) => i128::from(of.exposure_per_lot),
            (ExposureBasis::WorstLoss { .. }, Some(pays), Side::Sell) => notional(of, Price(pays.0 - price.0), 1),
            (ExposureBasis::WorstLoss { .. }, _, _) => notional(of, price, 1),
        }
    }

    /// Whether an order or a quote may carry this price.
    pub(super) fn price_in_range(&self, symbol: &Symbol, price: Price) -> bool {
        let Instrument { min_price, max_price, .. } = self.symbols[symbol].instrument;
        min_price <= price && price <= max_price
    }

    /// What the definition of a symbol is refused for, before it is looked whether it is known.
    pub(super) fn definition_in_range(&self, define: &DefineSymbol) -> Result<(), Refusal> {
        if !well_formed(&define.instrument) {
            return Err(invalid());
        }
        match &self.basis {
            ExposureBasis::WorstLoss { asset } if *asset != define.instrument.quote => {
                Err(Refusal::OtherQuoteAsset { asset: asset.clone() })
            }
            ExposureBasis::WorstLoss { .. } | ExposureBasis::Units => Ok(()),
        }
    }

    /// A contract is of one symbol alone: it is an asset of no other.
    pub(super) fn contracts_apart(&self, define: &DefineSymbol) -> Result<(), Refusal> {
        let new = &define.instrument;
        let shares = |of: &Instrument, asset: &Asset| of.base == *asset || of.quote == *asset;
        let mixed = self.symbols.values().map(|state| &state.instrument).any(|other| {
            (pays(new).is_some() && shares(other, &new.base)) || (pays(other).is_some() && shares(new, &other.base))
        });
        if mixed { Err(invalid()) } else { Ok(()) }
    }

    /// The checks of the next revision of an instrument.
    pub(super) fn may_revise(&self, symbol: &Symbol, new: &Instrument, revision: u64) -> Result<(), Refusal> {
        let state = self.known(symbol)?;
        let old = &state.instrument;
        let same = old.base == new.base && old.quote == new.quote && old.lot_size == new.lot_size;
        let marks = [&state.mark, &state.waiting_mark].into_iter().flatten();
        if !well_formed(new)
            || !same
            || !same_kind(old, new)
            || marks.map(|mark| mark.in_ticks_of(old, new)).any(|mark| mark.is_none())
        {
            return Err(invalid());
        }
        if revision != state.revision + 1 {
            return Err(Refusal::StaleRevision { revision: state.revision });
        }
        self.not_closed(symbol)?;
        let open = self.orders.iter().any(|order| order.new.symbol == *symbol && self.is_open(order));
        if state.quote.is_some() || open || state.moving.is_some() {
            return Err(Refusal::SymbolBusy { symbol: symbol.clone() });
        }
        Ok(())
    }

    pub(super) fn revise(&mut self, change: &ControlChange) {
        let ControlChange::Instrument { symbol, instrument, revision } = change else { return };
        let state = self.symbols.get_mut(symbol).unwrap();
        let old = std::mem::replace(&mut state.instrument, instrument.clone());
        state.revision = *revision;
        for mark in [&mut state.mark, &mut state.waiting_mark].into_iter().flatten() {
            *mark = mark.in_ticks_of(&old, instrument).unwrap();
        }
    }
}
