//! The outside world as values that are handed in: clocks, randomness, task spawning, HTTP, failpoints.
//!
//! Every process of the house takes a [`World`] and reaches clocks, sockets, randomness and spawning
//! through it alone. Production hands in [`World::real`]; a simulation hands in its own. Invariant:
//! no globals; several nodes, each with its own world, run in one process.

mod clock;
mod failpoint;
mod http_call;
#[cfg(feature = "listener")]
mod listener;
mod reqwest_http;
mod tasks;
mod whole_body;
mod words;

use std::sync::Arc;

pub use clock::{Clocks, SystemClocks};
pub use failpoint::{FailAction, Failpoints, InvalidFailpoint};
pub use http_call::{Body, Call, CallError, Http, empty_body, full_body, read_body, stream_body};
#[cfg(feature = "listener")]
pub use listener::{Bounded, Place, Placed};
pub use reqwest_http::ReqwestHttp;
pub use tasks::{Tasks, seeded_rng};
pub use whole_body::{NotWhole, whole_body};
pub use words::{colours, explain};

/// All that a process may know of the outside.
#[derive(Clone, Debug)]
pub struct World {
    /// Wall clock and monotonic clock, separately.
    pub clocks: Arc<dyn Clocks>,
    /// Outgoing HTTP.
    pub http: Arc<dyn Http>,
    /// Spawning, bound to this process: all its tasks end when it is aborted.
    pub tasks: Tasks,
    /// Seed of all randomness of this process (jitter, ids, elections).
    pub seed: u64,
    /// Named places where a fault can be injected; empty in production.
    pub failpoints: Failpoints,
}

impl World {
    /// The real one: system clocks, sockets, a seed from the operating system, no failpoints.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made or the operating system gives no randomness.
    pub fn real(failpoints: Failpoints) -> std::io::Result<Self> {
        Ok(Self {
            clocks: Arc::new(SystemClocks::new()),
            http: Arc::new(ReqwestHttp::new().map_err(std::io::Error::other)?),
            tasks: Tasks::new(),
            seed: tasks::system_seed()?,
            failpoints,
        })
    }

    /// Random bits for a name that nothing else has; `stream` tells the uses of one seed apart.
    #[must_use]
    pub fn random_name(&self, stream: u64) -> u128 {
        rand::Rng::random(&mut seeded_rng(self.seed, stream))
    }
}
