//! What this maker holds by the ledger's word, and what it believes to hold by its own clock.
//!
//! Invariants: an older word of the ledger never overwrites a newer one, whatever way it came; a belief
//! needs a lease whose own deadline lies ahead, and the ledger's word; a renewal puts that deadline off
//! only once all is known that changed until then; while a symbol is to move away there is no belief, so
//! that it can be released at once.

use std::{collections::BTreeMap, time::Duration};

use quorate_domain::Symbol;
use quorate_ledger::{Epoch, Incarnation};
use quorate_planted::{Bug, planted};

use crate::{
    heard::Heard,
    types::{Belief, BeliefChange},
};

/// The maker's registration, as long as it may stand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lease {
    pub(crate) incarnation: Incarnation,
    /// Until when what is held may be believed in: on the own monotonic clock, margin taken off; zero before
    /// anything is known of what is held.
    until: Duration,
}

/// A registration or renewal that waits until the maker knows what it holds.
#[derive(Debug, Clone, Copy)]
struct Extension {
    /// As in [`Lease`].
    until: Duration,
    /// What is held last changed at this index, as the renewal told.
    holdings_index: u64,
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
    /// What was told of holdings so far.
    heard: Heard,
    /// In the order of their answers; few, for they end by the clock.
    extensions: Vec<Extension>,
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

    /// All words of the frame at `index` were taken in.
    pub(crate) fn heard_frame(&mut self, index: u64) {
        self.heard.frame(index);
    }

    /// All words of a linearizable read as of `index` were taken in.
    pub(crate) fn heard_read(&mut self, index: u64) {
        self.heard.read(index);
    }

    /// The registration of `incarnation` was made or renewed until `until`, by the own clock; what it holds last changed at
    /// `holdings_index`. Until that is known, beliefs end where they ended before.
    pub(crate) fn leased(&mut self, incarnation: Incarnation, until: Duration, holdings_index: u64) {
        if self.lease.is_none_or(|lease| lease.incarnation != incarnation) {
            self.end_lease();
            self.lease = Some(Lease { incarnation, until: Duration::ZERO });
        }
        self.extensions.push(Extension { until, holdings_index });
    }

    /// Whether a registration or renewal waits for what the stream has not told yet.
    pub(crate) fn waits_for_holdings(&self) -> bool {
        !self.leaving && !self.extensions.is_empty()
    }

    /// The incarnation has ended.
    pub(crate) fn end_lease(&mut self) {
        self.lease = None;
        self.extensions.clear();
    }

    /// Puts the lease's end off by every renewal up to whose holdings all was heard.
    fn extend(&mut self, now: Duration) {
        let Some(lease) = &mut self.lease else { return };
        let heard = self.heard.index();
        self.extensions.retain(|extension| {
            let counts = extension.holdings_index <= heard || planted(Bug::RenewalCountsAtOnce);
            if counts {
                lease.until = lease.until.max(extension.until);
            }
            !counts && extension.until > now
        });
    }

    /// Brings the beliefs up to `now`, and says what changed.
    pub(crate) fn update(&mut self, now: Duration) -> Vec<Belief> {
        let mut changes = Vec::new();
        self.extend(now);
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
