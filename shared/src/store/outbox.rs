//! The transactional outbox: messages that must follow a write are part of that write, in either store.
//!
//! The function that committed sends at once and marks the message; the relay sends what that misses. A message is leased to its
//! sender by moving `available_at` ahead.

use std::{future::Future, time::Duration as StdDuration};

use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use tokio::time::timeout;
use uuid::Uuid;

use super::StoreError;
use crate::{
    error::ApiError,
    messaging::{Claimed, Destination, OutboxMessage},
};

/// How long a row is left to the one who is sending it.
pub const LEASE: Duration = Duration::seconds(30);

/// How long sending right after the reply may take; the relay sends what that misses.
const SEND_TIMEOUT: StdDuration = StdDuration::from_secs(1);

/// A row that was not sent yet, as a person looks at it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    pub id: Uuid,
    /// The queue's name, or the topic's.
    pub destination: String,
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

/// The part of an outbox that says which messages have left.
pub trait MarkSent: Send + Sync {
    /// Notes that messages were sent, as far as `lease` still holds them.
    ///
    /// # Errors
    /// When the store does not answer. They are then sent once more, and deduplicated.
    fn mark_sent(
        &self,
        lease: Uuid,
        ids: &[Uuid],
        now: OffsetDateTime,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// An outbox, as the relay sees it: of either store.
pub trait Outbox: MarkSent {
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

/// The holder of the lease that messages of one write begin with: the first one's id.
#[must_use]
pub fn lease_of(messages: &[OutboxMessage]) -> Option<Uuid> {
    messages.first().map(|message| message.id)
}

/// Sends messages whose write was committed, and marks those that left, with one call and one statement. For
/// `Request::after_reply`: what fails here stays in the outbox, and the relay sends it.
///
/// # Errors
/// Those of the destination and of the outbox. A message that left without a mark is sent once more, and deduplicated.
pub async fn send_committed(
    destination: impl Destination,
    outbox: impl MarkSent,
    messages: Vec<OutboxMessage>,
    now: OffsetDateTime,
) -> Result<(), ApiError> {
    let Some(lease) = lease_of(&messages) else { return Ok(()) };
    let results = timeout(SEND_TIMEOUT, destination.send_matching(&messages)).await;
    let results = results.map_err(|_| ApiError::unavailable(format!("no answer within {SEND_TIMEOUT:?}")))?;
    let sent: Vec<Uuid> = results.iter().filter(|(_, result)| result.is_ok()).map(|(id, _)| *id).collect();
    outbox.mark_sent(lease, &sent, now).await?;
    results.into_iter().try_for_each(|(_, result)| result).map_err(ApiError::unavailable)
}
