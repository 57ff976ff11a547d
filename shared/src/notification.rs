//! Notifications: messages to users inside the application, where mail would be too much.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    messaging::QueueContract,
    money::Money,
    order::{Order, Status},
};

/// Notifications inside the application; consumed by `on-notification`.
pub struct NotificationQueue;

impl QueueContract for NotificationQueue {
    const NAME: &'static str = "notification";
    const URL: &'static str = "SOUK_NOTIFICATION_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_NOTIFICATION_DEAD_LETTER_QUEUE_URL";
    type Message = Notification;
}

/// A notification on its way to a user: the message of its queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    pub user_id: Uuid,
    pub content: Content,
    /// The time of the event.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// The content of a notification. Each field names its JSON key itself: the OpenAPI schema does not follow a rule for
/// all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", content = "data", rename_all = "camelCase")]
pub enum Content {
    /// The order was placed.
    OrderPlaced {
        #[serde(rename = "orderId")]
        order_id: Uuid,
        total: Money,
    },
    /// The order was confirmed.
    OrderConfirmed {
        #[serde(rename = "orderId")]
        order_id: Uuid,
    },
    /// The order was shipped.
    OrderShipped {
        #[serde(rename = "orderId")]
        order_id: Uuid,
    },
    /// The order was delivered.
    OrderDelivered {
        #[serde(rename = "orderId")]
        order_id: Uuid,
    },
}

impl Notification {
    /// The notification of a new order.
    #[must_use]
    pub const fn placed(order: &Order) -> Self {
        let content = Content::OrderPlaced { order_id: order.id, total: order.total };
        Self { user_id: order.user_id, content, created_at: order.created_at }
    }

    /// The notification of an order's new status. None for a cancellation, which is the owner's own action.
    #[must_use]
    pub fn progress(order: &Order) -> Option<Self> {
        let order_id = order.id;
        let content = match order.status {
            Status::Confirmed => Content::OrderConfirmed { order_id },
            Status::Shipped => Content::OrderShipped { order_id },
            Status::Delivered => Content::OrderDelivered { order_id },
            Status::Pending | Status::Cancelled => return None,
        };
        Some(Self { user_id: order.user_id, content, created_at: order.updated_at })
    }
}
