//! Control, and the definition of symbols.

use quorate_domain::{Decimal, Exposure, Instrument, Kind, MAX_PRICE, Price, Qty, Side, Symbol};
use quorate_ledger::{
    Answer, DefineSymbol, Event, OrderStatus, QuoteEndReason, QuotingScope, Refusal, SetExposureLimit, SetKillSwitch,
    SetQuoting, UpgradeLedger,
    bounds::{HARD_EXPOSURE_LIMIT, QUOTING_OFF_MAKERS_MAX, SYMBOLS_MAX},
};

use super::{Done, LEDGER_VERSION, Model, SymbolState, accepted, full, invalid};

impl Model {
    fn present_control_version(&self, decided_on: u64) -> Result<(), Refusal> {
        if decided_on == self.control_version {
            return Ok(());
        }
        Err(Refusal::ControlVersion { control_version: self.control_version })
    }

    /// Compare-and-set: the new version, or the refusal.
    fn next_control_version(&mut self, decided_on: u64) -> Result<u64, Refusal> {
        self.present_control_version(decided_on)?;
        self.control_version += 1;
        Ok(self.control_version)
    }

    pub(super) fn set_exposure_limit(
        &mut self,
        set: &SetExposureLimit,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        if set.limit.0 < 0 || set.limit.0 > HARD_EXPOSURE_LIMIT {
            return Err(Refusal::LimitOutOfRange { hard_limit: Exposure(HARD_EXPOSURE_LIMIT) });
        }
        let control_version = self.next_control_version(set.control_version)?;
        self.limit = set.limit;
        events.push(Event::ExposureLimitChanged { limit: set.limit, control_version });
        while let Some(symbol) = self.newest_above_the_limit() {
            self.end_quote(&symbol, QuoteEndReason::LimitLowered, events);
        }
        Ok(accepted(Answer::ControlChanged { control_version }))
    }

    fn newest_above_the_limit(&self) -> Option<Symbol> {
        let above: Vec<Side> =
            [Side::Buy, Side::Sell].into_iter().filter(|side| self.reserved(*side) > self.limit).collect();
        let in_excess = self.symbols.keys().filter(|name| above.iter().any(|side| self.leaves(name, *side).0 > 0));
        in_excess.max_by_key(|name| self.symbols[*name].quote.as_ref().map(|quote| quote.id)).cloned()
    }

    pub(super) fn set_quoting(&mut self, set: &SetQuoting, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        if let QuotingScope::Symbol(symbol) = &set.scope {
            self.known(symbol)?;
        }
        self.present_control_version(set.control_version)?;
        if let (QuotingScope::Maker(maker), false) = (&set.scope, set.on) {
            let others = self.makers_off.iter().filter(|off| *off != maker).count();
            if others >= QUOTING_OFF_MAKERS_MAX {
                return Err(full(QUOTING_OFF_MAKERS_MAX));
            }
        }
        let control_version = self.next_control_version(set.control_version)?;
        match &set.scope {
            QuotingScope::All => self.all_off = !set.on,
            QuotingScope::Symbol(symbol) if set.on => drop(self.symbols_off.remove(symbol)),
            QuotingScope::Symbol(symbol) => drop(self.symbols_off.insert(symbol.clone())),
            QuotingScope::Maker(maker) if set.on => drop(self.makers_off.remove(maker)),
            QuotingScope::Maker(maker) => drop(self.makers_off.insert(maker.clone())),
        }
        events.push(Event::QuotingChanged { scope: set.scope.clone(), on: set.on, control_version });
        if !set.on {
            for symbol in self.symbol_names() {
                let concerned = match &set.scope {
                    QuotingScope::All => true,
                    QuotingScope::Symbol(named) => *named == symbol,
                    QuotingScope::Maker(maker) => self.symbols[&symbol].holder.as_ref() == Some(maker),
                };
                if concerned {
                    self.end_quote(&symbol, QuoteEndReason::QuotingOff, events);
                    self.forget_demands(&symbol);
                }
            }
        }
        Ok(accepted(Answer::ControlChanged { control_version }))
    }

    pub(super) fn set_kill_switch(&mut self, set: &SetKillSwitch, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let decided_on = if set.engaged { self.control_version } else { set.control_version };
        let control_version = self.next_control_version(decided_on)?;
        self.kill_switch = set.engaged;
        events.push(Event::KillSwitchChanged { engaged: set.engaged, control_version });
        if set.engaged {
            for symbol in self.symbol_names() {
                self.end_quote(&symbol, QuoteEndReason::KillSwitch, events);
            }
            let open: Vec<_> = self.orders.iter().filter(|order| self.is_open(order)).map(|order| order.id).collect();
            for order_id in open {
                self.order_mut(order_id).ended = Some(OrderStatus::Cancelled);
                events.push(self.order_closed(order_id));
            }
        }
        Ok(accepted(Answer::ControlChanged { control_version }))
    }

    pub(super) fn upgrade_ledger(&mut self, upgrade: &UpgradeLedger, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let known = LEDGER_VERSION;
        if upgrade.ledger_version < self.ledger_version || upgrade.ledger_version > known {
            return Err(Refusal::LedgerVersion { present: self.ledger_version, known });
        }
        let control_version = self.next_control_version(upgrade.control_version)?;
        self.ledger_version = upgrade.ledger_version;
        events.push(Event::LedgerUpgraded { ledger_version: self.ledger_version, control_version });
        Ok(accepted(Answer::ControlChanged { control_version }))
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
            long_demand: None,
            short_demand: None,
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
