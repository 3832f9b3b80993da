//! The desk: the matching engine behind one lock, and whatever it wants done.
//!
//! Every input goes through [`Desk::input`]: the engine says what is to be done, and it is done (proposals put in
//! line, callers answered) before the lock is let go, so that proposals leave in the engine's order. Nothing waits
//! under the lock.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate_api::{Problem, ProblemKind};
use quorate_binance_api::ApiError;
use quorate_client::{Client, InvalidConfig, Session, SubmitError, Ticket};
use quorate_domain::{Account, ClientOrderId, Instrument, Millis, Symbol};
use quorate_ledger::{ExchangeEpoch, NewOrder, Response};
use quorate_matching::{
    Answered, CancelOutcome, Committed, Effect, Engine, Halt, Input, Known, NotExecuted, Only, OrderOutcome, RequestId,
    Stats, Submission, SubmissionId, Target, Terms,
};
use quorate_seams::World;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    config::Config, history::History, limits::Limits, listings::Listings, lock::locked, log_clock::LogClock,
    reference::References, refusals::Refusals,
};

/// How long one attempt at a proposal goes on before the engine hears *unknown*.
const ATTEMPT: Duration = Duration::from_millis(1_500);
/// Pause before a proposal is sent again.
const RESEND_PAUSE: Duration = Duration::from_millis(50);
/// The ledger counts as out of reach when it was not heard of for so long; it says something every second.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// Orders remembered at most whose outcome nobody was told: more than wait at a time.
const TRIED_MAX: usize = 1 << 18;
/// Passed before a command is proposed. An injected error: it is not proposed.
pub const BEFORE_PROPOSE: &str = "exchange.before_propose";
/// Passed when an order is known to be committed, before its caller hears of it. An injected error: it never does.
pub const AFTER_COMMIT: &str = "exchange.after_commit";

/// The exchange's state, shared by its handlers and tasks.
pub struct Desk {
    /// What it was started with.
    pub config: Config,
    /// The group's client.
    pub client: Client,
    /// What is traded.
    pub listings: Listings,
    /// Which requests were refused.
    pub refusals: Refusals,
    /// What is known of orders beyond the ledger's own word.
    pub history: History,
    /// Accounts whose orders are not taken yet.
    pub limits: Limits,
    /// When what is traded was read last for a caller.
    pub symbols_read: tokio::sync::Mutex<Option<SymbolsRead>>,
    /// Places for requests that are served at a time.
    pub requests: Arc<Semaphore>,
    world: World,
    inner: Mutex<Inner>,
    halted: watch::Sender<Option<Halt>>,
    pending: watch::Sender<usize>,
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
    order_callers: BTreeMap<RequestId, OrderCaller>,
    cancel_callers: BTreeMap<RequestId, oneshot::Sender<CancelOutcome>>,
    /// Of the submission whose missing answer the engine is being told of.
    ticket: Option<(SubmissionId, Ticket)>,
    next_request: u64,
    /// Orders whose callers were not told for certain what came of them, each with the engine that took it last. Once a later
    /// engine is ready the ledger tells.
    tried: BTreeMap<OrderKey, u64>,
    /// Some of them may have been tried with an engine before the present one.
    tried_before: bool,
    log_clock: LogClock,
    /// Counters of the engines before the present one.
    past: Stats,
}

/// Whose order, and its name.
type OrderKey = (Account, ClientOrderId);

/// A read of what is traded.
#[derive(Debug, Clone)]
pub struct SymbolsRead {
    /// When it was answered, by the monotonic clock.
    pub at: Duration,
    /// Why there is nothing to learn from it.
    pub failed: Option<ApiError>,
}

/// Who waits for an order, and which.
struct OrderCaller {
    key: OrderKey,
    symbol: Symbol,
    sender: oneshot::Sender<Placed>,
}

