//! Recorded flow: every trade of a capture becomes a market order of its taker's side, and the
//! exchange's reference price follows the recorded best prices. What of these cannot be is for the exchange to refuse.
//!
//! A trade's size is scaled and rounded to lots, at least 1 and at most what is asked for. The time
//! between two messages is that of the recorder's clock, divided by the speed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    time::Duration,
};

use quorate_binance_api::{
    capture::{InvalidLine, Message, parse_line},
    model::{OrderType, SetReferencePrice, Side, TimeInForce},
};
use quorate_ledger::{Decimal, InvalidDecimal};
use tokio::{sync::watch, time::Instant};

use crate::{
    random::steps,
    run::{Instrument, Planned},
    venue::Venue,
};

/// Time between two settings of the reference price: what changes faster is passed over.
const SET_EVERY: Duration = Duration::from_millis(20);
/// The two bytes that a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a capture cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("capture: {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not of a capture.
    #[error("capture: {path}:{line}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Why.
        source: InvalidLine,
    },
    /// An amount is too large.
    #[error("capture: {path}:{line}: {source}")]
    Amount {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// Why.
        source: InvalidDecimal,
    },
}

/// Recorded best prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Best {
    bid: Decimal,
    ask: Decimal,
    update_id: u64,
    local_ns: u64,
}

/// Reads a capture in its own time.
pub(crate) struct Replay {
    path: PathBuf,
    lines: io::Lines<Box<dyn BufRead + Send>>,
    line: u64,
    trades: u64,
    skip: u64,
    instrument: Instrument,
    qty_scale: Decimal,
    max_lots: i64,
    speed: f64,
    /// When the first message that counts was replayed, and when it was recorded.
    started: Option<(Instant, u64)>,
    reference: watch::Sender<Option<Best>>,
}

impl Replay {
    /// `skip`: the trades that an earlier run has sent.
    pub(crate) fn open(
        settings: &crate::config::ReplaySettings,
        qty_scale: Decimal,
        instrument: Instrument,
        skip: u64,
    ) -> Result<(Self, watch::Receiver<Option<Best>>), ReplayError> {
        let path = settings.capture.clone();
        let wrong = |source| ReplayError::Io { path: path.clone(), source };
        let mut file = BufReader::new(File::open(&path).map_err(wrong)?);
        let gzip = file.fill_buf().map_err(wrong)?.starts_with(&GZIP);
        let reader: Box<dyn Read + Send> =
            if gzip { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
        let lines: Box<dyn BufRead + Send> = Box::new(BufReader::new(reader));
        let (reference, seen) = watch::channel(None);
        let replay = Self {
            path,
            lines: lines.lines(),
            line: 0,
            trades: 0,
            skip,
            instrument,
            qty_scale,
            max_lots: settings.max_lots,
            speed: settings.speed,
            started: None,
            reference,
        };
        Ok((replay, seen))
    }

    /// The next trade as an order, when it is due; `None` at the end of the file.
    pub(crate) async fn next(&mut self) -> Result<Option<Planned>, ReplayError> {
        while let Some(line) = self.lines.next() {
            self.line += 1;
            let line = line.map_err(|source| ReplayError::Io { path: self.path.clone(), source })?;
            let read = parse_line(&line).map_err(|source| ReplayError::Line {
                path: self.path.clone(),
                line: self.line,
                source,
            })?;
            let Some(captured) = read.filter(|captured| captured.symbol == self.instrument.symbol) else { continue };
            match captured.message {
                Message::BookTicker { bid, ask, update_id } => {
                    if self.trades >= self.skip {
                        self.wait_for(captured.local_ns).await;
                    }
                    self.reference.send_replace(Some(Best { bid, ask, update_id, local_ns: captured.local_ns }));
                }
                Message::Trade { qty, buyer_is_maker, .. } => {
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
            }
        }
        Ok(None)
    }

    fn amount(&self, source: InvalidDecimal) -> ReplayError {
        ReplayError::Amount { path: self.path.clone(), line: self.line, source }
    }

    async fn wait_for(&mut self, recorded_ns: u64) {
        let (started, first_ns) = *self.started.get_or_insert_with(|| (Instant::now(), recorded_ns));
        let since = Duration::from_nanos(recorded_ns.saturating_sub(first_ns));
        tokio::time::sleep_until(started + since.div_f64(self.speed)).await;
    }
}

/// Sets the exchange's reference price to the newest best prices seen, until no more can come. `feed` tells the exchange
/// whose numbers these are.
pub(crate) async fn lead(venue: Venue, symbol: String, feed: String, mut seen: watch::Receiver<Option<Best>>) {
    let mut silent = false;
    while seen.changed().await.is_ok() {
        let Some(best) = *seen.borrow_and_update() else { continue };
        let set = SetReferencePrice {
            bid: Some(best.bid.to_string()),
            ask: Some(best.ask.to_string()),
            feed: Some(feed.clone()),
            seq: Some(best.update_id),
            time: Some(best.local_ns),
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
        assert_eq!(reference, Some(Best { bid, ask, update_id: 2, local_ns: 2_000_000_000 }));
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
