//! `/v1/orders`: orders.

use std::collections::HashSet;

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::one_line;
use crate::{
    contract::{IdPath, Keyed, Optional, Requires, User},
    endpoint,
    identity::{Scope, permission::OrdersFulfil},
    mac::MacKey,
    messaging::Publishes,
    money::Money,
    order::{self, OrderCancelled, OrderPlaced, OrderReturned, OrderStatusChanged, Status},
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
        problems: [OutOfStock, PriceChanged],
        needs: { mysql: Mysql, redis: Redis, events: Publishes<OrderPlaced> },
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
    /// Cancels an order before it ships, and returns its stock. Idempotent. Staff may cancel anybody's, for a reason, which is kept.
    OrdersCancel = "orders-cancel" POST "/v1/orders/{id}/cancel" {
        access: User,
        path: IdPath,
        body: Optional<Cancellation>,
        reply: 200 Order,
        problems: [NotFound, InvalidTransition],
        needs: { mysql: Mysql, redis: Redis, events: Publishes<OrderCancelled> },
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
        needs: { mysql: Mysql, events: Publishes<OrderStatusChanged> },
    }
}

endpoint! {
    /// Takes units of a delivered order back into the stock: some, by line, or all that are left. A repeated request with the same
    /// `Idempotency-Key` gets the same reply.
    OrdersReturn = "orders-return" POST "/v1/orders/{id}/return" {
        access: Requires<OrdersFulfil>,
        idempotency: Keyed,
        path: IdPath,
        body: Return,
        reply: 201 Order,
        problems: [NotFound, InvalidTransition],
        needs: { mysql: Mysql, redis: Redis, events: Publishes<OrderReturned> },
    }
}

/// An order to be placed. Prices are the catalogue's, never the client's.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewOrder {
    /// 1 to 50 different products, all priced in one currency.
    #[garde(length(min = 1, max = 50), custom(unique_products), dive)]
    #[schema(min_items = 1, max_items = 50)]
    pub lines: Vec<NewLine>,
    /// What the buyer has seen it come to: an order that is dearer by now is refused.
    #[garde(dive)]
    pub expected_total: Option<Money>,
}

impl NewOrder {
    /// The order to be placed.
    #[must_use]
    pub fn new_order(&self, id: Uuid, user_id: Uuid, now: OffsetDateTime) -> order::NewOrder {
        order::NewOrder { id, user_id, lines: units(&self.lines), expected_total: self.expected_total, now }
    }
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

fn units(lines: &[NewLine]) -> Vec<(Uuid, u32)> {
    lines.iter().map(|line| (line.product_id, line.quantity)).collect()
}

/// A cancellation.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// One line of text; staff has to give one for an order that is not their own.
    #[garde(length(chars, min = 1, max = 200), inner(custom(one_line)))]
    #[schema(min_length = 1, max_length = 200)]
    pub reason: Option<String>,
}

/// Units that come back.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// 1 to 50 products, none twice; all that is left of the order where this is left out.
    #[garde(length(min = 1, max = 50), custom(unique_if_there), dive)]
    #[schema(min_items = 1, max_items = 50)]
    pub lines: Option<Vec<NewLine>>,
}

impl Return {
    /// Product and units, or none for all that is left.
    #[must_use]
    pub fn units(&self) -> Option<Vec<(Uuid, u32)>> {
        self.lines.as_deref().map(units)
    }
}

#[expect(clippy::ref_option, reason = "garde hands the field")]
fn unique_if_there(lines: &Option<Vec<NewLine>>, context: &()) -> garde::Result {
    lines.as_ref().map_or(Ok(()), |lines| unique_products(lines, context))
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
    /// Why it was cancelled; null if it was not, or nobody gave a reason.
    pub cancel_reason: Option<String>,
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
    /// As they were when the order was placed.
    pub sku: String,
    pub name: String,
    pub quantity: u32,
    /// Units that came back after delivery.
    pub returned: u32,
    /// As it was when the order was placed.
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
            sku: item.sku.clone(),
            name: item.name.clone(),
            quantity: item.quantity,
            returned: item.returned,
            unit_price: item.unit_price,
        };
        Self {
            id: order.id,
            user_id: order.user_id,
            status: order.status,
            items: order.items.iter().map(item).collect(),
            total: order.total,
            cancel_reason: order.cancel_reason.clone(),
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(status: Status) -> Option<Status> {
        serde_json::from_str::<NextStatus>(&serde_json::to_string(&status).unwrap()).ok().map(Status::from)
    }

    #[test]
    fn every_status_is_set_by_placing_by_cancelling_or_by_fulfilment_under_the_same_name() {
        let others = [Status::Pending, Status::Cancelled];
        for status in Status::ALL {
            assert_eq!(next(*status), (!others.contains(status)).then_some(*status));
        }
    }

    /// `orders-status` invalidates no product: what returns stock needs an endpoint that does.
    #[test]
    fn fulfilment_returns_no_stock() {
        for status in Status::ALL.iter().filter_map(|status| next(*status)) {
            let from = Status::ALL.iter().filter(|from| from.may_become(status) && from.restocks(status));
            assert_eq!(from.collect::<Vec<_>>(), Vec::<&Status>::new(), "to {status:?}");
        }
    }
}
