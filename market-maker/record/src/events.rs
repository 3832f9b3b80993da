//! The events of one symbol in a capture.

use std::path::Path;

use quorate_binance_api::{
    capture::Captured,
    streams::{Message, Wanted},
};
use quorate_market_data::{MarketEvent, Scale, Stamped};

use crate::{
    clock::{BadTime, Clock, OddTime, TimeUnit, venue_ns},
    error::{CaptureError, Odd, Warning},
    lines::CaptureLines,
    normalise::{Normalised, OddLots, Unusable, normalise},
    summary::{Holds, Skip, Summary},
};

/// What is wanted of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The symbol, as the venue writes it: `BTCUSDT`.
    pub symbol: String,
    /// Its steps.
    pub scale: Scale,
    /// What to make of quantities that are no whole number of lots.
    pub odd_lots: OddLots,
    /// Which kinds of messages.
    pub wanted: Wanted,
    /// What the recorder's times count; `None`: told by their size.
    pub time_unit: Option<TimeUnit>,
}

/// An event, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureEvent {
    /// The line of the file, from 1.
    pub line: u64,
    /// What happened. Local times never go back, and `seq` counts the file's events from 1.
    pub event: Stamped<MarketEvent>,
}

/// The events of one symbol, in the order of the file. After an error, or the end, there are no more.
///
/// A file without any event is an error that says what it holds. A depth snapshot that names no symbol is taken as the
/// wanted symbol's for as long as no depth of another one has come.
pub struct CaptureEvents {
    settings: Settings,
    lines: CaptureLines,
    clock: Clock,
    summary: Summary,
    warnings: Vec<Warning>,
    /// Whether trades are aggregates, once one has come.
    aggregates: Option<bool>,
    /// Whether depth of another symbol has come.
    other_depth: bool,
    /// Whether anything of the symbol has come.
    known: bool,
    /// What came while there was no event.
    kinds: Holds,
    symbols: Holds,
    ended: bool,
}

impl CaptureEvents {
    /// Opens a file.
    ///
    /// # Errors
    /// [`CaptureError::Io`], [`CaptureError::NotAFile`].
    pub fn open(path: &Path, settings: Settings) -> Result<Self, CaptureError> {
        let (lines, clock) = (CaptureLines::open(path, settings.wanted)?, Clock::new(settings.time_unit));
        Ok(Self {
            settings,
            lines,
            clock,
            summary: Summary::default(),
            warnings: Vec::new(),
            aggregates: None,
            other_depth: false,
            known: false,
            kinds: Holds::default(),
            symbols: Holds::default(),
            ended: false,
        })
    }

