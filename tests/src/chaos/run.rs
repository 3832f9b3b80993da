//! The run itself: starts everything, goes through the schedule, heals, and judges.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use quorate_ledger::Outcome;

use super::{
    checks::{exercised, money_as_in_the_log},
    load::Load,
    report::{Check, Outcomes, Report, Suffered},
};
use crate::{
    harness::{Finished, Flow, MakerOptions, Process, Reply, Setup},
    history::{
        calls::{Call, History},
        local, order,
        record::{Fault as Injected, Got, Op, Timer},
    },
    nemesis::{
        Arena, Fault, Kind, Means, Nobody, Plan, Planned, UnderWay, can_have_small_disks, far_from_meant, next,
        schedule,
    },
};

/// Time between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time between two looks at what faults have measured, and at the nodes' audits.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long a fault that could hit nobody waits before it tries again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// How much longer than asked for a run lasts while a kind of fault has not shown.
const LATE_MAX: Duration = Duration::from_secs(60);
/// How long the publisher may take for what is still on its way when it is told to stop.
const SETTLE_MAX: Duration = Duration::from_secs(90);
/// The small disk, for the node whose disk will be full.
const DISK_MIB: u64 = 256;
/// Senders of the flow that this process sends itself.
const SENDERS: usize = 4;
/// Journals: of the publisher, and of the flow.
const PUBLISHER: u64 = 11;
const FLOW: u64 = 12;
/// A run in which less is filled shows nothing.
const FILLS_MIN: u64 = 200;
/// One in which less is written shows nothing of the order of writes.
const WRITES_MIN: u64 = 40;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the schedule follows from.
    pub seed: u64,
    /// How long faults are injected.
    pub length: Duration,
    /// By what links are spoilt; the best there is where not said.
    pub means: Option<Means>,
    /// Where the history and, of a run that failed, the logs and journals are kept.
    pub dir: PathBuf,
}

/// A fault under way.
struct Active {
    state: UnderWay,
    fault: Box<dyn Fault>,
    whom: String,
    from_ms: u64,
}

struct Chaos<'a> {
    options: &'a Options,
    began: Instant,
    arena: Arena,
    due: Vec<Planned>,
    active: Vec<Active>,
    suffered: Vec<Suffered>,
    not_begun: Vec<String>,
    /// Why faults of a kind could hit nobody when they last tried.
    nobody: BTreeMap<Kind, String>,
    /// What went wrong while it ran.
    seen: BTreeSet<String>,
    show: &'a dyn Fn(&Shown),
}

/// What a run shows of itself while it lasts.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Seconds since its beginning.
    pub elapsed_s: u64,
    /// Faults under way.
    pub active: Vec<&'static str>,
    /// Faults begun so far.
    pub begun: usize,
    /// Calls and orders so far.
    pub operations: u64,
    /// Violations seen so far.
    pub violations: usize,
}

/// Runs it, telling `show` ten times a second how far it is.
///
/// # Errors
/// Where the cluster cannot be started, or nothing can be learnt of it at the end: what does not hold is in the report.
pub async fn run(options: &Options, show: &dyn Fn(&Shown)) -> Result<Report> {
    fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
    let means = options.means.map_or_else(Means::best, Ok)?;
    let setup = Setup {
        node_flags: ["--event-retention=2000000", "--snapshot-every=5000", "--log-keep=1000"].map(str::to_owned).into(),
        ..Setup::default()
    };
    let plan = Plan {
        setup,
        makers: vec!["alpha", "beta", "gamma"],
        quoting: MakerOptions { order_qty: 60, lease_ttl_ms: 4_500, flags: vec!["--skew-percent=50"] },
        small_disk: can_have_small_disks().is_none().then_some((1 + options.seed % 3, DISK_MIB)),
        seed: options.seed,
        ..Plan::new(means)
    };
    let arena = Arena::start(plan).await?;
    let (kinds, cannot) = arena.kinds();
    #[expect(clippy::disallowed_methods, reason = "real processes live on the real clock")]
    let began = Instant::now();
    let mut chaos = Chaos {
        options,
        began,
        arena,
        due: schedule(options.seed, options.length, &kinds),
        active: Vec::new(),
        suffered: Vec::new(),
        not_begun: Vec::new(),
        nobody: BTreeMap::new(),
        seen: BTreeSet::new(),
        show,
    };
    let report = chaos.go(&kinds, cannot).await;
    if !report.as_ref().is_ok_and(Report::passed) {
        keep(chaos.arena.cluster.dir(), &options.dir)?;
    }
    report
}

