//! `/v1/orders`: buying.

use std::collections::HashSet;

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    contract::{Keyed, User},
    endpoint,
    money::Money,
    queue::{EmailQueue, Queue},
    store::{Mysql, Redis, orders},
};

endpoint! {
    /// Places an order: takes the stock and keeps the prices, all or nothing. A repeated request with the same
    /// `Idempotency-Key` gets the same reply.
    OrdersPlace = "orders-place" POST "/v1/orders" {
        access: User,
        idempotency: Keyed,
        body: NewOrder,
        reply: 201 Order,
        problems: [OutOfStock],
        needs: { mysql: Mysql, redis: Redis, email: Queue<EmailQueue> },
    }
}

/// What somebody wants to buy. Prices are the catalogue's, never the client's.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// 1 to 50 products, none twice, all priced in one currency.
    #[garde(length(min = 1, max = 50), custom(none_twice), dive)]
    #[schema(min_items = 1, max_items = 50)]
    pub lines: Vec<NewLine>,
}

/// A product and how many of it.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewLine {
    #[garde(skip)]
    pub product_id: Uuid,
    #[garde(range(min = 1, max = 10_000))]
    #[schema(minimum = 1, maximum = 10_000)]
    pub quantity: u32,
}

fn none_twice(lines: &[NewLine], (): &()) -> garde::Result {
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
    pub status: OrderStatus,
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
    /// As it was when the order was placed.
    pub unit_price: Money,
}

/// Where an order stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderStatus {
    /// Taken; the stock is reserved.
    Pending,
}

impl From<orders::Status> for OrderStatus {
    fn from(status: orders::Status) -> Self {
        match status {
            orders::Status::Pending => Self::Pending,
        }
    }
}

impl From<&orders::Order> for Order {
    fn from(order: &orders::Order) -> Self {
        let item = |item: &orders::Item| OrderItem {
            product_id: item.product_id,
            quantity: item.quantity,
            unit_price: item.unit_price,
        };
        Self {
            id: order.id,
            status: order.status.into(),
            items: order.items.iter().map(item).collect(),
            total: order.total,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}
