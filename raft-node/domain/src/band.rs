//! Which mark counts: a price far from the last one must be seen twice, a second apart.

use serde::{Deserialize, Serialize};

use crate::{
    instrument::{Instrument, Kind},
    numbers::{Millis, Price, RefPrice},
};

/// How far prices may lie apart and bear each other out: a share of the price that they lie around, and at least so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Band {
    /// Parts per million of the price.
    pub ppm: u32,
    /// Half ticks.
    pub least: i64,
}

/// How long a mark outside the band waits at least for one that bears it out, in milliseconds.
pub const MARK_WAIT_MS: u64 = 1_000;

/// A reference price and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Mark {
    /// Half ticks, in the range of [`RefPrice`].
    pub price: RefPrice,
    /// When its source said so.
    pub at: Millis,
}

/// The marks of one symbol. The default has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Marks {
    /// The last one that counts: equity is told at it.
    pub counted: Option<Mark>,
    /// One outside the band, that counts once a later one bears it out.
    pub waiting: Option<Mark>,
    /// The time of the last one that was not ignored.
    pub last: Option<Millis>,
}

/// What becomes of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum MarkOutcome {
    /// It counts.
    Counted,
    /// It lies outside the band: it waits, or the one that waits goes on waiting.
    Waiting,
    /// Its time is before that of the last one: nothing changes.
    Ignored,
}

impl Marks {
    /// After the next mark, of a valid price, and what becomes of it.
    ///
    /// - The first mark counts at once.
    /// - One within the band of the counted one counts, and nothing waits any more.
    /// - One outside it counts where it lies within the band of the one that waits, at least [`MARK_WAIT_MS`] after it.
    /// - Any other waits: the one that waits already where this lies within its band, else this one.
    #[must_use]
    pub fn publish(&self, mark: Mark, band: Band) -> (Self, MarkOutcome) {
        if self.last.is_some_and(|last| mark.at < last) {
            return (*self, MarkOutcome::Ignored);
        }
        let last = Some(mark.at);
        let near = |other: Option<Mark>| other.filter(|other| band.holds(mark.price, other.price));
        let borne_out = near(self.waiting);
        let late_enough = borne_out.is_some_and(|waiting| mark.at.since(waiting.at) >= MARK_WAIT_MS);
        if self.counted.is_none() || near(self.counted).is_some() || late_enough {
            return (Self { counted: Some(mark), waiting: None, last }, MarkOutcome::Counted);
        }
        (Self { waiting: borne_out.or(Some(mark)), last, ..*self }, MarkOutcome::Waiting)
    }
}

impl Marks {
    /// The same prices in half ticks of another tick, where a tick was `from` units of money and is `to` of them; `None` where
    /// one is no whole number of half ticks.
    #[must_use]
    pub fn rescaled(&self, from: i128, to: i128) -> Option<Self> {
        let one = |mark: Mark| {
            let scaled = i128::from(mark.price.0).checked_mul(from)?;
            let price = (to > 0 && scaled % to == 0).then(|| scaled / to)?;
            Some(Mark { price: RefPrice(i64::try_from(price).ok()?), ..mark })
        };
        let each = |mark: Option<Mark>| mark.map_or(Some(None), |mark| one(mark).map(Some));
        Some(Self { counted: each(self.counted)?, waiting: each(self.waiting)?, last: self.last })
    }
}

impl Band {
    fn holds(self, price: RefPrice, around: RefPrice) -> bool {
        let (price, around) = (i128::from(price.0), i128::from(around.0));
        let apart = (price - around).abs();
        apart <= i128::from(self.least) || apart * 1_000_000 <= around * i128::from(self.ppm)
    }
}

