//! Recorded flow: every trade of a capture becomes a market order of its taker's side, and the
//! exchange's reference price follows the recorded best prices.
//!
//! A trade's size is scaled and rounded to lots, at least 1 and at most what is asked for. The time
//! between two messages is that of the recorder's clock, divided by the speed; where that goes back, or would have to
//! be waited for too long, no time passes. What no two orders made is not sent, and is counted; what best prices cannot
//! be is for the exchange to refuse.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use quorate_binance_api::{
    model::{OrderType, SetReferencePrice, Side, TimeInForce},
    streams::{BookTicker, Message, Trade, Wanted},
};
use quorate_domain::{Decimal, InvalidDecimal};
use quorate_record::{CaptureError, CaptureLines, TimeUnit, Torn, venue_ns};
use tokio::{sync::watch, time::Instant};

use crate::{
    random::steps,
    run::{Instrument, Planned},
    venue::Venue,
};

/// Time between two settings of the reference price: what changes faster is passed over.
const SET_EVERY: Duration = Duration::from_millis(20);
/// Longest wait for the next message. Where the recorder stood still for longer, that is passed over.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// How far the recorder's clock may go back without a word.
const BACK_MAX: Duration = Duration::from_secs(1);
/// Lines read in one go, before others have their turn.
const LINES_AT_ONCE: u64 = 1_000;
/// Kinds of lines that are told apart where a capture holds no trades.
const KINDS_MAX: usize = 12;

/// Why a capture cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// An amount is too large.
    #[error("capture: {path}:{line}: {source}: take a smaller --qty-scale, or another capture")]
    Amount {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Why.
        source: InvalidDecimal,
    },
    /// Its times are not nanoseconds.
    #[error("capture: {path}:{line}: {time} is a time in {unit}; times must be in nanoseconds since the Unix epoch")]
    Unit {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// The time.
        time: u64,
        /// What it seems to count.
        unit: TimeUnit,
    },
    /// It has no trade to send.
    #[error(
        "capture: {path}: no trade of {symbol} by orders; it holds {holds}. Name a --symbol that it holds, or record the \
         combined stream `{stream}@trade`"
    )]
    NoTrades {
        /// The file.
        path: PathBuf,
        /// The symbol that was asked for.
        symbol: String,
        /// The symbol's stream.
        stream: String,
        /// What is there instead.
        holds: String,
    },
}

/// Reads a capture up to the first trade that can be sent.
///
/// # Errors
/// Where there is none, with what the file holds instead; where it cannot be read; where its times are in another unit.
pub(crate) async fn examine(path: &Path, symbol: &str) -> Result<(), ReplayError> {
    let mut lines = CaptureLines::open(path, Wanted::TRADES_AND_BEST_PRICES)?;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(captured) = lines.next_line()? {
        let mut kind = captured.message.describe();
        if captured.is_of(symbol)
            && let Message::Trade(Trade { time, by_orders, .. }) = captured.message.message
        {
            let unit = TimeUnit::tell(captured.local_ns, venue_ns(time));
            if let Some(unit) = unit.filter(|unit| *unit != TimeUnit::Nanos) {
                let (path, line, time) = (path.to_owned(), lines.number(), captured.local_ns);
                return Err(ReplayError::Unit { path, line, time, unit });
            }
            if by_orders {
                return Ok(());
            }
            kind.push_str(" by no orders");
        }
        let known = kinds.len() < KINDS_MAX || kinds.contains_key(&kind);
        *kinds.entry(if known { kind } else { "other lines".to_owned() }).or_default() += 1;
        if lines.number().is_multiple_of(LINES_AT_ONCE) {
            tokio::task::yield_now().await;
        }
    }
    let mut holds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} lines of {kind}")).collect();
    holds.extend(lines.take_torn().as_ref().map(Torn::to_string));
    let holds = if holds.is_empty() { "nothing".to_owned() } else { holds.join(", ") };
    let (symbol, stream) = (symbol.to_owned(), symbol.to_lowercase());
    Err(ReplayError::NoTrades { path: path.to_owned(), symbol, stream, holds })
}

/// What a replay left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Skipped {
    pub(crate) trades: u64,
    pub(crate) gaps: u64,
}

