//! The ordered sender of commands. Everything that waits goes into one batch, the next batch leaves when
//! this one is answered, and what must be sent again goes before what came later.
//!
//! Invariant: at most one batch of a lane is on its way, so the commands of a session, which all take
//! the same lane, reach the node in the order in which they were submitted.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use quorate_api::{Applied, BATCH_MAX, BODY_MAX_BYTES, ClusterView, Problem, ProblemKind, Read, paths};
use quorate_ledger::{Outcome, Refusal};
use quorate_seams::Tasks;
use tokio::{sync::Notify, time::Instant};

use crate::{
    backoff::Backoff,
    command::{Attempt, Home, Item, Next},
    nodes::{Nodes, Target},
    wire::{Failure, Wire, is_passing},
};

/// What an envelope's numbers and punctuation take at most.
const ENVELOPE_BYTES: usize = 96;
/// The brackets around a batch.
const BRACKETS: usize = 2;
/// Times that a lane lets others run before it gathers a batch, so that those who were answered together
/// go out together again.
const GATHER_YIELDS: usize = 2;

/// One ordered sender.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    queue: Mutex<VecDeque<Arc<Item>>>,
    waiting: Notify,
    closed: AtomicBool,
    started: AtomicBool,
}

/// What a lane's task needs of its client; it must not keep the client alive.
pub(crate) struct LaneWorld {
    pub(crate) nodes: Arc<Nodes>,
    pub(crate) wire: Wire,
    pub(crate) tasks: Tasks,
    pub(crate) backoff: Backoff,
    pub(crate) call_timeout: Duration,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item").field("order", &self.order).finish_non_exhaustive()
    }
}

impl Lane {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Item>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a command.
    pub(crate) fn push(&self, item: Arc<Item>) {
        self.queue().push_back(item);
        self.waiting.notify_one();
    }

    /// Whether its task has to be started; says so once.
    pub(crate) fn must_start(&self) -> bool {
        !self.started.swap(true, Ordering::Relaxed)
    }

