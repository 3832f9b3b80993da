//! What people decide: limits, quoting, kill switch, version.
//!
//! Invariant: each is a compare-and-set on the control version, which grows with every one accepted, so
//! that a late repeat cannot undo a later order, except for engaging the kill switch, which must lose no race; what is turned
//! off is off within the same apply. The event of the change, with who decided it and why, comes before those of what it ends.

use crate::{
    answer::{Answer, OrderStatus},
    apply::{Applying, Handled, invalid},
    bounds::{HARD_EXPOSURE_LIMIT, PROTECTION_MS_MAX, QUOTING_OFF_MAKERS_MAX, REASON_MAX, WORST_LOSS_LIMIT_MAX},
    command::{ControlChange, ControlCommand, QuotingScope},
    event::{Event, QuoteEndReason},
    ledger::LEDGER_VERSION,
    refusal::Refusal,
    state::SymbolState,
};
use quorate_domain::{
    Exposure, ExposureBasis, MAX_QTY, Money, Protection, ProtectionState, Qty, QuoteId, Side, Sides, Symbol,
};

impl Applying<'_> {
    pub(crate) fn control(&mut self, command: &ControlCommand) -> Handled {
        let ControlCommand { actor, reason, control_version, change } = command;
        check_reason(reason)?;
        self.check_change(change)?;
        if *change != (ControlChange::KillSwitch { engaged: true }) {
            self.check_control_version(*control_version)?;
        }
        self.check_room_for(change)?;
        self.tables.control.version += 1;
        let control_version = self.tables.control.version;
        let (actor, reason) = (actor.clone(), reason.clone());
        self.events.push(Event::ControlChanged { control_version, actor, reason, change: change.clone() });
        self.change_control(change);
        Ok(Answer::ControlChanged { control_version })
    }

    /// Whether a change is well formed, as things stand.
    fn check_change(&self, change: &ControlChange) -> Result<(), Refusal> {
        match change {
            ControlChange::ExposureLimit { limit } => check_limit(&self.tables.control.basis, *limit)?,
            ControlChange::ExposureBasis { basis, limit } => {
                check_limit(basis, *limit)?;
                if !self.tables.symbols.is_empty() {
                    return Err(Refusal::SymbolsDefined);
                }
            }
            ControlChange::PositionLimit { symbol, max } => {
                self.symbol(symbol)?;
                if max.is_some_and(|max| !(0..=MAX_QTY).contains(&max.0)) {
                    return Err(invalid(format!("max must lie in 0..={MAX_QTY} lots")));
                }
            }
            ControlChange::Quoting { scope: QuotingScope::Symbol(symbol), .. } => drop(self.symbol(symbol)?),
            ControlChange::Quoting { .. } | ControlChange::KillSwitch { .. } | ControlChange::LimitAccount { .. } => {}
            ControlChange::Instrument { symbol, instrument, revision } => {
                self.check_instrument_change(symbol, instrument, *revision)?;
            }
            ControlChange::Protection { symbol, protection } => {
                self.symbol(symbol)?;
                protection.as_ref().map_or(Ok(()), check_protection)?;
            }
            ControlChange::DrawdownLimit { asset, limit } => {
                self.check_known_quote_asset(asset)?;
                if limit.is_some_and(|limit| limit < Money::ZERO) {
                    return Err(invalid("limit must not be below 0"));
                }
            }
            ControlChange::Rearm { asset } => {
                self.check_known_quote_asset(asset)?;
                self.check_tripped(asset)?;
            }
            ControlChange::Deposit { asset, .. } => self.check_deposited_asset(asset)?,
            ControlChange::Settle { symbol, price } => self.check_settle(symbol, *price)?,
            ControlChange::CloseSymbol { symbol } => self.check_close(symbol)?,
            ControlChange::LedgerVersion { version } => {
                let present = self.tables.ledger_version;
                if !(present..=LEDGER_VERSION).contains(version) {
                    return Err(Refusal::LedgerVersion { present, known: LEDGER_VERSION });
                }
            }
        }
        Ok(())
    }

    /// What can be refused only once the version is the present one.
    fn check_room_for(&self, change: &ControlChange) -> Result<(), Refusal> {
        let makers_off = &self.tables.control.makers_off;
        match change {
            ControlChange::Quoting { scope: QuotingScope::Maker(maker), on: false }
                if makers_off.len() >= QUOTING_OFF_MAKERS_MAX && !makers_off.contains(maker) =>
            {
                let what = "makers for which quoting is off".to_owned();
                Err(Refusal::Full { what, max: QUOTING_OFF_MAKERS_MAX as u64 })
            }
            ControlChange::LimitAccount { account } => self.check_limit_account(account),
            ControlChange::Deposit { account, asset, amount } => self.check_deposit(account, asset, *amount),
            _ => Ok(()),
        }
    }

    fn change_control(&mut self, change: &ControlChange) {
        match change {
            ControlChange::ExposureLimit { limit } => {
                self.tables.control.limit = *limit;
                self.end_quotes_above_limit();
                self.drop_too_heavy();
            }
            ControlChange::ExposureBasis { basis, limit } => {
                self.tables.control.basis = basis.clone();
                self.tables.control.limit = *limit;
            }
            ControlChange::PositionLimit { symbol, max } => self.limit_position(symbol, *max),
            ControlChange::Quoting { scope, on } => self.switch_quoting(scope, *on),
            ControlChange::KillSwitch { engaged } => self.switch_kill(*engaged),
            ControlChange::Instrument { symbol, instrument, .. } => self.revise(symbol, instrument),
            ControlChange::Protection { symbol, protection } => self.change_symbol(symbol, |state| {
                state.protection = *protection;
                state.guard = ProtectionState::default();
            }),
            ControlChange::DrawdownLimit { asset, limit } => self.limit_drawdown(asset, *limit),
            ControlChange::Rearm { asset } => self.rearm(asset),
            ControlChange::LimitAccount { account } => self.limit_account(account),
            ControlChange::Deposit { account, asset, amount } => self.deposit(account, asset, *amount),
            ControlChange::Settle { symbol, price } => self.close_symbol(symbol, Some(*price)),
            ControlChange::CloseSymbol { symbol } => self.close_symbol(symbol, None),
            ControlChange::LedgerVersion { version } => self.tables.ledger_version = *version,
        }
    }

    fn limit_position(&mut self, symbol: &Symbol, max: Option<Qty>) {
        self.change_symbol(symbol, |state| state.position_max = max);
        let past = self.tables.symbols.get(symbol).is_some_and(SymbolState::may_pass_position_max);
        if past {
            self.end_quote(symbol, QuoteEndReason::PositionLimit);
        }
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

    fn switch_quoting(&mut self, scope: &QuotingScope, on: bool) {
        let control = &mut self.tables.control;
        match scope {
            QuotingScope::All => control.all_off = !on,
            QuotingScope::Symbol(symbol) if on => drop(control.symbols_off.remove(symbol)),
            QuotingScope::Symbol(symbol) => drop(control.symbols_off.insert(symbol.clone())),
            QuotingScope::Maker(maker) if on => drop(control.makers_off.remove(maker)),
            QuotingScope::Maker(maker) => drop(control.makers_off.insert(maker.clone())),
        }
        if !on {
            for symbol in self.symbols_in(scope) {
                self.end_quote(&symbol, QuoteEndReason::QuotingOff);
                self.forget_demands(&symbol);
            }
        }
    }

    /// The symbols whose quotes and demands a scope covers, by name.
    fn symbols_in(&self, scope: &QuotingScope) -> Vec<Symbol> {
        match scope {
            QuotingScope::All => self.symbols_where(|_| true),
            QuotingScope::Symbol(symbol) => vec![symbol.clone()],
            QuotingScope::Maker(maker) => self.indexes.held_by(maker).cloned().collect(),
        }
    }

    pub(crate) fn symbols_where(&self, test: impl Fn(&SymbolState) -> bool) -> Vec<Symbol> {
        let found = self.tables.symbols.iter().filter(|(_, state)| test(state));
        found.map(|(symbol, _)| symbol.clone()).collect()
    }

    fn switch_kill(&mut self, engaged: bool) {
        self.tables.control.kill_switch = engaged;
        if engaged {
            self.end_all_quotes(QuoteEndReason::KillSwitch);
            for symbol in self.symbols_where(|_| true) {
                self.forget_demands(&symbol);
            }
            let open: Vec<_> = self.tables.orders.keys().copied().collect();
            for id in open {
                self.close_order(id, OrderStatus::Cancelled);
            }
        }
    }

    /// In symbol order.
    pub(crate) fn end_all_quotes(&mut self, reason: QuoteEndReason) {
        for symbol in self.symbols_where(|state| state.quote.is_some()) {
            self.end_quote(&symbol, reason);
        }
    }

    fn check_control_version(&self, decided_on: u64) -> Result<(), Refusal> {
        let control_version = self.tables.control.version;
        if decided_on == control_version { Ok(()) } else { Err(Refusal::ControlVersion { control_version }) }
    }

    pub(crate) fn check_kill_switch(&self) -> Result<(), Refusal> {
        let control = &self.tables.control;
        if control.kill_switch { Err(Refusal::KillSwitch { control_version: control.version }) } else { Ok(()) }
    }
}

