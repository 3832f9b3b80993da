//! A run: open the journal, settle what an earlier run left, then send at the pace of the source, so
//! many at a time, until the source ends or somebody says stop; then settle, take back what rests, and sum up.

use std::{
    fs::File,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use quorate_binance_api::model::{ExchangeInfo, OrderType, Side, TimeInForce};
use quorate_domain::Decimal;
use quorate_seams::World;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    config::{Config, Mode},
    desk::{Desk, lock},
    journal::{self, IntentLine, Journal, JournalError, Line, Past, RunLine},
    order::Order,
    progress::Progress,
    random::{Random, References},
    replay::{self, Replay, ReplayError, Skipped},
    summary::Summary,
    venue::{Credentials, Venue},
};

/// Pause between two looks for an exchange that does not answer yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long an exchange that answers may take to learn of a symbol.
const SYMBOL_PATIENCE: Duration = Duration::from_secs(10);
/// Time between two updates of the progress.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The journal cannot be written: nothing more was sent. Free disk space, and start again.
    #[error("journal: {0}")]
    JournalWrite(io::Error),
    /// The journal belongs to another run.
    #[error("{field}: the journal was begun with {was}: leave the flag out, or take another journal")]
    OtherRun {
        /// The flag.
        field: &'static str,
        /// What the journal says.
        was: String,
    },
    /// The exchange did not answer.
    #[error("exchange: no answer from {url} in {} s: {what}; start it, or name another with --exchange", .within.as_secs())]
    NoExchange {
        /// Where it was looked for.
        url: String,
        /// What was tried last.
        what: String,
        /// For how long.
        within: Duration,
    },
    /// The exchange does not have the symbol, or none.
    #[error("symbols: the exchange has no {missing}; {known}")]
    NoSymbol {
        /// The symbol.
        missing: String,
        /// What it has.
        known: String,
    },
    /// No symbol had a price to make orders from.
    #[error("symbols: the exchange has had no reference price of {symbols} for {} s: give it a --reference", .within.as_secs())]
    NoPrice {
        /// The symbols.
        symbols: String,
        /// For how long.
        within: Duration,
    },
    /// The run ended before its first order.
    #[error("nothing was sent: {0}")]
    NothingSent(String),
    /// The capture cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Why a run ended badly, and what it came to until then.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// Why.
    pub error: PublishError,
    /// What it came to; `None` where it had not begun.
    pub summary: Option<Box<Summary>>,
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self { error, summary: None }
    }
}

/// A symbol and its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Instrument {
    pub(crate) symbol: String,
    pub(crate) tick: Decimal,
    pub(crate) lot: Decimal,
}

/// An order without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) symbol: String,
    pub(crate) side: Side,
    pub(crate) order_type: OrderType,
    pub(crate) tif: TimeInForce,
    pub(crate) price: Option<String>,
    pub(crate) qty: String,
    pub(crate) source: Option<u64>,
}

enum Source {
    Random(Random),
    Replay(Box<Replay>),
}

impl Source {
    async fn next(&mut self, n: u64) -> Result<Option<Planned>, PublishError> {
        match self {
            Self::Random(random) => random.next(n).await.map(Some),
            Self::Replay(replay) => Ok(replay.next().await?),
        }
    }

    /// What a source that gave nothing was waiting for.
    fn waited_for(&self) -> String {
        match self {
            Self::Random(random) => format!("no order was due, or no reference price known of {}", random.symbols()),
            Self::Replay(_) => "no recorded trade was due, or all were sent before".to_owned(),
        }
    }

    fn skipped(&self) -> Skipped {
        match self {
            Self::Random(_) => Skipped::default(),
            Self::Replay(replay) => replay.skipped,
        }
    }
}

