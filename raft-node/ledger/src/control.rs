//! What people switch: limit, quoting, kill switch, version.
//!
//! Invariant: each is a compare-and-set on the control version, which grows with every one accepted, so
//! that a late repeat cannot undo a later order, except for engaging the kill switch, which must lose no race; what is turned off is off within the same apply. The
//! event of the change comes before those of what it ends.

use crate::{
    answer::{Answer, OrderStatus},
    apply::{Applying, Handled},
    bounds::{HARD_EXPOSURE_LIMIT, QUOTING_OFF_MAKERS_MAX},
    command::{QuotingScope, SetExposureLimit, SetKillSwitch, SetQuoting, UpgradeLedger},
    event::{Event, QuoteEndReason},
    ledger::LEDGER_VERSION,
    refusal::Refusal,
    state::{Sides, SymbolState},
};
use quorate_domain::{Exposure, QuoteId, Side, Symbol};

impl Applying<'_> {
    pub(crate) fn set_exposure_limit(&mut self, command: &SetExposureLimit) -> Handled {
        if !(0..=HARD_EXPOSURE_LIMIT).contains(&command.limit.0) {
            return Err(Refusal::LimitOutOfRange { hard_limit: Exposure(HARD_EXPOSURE_LIMIT) });
        }
        self.check_control_version(command.control_version)?;
        let control_version = self.next_control_version();
        self.tables.control.limit = command.limit;
        self.events.push(Event::ExposureLimitChanged { limit: command.limit, control_version });
        self.end_quotes_above_limit();
        Ok(Answer::ControlChanged { control_version })
    }

    /// Newest first, and only those that have leaves on a side that is above the limit.
    fn end_quotes_above_limit(&mut self) {
        let mut standing: Vec<(QuoteId, Symbol, Sides<Exposure>)> = self
            .tables
            .symbols
            .iter()
            .filter_map(|(symbol, state)| Some((state.quote.as_ref()?.id, symbol.clone(), state.reserved())))
            .collect();
        standing.sort_unstable_by_key(|(id, _, _)| *id);
        while let Some((_, symbol, reserved)) = standing.pop() {
            let limit = self.tables.control.limit;
            let excess = |side: Side| *self.indexes.reserved.of(side) > limit && *reserved.of(side) > Exposure::ZERO;
            if excess(Side::Buy) || excess(Side::Sell) {
                self.end_quote(&symbol, QuoteEndReason::LimitLowered);
            }
        }
    }

    pub(crate) fn set_quoting(&mut self, command: &SetQuoting) -> Handled {
        let SetQuoting { scope, on, control_version } = command;
        if let QuotingScope::Symbol(symbol) = scope {
            self.symbol(symbol)?;
        }
        self.check_control_version(*control_version)?;
        self.switch_quoting(scope, *on)?;
        let control_version = self.next_control_version();
        self.events.push(Event::QuotingChanged { scope: scope.clone(), on: *on, control_version });
        if !on {
            for symbol in self.symbols_in(scope) {
                self.end_quote(&symbol, QuoteEndReason::QuotingOff);
                self.forget_demands(&symbol);
            }
        }
        Ok(Answer::ControlChanged { control_version })
    }

    fn switch_quoting(&mut self, scope: &QuotingScope, on: bool) -> Result<(), Refusal> {
        let control = &mut self.tables.control;
        match scope {
            QuotingScope::All => control.all_off = !on,
            QuotingScope::Symbol(symbol) if on => drop(control.symbols_off.remove(symbol)),
            QuotingScope::Symbol(symbol) => drop(control.symbols_off.insert(symbol.clone())),
            QuotingScope::Maker(maker) if on => drop(control.makers_off.remove(maker)),
            QuotingScope::Maker(maker) => {
                let full = control.makers_off.len() >= QUOTING_OFF_MAKERS_MAX && !control.makers_off.contains(maker);
                if full {
                    let what = "makers for which quoting is off".to_owned();
                    return Err(Refusal::Full { what, max: QUOTING_OFF_MAKERS_MAX as u64 });
                }
                control.makers_off.insert(maker.clone());
            }
        }
        Ok(())
    }

    /// The symbols whose quotes and demands a scope covers, by name.
    fn symbols_in(&self, scope: &QuotingScope) -> Vec<Symbol> {
        match scope {
            QuotingScope::All => self.symbols_where(|_| true),
            QuotingScope::Symbol(symbol) => vec![symbol.clone()],
            QuotingScope::Maker(maker) => self.indexes.held_by(maker).cloned().collect(),
        }
    }

    fn symbols_where(&self, test: impl Fn(&SymbolState) -> bool) -> Vec<Symbol> {
        let found = self.tables.symbols.iter().filter(|(_, state)| test(state));
        found.map(|(symbol, _)| symbol.clone()).collect()
    }

    pub(crate) fn set_kill_switch(&mut self, command: &SetKillSwitch) -> Handled {
        if !command.engaged {
            self.check_control_version(command.control_version)?;
        }
        let control_version = self.next_control_version();
        self.tables.control.kill_switch = command.engaged;
        self.events.push(Event::KillSwitchChanged { engaged: command.engaged, control_version });
        if command.engaged {
            self.end_all_quotes(QuoteEndReason::KillSwitch);
            let open: Vec<_> = self.tables.orders.keys().copied().collect();
            for id in open {
                self.close_order(id, OrderStatus::Cancelled);
            }
        }
        Ok(Answer::ControlChanged { control_version })
    }

    /// In symbol order.
    pub(crate) fn end_all_quotes(&mut self, reason: QuoteEndReason) {
        for symbol in self.symbols_where(|state| state.quote.is_some()) {
            self.end_quote(&symbol, reason);
        }
    }

    pub(crate) fn upgrade_ledger(&mut self, command: &UpgradeLedger) -> Handled {
        let present = self.tables.ledger_version;
        if !(present..=LEDGER_VERSION).contains(&command.ledger_version) {
            return Err(Refusal::LedgerVersion { present, known: LEDGER_VERSION });
        }
        self.check_control_version(command.control_version)?;
        let control_version = self.next_control_version();
        self.tables.ledger_version = command.ledger_version;
        self.events.push(Event::LedgerUpgraded { ledger_version: command.ledger_version, control_version });
        Ok(Answer::ControlChanged { control_version })
    }

    fn check_control_version(&self, decided_on: u64) -> Result<(), Refusal> {
        let control_version = self.tables.control.version;
        if decided_on == control_version { Ok(()) } else { Err(Refusal::ControlVersion { control_version }) }
    }

    fn next_control_version(&mut self) -> u64 {
        self.tables.control.version += 1;
        self.tables.control.version
    }

    pub(crate) fn check_kill_switch(&self) -> Result<(), Refusal> {
        let control = &self.tables.control;
        if control.kill_switch { Err(Refusal::KillSwitch { control_version: control.version }) } else { Ok(()) }
    }
}
