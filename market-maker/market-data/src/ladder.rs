//! One side of a book: prices and what stands there, the best first, bounded in number.

use std::collections::BTreeMap;

use quorate_domain::{Price, Qty, Side};

use crate::event::Level;

/// One side of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ladder {
    side: Side,
    levels: BTreeMap<Price, Qty>,
}

impl Ladder {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, levels: BTreeMap::new() }
    }

    /// Sets what stands at a price; nothing where the quantity is not above 0.
    pub(crate) fn set(&mut self, level: Level) {
        if level.qty > Qty::ZERO {
            self.levels.insert(level.price, level.qty);
        } else {
            self.levels.remove(&level.price);
        }
    }

    /// Takes away the levels farthest from the best until no more than `max` are left; how many these were.
    pub(crate) fn cut(&mut self, max: usize) -> u64 {
        let mut cut = 0;
        while self.levels.len() > max {
            let farthest = match self.side {
                Side::Buy => self.levels.pop_first(),
                Side::Sell => self.levels.pop_last(),
            };
            cut += u64::from(farthest.is_some());
        }
        cut
    }

    pub(crate) fn clear(&mut self) {
        self.levels.clear();
    }

    pub(crate) fn at(&self, price: Price) -> Qty {
        self.levels.get(&price).copied().unwrap_or(Qty::ZERO)
    }

    pub(crate) fn best(&self) -> Option<Level> {
        let best = match self.side {
            Side::Buy => self.levels.last_key_value(),
            Side::Sell => self.levels.first_key_value(),
        };
        best.map(level)
    }

    /// The levels, the best first.
    pub(crate) fn iter(&self) -> Levels<'_> {
        Levels { side: self.side, levels: self.levels.iter() }
    }
}

/// The levels of one side, the best first.
#[derive(Debug, Clone)]
pub struct Levels<'a> {
    side: Side,
    levels: std::collections::btree_map::Iter<'a, Price, Qty>,
}

impl Iterator for Levels<'_> {
    type Item = Level;

    fn next(&mut self) -> Option<Level> {
        let next = match self.side {
            Side::Buy => self.levels.next_back(),
            Side::Sell => self.levels.next(),
        };
        next.map(level)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.levels.size_hint()
    }
}

impl ExactSizeIterator for Levels<'_> {}

fn level((price, qty): (&Price, &Qty)) -> Level {
    Level { price: *price, qty: *qty }
}
