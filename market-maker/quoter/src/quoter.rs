//! The loop: in one call, knowledge is taken in first, beliefs are brought up to the present second,
//! and only then anything is sent.

use std::{collections::BTreeMap, time::Duration};

use quorate_domain::{StrategyName, Symbol};
use quorate_ledger::{Epoch, Frame, Incarnation, QuoteCause};
use quorate_planted::{Bug, planted};
use quorate_strategy::STRATEGY;

use crate::{
    authority::Authority,
    config::{Config, InvalidConfig},
    control::Control,
    symbol::{Asked, Quoting},
    types::{Belief, CommandId, Input, Observed, Output, ReadId, Snapshot},
    venue::Venue,
};

/// A maker's loop. Deterministic: the same inputs at the same instants give the same outputs.
#[derive(Debug)]
pub struct Quoter {
    pub(crate) config: Config,
    pub(crate) strategy: StrategyName,
    pub(crate) authority: Authority,
    pub(crate) control: Control,
    pub(crate) symbols: BTreeMap<Symbol, Quoting>,
    pub(crate) venue: Venue,
    pub(crate) lane: Lane,
    pub(crate) trust: Trust,
    /// The log index of the state that is known: that of the last frame or snapshot.
    pub(crate) index: u64,
    pub(crate) last_frame: u64,
    /// The log index at which a quote last gave up exposure, as far as is known.
    pub(crate) freed_at: u64,
    pub(crate) next_command: CommandId,
    pub(crate) commands: BTreeMap<CommandId, Sent>,
    next_read: ReadId,
    /// The last read that was answered.
    last_read: ReadId,
    pub(crate) now: Duration,
    asked_wake: Option<Duration>,
}

/// A command in flight.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What a command in flight is for.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Register,
    Renew {
        incarnation: Incarnation,
    },
    Deregister,
    Release {
        symbol: Symbol,
        epoch: Epoch,
    },
    /// Says what the quotes of a symbol are computed with.
    Parameters {
        symbol: Symbol,
        incarnation: Incarnation,
    },
    Place {
        symbol: Symbol,
        epoch: Epoch,
        cause: QuoteCause,
        asked: Asked,
    },
    Keep {
        symbol: Symbol,
        epoch: Epoch,
        cause: QuoteCause,
    },
    Pull {
        symbol: Symbol,
        epoch: Epoch,
    },
}

/// The one command about the registration that may be in flight, and when the next is due.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) in_flight: Option<CommandId>,
    pub(crate) due: Duration,
    pub(crate) failures: u32,
    /// Leaving is tried until then.
    pub(crate) leave_by: Option<Duration>,
    pub(crate) left: bool,
}

/// Whether what is known is fresh enough to place a quote on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// There was a pause: a renewal sent at or after this instant must succeed first.
    Renew(Duration),
    /// The state must be read again; this wish or a later one.
    Read(ReadId),
    /// It is.
    Full,
}

/// Where a maker stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its registration.
    pub incarnation: Option<Incarnation>,
    /// Symbols believed to be held.
    pub held: usize,
    /// Of these, with an active quote as far as is known.
    pub quoted: usize,
    /// Of those held, for how many no reference price has ever come.
    pub unpriced: usize,
    /// Of those held, how many have a reference price that is too old.
    pub stale: usize,
    /// The age of the oldest reference price of those held.
    pub oldest_price: Option<Duration>,
    /// Whether it waits for a renewal or a read before it places anything.
    pub validating: bool,
    /// The log index of the state that it knows.
    pub index: u64,
}

