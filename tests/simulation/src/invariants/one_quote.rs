//! At most one active quote per symbol: one that is placed names the one that it supersedes, which is the active one, and
//! one that is refused for want of exposure, for what rests in the book or for the position's limit leaves none. A refused keep
//! leaves the quote as it is.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::Symbol;
use quorate_ledger::{Event, Frame, KeepQuote, Refusal};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct OneQuote {
    active: BTreeMap<Symbol, u64>,
    /// The keeps that were sent: symbol, incarnation and number.
    keeps: BTreeSet<(Symbol, u64, u64)>,
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
                    incarnation,
                    quote_seq,
                    refusal:
                        refusal @ (Refusal::ExposureShort { .. }
                        | Refusal::TooHeavy { .. }
                        | Refusal::CrossesResting { .. }
                        | Refusal::PositionLimit { .. }),
                } if !self.keeps.contains(&(symbol.clone(), *incarnation, *quote_seq)) => {
                    let stands = self.active.get(symbol);
                    hold(stands.is_none(), || format!("index {}: {refusal}, and {stands:?} stands", frame.index))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn keeping(&mut self, keep: &KeepQuote) -> Result<(), String> {
        self.keeps.insert((keep.symbol.clone(), keep.incarnation, keep.quote_seq));
        Ok(())
    }
}
