//! The desk: the matching engine behind one lock, and whatever it wants done.
//!
//! Every input goes through [`Desk::input`]: the engine says what is to be done, and it is done (proposals put in
//! line, callers answered) before the lock is let go, so that proposals leave in the engine's order. Nothing waits
//! under the lock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_client::{Client, Session, SubmitError, Ticket};
use quorate_ledger::{Account, Decimal, ExchangeEpoch, Millis, NewOrder, Response, Symbol, SymbolSpec};
use quorate_matching::{
    Answered, CancelOutcome, Effect, Engine, Halt, Input, NotExecuted, OrderOutcome, RequestId, Stats, Submission,
    SubmissionId, Target,
};
use quorate_seams::World;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};

use crate::{config::Config, reference::References};

/// How long one attempt at a proposal goes on before the engine hears *unknown*.
const ATTEMPT: Duration = Duration::from_millis(1_500);
/// Pause before a proposal is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

/// The exchange's state, shared by its handlers and tasks.
pub struct Desk {
    /// What it was started with.
    pub config: Config,
    /// The group's client.
    pub client: Client,
    world: World,
    inner: Mutex<Inner>,
    symbols: Mutex<BTreeMap<Symbol, SymbolSpec>>,
    references: Mutex<References>,
    started: Duration,
    halted: watch::Sender<Option<Halt>>,
    named: AtomicU64,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("config", &self.config).finish_non_exhaustive()
    }
}

struct Inner {
    engine: Option<Engine>,
    /// Counts engines: what was sent for an earlier one is of no use to the present one.
    generation: u64,
    session: Session,
    order_callers: BTreeMap<RequestId, oneshot::Sender<OrderOutcome>>,
    cancel_callers: BTreeMap<RequestId, oneshot::Sender<CancelOutcome>>,
    tickets: BTreeMap<SubmissionId, Ticket>,
    next_request: u64,
    log_time: Millis,
    log_time_at: Duration,
}

/// What the desk looks like from outside.
#[derive(Debug, Clone, Copy)]
pub struct Health {
    /// The present registration, 0 before the first.
    pub exchange_epoch: ExchangeEpoch,
    /// The index up to which the mirror follows.
    pub mirror_index: u64,
    /// Whether orders are taken.
    pub ready: bool,
    /// Whether another exchange has taken over.
    pub fenced: bool,
    /// The engine's counters.
    pub stats: Stats,
    /// Orders waiting or in flight.
    pub pending: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under the lock is a bug, and every change below is complete by itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// A desk that has not registered yet.
    #[must_use]
    pub fn new(config: Config, client: Client, world: World, references: References) -> Arc<Self> {
        let inner = Inner {
            engine: None,
            generation: 0,
            session: client.session(),
            order_callers: BTreeMap::new(),
            cancel_callers: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_request: 1,
            log_time: Millis::ZERO,
            log_time_at: Duration::ZERO,
        };
        Arc::new(Self {
            config,
            client,
            started: world.clocks.monotonic(),
            world,
            inner: Mutex::new(inner),
            symbols: Mutex::default(),
            references: Mutex::new(references),
            halted: watch::Sender::new(None),
            named: AtomicU64::new(1),
        })
    }

    /// The world it lives in.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The session that all proposals go through.
    #[must_use]
    pub fn session(&self) -> Session {
        locked(&self.inner).session.clone()
    }

    /// Takes a freshly recovered engine; what waited for the one before has been answered when that one halted.
    pub fn install(&self, engine: Engine) {
        let mut inner = locked(&self.inner);
        inner.generation += 1;
        inner.tickets.clear();
        inner.log_time = engine.applied().1;
        inner.log_time_at = self.world.clocks.monotonic();
        inner.engine = Some(engine);
        self.halted.send_replace(None);
    }

    /// Why the present engine halted, once it has.
    #[must_use]
    pub fn halted(&self) -> watch::Receiver<Option<Halt>> {
        self.halted.subscribe()
    }

