//! Cache-aside: Redis, then the store, then Redis again.
//!
//! Every entry carries its row's version. A fill never replaces a newer entry. A committed change sets the key to a
//! *tombstone* with the new version, so that a concurrent fill with the old row loses. If Redis is down during a
//! change, the stale entry lives out its TTL at most.
//!
//! *Single flight* against cache stampedes: of many concurrent misses of a key, one loads from the store; the others
//! wait briefly for its result, then load too. Two loads do no harm: the versions decide which result stays.

use std::{fmt, future::Future, time::Duration};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Redis, StoreError, redis::milliseconds};
use crate::{ambient::Ambient, boxed, error::ApiError};

const TTL: Duration = Duration::from_mins(1);
/// Jitter: up to this much is added to a TTL, so that entries filled together do not expire together.
const JITTER: Duration = Duration::from_secs(12);
const ABSENT_TTL: Duration = Duration::from_secs(5);
/// Longer than any function runs, so that a fill that raced a change finds the tombstone.
const TOMBSTONE_TTL: Duration = Duration::from_mins(1);

/// Lease of the load lock.
const LOAD_LOCK_TTL: Duration = Duration::from_secs(2);
/// Poll intervals of waiting readers, in milliseconds: 155 together, more than reading a row takes.
const POLL_INTERVALS_MS: [u64; 5] = [5, 10, 20, 40, 80];

/// Sets KEYS[1] to ARGV[2] for ARGV[3] milliseconds, unless the entry there has a version above ARGV[1]. Releases the
/// load lock KEYS[2].
const SET_UNLESS_NEWER: &str = "\
redis.call('DEL', KEYS[2]) \
local current = redis.call('GET', KEYS[1]) \
if current and tonumber(string.match(current, '^%a(%d+)') or 0) > tonumber(ARGV[1]) then return 0 end \
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) \
return 1";

/// The entry at KEYS[1], unless it is a tombstone; nothing while another reader holds the load lock KEYS[2]; otherwise
/// an empty text, and the caller holds the lock for ARGV[1] milliseconds. Atomic, or a reader between the two steps
/// would load an entry that was filled meanwhile.
const GET_OR_CLAIM: &str = "\
local current = redis.call('GET', KEYS[1]) \
if current and string.sub(current, 1, 1) ~= 't' then return current end \
if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[1]) then return '' end \
return false";

/// The key of an entry: its kind and its id.
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

    /// An entry of the lab.
    #[must_use]
    pub const fn lab(id: Uuid) -> Self {
        Self("lab", id)
    }
}

/// Keys of products, with the versions that they have after a change.
#[must_use]
pub fn product_keys(versions: &[(Uuid, u64)]) -> Vec<(Key, u64)> {
    versions.iter().map(|(id, version)| (Key::product(*id), *version)).collect()
}

impl Key {
    /// The lock of the one reader that loads the key (*single flight*). The braces keep both keys on one node of a
    /// cluster.
    fn load_lock(self) -> String {
        format!("{{{self}}}:loading")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "souk:{}:{}", self.0, self.1)
    }
}

/// Where a read was answered from: the `X-Cache` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CacheStatus)]
pub enum Status {
    /// From Redis.
    Hit,
    /// From the store, and now in Redis.
    Miss,
    /// From the store, since Redis did not answer.
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

/// A value with the version of its row.
pub struct Versioned<T> {
    pub version: u64,
    pub value: T,
}

/// A read's result: JSON text, or `None` for an absent row.
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
    let status = match look_up(redis, key).await {
        Ok(LookUp::Found(found)) => return Ok(Cached { status: Status::Hit, found }),
        Ok(LookUp::Missing) => Status::Miss,
        Err(error) => {
            tracing::warn!(%error, "reading from the store: the cache does not answer");
            Status::Bypass
        }
    };
    let loaded = load.await;
    if loaded.is_err() && status == Status::Miss {
        release_load_lock(redis, key).await;
    }
    let (version, entry, ttl, found) = match loaded? {
        Some(Versioned { version, value }) => {
            let json = serde_json::to_string(&value).map_err(ApiError::internal)?;
            let jitter = Duration::from_millis(ambient.below(milliseconds(JITTER)));
            (version, format!("p{version}\n{json}"), TTL + jitter, Some(Versioned { version, value: json }))
        }
        None => (0, "a0\n".to_owned(), ABSENT_TTL, None),
    };
    if status == Status::Miss {
        set_unless_newer(redis, key, version, &entry, ttl).await;
    }
    Ok(Cached { status, found })
}

