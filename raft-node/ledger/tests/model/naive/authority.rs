//! Makers, and who holds which symbol.

use std::collections::{BTreeMap, BTreeSet};

use quorate_domain::{MakerName, Millis, Symbol};
use quorate_ledger::{
    Answer, AuthorityEndReason, CommitParameters, DepartReason, Epoch, Event, Incarnation, MakerRef, QuoteEndReason,
    Refusal, RegisterMaker, ReleaseSymbol, Secret,
    bounds::{LEASE_TTL_MAX_MS, LEASE_TTL_MIN_MS, MAKERS_MAX, PARAMETERS_MAX},
};

use super::{Done, Maker, Model, accepted, digest, full, invalid};

impl Model {
    pub(super) fn register_maker(
        &mut self,
        index: u64,
        register: &RegisterMaker,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        let RegisterMaker { maker, ttl_ms, secret_hash } = register;
        if *ttl_ms < LEASE_TTL_MIN_MS || *ttl_ms > LEASE_TTL_MAX_MS {
            return Err(invalid());
        }
        if self.makers.contains_key(maker) {
            self.depart(maker, DepartReason::Superseded, events);
        }
        if self.makers.len() >= MAKERS_MAX {
            return Err(full(MAKERS_MAX));
        }
        let deadline = Millis(self.log_time.0.saturating_add(*ttl_ms));
        let (secret_hash, parameters, changed_at) = (*secret_hash, BTreeMap::new(), Vec::new());
        let registered = Maker { incarnation: index, ttl_ms: *ttl_ms, deadline, changed_at, secret_hash, parameters };
        self.makers.insert(maker.clone(), registered);
        events.push(Event::MakerRegistered { maker: maker.clone(), incarnation: index, deadline });
        Ok(accepted(Answer::MakerRegistered { incarnation: index, deadline, holdings_index: index }))
    }

    /// When what a maker holds or is to give up last changed; `events` are those of this apply so far.
    pub(crate) fn holdings_index(&self, name: &MakerName, index: u64, events: &[Event]) -> u64 {
        let maker = &self.makers[name];
        if self.concerned(events).contains(&maker.incarnation) {
            return index;
        }
        maker.changed_at.last().copied().unwrap_or(maker.incarnation)
    }

    /// Whose holdings these events change. A move that begins and ends in them is told by its end.
    fn concerned(&self, events: &[Event]) -> BTreeSet<Incarnation> {
        let whose = |event: &Event| match event {
            Event::AuthorityGranted { incarnation, .. } | Event::AuthorityEnded { incarnation, .. } => {
                Some(*incarnation)
            }
            Event::AuthorityMoving { symbol, .. } => {
                let holder = self.symbols[symbol].holder.as_ref()?;
                Some(self.makers[holder].incarnation)
            }
            _ => None,
        };
        events.iter().filter_map(whose).collect()
    }

    pub(super) fn note_holdings(&mut self, index: u64, events: &[Event]) {
        let concerned = self.concerned(events);
        for maker in self.makers.values_mut().filter(|maker| concerned.contains(&maker.incarnation)) {
            maker.changed_at.push(index);
        }
    }

    fn present_incarnation(&self, name: &MakerName, incarnation: Incarnation) -> Result<(), Refusal> {
        let present = self.makers.get(name).map(|known| known.incarnation);
        if present == Some(incarnation) {
            return Ok(());
        }
        Err(Refusal::UnknownMaker { incarnation, present })
    }

    /// Whether this is the secret of a registered maker's present incarnation.
    pub(super) fn right_secret(&self, name: &MakerName, secret: &Secret) -> Result<(), Refusal> {
        if digest(&secret.0) == self.makers[name].secret_hash.0 {
            return Ok(());
        }
        Err(Refusal::WrongSecret { maker: name.clone() })
    }

    pub(super) fn renew_maker(
        &mut self,
        index: u64,
        renew: &MakerRef,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        let MakerRef { maker: name, incarnation, secret } = renew;
        self.present_incarnation(name, *incarnation)?;
        if self.passed(self.makers[name].deadline) {
            return Err(Refusal::UnknownMaker { incarnation: *incarnation, present: Some(*incarnation) });
        }
        self.right_secret(name, secret)?;
        let deadline = Millis(self.log_time.0.saturating_add(self.makers[name].ttl_ms));
        self.makers.get_mut(name).unwrap().deadline = deadline;
        events.push(Event::MakerRenewed { maker: name.clone(), incarnation: *incarnation, deadline });
        let holdings_index = self.holdings_index(name, index, events);
        Ok(accepted(Answer::MakerRenewed { deadline, holdings_index }))
    }