impl Chaos<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn go(&mut self, kinds: &[Kind], cannot: Vec<(Kind, String)>) -> Result<Report> {
        let began = self.began;
        let timer = Timer::new(move || u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let cluster = &self.arena.cluster;
        let endpoints: Vec<String> = cluster.endpoints().split(',').map(str::to_owned).collect();
        let symbols = cluster.symbols();
        let load = Load::start(&endpoints, symbols[0], &timer, self.options.seed, &self.options.dir)?;
        let flow = Flow::start(cluster.trader(FLOW)?, &symbols, SENDERS, Duration::from_millis(50));
        let seconds = (self.options.length.as_secs() + 5).to_string();
        let flags = ["--rate=40", "--max-lots=15", "--patience-seconds=120", "--seconds", seconds.as_str()];
        let publisher = cluster.start_publisher(PUBLISHER, &flags)?;

        self.suffer(&load, &flow).await;
        let ended_ms = self.now_ms();
        let mut checks = vec![exercised(kinds, &self.suffered, &self.not_begun)];
        checks.push(check(
            "all comes right once faults have ended: reads, writes, quotes, fills",
            async {
                self.arena.recovered().await?;
                anyhow::Ok(format!("{} ms after the last was healed", self.now_ms() - ended_ms))
            }
            .await,
        ));
        checks.push(check("every outcome that was in doubt is known", ended(publisher).await));
        let flow = flow.finish().await;
        let lines = load.finish().await?;
        let mut report = Report {
            seed: self.options.seed,
            seconds: self.options.length.as_secs(),
            means: self.arena.network.means().to_string(),
            faults: self.suffered.clone(),
            cannot: cannot.into_iter().map(|(kind, why)| (kind.name(), why)).collect(),
            not_begun: self.not_begun.clone(),
            operations: BTreeMap::new(),
            gaps_ms: BTreeMap::new(),
            figures: BTreeMap::new(),
            checks,
        };
        match flow {
            Ok(flow) => drop(report.operations.insert("orders", self.orders(&flow))),
            Err(error) => report.checks.push(check("the flow's outcomes are known", Err(error))),
        }
        report.checks.push(Check {
            what: "no process ended but by a fault, no node's own audit complained, no fault saw what must not be",
            found: "looked at every second".to_owned(),
            violations: self.seen.iter().cloned().collect(),
        });
        self.judge(&mut report, History::of(lines)?)?;
        Ok(report)
    }

    /// Goes through the schedule until its end, and heals what is left. It goes on for a while where a kind of fault has
    /// not shown.
    async fn suffer(&mut self, load: &Load, flow: &Flow) {
        let mut measure_due = Duration::ZERO;
        while self.began.elapsed() < self.options.length || self.owes() {
            let now = self.began.elapsed();
            while let Some(planned) = self.next(now) {
                self.begin(planned, now).await;
            }
            for active in self.active.iter_mut().filter(|active| !active.state.shown) {
                // What cannot be measured now is measured when it is healed.
                let happened = active.fault.happened(&mut self.arena).await;
                active.state.shown = happened.is_ok_and(|happened| happened.amount > 0);
            }
            for nth in (0..self.active.len()).rev() {
                if self.active[nth].state.is_over(now) {
                    let active = self.active.swap_remove(nth);
                    self.end(active).await;
                }
            }
            if now >= measure_due {
                measure_due = now + MEASURE_EVERY;
                self.look().await;
            }
            (self.show)(&Shown {
                elapsed_s: now.as_secs(),
                active: self.active.iter().map(|active| active.state.kind.name()).collect(),
                begun: self.suffered.len() + self.active.len(),
                operations: load.calls() + flow.orders().len() as u64,
                violations: self.seen.len(),
            });
            tokio::time::sleep(LOOK_EVERY).await;
        }
        for active in std::mem::take(&mut self.active) {
            self.end(active).await;
        }
        for planned in std::mem::take(&mut self.due) {
            self.not_begun.push(format!("{}: {:?}", planned.kind, self.nobody.get(&planned.kind)));
        }
    }

