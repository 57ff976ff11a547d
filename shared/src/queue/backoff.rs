//! How long a message rests that could not be sent.

use time::Duration;

use crate::ambient::Ambient;

const MAX_BACKOFF: Duration = Duration::hours(1);

/// Two seconds after the first failure, twice as long after each further one, and up to as much again by chance.
#[must_use]
pub fn backoff(attempts: u32, ambient: &Ambient) -> Duration {
    let pause = Duration::seconds(1 << attempts.clamp(1, 12)).min(MAX_BACKOFF);
    let spread = ambient.below(pause.whole_seconds().unsigned_abs() * 1000);
    pause + Duration::milliseconds(i64::try_from(spread).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_an_hour_with_as_much_again_by_chance() {
        let ambient = Ambient::system();
        for (attempts, least) in [(1, 2), (2, 4), (5, 32), (11, 2048), (12, 3600), (1000, 3600)] {
            let pause = backoff(attempts, &ambient);
            let least = Duration::seconds(least);
            assert!(pause >= least && pause < least * 2, "after {attempts}: {pause}");
        }
    }
}
