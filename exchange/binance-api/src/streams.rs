//! Messages of the market data streams, and the depth snapshot of REST: what one JSON text says.
//!
//! Sources: Spot WebSocket streams
//! (<https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams>), USDⓈ-M and COIN-M futures streams
//! (<https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams>,
//! <https://developers.binance.com/docs/derivatives/coin-margined-futures/websocket-market-streams>). A combined message is
//! wrapped as `{"stream":..,"data":..}`, a raw one is the event alone; both are read.
//!
//! Invariants: amounts stay exact decimals; what this project has no use for is [`Message::Other`] whatever its form, and
//! what it has a use for is whole or an [`InvalidMessage`] that names the field.

mod fields;

use std::borrow::Cow;

use quorate_domain::Decimal;

use fields::{Any, Data, Fields};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// The symbol in upper case; `None` where the message names none (a depth snapshot of Spot or USDⓈ-M REST).
    pub symbol: Option<String>,
    /// Whether it was wrapped with the name of its stream.
    pub combined: bool,
    /// When it happened, by the venue's clock and in the venue's unit (milliseconds since the Unix epoch, or microseconds
    /// where these were asked for): the matching engine's time `T` where the message has it, else the message's own
    /// time `E`. Spot's `bookTicker` and depth snapshots have neither.
    pub venue_time: Option<u64>,
    /// What it says.
    pub message: Message,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A trade (`trade`).
    Trade(Trade),
    /// Trades of one taker at one price, as one (`aggTrade`).
    AggTrade(Trade),
    /// The best bid and ask (`bookTicker`).
    BookTicker(BookTicker),
    /// Levels of the book that changed (`depthUpdate`).
    DepthUpdate(DepthUpdate),
    /// The levels of the book, from its best (`GET depth`, or a partial depth stream).
    DepthSnapshot(DepthSnapshot),
    /// Something that this project has no use for, by the name of its event or stream.
    Other(String),
}

/// A trade, or several as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trade {
    /// The venue's id of the trade, or of the aggregate.
    pub id: u64,
    /// When it happened, by the venue's clock, in ms since the Unix epoch (or µs where these were asked for).
    pub time: u64,
    /// The price.
    pub price: Decimal,
    /// The quantity.
    pub qty: Decimal,
    /// Whether the buyer rested: then the taker sold.
    pub buyer_is_maker: bool,
    /// Whether two orders made it: a price and a quantity above 0, and no word of the venue (`X`) that it was an
    /// insurance fund, a liquidation taken over, or nothing at all.
    pub by_orders: bool,
}

/// The best bid and ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookTicker {
    /// The update id of the book that they stood in.
    pub update_id: u64,
    /// The best bid.
    pub bid: Decimal,
    /// How much it asks for; `None` where the message does not say it (a recorder left it out).
    pub bid_qty: Option<Decimal>,
    /// The best ask.
    pub ask: Decimal,
    /// How much it offers; `None` likewise.
    pub ask_qty: Option<Decimal>,
}

/// One price of the book, and how much stands there in all; 0 where nothing does any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthLevel {
    /// The price.
    pub price: Decimal,
    /// The quantity.
    pub qty: Decimal,
}

/// Levels of the book that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepthUpdate {
    /// The first update id in it (`U`).
    pub first: u64,
    /// The last update id in it (`u`).
    pub last: u64,
    /// The last update id of the message before (`pu`): futures only.
    pub previous: Option<u64>,
    /// Bids, in the message's order.
    pub bids: Vec<DepthLevel>,
    /// Asks, in the message's order.
    pub asks: Vec<DepthLevel>,
}

/// The levels of the book, from its best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepthSnapshot {
    /// The last update id that is in it.
    pub last: u64,
    /// Whether it came over a partial depth stream, which tells 5 to 20 levels; else it was asked for by REST.
    pub partial: bool,
    /// Bids, the best first.
    pub bids: Vec<DepthLevel>,
    /// Asks, the best first.
    pub asks: Vec<DepthLevel>,
}

