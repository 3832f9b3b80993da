//! The best prices of a recorded file, in the order of their update ids and at the pace of the recorder's clock. Where
//! that clock jumps, in either direction, no time passes, and the file goes on from there.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use quorate_binance_api::{
    capture::parse_line,
    reference::{Believed, Doubt, Given, Stamp},
    streams::{BookTicker, Message, Wanted},
};
use quorate_domain::{Decimal, Symbol};

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

/// The signs of life in the file's order, and the doubts about what was left out.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn read(path: &Path, symbol: &Symbol) -> Result<(Vec<Sign>, Vec<Doubt>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let (mut signs, mut doubts) = (Vec::new(), Vec::new());
    let (mut pace, mut told) = (Pace::default(), false);
    let mut first = None;
    let mut believed = Believed::default();
    // The price that stands; none where the last best prices were not believed.
    let mut stands = None;
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(|error| format!("line {}: {error}", at + 1))?;
        let captured =
            parse_line(&line, Wanted::TRADES_AND_BEST_PRICES).map_err(|error| format!("line {}: {error}", at + 1))?;
        let market = matches!(captured.message.message, Message::BookTicker(_) | Message::Trade(_));
        if !market || !captured.is_of(symbol.as_str()) {
            continue;
        }
        let (offset, jumped) = pace.at(captured.local_ns);
        if jumped && !std::mem::replace(&mut told, true) {
            let (file, line) = (path.display(), at + 1);
            tracing::warn!(
                "capture: {file}:{line}: the recorder's clock jumps: that is passed over, and so are later jumps"
            );
        }
        if let Message::BookTicker(BookTicker { bid, ask, update_id, .. }) = captured.message.message {
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
    if signs.is_empty() {
        return Err(format!("holds no best prices of {symbol} that can be believed"));
    }
    Ok((signs, doubts))
}
