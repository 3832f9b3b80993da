//! The one matcher: a taker against quotes and resting orders, in price-time order.
//!
//! Invariants: what is filled is the best that there is, price first, then the lower priority; nothing is skipped that the
//! taker may hit, but its owner's own orders where they are to give way; the taker's quantity, its limit, the number
//! of fills and what each maker has left are never exceeded. It changes nothing: who uses it decides what to do with the result.

use quorate_domain::{Price, Qty, Side};

use crate::{OrderBook, Resting, crosses};

/// What happens where a taker meets an order of its own owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SelfTrade {
    /// They trade.
    #[default]
    Allow,
    /// What is left of the taker ends.
    ExpireTaker,
    /// The resting order gives way: the taker passes over it, and goes on.
    ExpireMaker,
    /// What is left of the taker ends, and so does the resting order.
    ExpireBoth,
}

/// What takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taker {
    /// Buy or sell.
    pub side: Side,
    /// The worst price at which it trades; `None`: any.
    pub limit: Option<Price>,
    /// Lots.
    pub qty: Qty,
    /// Fills at most.
    pub fills_max: usize,
    /// What happens where it meets its owner's own orders.
    pub self_trade: SelfTrade,
}

/// Something that may be hit. Whoever matches names it as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Maker<T> {
    /// Its name.
    pub what: T,
    /// Ticks.
    pub price: Price,
    /// Lots that may be taken of it; one without any is not there.
    pub leaves: Qty,
    /// Lower goes first at the same price.
    pub priority: u64,
    /// Whether it is an order of the taker's owner.
    pub own: bool,
}

/// One fill, as it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit<T> {
    /// What is hit.
    pub maker: Maker<T>,
    /// Lots.
    pub qty: Qty,
}

/// Why the taker went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// All of it is filled.
    Filled,
    /// Nothing more stands within its limit.
    NoMore,
    /// It has as many fills as it may have, and would hit more.
    FillsMax,
    /// It met an order of its owner, before which it ends.
    SelfTrade,
}

/// What becomes of a taker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<T> {
    /// Its fills, in order.
    pub fills: Vec<Hit<T>>,
    /// Lots that are left of it.
    pub left: Qty,
    /// Why it went no further.
    pub stopped: Stopped,
    /// Orders of its owner that end, in order: those that it passed over, or the one before which it ended with it.
    pub expired: Vec<T>,
}

/// Matches a taker against the resting orders of a book, each as `seen` shows it (`None`: as if it were not there), and
/// against `others`: quotes, and what is not in the book yet, on the side that the taker hits and in any order.
pub fn match_taker<T>(
    taker: &Taker,
    book: &OrderBook,
    seen: impl Fn(Resting) -> Option<Maker<T>>,
    mut others: Vec<Maker<T>>,
) -> Matched<T> {
    others.retain(|maker| crosses(taker.side, taker.limit, maker.price));
    others.sort_by_key(|maker| rank(taker.side, maker));
    let mut others = others.into_iter().peekable();
    let mut resting = book.crossing(taker.side, taker.limit).filter_map(seen).peekable();
    let next = std::iter::from_fn(|| match (others.peek(), resting.peek()) {
        (Some(other), Some(rest)) if rank(taker.side, other) < rank(taker.side, rest) => others.next(),
        (Some(_), None) => others.next(),
        (_, Some(_)) => resting.next(),
        (None, None) => None,
    });
    let mut matched = Matched { fills: Vec::new(), left: taker.qty, stopped: Stopped::NoMore, expired: Vec::new() };
    for maker in next.filter(|maker| maker.leaves > Qty::ZERO) {
        if let Some(stopped) = matched.meet(taker, maker) {
            matched.stopped = stopped;
            return matched;
        }
    }
    if matched.left == Qty::ZERO {
        matched.stopped = Stopped::Filled;
    }
    matched
}

impl<T> Matched<T> {
    /// Meets the next maker. Says why the taker goes no further, where it does not.
    fn meet(&mut self, taker: &Taker, maker: Maker<T>) -> Option<Stopped> {
        if self.left == Qty::ZERO {
            return Some(Stopped::Filled);
        }
        if self.fills.len() >= taker.fills_max {
            return Some(Stopped::FillsMax);
        }
        match taker.self_trade {
            SelfTrade::ExpireTaker if maker.own => return Some(Stopped::SelfTrade),
            SelfTrade::ExpireBoth if maker.own => {
                self.expired.push(maker.what);
                return Some(Stopped::SelfTrade);
            }
            SelfTrade::ExpireMaker if maker.own => {
                self.expired.push(maker.what);
                return None;
            }
            SelfTrade::Allow | SelfTrade::ExpireTaker | SelfTrade::ExpireMaker | SelfTrade::ExpireBoth => {}
        }
        let qty = self.left.min(maker.leaves);
        self.left = Qty(self.left.0 - qty.0);
        self.fills.push(Hit { maker, qty });
        None
    }
}

/// Better first, as a taker on `side` sees it.
fn rank<T>(side: Side, maker: &Maker<T>) -> (i64, u64) {
    match side {
        Side::Buy => (maker.price.0, maker.priority),
        Side::Sell => (-maker.price.0, maker.priority),
    }
}