/// Which messages are of use; the others are told as [`Message::Other`], and need not be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// `trade`.
    pub trades: bool,
    /// `aggTrade`.
    pub agg_trades: bool,
    /// `bookTicker`.
    pub book_tickers: bool,
    /// Depth updates and snapshots.
    pub depth: bool,
    /// Messages that are not wrapped with the name of their stream.
    pub uncombined: bool,
}

impl Wanted {
    /// Every message.
    pub const ALL: Self = Self { trades: true, agg_trades: true, book_tickers: true, depth: true, uncombined: true };
    /// Trades and best prices of combined streams.
    pub const TRADES_AND_BEST_PRICES: Self =
        Self { trades: true, agg_trades: false, book_tickers: true, depth: false, uncombined: false };

    fn has(self, kind: &str, combined: bool) -> bool {
        let kind = match kind {
            "trade" => self.trades,
            "aggTrade" => self.agg_trades,
            "bookTicker" => self.book_tickers,
            "depth" | "depthUpdate" => self.depth,
            _ => false,
        };
        kind && (combined || self.uncombined)
    }
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// Not a JSON object.
    #[error("is not a JSON object: {0}")]
    Json(String),
    /// A field is missing, or of another type.
    #[error("is a {kind} without {wanted} as field `{field}`")]
    Field {
        /// What kind of message.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// An amount cannot be read.
    #[error("is a {kind} whose field `{field}` cannot be read: {why}")]
    Amount {
        /// What kind of message.
        kind: &'static str,
        /// The field's name.
        field: &'static str,
        /// Why.
        why: String,
    },
    /// The update ids of a depth update are not in order.
    #[error("is a depthUpdate whose first update id {first} is above its last, {last}")]
    Ids {
        /// `U`.
        first: u64,
        /// `u`.
        last: u64,
    },
}

impl StreamMessage {
    /// Reads one message, combined or raw.
    ///
    /// # Errors
    /// [`InvalidMessage`] where the text is no JSON object, or is wanted and lacks what its kind must have.
    pub fn parse(json_text: &str, wanted: Wanted) -> Result<Self, InvalidMessage> {
        let json = |error: serde_json::Error| InvalidMessage::Json(error.to_string());
        let Data(Some(outer)) = serde_json::from_str(json_text).map_err(json)? else {
            return Err(InvalidMessage::Json("it is another kind of value".to_owned()));
        };
        let Any::Text(stream) = &outer.stream else { return read(None, &outer, wanted) };
        match &outer.data {
            Some(Data(Some(data))) => read(Some(stream), data, wanted),
            _ => Ok(Self { symbol: None, combined: true, venue_time: None, message: Message::Other(shown(stream)) }),
        }
    }

    /// What it is in a few words, for people: `trade of BTCUSDT`, `depth snapshot`.
    #[must_use]
    pub fn describe(&self) -> String {
        let snapshot = self.message.kind() == SNAPSHOT;
        let uncombined = if self.combined || snapshot { "" } else { "uncombined " };
        let of = self.symbol.as_ref().map_or_else(String::new, |symbol| format!(" of {}", shown(symbol)));
        format!("{uncombined}{}{of}", self.message.kind())
    }
}

impl Message {
    /// The name of its kind, as the venue calls it.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Trade(_) => "trade",
            Self::AggTrade(_) => "aggTrade",
            Self::BookTicker(_) => "bookTicker",
            Self::DepthUpdate(_) => "depthUpdate",
            Self::DepthSnapshot(snapshot) if snapshot.partial => "partial depth",
            Self::DepthSnapshot(_) => SNAPSHOT,
            Self::Other(kind) => kind,
        }
    }
}

/// What a depth snapshot is called.
const SNAPSHOT: &str = "depth snapshot";

fn shown(text: &str) -> String {
    text.chars().take(24).collect()
}

