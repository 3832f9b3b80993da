//! Who waits for a lot, and whose turn it is.

use quorate_domain::{Millis, Side, Sides, Symbol};
use quorate_ledger::{
    Event, QuoteEndReason, Turn,
    bounds::{OFFER_MS, TURN_MS},
};

use super::{Model, sharing::Asking};

impl Model {
    /// Those that wait, by ticket, then symbol.
    pub(crate) fn waiting_in_order(&self) -> Vec<Symbol> {
        let waiting = self.symbols.iter().filter_map(|(name, state)| match state.turn? {
            Turn::Waiting { since } => Some((since, name.clone())),
            Turn::Offered { .. } | Turn::Running { .. } => None,
        });
        let mut in_order: Vec<(u64, Symbol)> = waiting.collect();
        in_order.sort();
        in_order.into_iter().map(|(_, name)| name).collect()
    }

    /// Gives a symbol its place, with an event where that is another one.
    fn place_in_turns(&mut self, symbol: &Symbol, turn: Option<Turn>, events: &mut Vec<Event>) {
        let state = self.symbols.get_mut(symbol).unwrap();
        if state.turn != turn {
            (state.turn, state.among_the_first) = (turn, false);
            events.push(Event::TurnChanged { symbol: symbol.clone(), turn });
        }
    }

    pub(super) fn leave_the_turns(&mut self, symbol: &Symbol, events: &mut Vec<Event>) {
        self.place_in_turns(symbol, None, events);
    }

    fn wait_at_the_back(&mut self, index: u64, symbol: &Symbol, events: &mut Vec<Event>) {
        self.place_in_turns(symbol, Some(Turn::Waiting { since: index }), events);
    }

    pub(super) fn forget_demands(&mut self, symbol: &Symbol, events: &mut Vec<Event>) {
        let state = self.symbols.get_mut(symbol).unwrap();
        (state.demands, state.lots) = (Sides::default(), Sides::default());
        self.leave_the_turns(symbol, events);
    }

    /// What a `PlaceQuote` that came to step 11 does to its symbol's place.
    pub(super) fn turn_after_asking(
        &mut self,
        index: u64,
        asking: &Asking<'_>,
        granted: &Sides<i64>,
        placed: bool,
        events: &mut Vec<Event>,
    ) {
        let symbol = asking.symbol;
        let asked_for = |side: &&Side| *asking.lots.of(**side) > 0;
        if Side::BOTH.iter().filter(asked_for).any(|side| self.lot(symbol, *side) > self.limit.0) {
            self.leave_the_turns(symbol, events);
        } else if Side::BOTH.iter().filter(asked_for).any(|side| *granted.of(*side) == 0) {
            if !self.in_the_turns(symbol) {
                self.wait_at_the_back(index, symbol, events);
            }
        } else if placed {
            match self.symbols[symbol].turn {
                Some(Turn::Offered { .. }) => {
                    let until = Millis(self.log_time.0.saturating_add(TURN_MS));
                    self.place_in_turns(symbol, Some(Turn::Running { until }), events);
                }
                Some(Turn::Waiting { .. }) => self.leave_the_turns(symbol, events),
                Some(Turn::Running { .. }) | None => {}
            }
        }
    }

    /// The sweep of one offer or turn that has ended.
    pub(super) fn end_offer_or_turn(&mut self, index: u64, symbol: &Symbol, events: &mut Vec<Event>) {
        let running = matches!(self.symbols[symbol].turn, Some(Turn::Running { .. }));
        let above_its_share = Side::BOTH.iter().any(|side| self.lot(symbol, *side) > self.share(*side, None));
        let others_wait = Side::BOTH.iter().any(|side| self.others_wait(symbol, *side));
        if !running {
            self.wait_at_the_back(index, symbol, events);
        } else if above_its_share && others_wait {
            self.end_quote(symbol, QuoteEndReason::TurnEnded, events);
            self.wait_at_the_back(index, symbol, events);
        } else {
            self.leave_the_turns(symbol, events);
        }
    }

    /// A new term's leader tells of the offers anew.
    pub(super) fn offer_again(&mut self, events: &mut Vec<Event>) {
        for symbol in self.symbol_names() {
            if matches!(self.symbols[&symbol].turn, Some(Turn::Offered { .. })) {
                self.offer(&symbol, events);
            }
        }
    }

    /// Makes an offer, for the first time or anew.
    fn offer(&mut self, symbol: &Symbol, events: &mut Vec<Event>) {
        let turn = Some(Turn::Offered { until: Millis(self.log_time.0.saturating_add(OFFER_MS)) });
        let state = self.symbols.get_mut(symbol).unwrap();
        (state.turn, state.among_the_first) = (turn, false);
        events.push(Event::TurnChanged { symbol: symbol.clone(), turn });
    }

    /// The first that wait, for whom lots are set aside.
    fn first_that_fit(&self) -> Vec<Symbol> {
        let waiting = self.waiting_in_order();
        let Some(first) = waiting.first() else { return Vec::new() };
        let fits = |together: &[Symbol]| {
            Side::BOTH.into_iter().all(|side| {
                let has_turn = self.symbols.keys().filter(|name| self.offered_or_running(name));
                let lots: i128 = has_turn.chain(together).map(|name| self.lot(name, side)).sum();
                let has_a_lot = together.last().is_some_and(|last| self.lot(last, side) > 0);
                !has_a_lot || lots <= self.left_for_turns(side, None).max(self.lot(first, side))
            })
        };
        let count = (1..=waiting.len()).take_while(|count| fits(&waiting[..*count])).count();
        waiting[..count].to_vec()
    }

    /// What a symbol's lot adds to what it reserves.
    fn adds(&self, symbol: &Symbol, side: Side) -> i128 {
        (self.lot(symbol, side) - self.reserves(symbol, side)).max(0)
    }

    /// Those of the first for whom there is room now.
    fn to_be_offered(&self, first: &[Symbol]) -> Vec<Symbol> {
        let has_room = |at: usize| {
            Side::BOTH.into_iter().all(|side| {
                let has_turn = self.symbols.keys().filter(|name| self.offered_or_running(name));
                let added: i128 = has_turn.chain(&first[..at]).map(|name| self.adds(name, side)).sum();
                let own = self.adds(&first[at], side);
                own == 0 || self.limit.0 - self.reserved(side).0 - added >= own
            })
        };
        (0..first.len()).filter(|at| has_room(*at)).map(|at| first[at].clone()).collect()
    }

    /// The last of step 6.
    pub(super) fn set_aside_and_offer(&mut self, events: &mut Vec<Event>) {
        let first = self.first_that_fit();
        for (name, state) in &mut self.symbols {
            state.among_the_first = first.contains(name);
        }
        for symbol in self.to_be_offered(&first) {
            self.offer(&symbol, events);
        }
    }
}
