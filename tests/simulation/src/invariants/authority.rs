//! A symbol has at most one holder; epochs only grow; who quotes holds; when authority ends, no quote stands.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{Event, Frame};

use super::{Invariant, hold};

#[derive(Default)]
struct Held {
    epoch: u64,
    holder: Option<u64>,
    quoted: bool,
}

/// See the module.
#[derive(Default)]
pub(super) struct Authority {
    symbols: BTreeMap<Symbol, Held>,
}

impl Invariant for Authority {
    fn name(&self) -> &'static str {
        "authority"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let at = frame.index;
        for event in &frame.events {
            match event {
                Event::AuthorityGranted { symbol, incarnation, epoch, .. } => {
                    let held = self.symbols.entry(symbol.clone()).or_default();
                    let before = held.holder.replace(*incarnation);
                    let grew = *epoch > held.epoch;
                    held.epoch = *epoch;
                    hold(before.is_none() && grew, || format!("index {at}: {event:?} while {before:?} held it"))?;
                }
                Event::AuthorityEnded { symbol, incarnation, epoch, .. } => {
                    let held = self.symbols.entry(symbol.clone()).or_default();
                    let before = held.holder.take();
                    let sound = before == Some(*incarnation) && held.epoch == *epoch && !held.quoted;
                    let quoted = held.quoted;
                    hold(sound, || format!("index {at}: {event:?}; held by {before:?}, quoted: {quoted}"))?;
                }
                Event::QuotePlaced(placed) => {
                    let held = self.symbols.entry(placed.symbol.clone()).or_default();
                    held.quoted = true;
                    let sound = held.holder == Some(placed.incarnation) && held.epoch == placed.epoch;
                    let holder = held.holder;
                    hold(sound, || format!("index {at}: quoted by {}, held by {holder:?}", placed.incarnation))?;
                }
                Event::QuoteEnded { symbol, .. } => self.symbols.entry(symbol.clone()).or_default().quoted = false,
                _ => {}
            }
        }
        Ok(())
    }
}
