//! What one quoter is held to: a record of what it was told and what it did, kept apart from its own.

use std::{collections::BTreeMap, time::Duration};

use quorate_domain::Symbol;
use quorate_ledger::{Command, Epoch, Event, FilledMaker, Frame, Incarnation, KeepQuote, PlaceQuote, Refusal};
use quorate_quoter::{Belief, BeliefChange, CommandId, Output, ReadId, Snapshot};

/// What a quoter knows because it was told, and what it has in flight.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) beliefs: BTreeMap<Symbol, Belief>,
    in_flight: BTreeMap<Symbol, CommandId>,
    position_seq: BTreeMap<Symbol, u64>,
    quote_seq: BTreeMap<(Symbol, Epoch, Incarnation), u64>,
    stale_in_row: BTreeMap<Symbol, u32>,
    /// Since a pause: what must happen before anything is placed.
    pub(crate) validation: Option<Validation>,
    pub(crate) wake: Option<Duration>,
    pub(crate) left: bool,
}

/// The steps after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    /// A renewal or registration must be sent.
    Renew,
    /// This one must be accepted.
    Accepted(CommandId),
    /// A read must be asked for.
    Ask,
    /// This one, or a later one, must arrive.
    Read(ReadId),
}

impl Watch {
    /// A frame was delivered.
    pub(crate) fn told_frame(&mut self, frame: &Frame) {
        for event in &frame.events {
            if let Event::FillCommitted(fill) = event
                && let FilledMaker::Quote { position_seq, .. } = &fill.maker
            {
                self.told_position(&fill.symbol, *position_seq);
            }
        }
    }

    /// A snapshot was delivered.
    pub(crate) fn told_snapshot(&mut self, id: ReadId, snapshot: &Snapshot) {
        snapshot.symbols.iter().for_each(|read| self.told_position(&read.symbol, read.position_seq));
        if matches!(self.validation, Some(Validation::Read(wanted)) if id >= wanted) {
            self.validation = None;
        }
    }

    /// A quote command was answered; `refusal` where it was refused.
    pub(crate) fn told_answer(&mut self, id: CommandId, command: &Command, accepted: bool, refusal: Option<&Refusal>) {
        if let Command::PlaceQuote(PlaceQuote { symbol, .. }) | Command::KeepQuote(KeepQuote { symbol, .. }) = command {
            let stale = self.stale_in_row.entry(symbol.clone()).or_default();
            match refusal {
                Some(Refusal::StalePosition { position_seq, .. }) => {
                    *stale += 1;
                    let seq = *position_seq;
                    self.told_position(symbol, seq);
                }
                _ if accepted => *stale = 0,
                _ => {}
            }
        }
        if let Some(symbol) = quote_symbol(command) {
            assert_eq!(self.in_flight.remove(symbol), Some(id));
        }
        if let Command::PullQuote(pull) = command
            && accepted
        {
            self.stale_in_row.remove(&pull.symbol);
        }
        if self.validation == Some(Validation::Accepted(id)) {
            self.validation = Some(if accepted { Validation::Ask } else { Validation::Renew });
        }
    }

    fn told_position(&mut self, symbol: &Symbol, seq: u64) {
        let newest = self.position_seq.entry(symbol.clone()).or_default();
        *newest = seq.max(*newest);
    }

    /// What the quoter did at `now`.
    pub(crate) fn did(&mut self, now: Duration, lease: Duration, output: &Output) {
        assert!(!self.left, "after Left nothing comes: {output:?}");
        match output {
            Output::Belief(belief) => self.believes(now, lease, belief),
            Output::Submit { id, command } => self.submits(now, *id, command),
            Output::Read(id) => {
                if self.validation == Some(Validation::Ask) {
                    self.validation = Some(Validation::Read(*id));
                }
            }
            Output::WakeAt(at) => {
                assert!(*at > now && *at <= now + lease / 3, "it wakes ahead, and soon enough to notice a pause");
                self.wake = Some(*at);
            }
            Output::Priced(symbol, _) => assert!(self.beliefs.contains_key(symbol), "no price of {symbol}, not held"),
            Output::Left => {
                assert!(self.beliefs.is_empty(), "left while believing in {:?}", self.beliefs);
                self.left = true;
            }
        }
        let standing = self.beliefs.values().find(|belief| belief.until <= now);
        assert!(standing.is_none() || matches!(output, Output::Belief(_)), "belief past its deadline: {standing:?}");
    }