/// Publishes until the source ends, a bound is reached, or `shutdown` resolves; then settles what is
/// open, takes back what rests, and says what it came to.
///
/// # Errors
/// [`Failure`], with the same summary where the run had begun. A run that sent nothing has failed.
pub async fn run(config: Config, world: World, shutdown: impl Future<Output = ()> + Send) -> Result<Summary, Failure> {
    let started = Instant::now();
    let (file, past) = match &config.journal {
        Some(path) => journal::open(path).map(|(file, past)| (Some(file), past)).map_err(PublishError::Journal)?,
        None => (None, Past::default()),
    };
    let run = continued(&config, &world, &past)?;
    let feed = match &config.mode {
        Mode::Random(_) => None,
        Mode::Replay { settings, .. } => settings.feed_key.clone().zip(settings.feed_secret.clone()),
    };
    let credentials = Credentials { key: config.api_key.clone(), secret: config.api_secret.clone(), feed };
    let venue = Venue::new(world.clone(), &config.exchange, credentials, config.timeout);
    let desk = Arc::new(Desk {
        venue: venue.clone(),
        journal: file.map_or_else(Journal::none, |file: File| Journal::new(file, &world.tasks)),
        summary: Mutex::new(Summary::new(&run.run_id, &run.mode)),
        resting: Mutex::new(past.resting.clone()),
        resting_max: match &config.mode {
            Mode::Random(random) => random.resting_max,
            Mode::Replay { .. } => usize::MAX,
        },
        failure: Mutex::default(),
        patience: config.patience,
        told_of_left: AtomicBool::new(false),
    });
    if past.run.is_none() {
        desk.journal.write(&Line::Run(run.clone())).await.map_err(PublishError::JournalWrite)?;
    }
    let mut stop = Stop { signal: Box::pin(shutdown), given: false };
    let slots = Arc::new(Semaphore::new(usize::try_from(config.in_flight).unwrap_or(1)));
    let ends = config.seconds.map(|seconds| started + seconds);
    let publisher = Publisher { config: &config, world: &world, desk: desk.clone(), run, slots, ends };
    let outcome = publisher.publish(past, &mut stop).await;
    // However it ended: what is on its way is seen through, and what rests is taken back.
    publisher.drain().await;
    publisher.take_back().await;
    let closed = desk.journal.close().await.err();
    let failure = lock(&desk.failure).take().or(closed);
    let mut summary = lock(&desk.summary).clone();
    summary.close(started.elapsed());
    if summary.unknown.left > 0 {
        let cure = match &config.journal {
            Some(_) => "start again with the same --journal, which settles them",
            None => "ask for them by GET /api/v3/order; with a --journal the next start would settle them",
        };
        tracing::warn!(left = summary.unknown.left, "the outcome of some orders is still not known: {cure}");
    }
    let error = match (outcome, failure) {
        (_, Some(failure)) => PublishError::JournalWrite(failure),
        (Err(error), None) => error,
        (Ok(()), None) => return Ok(summary),
    };
    summary.error = Some(error.to_string());
    Err(Failure { error, summary: Some(Box::new(summary)) })
}

/// The run that the journal belongs to, or a new one.
fn continued(config: &Config, world: &World, past: &Past) -> Result<RunLine, PublishError> {
    let asked = match &config.mode {
        Mode::Random(random) => random.seed,
        Mode::Replay { .. } => None,
    };
    let Some(run) = &past.run else {
        let (seed, wall_ms) = (asked.unwrap_or(world.seed), world.clocks.wall_ms());
        // The time tells runs of one seed apart; the process's own seed, runs of one millisecond.
        let salt = (seed ^ world.seed.rotate_left(32)) & 0xffff_ffff;
        let run_id = format!("q{salt:08x}{wall_ms:x}");
        return Ok(RunLine { run_id, mode: config.mode.name().to_owned(), seed, wall_ms });
    };
    if run.mode != config.mode.name() {
        return Err(PublishError::OtherRun { field: "mode", was: run.mode.clone() });
    }
    match asked {
        Some(seed) if seed != run.seed => {
            Err(PublishError::OtherRun { field: "seed", was: format!("seed {}", run.seed) })
        }
        Some(_) | None => Ok(run.clone()),
    }
}

/// The word to stop, which may be waited for again once it was given.
struct Stop<'a> {
    signal: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    given: bool,
}

impl Stop<'_> {
    async fn given(&mut self) {
        if !self.given {
            self.signal.as_mut().await;
            self.given = true;
        }
    }
}

struct Publisher<'a> {
    config: &'a Config,
    world: &'a World,
    desk: Arc<Desk>,
    run: RunLine,
    slots: Arc<Semaphore>,
    /// When nothing new is begun any more.
    ends: Option<Instant>,
}

