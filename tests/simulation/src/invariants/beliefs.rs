//! No two makers believe to hold one symbol at one moment, each by its own clock. A killed maker believes nothing; a
//! paused one believes until its deadline. Looked at whenever a belief begins or is extended, for only then can two
//! begin to overlap.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use quorate_domain::Symbol;
use quorate_seams::Clocks;

use super::{Invariant, hold};
use crate::view::Believed;

struct Belief {
    epoch: u64,
    incarnation: u64,
    until: Duration,
    clock: Arc<dyn Clocks>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Beliefs {
    /// By symbol and maker.
    held: BTreeMap<(Symbol, u64), Belief>,
    /// Who believed under an epoch.
    believers: BTreeMap<(Symbol, u64), u64>,
}

impl Invariant for Beliefs {
    fn name(&self) -> &'static str {
        "beliefs"
    }

    fn belief(&mut self, new: &Believed) -> Result<(), String> {
        let Some(symbol) = &new.symbol else {
            self.held.retain(|(_, maker), _| *maker != new.maker);
            return Ok(());
        };
        let key = (symbol.clone(), new.maker);
        if !new.holds {
            self.held.remove(&key);
            return Ok(());
        }
        let belief =
            Belief { epoch: new.epoch, incarnation: new.incarnation, until: new.until, clock: new.clock.clone() };
        let first = *self.believers.entry((symbol.clone(), new.epoch)).or_insert(new.incarnation);
        let mine = belief.until > belief.clock.monotonic();
        let others = self
            .held
            .iter()
            .find(|((of, maker), other)| of == symbol && *maker != new.maker && other.until > other.clock.monotonic());
        let found = others.filter(|_| mine).map(|((_, maker), other)| {
            let left = other.until.saturating_sub(other.clock.monotonic());
            format!(
                "{symbol}: maker {} believes (epoch {}, incarnation {}), and maker {maker} does for another {left:?} \
                 (epoch {}, incarnation {})",
                new.maker, new.epoch, new.incarnation, other.epoch, other.incarnation
            )
        });
        self.held.insert(key, belief);
        hold(first == new.incarnation, || {
            format!("{symbol}: {first} and {} share epoch {}", new.incarnation, new.epoch)
        })?;
        found.map_or(Ok(()), Err)
    }
}
