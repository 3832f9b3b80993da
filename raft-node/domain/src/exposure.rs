//! Exposure.
use crate::{
    instrument::{Instrument, Kind},
    names::Asset,
    numbers::{Exposure, Price, Qty},
    orders::Side,
};
use serde::{Deserialize, Serialize};

/// How exposure is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ExposureBasis {
    /// Lots x weight.
    Units,
    /// The worst loss.
    WorstLoss {
        /// In this asset.
        asset: Asset,
    },
}

impl Instrument {
    /// What a fill could cost.
    #[must_use]
    pub fn exposure(&self, basis: &ExposureBasis, side: Side, price: Price, qty: Qty) -> Option<Exposure> {
        let at_risk = match (basis, self.kind, side) {
            (ExposureBasis::Units, _, _) => {
                return i128::from(qty.0).checked_mul(self.exposure_per_lot.into()).map(Exposure);
            }
            (ExposureBasis::WorstLoss { .. }, Kind::Binary { pays }, Side::Sell) => Price(pays.0.checked_sub(price.0)?),
            (ExposureBasis::WorstLoss { .. }, _, _) => price,
        };
        self.notional(at_risk, qty).map(|money| Exposure(money.0))
    }
}
