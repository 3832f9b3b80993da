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
        let DefineSymbol { symbol, instrument } = define;
        if !well_formed(instrument) {
            return Err(invalid());
        }
        if let Some(known) = self.symbols.get(symbol) {
            if known.instrument != *instrument {
                return Err(Refusal::SymbolExists { symbol: symbol.clone() });
            }
            return Ok(accepted(Answer::SymbolDefined { existed: true }));
        }
        if self.symbols.len() >= SYMBOLS_MAX {
            return Err(full(SYMBOLS_MAX));
        }
        let state = SymbolState {
            instrument: instrument.clone(),
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
        events.push(Event::SymbolDefined { symbol: symbol.clone(), instrument: instrument.clone() });
        Ok(accepted(Answer::SymbolDefined { existed: false }))
    }

    /// The symbol's state, or the refusal.
    pub(super) fn known(&self, symbol: &Symbol) -> Result<&SymbolState, Refusal> {
        self.symbols.get(symbol).ok_or_else(|| Refusal::UnknownSymbol { symbol: symbol.clone() })
    }
}

impl Model {
    /// Price x quantity in units of 10^-12 of the quote asset; `None` where that is 2^127 or more.
    pub(crate) fn money(&self, symbol: &Symbol, price: Price, qty: Qty) -> Option<i128> {
        let unit = units_of_tick_by_lot(&self.symbols[symbol].instrument)?;
        i128::from(price.0).checked_mul(i128::from(qty.0))?.checked_mul(unit)
    }

    pub(crate) fn in_range(&self, symbol: &Symbol, price: Price) -> bool {
        let Instrument { min_price, max_price, .. } = self.symbols[symbol].instrument;
        min_price <= price && price <= max_price
    }

    /// Whether an order or a quote may carry this price for this quantity.
    pub(crate) fn price_good(&self, symbol: &Symbol, price: Price, qty: Qty) -> bool {
        self.in_range(symbol, price) && self.money(symbol, price, qty).is_some()
    }
}

/// By the digits that the sizes are written with.
fn units_of_tick_by_lot(of: &Instrument) -> Option<i128> {
    let digits = |size: Decimal| {
        let text = size.to_string();
        let after_point = text.split_once('.').map_or(0, |(_, part)| part.len());
        (text.replace('.', "").parse::<i128>().unwrap(), u32::try_from(after_point).unwrap())
    };
    let ((tick, of_tick), (lot, of_lot)) = (digits(of.tick_size), digits(of.lot_size));
    let (product, after_point) = (tick * lot, of_tick + of_lot);
    if after_point <= 12 {
        return product.checked_mul(10i128.pow(12 - after_point));
    }
    let too_fine = 10i128.pow(after_point - 12);
    if product % too_fine == 0 { Some(product / too_fine) } else { None }
}

fn well_formed(of: &Instrument) -> bool {
    let (fees, highest) = (
        [of.maker_fee_ppm, of.taker_fee_ppm],
        match of.kind {
            Kind::Spot => MAX_PRICE,
            Kind::Binary { pays } => pays.0.saturating_sub(1),
        },
    );
    of.base != of.quote
        && of.tick_size.is_positive()
        && of.lot_size.is_positive()
        && units_of_tick_by_lot(of).is_some_and(|units| units % 2 == 0)
        && highest >= 1
        && highest <= MAX_PRICE - i64::from(of.kind != Kind::Spot)
        && of.min_price.0 >= 1
        && of.min_price <= of.max_price
        && of.max_price.0 <= highest
        && of.min_notional.0 >= 0
        && fees.iter().all(|ppm| (-100_000..=100_000).contains(ppm))
        && fees[0] + fees[1] >= 0
        && (1..=100).contains(&of.exposure_per_lot)
}