/// Recorded best prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Best {
    bid: Decimal,
    ask: Decimal,
    update_id: u64,
}

/// Reads a capture in its own time.
pub(crate) struct Replay {
    path: PathBuf,
    lines: CaptureLines,
    trades: u64,
    skip: u64,
    instrument: Instrument,
    qty_scale: Decimal,
    max_lots: i64,
    speed: f64,
    /// When the last message that counts was due, and when it was recorded.
    last: Option<(Instant, u64)>,
    reference: watch::Sender<Option<Best>>,
    pub(crate) skipped: Skipped,
}

impl Replay {
    /// `skip`: the trades that an earlier run has sent.
    pub(crate) fn open(
        settings: &crate::config::ReplaySettings,
        qty_scale: Decimal,
        instrument: Instrument,
        skip: u64,
    ) -> Result<(Self, watch::Receiver<Option<Best>>), ReplayError> {
        let (reference, seen) = watch::channel(None);
        let replay = Self {
            path: settings.capture.clone(),
            lines: CaptureLines::open(&settings.capture, Wanted::TRADES_AND_BEST_PRICES)?,
            trades: 0,
            skip,
            instrument,
            qty_scale,
            max_lots: settings.max_lots,
            speed: settings.speed,
            last: None,
            reference,
            skipped: Skipped::default(),
        };
        Ok((replay, seen))
    }

    /// The next trade as an order, when it is due; `None` at the end of the file.
    pub(crate) async fn next(&mut self) -> Result<Option<Planned>, ReplayError> {
        while let Some(captured) = self.lines.next_line()? {
            if self.lines.number().is_multiple_of(LINES_AT_ONCE) {
                tokio::task::yield_now().await;
            }
            if !captured.is_of(&self.instrument.symbol) {
                continue;
            }
            match captured.message.message {
                Message::BookTicker(BookTicker { bid, ask, update_id, .. }) => {
                    if self.trades >= self.skip {
                        self.wait_for(captured.local_ns).await;
                    }
                    self.reference.send_replace(Some(Best { bid, ask, update_id }));
                }
                Message::Trade(Trade { by_orders: false, .. }) => self.skipped.trades += 1,
                Message::Trade(Trade { qty, buyer_is_maker, .. }) => {
                    self.trades += 1;
                    if self.trades <= self.skip {
                        continue;
                    }
                    self.wait_for(captured.local_ns).await;
                    // The market lives: the newest best prices stand, and are sent once more.
                    self.reference.send_modify(|_| {});
                    let lots = lots(qty, self.qty_scale, self.instrument.lot, self.max_lots)
                        .map_err(|source| self.amount(source))?;
                    return Ok(Some(Planned {
                        symbol: self.instrument.symbol.clone(),
                        side: if buyer_is_maker { Side::Sell } else { Side::Buy },
                        order_type: OrderType::Market,
                        tif: TimeInForce::Ioc,
                        price: None,
                        qty: steps(self.instrument.lot, lots),
                        source: Some(self.trades),
                    }));
                }
                _ => {}
            }
        }
        if let Some(torn) = self.lines.take_torn() {
            tracing::warn!("capture: {torn}");
        }
        Ok(None)
    }

    fn amount(&self, source: InvalidDecimal) -> ReplayError {
        ReplayError::Amount { path: self.path.clone(), line: self.lines.number(), source }
    }

    async fn wait_for(&mut self, recorded_ns: u64) {
        let (last, last_ns) = self.last.unwrap_or_else(|| (Instant::now(), recorded_ns));
        let passed = Duration::from_nanos(recorded_ns.saturating_sub(last_ns)).div_f64(self.speed);
        let back = Duration::from_nanos(last_ns.saturating_sub(recorded_ns));
        let what = match (passed > WAIT_MAX, back > BACK_MAX) {
            (true, _) => format!("stands still for {} s", passed.as_secs()),
            (_, true) => format!("goes back by {} s", back.as_secs()),
            (false, false) => String::new(),
        };
        let odd = !what.is_empty();
        if odd {
            if self.skipped.gaps == 0 {
                let (path, line) = (self.path.display(), self.lines.number());
                tracing::warn!("capture: {path}:{line}: time {what}: not waited for, nor are later gaps like it");
            }
            self.skipped.gaps += 1;
        }
        let due = if odd { last } else { last + passed };
        self.last = Some((due, recorded_ns));
        tokio::time::sleep_until(due).await;
    }
}

