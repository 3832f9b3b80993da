//! Reference prices: static, a seeded walk, the best prices of a recorded file, or set from outside.
//!
//! Invariant: the first three are functions of their inputs and of the time since the start alone: the same
//! inputs give the same prices.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    str::FromStr,
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use quorate_binance_api::capture::{Message, parse_line};
use quorate_ledger::{Decimal, Price, Symbol};
use quorate_seams::seeded_rng;
use rand::{Rng, rngs::SmallRng};

/// A walk takes one step in this time.
pub const WALK_STEP: Duration = Duration::from_millis(250);
/// A walk stays within this part of its start, in thousandths, either way.
const WALK_RANGE_THOUSANDTHS: i64 = 50;
/// One step is at most this part of the start, in millionths (at least one tick).
const WALK_STEP_MILLIONTHS: i64 = 50;
/// A capture is replayed at most so many times faster than it was recorded.
const SPEED_MAX: u32 = 1_000;

/// One `--reference` as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceSpec {
    /// Prices that do not change.
    Static(Vec<(Symbol, Decimal)>),
    /// A walk from these prices.
    Walk(u64, Vec<(Symbol, Decimal)>),
    /// The middle of a recorded file's best prices.
    Capture {
        /// The file, plain or gzip.
        file: String,
        /// The symbol, as it is called here and in the file.
        symbol: Symbol,
        /// So many times faster than it was recorded.
        speed: u32,
    },
    /// Set from outside, from these on.
    External(Vec<(Symbol, Decimal)>),
}

/// Why a `--reference` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It is not of the form.
    #[error(
        "'{0}' is not static:SYM=PRICE,.. walk:SEED,SYM=PRICE,.. capture:FILE,SYM[,SPEED] or external:SYM=PRICE,.."
    )]
    Form(String),
    /// The file cannot be read.
    #[error("{file}: {what}")]
    File {
        /// The file.
        file: String,
        /// Why.
        what: String,
    },
    /// Two sources for one symbol.
    #[error("{0} has two sources")]
    Twice(Symbol),
}

