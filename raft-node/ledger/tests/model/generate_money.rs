//! Instruments, marks, accounts and what people decide about money, for the generator.

use quorate_domain::{
    Asset, Decimal, ExposureBasis, Instrument, Kind, MAX_PRICE, MAX_QTY, Millis, Money, Price, Protection, Qty,
    RefPrice, Symbol,
};
use quorate_ledger::{
    Command, ControlChange, DefineSymbol, PublishMarks, SetListing, SymbolMark,
    bounds::{DEPOSIT_MAX, ORDER_TIMESTAMP_AHEAD_MS},
};

use crate::{
    generate::Generator,
    naive::{
        Model, SymbolState,
        instruments::{notional, pays},
    },
    rng::Rng,
};

/// A tick of 0.01 by a lot of 0.001, in units.
pub(crate) const TICK_LOT: i128 = 10_000_000;

/// What takers and makers pay, in parts per million.
const FEES: [(i32, i32); 8] =
    [(0, 0), (0, 0), (400, -20), (300, 100), (2_000, 1_000), (77, 33), (100_000, -100_000), (0, 100_000)];

fn asset(name: &str) -> Asset {
    name.parse().unwrap()
}

fn thousandths(mantissa: i64) -> Decimal {
    Decimal::new(mantissa, 3).unwrap()
}

/// The `n`th instrument of a seed.
pub(crate) fn instrument(rng: &mut Rng, n: u64, per_lot: i64, lot: i64, worst_loss: bool) -> Instrument {
    let contract = rng.chance(400);
    let quote = if worst_loss || rng.chance(700) { "USD" } else { "EUR" };
    let base = if contract { format!("EVENT{n}") } else { format!("B{}", rng.below(2)) };
    let mut of = Instrument::spot(asset(&base), asset(quote), thousandths(10), thousandths(lot), per_lot);
    (of.taker_fee_ppm, of.maker_fee_ppm) = *rng.pick(&FEES).unwrap();
    of.min_price = Price(*rng.pick(&[1, 1, 1, 5]).unwrap());
    if contract {
        let pays = *rng.pick(&[13, 13, 20]).unwrap();
        (of.kind, of.max_price) = (Kind::Binary { pays: Price(pays) }, Price(pays - 1));
    } else if rng.chance(150) {
        of.max_price = Price(10);
    }
    if rng.chance(300) {
        of.min_notional = Money(30 * TICK_LOT);
    }
    of
}

/// About how much of the limit one lot takes, where the limit is about 100.
pub(crate) fn weight(model: &Model, of: &Instrument) -> i64 {
    match model.basis {
        ExposureBasis::Units => of.exposure_per_lot,
        ExposureBasis::WorstLoss { .. } => i64::try_from(notional(of, Price(8), 1) / (2 * TICK_LOT)).unwrap().max(1),
    }
}

impl Generator {
    pub(crate) fn define_symbol(&mut self) -> Command {
        let (symbol, mut instrument) = self.rng.pick(&self.symbols).cloned().unwrap();
        if self.rng.chance(120) {
            self.bend_instrument(&mut instrument);
        }
        Command::DefineSymbol(DefineSymbol { symbol, instrument })
    }

    fn bend_instrument(&mut self, of: &mut Instrument) {
        match self.rng.below(9) {
            0 | 1 => of.exposure_per_lot = self.rng.within(-1, 101),
            2 => of.tick_size = thousandths(self.rng.within(-1, 1)),
            3 => of.lot_size = thousandths(self.rng.within(-1, 2)),
            4 => of.quote = asset(self.rng.pick(&["EUR", "CHF", "EVENT0"]).unwrap()),
            5 => of.base = asset(self.rng.pick(&["USD", "EVENT0", "EVENT1", "EVENT2", "B0"]).unwrap()),
            6 => (of.min_price, of.max_price) = (Price(self.rng.within(0, 13)), Price(self.rng.within(0, 13))),
            7 => of.maker_fee_ppm = *self.rng.pick(&[-100_001, 100_001, -77]).unwrap(),
            _ => {
                of.kind = match of.kind {
                    Kind::Spot => Kind::Binary { pays: Price(*self.rng.pick(&[1, 2, 13, MAX_PRICE + 1]).unwrap()) },
                    Kind::Binary { .. } => Kind::Spot,
                };
            }
        }
    }

