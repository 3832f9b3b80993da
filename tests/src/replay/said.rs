//! What nodes said of money when they were read, held against the judge's own sums at the very index of each answer.
//!
//! The answers are taken as the JSON that came: nothing of a node or a client reads the amounts. An answer shows its index and
//! log time; a field that is not known here is not judged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Context, Result};
use quorate_domain::Asset;
use quorate_ledger::Frame;
use serde_json::{Value, json};

use super::{
    Replay,
    amounts::{scaled, text},
};

/// The views that show money, by their names in the API.
pub const VIEWS: [&str; 4] = ["positions", "pnl", "breakers", "balances"];

/// One answer.
#[derive(Debug, Clone)]
struct Said {
    view: &'static str,
    /// The symbol that was asked for, where it was one.
    only: Option<String>,
    answer: Value,
}

/// What nodes said, by the log index at which it was read.
#[derive(Debug, Clone, Default)]
pub struct MoneySaid(BTreeMap<u64, Vec<Said>>);

impl MoneySaid {
    /// Takes the answer to a read of `path`, with its query, where it shows money; says whether it does. A page of the
    /// balances and those of a single account are left out.
    ///
    /// # Errors
    /// Where the answer does not say at which index it was read.
    pub fn take(&mut self, path: &str, answer: Value) -> Result<bool> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let name = path.strip_prefix("/v1/").unwrap_or_default();
        let Some(view) = VIEWS.into_iter().find(|view| *view == name) else { return Ok(false) };
        let mut only = None;
        for (key, value) in query.split('&').filter_map(|part| part.split_once('=')) {
            match key {
                "consistency" | "min_index" => {}
                "symbol" => only = Some(value.to_owned()),
                _ => return Ok(false),
            }
        }
        let index = answer["applied_index"].as_u64().with_context(|| format!("{path} without an index: {answer}"))?;
        self.0.entry(index).or_default().push(Said { view, only, answer });
        Ok(true)
    }

    /// Takes a file of answers of one view, one a line.
    ///
    /// # Errors
    /// Where the file cannot be read, or a line is no answer.
    pub fn take_file(&mut self, view: &str, file: &Path) -> Result<()> {
        let lines = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        for (at, line) in lines.lines().enumerate() {
            let place = || format!("{}:{}", file.display(), at + 1);
            let answer = serde_json::from_str(line).with_context(place)?;
            self.take(&format!("/v1/{view}"), answer).with_context(place)?;
        }
        Ok(())
    }

    /// Takes all that another has.
    pub fn extend(&mut self, other: Self) {
        for (index, said) in other.0 {
            self.0.entry(index).or_default().extend(said);
        }
    }

    /// How many answers there are.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.0.values().map(|said| said.len() as u64).sum()
    }

    fn at(&self, index: u64) -> &[Said] {
        self.0.get(&index).map_or(&[], Vec::as_slice)
    }

    /// The highest index at which somebody read.
    fn last(&self) -> Option<u64> {
        self.0.last_key_value().map(|(index, _)| *index)
    }
}

impl Replay {
    /// What was said after this frame.
    pub(super) fn hear(&mut self, frame: &Frame, said: &MoneySaid) {
        if !self.whole {
            return;
        }
        for Said { view, only, answer } in said.at(frame.index) {
            *self.found.money_said.entry(view).or_default() += 1;
            let expected =
                json!({"log_time": frame.log_time, "data": self.shown(frame, view, only.as_deref(), answer)});
            let told = if *view == "balances" { without_nothing(answer) } else { answer.clone() };
            if let Some(what) = differs(view, &expected, &told) {
                self.wrong(frame, &format!("node {} said {what}", answer["node_id"]));
            }
        }
    }

    /// After the last frame: nothing was said of an index that no log holds.
    pub(super) fn heard_all(&mut self, said: &MoneySaid) {
        let last = self.last_index;
        if let Some(beyond) = said.last().filter(|index| self.whole && *index > last) {
            self.found.violations.push(format!("money was read at index {beyond}, and the log ends at {last}"));
        }
    }

    /// What a view must show now.
    fn shown(&self, frame: &Frame, view: &str, only: Option<&str>, answer: &Value) -> Value {
        let time = frame.log_time.0;
        match view {
            "positions" => self.shown_positions(only),
            "pnl" => self.shown_pnl(time, only),
            "breakers" => self.shown_breakers(time, only),
            _ => self.shown_balances(answer["data"]["next_after"].as_str()),
        }
    }

    fn shown_positions(&self, only: Option<&str>) -> Value {
        let asked = self.money.symbols.iter().filter(|(symbol, _)| only.is_none_or(|only| symbol.as_str() == only));
        let rows = asked.map(|(symbol, traded)| {
            let profit = &traded.profit;
            let mark = traded.counts.map(|(half_ticks, at)| {
                json!({"half_ticks": integer(half_ticks), "price": text(traded.price_of(half_ticks)), "time": at})
            });
            json!({
                "symbol": symbol,
                "position": profit.position.to_string(),
                "position_units": text(traded.base_of(profit.position)),
                "position_seq": self.books.get(symbol).map_or(0, |book| book.position_seq),
                "position_max": self.control.positions.get(symbol),
                "bought": traded.bought.to_string(),
                "sold": traded.sold.to_string(),
                "cash": text(profit.cash),
                "cost": text(profit.cost),
                "realised": text(profit.realised),
                "unrealised": traded.at_mark().map(|value| text(value - profit.cost)),
                "fees": text(profit.fees),
                "mark": mark,
            })
        });
        rows.collect()
    }

