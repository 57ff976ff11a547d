//! Queries of the lab: a slow read, a cache without a guard, and the numbers of connections.

use std::time::Duration;

use super::{Mysql, Redis, StoreError, cache::Key, redis::milliseconds};
use crate::boxed;

/// How long an unguarded entry is cached.
const TTL: Duration = Duration::from_mins(1);

/// A slow query, like one over much data. It occupies its connection meanwhile.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "lab.find_slowly", skip_all)]
#[boxed]
pub async fn find_slowly(mysql: &Mysql, pause: Duration) -> Result<i64, StoreError> {
    let found = sqlx::query_scalar("SELECT SLEEP(?) + 42")
        .bind(pause.as_secs_f64())
        .fetch_one(&mut *mysql.connection().await?)
        .await?;
    Ok(found)
}

/// The cached value, if there is one. Unlike [`super::cache::read`] without single flight.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.get", skip_all)]
#[boxed]
pub async fn get(redis: &Redis, key: Key) -> Result<Option<i64>, StoreError> {
    redis.send_idempotent(redis::cmd("GET").arg(key.to_string())).await
}

/// Caches a value unconditionally.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.set", skip_all)]
#[boxed]
pub async fn set(redis: &Redis, key: Key, value: i64) -> Result<(), StoreError> {
    redis.send_idempotent(redis::cmd("SET").arg(key.to_string()).arg(value).arg("PX").arg(milliseconds(TTL))).await
}

/// The number of MySQL connections of this application's user, this one included.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "lab.mysql_connections", skip_all)]
#[boxed]
pub async fn mysql_connections(mysql: &Mysql) -> Result<i64, StoreError> {
    let query =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)";
    Ok(sqlx::query_scalar(query).fetch_one(&mut *mysql.connection().await?).await?)
}

/// The number of Redis connections, this one included.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.redis_connections", skip_all)]
#[boxed]
pub async fn redis_connections(redis: &Redis) -> Result<usize, StoreError> {
    let clients: String = redis.send_idempotent(redis::cmd("CLIENT").arg("LIST")).await?;
    Ok(clients.lines().count())
}
