//! Control, and the definition of symbols.

use quorate_domain::{DECIMALS_MAX, EXPOSURE_PER_LOT_MAX, Exposure, MAX_QTY, Qty, Side, Sides, Symbol};
use quorate_ledger::{
    Answer, ControlChange, ControlCommand, DefineSymbol, Event, OrderStatus, QuoteEndReason, QuotingScope, Refusal,
    bounds::{HARD_EXPOSURE_LIMIT, QUOTING_OFF_MAKERS_MAX, REASON_MAX, SYMBOLS_MAX},
};

use super::{Done, LEDGER_VERSION, Model, SymbolState, accepted, full, invalid};

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
        self.room_for_one_more_off(change)?;
        self.control_version += 1;
        let control_version = self.control_version;
        let (actor, reason) = (actor.clone(), reason.clone());
        events.push(Event::ControlChanged { control_version, actor, reason, change: change.clone() });
        match change {
            ControlChange::ExposureLimit { limit } => self.set_exposure_limit(*limit, events),
            ControlChange::PositionLimit { symbol, max } => self.set_position_limit(symbol, *max, events),
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
            ControlChange::ExposureLimit { limit } if limit.0 < 0 || limit.0 > HARD_EXPOSURE_LIMIT => {
                Err(Refusal::LimitOutOfRange { hard_limit: Exposure(HARD_EXPOSURE_LIMIT) })
            }
            ControlChange::PositionLimit { symbol, max } => {
                self.known(symbol)?;
                let in_range = max.is_none_or(|max| max.0 >= 0 && max.0 <= MAX_QTY);
                if in_range { Ok(()) } else { Err(invalid()) }
            }
            ControlChange::Quoting { scope: QuotingScope::Symbol(symbol), .. } => self.known(symbol).map(|_| ()),
            ControlChange::LedgerVersion { version } if *version < self.ledger_version || *version > LEDGER_VERSION => {
                Err(Refusal::LedgerVersion { present: self.ledger_version, known: LEDGER_VERSION })
            }
            ControlChange::ExposureLimit { .. }
            | ControlChange::Quoting { .. }
            | ControlChange::KillSwitch { .. }
            | ControlChange::LedgerVersion { .. } => Ok(()),
        }
    }

    fn room_for_one_more_off(&self, change: &ControlChange) -> Result<(), Refusal> {
        let ControlChange::Quoting { scope: QuotingScope::Maker(maker), on: false } = change else { return Ok(()) };
        let others = self.makers_off.iter().filter(|off| *off != maker).count();
        if others >= QUOTING_OFF_MAKERS_MAX { Err(full(QUOTING_OFF_MAKERS_MAX)) } else { Ok(()) }
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
        let open: Vec<_> = self.orders.iter().filter(|order| self.is_open(order)).map(|order| order.id).collect();
        for order_id in open {
            self.order_mut(order_id).ended = Some(OrderStatus::Cancelled);
            events.push(self.order_closed(order_id));
        }
    }

    pub(super) fn define_symbol(&mut self, define: &DefineSymbol, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let DefineSymbol { symbol, spec } = define;
        let sizes_good =
            [spec.tick_size, spec.lot_size].iter().all(|d| d.is_positive() && d.decimals() <= DECIMALS_MAX);
        if !sizes_good || spec.exposure_per_lot < 1 || spec.exposure_per_lot > EXPOSURE_PER_LOT_MAX {
            return Err(invalid());
        }
        if let Some(known) = self.symbols.get(symbol) {
            if known.spec != *spec {
                return Err(Refusal::SymbolExists { symbol: symbol.clone() });
            }
            return Ok(accepted(Answer::SymbolDefined { existed: true }));
        }
        if self.symbols.len() >= SYMBOLS_MAX {
            return Err(full(SYMBOLS_MAX));
        }
        let state = SymbolState {
            spec: *spec,
            epoch: 0,
            holder: None,
            moving: None,
            quote: None,
            quote_seq: 0,
            position_max: None,
            demands: Sides::default(),
            asked_at: Sides::default(),
            turn: None,
            among_the_first: false,
        };
        self.symbols.insert(symbol.clone(), state);
        events.push(Event::SymbolDefined { symbol: symbol.clone(), spec: *spec });
        Ok(accepted(Answer::SymbolDefined { existed: false }))
    }

    /// The symbol's state, or the refusal.
    pub(super) fn known(&self, symbol: &Symbol) -> Result<&SymbolState, Refusal> {
        self.symbols.get(symbol).ok_or_else(|| Refusal::UnknownSymbol { symbol: symbol.clone() })
    }
}