    /// Takes one input, and does all that the engine wants done.
    pub fn input(self: &Arc<Self>, input: Input) {
        let mut inner = locked(&self.inner);
        let seen = match &input {
            Input::Frame(frame) => Some(frame.log_time),
            Input::Applied { log_time, .. } => Some(*log_time),
            Input::Order { .. }
            | Input::Cancel { .. }
            | Input::OutOfPatience { .. }
            | Input::Answer { .. }
            | Input::Stop => None,
        };
        let clock = self.world.clocks.monotonic();
        if let Some(log_time) = seen
            && log_time >= inner.estimate(clock)
        {
            (inner.log_time, inner.log_time_at) = (log_time, clock);
        }
        let now = inner.estimate(clock);
        let Some(engine) = inner.engine.as_mut() else { return inner.refuse(input) };
        let effects = engine.handle(now, input);
        for effect in effects {
            self.carry_out(&mut inner, effect);
        }
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner, effect: Effect) {
        match effect {
            Effect::Submit(submission) => self.propose(inner, submission),
            Effect::Resend(submission) => self.propose_again(inner, submission),
            Effect::OrderReply { request, outcome } => {
                if let Some(caller) = inner.order_callers.remove(&request) {
                    if matches!(outcome, OrderOutcome::Committed(_)) {
                        self.pass("exchange.after_commit");
                    }
                    // The caller may have hung up; its order stands all the same.
                    let _ = caller.send(outcome);
                }
            }
            Effect::CancelReply { request, outcome } => {
                if let Some(caller) = inner.cancel_callers.remove(&request) {
                    let _ = caller.send(outcome);
                }
            }
            Effect::Settled { account, client_order_id, outcome } => {
                tracing::info!(%account, %client_order_id, ?outcome, "settled");
            }
            Effect::Halted(halt) => {
                tracing::warn!(?halt, "the engine halted");
                self.halted.send_replace(Some(halt));
            }
        }
    }

    /// Passes a failpoint; an injected error is no more than a word in the log here, for nothing waits for it.
    fn pass(&self, name: &str) {
        if let Err(error) = self.world.failpoints.hit(name) {
            tracing::warn!(%error, "injected");
        }
    }

    fn propose(self: &Arc<Self>, inner: &mut Inner, submission: Submission) {
        self.pass("exchange.before_propose");
        let sent = inner.session.submit(&submission.command, Instant::now() + ATTEMPT);
        self.await_answer(inner.generation, submission.id, sent);
    }

    /// The same again: under its own session and number where that can still tell, else in a new place, where the
    /// ledger tells a repeat by its `exec_id`.
    fn propose_again(self: &Arc<Self>, inner: &mut Inner, submission: Submission) {
        let ticket = inner.tickets.remove(&submission.id);
        let (desk, generation, session) = (Arc::clone(self), inner.generation, inner.session.clone());
        self.world.tasks.spawn(async move {
            sleep(RESEND_PAUSE).await;
            let deadline = Instant::now() + ATTEMPT;
            let sent = match ticket {
                Some(ticket) => session.settle(ticket, deadline),
                None => session.submit(&submission.command, deadline),
            };
            desk.await_answer(generation, submission.id, sent);
        });
    }

    fn await_answer(
        self: &Arc<Self>,
        generation: u64,
        submission: SubmissionId,
        sent: impl Future<Output = Result<Response, SubmitError>> + Send + 'static,
    ) {
        let desk = Arc::clone(self);
        self.world.tasks.spawn(async move {
            let answered = match sent.await {
                Ok(response) => Answered::Response(response),
                Err(SubmitError::NotApplied(problem)) => {
                    tracing::debug!(%problem, "not proposed");
                    Answered::NotApplied
                }
                Err(SubmitError::Unknown { ticket, problem }) => {
                    tracing::debug!(%problem, "unknown");
                    let mut inner = locked(&desk.inner);
                    if let Some(ticket) = ticket.filter(|_| inner.generation == generation) {
                        inner.tickets.insert(submission, ticket);
                    }
                    Answered::Unknown
                }
            };
            if locked(&desk.inner).generation == generation {
                desk.input(Input::Answer { submission, answered });
            }
        });
    }

