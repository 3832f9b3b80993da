//! What must hold of money, recomputed from the model's facts and from the ledger's own figures.

use std::collections::BTreeMap;

use quorate_domain::{Account, Asset, Kind, Money, Position, Qty, Side, Symbol};
use quorate_ledger::{
    Answer, Command, ControlChange, ControlCommand, Envelope, Event, FilledMaker, Input, Ledger, Outcome, Refusal,
    Response, SymbolState,
};

use crate::{
    coverage::Coverage,
    generate::Step,
    naive::{
        Model,
        instruments::{lot_units, pays, worth},
        profit::Profit,
    },
};

/// What does not hold, in words.
pub(crate) fn wrong(model: &Model, ledger: &Ledger) -> Option<String> {
    let symbols = model.symbols.keys().find_map(|symbol| wrong_symbol(model, ledger, symbol));
    symbols
        .or_else(|| model.quote_assets().iter().find_map(|asset| wrong_equity(model, ledger, asset)))
        .or_else(|| wrong_accounts(model, ledger))
        .or_else(|| model.assets().iter().find_map(|asset| wrong_sums(model, ledger, asset)))
        .or_else(|| nothing_below_0_is_free(ledger))
        .or_else(|| quoted_though_tripped(ledger))
}

fn unequal<T: PartialEq + std::fmt::Debug>(what: &str, of_model: &T, of_ledger: &T) -> Option<String> {
    (of_model != of_ledger).then(|| format!("{what}\n  model:  {of_model:?}\n  ledger: {of_ledger:?}"))
}

fn wrong_symbol(model: &Model, ledger: &Ledger, symbol: &Symbol) -> Option<String> {
    let (state, expected) = (ledger.symbol(symbol)?, &model.symbols[symbol]);
    let (profit, pnl) = (model.profit(symbol), &state.pnl);
    let of_ledger = Profit {
        position: pnl.position.0.into(),
        cost: pnl.cost.0,
        realised: pnl.realised.0,
        fees: pnl.fees.0,
        cash: pnl.cash.0,
    };
    let (bought, sold) = bought_and_sold(model, symbol);
    let of_model = (Qty(bought), Qty(sold), Position(bought - sold), model.position_seq(symbol));
    let told = (state.bought, state.sold, state.position(), state.position_seq);
    let mark = |mark: Option<crate::naive::Mark>| mark.map(|mark| (mark.price, mark.time));
    let marks = (mark(expected.mark), mark(expected.waiting_mark), expected.last_mark_time);
    let of_marks = |mark: Option<quorate_domain::Mark>| mark.map(|mark| (mark.price, mark.at));
    let told_marks = (of_marks(state.marks.counted), of_marks(state.marks.waiting), state.marks.last);
    let ended = (expected.revision, &expected.instrument, expected.closed);
    let told_end = (state.revision, &state.instrument, state.closed.map(|closed| closed.settled));
    unequal(&format!("{symbol}: profit"), &profit, &of_ledger)
        .or_else(|| unequal(&format!("{symbol}: bought, sold, position, number"), &of_model, &told))
        .or_else(|| unequal(&format!("{symbol}: marks: counting, waiting, last time"), &marks, &told_marks))
        .or_else(|| unequal(&format!("{symbol}: revision, instrument, end"), &ended, &told_end))
        .or_else(|| does_not_add_up(symbol, state))
}

/// Lots that the house bought and sold, settlement included.
fn bought_and_sold(model: &Model, symbol: &Symbol) -> (i64, i64) {
    let profits = model.profits(symbol);
    let lots = |sign: i128| {
        let moved = profits.windows(2).map(|two| (two[1].position - two[0].position) * sign);
        i64::try_from(moved.filter(|lots| *lots > 0).sum::<i128>()).unwrap()
    };
    (lots(1), lots(-1))
}

/// Realised + unrealised - fees = cash + mark x position, to the unit, whatever the mark.
fn does_not_add_up(symbol: &Symbol, state: &SymbolState) -> Option<String> {
    let marks = [1, 7, 16, 999_999_999].into_iter().chain(state.marks.counted.map(|mark| mark.price.0.into()));
    marks.into_iter().find_map(|half_ticks: i128| {
        let value = worth(&state.instrument, half_ticks, state.pnl.position.0.into());
        let unrealised = value - state.pnl.cost.0;
        let profit = state.pnl.realised.0 + unrealised - state.pnl.fees.0;
        unequal(&format!("{symbol}: profit, and cash with the position"), &profit, &(state.pnl.cash.0 + value))
    })
}

fn wrong_equity(model: &Model, ledger: &Ledger, asset: &Asset) -> Option<String> {
    let (told, breaker) = (ledger.equity(asset), model.breaker(asset));
    let of_ledger = (
        told.equity.0,
        told.unmarked_since.is_some(),
        told.drawdown.limit.map(|limit| limit.0),
        told.drawdown.high_water.0,
        told.drawdown.tripped,
    );
    let of_model = (model.equity(asset), model.is_unmarked(asset), breaker.limit, breaker.high_water, breaker.tripped);
    unequal(&format!("{asset}: equity, unmarked, limit, high-water mark, tripped"), &of_model, &of_ledger)
}

