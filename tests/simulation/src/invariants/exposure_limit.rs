//! What all active quotes would add if they filled at once is within the limit, each side, after every index.

use std::collections::BTreeMap;

use quorate_domain::{Side, Symbol};
use quorate_ledger::{ControlChange, Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct ExposureLimit {
    limit: Option<i128>,
    per_lot: BTreeMap<Symbol, i64>,
    /// Leaves of each symbol's quote: bid, ask.
    leaves: BTreeMap<Symbol, (i64, i64)>,
}

/// The limit at genesis, which no limit may pass.
const HARD_LIMIT: i128 = 100;

impl Invariant for ExposureLimit {
    fn name(&self) -> &'static str {
        "exposure limit"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            match event {
                Event::SymbolDefined { symbol, instrument } => {
                    self.per_lot.insert(symbol.clone(), instrument.exposure_per_lot);
                }
                Event::ControlChanged { change: ControlChange::ExposureLimit { limit }, .. } => {
                    self.limit = Some(limit.0)
                }
                Event::QuotePlaced(placed) => {
                    let lots = |side: Option<quorate_domain::QuoteSide>| side.map_or(0, |side| side.qty.0);
                    self.leaves.insert(placed.symbol.clone(), (lots(placed.bid), lots(placed.ask)));
                }
                Event::QuoteEnded { symbol, .. } => {
                    self.leaves.remove(symbol);
                }
                Event::FillCommitted(fill) if matches!(fill.maker, FilledMaker::Quote { .. }) => {
                    if let Some(leaves) = self.leaves.get_mut(&fill.symbol) {
                        let side = if fill.taker_side == Side::Buy { &mut leaves.1 } else { &mut leaves.0 };
                        *side -= fill.qty.0;
                    }
                }
                _ => {}
            }
        }
        let (mut long, mut short) = (0, 0);
        for (symbol, (bid, ask)) in &self.leaves {
            let per_lot = i128::from(self.per_lot.get(symbol).copied().unwrap_or(1));
            long += i128::from(*bid) * per_lot;
            short += i128::from(*ask) * per_lot;
        }
        let limit = self.limit.unwrap_or(HARD_LIMIT);
        hold(limit <= HARD_LIMIT && long.max(short) <= limit, || {
            format!("index {}: {long} long, {short} short, limit {limit}", frame.index)
        })
    }
}