    /// Ends its task once the batch that is on its way is answered.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.waiting.notify_one();
    }

    /// Sends until it is closed.
    pub(crate) async fn run(self: Arc<Self>, mut world: LaneWorld) {
        loop {
            while self.queue().is_empty() {
                if self.closed.load(Ordering::Relaxed) {
                    return;
                }
                self.waiting.notified().await;
            }
            for _ in 0..GATHER_YIELDS {
                tokio::task::yield_now().await;
            }
            let (batch, body) = self.gather();
            if batch.is_empty() {
                continue;
            }
            world.look_at_topology();
            let target = world.nodes.preferred();
            let outcome = world.wire.post(&target.base, paths::COMMANDS, body, world.call_timeout).await;
            let pause = self.settle(&mut world, &target, batch, outcome);
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Takes what waits, as much as fits into one request.
    fn gather(&self) -> (Vec<Arc<Item>>, Bytes) {
        let mut taken = Vec::new();
        {
            let mut queue = self.queue();
            let mut bytes = BRACKETS;
            while let Some(item) = queue.front() {
                let size = item.command.len() + ENVELOPE_BYTES;
                let fits = taken.len() < BATCH_MAX && bytes + size <= BODY_MAX_BYTES && !item.is_alone();
                if !fits && !taken.is_empty() {
                    break;
                }
                let alone = item.is_alone();
                bytes += size;
                taken.extend(queue.pop_front());
                if alone {
                    break;
                }
            }
        }
        let mut body = Vec::with_capacity(taken.iter().map(|item| item.command.len() + ENVELOPE_BYTES).sum());
        let mut batch = Vec::with_capacity(taken.len());
        for item in taken {
            if let Some(envelope) = item.depart() {
                body.push(if batch.is_empty() { b'[' } else { b',' });
                envelope.write(&item.command, &mut body);
                batch.push(item);
            }
        }
        body.push(b']');
        (batch, body.into())
    }

    /// Hands every command its part of the outcome, and puts back what goes again. Returns the pause
    /// before the next attempt, where one failed.
    fn settle(
        &self,
        world: &mut LaneWorld,
        target: &Target,
        batch: Vec<Arc<Item>>,
        outcome: Result<Bytes, Failure>,
    ) -> Option<Duration> {
        let (attempts, retry_after) = read_outcome(target, &batch, outcome);
        let mut again = Vec::new();
        let mut failed: Option<Option<u64>> = None;
        for (item, attempt) in batch.into_iter().zip(attempts) {
            if let Attempt::Problem(problem) = &attempt
                && (problem.outcome_unknown || is_passing(problem.kind))
            {
                failed = Some(problem.leader.or(failed.flatten()));
            }
            if let (Some(core), Attempt::Answer(response)) = (item.home.core(), &attempt)
                && let Outcome::Refused(Refusal::SessionExpired { session }) = &response.outcome
            {
                core.expired(*session);
            }
            match item.arrive(attempt) {
                Next::Over => {}
                Next::Again => again.push(item),
                Next::Rebind => rebind(item),
            }
        }
        {
            let mut queue = self.queue();
            again.into_iter().rev().for_each(|item| queue.push_front(item));
        }
        let Some(leader) = failed else {
            world.nodes.answered(target);
            world.backoff.reset();
            return None;
        };
        world.nodes.failed(target, leader, Instant::now());
        let pause = world.backoff.next();
        Some(retry_after.map_or(pause, |asked| pause.max(asked.min(world.call_timeout))))
    }
}

fn rebind(item: Arc<Item>) {
    if let Home::Session(core) = &item.home {
        let core = core.clone();
        core.take_back(item);
    }
}

/// Splits the outcome of a batch into one for each command.
fn read_outcome(
    target: &Target,
    batch: &[Arc<Item>],
    outcome: Result<Bytes, Failure>,
) -> (Vec<Attempt>, Option<Duration>) {
    let all = |problem: Problem| batch.iter().map(|_| Attempt::Problem(problem.clone())).collect();
    match outcome {
        Ok(body) => match serde_json::from_slice::<Vec<Applied>>(&body) {
            Ok(applied) if applied.len() == batch.len() => (applied.into_iter().map(Attempt::from).collect(), None),
            Ok(applied) => {
                let detail = format!("{}: {} answers to {} commands", target.base, applied.len(), batch.len());
                (all(Problem::unknown(detail)), None)
            }
            Err(error) => (all(Problem::unknown(format!("{}: unreadable answer: {error}", target.base))), None),
        },
        Err(Failure { problem, retry_after }) => {
            if is_of_one_command(problem.kind) && batch.len() > 1 {
                return (batch.iter().map(|_| Attempt::Split(problem.clone())).collect(), None);
            }
            (all(problem), retry_after)
        }
    }
}

/// Why a command is not even sent: no request has room for it. `None` where one has.
pub(crate) fn too_large(command: &Bytes) -> Option<Problem> {
    let max = BODY_MAX_BYTES - BRACKETS - ENVELOPE_BYTES;
    let len = command.len();
    (len > max).then(|| {
        let detail = format!(
            "the command takes {len} bytes of JSON, and has room for at most {max}: split it into several, or send fewer \
             marks, symbols or fills, or a shorter text"
        );
        Problem::new(ProblemKind::TooLarge, detail)
    })
}

/// Whether one command of a batch may be what was refused.
fn is_of_one_command(kind: ProblemKind) -> bool {
    matches!(kind, ProblemKind::InvalidRequest | ProblemKind::TooLarge | ProblemKind::Refused)
}

impl From<Applied> for Attempt {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Response(response) => Self::Answer(response),
            Applied::Problem(Problem { refused: Some(response), .. }) => Self::Answer(*response),
            Applied::Problem(problem) => Self::Problem(problem),
        }
    }
}

impl LaneWorld {
    /// Asks the preferred node for the members and the leader now and then, beside the commands.
    fn look_at_topology(&self) {
        look_now_and_then(&self.nodes, &self.wire, &self.tasks, self.call_timeout);
    }
}

/// Looks at the group's members in a task of its own, unless that was done a moment ago.
pub(crate) fn look_now_and_then(nodes: &Arc<Nodes>, wire: &Wire, tasks: &Tasks, timeout: Duration) {
    if nodes.look_due(Instant::now()) {
        let (nodes, wire) = (Arc::clone(nodes), wire.clone());
        tasks.spawn(async move { look(&nodes, &wire, timeout).await });
    }
}

/// One look at the group's members, by way of the preferred node.
pub(crate) async fn look(nodes: &Nodes, wire: &Wire, timeout: Duration) {
    let target = nodes.preferred();
    let path = format!("{}?consistency=local", paths::CLUSTER);
    match wire.get(&target.base, &path, timeout).await {
        Ok(body) => match serde_json::from_slice::<Read<ClusterView>>(&body) {
            Ok(read) => nodes.learn(&target, read.node_id, &read.data, Instant::now()),
            Err(error) => tracing::warn!(node = target.base, %error, "unreadable members"),
        },
        Err(failure) => {
            tracing::debug!(node = target.base, problem = %failure.problem, "no members");
            nodes.failed(&target, failure.problem.leader, Instant::now());
        }
    }
}
