//! What this maker holds by the ledger's word, and what it believes to hold by its own clock.
//!
//! Invariants: an older word of the ledger never overwrites a newer one, whatever way it came; a belief
//! needs a lease whose own deadline lies ahead, and the ledger's word; while a symbol is to move away
//! there is no belief, so that it can be released at once.

use std::{collections::BTreeMap, time::Duration};

use quorate_domain::Symbol;
use quorate_ledger::{Epoch, Holding, Incarnation};

use crate::types::{Belief, BeliefChange};

/// The maker's registration, as long as it may stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) incarnation: Incarnation,
    /// On the own monotonic clock, margin taken off.
    pub(crate) until: Duration,
}

/// The ledger's word on one symbol.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    /// The log index that it is of.
    index: u64,
    epoch: Epoch,
    holder: Option<Incarnation>,
    moving: bool,
    release: Option<Release>,
}

/// The giving up of a symbol: once begun it is seen through, and nothing is believed meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release {
    in_flight: bool,
    retry_at: Duration,
}

/// Lease, words and beliefs.
#[derive(Debug, Default)]
pub(crate) struct Authority {
    pub(crate) lease: Option<Lease>,
    /// Nothing is believed and nothing will be again.
    pub(crate) leaving: bool,
    /// Index of the last complete list of what this maker holds: older words are worth nothing.
    floor: u64,
    words: BTreeMap<Symbol, Word>,
    beliefs: BTreeMap<Symbol, Belief>,
}

impl Authority {
    /// All beliefs, in symbol order.
    pub(crate) fn beliefs(&self) -> impl Iterator<Item = &Belief> {
        self.beliefs.values()
    }

    /// Takes in that `symbol` is held by `holder` under `epoch`, as of `index`.
    pub(crate) fn learn(&mut self, symbol: &Symbol, index: u64, epoch: Epoch, holder: Option<Incarnation>) {
        if index < self.floor {
            return;
        }
        let fresh = Word { index, epoch, holder, moving: false, release: None };
        match self.words.get_mut(symbol) {
            None => {
                self.words.insert(symbol.clone(), fresh);
            }
            Some(word) if epoch > word.epoch => *word = fresh,
            Some(word) if epoch == word.epoch && index >= word.index => {
                word.index = index;
                word.holder = holder;
                if holder.is_none() {
                    (word.moving, word.release) = (false, None);
                }
            }
            Some(_) => {}
        }
    }

    /// Takes in that `symbol`, held under `epoch`, is to move away, or that the move was called off.
    pub(crate) fn learn_move(&mut self, symbol: &Symbol, index: u64, epoch: Epoch, moving: bool) {
        if let Some(word) = self.words.get_mut(symbol)
            && word.epoch == epoch
            && index >= word.index
        {
            word.index = index;
            word.moving = moving;
        }
    }

    /// Takes in all that `incarnation` holds, as of `index`.
    pub(crate) fn learn_holdings(&mut self, index: u64, incarnation: Incarnation, holds: &[Holding]) {
        if index < self.floor {
            return;
        }
        let gone = |(symbol, word): (&Symbol, &Word)| {
            let listed = holds.iter().any(|holding| holding.symbol == *symbol);
            (word.holder.is_some() && !listed).then(|| (symbol.clone(), word.epoch))
        };
        let gone: Vec<(Symbol, Epoch)> = self.words.iter().filter_map(gone).collect();
        gone.iter().for_each(|(symbol, epoch)| self.learn(symbol, index, *epoch, None));
        for holding in holds {
            self.learn(&holding.symbol, index, holding.epoch, Some(incarnation));
            self.learn_move(&holding.symbol, index, holding.epoch, holding.moving_until.is_some());
        }
        self.floor = index;
    }

    /// The incarnation has ended.
    pub(crate) fn end_lease(&mut self) {
        self.lease = None;
    }

    /// Brings the beliefs up to `now`, and says what changed.
    pub(crate) fn update(&mut self, now: Duration) -> Vec<Belief> {
        let mut changes = Vec::new();
        let lease = self.lease.filter(|lease| !self.leaving && now < lease.until);
        let stands = |words: &BTreeMap<Symbol, Word>, belief: &Belief| {
            lease.is_some_and(|lease| {
                lease.incarnation == belief.incarnation
                    && words
                        .get(&belief.symbol)
                        .is_some_and(|word| word.epoch == belief.epoch && word.is_believable(lease.incarnation))
            })
        };
        let words = &self.words;
        self.beliefs.retain(|_, belief| {
            let stands = stands(words, belief);
            if !stands {
                let until = belief.until.min(now);
                changes.push(Belief { change: BeliefChange::Ended, until, ..belief.clone() });
            }
            stands
        });
        let Some(lease) = lease else { return changes };
        for (symbol, word) in words.iter().filter(|(_, word)| word.is_believable(lease.incarnation)) {
            let (epoch, incarnation, until) = (word.epoch, lease.incarnation, lease.until);
            let belief = self.beliefs.entry(symbol.clone()).or_insert_with(|| {
                let (change, from) = (BeliefChange::Gained, now);
                // `until` is given below, so that a new belief is told like a longer one.
                Belief { symbol: symbol.clone(), epoch, incarnation, change, from, until: Duration::ZERO }
            });
            if until > belief.until {
                belief.change = if belief.until.is_zero() { BeliefChange::Gained } else { BeliefChange::Renewed };
                belief.until = until;
                changes.push(belief.clone());
            }
        }
        changes
    }

    /// What is held by the ledger's word and must be given up, and may be asked for now.
    pub(crate) fn releases_due(&mut self, now: Duration) -> Vec<(Symbol, Epoch)> {
        let Some(lease) = self.lease.filter(|_| !self.leaving) else { return Vec::new() };
        let mut due = Vec::new();
        for (symbol, word) in &mut self.words {
            if word.holder != Some(lease.incarnation) || !(word.moving || word.release.is_some()) {
                continue;
            }
            let release = word.release.get_or_insert(Release { in_flight: false, retry_at: now });
            if !release.in_flight && now >= release.retry_at {
                release.in_flight = true;
                due.push((symbol.clone(), word.epoch));
            }
        }
        due
    }

    /// A release was not applied, or nobody knows: again at `retry_at`.
    pub(crate) fn release_failed(&mut self, symbol: &Symbol, epoch: Epoch, retry_at: Duration) {
        if let Some(word) = self.words.get_mut(symbol)
            && word.epoch == epoch
            && let Some(release) = &mut word.release
        {
            *release = Release { in_flight: false, retry_at };
        }
    }

    /// When something here is next due by the clock alone.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let ends = self.beliefs.values().map(|belief| belief.until);
        // The condition is that of `releases_due`: what is not asked for then is not waited for either.
        let lease = self.lease.filter(|_| !self.leaving);
        let held = self.words.values().filter(|word| lease.is_some_and(|lease| word.holder == Some(lease.incarnation)));
        let retries = held.filter_map(|word| word.release).filter(|release| !release.in_flight);
        ends.chain(retries.map(|release| release.retry_at)).min()
    }
}

impl Word {
    fn is_believable(&self, incarnation: Incarnation) -> bool {
        self.holder == Some(incarnation) && !self.moving && self.release.is_none()
    }
}
