//! The best prices of a recorded file.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use quorate_binance_api::{
    capture::{Message, parse_line},
    reference::{Believed, Doubt, Given, Stamp},
};
use quorate_ledger::{Decimal, Symbol};

use super::InvalidReference;

/// A sign of life of the recorded market: its price from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sign {
    /// Since the first message of the symbol.
    pub(super) offset: Duration,
    pub(super) price: Decimal,
}

/// The signs of life in the file's order, and the doubts about what was left out.
pub(super) fn read(path: &Path, symbol: &Symbol) -> Result<(Vec<Sign>, Vec<Doubt>), InvalidReference> {
    let wrong = |what: String| InvalidReference::File { file: path.display().to_string(), what };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let (mut signs, mut doubts) = (Vec::new(), Vec::new());
    let (mut first, mut latest) = (None, 0);
    let mut believed = Believed::default();
    // The price that stands; none where the last best prices were not believed.
    let mut stands = None;
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        let captured = parse_line(&line).map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        let Some(captured) = captured.filter(|captured| captured.symbol == symbol.as_str()) else { continue };
        match captured.message {
            Message::BookTicker { bid, ask, update_id } => {
                let stamp = Stamp { epoch: 0, seq: Some(update_id), time: Some(captured.local_ns) };
                let checked = believed.check(Given::Best { bid, ask }, stamp);
                stands = checked.ok();
                doubts.extend(checked.err());
            }
            Message::Trade { .. } => {}
        }
        // Trades show that the market lives, and so that its last price stands.
        if let Some(price) = stands
            && captured.local_ns >= latest
        {
            latest = captured.local_ns;
            let first = *first.get_or_insert(captured.local_ns);
            signs.push(Sign { offset: Duration::from_nanos(captured.local_ns - first), price });
        }
    }
    if signs.is_empty() {
        return Err(wrong(format!("holds no best prices of {symbol} that can be believed")));
    }
    Ok((signs, doubts))
}