fn pairs<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Vec<(Symbol, Decimal)>> {
    let pair = |part: &str| {
        let (symbol, price) = part.split_once('=')?;
        let price: Decimal = price.parse().ok()?;
        Some((symbol.parse().ok()?, price)).filter(|_| price.is_positive())
    };
    parts.map(pair).collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

impl FromStr for SourceSpec {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let form = || InvalidReference::Form(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(form)?;
        let mut parts = rest.split(',').map(str::trim);
        match kind {
            "static" => pairs(parts).map(Self::Static).ok_or_else(form),
            "external" => pairs(parts).map(Self::External).ok_or_else(form),
            "walk" => {
                let seed = parts.next().and_then(|seed| seed.parse().ok()).ok_or_else(form)?;
                pairs(parts).map(|pairs| Self::Walk(seed, pairs)).ok_or_else(form)
            }
            "capture" => {
                let file = parts.next().filter(|file| !file.is_empty()).ok_or_else(form)?.to_owned();
                let symbol = parts.next().and_then(|symbol| symbol.parse().ok()).ok_or_else(form)?;
                let speed = parts.next().map_or(Ok(1), str::parse).map_err(|_| form())?;
                let fits = parts.next().is_none() && (1..=SPEED_MAX).contains(&speed);
                fits.then_some(Self::Capture { file, symbol, speed }).ok_or_else(form)
            }
            _ => Err(form()),
        }
    }
}

enum Source {
    Fixed(Decimal),
    Walk { start: Decimal, walk: Option<Walk>, seed: u64 },
    Recorded { mids: Vec<(Duration, Decimal)>, speed: u32 },
    External { price: Decimal, seq: u64 },
}

/// A walk in ticks, as far as it has been taken.
struct Walk {
    start: i64,
    at: i64,
    step: u64,
    rng: SmallRng,
}

impl Walk {
    /// The price at `step`; steps are taken in order, and each draws once.
    fn at(&mut self, step: u64) -> i64 {
        let reach = (self.start / 1_000_000 * WALK_STEP_MILLIONTHS).max(self.start * WALK_STEP_MILLIONTHS / 1_000_000);
        let reach = reach.max(1);
        let range = (self.start / 1_000 * WALK_RANGE_THOUSANDTHS).max(1);
        while self.step < step {
            let moved = self.at + self.rng.random_range(-reach..=reach);
            self.at = moved.clamp((self.start - range).max(1), self.start + range);
            self.step += 1;
        }
        self.at
    }
}

/// The reference prices of all symbols that have a source.
pub struct References(BTreeMap<Symbol, Source>);

impl std::fmt::Debug for References {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl References {
    /// Opens the sources; recorded files are read now.
    ///
    /// # Errors
    /// Where a file cannot be read, or a symbol has two sources.
    pub fn open(specs: &[SourceSpec]) -> Result<Self, InvalidReference> {
        let mut sources = BTreeMap::new();
        let mut put = |symbol: &Symbol, source| match sources.insert(symbol.clone(), source) {
            None => Ok(()),
            Some(_) => Err(InvalidReference::Twice(symbol.clone())),
        };
        for spec in specs {
            match spec {
                SourceSpec::Static(pairs) => {
                    pairs.iter().try_for_each(|(symbol, price)| put(symbol, Source::Fixed(*price)))?;
                }
                SourceSpec::Walk(seed, pairs) => pairs.iter().try_for_each(|(symbol, price)| {
                    put(symbol, Source::Walk { start: *price, walk: None, seed: *seed })
                })?,
                SourceSpec::Capture { file, symbol, speed } => {
                    put(symbol, Source::Recorded { mids: read_mids(Path::new(file), symbol)?, speed: *speed })?;
                }
                SourceSpec::External(pairs) => pairs
                    .iter()
                    .try_for_each(|(symbol, price)| put(symbol, Source::External { price: *price, seq: 1 }))?,
            }
        }
        Ok(Self(sources))
    }

    /// The symbols that have a source.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.0.keys()
    }

    /// The price of `symbol` in ticks of `tick_size`, `elapsed` after the start, and a number that grows with each change.
    /// A price between two ticks is the lower one.
    pub fn price(&mut self, symbol: &Symbol, tick_size: Decimal, elapsed: Duration) -> Option<(Price, u64)> {
        let (price, seq) = match self.0.get_mut(symbol)? {
            Source::Fixed(price) => (*price, 1),
            Source::External { price, seq } => (*price, *seq),
            Source::Recorded { mids, speed } => {
                let at = elapsed.saturating_mul(*speed);
                let passed = mids.partition_point(|(offset, _)| *offset <= at).max(1);
                (mids.get(passed - 1)?.1, passed as u64)
            }
            Source::Walk { start, walk, seed } => {
                let step = u64::try_from(elapsed.as_millis() / WALK_STEP.as_millis()).unwrap_or(u64::MAX);
                let walk = walk.get_or_insert_with(|| {
                    let ticks = floor_ticks(*start, tick_size);
                    Walk { start: ticks, at: ticks, step: 0, rng: seeded_rng(*seed, stream_of(symbol)) }
                });
                return Some((Price(walk.at(step)), step + 1)).filter(|(price, _)| price.is_valid());
            }
        };
        Some((Price(floor_ticks(price, tick_size)), seq)).filter(|(price, _)| price.is_valid())
    }

    /// Sets the price of a symbol whose source is external; `false` where it is not.
    pub fn set(&mut self, symbol: &Symbol, new: Decimal) -> bool {
        match self.0.get_mut(symbol) {
            Some(Source::External { price, seq }) => {
                *price = new;
                *seq += 1;
                true
            }
            Some(Source::Fixed(_) | Source::Walk { .. } | Source::Recorded { .. }) | None => false,
        }
    }
}

/// Tells the walks of one seed apart (FNV-1a over the symbol's name).
fn stream_of(symbol: &Symbol) -> u64 {
    symbol
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `price` in whole ticks, rounded down; 0 where it cannot be told.
pub(crate) fn floor_ticks(price: Decimal, tick_size: Decimal) -> i64 {
    // Both are whole numbers of the finer one's last digit.
    let unit = Decimal::new(1, price.decimals().max(tick_size.decimals()));
    let units = |of: Decimal| unit.and_then(|unit| of.in_steps_of(unit).ok());
    match (units(price), units(tick_size)) {
        (Some(price), Some(tick)) if tick > 0 => price.div_euclid(tick),
        _ => 0,
    }
}

fn read_mids(path: &Path, symbol: &Symbol) -> Result<Vec<(Duration, Decimal)>, InvalidReference> {
    let wrong = |what: String| InvalidReference::File { file: path.display().to_string(), what };
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let reader: Box<dyn Read> = if path.extension().is_some_and(|ext| ext == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut mids = Vec::new();
    let mut first = None;
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        let captured = parse_line(&line).map_err(|error| wrong(format!("line {}: {error}", at + 1)))?;
        let Some(captured) = captured.filter(|captured| captured.symbol == symbol.as_str()) else { continue };
        if let Message::BookTicker { bid, ask, .. } = captured.message
            && let Some(mid) = bid.mid(ask)
        {
            let first = *first.get_or_insert(captured.local_ns);
            mids.push((Duration::from_nanos(captured.local_ns.saturating_sub(first)), mid));
        }
    }
    if mids.is_empty() {
        return Err(wrong(format!("holds no best prices of {symbol}")));
    }
    Ok(mids)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn tick() -> Decimal {
        "0.01".parse().expect("a decimal")
    }

    fn walked(seed: u64, at: &[u64]) -> Vec<i64> {
        let spec = format!("walk:{seed},BTCUSDT=60000,ETHUSDT=2500").parse().expect("valid");
        let mut references = References::open(&[spec]).expect("opened");
        let symbol: Symbol = "BTCUSDT".parse().expect("valid");
        let mut price = |ms| references.price(&symbol, tick(), Duration::from_millis(ms)).expect("a price").0.0;
        at.iter().map(|ms| price(*ms)).collect()
    }

    #[test]
    fn the_same_inputs_give_the_same_prices_whenever_they_are_asked_for() {
        let dense: Vec<u64> = (0..400).map(|step| step * 250).collect();
        assert_eq!(walked(7, &dense)[399], walked(7, &[399 * 250])[0]);
        assert_ne!(walked(7, &dense), walked(8, &dense));
        assert!(walked(7, &dense).windows(2).any(|pair| pair[0] != pair[1]));
        assert!(walked(7, &dense).iter().all(|price| (5_700_000..=6_300_000).contains(price)));
    }

    #[test]
    fn a_recorded_file_is_followed_at_its_pace() {
        let mut file = std::env::temp_dir();
        file.push(format!("quorate-capture-{}.txt", std::process::id()));
        let line = |ns: u64, bid: &str, ask: &str| {
            format!(
                r#"{ns} {{"stream":"btcusdt@bookTicker","data":{{"u":1,"s":"BTCUSDT","b":"{bid}","B":"1","a":"{ask}","A":"1"}}}}"#
            )
        };
        let text = [line(1_000_000_000, "10.00", "10.02"), line(2_000_000_000, "11.00", "11.01")].join("\n");
        File::create(&file).and_then(|mut out| out.write_all(text.as_bytes())).expect("written");
        let spec: SourceSpec = format!("capture:{},BTCUSDT,2", file.display()).parse().expect("valid");
        let opened = References::open(&[spec]);
        std::fs::remove_file(&file).expect("removed");
        let mut references = opened.expect("opened");
        let symbol: Symbol = "BTCUSDT".parse().expect("valid");
        let mut at = |ms| references.price(&symbol, tick(), Duration::from_millis(ms)).expect("a price");
        assert_eq!(at(0), (Price(1_001), 1));
        assert_eq!(at(499), (Price(1_001), 1));
        assert_eq!(at(500), (Price(1_100), 2));
        assert_eq!(at(9_000), (Price(1_100), 2));
    }

    #[test]
    fn only_external_prices_are_set_from_outside() {
        let specs = ["static:AAA=1", "external:BBB=2"].map(|text| text.parse().expect("valid"));
        let mut references = References::open(&specs).expect("opened");
        let (fixed, external) = ("AAA".parse().expect("valid"), "BBB".parse().expect("valid"));
        assert!(!references.set(&fixed, tick()));
        assert!(references.set(&external, "3".parse().expect("valid")));
        assert_eq!(references.price(&external, tick(), Duration::ZERO), Some((Price(300), 2)));
    }

    #[test]
    fn a_price_between_two_ticks_is_the_lower_one_however_fine_it_is() {
        let floor =
            |price: &str, tick: &str| floor_ticks(price.parse().expect("a decimal"), tick.parse().expect("a decimal"));
        assert_eq!(floor("61837.635", "0.01"), 6_183_763);
        assert_eq!(floor("61837.635", "0.1"), 618_376);
        assert_eq!(floor("61837.635", "5"), 12_367);
        assert_eq!(floor("61837.635", "0.001"), 61_837_635);
        assert_eq!(floor("0.004", "0.01"), 0);
    }

    #[test]
    fn what_is_no_source_is_refused() {
        for text in
            ["", "static:", "static:A", "walk:x,A=1", "walk:1", "capture:", "capture:f,A,0", "other:A=1", "static:A=-1"]
        {
            assert!(text.parse::<SourceSpec>().is_err(), "{text}");
        }
        let twice = ["static:AAA=1", "external:AAA=2"].map(|text| text.parse().expect("valid"));
        assert!(matches!(References::open(&twice), Err(InvalidReference::Twice(_))));
    }
}