impl Publisher<'_> {
    async fn publish(&self, past: Past, stop: &mut Stop<'_>) -> Result<(), PublishError> {
        let (mut n, last_source) = (past.last_n, past.last_source);
        self.resume(past, stop).await;
        let found = tokio::select! {
            biased;
            () = stop.given() => return nothing_if(n == 0, "stopped before the exchange was asked"),
            found = self.prepare() => found?,
        };
        let mut source = self.source(found, last_source)?;
        let mut pace = Pace { slots: self.slots.clone(), ends: self.ends, progress: Progress::new(self.config.count) };
        let mut outcome = Ok(());
        while self.config.count.is_none_or(|count| n < count) && lock(&self.desk.failure).is_none() {
            let next = pace.next(&mut source, n + 1, &self.desk, stop).await;
            pace.progress.show(&lock(&self.desk.summary));
            let (planned, slot) = match next {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            n += 1;
            let (order, source) = (self.name(n, &planned), planned.source);
            let desk = self.desk.clone();
            self.world.tasks.spawn(async move {
                desk.send(IntentLine { order, n, source }).await;
                drop(slot);
            });
        }
        pace.progress.finish();
        let Skipped { trades, gaps } = source.skipped();
        {
            let mut summary = lock(&self.desk.summary);
            (summary.skipped_trades, summary.skipped_gaps) = (trades, gaps);
        }
        outcome.and_then(|()| nothing_if(n == 0, &source.waited_for()))
    }

    /// Waits until every delivery has come to its end; each is bounded by the patience.
    async fn drain(&self) {
        // The semaphore is never closed.
        let _ = self.slots.acquire_many(self.config.in_flight).await;
    }

    /// Sees through what an earlier run left open, before anything new is sent. What there is no time for stays
    /// open, and counts as unknown.
    async fn resume(&self, past: Past, stop: &mut Stop<'_>) {
        let open = past.open.len();
        if open > 0 {
            tracing::info!(open, "settling what an earlier run left open");
        }
        for order in past.open.into_values() {
            let slot = tokio::select! {
                biased;
                () = stop.given() => None,
                () = until(self.ends) => None,
                slot = self.slots.clone().acquire_owned() => slot.ok(),
            };
            let Some(slot) = slot else {
                let mut summary = lock(&self.desk.summary);
                summary.unknown.seen += 1;
                summary.unknown.left += 1;
                continue;
            };
            let desk = self.desk.clone();
            self.world.tasks.spawn(async move {
                desk.settle(order).await;
                drop(slot);
            });
        }
        self.drain().await;
    }

    /// Takes back what rests. That is bounded by the patience.
    async fn take_back(&self) {
        let resting = std::mem::take(&mut *lock(&self.desk.resting));
        let give_up = Instant::now() + self.config.patience;
        for (symbol, name) in resting {
            // The semaphore is never closed.
            let slot = self.slots.clone().acquire_owned().await;
            let desk = self.desk.clone();
            self.world.tasks.spawn(async move {
                desk.take_back_by(symbol, name, give_up).await;
                drop(slot);
            });
        }
        self.drain().await;
        let left = lock(&self.desk.summary).left_resting;
        if left > 0 {
            tracing::warn!(left, "orders may rest still: cancel them with DELETE /api/v3/openOrders at the exchange");
        }
    }

    /// Looks at the capture, then for the symbols, for as long as the run may last.
    async fn prepare(&self) -> Result<Vec<Instrument>, PublishError> {
        if let Mode::Replay { settings, symbol, .. } = &self.config.mode {
            let ended = || PublishError::NothingSent("the time was up before the capture's first trade".to_owned());
            tokio::select! {
                () = until(self.ends) => return Err(ended()),
                found = replay::examine(&settings.capture, symbol.as_str()) => found?,
            }
        }
        self.instruments().await
    }

    fn source(&self, instruments: Vec<Instrument>, last_source: u64) -> Result<Source, PublishError> {
        match &self.config.mode {
            Mode::Random(settings) => {
                let references = References::default();
                self.world.tasks.spawn(references.clone().follow(self.desk.venue.clone()));
                Ok(Source::Random(Random::new(
                    settings.clone(),
                    self.run.seed,
                    instruments,
                    references,
                    self.config.patience,
                )))
            }
            Mode::Replay { settings, symbol, qty_scale } => {
                let instrument = instruments.into_iter().next();
                let missing = || PublishError::NoSymbol { missing: symbol.to_string(), known: String::new() };
                let instrument = instrument.ok_or_else(missing)?;
                let (replay, seen) = Replay::open(settings, *qty_scale, instrument.clone(), last_source)?;
                if !settings.no_reference {
                    let (symbol, feed) = (instrument.symbol, self.run.run_id.clone());
                    self.world.tasks.spawn(replay::lead(self.desk.venue.clone(), symbol, feed, seen));
                }
                Ok(Source::Replay(Box::new(replay)))
            }
        }
    }

    /// The symbols that are asked for, as the exchange has them; waits for an exchange that is starting.
    async fn instruments(&self) -> Result<Vec<Instrument>, PublishError> {
        let wanted: Vec<String> = match &self.config.mode {
            Mode::Random(random) => random.symbols.clone(),
            Mode::Replay { symbol, .. } => vec![symbol.to_string()],
        };
        let url = &self.config.exchange;
        tracing::info!("asking the exchange at {url} for its symbols");
        let began = Instant::now();
        let latest = |patience| self.ends.into_iter().fold(began + patience, Instant::min);
        let (give_up, symbols_by) = (latest(self.config.patience), latest(self.config.patience.min(SYMBOL_PATIENCE)));
        let mut told = String::new();
        loop {
            let what = match tokio::time::timeout_at(give_up, self.desk.venue.exchange_info()).await {
                Ok(Ok(info)) => match choose(&info, &wanted) {
                    Ok(found) => return Ok(found),
                    // It may be that the exchange has not seen the symbols yet.
                    Err(missing) => {
                        let names: Vec<&str> = info.symbols.iter().map(|row| row.symbol.as_str()).collect();
                        let known = if names.is_empty() { "no symbol".to_owned() } else { names.join(", ") };
                        let known = format!("it has {known}: name one of those, or define it first");
                        // Not after one more pause, in which the time would be up: that would be called its silence.
                        if Instant::now() + LOOK_AGAIN >= symbols_by {
                            return Err(PublishError::NoSymbol { missing, known });
                        }
                        format!("the exchange has no {missing}; {known}")
                    }
                },
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if Instant::now() >= give_up {
                return Err(PublishError::NoExchange { url: url.clone(), what, within: began.elapsed() });
            }
            if what != told {
                let seconds = give_up.duration_since(began).as_secs();
                tracing::warn!("waiting for the exchange at {url}, for {seconds} s at most: {what}");
                told = what;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn name(&self, n: u64, planned: &Planned) -> Order {
        Order {
            client_order_id: format!("{}-{n}", self.run.run_id),
            account: self.config.account.clone(),
            symbol: planned.symbol.clone(),
            side: planned.side,
            order_type: planned.order_type,
            tif: planned.tif,
            price: planned.price.clone(),
            qty: planned.qty.clone(),
            timestamp: self.world.clocks.wall_ms(),
        }
    }
}

/// What holds a run back, and what ends it.
struct Pace {
    slots: Arc<Semaphore>,
    ends: Option<Instant>,
    progress: Progress,
}

impl Pace {
    /// The next order, when it is due and there is room for it; `None` where the run is over.
    async fn next(
        &mut self,
        source: &mut Source,
        n: u64,
        desk: &Desk,
        stop: &mut Stop<'_>,
    ) -> Result<Option<(Planned, OwnedSemaphorePermit)>, PublishError> {
        let slots = self.slots.clone();
        let next = async {
            let slot = slots.acquire_owned().await;
            source.next(n).await.map(|planned| planned.zip(slot.ok()))
        };
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                () = stop.given() => return Ok(None),
                () = until(self.ends) => return Ok(None),
                next = &mut next => return next,
                () = tokio::time::sleep(SHOW_EVERY) => {}
            }
            self.progress.show(&lock(&desk.summary));
        }
    }
}

/// The wanted symbols with their steps; all, where none is named. `Err` with the first that is missing.
fn choose(info: &ExchangeInfo, wanted: &[String]) -> Result<Vec<Instrument>, String> {
    let step = |filters: &[serde_json::Value], kind: &str, field: &str| -> Option<Decimal> {
        let filter = filters.iter().find(|filter| filter["filterType"] == kind)?;
        filter[field].as_str()?.parse().ok().filter(|step: &Decimal| step.is_positive())
    };
    let all = info.symbols.iter().filter_map(|row| {
        let tick = step(&row.filters, "PRICE_FILTER", "tickSize")?;
        let lot = step(&row.filters, "LOT_SIZE", "stepSize")?;
        Some(Instrument { symbol: row.symbol.clone(), tick, lot })
    });
    let all: Vec<Instrument> = all.collect();
    if wanted.is_empty() {
        return if all.is_empty() { Err("symbol at all".to_owned()) } else { Ok(all) };
    }
    let find = |name: &String| all.iter().find(|found| found.symbol == *name).cloned().ok_or_else(|| name.clone());
    wanted.iter().map(find).collect()
}

/// A run that sent nothing, and none before it in the same journal, has failed.
fn nothing_if(nothing: bool, why: &str) -> Result<(), PublishError> {
    if nothing { Err(PublishError::NothingSent(why.to_owned())) } else { Ok(()) }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
