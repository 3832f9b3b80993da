//! Control, and the definition of symbols.

use quorate_domain::{Asset, Exposure, ExposureBasis, MAX_QTY, Money, OrderId, Qty, Side, Sides, Symbol};
use quorate_ledger::{
    Answer, ControlChange, ControlCommand, DefineSymbol, Event, OrderStatus, QuoteEndReason, QuotingScope, Refusal,
    bounds::{
        ENDED_SYMBOLS_MAX, HARD_EXPOSURE_LIMIT, QUOTING_OFF_MAKERS_MAX, REASON_MAX, SYMBOLS_MAX, WORST_LOSS_LIMIT_MAX,
    },
};

use super::{Breaker, Done, LEDGER_VERSION, Model, Posting, SymbolState, accepted, full, invalid, protection};

impl Model {
    pub(super) fn control(&mut self, control: &ControlCommand, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let ControlCommand { actor, reason, control_version, change } = control;
        if reason.is_empty() || reason.len() > REASON_MAX || reason.chars().any(char::is_control) {
            return Err(invalid());
        }
        self.change_well_formed(change)?;
        let wins_every_race = *change == ControlChange::KillSwitch { engaged: true };
        if *control_version != self.control_version && !wins_every_race {
            return Err(Refusal::ControlVersion { control_version: self.control_version });
        }
        self.possible_now(change)?;
        self.control_version += 1;
        let control_version = self.control_version;
        let (actor, reason) = (actor.clone(), reason.clone());
        events.push(Event::ControlChanged { control_version, actor, reason, change: change.clone() });
        match change {
            ControlChange::ExposureLimit { limit } => self.set_exposure_limit(*limit, events),
            ControlChange::ExposureBasis { basis, limit } => (self.basis, self.limit) = (basis.clone(), *limit),
            ControlChange::PositionLimit { symbol, max } => self.set_position_limit(symbol, *max, events),
            ControlChange::Instrument { symbol, .. } => {
                self.revise(change);
                self.forget_demands(symbol, events);
            }
            ControlChange::Protection { symbol, protection } => {
                self.symbols.get_mut(symbol).unwrap().protect(*protection);
            }
            ControlChange::DrawdownLimit { asset, limit } => self.set_drawdown_limit(asset, *limit, events),
            ControlChange::Rearm { asset } => self.rearm(asset),
            ControlChange::LimitAccount { account } => drop(self.limited.insert(account.clone())),
            ControlChange::Deposit { account, asset, amount } => {
                let (account, asset, amount) = (account.clone(), asset.clone(), amount.0);
                self.book.push(Posting::Deposit { account, asset, amount });
            }
            ControlChange::Settle { symbol, price } => self.close(symbol, Some(*price), events),
            ControlChange::CloseSymbol { symbol } => self.close(symbol, None, events),
            ControlChange::Quoting { scope, on: true } => self.turn_quoting_on(scope),
            ControlChange::Quoting { scope, on: false } => self.turn_quoting_off(scope, events),
            ControlChange::KillSwitch { engaged: true } => self.engage_kill_switch(events),
            ControlChange::KillSwitch { engaged: false } => self.kill_switch = false,
            ControlChange::LedgerVersion { version } => self.ledger_version = *version,
        }
        Ok(accepted(Answer::ControlChanged { control_version }))
    }