    /// Takes the next fault that may begin.
    fn next(&mut self, now: Duration) -> Option<Planned> {
        let under_way: Vec<UnderWay> = self.active.iter().map(|active| active.state.clone()).collect();
        next(&self.due, &under_way, now).map(|nth| self.due.remove(nth))
    }

    /// Whether the time is over, and a kind of fault has still to show; others do not begin any more.
    fn owes(&mut self) -> bool {
        let ended = self.suffered.iter().filter(|fault| fault.amount > 0).map(|fault| fault.kind);
        let lasting = self.active.iter().filter(|active| active.state.shown).map(|active| active.state.kind.name());
        let shown: BTreeSet<&str> = ended.chain(lasting).collect();
        self.due.retain(|planned| !shown.contains(planned.kind.name()));
        let lasts = self.active.iter().any(|active| !shown.contains(active.state.kind.name()));
        self.began.elapsed() < self.options.length + LATE_MAX && (lasts || !self.due.is_empty())
    }

    async fn begin(&mut self, planned: Planned, now: Duration) {
        let mut fault = planned.kind.fault(planned.choice);
        let from_ms = self.now_ms();
        match fault.start(&mut self.arena).await {
            Ok(whom) => {
                let from = self.began.elapsed();
                let until = from + planned.until.saturating_sub(planned.from);
                let state = UnderWay { kind: planned.kind, from, until, shown: false };
                self.active.push(Active { state, fault, whom, from_ms });
            }
            Err(error) if error.is::<Nobody>() => {
                self.nobody.insert(planned.kind, format!("{error} at {from_ms} ms"));
                let lasts = planned.until.saturating_sub(planned.from);
                let from = now + AGAIN_AFTER;
                self.due.push(Planned { from, until: from + lasts, ..planned });
                self.due.sort_by_key(|planned| planned.from);
            }
            Err(error) => self.not_begun.push(format!("{} at {from_ms} ms: {error:#}", planned.kind)),
        }
    }

    async fn end(&mut self, mut active: Active) {
        let from_ms = active.from_ms;
        let happened = active.fault.happened(&mut self.arena).await;
        if let Err(error) = active.fault.heal(&mut self.arena).await {
            self.seen.insert(format!("{} of {} cannot be healed: {error:#}", active.state.kind, active.whom));
        }
        match happened {
            Ok(happened) => self.suffered.push(Suffered {
                kind: active.state.kind.name(),
                whom: active.whom,
                from_ms: active.from_ms,
                until_ms: self.now_ms(),
                amount: happened.amount,
                of: happened.of,
            }),
            Err(error) => {
                self.seen.insert(format!("{} of {} at {from_ms} ms: {error:#}", active.state.kind, active.whom));
            }
        }
    }

    async fn look(&mut self) {
        self.arena.look().await;
        for active in self.active.iter_mut().filter(|active| active.state.shown) {
            // What cannot be measured now is measured when it is healed.
            let _ = active.fault.happened(&mut self.arena).await;
        }
        match self.arena.ended_unasked() {
            Ok(ended) => {
                for host in ended {
                    self.seen.insert(format!("{host} ended at {} ms, though no fault hit it", self.now_ms()));
                }
            }
            Err(error) => drop(self.seen.insert(format!("{error:#}"))),
        }
        self.seen.extend(self.arena.audit_now().await);
    }

    fn orders(&self, flow: &Finished) -> Outcomes {
        let mut outcomes = Outcomes::default();
        for sent in flow.orders().into_values() {
            if let Some((at, reply)) = sent.answered {
                let at_ms = u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
                outcomes.count(at_ms, matches!(reply, Reply::Placed(_)), reply.is_unknown());
            }
        }
        outcomes
    }

