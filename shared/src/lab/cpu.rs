//! A computation on one thread and on several: the sales report's sums ([`crate::report`]), over generated orders.
//!
//! Generating them is serial, like reading them from a database; summing them is parallel. Amdahl's law: if a part `p`
//! of the work is parallel, `n` threads make the whole `1 / ((1 - p) + p / n)` times as fast, and no number of threads
//! more than `1 / (1 - p)` times. Lambda gives a core for every 1,769 MB of memory, so threads are bought there.

use std::time::{Duration, Instant};

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use time::{Date, macros::date};
use uuid::Uuid;

use crate::{
    money::{Currency, Money},
    order::Status,
    report::{Chunk, Sale, SalesReport, SoldItem, Sums, TooMuch},
};

const FIRST_DAY: Date = date!(2026 - 02 - 01);
const DAYS: u64 = 30;
const PRODUCTS: u64 = 1000;
const ITEMS_PER_ORDER: u64 = 3;

/// A report, and the duration of each part.
#[derive(Debug)]
pub struct Added {
    pub report: SalesReport,
    /// The part that runs on one thread.
    pub serial: Duration,
    /// The part that runs on all threads.
    pub parallel: Duration,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum AddingError {
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error("the threads cannot be had: {0}")]
    NoThreads(#[from] ThreadPoolBuildError),
}

/// Generates orders and sums them on this many threads. Blocks the calling thread.
///
/// # Errors
/// When the threads cannot be started.
pub fn add_up(orders: u32, threads: usize) -> Result<Added, AddingError> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
    let start = Instant::now();
    let chunk = made_up(orders.into());
    let (serial, made_up_at) = (start.elapsed(), Instant::now());
    let sums = pool.install(|| Sums::default().plus(&chunk))?;
    let parallel = made_up_at.elapsed();
    Ok(Added { report: sums.report()?, serial, parallel })
}

/// Speedup by Amdahl's law, of work whose part `parallel` runs on this many threads.
#[must_use]
pub fn amdahl(parallel: f64, threads: f64) -> f64 {
    1.0 / ((1.0 - parallel) + parallel / threads)
}

/// The same orders every time, spread over days, products and statuses.
fn made_up(orders: u64) -> Chunk {
    let euros = |amount| Money { amount, currency: Currency::EUR };
    let sale = |number: u64| Sale {
        status: if number.is_multiple_of(10) { Status::Cancelled } else { Status::Delivered },
        total: euros(1000 + number % 5000),
        day: FIRST_DAY + time::Duration::days(i64::try_from(number % DAYS).unwrap_or_default()),
    };
    let item = |number: u64| SoldItem {
        product_id: Uuid::from_u64_pair(0, number * 7919 % PRODUCTS),
        quantity: 1 + u32::from(number.is_multiple_of(3)),
        unit_price: euros(500 + number % 700),
    };
    Chunk { sales: (0..orders).map(sale).collect(), items: (0..orders * ITEMS_PER_ORDER).map(item).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_the_same_on_however_many_threads() {
        let one = add_up(5000, 1).unwrap().report;
        assert_eq!((one.orders, one.statuses.cancelled), (5000, 500));
        for threads in [2, 5] {
            assert_eq!(add_up(5000, threads).unwrap().report, one);
        }
    }

    #[test]
    fn amdahls_law_gives_all_for_parallel_work_and_nothing_for_serial_work() {
        let is = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert!(is(amdahl(1.0, 8.0), 8.0));
        assert!(is(amdahl(0.0, 8.0), 1.0));
        assert!(is(amdahl(0.5, 2.0), 4.0 / 3.0));
    }
}
