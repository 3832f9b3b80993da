//! A quote is kept only while it stands and lives, with the position that it was placed from, which is the committed one, and for
//! no longer than a quote may live.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

/// The longest life of a quote from its commit, in milliseconds.
const LIFE_MAX: u64 = 30_000;

/// See the module.
#[derive(Default)]
pub(super) struct KeptQuotes {
    active: BTreeMap<Symbol, Stands>,
    fills: BTreeMap<Symbol, u64>,
}

#[derive(Debug, Clone, Copy)]
struct Stands {
    quote_id: u64,
    position_seq: u64,
    deadline: u64,
}

impl Invariant for KeptQuotes {
    fn name(&self) -> &'static str {
        "kept quotes"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let (at, now) = (frame.index, frame.log_time.0);
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    let (quote_id, position_seq) = (placed.quote_id, placed.position_seq);
                    let stands = Stands { quote_id, position_seq, deadline: placed.deadline.0 };
                    self.active.insert(placed.symbol.clone(), stands);
                }
                Event::QuoteEnded { symbol, .. } => drop(self.active.remove(symbol)),
                Event::FillCommitted(fill) if matches!(fill.maker, FilledMaker::Quote { .. }) => {
                    *self.fills.entry(fill.symbol.clone()).or_default() += 1;
                }
                Event::QuoteKept { symbol, quote_id, deadline, basis, .. } => {
                    let fills = self.fills.get(symbol).copied().unwrap_or(0);
                    let stands = self.active.get_mut(symbol).filter(|stands| stands.quote_id == *quote_id);
                    let before = stands.as_deref().copied();
                    hold(before.is_some_and(|stands| now < stands.deadline && stands.position_seq == fills), || {
                        format!(
                            "index {at} at {now}: {symbol} kept {quote_id} after fill {fills}; there was {before:?}"
                        )
                    })?;
                    hold(now < deadline.0 && deadline.0 <= now + LIFE_MAX && basis.computed_at < at, || {
                        format!("index {at} at {now}: {event:?}")
                    })?;
                    if let Some(stands) = stands {
                        stands.deadline = deadline.0;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
