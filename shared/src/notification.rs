//! Notifications: messages to users inside the application, where mail would be too much.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    messaging::{Incoming, QueueContract},
    money::Money,
    order::{CancelledBy, OrderCancelled, OrderEvent, OrderPlaced, OrderReturned, OrderStatusChanged, Status},
};

/// Notifications inside the application; consumed by `on-notification`.
pub struct NotificationQueue;

impl QueueContract for NotificationQueue {
    const NAME: &'static str = "notification";
    const URL: &'static str = "SOUK_NOTIFICATION_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_NOTIFICATION_DEAD_LETTER_QUEUE_URL";
    type Command = Notification;
    type Message = Incoming<OrderEvent, Notification>;
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
    /// Staff cancelled the order.
    OrderCancelled {
        #[serde(rename = "orderId")]
        order_id: Uuid,
        /// Null where none was given.
        reason: Option<String>,
    },
    /// Units of the order came back.
    OrderReturned {
        #[serde(rename = "orderId")]
        order_id: Uuid,
        /// What these units had cost.
        refund: Money,
    },
}

impl Notification {
    /// The notification that an event calls for, if it does: none of what its user did.
    #[must_use]
    pub fn of(event: OrderEvent) -> Option<Self> {
        let (user_id, created_at, content) = match event {
            OrderEvent::Placed(OrderPlaced { order_id, user_id, total, at, .. }) => {
                (user_id, at, Content::OrderPlaced { order_id, total })
            }
            OrderEvent::StatusChanged(OrderStatusChanged { order_id, user_id, to, at, .. }) => {
                let content = match to {
                    Status::Confirmed => Content::OrderConfirmed { order_id },
                    Status::Shipped => Content::OrderShipped { order_id },
                    Status::Delivered => Content::OrderDelivered { order_id },
                    Status::Pending | Status::Cancelled => return None,
                };
                (user_id, at, content)
            }
            OrderEvent::Cancelled(OrderCancelled { order_id, user_id, by: CancelledBy::Staff, reason, at }) => {
                (user_id, at, Content::OrderCancelled { order_id, reason })
            }
            OrderEvent::Cancelled(OrderCancelled { by: CancelledBy::Buyer, .. }) => return None,
            OrderEvent::Returned(OrderReturned { order_id, user_id, refund, at, .. }) => {
                (user_id, at, Content::OrderReturned { order_id, refund })
            }
        };
        Some(Self { user_id, content, created_at })
    }
}