    pub(crate) fn revision(&mut self, symbol: &Symbol, model: &Model) -> u64 {
        let present = model.symbols.get(symbol).map_or(1, |state| state.revision);
        if self.rng.chance(self.wrong / 8) { self.rng.below(present + 2) } else { present }
    }

    pub(crate) fn set_basis(&mut self, model: &Model) -> Command {
        let usd = ExposureBasis::WorstLoss { asset: asset("USD") };
        let basis = if self.worst_loss == self.rng.chance(990) { usd } else { ExposureBasis::Units };
        let limit = *self.rng.pick(&self.limits).unwrap();
        let limit = if self.rng.chance(60) { *self.rng.pick(&[-1, i128::MAX]).unwrap() } else { limit };
        self.control(model, ControlChange::ExposureBasis { basis, limit: quorate_domain::Exposure(limit) })
    }

    /// A symbol of which nothing is under way, mostly.
    fn idle_symbol(&mut self, model: &Model) -> Symbol {
        let open =
            |symbol: &Symbol| model.orders.iter().any(|order| order.new.symbol == *symbol && model.is_open(order));
        let idle = model.symbols.iter().filter(|(symbol, state)| {
            state.quote.is_none() && state.moving.is_none() && state.closed.is_none() && !open(symbol)
        });
        let idle: Vec<Symbol> = idle.map(|(symbol, _)| symbol.clone()).collect();
        self.rng.pick(&idle).cloned().filter(|_| self.rng.chance(850)).unwrap_or_else(|| self.symbol())
    }

    pub(crate) fn revise(&mut self, model: &Model) -> Command {
        let symbol = self.idle_symbol(model);
        let state = model.symbols.get(&symbol);
        let usual = &self.symbols[0].1;
        let (mut instrument, revision) =
            state.map_or((usual.clone(), 1), |state| (state.instrument.clone(), state.revision));
        let old_tick = instrument.tick_size;
        if self.rng.chance(500) {
            instrument.tick_size = thousandths(*self.rng.pick(&[5, 10, 20, 40]).unwrap());
        }
        let in_new_ticks = |price: Price| match old_tick.times(price.0.into()).parse::<Decimal>() {
            Ok(value) => value.in_steps_of(instrument.tick_size).map_or(price, Price),
            Err(_) => price,
        };
        if let Kind::Binary { pays } = instrument.kind {
            let pays = in_new_ticks(pays);
            (instrument.kind, instrument.max_price) = (Kind::Binary { pays }, Price(pays.0 - 1));
        }
        (instrument.taker_fee_ppm, instrument.maker_fee_ppm) = *self.rng.pick(&FEES).unwrap();
        instrument.min_price = Price(*self.rng.pick(&[1, 1, 1, 5]).unwrap()).min(instrument.max_price);
        if self.rng.chance(200) {
            instrument.exposure_per_lot = self.rng.within(1, 30);
        }
        if self.rng.chance(self.wrong) {
            self.bend_instrument(&mut instrument);
        }
        let revision = if self.rng.chance(self.wrong / 2) { self.rng.below(revision + 3) } else { revision + 1 };
        self.control(model, ControlChange::Instrument { symbol, instrument, revision })
    }