    fn judge(&self, report: &mut Report, history: History) -> Result<()> {
        let mut history = history;
        history.faults = self.suffered.iter().map(injected).collect();
        fs::write(self.options.dir.join("history.jsonl"), crate::history::record::to_text(&history.lines())?)?;
        for call in &history.calls {
            let (kind, ok, unknown) = outcome_of(call);
            if let Some(at) = call.returned {
                report.operations.entry(kind).or_default().count(at / 1_000_000, ok, unknown);
            }
        }
        let frames = self.arena.cluster.frames()?;
        match self.arena.judged(&[PUBLISHER, FLOW]) {
            Ok((found, beliefs)) => {
                report.gaps_ms.insert("a commit, in log time", found.commit_gap_ms);
                report.gaps_ms.insert("a new quote, in log time", found.quote_gap_ms);
                report.gaps_ms.insert("a holder of a symbol that was passed on", beliefs.handover_ms_max);
                let figures = &mut report.figures;
                figures.insert("fills", found.fills);
                figures.insert("log entries", frames.len() as u64);
                figures.insert("terms", found.terms);
                figures.insert("highest exposure", u64::try_from(found.exposure_max).unwrap_or(0));
                figures.insert("grants reduced", found.grants_reduced);
                figures.insert("grants refused", found.grants_refused);
                figures.insert("stale positions", found.stale_positions);
                figures.insert("beliefs", beliefs.beliefs as u64);
                figures.insert("handovers", beliefs.handovers as u64);
                let enough = found.fills >= FILLS_MIN && beliefs.handovers > 0;
                let few = format!("{} fills, {} handovers: too few to show anything", found.fills, beliefs.handovers);
                report.checks.push(Check {
                    what: "replay of every node's log, journals, digests, beliefs: nothing lost, doubled or over a limit",
                    found: format!("{} fills, {} beliefs", found.fills, beliefs.beliefs),
                    violations: if enough { Vec::new() } else { vec![few] },
                });
            }
            Err(error) => report.checks.push(check("replay, journals, digests, beliefs", Err(error))),
        }
        let (writes, reads) = (history.writes(), history.reads()?);
        let texts = |found: Vec<crate::history::Violation>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let linearizable = reads.iter().filter(|read| !local::is_local(read)).count();
        let mut older = texts(order::check(&writes, &reads));
        if report.operations.get("writes").is_none_or(|of| of.ok < WRITES_MIN) {
            older.push(format!("fewer than {WRITES_MIN} writes were accepted: too few to show anything"));
        }
        report.checks.push(Check {
            what: "no read and no write is older than what any client was told before",
            found: format!("{} writes, {linearizable} linearizable reads", writes.len()),
            violations: older,
        });
        report.checks.push(Check {
            what: "no node shows less than it has shown, and no two show different things at one index",
            found: format!("{} local reads", reads.len() - linearizable),
            violations: texts(local::check(&reads)),
        });
        let (quotes, far) = far_from_meant(&frames, self.arena.fed());
        report.checks.push(Check {
            what: "no quote stood far from what the feed of its symbol meant",
            found: format!("{quotes} quotes"),
            violations: far,
        });
        report.checks.push(money_as_in_the_log(&reads, &frames)?);
        Ok(())
    }
}

fn injected(fault: &Suffered) -> Injected {
    Injected {
        at: fault.from_ms * 1_000_000,
        until: Some(fault.until_ms * 1_000_000),
        what: format!("{} {}", fault.kind, fault.whom),
    }
}

/// What kind of operation a call was, whether it was done, and whether that is unknown.
fn outcome_of(call: &Call) -> (&'static str, bool, bool) {
    let kind = match &call.op {
        Op::Command(_) => "writes",
        Op::Settle { .. } => "settlings",
        Op::Read(path) if path.contains("consistency=local") => "local reads",
        Op::Read(_) => "linearizable reads",
    };
    match &call.got {
        Some(Got::Response(response)) => (kind, matches!(response.outcome, Outcome::Accepted(_)), false),
        Some(Got::Read { .. }) => (kind, true, false),
        Some(Got::NotApplied(_) | Got::ReadFailed(_) | Got::Unreadable { .. }) => (kind, false, false),
        Some(Got::Unknown(_)) | None => (kind, false, true),
    }
}

fn check(what: &'static str, found: Result<String>) -> Check {
    match found {
        Ok(found) => Check { what, found, violations: Vec::new() },
        Err(error) => Check { what, found: "not so".to_owned(), violations: vec![format!("{error:#}")] },
    }
}

async fn ended(publisher: Process) -> Result<String> {
    let status = publisher.ended(SETTLE_MAX).await?;
    anyhow::ensure!(status.success(), "the publisher ended with {status}");
    Ok("the publisher settled all".to_owned())
}

/// Keeps logs, journals, beliefs and exports of a run that failed.
fn keep(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
