//! The `processed_messages` table: a message that is delivered twice takes effect once.

use sqlx::Row;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::boxed;
use crate::store::{Mysql, StoreError};

/// How long a delivery is believed to be at work; longer than a consumer's timeout.
pub const LEASE: Duration = Duration::seconds(90);

/// How long it is known that a message took effect: longer than a queue or a dead-letter queue keeps it.
pub const RETENTION: Duration = Duration::days(30);

/// What came of asking to process a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is yours.
    Claimed,
    /// It took effect before.
    Done,
    /// Another delivery is at work.
    InProgress,
}

/// Claims a message for this delivery.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "processed_messages.claim", skip_all)]
#[boxed]
pub async fn claim(mysql: &Mysql, consumer: &str, id: Uuid, now: OffsetDateTime) -> Result<Outcome, StoreError> {
    let mut connection = mysql.connection().await?;
    let inserted =
        sqlx::query("INSERT IGNORE INTO processed_messages (consumer, message_id, leased_until) VALUES (?, ?, ?)")
            .bind(consumer)
            .bind(id)
            .bind(now + LEASE)
            .execute(&mut *connection)
            .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Outcome::Claimed);
    }
    let taken_over = sqlx::query(
        "UPDATE processed_messages SET leased_until = ? \
         WHERE consumer = ? AND message_id = ? AND done_at IS NULL AND leased_until < ?",
    )
    .bind(now + LEASE)
    .bind(consumer)
    .bind(id)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    if taken_over.rows_affected() == 1 {
        return Ok(Outcome::Claimed);
    }
    let done =
        sqlx::query("SELECT done_at IS NOT NULL AS done FROM processed_messages WHERE consumer = ? AND message_id = ?")
            .bind(consumer)
            .bind(id)
            .fetch_optional(&mut *connection)
            .await?;
    let done = done.map(|row| row.try_get("done")).transpose()?;
    Ok(if done == Some(true) { Outcome::Done } else { Outcome::InProgress })
}

/// Notes that the message took effect.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "processed_messages.done", skip_all)]
#[boxed]
pub async fn done(mysql: &Mysql, consumer: &str, id: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    sqlx::query("UPDATE processed_messages SET done_at = ? WHERE consumer = ? AND message_id = ?")
        .bind(now)
        .bind(consumer)
        .bind(id)
        .execute(&mut *mysql.connection().await?)
        .await?;
    Ok(())
}

/// Gives the message back after a failed attempt, so that the next delivery need not wait for the lease.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "processed_messages.release", skip_all)]
#[boxed]
pub async fn release(mysql: &Mysql, consumer: &str, id: Uuid) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM processed_messages WHERE consumer = ? AND message_id = ? AND done_at IS NULL")
        .bind(consumer)
        .bind(id)
        .execute(&mut *mysql.connection().await?)
        .await?;
    Ok(())
}

/// Deletes some of the notes on messages that no queue holds any more.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "processed_messages.purge", skip_all)]
#[boxed]
pub async fn purge(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    mysql.purge("DELETE FROM processed_messages WHERE done_at < ? LIMIT 1000", now - RETENTION).await
}
