//! Profit and loss of one symbol, folded over its fills: average cost, kept as the exact total cost of what is open.
//!
//! Invariant: after every fill, and at every mark, realised + unrealised - fees = cash + mark x position, to the unit.
//! The ledger, the backtest and the metrics use this fold; judges have code of their own.

use serde::{Deserialize, Serialize};

use crate::{
    instrument::Instrument,
    numbers::{Money, Position, Qty, RefPrice},
    orders::Side,
};

/// Profit and loss of one symbol. Money is in 10^-12 of the quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pnl {
    /// Lots bought less lots sold.
    pub position: Position,
    /// What the open position cost in all: paid for a long one, above 0 or 0; received for a short one, negative or 0.
    pub cost: Money,
    /// Gained by what was closed, before fees.
    pub realised: Money,
    /// Fees paid less rebates received.
    pub fees: Money,
    /// Received less paid, fees included.
    pub cash: Money,
}

impl Pnl {
    /// After a fill of `qty` lots (1 at least) on the owner's side, worth `notional` (not below 0), for which the owner pays
    /// `fee` (a rebate is negative).
    ///
    /// Closing k of q lots takes floor(cost x k / q) off the cost, and leaves the rest. A fill through zero first closes,
    /// then opens with the lots that are left, each lot at the same price; `notional` is then a multiple of `qty`, as
    /// price x quantity is.
    ///
    /// `None` where an argument is out of its range, or a result does not fit.
    #[must_use]
    pub fn fill(&self, side_of_owner: Side, qty: Qty, notional: Money, fee: Money) -> Option<Self> {
        if qty < Qty(1) || notional < Money::ZERO {
            return None;
        }
        let closing = match side_of_owner {
            Side::Buy => self.position.0.checked_neg()?,
            Side::Sell => self.position.0,
        };
        let closing = Qty(closing.clamp(0, qty.0));
        let (closed, opened) = split(notional, qty, closing)?;
        let after =
            self.close(side_of_owner, closing, closed)?.open(side_of_owner, qty.checked_sub(closing)?, opened)?;
        Some(Self { fees: after.fees.checked_add(fee)?, cash: after.cash.checked_sub(fee)?, ..after })
    }

    fn close(self, side: Side, qty: Qty, notional: Money) -> Option<Self> {
        if qty == Qty::ZERO {
            return Some(self);
        }
        let cost = share(self.cost, qty, self.position)?;
        let received = signed_money(side.opposite(), notional);
        Some(Self {
            position: Position(self.position.0.checked_add(signed_lots(side, qty))?),
            cost: self.cost.checked_sub(cost)?,
            realised: self.realised.checked_add(received)?.checked_sub(cost)?,
            cash: self.cash.checked_add(received)?,
            ..self
        })
    }

    fn open(self, side: Side, qty: Qty, notional: Money) -> Option<Self> {
        let cost = signed_money(side, notional);
        Some(Self {
            position: Position(self.position.0.checked_add(signed_lots(side, qty))?),
            cost: self.cost.checked_add(cost)?,
            cash: self.cash.checked_sub(cost)?,
            ..self
        })
    }

    /// What closing at the mark would gain: the position's value there ([`Instrument::mark_value`]) less its cost.
    #[must_use]
    pub fn unrealised(&self, mark_value: Money) -> Option<Money> {
        mark_value.checked_sub(self.cost)
    }

    /// What it is all worth at the mark: cash and the position's value there.
    #[must_use]
    pub fn equity(&self, mark_value: Money) -> Option<Money> {
        self.cash.checked_add(mark_value)
    }
}

impl Instrument {
    /// The value of a position at a mark, negative for a short one: exact, for half a tick of one lot is a whole number of
    /// units. `None` where it does not fit.
    #[must_use]
    pub fn mark_value(&self, mark: RefPrice, position: Position) -> Option<Money> {
        let half_ticks_by_lots = i128::from(mark.0).checked_mul(i128::from(position.0))?;
        half_ticks_by_lots.checked_mul(self.tick_lot_units()? / 2).map(Money)
    }
}

/// Above 0 for a buy, below for a sale. Neither amount is negative, so that its negative fits.
fn signed_lots(side: Side, qty: Qty) -> i64 {
    if side == Side::Buy { qty.0 } else { -qty.0 }
}

fn signed_money(side: Side, notional: Money) -> Money {
    if side == Side::Buy { notional } else { Money(-notional.0) }
}

/// A fill's worth, in that of the lots that close and of the lots that open.
fn split(notional: Money, qty: Qty, closing: Qty) -> Option<(Money, Money)> {
    if closing == Qty::ZERO {
        return Some((Money::ZERO, notional));
    }
    if closing == qty {
        return Some((notional, Money::ZERO));
    }
    let qty = i128::from(qty.0);
    let closed = Money((notional.0 / qty).checked_mul(i128::from(closing.0))?);
    if notional.0 % qty == 0 { Some((closed, notional.checked_sub(closed)?)) } else { None }
}

