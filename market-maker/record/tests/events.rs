//! Captures of every kind, whole and broken, and what is told of them.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use quorate_binance_api::streams::Wanted;
use quorate_domain::{Price, Qty, Side};
use quorate_market_data::{Applied, Gap, L2Book, Level, MarketEvent, Scale, Snapshot, Stamped, Top, Trade};
use quorate_record::{CaptureEvents, OddLots, Settings, Skip, Summary, TimeUnit};

/// 2024-08-08, in nanoseconds.
const START: u64 = 1_723_161_253_000_000_000;

fn settings(symbol: &str) -> Settings {
    let decimal = |text: &str| text.parse().expect("a decimal");
    let scale = Scale::new(decimal("0.01"), decimal("0.001")).expect("steps");
    Settings { symbol: symbol.to_owned(), scale, odd_lots: OddLots::Refuse, wanted: Wanted::ALL, time_unit: None }
}

struct Read {
    events: Vec<(u64, Stamped<MarketEvent>)>,
    warnings: Vec<String>,
    summary: Summary,
    error: Option<String>,
}

fn read_as(bytes: &[u8], settings: Settings) -> Read {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("capture");
    std::fs::write(&path, bytes).expect("written");
    let mut reader = CaptureEvents::open(&path, settings).expect("a file");
    let (mut events, mut error) = (Vec::new(), None);
    for event in &mut reader {
        match event {
            Ok(event) => events.push((event.line, event.event)),
            Err(wrong) => error = Some(wrong.to_string()),
        }
    }
    assert!(reader.next().is_none(), "an end is an end");
    let place = format!("{}/", dir.path().display());
    let local = |text: String| text.replace(&place, "");
    let warnings = reader.take_warnings().iter().map(|warning| local(warning.to_string())).collect();
    Read { events, warnings, summary: reader.summary().clone(), error: error.map(local) }
}

fn read(text: &str) -> Read {
    read_as(text.as_bytes(), settings("BTCUSDT"))
}

fn refused(text: &str) -> String {
    read(text).error.expect("an error")
}

/// A line at so many milliseconds after the start.
fn line(ms: u64, json: &str) -> String {
    format!("{} {json}\n", START + ms * 1_000_000)
}

