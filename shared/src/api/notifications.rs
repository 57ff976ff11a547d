//! `/v1/users/me/notifications`: the caller's notifications.

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    contract::{IdPath, NoContent, User},
    endpoint,
    mac::MacKey,
    notification::Content,
    page::{MAX_LIMIT, Page, default_limit},
    store::{Mongodb, mongodb::notifications},
};

endpoint! {
    /// Lists the caller's notifications, the newest first.
    /// Retention: 90 days.
    UsersMeNotificationsList = "users-me-notifications-list" GET "/v1/users/me/notifications" {
        access: User,
        query: NotificationQuery,
        reply: 200 Page<Notification>,
        problems: [InvalidCursor, ValidationFailed],
        needs: { mongodb: Mongodb, mac: MacKey },
    }
}

endpoint! {
    /// Marks one of the caller's notifications as read. Idempotent.
    UsersMeNotificationsRead = "users-me-notifications-read" POST "/v1/users/me/notifications/{id}/read" {
        access: User,
        path: IdPath,
        reply: 204 NoContent,
        problems: [NotFound],
        needs: { mongodb: Mongodb },
    }
}

/// Which notifications to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct NotificationQuery {
    /// Only unread notifications.
    #[serde(default)]
    pub unread: bool,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many notifications at most: 1 to 100.
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default = "default_limit")]
    pub limit: u32,
}

impl NotificationQuery {
    /// Binds cursors to this endpoint, its owner and its filter.
    #[must_use]
    pub fn list(&self, user_id: Uuid) -> String {
        format!("notifications {user_id} {}", self.unread)
    }
}

/// A notification of the caller.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub id: Uuid,
    #[serde(flatten)]
    pub content: Content,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Null until the notification is marked as read.
    #[serde(with = "time::serde::rfc3339::option")]
    pub read_at: Option<OffsetDateTime>,
}

impl From<notifications::StoredNotification> for Notification {
    fn from(kept: notifications::StoredNotification) -> Self {
        let notifications::StoredNotification { id, content, created_at, read_at } = kept;
        Self { id, content, created_at, read_at }
    }
}
