//! Events of the gateway.

use serde_json::{Value, json};
use uuid::Uuid;

/// An HTTP API event (payload 2.0) like the gateway's, without the authorizer's context.
#[must_use]
pub fn http_event(route_key: &str, body: &Value) -> Value {
    let (method, path) = route_key.split_once(' ').unwrap_or_default();
    let path = path.replace("{id}", &Uuid::nil().to_string());
    json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "idempotency-key": "direct" },
        "pathParameters": { "id": Uuid::nil() },
        "requestContext": {
            "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test" },
            "requestId": "direct",
            "routeKey": route_key,
            "stage": "$default",
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    })
}

/// The event with this source address.
#[must_use]
pub fn from_address(mut event: Value, address: &str) -> Value {
    event["requestContext"]["http"]["sourceIp"] = json!(address);
    event
}