impl Instrument {
    /// The band of its marks: of a spot price a share, and of a contract's that share of what it pays; a tick at least.
    #[must_use]
    pub fn mark_band(&self, ppm: u32) -> Band {
        let tick = RefPrice::from(Price(1)).0;
        match self.kind {
            Kind::Spot => Band { ppm, least: tick },
            Kind::Binary { pays } => {
                let share = i128::from(RefPrice::from(pays).0) * i128::from(ppm) / 1_000_000;
                Band { ppm: 0, least: i64::try_from(share).unwrap_or(i64::MAX).max(tick) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use MarkOutcome::{Counted, Ignored, Waiting};

    /// One percent.
    const BAND: Band = Band { ppm: 10_000, least: 0 };

    fn mark(price: i64, at: u64) -> Mark {
        Mark { price: RefPrice(price), at: Millis(at) }
    }

    /// What becomes of each of these (price, time), and the price that counts in the end.
    fn told(marks: &[(i64, u64)]) -> (Vec<MarkOutcome>, Option<i64>) {
        let mut state = Marks::default();
        let outcomes = marks.iter().map(|(price, at)| {
            let (next, outcome) = state.publish(mark(*price, *at), BAND);
            state = next;
            outcome
        });
        let outcomes = outcomes.collect();
        (outcomes, state.counted.map(|counted| counted.price.0))
    }

    #[test]
    fn the_first_and_those_within_the_band_count() {
        assert_eq!(told(&[(10_000, 0), (10_100, 0), (9_999, 5)]), (vec![Counted; 3], Some(9_999)));
        assert_eq!(told(&[(10_000, 0), (10_101, 5)]), (vec![Counted, Waiting], Some(10_000)));
        assert_eq!(told(&[(10_000, 0), (9_899, 5)]), (vec![Counted, Waiting], Some(10_000)));
    }

    #[test]
    fn a_jump_counts_when_it_persists() {
        assert_eq!(told(&[(10_000, 0), (20_000, 5), (20_200, 1_005)]), (vec![Counted, Waiting, Counted], Some(20_200)));
        assert_eq!(told(&[(10_000, 0), (20_000, 5), (20_000, 1_004)]), (vec![Counted, Waiting, Waiting], Some(10_000)));
        assert_eq!(told(&[(10_000, 0), (20_000, 5), (20_201, 1_005)]), (vec![Counted, Waiting, Waiting], Some(10_000)));
        // Those in between do not make it wait anew.
        let steady = [(10_000, 0), (20_000, 5), (20_050, 500), (20_100, 1_005)];
        assert_eq!(told(&steady), (vec![Counted, Waiting, Waiting, Counted], Some(20_100)));
    }

    #[test]
    fn the_band_is_a_tick_at_least_and_of_a_contract_a_share_of_what_it_pays() {
        let asset = |name: &str| name.parse().expect("an asset");
        let one = crate::Decimal::ONE;
        let spot = Instrument::spot(asset("A"), asset("B"), one, one, 1);
        assert_eq!(spot.mark_band(100_000), Band { ppm: 100_000, least: 2 });
        assert!(spot.mark_band(100_000).holds(RefPrice(4), RefPrice(2)));
        assert!(!spot.mark_band(100_000).holds(RefPrice(5), RefPrice(2)));
        let contract = |pays| Instrument { kind: Kind::Binary { pays: Price(pays) }, ..spot.clone() };
        assert_eq!(contract(100).mark_band(100_000), Band { ppm: 0, least: 20 });
        assert_eq!(contract(5).mark_band(100_000), Band { ppm: 0, least: 2 });
    }

    #[test]
    fn a_return_ends_the_wait() {
        let back = [(10_000, 0), (20_000, 5), (10_000, 600), (20_000, 1_200), (20_000, 2_199), (20_000, 2_200)];
        assert_eq!(told(&back).0, [Counted, Waiting, Counted, Waiting, Waiting, Counted]);
    }

    #[test]
    fn an_older_one_is_ignored() {
        assert_eq!(told(&[(10_000, 10), (10_001, 9)]), (vec![Counted, Ignored], Some(10_000)));
        assert_eq!(told(&[(10_000, 10), (20_000, 20), (10_001, 19)]), (vec![Counted, Waiting, Ignored], Some(10_000)));
        let between = [(10_000, 0), (20_000, 5), (20_000, 900), (20_000, 899)];
        assert_eq!(told(&between).0, [Counted, Waiting, Waiting, Ignored]);
    }

    proptest! {
        #[test]
        fn what_counts_is_near_the_last_or_was_borne_out(
            steps in proptest::collection::vec((prop_oneof![9_800..10_200i64, 19_900..20_300i64], 0..900u64), 1..40),
        ) {
            let (mut state, mut now, mut seen) = (Marks::default(), 1_000, Vec::<Mark>::new());
            let near = |a: i64, b: i64| 100 * (a - b).abs() <= b;
            for (price, after) in steps {
                now += after;
                let before = state;
                let (next, outcome) = state.publish(mark(price, now), BAND);
                prop_assert!(outcome != Ignored);
                prop_assert_eq!(next.last, Some(Millis(now)));
                if outcome == Counted {
                    prop_assert_eq!(next, Marks { counted: Some(mark(price, now)), waiting: None, last: next.last });
                    let close = before.counted.is_none_or(|counted| near(price, counted.price.0));
                    let borne_out = seen.iter().any(|old| near(price, old.price.0) && now - old.at.0 >= 1_000);
                    prop_assert!(close || borne_out);
                } else {
                    prop_assert_eq!(next.counted, before.counted);
                    prop_assert!(before.counted.is_some_and(|counted| !near(price, counted.price.0)));
                    prop_assert!(next.waiting.is_some_and(|waiting| near(price, waiting.price.0)));
                }
                seen.push(mark(price, now));
                state = next;
            }
        }
    }
}
