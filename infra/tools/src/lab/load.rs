//! Concurrent clients that send requests.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::latencies::Latencies;

/// The result of a load.
pub struct Load {
    pub latencies: Latencies,
    /// From the first request to the last reply.
    pub time: Duration,
}

impl Load {
    pub fn per_second(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.count()).unwrap_or(u32::MAX)) / self.time.as_secs_f64()
    }
}

/// Closed loop: each of `clients` sends a request, waits for its reply, and sends the next while `goes_on` holds.
/// `request` gets the numbers of the client and of its request.
pub fn run(
    clients: usize,
    goes_on: impl Fn(usize) -> bool + Sync,
    request: impl Fn(usize, usize) -> Result<()> + Sync,
) -> Result<Load> {
    let start = Instant::now();
    let client = |client: usize| -> Result<Vec<Duration>> {
        let mut latencies = Vec::new();
        while goes_on(latencies.len()) {
            let sent = Instant::now();
            request(client, latencies.len())?;
            latencies.push(sent.elapsed());
        }
        Ok(latencies)
    };
    let latencies: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let client = &client;
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(move || client(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).collect()
    });
    Ok(Load { latencies: Latencies::new(latencies?.concat()), time: start.elapsed() })
}

/// For clients that send requests for a while.
pub fn during(time: Duration) -> impl Fn(usize) -> bool + Sync {
    let end = Instant::now() + time;
    move |_| Instant::now() < end
}

/// For clients that send a number of requests each.
pub fn times(count: usize) -> impl Fn(usize) -> bool + Sync {
    move |sent| sent < count
}
