//! The clock and the randomness: handed in, never taken from the process, so that a test sets the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ring::rand::{SecureRandom, SystemRandom};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// What a function may know of the world outside its request and its stores. Clones have the same clock.
#[derive(Clone)]
pub struct Ambient {
    clock: Clock,
    random: SystemRandom,
}

#[derive(Clone)]
enum Clock {
    System,
    /// Stands still until it is moved.
    Set(Arc<Mutex<OffsetDateTime>>),
}

impl Ambient {
    /// The system's clock, and the operating system's random generator.
    #[must_use]
    pub fn system() -> Self {
        Self::with(Clock::System)
    }

    /// A test's clock, and the operating system's random generator. The clock stands still at `now` until
    /// [`Self::advance`] moves it.
    #[must_use]
    pub fn at(now: OffsetDateTime) -> Self {
        Self::with(Clock::Set(Arc::new(Mutex::new(now))))
    }

    fn with(clock: Clock) -> Self {
        Self { clock, random: SystemRandom::new() }
    }

    /// Moves the clock of this value and its clones ahead.
    ///
    /// # Panics
    /// When the clock is the system's, or the time is beyond what can be written (the year 9999).
    pub fn advance(&self, by: Duration) {
        match &self.clock {
            Clock::System => panic!("the system's clock cannot be moved"),
            Clock::Set(now) => *lock(now) += by,
        }
    }

    /// The time in UTC, to the microsecond: what every store can hold, so that a value read back equals the value written.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }

    /// A new UUID version 7 (RFC 9562): ordered by time, so that inserts stay at the end of an index.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let milliseconds = self.clock.now().unix_timestamp_nanos() / 1_000_000;
        uuid::Builder::from_unix_timestamp_millis(u64::try_from(milliseconds).unwrap_or_default(), &self.bytes())
            .into_uuid()
    }

    /// `N` unpredictable bytes.
    ///
    /// # Panics
    /// When the operating system has no random generator.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).expect("the operating system has a random generator");
        bytes
    }

    /// A uniformly distributed number below `bound`.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        // Draws from the incomplete last stretch would favour small numbers: they are drawn again.
        let fair = u64::MAX - u64::MAX % bound;
        loop {
            let draw = u64::from_le_bytes(self.bytes());
            if draw < fair {
                return draw % bound;
            }
        }
    }

    /// A six-digit code, leading zeros included.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{:06}", self.below(1_000_000))
    }
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> OffsetDateTime {
        match self {
            Self::System => OffsetDateTime::now_utc(),
            Self::Set(now) => *lock(now),
        }
    }
}

fn lock(now: &Mutex<OffsetDateTime>) -> MutexGuard<'_, OffsetDateTime> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_stands_still_until_it_is_moved_and_is_the_same_for_clones() {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let ambient = Ambient::at(start + Duration::nanoseconds(999));
        let clone = ambient.clone();
        assert_eq!(ambient.now(), start, "to the microsecond");
        ambient.advance(Duration::minutes(10));
        assert_eq!([ambient.now(), clone.now()], [start + Duration::minutes(10); 2]);
        let (seconds, _) = clone.id().get_timestamp().unwrap().to_unix();
        assert_eq!(seconds, clone.now().unix_timestamp().unsigned_abs(), "ids have their time from it");
        assert!(Ambient::system().now() > start, "the system's goes its own way");
    }

    #[test]
    fn ids_sort_by_time_and_differ() {
        let ambient = Ambient::system();
        let ids: Vec<Uuid> = (0..100).map(|_| ambient.id()).collect();
        let times: Vec<u128> = ids.iter().map(|id| id.as_u128() >> 80).collect();
        assert!(times.is_sorted());
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 100);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn a_code_has_six_digits() {
        let ambient = Ambient::system();
        assert!((0..100).all(|_| {
            let code = ambient.code();
            code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit())
        }));
    }
}