/// What is had of an asset, and what is locked of that; nothing is told of what is 0.
type Balances = BTreeMap<(Account, Asset), (i128, i128)>;

fn wrong_accounts(model: &Model, ledger: &Ledger) -> Option<String> {
    let of_model: Vec<(Account, bool)> =
        model.accounts().into_iter().map(|account| (account.clone(), model.limited.contains(&account))).collect();
    let of_ledger: Vec<(Account, bool)> =
        ledger.accounts().map(|(account, state)| (account.clone(), state.limited)).collect();
    let mut balances = Balances::new();
    for (account, _) in &of_model {
        for asset in model.assets() {
            let both = (model.balance(account, &asset), model.locked(account, &asset));
            balances.insert((account.clone(), asset), both);
        }
    }
    let told = ledger.accounts().flat_map(|(account, state)| {
        state
            .balances
            .iter()
            .map(move |(asset, balance)| ((account.clone(), asset.clone()), (balance.total.0, balance.locked.0)))
    });
    let mut told: Balances = told.collect();
    for balances in [&mut balances, &mut told] {
        balances.retain(|_, both| *both != (0, 0));
    }
    unequal("accounts, and which are limited", &of_model, &of_ledger)
        .or_else(|| unequal("balances: total, locked", &balances, &told))
}

/// Per asset all balances, the house and the fees sum to the deposits, in the ledger's own figures.
fn wrong_sums(model: &Model, ledger: &Ledger, asset: &Asset) -> Option<String> {
    let of = |pairs: Vec<(&Asset, &Money)>| {
        pairs.into_iter().filter(|(of, _)| *of == asset).map(|(_, money)| money.0).sum::<i128>()
    };
    let (fees, deposits) = (of(ledger.fees_paid().collect()), of(ledger.deposits().collect()));
    let balances = ledger.accounts().filter_map(|(_, state)| state.balances.get(asset));
    let balances: i128 = balances.map(|balance| balance.total.0).sum();
    let house = ledger.symbols().map(|(_, state)| {
        let cash = if state.instrument.quote == *asset { state.pnl.cash.0 } else { 0 };
        let lots = if state.instrument.base == *asset { i128::from(state.pnl.position.0) } else { 0 };
        cash + lots * lot_units(&state.instrument)
    });
    let house: i128 = house.sum();
    unequal(
        &format!("{asset}: fees, deposits, the house's"),
        &(model.fees_paid(asset), model.deposited(asset), model.of_the_house(asset)),
        &(fees, deposits, house),
    )
    .or_else(|| unequal(&format!("{asset}: deposits, and what all have"), &deposits, &(balances + house + fees)))
}

fn is_contract(ledger: &Ledger, asset: &Asset) -> bool {
    ledger
        .symbols()
        .any(|(_, state)| state.instrument.base == *asset && matches!(state.instrument.kind, Kind::Binary { .. }))
}

/// A limited account owes nothing but contracts, for which it locks what they pay.
fn nothing_below_0_is_free(ledger: &Ledger) -> Option<String> {
    for (account, state) in ledger.accounts().filter(|(_, state)| state.limited) {
        for (asset, balance) in &state.balances {
            let free = balance.total.0 - balance.locked.0;
            if free < 0 && !is_contract(ledger, asset) {
                return Some(format!("limited account {account} has {free} {asset} free"));
            }
        }
    }
    None
}

fn quoted_though_tripped(ledger: &Ledger) -> Option<String> {
    let quoted = ledger.symbols().filter(|(_, state)| state.quote.is_some());
    let tripped = quoted.into_iter().find(|(_, state)| ledger.equity(&state.instrument.quote).drawdown.tripped);
    tripped.map(|(symbol, _)| format!("{symbol} is quoted, and the breaker of its quote asset has tripped"))
}

pub(crate) fn high_waters(model: &Model, ledger: &Ledger) -> BTreeMap<Asset, i128> {
    let of = |asset: Asset| (asset.clone(), ledger.equity(&asset).drawdown.high_water.0);
    model.quote_assets().into_iter().map(of).collect()
}

fn change(step: &Step) -> Option<&ControlChange> {
    match &step.input {
        Input::Client(Envelope { command: Command::Control(ControlCommand { change, .. }), .. }) => Some(change),
        Input::Client(_) | Input::Leader(_) => None,
    }
}

/// A high-water mark that rose though equity was unmarked, and nobody rearmed the breaker.
pub(crate) fn wrong_rise(
    step: &Step,
    model: &Model,
    before: &BTreeMap<Asset, i128>,
    ledger: &Ledger,
) -> Option<String> {
    if matches!(change(step), Some(ControlChange::Rearm { .. })) {
        return None;
    }
    let unmarked = before.iter().filter(|(asset, _)| model.is_unmarked(asset));
    let risen = unmarked.into_iter().find(|(asset, before)| ledger.equity(asset).drawdown.high_water.0 > **before);
    risen.map(|(asset, _)| format!("the high-water mark of {asset} rose though its equity is unmarked"))
}

