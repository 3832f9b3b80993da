//! Which mark counts.
use crate::numbers::{Millis, RefPrice};
use serde::{Deserialize, Serialize};

/// A mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Half ticks.
    pub price: RefPrice,
    /// When.
    pub at: Millis,
}

/// Marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks {
    /// Counts.
    pub counted: Option<Mark>,
    /// Waits.
    pub waiting: Option<Mark>,
    /// The time of the last one taken.
    pub last: Option<Millis>,
}

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// Counts.
    Counts,
    /// Waits.
    Waits,
    /// Ignored.
    Ignored,
}

impl Marks {
    /// Takes one.
    #[must_use]
    pub fn publish(&self, mark: Mark, band_ppm: i64, wait_ms: u64) -> (Self, Published) {
        if self.last.is_some_and(|last| mark.at <= last) {
            return (*self, Published::Ignored);
        }
        let near = |other: Mark| {
            let (gap, price) = ((mark.price.0 - other.price.0).abs(), other.price.0.max(1));
            i128::from(gap) * 1_000_000 <= i128::from(price) * i128::from(band_ppm)
        };
        let last = Some(mark.at);
        let confirms = self.waiting.is_some_and(|waiting| near(waiting) && mark.at >= waiting.at.plus(wait_ms));
        if self.counted.is_none_or(near) || confirms {
            return (Self { counted: Some(mark), waiting: None, last }, Published::Counts);
        }
        let waiting = Some(self.waiting.filter(|waiting| near(*waiting)).unwrap_or(mark));
        (Self { waiting, last, ..*self }, Published::Waits)
    }

    /// In half ticks of another tick.
    #[must_use]
    pub fn rescaled(&self, from: i128, to: i128) -> Option<Self> {
        let one = |mark: Mark| {
            let scaled = i128::from(mark.price.0).checked_mul(from)?;
            let price = (to > 0 && scaled % to == 0).then(|| scaled / to)?;
            Some(Mark { price: RefPrice(i64::try_from(price).ok()?), at: mark.at })
        };
        let each = |mark: Option<Mark>| mark.map_or(Some(None), |mark| one(mark).map(Some));
        Some(Self { counted: each(self.counted)?, waiting: each(self.waiting)?, last: self.last })
    }
}
