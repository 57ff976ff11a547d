//! Circuit breaker: after repeated failures calls fail fast for a while, and no request waits in vain.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// This many consecutive failures open the breaker.
pub const FAILURE_THRESHOLD: u32 = 3;
/// Cool-down: how long an open breaker fails fast.
const COOLDOWN: Duration = Duration::from_secs(5);

/// Closed; open during the cool-down after consecutive failures; then half-open, where one more failure opens it again.
#[derive(Default)]
pub struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    /// Whether a call fails fast now.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures += 1;
        if state.failures >= FAILURE_THRESHOLD {
            state.open_until = Some(now + COOLDOWN);
        }
    }

    pub fn succeeded(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_after_failures_and_closes_with_time() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURE_THRESHOLD {
            assert!(!breaker.is_open(start));
            breaker.failed(start);
        }
        assert!(breaker.is_open(start));
        let later = start + COOLDOWN;
        assert!(!breaker.is_open(later));
        breaker.failed(later);
        assert!(breaker.is_open(later), "one failure is enough to open it again");
        breaker.succeeded();
        assert!(!breaker.is_open(later));
    }
}
