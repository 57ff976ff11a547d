//! Rate limit counters of [`crate::contract::Limit`]: in Redis, or, while Redis does not answer, in the `limits`
//! collection of MongoDB. Fails closed: while neither answers, requests are refused.
//!
//! Fixed windows, so that one increment counts in either store. At the border of two windows twice the quota fits into
//! a short time, and once more when Redis goes down, since MongoDB's counts start at zero.

use std::time::Duration;

use mongodb::{
    bson::{Document, doc},
    error::Error,
    options::ReturnDocument,
};
use ring::digest;
use time::OffsetDateTime;

use super::{
    Mongodb, Redis, StoreError,
    mongodb::{is_duplicate_key, to_bson_time},
    redis::milliseconds,
};
use crate::{
    boxed,
    contract::{Limit, Quota, Requirements, Resource, ResourceContext},
    environment::{self, ConfigError},
    error::{ApiError, Problem},
    telemetry::hex,
};

const FACTOR: &str = "SOUK_ADDRESS_LIMIT_FACTOR";
/// Increments KEYS[1], which expires after ARGV[1] milliseconds.
const COUNT: &str = "\
local count = redis.call('INCR', KEYS[1]) \
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end \
return count";

/// Counts requests against rate limits.
#[derive(Clone)]
pub struct Limiter {
    redis: Redis,
    mongodb: Mongodb,
    /// Factor of the limits by address: 1 except for load tests, which come from one address.
    address_factor: u32,
}

impl Resource for Limiter {
    fn requirements() -> Vec<Requirements> {
        let own = Requirements { environment: &[FACTOR], grants: &[] };
        [<Redis>::requirements(), Mongodb::requirements(), vec![own]].concat()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { redis: context.get()?, mongodb: context.get()?, address_factor: environment::parsed(FACTOR)? })
    }

    async fn warm(&self) {
        self.redis.warm().await;
    }
}

/// The state of a rate limit after a request was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// What is counted by: `account` or `address`.
    policy: &'static str,
    quota: Quota,
    count: u64,
    resets_in: Duration,
}

impl RateLimitStatus {
    fn is_over(&self) -> bool {
        self.count > u64::from(self.quota.requests)
    }

    /// The `RateLimit` headers (IETF draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 2] {
        let Self { policy, quota, count, resets_in } = self;
        let remaining = u64::from(quota.requests).saturating_sub(*count);
        [
            ("ratelimit-policy", format!("\"{policy}\";q={};w={}", quota.requests, quota.window.as_secs())),
            ("ratelimit", format!("\"{policy}\";r={remaining};t={}", resets_in.as_secs().max(1))),
        ]
    }

    fn checked(self) -> Result<Self, ApiError> {
        if !self.is_over() {
            return Ok(self);
        }
        Err(self.with_headers(ApiError::from(Problem::TooManyRequests).after(self.resets_in)))
    }

    /// The error with the `RateLimit` headers.
    #[must_use]
    pub fn with_headers(&self, error: ApiError) -> ApiError {
        self.headers().into_iter().fold(error, |error, (name, value)| error.header(name, value))
    }
}

impl Limiter {
    /// Counts a request of an account, which is named by an address or a user's id.
    ///
    /// # Errors
    /// [`Problem::TooManyRequests`] beyond the limit; when neither store answers.
    #[boxed]
    pub async fn count_account(
        &self,
        limit: Limit,
        account: &str,
        now: OffsetDateTime,
    ) -> Result<RateLimitStatus, ApiError> {
        self.count(limit, "account", limit.by_account(), account, now).await?.checked()
    }

    /// Counts a request from a network address.
    ///
    /// # Errors
    /// As [`Self::count_account`].
    #[boxed]
    pub async fn count_address(
        &self,
        limit: Limit,
        network: &str,
        now: OffsetDateTime,
    ) -> Result<RateLimitStatus, ApiError> {
        let Quota { requests, window } = limit.by_address();
        let quota = Quota { requests: requests.saturating_mul(self.address_factor), window };
        self.count(limit, "address", quota, network, now).await?.checked()
    }

    #[tracing::instrument(name = "limits.count", skip_all)]
    async fn count(
        &self,
        limit: Limit,
        policy: &'static str,
        quota: Quota,
        subject: &str,
        now: OffsetDateTime,
    ) -> Result<RateLimitStatus, StoreError> {
        let (window, time) = (quota.window.as_secs(), now.unix_timestamp().unsigned_abs());
        let resets_in = Duration::from_secs(window - time % window);
        // Hashed, so that neither store learns an address from its counters.
        let subject = hex(&digest::digest(&digest::SHA256, subject.as_bytes()).as_ref()[..16]);
        let key = format!("souk:limit:{}:{policy}:{subject}:{}", limit.as_str(), time / window);
        let count = match self.count_in_redis(&key, quota.window).await {
            Ok(count) => count,
            Err(error) => {
                tracing::warn!(%error, "counting in MongoDB: Redis does not answer");
                self.count_in_mongodb(&key, now + quota.window).await?
            }
        };
        Ok(RateLimitStatus { policy, quota, count, resets_in })
    }

    async fn count_in_redis(&self, key: &str, window: Duration) -> Result<u64, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(COUNT).arg(1).arg(key).arg(milliseconds(window));
        self.redis.send_idempotent(&command).await
    }

    async fn count_in_mongodb(&self, key: &str, expires_at: OffsetDateTime) -> Result<u64, StoreError> {
        match self.increment(key, expires_at).await {
            // Two first requests of a window both tried to insert its counter: now it exists.
            Err(error) if is_duplicate_key(&error) => Ok(self.increment(key, expires_at).await?),
            result => Ok(result?),
        }
    }

    async fn increment(&self, key: &str, expires_at: OffsetDateTime) -> Result<u64, Error> {
        let database = self.mongodb.database().await.map_err(Error::custom)?;
        let change = doc! { "$inc": { "count": 1_i64 }, "$setOnInsert": { "expiresAt": to_bson_time(expires_at), "schemaVersion": 1 } };
        let counter = database
            .collection::<Document>("limits")
            .find_one_and_update(doc! { "_id": key }, change)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await?;
        let count = counter.and_then(|counter| counter.get_i64("count").ok()).unwrap_or(1);
        Ok(count.unsigned_abs())
    }
}