fn of_stream(ms: u64, stream: &str, data: &str) -> String {
    line(ms, &format!(r#"{{"stream":"{stream}","data":{data}}}"#))
}

fn trade(ms: u64, symbol: &str, more: &str) -> String {
    let data = format!(
        r#"{{"e":"trade","E":1723161253001,"s":"{symbol}","t":7,"p":"100.02","q":"0.015","T":1723161253000,"m":true{more}}}"#
    );
    of_stream(ms, &format!("{}@trade", symbol.to_lowercase()), &data)
}

fn ticker(ms: u64, bid: &str, ask: &str) -> String {
    let data = format!(r#"{{"u":5,"s":"BTCUSDT","b":"{bid}","B":"1","a":"{ask}","A":"2.5"}}"#);
    of_stream(ms, "btcusdt@bookTicker", &data)
}

fn depth(ms: u64, symbol: &str, first: u64, last: u64, bids: &str) -> String {
    let data =
        format!(r#"{{"e":"depthUpdate","E":1723161253001,"s":"{symbol}","U":{first},"u":{last},"b":{bids},"a":[]}}"#);
    of_stream(ms, &format!("{}@depth@100ms", symbol.to_lowercase()), &data)
}

const SNAPSHOT: &str = r#"{"lastUpdateId":10,"bids":[["100.00","1.5"]],"asks":[["100.02","2"]]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("packed");
    packed.finish().expect("packed")
}

#[test]
fn every_kind_becomes_an_event_with_its_two_times() {
    let text = depth(1, "BTCUSDT", 9, 11, r#"[["100.00","0"]]"#)
        + &line(2, SNAPSHOT)
        + &ticker(3, "100.00", "100.02")
        + &trade(4, "BTCUSDT", "");
    let Read { events, warnings, summary, error } = read(&text);
    assert_eq!((error, warnings), (None, Vec::new()));
    let level = |price, qty| Level { price: Price(price), qty: Qty(qty) };
    let stamps: Vec<_> =
        events.iter().map(|(line, event)| (*line, event.seq, event.local_ns - START, event.venue_ns)).collect();
    assert_eq!(
        stamps,
        [
            (1, 1, 1_000_000, Some(START + 1_000_000)),
            (2, 2, 2_000_000, None),
            (3, 3, 3_000_000, None),
            (4, 4, 4_000_000, Some(START)),
        ]
    );
    let (bids, asks) = (vec![level(10_000, 1_500)], vec![level(10_002, 2_000)]);
    assert_eq!(events[1].1.what, MarketEvent::Snapshot(Snapshot { last: 10, partial: false, bids, asks }));
    let top = Top { update_id: 5, bid: level(10_000, 1_000), ask: level(10_002, 2_500) };
    assert_eq!(events[2].1.what, MarketEvent::Top(top));
    let sold = Trade { id: 7, price: Price(10_002), qty: Qty(15), aggressor: Side::Sell };
    assert_eq!(events[3].1.what, MarketEvent::Trade(sold));
    assert_eq!(summary.to_string(), "4 lines: 1 snapshots, 1 deltas, 1 best prices, 1 trades");
    let mut book = L2Book::default();
    assert_eq!(book.apply(&events[0].1.what), Applied::Waits);
    assert_eq!(book.apply(&events[1].1.what), Applied::Synced { followed: 1 });
    // Compressed, and called by whatever name, it is the same.
    assert_eq!(read_as(&gzip(text.as_bytes()), settings("BTCUSDT")).events, events);
}

#[test]
fn raw_messages_are_the_same_as_combined_ones() {
    let combined = trade(1, "BTCUSDT", "") + &depth(2, "BTCUSDT", 1, 2, "[]") + &ticker(3, "1", "2");
    let raw: String = combined
        .lines()
        .map(|line| {
            let (time, json) = line.split_once(' ').expect("a time");
            let (_, data) = json.split_once(r#""data":"#).expect("combined");
            format!("{time} {}\n", data.strip_suffix('}').expect("wrapped"))
        })
        .collect();
    assert!(!raw.contains("stream"));
    assert_eq!(read(&raw).events, read(&combined).events);
    assert_eq!(read(&raw).summary.events(), 3);
}

#[test]
fn what_gives_no_event_is_counted_by_reason() {
    let text = trade(1, "BTCUSDT", "")
        + &trade(2, "BTCUSDT", r#","X":"NA""#)
        + &trade(3, "BTCUSDT", r#","X":"INSURANCE_FUND""#)
        + &trade(4, "BTCUSDT", "").replace("0.015", "0")
        + &trade(5, "ETHUSDT", "")
        + &trade(6, "BTCUSDT", "").replace(r#""e":"trade""#, r#""e":"aggTrade","a":3"#)
        + &ticker(7, "0", "100.02")
        + &ticker(8, "100.03", "100.02")
        + &ticker(9, "100.02", "100.02")
        + &ticker(10, "1", "2").replace(r#""B":"1","#, "")
        + &of_stream(11, "btcusdt@kline_1m", r#"{"e":"kline","s":"BTCUSDT"}"#);
    let Read { events, summary, error, warnings } = read(&text);
    assert_eq!((events.len(), error, warnings), (1, None, Vec::new()));
    let skipped: Vec<_> = summary.skipped.iter().map(|(why, count)| (*why, *count)).collect();
    assert_eq!(
        skipped,
        [
            (Skip::OtherSymbol, 1),
            (Skip::OtherKind, 1),
            (Skip::NotByOrders, 3),
            (Skip::ToldTwice, 1),
            (Skip::NotPositive, 1),
            (Skip::Crossed, 2),
            (Skip::WithoutSizes, 1),
        ]
    );
    assert_eq!(summary.lines, summary.events() + summary.skipped.values().sum::<u64>());
}

#[test]
fn a_file_without_what_is_wanted_says_what_it_holds() {
    assert_eq!(refused(""), "capture: capture: is empty");
    let other = trade(1, "ETHUSDT", "") + &trade(2, "BNBUSDT", "");
    assert_eq!(refused(&other), "capture: capture: holds nothing of BTCUSDT; it holds BNBUSDT, ETHUSDT");
    let klines = of_stream(1, "btcusdt@kline_1m", r#"{"e":"kline","s":"BTCUSDT"}"#);
    assert_eq!(
        refused(&(klines.repeat(2) + &trade(2, "BTCUSDT", r#","X":"NA""#))),
        "capture: capture: holds nothing of use of BTCUSDT; it holds 2 lines of kline of BTCUSDT, 1 line of trade of BTCUSDT \
         by no orders"
    );
    let wanted = Wanted { trades: false, ..Wanted::ALL };
    let trades = read_as(trade(1, "BTCUSDT", "").as_bytes(), Settings { wanted, ..settings("BTCUSDT") });
    assert_eq!(
        trades.error.expect("nothing"),
        "capture: capture: holds nothing of use of BTCUSDT; it holds 1 line of trade of BTCUSDT"
    );
    let answers = line(1, r#"{"result":null,"id":1}"#);
    assert_eq!(
        refused(&answers),
        "capture: capture: holds nothing of use of BTCUSDT; it holds 1 line of uncombined something else"
    );
    let many: String = (0..40).map(|n| trade(n, &format!("S{n:02}"), "")).collect();
    assert!(refused(&many).ends_with("S10, S11, others"), "{}", refused(&many));
}

#[test]
fn a_torn_end_is_the_end_with_a_warning() {
    let two = trade(1, "BTCUSDT", "").repeat(2);
    let torn = |bytes: &[u8]| {
        let Read { events, warnings, summary, error } = read_as(bytes, settings("BTCUSDT"));
        assert_eq!((events.len(), error, summary.torn), (2, None, true));
        assert!(summary.to_string().ends_with("; torn"), "{summary}");
        assert_eq!(warnings.len(), 1);
        warnings[0].clone()
    };
    let half = torn(&[two.as_bytes(), b"17231 {\"str"].concat());
    assert!(half.starts_with("capture:3: is not a JSON object: EOF"), "{half}");
    assert!(half.ends_with(": the file ends here, as if it had been torn off"), "{half}");
    let garbage = torn(&[gzip(two.as_bytes()), b"garbage".to_vec()].concat());
    assert!(garbage.starts_with("capture:3: bytes that are not of it follow the compressed data"), "{garbage}");
    let cut = [gzip(two.as_bytes()), gzip(two.as_bytes())[..14].to_vec()].concat();
    assert!(torn(&cut).starts_with("capture:3: "));
    let at_once = read_as(&gzip(two.as_bytes())[..14], settings("BTCUSDT"));
    assert!(at_once.error.expect("nothing").contains("holds no whole line"));
    assert_eq!(at_once.warnings.len(), 1);
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_lines_and_says_that_it_is_torn() {
    let text = depth(1, "BTCUSDT", 9, 11, "[]") + &line(2, SNAPSHOT) + &trade(3, "BTCUSDT", "");
    let whole = read(&text).events;
    for cut in 0..text.len() {
        let head = &text[..cut];
        let full = head.matches('\n').count();
        // The last line break is not needed.
        let open = &head[head.rfind('\n').map_or(0, |at| at + 1)..];
        let full = full + usize::from(text[cut..].starts_with('\n'));
        let Read { events, warnings, summary, error } = read(head);
        assert_eq!(events, whole[..full], "{cut}");
        let torn = !open.is_empty() && !text[cut..].starts_with('\n');
        assert_eq!(error.is_some(), full == 0, "{cut}: {error:?}");
        assert_eq!((summary.torn, warnings.len()), (torn && full > 0, usize::from(torn && full > 0)), "{cut}");
        assert!(warnings.iter().all(|warning| warning.starts_with(&format!("capture:{}: ", full + 1))), "{warnings:?}");
    }
    let packed = gzip(text.as_bytes());
    for cut in 0..packed.len() {
        let Read { events, warnings, summary, error } = read_as(&packed[..cut], settings("BTCUSDT"));
        assert_eq!(events, whole[..events.len()], "{cut}");
        assert_eq!(error.is_some(), events.is_empty(), "{cut}: {error:?}");
        assert!((summary.torn && warnings.len() == 1) || cut < 2, "{cut}: {error:?}");
    }
}

#[test]
fn a_bad_line_in_the_middle_ends_the_reading_with_an_error() {
    let good = trade(1, "BTCUSDT", "");
    let Read { events, error, .. } = read(&format!("{good}{}\n{good}", "1723161253000000000 {"));
    assert_eq!(events.len(), 1);
    assert!(error.expect("damage").starts_with("capture: capture:2: is not a JSON object"));
}

#[test]
fn amounts_that_are_no_whole_steps_are_errors_and_never_rounded() {
    let off = |from: &str, to: &str| refused(&trade(1, "BTCUSDT", "").replace(from, to));
    assert_eq!(
        off("100.02", "100.025"),
        "capture: capture:1: BTCUSDT: the price 100.025 is no whole number of ticks of 0.01: take the symbol's own tick and \
         lot sizes"
    );
    assert!(off("0.015", "0.0155").contains("the quantity 0.0155 is no whole number of lots of 0.001"));
    assert!(refused(&depth(1, "BTCUSDT", 1, 2, r#"[["-1","1"]]"#)).contains("the price -1 is not between 1 and"));
    assert!(refused(&depth(1, "BTCUSDT", 1, 2, r#"[["1","-1"]]"#)).contains("the quantity -1 is below 0"));
    let crossed = line(1, &SNAPSHOT.replace("100.00", "100.02"));
    assert_eq!(
        refused(&crossed),
        "capture: capture:1: BTCUSDT: the depth snapshot is crossed: its best bid, 100.02, is not below its best ask, 100.02"
    );
}

#[test]
fn parts_of_lots_are_left_out_where_that_is_asked_for_and_counted() {
    let text = depth(1, "BTCUSDT", 1, 2, r#"[["1","25.4261895"],["2","0.0004"],["3","1"]]"#)
        + &trade(2, "BTCUSDT", "").replace("0.015", "0.0004")
        + &trade(3, "BTCUSDT", "").replace("0.015", "0.0155");
    assert!(refused(&text).contains("capture:1: BTCUSDT: the quantity 25.4261895 is no whole number of lots of 0.001"));
    let odd = Settings { odd_lots: OddLots::LeaveOut, ..settings("BTCUSDT") };
    let Read { events, warnings, summary, error } = read_as(text.as_bytes(), odd);
    assert_eq!((error, summary.odd_lots, summary.skipped[&Skip::LessThanALot]), (None, 3, 1));
    let MarketEvent::Delta(delta) = &events[0].1.what else { panic!("a delta") };
    assert_eq!(delta.bids.iter().map(|level| level.qty.0).collect::<Vec<_>>(), [25_426, 0, 1_000]);
    let MarketEvent::Trade(trade) = &events[1].1.what else { panic!("a trade") };
    assert_eq!(trade.qty, Qty(15));
    assert_eq!(
        warnings,
        ["capture:1: a quantity is no whole number of lots: the part of a lot is left out, and so are later ones"]
    );
}

#[test]
fn times_in_another_unit_are_taken_as_such_where_there_is_no_doubt() {
    let ns = trade(0, "BTCUSDT", "") + &trade(1_000, "BTCUSDT", "");
    let events = read(&ns).events;
    for (unit, digits) in [(TimeUnit::Micros, 3), (TimeUnit::Millis, 6), (TimeUnit::Seconds, 9)] {
        let text: String = ns
            .lines()
            .map(|line| {
                let (time, json) = line.split_once(' ').expect("a time");
                format!("{} {json}\n", &time[..time.len() - digits])
            })
            .collect();
        let Read { events: read, warnings, error, .. } = read(&text);
        assert_eq!((read, error), (events.clone(), None), "{unit}");
        assert_eq!(warnings, [format!("capture:1: times are in {unit}: they are taken as such")]);
    }
    let seconds = ticker(0, "1", "2").replace(&START.to_string(), "1723161253");
    let doubt = refused(&seconds);
    assert!(
        doubt.starts_with("capture: capture:1: 1723161253 may be seconds since 1970 or nanoseconds since"),
        "{doubt}"
    );
    let named = Settings { time_unit: Some(TimeUnit::Seconds), ..settings("BTCUSDT") };
    assert_eq!(read_as(seconds.as_bytes(), named).events[0].1.local_ns, START);
    let mixed = ns.clone() + &trade(2_000, "BTCUSDT", "").replace("000000000 {", "000 {");
    assert_eq!(
        refused(&mixed),
        "capture: capture:3: 1723161255000 is a time in milliseconds, and the lines before it are in nanoseconds: cut the file \
         in two here"
    );
}

#[test]
fn times_that_go_back_or_leap_are_told() {
    let at = |ms| trade(ms, "BTCUSDT", "");
    let Read { events, warnings, summary, error } = read(&(at(900) + &at(500) + &at(400) + &at(1_000)));
    let times: Vec<_> = events.iter().map(|(_, event)| (event.local_ns - START) / 1_000_000).collect();
    assert_eq!((times, error, summary.backwards), (vec![900, 900, 900, 1_000], None, 2));
    assert_eq!(
        warnings,
        [
            "capture:2: time goes back by 400 ms: the message is taken as of the latest time before it, and so are later ones \
          like it"
        ]
    );
    let unsorted = read(&(at(5_000) + &at(1)));
    assert_eq!(unsorted.events.len(), 1);
    assert_eq!(
        unsorted.error.expect("unsorted"),
        "capture: capture:2: time goes back by 4 s here: the file is not sorted by time, or was put together in the wrong order"
    );
    let decades = at(0) + &at(54 * 365 * 86_400_000);
    assert_eq!(
        refused(&decades),
        "capture: capture:2: time leaps ahead by 54 years here: the recorder's clock was set, or two captures were joined"
    );
    let Read { events, warnings, summary, .. } = read(&(at(0) + &at(700_000) + &at(1_400_000)));
    assert_eq!((events.len(), summary.pauses), (3, 2));
    assert_eq!(warnings, ["capture:2: nothing was recorded for 700 s: later pauses are counted only"]);
}

#[test]
fn a_snapshot_without_a_symbol_is_the_symbols_own_until_another_book_is_there() {
    let own = read(&(line(1, SNAPSHOT) + &trade(2, "ETHUSDT", "")));
    assert_eq!((own.summary.snapshots, own.error), (1, None));
    let text = depth(1, "BTCUSDT", 11, 11, "[]") + &depth(2, "ETHUSDT", 5, 6, "[]") + &line(3, SNAPSHOT).repeat(2);
    let Read { summary, warnings, .. } = read(&text);
    assert_eq!((summary.snapshots, summary.deltas, summary.skipped[&Skip::SnapshotOfNobody]), (0, 1, 2));
    assert_eq!(
        warnings,
        [
            "capture:3: a depth snapshot names no symbol, and the file holds the depth of several: it is left out, and so are \
          later ones like it"
        ]
    );
}

#[test]
fn a_gap_in_a_file_ends_its_book_until_the_next_snapshot() {
    let text = line(1, SNAPSHOT)
        + &depth(2, "BTCUSDT", 11, 12, r#"[["100.01","3"]]"#)
        + &depth(3, "BTCUSDT", 14, 15, "[]")
        + &line(4, &SNAPSHOT.replace("10,", "15,"));
    let mut book = L2Book::default();
    let applied: Vec<_> = read(&text).events.iter().map(|(_, event)| book.apply(&event.what)).collect();
    let gap = Applied::Gap(Gap { at: 12, after: 13 });
    assert_eq!(applied, [Applied::Synced { followed: 0 }, Applied::Changed, gap, Applied::Synced { followed: 0 }]);
    assert_eq!(book.best(Side::Buy), Some(Level { price: Price(10_000), qty: Qty(1_500) }));
}
