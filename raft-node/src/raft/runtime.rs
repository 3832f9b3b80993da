//! openraft's runtime, bound to one process of the house: what it spawns belongs to the node's
//! [`World`], what it draws comes from the node's seed.
//!
//! Everything that may reach openraft runs inside [`NodeScope::run`]. Outside of one, spawning still works
//! (and is not tracked), and randomness comes from a fixed seed.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use openraft::AsyncRuntime;
use openraft_rt::OptionalSend;
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch};
use quorate_seams::{Tasks, World, seeded_rng};
use rand::{RngCore, rngs::SmallRng as SeedRng};
use rand_raft::{SeedableRng, rngs::SmallRng};

tokio::task_local! {
    static SCOPE: NodeScope;
}

/// The stream of the seed that elections draw from.
const ELECTION_STREAM: u64 = 1;

/// What a node's tasks share: where their spawns are kept, and their randomness.
#[derive(Clone)]
pub struct NodeScope(Arc<Shared>);

struct Shared {
    tasks: Tasks,
    inline_blocking: bool,
    rng: Mutex<SeedRng>,
}

impl fmt::Debug for NodeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeScope")
    }
}

impl NodeScope {
    /// The scope of a node in `world`. `inline_blocking` runs blocking work on the spot, so that a
    /// simulation stays on one thread.
    #[must_use]
    pub fn new(world: &World, inline_blocking: bool) -> Self {
        Self(Arc::new(Shared {
            tasks: world.tasks.clone(),
            inline_blocking,
            rng: Mutex::new(seeded_rng(world.seed, ELECTION_STREAM)),
        }))
    }

    /// Runs `future` inside this scope.
    pub async fn run<F: Future>(&self, future: F) -> F::Output {
        SCOPE.scope(self.clone(), future).await
    }

    /// Spawns `future` inside this scope, as a task of the node's world.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.0.tasks.spawn(SCOPE.scope(self.clone(), future))
    }

    /// Runs blocking work off the async workers, or on the spot in a simulation.
    ///
    /// # Errors
    /// Where the work panicked, or the runtime is shutting down.
    pub async fn blocking<F, T>(&self, work: F) -> std::io::Result<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.0.inline_blocking {
            return Ok(work());
        }
        tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)
    }

    /// A generator whose seed comes from the node's seed.
    #[must_use]
    pub fn rng(&self) -> SmallRng {
        let mut rng = self.0.rng.lock().unwrap_or_else(PoisonError::into_inner);
        SmallRng::seed_from_u64(rng.next_u64())
    }

    fn current() -> Option<Self> {
        SCOPE.try_with(Clone::clone).ok()
    }
}

/// See the module.
#[derive(Debug)]
pub struct NodeRuntime(TokioRuntime);

impl AsyncRuntime for NodeRuntime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match NodeScope::current() {
            Some(scope) => scope.spawn(future),
            None => tokio::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        NodeScope::current().map_or_else(|| SmallRng::seed_from_u64(0), |scope| scope.rng())
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, std::io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match NodeScope::current() {
            Some(scope) => scope.blocking(work).await,
            None => tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other),
        }
    }
}
