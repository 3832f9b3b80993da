//! The recorded files: after each depth update the book that was put together has the best bid and ask, in price and size,
//! of the newest `bookTicker` whose update id is not above the book's: every change of the best is told. The files stay where
//! they are; where there are none, only the file that is made here is looked at.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use quorate_binance_api::streams::Wanted;
use quorate_domain::Side;
use quorate_market_data::{Applied, L2Book, Level, MarketEvent, Scale};
use quorate_record::{CaptureEvents, OddLots, Settings, Summary};

#[derive(Debug, Default, PartialEq, Eq)]
struct Checked {
    /// Books whose best was told at or before their update id.
    compared: usize,
    /// Of these, books whose best was told at their very update id.
    at_once: usize,
    gaps: usize,
    crossed: usize,
    synced: usize,
}

type Best = (Option<Level>, Option<Level>);

/// Puts the book together, and compares its best prices to those that were told.
fn check(path: &Path, symbol: &str, tick: &str, lot: &str) -> (Checked, Summary) {
    let decimal = |text: &str| text.parse().expect("a decimal");
    let scale = Scale::new(decimal(tick), decimal(lot)).expect("steps");
    let settings = Settings {
        symbol: symbol.to_owned(),
        scale,
        odd_lots: OddLots::LeaveOut,
        wanted: Wanted::ALL,
        time_unit: None,
    };
    let mut reader = CaptureEvents::open(path, settings).expect("a file");
    let mut book = L2Book::default();
    let mut checked = Checked::default();
    let (mut told, mut built): (BTreeMap<u64, Best>, BTreeMap<u64, Best>) = Default::default();
    let mut latest = 0;
    for event in &mut reader {
        let event = event.expect("whole").event;
        assert!(event.local_ns >= latest);
        latest = event.local_ns;
        if let MarketEvent::Top(top) = &event.what {
            told.insert(top.update_id, (Some(top.bid), Some(top.ask)));
        }
        match book.apply(&event.what) {
            Applied::Gap(_) => checked.gaps += 1,
            Applied::Synced { .. } => checked.synced += 1,
            Applied::Changed => {}
            _ => continue,
        }
        checked.crossed += usize::from(book.is_crossed());
        if let Some(at) = book.update_id() {
            built.insert(at, (book.best(Side::Buy), book.best(Side::Sell)));
        }
    }
    // Of nothing but the few orders that are older than the symbol's lot.
    assert_eq!(reader.take_warnings().len(), usize::from(reader.summary().odd_lots > 0));
    for (at, best) in &built {
        if let Some((told_at, told)) = told.range(..=at).next_back() {
            assert_eq!(best, told, "at update {at}, told at {told_at}");
            checked.compared += 1;
            checked.at_once += usize::from(told_at == at);
        }
    }
    (checked, reader.summary().clone())
}

fn recorded(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/binance").join(name);
    if path.exists() {
        return Some(path);
    }
    // Past the test harness, which keeps to itself what a test that passes prints.
    writeln!(std::io::stderr(), "SKIPPED the recorded file: none at {}", path.display()).expect("stderr");
    None
}

fn holds(name: &str, symbol: &str, tick: &str, lot: &str, compared: [usize; 2], events: [u64; 5]) {
    let Some(path) = recorded(name) else { return };
    let (checked, summary) = check(&path, symbol, tick, lot);
    let [compared, at_once] = compared;
    assert_eq!(checked, Checked { compared, at_once, gaps: 0, crossed: 0, synced: 1 });
    assert_eq!([summary.snapshots, summary.deltas, summary.tops, summary.trades, summary.odd_lots], events);
    assert_eq!(summary.lines, summary.events(), "nothing was left out: {summary}");
}

#[test]
fn spot_btcusdt() {
    holds("spot-btcusdt_20240808.gz", "BTCUSDT", "0.01", "0.00001", [3_449, 564], [1, 3_451, 28_040, 9_757, 3]);
}

#[test]
fn spot_ethusdt() {
    holds("spot-ethusdt_20240808.gz", "ETHUSDT", "0.01", "0.0001", [3_433, 577], [1, 3_434, 24_077, 6_106, 2]);
}

#[test]
fn usdm_btcusdt() {
    holds("usdm-btcusdt_20240808.gz", "BTCUSDT", "0.1", "0.001", [6_546, 629], [1, 6_551, 66_089, 21_313, 0]);
}

#[test]
fn a_small_capture_of_coin_margined_futures() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("capture");
    let mut text = String::new();
    let line = |at: u64, json: String| format!("{} {json}\n", 1_723_161_253_000_000_000 + at);
    let mut previous = 990;
    for at in 0..40u64 {
        let (first, last) = (previous + 3, previous + 7);
        let (bid, ask) = (600_000 + at % 5, 600_010 + at % 7);
        let levels = |price: u64, old: u64| format!(r#"[["{old}.0","0"],["{price}.0","{}"]]"#, at + 1);
        // What was the best is taken away, and the next comes.
        let (old_bid, old_ask) = (600_000 + (at + 4) % 5, 600_010 + (at + 6) % 7);
        text += &line(
            at,
            format!(
                r#"{{"stream":"btcusd_perp@depth","data":{{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSD_PERP","ps":"BTCUSD","U":{first},"u":{last},"pu":{previous},"b":{},"a":{}}}}}"#,
                levels(bid, old_bid),
                levels(ask, old_ask),
            ),
        );
        text += &line(
            at,
            format!(
                r#"{{"stream":"btcusd_perp@bookTicker","data":{{"e":"bookTicker","u":{last},"s":"BTCUSD_PERP","ps":"BTCUSD","b":"{bid}.0","B":"{0}","a":"{ask}.0","A":"{0}","T":1,"E":1}}}}"#,
                at + 1,
            ),
        );
        if at == 9 {
            let bids = format!(r#"[["{bid}.0","10"]]"#);
            let asks = format!(r#"[["{ask}.0","10"]]"#);
            let json =
                r#"{"lastUpdateId":LAST,"E":1,"T":1,"symbol":"BTCUSD_PERP","pair":"BTCUSD","bids":BIDS,"asks":ASKS}"#;
            let json = json.replace("LAST", &last.to_string()).replace("BIDS", &bids).replace("ASKS", &asks);
            text += &line(at, json);
        }
        previous = last;
    }
    std::fs::write(&path, &text).expect("written");
    let (checked, summary) = check(&path, "BTCUSD_PERP", "0.1", "1");
    // The snapshot, the delta of the same id that waited, and thirty more.
    assert_eq!(checked, Checked { compared: 31, at_once: 31, gaps: 0, crossed: 0, synced: 1 });
    assert_eq!((summary.deltas, summary.tops), (40, 40));
    // Without one of its deltas the book ends there, and nothing is compared any more.
    let lost: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != 41).map(|(_, line)| line).collect();
    std::fs::write(&path, lost.join("\n")).expect("written");
    let (checked, _) = check(&path, "BTCUSD_PERP", "0.1", "1");
    assert_eq!((checked.gaps, checked.compared), (1, 11));
}
