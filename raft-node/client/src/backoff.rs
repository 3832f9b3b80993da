//! Exponential backoff with full jitter, from a seeded generator.

use std::time::Duration;

use quorate_seams::seeded_rng;
use rand::{Rng, rngs::SmallRng};

/// The pauses of one task's retries.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    rng: SmallRng,
}

impl Backoff {
    /// `stream` tells the users of one seed apart.
    pub(crate) fn new(min: Duration, max: Duration, seed: u64, stream: u64) -> Self {
        Self { min, max, failures: 0, rng: seeded_rng(seed, stream) }
    }

    /// After a success: the next pause is short again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next pause: between 0 and `min` x 2^failures, `max` at most.
    pub(crate) fn next(&mut self) -> Duration {
        let ceiling = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(self.rng.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_bound_differ_and_repeat_with_the_seed() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff::new(min, max, 7, 1);
        let pauses: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= min && pauses[1] <= 2 * min);
        assert!(pauses.iter().all(|pause| *pause <= max));
        assert!(pauses[8..].iter().any(|pause| *pause > max / 2) && pauses[8..].iter().any(|pause| *pause < max / 2));
        let mut again = Backoff::new(min, max, 7, 1);
        assert!(pauses.iter().all(|pause| *pause == again.next()));
        backoff.reset();
        assert!(backoff.next() <= min);
    }
}
