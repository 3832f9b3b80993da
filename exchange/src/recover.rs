//! Registering with the ledger, and reading what an engine starts from.
//!
//! A registration fences every exchange before it, an earlier life of this one too: what that one had in flight
//! is in the ledger by then, or will never be. So state read at or after the registration is all there is.

use std::{collections::BTreeMap, time::Duration};

use quorate_api::{OrderView, QuoteSideView, ROWS_MAX};
use quorate_client::{CallFailed, OrderQuery, ReadOptions, SubmitError};
use quorate_ledger::{Answer, Command, ExchangeEpoch, NewOrder, Outcome, Refusal, RegisterExchange};
use quorate_matching::{Control, Engine, OpenOrder, Quote, QuoteLeaves, Section, Snapshot};
use tokio::time::Instant;

use crate::desk::Desk;

/// How long one attempt at registering goes on.
const REGISTER_WITHIN: Duration = Duration::from_secs(5);

/// Why an exchange could not recover.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The group does not answer: try again.
    #[error("the ledger cannot be reached: {0}")]
    Unavailable(String),
    /// Another exchange registered after this one.
    #[error("another exchange has registered under epoch {0} and serves in this one's place: stop that one first")]
    Fenced(ExchangeEpoch),
    /// The ledger refused the registration.
    #[error("the ledger refuses this exchange: {0}")]
    Refused(Refusal),
}

impl From<CallFailed> for RecoverError {
    fn from(error: CallFailed) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Registers, reads the state, and gives an engine and the index from which frames must follow. `mine` is the epoch that
/// this process held last, 0 at its start: where another one has been given since, it is not taken back.
///
/// # Errors
/// [`RecoverError`].
pub async fn recover(desk: &Desk, mine: ExchangeEpoch) -> Result<(Engine, u64), RecoverError> {
    if mine > 0 {
        let present = desk.client.status(&ReadOptions::linearizable()).await?.data.exchange_epoch;
        if present > mine {
            return Err(RecoverError::Fenced(present));
        }
    }
    let epoch = register(desk).await?;
    let options = ReadOptions::linearizable().at_least(epoch);
    let snapshot = read_snapshot(desk, &options).await?;
    let from = snapshot.first_frame();
    let config = quorate_matching::Config {
        order_ttl_ms: desk.config.order_deadline_ms,
        window_max: desk.config.in_flight,
        orders_max: desk.config.queue,
        ..quorate_matching::Config::default()
    };
    Ok((Engine::recover(config, epoch, snapshot), from))
}

async fn register(desk: &Desk) -> Result<ExchangeEpoch, RecoverError> {
    let command = Command::RegisterExchange(RegisterExchange { exchange: desk.config.name.clone() });
    let session = desk.session();
    match session.submit(&command, Instant::now() + REGISTER_WITHIN).await {
        Ok(response) => match response.outcome {
            Outcome::Accepted(Answer::ExchangeRegistered { exchange_epoch }) => Ok(exchange_epoch),
            Outcome::Accepted(other) => Err(RecoverError::Unavailable(format!("answered {other:?}"))),
            Outcome::Refused(refusal) => Err(RecoverError::Refused(refusal)),
        },
        // Where it was applied after all, the next attempt fences that registration: it never served.
        Err(SubmitError::NotApplied(problem) | SubmitError::Unknown { problem, .. }) => {
            Err(RecoverError::Unavailable(problem.to_string()))
        }
    }
}

async fn read_snapshot(desk: &Desk, options: &ReadOptions) -> Result<Snapshot, CallFailed> {
    let symbols = desk.client.symbols(options).await?;
    // Read after the symbols and shown at their index: replaying what came between changes nothing.
    let control = desk.client.status(options).await?.data.control;
    desk.set_symbols(symbols.data.iter().map(|row| (row.symbol.clone(), row.spec)).collect::<BTreeMap<_, _>>());
    let quotes = desk.client.quotes(None, options).await?;
    let mut orders = Vec::new();
    let mut after = None;
    loop {
        let query = OrderQuery { open: true, after, limit: Some(ROWS_MAX), ..OrderQuery::default() };
        let page = desk.client.orders(&query, options).await?;
        after = page.data.last().map(|order| order.order_id);
        let last = page.data.len() < ROWS_MAX;
        let data = page.data.into_iter().map(open_order).collect();
        orders.push(Section { index: page.applied_index, log_time: page.log_time, data });
        if last {
            break;
        }
    }
    Ok(Snapshot {
        control: Section {
            index: symbols.applied_index,
            log_time: symbols.log_time,
            data: Control {
                control_version: control.control_version,
                kill_switch: control.kill_switch,
                symbols: symbols.data.into_iter().map(|row| row.symbol).collect(),
            },
        },
        quotes: Section {
            index: quotes.applied_index,
            log_time: quotes.log_time,
            data: quotes
                .data
                .into_iter()
                .map(|row| Quote {
                    symbol: row.symbol,
                    quote_id: row.quote_id,
                    bid: row.bid.as_ref().map(leaves),
                    ask: row.ask.as_ref().map(leaves),
                    deadline: row.deadline,
                })
                .collect(),
        },
        orders,
    })
}

fn leaves(side: &QuoteSideView) -> QuoteLeaves {
    QuoteLeaves { price: side.price, leaves: side.leaves }
}

/// The order as it was sent, from the view of it.
#[must_use]
pub fn new_order(row: &OrderView) -> NewOrder {
    NewOrder {
        account: row.account.clone(),
        client_order_id: row.client_order_id.clone(),
        symbol: row.symbol.clone(),
        side: row.side,
        order_type: row.order_type,
        time_in_force: row.time_in_force,
        price: row.price,
        qty: row.qty,
        timestamp: row.timestamp,
    }
}

fn open_order(row: OrderView) -> OpenOrder {
    OpenOrder { order_id: row.order_id, order: new_order(&row), cum_qty: row.cum_qty, cum_quote: row.cum_quote }
}
