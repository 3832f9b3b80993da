//! Recorded combined streams: one message a line, `<local_ns> <raw JSON>`, trades and best prices taken out of them.

use quorate_domain::Decimal;
use serde::Deserialize;

/// One message of a capture that is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// When it was received, by the recorder's clock, in ns since the Unix epoch.
    pub local_ns: u64,
    /// The symbol.
    pub symbol: String,
    /// What it says.
    pub message: Message,
}

/// A trade or a best price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A trade.
    Trade {
        /// The venue's trade id.
        trade_id: u64,
        /// When it happened, by the venue's clock, in ms since the Unix epoch.
        trade_time_ms: u64,
        /// The price.
        price: Decimal,
        /// The quantity.
        qty: Decimal,
        /// Whether the buyer rested: then the taker sold.
        buyer_is_maker: bool,
        /// Whether two orders made it: a price and a quantity above 0, and no word of the venue (`X`) that it was an
        /// insurance fund, a liquidation taken over, or nothing at all.
        by_orders: bool,
    },
    /// The best bid and ask.
    BookTicker {
        /// The venue's update id.
        update_id: u64,
        /// The best bid.
        bid: Decimal,
        /// The best ask.
        ask: Decimal,
    },
}

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It does not begin with a time in nanoseconds and a blank.
    #[error("does not begin with a time in nanoseconds and a blank")]
    Time,
    /// What follows is not JSON of a stream that this project knows.
    #[error("is not a message of a known stream: {0}")]
    Message(String),
}

#[derive(Deserialize)]
struct Combined {
    stream: Option<String>,
    data: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct TradeData {
    s: String,
    t: u64,
    #[serde(rename = "T")]
    time: u64,
    p: String,
    q: String,
    m: bool,
    /// What made it, where the venue says so.
    #[serde(rename = "X")]
    by: Option<String>,
}

#[derive(Deserialize)]
struct TickerData {
    s: String,
    u: u64,
    b: String,
    a: String,
}

/// Reads one line; `None` for what is of no use here (depth updates, the depth snapshot that stands inline).
///
/// # Errors
/// [`InvalidLine`].
pub fn parse_line(line: &str) -> Result<Option<Captured>, InvalidLine> {
    let (time, json) = line.split_once(' ').ok_or(InvalidLine::Time)?;
    let local_ns: u64 = time.parse().map_err(|_| InvalidLine::Time)?;
    let wrong = |error: serde_json::Error| InvalidLine::Message(error.to_string());
    let Combined { stream, data } = serde_json::from_str(json).map_err(wrong)?;
    let (Some(stream), Some(data)) = (stream, data) else { return Ok(None) };
    let kind = stream.split_once('@').map_or("", |(_, kind)| kind);
    let decimal = |text: &str| text.parse().map_err(|error| InvalidLine::Message(format!("{error}")));
    let captured = match kind {
        "trade" => {
            let data: TradeData = serde_json::from_value(data).map_err(wrong)?;
            let (price, qty): (Decimal, Decimal) = (decimal(&data.p)?, decimal(&data.q)?);
            let message = Message::Trade {
                trade_id: data.t,
                trade_time_ms: data.time,
                price,
                qty,
                buyer_is_maker: data.m,
                by_orders: data.by.is_none_or(|by| by == "MARKET") && price.is_positive() && qty.is_positive(),
            };
            Captured { local_ns, symbol: data.s, message }
        }
        "bookTicker" => {
            let data: TickerData = serde_json::from_value(data).map_err(wrong)?;
            let message = Message::BookTicker { update_id: data.u, bid: decimal(&data.b)?, ask: decimal(&data.a)? };
            Captured { local_ns, symbol: data.s, message }
        }
        _ => return Ok(None),
    };
    Ok(Some(captured))
}

/// What a line holds, in a few words, for people: `trade of BTCUSDT`, `aggTrade of ETHUSDT`, `depth snapshot`.
#[must_use]
pub fn describe_line(line: &str) -> String {
    let json = line.split_once(' ').map_or("", |(_, json)| json);
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return "unreadable".to_owned() };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").chars().take(24).collect::<String>();
    if let Some((symbol, kind)) = value["stream"].as_str().and_then(|stream| stream.split_once('@')) {
        let symbol = value["data"]["s"].as_str().map_or_else(|| symbol.to_uppercase(), str::to_owned);
        return format!("{} of {}", text(&kind.into()), text(&symbol.into()));
    }
    match (&value["e"], &value["s"]) {
        (event, symbol) if event.is_string() => format!("uncombined {} of {}", text(event), text(symbol)),
        (_, symbol) if symbol.is_string() => format!("uncombined message of {}", text(symbol)),
        _ if value["lastUpdateId"].is_u64() => "depth snapshot".to_owned(),
        _ => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        path::Path,
    };

