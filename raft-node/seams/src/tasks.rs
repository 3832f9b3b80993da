//! Spawning that belongs to one process: every task can be aborted with it.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use rand::{SeedableRng, TryRngCore, rngs::SmallRng};
use tokio::task::{AbortHandle, JoinHandle};

/// A spawner that remembers what it spawned.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    handles: Mutex<Vec<AbortHandle>>,
    /// In a simulation: stands between the executor and every task.
    gate: Option<Arc<Gate>>,
}

/// What stands between the executor and every task.
#[derive(Default)]
struct Gate(Mutex<GateState>);

/// What becomes due after so many polls.
type Due = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct GateState {
    /// While the process is paused: who waits, to be woken when it goes on.
    waiting: Option<Vec<Waker>>,
    after_polls: Option<(u64, Due)>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a poll of a task: whether it may happen, and what has become due.
    fn pass(&self, cx: &Context<'_>) -> (bool, Option<Due>) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.as_mut() {
            waiting.push(cx.waker().clone());
            return (false, None);
        }
        match &mut state.after_polls {
            Some((left, _)) if *left > 0 => *left -= 1,
            Some(_) => return (false, state.after_polls.take().map(|(_, due)| due)),
            None => {}
        }
        (true, None)
    }
}

/// A task behind a gate: not polled while it is closed.
struct Gated<F> {
    gate: Arc<Gate>,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Gated<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.gate.pass(cx) {
            (true, _) => self.future.as_mut().poll(cx),
            (false, due) => {
                if let Some(due) = due {
                    // Unless it ends the process, this task goes on.
                    cx.waker().wake_by_ref();
                    due();
                }
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tasks")
    }
}

impl Tasks {
    /// With nothing spawned yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With nothing spawned yet, and with [`Tasks::pause`] and [`Tasks::after_polls`]: for simulations.
    #[must_use]
    pub fn pausable() -> Self {
        Self(Arc::new(Shared { handles: Mutex::default(), gate: Some(Arc::default()) }))
    }

    /// Holds every task as SIGSTOP would: none is polled until [`Tasks::resume`], whatever it waits for and
    /// whatever its timers say. Without effect unless made by [`Tasks::pausable`].
    pub fn pause(&self) {
        if let Some(gate) = &self.0.gate {
            gate.lock().waiting.get_or_insert_default();
        }
    }

    /// Lets the tasks go on.
    pub fn resume(&self) {
        let waiting = self.0.gate.as_ref().and_then(|gate| gate.lock().waiting.take());
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Whether the tasks are held.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.gate.as_ref().is_some_and(|gate| gate.lock().waiting.is_some())
    }

    /// Runs `due` in place of the poll after the next `polls` ones of any task: it may end the process, and so at any
    /// place where a task waits. Without effect unless made by [`Tasks::pausable`].
    pub fn after_polls(&self, polls: u64, due: impl FnOnce() + Send + 'static) {
        if let Some(gate) = &self.0.gate {
            gate.lock().after_polls = Some((polls, Box::new(due)));
        }
    }

    /// Spawns on tokio, and remembers the task until it ends.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = match &self.0.gate {
            None => tokio::spawn(future),
            Some(gate) => tokio::spawn(Gated { gate: Arc::clone(gate), future: Box::pin(future) }),
        };
        self.track(handle.abort_handle());
        handle
    }

    /// Remembers a task that was spawned elsewhere on this process's behalf.
    pub fn track(&self, handle: AbortHandle) {
        let mut tasks = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.len() >= 64 && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(handle);
    }

    /// Aborts every task that still runs.
    pub fn abort_all(&self) {
        let mut tasks = self.0.handles.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

/// A generator for one use (`stream` tells the uses of one seed apart).
#[must_use]
pub fn seeded_rng(seed: u64, stream: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

pub(crate) fn system_seed() -> std::io::Result<u64> {
    rand::rngs::OsRng.try_next_u64().map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_paused_process_does_nothing_until_it_is_resumed_and_can_be_killed_meanwhile() {
        let tasks = Tasks::pausable();
        let done = Arc::new(Mutex::new(0));
        let count = |wait| {
            let done = Arc::clone(&done);
            tasks.spawn(async move {
                tokio::time::sleep(Duration::from_millis(wait)).await;
                *done.lock().unwrap() += 1;
            })
        };
        let first = count(0);
        tasks.pause();
        let second = count(1);
        assert!(tasks.is_paused());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(*done.lock().unwrap(), 0);
        second.abort();
        assert!(second.await.unwrap_err().is_cancelled());
        tasks.resume();
        first.await.unwrap();
        assert_eq!(*done.lock().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_process_can_be_ended_between_any_two_polls() {
        let tasks = Tasks::pausable();
        let steps = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&steps);
        let task = tasks.spawn(async move {
            loop {
                *counted.lock().unwrap() += 1;
                tokio::task::yield_now().await;
            }
        });
        let ended = tasks.clone();
        tasks.after_polls(3, move || ended.abort_all());
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(*steps.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn plain_tasks_cannot_be_paused() {
        let tasks = Tasks::new();
        tasks.pause();
        assert!(!tasks.is_paused());
        tasks.spawn(async {}).await.unwrap();
    }
}