    /// Places an order, and waits for what comes of it, or for the end of patience.
    pub async fn place(self: &Arc<Self>, order: NewOrder) -> OrderOutcome {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut inner = locked(&self.inner);
            let request = inner.request();
            inner.order_callers.insert(request, sender);
            request
        };
        self.input(Input::Order { request, order });
        self.patiently(request, receiver, OrderOutcome::Unknown).await
    }

    /// Cancels an order, likewise.
    pub async fn cancel(self: &Arc<Self>, account: Account, target: Target) -> CancelOutcome {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut inner = locked(&self.inner);
            let request = inner.request();
            inner.cancel_callers.insert(request, sender);
            request
        };
        self.input(Input::Cancel { request, account, target });
        self.patiently(request, receiver, CancelOutcome::Unknown).await
    }

    async fn patiently<T>(self: &Arc<Self>, request: RequestId, mut answer: oneshot::Receiver<T>, unknown: T) -> T {
        if let Ok(answered) = timeout(self.config.patience, &mut answer).await {
            return answered.unwrap_or(unknown);
        }
        self.input(Input::OutOfPatience { request });
        // The engine answers at once, with what it knows.
        answer.await.unwrap_or(unknown)
    }

    /// Looks at the engine, where there is one, at the present estimate of log time.
    pub fn look<T>(&self, look: impl FnOnce(&Engine, Millis) -> T) -> Option<T> {
        let inner = locked(&self.inner);
        let now = inner.estimate(self.world.clocks.monotonic());
        inner.engine.as_ref().map(|engine| look(engine, now))
    }

    /// What it looks like from outside.
    #[must_use]
    pub fn health(&self) -> Health {
        let fenced = matches!(*self.halted.borrow(), Some(Halt::Fenced { .. }));
        let nothing =
            Health { exchange_epoch: 0, mirror_index: 0, ready: false, fenced, stats: Stats::default(), pending: 0 };
        let seen = self.look(|engine, _| Health {
            exchange_epoch: engine.exchange_epoch(),
            mirror_index: engine.applied().0,
            ready: engine.is_ready(),
            fenced,
            stats: engine.stats(),
            pending: engine.pending_orders(),
        });
        seen.unwrap_or(nothing)
    }

    /// The symbols, as last read from the ledger.
    pub fn set_symbols(&self, symbols: BTreeMap<Symbol, SymbolSpec>) {
        *locked(&self.symbols) = symbols;
    }

    /// A symbol's spec.
    #[must_use]
    pub fn spec(&self, symbol: &Symbol) -> Option<SymbolSpec> {
        locked(&self.symbols).get(symbol).copied()
    }

    /// All symbols and their specs.
    #[must_use]
    pub fn symbols(&self) -> BTreeMap<Symbol, SymbolSpec> {
        locked(&self.symbols).clone()
    }

    /// The reference price of a symbol in ticks, with the number of its last change.
    #[must_use]
    pub fn reference(&self, symbol: &Symbol, tick_size: Decimal) -> Option<(quorate_ledger::Price, u64)> {
        let elapsed = self.world.clocks.monotonic().saturating_sub(self.started);
        locked(&self.references).price(symbol, tick_size, elapsed)
    }

    /// Sets an external reference price; `false` where the symbol's is not external.
    #[must_use]
    pub fn set_reference(&self, symbol: &Symbol, price: Decimal) -> bool {
        locked(&self.references).set(symbol, price)
    }

    /// A name for an order whose sender gave none: unique for this registration, and so for all.
    #[must_use]
    pub fn fresh_name(&self, exchange_epoch: ExchangeEpoch) -> String {
        format!("x{exchange_epoch}-{}", self.named.fetch_add(1, Ordering::Relaxed))
    }
}

impl Inner {
    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Log time now: the last one seen, and the time that passed since.
    fn estimate(&self, clock: Duration) -> Millis {
        let since = clock.saturating_sub(self.log_time_at);
        self.log_time.plus(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Before the first registration nothing is taken.
    fn refuse(&mut self, input: Input) {
        match input {
            Input::Order { request, .. } => {
                if let Some(caller) = self.order_callers.remove(&request) {
                    let _ = caller.send(OrderOutcome::NotExecuted(NotExecuted::NotReady));
                }
            }
            Input::Cancel { request, .. } => {
                if let Some(caller) = self.cancel_callers.remove(&request) {
                    let _ = caller.send(CancelOutcome::NotExecuted(NotExecuted::NotReady));
                }
            }
            Input::OutOfPatience { .. }
            | Input::Answer { .. }
            | Input::Frame(_)
            | Input::Applied { .. }
            | Input::Stop => {}
        }
    }
}
