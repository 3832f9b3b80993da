//! One symbol's quote: what is known, what is wanted, what is in flight.
//!
//! Invariants: at most one quote command is in flight; a quote is computed from the newest position
//! seen; a refused quote is tried again after a pause that grows, unless what it was refused for is
//! mended by the refusal itself.

use std::time::Duration;

use quorate_domain::{Position, Price, Qty, QuoteId, QuoteSide, RefPrice, Side, Sides};
use quorate_ledger::{Epoch, Incarnation, QuoteCause, Reference, Turn};
use quorate_strategy::{DesiredQuote, FixedSpread};

use crate::types::{CommandId, Priced};

/// First pause before a refused quote is tried again; it doubles with each further refusal.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longest such pause: well within the time that the ledger remembers a demand for exposure.
pub(crate) const RETRY_MAX: Duration = Duration::from_millis(1_600);
/// After so many refusals in a row for a stale position the quote is pulled before the next try.
const STALE_POSITIONS_MAX: u32 = 2;

/// A committed position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) seq: u64,
    pub(crate) position: Position,
    /// The log index that it was learnt at.
    pub(crate) index: u64,
}

/// A reference price, and how old it was at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    reference: Reference,
    age: Duration,
    at: Duration,
}

impl Seen {
    fn age_at(&self, now: Duration) -> Duration {
        self.age.saturating_add(now.saturating_sub(self.at))
    }

    /// Until when it is no older than `age_max`, or was.
    fn fresh_until(&self, age_max: Duration) -> Duration {
        self.at + age_max.saturating_sub(self.age)
    }
}

/// Why a symbol has no price to quote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unpriced {
    Stale,
    Missing,
}

/// What to do about a symbol now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing before this instant, as far as the clock goes.
    Wait(Duration),
    /// Commit the parameters of its quotes.
    Commit,
    /// Place this quote.
    Place(Plan),
    /// Keep the quote that stands: it is close enough to the one that is wanted.
    Keep(QuoteId, Plan),
    /// Pull what may be active.
    Pull,
}

/// The quote that is wanted, and what it was computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) cause: QuoteCause,
    pub(crate) quote: DesiredQuote,
    pub(crate) known: Known,
    pub(crate) reference: Reference,
}

/// What the decision needs of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) incarnation: Incarnation,
    pub(crate) pricing: &'a FixedSpread,
    pub(crate) refresh: Duration,
    pub(crate) quote_ttl: Duration,
    pub(crate) tolerance_ticks: i64,
    pub(crate) reference_age_max: Duration,
    /// The log index at which a quote last gave up exposure.
    pub(crate) freed_at: u64,
    /// The log index up to which the venue's book is known.
    pub(crate) heard: u64,
}

/// A quote as it was sent: what a later wish is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) quote: DesiredQuote,
    pub(crate) position_seq: u64,
    pub(crate) reference: RefPrice,
}

/// A quote of this maker's own that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Accepted {
    id: QuoteId,
    asked: Asked,
    /// Less was granted than asked for.
    reduced: bool,
}