    /// What was read so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What was odd since the last call; of each kind the first is told.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    fn next_event(&mut self) -> Result<Option<CaptureEvent>, CaptureError> {
        while let Some(captured) = self.lines.next_line()? {
            self.summary.lines += 1;
            match self.event(&captured)? {
                Ok(event) => return Ok(Some(event)),
                Err(skip) => self.skip(skip, &captured),
            }
        }
        if let Some(torn) = self.lines.take_torn() {
            self.summary.torn = true;
            let line = torn.line();
            self.warn(line, Odd::Torn(torn));
        }
        if self.summary.events() == 0 { Err(self.nothing()) } else { Ok(None) }
    }

    /// The event that a line tells, or why it tells none.
    fn event(&mut self, captured: &Captured) -> Result<Result<CaptureEvent, Skip>, CaptureError> {
        let message = &captured.message;
        let venue_ns = message.venue_time.and_then(venue_ns);
        let local_ns = self.time(captured.local_ns, venue_ns)?;
        let own = captured.is_of(&self.settings.symbol);
        self.known |= own;
        let depth = matches!(message.message, Message::DepthUpdate(_) | Message::DepthSnapshot(_));
        self.other_depth |= depth && !own && message.symbol.is_some();
        let nobodys = depth && message.symbol.is_none();
        if !(own || nobodys) {
            return Ok(Err(Skip::OtherSymbol));
        }
        if nobodys && self.other_depth {
            if !self.summary.skipped.contains_key(&Skip::SnapshotOfNobody) {
                self.warn(self.lines.number(), Odd::SnapshotOfNobody);
            }
            return Ok(Err(Skip::SnapshotOfNobody));
        }
        let aggregate = matches!(message.message, Message::AggTrade(_));
        if (aggregate || matches!(message.message, Message::Trade(_)))
            && *self.aggregates.get_or_insert(aggregate) != aggregate
        {
            return Ok(Err(Skip::ToldTwice));
        }
        let Normalised { event: what, odd_lots } =
            match normalise(&message.message, &self.settings.scale, self.settings.odd_lots) {
                Ok(normalised) => normalised,
                Err(Unusable::Skipped(skip)) => return Ok(Err(skip)),
                Err(Unusable::Wrong(what)) => {
                    let (path, symbol) = (self.lines.path().to_owned(), self.settings.symbol.clone());
                    return Err(CaptureError::Message { path, line: self.lines.number(), symbol, what });
                }
            };
        if odd_lots > 0 && self.summary.odd_lots == 0 {
            self.warn(self.lines.number(), Odd::PartOfALot);
        }
        self.summary.odd_lots += odd_lots;
        self.summary.count(&what);
        let event = Stamped { venue_ns, local_ns, seq: self.summary.events(), what };
        Ok(Ok(CaptureEvent { line: self.lines.number(), event }))
    }

    fn time(&mut self, time: u64, venue_ns: Option<u64>) -> Result<u64, CaptureError> {
        let (path, line) = (self.lines.path(), self.lines.number());
        let (ns, odd) = self.clock.read(time, venue_ns).map_err(|bad| {
            let path = path.to_owned();
            match bad {
                BadTime::Ambiguous => CaptureError::AmbiguousUnit { path, line, time },
                BadTime::Mixed { unit, before } => CaptureError::MixedUnits { path, line, time, unit, before },
                BadTime::Beyond(unit) => CaptureError::BeyondTime { path, line, time, unit },
                BadTime::Backwards(by_ns) => CaptureError::Backwards { path, line, by_ns },
                BadTime::Leap(by_ns) => CaptureError::Leap { path, line, by_ns },
            }
        })?;
        let (told, odd) = match odd {
            None => return Ok(ns),
            Some(OddTime::Unit(unit)) => (false, Odd::OtherUnit(unit)),
            Some(OddTime::Backwards(by)) => {
                self.summary.backwards += 1;
                (self.summary.backwards > 1, Odd::Backwards(by))
            }
            Some(OddTime::Pause(by)) => {
                self.summary.pauses += 1;
                (self.summary.pauses > 1, Odd::Pause(by))
            }
        };
        if !told {
            self.warn(line, odd);
        }
        Ok(ns)
    }

    fn skip(&mut self, why: Skip, captured: &Captured) {
        self.summary.skip(why);
        if self.summary.events() > 0 {
            return;
        }
        let mut kind = captured.message.describe();
        if why == Skip::NotByOrders {
            kind.push_str(" by no orders");
        }
        self.kinds.count(kind);
        if let Some(symbol) = &captured.message.symbol {
            self.symbols.count(symbol.chars().take(24).collect());
        }
    }

    fn warn(&mut self, line: u64, odd: Odd) {
        self.warnings.push(Warning { path: self.lines.path().to_owned(), line, odd });
    }

    /// Why there was no event.
    fn nothing(&self) -> CaptureError {
        let (path, symbol) = (self.lines.path().to_owned(), self.settings.symbol.clone());
        match (self.summary.lines, self.known || self.symbols.is_empty()) {
            (0, _) if self.summary.torn => CaptureError::TornAtOnce { path },
            (0, _) => CaptureError::Empty { path },
            (_, true) => CaptureError::NothingWanted { path, symbol, holds: self.kinds.lines() },
            (_, false) => CaptureError::NoSymbol { path, symbol, holds: self.symbols.names() },
        }
    }
}

impl Iterator for CaptureEvents {
    type Item = Result<CaptureEvent, CaptureError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_event().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