    pub(crate) fn protect(&mut self, model: &Model) -> Command {
        let symbol = self.symbol();
        let mut protection = Protection {
            lots_max: Qty(*self.rng.pick(&[1, 3, 8, 20]).unwrap()),
            window_ms: *self.rng.pick(&[1, 100, 500, 5_000, 60_000]).unwrap(),
            pause_ms: *self.rng.pick(&[1, 100, 500, 3_000]).unwrap(),
        };
        if self.rng.chance(self.wrong) {
            match self.rng.below(3) {
                0 => protection.lots_max = Qty(*self.rng.pick(&[-1, 0, MAX_QTY + 1]).unwrap()),
                1 => protection.window_ms = *self.rng.pick(&[0, 3_600_001]).unwrap(),
                _ => protection.pause_ms = *self.rng.pick(&[0, 3_600_001]).unwrap(),
            }
        }
        let protection = self.rng.chance(800).then_some(protection);
        self.control(model, ControlChange::Protection { symbol, protection })
    }

    fn quote_asset(&mut self, model: &Model) -> Asset {
        let unknown = self.rng.chance(self.wrong / 4);
        self.rng.pick(&model.quote_assets()).cloned().filter(|_| !unknown).unwrap_or_else(|| asset("XXX"))
    }

    pub(crate) fn set_drawdown(&mut self, model: &Model) -> Command {
        let asset = self.quote_asset(model);
        let limit = *self.rng.pick(&[0, 1, TICK_LOT, 20 * TICK_LOT, 200 * TICK_LOT, -1]).unwrap();
        let limit = self.rng.chance(850).then_some(Money(limit));
        self.control(model, ControlChange::DrawdownLimit { asset, limit })
    }

    pub(crate) fn rearm(&mut self, model: &Model) -> Command {
        let tripped = model.breakers.iter().filter(|(_, breaker)| breaker.tripped);
        let tripped: Vec<Asset> = tripped.map(|(asset, _)| asset.clone()).collect();
        let asset = self.rng.pick(&tripped).cloned().unwrap_or_else(|| self.quote_asset(model));
        self.control(model, ControlChange::Rearm { asset })
    }

    pub(crate) fn limit_account(&mut self, model: &Model) -> Command {
        let account = self.account();
        self.control(model, ControlChange::LimitAccount { account })
    }

    pub(crate) fn deposit(&mut self, model: &Model) -> Command {
        let (account, assets) = (self.account(), model.assets());
        let asset = match self.rng.pick(&assets) {
            Some(asset) if self.rng.chance(900) && !model.is_contract(asset) => asset.clone(),
            Some(asset) if self.rng.chance(300) => asset.clone(),
            Some(_) | None => self.quote_asset(model),
        };
        let scale = if model.quote_assets().contains(&asset) { 10 * TICK_LOT } else { 100 * TICK_LOT };
        let some = scale * i128::from(self.rng.within(1, 40)) + i128::from(self.rng.below(3));
        let free = model.free_of(&account, &asset);
        let amount = match self.rng.below(10) {
            0 => -free,
            1 => -free - 1,
            2 => -some,
            3 => 0,
            4 if self.rng.chance(self.wrong) => *self.rng.pick(&[DEPOSIT_MAX + 1, -DEPOSIT_MAX - 1]).unwrap(),
            _ => some,
        };
        self.control(model, ControlChange::Deposit { account, asset, amount: Money(amount) })
    }

    /// Whether the run had better keep the symbols that it has.
    pub(crate) fn few_are_open(&mut self, model: &Model) -> bool {
        let open = model.symbols.values().filter(|state| state.closed.is_none()).count();
        open < 3 && self.rng.chance(850)
    }

    fn symbol_of_kind(&mut self, contract: bool, model: &Model) -> Symbol {
        let same = model.symbols.iter().filter(|(_, state)| pays(&state.instrument).is_some() == contract);
        let same: Vec<Symbol> = same.map(|(symbol, _)| symbol.clone()).collect();
        self.rng.pick(&same).cloned().filter(|_| self.rng.chance(900)).unwrap_or_else(|| self.symbol())
    }

