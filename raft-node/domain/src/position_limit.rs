//! Position limits.
use crate::{
    numbers::{Position, Qty},
    orders::{Side, Sides},
};

/// What is left of each side.
#[must_use]
pub fn cut(position: Position, max: Option<Qty>, asked: Sides<Qty>) -> Sides<Qty> {
    let Some(max) = max else { return asked };
    Sides::from_fn(|side| {
        let position = i128::from(position.0);
        let room = match side {
            Side::Buy => i128::from(max.0) - position,
            Side::Sell => i128::from(max.0) + position,
        };
        let asked = *asked.of(side);
        Qty(i64::try_from(room.max(0)).map_or(asked.0, |room| asked.0.min(room)))
    })
}
