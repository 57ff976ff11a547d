//! The transactional outbox: messages that must follow a write are part of that write, in either store.
//!
//! The function that committed sends at once and marks the message; the relay sends what that misses. A message is leased to its
//! sender by moving `available_at` ahead.

use std::future::Future;

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::StoreError;
use crate::messaging::{Claimed, OutboxMessage, Queue, QueueContract};

/// How long a row is left to the one who is sending it.
pub const LEASE: Duration = Duration::seconds(30);

/// A row that was not sent yet, as a person looks at it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub id: Uuid,
    pub queue: String,
    /// Those that began, the sender's own included.
    pub attempts: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Not tried before this time.
    #[serde(with = "time::serde::rfc3339")]
    pub available_at: OffsetDateTime,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// An outbox, as the relay sees it: of whichever store.
pub trait Outbox: Sync {
    /// Leases up to `limit` messages that are due to `worker`. What others hold is skipped, not waited for.
    ///
    /// # Errors
    /// When the store does not answer.
    fn claim(
        &self,
        worker: Uuid,
        limit: u32,
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<Vec<Claimed>, StoreError>> + Send;

    /// Notes that messages were sent, as far as `worker` still holds them.
    ///
    /// # Errors
    /// When the store does not answer. They are then sent once more, and the consumer drops the second one.
    fn mark_sent(
        &self,
        worker: Uuid,
        ids: &[Uuid],
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Puts a message back until `retry_at`, as far as `worker` still holds it.
    ///
    /// # Errors
    /// When the store does not answer.
    fn mark_failed(
        &self,
        worker: Uuid,
        id: Uuid,
        retry_at: OffsetDateTime,
        reason: &str,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Up to `limit` messages that were not sent yet, those that are due first before the others.
    ///
    /// # Errors
    /// When the store does not answer.
    fn waiting(&self, limit: u32) -> impl Future<Output = Result<Vec<Waiting>, StoreError>> + Send;

    /// Has the relay send messages at its next run, whoever holds them and however long they were to rest: all that wait, or the
    /// one with this id. Returns how many.
    ///
    /// # Errors
    /// When the store does not answer.
    fn replay(&self, id: Option<Uuid>, now: OffsetDateTime) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

/// When the oldest message was written that was not sent yet: of the thousand that are due first.
///
/// # Errors
/// When the store does not answer.
pub async fn oldest(outbox: &impl Outbox) -> Result<Option<OffsetDateTime>, StoreError> {
    Ok(outbox.waiting(1000).await?.iter().map(|message| message.created_at).min())
}

/// As much of a reason as is kept.
pub(super) fn shortened(reason: &str) -> String {
    reason.chars().take(500).collect()
}

/// Sends a message whose write was just committed, and notes that it left. Never fails the caller: what does not work here is
/// done by the relay.
pub async fn send_after_commit<Q: QueueContract>(
    queue: &Queue<Q>,
    message: &OutboxMessage,
    mark_sent: impl Future<Output = Result<(), StoreError>>,
) {
    match queue.send_now(message).await {
        Ok(()) => {
            if let Err(error) = mark_sent.await {
                tracing::warn!(%error, message_id = %message.id, "the message left, the outbox does not know: the relay sends it again");
            }
        }
        Err(error) => tracing::warn!(%error, message_id = %message.id, "the message is left to the relay"),
    }
}
