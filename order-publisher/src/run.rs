//! A run: open the journal, settle what an earlier run left, then send at the pace of the source, so
//! many at a time, until the source ends or somebody says stop; then settle, and sum up.

use std::{
    fs::File,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use quorate_binance_api::model::{ExchangeInfo, OrderType, Side, TimeInForce};
use quorate_ledger::Decimal;
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
    replay::{self, Replay, ReplayError},
    summary::Summary,
    venue::{Credentials, Venue},
};

/// The account where requests carry no key.
const DEFAULT_ACCOUNT: &str = "default";
/// Pause between two looks for an exchange that does not answer yet.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
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
    #[error("exchange: no answer in {} s: {what}", .within.as_secs())]
    NoExchange {
        /// What was tried last.
        what: String,
        /// For how long.
        within: Duration,
    },
    /// The exchange does not have the symbol, or none.
    #[error("symbols: the exchange has no {0}")]
    NoSymbol(String),
    /// The capture cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayError),
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
    async fn next(&mut self, n: u64) -> Result<Option<Planned>, ReplayError> {
        match self {
            Self::Random(random) => Ok(Some(random.next(n).await)),
            Self::Replay(replay) => replay.next().await,
        }
    }
}

/// Publishes until the source ends, a bound is reached, or `shutdown` resolves; then settles what is
/// open, and says what it came to.
///
/// # Errors
/// [`PublishError`].
pub async fn run(
    config: Config,
    world: World,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<Summary, PublishError> {
    let started = Instant::now();
    let (file, past) = match &config.journal {
        Some(path) => journal::open(path).map(|(file, past)| (Some(file), past))?,
        None => (None, Past::default()),
    };
    let run = continued(&config, &world, &past)?;
    let credentials = Credentials { key: config.api_key.clone(), secret: config.api_secret.clone() };
    let venue = Venue::new(world.clone(), &config.exchange, credentials, config.timeout);
    let desk = Arc::new(Desk {
        venue: venue.clone(),
        journal: file.map_or_else(Journal::none, |file: File| Journal::new(file, &world.tasks)),
        summary: Mutex::new(Summary::new(&run.run_id, &run.mode)),
        resting: Mutex::default(),
        resting_max: match &config.mode {
            Mode::Random(random) => random.resting_max,
            Mode::Replay { .. } => usize::MAX,
        },
        failure: Mutex::default(),
        patience: config.patience,
    });
    if past.run.is_none() {
        desk.journal.write(&Line::Run(run.clone())).await.map_err(PublishError::JournalWrite)?;
    }
    let mut shutdown = Box::pin(shutdown);
    let publisher = Publisher { config: &config, world: &world, desk: desk.clone(), run };
    let outcome = publisher.publish(past, shutdown.as_mut()).await;
    let closed = desk.journal.close().await.err();
    let failure = lock(&desk.failure).take().or(closed);
    let mut summary = lock(&desk.summary).clone();
    summary.close(started.elapsed());
    match (outcome, failure) {
        (Err(error), _) => Err(error),
        (Ok(()), Some(failure)) => Err(PublishError::JournalWrite(failure)),
        (Ok(()), None) => Ok(summary),
    }
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

struct Publisher<'a> {
    config: &'a Config,
    world: &'a World,
    desk: Arc<Desk>,
    run: RunLine,
}

impl Publisher<'_> {
    async fn publish<S>(&self, past: Past, mut shutdown: Pin<&mut S>) -> Result<(), PublishError>
    where
        S: Future<Output = ()> + Send,
    {
        let slots = Arc::new(Semaphore::new(usize::try_from(self.config.in_flight).unwrap_or(1)));
        let (mut n, last_source) = (past.last_n, past.last_source);
        self.resume(past, &slots).await;
        let found = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            found = self.instruments() => found?,
        };
        let mut source = self.source(found, last_source)?;
        let mut pace = Pace {
            slots: slots.clone(),
            ends: self.config.seconds.map(|seconds| Instant::now() + seconds),
            progress: Progress::new(self.config.count),
        };
        while self.config.count.is_none_or(|count| n < count) && lock(&self.desk.failure).is_none() {
            let next = pace.next(&mut source, n + 1, &self.desk, shutdown.as_mut()).await?;
            pace.progress.show(&lock(&self.desk.summary));
            let Some((planned, slot)) = next else { break };
            n += 1;
            let (order, source) = (self.name(n, &planned), planned.source);
            let desk = self.desk.clone();
            self.world.tasks.spawn(async move {
                desk.send(IntentLine { order, n, source }).await;
                drop(slot);
            });
        }
        pace.progress.finish();
        drop(source);
        self.drain(&slots).await;
        Ok(())
    }

    /// Waits until every delivery has come to its end; each is bounded by the patience.
    async fn drain(&self, slots: &Semaphore) {
        // The semaphore is never closed.
        let _ = slots.acquire_many(self.config.in_flight).await;
    }

    /// Sees through what an earlier run left open, before anything new is sent.
    async fn resume(&self, past: Past, slots: &Arc<Semaphore>) {
        let open = past.open.len();
        if open > 0 {
            tracing::info!(open, "settling what an earlier run left open");
        }
        for order in past.open.into_values() {
            // The semaphore is never closed.
            let slot = slots.clone().acquire_owned().await;
            let desk = self.desk.clone();
            self.world.tasks.spawn(async move {
                desk.settle(order).await;
                drop(slot);
            });
        }
        self.drain(slots).await;
    }

    fn source(&self, instruments: Vec<Instrument>, last_source: u64) -> Result<Source, PublishError> {
        match &self.config.mode {
            Mode::Random(settings) => {
                let references = References::default();
                self.world.tasks.spawn(references.clone().follow(self.desk.venue.clone()));
                Ok(Source::Random(Random::new(settings.clone(), self.run.seed, instruments, references)))
            }
            Mode::Replay { settings, symbol, qty_scale } => {
                let instrument = instruments.into_iter().next();
                let instrument = instrument.ok_or_else(|| PublishError::NoSymbol(symbol.to_string()))?;
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
        let give_up = Instant::now() + self.config.patience;
        loop {
            let what = match self.desk.venue.exchange_info().await {
                Ok(info) => match choose(&info, &wanted) {
                    Ok(found) => return Ok(found),
                    // It may be that the exchange has not seen the symbols yet.
                    Err(missing) if Instant::now() >= give_up => return Err(PublishError::NoSymbol(missing)),
                    Err(missing) => format!("no {missing}"),
                },
                Err(error) => error.to_string(),
            };
            if Instant::now() >= give_up {
                return Err(PublishError::NoExchange { what, within: self.config.patience });
            }
            tracing::debug!(what, "waiting for the exchange");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn name(&self, n: u64, planned: &Planned) -> Order {
        // With a secret the account is the exchange's to choose; without one the key names it.
        let account = match (&self.config.api_key, &self.config.api_secret) {
            (Some(key), None) => key.clone(),
            (Some(_) | None, _) => DEFAULT_ACCOUNT.to_owned(),
        };
        Order {
            client_order_id: format!("{}-{n}", self.run.run_id),
            account,
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
    async fn next<S>(
        &mut self,
        source: &mut Source,
        n: u64,
        desk: &Desk,
        mut shutdown: Pin<&mut S>,
    ) -> Result<Option<(Planned, OwnedSemaphorePermit)>, ReplayError>
    where
        S: Future<Output = ()> + Send,
    {
        let slots = self.slots.clone();
        let next = async {
            let slot = slots.acquire_owned().await;
            source.next(n).await.map(|planned| planned.zip(slot.ok()))
        };
        tokio::pin!(next);
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown => return Ok(None),
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

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
