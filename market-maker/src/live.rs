//! The live maker: one task that carries everything between the quoter and the world.
//!
//! Invariant: outputs are carried out in their order, and a belief that changes is in the journal before
//! the commands that follow it are sent. Every wait of this task is a wait for all that may happen.

use std::{future::Future, io, pin::Pin, time::Duration};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use quorate_client::{Client, ClientConfig, EventStream, StreamItem};
use quorate_domain::Symbol;
use quorate_ledger::Secret;
use quorate_quoter::{Answered, Belief, BeliefChange, CommandId, Input, Output, Priced, Quoter, ReadId, Snapshot};
use quorate_seams::World;

use crate::{
    beliefs::{BeliefEvent, BeliefSink, Journal},
    config::LiveConfig,
    group::Group,
    market::{Market, Polled},
    report::Report,
};

/// Time between two lines of status in the log.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// How long the first wake-up takes: none.
const AT_ONCE: Duration = Duration::ZERO;
/// The uses of the world's seed for the two halves of a secret.
const SECRET_STREAMS: [u64; 2] = [0x5345_4352_4554_0001, 0x5345_4352_4554_0002];

/// Why a maker stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The client's configuration is refused.
    #[error("ledger-endpoints: {0}")]
    Client(#[from] quorate_client::InvalidConfig),
    /// The exchange's address is none.
    #[error("exchange: {0}")]
    Exchange(#[from] http::uri::InvalidUri),
    /// The quoter's configuration is refused.
    #[error(transparent)]
    Quoter(#[from] quorate_quoter::InvalidConfig),
    /// The belief journal cannot be written: free disk space, or leave the journal out.
    #[error("belief-journal: {0}")]
    Journal(#[from] io::Error),
}

/// A new maker's secret: random, as the world's seed has it.
#[must_use]
pub fn new_secret(world: &World) -> Secret {
    let halves = SECRET_STREAMS.map(|stream| world.random_name(stream).to_be_bytes());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&halves[0]);
    bytes[16..].copy_from_slice(&halves[1]);
    Secret(bytes)
}

/// Quotes until `shutdown` resolves; then leaves the group, and returns when that is done.
///
/// # Errors
/// [`LiveError`] where it cannot start, or its journal fails; its authority then ends with its lease.
pub async fn run(
    config: LiveConfig,
    world: World,
    beliefs: Box<dyn BeliefSink>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), LiveError> {
    let mut client = ClientConfig::new(config.ledger_endpoints);
    client.cluster_id = config.cluster_id;
    let group = Group::new(Client::new(world.clone(), client)?);
    let market = Market::new(world.clone(), &config.exchange)?;
    let maker = config.quoter.maker.clone();
    let quoter = Quoter::new(config.quoter)?;
    let clocks = world.clocks.clone();
    let mut journal = Journal { maker, clocks: clocks.as_ref(), sink: beliefs };
    journal.process(BeliefEvent::Started)?;
    let mut live = Live {
        world: &world,
        group,
        quoter,
        journal,
        report: Report::default(),
        answers: FuturesUnordered::new(),
        reading: None,
        stream: None,
        wake: Box::pin(tokio::time::sleep(AT_ONCE)),
        left: false,
    };
    live.quote(Box::pin(market.next()), shutdown).await?;
    live.report.log(&live.quoter.status());
    live.journal.process(BeliefEvent::Stopped)?;
    Ok(())
}

struct Live<'a> {
    world: &'a World,
    group: Group,
    quoter: Quoter,
    journal: Journal<'a>,
    report: Report,
    answers: FuturesUnordered<BoxFuture<'static, (CommandId, Answered)>>,
    reading: Option<BoxFuture<'static, (ReadId, Snapshot)>>,
    /// Open from the first snapshot on; closed where frames were missed, until the next.
    stream: Option<EventStream>,
    wake: Pin<Box<tokio::time::Sleep>>,
    left: bool,
}

/// A poll of the market, which gives the market back.
type Polling = BoxFuture<'static, (Market, Polled)>;

impl Live<'_> {
    async fn quote(
        &mut self,
        mut polling: Polling,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), LiveError> {
        let mut shutdown = Box::pin(shutdown);
        let mut leaving = false;
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.left {
            // In this order, so that a run can be repeated; what comes in floods stands last.
            let input = tokio::select! {
                biased;
                () = &mut shutdown, if !leaving => {
                    leaving = true;
                    Input::Leave
                }
                () = &mut self.wake => Input::Timer,
                Some((id, answer)) = self.answers.next() => {
                    self.report.answered(&answer);
                    Input::Answered { id, answer }
                }
                (id, snapshot) = pending_or(self.reading.as_mut()) => self.was_read(id, snapshot),
                (market, polled) = &mut polling => {
                    polling = Box::pin(market.next());
                    self.report.prices_dropped(polled.dropped);
                    Input::References(polled.at(self.world.clocks.monotonic()))
                }
                _ = report.tick() => {
                    self.report.log(&self.quoter.status());
                    continue;
                }
                item = next_of(self.stream.as_mut()) => match item {
                    Some(StreamItem::Frame(frame)) => Input::Frame(frame),
                    Some(StreamItem::Applied { .. }) => continue,
                    Some(StreamItem::Resync { first_index }) => {
                        tracing::warn!(first_index, "events were missed: reading the state again");
                        self.stream = None;
                        Input::StreamRestarted
                    }
                    None => {
                        self.stream = None;
                        Input::StreamRestarted
                    }
                },
            };
            self.take(input)?;
        }
        Ok(())
    }

    fn was_read(&mut self, id: ReadId, snapshot: Snapshot) -> Input {
        self.reading = None;
        if self.stream.is_none() {
            self.stream = Some(self.group.events(snapshot.index + 1));
        }
        Input::Snapshot { id, snapshot }
    }

    fn take(&mut self, input: Input) -> Result<(), LiveError> {
        let now = self.world.clocks.monotonic();
        for output in self.quoter.handle(now, input) {
            match output {
                Output::Belief(belief) => {
                    log(&belief);
                    self.journal.belief(&belief)?;
                }
                Output::Submit { id, command } => self.answers.push(Box::pin(self.group.submit(id, &command))),
                Output::Priced(symbol, priced) => {
                    say(&symbol, priced);
                    self.report.priced(priced);
                }
                Output::Read(id) => self.reading = Some(Box::pin(self.group.clone().read(id))),
                Output::WakeAt(at) => {
                    let ahead = at.saturating_sub(self.world.clocks.monotonic());
                    self.wake.as_mut().reset(tokio::time::Instant::now() + ahead);
                }
                Output::Left => self.left = true,
            }
        }
        Ok(())
    }
}

