//! Queries of the lab: a read that takes as long as it is told, the cache as tutorials have it, and who is connected.

use std::time::Duration;

use super::{Mysql, Redis, StoreError, cache::Key, redis::milliseconds};
use crate::boxed;

/// How long what was read without a guard is kept.
const TTL: Duration = Duration::from_mins(1);

/// Something that MySQL takes a while to find: a stand-in for a query over much data. It holds its connection meanwhile.
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

/// What is cached, if anything is. Unlike [`super::cache::read`] it has nobody wait who finds nothing.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.get", skip_all)]
#[boxed]
pub async fn get(redis: &Redis, key: Key) -> Result<Option<i64>, StoreError> {
    redis.send_idempotent(redis::cmd("GET").arg(key.to_string())).await
}

/// Caches it, over whatever is there.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.set", skip_all)]
#[boxed]
pub async fn set(redis: &Redis, key: Key, value: i64) -> Result<(), StoreError> {
    redis.send_idempotent(redis::cmd("SET").arg(key.to_string()).arg(value).arg("PX").arg(milliseconds(TTL))).await
}

/// How many connections this application's user has to MySQL, this one included.
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

/// How many connections there are to Redis, this one included.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "lab.redis_connections", skip_all)]
#[boxed]
pub async fn redis_connections(redis: &Redis) -> Result<usize, StoreError> {
    let clients: String = redis.send_idempotent(redis::cmd("CLIENT").arg("LIST")).await?;
    Ok(clients.lines().count())
}