/// The result of a look-up.
enum LookUp {
    /// A cached answer.
    Found(Option<Versioned<String>>),
    /// A miss: load from the store.
    Missing,
}

impl LookUp {
    fn of(entry: &str) -> Self {
        match Entry::parse(entry) {
            Entry::Present(version, json) => Self::Found(Some(Versioned { version, value: json.to_owned() })),
            Entry::Absent => Self::Found(None),
            Entry::Tombstone => Self::Missing,
        }
    }
}

/// Looks the key up, and waits briefly while another reader loads it.
async fn look_up(redis: &Redis, key: Key) -> Result<LookUp, StoreError> {
    let entry: Option<String> = redis.send_idempotent(redis::cmd("GET").arg(key.to_string())).await?;
    if let Some(answer @ LookUp::Found(_)) = entry.as_deref().map(LookUp::of) {
        return Ok(answer);
    }
    let mut get_or_claim = redis::cmd("EVAL");
    get_or_claim.arg(GET_OR_CLAIM).arg(2).arg(key.to_string()).arg(key.load_lock()).arg(milliseconds(LOAD_LOCK_TTL));
    for pause in POLL_INTERVALS_MS {
        if let Some(entry) = redis.send_idempotent::<Option<String>>(&get_or_claim).await? {
            return Ok(LookUp::of(&entry));
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(LookUp::Missing)
}

/// Makes the cache forget what is older than `version`. Call it after the change was committed, before the reply: *read your own writes*.
#[boxed]
pub async fn invalidate(redis: &Redis, key: Key, version: u64) {
    invalidate_all(redis, &[(key, version)]).await;
}

/// As [`invalidate`], of several keys in one round trip.
#[tracing::instrument(name = "cache.invalidate", skip_all)]
#[boxed]
pub async fn invalidate_all(redis: &Redis, keys: &[(Key, u64)]) {
    if keys.is_empty() {
        return;
    }
    let mut pipeline = redis::pipe();
    for (key, version) in keys {
        pipeline
            .add_command(set_unless_newer_command(*key, *version, &format!("t{version}\n"), TOMBSTONE_TTL))
            .ignore();
    }
    if let Err(error) = redis.send_idempotent::<()>(&pipeline).await {
        tracing::warn!(%error, keys = keys.len(), "the cache keeps what it has until that expires");
    }
}

async fn set_unless_newer(redis: &Redis, key: Key, version: u64, entry: &str, ttl: Duration) {
    let command = set_unless_newer_command(key, version, entry, ttl);
    if let Err(error) = redis.send_idempotent::<i64>(&command).await {
        tracing::warn!(%error, %key, "the cache entry is not replaced until it expires");
    }
}

fn set_unless_newer_command(key: Key, version: u64, entry: &str, ttl: Duration) -> redis::Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(SET_UNLESS_NEWER).arg(2).arg(key.to_string()).arg(key.load_lock());
    command.arg(version).arg(entry).arg(milliseconds(ttl));
    command
}

/// Releases the load lock, so that another reader may ask the store.
async fn release_load_lock(redis: &Redis, key: Key) {
    if let Err(error) = redis.send_idempotent::<i64>(redis::cmd("DEL").arg(key.load_lock())).await {
        tracing::warn!(%error, %key, "the load lock stays until it expires");
    }
}

/// An entry's form in Redis: a letter for its kind, the version, a line feed, and the JSON.
#[derive(Debug, PartialEq, Eq)]
enum Entry<'a> {
    Present(u64, &'a str),
    Absent,
    Tombstone,
}

impl<'a> Entry<'a> {
    /// An unreadable entry counts as a tombstone: the row is loaded, and the entry replaced.
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
