//! Requests as the gateway and its authorizer hand them to a function, each with a new idempotency key.

use serde_json::{Value, json};
use shared::ambient::Ambient;
use uuid::Uuid;

use crate::{aws, people};

const CUSTOMER: &str = "customer";
const STAFF: &str = "staff";

/// A buyer orders so many units of each product.
#[must_use]
pub fn place(buyer: Uuid, products: &[String], quantity: u32) -> Value {
    let line = |product: &String| json!({ "productId": product, "quantity": quantity });
    let lines: Vec<Value> = products.iter().map(line).collect();
    event(buyer, CUSTOMER, "POST /v1/orders", None, &json!({ "lines": lines }))
}

/// A buyer cancels an order.
#[must_use]
pub fn cancel(buyer: Uuid, order: &str) -> Value {
    event(buyer, CUSTOMER, "POST /v1/orders/{id}/cancel", Some(order), &json!({}))
}

/// Staff moves an order on.
#[must_use]
pub fn advance(order: &str, status: &str) -> Value {
    by_staff("PATCH /v1/orders/{id}/status", order, &json!({ "status": status }))
}

/// Staff takes back all that is left of an order.
#[must_use]
pub fn take_back(order: &str) -> Value {
    by_staff("POST /v1/orders/{id}/return", order, &json!({}))
}

/// Staff adds units of a product.
#[must_use]
pub fn restock(product: &str, units: u32) -> Value {
    by_staff("POST /v1/products/{id}/stock", product, &json!({ "delta": units, "reason": "counted" }))
}

/// The body of a function's reply.
///
/// # Panics
/// When it is not JSON.
#[must_use]
pub fn body(reply: &Value) -> Value {
    let text = reply["body"].as_str().unwrap_or_else(|| panic!("no body: {reply}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

/// The id of what a function's reply shows.
///
/// # Panics
/// When it shows none.
#[must_use]
pub fn id(reply: &Value) -> String {
    body(reply)["id"].as_str().unwrap_or_else(|| panic!("no id: {reply}")).to_owned()
}

fn by_staff(route_key: &str, id: &str, body: &Value) -> Value {
    event(Ambient::system().id(), STAFF, route_key, Some(id), body)
}

fn event(caller: Uuid, role: &str, route_key: &str, id: Option<&str>, body: &Value) -> Value {
    let mut event = aws::http_event(route_key, body);
    event["headers"]["idempotency-key"] = json!(people::new_key());
    if let Some(id) = id {
        event["pathParameters"] = json!({ "id": id });
    }
    let session = Ambient::system().id();
    event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": caller, "sid": session, "roles": role } });
    event
}