/// Sets the exchange's reference price to the newest best prices seen, until no more can come. `feed` tells the exchange
/// whose numbers these are. The recorder's clock is not told: it may have jumped, and what follows is in order all the same.
pub(crate) async fn lead(venue: Venue, symbol: String, feed: String, mut seen: watch::Receiver<Option<Best>>) {
    let mut silent = false;
    while seen.changed().await.is_ok() {
        let Some(best) = *seen.borrow_and_update() else { continue };
        let set = SetReferencePrice {
            bid: Some(best.bid.to_string()),
            ask: Some(best.ask.to_string()),
            feed: Some(feed.clone()),
            seq: Some(best.update_id),
            ..SetReferencePrice::default()
        };
        match venue.set_reference_price(&symbol, &set).await {
            Ok(()) => silent = false,
            Err(error) if !silent => {
                silent = true;
                tracing::warn!(%error, "the exchange does not take a recorded price as its reference: the one before it ages");
            }
            Err(_) => {}
        }
        tokio::time::sleep(SET_EVERY).await;
    }
}

/// The finest step that a decimal has.
fn fine(value: Decimal) -> Result<i128, InvalidDecimal> {
    let finest: Decimal = "0.000000000001".parse()?;
    value.in_steps_of(finest).map(i128::from)
}

