//! `/v1/orders`: orders.

use crate::order::{self, Status};
use std::collections::HashSet;

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    contract::{IdPath, Keyed, Requires, User},
    endpoint,
    identity::{Scope, permission::OrdersFulfil},
    mac::MacKey,
    mail::EmailQueue,
    messaging::Queue,
    money::Money,
    notification::NotificationQueue,
    page::{MAX_LIMIT, Page, default_limit},
    store::{Mysql, Redis},
};

endpoint! {
    /// Places an order: takes the stock and fixes the prices.
    /// All or nothing. A repeated request with the same `Idempotency-Key` gets the same reply.
    OrdersPlace = "orders-place" POST "/v1/orders" {
        access: User,
        idempotency: Keyed,
        body: NewOrder,
        reply: 201 Order,
        problems: [OutOfStock],
        needs: { mysql: Mysql, redis: Redis, email: Queue<EmailQueue>, notification: Queue<NotificationQueue> },
    }
}

endpoint! {
    /// Lists the caller's orders, the newest first.
    /// With the permission `orders:read-all`, everybody's orders.
    OrdersList = "orders-list" GET "/v1/orders" {
        access: User,
        query: OrderQuery,
        reply: 200 Page<Order>,
        problems: [InvalidCursor, ValidationFailed],
        needs: { mysql: Mysql, mac: MacKey },
    }
}

endpoint! {
    /// Reads one of the caller's orders.
    /// With the permission `orders:read-all`, anybody's order.
    OrdersGet = "orders-get" GET "/v1/orders/{id}" {
        access: User,
        path: IdPath,
        reply: 200 Order,
        problems: [NotFound],
        needs: { mysql: Mysql },
    }
}

endpoint! {
    /// Cancels the caller's order and returns its stock. Idempotent.
    /// Possible until the order ships.
    OrdersCancel = "orders-cancel" POST "/v1/orders/{id}/cancel" {
        access: User,
        path: IdPath,
        reply: 200 Order,
        problems: [NotFound, InvalidTransition],
        needs: { mysql: Mysql, redis: Redis },
    }
}

endpoint! {
    /// Confirms, ships or delivers an order. Idempotent.
    OrdersStatus = "orders-status" PATCH "/v1/orders/{id}/status" {
        access: Requires<OrdersFulfil>,
        path: IdPath,
        body: Progress,
        reply: 200 Order,
        problems: [NotFound, InvalidTransition],
        needs: { mysql: Mysql, notification: Queue<NotificationQueue> },
    }
}

/// An order to place. Prices come from the catalogue, never from the client.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// 1 to 50 different products, all priced in one currency.
    #[garde(length(min = 1, max = 50), custom(unique_products), dive)]
    #[schema(min_items = 1, max_items = 50)]
    pub lines: Vec<NewLine>,
}

/// A product and its quantity.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewLine {
    #[garde(skip)]
    pub product_id: Uuid,
    #[garde(range(min = 1, max = 10_000))]
    #[schema(minimum = 1, maximum = 10_000)]
    pub quantity: u32,
}

fn unique_products(lines: &[NewLine], (): &()) -> garde::Result {
    let mut seen = HashSet::new();
    if lines.iter().all(|line| seen.insert(line.product_id)) {
        Ok(())
    } else {
        Err(garde::Error::new("names a product twice"))
    }
}

/// An order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    pub id: Uuid,
    /// The customer.
    pub user_id: Uuid,
    pub status: Status,
    pub items: Vec<OrderItem>,
    pub total: Money,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// One product of an order.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderItem {
    pub product_id: Uuid,
    pub quantity: u32,
    /// The price when the order was placed.
    pub unit_price: Money,
}

/// The next status of an order. Cancelling has its own endpoint.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct Progress {
    pub status: NextStatus,
}

/// A status that fulfilment sets.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NextStatus {
    Confirmed,
    Shipped,
    Delivered,
}

impl From<NextStatus> for Status {
    fn from(next: NextStatus) -> Self {
        match next {
            NextStatus::Confirmed => Self::Confirmed,
            NextStatus::Shipped => Self::Shipped,
            NextStatus::Delivered => Self::Delivered,
        }
    }
}

/// Which orders to list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct OrderQuery {
    /// Only orders with this status.
    pub status: Option<Status>,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many orders at most: 1 to 100.
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default = "default_limit")]
    pub limit: u32,
}

impl OrderQuery {
    /// Binds cursors to this endpoint, the caller's scope and the filter.
    #[must_use]
    pub fn list(&self, scope: Scope) -> String {
        format!("orders {scope:?} {:?}", self.status)
    }
}

impl From<&order::Order> for Order {
    fn from(order: &order::Order) -> Self {
        let item = |item: &order::Item| OrderItem {
            product_id: item.product_id,
            quantity: item.quantity,
            unit_price: item.unit_price,
        };
        Self {
            id: order.id,
            user_id: order.user_id,
            status: order.status,
            items: order.items.iter().map(item).collect(),
            total: order.total,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}
