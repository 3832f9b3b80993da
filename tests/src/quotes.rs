//! Whether quotes explain themselves: each carries why it was placed, and that must agree with what the events before
//! it say.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{Event, FilledMaker, Frame, QuoteBasis, QuoteCause, QuoteEndReason, QuotePlaced};

/// What the events say of all quotes.
#[derive(Debug, Default)]
pub struct Explained {
    /// Quotes whose cause or basis does not agree with the events, in words.
    pub violations: Vec<String>,
    /// Quotes placed, by cause.
    pub placed: BTreeMap<QuoteCause, u64>,
    /// Fills of quotes after which the symbol was quoted again.
    pub requoted: u64,
    /// The longest log time from a fill until the symbol's next quote, in milliseconds.
    pub requote_ms_max: u64,
    /// Quotes kept.
    pub kept: u64,
    /// The longest log time between two quotes of one symbol, or from one to when it was kept, in milliseconds.
    pub gap_ms_max: u64,
}

#[derive(Debug, Default)]
struct Seen {
    epoch: u64,
    position_seq: u64,
    /// Log time at which it was quoted, or its quote kept, last.
    placed_at: Option<u64>,
    /// Index of the last fill of a quote, and log time of the first fill since the last quote.
    fill_index: u64,
    filled_at: Option<u64>,
    /// Whether the last quote ran out.
    ran_out: bool,
}

/// Holds every quote against the events before it.
#[must_use]
pub fn explain(frames: &[Frame]) -> Explained {
    let mut explained = Explained::default();
    let mut symbols: BTreeMap<Symbol, Seen> = BTreeMap::new();
    for frame in frames {
        for event in &frame.events {
            match event {
                Event::QuotePlaced(placed) => {
                    let seen = symbols.entry(placed.symbol.clone()).or_default();
                    explained.placed(frame, placed, seen);
                }
                Event::QuoteKept { symbol, quote_id, basis, .. } => {
                    let seen = symbols.entry(symbol.clone()).or_default();
                    explained.kept(frame, *quote_id, basis, seen);
                }
                Event::QuoteEnded { symbol, reason, .. } => {
                    let seen = symbols.entry(symbol.clone()).or_default();
                    seen.ran_out = matches!(reason, QuoteEndReason::Expired | QuoteEndReason::AgeUnproven);
                }
                Event::FillCommitted(fill) if matches!(fill.maker, FilledMaker::Quote { .. }) => {
                    let seen = symbols.entry(fill.symbol.clone()).or_default();
                    seen.fill_index = frame.index;
                    seen.filled_at.get_or_insert(frame.log_time.0);
                }
                _ => {}
            }
        }
    }
    explained
}

impl Explained {
    fn placed(&mut self, frame: &Frame, placed: &QuotePlaced, seen: &mut Seen) {
        *self.placed.entry(placed.cause).or_default() += 1;
        let (time, first) = (frame.log_time.0, placed.epoch != seen.epoch);
        let moved = placed.position_seq > seen.position_seq;
        let agrees = match placed.cause {
            // A maker that lost its belief for a while and found it again under one epoch says so too.
            QuoteCause::AuthorityGained => true,
            QuoteCause::Fill => !first && moved,
            QuoteCause::Expiry => !first && !moved && seen.ran_out,
            QuoteCause::ReferenceMoved | QuoteCause::Refresh => !first && !moved,
        };
        let mut wrong = |what: &str| {
            self.violations.push(format!("index {}: {placed:?}: {what}; before it: {seen:?}", frame.index));
        };
        if !agrees {
            wrong("the events before it say otherwise");
        }
        if !is_fresh(&placed.basis, frame, seen) {
            wrong("not computed from a state between the last fill and itself");
        }
        if let Some(at) = seen.placed_at.replace(time) {
            self.gap_ms_max = self.gap_ms_max.max(time.saturating_sub(at));
        }
        if let Some(at) = seen.filled_at.take() {
            self.requoted += 1;
            self.requote_ms_max = self.requote_ms_max.max(time.saturating_sub(at));
        }
        (seen.epoch, seen.position_seq, seen.ran_out) = (placed.epoch, placed.position_seq, false);
    }

    /// A quote that is kept is as fresh as what its maker compared it with.
    fn kept(&mut self, frame: &Frame, quote_id: u64, basis: &QuoteBasis, seen: &mut Seen) {
        self.kept += 1;
        if !is_fresh(basis, frame, seen) {
            let what = "kept by a state that is not between the last fill and that";
            self.violations.push(format!("index {}: quote {quote_id}: {what}; before it: {seen:?}", frame.index));
        }
        let time = frame.log_time.0;
        if let Some(at) = seen.placed_at.replace(time) {
            self.gap_ms_max = self.gap_ms_max.max(time.saturating_sub(at));
        }
    }
}

/// Whether it was computed from a state between the last fill and what happened now.
fn is_fresh(basis: &QuoteBasis, frame: &Frame, seen: &Seen) -> bool {
    (seen.fill_index..frame.index).contains(&basis.computed_at)
}