impl Accepted {
    /// Whether it may stand on where `wanted` is what is wanted at this reference price: it asks for the same lots, no price is farther
    /// away than the tolerance, and neither side gives anything away.
    fn is_close_to(&self, wanted: &DesiredQuote, reference: RefPrice, tolerance_ticks: i64) -> bool {
        let stands = &self.asked.quote;
        let close = |stands: Option<QuoteSide>, wanted: Option<QuoteSide>| match (stands, wanted) {
            (Some(stands), Some(wanted)) => {
                stands.qty == wanted.qty && (stands.price.0 - wanted.price.0).abs() <= tolerance_ticks
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let around = stands.bid.is_none_or(|bid| RefPrice::from(bid.price) <= reference)
            && stands.ask.is_none_or(|ask| RefPrice::from(ask.price) >= reference);
        around && close(stands.bid, wanted.bid) && close(stands.ask, wanted.ask)
    }
}

/// One symbol's state.
#[derive(Debug, Default)]
pub(crate) struct Quoting {
    known: Option<Known>,
    reference: Option<Seen>,
    /// Whether it was said that there is no price to quote on, and why.
    unpriced: Option<Unpriced>,
    busy: Option<CommandId>,
    /// Why a quote is wanted, whatever the clock says.
    pending: Option<QuoteCause>,
    /// The newest quote heard of, and whether it is active as far as is known.
    latest: QuoteId,
    active: bool,
    /// The lots that the symbol's last quote was granted.
    granted: Sides<Qty>,
    /// The last quote accepted, unless the ledger would not let it be kept.
    accepted: Option<Accepted>,
    /// When that was sent, or when it was last found that nothing is to be quoted.
    placed_at: Option<Duration>,
    not_before: Duration,
    failures: u32,
    stale_in_row: u32,
    pull_first: bool,
    /// Prices that resting orders leave free, learnt from refusals: highest bid, lowest ask. They count until the stream has come to
    /// the log index of the refusal: from there on the venue's book knows.
    bid_cap: Option<(Price, u64)>,
    ask_floor: Option<(Price, u64)>,
    /// The incarnation under which the parameters were committed.
    committed: Option<Incarnation>,
    /// The revision of the instrument, as far as it is known: one that was never heard of is the first.
    revision: Option<u64>,
    /// The symbol waits for its turn.
    waits: bool,
    /// The epoch in which `seq` was used last.
    epoch: Epoch,
    seq: u64,
}

impl Quoting {
    /// The committed position, if it is known.
    pub(crate) fn known(&self) -> Option<Known> {
        self.known
    }

    /// Whether a quote is active, as far as is known.
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// The quote command in flight.
    pub(crate) fn busy(&self) -> Option<CommandId> {
        self.busy
    }

    /// The symbol came to be held under `epoch`.
    pub(crate) fn gained(&mut self, epoch: Epoch, now: Duration) {
        if epoch != self.epoch {
            (self.epoch, self.seq) = (epoch, 0);
            self.active = false;
        }
        self.pending = Some(QuoteCause::AuthorityGained);
        (self.failures, self.stale_in_row, self.pull_first, self.waits) = (0, 0, false, false);
        self.not_before = now;
    }

    /// A committed position was learnt. A newer one wants a new quote at once.
    pub(crate) fn learn_position(&mut self, seq: u64, position: Position, index: u64) {
        match &mut self.known {
            Some(known) if seq < known.seq => {}
            Some(known) if seq == known.seq => known.index = known.index.max(index),
            Some(known) => {
                *known = Known { seq, position, index };
                self.want(QuoteCause::Fill);
            }
            None => self.known = Some(Known { seq, position, index }),
        }
    }

    /// A reference price is `age` old now. One that is fresh after none was wants a quote at once.
    pub(crate) fn observe(&mut self, reference: Reference, age: Duration, now: Duration, age_max: Duration) {
        let returned = self.reference.as_ref().is_none_or(|seen| seen.age_at(now) > age_max) && age <= age_max;
        self.reference = Some(Seen { reference, age, at: now });
        if returned {
            self.want(QuoteCause::ReferenceMoved);
        }
    }

    /// How old the reference price is, where there is one.
    pub(crate) fn price_age(&self, now: Duration) -> Option<Duration> {
        self.reference.as_ref().map(|seen| seen.age_at(now))
    }

    /// Whether the symbol, held since `since`, has a price to quote on, where that is not yet said.
    pub(crate) fn priced(&mut self, now: Duration, since: Duration, age_max: Duration) -> Option<Priced> {
        let (unpriced, priced) = match self.price_age(now) {
            Some(age) if age > age_max => (Some(Unpriced::Stale), Priced::Stale { age }),
            None if now.saturating_sub(since) > age_max => (Some(Unpriced::Missing), Priced::Missing),
            Some(_) => (None, Priced::Fresh),
            None => return None,
        };
        (std::mem::replace(&mut self.unpriced, unpriced) != unpriced).then_some(priced)
    }

    /// The first instant at which it has none, where it is held since `since` and nothing comes.
    pub(crate) fn stale_after(&self, since: Duration, age_max: Duration) -> Duration {
        self.reference.as_ref().map_or(since + age_max, |seen| seen.fresh_until(age_max)) + MILLI
    }

    /// A quote became active.
    pub(crate) fn quote_placed(&mut self, id: QuoteId) {
        if id > self.latest {
            (self.latest, self.active) = (id, true);
        }
    }

    /// The symbol's quote was granted so many lots; whether that is fewer than the one before it on a side.
    pub(crate) fn reserves(&mut self, granted: Sides<Qty>) -> bool {
        let before = std::mem::replace(&mut self.granted, granted);
        granted.bid < before.bid || granted.ask < before.ask
    }

    /// A quote ended; `cause` is why another is wanted, if one is.
    pub(crate) fn quote_ended(&mut self, id: QuoteId, cause: Option<QuoteCause>) {
        if id < self.latest {
            return;
        }
        (self.latest, self.active) = (id, false);
        if let Some(cause) = cause {
            self.want(cause);
        }
    }

    /// The active quote was read at `index`.
    pub(crate) fn quote_read(&mut self, quote: Option<QuoteId>, index: u64) {
        match quote {
            Some(id) => self.quote_placed(id),
            None if self.latest <= index => self.active = false,
            None => {}
        }
        self.want(QuoteCause::Refresh);
    }

    /// A new quote is wanted. If several causes apply, the most important one is reported.
    pub(crate) fn want(&mut self, cause: QuoteCause) {
        let heavier = self.pending.is_none_or(|pending| weight(cause) > weight(pending));
        if heavier {
            self.pending = Some(cause);
        }
    }

    /// What was short may be there now: no need to wait any longer.
    pub(crate) fn retry_now(&mut self) {
        self.not_before = Duration::ZERO;
    }

    /// What to do now, for a symbol that is held and may be quoted.
    /// `behind_resting` moves a quote behind the orders that rest at the venue.
    pub(crate) fn decide(
        &mut self,
        now: Duration,
        rules: &Rules<'_>,
        behind_resting: impl Fn(DesiredQuote) -> DesiredQuote,
    ) -> Decision {
        if self.busy.is_some() {
            return Decision::Wait(Duration::MAX);
        }
        if now < self.not_before {
            return Decision::Wait(self.not_before);
        }
        if self.pull_first {
            return Decision::Pull;
        }
        let (Some(known), Some(seen)) = (self.known, self.reference.as_ref()) else {
            return Decision::Wait(Duration::MAX);
        };
        if seen.age_at(now) > rules.reference_age_max {
            return if self.active { Decision::Pull } else { Decision::Wait(Duration::MAX) };
        }
        let (reference, stale_at) = (&seen.reference, seen.fresh_until(rules.reference_age_max));
        let quote = behind_resting(rules.pricing.quote(reference.price, known.position));
        let quote = self.within_free_prices(quote, rules.heard);
        let stands = self.accepted.filter(|accepted| self.active && accepted.id == self.latest);
        let stands = stands.filter(|accepted| accepted.asked.position_seq == known.seq);
        let close = stands.is_some_and(|stands| stands.is_close_to(&quote, reference.price, rules.tolerance_ticks));
        let far = stands.filter(|_| !close).map(|stands| match stands.asked.reference == reference.price {
            true => QuoteCause::Refresh,
            false => QuoteCause::ReferenceMoved,
        });
        let Some(cause) = self.cause(now, far, rules) else {
            let refresh_at = self.placed_at.map_or(now, |at| at + rules.refresh);
            return Decision::Wait(if self.active { refresh_at.min(stale_at + MILLI) } else { refresh_at });
        };
        if !quote.is_empty() && self.committed != Some(rules.incarnation) {
            return Decision::Commit;
        }
        if !quote.is_empty() {
            let plan = Plan { cause, quote, known, reference: reference.clone() };
            // One that was reduced may be granted more only where another quote has given up exposure since.
            let kept = stands.filter(|stands| close && !(stands.reduced && rules.freed_at > stands.id));
            return kept.map_or(Decision::Place(plan.clone()), |kept| Decision::Keep(kept.id, plan));
        }
        if self.active {
            return Decision::Pull;
        }
        (self.placed_at, self.pending) = (Some(now), None);
        Decision::Wait(now + rules.refresh)
    }

    /// Why a quote is to be placed or kept now, if one is; `far` where the one that stands is no longer close to what is wanted.
    fn cause(&self, now: Duration, far: Option<QuoteCause>, rules: &Rules<'_>) -> Option<QuoteCause> {
        if self.pending.is_some() {
            return self.pending;
        }
        let Some(placed_at) = self.placed_at else { return Some(QuoteCause::Refresh) };
        if far.is_some() {
            return far;
        }
        if now < placed_at + rules.refresh {
            None
        } else if now >= placed_at + rules.quote_ttl {
            Some(QuoteCause::Expiry)
        } else {
            Some(QuoteCause::Refresh)
        }
    }

    /// The quote, moved behind the resting orders that a refusal told of and the stream has not.
    fn within_free_prices(&self, quote: DesiredQuote, heard: u64) -> DesiredQuote {
        let cap = self.bid_cap.filter(|(_, until)| heard < *until).map(|(price, _)| price);
        let floor = self.ask_floor.filter(|(_, until)| heard < *until).map(|(price, _)| price);
        let bid = quote.bid.map(|side| QuoteSide { price: cap.map_or(side.price, |cap| side.price.min(cap)), ..side });
        let ask =
            quote.ask.map(|side| QuoteSide { price: floor.map_or(side.price, |floor| side.price.max(floor)), ..side });
        let valid = |side: &QuoteSide| side.price.is_valid();
        DesiredQuote { bid: bid.filter(valid), ask: ask.filter(valid) }
    }

    /// A quote goes out as `id`; returns its number within the epoch.
    pub(crate) fn placing(&mut self, id: CommandId) -> u64 {
        self.busy = Some(id);
        self.pending = None;
        self.seq += 1;
        self.seq
    }

    /// A pull goes out as `id`; returns its number within the epoch.
    pub(crate) fn pulling(&mut self, id: CommandId, now: Duration) -> u64 {
        self.busy = Some(id);
        if !self.pull_first {
            (self.placed_at, self.pending) = (Some(now), None);
        }
        self.seq += 1;
        self.seq
    }

    /// The parameters go out as `id`.
    pub(crate) fn committing(&mut self, id: CommandId) {
        self.busy = Some(id);
    }

    /// The parameters are committed for this incarnation.
    pub(crate) fn committed(&mut self, incarnation: Incarnation) {
        self.committed = Some(incarnation);
        self.failures = 0;
    }

    /// The ledger knows other parameters, or none.
    pub(crate) fn uncommitted(&mut self) {
        self.committed = None;
    }

    /// The revision of the instrument that quotes are computed for.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.unwrap_or(1)
    }

    /// The instrument has this revision now.
    pub(crate) fn learn_revision(&mut self, revision: u64) {
        self.revision = self.revision.max(Some(revision));
    }

    /// The symbol's place in the turns changed. An offer is taken at once; it lasts for a second, so that the failures before it
    /// must not lengthen the pause after one that an order in the book causes.
    pub(crate) fn turn_changed(&mut self, turn: Option<Turn>) {
        self.waits = matches!(turn, Some(Turn::Waiting { .. }));
        if matches!(turn, Some(Turn::Offered { .. })) {
            self.failures = 0;
            self.retry_now();
            self.want(QuoteCause::Refresh);
        }
    }

    /// Refused for want of exposure. A symbol that waits keeps its place without asking again, and is offered its turn; a
    /// rare try is for an offer that was not heard.
    pub(crate) fn exposure_short(&mut self, cause: QuoteCause, now: Duration, refresh: Duration) {
        self.again_later(cause, now);
        if self.waits {
            self.not_before = now + refresh;
        }
    }

    /// The command in flight was answered.
    pub(crate) fn settled(&mut self) {
        self.busy = None;
    }

    /// The quote sent at `sent_at` was placed, with fewer lots than asked for where it was `reduced`.
    pub(crate) fn placed(&mut self, id: QuoteId, epoch: Epoch, sent_at: Duration, asked: Asked, reduced: bool) {
        if epoch != self.epoch {
            return;
        }
        self.quote_placed(id);
        self.accepted = Some(Accepted { id, asked, reduced });
        self.confirmed(sent_at);
    }

    /// The quote that stands was kept, by a command sent at `sent_at`.
    pub(crate) fn kept(&mut self, epoch: Epoch, sent_at: Duration) {
        if epoch == self.epoch {
            self.confirmed(sent_at);
        }
    }

    fn confirmed(&mut self, sent_at: Duration) {
        self.placed_at = Some(sent_at);
        (self.failures, self.stale_in_row) = (0, 0);
    }

    /// The ledger did not keep the quote that stands: the next one is placed.
    pub(crate) fn not_kept(&mut self) {
        self.accepted = None;
    }

    /// The active quote was pulled, or there was none.
    pub(crate) fn pulled(&mut self, id: Option<QuoteId>, index: u64) {
        if self.latest <= index {
            self.active = false;
        }
        if let Some(id) = id {
            self.quote_ended(id, None);
        }
        if self.pull_first {
            (self.pull_first, self.stale_in_row) = (false, 0);
            self.want(QuoteCause::Fill);
        }
        self.failures = 0;
    }

    /// Refused for a stale position: at once again, by way of a pull after the second time in a row.
    pub(crate) fn stale_position(&mut self, cause: QuoteCause) {
        self.want(cause);
        self.want(QuoteCause::Fill);
        self.stale_in_row = self.stale_in_row.saturating_add(1);
        self.pull_first |= self.stale_in_row >= STALE_POSITIONS_MAX;
    }

    /// Refused at a log index because an order rests at a price: one tick behind it.
    pub(crate) fn crossed(&mut self, side: Side, (price, index): (Price, u64), cause: QuoteCause, now: Duration) {
        match side {
            Side::Buy => self.bid_cap = Some((Price(price.0 - 1), index)),
            Side::Sell => self.ask_floor = Some((Price(price.0.saturating_add(1)), index)),
        }
        // The first time nothing is lost by trying at once; a book that keeps moving is given time.
        if self.failures == 0 {
            self.failures = 1;
            self.want(cause);
        } else {
            self.again_later(cause, now);
        }
    }

    /// A `quote_seq` above this is needed.
    pub(crate) fn stale_quote_seq(&mut self, last: u64, epoch: Epoch, cause: QuoteCause, now: Duration) {
        if epoch == self.epoch {
            self.seq = self.seq.max(last);
        }
        self.again_later(cause, now);
    }

    /// Tries again after a pause that grows with each failure in a row.
    pub(crate) fn again_later(&mut self, cause: QuoteCause, now: Duration) {
        self.want(cause);
        self.pause(now);
    }

    /// Does nothing for a pause that grows with each failure in a row.
    pub(crate) fn pause(&mut self, now: Duration) {
        self.not_before = now + pause_after(self.failures);
        self.failures = self.failures.saturating_add(1);
    }
}

/// The pause after `failures` failures before this one.
pub(crate) fn pause_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.min(10)).min(RETRY_MAX)
}

const MILLI: Duration = Duration::from_millis(1);

/// How important a cause is beside the others.
fn weight(cause: QuoteCause) -> u8 {
    match cause {
        QuoteCause::Refresh => 0,
        QuoteCause::ReferenceMoved => 1,
        QuoteCause::Expiry => 2,
        QuoteCause::Fill => 3,
        QuoteCause::AuthorityGained => 4,
    }
}
