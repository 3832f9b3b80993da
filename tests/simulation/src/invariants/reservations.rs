//! What a quote releases at its end is what its leaves still reserved: nothing is released twice, and nothing kept.

use std::collections::BTreeMap;

use quorate_domain::{Side, Symbol};
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

#[derive(Debug, Clone, Copy)]
struct Reserved {
    quote_id: u64,
    bid: i64,
    ask: i64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Reservations {
    per_lot: BTreeMap<Symbol, i64>,
    active: BTreeMap<Symbol, Reserved>,
}

impl Invariant for Reservations {
    fn name(&self) -> &'static str {
        "reservations"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            match event {
                Event::SymbolDefined { symbol, instrument } => {
                    self.per_lot.insert(symbol.clone(), instrument.exposure_per_lot);
                }
                Event::QuotePlaced(placed) => {
                    let lots = |side: Option<quorate_domain::QuoteSide>| side.map_or(0, |side| side.qty.0);
                    let reserved = Reserved { quote_id: placed.quote_id, bid: lots(placed.bid), ask: lots(placed.ask) };
                    self.active.insert(placed.symbol.clone(), reserved);
                }
                Event::FillCommitted(fill) => {
                    let FilledMaker::Quote { quote_id, leaves, .. } = &fill.maker else { continue };
                    let reserved = self.active.get_mut(&fill.symbol).filter(|of| of.quote_id == *quote_id);
                    let Some(reserved) = reserved else {
                        return Err(format!("index {}: a fill of quote {quote_id}, which is not active", frame.index));
                    };
                    let side = if fill.taker_side == Side::Buy { &mut reserved.ask } else { &mut reserved.bid };
                    *side -= fill.qty.0;
                    let left = *side;
                    hold(left == leaves.0 && left >= 0, || {
                        format!("index {}: quote {quote_id} has {left} left, not {leaves}", frame.index)
                    })?;
                }
                Event::QuoteEnded { symbol, quote_id, released_long, released_short, .. } => {
                    let per_lot = i128::from(self.per_lot.get(symbol).copied().unwrap_or(1));
                    let released = (released_long.0, released_short.0);
                    let of = self.active.remove(symbol).filter(|of| of.quote_id == *quote_id);
                    let owed = of.map(|of| (i128::from(of.bid) * per_lot, i128::from(of.ask) * per_lot));
                    hold(owed == Some(released), || {
                        format!("index {}: quote {quote_id} released {released:?}, and had {owed:?}", frame.index)
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
