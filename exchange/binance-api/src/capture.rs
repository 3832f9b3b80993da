//! Lines of a capture: `<local_ns> <JSON>`, the time at which a message was received and the message itself, as
//! hftbacktest's recorder writes them. A depth snapshot of REST may stand among the messages.

use crate::streams::{InvalidMessage, StreamMessage, Wanted};

/// One line of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// When it was received, by the recorder's clock: in ns since the Unix epoch, or whatever else the recorder counted.
    pub local_ns: u64,
    /// What was received.
    pub message: StreamMessage,
}

impl Captured {
    /// Whether it names this symbol.
    #[must_use]
    pub fn is_of(&self, symbol: &str) -> bool {
        self.message.symbol.as_deref() == Some(symbol)
    }
}

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It does not begin with a time in nanoseconds and a blank.
    #[error("does not begin with a time in nanoseconds and a blank")]
    Time,
    /// What follows is not a message.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
}

/// Reads one line.
///
/// # Errors
/// [`InvalidLine`].
pub fn parse_line(line: &str, wanted: Wanted) -> Result<Captured, InvalidLine> {
    let (time, json) = line.split_once(' ').ok_or(InvalidLine::Time)?;
    // Digits alone: `parse` would take a sign too.
    let digits = time.bytes().all(|c| c.is_ascii_digit());
    let local_ns = digits.then(|| time.parse().ok()).flatten().ok_or(InvalidLine::Time)?;
    Ok(Captured { local_ns, message: StreamMessage::parse(json, wanted)? })
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        path::Path,
    };

    use super::*;
    use crate::streams::Message;

    #[test]
    fn a_line_is_a_time_and_a_message() {
        let trade = r#"17 {"stream":"btcusdt@trade","data":{"e":"trade","E":5,"s":"BTCUSDT","t":7,"p":"61683.99000000","q":"0.00025000","T":4,"m":true,"M":true}}"#;
        let read = parse_line(trade, Wanted::ALL).expect("valid");
        assert_eq!(read.local_ns, 17);
        assert!(read.is_of("BTCUSDT") && !read.is_of("BTCUSD"));
        let Message::Trade(trade) = read.message.message else { panic!("a trade") };
        assert_eq!((trade.price.to_string().as_str(), trade.qty.to_string().as_str()), ("61683.99", "0.00025"));
    }

    #[test]
    fn what_is_broken_is_told() {
        for line in ["", "x", "1", "1\t{}", "-1 {}", "+1 {}", " 1 {}", "99999999999999999999 {}"] {
            assert_eq!(parse_line(line, Wanted::ALL), Err(InvalidLine::Time), "{line}");
        }
        for line in ["1 {", "1 [1]", "1  ", r#"1 {"stream":"btcusdt@trade","data":{}}"#] {
            assert!(matches!(parse_line(line, Wanted::ALL), Err(InvalidLine::Message(_))), "{line}");
        }
    }

    /// How many trades, best prices, depth updates and snapshots the recorded file holds; `None` where there is none.
    fn counted(name: &str) -> Option<[usize; 4]> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/binance").join(name);
        let Ok(file) = std::fs::File::open(&path) else {
            // Past the test harness, which keeps to itself what a test that passes prints.
            writeln!(std::io::stderr(), "SKIPPED the recorded file: none at {}", path.display()).expect("stderr");
            return None;
        };
        let mut counts = [0; 4];
        for line in BufReader::new(flate2::read::GzDecoder::new(file)).lines() {
            let read = parse_line(&line.expect("text"), Wanted::ALL).expect("a known line");
            counts[match read.message.message {
                Message::Trade(_) => 0,
                Message::BookTicker(_) => 1,
                Message::DepthUpdate(update) => {
                    assert_eq!(update.previous.is_some(), name.starts_with("usdm"));
                    2
                }
                Message::DepthSnapshot(_) => 3,
                message => panic!("{message:?}"),
            }] += 1;
        }
        Some(counts)
    }

    #[test]
    fn the_recorded_files_are_read_whole() {
        for (name, wanted) in [
            ("spot-btcusdt_20240808.gz", [9_757, 28_040, 3_451, 1]),
            ("spot-ethusdt_20240808.gz", [6_106, 24_077, 3_434, 1]),
            ("usdm-btcusdt_20240808.gz", [21_313, 66_089, 6_551, 1]),
        ] {
            if let Some(counts) = counted(name) {
                assert_eq!(counts, wanted, "{name}");
            }
        }
    }
}
