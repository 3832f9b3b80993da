//! Nobody quotes on a price that its feed did not say, or said too long ago: a maker sends no quote on one that is older
//! than it may be and one refresh; no quote stands far from all good prices of the feed; and where nothing else goes
//! wrong, none stands on a price that is too old.

use std::{collections::BTreeSet, time::Duration};

use quorate_domain::Symbol;
use quorate_ledger::{Event, Frame};

use super::{Invariant, hold};
use crate::{
    feed::{FED, GOOD_TICKS},
    view::{Placing, View},
};

/// A reference price may be this old: the makers' default.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Quotes are replaced in this time: the makers' default.
const REFRESH: Duration = Duration::from_secs(4);
/// A quote that is to be pulled is gone after this, where nothing else goes wrong.
const PULLED_WITHIN: Duration = Duration::from_secs(1);
/// Spread and skew, in ticks, at most.
const SPREAD_TICKS: i64 = 100;

/// See the module.
#[derive(Default)]
pub(super) struct FreshPrices {
    active: BTreeSet<Symbol>,
    /// The makers' newest quotes: epoch and number. A repeat says nothing new.
    sent: (u64, u64),
}

impl Invariant for FreshPrices {
    fn name(&self) -> &'static str {
        "fresh prices"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    self.active.insert(placed.symbol.clone());
                    if placed.symbol.as_str() != FED {
                        continue;
                    }
                    let (low, high) = (GOOD_TICKS.start() - SPREAD_TICKS, GOOD_TICKS.end() + SPREAD_TICKS);
                    for price in [placed.bid, placed.ask].into_iter().flatten().map(|side| side.price.0) {
                        hold((low..=high).contains(&price), || {
                            format!("index {}: quoted at {price} ticks, which the feed never meant", frame.index)
                        })?;
                    }
                }
                Event::QuoteEnded { symbol, .. } => {
                    self.active.remove(symbol);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, view: &View) -> Result<(), String> {
        let Some(feed) = view.feed.as_ref().filter(|feed| feed.alone) else { return Ok(()) };
        let fresh = feed.silence <= AGE_MAX + PULLED_WITHIN;
        hold(fresh || !self.active.contains(&feed.symbol), || {
            format!("{} is quoted, and its feed has been silent for {:?}", feed.symbol, feed.silence)
        })
    }

    fn placing(&mut self, placing: &Placing) -> Result<(), String> {
        let quote = (placing.epoch, placing.quote_seq);
        if quote <= self.sent {
            return Ok(());
        }
        self.sent = quote;
        hold(placing.silence <= AGE_MAX + REFRESH, || format!("{placing:?}"))
    }
}
