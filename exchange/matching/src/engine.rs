//! The engine's front: what the process calls.

use quorate_ledger::{Account, ExchangeEpoch, Millis, Symbol};

use crate::types::{Config, Depth, Effect, Input, Known, OpenOrder, Snapshot, Stats, Target};

/// The exchange's state machine, for one exchange epoch.
///
/// After a start, a fencing or a broken stream: register the exchange (which gives the epoch), read a
/// [`Snapshot`] at or after that index, [`Engine::recover`], and hand in every frame from
/// [`Snapshot::first_frame`] on. What earlier epochs left in doubt is settled by that: it is in the
/// snapshot, or can never be.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    exchange_epoch: ExchangeEpoch,
    stats: Stats,
}

impl Engine {
    /// An engine for a fresh registration, from state read at or after it.
    #[must_use]
    pub fn recover(config: Config, exchange_epoch: ExchangeEpoch, snapshot: Snapshot) -> Self {
        let _ = snapshot;
        Self { config, exchange_epoch, stats: Stats::default() }
    }

    /// Takes one input at `now`, the best estimate of log time (the last stamp seen plus the elapsed
    /// monotonic time), and says what is to be done, in order.
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Effect> {
        let _ = (now, input, self.config);
        Vec::new()
    }

    /// The epoch it serves under.
    #[must_use]
    pub fn exchange_epoch(&self) -> ExchangeEpoch {
        self.exchange_epoch
    }

    /// Whether it has caught up with its snapshot and has not halted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        false
    }

    /// The index up to which it has seen the ledger's frames, and log time there.
    #[must_use]
    pub fn applied(&self) -> (u64, Millis) {
        (0, Millis(0))
    }

    /// The first `levels` levels of each side: resting orders, and the quote while it lives at `now`.
    /// Empty for a symbol that is not defined.
    #[must_use]
    pub fn depth(&self, now: Millis, symbol: &Symbol, levels: usize) -> Depth {
        let _ = (now, symbol, levels);
        Depth::default()
    }

    /// Open orders of an account, of one symbol or of all, by id. What this engine reported committed
    /// is in it, also where the frame is yet to come.
    #[must_use]
    pub fn open_orders(&self, account: &Account, symbol: Option<&Symbol>) -> Vec<OpenOrder> {
        let _ = (account, symbol);
        Vec::new()
    }

    /// What is known of an order: pending, open, or closed not long ago.
    #[must_use]
    pub fn order(&self, account: &Account, target: &Target) -> Option<Known> {
        let _ = (account, target);
        None
    }

    /// Counters since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
