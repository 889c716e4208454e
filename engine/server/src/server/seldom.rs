//! Warnings that would come too often: the first is let through, and after a while one with the number
//! of those that were kept back.

use std::time::{Duration, Instant};

/// Time between two warnings of a kind.
const PAUSE: Duration = Duration::from_secs(10);

/// Lets one warning in ten seconds through.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    last: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// One more at `now`. How many were kept back since the last one that was let through, none where
    /// this one is kept back as well.
    pub(crate) fn let_through(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < PAUSE) {
            self.kept_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_ten_seconds_is_let_through() {
        let (mut warnings, start) = (Seldom::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let seen = [0, 0, 1, 9, 10, 19, 21].map(|second| warnings.let_through(at(second)));
        assert_eq!(seen, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }
}
