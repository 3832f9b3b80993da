//! The benchmark: simulated clients in a closed loop, each with a session of its own and at most one
//! command in flight, which it awaits. Every command is a real one, committed and applied by the group.
//!
//! The symbols it quotes are its own, 1 lot each side, so that all its quotes together stay within the
//! exposure limit; clients of one symbol share a sender, which keeps their quotes in order. An exchange must not run, nor have run: its listing
//! leaves these symbols out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use hdrhistogram::Histogram;
use quorate_client::{ReadOptions, Session};
use quorate_domain::{Instrument, MakerName, Price, Qty, QuoteSide, Symbol};
use quorate_ledger::{
    Answer, Command, CommitParameters, DefineSymbol, Digest, Epoch, Incarnation, MakerRef, Outcome, PlaceQuote,
    PullQuote, QuoteBasis, QuoteCause, Refusal, RegisterMaker, Response, Secret, bounds::QUOTE_TTL_MAX_MS,
};
use serde::Serialize;
use tokio::time::Instant;

use crate::{Ctl, args::BenchArgs, failure::CtlError, output::Grid};

/// Symbols quoted at most: at 1 unit each side they stay below the limit of 100 that a group starts with.
const SYMBOLS: usize = 64;
/// The bench's only maker.
const MAKER: &str = "bench";
/// Its secret, which keeps nobody out: a bench runs on a group of its own.
const SECRET: Secret = Secret([0; 32]);
/// The name of what it quotes by.
const STRATEGY: &str = "bench";
/// The parameters of that.
const PARAMETERS: &str = "half spread 10 ticks, 1 lot";
/// Its lease.
const LEASE_MS: u64 = 30_000;
/// Of so many commands of a client, one pulls the quote; all others place one.
const PULL_EVERY: u64 = 16;
/// Middle price of all bench quotes, in ticks; nobody trades these symbols.
const MIDDLE: i64 = 1_000_000;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Under which circumstances it was measured.
#[derive(Debug, Serialize)]
struct Conditions {
    nodes: usize,
    endpoints: Vec<String>,
    commands: String,
    symbols: usize,
    seconds: u64,
    warmup_seconds: u64,
    lanes: usize,
    batching: String,
    cores: usize,
    fsync: String,
    server_version: String,
}

/// One run.
#[derive(Debug, Serialize)]
struct Run {
    clients: u16,
    /// Commands answered by the ledger, accepted and refused.
    commands_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    accepted: u64,
    refused: u64,
    not_applied: u64,
    unknown: u64,
}

/// What `bench` prints as JSON.
#[derive(Debug, Serialize)]
struct Report {
    conditions: Conditions,
    runs: Vec<Run>,
}

/// A bench symbol and what its quotes must name.
#[derive(Debug)]
struct Book {
    symbol: Symbol,
    incarnation: Incarnation,
    epoch: Epoch,
    quote_seq: AtomicU64,
    position_seq: AtomicU64,
    basis: QuoteBasis,
}

/// What one client counts.
struct Counts {
    latency: Histogram<u64>,
    accepted: u64,
    refused: u64,
    not_applied: u64,
    unknown: u64,
}

impl Ctl {
    pub(crate) async fn bench(&mut self, args: BenchArgs) -> Result<(), CtlError> {
        let most = usize::from(args.clients.iter().copied().max().unwrap_or(1));
        self.client.find_leader().await;
        let sessions: Vec<Session> = (0..most.max(args.lanes)).map(|_| self.client.session()).collect();
        let maker = self.client.session();
        let outcome = tokio::select! {
            outcome = self.measure(&args, &sessions, &maker) => outcome,
            _ = tokio::signal::ctrl_c() => Err(CtlError::Check("interrupted".to_owned())),
        };
        self.clean_up(&maker).await;
        join_all(sessions.iter().chain([&maker]).map(|session| session.close(self.deadline()))).await;
        let report = outcome?;
        self.out.show(&report, show)?;
        if report.runs.iter().any(|run| run.accepted == 0) {
            return Err(CtlError::Check("a run in which nothing was accepted measures nothing".to_owned()));
        }
        Ok(())
    }

