//! Cache-aside, of something that the database takes a while to find: Souk's own ([`cache::read`]), and the one of tutorials.
//!
//! Both answer from Redis what is there, ask MySQL for what is not, and do without Redis where it does not answer. They differ when many
//! ask at once for what is not there: a stampede. Souk's guard is a key in Redis, so it holds between environments too, and on Lambda
//! every request may come to another one.

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

/// Whether one of many readers has the others wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guard {
    #[default]
    On,
    Off,
}

/// Reads what MySQL takes `pause` to find.
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

/// As tutorials do: everybody who finds nothing asks the database.
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
