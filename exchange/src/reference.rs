//! Reference prices: static, a walk, the best prices of a recorded file, or set from outside.
//!
//! Invariants: no price is told that [`quorate_binance_api::reference`] doubts, and what is doubted is counted; the age
//! of a price is that of its source's last word, whoever asks how often; a walk is a function of its seed and of log
//! time alone, so that it goes on over a restart; the number of a price grows with each change and never goes back.

mod capture;
mod feed;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    str::FromStr,
    time::Duration,
};

use quorate_domain::{Decimal, Symbol};

use feed::{Feed, Source};
pub use feed::{FeedStats, Now, Reference, Set, Unset};

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
    /// The middle of the exchange's own book.
    Own(Vec<Symbol>),
}

/// Why a `--reference` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It is not of the form.
    #[error(
        "'{0}' is not static:SYM=PRICE,.. walk:SEED,SYM=PRICE,.. capture:FILE,SYM[,SPEED], external:SYM=PRICE,.. or own:SYM,.."
    )]
    Form(String),
    /// The file cannot be read: which, where and why.
    #[error("{0}")]
    File(String),
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
            "own" => {
                let symbols = parts.map(|part| part.parse().ok()).collect::<Option<Vec<Symbol>>>();
                symbols.map(Self::Own).ok_or_else(form)
            }
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

/// The reference prices of all symbols that have a source.
pub struct References {
    feeds: BTreeMap<Symbol, Feed>,
    own: BTreeSet<Symbol>,
    started: Duration,
}

impl std::fmt::Debug for References {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.feeds.keys()).finish()
    }
}

impl References {
    /// Opens the sources; recorded files are read now.
    ///
    /// # Errors
    /// Where a file cannot be read, or a symbol has two sources.
    pub fn open(specs: &[SourceSpec]) -> Result<Self, InvalidReference> {
        let mut feeds = BTreeMap::new();
        let mut put = |symbol: &Symbol, source| match feeds.insert(symbol.clone(), Feed::new(source)) {
            None => Ok(()),
            Some(_) => Err(InvalidReference::Twice(symbol.clone())),
        };
        let mut doubts = Vec::new();
        let mut own = BTreeSet::new();
        for spec in specs {
            match spec {
                SourceSpec::Own(symbols) => {
                    if let Some(twice) = symbols.iter().find(|symbol| !own.insert(Symbol::clone(symbol))) {
                        return Err(InvalidReference::Twice(twice.clone()));
                    }
                }
                SourceSpec::Static(pairs) => {
                    pairs.iter().try_for_each(|(symbol, price)| put(symbol, Source::Fixed(*price)))?;
                }
                SourceSpec::Walk(seed, pairs) => pairs.iter().try_for_each(|(symbol, price)| {
                    put(symbol, Source::Walk { start: *price, walk: None, seed: *seed })
                })?,
                SourceSpec::Capture { file, symbol, speed } => {
                    let (signs, doubted) = capture::read(Path::new(file), symbol).map_err(InvalidReference::File)?;
                    put(symbol, Source::Recorded { signs, speed: *speed })?;
                    doubts.extend(doubted.into_iter().map(|doubt| (symbol, doubt)));
                }
                SourceSpec::External(pairs) => {
                    pairs.iter().try_for_each(|(symbol, price)| put(symbol, Source::external(*price)))?;
                }
            }
        }
        for (symbol, doubt) in doubts {
            if let Some(feed) = feeds.get_mut(symbol) {
                feed.drop(symbol, doubt, Duration::ZERO);
            }
        }
        if let Some(twice) = own.iter().find(|symbol| feeds.contains_key(*symbol)) {
            return Err(InvalidReference::Twice(twice.clone()));
        }
        Ok(Self { feeds, own, started: Duration::ZERO })
    }

    /// Captures run from now on. `clock` is the monotonic one.
    pub fn begin(&mut self, clock: Duration) {
        self.started = clock;
    }

    /// Whether `symbol` has a source.
    #[must_use]
    pub fn has(&self, symbol: &Symbol) -> bool {
        self.feeds.contains_key(symbol) || self.own.contains(symbol)
    }

    /// Whether its price is the middle of the exchange's own book.
    #[must_use]
    pub fn is_own(&self, symbol: &Symbol) -> bool {
        self.own.contains(symbol)
    }