    fn change_well_formed(&self, change: &ControlChange) -> Result<(), Refusal> {
        match change {
            ControlChange::ExposureLimit { limit } => limit_in_range(&self.basis, *limit),
            ControlChange::ExposureBasis { basis, limit } => {
                limit_in_range(basis, *limit)?;
                if self.symbols.is_empty() { Ok(()) } else { Err(Refusal::SymbolsDefined) }
            }
            ControlChange::PositionLimit { symbol, max } => {
                self.known(symbol)?;
                let in_range = max.is_none_or(|max| max.0 >= 0 && max.0 <= MAX_QTY);
                if in_range { Ok(()) } else { Err(invalid()) }
            }
            ControlChange::Instrument { symbol, instrument, revision } => {
                self.may_revise(symbol, instrument, *revision)
            }
            ControlChange::Protection { symbol, protection } => {
                self.known(symbol)?;
                if protection.as_ref().is_none_or(protection::in_range) { Ok(()) } else { Err(invalid()) }
            }
            ControlChange::DrawdownLimit { asset, limit } => {
                self.is_quote_asset(asset)?;
                if limit.is_none_or(|limit| limit.0 >= 0) { Ok(()) } else { Err(invalid()) }
            }
            ControlChange::Rearm { asset } => {
                self.is_quote_asset(asset)?;
                let tripped = self.breaker(asset).tripped;
                if tripped { Ok(()) } else { Err(Refusal::NotTripped { asset: asset.clone() }) }
            }
            ControlChange::Deposit { asset, .. } => self.may_be_deposited(asset),
            ControlChange::Settle { symbol, price } => self.may_settle(symbol, *price),
            ControlChange::CloseSymbol { symbol } => self.may_close(symbol),
            ControlChange::Quoting { scope: QuotingScope::Symbol(symbol), .. } => self.known(symbol).map(|_| ()),
            ControlChange::LedgerVersion { version } if *version < self.ledger_version || *version > LEDGER_VERSION => {
                Err(Refusal::LedgerVersion { present: self.ledger_version, known: LEDGER_VERSION })
            }
            ControlChange::LimitAccount { .. }
            | ControlChange::Quoting { .. }
            | ControlChange::KillSwitch { .. }
            | ControlChange::LedgerVersion { .. } => Ok(()),
        }
    }

    fn is_quote_asset(&self, asset: &Asset) -> Result<(), Refusal> {
        if self.quote_assets().contains(asset) {
            return Ok(());
        }
        Err(Refusal::UnknownAsset { asset: asset.clone() })
    }

    /// What is checked after the control version.
    fn possible_now(&self, change: &ControlChange) -> Result<(), Refusal> {
        match change {
            ControlChange::Quoting { scope: QuotingScope::Maker(maker), on: false } => {
                let others = self.makers_off.iter().filter(|off| *off != maker).count();
                if others >= QUOTING_OFF_MAKERS_MAX { Err(full(QUOTING_OFF_MAKERS_MAX)) } else { Ok(()) }
            }
            ControlChange::LimitAccount { account } => self.may_limit(account),
            ControlChange::Deposit { account, asset, amount } => self.may_deposit(account, asset, *amount),
            _ => Ok(()),
        }
    }

    fn set_drawdown_limit(&mut self, asset: &Asset, limit: Option<Money>, events: &mut Vec<Event>) {
        let breaker = Breaker { limit: limit.map(|limit| limit.0), ..self.breaker(asset) };
        self.breakers.insert(asset.clone(), breaker);
        self.evaluate(events);
    }

    fn set_exposure_limit(&mut self, limit: Exposure, events: &mut Vec<Event>) {
        self.limit = limit;
        while let Some(symbol) = self.newest_above_the_limit() {
            self.end_quote(&symbol, QuoteEndReason::LimitLowered, events);
        }
        for symbol in self.symbol_names() {
            if Side::BOTH.iter().any(|side| self.lot(&symbol, *side) > limit.0) {
                self.leave_the_turns(&symbol, events);
            }
        }
    }

    fn newest_above_the_limit(&self) -> Option<Symbol> {
        let above: Vec<Side> =
            [Side::Buy, Side::Sell].into_iter().filter(|side| self.reserved(*side) > self.limit).collect();
        let in_excess = self.symbols.keys().filter(|name| above.iter().any(|side| self.leaves(name, *side).0 > 0));
        in_excess.max_by_key(|name| self.symbols[*name].quote.as_ref().map(|quote| quote.id)).cloned()
    }

    fn set_position_limit(&mut self, symbol: &Symbol, max: Option<Qty>, events: &mut Vec<Event>) {
        self.symbols.get_mut(symbol).unwrap().position_max = max;
        if self.could_pass_the_position_limit(symbol) {
            self.end_quote(symbol, QuoteEndReason::PositionLimit, events);
        }
    }

    fn turn_quoting_on(&mut self, scope: &QuotingScope) {
        match scope {
            QuotingScope::All => self.all_off = false,
            QuotingScope::Symbol(symbol) => drop(self.symbols_off.remove(symbol)),
            QuotingScope::Maker(maker) => drop(self.makers_off.remove(maker)),
        }
    }

