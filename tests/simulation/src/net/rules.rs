//! The rules in force: who hears whom, and how well.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, rngs::SmallRng};

use crate::process::Who;

/// How well messages get through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality {
    /// Messages lost, in a hundred.
    pub loss: u32,
    /// Calls whose request arrives twice, in a hundred.
    pub double: u32,
    /// Longest delay added, in milliseconds; drawn for each message, so that they overtake each other.
    pub delay_ms: u64,
    /// Messages that are delayed so, in a hundred.
    pub delayed: u32,
}

/// Whom a quality concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody.
    All,
    /// What nodes say to each other.
    Peers,
    /// What goes to or comes from this one.
    Of(Who),
}

impl Scope {
    fn concerns(self, from: Who, to: Who) -> bool {
        match self {
            Self::All => true,
            Self::Peers => matches!((from, to), (Who::Node(_), Who::Node(_))),
            Self::Of(who) => from == who || to == who,
        }
    }
}

/// What becomes of one message.
pub(super) struct Drawn {
    pub(super) delay: Duration,
    pub(super) lost: bool,
}

/// See the module. Cuts and holds are counted, so that several faults may lie over one link.
#[derive(Debug, Default)]
pub struct Rules {
    base_ms: (u64, u64),
    cuts: BTreeMap<(Who, Who), u32>,
    holds: BTreeMap<(Who, Who), u32>,
    qualities: BTreeMap<u64, (Scope, Quality)>,
}

impl Rules {
    pub(super) fn new(base_ms: (u64, u64)) -> Self {
        Self { base_ms, ..Self::default() }
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: Who, to: Who) {
        *self.cuts.entry((from, to)).or_default() += 1;
    }

    /// Takes one cut back.
    pub fn mend(&mut self, from: Who, to: Who) {
        give_back(&mut self.cuts, (from, to));
    }

    /// Holds what is sent in one direction.
    pub fn hold(&mut self, from: Who, to: Who) {
        *self.holds.entry((from, to)).or_default() += 1;
    }

    /// Lets go of it.
    pub fn release(&mut self, from: Who, to: Who) {
        give_back(&mut self.holds, (from, to));
    }

    /// Sets a quality, under a key of its fault.
    pub fn set_quality(&mut self, key: u64, scope: Scope, quality: Quality) {
        self.qualities.insert(key, (scope, quality));
    }

    /// Takes it back.
    pub fn clear_quality(&mut self, key: u64) {
        self.qualities.remove(&key);
    }

    /// No rule is left but the base delay.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.holds.clear();
        self.qualities.clear();
    }

    pub(super) fn is_cut(&self, from: Who, to: Who) -> bool {
        self.cuts.contains_key(&(from, to))
    }

    pub(super) fn is_held(&self, from: Who, to: Who) -> bool {
        self.holds.contains_key(&(from, to))
    }

    fn qualities(&self, from: Who, to: Who) -> impl Iterator<Item = Quality> {
        self.qualities.values().filter(move |(scope, _)| scope.concerns(from, to)).map(|(_, quality)| *quality)
    }

    pub(super) fn draw(&self, rng: &mut SmallRng, from: Who, to: Who) -> Drawn {
        let mut delay = rng.random_range(self.base_ms.0..=self.base_ms.1);
        let mut lost = false;
        for quality in self.qualities(from, to) {
            lost |= rng.random_range(0..100) < quality.loss;
            if quality.delay_ms > 0 && rng.random_range(0..100) < quality.delayed {
                delay += rng.random_range(1..=quality.delay_ms);
            }
        }
        Drawn { delay: Duration::from_millis(delay), lost }
    }

    pub(super) fn doubles(&self, rng: &mut SmallRng, from: Who, to: Who) -> bool {
        self.qualities(from, to).any(|quality| rng.random_range(0..100) < quality.double)
    }
}

fn give_back(of: &mut BTreeMap<(Who, Who), u32>, link: (Who, Who)) {
    if let Some(count) = of.get_mut(&link) {
        *count -= 1;
        if *count == 0 {
            of.remove(&link);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_under_two_cuts_is_mended_by_both() {
        let mut rules = Rules::new((1, 1));
        let (a, b) = (Who::Node(1), Who::Node(2));
        rules.cut(a, b);
        rules.cut(a, b);
        rules.mend(a, b);
        assert!(rules.is_cut(a, b) && !rules.is_cut(b, a));
        rules.mend(a, b);
        rules.mend(a, b);
        assert!(!rules.is_cut(a, b));
    }
}