    async fn measure(&self, args: &BenchArgs, sessions: &[Session], maker: &Session) -> Result<Report, CtlError> {
        // Sessions take the lanes in turn: with a multiple of their number, one symbol's clients share one.
        let symbols = SYMBOLS.min(sessions.len()) / args.lanes * args.lanes;
        let books = self.prepare(maker, symbols).await?;
        let status = self.client.status(&ReadOptions::linearizable().within(self.timeout)).await?;
        let group = self.client.cluster(&ReadOptions::linearizable().within(self.timeout)).await?;
        let incarnation = books[0].incarnation;
        let renewing = self.client.world().tasks.spawn(renew(maker.clone(), incarnation, self.timeout)).abort_handle();
        let mut runs = Vec::new();
        for clients in &args.clients {
            runs.push(self.run(args, *clients, sessions, &books).await?);
        }
        renewing.abort();
        let pulls = 100.0 / PULL_EVERY as f64;
        let conditions = Conditions {
            nodes: group.data.members.len(),
            endpoints: self.endpoints.clone(),
            commands: format!("{:.2}% place_quote (1 lot each side), {pulls:.2}% pull_quote", 100.0 - pulls),
            symbols,
            seconds: args.seconds,
            warmup_seconds: args.warmup,
            lanes: args.lanes,
            batching: "one command in flight per client; commands that wait together go in one POST, \
                       one POST in flight per lane, as in the production client"
                .to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            fsync: "on: a node acknowledges only what its disk has; no setting turns that off".to_owned(),
            server_version: status.data.version,
        };
        Ok(Report { conditions, runs })
    }

    /// Defines the symbols and registers the maker, which must then hold them all.
    async fn prepare(&self, maker: &Session, symbols: usize) -> Result<Vec<Arc<Book>>, CtlError> {
        let options = ReadOptions::linearizable().within(self.timeout);
        let makers = self.client.makers(&options).await?;
        if let Some(other) = makers.data.iter().find(|view| view.maker.as_str() != MAKER) {
            let text =
                format!("maker '{}' is registered: bench would take symbols from it; stop it first", other.maker);
            return Err(CtlError::Check(text));
        }
        let exposure = self.client.exposure(&options).await?;
        let needed = i128::try_from(symbols).unwrap_or(i128::MAX);
        if exposure.data.limit.0 < needed {
            let text = format!("the exposure limit is {}, and bench reserves {needed}", exposure.data.limit);
            return Err(CtlError::Check(text));
        }
        let control = self.client.status(&options).await?.data.control;
        if control.kill_switch || !control.quoting {
            return Err(CtlError::Check("quoting is off: bench measures quotes that are accepted".to_owned()));
        }
        let asset = |name: &str| name.parse().map_err(|_| CtlError::Usage("asset".to_owned()));
        let tick_size = "0.01".parse().map_err(|_| CtlError::Usage("tick size".to_owned()))?;
        let lot_size = "1".parse().map_err(|_| CtlError::Usage("lot size".to_owned()))?;
        let instrument = Instrument::spot(asset("BENCH")?, asset("USDT")?, tick_size, lot_size, 1);
        let names: Vec<Symbol> = (1..=symbols)
            .map(|number| Symbol::new(&format!("BENCH-{number:04}")))
            .collect::<Result<_, _>>()
            .map_err(|error| CtlError::Usage(error.to_string()))?;
        let defines = names.iter().map(|symbol| {
            let command =
                Command::DefineSymbol(DefineSymbol { symbol: symbol.clone(), instrument: instrument.clone() });
            maker.submit(&command, self.deadline())
        });
        for outcome in join_all(defines).await {
            accepted(outcome?)?;
        }
        let bench_name = maker_name()?;
        let register = Command::RegisterMaker(RegisterMaker {
            maker: bench_name.clone(),
            ttl_ms: LEASE_MS,
            secret_hash: SECRET.hash(),
        });
        let Answer::MakerRegistered { incarnation, .. } = accepted(maker.submit(&register, self.deadline()).await?)?
        else {
            return Err(CtlError::Check("register_maker was answered with something else".to_owned()));
        };
        let commits = names.iter().map(|symbol| {
            let command = Command::CommitParameters(CommitParameters {
                maker: bench_name.clone(),
                incarnation,
                secret: SECRET,
                symbol: symbol.clone(),
                text: PARAMETERS.to_owned(),
            });
            maker.submit(&command, self.deadline())
        });
        for outcome in join_all(commits).await {
            accepted(outcome?)?;
        }
        let makers = self.client.makers(&options).await?.data;
        let holds = makers.into_iter().find(|view| view.incarnation == incarnation).map(|view| view.holds);
        let holds = holds.unwrap_or_default();
        let positions = self.client.positions(None, &options).await?.data;
        let basis = QuoteBasis {
            computed_at: 0,
            reference: None,
            room: None,
            strategy: STRATEGY.parse().map_err(|error| CtlError::Usage(format!("{error}")))?,
            version: 1,
            parameters: Digest::of(PARAMETERS.as_bytes()),
            state: Vec::new(),
        };
        let book = |symbol: &Symbol| {
            let epoch = holds.iter().find(|holding| holding.symbol == *symbol)?.epoch;
            let position_seq = positions.iter().find(|view| view.symbol == *symbol).map_or(0, |view| view.position_seq);
            Some(Arc::new(Book {
                symbol: symbol.clone(),
                incarnation,
                epoch,
                quote_seq: AtomicU64::new(0),
                position_seq: AtomicU64::new(position_seq),
                basis: basis.clone(),
            }))
        };
        let books: Option<Vec<_>> = names.iter().map(book).collect();
        books.ok_or_else(|| CtlError::Check(
                "the bench maker does not hold its symbols: another maker joined, or an exchange has said for which symbols it has \
                 prices; stop both, or bench a group of its own"
                    .to_owned(),
            ))
    }

