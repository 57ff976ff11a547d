//! Waiting and keeping the thread, against waiting and giving it back.
//!
//! On classic Lambda an environment serves one request at a time, and nobody else minds. On managed instances it serves several
//! (`AWS_LAMBDA_MAX_CONCURRENCY`), and all of them share the reactor's threads, as many as there are cores: Node's event loop, with
//! a few loops instead of one.

use std::{thread, time::Duration};

/// What a driver without `async` does, a lock that is held over something slow, or `std::fs` on a slow disk. Whoever shares the
/// thread stands still, those included whose answer has arrived.
pub fn blocking(time: Duration) {
    thread::sleep(time);
}

/// What every store of Souk does: the thread serves others until the answer is there.
pub async fn non_blocking(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const TIME: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn on_one_thread_who_blocks_waits_in_turn_and_who_does_not_waits_together() {
        let start = Instant::now();
        tokio::join!(async { blocking(TIME) }, async { blocking(TIME) }, async { blocking(TIME) });
        assert!(start.elapsed() >= TIME * 3);
        let start = Instant::now();
        tokio::join!(non_blocking(TIME), non_blocking(TIME), non_blocking(TIME));
        assert!((TIME..TIME * 3).contains(&start.elapsed()));
    }
}
