//! What the exchange tells the ledger of prices: which symbols it has a source for, and where their prices are.
//!
//! Invariants: a mark is told at most once a second; only one whose price changed, or that would soon be too old while its source
//! goes on confirming it. What a source does not confirm is not told again, so that the ledger sees it age.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_client::{Session, SubmitError};
use quorate_domain::{Millis, RefPrice, Symbol};
use quorate_ledger::{
    Command, ExchangeEpoch, Outcome, PublishMarks, Refusal, SetListing, SymbolMark, bounds::MARK_AGE_MAX_MS,
};
use tokio::time::{Instant, sleep};

use crate::{desk::Desk, listings::Listed};

/// Time between two looks at the prices.
const EVERY: Duration = Duration::from_secs(1);
/// How long one command is tried.
const ATTEMPT: Duration = Duration::from_secs(2);
/// A price that does not change is told again when its mark is so old, if its source has confirmed it since.
const CONFIRM_AFTER_MS: u64 = MARK_AGE_MAX_MS / 2;

/// What was told last.
#[derive(Default)]
struct Told {
    /// Under which registration.
    epoch: ExchangeEpoch,
    listing: Option<Vec<Symbol>>,
    marks: BTreeMap<Symbol, SymbolMark>,
}

/// Tells the ledger of prices, for ever.
pub(crate) async fn publish(desk: Arc<Desk>) {
    let session = desk.client.session();
    let mut told = Told::default();
    loop {
        sleep(EVERY).await;
        let Some((epoch, now)) = desk.look(|engine, now| (engine.exchange_epoch(), now)) else { continue };
        if told.epoch != epoch {
            told = Told { epoch, ..Told::default() };
        }
        told.listing(&desk, &session).await;
        told.prices(&desk, &session, now).await;
    }
}

impl Told {
    /// Tells which symbols have a source, where that is news.
    async fn listing(&mut self, desk: &Desk, session: &Session) {
        let symbols = desk.listings.with_reference();
        if self.listing.as_ref() == Some(&symbols) {
            return;
        }
        let command = Command::SetListing(SetListing { exchange_epoch: self.epoch, symbols: symbols.clone() });
        if submit(session, &command).await {
            self.listing = Some(symbols);
        }
    }

    async fn prices(&mut self, desk: &Desk, session: &Session, now: Millis) {
        let news: Vec<SymbolMark> = desk
            .listings
            .all()
            .into_iter()
            .filter(|(_, listed)| !listed.closed)
            .filter_map(|(symbol, listed)| mark(desk, symbol, &listed, now))
            .filter(|mark| self.is_news(mark, now))
            .collect();
        if news.is_empty() {
            return;
        }
        let command = Command::PublishMarks(PublishMarks { exchange_epoch: self.epoch, marks: news.clone() });
        if submit(session, &command).await {
            self.marks.extend(news.into_iter().map(|mark| (mark.symbol.clone(), mark)));
        }
    }

    fn is_news(&self, mark: &SymbolMark, now: Millis) -> bool {
        self.marks.get(&mark.symbol).is_none_or(|last| {
            let other = mark.price != last.price || mark.revision != last.revision;
            mark.time > last.time && (other || now.since(last.time) >= CONFIRM_AFTER_MS)
        })
    }
}

/// Where a symbol's price is now, in half ticks, and when its source last said so.
fn mark(desk: &Desk, symbol: Symbol, listed: &Listed, now: Millis) -> Option<SymbolMark> {
    let revision = listed.revision;
    if desk.listings.is_own(&symbol) {
        let price = own_price(desk, &symbol)?;
        return Some(SymbolMark { symbol, revision, price, time: now });
    }
    let seen = desk.listings.reference(&symbol, listed.instrument.tick_size, now)?;
    let age = u64::try_from(seen.age.as_millis()).unwrap_or(u64::MAX);
    let time = Millis(now.0.saturating_sub(age));
    Some(SymbolMark { symbol, revision, price: RefPrice(seen.half_ticks), time })
}

/// The middle of the exchange's own book, while both sides stand.
pub(crate) fn own_price(desk: &Desk, symbol: &Symbol) -> Option<RefPrice> {
    let depth = desk.look(|engine, now| engine.depth(now, symbol, 1))?;
    let (bid, ask) = (depth.bids.first()?.price, depth.asks.first()?.price);
    Some(RefPrice(bid.0.saturating_add(ask.0)))
}

/// Whether the ledger took it. What it did not take is tried again at the next look.
async fn submit(session: &Session, command: &Command) -> bool {
    match session.submit(command, Instant::now() + ATTEMPT).await {
        Ok(response) => match response.outcome {
            Outcome::Accepted(_) => true,
            // Fenced, or about to be: whoever follows the ledger says so.
            Outcome::Refused(Refusal::StaleExchange { .. }) => false,
            Outcome::Refused(refusal) => {
                tracing::warn!(command = command.name(), %refusal, "the ledger does not take what the exchange says of prices");
                false
            }
        },
        Err(SubmitError::NotApplied(problem) | SubmitError::Unknown { problem, .. }) => {
            tracing::debug!(%problem, "the ledger was not told of prices");
            false
        }
    }
}
