//! At most one active quote per symbol: one that is placed names the one that it supersedes, which is the active one, and
//! one that is refused for want of exposure, for what rests in the book, for the position's limit or by a breaker leaves none. A
//! refused keep leaves the quote as it is.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{Event, Frame, Refusal};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct OneQuote {
    active: BTreeMap<Symbol, u64>,
}

impl Invariant for OneQuote {
    fn name(&self) -> &'static str {
        "one quote per symbol"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    let before = self.active.insert(placed.symbol.clone(), placed.quote_id);
                    hold(before == placed.superseded, || {
                        format!("index {}: {before:?} was active, {:?} superseded", frame.index, placed.superseded)
                    })?;
                }
                Event::QuoteEnded { symbol, quote_id, .. } => {
                    let before = self.active.remove(symbol);
                    hold(before == Some(*quote_id), || {
                        format!("index {}: {quote_id} ended, and {before:?} was active", frame.index)
                    })?;
                }
                Event::QuoteRefused {
                    symbol,
                    keep: false,
                    refusal:
                        refusal @ (Refusal::ExposureShort { .. }
                        | Refusal::TooHeavy { .. }
                        | Refusal::CrossesResting { .. }
                        | Refusal::PositionLimit { .. }
                        | Refusal::BreakerTripped { .. }
                        | Refusal::Paused { .. }),
                    ..
                } => {
                    let stands = self.active.get(symbol);
                    hold(stands.is_none(), || format!("index {}: {refusal}, and {stands:?} stands", frame.index))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
