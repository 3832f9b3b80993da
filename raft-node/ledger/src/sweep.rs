//! What time ends: leases, moves, turns, quotes, idle sessions, names of closed orders, remembered demands.
//!
//! Invariant: sweeping is cleaning only. Whoever uses a thing checks its deadline, so that it does not
//! matter when the sweep comes to it; and one apply sweeps at most `SWEEP_MAX` things.

use imbl::OrdSet;
use quorate_planted::{Bug, planted};

use crate::{
    apply::Applying,
    bounds::{SESSION_IDLE_MS, SWEEP_MAX},
    event::{AuthorityEndReason, DepartReason, Event, QuoteEndReason},
    ledger::Ledger,
    state::Maker,
};
use quorate_domain::{MakerName, Millis};

/// Idleness that a planted bug evicts for, in milliseconds.
const EARLY_MS: u64 = 1_000;
/// How long a planted bug leaves an expired quote standing, so that it can be kept, in milliseconds.
const LATE_MS: u64 = 500;

impl Ledger {
    /// When the next thing falls due: at that log time a `Tick` has work to do. `None` where nothing
    /// ever will of itself. It may lie in the past, where more fell due than one apply sweeps.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let indexes = &self.indexes;
        [
            first(&indexes.makers_due),
            first(&indexes.moves_due),
            first(&indexes.turns_due),
            first(&indexes.quotes_due).map(|deadline| deadline.plus(quotes_late())),
            first(&indexes.sessions_idle).map(|last_use| last_use.plus(SESSION_IDLE_MS)),
            self.tables.names.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

fn first<K: Ord + Clone>(due: &OrdSet<(Millis, K)>) -> Option<Millis> {
    due.get_min().map(|(at, _)| *at)
}

/// How long after their deadlines quotes are swept: at once.
fn quotes_late() -> u64 {
    if planted(Bug::KeepRevivesExpired) { LATE_MS } else { 0 }
}

/// The first key whose time has come, `after` ms ago or more.
fn due<K: Ord + Clone>(due: &OrdSet<(Millis, K)>, after: u64, now: Millis) -> Option<K> {
    due.get_min().filter(|(at, _)| *at <= now && now.since(*at) >= after).map(|(_, key)| key.clone())
}

impl Applying<'_> {
    pub(crate) fn sweep(&mut self) {
        self.forget_due_demands();
        for _ in 0..SWEEP_MAX {
            if !self.sweep_one() {
                return;
            }
        }
    }

    /// Whether there was one.
    fn sweep_one(&mut self) -> bool {
        let now = self.log_time();
        if let Some(maker) = due(&self.indexes.makers_due, 0, now) {
            self.depart(&maker, DepartReason::Expired);
        } else if let Some(symbol) = due(&self.indexes.moves_due, 0, now) {
            self.end_or_move(&symbol, AuthorityEndReason::MoveDeadline);
        } else if let Some(symbol) = due(&self.indexes.turns_due, 0, now) {
            self.end_turn(&symbol);
        } else if let Some(symbol) = due(&self.indexes.quotes_due, quotes_late(), now) {
            self.end_quote(&symbol, QuoteEndReason::Expired);
        } else if let Some(id) = due(&self.indexes.sessions_idle, SESSION_IDLE_MS, now) {
            self.remove_session(id);
        } else if planted(Bug::EvictSessionEarly)
            && let Some(id) = due(&self.indexes.sessions_idle, EARLY_MS, now)
        {
            self.remove_session(id);
        } else {
            return self.sweep_name();
        }
        true
    }

    /// A demand whose time has come counts no more: not a thing of its own, and not bounded but by the
    /// number of symbols.
    fn forget_due_demands(&mut self) {
        while let Some((until, symbol, side)) = self.indexes.demands_due.get_min().cloned() {
            if until > self.log_time() {
                return;
            }
            self.change_symbol(&symbol, |state| *state.demand.until.of_mut(side) = None);
        }
    }

    /// Begins a term: leases get their grace before anything is swept, quotes none.
    pub(crate) fn begin_term(&mut self, term: u64, quote_age_proven: bool, clock_jump_ms: u64) {
        self.tables.term = term;
        let graced = self.grace();
        self.renew_offers();
        self.sweep();
        if !quote_age_proven {
            self.end_all_quotes(QuoteEndReason::AgeUnproven);
        }
        self.events.push(Event::TermBegan { term, graced, quotes_pulled: !quote_age_proven, clock_jump_ms });
    }

    /// Gives every registered maker a whole lease, counted from now; says to how many that was news.
    fn grace(&mut self) -> u32 {
        let makers: Vec<(MakerName, Maker)> =
            self.tables.makers.iter().map(|(name, maker)| (name.clone(), maker.clone())).collect();
        let makers = if planted(Bug::HashMapOrder) { shuffled(makers) } else { makers };
        let mut graced = 0;
        for (name, maker) in makers {
            let deadline = self.log_time().plus(maker.ttl_ms);
            if deadline > maker.deadline {
                self.extend_lease(&name, &maker, deadline);
                graced += 1;
            }
        }
        graced
    }
}

/// In the order of a hash map, which is another one in every process and at every call.
#[expect(clippy::disallowed_types, reason = "the planted bug is just that")]
fn shuffled(makers: Vec<(MakerName, Maker)>) -> Vec<(MakerName, Maker)> {
    makers.into_iter().collect::<std::collections::HashMap<_, _>>().into_iter().collect()
}
