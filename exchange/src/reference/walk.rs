//! A walk that anybody can take up anywhere: value noise. Its price at a step follows in constant time from the seed,
//! the symbol, its start and the number of the step, so that an exchange that starts again goes on where the one
//! before it stopped.
//!
//! Octave `o` has a knot every `4^(o+1)` steps, at a random height of at most `2^o` units either way, and goes straight
//! from one to the next. Heights double where distances grow fourfold: so a walk at random spreads.

use std::time::Duration;

use quorate_domain::{MAX_PRICE, Symbol};

/// A walk takes one step in this time.
pub(super) const WALK_STEP: Duration = Duration::from_millis(250);
/// A walk stays within this part of its start, in millionths, either way, or within one tick.
const RANGE_MILLIONTHS: i128 = 5_000;
/// One step is at most this part of the start, in millionths, or one tick.
const STEP_MILLIONTHS: i128 = 50;
/// Octaves at most: the slowest has a knot every 17 minutes.
const OCTAVES_MAX: u32 = 6;
/// Heights are in millionths of a tick.
const MICRO: i128 = 1_000_000;
/// Random heights lie within this, either way.
const KNOT: i128 = 1 << 20;
/// How far back the last change of the price is looked for, at most: more than an hour.
const LOOK_BACK_STEPS: u64 = 1 << 14;

/// A walk in ticks.
#[derive(Debug)]
pub(super) struct Walk {
    seed: u64,
    start: i64,
    /// The height of the first octave.
    unit: i128,
    octaves: u32,
    /// The last step that was asked for.
    last: Option<Step>,
}

/// Where a walk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    step: u64,
    /// In ticks.
    pub(super) price: i64,
    /// The step at which it came to that price, and the number of that change.
    pub(super) changed: u64,
}

impl Walk {
    /// From `start` ticks, in `1..=MAX_PRICE`.
    pub(super) fn new(seed: u64, symbol: &Symbol, start: i64) -> Self {
        let micro = i128::from(start);
        let unit = (micro * STEP_MILLIONTHS).max(MICRO);
        let range = (micro * RANGE_MILLIONTHS).max(MICRO);
        let fits = |octaves: &u32| unit * ((1 << octaves) - 1) <= range;
        let octaves = (1..=OCTAVES_MAX).rev().find(fits).unwrap_or(1);
        Self { seed: mixed(seed ^ named(symbol)), start, unit, octaves, last: None }
    }

    /// Where it stands at `step`. Steps that were passed are not taken again: an earlier one is the last one.
    pub(super) fn at(&mut self, step: u64) -> Step {
        if let Some(last) = self.last.filter(|last| step <= last.step) {
            return last;
        }
        let price = self.price(step);
        let near = self.last.filter(|last| step - last.step <= LOOK_BACK_STEPS);
        let floor = near.map_or(step - step % LOOK_BACK_STEPS, |last| last.step);
        let before = (floor..step).rev().find(|before| self.price(*before) != price);
        let changed = before.map_or_else(|| near.map_or(floor, |last| last.changed), |before| before + 1);
        let now = Step { step, price, changed };
        self.last = Some(now);
        now
    }

    fn price(&self, step: u64) -> i64 {
        let octave = |octave: u32| {
            let period = 4u64 << (2 * octave);
            let (knot, into) = (step / period, i128::from(step % period));
            let period = i128::from(period);
            let between = self.knot(octave, knot) * (period - into) + self.knot(octave, knot.wrapping_add(1)) * into;
            (self.unit << octave) * between / (KNOT * period)
        };
        let height: i128 = (0..self.octaves).map(octave).sum();
        let ticks = i128::from(self.start) + (height + MICRO / 2).div_euclid(MICRO);
        i64::try_from(ticks).unwrap_or(MAX_PRICE).clamp(1, MAX_PRICE)
    }

    /// The height of a knot, in `-KNOT..=KNOT`.
    fn knot(&self, octave: u32, knot: u64) -> i128 {
        let random = mixed(mixed(self.seed.wrapping_add(u64::from(octave))).wrapping_add(knot));
        i128::from(random) % (2 * KNOT + 1) - KNOT
    }
}

/// Tells the walks of one seed apart (FNV-1a over the symbol's name).
fn named(symbol: &Symbol) -> u64 {
    symbol
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads every bit over all of them (the finalizer of `SplitMix64`).
fn mixed(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step of today.
    const TODAY: u64 = 7_000_000_000;

    fn walk(seed: u64, start: i64) -> Walk {
        Walk::new(seed, &"BTCUSDT".parse().expect("valid"), start)
    }

    #[test]
    fn one_that_is_taken_up_later_goes_on_where_the_other_is() {
        let mut whole = walk(7, 6_183_763);
        let steps: Vec<Step> = (TODAY..TODAY + 4_000).map(|step| whole.at(step)).collect();
        for (at, step) in steps.iter().enumerate().skip(1_000).step_by(333) {
            assert_eq!(walk(7, 6_183_763).at(TODAY + at as u64), *step);
        }
        let other: Vec<i64> = (TODAY..TODAY + 4_000).map(|step| walk(8, 6_183_763).at(step).price).collect();
        assert_ne!(steps.iter().map(|step| step.price).collect::<Vec<_>>(), other);
    }

    #[test]
    fn the_number_grows_where_the_price_changes_and_nowhere_else() {
        for start in [1, 5, 100, 16_240, 6_183_763, MAX_PRICE / 2] {
            let mut walk = walk(7, start);
            let steps: Vec<Step> = (TODAY..TODAY + 40_000).map(|step| walk.at(step)).collect();
            for pair in steps.windows(2) {
                assert_eq!(pair[0].price != pair[1].price, pair[0].changed < pair[1].changed, "{start}: {pair:?}");
                assert!(pair[0].changed <= pair[1].changed);
            }
            let changes = steps.windows(2).filter(|pair| pair[0].price != pair[1].price).count();
            assert!(changes > 2_000, "{start}: {changes} changes in {} steps", steps.len());
        }
    }

    #[test]
    fn it_moves_in_small_steps_within_its_range() {
        for start in [1, 5, 100, 16_240, 6_183_763] {
            let (reach, range) = ((start * 50 / 1_000_000).max(1) + 1, (start / 200).max(1));
            let mut walk = walk(7, start);
            let prices: Vec<i64> = (0..60_000).map(|at| walk.at(TODAY + at).price).collect();
            assert!(prices.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= reach), "{start}");
            assert!(
                prices.iter().all(|price| (start - range..=start + range).contains(price) && *price > 0),
                "{start}"
            );
        }
    }

    #[test]
    fn a_step_that_was_passed_is_not_taken_again() {
        let mut walk = walk(7, 6_183_763);
        let at = walk.at(TODAY);
        assert_eq!(walk.at(TODAY - 100), at);
        assert_eq!(walk.at(0), at);
    }
}