impl Quoter {
    /// A maker that has not registered yet. Call [`Quoter::handle`] with [`Input::Timer`] to begin.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the field that is out of its range.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        config.check()?;
        Ok(Self {
            control: Control::new(config.maker.clone()),
            strategy: StrategyName::new(STRATEGY).map_err(|_| InvalidConfig { field: "strategy", min: 1, max: 32 })?,
            config,
            authority: Authority::default(),
            symbols: BTreeMap::new(),
            venue: Venue::default(),
            lane: Lane::default(),
            trust: Trust::Read(0),
            index: 0,
            last_frame: 0,
            freed_at: 0,
            next_command: 1,
            commands: BTreeMap::new(),
            next_read: 1,
            last_read: 0,
            now: Duration::ZERO,
            asked_wake: None,
        })
    }

    /// Takes in what happened at the monotonic instant `now`, and says what to do. The outputs are to be
    /// carried out in their order; beliefs that end stand before the commands that rely on it.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Output> {
        self.now = self.now.max(now);
        let mut outputs = Vec::new();
        if self.lane.left {
            return outputs;
        }
        self.notice_pause(&mut outputs);
        self.take_in(input, &mut outputs);
        self.update_beliefs(&mut outputs);
        self.see_to_holdings(&mut outputs);
        self.see_to_lease(&mut outputs);
        if self.lane.left {
            outputs.push(Output::Left);
            return outputs;
        }
        self.see_to_releases(&mut outputs);
        let quotes_due = self.see_to_quotes(&mut outputs);
        let wake = self.next_wake(quotes_due);
        self.asked_wake = Some(wake);
        outputs.push(Output::WakeAt(wake));
        outputs
    }

    /// What is believed to be held, in symbol order.
    pub fn beliefs(&self) -> impl Iterator<Item = &Belief> {
        self.authority.beliefs()
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let quoted = |belief: &&Belief| self.symbols.get(&belief.symbol).is_some_and(Quoting::is_active);
        let held = || self.beliefs().filter_map(|belief| self.symbols.get(&belief.symbol));
        let ages = || held().map(|quoting| quoting.price_age(self.now));
        let stale = |age: &Option<Duration>| age.is_some_and(|age| age > self.config.reference_age_max);
        Status {
            incarnation: self.authority.lease.map(|lease| lease.incarnation),
            held: self.beliefs().count(),
            quoted: self.beliefs().filter(quoted).count(),
            unpriced: ages().filter(Option::is_none).count(),
            stale: ages().filter(stale).count(),
            oldest_price: ages().flatten().max(),
            validating: self.trust != Trust::Full,
            index: self.index,
        }
    }

    /// Woken much later than asked: the world may have moved on, so nothing that is known counts.
    fn notice_pause(&mut self, outputs: &mut Vec<Output>) {
        match self.asked_wake {
            None => self.read_again(outputs),
            Some(asked) if self.now > asked.saturating_add(self.config.pause()) => {
                self.trust = Trust::Renew(self.now);
                self.lane.due = self.now;
            }
            Some(_) => {}
        }
    }

    fn take_in(&mut self, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Timer => {}
            Input::Answered { id, answer } => {
                if let Some(sent) = self.commands.remove(&id) {
                    self.answered(id, sent, answer, outputs);
                }
            }
            Input::Frame(frame) => self.frame(&frame),
            Input::Snapshot { id, snapshot } => self.snapshot(id, &snapshot),
            Input::References(prices) => {
                for Observed { symbol, reference, age } in prices {
                    let age = if planted(Bug::AgeByPoll) { Duration::ZERO } else { age };
                    let age_max = self.config.reference_age_max;
                    if reference.price.is_valid() {
                        self.symbols.entry(symbol).or_default().observe(reference, age, self.now, age_max);
                    }
                }
            }
            Input::StreamRestarted => match self.trust {
                Trust::Renew(_) => {}
                Trust::Read(_) | Trust::Full => self.read_again(outputs),
            },
            Input::Leave => {
                self.authority.leaving = true;
                self.lane.leave_by.get_or_insert(self.now + self.config.lease_ttl());
                self.lane.due = self.now;
            }
        }
    }

    /// A renewal or registration sent at `sent_at` was accepted: after a pause, now read.
    pub(crate) fn validated(&mut self, sent_at: Duration, outputs: &mut Vec<Output>) {
        if let Trust::Renew(since) = self.trust {
            if sent_at >= since {
                self.read_again(outputs);
            } else {
                self.lane.due = self.now;
            }
        }
    }

    pub(crate) fn read_again(&mut self, outputs: &mut Vec<Output>) {
        self.trust = Trust::Read(self.next_read);
        self.ask_for_read(outputs);
    }

    /// Reads what is held where a lease waits for it, unless a read is under way. That one may be too old, and then
    /// another follows; most of the time the stream is faster.
    fn see_to_holdings(&mut self, outputs: &mut Vec<Output>) {
        if self.authority.waits_for_holdings() && self.last_read + 1 == self.next_read {
            self.ask_for_read(outputs);
        }
    }

    fn ask_for_read(&mut self, outputs: &mut Vec<Output>) {
        self.venue.reading();
        outputs.push(Output::Read(self.next_read));
        self.next_read += 1;
    }

    fn snapshot(&mut self, id: ReadId, snapshot: &Snapshot) {
        self.last_read = self.last_read.max(id);
        self.index = self.index.max(snapshot.index);
        self.control.read(snapshot);
        self.venue.read(&snapshot.orders, snapshot.index, self.last_read + 1 < self.next_read);
        // What was missed may have given up exposure.
        self.freed_at = self.freed_at.max(snapshot.index);
        for read in &snapshot.symbols {
            self.authority.learn(&read.symbol, snapshot.index, read.epoch, read.incarnation);
            self.authority.learn_move(&read.symbol, snapshot.index, read.epoch, read.moving);
            let quoting = self.symbols.entry(read.symbol.clone()).or_default();
            quoting.learn_position(read.position_seq, read.position, snapshot.index);
            quoting.quote_read(read.quote, snapshot.index);
        }
        self.authority.heard_read(snapshot.index);
        if let Trust::Read(wanted) = self.trust
            && id >= wanted
        {
            self.trust = Trust::Full;
        }
    }

    fn frame(&mut self, frame: &Frame) {
        if frame.index > self.last_frame {
            (self.last_frame, self.index) = (frame.index, self.index.max(frame.index));
            frame.events.iter().for_each(|event| self.event(frame.index, event));
            self.authority.heard_frame(frame.index);
        }
    }
}