/// The quantity times the scale in lots, to the nearest, within `1..=max`.
fn lots(qty: Decimal, scale: Decimal, lot: Decimal, max: i64) -> Result<i64, InvalidDecimal> {
    let lot = fine(lot)?;
    let scaled = fine(qty)?.saturating_mul(fine(scale)?) / fine("1".parse()?)?;
    Ok(i64::try_from((scaled + lot / 2) / lot).unwrap_or(max).clamp(1, max))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::ReplaySettings;

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    const CAPTURE: &str = r#"1000000000 {"stream":"a@bookTicker","data":{"u":1,"s":"A","b":"100.00","B":"1","a":"100.02","A":"1"}}
1000000000 {"lastUpdateId":1,"bids":[],"asks":[]}
1500000000 {"stream":"a@trade","data":{"s":"A","t":1,"p":"100.02","q":"0.0150","T":1,"m":false}}
1500000000 {"stream":"b@trade","data":{"s":"B","t":1,"p":"1","q":"1","T":1,"m":false}}
2000000000 {"stream":"a@bookTicker","data":{"u":2,"s":"A","b":"100.04","B":"1","a":"100.06","A":"1"}}
3000000000 {"stream":"a@trade","data":{"s":"A","t":2,"p":"100.04","q":"9","T":2,"m":true}}
"#;

    async fn replayed(bytes: &[u8], skip: u64) -> (Vec<Planned>, Option<Best>, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture");
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        let settings = ReplaySettings {
            capture: path,
            symbol: "A".into(),
            speed: 2.0,
            qty_scale: "1".into(),
            max_lots: 50,
            no_reference: false,
            feed_key: None,
            feed_secret: None,
        };
        let instrument = Instrument { symbol: "A".into(), tick: decimal("0.01"), lot: decimal("0.01") };
        let (mut replay, seen) = Replay::open(&settings, decimal("1"), instrument, skip).unwrap();
        let started = Instant::now();
        let mut orders = Vec::new();
        while let Some(planned) = replay.next().await.unwrap() {
            orders.push(planned);
        }
        let reference = *seen.borrow();
        (orders, reference, started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn trades_become_orders_of_the_takers_side_in_their_own_time() {
        let (orders, reference, took) = replayed(CAPTURE.as_bytes(), 0).await;
        let seen: Vec<_> = orders.iter().map(|order| (order.side, order.qty.as_str(), order.source)).collect();
        assert_eq!(seen, [(Side::Buy, "0.02", Some(1)), (Side::Sell, "0.50", Some(2))]);
        let (bid, ask) = (decimal("100.04"), decimal("100.06"));
        assert_eq!(reference, Some(Best { bid, ask, update_id: 2 }));
        assert_eq!(took.as_millis(), 1_000, "two seconds at twice the speed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_compressed_capture_reads_the_same_and_a_resumed_one_skips() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(CAPTURE.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(replayed(&packed, 0).await.0, replayed(CAPTURE.as_bytes(), 0).await.0);
        let (orders, ..) = replayed(&packed, 1).await;
        assert_eq!(orders.iter().map(|order| order.source).collect::<Vec<_>>(), [Some(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_goes_back_or_stands_still_is_not_waited_for() {
        let trade = |s: u64, t: u64| {
            let data = format!(r#"{{"s":"A","t":{t},"p":"1","q":"1","T":1,"m":false}}"#);
            format!("{} {{\"stream\":\"a@trade\",\"data\":{data}}}\n", s * 1_000_000_000)
        };
        // Fifty years ahead, back again, and on.
        let times = [10, 12, 1_577_880_000, 1_577_880_002, 14, 16, 15, 17];
        let text: String = times.iter().zip(1..).map(|(s, t)| trade(*s, t)).collect();
        let (orders, _, took) = replayed(text.as_bytes(), 0).await;
        assert_eq!(orders.len(), 8);
        assert_eq!(took.as_millis(), 4_000, "four times two seconds at twice the speed");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_two_orders_made_is_left_out() {
        let text = CAPTURE.replace(r#""m":true}"#, r#""m":true,"X":"NA"}"#);
        let (orders, ..) = replayed(text.as_bytes(), 0).await;
        assert_eq!(orders.iter().map(|order| order.source).collect::<Vec<_>>(), [Some(1)]);
    }

    async fn examined(text: &str, symbol: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("capture");
        std::fs::write(&path, text).unwrap();
        examine(&path, symbol).await.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[tokio::test]
    async fn a_capture_without_trades_of_the_symbol_is_refused_with_what_it_holds() {
        assert_eq!(examined(CAPTURE, "A").await, "");
        let other = examined(CAPTURE, "C").await;
        assert!(other.contains("no trade of C") && other.contains("2 lines of trade of A"), "{other}");
        let aggregated = examined(&CAPTURE.replace("@trade", "@aggTrade"), "A").await;
        assert!(aggregated.contains("2 lines of aggTrade of A"), "{aggregated}");
        let raw = r#"1 {"e":"trade","s":"A","p":"1"}"#;
        assert!(examined(raw, "A").await.contains("1 lines of uncombined trade of A"));
        assert!(examined(r#"{"e":"trade","s":"A","p":"1"}"#, "A").await.contains("does not begin with a time"));
        assert!(examined("", "A").await.contains("it holds nothing"));
        let none = examined(&CAPTURE.replace("\"m\"", "\"X\":\"INSURANCE_FUND\",\"m\""), "A").await;
        assert!(none.contains("2 lines of trade of A by no orders"), "{none}");
    }

    #[tokio::test]
    async fn times_that_are_not_nanoseconds_are_refused_with_their_unit() {
        let trade = |local: &str, venue: &str| {
            format!(r#"{local} {{"stream":"a@trade","data":{{"s":"A","t":1,"p":"1","q":"1","T":{venue},"m":false}}}}"#)
        };
        let now = "1700000000";
        let ms = format!("{now}000");
        for (local, venue, unit) in [
            (format!("{now}000000000"), &*ms, ""),
            ("1700000000".to_owned(), "1", ""),
            (now.to_owned(), &*ms, "in seconds"),
            (now.to_owned(), "1700000000000000", "in seconds"),
            (format!("{now}000"), &*ms, "in milliseconds"),
            (format!("{now}000000"), &*ms, "in microseconds"),
        ] {
            let answer = examined(&trade(&local, venue), "A").await;
            assert!(answer.contains(unit) && answer.is_empty() == unit.is_empty(), "{local} {venue}: {answer}");
        }
    }

    #[test]
    fn sizes_are_scaled_rounded_and_bounded() {
        let lots = |qty, scale| lots(decimal(qty), decimal(scale), decimal("0.001"), 10).unwrap();
        assert_eq!(lots("0.0004", "1"), 1);
        assert_eq!(lots("0.0044", "1"), 4);
        assert_eq!(lots("0.0045", "1"), 5);
        assert_eq!(lots("0.0045", "0.5"), 2);
        assert_eq!(lots("700", "3"), 10);
    }
}
