//! The stores: every query of the system is in this folder, one file per table or collection.
//!
//! A query function takes the store's connection first, has a span of its own, says "absent" with `Ok(None)`, and is `boxed`.

use std::time::Duration;

pub mod cache;
pub mod idempotency;
pub mod lab;
mod limiter;
mod login;
pub mod login_codes;
pub mod migrations;
mod mongodb;
mod mysql;
mod mysql_admin;
pub mod notifications;
pub mod orders;
pub mod outbox;
pub mod processed_messages;
pub mod product_export;
pub mod product_list;
pub mod products;
mod redis;
pub mod reports;
pub mod revocations;
pub mod sample_orders;
pub mod sessions;
pub mod stock_adjustments;
pub mod user_outbox;
pub mod users;

pub use self::{
    limiter::{Counted, Limiter},
    mongodb::Mongodb,
    mysql::{Contention, Mysql, retry_contention},
    mysql_admin::MysqlAdmin,
    redis::Redis,
};
use crate::error::ApiError;

/// A connection that rested longer may be closed by now, by a restarted server or while the environment was frozen: it is pinged
/// before it is used, so that no request fails for it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not answer. Worth repeating.
    #[error("{store} is unavailable: {cause}")]
    Unavailable { store: &'static str, cause: Cause },
    /// It does not take the credentials: they were changed, or are wrong. Worth repeating, since the secret is then read again.
    #[error("{store} refuses the credentials: {cause}")]
    Refused { store: &'static str, cause: Cause },
    /// Others were faster: a deadlock, a lock that was not freed in time. Worth repeating at once.
    #[error("{store} is contended: {cause}")]
    Contended { store: &'static str, cause: Cause },
    /// It answered, and not as it should have.
    #[error("{store} failed: {cause}")]
    Failed { store: &'static str, cause: Cause },
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::Refused { .. } | StoreError::Contended { .. } => {
                Self::unavailable(error)
            }
            StoreError::Failed { .. } => Self::internal(error),
        }
    }
}
