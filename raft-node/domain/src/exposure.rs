//! What a fill could cost: how much exposure an order or a quote's side reserves.

use serde::{Deserialize, Serialize};

use crate::{
    instrument::{Instrument, Kind},
    names::Asset,
    numbers::{Exposure, Price, Qty},
    orders::Side,
};

/// What exposure is counted in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ExposureBasis {
    /// Lots by the instrument's `exposure_per_lot`: comparable over symbols, whatever they are paid in.
    #[default]
    Units,
    /// The most that a fill can lose, in 10^-12 of one asset, in which all symbols are paid.
    WorstLoss {
        /// That asset.
        asset: Asset,
    },
}

impl Instrument {
    /// The exposure of `qty` lots at `price`, for an owner who is on `side`: `Buy` for a bid, `Sell` for an ask.
    ///
    /// - `Units`: lots x `exposure_per_lot`, whatever the price.
    /// - `WorstLoss`: price x quantity for spot, on both sides. A `Binary` is worth 0 or `pays` in the end: who buys can lose
    ///   price x quantity, who sells (`pays` - price) x quantity.
    ///
    /// `None` where it does not fit, where the instrument is paid in another asset than the basis names, and where a
    /// `Binary`'s price lies outside `0..=pays`.
    #[must_use]
    pub fn exposure(&self, basis: &ExposureBasis, side: Side, price: Price, qty: Qty) -> Option<Exposure> {
        match basis {
            ExposureBasis::Units => i128::from(qty.0).checked_mul(i128::from(self.exposure_per_lot)).map(Exposure),
            ExposureBasis::WorstLoss { asset } if *asset == self.quote => {
                self.notional(self.worst_loss_of_one(side, price)?, qty).map(|loss| Exposure(loss.0))
            }
            ExposureBasis::WorstLoss { .. } => None,
        }
    }

    /// In ticks.
    fn worst_loss_of_one(&self, side: Side, price: Price) -> Option<Price> {
        match (self.kind, side) {
            (Kind::Spot, Side::Buy | Side::Sell) => Some(price),
            (Kind::Binary { pays }, _) if !(Price::ZERO..=pays).contains(&price) => None,
            (Kind::Binary { .. }, Side::Buy) => Some(price),
            (Kind::Binary { pays }, Side::Sell) => pays.checked_sub(price),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::numbers::{MAX_PRICE, MAX_QTY};

    const PAYS: i64 = 100;

    fn asset(text: &str) -> Asset {
        text.parse().expect("an asset")
    }

    /// A tick of one lot is 10^7 units; a lot weighs 7.
    fn spot() -> Instrument {
        let (tick, lot) = ("0.01".parse().expect("a tick"), "0.001".parse().expect("a lot"));
        Instrument::spot(asset("BTC"), asset("USDT"), tick, lot, 7)
    }

    fn binary() -> Instrument {
        Instrument { kind: Kind::Binary { pays: Price(PAYS) }, max_price: Price(PAYS - 1), ..spot() }
    }

    fn worst_loss() -> ExposureBasis {
        ExposureBasis::WorstLoss { asset: asset("USDT") }
    }

    #[test]
    fn units_weigh_lots_whatever_the_price() {
        for (side, price) in [(Side::Buy, 1), (Side::Sell, MAX_PRICE)] {
            assert_eq!(spot().exposure(&ExposureBasis::Units, side, Price(price), Qty(3)), Some(Exposure(21)));
        }
    }

    #[test]
    fn the_worst_loss_is_told_by_kind_and_side() {
        let loss = |of: Instrument, side| of.exposure(&worst_loss(), side, Price(30), Qty(2)).map(|loss| loss.0);
        assert_eq!(loss(spot(), Side::Buy), Some(600_000_000));
        assert_eq!(loss(spot(), Side::Sell), Some(600_000_000));
        assert_eq!(loss(binary(), Side::Buy), Some(600_000_000));
        assert_eq!(loss(binary(), Side::Sell), Some(1_400_000_000));
        assert_eq!(binary().exposure(&worst_loss(), Side::Sell, Price(PAYS + 1), Qty(1)), None);
        let another = ExposureBasis::WorstLoss { asset: asset("EUR") };
        assert_eq!(spot().exposure(&another, Side::Buy, Price(30), Qty(2)), None);
    }

    #[test]
    fn what_does_not_fit_is_none() {
        let one = "1".parse().expect("a decimal");
        let coarse = Instrument { tick_size: one, lot_size: one, ..spot() };
        assert_eq!(coarse.exposure(&worst_loss(), Side::Buy, Price(MAX_PRICE), Qty(MAX_QTY)), None);
    }

    #[test]
    fn a_basis_is_told_in_json() {
        let json = |basis: &ExposureBasis| serde_json::to_string(basis).expect("text");
        assert_eq!(json(&ExposureBasis::Units), r#""units""#);
        assert_eq!(json(&worst_loss()), r#"{"worst_loss":{"asset":"USDT"}}"#);
        assert!(serde_json::from_str::<ExposureBasis>(r#"{"worst_loss":{"asset":"USDT","limit":1}}"#).is_err());
    }

    proptest! {
        /// What the end of the event can cost an owner, told from the two ends it may have.
        #[test]
        fn no_end_of_an_event_costs_more(price in 1..PAYS, qty in 1..=MAX_QTY, buys in any::<bool>()) {
            let side = if buys { Side::Buy } else { Side::Sell };
            let reserved = binary().exposure(&worst_loss(), side, Price(price), Qty(qty)).expect("fits");
            let gains = [0, PAYS].map(|end| {
                let per_lot = i128::from(if buys { end - price } else { price - end });
                per_lot * i128::from(qty) * 10_000_000
            });
            prop_assert_eq!(reserved.0, gains.into_iter().map(|gain| -gain).max().expect("two ends"));
        }
    }
}
