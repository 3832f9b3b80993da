//! The network, at the level of calls: requests go into the target's router, and are lost, delayed, doubled, held
//! and overtaken on the way by the rules in force.
//!
//! Invariants: a lost message says nothing (its caller's own deadline does); what a call's caller hears as *not
//! connected* was not delivered; a body that streams keeps its order, and ends with an error where its sender ended;
//! all chance comes from one generator.

mod body;
mod call;
mod rules;
mod sniff;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use axum::Router;
use quorate_seams::{Body, Call, Http, seeded_rng};
use rand::{Rng, rngs::SmallRng};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

pub use rules::{Quality, Rules, Scope};

use crate::{
    note,
    process::{Party, Who},
    tap::{Mark, Tap},
    trace::Trace,
};

/// The stream of the seed that the network draws from.
const NET_STREAM: u64 = 0x6e65_7400;
/// How long a broken link is not noticed by those who keep a connection alive over it.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// How long a connection is tried.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// The network. Clones are the same one.
#[derive(Clone)]
pub struct Net(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts the changes of the rules.
    changed: watch::Sender<u64>,
    trace: Arc<Trace>,
    tap: OnceLock<Arc<Tap>>,
}

struct State {
    rng: SmallRng,
    routes: BTreeMap<String, Route>,
    rules: Rules,
    calls: u64,
    counts: BTreeMap<&'static str, u64>,
    refusals: BTreeMap<String, u64>,
}

#[derive(Clone)]
struct Route {
    router: Option<Router>,
    party: Party,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

impl Net {
    /// A network without faults whose messages take `base_ms.0..=base_ms.1` milliseconds.
    #[must_use]
    pub fn new(seed: u64, base_ms: (u64, u64), trace: Arc<Trace>) -> Self {
        let state = State {
            rng: seeded_rng(seed, NET_STREAM),
            routes: BTreeMap::new(),
            rules: Rules::new(base_ms),
            calls: 0,
            counts: BTreeMap::new(),
            refusals: BTreeMap::new(),
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0), trace, tap: OnceLock::new() }))
    }

    /// From now on `tap` listens in. Once.
    pub fn tap(&self, tap: Arc<Tap>) {
        let _ = self.0.tap.set(tap);
    }

    fn mark(&self) -> Mark {
        self.0.tap.get().map(|tap| tap.mark()).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `party` serves `address`, by `router`; without one it refuses connections.
    pub fn serve(&self, address: &str, party: Party, router: Option<Router>) {
        self.state().routes.insert(address.to_owned(), Route { router, party });
    }

    /// Changes the rules.
    pub fn rule(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.state().rules);
        self.0.changed.send_modify(|changes| *changes += 1);
    }

    /// What happened, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.state().counts.clone()
    }

    /// Refusals of the ledger seen on their way to clients, by name.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.state().refusals.clone()
    }

    fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    fn chance(&self, percent: u32) -> bool {
        self.state().rng.random_range(0..100) < percent
    }

    fn between(&self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.state().rng.random_range(low_ms..=high_ms))
    }

    /// Whether nothing gets from one to the other.
    fn is_cut(&self, from: Who, to: Who) -> bool {
        self.state().rules.is_cut(from, to)
    }

    fn is_broken(&self, a: Who, b: Who) -> bool {
        let state = self.state();
        state.rules.is_cut(a, b) || state.rules.is_cut(b, a)
    }

    /// Resolves once `holds` does, looked at whenever the rules change.
    async fn until(&self, holds: impl Fn(&Rules) -> bool) {
        let mut changed = self.0.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if holds(&self.state().rules) {
                return;
            }
            // The sender lives as long as `self`.
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// Carries one message: whether it arrives.
    async fn carry(&self, from: Who, to: Who) -> bool {
        let drawn = {
            let state = &mut *self.state();
            state.rules.draw(&mut state.rng, from, to)
        };
        if self.is_cut(from, to) {
            self.count("messages cut off");
            return false;
        }
        if drawn.lost {
            self.count("messages lost");
            return false;
        }
        if !drawn.delay.is_zero() {
            sleep(drawn.delay).await;
        }
        if self.state().rules.is_held(from, to) {
            self.count("messages held");
            self.until(|rules| !rules.is_held(from, to)).await;
        }
        !self.is_cut(from, to)
    }

    /// Resolves when a connection between the two is given up: at once after a break that somebody noticed, by keep
    /// alive or because the other end was found not to know it any more.
    async fn connection_lost(&self, a: Who, b: Who, keeps_alive: bool) {
        loop {
            self.until(|rules| rules.is_cut(a, b) || rules.is_cut(b, a)).await;
            let healed = self.until(|rules| !rules.is_cut(a, b) && !rules.is_cut(b, a));
            let patience = if keeps_alive { KEEP_ALIVE } else { Duration::from_secs(3_600) };
            if timeout(patience, healed).await.is_err() || self.chance(50) {
                self.count("streams broken");
                return;
            }
        }
    }

    fn trace(&self) -> &Trace {
        &self.0.trace
    }
}

/// One process's way out.
#[derive(Debug)]
pub struct SimHttp {
    net: Net,
    party: Party,
}

impl SimHttp {
    /// For `party`.
    #[must_use]
    pub fn new(net: Net, party: Party) -> Self {
        Self { net, party }
    }
}

impl Http for SimHttp {
    fn call(&self, request: http::Request<Body>) -> Call<'_> {
        let (net, party) = (self.net.clone(), self.party.clone());
        Box::pin(async move { call::call(net, party, request).await })
    }
}

/// When something sent now arrives, behind what was sent before.
async fn arrive(sent: Instant, delay: Duration) {
    tokio::time::sleep_until(sent + delay).await;
}

/// A short text for a body in the trace.
fn print(bytes: &[u8]) -> (usize, u32) {
    (bytes.len(), crc32fast::hash(bytes))
}

/// Says in the trace what arrived.
fn arrived(net: &Net, call: u64, what: &str, from: Who, to: Who, bytes: &[u8]) {
    let (len, crc) = print(bytes);
    note!(net.trace(), "#{call} {from}>{to} {what} {len} {crc:08x}");
}
