//! Work under an idempotency key, past the endpoint that would do it.

use shared::{
    contract::IdempotencyKey,
    store::{
        Mysql, StoreError,
        mysql::{
            KeyedWork,
            idempotency_keys::{self, Begun},
        },
    },
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::people;

/// Begins work under a new key.
///
/// # Errors
/// When the store does not answer.
///
/// # Panics
/// When the key is not new.
pub async fn begin(mysql: &Mysql, user_id: Uuid, now: OffsetDateTime) -> Result<KeyedWork, StoreError> {
    let key = IdempotencyKey::new(Some(&people::new_key()), b"{}").unwrap();
    match idempotency_keys::begin(mysql, "test", user_id, &key, now).await? {
        Begun::First(work) => Ok(work),
        _ => panic!("the key is new"),
    }
}