    /// The price of `symbol`, whose ticks are of `tick_size`, where it has one.
    pub fn price(&mut self, symbol: &Symbol, tick_size: Decimal, now: Now) -> Option<Reference> {
        let since = now.clock.saturating_sub(self.started);
        self.feeds.get_mut(symbol)?.look(symbol, tick_size, since, now)
    }

    /// Takes a price from outside, at the monotonic instant `clock`.
    ///
    /// # Errors
    /// Where the symbol's source is not external, or the price is not believed.
    pub fn set(&mut self, symbol: &Symbol, new: &Set, tick_size: Decimal, clock: Duration) -> Result<(), Unset> {
        self.feeds.get_mut(symbol).ok_or(Unset::NotExternal)?.set(new, symbol, tick_size, clock)
    }

    /// The counters of each source, with its symbol and its kind.
    pub fn stats(&self) -> impl Iterator<Item = (&Symbol, &'static str, FeedStats)> {
        self.feeds.iter().map(|(symbol, feed)| (symbol, feed.kind(), feed.stats()))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::Write,
        sync::{Arc, Mutex},
    };

    use quorate_binance_api::reference::{Doubt, Given, Stamp};
    use quorate_domain::Millis;

    use super::*;

    /// Log time at the start.
    const EPOCH_MS: u64 = 1_700_000_000_000;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a decimal")
    }

    fn symbol(name: &str) -> Symbol {
        name.parse().expect("valid")
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened(specs: &[&str]) -> References {
        let specs: Vec<SourceSpec> = specs.iter().map(|text| text.parse().expect("valid")).collect();
        References::open(&specs).expect("opened")
    }

    /// The price `at` ms after the start: half ticks, number, age in ms.
    fn look(references: &mut References, name: &str, at: u64) -> Option<(i64, u64, u128)> {
        let now = Now { log_time: Millis(EPOCH_MS + at), clock: ms(at) };
        let seen = references.price(&symbol(name), decimal("0.01"), now)?;
        Some((seen.half_ticks, seen.seq, seen.age.as_millis()))
    }

    fn dropped(references: &References, name: &str) -> [u64; 4] {
        let of = references.stats().find(|(symbol, ..)| symbol.as_str() == name);
        of.expect("it has a source").2.dropped
    }

    fn set(references: &mut References, given: Given, seq: Option<u64>, at: u64) -> Result<(), Unset> {
        let stamp = Stamp { epoch: 0, seq, time: None };
        let new = Set { given, stamp, feed: seq.map(|_| "f".to_owned()) };
        references.set(&symbol("BBB"), &new, decimal("0.01"), ms(at))
    }

    fn best(bid: &str, ask: &str) -> Given {
        Given::Best { bid: decimal(bid), ask: decimal(ask) }
    }

    /// A file of best prices and trades, as `(ms, bid, ask)`; a trade where the ask is empty.
    fn captured(name: &str, rows: &[(u64, u64, &str, &str)]) -> Result<References, InvalidReference> {
        let mut file = std::env::temp_dir();
        file.push(format!("quorate-capture-{}-{name}.txt", std::process::id()));
        let line = |(ms, update, bid, ask): &(u64, u64, &str, &str)| match *ask {
            "" => format!(
                r#"{ms}000000 {{"stream":"btcusdt@trade","data":{{"s":"BTCUSDT","t":1,"p":"{bid}","q":"1","T":1,"m":false}}}}"#
            ),
            ask => format!(
                r#"{ms}000000 {{"stream":"btcusdt@bookTicker","data":{{"u":{update},"s":"BTCUSDT","b":"{bid}","B":"1","a":"{ask}","A":"1"}}}}"#
            ),
        };
        let text: Vec<String> = rows.iter().map(line).collect();
        File::create(&file).and_then(|mut out| out.write_all(text.join("\n").as_bytes())).expect("written");
        let spec: SourceSpec = format!("capture:{},BTCUSDT,2", file.display()).parse().expect("valid");
        let opened = References::open(&[spec]);
        std::fs::remove_file(&file).expect("removed");
        opened
    }

    #[test]
    fn a_walk_goes_on_over_a_restart() {
        let open = || opened(&["walk:7,BTCUSDT=61837.63,ETHUSDT=2500"]);
        let mut first = open();
        let seen: Vec<_> = (0..4_000).map(|at| look(&mut first, "BTCUSDT", at * 100).expect("a price")).collect();
        // Another process, which started later, and whose own clock began then.
        let mut second = open();
        second.begin(ms(5));
        for at in [1_000, 1_001, 2_500, 3_999] {
            let now = Now { log_time: Millis(EPOCH_MS + at * 100), clock: ms(10 + at) };
            let seen_again = second.price(&symbol("BTCUSDT"), decimal("0.01"), now).expect("a price");
            let (half_ticks, seq, _) = seen[usize::try_from(at).expect("small")];
            assert_eq!((seen_again.half_ticks, seen_again.seq), (half_ticks, seq));
            assert_eq!((seen_again.age, seen_again.source), (Duration::ZERO, "walk"));
        }
        for pair in seen.windows(2) {
            assert_eq!(pair[0].0 != pair[1].0, pair[0].1 < pair[1].1, "{pair:?}");
            assert!(pair[0].1 <= pair[1].1);
        }
        assert!(seen.windows(2).filter(|pair| pair[0].0 != pair[1].0).count() > 1_000);
        assert_ne!(look(&mut open(), "BTCUSDT", 0), look(&mut opened(&["walk:8,BTCUSDT=61837.63"]), "BTCUSDT", 0));
    }

    #[test]
    fn a_recorded_file_is_followed_at_its_pace_and_ages_at_its_end() {
        let rows = [
            (1_000, 1, "10.00", "10.02"),
            (2_000, 2, "11.00", "11.01"),
            (3_000, 0, "11", ""),
            (3_500, 3, "11.00", "11.01"),
        ];
        let mut references = captured("pace", &rows).expect("opened");
        let mut at = |ms| look(&mut references, "BTCUSDT", ms).expect("a price");
        let first = at(0);
        assert_eq!((first.0, first.2), (2_002, 0));
        assert_eq!(at(400), (2_002, first.1, 400));
        let second = at(500);
        // The middle of two prices may lie between two ticks.
        assert_eq!((second.0, second.2), (2_201, 0));
        assert!(second.1 > first.1);
        // A trade shows that the market lives, and so does an update that says the same again.
        assert_eq!(at(1_100), (2_201, second.1, 100));
        assert_eq!(at(1_250), (2_201, second.1, 0));
        assert_eq!(at(41_250), (2_201, second.1, 40_000));
    }

    #[test]
    fn a_jump_of_the_recorders_clock_is_passed_over_and_what_follows_is_followed() {
        let rows = [
            (1_000, 1, "10.00", "10.02"),
            (3_000, 2, "11.00", "11.02"),
            // Fifty years ahead, and back.
            (1_577_880_000_000, 3, "12.00", "12.02"),
            (5_000, 4, "13.00", "13.02"),
            // A little back: the same clock, which has not caught up yet.
            (4_500, 5, "14.00", "14.02"),
            (7_000, 6, "15.00", "15.02"),
        ];
        let mut references = captured("jump", &rows).expect("opened");
        assert_eq!(dropped(&references, "BTCUSDT"), [0; 4]);
        let mut at = |ms| look(&mut references, "BTCUSDT", ms).map(|seen| (seen.0, seen.2));
        assert_eq!([at(0), at(999)], [Some((2_002, 0)), Some((2_002, 999))]);
        assert_eq!([at(1_000), at(1_999)], [Some((2_802, 0)), Some((2_802, 999))]);
        assert_eq!([at(2_000), at(3_000)], [Some((3_002, 0)), Some((3_002, 1_000))]);
    }

    #[test]
    fn what_a_recorded_file_cannot_mean_is_dropped_and_counted() {
        let rows = [
            (1_000, 5, "61837.62", "61837.64"),
            (2_000, 6, "0", "61837.64"),
            (2_500, 0, "61837.63", ""),
            (3_000, 7, "0", "0"),
            (4_000, 8, "90000", "61837.64"),
            (5_000, 4, "61900", "61901"),
            (6_000, 10, "61838.00", "61838.01"),
        ];
        let mut references = captured("doubt", &rows).expect("opened");
        assert_eq!(dropped(&references, "BTCUSDT"), [2, 1, 1, 0]);
        let first = look(&mut references, "BTCUSDT", 0).expect("a price");
        // Nothing of it counts as a sign of life either: the last good price ages.
        assert_eq!(look(&mut references, "BTCUSDT", 2_400), Some((12_367_526, first.1, 2_400)));
        assert_eq!(look(&mut references, "BTCUSDT", 2_500).map(|seen| (seen.0, seen.2)), Some((12_367_601, 0)));
        let none = captured("none", &[(1_000, 1, "0", "1"), (2_000, 2, "2", "1")]);
        assert!(matches!(none, Err(InvalidReference::File { .. })));
    }

    #[test]
    fn a_price_from_outside_ages_from_its_last_confirmation() {
        let mut references = opened(&["external:BBB=50"]);
        references.begin(ms(100));
        // What was given at the start nobody has confirmed: it may be that of an earlier start.
        let start = look(&mut references, "BBB", 100).expect("given at the start");
        assert_eq!((start.0, start.2), (10_000, u128::from(EPOCH_MS) + 100));
        assert_eq!(look(&mut references, "BBB", 40_100).map(|seen| (seen.0, seen.1)), Some((10_000, start.1)));
        set(&mut references, Given::Price(decimal("51")), None, 41_000).expect("taken");
        let second = look(&mut references, "BBB", 41_500).expect("a price");
        assert_eq!((second.0, second.2), (10_200, 500));
        assert!(second.1 > start.1);
        // The same once more is a sign of life, and no change.
        set(&mut references, Given::Price(decimal("51.00")), None, 42_000).expect("taken");
        assert_eq!(look(&mut references, "BBB", 42_000), Some((10_200, second.1, 0)));
        let silences = references.stats().next().expect("one source").2.silences;
        assert_eq!(silences, 1, "said once, while it was too old");
    }

    #[test]
    fn what_comes_from_outside_and_cannot_be_is_dropped_and_counted() {
        let mut references = opened(&["external:BBB=50", "static:AAA=1"]);
        set(&mut references, best("50.00", "50.01"), Some(7), 1_000).expect("taken");
        let good = look(&mut references, "BBB", 1_000).expect("a price");
        assert_eq!(good.0, 10_001);
        let doubted = [
            (best("0", "50.01"), Some(8), Doubt::NotPositive),
            (Given::Price(decimal("-5")), None, Doubt::NotPositive),
            (best("90", "50.01"), Some(9), Doubt::Crossed),
            (best("50", "50.00"), Some(9), Doubt::Crossed),
            (best("60", "60.01"), Some(6), Doubt::Backward),
            (Given::Price(decimal("0.001")), None, Doubt::OutOfRange),
        ];
        for (given, seq, doubt) in doubted {
            assert_eq!(set(&mut references, given, seq, 2_000), Err(Unset::Doubted(doubt)));
        }
        assert_eq!(dropped(&references, "BBB"), [2, 2, 1, 1]);
        assert_eq!(look(&mut references, "BBB", 3_000), Some((good.0, good.1, 2_000)));
        // What was not believed left no number behind; another feed counts from anew.
        set(&mut references, best("50.01", "50.02"), Some(8), 3_000).expect("taken");
        let other =
            Set { given: best("50", "51"), stamp: Stamp { seq: Some(1), ..Stamp::default() }, feed: Some("g".into()) };
        references.set(&symbol("BBB"), &other, decimal("0.01"), ms(3_500)).expect("taken");
        assert_eq!(references.set(&symbol("AAA"), &other, decimal("0.01"), ms(3_500)), Err(Unset::NotExternal));
        assert_eq!(references.set(&symbol("CCC"), &other, decimal("0.01"), ms(3_500)), Err(Unset::NotExternal));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_dropped_is_said_now_and_then_with_its_cure() {
        let lines = Lines::default();
        let made = lines.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || made.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let mut references = opened(&["external:BBB=50"]);
            for at in 0..300 {
                set(&mut references, best("0", "1"), None, at * 100).expect_err("not believed");
            }
            assert_eq!(dropped(&references, "BBB"), [300, 0, 0, 0]);
        });
        let text = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
        let said: Vec<&str> = text.lines().collect();
        assert_eq!(said.len(), 3, "one in ten seconds: {text}");
        assert!(said.iter().all(|line| line.contains("WARN") && line.contains("symbol=BBB")), "{text}");
        assert!(said[0].ends_with("dropped=1") && said[1].ends_with("dropped=100"), "{text}");
        assert!(said[0].contains("PUT /v1/reference-prices/BBB"), "{text}");
    }

    #[test]
    fn a_start_that_is_no_price_is_counted_once_and_never_told() {
        let mut references = opened(&["static:AAA=0.001", "walk:1,BBB=0.001"]);
        for name in ["AAA", "BBB"] {
            assert_eq!((look(&mut references, name, 0), look(&mut references, name, 100)), (None, None));
            assert_eq!(dropped(&references, name), [0, 0, 0, 1]);
        }
        assert_eq!(look(&mut opened(&["static:AAA=0.015"]), "AAA", 90_000), Some((3, 1, 0)), "it does not age");
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
