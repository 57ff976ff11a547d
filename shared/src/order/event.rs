//! What happens to orders, as events: docs/EVENTS.md has the schema of each.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Order, Status};
use crate::{messaging::Event, money::Money};

macro_rules! events {
    ($($variant:ident($event:ident) = $kind:literal,)+) => {
        /// An event of orders, as consumers read it.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "data")]
        pub enum OrderEvent {
            $(#[serde(rename = $kind)] $variant($event),)+
        }

        impl OrderEvent {
            /// The types that there are.
            pub const TYPES: &[&str] = &[$($kind),+];
        }

        $(impl Event for $event {
            const TYPE: &'static str = $kind;
        })+
    };
}

events! {
    Placed(OrderPlaced) = "order-placed.v1",
    StatusChanged(OrderStatusChanged) = "order-status-changed.v1",
    Cancelled(OrderCancelled) = "order-cancelled.v1",
    Returned(OrderReturned) = "order-returned.v1",
}

/// An order was placed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    pub order_id: Uuid,
    /// The buyer.
    pub user_id: Uuid,
    pub lines: Vec<OrderedLine>,
    pub total: Money,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A line of a new order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderedLine {
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
    pub quantity: u32,
    pub unit_price: Money,
}

/// An order went on: confirmed, shipped, delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderStatusChanged {
    pub order_id: Uuid,
    /// The buyer.
    pub user_id: Uuid,
    pub from: Status,
    pub to: Status,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// An order was cancelled; its units are in stock again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    pub order_id: Uuid,
    /// The buyer.
    pub user_id: Uuid,
    pub by: CancelledBy,
    pub reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// The side that cancelled an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelledBy {
    Buyer,
    Staff,
}

/// Units of a delivered order came back; they are in stock again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderReturned {
    pub order_id: Uuid,
    /// The buyer.
    pub user_id: Uuid,
    pub lines: Vec<ReturnedLine>,
    /// What these units had cost.
    pub refund: Money,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// Units that came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReturnedLine {
    pub product_id: Uuid,
    pub sku: String,
    pub name: String,
    pub quantity: u32,
}

impl From<&Order> for OrderPlaced {
    fn from(order: &Order) -> Self {
        let line = |item: &super::Item| OrderedLine {
            product_id: item.product_id,
            sku: item.sku.clone(),
            name: item.name.clone(),
            quantity: item.quantity,
            unit_price: item.unit_price,
        };
        Self {
            order_id: order.id,
            user_id: order.user_id,
            lines: order.items.iter().map(line).collect(),
            total: order.total,
            at: order.created_at,
        }
    }
}

impl OrderStatusChanged {
    /// An order that stood at `from` before.
    #[must_use]
    pub fn new(order: &Order, from: Status) -> Self {
        Self { order_id: order.id, user_id: order.user_id, from, to: order.status, at: order.updated_at }
    }
}

impl OrderCancelled {
    /// An order that was cancelled now.
    #[must_use]
    pub fn new(order: &Order, by: CancelledBy) -> Self {
        let reason = order.cancel_reason.clone();
        Self { order_id: order.id, user_id: order.user_id, by, reason, at: order.updated_at }
    }
}

impl OrderReturned {
    /// An order of which these units came back now.
    #[must_use]
    pub fn new(order: &Order, units: &[(Uuid, u32)]) -> Self {
        let line = |(product_id, quantity): &(Uuid, u32)| {
            let item = order.items.iter().find(|item| item.product_id == *product_id)?;
            let (sku, name) = (item.sku.clone(), item.name.clone());
            Some(ReturnedLine { product_id: *product_id, sku, name, quantity: *quantity })
        };
        Self {
            order_id: order.id,
            user_id: order.user_id,
            lines: units.iter().filter_map(line).collect(),
            refund: order.price_of(units),
            at: order.updated_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every event has an example in docs/EVENTS.md, which is what this code reads and writes.
    #[test]
    fn the_documented_examples_are_the_events_there_are() {
        let document = include_str!("../../../docs/EVENTS.md");
        let examples: Vec<&str> =
            document.split("```json\n").skip(1).filter_map(|part| part.split("```").next()).collect();
        let mut types = Vec::new();
        for example in examples {
            let json: serde_json::Value = serde_json::from_str(example).unwrap();
            let event: OrderEvent =
                serde_json::from_value(json.clone()).unwrap_or_else(|error| panic!("{error}: {example}"));
            assert_eq!(serde_json::to_value(&event).unwrap(), json, "a member is missing, or is one too many");
            types.push(json["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(types, OrderEvent::TYPES);
    }
}
