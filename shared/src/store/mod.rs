//! The stores: every query of the system, one folder per store and in it one file per table or collection.
//!
//! A query function takes the store's connection first, has its own span and answers `Ok(None)` for an absent row. It
//! is `boxed`, unless it is generic over a callback. Beside the folders are modules that span two stores (rate limits,
//! migrations, the lab) and patterns over one of them (cache-aside, the transactional outbox, renewable credentials).

use std::time::Duration;

pub mod cache;
pub mod lab;
mod limiter;
pub mod migrations;
pub mod mongodb;
pub mod mysql;
pub mod outbox;
pub mod redis;
mod renewable;

pub use self::{
    limiter::{Limiter, RateLimitStatus},
    mongodb::Mongodb,
    mysql::{Mysql, MysqlAdmin},
    redis::Redis,
};
use crate::error::ApiError;

/// A connection that was idle longer may be closed by now, by a restarted server or while the environment was frozen:
/// it is pinged before use, so that no request fails for it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failed operation of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer. Worth a retry.
    #[error("{store} is unavailable: {cause}")]
    Unavailable { store: &'static str, cause: Cause },
    /// The store refuses the credentials: they were rotated, or are wrong. Worth a retry, since the secret is then read
    /// again.
    #[error("{store} refuses the credentials: {cause}")]
    Refused { store: &'static str, cause: Cause },
    /// A lock was not freed in time. Worth repeating after a while.
    #[error("{store} waited too long for a lock: {cause}")]
    LockWaitTimeout { store: &'static str, cause: Cause },
    /// A deadlock, which another transaction won. Worth repeating at once.
    #[error("{store} is contended: {cause}")]
    Contended { store: &'static str, cause: Cause },
    /// An unexpected answer.
    #[error("{store} failed: {cause}")]
    Failed { store: &'static str, cause: Cause },
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::LockWaitTimeout { .. } => {
                Self::unavailable(error)
            }
            StoreError::Contended { .. } => Self::contended(error),
            StoreError::Failed { .. } => Self::internal(error),
        }
    }
}