    pub(super) fn deregister_maker(&mut self, leave: &MakerRef, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        self.present_incarnation(&leave.maker, leave.incarnation)?;
        self.right_secret(&leave.maker, &leave.secret)?;
        self.depart(&leave.maker, DepartReason::Left, events);
        Ok(accepted(Answer::MakerDeregistered))
    }

    pub(super) fn commit_parameters(
        &mut self,
        commit: &CommitParameters,
        events: &mut Vec<Event>,
    ) -> Result<Done, Refusal> {
        let CommitParameters { maker, incarnation, secret, symbol, text } = commit.clone();
        if text.is_empty() || text.len() > PARAMETERS_MAX {
            return Err(invalid());
        }
        self.known(&symbol)?;
        self.present_incarnation(&maker, incarnation)?;
        self.right_secret(&maker, &secret)?;
        let digest = digest(text.as_bytes());
        self.makers.get_mut(&maker).unwrap().parameters.insert(symbol.clone(), digest);
        events.push(Event::ParametersCommitted { maker, incarnation, symbol, digest, text });
        Ok(accepted(Answer::ParametersCommitted { digest }))
    }

    pub(super) fn release_symbol(&mut self, release: &ReleaseSymbol, events: &mut Vec<Event>) -> Result<Done, Refusal> {
        let (holder, _) = self.held_under(&release.symbol, release.epoch)?;
        self.right_secret(&holder, &release.secret)?;
        self.hand_over(&release.symbol, AuthorityEndReason::Released, events);
        Ok(accepted(Answer::SymbolReleased))
    }

    /// Whether the symbol is known, and held under this epoch.
    pub(super) fn held_under(&self, symbol: &Symbol, epoch: Epoch) -> Result<(MakerName, Incarnation), Refusal> {
        let state = self.known(symbol)?;
        match &state.holder {
            Some(holder) if state.epoch == epoch => Ok((holder.clone(), self.makers[holder].incarnation)),
            holder => Err(Refusal::StaleEpoch { symbol: symbol.clone(), epoch: state.epoch, holder: holder.clone() }),
        }
    }

    /// When authority over a held symbol ends, as things stand.
    pub(super) fn authority_deadline(&self, symbol: &Symbol) -> Option<Millis> {
        let state = &self.symbols[symbol];
        let lease = self.makers[state.holder.as_ref()?].deadline;
        Some(state.moving.as_ref().map_or(lease, |(_, until)| lease.min(*until)))
    }

    pub(super) fn depart(&mut self, name: &MakerName, reason: DepartReason, events: &mut Vec<Event>) {
        let why = match reason {
            DepartReason::Expired => AuthorityEndReason::LeaseExpired,
            DepartReason::Left | DepartReason::Superseded => AuthorityEndReason::MakerLeft,
        };
        for symbol in self.symbol_names() {
            if self.symbols[&symbol].holder.as_ref() == Some(name) {
                self.end_authority(&symbol, why, events);
            }
        }
        let gone = self.makers.remove(name).unwrap();
        events.push(Event::MakerDeparted { maker: name.clone(), incarnation: gone.incarnation, reason });
    }

    /// Ends authority; where the symbol was moving, its destination (if it is still there) has it at once.
    pub(super) fn hand_over(&mut self, symbol: &Symbol, reason: AuthorityEndReason, events: &mut Vec<Event>) {
        let destination = self.symbols[symbol].moving.as_ref().map(|(to, _)| to.clone());
        self.end_authority(symbol, reason, events);
        if let Some(to) = destination.filter(|to| self.makers.contains_key(to)) {
            self.grant(symbol, &to, events);
        }
    }

    /// Ends authority, where somebody has it.
    pub(super) fn end_authority_of(&mut self, symbol: &Symbol, reason: AuthorityEndReason, events: &mut Vec<Event>) {
        if self.symbols[symbol].holder.is_some() {
            self.end_authority(symbol, reason, events);
        }
    }

    fn end_authority(&mut self, symbol: &Symbol, reason: AuthorityEndReason, events: &mut Vec<Event>) {
        self.end_quote(symbol, QuoteEndReason::AuthorityEnded, events);
        self.forget_demands(symbol, events);
        let state = self.symbols.get_mut(symbol).unwrap();
        let maker = state.holder.take().unwrap();
        state.moving = None;
        let (incarnation, epoch) = (self.makers[&maker].incarnation, state.epoch);
        events.push(Event::AuthorityEnded { symbol: symbol.clone(), maker, incarnation, epoch, reason });
    }

