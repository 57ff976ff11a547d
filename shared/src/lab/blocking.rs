//! Waiting that blocks its thread, against waiting that yields it.
//!
//! On classic Lambda an environment serves one request at a time, and blocking harms no other. On managed instances it
//! serves several (`AWS_LAMBDA_MAX_CONCURRENCY`), and all of them share the reactor's threads, as many as there are
//! cores: Node's event loop, with a few loops instead of one.

use std::{thread, time::Duration};

/// Blocks its thread, like a driver without `async`, a lock held over something slow, or `std::fs` on a slow disk.
/// Every task on the thread stands still, even one whose answer has arrived.
pub fn blocking(time: Duration) {
    thread::sleep(time);
}

/// Yields its thread, like every store of Souk: the thread runs other tasks until the answer arrives.
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