fn read(stream: Option<&str>, fields: &Fields<'_>, wanted: Wanted) -> Result<StreamMessage, InvalidMessage> {
    let (stream_symbol, stream_kind) = match stream.map(|stream| stream.split_once('@').unwrap_or(("", stream))) {
        Some((symbol, kind)) => (Some(symbol), kind),
        None => (None, ""),
    };
    let partial = stream_kind.strip_prefix("depth").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let kind = kind_of(stream_kind, fields);
    let message = match (kind, partial) {
        (unwanted, _) if !wanted.has(unwanted, stream.is_some()) => {
            Message::Other(shown(if unwanted == "depth" { SNAPSHOT } else { unwanted }))
        }
        ("trade", _) => Message::Trade(trade(fields, "trade", "t", &fields.trade_id)?),
        ("aggTrade", _) => Message::AggTrade(trade(fields, "aggTrade", "a", &fields.asks_or_best)?),
        ("bookTicker", _) => Message::BookTicker(book_ticker(fields)?),
        ("depthUpdate", false) => Message::DepthUpdate(depth_update(fields)?),
        ("depthUpdate", true) => {
            let DepthUpdate { last, bids, asks, .. } = depth_update(fields)?;
            Message::DepthSnapshot(DepthSnapshot { last, partial, bids, asks })
        }
        ("depth", _) => Message::DepthSnapshot(depth_snapshot(fields, partial)?),
        (unknown, _) => Message::Other(shown(unknown)),
    };
    let symbol = fields.symbol().map(Cow::into_owned).or_else(|| {
        let symbol = stream_symbol.filter(|symbol| !symbol.is_empty())?;
        Some(symbol.to_uppercase())
    });
    let venue_time = fields.engine_time.whole().or(fields.event_time.whole());
    Ok(StreamMessage { symbol, combined: stream.is_some(), venue_time, message })
}

/// Of which kind it is: by its own word, else by its stream's name, else by its fields.
fn kind_of<'a>(stream_kind: &'a str, fields: &'a Fields<'_>) -> &'a str {
    let snapshot = matches!((&fields.last_update_id, &fields.bids), (Any::Whole(_), Any::Levels(_)));
    if let Any::Text(event) = &fields.event {
        return event;
    }
    match stream_kind {
        "trade" | "aggTrade" | "bookTicker" => stream_kind,
        _ if snapshot => "depth",
        _ if stream_kind == "depth" || stream_kind.starts_with("depth@") => "depthUpdate",
        _ if stream_kind.starts_with("depth") => "depth",
        "" if matches!((&fields.bids_or_best, &fields.bid_qty), (Any::Text(_), Any::Text(_))) => "bookTicker",
        "" => "something else",
        other => other,
    }
}

fn whole(kind: &'static str, field: &'static str, value: &Any<'_>) -> Result<u64, InvalidMessage> {
    value.whole().ok_or(InvalidMessage::Field { kind, field, wanted: "a whole number" })
}

fn amount(kind: &'static str, field: &'static str, value: &Any<'_>) -> Result<Decimal, InvalidMessage> {
    let Any::Text(text) = value else {
        return Err(InvalidMessage::Field { kind, field, wanted: "a decimal in quotes" });
    };
    decimal(kind, field, text)
}

fn decimal(kind: &'static str, field: &'static str, text: &str) -> Result<Decimal, InvalidMessage> {
    text.parse().map_err(|why| InvalidMessage::Amount { kind, field, why: format!("{why}") })
}

fn levels(kind: &'static str, field: &'static str, value: &Any<'_>) -> Result<Vec<DepthLevel>, InvalidMessage> {
    let Any::Levels(levels) = value else {
        return Err(InvalidMessage::Field { kind, field, wanted: "a list of [\"price\",\"quantity\"]" });
    };
    let level = |(price, qty): &(Cow<'_, str>, Cow<'_, str>)| {
        Ok(DepthLevel { price: decimal(kind, field, price)?, qty: decimal(kind, field, qty)? })
    };
    levels.iter().map(level).collect()
}

fn trade(
    fields: &Fields<'_>,
    kind: &'static str,
    id_field: &'static str,
    id: &Any<'_>,
) -> Result<Trade, InvalidMessage> {
    let (price, qty) = (amount(kind, "p", &fields.price)?, amount(kind, "q", &fields.qty)?);
    let Any::Truth(buyer_is_maker) = fields.buyer_is_maker else {
        return Err(InvalidMessage::Field { kind, field: "m", wanted: "true or false" });
    };
    let made = match &fields.made_by {
        Any::Absent => true,
        Any::Text(by) => by == "MARKET",
        _ => false,
    };
    Ok(Trade {
        id: whole(kind, id_field, id)?,
        time: whole(kind, "T", &fields.engine_time)?,
        price,
        qty,
        buyer_is_maker,
        by_orders: made && price.is_positive() && qty.is_positive(),
    })
}

