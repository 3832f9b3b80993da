//! Up to which log index everything about this maker's holdings was taken in.
//!
//! Invariant: up to that index nothing is missing. Frames count where they follow, one by one, on what is known; those that
//! came after a gap count once a read has closed it.

/// What was told so far, without a gap.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    index: u64,
    /// The first and the last frame of those that came last, one after the other.
    run: Option<(u64, u64)>,
}

impl Heard {
    /// Everything up to this index was taken in; 0 where nothing was.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The frame at `index` was taken in.
    pub(crate) fn frame(&mut self, index: u64) {
        let follows = self.run.filter(|(_, last)| last.checked_add(1) == Some(index));
        self.run = Some((follows.map_or(index, |(first, _)| first), index));
        self.join();
    }

    /// The state as of `index` was taken in.
    pub(crate) fn read(&mut self, index: u64) {
        self.index = self.index.max(index);
        self.join();
    }

    fn join(&mut self) {
        if let Some((first, last)) = self.run
            && first <= self.index.saturating_add(1)
        {
            self.index = self.index.max(last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(steps: &[(bool, u64)]) -> Vec<u64> {
        let mut heard = Heard::default();
        let tell = |(is_read, index): &(bool, u64)| {
            if *is_read {
                heard.read(*index);
            } else {
                heard.frame(*index);
            }
            heard.index()
        };
        steps.iter().map(tell).collect()
    }

    #[test]
    fn frames_count_as_far_as_they_follow_on_what_is_known() {
        let (read, frame) = (true, false);
        assert_eq!(told(&[(read, 7), (frame, 8), (frame, 9), (frame, 11), (frame, 12)]), [7, 8, 9, 9, 9]);
        assert_eq!(told(&[(frame, 1), (frame, 2)]), [1, 2]);
        assert_eq!(told(&[(frame, 5), (frame, 6), (read, 3), (read, 4)]), [0, 0, 3, 6]);
        assert_eq!(told(&[(read, 7), (frame, 9), (read, 8), (frame, 10)]), [7, 7, 9, 10]);
        assert_eq!(told(&[(read, 7), (frame, 6), (frame, 7), (frame, 8), (read, 2)]), [7, 7, 7, 8, 8]);
        assert_eq!(told(&[(frame, u64::MAX), (frame, 0), (read, u64::MAX)]), [0, 0, u64::MAX]);
    }
}
