//! A newer quote is never replaced or kept by an older one, and each is computed from the committed position.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// See the module.
#[derive(Default)]
pub(super) struct NewestQuote {
    /// (epoch, quote_seq) of the last quote, or of when it was kept last.
    newest: BTreeMap<Symbol, (u64, u64)>,
    fills: BTreeMap<Symbol, u64>,
}

impl Invariant for NewestQuote {
    fn name(&self) -> &'static str {
        "newest quote"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    let new = (placed.epoch, placed.quote_seq);
                    let old = self.newest.insert(placed.symbol.clone(), new);
                    hold(old.is_none_or(|old| new > old), || {
                        format!("index {}: {} quote {new:?} after {old:?} (epoch, seq)", frame.index, placed.symbol)
                    })?;
                    let fills = self.fills.get(&placed.symbol).copied().unwrap_or(0);
                    hold(placed.position_seq == fills, || {
                        format!("index {}: computed at fill {} of {fills}", frame.index, placed.position_seq)
                    })?;
                    hold(placed.basis.computed_at < frame.index, || format!("index {}: computed later", frame.index))?;
                }
                Event::QuoteKept { symbol, quote_seq, .. } => {
                    let newest = self.newest.entry(symbol.clone()).or_default();
                    let old = std::mem::replace(newest, (newest.0, *quote_seq));
                    hold(*quote_seq > old.1, || {
                        format!("index {}: {symbol} kept by {quote_seq} after {old:?}", frame.index)
                    })?;
                }
                Event::FillCommitted(fill) if matches!(fill.maker, FilledMaker::Quote { .. }) => {
                    *self.fills.entry(fill.symbol.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