/// Notes what the entry showed of money.
pub(crate) fn record(
    coverage: &mut Coverage,
    before: &Model,
    model: &Model,
    step: &Step,
    response: &Response,
    events: &[Event],
) {
    for event in events {
        match event {
            Event::FillCommitted(fill) => {
                if fill.maker_fee.0 < 0 {
                    coverage.saw("a rebate was paid");
                }
                if let FilledMaker::Order { order_id, .. } = &fill.maker {
                    let maker = before.orders.iter().find(|order| order.id == *order_id);
                    if maker.is_some_and(|order| order.covered > 0) {
                        coverage.saw("a sale locked contracts, and was filled");
                    }
                    let taker = model.orders.iter().find(|order| order.id == fill.taker_order_id);
                    if maker.map(|order| &order.new.account) == taker.map(|order| &order.new.account) {
                        coverage.saw("an account traded with itself");
                    }
                }
            }
            Event::SymbolClosed { symbol, settled: Some(_) } => {
                record_settlement(coverage, before, symbol);
            }
            Event::BreakerTripped { asset, .. } if model.is_unmarked(asset) => {
                coverage.saw("a breaker tripped while equity was unmarked");
            }
            Event::MarksPublished { marks } => {
                for mark in marks.iter().filter(|mark| mark.counts) {
                    let waited = before.symbols[&mark.symbol].waiting_mark.is_some();
                    let counted = before.symbols[&mark.symbol].mark.map(|counted| counted.price);
                    let far = counted.is_some_and(|price| (price.0 - mark.price.0).abs() * 10 > price.0);
                    if waited && far {
                        coverage.saw("a mark that waited was confirmed");
                    }
                }
            }
            Event::ControlChanged { change: ControlChange::Instrument { symbol, instrument, .. }, .. } => {
                let old = &before.symbols[symbol];
                if old.mark.is_some() && old.instrument.tick_size != instrument.tick_size {
                    coverage.saw("a symbol was revised in another tick, with a mark");
                }
            }
            Event::ControlChanged { change: ControlChange::Deposit { amount, .. }, .. } if amount.0 < 0 => {
                coverage.saw("a deposit was taken out");
            }
            _ => {}
        }
    }
    record_answer(coverage, model, step, response);
    record_state(coverage, before, model);
}

fn record_settlement(coverage: &mut Coverage, before: &Model, symbol: &Symbol) {
    let of = &before.symbols[symbol].instrument;
    if before.profit(symbol).position != 0 {
        coverage.saw("a position was settled");
    }
    let has = before.limited.iter().any(|account| before.balance(account, &of.base) != 0);
    if has {
        coverage.saw("contracts of a limited account were settled");
    }
}

fn record_answer(coverage: &mut Coverage, model: &Model, step: &Step, response: &Response) {
    match (&response.outcome, &step.input) {
        (Outcome::Accepted(Answer::MarksPublished { ignored: 1.., .. }), _) => coverage.saw("a mark was ignored"),
        (
            Outcome::Refused(Refusal::BalanceShort { asset, .. }),
            Input::Client(Envelope { command: Command::ExecuteOrder(execute), .. }),
        ) => {
            let base = model.symbols[&execute.order.symbol].instrument.base == *asset;
            coverage.saw(if base {
                "an account was short of the base asset"
            } else {
                "an account was short of the quote asset"
            });
        }
        _ => {}
    }
}

fn record_state(coverage: &mut Coverage, before: &Model, model: &Model) {
    for symbol in before.symbols.keys() {
        let (old, new) = (before.profit(symbol), model.profit(symbol));
        if old.position.signum() * new.position.signum() < 0 {
            coverage.saw("a position went through 0");
        }
        let closed = old.position.abs() - new.position.abs();
        let kept_side = old.position.signum() == new.position.signum();
        if closed > 0 && kept_side && old.cost * closed % old.position != 0 {
            coverage.saw("a part of a position closed, and its cost left a remainder");
        }
        let of = &model.symbols[symbol].instrument;
        if pays(of).is_some() && model.limited.iter().any(|account| model.balance(account, &of.base) < 0) {
            coverage.saw("a limited account owed contracts");
        }
    }
    let uncovered = model.orders.iter().any(|order| {
        let contract = pays(&model.symbols[&order.new.symbol].instrument).is_some();
        contract
            && order.new.side == Side::Sell
            && model.limited.contains(&order.new.account)
            && model.is_open(order)
            && order.covered < model.open_leaves(order).0
    });
    if uncovered {
        coverage.saw("a sale locked what it could owe");
    }
    for asset in model.quote_assets() {
        let (high_water, old) = (model.breaker(&asset).high_water, before.breaker(&asset).high_water);
        if high_water > old {
            coverage.saw("the high-water mark rose");
        }
        if model.is_unmarked(&asset) && model.equity(&asset) > high_water {
            coverage.saw("equity was unmarked above the high-water mark");
        }
    }
}
