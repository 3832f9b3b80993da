//! What is wrong with a capture, and what is odd about it.

use std::{fmt, io, path::PathBuf};

use crate::{clock::TimeUnit, lines::Torn, normalise::Wrong};

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be read.
    #[error("capture: {path}:{line}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Which line came next.
        line: u64,
        /// Why.
        source: io::Error,
    },
    /// It is a directory, a pipe or a device.
    #[error("capture: {path}: is not a regular file: write the capture to a file first")]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// The compressed data is damaged before its end.
    #[error(
        "capture: {path}:{line}: the compressed data is damaged here ({source}): make the file again from its source"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which line came next.
        line: u64,
        /// What the decoder says.
        source: io::Error,
    },
    /// It is no capture at all.
    #[error(
        "capture: {path}:{line}: {what}. This is no capture but {holds}; a capture's lines are \
         `<local_ns> {{\"stream\":..,\"data\":..}}`"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// What is wrong with the line.
        what: String,
        /// What the file seems to be.
        holds: String,
    },
    /// A line in the middle is not of a capture.
    #[error(
        "capture: {path}:{line}: {what}; a line is `<local_ns> {{\"stream\":..,\"data\":..}}`: mend or remove it, or cut \
         the file off before it"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A message of the symbol cannot be told in its ticks and lots, or makes no sense.
    #[error("capture: {path}:{line}: {symbol}: {what}")]
    Message {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// The symbol.
        symbol: String,
        /// What is wrong.
        what: Wrong,
    },
    /// It holds no line.
    #[error("capture: {path}: is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It was torn off within its first line.
    #[error("capture: {path}: holds no whole line: it ends within its first one, as if it had been torn off")]
    TornAtOnce {
        /// The file.
        path: PathBuf,
    },
    /// It holds nothing of the symbol.
    #[error("capture: {path}: holds nothing of {symbol}; it holds {holds}")]
    NoSymbol {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
        /// Which symbols it holds instead.
        holds: String,
    },
    /// It holds the symbol, but nothing of it that is wanted.
    #[error("capture: {path}: holds nothing of use of {symbol}; it holds {holds}")]
    NothingWanted {
        /// The file.
        path: PathBuf,
        /// The symbol.
        symbol: String,
        /// What it holds instead.
        holds: String,
    },
    /// Times could be of either unit.
    #[error(
        "capture: {path}:{line}: {time} may be seconds since 1970 or nanoseconds since another moment, and nothing in the \
         line tells which: name the unit"
    )]
    AmbiguousUnit {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// The time.
        time: u64,
    },
    /// The unit of the times changes within the file.
    #[error(
        "capture: {path}:{line}: {time} is a time in {unit}, and the lines before it are in {before}: cut the file in two here"
    )]
    MixedUnits {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// The time.
        time: u64,
        /// Its unit.
        unit: TimeUnit,
        /// The unit of the lines before.
        before: TimeUnit,
    },
    /// A time in the file's unit is more nanoseconds than can be counted.
    #[error("capture: {path}:{line}: {time} is a time in {unit} that lies beyond the year 2554")]
    BeyondTime {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// The time.
        time: u64,
        /// The file's unit.
        unit: TimeUnit,
    },
    /// The recorder's clock goes back by more than a second.
    #[error("capture: {path}:{line}: time goes back by {} here: the file is not sorted by time, or was put together in the wrong order", span(*.by_ns))]
    Backwards {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// By how many nanoseconds.
        by_ns: u64,
    },
    /// The recorder's clock leaps by more than a year.
    #[error("capture: {path}:{line}: time leaps ahead by {} here: the recorder's clock was set, or two captures were joined", span(*.by_ns))]
    Leap {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: u64,
        /// By how many nanoseconds.
        by_ns: u64,
    },
}

/// Something odd about a capture, that does not stop its reading. Of each kind the first is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub(crate) path: PathBuf,
    pub(crate) line: u64,
    pub(crate) odd: Odd,
}

/// What is odd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Odd {
    Torn(Torn),
    OtherUnit(TimeUnit),
    Backwards(u64),
    Pause(u64),
    SnapshotOfNobody,
    PartOfALot,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, line) = (self.path.display(), self.line);
        match &self.odd {
            Odd::Torn(torn) => write!(f, "{torn}"),
            Odd::OtherUnit(unit) => write!(f, "{path}:{line}: times are in {unit}: they are taken as such"),
            Odd::Backwards(by) => write!(
                f,
                "{path}:{line}: time goes back by {}: the message is taken as of the latest time before it, and so are \
                 later ones like it",
                span(*by)
            ),
            Odd::Pause(by) => {
                write!(f, "{path}:{line}: nothing was recorded for {}: later pauses are counted only", span(*by))
            }
            Odd::PartOfALot => write!(
                f,
                "{path}:{line}: a quantity is no whole number of lots: the part of a lot is left out, and so are later ones"
            ),
            Odd::SnapshotOfNobody => write!(
                f,
                "{path}:{line}: a depth snapshot names no symbol, and the file holds the depth of several: it is left out, \
                 and so are later ones like it"
            ),
        }
    }
}

/// A span of time for people.
fn span(ns: u64) -> String {
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;
    const DAY: u64 = 86_400 * S;
    match ns {
        0..MS => format!("{ns} ns"),
        MS..S => format!("{} ms", ns / MS),
        S..DAY => format!("{} s", ns / S),
        _ if ns < 730 * DAY => format!("{} days", ns / DAY),
        _ => format!("{} years", ns / (365 * DAY)),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_told_in_the_unit_that_fits() {
        let table =
            [(999, "999 ns"), (1_500_000, "1 ms"), (61_000_000_000, "61 s"), (86_400_000_000_000 * 3, "3 days")];
        for (ns, text) in table {
            assert_eq!(span(ns), text);
        }
        assert_eq!(span(54 * 31_536_000_000_000_000), "54 years");
    }
}