    fn turn_quoting_off(&mut self, scope: &QuotingScope, events: &mut Vec<Event>) {
        match scope {
            QuotingScope::All => self.all_off = true,
            QuotingScope::Symbol(symbol) => drop(self.symbols_off.insert(symbol.clone())),
            QuotingScope::Maker(maker) => drop(self.makers_off.insert(maker.clone())),
        }
        for symbol in self.symbol_names() {
            let concerned = match scope {
                QuotingScope::All => true,
                QuotingScope::Symbol(named) => *named == symbol,
                QuotingScope::Maker(maker) => self.symbols[&symbol].holder.as_ref() == Some(maker),
            };
            if concerned {
                self.end_quote(&symbol, QuoteEndReason::QuotingOff, events);
                self.forget_demands(&symbol, events);
            }
        }
    }

    fn engage_kill_switch(&mut self, events: &mut Vec<Event>) {
        self.kill_switch = true;
        for symbol in self.symbol_names() {
            self.end_quote(&symbol, QuoteEndReason::KillSwitch, events);
        }
        for symbol in self.symbol_names() {
            self.forget_demands(&symbol, events);
        }
        let open = self.orders.iter().filter(|order| self.is_open(order)).map(|order| order.id).collect();
        self.cancel_all(open, events);
    }

    pub(super) fn cancel_all(&mut self, orders: Vec<OrderId>, events: &mut Vec<Event>) {
        for order_id in orders {
            self.order_mut(order_id).ended = Some(OrderStatus::Cancelled);
            events.push(self.order_closed(order_id));
        }
    }

    pub(super) fn define_symbol(&mut self, define: &DefineSymbol, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let DefineSymbol { symbol, instrument } = define;
        self.definition_in_range(define)?;
        if let Some(known) = self.symbols.get(symbol) {
            if known.instrument != *instrument {
                return Err(Refusal::SymbolExists { symbol: symbol.clone() });
            }
            return Ok(accepted(Answer::SymbolDefined { existed: true }));
        }
        self.contracts_apart(define)?;
        let live = self.symbols.values().filter(|state| state.closed.is_none()).count();
        if live >= SYMBOLS_MAX || self.symbols.len() >= SYMBOLS_MAX + ENDED_SYMBOLS_MAX {
            return Err(full(SYMBOLS_MAX));
        }
        let state = SymbolState {
            instrument: instrument.clone(),
            revision: 1,
            closed: None,
            mark: None,
            waiting_mark: None,
            last_mark_time: None,
            protection: None,
            counted_fills: Vec::new(),
            paused_until: None,
            epoch: 0,
            holder: None,
            moving: None,
            quote: None,
            quote_seq: 0,
            position_max: None,
            demands: Sides::default(),
            lots: Sides::default(),
            turn: None,
            among_the_first: false,
        };
        self.symbols.insert(symbol.clone(), state);
        events.push(Event::SymbolDefined { symbol: symbol.clone(), instrument: instrument.clone() });
        Ok(accepted(Answer::SymbolDefined { existed: false }))
    }

    /// Whether the symbol is known, has not ended, and is of this revision.
    pub(super) fn of_the_present_revision(&self, symbol: &Symbol, revision: u64) -> Result<(), Refusal> {
        let present = self.known(symbol)?.revision;
        self.not_closed(symbol)?;
        if revision == present { Ok(()) } else { Err(Refusal::StaleRevision { revision: present }) }
    }

    /// The symbol's state, or the refusal.
    pub(super) fn known(&self, symbol: &Symbol) -> Result<&SymbolState, Refusal> {
        self.symbols.get(symbol).ok_or_else(|| Refusal::UnknownSymbol { symbol: symbol.clone() })
    }
}

fn limit_in_range(basis: &ExposureBasis, limit: Exposure) -> Result<(), Refusal> {
    let hard_limit = match basis {
        ExposureBasis::Units => Exposure(HARD_EXPOSURE_LIMIT),
        ExposureBasis::WorstLoss { .. } => Exposure(WORST_LOSS_LIMIT_MAX),
    };
    if limit.0 < 0 || limit > hard_limit { Err(Refusal::LimitOutOfRange { hard_limit }) } else { Ok(()) }
}