/// What came of an order, as its caller hears it.
#[derive(Debug)]
pub struct Placed {
    /// What came of it.
    pub outcome: OrderOutcome,
    /// Where it was executed: what its symbol traded then, by which its fills are told.
    pub instrument: Option<Instrument>,
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
    /// Whether a node that follows a leader was heard of within the last seconds.
    pub ledger_reachable: bool,
    /// How long ago that was.
    pub ledger_silence: Option<Duration>,
    /// Counters since the start.
    pub stats: Stats,
    /// Orders waiting or in flight.
    pub pending: usize,
}

impl Desk {
    /// A desk that has not registered yet.
    ///
    /// # Errors
    /// [`InvalidConfig`] where the endpoints or the cluster id are none.
    pub fn new(config: Config, world: World, references: References) -> Result<Arc<Self>, InvalidConfig> {
        let mut client = quorate_client::ClientConfig::new(config.ledger_endpoints.clone());
        client.cluster_id.clone_from(&config.cluster_id);
        let client = Client::new(world.clone(), client)?;
        let inner = Inner {
            engine: None,
            generation: 0,
            session: client.session(),
            order_callers: BTreeMap::new(),
            cancel_callers: BTreeMap::new(),
            ticket: None,
            next_request: 1,
            tried: BTreeMap::new(),
            tried_before: false,
            log_clock: LogClock::default(),
            past: Stats::default(),
        };
        Ok(Arc::new(Self {
            limits: Limits::new(config.accounts.as_ref()),
            symbols_read: tokio::sync::Mutex::default(),
            requests: Arc::new(Semaphore::new(config.max_connections)),
            config,
            client,
            listings: Listings::new(references, world.clocks.clone()),
            refusals: Refusals::default(),
            history: History::default(),
            world,
            inner: Mutex::new(inner),
            halted: watch::Sender::new(None),
            pending: watch::Sender::new(0),
            named: AtomicU64::new(1),
        }))
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

    /// Takes a freshly recovered engine; what waited for the one before was answered when that one halted.
    pub fn install(&self, engine: Engine) {
        let mut inner = locked(&self.inner);
        let clock = self.world.clocks.monotonic();
        inner.generation += 1;
        inner.log_clock.applied(engine.applied().1, clock);
        // What contradicts itself from the start has halted already.
        self.halted.send_replace(engine.halted().cloned());
        if let Some(before) = inner.engine.replace(engine) {
            inner.past = sum(inner.past, before.stats());
        }
        inner.tried_before = true;
        inner.forget_what_is_settled();
    }

    /// Why the present engine halted, once it has.
    #[must_use]
    pub fn halted(&self) -> watch::Receiver<Option<Halt>> {
        self.halted.subscribe()
    }

    /// Resolves once no order waits or is in flight.
    pub async fn idle(&self) {
        // The sender lives in here, so this cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending == 0).await;
    }

    /// Takes one input, and does all that the engine wants done.
    pub fn input(self: &Arc<Self>, input: Input) {
        self.feed(&mut locked(&self.inner), input);
    }

    fn feed(self: &Arc<Self>, inner: &mut Inner, input: Input) {
        let clock = self.world.clocks.monotonic();
        match &input {
            Input::Frame(frame) => {
                self.listings.learn_from(frame);
                self.history.learn_from(frame);
                inner.log_clock.frame(frame.log_time, clock);
            }
            Input::Applied { log_time, .. } => inner.log_clock.applied(*log_time, clock),
            Input::Order { .. }
            | Input::Cancel { .. }
            | Input::OutOfPatience { .. }
            | Input::Answer { .. }
            | Input::Wake
            | Input::Stop => {}
        }
        let now = inner.log_clock.now(clock);
        let Some(engine) = inner.engine.as_mut() else { return inner.refuse(input) };
        let effects = engine.handle(now, input);
        let pending = engine.pending_orders();
        for effect in effects {
            self.carry_out(inner, effect);
        }
        inner.forget_what_is_settled();
        self.pending.send_if_modified(|last| std::mem::replace(last, pending) != pending);
    }

    fn carry_out(self: &Arc<Self>, inner: &mut Inner, effect: Effect) {
        match effect {
            Effect::Submit(submission) => self.propose(inner, submission),
            Effect::Resend(submission) => self.propose_again(inner, submission),
            Effect::OrderReply { request, outcome } => {
                if let OrderOutcome::Committed(Committed { log_time, result, repeat: false, .. }) = &outcome {
                    self.history.taken(result.order_id, *log_time);
                }
                let Some(OrderCaller { key, symbol, sender }) = inner.order_callers.remove(&request) else { return };
                if sender.is_closed() && outcome != OrderOutcome::Unknown {
                    inner.tried.remove(&key);
                }
                if matches!(outcome, OrderOutcome::Committed(_))
                    && let Err(error) = self.world.failpoints.hit(AFTER_COMMIT)
                {
                    tracing::warn!(%error, "an answer is lost");
                    return;
                }
                let instrument = inner.engine.as_ref().and_then(|engine| engine.instrument(&symbol)).cloned();
                // The caller may have hung up; its order stands all the same.
                let _ = sender.send(Placed { outcome, instrument });
            }
            Effect::CancelReply { request, outcome } => {
                if let CancelOutcome::Cancelled(Committed { log_time, result, .. }) = &outcome {
                    self.history.updated(result.order_id, *log_time);
                }
                if let Some(caller) = inner.cancel_callers.remove(&request) {
                    let _ = caller.send(outcome);
                }
            }
            Effect::ExpiredInMatch { order_id } => self.history.expired_in_match(order_id),
            Effect::WakeAt(at) => self.wake_at(inner, at),
            Effect::Settled { account, client_order_id, outcome } => {
                tracing::info!(%account, %client_order_id, ?outcome, "settled");
                inner.tried.remove(&(account, client_order_id));
            }
            Effect::Halted(halt) => {
                tracing::warn!(?halt, "the engine halted");
                self.halted.send_replace(Some(halt));
            }
        }
    }

    fn wake_at(self: &Arc<Self>, inner: &Inner, at: Millis) {
        let now = inner.log_clock.now(self.world.clocks.monotonic());
        let pause = Duration::from_millis(at.0.saturating_sub(now.0));
        let (desk, generation) = (Arc::clone(self), inner.generation);
        self.world.tasks.spawn(async move {
            sleep(pause).await;
            let mut inner = locked(&desk.inner);
            if inner.generation == generation {
                desk.feed(&mut inner, Input::Wake);
            }
        });
    }

    fn propose(self: &Arc<Self>, inner: &mut Inner, submission: Submission) {
        let (generation, id) = (inner.generation, submission.id);
        match self.world.failpoints.hit(BEFORE_PROPOSE) {
            Ok(()) => {
                let sent = inner.session.submit(&submission.command, Instant::now() + ATTEMPT);
                self.await_answer(generation, id, sent);
            }
            Err(error) => {
                let problem = Problem::new(ProblemKind::Internal, error.to_string());
                self.await_answer(generation, id, ready(Err(SubmitError::NotApplied(problem))));
            }
        }
    }

    /// The same again: under its own session and number where that can still tell, else in a new place, where the
    /// ledger tells a repeat by its `exec_id`.
    fn propose_again(self: &Arc<Self>, inner: &mut Inner, submission: Submission) {
        let ticket = inner.ticket.take_if(|(id, _)| *id == submission.id).map(|(_, ticket)| ticket);
        let (desk, generation, session) = (Arc::clone(self), inner.generation, inner.session.clone());
        self.world.tasks.spawn(async move {
            sleep(RESEND_PAUSE).await;
            if locked(&desk.inner).generation != generation {
                return;
            }
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
            let (answered, ticket) = match sent.await {
                Ok(response) => (Answered::Response(response), None),
                Err(SubmitError::NotApplied(problem)) => {
                    tracing::debug!(%problem, "not proposed");
                    (Answered::NotApplied, None)
                }
                Err(SubmitError::Unknown { ticket, problem }) => {
                    tracing::debug!(%problem, "unknown");
                    (Answered::Unknown, ticket)
                }
            };
            let mut inner = locked(&desk.inner);
            if inner.generation == generation {
                inner.ticket = ticket.map(|ticket| (submission, ticket));
                desk.feed(&mut inner, Input::Answer { submission, answered });
                // A ticket holds a place in the session's window: it goes unless it is used to send again.
                inner.ticket = None;
            }
        });
    }

    /// Places an order, and waits for what comes of it, or for the end of patience.
    pub async fn place(self: &Arc<Self>, order: NewOrder, terms: Terms) -> Placed {
        let (sender, receiver) = oneshot::channel();
        let key = (order.account.clone(), order.client_order_id.clone());
        let (request, earlier) = {
            let mut inner = locked(&self.inner);
            let request = inner.request();
            let earlier = inner.try_again(&key);
            let caller = OrderCaller { key: key.clone(), symbol: order.symbol.clone(), sender };
            inner.order_callers.insert(request, caller);
            self.feed(&mut inner, Input::Order { request, order, terms });
            (request, earlier)
        };
        let unknown = || Placed { outcome: OrderOutcome::Unknown, instrument: None };
        let placed = self.patiently(request, receiver, unknown()).await;
        match placed.outcome {
            OrderOutcome::Unknown => placed,
            // It says nothing of an earlier attempt, which the ledger may still execute.
            OrderOutcome::NotExecuted(NotExecuted::Halted | NotExecuted::NotReady) if earlier => unknown(),
            OrderOutcome::Committed(_) | OrderOutcome::Refused(_) | OrderOutcome::NotExecuted(_) => {
                locked(&self.inner).tried.remove(&key);
                placed
            }
        }
    }

    /// Cancels an order, where it stands as it is asked for, likewise.
    pub async fn cancel(self: &Arc<Self>, account: Account, target: Target, only: Option<Only>) -> CancelOutcome {
        let (sender, receiver) = oneshot::channel();
        let request = {
            let mut inner = locked(&self.inner);
            let request = inner.request();
            self.let_go(&mut inner);
            inner.cancel_callers.insert(request, sender);
            self.feed(&mut inner, Input::Cancel { request, account, target, only });
            request
        };
        self.patiently(request, receiver, CancelOutcome::Unknown).await
    }

    /// Tells the engine of callers of cancels that hung up, so that they hold no places in its queue.
    fn let_go(self: &Arc<Self>, inner: &mut Inner) {
        let gone = inner.cancel_callers.iter().filter(|(_, caller)| caller.is_closed());
        for request in gone.map(|(request, _)| *request).collect::<Vec<RequestId>>() {
            self.feed(inner, Input::OutOfPatience { request });
        }
    }

    async fn patiently<T>(self: &Arc<Self>, request: RequestId, mut answer: oneshot::Receiver<T>, unknown: T) -> T {
        if let Ok(answered) = timeout(self.config.patience, &mut answer).await {
            return answered.unwrap_or(unknown);
        }
        self.input(Input::OutOfPatience { request });
        // The engine has answered by now, with what it knows.
        answer.await.unwrap_or(unknown)
    }

    /// Looks at the engine, where there is one, at the present estimate of log time.
    pub fn look<T>(&self, look: impl FnOnce(&Engine, Millis) -> T) -> Option<T> {
        let inner = locked(&self.inner);
        let now = inner.log_clock.now(self.world.clocks.monotonic());
        inner.engine.as_ref().map(|engine| look(engine, now))
    }

    /// Whether what the engine shows is the present: it follows the ledger, which was heard of within the last seconds.
    #[must_use]
    pub fn is_live(&self) -> bool {
        let health = self.health();
        health.ready && !health.fenced && health.ledger_reachable
    }

    /// Whether orders are executed now, for all that is known.
    #[must_use]
    pub fn is_trading(&self) -> bool {
        self.is_live() && self.look(|engine, _| !engine.is_killed()).unwrap_or(false)
    }

    /// What is known of an order, and whether that is all: an engine that is not ready may have forgotten what an
    /// earlier one left in doubt.
    #[must_use]
    pub fn known(&self, account: &Account, target: &Target) -> (Option<Known>, bool) {
        self.look(|engine, _| (engine.order(account, target), engine.is_ready())).unwrap_or((None, false))
    }

    /// What it looks like from outside.
    #[must_use]
    pub fn health(&self) -> Health {
        let fenced = matches!(*self.halted.borrow(), Some(Halt::Fenced { .. }));
        let inner = locked(&self.inner);
        let clock = self.world.clocks.monotonic();
        let ledger_silence = inner.log_clock.silence(clock);
        let engine = inner.engine.as_ref();
        Health {
            exchange_epoch: engine.map_or(0, Engine::exchange_epoch),
            mirror_index: engine.map_or(0, |engine| engine.applied().0),
            ready: engine.is_some_and(Engine::is_ready),
            fenced,
            ledger_reachable: ledger_silence.is_some_and(|silence| silence <= SILENCE_MAX),
            ledger_silence,
            stats: engine.map_or(inner.past, |engine| sum(inner.past, engine.stats())),
            pending: engine.map_or(0, Engine::pending_orders),
        }
    }

    /// A name for an order or a cancel whose sender gave none: 128 random bits, so that nobody guesses it, and no other process
    /// or registration makes it again. `None` before the first registration.
    #[must_use]
    pub fn fresh_name(&self) -> Option<String> {
        let exchange_epoch = self.look(|engine, _| engine.exchange_epoch())?;
        let stream = exchange_epoch.rotate_left(32) ^ self.named.fetch_add(1, Ordering::Relaxed);
        Some(format!("x{:032x}", self.world.random_name(stream)))
    }
}

impl Inner {
    /// Remembers that an order is tried; whether it was tried before, and nobody knows yet what came of that.
    fn try_again(&mut self, key: &OrderKey) -> bool {
        let ready = self.engine.as_ref().is_some_and(Engine::is_ready);
        if !ready {
            // This attempt is not taken; what is known of the ones before stays.
            return self.tried.contains_key(key);
        }
        if self.tried.len() < TRIED_MAX {
            self.tried.insert(key.clone(), self.generation);
        }
        false
    }

