//! What is traded.

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;

/// Largest `exposure_per_lot`.
pub const EXPOSURE_PER_LOT_MAX: i64 = 100;

/// A symbol's fixed properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SymbolSpec {
    /// The price of one tick, as a decimal.
    pub tick_size: Decimal,
    /// The quantity of one lot, as a decimal.
    pub lot_size: Decimal,
    /// Exposure units of one lot, in `1..=EXPOSURE_PER_LOT_MAX`.
    pub exposure_per_lot: i64,
}
