//! Nothing is filled past its deadline or under an old epoch, nor past the lease of its maker.

use std::collections::BTreeMap;

use quorate_domain::{MakerName, Symbol};
use quorate_ledger::{Event, FilledMaker, Frame};

use super::{Invariant, hold};

#[derive(Default)]
struct Quoted {
    epoch: u64,
    holder: Option<MakerName>,
    quote: Option<(u64, u64)>,
    moving_until: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub(super) struct FillsInTime {
    symbols: BTreeMap<Symbol, Quoted>,
    leases: BTreeMap<MakerName, u64>,
}

impl Invariant for FillsInTime {
    fn name(&self) -> &'static str {
        "fills in time"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let now = frame.log_time.0;
        for event in &frame.events {
            match event {
                Event::MakerRegistered { maker, deadline, .. } | Event::MakerRenewed { maker, deadline, .. } => {
                    self.leases.insert(maker.clone(), deadline.0);
                }
                Event::MakerDeparted { maker, .. } => {
                    self.leases.remove(maker);
                }
                Event::AuthorityGranted { symbol, maker, epoch, .. } => {
                    let of = self.symbols.entry(symbol.clone()).or_default();
                    *of = Quoted { epoch: *epoch, holder: Some(maker.clone()), quote: None, moving_until: None };
                }
                Event::AuthorityMoving { symbol, to, until, .. } => {
                    self.symbols.entry(symbol.clone()).or_default().moving_until = to.is_some().then_some(until.0);
                }
                Event::AuthorityEnded { symbol, .. } => {
                    let of = self.symbols.entry(symbol.clone()).or_default();
                    (of.holder, of.quote, of.moving_until) = (None, None, None);
                }
                Event::QuotePlaced(placed) => {
                    let of = self.symbols.entry(placed.symbol.clone()).or_default();
                    of.quote = Some((placed.quote_id, placed.deadline.0));
                }
                Event::QuoteKept { symbol, quote_id, deadline, .. } => {
                    let of = self.symbols.entry(symbol.clone()).or_default();
                    of.quote = of.quote.map(|(id, old)| (id, if id == *quote_id { deadline.0 } else { old }));
                }
                Event::QuoteEnded { symbol, .. } => self.symbols.entry(symbol.clone()).or_default().quote = None,
                Event::FillCommitted(fill) => {
                    let FilledMaker::Quote { quote_id, epoch, .. } = &fill.maker else { continue };
                    let of = self.symbols.entry(fill.symbol.clone()).or_default();
                    let lease = of.holder.as_ref().and_then(|holder| self.leases.get(holder)).copied();
                    let sound = of.epoch == *epoch
                        && of.quote.is_some_and(|(id, deadline)| id == *quote_id && now < deadline)
                        && lease.is_some_and(|deadline| now < deadline)
                        && of.moving_until.is_none_or(|until| now < until);
                    let (quote, present) = (of.quote, of.epoch);
                    hold(sound, || {
                        format!(
                            "index {} at {now}: {fill:?}; quote {quote:?}, epoch {present}, lease {lease:?}",
                            frame.index
                        )
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}
