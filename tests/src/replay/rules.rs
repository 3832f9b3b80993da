//! The bounds that `docs/ledger.md` names, as the judge's own numbers: one that changes in the ledger alone is found.

use std::ops::RangeInclusive;

/// The limit at genesis, and the most that a limit in units may be.
pub(super) const HARD_EXPOSURE_LIMIT: i128 = 100;
/// The most that a limit may be where exposure is the worst loss.
pub(super) const WORST_LOSS_LIMIT_MAX: i128 = 1_000_000_000_000_000_000_000_000_000_000;
/// How long a quote may live from its commit.
pub(super) const QUOTE_TTL_MS: RangeInclusive<u64> = 100..=30_000;
/// So long after its order closed a name must not be executed again.
pub(super) const NAME_MEMORY_MS: u64 = 130_000;
/// How long a turn lasts.
pub(super) const TURN_MS: u64 = 5_000;
/// How long an offer lasts.
pub(super) const OFFER_MS: u64 = 1_000;
/// How long a demand that fell short is remembered.
pub(super) const DEMAND_MEMORY_MS: u64 = 10_000;
/// Things that one apply sweeps at most.
pub(super) const SWEEP_MAX: usize = 64;
/// A mark is too old when its time lies so far behind log time.
pub(super) const MARK_AGE_MAX_MS: u64 = 15_000;
/// A mark's time may lie so far ahead of log time.
pub(super) const MARK_AHEAD_MAX_MS: u64 = 10_000;
/// A mark counts at once within this part of the one that counts, or of what a contract pays, in parts per million.
pub(super) const MARK_BAND_PPM: i128 = 100_000;
/// A mark outside the band counts when it was borne out so much later.
pub(super) const MARK_WAIT_MS: u64 = 1_000;
