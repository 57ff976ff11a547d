//! The `outbox` table: messages that must follow a commit are rows of that commit.

use sqlx::{MySqlConnection, QueryBuilder, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::Mysql;
use crate::{
    boxed,
    messaging::{Claimed, OutboxMessage},
    store::{
        StoreError,
        outbox::{LEASE, MarkSent, Outbox, Waiting, lease_of, shortened},
    },
};

/// How long a sent row is kept, to be looked at.
pub const RETENTION: Duration = Duration::days(7);

/// Adds messages to the transaction, leased to the caller as [`lease_of`] names it, which sends them right after the reply.
#[tracing::instrument(name = "outbox.insert", skip_all)]
#[boxed]
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    messages: &[OutboxMessage],
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let Some(lease) = lease_of(messages) else { return Ok(()) };
    let mut query =
        QueryBuilder::new("INSERT INTO outbox (id, queue, envelope, attempts, available_at, locked_by, created_at) ");
    query.push_values(messages, |mut row, message| {
        row.push_bind(message.id)
            .push_bind(message.destination)
            .push_bind(&message.envelope)
            .push_bind(1)
            .push_bind(now + LEASE)
            .push_bind(lease)
            .push_bind(now);
    });
    query.build().execute(connection).await?;
    Ok(())
}

impl MarkSent for Mysql {
    #[tracing::instrument(name = "outbox.mark_sent", skip_all)]
    async fn mark_sent(&self, lease: Uuid, ids: &[Uuid], now: OffsetDateTime) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut update = QueryBuilder::new("UPDATE outbox SET locked_by = NULL, last_error = NULL, sent_at = ");
        update.push_bind(now);
        push_ids(&mut update, ids.iter().copied());
        update.push(" AND sent_at IS NULL AND locked_by = ").push_bind(lease);
        update.build().execute(&mut *self.connection().await?).await?;
        Ok(())
    }
}

impl Outbox for Mysql {
    #[tracing::instrument(name = "outbox.claim", skip_all)]
    async fn claim(&self, worker: Uuid, limit: u32, now: OffsetDateTime) -> Result<Vec<Claimed>, StoreError> {
        let mut transaction = self.begin().await?;
        let rows = sqlx::query(
            "SELECT id, queue, envelope, attempts FROM outbox WHERE sent_at IS NULL AND available_at <= ? \
             ORDER BY available_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let attempts: u32 = row.try_get("attempts")?;
            claimed.push(Claimed {
                id: row.try_get("id")?,
                destination: row.try_get("queue")?,
                envelope: row.try_get("envelope")?,
                attempts: attempts + 1,
            });
        }
        if !claimed.is_empty() {
            let mut update = QueryBuilder::new("UPDATE outbox SET attempts = attempts + 1, locked_by = ");
            update.push_bind(worker).push(", available_at = ").push_bind(now + LEASE);
            push_ids(&mut update, claimed.iter().map(|row| row.id));
            update.build().execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(claimed)
    }

    #[tracing::instrument(name = "outbox.mark_failed", skip_all)]
    async fn mark_failed(
        &self,
        worker: Uuid,
        id: Uuid,
        retry_at: OffsetDateTime,
        reason: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE outbox SET locked_by = NULL, available_at = ?, last_error = ? WHERE id = ? AND locked_by = ?",
        )
        .bind(retry_at)
        .bind(shortened(reason))
        .bind(id)
        .bind(worker)
        .execute(&mut *self.connection().await?)
        .await?;
        Ok(())
    }

    #[tracing::instrument(name = "outbox.waiting", skip_all)]
    async fn waiting(&self, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, queue, attempts, created_at, available_at, last_error FROM outbox WHERE sent_at IS NULL \
             ORDER BY available_at LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut *self.connection().await?)
        .await?;
        let mut waiting = Vec::with_capacity(rows.len());
        for row in &rows {
            waiting.push(Waiting {
                id: row.try_get("id")?,
                destination: row.try_get("queue")?,
                attempts: row.try_get("attempts")?,
                created_at: row.try_get("created_at")?,
                available_at: row.try_get("available_at")?,
                last_error: row.try_get("last_error")?,
            });
        }
        Ok(waiting)
    }

    /// A row that was sent is sent again where its id is given: it is kept for seven days.
    #[tracing::instrument(name = "outbox.replay", skip_all)]
    async fn replay(&self, id: Option<Uuid>, now: OffsetDateTime) -> Result<u64, StoreError> {
        let mut update = QueryBuilder::new("UPDATE outbox SET sent_at = NULL, locked_by = NULL, available_at = ");
        update.push_bind(now);
        match id {
            Some(id) => update.push(" WHERE id = ").push_bind(id),
            None => update.push(" WHERE sent_at IS NULL"),
        };
        Ok(update.build().execute(&mut *self.connection().await?).await?.rows_affected())
    }
}

/// Deletes some of the rows that were sent long ago.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "outbox.purge", skip_all)]
#[boxed]
pub async fn purge(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    mysql.purge("DELETE FROM outbox WHERE sent_at < ? LIMIT 1000", now - RETENTION).await
}

fn push_ids(query: &mut QueryBuilder<sqlx::MySql>, ids: impl Iterator<Item = Uuid>) {
    query.push(" WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    query.push(")");
}
