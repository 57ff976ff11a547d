//! Cache-aside: Redis, then the store, then Redis again.
//!
//! Every entry carries its row's version. A fill never replaces a newer entry; after a change was committed, the key is set to a
//! tombstone with the new version, so that a fill with what was read before the change loses. Where Redis is out while
//! something changes, an entry lives out its TTL at most.

use std::{fmt, future::Future, time::Duration};

use serde::Serialize;
use uuid::Uuid;

use super::Redis;
use crate::{ambient::Ambient, error::ApiError};

const TTL: Duration = Duration::from_mins(1);
/// Up to this much is added to a TTL, so that what was filled together does not expire together.
const JITTER: Duration = Duration::from_secs(12);
const ABSENT_TTL: Duration = Duration::from_secs(5);
/// Longer than any function runs: a fill that raced a change finds its tombstone.
const TOMBSTONE_TTL: Duration = Duration::from_mins(1);

/// Sets KEYS[1] to ARGV[2] for ARGV[3] milliseconds, unless what is there has a version above ARGV[1].
const SET_UNLESS_NEWER: &str = "\
local current = redis.call('GET', KEYS[1]) \
if current and tonumber(string.match(current, '^%a(%d+)')) > tonumber(ARGV[1]) then return 0 end \
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) \
return 1";

/// What is cached: named by its kind and its id.
#[derive(Clone, Copy, Debug)]
pub struct Key(&'static str, Uuid);

impl Key {
    #[must_use]
    pub const fn product(id: Uuid) -> Self {
        Self("product", id)
    }

    #[must_use]
    pub const fn user(id: Uuid) -> Self {
        Self("user", id)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "souk:{}:{}", self.0, self.1)
    }
}

/// Where a read was answered from; the `X-Cache` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// From Redis.
    Hit,
    /// From the store; Redis had nothing, and has it now.
    Miss,
    /// From the store; Redis did not answer.
    Bypass,
}

impl Status {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// A value with the version of the row it was made of.
pub struct Versioned<T> {
    pub version: u64,
    pub value: T,
}

/// A read's answer: JSON text, or nothing where there is no such thing.
pub struct Cached {
    pub status: Status,
    pub found: Option<Versioned<String>>,
}

/// Reads through the cache: `load` runs only if Redis has no answer.
///
/// # Errors
/// Those of `load`. Redis causes none.
#[tracing::instrument(name = "cache.read", skip_all)]
pub async fn read<T, F>(redis: &Redis, ambient: &Ambient, key: Key, load: F) -> Result<Cached, ApiError>
where
    T: Serialize,
    F: Future<Output = Result<Option<Versioned<T>>, ApiError>>,
{
    let found = redis.repeatable::<Option<String>>(redis::cmd("GET").arg(key.to_string())).await;
    let status = match found.as_ref().map(|entry| entry.as_deref().map(Entry::parse)) {
        Ok(Some(Entry::Present(version, json))) => {
            let found = Some(Versioned { version, value: json.to_owned() });
            return Ok(Cached { status: Status::Hit, found });
        }
        Ok(Some(Entry::Absent)) => return Ok(Cached { status: Status::Hit, found: None }),
        Ok(Some(Entry::Tombstone) | None) => Status::Miss,
        Err(error) => {
            tracing::warn!(%error, "reading from the store: the cache does not answer");
            Status::Bypass
        }
    };
    let (version, entry, ttl, found) = match load.await? {
        Some(Versioned { version, value }) => {
            let json = serde_json::to_string(&value).map_err(ApiError::internal)?;
            let jitter = Duration::from_millis(ambient.below(u64::try_from(JITTER.as_millis()).unwrap_or(1)));
            (version, format!("p{version}\n{json}"), TTL + jitter, Some(Versioned { version, value: json }))
        }
        None => (0, "a0\n".to_owned(), ABSENT_TTL, None),
    };
    if status == Status::Miss {
        set_unless_newer(redis, key, version, &entry, ttl).await;
    }
    Ok(Cached { status, found })
}

/// Makes the cache forget what is older than `version`. Call it after the change was committed, before the reply.
#[tracing::instrument(name = "cache.invalidate", skip_all)]
pub async fn invalidate(redis: &Redis, key: Key, version: u64) {
    set_unless_newer(redis, key, version, &format!("t{version}\n"), TOMBSTONE_TTL).await;
}

async fn set_unless_newer(redis: &Redis, key: Key, version: u64, entry: &str, ttl: Duration) {
    let mut command = redis::cmd("EVAL");
    command.arg(SET_UNLESS_NEWER).arg(1).arg(key.to_string()).arg(version).arg(entry);
    command.arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
    if let Err(error) = redis.repeatable::<i64>(&command).await {
        tracing::warn!(%error, %key, "the cache keeps what it has until that expires");
    }
}

/// An entry as it lies in Redis: a letter for its kind, the version, a line feed, and the JSON.
#[derive(Debug, PartialEq, Eq)]
enum Entry<'a> {
    Present(u64, &'a str),
    Absent,
    Tombstone,
}

impl<'a> Entry<'a> {
    /// What cannot be read counts as a tombstone: the store is asked, and the entry replaced.
    fn parse(text: &'a str) -> Self {
        match text.split_once('\n').and_then(|(head, json)| Some((head.split_at_checked(1)?, json))) {
            Some((("p", version), json)) => {
                version.parse().map_or(Self::Tombstone, |version| Self::Present(version, json))
            }
            Some((("a", _), _)) => Self::Absent,
            _ => Self::Tombstone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_told_apart() {
        assert_eq!(Entry::parse("p7\n{\"a\":\"\\n\"}"), Entry::Present(7, "{\"a\":\"\\n\"}"));
        assert_eq!(Entry::parse("a0\n"), Entry::Absent);
        assert_eq!(Entry::parse("t8\n"), Entry::Tombstone);
        assert_eq!(Entry::parse(""), Entry::Tombstone);
        assert_eq!(Entry::parse("p7"), Entry::Tombstone);
        assert_eq!(Entry::parse("px\n{}"), Entry::Tombstone);
    }
}
