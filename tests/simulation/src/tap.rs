//! Listens in on the answers that reach clients: what was acknowledged, and what reads were made at.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, Weak},
};

use quorate_api::{Applied, Consistency, paths};
use quorate_ledger::Response;
use serde::Deserialize;

use crate::{
    process::Who,
    sim::Sim,
    view::{Acked, ReadSeen},
};

/// What was known when a call began.
#[derive(Debug, Clone, Default)]
pub struct Mark {
    acked: u64,
    served: BTreeMap<u64, u64>,
}

/// See the module.
pub struct Tap {
    sim: Weak<Sim>,
    known: Mutex<Mark>,
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
        Self { sim, known: Mutex::default() }
    }

    /// A call begins.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The highest index that anybody was told is committed.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).acked
    }

    /// `node` answered `client` with success.
    pub fn answered(&self, mark: &Mark, node: u64, client: Who, method: &http::Method, path: &str, body: &[u8]) {
        let Some(sim) = self.sim.upgrade() else { return };
        if path == paths::COMMANDS {
            for response in responses(body) {
                self.known.lock().unwrap_or_else(PoisonError::into_inner).acked.max_with(response.index);
                let acked = Acked { index: response.index, log_time: response.log_time.0, to: client.to_string() };
                sim.checks().acked(&acked);
            }
        } else if method == http::Method::GET {
            let Ok(head) = serde_json::from_slice::<ReadHead>(body) else { return };
            let linearizable = head.consistency == Consistency::Linearizable;
            // What a node knows of itself it says at any time, also while it recovers.
            if !linearizable && [paths::STATUS, paths::CLUSTER, paths::DIGESTS].contains(&path) {
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
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.served.entry(node).or_default().max_with(head.applied_index);
        }
    }
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