    pub(crate) fn settle(&mut self, model: &Model) -> Command {
        let held = model.symbols.iter().filter(|(symbol, state)| {
            let has = |account| model.balance(account, &state.instrument.base) != 0;
            let owned = model.accounts().iter().any(has) || model.profit(symbol).position != 0;
            pays(&state.instrument).is_some() && state.closed.is_none() && owned
        });
        let held: Vec<Symbol> = held.map(|(symbol, _)| symbol.clone()).collect();
        let held = self.rng.pick(&held).cloned().filter(|_| self.rng.chance(700));
        let symbol = held.unwrap_or_else(|| self.symbol_of_kind(true, model));
        let pays = model.symbols.get(&symbol).and_then(|state| pays(&state.instrument)).unwrap_or(Price(13));
        let price = if self.rng.chance(500) { pays } else { Price(0) };
        let price = if self.rng.chance(self.wrong) { Price(self.rng.within(-1, 14)) } else { price };
        self.control(model, ControlChange::Settle { symbol, price })
    }

    pub(crate) fn close_symbol(&mut self, model: &Model) -> Command {
        let symbol = self.symbol_of_kind(false, model);
        self.control(model, ControlChange::CloseSymbol { symbol })
    }

    pub(crate) fn publish_marks(&mut self, model: &Model) -> Command {
        let mut symbols: Vec<Symbol> = model.symbols.keys().cloned().collect();
        symbols.retain(|_| self.rng.chance(600));
        if symbols.is_empty() {
            symbols.push(self.symbol());
        }
        let mut marks: Vec<SymbolMark> = symbols.into_iter().map(|symbol| self.mark_of(symbol, model)).collect();
        if self.rng.chance(self.wrong / 2) {
            match self.rng.below(3) {
                0 => marks.clear(),
                1 => marks.reverse(),
                _ => marks.extend(marks.last().cloned()),
            }
        }
        Command::PublishMarks(PublishMarks { exchange_epoch: self.exchange_epoch(model), marks })
    }

    fn mark_of(&mut self, symbol: Symbol, model: &Model) -> SymbolMark {
        let (revision, log_time) = (self.revision(&symbol, model), self.log_time);
        let state = model.symbols.get(&symbol);
        let price = self.mark_price(state);
        let last = state.and_then(|state| state.last_mark_time).map_or(0, |last| last.0);
        let waiting = state.and_then(|state| state.waiting_mark).map_or(last, |waiting| waiting.time.0);
        let time = match self.rng.below(20) {
            0 => last,
            1 => last + 1,
            2..5 => waiting + quorate_domain::MARK_WAIT_MS - self.rng.below(2),
            5 => log_time + ORDER_TIMESTAMP_AHEAD_MS + self.rng.below(2),
            6 => log_time + self.rng.below(3_000),
            7 => log_time.saturating_sub(self.rng.below(20_000)),
            _ => (last + 1).max(log_time.saturating_sub(self.rng.below(300))),
        };
        SymbolMark { symbol, revision, price: RefPrice(price), time: Millis(time) }
    }

    /// Near the mark that counts, near the one that waits, or anywhere.
    fn mark_price(&mut self, state: Option<&SymbolState>) -> i64 {
        let counts = state.and_then(|state| state.mark).map(|mark| mark.price.0);
        let waits = state.and_then(|state| state.waiting_mark).map(|mark| mark.price.0);
        match (self.rng.below(10), counts, waits) {
            (0..4, Some(price), _) => price + self.rng.within(-1, 1),
            (4..8, _, Some(price)) => price + self.rng.within(-1, 1),
            (8, Some(price), _) => price + price / 10 + self.rng.within(0, 1),
            _ => self.rng.within(1, 26),
        }
    }

    pub(crate) fn set_listing(&mut self, model: &Model) -> Command {
        let mut symbols: Vec<Symbol> = model.symbols.keys().cloned().collect();
        let most = if self.rng.chance(600) { 1_000 } else { 800 };
        symbols.retain(|_| self.rng.chance(most));
        if self.rng.chance(self.wrong) {
            match self.rng.below(3) {
                0 => symbols.reverse(),
                1 => symbols.extend(symbols.last().cloned()),
                _ => symbols.push(Symbol::new("ZZZZ").unwrap()),
            }
        }
        Command::SetListing(SetListing { exchange_epoch: self.exchange_epoch(model), symbols })
    }
}
