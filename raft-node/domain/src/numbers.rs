//! Integer amounts: prices in ticks and half ticks, quantities in lots, money in 10^-12 of the quote asset.
//!
//! What can pass 2^53, the largest whole number that every reader of JSON takes exactly, is a string in JSON.
//!
//! Invariant: no float, and no arithmetic that wraps. Every operation that can leave the range of
//! its type is `checked_*` and returns `None`; the caller turns that into a refusal.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decimal::{DECIMALS_MAX, Decimal};

/// Largest price accepted, in ticks.
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

        checked_sums!($name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// An integer that can pass 2^53: a string in JSON, the integer in binary forms.
macro_rules! long_integer_newtype {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        checked_sums!($name);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                if d.is_human_readable() {
                    return String::deserialize(d)?.parse().map_err(de::Error::custom);
                }
                <$inner>::deserialize(d).map(Self)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some($pattern))
                    .into()
            }
        }
        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

macro_rules! checked_sums {
    ($name:ident) => {
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
    };
}

macro_rules! whole_number_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
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
long_integer_newtype!(
    /// A signed position in lots: what the quotes bought less what they sold. A string in JSON.
    Position,
    i64,
    r"^-?[0-9]+$"
);
whole_number_text!(Position);
long_integer_newtype!(
    /// Exposure: lots x the symbol's `exposure_per_lot`, comparable over symbols; or, where the basis is the worst loss,
    /// 10^-12 of one asset. A string in JSON.
    Exposure,
    i128,
    r"^-?[0-9]+$"
);
whole_number_text!(Exposure);
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

long_integer_newtype!(
    /// Money, in units of 10^-12 of an instrument's quote asset. In text and JSON it is an exact decimal of that asset,
    /// such as `"-12.5"`; in binary forms the units, an `i128`.
    Money,
    i128,
    r"^-?[0-9]+(\.[0-9]{1,12})?$"
);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoney {
    /// Not digits with at most one point, or too many digits after it.
    #[error("'{0}' is not an amount such as -12.5, with at most 12 digits after the point")]
    Form(String),
    /// More than money can be.
    #[error("'{0}' is out of range")]
    Range(String),
}

impl Money {
    /// Units of one whole quote asset.
    pub const ONE: Self = Self(10i128.pow(DECIMALS_MAX));
}

impl From<Decimal> for Money {
    /// So many of the quote asset: exact, since a decimal has no more digits than money.
    fn from(decimal: Decimal) -> Self {
        Self(decimal.in_units())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = Self::ONE.0.unsigned_abs();
        let (whole, part) = (self.0.unsigned_abs() / one, self.0.unsigned_abs() % one);
        let sign = if self.0 < 0 { "-" } else { "" };
        if part == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{part:0width$}", width = DECIMALS_MAX as usize);
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let shown = || text.chars().take(60).collect();
        let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
        let form = !whole.is_empty() && all_digits(whole) && all_digits(part) && !digits.ends_with('.');
        if !form || part.len() > DECIMALS_MAX as usize {
            return Err(InvalidMoney::Form(shown()));
        }
        let units = format!("{sign}{whole}{part:0<width$}", width = DECIMALS_MAX as usize);
        units.parse().map(Self).map_err(|_| InvalidMoney::Range(shown()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn money_is_told_in_the_quote_asset() {
        let table = [
            (0, "0"),
            (1, "0.000000000001"),
            (-12_500_000_000_000, "-12.5"),
            (-1, "-0.000000000001"),
            (1_000_000_000_000, "1"),
            (i128::MAX, "170141183460469231731687303.715884105727"),
            (i128::MIN, "-170141183460469231731687303.715884105728"),
        ];
        for (units, text) in table {
            assert_eq!(Money(units).to_string(), text);
            assert_eq!(text.parse(), Ok(Money(units)));
        }
        assert_eq!("007.50".parse(), Ok(Money(7_500_000_000_000)));
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for text in ["", "-", ".", "1.", ".5", "1e3", "+1", "1,0", "1.2.3", "--1", "0.0000000000001", " 1"] {
            assert!(matches!(text.parse::<Money>(), Err(InvalidMoney::Form(_))), "{text}");
        }
        for text in ["170141183460469231731687303.715884105728", "-170141183460469231731687304"] {
            assert!(matches!(text.parse::<Money>(), Err(InvalidMoney::Range(_))), "{text}");
        }
    }

    #[test]
    fn what_can_pass_two_to_the_53_is_a_string_in_json() {
        let json = |text: &str| serde_json::json!(text);
        assert_eq!(serde_json::to_value(Exposure(i128::MAX)).expect("text"), json(&i128::MAX.to_string()));
        assert_eq!(serde_json::to_value(Position(-3)).expect("text"), json("-3"));
        assert_eq!(serde_json::to_value(Money(-500_000_000_000)).expect("text"), json("-0.5"));
        assert_eq!(serde_json::from_value::<Exposure>(json("12")).expect("an integer"), Exposure(12));
        assert!(serde_json::from_value::<Exposure>(serde_json::json!(12)).is_err());
        assert!(serde_json::from_value::<Exposure>(json("1.5")).is_err());
        assert_eq!(serde_json::to_value(RefPrice(5)).expect("a number"), serde_json::json!(5));
    }

    proptest! {
        #[test]
        fn money_and_its_text_are_one(units in any::<i128>()) {
            prop_assert_eq!(Money(units).to_string().parse(), Ok(Money(units)));
        }

        #[test]
        fn a_decimal_is_so_much_money(mantissa in any::<i32>(), decimals in 0..=DECIMALS_MAX) {
            let decimal = Decimal::new(i64::from(mantissa), decimals).expect("few digits");
            prop_assert_eq!(Ok(Money::from(decimal)), decimal.to_string().parse());
        }
    }
}