/// floor(cost x `qty` / |`position`|), for 1 to |`position`| lots. With cost = w x |`position`| + r it is
/// w x `qty` + floor(r x `qty` / |`position`|), and no product is larger than the cost or 2^126.
fn share(cost: Money, qty: Qty, position: Position) -> Option<Money> {
    let (of, all) = (i128::from(qty.0), i128::from(position.0).abs());
    if of == all {
        return Some(cost);
    }
    let (whole, rest) = (cost.0.div_euclid(all), cost.0.rem_euclid(all));
    whole.checked_mul(of)?.checked_add(rest * of / all).map(Money)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tick of one lot is 2 units.
    fn instrument() -> Instrument {
        let (tick, lot) = ("0.000000000002".parse().expect("a tick"), "1".parse().expect("a lot"));
        Instrument::spot("A".parse().expect("an asset"), "B".parse().expect("an asset"), tick, lot, 1)
    }

    /// After fills of (side, lots, price in ticks, fee).
    fn after(fills: &[(Side, i64, i128, i128)]) -> Pnl {
        fills.iter().fold(Pnl::default(), |pnl, (side, qty, price, fee)| {
            let notional = Money(price * i128::from(*qty) * 2);
            pnl.fill(*side, Qty(*qty), notional, Money(*fee)).expect("in range")
        })
    }

    #[test]
    fn a_round_trip_is_realised() {
        let open = after(&[(Side::Buy, 10, 100, 3)]);
        let wanted =
            Pnl { position: Position(10), cost: Money(2_000), realised: Money(0), fees: Money(3), cash: Money(-2_003) };
        assert_eq!(open, wanted);
        let value = instrument().mark_value(RefPrice(205), open.position).expect("fits");
        assert_eq!(
            (value, open.unrealised(value), open.equity(value)),
            (Money(2_050), Some(Money(50)), Some(Money(47)))
        );
        let part = after(&[(Side::Buy, 10, 100, 3), (Side::Sell, 4, 110, -1)]);
        assert_eq!((part.position, part.cost, part.realised), (Position(6), Money(1_200), Money(80)));
        assert_eq!((part.fees, part.cash), (Money(2), Money(-2_000 + 880 - 2)));
    }

    #[test]
    fn a_short_position_gains_where_the_price_falls() {
        let short = after(&[(Side::Sell, 10, 100, 0)]);
        assert_eq!((short.position, short.cost, short.cash), (Position(-10), Money(-2_000), Money(2_000)));
        let value = instrument().mark_value(RefPrice(180), short.position).expect("fits");
        assert_eq!(short.unrealised(value), Some(Money(200)));
        assert_eq!(after(&[(Side::Sell, 10, 100, 0), (Side::Buy, 10, 90, 0)]).realised, Money(200));
    }

    #[test]
    fn a_fill_through_zero_closes_and_then_opens() {
        let turned = after(&[(Side::Buy, 10, 100, 0), (Side::Sell, 15, 110, 0)]);
        let wanted = Pnl {
            position: Position(-5),
            cost: Money(-5 * 110 * 2),
            realised: Money(10 * 10 * 2),
            fees: Money(0),
            cash: Money(-2_000 + 3_300),
        };
        assert_eq!(turned, wanted);
    }

    #[test]
    fn a_part_takes_the_floor_of_its_share_and_leaves_the_rest() {
        // 3 lots for 10 units: 1 lot takes 3, then 1 of 2 lots takes 3, and the last takes 4.
        let bought = after(&[]).fill(Side::Buy, Qty(3), Money(10), Money(0)).expect("in range");
        let sold = |pnl: Pnl| pnl.fill(Side::Sell, Qty(1), Money(0), Money(0)).expect("in range");
        let costs = [sold(bought), sold(sold(bought)), sold(sold(sold(bought)))].map(|pnl| pnl.cost);
        assert_eq!(costs, [Money(7), Money(4), Money(0)]);
        // 3 lots sold for 10: the floor of -10 / 3 is -4.
        let short = after(&[]).fill(Side::Sell, Qty(3), Money(10), Money(0)).expect("in range");
        assert_eq!(short.fill(Side::Buy, Qty(1), Money(0), Money(0)).map(|pnl| pnl.cost), Some(Money(-6)));
    }

    #[test]
    fn what_does_not_fit_is_none() {
        let long = Pnl { position: Position(i64::MAX), ..Pnl::default() };
        assert_eq!(long.fill(Side::Buy, Qty(1), Money(0), Money(0)), None);
        let poor = Pnl { cash: Money(i128::MIN), ..Pnl::default() };
        assert_eq!(poor.fill(Side::Buy, Qty(1), Money(1), Money(0)), None);
        assert_eq!(poor.fill(Side::Buy, Qty(1), Money(0), Money(1)), None);
        assert_eq!(Pnl::default().fill(Side::Buy, Qty(0), Money(0), Money(0)), None);
        assert_eq!(Pnl::default().fill(Side::Buy, Qty(1), Money(-1), Money(0)), None);
        // 2 lots for 3 units have no price; that matters only where they go through zero.
        let short = after(&[(Side::Sell, 1, 1, 0)]);
        assert_eq!(short.fill(Side::Buy, Qty(2), Money(3), Money(0)), None);
        assert_eq!(poor.equity(Money(-1)), None);
        assert_eq!(Pnl { cost: Money(1), ..Pnl::default() }.unrealised(Money(i128::MIN)), None);
        assert_eq!(
            instrument().mark_value(RefPrice(i64::MAX), Position(i64::MIN)),
            Some(Money(i128::from(i64::MAX) * i128::from(i64::MIN)))
        );
    }

    #[test]
    fn the_largest_costs_are_shared_exactly() {
        let (all, cost) = (i64::MAX, i128::MAX);
        let pnl = Pnl { position: Position(all), cost: Money(cost), ..Pnl::default() };
        // Of q lots all but one go: what stays is ceil(cost / q).
        let left = pnl.fill(Side::Sell, Qty(all - 1), Money(0), Money(0));
        let ceil = cost / i128::from(all) + i128::from(cost % i128::from(all) != 0);
        // What it realises is a loss of the cost.
        assert_eq!(left.map(|pnl| (pnl.cost, pnl.realised)), Some((Money(ceil), Money(ceil - cost))));
    }

    fn side() -> impl Strategy<Value = Side> {
        prop_oneof![Just(Side::Buy), Just(Side::Sell)]
    }

    fn a_fill() -> impl Strategy<Value = (Side, i64, i128, i128)> {
        let qty = prop_oneof![4 => 1..=20i64, 1 => 1..=crate::numbers::MAX_QTY];
        let price = prop_oneof![4 => 1..=200i128, 1 => 1..=i128::from(crate::numbers::MAX_PRICE)];
        (side(), qty, price, -50..=50i128)
    }

    proptest! {
        #[test]
        fn the_books_balance_after_every_fill(
            fills in proptest::collection::vec(a_fill(), 1..40),
            mark in 2..=2_000i64,
        ) {
            let (mut lots, mut paid, mut fees) = (0i64, 0i128, 0i128);
            for n in 1..=fills.len() {
                let (side, qty, price, fee) = fills[n - 1];
                let sign = if side == Side::Buy { 1 } else { -1 };
                lots += sign * qty;
                paid += i128::from(sign * qty) * price * 2 + fee;
                fees += fee;
                let pnl = after(&fills[..n]);
                prop_assert_eq!((pnl.position, pnl.cash, pnl.fees), (Position(lots), Money(-paid), Money(fees)));
                let value = instrument().mark_value(RefPrice(mark), pnl.position).expect("fits");
                prop_assert_eq!(value.0, i128::from(mark) * i128::from(lots));
                let unrealised = pnl.unrealised(value).expect("fits");
                prop_assert_eq!(pnl.realised.0 + unrealised.0 - pnl.fees.0, pnl.cash.0 + value.0);
                prop_assert_eq!(pnl.equity(value), Some(Money(pnl.cash.0 + value.0)));
                // Nothing open costs nothing; what is open costs on its own side.
                prop_assert_eq!(pnl.cost.0.signum(), i128::from(lots.signum()));
            }
        }

        #[test]
        fn closing_a_part_takes_the_floor(
            all in 2..=1_000_000i64,
            part in 1..1_000_000i64,
            cost in 0..=1_000_000_000_000i128,
            side in side(),
        ) {
            let part = part.min(all - 1);
            let open = Pnl::default().fill(side, Qty(all), Money(cost), Money(0)).expect("in range");
            let less = open.fill(side.opposite(), Qty(part), Money(0), Money(0)).expect("in range");
            let taken = open.cost.0 - less.cost.0;
            // The floor is the largest whole number that is not above the quotient.
            prop_assert!(taken * i128::from(all) <= open.cost.0 * i128::from(part));
            prop_assert!((taken + 1) * i128::from(all) > open.cost.0 * i128::from(part));
        }

        #[test]
        fn a_fill_through_zero_is_two_fills(held in 1..=50i64, over in 1..=50i64, price in 1..=500i128, side in side()) {
            let open = after(&[(side, held, 77, 0)]);
            let worth = |lots: i64| Money(i128::from(lots) * price * 2);
            let at_once = open.fill(side.opposite(), Qty(held + over), worth(held + over), Money(5));
            let in_two = open
                .fill(side.opposite(), Qty(held), worth(held), Money(2))
                .and_then(|flat| flat.fill(side.opposite(), Qty(over), worth(over), Money(3)));
            prop_assert_eq!(at_once, in_two);
        }
    }
}