    async fn run(
        &self,
        args: &BenchArgs,
        clients: u16,
        sessions: &[Session],
        books: &[Arc<Book>],
    ) -> Result<Run, CtlError> {
        let start = Instant::now() + Duration::from_secs(args.warmup);
        let end = start + Duration::from_secs(args.seconds);
        let tasks = &self.client.world().tasks;
        let loops: Vec<_> = (0..usize::from(clients))
            .map(|at| {
                let book = books[at % books.len()].clone();
                tasks.spawn(closed_loop(sessions[at].clone(), book, start, end, self.timeout))
            })
            .collect();
        let mut total = Counts::new()?;
        for counts in join_all(loops).await {
            let counts = counts.map_err(|error| CtlError::Check(format!("a client ended: {error}")))??;
            total.add(&counts)?;
        }
        let ms = |quantile: f64| total.latency.value_at_quantile(quantile) as f64 / 1_000.0;
        Ok(Run {
            clients,
            commands_per_s: (total.accepted + total.refused) as f64 / args.seconds as f64,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: total.latency.max() as f64 / 1_000.0,
            accepted: total.accepted,
            refused: total.refused,
            not_applied: total.not_applied,
            unknown: total.unknown,
        })
    }

    /// Leaves as far as that is possible: quotes end with the maker; symbols cannot be removed.
    async fn clean_up(&self, maker: &Session) {
        let Ok(name) = maker_name() else { return };
        let registered = async {
            let options = ReadOptions::linearizable().within(self.timeout);
            let makers = self.client.makers(&options).await.ok()?.data;
            makers.into_iter().find(|view| view.maker == name)
        };
        let Some(view) = registered.await else { return };
        let command =
            Command::DeregisterMaker(MakerRef { maker: view.maker, incarnation: view.incarnation, secret: SECRET });
        if let Err(error) = maker.submit(&command, self.deadline()).await {
            eprintln!("the bench maker stays until its lease ends: {error}");
        }
    }
}

fn maker_name() -> Result<MakerName, CtlError> {
    MakerName::new(MAKER).map_err(|error| CtlError::Usage(error.to_string()))
}

fn accepted(response: Response) -> Result<Answer, CtlError> {
    match response.outcome {
        Outcome::Accepted(answer) => Ok(answer),
        Outcome::Refused(refusal) => Err(CtlError::Refused(refusal.to_string())),
    }
}

/// Keeps the maker's lease until it is aborted.
async fn renew(session: Session, incarnation: Incarnation, timeout: Duration) {
    let Ok(maker) = maker_name() else { return };
    loop {
        tokio::time::sleep(Duration::from_millis(LEASE_MS / 3)).await;
        let command = Command::RenewMaker(MakerRef { maker: maker.clone(), incarnation, secret: SECRET });
        if let Err(error) = session.submit(&command, Instant::now() + timeout).await {
            tracing::warn!(%error, "renewal failed");
        }
    }
}

