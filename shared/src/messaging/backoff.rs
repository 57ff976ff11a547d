//! How long a message rests that could not be sent or processed.

use std::time::Duration;

use crate::ambient::Ambient;

/// Exponential backoff: the pause may be as long as `base`, and twice as long after each further attempt, up to `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub base: Duration,
    pub cap: Duration,
}

impl Backoff {
    /// Of a message that left no outbox: 4 s, 8 s, 16 s, … up to 2 hours; at least half of that.
    pub const SENDING: Self = Self { base: Duration::from_secs(4), cap: Duration::from_hours(2) };

    /// Of a message that a consumer could not process, with full jitter:
    ///
    /// | Received | Pause, at most | On average |
    /// | --- | --- | --- |
    /// | once | 20 s | 10 s |
    /// | twice | 40 s | 20 s |
    /// | 3 times | 80 s | 40 s |
    /// | 4 times | 160 s | 80 s |
    /// | 5 times | 320 s, then it is in the dead-letter queue | 160 s |
    ///
    /// Where a queue allows more tries, the pause stays below 15 minutes.
    pub const DELIVERY: Self = Self { base: Duration::from_secs(20), cap: Duration::from_mins(15) };

    /// The longest pause after so many attempts.
    #[must_use]
    pub fn longest(self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(20);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// A pause with full jitter: any time up to [`Self::longest`], so that what failed together does not come back together.
    #[must_use]
    pub fn full_jitter(self, attempts: u32, ambient: &Ambient) -> Duration {
        below(self.longest(attempts), ambient)
    }

    /// A pause with equal jitter: at least half of [`Self::longest`], so that whoever is down is left alone for a while.
    #[must_use]
    pub fn equal_jitter(self, attempts: u32, ambient: &Ambient) -> Duration {
        let half = self.longest(attempts) / 2;
        half + below(half, ambient)
    }
}

fn below(limit: Duration, ambient: &Ambient) -> Duration {
    let milliseconds = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(ambient.below(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_of_a_sender_doubles_up_to_an_hour_with_as_much_again_by_chance() {
        let ambient = Ambient::system();
        for (attempts, least) in [(1, 2), (2, 4), (5, 32), (11, 2048), (12, 3600), (1000, 3600)] {
            let (pause, least) = (Backoff::SENDING.equal_jitter(attempts, &ambient), Duration::from_secs(least));
            assert!(pause >= least && pause < least * 2, "after {attempts}: {pause:?}");
        }
    }

    #[test]
    fn the_pause_of_a_consumer_is_anywhere_below_a_limit_that_doubles() {
        let ambient = Ambient::system();
        for (attempts, limit) in [(1, 20), (2, 40), (3, 80), (4, 160), (5, 320), (7, 900), (u32::MAX, 900)] {
            let limit = Duration::from_secs(limit);
            assert_eq!(Backoff::DELIVERY.longest(attempts), limit);
            let pauses: Vec<Duration> = (0..1000).map(|_| Backoff::DELIVERY.full_jitter(attempts, &ambient)).collect();
            assert!(pauses.iter().all(|pause| *pause < limit), "after {attempts}");
            // Of a thousand draws, none in the first or the last tenth: once in 10^45 runs.
            assert!(pauses.iter().any(|pause| *pause < limit / 10), "after {attempts}: not from the start");
            assert!(pauses.iter().any(|pause| *pause > limit / 10 * 9), "after {attempts}: not up to the end");
        }
    }
}
