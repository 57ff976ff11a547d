//! Cache-aside for a slow query: Souk's own ([`cache::read`]), and that of tutorials.
//!
//! Both answer a hit from Redis, load a miss from MySQL, and bypass Redis while it does not answer. They differ in a
//! cache stampede: many concurrent misses of one key. Souk's guard (*single flight*) is a key in Redis, so it also
//! holds across environments; on Lambda every request may reach another one.

use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    ambient::Ambient,
    error::ApiError,
    store::{
        Mysql, Redis,
        cache::{self, Key, Status, Versioned},
        lab,
    },
};

/// Whether a single-flight guard prevents a stampede.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    #[default]
    On,
    Off,
}

/// Reads a value that takes MySQL `pause` to find.
///
/// # Errors
/// When MySQL does not answer.
pub async fn read(
    (mysql, redis): (&Mysql, &Redis),
    ambient: &Ambient,
    id: Uuid,
    guard: Guard,
    pause: Duration,
) -> Result<Status, ApiError> {
    if guard == Guard::Off {
        return unguarded(mysql, redis, Key::lab(id), pause).await;
    }
    let load = async { Ok(Some(Versioned { version: 1, value: lab::find_slowly(mysql, pause).await? })) };
    Ok(cache::read(redis, ambient, Key::lab(id), load).await?.status)
}

/// As in tutorials: every miss asks the database.
async fn unguarded(mysql: &Mysql, redis: &Redis, key: Key, pause: Duration) -> Result<Status, ApiError> {
    let cached = lab::get(redis, key).await;
    if let Ok(Some(_)) = cached {
        return Ok(Status::Hit);
    }
    let found = lab::find_slowly(mysql, pause).await?;
    if cached.is_err() || lab::set(redis, key, found).await.is_err() {
        return Ok(Status::Bypass);
    }
    Ok(Status::Miss)
}
