//! The exchange's reference prices, polled. A price that cannot be had or believed is not made up: the quoter
//! notices by its age.

use std::{collections::BTreeMap, time::Duration};

use quorate_binance_api::{
    model::ReferencePrice,
    reference::{Believed, Doubt, Given, Stamp},
};
use quorate_domain::{Decimal, Millis, RefPrice, SourceName, Symbol};
use quorate_ledger::Reference;
use quorate_quoter::Observed;
use quorate_seams::{World, empty_body, read_body};

/// Time between two polls.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Longest time for one.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of an answer at most.
const ANSWER_MAX_BYTES: usize = 1 << 20;
/// Time between two lines of the log about prices that are not believed.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Polls one exchange.
pub(crate) struct Market {
    world: World,
    uri: http::Uri,
    /// Whether the last poll gave nothing: said once, not ten times a second.
    silent: bool,
    /// What was believed last, of each symbol.
    believed: BTreeMap<Symbol, Believed>,
    dropped: u64,
    unsaid: u64,
    warned_at: Option<Duration>,
}

/// The prices of one answer.
pub(crate) struct Polled {
    prices: Vec<Observed>,
    /// When it was asked for, by the monotonic clock: the ages are of no earlier instant.
    asked_at: Duration,
    /// How many were not believed.
    pub(crate) dropped: u64,
}

impl Polled {
    /// The prices, and how old each is at `now`.
    pub(crate) fn at(self, now: Duration) -> Vec<Observed> {
        let since = now.saturating_sub(self.asked_at);
        let aged = |price: Observed| Observed { age: price.age.saturating_add(since), ..price };
        self.prices.into_iter().map(aged).collect()
    }
}

impl Market {
    /// `exchange` is `http://host:port`.
    pub(crate) fn new(world: World, exchange: &str) -> Result<Self, http::uri::InvalidUri> {
        let uri = format!("{}/v1/reference-prices", exchange.trim_end_matches('/')).parse()?;
        let (believed, warned_at) = (BTreeMap::new(), None);
        Ok(Self { world, uri, silent: false, believed, dropped: 0, unsaid: 0, warned_at })
    }

    /// The next prices; returns itself, so that the poll can stand in a `select!`.
    pub(crate) async fn next(mut self) -> (Self, Polled) {
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            let asked_at = self.world.clocks.monotonic();
            let polled = tokio::time::timeout(POLL_TIMEOUT, self.poll()).await;
            match polled.unwrap_or_else(|_| Err(format!("no answer within {} ms", POLL_TIMEOUT.as_millis()))) {
                Ok(rows) => {
                    if std::mem::take(&mut self.silent) {
                        tracing::info!("reference prices are back");
                    }
                    let prices = rows.iter().filter_map(|row| self.believe(row)).collect();
                    let dropped = std::mem::take(&mut self.dropped);
                    return (self, Polled { prices, asked_at, dropped });
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.silent, true) {
                        tracing::warn!(
                            uri = %self.uri, error,
                            "the exchange gives no reference prices: quotes are pulled when these are too old; see that it \
                             runs, and that --exchange is its address"
                        );
                    }
                }
            }
        }
    }

    async fn poll(&self) -> Result<Vec<ReferencePrice>, String> {
        let mut request = http::Request::new(empty_body());
        *request.uri_mut() = self.uri.clone();
        let response = self.world.http.call(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = read_body(response.into_body(), ANSWER_MAX_BYTES).await.map_err(|error| error.to_string())?;
        if !status.is_success() {
            return Err(format!("the exchange answered {status}"));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    /// What the exchange says of a symbol, where that can be believed.
    fn believe(&mut self, row: &ReferencePrice) -> Option<Observed> {
        let Ok(symbol) = row.symbol.parse::<Symbol>() else {
            self.drop(&row.symbol, Doubt::OutOfRange);
            return None;
        };
        let price = RefPrice(row.price_half_ticks);
        let given = Decimal::new(price.0, 0).map(Given::Price).ok_or(Doubt::OutOfRange);
        let stamp = Stamp { epoch: row.exchange_epoch, seq: Some(row.seq), time: Some(row.changed_at) };
        let believed = self.believed.entry(symbol.clone()).or_default();
        let checked = given.and_then(|given| {
            // Above the largest price, it must not count as the last one that was believed.
            if price.0 > 0 && !price.is_valid() {
                return Err(Doubt::OutOfRange);
            }
            believed.check(given, stamp)?;
            Self::source(row).ok_or(Doubt::OutOfRange)
        });
        match checked {
            Ok(source) => {
                let (seq, time) = (row.seq, Millis(row.confirmed_at));
                let reference = Reference { source, price, seq, time };
                Some(Observed { symbol, reference, age: Duration::from_millis(row.age_ms) })
            }
            Err(doubt) => {
                self.drop(&row.symbol, doubt);
                None
            }
        }
    }

    /// Where the exchange has a price from, with the registration under which it gives it: its numbers begin anew with each.
    fn source(row: &ReferencePrice) -> Option<SourceName> {
        SourceName::new(&format!("{}/{}", row.source, row.exchange_epoch)).ok()
    }

    /// Counts what is not believed, and says so now and then.
    fn drop(&mut self, symbol: &str, doubt: Doubt) {
        self.dropped += 1;
        self.unsaid += 1;
        let now = self.world.clocks.monotonic();
        if self.warned_at.is_some_and(|at| now.saturating_sub(at) < WARN_EVERY) {
            return;
        }
        self.warned_at = Some(now);
        let dropped = std::mem::take(&mut self.unsaid);
        tracing::warn!(
            symbol,
            reason = doubt.name(),
            dropped,
            "a reference price of the exchange is not believed: {doubt}; the last good one ages, and the quote is pulled when \
             it is too old: see that --exchange leads to the one exchange of this group"
        );
    }
}
