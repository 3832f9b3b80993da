//! Listens in on clients: what was acknowledged, what reads were made at, and the whole of it as a history.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use quorate_api::{Applied, Consistency, paths};
use quorate_ledger::{Command, Envelope, Response};
use quorate_tests::history::calls::History;
use serde::Deserialize;

use crate::{
    process::Who,
    recorded::Recorded,
    sim::Sim,
    view::{Acked, Placing, ReadSeen},
};

/// A maker that stood still sends within this what it had decided before.
const AFTER_A_STOP: Duration = Duration::from_secs(1);

/// What was known when a call began.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    at: u64,
    acked: u64,
    served: BTreeMap<u64, u64>,
}

/// See the module.
pub struct Tap {
    sim: Weak<Sim>,
    known: Mutex<Mark>,
    recorded: Mutex<Recorded>,
}

/// The head of every read's answer.
#[derive(Deserialize)]
struct ReadHead {
    applied_index: u64,
    consistency: Consistency,
}

impl Tap {
    /// For `sim`.
    #[must_use]
    pub fn new(sim: Weak<Sim>) -> Self {
        Self { sim, known: Mutex::default(), recorded: Mutex::default() }
    }

    /// A call begins.
    #[must_use]
    pub fn mark(&self) -> Mark {
        let at = self.sim.upgrade().map_or(0, |sim| now(&sim));
        Mark { at, ..self.known.lock().unwrap_or_else(PoisonError::into_inner).clone() }
    }

    /// The highest index that anybody was told is committed.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).acked
    }

    /// `client` sends a request.
    pub fn sent(&self, number: u64, client: Who, to: Who, path: &str, body: &[u8]) {
        let (Some(sim), Who::Node(_)) = (self.sim.upgrade(), to) else { return };
        if path == paths::COMMANDS && !matches!(client, Who::Node(_)) {
            let batch = commands(body);
            if let Who::Maker(maker) = client {
                batch.iter().for_each(|envelope| placing(&sim, maker, &envelope.command));
            }
            self.recorded().sent(now(&sim), &client.to_string(), number, batch);
        }
    }

    /// A copy of a request is handed over.
    pub fn delivered(&self, number: u64) {
        self.recorded().delivered(number);
    }

    /// Commands were answered, one way or another.
    pub fn commands_answered(&self, number: u64, client: Who, body: &[u8]) {
        let Some(sim) = self.sim.upgrade() else { return };
        self.recorded().answered(now(&sim), number, body);
        for response in responses(body) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).acked.max_with(response.index);
            let acked = Acked { index: response.index, log_time: response.log_time.0, to: client.to_string() };
            sim.checks().acked(&acked);
        }
    }

    /// `node` answered a read of `client`.
    pub fn read_answered(&self, mark: &Mark, node: u64, client: Who, uri: &http::Uri, body: &[u8]) {
        let Some(sim) = self.sim.upgrade() else { return };
        let Ok(head) = serde_json::from_slice::<ReadHead>(body) else { return };
        let linearizable = head.consistency == Consistency::Linearizable;
        // What a node knows of itself it says at any time, also while it recovers.
        if !linearizable && [paths::STATUS, paths::CLUSTER, paths::DIGESTS].contains(&uri.path()) {
            return;
        }
        let seen = ReadSeen {
            node,
            linearizable,
            applied_index: head.applied_index,
            acked_before: mark.acked,
            served_before: mark.served.get(&node).copied().unwrap_or(0),
        };
        sim.checks().read(&seen);
        if let (Some(path), Ok(answer)) = (uri.path_and_query(), serde_json::from_slice(body)) {
            let (times, node) = ((mark.at, now(&sim)), Who::Node(node).to_string());
            self.recorded().read(times, &client.to_string(), &node, path.as_str(), answer);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.served.entry(node).or_default().max_with(head.applied_index);
    }

    /// Everything that clients asked and were told.
    #[must_use]
    pub fn history(&self) -> History {
        self.recorded().history()
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A maker sends this command: a quote for the symbol that is fed is looked at.
fn placing(sim: &Sim, maker: u64, command: &Command) {
    let Command::PlaceQuote(quote) = command else { return };
    let Some(feed) = sim.feed_view().filter(|feed| feed.symbol == quote.symbol) else { return };
    let resumed = sim.state().makers.get(&maker).and_then(|host| host.resumed);
    if resumed.is_some_and(|resumed| resumed.elapsed() < AFTER_A_STOP) {
        return;
    }
    let (epoch, quote_seq, silence) = (quote.epoch, quote.quote_seq, feed.silence);
    sim.checks().placing(&Placing { maker, epoch, quote_seq, silence });
}

fn commands(body: &[u8]) -> Vec<Envelope> {
    serde_json::from_slice(body).or_else(|_| serde_json::from_slice(body).map(|one| vec![one])).unwrap_or_default()
}

/// Nanoseconds since the run began.
fn now(sim: &Sim) -> u64 {
    u64::try_from(sim.zero.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn responses(body: &[u8]) -> Vec<Response> {
    let applied: Vec<Applied> =
        serde_json::from_slice(body).or_else(|_| serde_json::from_slice(body).map(|one| vec![one])).unwrap_or_default();
    let response = |applied| match applied {
        Applied::Response(response) => Some(response),
        Applied::Problem(_) => None,
    };
    applied.into_iter().filter_map(response).collect()
}

trait MaxWith {
    fn max_with(&mut self, other: Self);
}

impl MaxWith for u64 {
    fn max_with(&mut self, other: Self) {
        *self = (*self).max(other);
    }
}