/// Renewals are routine: everybody renews several times in each lease.
fn log(belief: &Belief) {
    let Belief { symbol, epoch, .. } = belief;
    match belief.change {
        BeliefChange::Gained => tracing::info!(%symbol, epoch, "authority gained"),
        BeliefChange::Renewed => tracing::debug!(%symbol, epoch, "authority renewed"),
        BeliefChange::Ended => tracing::info!(%symbol, epoch, "authority ended"),
    }
}

/// Each is said once, when it comes about.
fn say(symbol: &Symbol, priced: Priced) {
    match priced {
        Priced::Fresh => tracing::info!(%symbol, "there is a fresh reference price: quoting"),
        Priced::Stale { age } => tracing::warn!(
            %symbol, age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            "the reference price is too old: the quote is pulled, and none is placed until its source says something; see \
             that the publisher or capture behind it runs, set a price by PUT at the exchange, or raise --reference-age-max-ms"
        ),
        Priced::Missing => tracing::warn!(
            %symbol,
            "no reference price comes for a symbol that this maker holds: it is not quoted; start the exchange with a \
             --reference for it, or see that --exchange is its address"
        ),
    }
}

/// What the future gives; for ever pending where there is none.
async fn pending_or<T>(future: Option<&mut BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// The stream's next item; for ever pending where there is no stream.
async fn next_of(stream: Option<&mut EventStream>) -> Option<StreamItem> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
