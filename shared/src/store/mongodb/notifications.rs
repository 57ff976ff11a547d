//! The `notifications` collection: notifications inside the application.
//!
//! A notification's id is the id of its message, which makes the insert idempotent under redelivery; the ids sort by
//! time. A TTL index deletes documents after 90 days.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    bson::{self, Bson, DateTime, doc},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{from_bson_id, from_bson_time, is_duplicate_key, to_bson_id, to_bson_time};
use crate::store::{Mongodb, StoreError};
use crate::{
    boxed,
    identity::Owner,
    notification::{Content, Notification},
};

/// Retention of a notification.
pub(in crate::store) const RETENTION: Duration = Duration::from_hours(90 * 24);
const SCHEMA_VERSION: i32 = 1;

/// A notification of a user.
#[derive(Clone, Debug)]
pub struct StoredNotification {
    pub id: Uuid,
    pub content: Content,
    pub created_at: OffsetDateTime,
    pub read_at: Option<OffsetDateTime>,
}

/// The document. `readAt` is absent until the notification is read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NotificationDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    user_id: bson::Uuid,
    kind: String,
    data: Map<String, Value>,
    created_at: DateTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_at: Option<DateTime>,
    schema_version: i32,
}

/// [`Content`] in the document's two parts.
#[derive(Serialize, Deserialize)]
struct Parts {
    kind: String,
    data: Map<String, Value>,
}

impl TryFrom<NotificationDocument> for StoredNotification {
    type Error = StoreError;

    fn try_from(document: NotificationDocument) -> Result<Self, StoreError> {
        let NotificationDocument { id, kind, data, created_at, read_at, .. } = document;
        Ok(Self {
            id: from_bson_id(id),
            content: convert(&Parts { kind, data })?,
            created_at: from_bson_time(created_at),
            read_at: read_at.map(from_bson_time),
        })
    }
}

/// Inserts a user's notification under the id of its message. Idempotent: `false` if it exists already.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "notifications.insert", skip_all)]
#[boxed]
pub async fn insert(mongodb: &Mongodb, id: Uuid, notification: &Notification) -> Result<bool, StoreError> {
    let Parts { kind, data } = convert(&notification.content)?;
    let document = NotificationDocument {
        id: to_bson_id(id),
        user_id: to_bson_id(notification.user_id),
        kind,
        data,
        created_at: to_bson_time(notification.created_at),
        read_at: None,
        schema_version: SCHEMA_VERSION,
    };
    match notifications(mongodb).await?.insert_one(&document).await {
        Ok(_) => Ok(true),
        Err(error) if is_duplicate_key(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The owner's notifications, the newest first, after the one with the id `after`; with `unread` only those that are
/// not read.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "notifications.list", skip_all)]
#[boxed]
pub async fn list(
    mongodb: &Mongodb,
    owner: Owner,
    unread: bool,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<StoredNotification>, StoreError> {
    let mut filter = doc! { "userId": to_bson_id(owner.user_id()) };
    if unread {
        filter.insert("readAt", Bson::Null);
    }
    if let Some(after) = after {
        filter.insert("_id", doc! { "$lt": to_bson_id(after) });
    }
    let found = notifications(mongodb).await?.find(filter).sort(doc! { "_id": -1 }).limit(limit.into()).await?;
    let found: Vec<NotificationDocument> = found.try_collect().await?;
    found.into_iter().map(StoredNotification::try_from).collect()
}

/// Marks a notification as read. Idempotent: the first time stays. `false` if the owner has no such notification.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "notifications.mark_read", skip_all)]
#[boxed]
pub async fn mark_read(mongodb: &Mongodb, owner: Owner, id: Uuid, now: OffsetDateTime) -> Result<bool, StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "userId": to_bson_id(owner.user_id()) };
    // `$min` sets an absent time, and keeps an earlier one.
    let change = doc! { "$min": { "readAt": to_bson_time(now) } };
    Ok(notifications(mongodb).await?.update_one(filter, change).await?.matched_count == 1)
}

/// Converts between types with the same JSON.
fn convert<T: serde::de::DeserializeOwned>(value: &impl Serialize) -> Result<T, StoreError> {
    let converted = serde_json::to_value(value).and_then(serde_json::from_value);
    converted.map_err(|error| StoreError::Failed { store: "MongoDB", cause: Box::new(error) })
}

async fn notifications(mongodb: &Mongodb) -> Result<Collection<NotificationDocument>, StoreError> {
    Ok(mongodb.database().await?.collection("notifications"))
}
