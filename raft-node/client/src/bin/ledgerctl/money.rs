//! Profit, balances and breakers as they are read, and positions as they were.

use std::collections::BTreeMap;

use quorate_api::{AmountView, OpeningBalance};
use quorate_domain::{Account, Symbol};
use quorate_ledger::Frame;

use crate::{
    Ctl,
    failure::CtlError,
    output::{Grid, or_dash, remaining},
    state::footer,
};

impl Ctl {
    pub(crate) async fn pnl(&mut self) -> Result<(), CtlError> {
        let read = self.client.pnl(&self.read()).await?;
        self.out.show(&read, |read| {
            let columns = [
                "asset",
                ">equity",
                ">cash",
                ">realised",
                ">unrealised",
                ">fees",
                ">high-water mark",
                "unmarked since",
            ];
            let mut grid = Grid::new(&columns);
            for row in &read.data {
                grid.row([
                    row.asset.to_string(),
                    row.equity.to_string(),
                    row.cash.to_string(),
                    row.realised.to_string(),
                    row.unrealised.to_string(),
                    row.fees.to_string(),
                    row.high_water.to_string(),
                    or_dash(row.unmarked_since),
                ]);
            }
            footer(read, grid)
        })
    }

    pub(crate) async fn breakers(&mut self) -> Result<(), CtlError> {
        let read = self.client.breakers(&self.read()).await?;
        self.out.show(&read, |read| {
            let mut grid = Grid::new(&["breaker of", "state", ">equity", ">high-water mark", ">may fall by"]);
            for row in &read.data.drawdowns {
                let state = if row.tripped { "TRIPPED: rearm it" } else { "armed" };
                grid.row([
                    row.asset.to_string(),
                    if row.limit.is_none() { "no limit".to_owned() } else { state.to_owned() },
                    row.equity.to_string(),
                    row.high_water.to_string(),
                    or_dash(row.limit),
                ]);
            }
            let mut symbols =
                Grid::new(&["protection of", "state", ">lots", ">lots at most", ">window ms", ">pause ms"]);
            for row in &read.data.protections {
                let paused = row.paused_until.map(|until| format!("paused for {}", remaining(until, read.log_time)));
                symbols.row([
                    row.symbol.to_string(),
                    paused.unwrap_or_else(|| "armed".to_owned()),
                    row.lots.to_string(),
                    row.protection.lots_max.to_string(),
                    row.protection.window_ms.to_string(),
                    row.protection.pause_ms.to_string(),
                ]);
            }
            format!("{}\n\n{}", grid.finish(), footer(read, symbols))
        })
    }

    pub(crate) async fn balances(&mut self, account: Option<&Account>) -> Result<(), CtlError> {
        let mut read = self.client.balances(account, None, &self.read()).await?;
        while let Some(after) = read.data.next_after.take() {
            let more = self.client.balances(account, Some(&after), &self.read()).await?;
            read.data.accounts.extend(more.data.accounts);
            read.data.next_after = more.data.next_after;
        }
        self.out.show(&read, |read| {
            let mut grid = Grid::new(&["account", "kind", "asset", ">total", ">locked", ">free"]);
            for account in &read.data.accounts {
                let kind = if account.limited { "limited" } else { "open" };
                for balance in &account.balances {
                    grid.row([
                        account.account.to_string(),
                        kind.to_owned(),
                        balance.asset.to_string(),
                        balance.total.to_string(),
                        balance.locked.to_string(),
                        balance.free.to_string(),
                    ]);
                }
            }
            let data = &read.data;
            for (kind, amounts) in [("house", &data.house), ("fees", &data.fees), ("deposits", &data.deposits)] {
                for AmountView { asset, amount } in amounts {
                    let none = String::new;
                    grid.row([String::new(), kind.to_owned(), asset.to_string(), amount.to_string(), none(), none()]);
                }
            }
            footer(read, grid)
        })
    }

    /// Positions after the log index `at`, from the frames that are kept.
    pub(crate) async fn positions_at(&mut self, symbol: Option<&Symbol>, at: u64) -> Result<(), CtlError> {
        let applied = self.client.status(&self.read()).await?.applied_index;
        if at > applied {
            return Err(CtlError::Usage(format!("index {at} is not committed yet: the last one is {applied}")));
        }
        let (opening, first, events) = self.history(at).await?;
        let first_index = opening.first_index;
        if at.saturating_add(1) < first_index {
            let what = format!("what happened up to index {at} is no longer kept: the first index is {first_index}");
            return Err(CtlError::Usage(what));
        }
        let opening = opening.balances.into_iter().map(|balance| (balance.symbol.clone(), balance));
        let mut balances: BTreeMap<Symbol, OpeningBalance> = opening.collect();
        if at >= first_index {
            let carry =
                |frame: &Frame| frame.events.iter().for_each(|event| OpeningBalance::carry(&mut balances, event));
            let mut carry = carry;
            self.frames_up_to(at, first, events, |_, frame| {
                carry(frame);
                Ok(())
            })
            .await?;
        }
        balances.retain(|name, _| symbol.is_none_or(|symbol| symbol == name));
        let rows: Vec<OpeningBalance> = balances.into_values().collect();
        self.out.show(&rows, |rows| {
            let mut grid = Grid::new(&["symbol", ">lots", ">fills", ">cash"]);
            for row in rows {
                let (lots, fills) = (row.position.to_string(), row.position_seq.to_string());
                grid.row([row.symbol.to_string(), lots, fills, row.cash.to_string()]);
            }
            format!("{}\nafter index {at}, from the history", grid.finish())
        })
    }
}
