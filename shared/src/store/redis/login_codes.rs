//! Login codes (one-time passwords by mail), in Redis. Each belongs to a challenge, which is opened before the account
//! is looked up, so that the request looks the same for all addresses.
//!
//! ```text
//! open {account} ── the mail is written: issue ──▶ {account, tag} ── attempt, at most 5 times ──▶ gone
//! ```
//!
//! An attempt is spent before the comparison, atomically; a command that is retried on a new connection spends two.
//! Redis has the only copy: without it there are no login codes. A challenge stores its expiry, which is compared with
//! the caller's clock; the TTL in Redis only cleans up.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use redis::Cmd;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::store::{Redis, StoreError};
use crate::{boxed, error::ApiError, mac::MacKey};

/// How long a code is valid once its mail is written.
pub const LIFETIME: Duration = Duration::minutes(5);
/// How long a challenge waits for its mail.
pub const CHALLENGE_LIFETIME: Duration = Duration::minutes(10);
/// How long Redis keeps an expired challenge: its clock may be ahead of the caller's.
const CLEANUP_DELAY: Duration = Duration::minutes(1);
/// Guesses per code.
const MAX_ATTEMPTS: u32 = 5;
const PURPOSE: &str = "login-code";

/// Opens KEYS[1] for the account ARGV[3] until ARGV[1], in milliseconds since 1970; the TTL is ARGV[2] seconds.
const OPEN: &str = "\
redis.call('HSET', KEYS[1], 'account', ARGV[3], 'expiresAt', ARGV[1]) \
return redis.call('EXPIRE', KEYS[1], ARGV[2])";

/// Gives KEYS[1] the tag ARGV[3], with expiry and TTL as in [`OPEN`], unless it is expired at ARGV[4].
const ISSUE: &str = "\
local expires_at = redis.call('HGET', KEYS[1], 'expiresAt') \
if not expires_at or tonumber(expires_at) <= tonumber(ARGV[4]) then return 0 end \
redis.call('HSET', KEYS[1], 'tag', ARGV[3], 'expiresAt', ARGV[1]) \
redis.call('EXPIRE', KEYS[1], ARGV[2]) \
return 1";

/// Spends one of ARGV[1] attempts at KEYS[1]: its account and tag, or nothing if no attempt is left or the challenge is
/// expired at ARGV[2].
const ATTEMPT: &str = "\
local found = redis.call('HMGET', KEYS[1], 'account', 'tag', 'expiresAt') \
if not found[3] or tonumber(found[3]) <= tonumber(ARGV[2]) then return false end \
local spent = redis.call('HINCRBY', KEYS[1], 'spent', 1) \
if spent > tonumber(ARGV[1]) then return false end \
return {found[1], found[2] or ''}";

/// A spent attempt, ready to be compared.
#[derive(Debug)]
pub struct Attempt {
    challenge_id: Uuid,
    /// The account's address, as [`crate::email::EmailAddress::key`] normalises it.
    pub account: String,
    tag: String,
}

fn key(challenge_id: Uuid) -> String {
    format!("souk:login-code:{challenge_id}")
}

fn milliseconds(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

/// A command with the arguments of [`OPEN`] and [`ISSUE`]: key, expiry, TTL.
fn command(script: &str, challenge_id: Uuid, now: OffsetDateTime, lifetime: Duration) -> Cmd {
    let (expires_at, ttl) = (milliseconds(now + lifetime), lifetime + CLEANUP_DELAY);
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg(key(challenge_id)).arg(expires_at).arg(ttl.whole_seconds());
    command
}

/// Opens a challenge for an address, with or without an account.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "login_codes.open", skip_all)]
#[boxed]
pub async fn open(redis: &Redis, challenge_id: Uuid, account: &str, now: OffsetDateTime) -> Result<(), StoreError> {
    redis.send_idempotent::<()>(command(OPEN, challenge_id, now, CHALLENGE_LIFETIME).arg(account)).await
}

/// Sets the code of a challenge, valid for [`LIFETIME`]. `false` if the challenge is expired or unknown.
///
/// # Errors
/// When Redis does not answer, or the key is not available.
#[tracing::instrument(name = "login_codes.issue", skip_all)]
#[boxed]
pub async fn issue(
    redis: &Redis,
    mac: &MacKey,
    challenge_id: Uuid,
    code: &str,
    now: OffsetDateTime,
) -> Result<bool, ApiError> {
    let tag = BASE64URL.encode(mac.tag(PURPOSE, &[challenge_id.as_bytes(), code.as_bytes()]).await?);
    let mut command = command(ISSUE, challenge_id, now, LIFETIME);
    Ok(redis.send_idempotent(command.arg(tag).arg(milliseconds(now))).await?)
}

/// Spends one attempt of a challenge. `None` for an unknown or expired challenge, or one without attempts.
///
/// # Errors
/// When Redis does not answer.
#[tracing::instrument(name = "login_codes.attempt", skip_all)]
#[boxed]
pub async fn attempt(redis: &Redis, challenge_id: Uuid, now: OffsetDateTime) -> Result<Option<Attempt>, StoreError> {
    let mut command = redis::cmd("EVAL");
    command.arg(ATTEMPT).arg(1).arg(key(challenge_id)).arg(MAX_ATTEMPTS).arg(milliseconds(now));
    let found: Option<(String, String)> = redis.send_idempotent(&command).await?;
    Ok(found.map(|(account, tag)| Attempt { challenge_id, account, tag }))
}

impl Attempt {
    /// Whether the code matches. A matching code is consumed atomically: of two concurrent redemptions one succeeds.
    ///
    /// # Errors
    /// When Redis does not answer, or the key is not available.
    #[tracing::instrument(name = "login_codes.redeem", skip_all)]
    #[boxed]
    pub async fn redeem(&self, redis: &Redis, mac: &MacKey, code: &str) -> Result<bool, ApiError> {
        let tag = BASE64URL.decode(&self.tag).map_err(ApiError::internal)?;
        if !mac.verify(PURPOSE, &[self.challenge_id.as_bytes(), code.as_bytes()], &tag).await? {
            return Ok(false);
        }
        let deleted: u64 = redis.send_idempotent(redis::cmd("DEL").arg(key(self.challenge_id))).await?;
        Ok(deleted == 1)
    }
}
