//! Latencies of requests.

use std::time::Duration;

/// At least one latency, in ascending order.
pub struct Latencies(Vec<Duration>);

impl Latencies {
    pub fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The median, in milliseconds.
    pub fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// The 99th percentile, in milliseconds.
    pub fn p99(&self) -> f64 {
        self.percentile(99)
    }

    /// The nearest-rank percentile, in milliseconds.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).map_or(f64::NAN, |time| milliseconds(*time))
    }
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Short enough to read, exact enough to compare.
pub fn rounded(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let is = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        let hundred = Latencies::new((1..=100).rev().map(Duration::from_millis).collect());
        assert!(is(hundred.p50(), 50.0) && is(hundred.p99(), 99.0));
        let one = Latencies::new(vec![Duration::from_millis(7)]);
        assert!(is(one.p50(), 7.0) && is(one.p99(), 7.0));
    }
}
