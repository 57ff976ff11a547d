//! The `idempotency_keys` table: a request that is sent twice happens once.
//!
//! ```text
//! absent ── claim ──▶ in progress {payload hash, lease, fencing token} ── complete ──▶ completed {status, body}
//!    ▲                   │        │
//!    └──── release ──────┘        └── lease expired: claimed by the next one, with a token of its own
//! ```
//!
//! Completing happens in the transaction of the work itself, and only with the token of the claim: a late writer changes nothing.

use sqlx::{MySqlConnection, Row};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::store::{Mysql, StoreError};
use crate::{ambient::Ambient, boxed, contract::IdempotencyKey};

/// How long a request is believed to be at work; longer than any function's timeout.
const LEASE: Duration = Duration::seconds(60);

/// How long a reply is kept for repetitions.
const RETENTION: Duration = Duration::days(7);

/// A request that holds its key and may do the work.
#[derive(Clone, Debug)]
pub struct Claim {
    user_id: Uuid,
    key: String,
    token: Uuid,
}

/// What came of asking for a key.
pub enum Outcome {
    /// The work is yours.
    Claimed(Claim),
    /// It is done; this was the reply.
    Completed { status: u16, body: String },
    /// Another request with this key is at work.
    InProgress,
    /// The key belongs to a request with another payload.
    Reused,
}

/// Claims the key for this request.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "idempotency.claim", skip_all)]
#[boxed]
pub async fn claim(
    mysql: &Mysql,
    ambient: &Ambient,
    endpoint: &str,
    user_id: Uuid,
    key: &IdempotencyKey,
) -> Result<Outcome, StoreError> {
    let now = ambient.now();
    let claim = Claim { user_id, key: key.as_str().to_owned(), token: ambient.id() };
    let inserted = sqlx::query(
        "INSERT IGNORE INTO idempotency_keys \
         (user_id, idempotency_key, endpoint, payload_hash, fencing_token, leased_until, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(user_id)
    .bind(key.as_str())
    .bind(endpoint)
    .bind(key.payload_hash())
    .bind(claim.token)
    .bind(now + LEASE)
    .bind(now)
    .execute(&mut *mysql.connection().await?)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Outcome::Claimed(claim));
    }
    existing(mysql, endpoint, key, claim, now).await
}

/// What to do about a key that is there already.
async fn existing(
    mysql: &Mysql,
    endpoint: &str,
    key: &IdempotencyKey,
    claim: Claim,
    now: OffsetDateTime,
) -> Result<Outcome, StoreError> {
    let row = sqlx::query(
        "SELECT endpoint, payload_hash, status, body FROM idempotency_keys WHERE user_id = ? AND idempotency_key = ?",
    )
    .bind(claim.user_id)
    .bind(&claim.key)
    .fetch_optional(&mut *mysql.connection().await?)
    .await?;
    // Released between the two statements: the client's next try will find it free.
    let Some(row) = row else { return Ok(Outcome::InProgress) };
    let same_payload = row.try_get::<&[u8], _>("payload_hash")? == key.payload_hash();
    if !same_payload || row.try_get::<&str, _>("endpoint")? != endpoint {
        return Ok(Outcome::Reused);
    }
    if let (Some(status), Some(body)) = (row.try_get("status")?, row.try_get("body")?) {
        return Ok(Outcome::Completed { status, body });
    }
    let taken_over = sqlx::query(
        "UPDATE idempotency_keys SET fencing_token = ?, leased_until = ? \
         WHERE user_id = ? AND idempotency_key = ? AND status IS NULL AND leased_until < ?",
    )
    .bind(claim.token)
    .bind(now + LEASE)
    .bind(claim.user_id)
    .bind(&claim.key)
    .bind(now)
    .execute(&mut *mysql.connection().await?)
    .await?;
    Ok(if taken_over.rows_affected() == 1 { Outcome::Claimed(claim) } else { Outcome::InProgress })
}

/// Deletes some of the keys that are older than anybody repeats a request.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "idempotency.purge", skip_all)]
#[boxed]
pub async fn purge(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    mysql.purge("DELETE FROM idempotency_keys WHERE created_at < ? LIMIT 1000", now - RETENTION).await
}

impl Claim {
    /// Keeps the reply, in the transaction of the work. Whether the claim was still held: if not, roll back.
    #[boxed]
    pub(super) async fn complete(
        &self,
        connection: &mut MySqlConnection,
        status: u16,
        body: &str,
    ) -> Result<bool, sqlx::Error> {
        let result = sqlx::query(
            "UPDATE idempotency_keys SET status = ?, body = ?, fencing_token = NULL, leased_until = NULL \
             WHERE user_id = ? AND idempotency_key = ? AND fencing_token = ?",
        )
        .bind(status)
        .bind(body)
        .bind(self.user_id)
        .bind(&self.key)
        .bind(self.token)
        .execute(connection)
        .await?;
        Ok(result.rows_affected() == 1)
    }

    /// Frees the key after work that came to nothing, so that it can be tried again at once.
    ///
    /// # Errors
    /// When the store does not answer. The key is then free when its lease ends.
    #[tracing::instrument(name = "idempotency.release", skip_all)]
    #[boxed]
    pub async fn release(&self, mysql: &Mysql) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM idempotency_keys WHERE user_id = ? AND idempotency_key = ? AND fencing_token = ?")
            .bind(self.user_id)
            .bind(&self.key)
            .bind(self.token)
            .execute(&mut *mysql.connection().await?)
            .await?;
        Ok(())
    }
}
