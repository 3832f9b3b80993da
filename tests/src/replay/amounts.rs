//! Decimals in and out of units of 10^-12, by the judge's own reckoning.

/// Digits after the point.
const DIGITS: usize = 12;

/// A decimal in units of 10^-12: exact, `None` where the text is none, or has too many digits.
pub(super) fn scaled(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let missing = u32::try_from(DIGITS.checked_sub(fraction.len())?).ok()?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(10i128.pow(missing))
}

/// So many units of 10^-12 as a decimal, without zeros at its end.
pub(super) fn text(units: i128) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", units.unsigned_abs(), width = DIGITS + 1);
    let (whole, fraction) = digits.split_at(digits.len() - DIGITS);
    let told = format!("{sign}{whole}.{fraction}");
    told.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact_both_ways() {
        let table = [
            ("0", 0),
            ("0.000000000001", 1),
            ("-0.5", -500_000_000_000),
            ("-12.5", -12_500_000_000_000),
            ("100", 100_000_000_000_000),
        ];
        for (decimal, units) in table {
            assert_eq!((scaled(decimal), text(units).as_str()), (Some(units), decimal));
        }
        for wrong in ["", "1.0000000000001", "1.2.3", "one", "0x1"] {
            assert_eq!(scaled(wrong), None, "{wrong}");
        }
    }
}
