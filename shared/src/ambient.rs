//! The clock and the randomness: handed in, never taken from the process, so that a test decides both.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;
use uuid::Uuid;

/// Tells the time.
pub trait Clock: Send + Sync {
    fn now(&self) -> OffsetDateTime;
}

/// Fills a buffer with unpredictable bytes.
pub trait Entropy: Send + Sync {
    fn fill(&self, buffer: &mut [u8]);
}

/// What a function may know of the world outside its request and its stores.
#[derive(Clone)]
pub struct Ambient {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ambient {
    /// The system's clock and the operating system's random generator.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemRandom::new()))
    }

    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
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

    /// `N` random bytes.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
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

struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

impl Entropy for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) {
        SecureRandom::fill(self, buffer).expect("the operating system has a random generator");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