    use super::*;

    #[test]
    fn trades_and_best_prices_are_read_exactly() {
        let trade = r#"17 {"stream":"btcusdt@trade","data":{"e":"trade","E":5,"s":"BTCUSDT","t":7,"p":"61683.99000000","q":"0.00025000","T":4,"m":true,"M":true}}"#;
        let read = parse_line(trade).expect("valid").expect("a trade");
        let Message::Trade { price, qty, buyer_is_maker, trade_id, .. } = read.message else { panic!("a trade") };
        assert_eq!((price.to_string().as_str(), qty.to_string().as_str()), ("61683.99", "0.00025"));
        assert!(buyer_is_maker && trade_id == 7 && read.local_ns == 17);
        let ticker =
            r#"18 {"stream":"btcusdt@bookTicker","data":{"u":9,"s":"BTCUSDT","b":"1.5","B":"2","a":"1.6","A":"3"}}"#;
        let read = parse_line(ticker).expect("valid").expect("a ticker");
        assert!(matches!(read.message, Message::BookTicker { update_id: 9, .. }));
    }

    #[test]
    fn only_what_two_orders_made_is_told_as_such() {
        let trade = |p: &str, q: &str, more: &str| {
            let data = format!(r#"{{"s":"A","t":7,"p":"{p}","q":"{q}","T":4,"m":true{more}}}"#);
            let read =
                parse_line(&format!(r#"1 {{"stream":"a@trade","data":{data}}}"#)).expect("valid").expect("a trade");
            matches!(read.message, Message::Trade { by_orders: true, .. })
        };
        assert!(trade("1", "1", "") && trade("1", "1", r#","X":"MARKET""#));
        assert!(!trade("1", "1", r#","X":"NA""#) && !trade("1", "1", r#","X":"INSURANCE_FUND""#));
        assert!(!trade("1", "0", "") && !trade("0", "1", "") && !trade("1", "-1", ""));
    }

    #[test]
    fn a_line_is_described_in_a_few_words() {
        let table = [
            (r#"1 {"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","s":"BTCUSDT"}}"#, "aggTrade of BTCUSDT"),
            (r#"1 {"stream":"btcusdt@depth@100ms","data":{}}"#, "depth@100ms of BTCUSDT"),
            (r#"1 {"e":"trade","s":"BTCUSDT"}"#, "uncombined trade of BTCUSDT"),
            (r#"1 {"u":1,"s":"BTCUSDT","b":"1"}"#, "uncombined message of BTCUSDT"),
            (r#"1 {"lastUpdateId":5}"#, "depth snapshot"),
            ("1 []", "something else"),
            ("x", "unreadable"),
        ];
        for (line, wanted) in table {
            assert_eq!(describe_line(line), wanted);
        }
    }

    #[test]
    fn what_is_of_no_use_is_skipped_and_what_is_broken_is_told() {
        assert_eq!(parse_line(r#"1 {"lastUpdateId":5,"bids":[],"asks":[]}"#), Ok(None));
        assert_eq!(parse_line(r#"1 {"stream":"btcusdt@depth@100ms","data":{}}"#), Ok(None));
        assert_eq!(parse_line("x"), Err(InvalidLine::Time));
        assert!(parse_line("1 {").is_err());
        assert!(parse_line(r#"1 {"stream":"btcusdt@trade","data":{}}"#).is_err());
    }

    #[test]
    fn the_recorded_file_is_read_whole() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/binance/spot-btcusdt_20240808.gz");
        let Ok(file) = std::fs::File::open(&path) else {
            // Past the test harness, which keeps to itself what a test that passes prints.
            return writeln!(std::io::stderr(), "SKIPPED the recorded file: none at {}", path.display())
                .expect("stderr");
        };
        let (mut trades, mut tickers) = (0, 0);
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            match parse_line(&line.expect("text")).expect("a known line").map(|captured| captured.message) {
                Some(Message::Trade { .. }) => trades += 1,
                Some(Message::BookTicker { .. }) => tickers += 1,
                None => {}
            }
        }
        assert_eq!((trades, tickers), (9_757, 28_040));
    }
}
