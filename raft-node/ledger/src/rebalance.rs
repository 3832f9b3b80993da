//! Who is to hold what: the sticky assignor with cooperative hand-over (Kafka's KIP-54 and KIP-429).
//!
//! Invariant: after each rebalance the makers' loads, counted by where each symbol is or is going,
//! differ by at most one; as few symbols move as that allows; and no symbol passes while its holder's
//! authority lasts.

use crate::{
    apply::Applying,
    command::Epoch,
    event::{AuthorityEndReason, Event},
    state::{Holder, Move, SymbolState},
};
use quorate_domain::{MakerName, Millis, Symbol};

/// An assignment being worked out. Makers and symbols stand for their places in name order.
struct Assignment {
    /// To whom each symbol is to go, `None` while it is free.
    targets: Vec<Option<usize>>,
    /// Whether the target holds the symbol already.
    held: Vec<bool>,
    /// Symbols of each maker.
    loads: Vec<usize>,
    /// What each maker is due.
    quotas: Vec<usize>,
}

impl Applying<'_> {
    /// Works out the assignment anew where the makers or the symbols changed.
    pub(crate) fn rebalance_if_due(&mut self) {
        if !self.rebalance_due {
            return;
        }
        self.rebalance_due = false;
        let makers: Vec<MakerName> = self.tables.makers.keys().cloned().collect();
        if makers.is_empty() {
            return;
        }
        let traded = self.tables.symbols.iter().filter(|(symbol, state)| self.tables.is_traded(symbol, state));
        let traded: Vec<(&Symbol, &SymbolState)> = traded.collect();
        let symbols: Vec<Symbol> = traded.iter().map(|(symbol, _)| (*symbol).clone()).collect();
        let assignment = Assignment::of(&makers, traded.into_iter().map(|(_, state)| state));
        for (symbol, target) in symbols.iter().zip(assignment.targets) {
            if let Some(target) = target {
                self.assign(symbol, &makers[target]);
            }
        }
    }

    /// Brings a symbol on its way to its target.
    fn assign(&mut self, symbol: &Symbol, target: &MakerName) {
        let Some(state) = self.tables.symbols.get(symbol) else { return };
        let epoch = state.epoch;
        let Some(holder) = state.holder.clone() else { return self.grant(symbol, target) };
        match &holder.moving {
            // Its authority has ended, and the sweep has not come to it yet: it must not come back to life.
            Some(moving) if moving.until <= self.log_time() => self.pass(symbol, target),
            Some(moving) if moving.to == *target => {}
            Some(_) if holder.maker == *target => self.call_off(symbol, &holder, epoch),
            Some(moving) => self.set_moving(symbol, &holder, epoch, target, moving.until),
            None if holder.maker == *target => {}
            None => self.set_moving(symbol, &holder, epoch, target, self.lease_deadline(&holder)),
        }
    }

    fn pass(&mut self, symbol: &Symbol, target: &MakerName) {
        self.end_authority(symbol, AuthorityEndReason::MoveDeadline);
        self.grant(symbol, target);
    }

    fn call_off(&mut self, symbol: &Symbol, holder: &Holder, epoch: Epoch) {
        let until = self.lease_deadline(holder);
        self.change_symbol(symbol, |state| {
            if let Some(holder) = &mut state.holder {
                holder.moving = None;
            }
        });
        self.holdings_changed(&holder.maker);
        self.events.push(Event::AuthorityMoving { symbol: symbol.clone(), epoch, to: None, until });
    }

    fn set_moving(&mut self, symbol: &Symbol, from: &Holder, epoch: Epoch, to: &MakerName, until: Millis) {
        self.change_symbol(symbol, |state| {
            if let Some(holder) = &mut state.holder {
                holder.moving = Some(Move { to: to.clone(), until });
            }
        });
        self.holdings_changed(&from.maker);
        self.events.push(Event::AuthorityMoving { symbol: symbol.clone(), epoch, to: Some(to.clone()), until });
    }

    fn lease_deadline(&self, holder: &Holder) -> Millis {
        self.tables.makers.get(&holder.maker).map_or(Millis::ZERO, |maker| maker.deadline)
    }
}

impl Assignment {
    fn of<'a>(makers: &[MakerName], symbols: impl Iterator<Item = &'a SymbolState>) -> Self {
        let mut assignment =
            Self { targets: Vec::new(), held: Vec::new(), loads: vec![0; makers.len()], quotas: Vec::new() };
        for state in symbols {
            let target = state.holder.as_ref().and_then(|holder| {
                let name = holder.moving.as_ref().map_or(&holder.maker, |moving| &moving.to);
                makers.binary_search(name).ok()
            });
            if let Some(maker) = target {
                assignment.loads[maker] += 1;
            }
            assignment.targets.push(target);
            assignment.held.push(state.moving().is_none());
        }
        assignment.set_quotas();
        assignment.give_up();
        assignment.hand_out();
        assignment
    }

    /// Those that have most keep the odd ones.
    fn set_quotas(&mut self) {
        let (symbols, makers) = (self.targets.len(), self.loads.len());
        let mut by_load: Vec<usize> = (0..makers).collect();
        by_load.sort_by(|a, b| self.loads[*b].cmp(&self.loads[*a]).then(a.cmp(b)));
        self.quotas = vec![symbols / makers; makers];
        for maker in by_load.into_iter().take(symbols % makers) {
            self.quotas[maker] += 1;
        }
    }

    /// A maker above its quota frees symbols: first those still on their way to it, the last ones first.
    fn give_up(&mut self) {
        for held in [false, true] {
            for symbol in (0..self.targets.len()).rev() {
                let Some(maker) = self.targets[symbol] else { continue };
                if self.held[symbol] == held && self.loads[maker] > self.quotas[maker] {
                    self.targets[symbol] = None;
                    self.loads[maker] -= 1;
                }
            }
        }
    }

    /// Each free symbol goes where most is missing; the first in name order of those.
    fn hand_out(&mut self) {
        for target in self.targets.iter_mut().filter(|target| target.is_none()) {
            // No maker is above its quota here, and quotas sum to the symbols.
            let missing = |maker: &usize| self.quotas[*maker].saturating_sub(self.loads[*maker]);
            let Some(maker) = (0..self.loads.len()).rev().max_by_key(missing) else { return };
            *target = Some(maker);
            self.loads[maker] += 1;
        }
    }
}