    /// Once an engine is ready, what was tried with those before it is in the ledger, or will never be.
    fn forget_what_is_settled(&mut self) {
        if self.tried_before && self.engine.as_ref().is_some_and(Engine::is_ready) {
            let present = self.generation;
            self.tried.retain(|_, generation| *generation == present);
            self.tried_before = false;
        }
    }

    fn request(&mut self) -> RequestId {
        self.next_request += 1;
        RequestId(self.next_request)
    }

    /// Before the first registration nothing is taken.
    fn refuse(&mut self, input: Input) {
        match input {
            Input::Order { request, .. } => {
                if let Some(OrderCaller { sender, .. }) = self.order_callers.remove(&request) {
                    let outcome = OrderOutcome::NotExecuted(NotExecuted::NotReady);
                    let _ = sender.send(Placed { outcome, instrument: None });
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
            | Input::Wake
            | Input::Stop => {}
        }
    }
}

fn sum(a: Stats, b: Stats) -> Stats {
    Stats {
        orders: a.orders + b.orders,
        proposed: a.proposed + b.proposed,
        resent: a.resent + b.resent,
        committed: a.committed + b.committed,
        replanned: a.replanned + b.replanned,
        gaps: a.gaps + b.gaps,
        gave_up: a.gave_up + b.gave_up,
        unknown: a.unknown + b.unknown,
        unknown_settled: a.unknown_settled + b.unknown_settled,
    }
}