    fn believes(&mut self, now: Duration, lease: Duration, belief: &Belief) {
        let before = self.beliefs.get(&belief.symbol);
        match belief.change {
            BeliefChange::Gained => {
                assert!(before.is_none() && belief.from == now && belief.until > now, "{belief:?} after {before:?}");
            }
            BeliefChange::Renewed => {
                let before = before.expect("only what is believed is renewed");
                assert_eq!((before.epoch, before.incarnation), (belief.epoch, belief.incarnation));
                assert!(belief.until > before.until);
            }
            BeliefChange::Ended => {
                let before = self.beliefs.remove(&belief.symbol).expect("only what is believed ends");
                assert_eq!((before.epoch, before.incarnation), (belief.epoch, belief.incarnation));
                assert!(belief.until <= before.until && belief.until <= now);
                return;
            }
        }
        assert!(belief.until < now + lease, "longer than the lease, from now");
        self.beliefs.insert(belief.symbol.clone(), belief.clone());
    }

    fn submits(&mut self, now: Duration, id: CommandId, command: &Command) {
        match command {
            Command::PlaceQuote(place) => {
                assert!(place.bid.is_some() || place.ask.is_some());
                assert!(place.allow_reduced);
                let PlaceQuote { symbol, epoch, incarnation, quote_seq, position_seq, .. } = place;
                self.quotes(now, symbol, (*epoch, *incarnation), (*quote_seq, *position_seq));
            }
            Command::KeepQuote(keep) => {
                let KeepQuote { symbol, epoch, incarnation, quote_seq, position_seq, .. } = keep;
                self.quotes(now, symbol, (*epoch, *incarnation), (*quote_seq, *position_seq));
            }
            Command::PullQuote(pull) => {
                let belief = self.beliefs.get(&pull.symbol).expect("pulls only what it believes to hold");
                assert_eq!(belief.epoch, pull.epoch);
            }
            Command::CommitParameters(commit) => {
                let belief = self.beliefs.get(&commit.symbol).expect("commits only for what it believes to hold");
                assert_eq!(belief.incarnation, commit.incarnation);
            }
            Command::ReleaseSymbol(release) => {
                let belief = self.beliefs.get(&release.symbol);
                assert!(belief.is_none_or(|belief| belief.epoch != release.epoch), "released while believed");
            }
            Command::RegisterMaker(_) | Command::DeregisterMaker(_) => {
                assert!(self.beliefs.is_empty(), "beliefs end before this: {:?}", self.beliefs);
            }
            Command::RenewMaker(_) => {}
            other => panic!("no maker sends {other:?}"),
        }
        if let Some(symbol) = quote_symbol(command) {
            assert!(self.in_flight.insert(symbol.clone(), id).is_none(), "two in flight for {symbol}");
        }
        let renews = matches!(command, Command::RenewMaker(_) | Command::RegisterMaker(_));
        if renews && self.validation == Some(Validation::Renew) {
            self.validation = Some(Validation::Accepted(id));
        }
    }

    /// A quote is placed or kept.
    fn quotes(
        &mut self,
        now: Duration,
        symbol: &Symbol,
        under: (Epoch, Incarnation),
        (quote_seq, position_seq): (u64, u64),
    ) {
        let belief = self.beliefs.get(symbol).expect("quotes only what it believes to hold");
        assert_eq!((belief.epoch, belief.incarnation), under);
        assert!(now < belief.until);
        assert_eq!(self.validation, None, "quoted after a pause before it was validated");
        let newest = self.position_seq.get(symbol).copied().unwrap_or(0);
        assert_eq!(position_seq, newest, "computed from another position than the newest seen");
        let stale = self.stale_in_row.get(symbol).copied().unwrap_or(0);
        assert!(stale < 2, "quoted after two stale positions in a row, without a pull");
        let seq = self.quote_seq.entry((symbol.clone(), under.0, under.1)).or_default();
        assert!(quote_seq > *seq, "quote_seq must grow within the epoch");
        *seq = quote_seq;
    }

    /// It gained the symbol anew: what was refused before counts no longer.
    pub(crate) fn forget_stale(&mut self, symbol: &Symbol) {
        self.stale_in_row.remove(symbol);
    }
}

fn quote_symbol(command: &Command) -> Option<&Symbol> {
    match command {
        Command::PlaceQuote(place) => Some(&place.symbol),
        Command::KeepQuote(keep) => Some(&keep.symbol),
        Command::CommitParameters(commit) => Some(&commit.symbol),
        Command::PullQuote(pull) => Some(&pull.symbol),
        _ => None,
    }
}