fn book_ticker(fields: &Fields<'_>) -> Result<BookTicker, InvalidMessage> {
    const KIND: &str = "bookTicker";
    let size = |field, value: &Any<'_>| match value {
        Any::Absent => Ok(None),
        value => amount(KIND, field, value).map(Some),
    };
    Ok(BookTicker {
        update_id: whole(KIND, "u", &fields.last)?,
        bid: amount(KIND, "b", &fields.bids_or_best)?,
        bid_qty: size("B", &fields.bid_qty)?,
        ask: amount(KIND, "a", &fields.asks_or_best)?,
        ask_qty: size("A", &fields.ask_qty)?,
    })
}

fn depth_update(fields: &Fields<'_>) -> Result<DepthUpdate, InvalidMessage> {
    const KIND: &str = "depthUpdate";
    let (first, last) = (whole(KIND, "U", &fields.first)?, whole(KIND, "u", &fields.last)?);
    if first > last {
        return Err(InvalidMessage::Ids { first, last });
    }
    let previous = match &fields.previous {
        Any::Absent => None,
        value => Some(whole(KIND, "pu", value)?),
    };
    let (bids, asks) = (levels(KIND, "b", &fields.bids_or_best)?, levels(KIND, "a", &fields.asks_or_best)?);
    Ok(DepthUpdate { first, last, previous, bids, asks })
}

