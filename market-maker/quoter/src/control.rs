//! What the ledger's control state lets this maker quote.
//!
//! Invariant: a newer control version is never overwritten by an older one.

use std::collections::BTreeSet;

use quorate_domain::{MakerName, Symbol};
use quorate_ledger::{ControlChange, Event, QuotingScope};

use crate::types::Snapshot;

/// The control state, as far as it concerns one maker.
#[derive(Debug)]
pub(crate) struct Control {
    maker: MakerName,
    version: u64,
    kill_switch: bool,
    all_off: bool,
    maker_off: bool,
    symbols_off: BTreeSet<Symbol>,
}

impl Control {
    pub(crate) fn new(maker: MakerName) -> Self {
        let symbols_off = BTreeSet::new();
        Self { maker, version: 0, kill_switch: false, all_off: false, maker_off: false, symbols_off }
    }

    /// Whether `symbol` may be quoted.
    pub(crate) fn allows(&self, symbol: &Symbol) -> bool {
        !(self.kill_switch || self.all_off || self.maker_off || self.symbols_off.contains(symbol))
    }

    /// Takes in what was read.
    pub(crate) fn read(&mut self, snapshot: &Snapshot) {
        if snapshot.control_version < self.version {
            return;
        }
        self.version = snapshot.control_version;
        self.kill_switch = snapshot.kill_switch;
        self.all_off = !snapshot.quoting;
        self.maker_off = snapshot.makers_off.contains(&self.maker);
        self.symbols_off = snapshot.symbols_off.iter().cloned().collect();
    }

    /// Takes in an event, where it is one of control; says whether it was.
    pub(crate) fn happened(&mut self, event: &Event) -> bool {
        match event {
            Event::ControlChanged { control_version, change, .. } => {
                if self.newer(*control_version) {
                    self.change(change);
                }
                true
            }
            Event::TermBegan { .. }
            | Event::SymbolDefined { .. }
            | Event::MakerRegistered { .. }
            | Event::MakerRenewed { .. }
            | Event::MakerDeparted { .. }
            | Event::ParametersCommitted { .. }
            | Event::AuthorityGranted { .. }
            | Event::AuthorityMoving { .. }
            | Event::AuthorityEnded { .. }
            | Event::QuotePlaced(_)
            | Event::QuoteKept { .. }
            | Event::TurnChanged { .. }
            | Event::MarksPublished { .. }
            | Event::ListingChanged { .. }
            | Event::BreakerTripped { .. }
            | Event::ProtectionTripped { .. }
            | Event::SymbolClosed { .. }
            | Event::QuoteRefused { .. }
            | Event::QuoteEnded { .. }
            | Event::ExchangeRegistered { .. }
            | Event::OrderExecuted { .. }
            | Event::FillCommitted(_)
            | Event::OrderClosed { .. } => false,
        }
    }

    fn change(&mut self, change: &ControlChange) {
        match change {
            ControlChange::Quoting { scope, on } => self.switch(scope, *on),
            ControlChange::KillSwitch { engaged } => self.kill_switch = *engaged,
            ControlChange::ExposureLimit { .. }
            | ControlChange::ExposureBasis { .. }
            | ControlChange::PositionLimit { .. }
            | ControlChange::Instrument { .. }
            | ControlChange::Protection { .. }
            | ControlChange::DrawdownLimit { .. }
            | ControlChange::Rearm { .. }
            | ControlChange::LimitAccount { .. }
            | ControlChange::Deposit { .. }
            | ControlChange::Settle { .. }
            | ControlChange::CloseSymbol { .. }
            | ControlChange::LedgerVersion { .. } => {}
        }
    }

    /// A quote was refused because the kill switch is engaged, and no event has said so yet.
    pub(crate) fn refused_by_kill_switch(&mut self) {
        self.kill_switch = true;
    }

    /// A quote was refused because quoting is off, and no event has said so yet.
    pub(crate) fn refused_by(&mut self, scope: &QuotingScope) {
        self.switch(scope, false);
    }

    fn newer(&mut self, version: u64) -> bool {
        let newer = version > self.version;
        self.version = self.version.max(version);
        newer
    }

    fn switch(&mut self, scope: &QuotingScope, on: bool) {
        match scope {
            QuotingScope::All => self.all_off = !on,
            QuotingScope::Maker(maker) if *maker == self.maker => self.maker_off = !on,
            QuotingScope::Maker(_) => {}
            QuotingScope::Symbol(symbol) if on => {
                self.symbols_off.remove(symbol);
            }
            QuotingScope::Symbol(symbol) => {
                self.symbols_off.insert(symbol.clone());
            }
        }
    }
}
