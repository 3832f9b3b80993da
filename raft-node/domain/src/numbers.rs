//! Integer amounts: prices in ticks and half ticks, quantities in lots, money in ticks x lots.
//!
//! Invariant: no float, and no arithmetic that wraps. Every operation that can leave the range of
//! its type is `checked_*` and returns `None`; the caller turns that into a refusal.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Largest price accepted, in ticks. With [`MAX_QTY`] it keeps any one fill's money far inside `i128`.
pub const MAX_PRICE: i64 = 1_000_000_000_000_000;
/// Largest quantity accepted in one order or quote side, in lots.
pub const MAX_QTY: i64 = 1_000_000_000_000;

macro_rules! integer_newtype {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(pub $inner);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// The sum, or `None` where it leaves the range.
            #[must_use]
            pub fn checked_add(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference, or `None` where it leaves the range.
            #[must_use]
            pub fn checked_sub(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

integer_newtype!(
    /// A price in ticks of its symbol. Valid prices lie in `1..=MAX_PRICE`.
    Price,
    i64
);
integer_newtype!(
    /// A quantity in lots of its symbol. Quantities asked for lie in `1..=MAX_QTY`; leaves may be 0.
    Qty,
    i64
);
integer_newtype!(
    /// A signed position in lots: what the quotes bought less what they sold.
    Position,
    i64
);
integer_newtype!(
    /// Exposure units: lots x the symbol's `exposure_per_lot`, comparable over symbols.
    Exposure,
    i64
);
integer_newtype!(
    /// Log time, in milliseconds since the Unix epoch: the largest stamp applied so far.
    Millis,
    u64
);

impl Price {
    /// Whether this is a price that an order or a quote may carry.
    #[must_use]
    pub fn is_valid(self) -> bool {
        (1..=MAX_PRICE).contains(&self.0)
    }
}

impl Qty {
    /// Whether this is a quantity that an order or a quote side may ask for.
    #[must_use]
    pub fn is_valid(self) -> bool {
        (1..=MAX_QTY).contains(&self.0)
    }
}

impl Millis {
    /// This instant plus `ms`, saturating at the end of time.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant, 0 where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A reference price in half ticks: the middle of two prices may lie between two ticks. Valid ones lie in
/// `2..=2 * MAX_PRICE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefPrice(pub i64);

impl RefPrice {
    /// Whether it lies in its range.
    #[must_use]
    pub fn is_valid(self) -> bool {
        (2..=2 * MAX_PRICE).contains(&self.0)
    }
}

impl From<Price> for RefPrice {
    /// A valid price.
    fn from(price: Price) -> Self {
        Self(price.0.saturating_mul(2))
    }
}

/// Money, in ticks x lots of one symbol. A string in JSON (it can pass 2^53), an `i128` in binary forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(pub i128);

impl Money {
    /// `price` x `qty`; total, since both are bounded far below the range.
    #[must_use]
    pub fn of(price: Price, qty: Qty) -> Self {
        Self(i128::from(price.0) * i128::from(qty.0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(&self.0) } else { s.serialize_i128(self.0) }
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            text.parse().map(Self).map_err(de::Error::custom)
        } else {
            i128::deserialize(d).map(Self)
        }
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Money {}
