//! Clients that record every call command and read three real nodes while their leader is stopped, killed and restarted:
//! the history passes every check, and it holds what could have gone wrong.

#![allow(clippy::disallowed_methods, reason = "real processes live on the real clock")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate_api::{Consistency, HoldingView, QuoteView};
use quorate_client::{Client, ClientConfig, ReadOptions, Session, SubmitError};
use quorate_domain::{
    Account, ClientOrderId, Decimal, ExchangeName, Exposure, Instrument, MakerName, OrderType, Price, Qty, QuoteSide,
    Side, Symbol, TimeInForce,
};
use quorate_ledger::{
    Against, Answer, Command, CommitParameters, ControlChange, ControlCommand, DefineSymbol, Digest, ExecuteOrder,
    KeepQuote, MakerRef, NewOrder, Outcome, PlaceQuote, PlannedFill, PullQuote, QuoteBasis, QuoteCause, Refusal,
    RegisterExchange, RegisterMaker, Remainder, Response, Secret,
};
use quorate_seams::{Failpoints, World};
use quorate_tests::{
    harness::{Cluster, Setup, eventually},
    history::{
        calls::History,
        check,
        record::{Fault, Line, Recorder, Timer},
        timeline,
    },
};
use tokio::task::JoinSet;

/// What every maker here quotes with.
const PARAMETERS: &str = "none";
const SYMBOLS: [&str; 3] = ["BTCUSDT", "ETHUSDT", "SOLUSDT"];
/// How long a client waits for a command's answer: less than a failover takes, so that some are left in doubt.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long it waits for the outcome of one that is in doubt.
const SETTLE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(12);
/// Commands that are sent to a leader that does not answer.
const VOLLEY: u64 = 24;
/// Executed orders between two faults.
const ORDERS_BETWEEN: usize = 40;
/// Operations below which the run shows nothing.
const OPERATIONS_MIN: usize = 500;

/// What all clients of the run share.
struct Run {
    start: Instant,
    endpoints: Vec<String>,
    stop: AtomicBool,
    /// Executed orders so far.
    executed: Mutex<usize>,
    recorders: Mutex<Vec<Arc<Recorder>>>,
}

