//! Nobody starves: who has waited longest for a turn is not the first for long, while all makers run, the group answers them,
//! and nobody changes what may be quoted. Whoever goes to the back gets a later ticket; so each that waits comes to be the
//! first, and has waited for so long at most for each symbol before it.

use std::collections::BTreeMap;

use quorate_domain::Symbol;
use quorate_ledger::{
    Event, Frame, Turn,
    bounds::{OFFER_MS, TURN_MS},
};

use super::{Invariant, hold};

/// A maker that runs, and is answered, shows in the log within this: it renews its lease at a third of it.
const HEARD_EVERY_MS: u64 = 4_500;
/// Quotes that stand above their share are cut when they are replaced: the makers' default.
const REFRESH_MS: u64 = 4_000;
/// What messages and elections of a moment may take.
const SLACK_MS: u64 = 1_000;
/// Log time between two frames at most, while the group answers.
const PACE_MS: u64 = 1_000;
/// So long may one symbol be the first that waits: a turn and an offer pass, and others are cut, each when its maker comes to
/// it.
const FIRST_MAX_MS: u64 = TURN_MS + OFFER_MS + REFRESH_MS + HEARD_EVERY_MS + SLACK_MS;

/// See the module.
#[derive(Default)]
pub(super) struct NobodyStarves {
    turns: BTreeMap<Symbol, Turn>,
    /// Log time at which each registered maker, by its incarnation, showed last.
    heard: BTreeMap<u64, u64>,
    /// Since when nothing was in the way.
    calm_since: u64,
    /// The first that waits: its ticket, and since when it is the first.
    first: Option<(u64, Symbol, u64)>,
    log_time: u64,
}

impl Invariant for NobodyStarves {
    fn name(&self) -> &'static str {
        "nobody starves"
    }

    fn frame(&mut self, frame: &Frame) -> Result<(), String> {
        let now = frame.log_time.0;
        let mut calm = now.saturating_sub(self.log_time) <= PACE_MS;
        self.log_time = now;
        for event in &frame.events {
            calm &= self.happened(event, now);
        }
        calm &= self.heard.values().all(|at| now.saturating_sub(*at) <= HEARD_EVERY_MS);
        if !calm {
            self.calm_since = now;
        }
        let waiting = self.turns.iter().filter_map(|(symbol, turn)| match turn {
            Turn::Waiting { since } => Some((*since, symbol)),
            Turn::Offered { .. } | Turn::Running { .. } => None,
        });
        let first = waiting.min();
        let known = self.first.as_ref().map(|(ticket, symbol, _)| (*ticket, symbol));
        if first != known {
            self.first = first.map(|(ticket, symbol)| (ticket, symbol.clone(), now));
        }
        let Some((ticket, symbol, since)) = &self.first else { return Ok(()) };
        let waits = now.saturating_sub(self.calm_since.max(*since));
        hold(waits <= FIRST_MAX_MS, || {
            let turns = &self.turns;
            format!("index {}: {symbol} (ticket {ticket}) is first for {waits} ms: {turns:?}", frame.index)
        })
    }
}

impl NobodyStarves {
    /// Takes note of it; whether it leaves all as it was.
    fn happened(&mut self, event: &Event, now: u64) -> bool {
        match event {
            Event::TurnChanged { symbol, turn: Some(turn) } => drop(self.turns.insert(symbol.clone(), *turn)),
            Event::TurnChanged { symbol, turn: None } => drop(self.turns.remove(symbol)),
            Event::QuotePlaced(placed) => self.shows(placed.incarnation, now),
            Event::QuoteRefused { incarnation, .. } => self.shows(*incarnation, now),
            Event::MakerRenewed { incarnation, .. } => self.shows(*incarnation, now),
            Event::MakerRegistered { incarnation, .. } => {
                self.heard.insert(*incarnation, now);
                return false;
            }
            Event::MakerDeparted { incarnation, .. } => {
                self.heard.remove(incarnation);
                return false;
            }
            Event::TermBegan { .. }
            | Event::ControlChanged { .. }
            | Event::AuthorityGranted { .. }
            | Event::AuthorityMoving { .. }
            | Event::AuthorityEnded { .. } => return false,
            _ => {}
        }
        true
    }

    fn shows(&mut self, incarnation: u64, now: u64) {
        if let Some(at) = self.heard.get_mut(&incarnation) {
            *at = now;
        }
    }
}