fn depth_snapshot(fields: &Fields<'_>, partial: bool) -> Result<DepthSnapshot, InvalidMessage> {
    const KIND: &str = SNAPSHOT;
    let last = whole(KIND, "lastUpdateId", &fields.last_update_id)?;
    let (bids, asks) = (levels(KIND, "bids", &fields.bids)?, levels(KIND, "asks", &fields.asks)?);
    Ok(DepthSnapshot { last, partial, bids, asks })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn level(price: &str, qty: &str) -> DepthLevel {
        DepthLevel { price: decimal(price), qty: decimal(qty) }
    }

    fn parse(json: &str) -> StreamMessage {
        StreamMessage::parse(json, Wanted::ALL).expect("a message")
    }

    fn combined(stream: &str, data: &str) -> String {
        format!(r#"{{"stream":"{stream}","data":{data}}}"#)
    }

    const SPOT_DEPTH: &str = r#"{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","0.00000000"]]}"#;
    const USDM_DEPTH: &str = r#"{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"s":"BTCUSDT","U":1200,"u":5557,"pu":1193,"b":[["58710.20","0.014"]],"a":[]}"#;

    #[test]
    fn a_depth_update_of_spot_has_no_previous_id_and_one_of_futures_has() {
        let read = parse(&combined("btcusdt@depth@100ms", SPOT_DEPTH));
        assert_eq!((read.symbol.as_deref(), read.venue_time), (Some("BTCUSDT"), Some(1_723_161_255_208)));
        let update = DepthUpdate {
            first: 157,
            last: 160,
            previous: None,
            bids: vec![level("0.0024", "10")],
            asks: vec![level("0.0026", "0")],
        };
        assert_eq!(read.message, Message::DepthUpdate(update));
        let read = parse(&combined("btcusdt@depth@0ms", USDM_DEPTH));
        assert_eq!(read.venue_time, Some(1_723_161_256_298), "the engine's time comes first");
        let Message::DepthUpdate(update) = read.message else { panic!("a depth update") };
        assert_eq!((update.first, update.last, update.previous), (1200, 5557, Some(1193)));
        // COIN-M adds the pair, and its symbols have a suffix.
        let coin = USDM_DEPTH.replace(r#""s":"BTCUSDT""#, r#""s":"BTCUSD_PERP","ps":"BTCUSD""#);
        assert_eq!(parse(&combined("btcusd_perp@depth", &coin)).symbol.as_deref(), Some("BTCUSD_PERP"));
    }

    #[test]
    fn a_snapshot_is_of_rest_or_of_a_partial_stream() {
        let rest = r#"{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12"]]}"#;
        let read = parse(rest);
        assert_eq!((read.symbol, read.combined, read.venue_time), (None, false, None));
        let Message::DepthSnapshot(snapshot) = read.message else { panic!("a snapshot") };
        assert_eq!((snapshot.last, snapshot.partial), (1_027_024, false));
        assert_eq!((snapshot.bids, snapshot.asks), (vec![level("4", "431")], vec![level("4.000002", "12")]));
        let usdm = r#"{"lastUpdateId":7,"E":1589436922972,"T":1589436922959,"bids":[],"asks":[]}"#;
        assert_eq!(parse(usdm).venue_time, Some(1_589_436_922_959));
        let coin = r#"{"lastUpdateId":7,"symbol":"BTCUSD_PERP","pair":"BTCUSD","E":1,"T":2,"bids":[],"asks":[]}"#;
        assert_eq!(parse(coin).symbol.as_deref(), Some("BTCUSD_PERP"));
        // Spot's partial stream has the shape of REST, that of futures the shape of an update.
        for (stream, data, last) in [("btcusdt@depth20@100ms", rest, 1_027_024), ("btcusdt@depth5", USDM_DEPTH, 5_557)]
        {
            let read = parse(&combined(stream, data));
            assert_eq!(read.symbol.as_deref(), Some("BTCUSDT"));
            let Message::DepthSnapshot(snapshot) = read.message else { panic!("a snapshot") };
            assert_eq!((snapshot.last, snapshot.partial), (last, true));
        }
    }

    #[test]
    fn best_prices_come_with_their_sizes() {
        let spot = r#"{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21","a":"25.36520000","A":"40.66"}"#;
        let usdm = spot.replacen('{', r#"{"e":"bookTicker","T":5,"E":6,"#, 1);
        let ticker = BookTicker {
            update_id: 400_900_217,
            bid: decimal("25.3519"),
            bid_qty: Some(decimal("31.21")),
            ask: decimal("25.3652"),
            ask_qty: Some(decimal("40.66")),
        };
        for (json, time) in [
            (combined("bnbusdt@bookTicker", spot), None),
            (spot.to_owned(), None),
            (combined("bnbusdt@bookTicker", &usdm), Some(5)),
            (usdm.clone(), Some(5)),
        ] {
            let read = parse(&json);
            assert_eq!(read.message, Message::BookTicker(ticker.clone()), "{json}");
            assert_eq!((read.symbol.as_deref(), read.venue_time), (Some("BNBUSDT"), time));
        }
    }

    #[test]
    fn trades_and_aggregates_are_told_apart() {
        let old = r#"{"e":"trade","E":5,"s":"A","t":7,"p":"61683.99000000","q":"0.00025000","b":88,"a":50,"T":4,"m":true,"M":true}"#;
        let Message::Trade(trade) = parse(old).message else { panic!("a trade") };
        assert_eq!((trade.id, trade.time, trade.buyer_is_maker, trade.by_orders), (7, 4, true, true));
        assert_eq!((trade.price, trade.qty), (decimal("61683.99"), decimal("0.00025")));
        let agg = r#"{"e":"aggTrade","E":5,"s":"A","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":4,"m":false}"#;
        let read = parse(&combined("a@aggTrade", agg));
        let Message::AggTrade(trade) = &read.message else { panic!("an aggregate") };
        assert_eq!((trade.id, trade.buyer_is_maker), (12_345, false));
        assert_eq!(read.describe(), "aggTrade of A");
    }

    #[test]
    fn only_what_two_orders_made_is_told_as_such() {
        let by_orders = |p: &str, q: &str, more: &str| {
            let json = format!(r#"{{"e":"trade","s":"A","t":7,"p":"{p}","q":"{q}","T":4,"m":true{more}}}"#);
            matches!(parse(&json).message, Message::Trade(Trade { by_orders: true, .. }))
        };
        assert!(by_orders("1", "1", "") && by_orders("1", "1", r#","X":"MARKET""#));
        assert!(!by_orders("1", "1", r#","X":"NA""#) && !by_orders("1", "1", r#","X":"INSURANCE_FUND""#));
        assert!(!by_orders("1", "1", r#","X":7"#));
        assert!(!by_orders("1", "0", "") && !by_orders("0", "1", "") && !by_orders("1", "-1", ""));
    }

    #[test]
    fn what_is_of_no_use_is_other_whatever_its_form() {
        for (json, kind) in [
            (combined("!miniTicker@arr", r#"[{"e":"24hrMiniTicker","s":7}]"#), "!miniTicker@arr"),
            (combined("a@kline_1m", r#"{"e":"kline","s":"A","k":{"t":[1,[2]]}}"#), "kline"),
            (combined("a@markPrice", r#"{"e":"markPriceUpdate","s":"A","p":1.5,"T":-1}"#), "markPriceUpdate"),
            (r#"{"result":null,"id":1}"#.to_owned(), "something else"),
            (r#"{"code":-1003,"msg":"Too many requests."}"#.to_owned(), "something else"),
            (combined("btcusdt@x", "null"), "btcusdt@x"),
            (combined("btcusdt@x", "{}"), "x"),
            ("{}".to_owned(), "something else"),
        ] {
            let read = parse(&json);
            assert_eq!(read.message, Message::Other(kind.to_owned()), "{json}");
        }
    }

    #[test]
    fn what_is_not_wanted_need_not_be_whole() {
        let kind = |json: &str| StreamMessage::parse(json, Wanted::TRADES_AND_BEST_PRICES).map(|read| read.describe());
        assert_eq!(kind(r#"{"stream":"a@depth@100ms","data":{}}"#).as_deref(), Ok("depthUpdate of A"));
        assert_eq!(kind(r#"{"stream":"a@aggTrade","data":{"s":"A"}}"#).as_deref(), Ok("aggTrade of A"));
        assert_eq!(kind(r#"{"e":"trade","s":"A"}"#).as_deref(), Ok("uncombined trade of A"));
        assert_eq!(kind(r#"{"lastUpdateId":5,"bids":[],"asks":[]}"#).as_deref(), Ok("depth snapshot"));
        assert!(kind(r#"{"stream":"a@trade","data":{}}"#).is_err());
    }

    #[test]
    fn what_lacks_a_field_says_which() {
        for (json, wanted) in [
            (r#"{"e":"trade","s":"A","p":"1"}"#, "is a trade without a decimal in quotes as field `q`"),
            (
                r#"{"e":"trade","s":"A","p":"1","q":1.5,"m":true,"t":1,"T":1}"#,
                "is a trade without a decimal in quotes as field `q`",
            ),
            (r#"{"e":"bookTicker","s":"A","b":"1"}"#, "is a bookTicker without a whole number as field `u`"),
            (r#"{"e":"depthUpdate","U":5,"u":4}"#, "is a depthUpdate whose first update id 5 is above its last, 4"),
            (
                r#"{"e":"depthUpdate","U":4,"u":5,"b":[["1"]],"a":[]}"#,
                r#"is a depthUpdate without a list of ["price","quantity"] as field `b`"#,
            ),
            (
                r#"{"e":"depthUpdate","U":4,"u":5,"b":[["x","1"]],"a":[]}"#,
                "is a depthUpdate whose field `b` cannot be read: 'x' is not a decimal number such as 0.01",
            ),
            (r#"{"stream":"a@depth@100ms","data":{}}"#, "is a depthUpdate without a whole number as field `U`"),
            ("[]", "is not a JSON object: "),
            ("{", "is not a JSON object: "),
        ] {
            let error = StreamMessage::parse(json, Wanted::ALL).expect_err("no message").to_string();
            assert!(error.starts_with(wanted), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_panic(text in ".{0,80}", cut in 0..200usize, put in any::<char>()) {
            let _ = StreamMessage::parse(&text, Wanted::ALL);
            let mut json: Vec<char> = combined("btcusdt@depth@0ms", USDM_DEPTH).chars().collect();
            let at = cut % json.len();
            json[at] = put;
            let json: String = json.into_iter().collect();
            if let Ok(read) = StreamMessage::parse(&json, Wanted::ALL) {
                prop_assert!(!read.describe().is_empty());
            }
        }
    }
}
