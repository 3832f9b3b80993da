//! What a seed means: the size of everything, and the schedule of faults. Nothing else of a run is drawn from
//! anywhere but the seed.

use quorate_seams::seeded_rng;
use rand::{Rng, rngs::SmallRng, seq::IndexedRandom};

use crate::faults::{Fault, Kind};

/// The stream of the seed that plans are drawn from.
const PLAN_STREAM: u64 = 0x706c_616e;
/// Faults begin after this, when the group has formed and quotes stand, in milliseconds.
const WARM_UP_MS: u64 = 4_000;

/// A run, before it begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Members at the start: 3 or 5.
    pub nodes: u64,
    /// Makers.
    pub makers: u64,
    /// Symbols, the first so many of [`SYMBOLS`].
    pub symbols: usize,
    /// Orders in a second, about.
    pub orders_per_s: u64,
    /// The exposure limit that is set at first.
    pub limit: i64,
    /// Time between heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest time before an election.
    pub election_min_ms: u64,
    /// A maker's lease.
    pub lease_ttl_ms: u64,
    /// Lots asked for on each side of a quote.
    pub order_qty: i64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind one.
    pub log_keep: u64,
    /// Frames kept.
    pub event_retention: u64,
    /// A member that starts so many milliseconds after the others: the group is not founded before.
    pub late: Option<(u64, u64)>,
    /// What a message takes at least and at most without a fault.
    pub latency_ms: (u64, u64),
    /// How far wall clocks are set wrong at most, either way.
    pub skew_ms: u64,
    /// How far oscillators are wrong at most, either way, in parts in a million.
    pub drift_ppm: u64,
    /// When faults stop, in milliseconds.
    pub duration_ms: u64,
    /// Whether one symbol's reference price is fed from outside; the others walk.
    pub fed: bool,
    /// Whether exposure is scarce: a lot of most symbols is more than their share, so that they take turns.
    pub scarce: bool,
    /// The faults, by time.
    pub faults: Vec<Fault>,
}

/// Symbols, with their reference price and exposure per lot.
pub const SYMBOLS: [(&str, &str, i64); 6] = [
    ("BTCUSDT", "60000.00", 1),
    ("ETHUSDT", "2500.00", 1),
    ("SOLUSDT", "150.00", 2),
    ("XRPUSDT", "5.00", 1),
    ("ADAUSDT", "4.00", 3),
    ("BNBUSDT", "550.00", 1),
];

/// Exposure per lot where exposure is scarce.
const HEAVY: [i64; SYMBOLS.len()] = [25, 20, 10, 30, 15, 8];

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut plan = Self::calm(seed);
        let mut rng = seeded_rng(seed, PLAN_STREAM + 1);
        let kinds = palette(&mut rng);
        plan.schedule(&mut rng, &kinds);
        plan
    }

    /// The plan of a seed with faults of these kinds only.
    #[must_use]
    pub fn only(seed: u64, kinds: &[Kind]) -> Self {
        let mut plan = Self::calm(seed);
        plan.schedule(&mut seeded_rng(seed, PLAN_STREAM + 1), kinds);
        plan
    }

    /// The plan of a seed, its faults left out.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        let rng = &mut seeded_rng(seed, PLAN_STREAM);
        let heartbeat_ms = rng.random_range(50..=120);
        let snapshot_every = if rng.random_bool(0.7) { rng.random_range(150..=600) } else { 5_000 };
        let latency_low = rng.random_range(0..=2);
        let nodes = if rng.random_bool(0.3) { 5 } else { 3 };
        let plan = Self {
            seed,
            nodes,
            late: rng.random_bool(0.2).then(|| (rng.random_range(1..=nodes), rng.random_range(500..=3_000))),
            makers: rng.random_range(2..=4),
            symbols: rng.random_range(3..=SYMBOLS.len()),
            orders_per_s: rng.random_range(4..=16),
            limit: rng.random_range(30..=100),
            heartbeat_ms,
            election_min_ms: heartbeat_ms * rng.random_range(3..=5),
            lease_ttl_ms: rng.random_range(6_000..=9_000),
            order_qty: rng.random_range(4..=20),
            snapshot_every,
            log_keep: rng.random_range(0..=snapshot_every / 2),
            event_retention: rng.random_range(1_000..=3_000),
            latency_ms: (latency_low, latency_low + rng.random_range(0..=4)),
            skew_ms: if rng.random_bool(0.5) { rng.random_range(0..=5_000) } else { 5 },
            drift_ppm: if rng.random_bool(0.5) { rng.random_range(0..=10_000) } else { 50 },
            duration_ms: rng.random_range(14_000..=30_000),
            fed: rng.random_bool(0.3),
            scarce: false,
            faults: Vec::new(),
        };
        if rng.random_bool(0.3) { plan.scarce(rng.random_range(30..=60)) } else { plan }
    }

    /// The same, with heavy symbols and so small a limit.
    #[must_use]
    pub fn scarce(self, limit: i64) -> Self {
        Self { scarce: true, limit, ..self }
    }

    /// Exposure of one lot of the symbol at a place of [`SYMBOLS`].
    #[must_use]
    pub fn exposure_per_lot(&self, at: usize) -> i64 {
        if self.scarce { HEAVY[at] } else { SYMBOLS[at].2 }
    }

    /// The seed of one part of the run.
    #[must_use]
    pub fn part(&self, stream: u64) -> SmallRng {
        seeded_rng(self.seed, stream)
    }

    fn schedule(&mut self, rng: &mut SmallRng, kinds: &[Kind]) {
        if kinds.is_empty() {
            return;
        }
        let mean_gap = rng.random_range(700..=4_000);
        let mut at_ms = WARM_UP_MS;
        loop {
            at_ms += rng.random_range(mean_gap / 4..=mean_gap * 2);
            if at_ms >= self.duration_ms {
                return;
            }
            let Some(kind) = kinds.choose(rng).copied() else { return };
            let (low, high) = kind.lasts_ms();
            let for_ms = rng.random_range(low..=high).min(self.duration_ms - at_ms);
            self.fed |= matches!(kind, Kind::FeedDies | Kind::FeedZero | Kind::FeedCrosses);
            self.faults.push(Fault { at_ms, for_ms, kind, seed: rng.random() });
        }
    }

    /// Keeps only the faults at these places of the schedule.
    pub fn keep(&mut self, places: &[usize]) {
        let all = std::mem::take(&mut self.faults);
        self.faults =
            all.into_iter().enumerate().filter(|(at, _)| places.contains(at)).map(|(_, fault)| fault).collect();
    }
}

/// The kinds of faults of one run: a few of all, so that they meet each other often.
fn palette(rng: &mut SmallRng) -> Vec<Kind> {
    let count = rng.random_range(1..=6);
    Kind::ALL.choose_multiple(rng, count).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_seeds_differ() {
        let text = |seed| format!("{:?}", Plan::new(seed));
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn every_kind_of_fault_is_planned_often() {
        let mut seen: std::collections::BTreeMap<Kind, u32> = std::collections::BTreeMap::new();
        for seed in 0..1_000 {
            for fault in Plan::new(seed).faults {
                *seen.entry(fault.kind).or_default() += 1;
            }
        }
        for kind in Kind::ALL {
            assert!(seen.get(&kind).is_some_and(|count| *count >= 50), "{kind}: {seen:?}");
        }
    }
}