    /// The quote assets of all symbols, or that of one.
    fn assets_of(&self, only: Option<&str>) -> BTreeSet<&Asset> {
        let asked = self.money.symbols.iter().filter(|(symbol, _)| only.is_none_or(|only| symbol.as_str() == only));
        asked.map(|(_, traded)| &traded.instrument.quote).collect()
    }

    fn unmarked_since(&self, asset: &Asset, time: u64) -> Option<u64> {
        self.money.quoted_in(asset).filter_map(|traded| traded.unmarked_since(time)).min()
    }

    fn shown_pnl(&self, time: u64, only: Option<&str>) -> Value {
        let rows = self.assets_of(only).into_iter().map(|asset| {
            let profits = || self.money.quoted_in(asset).map(|traded| traded.profit);
            let equity = self.money.equity(asset);
            let (cash, cost): (i128, i128) =
                (profits().map(|profit| profit.cash).sum(), profits().map(|profit| profit.cost).sum());
            json!({
                "asset": asset,
                "equity": text(equity),
                "cash": text(cash),
                "realised": text(profits().map(|profit| profit.realised).sum()),
                "unrealised": text(equity - cash - cost),
                "fees": text(profits().map(|profit| profit.fees).sum()),
                "unmarked_since": self.unmarked_since(asset, time),
                "high_water": text(self.money.breaker(asset).high_water),
            })
        });
        rows.collect()
    }

    fn shown_breakers(&self, time: u64, only: Option<&str>) -> Value {
        let drawdowns = self.assets_of(only).into_iter().map(|asset| {
            let breaker = self.money.breaker(asset);
            json!({
                "asset": asset,
                "equity": text(self.money.equity(asset)),
                "high_water": text(breaker.high_water),
                "limit": breaker.limit.map(text),
                "tripped": breaker.tripped,
                "unmarked_since": self.unmarked_since(asset, time),
            })
        });
        let guarded = self.bounds.guards.iter().filter(|(symbol, _)| only.is_none_or(|only| symbol.as_str() == only));
        let protections = guarded.map(|(symbol, guard)| {
            json!({
                "symbol": symbol,
                "protection": guard.rules,
                "lots": guard.window(time).map_or(0, |(_, lots)| lots),
                "window_until": guard.window(time).map(|(until, _)| until),
                "paused_until": guard.paused(time),
            })
        });
        json!({"drawdowns": drawdowns.collect::<Value>(), "protections": protections.collect::<Value>()})
    }

    /// All accounts, or those up to the last of a page.
    fn shown_balances(&self, last: Option<&str>) -> Value {
        let money = &self.money;
        let mut balances: BTreeMap<_, Vec<Value>> = BTreeMap::new();
        for ((account, asset), (total, locked)) in money.sums().balances {
            balances.entry(account).or_default().push(json!({
                "asset": asset, "total": text(total), "locked": text(locked), "free": text(total - locked),
            }));
        }
        let asked = money.accounts().into_iter().filter(|account| last.is_none_or(|last| account.as_str() <= last));
        let accounts = asked.map(|account| {
            let balances = balances.get(account).cloned().unwrap_or_default();
            json!({"account": account, "limited": money.limited.contains(account), "balances": balances})
        });
        let amounts = |sums: &mut dyn Iterator<Item = (&Asset, i128)>| -> Value {
            let amount = |(asset, sum): (&Asset, i128)| json!({"asset": asset, "amount": text(sum)});
            sums.filter(|(_, sum)| *sum != 0).map(amount).collect()
        };
        json!({
            "accounts": accounts.collect::<Value>(),
            "house": amounts(&mut money.house().into_iter()),
            "fees": amounts(&mut money.fees.iter().map(|(asset, sum)| (asset, *sum))),
            "deposits": amounts(&mut money.deposits.iter().map(|(asset, sum)| (asset, *sum))),
        })
    }
}

/// A number that JSON holds.
fn integer(value: i128) -> Value {
    i64::try_from(value).map_or(Value::Null, Value::from)
}

/// An answer on balances without the sums that are 0.
fn without_nothing(answer: &Value) -> Value {
    let nothing = |row: &Value, field: &str| row[field].as_str().and_then(scaled) == Some(0);
    let mut answer = answer.clone();
    let data = &mut answer["data"];
    for sums in ["house", "fees", "deposits"] {
        if let Some(rows) = data[sums].as_array_mut() {
            rows.retain(|row| !nothing(row, "amount"));
        }
    }
    answer
}

/// The first thing that is expected and was said otherwise, in words. Decimals are compared by their value.
fn differs(place: &str, expected: &Value, said: &Value) -> Option<String> {
    let equal = match (expected, said) {
        (Value::Object(fields), Value::Object(_)) => {
            return fields.iter().find_map(|(name, field)| differs(&format!("{place}.{name}"), field, &said[name]));
        }
        (Value::Array(rows), Value::Array(others)) if rows.len() == others.len() => {
            let pairs = rows.iter().zip(others);
            return pairs.enumerate().find_map(|(at, (row, other))| differs(&named(place, at, row), row, other));
        }
        (Value::String(one), Value::String(other)) => {
            one == other || scaled(one).is_some_and(|units| scaled(other) == Some(units))
        }
        (expected, said) => expected == said,
    };
    (!equal).then(|| format!("{place}: {said}, and it is {expected}"))
}

/// A row by what it is about.
fn named(place: &str, at: usize, row: &Value) -> String {
    let name = ["symbol", "account", "asset"].into_iter().find_map(|field| row[field].as_str());
    name.map_or_else(|| format!("{place}[{at}]"), |name| format!("{place}[{name}]"))
}
