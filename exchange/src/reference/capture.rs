//! The best prices of a recorded file, in the order of their update ids and at the pace of the recorder's clock. Where
//! that clock jumps, in either direction, no time passes, and the file goes on from there.

use std::{path::Path, time::Duration};

use quorate_binance_api::{
    reference::{Believed, Doubt, Given, Stamp},
    streams::{BookTicker, Message, Wanted},
};
use quorate_domain::{Decimal, Symbol};
use quorate_record::{CaptureError, CaptureLines, TimeUnit, venue_ns};

/// Longest gap between two messages that is kept. A longer one is passed over, for the recorder stood still or its clock
/// jumped.
const GAP_MAX: Duration = Duration::from_secs(600);
/// How far the recorder's clock may go back and still count as the same: then no time passes until it has caught up.
const BACK_MAX: Duration = Duration::from_secs(1);

/// The recorder's clock without its jumps.
#[derive(Debug, Default)]
struct Pace {
    latest_ns: Option<u64>,
    offset: Duration,
}

impl Pace {
    /// How long after the first message the one of `local_ns` came; the flag says that the clock has jumped before it.
    fn at(&mut self, local_ns: u64) -> (Duration, bool) {
        let latest_ns = *self.latest_ns.get_or_insert(local_ns);
        let ahead = Duration::from_nanos(local_ns.saturating_sub(latest_ns));
        let back = Duration::from_nanos(latest_ns.saturating_sub(local_ns));
        let jumped = ahead > GAP_MAX || back > BACK_MAX;
        if !jumped {
            self.offset += ahead;
        }
        self.latest_ns = Some(if jumped { local_ns } else { local_ns.max(latest_ns) });
        (self.offset, jumped)
    }
}

/// A sign of life of the recorded market: its price from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    /// Since the first message of the symbol.
    pub(super) offset: Duration,
    pub(super) price: Decimal,
}

/// The signs of life in the file's order, and the doubts about what was left out. A torn end of the file is its end, with a
/// warning.
///
/// # Errors
/// What is wrong with the file, its name first.
pub(super) fn read(path: &Path, symbol: &Symbol) -> Result<(Vec<Sign>, Vec<Doubt>), String> {
    let wrong = |error: CaptureError| error.to_string().trim_start_matches("capture: ").to_owned();
    let mut lines = CaptureLines::open(path, Wanted::TRADES_AND_BEST_PRICES).map_err(wrong)?;
    let (mut signs, mut doubts) = (Vec::new(), Vec::new());
    let (mut pace, mut told, mut unit) = (Pace::default(), false, None);
    let mut first = None;
    let mut believed = Believed::default();
    // The price that stands; none where the last best prices were not believed.
    let mut stands = None;
    while let Some(captured) = lines.next_line().map_err(wrong)? {
        let message = captured.message;
        let market = matches!(message.message, Message::BookTicker(_) | Message::Trade(_));
        if !market || message.symbol.as_deref() != Some(symbol.as_str()) {
            continue;
        }
        let file = path.display();
        let unit = *unit.get_or_insert_with(|| {
            let told = TimeUnit::tell(captured.local_ns, message.venue_time.and_then(venue_ns));
            let unit = told.unwrap_or(TimeUnit::Nanos);
            if unit != TimeUnit::Nanos {
                tracing::warn!("capture: {file}:{}: times are in {unit}: they are taken as such", lines.number());
            }
            unit
        });
        let (offset, jumped) = pace.at(captured.local_ns.saturating_mul(unit.nanos()));
        if jumped && !std::mem::replace(&mut told, true) {
            let line = lines.number();
            tracing::warn!(
                "capture: {file}:{line}: the recorder's clock jumps: that is passed over, and so are later jumps"
            );
        }
        if let Message::BookTicker(BookTicker { bid, ask, update_id, .. }) = message.message {
            let stamp = Stamp { epoch: 0, seq: Some(update_id), time: None };
            let checked = believed.check(Given::Best { bid, ask }, stamp);
            stands = checked.ok();
            doubts.extend(checked.err());
        }
        // Trades show that the market lives, and so that its last price stands.
        if let Some(price) = stands {
            let first = *first.get_or_insert(offset);
            signs.push(Sign { offset: offset.saturating_sub(first), price });
        }
    }
    if let Some(torn) = lines.take_torn() {
        tracing::warn!("capture: {torn}");
    }
    if signs.is_empty() {
        return Err(format!("{}: holds no best prices of {symbol} that can be believed", path.display()));
    }
    Ok((signs, doubts))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn signs(bytes: &[u8]) -> Result<Vec<Sign>, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        let name = format!("{}", file.path().display());
        let read = read(file.path(), &"BTCUSDT".parse().expect("a symbol"));
        read.map(|(signs, _)| signs).map_err(|error| error.replace(&name, "file"))
    }

    fn line(time: &str, update: u64) -> String {
        let data = format!(r#"{{"u":{update},"s":"BTCUSDT","b":"10","B":"1","a":"10.02","A":"1"}}"#);
        format!("{time} {{\"stream\":\"btcusdt@bookTicker\",\"data\":{data}}}\n")
    }

    #[test]
    fn a_file_is_read_by_what_it_holds_and_up_to_its_torn_end() {
        let two = line("1700000000000000000", 1) + &line("1700000001000000000", 2);
        let whole = signs(two.as_bytes()).expect("two");
        assert_eq!(whole.iter().map(|sign| sign.offset.as_millis()).collect::<Vec<_>>(), [0, 1_000]);
        assert_eq!(signs(format!("{two}17000").as_bytes()).as_ref(), Ok(&whole));
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(two.as_bytes()).expect("packed");
        assert_eq!(signs(&packed.finish().expect("packed")).as_ref(), Ok(&whole), "whatever it is called");
        let millis = line("1700000000000", 1) + &line("1700000001000", 2);
        assert_eq!(signs(millis.as_bytes()), Ok(whole));
    }

    #[test]
    fn what_is_wrong_with_a_file_begins_with_its_name_and_place() {
        let good = line("1700000000000000000", 1);
        let error = signs(format!("{good}x\n{good}").as_bytes()).expect_err("damage");
        assert!(error.starts_with("file:2: does not begin with a time"), "{error}");
        let error = signs(b"PAR1").expect_err("foreign");
        assert!(error.starts_with("file:1: ") && error.contains("a Parquet file"), "{error}");
        let error = signs(good.replace("BTC", "ETH").as_bytes()).expect_err("another");
        assert_eq!(error, "file: holds no best prices of BTCUSDT that can be believed");
    }
}