    fn grant(&mut self, symbol: &Symbol, maker: &MakerName, events: &mut Vec<Event>) {
        let state = self.symbols.get_mut(symbol).unwrap();
        state.epoch += 1;
        state.quote_seq = 0;
        state.holder = Some(maker.clone());
        events.push(Event::AuthorityGranted {
            symbol: symbol.clone(),
            maker: maker.clone(),
            incarnation: self.makers[maker].incarnation,
            epoch: state.epoch,
        });
    }

    /// Run at every apply: where neither makers nor symbols changed it must find nothing to do.
    pub(super) fn rebalance(&mut self, events: &mut Vec<Event>) {
        if self.makers.is_empty() {
            return;
        }
        let changed = self.members() != self.members_before
            || self.symbols.iter().any(|(name, state)| state.holder.is_none() && self.is_traded(name));
        let targets = self.balanced();
        for (symbol, target) in targets {
            let state = &self.symbols[&symbol];
            let Some(holder) = state.holder.clone() else {
                self.grant(&symbol, &target, events);
                continue;
            };
            let lease = self.makers[&holder].deadline;
            if changed && state.moving.as_ref().is_some_and(|(_, until)| self.passed(*until)) {
                // Too late to go on with the move or to call it off: the authority has ended, swept or not.
                self.end_authority(&symbol, AuthorityEndReason::MoveDeadline, events);
                self.grant(&symbol, &target, events);
                continue;
            }
            let moving = (target != holder).then(|| {
                let until = state.moving.as_ref().map_or(lease, |(_, until)| *until);
                (target, until)
            });
            let to = moving.as_ref().map(|(to, _)| to.clone());
            if to != state.moving.as_ref().map(|(to, _)| to.clone()) {
                let until = moving.as_ref().map_or(lease, |(_, until)| *until);
                events.push(Event::AuthorityMoving { symbol: symbol.clone(), epoch: state.epoch, to, until });
            }
            self.symbols.get_mut(&symbol).unwrap().moving = moving;
        }
    }

    /// The symbols that somebody may hold.
    fn traded(&self) -> BTreeSet<Symbol> {
        self.symbols.keys().filter(|name| self.is_traded(name)).cloned().collect()
    }

    /// Makers, by incarnation, and the symbols that somebody may hold: what a rebalance depends on.
    pub(super) fn members(&self) -> (BTreeSet<Incarnation>, BTreeSet<Symbol>) {
        (self.makers.values().map(|maker| maker.incarnation).collect(), self.traded())
    }

    /// The target of each symbol, after all have been balanced over the registered makers.
    fn balanced(&self) -> BTreeMap<Symbol, MakerName> {
        let traded = self.traded();
        let mut targets: BTreeMap<Symbol, MakerName> = BTreeMap::new();
        for symbol in &traded {
            let state = &self.symbols[symbol];
            let target = state.moving.as_ref().map(|(to, _)| to).or(state.holder.as_ref());
            if let Some(active) = target.filter(|target| self.makers.contains_key(*target)) {
                targets.insert(symbol.clone(), active.clone());
            }
        }
        let load = |targets: &BTreeMap<Symbol, MakerName>, maker: &MakerName| {
            targets.values().filter(|target| *target == maker).count()
        };
        let mut ranked: Vec<MakerName> = self.makers.keys().cloned().collect();
        ranked.sort_by_key(|maker| (std::cmp::Reverse(load(&targets, maker)), maker.clone()));
        let (least, with_one_more) = (traded.len() / ranked.len(), traded.len() % ranked.len());
        let quotas: BTreeMap<MakerName, usize> = ranked
            .iter()
            .enumerate()
            .map(|(rank, maker)| (maker.clone(), if rank < with_one_more { least + 1 } else { least }))
            .collect();
        for maker in quotas.keys() {
            let (moving, held): (Vec<_>, Vec<_>) = targets
                .iter()
                .filter(|(_, target)| *target == maker)
                .map(|(symbol, _)| symbol.clone())
                .partition(|symbol| self.symbols[symbol].holder.as_ref() != Some(maker));
            let mut in_order = moving.into_iter().rev().chain(held.into_iter().rev());
            while load(&targets, maker) > quotas[maker] {
                targets.remove(&in_order.next().unwrap());
            }
        }
        let free: BTreeSet<Symbol> = traded.into_iter().filter(|name| !targets.contains_key(name)).collect();
        for symbol in free {
            let room = |maker: &MakerName| quotas[maker] - load(&targets, maker);
            let most = quotas.keys().map(room).max().unwrap();
            let first = quotas.keys().find(|maker| room(maker) == most).unwrap().clone();
            targets.insert(symbol, first);
        }
        targets
    }
}
