//! The `idempotency_keys` table: a request that is sent twice happens once.
//!
//! ```text
//! absent ── begin: INSERT ──▶ in the transaction of the work ── commit ──▶ completed {payload hash, status, body}
//!    ▲                                │
//!    └── rollback, or the process dies┘
//! ```
//!
//! The key's row is part of the work's own transaction: no lease, no fencing token, nothing to release. A second request with the key
//! waits at the primary key until the first has committed or is gone, at most as long as [`super::LOCK_WAIT_TIMEOUT`].

use sqlx::{MySqlConnection, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::unit_of_work::{KeyedWork, UnitOfWork};
use crate::{
    boxed,
    contract::IdempotencyKey,
    store::{Mysql, StoreError},
};

/// How long a reply is kept for repetitions.
pub const RETENTION: Duration = Duration::days(7);

/// Names a row.
pub(super) struct KeyRow {
    user_id: Uuid,
    key: String,
}

/// What came of beginning work under a key.
pub enum Begun {
    /// It is the first with this key: here is its transaction.
    First(KeyedWork),
    /// It is done; this was the reply.
    Completed { status: u16, body: String },
    /// The first request with this key is still at work.
    InProgress,
    /// The key belongs to a request with another payload, or to another endpoint.
    Reused,
}

/// Begins a unit of work, whose first change is the key.
///
/// # Errors
/// When the store does not answer; [`StoreError::Contended`] where the first request came to nothing and another one was faster to
/// follow it.
#[tracing::instrument(name = "idempotency_keys.begin", skip_all)]
#[boxed]
pub async fn begin(
    mysql: &Mysql,
    endpoint: &str,
    user_id: Uuid,
    key: &IdempotencyKey,
    now: OffsetDateTime,
) -> Result<Begun, StoreError> {
    let mut work = UnitOfWork::begin(mysql, now).await?;
    let row = KeyRow { user_id, key: key.as_str().to_owned() };
    // Nothing is read before this: a snapshot that is older than the first request's commit would not have its reply.
    let inserted = sqlx::query(
        "INSERT INTO idempotency_keys (user_id, idempotency_key, endpoint, payload_hash, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(row.user_id)
    .bind(&row.key)
    .bind(endpoint)
    .bind(key.payload_hash())
    .bind(now)
    .execute(work.connection())
    .await;
    match inserted {
        Ok(_) => Ok(Begun::First(KeyedWork::new(work, row))),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            existing(work, endpoint, &row, key.payload_hash()).await
        }
        Err(error) => match error.into() {
            StoreError::LockWaitTimeout { .. } => Ok(Begun::InProgress),
            error => Err(error),
        },
    }
}

/// What a key that is there already says of this request.
async fn existing(
    mut work: UnitOfWork,
    endpoint: &str,
    row: &KeyRow,
    payload_hash: &[u8],
) -> Result<Begun, StoreError> {
    let found = sqlx::query(
        "SELECT endpoint, payload_hash, status, body, leased_until FROM idempotency_keys \
         WHERE user_id = ? AND idempotency_key = ?",
    )
    .bind(row.user_id)
    .bind(&row.key)
    .fetch_optional(work.connection())
    .await?;
    // Purged between the two statements: the next try finds it free.
    let Some(found) = found else { return Ok(Begun::InProgress) };
    let is_same = found.try_get::<&[u8], _>("payload_hash")? == payload_hash;
    if !is_same || found.try_get::<&str, _>("endpoint")? != endpoint {
        return Ok(Begun::Reused);
    }
    if let (Some(status), Some(body)) = (found.try_get("status")?, found.try_get("body")?) {
        return Ok(Begun::Completed { status, body });
    }
    // The release before committed keys before their work, with a lease. One whose process died is free when that is over.
    if found.try_get::<Option<OffsetDateTime>, _>("leased_until")?.is_some_and(|until| until < work.now()) {
        sqlx::query("DELETE FROM idempotency_keys WHERE user_id = ? AND idempotency_key = ? AND status IS NULL")
            .bind(row.user_id)
            .bind(&row.key)
            .execute(work.connection())
            .await?;
        work.commit(&[]).await?;
    }
    Ok(Begun::InProgress)
}

/// Keeps the reply, in the transaction of the work.
#[tracing::instrument(name = "idempotency_keys.complete", skip_all)]
#[boxed]
pub(super) async fn complete(
    connection: &mut MySqlConnection,
    row: &KeyRow,
    status: u16,
    body: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE idempotency_keys SET status = ?, body = ? WHERE user_id = ? AND idempotency_key = ?")
        .bind(status)
        .bind(body)
        .bind(row.user_id)
        .bind(&row.key)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes some of the keys that are past their retention.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "idempotency_keys.purge", skip_all)]
#[boxed]
pub async fn purge(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    mysql.purge("DELETE FROM idempotency_keys WHERE created_at < ? LIMIT 1000", now - RETENTION).await
}
