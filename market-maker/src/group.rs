//! The way to the group and back: commands through sessions, and reads.

use std::{collections::BTreeMap, time::Duration};

use quorate_api::{OrderView, ROWS_MAX};
use quorate_client::{CallFailed, Client, EventStream, OrderQuery, ReadOptions, Session, SubmitError};
use quorate_domain::Symbol;
use quorate_ledger::Command;
use quorate_quoter::{Answered, CommandId, ReadId, RestingOrder, Snapshot, SymbolSnapshot};
use tokio::time::Instant;

/// How long a quote command is tried: by then a newer one is wanted.
const QUOTE_DEADLINE: Duration = Duration::from_secs(2);
/// How long a command about the registration is tried in one go.
const LEASE_DEADLINE: Duration = Duration::from_secs(3);
/// How long one read is tried.
const READ_DEADLINE: Duration = Duration::from_secs(3);
/// Pause after a read that failed.
const READ_AGAIN: Duration = Duration::from_millis(200);

/// Two sessions, so that what keeps the lease alive never waits behind quotes.
#[derive(Clone)]
pub(crate) struct Group {
    client: Client,
    lease: Session,
    quotes: Session,
}

impl Group {
    pub(crate) fn new(client: Client) -> Self {
        Self { lease: client.session(), quotes: client.session(), client }
    }

    /// The frames from index `from` on.
    pub(crate) fn events(&self, from: u64) -> EventStream {
        self.client.events(from)
    }

    /// Queues the command at once, in the order of the calls; resolves with what became of it.
    pub(crate) fn submit(
        &self,
        id: CommandId,
        command: &Command,
    ) -> impl Future<Output = (CommandId, Answered)> + Send + use<> {
        let of_lease =
            matches!(command, Command::RegisterMaker(_) | Command::RenewMaker(_) | Command::DeregisterMaker(_));
        // Applied late, a registration would end the one that followed it: it is settled, however long
        // that takes. Everything else is fenced by epoch or incarnation.
        let settle = matches!(command, Command::RegisterMaker(_));
        let (session, within) =
            if of_lease { (self.lease.clone(), LEASE_DEADLINE) } else { (self.quotes.clone(), QUOTE_DEADLINE) };
        let submission = session.submit(command, Instant::now() + within);
        async move {
            let mut outcome = submission.await;
            loop {
                let answer = match outcome {
                    Ok(response) => Answered::Response(response),
                    Err(SubmitError::NotApplied(problem)) => {
                        tracing::debug!(%problem, "not applied");
                        Answered::NotApplied
                    }
                    Err(SubmitError::Unknown { ticket: Some(ticket), problem }) if settle => {
                        tracing::debug!(%problem, "settling");
                        outcome = session.settle(ticket, Instant::now() + within).await;
                        continue;
                    }
                    Err(SubmitError::Unknown { problem, .. }) => {
                        tracing::debug!(%problem, "unknown");
                        Answered::Unknown
                    }
                };
                return (id, answer);
            }
        }
    }

    /// Reads the state, until it is had.
    pub(crate) async fn read(self, id: ReadId) -> (ReadId, Snapshot) {
        loop {
            match self.snapshot().await {
                Ok(snapshot) => return (id, snapshot),
                Err(error) => tracing::warn!(%error, "cannot read the state"),
            }
            tokio::time::sleep(READ_AGAIN).await;
        }
    }

    async fn snapshot(&self) -> Result<Snapshot, CallFailed> {
        let options = ReadOptions::linearizable().within(READ_DEADLINE);
        let (positions, authority, quotes, status) = tokio::try_join!(
            self.client.positions(None, &options),
            self.client.authority(&options),
            self.client.quotes(None, &options),
            self.client.status(&options),
        )?;
        let indexes = [positions.applied_index, authority.applied_index, quotes.applied_index, status.applied_index];
        let quotes: BTreeMap<Symbol, u64> =
            quotes.data.into_iter().map(|quote| (quote.symbol, quote.quote_id)).collect();
        let authority: BTreeMap<_, _> = authority.data.into_iter().map(|held| (held.symbol.clone(), held)).collect();
        let symbols = positions.data.into_iter().map(|position| {
            let held = authority.get(&position.symbol);
            SymbolSnapshot {
                position_seq: position.position_seq,
                position: position.position,
                epoch: held.map_or(0, |held| held.epoch),
                incarnation: held.and_then(|held| held.incarnation),
                moving: held.is_some_and(|held| held.moving_to.is_some()),
                quote: quotes.get(&position.symbol).copied(),
                symbol: position.symbol,
            }
        });
        let (orders, orders_index) = self.open_orders(&options).await?;
        let control = status.data.control;
        Ok(Snapshot {
            index: indexes.into_iter().min().unwrap_or(0).min(orders_index),
            symbols: symbols.collect(),
            control_version: control.control_version,
            kill_switch: control.kill_switch,
            quoting: control.quoting,
            symbols_off: control.symbols_off,
            makers_off: control.makers_off,
            orders,
        })
    }

    /// Every open order that has a price, and the lowest index at which a page of them was read.
    async fn open_orders(&self, options: &ReadOptions) -> Result<(Vec<RestingOrder>, u64), CallFailed> {
        let (mut orders, mut index, mut after) = (Vec::new(), u64::MAX, None);
        loop {
            let query = OrderQuery { open: true, after, limit: Some(ROWS_MAX), ..OrderQuery::default() };
            let page = self.client.orders(&query, options).await?;
            index = index.min(page.applied_index);
            after = page.data.last().map(|order| order.order_id);
            let last = page.data.len() < ROWS_MAX;
            orders.extend(page.data.into_iter().filter_map(resting));
            if last {
                return Ok((orders, index));
            }
        }
    }
}

/// An order that was asked for as an open one, and so comes whole.
fn resting(row: OrderView) -> Option<RestingOrder> {
    let sent = row.sent?;
    Some(RestingOrder { order_id: row.order_id, price: sent.price?, side: sent.side, symbol: sent.symbol })
}