/// One client: a command, its answer, the next command, until `end`. Counts what began after `start`.
async fn closed_loop(
    session: Session,
    book: Arc<Book>,
    start: Instant,
    end: Instant,
    timeout: Duration,
) -> Result<Counts, CtlError> {
    let mut counts = Counts::new()?;
    let mut number: u64 = 0;
    loop {
        number += 1;
        let command = if number.is_multiple_of(PULL_EVERY) { book.pull() } else { book.place(number) };
        let sent = Instant::now();
        let outcome = session.submit(&command, sent + timeout).await;
        let answered = Instant::now();
        if answered >= end {
            return Ok(counts);
        }
        if let Ok(Response { outcome: Outcome::Refused(Refusal::StalePosition { position_seq, .. }), .. }) = &outcome {
            book.position_seq.store(*position_seq, Ordering::Relaxed);
        }
        if sent >= start {
            counts.count(&outcome, answered - sent);
        }
    }
}

impl Book {
    fn place(&self, number: u64) -> Command {
        let shift = i64::try_from(number % 100).unwrap_or(0);
        let side = |price| Some(QuoteSide { price: Price(price), qty: Qty(1) });
        Command::PlaceQuote(PlaceQuote {
            symbol: self.symbol.clone(),
            incarnation: self.incarnation,
            secret: SECRET,
            epoch: self.epoch,
            revision: 1,
            quote_seq: self.next_quote_seq(),
            position_seq: self.position_seq.load(Ordering::Relaxed),
            bid: side(MIDDLE + shift - 10),
            ask: side(MIDDLE + shift + 10),
            allow_reduced: true,
            ttl_ms: QUOTE_TTL_MAX_MS,
            cause: QuoteCause::Refresh,
            basis: self.basis.clone(),
        })
    }

    fn pull(&self) -> Command {
        let (symbol, epoch, quote_seq) = (self.symbol.clone(), self.epoch, self.next_quote_seq());
        Command::PullQuote(PullQuote { symbol, epoch, secret: SECRET, quote_seq })
    }

    fn next_quote_seq(&self) -> u64 {
        self.quote_seq.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Counts {
    fn new() -> Result<Self, CtlError> {
        let latency = Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
            .map_err(|error| CtlError::Usage(format!("histogram: {error}")))?;
        Ok(Self { latency, accepted: 0, refused: 0, not_applied: 0, unknown: 0 })
    }

    fn count(&mut self, outcome: &Result<Response, quorate_client::SubmitError>, took: Duration) {
        match outcome {
            Ok(response) => {
                let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(us.max(1));
                match response.outcome {
                    Outcome::Accepted(_) => self.accepted += 1,
                    Outcome::Refused(_) => self.refused += 1,
                }
            }
            Err(quorate_client::SubmitError::NotApplied(_)) => self.not_applied += 1,
            Err(quorate_client::SubmitError::Unknown { .. }) => self.unknown += 1,
        }
    }

    fn add(&mut self, other: &Self) -> Result<(), CtlError> {
        self.latency.add(&other.latency).map_err(|error| CtlError::Check(format!("histogram: {error}")))?;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.not_applied += other.not_applied;
        self.unknown += other.unknown;
        Ok(())
    }
}

fn show(report: &Report) -> String {
    let conditions = &report.conditions;
    let mut grid = Grid::new(&[
        ">clients",
        ">commands/s",
        ">p50 ms",
        ">p99 ms",
        ">max ms",
        ">accepted",
        ">refused",
        ">not applied",
        ">unknown",
    ]);
    for run in &report.runs {
        grid.row([
            run.clients.to_string(),
            format!("{:.0}", run.commands_per_s),
            format!("{:.2}", run.p50_ms),
            format!("{:.2}", run.p99_ms),
            format!("{:.1}", run.max_ms),
            run.accepted.to_string(),
            run.refused.to_string(),
            run.not_applied.to_string(),
            run.unknown.to_string(),
        ]);
    }
    format!(
        "{}\n{} nodes, {} cores for all of them and the load; {} s after {} s of warm-up\n\
         {} over {} symbols\n{} lanes: {}\nfsync {}",
        grid.finish(),
        conditions.nodes,
        conditions.cores,
        conditions.seconds,
        conditions.warmup_seconds,
        conditions.commands,
        conditions.symbols,
        conditions.lanes,
        conditions.batching,
        conditions.fsync,
    )
}
