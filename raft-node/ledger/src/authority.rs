//! Makers and their authority: leases, grants, moves, departures.
//!
//! Invariant: a symbol has at most one holder, under an epoch that only grows; when authority ends, the
//! quote and the remembered demands end with it, in the same apply. Who is to hold what is decided in
//! `rebalance`; this module carries it out.

use quorate_planted::{Bug, planted};

use crate::{
    answer::Answer,
    apply::{Applying, Handled, invalid},
    bounds::{LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, MAKERS_MAX, PARAMETERS_MAX},
    command::{CommitParameters, Epoch, MakerRef, RegisterMaker, ReleaseSymbol},
    digest::Digest,
    event::{AuthorityEndReason, DepartReason, Event, QuoteEndReason},
    refusal::Refusal,
    secret::Secret,
    state::{Holder, Maker, SymbolState},
};
use quorate_domain::{MakerName, Millis, Symbol};

impl Applying<'_> {
    pub(crate) fn register_maker(&mut self, command: &RegisterMaker) -> Handled {
        let RegisterMaker { maker: name, ttl_ms, secret_hash } = command;
        if !(LEASE_TTL_MIN_MS..=LEASE_TTL_MAX_MS).contains(ttl_ms) {
            return Err(invalid(format!("ttl_ms must lie in {LEASE_TTL_MIN_MS}..={LEASE_TTL_MAX_MS}")));
        }
        self.depart(name, DepartReason::Superseded);
        if self.tables.makers.len() >= MAKERS_MAX {
            return Err(Refusal::Full { what: "makers".to_owned(), max: MAKERS_MAX as u64 });
        }
        let (incarnation, deadline) = (self.index, self.log_time().plus(*ttl_ms));
        // It holds nothing yet, and whatever it is granted in this apply changes that at this index.
        let holdings_index = self.index;
        let (ttl_ms, secret_hash) = (*ttl_ms, *secret_hash);
        self.set_maker(name, Some(Maker { incarnation, ttl_ms, deadline, holdings_index, secret_hash }));
        self.events.push(Event::MakerRegistered { maker: name.clone(), incarnation, deadline });
        self.rebalance_due = true;
        Ok(Answer::MakerRegistered { incarnation, deadline, holdings_index })
    }

    pub(crate) fn renew_maker(&mut self, command: &MakerRef) -> Handled {
        let maker = self.present_maker(command)?;
        if maker.deadline <= self.log_time() {
            return Err(unknown_maker(command, Some(&maker)));
        }
        let deadline = self.log_time().plus(maker.ttl_ms);
        self.extend_lease(&command.maker, &maker, deadline);
        Ok(Answer::MakerRenewed { deadline, holdings_index: maker.holdings_index })
    }

    pub(crate) fn extend_lease(&mut self, name: &MakerName, maker: &Maker, deadline: Millis) {
        self.set_maker(name, Some(Maker { deadline, ..maker.clone() }));
        self.events.push(Event::MakerRenewed { maker: name.clone(), incarnation: maker.incarnation, deadline });
    }

    pub(crate) fn deregister_maker(&mut self, command: &MakerRef) -> Handled {
        self.present_maker(command)?;
        self.depart(&command.maker, DepartReason::Left);
        Ok(Answer::MakerDeregistered)
    }

    fn present_maker(&self, command: &MakerRef) -> Result<Maker, Refusal> {
        let present = self.tables.makers.get(&command.maker);
        match present {
            Some(maker) if maker.incarnation == command.incarnation => {
                check_secret(&command.maker, maker, &command.secret)?;
                Ok(maker.clone())
            }
            Some(_) | None => Err(unknown_maker(command, present)),
        }
    }

    fn set_maker(&mut self, name: &MakerName, maker: Option<Maker>) {
        let new = maker.clone();
        let old = match maker {
            Some(maker) => self.tables.makers.insert(name.clone(), maker),
            None => self.tables.makers.remove(name),
        };
        self.indexes.maker_changed(name, old.as_ref(), new.as_ref());
    }

    /// Ends a maker's membership and all of its authority; nothing where it is not registered.
    pub(crate) fn depart(&mut self, name: &MakerName, reason: DepartReason) {
        let Some(maker) = self.tables.makers.get(name).cloned() else { return };
        let end = match reason {
            DepartReason::Left | DepartReason::Superseded => AuthorityEndReason::MakerLeft,
            DepartReason::Expired => AuthorityEndReason::LeaseExpired,
        };
        let held: Vec<Symbol> = self.indexes.held_by(name).cloned().collect();
        for symbol in held {
            self.end_authority(&symbol, end);
        }
        self.set_maker(name, None);
        let of_maker = self.tables.parameters.range((name.clone(), Symbol::lowest())..);
        let committed: Vec<_> = of_maker.map(|(key, _)| key.clone()).take_while(|(maker, _)| maker == name).collect();
        for key in committed {
            self.tables.parameters.remove(&key);
        }
        self.events.push(Event::MakerDeparted { maker: name.clone(), incarnation: maker.incarnation, reason });
        self.rebalance_due = true;
    }

    pub(crate) fn release_symbol(&mut self, command: &ReleaseSymbol) -> Handled {
        let symbol = &command.symbol;
        let state = self.symbol(symbol)?;
        let holder = check_epoch(symbol, state, command.epoch)?;
        self.check_holder_secret(holder, &command.secret)?;
        self.end_or_move(symbol, AuthorityEndReason::Released);
        Ok(Answer::SymbolReleased)
    }

    pub(crate) fn commit_parameters(&mut self, command: &CommitParameters) -> Handled {
        let CommitParameters { maker, incarnation, secret, symbol, text } = command;
        if text.is_empty() || text.len() > PARAMETERS_MAX {
            return Err(invalid(format!("text must be 1 to {PARAMETERS_MAX} bytes")));
        }
        self.symbol(symbol)?;
        self.present_maker(&MakerRef { maker: maker.clone(), incarnation: *incarnation, secret: *secret })?;
        let digest = Digest::of(text.as_bytes());
        let symbol = self.symbol_name(symbol);
        self.tables.parameters.insert((maker.clone(), symbol.clone()), digest);
        let (maker, incarnation, text) = (maker.clone(), *incarnation, text.clone());
        self.events.push(Event::ParametersCommitted { maker, incarnation, symbol, digest, text });
        Ok(Answer::ParametersCommitted { digest })
    }

    /// Whether a command is the holder's own.
    pub(crate) fn check_holder_secret(&self, holder: &Holder, secret: &Secret) -> Result<(), Refusal> {
        self.tables.makers.get(&holder.maker).map_or(Ok(()), |maker| check_secret(&holder.maker, maker, secret))
    }

    /// Ends authority; a symbol that was moving passes to its destination at once.
    pub(crate) fn end_or_move(&mut self, symbol: &Symbol, reason: AuthorityEndReason) {
        let destination = self.tables.symbols.get(symbol).and_then(SymbolState::moving).map(|moving| moving.to.clone());
        self.end_authority(symbol, reason);
        match destination {
            Some(maker) => self.grant(symbol, &maker),
            None => self.rebalance_due = true,
        }
    }

    pub(crate) fn end_authority(&mut self, symbol: &Symbol, reason: AuthorityEndReason) {
        if !planted(Bug::LeaveQuoteStanding) {
            self.end_quote(symbol, QuoteEndReason::AuthorityEnded);
        }
        self.forget_demands(symbol);
        let Some(state) = self.tables.symbols.get(symbol) else { return };
        let (epoch, Some(holder)) = (state.epoch, state.holder.clone()) else { return };
        self.change_symbol(symbol, |state| state.holder = None);
        self.holdings_changed(&holder.maker);
        let Holder { maker, incarnation, moving: _ } = holder;
        self.events.push(Event::AuthorityEnded { symbol: symbol.clone(), maker, incarnation, epoch, reason });
    }

    /// Grants a symbol that nobody holds; where the maker has gone, the rebalance finds another.
    pub(crate) fn grant(&mut self, symbol: &Symbol, maker: &MakerName) {
        let Some(incarnation) = self.tables.makers.get(maker).map(|maker| maker.incarnation) else {
            self.rebalance_due = true;
            return;
        };
        let Some(state) = self.tables.symbols.get(symbol).filter(|state| self.tables.is_traded(symbol, state)) else {
            return;
        };
        let epoch = state.epoch + 1;
        self.change_symbol(symbol, |state| {
            state.epoch = epoch;
            state.quote_seq = 0;
            state.holder = Some(Holder { maker: maker.clone(), incarnation, moving: None });
        });
        self.holdings_changed(maker);
        self.events.push(Event::AuthorityGranted { symbol: symbol.clone(), maker: maker.clone(), incarnation, epoch });
    }

    /// What a maker holds, or is to give up, changes in this apply.
    pub(crate) fn holdings_changed(&mut self, name: &MakerName) {
        // No index is of this: what the tables imply stays as it is.
        if let Some(maker) = self.tables.makers.get_mut(name) {
            maker.holdings_index = self.index;
        }
    }
}

fn unknown_maker(command: &MakerRef, present: Option<&Maker>) -> Refusal {
    Refusal::UnknownMaker { incarnation: command.incarnation, present: present.map(|maker| maker.incarnation) }
}

fn check_secret(name: &MakerName, maker: &Maker, secret: &Secret) -> Result<(), Refusal> {
    if secret.hash() == maker.secret_hash { Ok(()) } else { Err(Refusal::WrongSecret { maker: name.clone() }) }
}

/// The symbol's holder, where the epoch is the one under which it holds.
pub(crate) fn check_epoch<'a>(symbol: &Symbol, state: &'a SymbolState, epoch: Epoch) -> Result<&'a Holder, Refusal> {
    match &state.holder {
        Some(holder) if state.epoch == epoch || planted(Bug::SkipEpochCheck) => Ok(holder),
        holder => Err(Refusal::StaleEpoch {
            symbol: symbol.clone(),
            epoch: state.epoch,
            holder: holder.as_ref().map(|holder| holder.maker.clone()),
        }),
    }
}
