//! What a leader does beside answering: begins its term in the log, then ticks when something is due.
//!
//! Invariants: everything committed before the term is applied here before the term's clock is anchored;
//! no client command enters the log in a term before its `BeginTerm` is applied; a tick is written in the
//! term it was decided in, or not at all.

use std::{sync::Arc, time::Duration};

use openraft::{ServerState, async_runtime::WatchReceiver};
use quorate_ledger::LeaderCommand;
use quorate_planted::{Bug, planted};
use tokio::time::{Instant, sleep, timeout};

use super::Inner;
use crate::{
    raft::{
        links::Target,
        wire::{Forward, Outcome, paths},
    },
    time::TermStart,
};

/// How often a leader looks whether something is due: log time is exact to this.
const TICK_PERIOD: Duration = Duration::from_millis(50);
/// Pause before `BeginTerm` is proposed again, where openraft was not ready for it.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

impl Inner {
    /// Leads whenever openraft says so, until the node stops.
    pub(crate) async fn lead(self: Arc<Self>) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let term = {
                let now = metrics.borrow_watched();
                (now.state == ServerState::Leader).then_some(now.vote.leader_id.term)
            };
            if let Some(term) = term {
                tracing::info!(term, "leading");
                self.lead_term(term).await;
                self.begun.send_replace(None);
                self.clock.end_term();
                tracing::info!(term, "no longer leading");
            }
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// The term that this node leads, if `BeginTerm` is applied by `deadline`.
    pub(crate) async fn begun_term(&self, deadline: Instant) -> Option<u64> {
        let mut begun = self.begun.subscribe();
        loop {
            if let Some(term) = *begun.borrow_and_update() {
                return Some(term);
            }
            if self.leader() != Some(self.links.me()) {
                return None;
            }
            tokio::select! {
                biased;
                changed = begun.changed() => changed.ok()?,
                () = self.leader_changed(RETRY_PAUSE) => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
    }

    fn leads(&self, term: u64) -> bool {
        let metrics = self.raft.server_metrics();
        let now = metrics.borrow_watched();
        now.state == ServerState::Leader && now.vote.leader_id.term == term
    }

    async fn lead_term(&self, term: u64) {
        // openraft's own first entry of the term: once it is applied, so is all that came before.
        while !self.applied.wait_term(term, TICK_PERIOD).await {
            if !self.leads(term) {
                return;
            }
        }
        let TermStart { anchor, quote_age_proven, clock_jump_ms } =
            self.clock.begin_term(term, self.applied.log_time());
        tracing::info!(term, %anchor, quote_age_proven, clock_jump_ms, "anchored");
        let begin = LeaderCommand::BeginTerm { term, quote_age_proven, clock_jump_ms };
        while !self.applies(term, begin.clone()).await {
            if !self.leads(term) {
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
        self.counters.terms_begun.add(1);
        self.begun.send_replace(Some(term));
        while self.leads(term) {
            sleep(TICK_PERIOD).await;
            let due = self.applied.next_deadline().zip(self.clock.stamp(term)).is_some_and(|(due, now)| due <= now);
            if due && self.applies(term, LeaderCommand::Tick).await {
                self.counters.ticks.add(1);
            }
        }
        if planted(Bug::StaleLeaderTicks) {
            self.tick_late().await;
        }
    }

    /// The planted bug: a tick of this node's, with its own wall clock's stamp, is written by its successor.
    async fn tick_late(&self) {
        while self.leader().is_none() {
            sleep(TICK_PERIOD).await;
        }
        let Some(leader) = self.leader().filter(|leader| *leader != self.links.me()) else { return };
        let Some(peer) = self.peer(leader) else { return };
        let late = Forward { deadline_ms: self.world.clocks.wall_ms(), batch: Vec::new() };
        let sent: Result<Vec<Outcome>, _> =
            self.links.call(Target::member(leader, &peer), paths::FORWARD, &late, TICK_PERIOD).await;
        tracing::warn!(written = sent.is_ok(), "planted: a tick of a leader that was replaced");
    }

    /// Proposes `command` in `term`: whether it was applied. Gives up when the term is lost.
    async fn applies(&self, term: u64, command: LeaderCommand) -> bool {
        let proposed = self.propose_as_leader(term, command);
        tokio::pin!(proposed);
        loop {
            match timeout(TICK_PERIOD, &mut proposed).await {
                Ok(outcome) => return matches!(outcome, Outcome::Applied(_)),
                Err(_) if !self.leads(term) => return false,
                Err(_) => {}
            }
        }
    }
}