impl Run {
    fn client(&self, name: &str) -> Result<Client> {
        let start = self.start;
        let timer = Timer::new(move || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let recorder = Arc::new(Recorder::new(name, timer));
        self.recorders.lock().unwrap_or_else(PoisonError::into_inner).push(recorder.clone());
        let mut config = ClientConfig::new(self.endpoints.clone());
        config.observer = Some(recorder);
        Ok(Client::new(World::real(Failpoints::none())?, config)?)
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn executed(&self) -> usize {
        *self.executed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn lines(&self) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for recorder in self.recorders.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            lines.extend(recorder.take()?);
        }
        Ok(lines)
    }
}

/// Submits, and where the outcome is in doubt settles it. `None` where it was certainly not applied.
async fn submit(session: &Session, command: &Command) -> Result<Option<Response>> {
    match session.submit(command, tokio::time::Instant::now() + PATIENCE).await {
        Ok(response) => Ok(Some(response)),
        Err(SubmitError::NotApplied(_)) => Ok(None),
        Err(SubmitError::Unknown { ticket, .. }) => {
            let ticket = ticket.context("a session that lives settles its commands")?;
            let settled = session.settle(ticket, tokio::time::Instant::now() + SETTLE).await;
            Ok(Some(settled.context("not settled in time")?))
        }
    }
}

fn symbols() -> Vec<Symbol> {
    SYMBOLS.iter().filter_map(|name| Symbol::new(name).ok()).collect()
}

fn define(symbol: Symbol) -> Result<Command> {
    let size = Decimal::new(1, 2).context("a size")?;
    let instrument = Instrument::spot("B".parse()?, "Q".parse()?, size, size, 1);
    Ok(Command::DefineSymbol(DefineSymbol { symbol, instrument }))
}

/// What every quote is computed from.
fn basis() -> Result<QuoteBasis> {
    Ok(QuoteBasis {
        computed_at: 0,
        reference: None,
        room: None,
        strategy: "test".parse()?,
        version: 1,
        parameters: Digest::of(PARAMETERS.as_bytes()),
        state: Vec::new(),
    })
}

/// What `incarnation` holds, as far as a read tells it now.
async fn holdings(client: &Client, incarnation: u64) -> Vec<HoldingView> {
    let read = client.makers(&ReadOptions::linearizable().within(PATIENCE)).await;
    let makers = read.map(|read| read.data).unwrap_or_default();
    makers.into_iter().find(|view| view.incarnation == incarnation).map(|view| view.holds).unwrap_or_default()
}

/// Quotes what it holds, in turn, and keeps or pulls a quote now and then.
async fn make(run: Arc<Run>, name: &'static str) -> Result<()> {
    let client = run.client(name)?;
    let session = client.session();
    let maker = MakerName::new(name)?;
    let (mut incarnation, mut holds, mut quote_seq) = (0, Vec::<HoldingView>::new(), 0);
    let secret = Secret([7; 32]);
    let mut seen = BTreeMap::<Symbol, u64>::new();
    // What is committed, and which quote stands, of the present incarnation.
    let (mut committed, mut standing) = (BTreeSet::<Symbol>::new(), BTreeMap::<Symbol, u64>::new());
    while run.goes_on() {
        quote_seq += 1;
        let at = usize::try_from(quote_seq)? % holds.len().max(1);
        let command = match holds.get(at) {
            _ if incarnation == 0 => {
                let (maker, secret_hash) = (maker.clone(), secret.hash());
                Command::RegisterMaker(RegisterMaker { maker, ttl_ms: 9_000, secret_hash })
            }
            None => Command::RenewMaker(MakerRef { maker: maker.clone(), incarnation, secret }),
            Some(_) if quote_seq % 20 == 0 => {
                Command::RenewMaker(MakerRef { maker: maker.clone(), incarnation, secret })
            }
            Some(held) if !committed.contains(&held.symbol) => {
                let (maker, symbol, text) = (maker.clone(), held.symbol.clone(), PARAMETERS.to_owned());
                Command::CommitParameters(CommitParameters { maker, incarnation, secret, symbol, text })
            }
            Some(held) if quote_seq % 11 == 0 => {
                Command::PullQuote(PullQuote { symbol: held.symbol.clone(), epoch: held.epoch, secret, quote_seq })
            }
            Some(held) if quote_seq % 7 == 0 && standing.contains_key(&held.symbol) => Command::KeepQuote(KeepQuote {
                revision: 1,
                symbol: held.symbol.clone(),
                incarnation,
                secret,
                epoch: held.epoch,
                quote_seq,
                quote_id: standing[&held.symbol],
                position_seq: seen.get(&held.symbol).copied().unwrap_or(0),
                ttl_ms: 2_000,
                basis: basis()?,
            }),
            Some(held) => {
                let drift = i64::try_from(quote_seq % 5)?;
                let side = |price: i64| Some(QuoteSide { price: Price(price + drift), qty: Qty(30) });
                Command::PlaceQuote(PlaceQuote {
                    revision: 1,
                    symbol: held.symbol.clone(),
                    incarnation,
                    secret,
                    epoch: held.epoch,
                    quote_seq,
                    position_seq: seen.get(&held.symbol).copied().unwrap_or(0),
                    bid: side(95),
                    ask: side(101),
                    allow_reduced: true,
                    ttl_ms: 2_000,
                    cause: QuoteCause::Refresh,
                    basis: basis()?,
                })
            }
        };
        if let Some(response) = submit(&session, &command).await? {
            match response.outcome {
                Outcome::Accepted(Answer::MakerRegistered { incarnation: new, .. }) => {
                    (incarnation, holds) = (new, holdings(&client, new).await);
                    committed.clear();
                    standing.clear();
                }
                Outcome::Accepted(Answer::ParametersCommitted { .. }) => {
                    committed.extend(holds.get(at).map(|held| held.symbol.clone()));
                }
                Outcome::Accepted(Answer::QuotePlaced { quote_id, .. }) => {
                    standing.extend(holds.get(at).map(|held| (held.symbol.clone(), quote_id)));
                }
                Outcome::Accepted(Answer::MakerRenewed { .. }) => holds = holdings(&client, incarnation).await,
                Outcome::Refused(Refusal::StalePosition { position_seq, .. }) => {
                    if let Some(held) = holds.get(at) {
                        seen.insert(held.symbol.clone(), position_seq);
                    }
                }
                Outcome::Refused(Refusal::StaleEpoch { .. }) => holds.clear(),
                Outcome::Refused(Refusal::UnknownMaker { .. }) => incarnation = 0,
                Outcome::Accepted(_) | Outcome::Refused(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Hits what is quoted.
async fn trade(run: Arc<Run>) -> Result<()> {
    let client = run.client("exchange")?;
    let session = client.session();
    let (mut exchange_epoch, mut orders) = (0, 0_u64);
    let mut next: BTreeMap<Symbol, u64> = BTreeMap::new();
    while run.goes_on() {
        tokio::time::sleep(PAUSE).await;
        if exchange_epoch == 0 {
            let register = Command::RegisterExchange(RegisterExchange { exchange: ExchangeName::new("x")? });
            let answer = submit(&session, &register).await?.map(|response| response.outcome);
            if let Some(Outcome::Accepted(Answer::ExchangeRegistered { exchange_epoch: epoch })) = answer {
                exchange_epoch = epoch;
            }
            continue;
        }
        orders += 1;
        let Ok(read) = client.quotes(None, &ReadOptions::linearizable()).await else { continue };
        let at = usize::try_from(orders)? % read.data.len().max(1);
        let Some(quote) = read.data.get(at) else { continue };
        let Some((order, fill)) = order(quote, orders, read.log_time)? else { continue };
        let exec_id = next.entry(order.symbol.clone()).or_insert(1);
        let execute = Command::ExecuteOrder(ExecuteOrder {
            revision: 1,
            exchange_epoch,
            exec_id: *exec_id,
            answered_below: *exec_id,
            also_answered: None,
            deadline: read.log_time.plus(30_000),
            order,
            fills: vec![fill],
            remainder: Remainder::None,
        });
        match submit(&session, &execute).await?.map(|response| response.outcome) {
            Some(Outcome::Accepted(_)) => {
                *exec_id += 1;
                *run.executed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            }
            Some(Outcome::Refused(Refusal::ExecGap { expected })) => *exec_id = expected,
            Some(Outcome::Refused(_)) | None => {}
        }
    }
    Ok(())
}

/// An order that takes a few lots of a quote.
fn order(quote: &QuoteView, number: u64, timestamp: quorate_domain::Millis) -> Result<Option<(NewOrder, PlannedFill)>> {
    let (side, leg) = if number.is_multiple_of(2) { (Side::Buy, &quote.ask) } else { (Side::Sell, &quote.bid) };
    let Some(leg) = leg else { return Ok(None) };
    let qty = Qty(leg.leaves.0.min(1 + i64::try_from(number % 7)?));
    let order = NewOrder {
        account: Account::new("fund")?,
        client_order_id: ClientOrderId::new(&format!("o-{number}"))?,
        symbol: quote.symbol.clone(),
        side,
        order_type: OrderType::Limit,
        time_in_force: TimeInForce::Gtc,
        price: Some(leg.price),
        qty,
        timestamp,
    };
    let against = Against::Quote(quote.quote_id);
    Ok(Some((order, PlannedFill { against, leaves: leg.leaves, price: leg.price, qty })))
}

/// Reads everything at every node, linearizable and local in turn. That a read fails while nodes are down is part of it.
async fn read(run: Arc<Run>, name: &'static str) -> Result<()> {
    let client = run.client(name)?;
    for turn in 0_usize.. {
        if !run.goes_on() {
            break;
        }
        let node = turn % client.endpoints();
        let consistency = if turn % 2 == 0 { Consistency::Local } else { Consistency::Linearizable };
        let options = ReadOptions { consistency, node: Some(node), min_index: None, timeout: PATIENCE };
        match turn / 2 % 4 {
            0 => drop(client.positions(None, &options).await),
            1 => drop(client.quotes(None, &options).await),
            2 => drop(client.exposure(&options).await),
            _ => drop(client.authority(&options).await),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Sends many commands at once to a group whose leader has just stopped to answer, and settles what is in doubt. Every
/// third is left in doubt for ever.
async fn volley(session: &Session) -> Result<usize> {
    let mut in_doubt = 0;
    let mut submitted = Vec::new();
    for number in 0..VOLLEY {
        let symbol = symbols()[usize::try_from(number)? % SYMBOLS.len()].clone();
        submitted.push(session.submit(&define(symbol)?, tokio::time::Instant::now() + PATIENCE));
    }
    for (number, submission) in submitted.into_iter().enumerate() {
        if let Err(SubmitError::Unknown { ticket: Some(ticket), .. }) = submission.await {
            in_doubt += 1;
            if number % 3 != 0 {
                session.settle(ticket, tokio::time::Instant::now() + SETTLE).await?;
            }
        }
    }
    Ok(in_doubt)
}

/// The operator's part: what must be there before anybody trades, and a limit that changes while they do.
async fn prepare(client: &Client, session: &Session) -> Result<()> {
    for symbol in symbols() {
        session.submit(&define(symbol)?, tokio::time::Instant::now() + SETTLE).await?;
    }
    set_limit(client, 90).await
}

async fn set_limit(client: &Client, limit: i64) -> Result<()> {
    let control_version = client.status(&ReadOptions::linearizable()).await?.data.control.control_version;
    let command = Command::Control(ControlCommand {
        actor: "operator".parse()?,
        reason: "a test".to_owned(),
        control_version,
        change: ControlChange::ExposureLimit { limit: Exposure(limit.into()) },
    });
    client.submit_without_session(&command, tokio::time::Instant::now() + SETTLE).await?;
    Ok(())
}

/// Waits until so many more orders are executed.
async fn flows(run: &Run) -> Result<()> {
    let before = run.executed();
    eventually("orders executed", || async { anyhow::Ok((run.executed() >= before + ORDERS_BETWEEN).then_some(())) })
        .await
}

/// Stops the leader, so that nobody knows what becomes of what it was sent; kills it, and starts it again.
async fn stop_and_kill(cluster: &mut Cluster, run: &Run, session: &Session) -> Result<(usize, Fault)> {
    let leader = cluster.leader().await?;
    let at = run.now();
    cluster.node(leader)?.pause()?;
    let in_doubt = volley(session).await?;
    cluster.take_node(leader)?.kill()?;
    flows(run).await?;
    cluster.start_node(leader)?;
    serves_local_reads(cluster, leader).await?;
    Ok((in_doubt, Fault { at, until: Some(run.now()), what: format!("leader {leader} stopped, then killed") }))
}

/// Kills the leader among its work, and starts it again at once.
async fn kill(cluster: &mut Cluster, run: &Run) -> Result<Fault> {
    let leader = cluster.leader().await?;
    let at = run.now();
    cluster.take_node(leader)?.kill()?;
    cluster.start_node(leader)?;
    serves_local_reads(cluster, leader).await?;
    Ok(Fault { at, until: Some(run.now()), what: format!("leader {leader} killed") })
}

async fn serves_local_reads(cluster: &Cluster, id: u64) -> Result<()> {
    eventually("a local read after the restart", || async {
        let (status, _) = cluster.get(id, "/v1/positions?consistency=local").await?;
        anyhow::Ok((status == 200).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_of_a_group_whose_leaders_are_killed_passes_every_check() -> Result<()> {
    let node_flags = vec!["--event-retention=1000000".to_owned()];
    // The operator's client defines the symbols: every command of the run is recorded.
    let mut cluster = Cluster::start(Setup { symbols: Vec::new(), node_flags, ..Setup::default() }).await?;
    let run = Arc::new(Run {
        start: Instant::now(),
        endpoints: cluster.ids().into_iter().map(|id| cluster.api(id)).collect(),
        stop: AtomicBool::new(false),
        executed: Mutex::default(),
        recorders: Mutex::default(),
    });
    let operator = run.client("operator")?;
    let session = operator.session();
    prepare(&operator, &session).await?;
    let mut clients = JoinSet::new();
    clients.spawn(make(run.clone(), "ada"));
    clients.spawn(make(run.clone(), "bob"));
    clients.spawn(trade(run.clone()));
    for name in ["reader-1", "reader-2", "reader-3"] {
        clients.spawn(read(run.clone(), name));
    }

    flows(&run).await?;
    let (in_doubt, stopped) = stop_and_kill(&mut cluster, &run, &session).await?;
    flows(&run).await?;
    set_limit(&operator, 60).await?;
    let killed = kill(&mut cluster, &run).await?;
    flows(&run).await?;
    run.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended??;
    }

    let mut lines = run.lines()?;
    lines.extend([Line::Fault(stopped), Line::Fault(killed)]);
    let history = History::of(lines)?;
    let frames = cluster.frames()?;
    let checking = Instant::now();
    let report = check(&history, &frames)?;
    println!("{:#?}\nchecked in {:?}", report.figures, checking.elapsed());
    if !report.passed() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("history-checks");
        timeline::keep(&kept, &history, &frames, &report.violations)?;
        anyhow::bail!("{:#?}\nkept in {}", report.violations, kept.display());
    }

    let figures = report.figures;
    ensure!(figures.operations > OPERATIONS_MIN, "only {} operations", figures.operations);
    ensure!(in_doubt > 0 && figures.unknown > 0 && figures.settled > 0, "nothing was in doubt, or nothing settled");
    ensure!(figures.nodes == 3 && figures.local_reads > 50 && figures.linearizable_reads > 50, "too few reads");
    for name in ["place_quote", "keep_quote", "pull_quote", "execute_order", "renew_maker"] {
        ensure!(figures.commands.contains_key(name), "no {name} was answered");
    }
    Ok(())
}
