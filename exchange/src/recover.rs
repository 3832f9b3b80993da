//! Registering with the ledger, and reading what an engine starts from.
//!
//! A registration fences every exchange before it, an earlier life of this one too: what that one had in flight
//! is in the ledger by then, or will never be. So state read at or after the registration is all there is.

use std::time::Duration;

use quorate_api::{OrderView, QuoteSideView, QuoteView, ROWS_MAX, Read, StatusView};
use quorate_client::{CallFailed, OrderQuery, ReadOptions, SubmitError};
use quorate_ledger::{Answer, Command, ExchangeEpoch, Outcome, Refusal, RegisterExchange};
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
    /// It cannot be told whether a registration of this exchange was applied: the newest one may be its own.
    #[error("the registration's outcome is unknown: {0}")]
    InDoubt(String),
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
        fenced_after(desk, mine, &ReadOptions::linearizable()).await?;
    }
    let epoch = register(desk).await?;
    let options = ReadOptions::linearizable().at_least(epoch);
    let control = fenced_after(desk, epoch, &options).await?;
    let snapshot = read_snapshot(desk, control, &options).await?;
    let from = snapshot.first_frame();
    let config = quorate_matching::Config {
        order_ttl_ms: desk.config.order_deadline_ms,
        window_max: desk.config.in_flight,
        orders_max: desk.config.queue,
        ..quorate_matching::Config::default()
    };
    Ok((Engine::recover(config, epoch, snapshot), from))
}

/// The ledger's status, unless an exchange registered after `epoch`.
async fn fenced_after(
    desk: &Desk,
    epoch: ExchangeEpoch,
    options: &ReadOptions,
) -> Result<Read<StatusView>, RecoverError> {
    let status = desk.client.status(options).await?;
    match status.data.exchange_epoch {
        present if present > epoch => Err(RecoverError::Fenced(present)),
        _ => Ok(status),
    }
}

/// Goes on until it is known whether the registration was applied: otherwise this exchange could take its own for
/// another's.
async fn register(desk: &Desk) -> Result<ExchangeEpoch, RecoverError> {
    let command = Command::RegisterExchange(RegisterExchange { exchange: desk.config.name.clone() });
    let session = desk.session();
    let mut sent = session.submit(&command, Instant::now() + REGISTER_WITHIN);
    loop {
        let response = match sent.await {
            Ok(response) => response,
            Err(SubmitError::NotApplied(problem)) => return Err(RecoverError::Unavailable(problem.to_string())),
            Err(SubmitError::Unknown { ticket: Some(ticket), problem }) => {
                tracing::warn!(%problem, "asking again whether this exchange is registered");
                sent = session.settle(ticket, Instant::now() + REGISTER_WITHIN);
                continue;
            }
            Err(SubmitError::Unknown { ticket: None, problem }) => {
                return Err(RecoverError::InDoubt(problem.to_string()));
            }
        };
        return match response.outcome {
            Outcome::Accepted(Answer::ExchangeRegistered { exchange_epoch }) => Ok(exchange_epoch),
            Outcome::Accepted(other) => Err(RecoverError::InDoubt(format!("answered with {other:?}"))),
            Outcome::Refused(refusal) => Err(RecoverError::Refused(refusal)),
        };
    }
}

/// `status` was read first, so that its section is the oldest.
async fn read_snapshot(desk: &Desk, status: Read<StatusView>, options: &ReadOptions) -> Result<Snapshot, RecoverError> {
    let symbols = desk.client.symbols(options).await?;
    desk.listings.learn(&symbols.data);
    let quotes = desk.client.quotes(None, options).await?;
    let mut orders = Vec::new();
    let mut after = None;
    loop {
        let query = OrderQuery { open: true, after, limit: Some(ROWS_MAX), ..OrderQuery::default() };
        let page = desk.client.orders(&query, options).await?;
        after = page.data.last().map(|order| order.order_id);
        let last = page.data.len() < ROWS_MAX;
        orders.push(section(&page, page.data.iter().filter_map(open_order).collect()));
        if last {
            break;
        }
    }
    // Replaying the definitions between the two reads changes nothing.
    let control = Control {
        control_version: status.data.control.control_version,
        kill_switch: status.data.control.kill_switch,
        symbols: symbols.data.iter().map(|row| (row.symbol.clone(), row.instrument.clone(), row.revision)).collect(),
    };
    Ok(Snapshot {
        control: section(&status, control),
        quotes: section(&quotes, quotes.data.iter().map(quote).collect()),
        orders,
    })
}

fn section<T, U>(read: &Read<T>, data: U) -> Section<U> {
    Section { index: read.applied_index, log_time: read.log_time, data }
}

fn quote(row: &QuoteView) -> Quote {
    Quote {
        symbol: row.symbol.clone(),
        quote_id: row.quote_id,
        bid: row.bid.as_ref().map(leaves),
        ask: row.ask.as_ref().map(leaves),
        deadline: row.deadline,
    }
}

fn leaves(side: &QuoteSideView) -> QuoteLeaves {
    QuoteLeaves { price: side.price, leaves: side.leaves }
}

/// An order that was asked for as an open one, and so comes whole.
fn open_order(row: &OrderView) -> Option<OpenOrder> {
    let order = row.sent.clone()?;
    Some(OpenOrder { order_id: row.order_id, order, cum_qty: row.cum_qty, cum_quote: row.cum_quote })
}