/// The most that the limit may be, by the basis.
pub(crate) fn hard_limit(basis: &ExposureBasis) -> Exposure {
    match basis {
        ExposureBasis::Units => Exposure(HARD_EXPOSURE_LIMIT),
        ExposureBasis::WorstLoss { .. } => Exposure(WORST_LOSS_LIMIT_MAX),
    }
}

fn check_limit(basis: &ExposureBasis, limit: Exposure) -> Result<(), Refusal> {
    let hard_limit = hard_limit(basis);
    if (Exposure::ZERO..=hard_limit).contains(&limit) { Ok(()) } else { Err(Refusal::LimitOutOfRange { hard_limit }) }
}

fn check_protection(protection: &Protection) -> Result<(), Refusal> {
    if !protection.lots_max.is_valid() {
        return Err(invalid(format!("lots_max must lie in 1..={MAX_QTY} lots")));
    }
    for (name, ms) in [("window_ms", protection.window_ms), ("pause_ms", protection.pause_ms)] {
        if !(1..=PROTECTION_MS_MAX).contains(&ms) {
            return Err(invalid(format!("{name} must lie in 1..={PROTECTION_MS_MAX}")));
        }
    }
    Ok(())
}

fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.is_empty() || reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
        return Err(invalid(format!("reason must be 1 to {REASON_MAX} bytes of text without control characters")));
    }
    Ok(())
}
