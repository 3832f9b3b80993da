//! How one exposure limit is shared: fair shares where a share is at least a lot, turns beyond. `docs/ledger.md`,
//! *Sharing*, gives the rules; this is their arithmetic, for one side of the book.

use crate::numbers::{Exposure, Qty};

/// What a symbol is granted from, on one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The limit.
    pub limit: Exposure,
    /// What all other symbols hold: reserved, or set aside for them.
    pub held_by_others: Exposure,
    /// Of that, what is reserved, or belongs to those whose turn it is.
    pub taken_by_others: Exposure,
    /// How many symbols demand this side, with this one; at least 1.
    pub demanding: usize,
    /// Whether others wait.
    pub others_wait: bool,
    /// What the symbol's own quote reserves.
    pub reserved: Exposure,
    /// The exposure of one lot; above 0.
    pub lot: Exposure,
    /// Whether the symbol is offered a turn, or has one.
    pub has_turn: bool,
    /// Whether it may hold on to what it reserves, up to its share.
    pub may_hold: bool,
}

impl Room {
    /// What all others leave free.
    #[must_use]
    pub fn free(&self) -> Exposure {
        left(self.limit, self.held_by_others)
    }

    /// The fair share.
    #[must_use]
    pub fn share(&self) -> Exposure {
        share(self.limit, self.demanding)
    }

    /// The most that it may be granted.
    #[must_use]
    pub fn room(&self) -> Exposure {
        let mut room = if self.others_wait { self.free().min(self.share()) } else { self.free() };
        if self.may_hold && self.reserved <= self.share() {
            room = room.max(self.reserved);
        }
        if self.has_turn && left(self.limit, self.taken_by_others) >= self.lot {
            room = room.max(self.lot);
        }
        room
    }

    /// Lots granted, of those asked for.
    #[must_use]
    pub fn granted(&self, asked: Qty) -> Qty {
        Qty(asked.0.min(lots(self.room(), self.lot)))
    }

    /// Lots in a fair share.
    #[must_use]
    pub fn fair_lots(&self) -> Qty {
        Qty(lots(self.share(), self.lot))
    }
}

/// What is left of the limit, not below 0.
fn left(limit: Exposure, used: Exposure) -> Exposure {
    Exposure(limit.0.saturating_sub(used.0).max(0))
}

/// A fair share of the limit among `demanding` symbols.
#[must_use]
pub fn share(limit: Exposure, demanding: usize) -> Exposure {
    Exposure(limit.0 / i128::try_from(demanding.max(1)).unwrap_or(i128::MAX))
}

/// What is for turns: the limit less the fair shares of `fair` symbols.
#[must_use]
pub fn for_turns(limit: Exposure, share: Exposure, fair: usize) -> Exposure {
    left(limit, Exposure(share.0.saturating_mul(i128::try_from(fair).unwrap_or(i128::MAX))))
}

fn lots(room: Exposure, lot: Exposure) -> i64 {
    i64::try_from(room.0 / lot.0.max(1)).unwrap_or(i64::MAX)
}
