//! Decimal strings, for the edges only: tick and lot sizes, and their multiples.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Digits after the point at most in a decimal.
pub const DECIMALS_MAX: u32 = 12;

/// `mantissa` / 10^`decimals`: exact, at the edge only. A string such as `"0.01"` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal {
    mantissa: i64,
    decimals: u32,
}

/// Why a text is not a decimal that this project uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDecimal {
    /// Not digits with at most one point.
    #[error("'{0}' is not a decimal number such as 0.01")]
    Form(String),
    /// Too many digits.
    #[error("'{0}' has too many digits: at most 12 after the point, and 18 in all")]
    Digits(String),
    /// Not a whole multiple of the step.
    #[error("{value} is not a multiple of {step}")]
    OffStep {
        /// The value.
        value: Decimal,
        /// The tick or lot size.
        step: Decimal,
    },
    /// Outside what an `i64` of ticks or lots holds.
    #[error("{0} is out of range")]
    Range(Decimal),
}

impl Decimal {
    /// `mantissa` / 10^`decimals`, trailing zeros removed, so that equal values are equal.
    /// `None` where `decimals` is above `DECIMALS_MAX` after that.
    #[must_use]
    pub fn new(mut mantissa: i64, mut decimals: u32) -> Option<Self> {
        while decimals > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            decimals -= 1;
        }
        (decimals <= DECIMALS_MAX).then_some(Self { mantissa, decimals })
    }

    /// Whether it is above 0.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// The number of digits after the point.
    #[must_use]
    pub fn decimals(self) -> u32 {
        self.decimals
    }

    /// The exact middle of this and `other`; `None` where it has too many digits.
    #[must_use]
    pub fn mid(self, other: Self) -> Option<Self> {
        let to = self.decimals.max(other.decimals);
        let scale = |d: Self| i128::from(d.mantissa) * 10i128.pow(to - d.decimals);
        let (sum, decimals) = ((scale(self) + scale(other)) * 5, to + 1);
        // A trailing zero goes at once, so that whole middles keep their digits.
        let (sum, decimals) = if sum % 10 == 0 { (sum / 10, to) } else { (sum, decimals) };
        Self::new(i64::try_from(sum).ok()?, decimals)
    }

    /// A tenth of it; `None` where that has too many digits.
    #[must_use]
    pub fn tenth(self) -> Option<Self> {
        Self::new(self.mantissa, self.decimals + 1)
    }

    /// How many whole `step`s this value is: a price in ticks, or a quantity in lots.
    ///
    /// # Errors
    /// Where it is no whole multiple, or the count does not fit.
    pub fn in_steps_of(self, step: Self) -> Result<i64, InvalidDecimal> {
        let scale = |d: Self, to: u32| i128::from(d.mantissa) * 10i128.pow(to - d.decimals);
        let to = self.decimals.max(step.decimals);
        let (value, unit) = (scale(self, to), scale(step, to));
        if unit == 0 || value % unit != 0 {
            return Err(InvalidDecimal::OffStep { value: self, step });
        }
        i64::try_from(value / unit).map_err(|_| InvalidDecimal::Range(self))
    }

    /// `count` steps of this size, as text with the step's digits after the point.
    #[must_use]
    pub fn times(self, count: i128) -> String {
        let value = count.saturating_mul(i128::from(self.mantissa));
        format_scaled(value, self.decimals)
    }

    /// So many units of 10^-`DECIMALS_MAX`.
    pub(crate) fn in_units(self) -> i128 {
        i128::from(self.mantissa) * 10i128.pow(DECIMALS_MAX - self.decimals)
    }

    /// The product of this and `other` in units of 10^-`DECIMALS_MAX`; `None` where it is not whole or does not fit.
    pub(crate) fn times_in_units(self, other: Self) -> Option<i128> {
        let product = i128::from(self.mantissa) * i128::from(other.mantissa);
        let decimals = self.decimals + other.decimals;
        match DECIMALS_MAX.checked_sub(decimals) {
            Some(missing) => product.checked_mul(10i128.pow(missing)),
            None => {
                let unit = 10i128.pow(decimals - DECIMALS_MAX);
                (product % unit == 0).then(|| product / unit)
            }
        }
    }
}

fn format_scaled(value: i128, decimals: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = value.unsigned_abs();
    if decimals == 0 {
        return format!("{sign}{digits}");
    }
    let unit = 10u128.pow(decimals);
    let width = decimals as usize;
    format!("{sign}{}.{:0width$}", digits / unit, digits % unit)
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_scaled(i128::from(self.mantissa), self.decimals))
    }
}

impl FromStr for Decimal {
    type Err = InvalidDecimal;

    fn from_str(text: &str) -> Result<Self, InvalidDecimal> {
        let form = || InvalidDecimal::Form(text.chars().take(40).collect());
        let digits_error = || InvalidDecimal::Digits(text.chars().take(40).collect());
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all_digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || unsigned.ends_with('.') {
            return Err(form());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > DECIMALS_MAX as usize || whole.trim_start_matches('0').len() + fraction.len() > 18 {
            return Err(digits_error());
        }
        let digits = format!("{whole}{fraction}");
        let mantissa: i64 = digits.parse().map_err(|_| digits_error())?;
        let decimals = u32::try_from(fraction.len()).map_err(|_| digits_error())?;
        Self::new(if negative { -mantissa } else { mantissa }, decimals).ok_or_else(digits_error)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { (self.mantissa, self.decimals).serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            return String::deserialize(d)?.parse().map_err(de::Error::custom);
        }
        let (mantissa, decimals) = <(i64, u32)>::deserialize(d)?;
        Self::new(mantissa, decimals).ok_or_else(|| de::Error::custom("a decimal with too many digits"))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Decimal {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some(r"^-?[0-9]+(\.[0-9]+)?$"))
            .into()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Decimal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect("a valid decimal")
    }

    #[test]
    fn text_and_value_round_trip() {
        for text in ["0.01", "1", "60000.5", "-3.25", "0.000000000001"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal("1.500"), decimal("1.5"));
        assert_eq!(decimal("100"), decimal("100.0"));
    }

    #[test]
    fn steps_are_exact_or_refused() {
        assert_eq!(decimal("60000.01").in_steps_of(decimal("0.01")), Ok(6_000_001));
        assert_eq!(decimal("60000").in_steps_of(decimal("0.01")), Ok(6_000_000));
        assert!(decimal("60000.015").in_steps_of(decimal("0.01")).is_err());
        assert_eq!(decimal("0.01").times(6_000_001), "60000.01");
    }

    #[test]
    fn the_middle_is_exact() {
        assert_eq!(decimal("10").mid(decimal("10.02")), Some(decimal("10.01")));
        assert_eq!(decimal("61837.63").mid(decimal("61837.64")), Some(decimal("61837.635")));
        assert_eq!(decimal("0.01").tenth(), Some(decimal("0.001")));
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", ".", "1.", ".5", "1e3", "+1", "0x1", "1,0", "1.2.3", "9999999999999999999", "0.0000000000001"]
        {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }
}
