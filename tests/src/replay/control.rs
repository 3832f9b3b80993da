//! What people have decided, as the events say: nothing is quoted or executed that is off, and no quote may bring a position past
//! its limit.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{ActorName, ExposureBasis, MakerName, Symbol};
use quorate_ledger::{ControlChange, Event, Frame, QuotingScope};

use super::{
    Replay,
    money::Money,
    rules::{HARD_EXPOSURE_LIMIT, WORST_LOSS_LIMIT_MAX},
};

/// What is off, and what is bounded.
#[derive(Default)]
pub(super) struct Control {
    version: Option<u64>,
    pub(super) kill_switch: bool,
    all_off: bool,
    symbols_off: BTreeSet<Symbol>,
    makers_off: BTreeSet<MakerName>,
    /// Whether exposure is the worst loss, and not counted in units.
    pub(super) worst_loss: bool,
    /// The largest position of a symbol, in lots.
    pub(super) positions: BTreeMap<Symbol, i64>,
}

impl Control {
    /// Whether a quote of this symbol by this maker may stand.
    pub(super) fn allows(&self, symbol: &Symbol, maker: Option<&MakerName>) -> bool {
        let off = self.kill_switch
            || self.all_off
            || self.symbols_off.contains(symbol)
            || maker.is_some_and(|maker| self.makers_off.contains(maker));
        !off
    }

    /// What one lot may cost when it is bought at the first price, and sold at the second.
    pub(super) fn lots_at_risk(
        &self,
        money: &Money,
        symbol: &Symbol,
        per_lot: i64,
        (bid, ask): (i64, i64),
    ) -> (i128, i128) {
        match money.worst_losses(symbol, (bid, ask)).filter(|_| self.worst_loss) {
            Some(losses) => losses,
            None => (per_lot.into(), per_lot.into()),
        }
    }

    fn set_quoting(&mut self, scope: &QuotingScope, on: bool) {
        match (scope, on) {
            (QuotingScope::All, on) => self.all_off = !on,
            (QuotingScope::Symbol(symbol), true) => drop(self.symbols_off.remove(symbol)),
            (QuotingScope::Symbol(symbol), false) => drop(self.symbols_off.insert(symbol.clone())),
            (QuotingScope::Maker(maker), true) => drop(self.makers_off.remove(maker)),
            (QuotingScope::Maker(maker), false) => drop(self.makers_off.insert(maker.clone())),
        }
    }
}

impl Replay {
    pub(super) fn control_changed(
        &mut self,
        frame: &Frame,
        version: u64,
        (actor, reason): (&ActorName, &str),
        change: &ControlChange,
    ) {
        self.found.control_changes += 1;
        let before = self.control.version.replace(version);
        if before.is_some_and(|before| version != before + 1) {
            self.wrong(frame, &format!("control version {version} after {before:?}"));
        }
        if reason.is_empty() || reason.chars().any(char::is_control) {
            self.wrong(frame, &format!("{actor} changed {change:?} without a reason: {reason:?}"));
        }
        match change {
            ControlChange::ExposureLimit { limit } => self.limited(frame, limit.0),
            ControlChange::PositionLimit { symbol, max: Some(max) } => {
                self.control.positions.insert(symbol.clone(), max.0);
            }
            ControlChange::PositionLimit { symbol, max: None } => drop(self.control.positions.remove(symbol)),
            ControlChange::Quoting { scope, on } => self.control.set_quoting(scope, *on),
            ControlChange::KillSwitch { engaged } => self.control.kill_switch = *engaged,
            ControlChange::ExposureBasis { basis, limit } => {
                self.control.worst_loss = *basis != ExposureBasis::Units;
                self.limited(frame, limit.0);
            }
            ControlChange::Instrument { symbol, instrument, .. } => {
                self.books.entry(symbol.clone()).or_default().per_lot = instrument.exposure_per_lot;
            }
            ControlChange::Protection { .. }
            | ControlChange::DrawdownLimit { .. }
            | ControlChange::Rearm { .. }
            | ControlChange::LimitAccount { .. }
            | ControlChange::Deposit { .. }
            | ControlChange::Settle { .. }
            | ControlChange::CloseSymbol { .. }
            | ControlChange::LedgerVersion { .. } => {}
        }
    }

    /// A limit, which no control may set above the hard one.
    fn limited(&mut self, frame: &Frame, limit: i128) {
        self.found.limit = limit;
        let hard = if self.control.worst_loss { WORST_LOSS_LIMIT_MAX } else { HARD_EXPOSURE_LIMIT };
        if !(0..=hard).contains(&limit) {
            self.wrong(frame, &format!("an exposure limit of {limit}, and the hard one is {hard}"));
        }
    }

    /// What is off has no quote, and no quote may bring a position past its limit.
    pub(super) fn controlled(&mut self, frame: &Frame) {
        let mut wrong = Vec::new();
        for (symbol, book) in &self.books {
            let Some(quote) = &book.quote else { continue };
            if !self.control.allows(symbol, book.holder.as_ref().map(|(maker, _)| maker)) {
                wrong.push(format!("{symbol}: quoted, and quoting is off for it"));
            }
            let Some(max) = self.control.positions.get(symbol) else { continue };
            let past = |leaves: i64, toward: i64| leaves > 0 && toward.saturating_add(leaves) > *max;
            if past(quote.bid.1, book.position) || past(quote.ask.1, -book.position) {
                wrong.push(format!("{symbol}: at {}, a fill may bring it past {max} lots", book.position));
            }
        }
        wrong.iter().for_each(|what| self.wrong(frame, what));
    }
}

/// Whether people decided in this frame what `of` looks for.
pub(super) fn decided(frame: &Frame, of: impl Fn(&ControlChange) -> bool) -> bool {
    frame.events.iter().any(|event| matches!(event, Event::ControlChanged { change, .. } if of(change)))
}
