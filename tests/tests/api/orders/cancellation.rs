//! `POST /v1/orders/{id}/cancel`: by the buyer, by staff, and where the stock is full.

use serde_json::{Value, json};
use shared::{mail::Email, notification::Notification, order::OrderEvent};
use tests::{Call, aws, people};

use super::{adjust, advance, cancel, cancel_with, events, get, new_order, staff, stock, wait_for_notification};

/// The event of an order's cancellation, if there is exactly one.
async fn cancellation(order: &str) -> Value {
    let mut events = events(order).await;
    events.retain(|envelope| envelope["event"] == "order-cancelled.v1");
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)["message"].take()
}

#[tokio::test]
async fn staff_cancels_any_order_for_a_reason_which_is_kept_and_told_to_the_buyer() {
    let email = people::register();
    let token = people::log_in(&email);
    let (id, product) = new_order(&token);
    let before = get(&token, &id).expect(200).json();
    assert_eq!(before["cancelReason"], Value::Null);
    for without in [cancel(staff(), &id), cancel_with(staff(), &id, &json!({})), cancel(people::admin(), &id)] {
        let problem = without.expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "reason", "{problem}");
    }
    assert_eq!((get(&token, &id).expect(200).json(), stock(&product)), (before, 3));

    let reason = "Damaged in the warehouse – “wet” 🌊";
    let cancelled = cancel_with(staff(), &id, &json!({ "reason": reason })).expect(200).json();
    assert_eq!((&cancelled["status"], &cancelled["cancelReason"]), (&json!("cancelled"), &json!(reason)));
    assert_eq!((get(&token, &id).expect(200).json(), stock(&product)), (cancelled.clone(), 5));
    // Idempotent, whether a reason is given or not: the first one stays.
    for again in [cancel_with(people::admin(), &id, &json!({ "reason": "another" })), cancel(staff(), &id)] {
        assert_eq!(again.expect(200).json(), cancelled);
    }
    assert_eq!(stock(&product), 5);

    let event = cancellation(&id).await;
    assert_eq!((&event["data"]["by"], &event["data"]["reason"]), (&json!("staff"), &json!(reason)));
    let mail = aws::wait_for_mail(&email, &format!("Your order {id} was cancelled"));
    assert!(mail.contains(reason), "{mail}");
    let told = wait_for_notification(&token, "orderCancelled", &id);
    assert_eq!(told, json!({ "orderId": id, "reason": reason }));
}

#[tokio::test]
async fn a_buyer_needs_no_reason_and_is_told_nothing_of_a_cancellation_of_their_own() {
    let token = people::log_in(&people::register());
    for reason in [Value::Null, json!("Changed my mind")] {
        let (id, product) = new_order(&token);
        let cancelled = cancel_with(&token, &id, &json!({ "reason": reason })).expect(200).json();
        assert_eq!((&cancelled["cancelReason"], stock(&product)), (&reason, 5));
        let event = cancellation(&id).await;
        assert_eq!((&event["data"]["by"], &event["data"]["reason"]), (&json!("buyer"), &reason));
        let event: OrderEvent = serde_json::from_value(event).unwrap();
        assert!(Email::of(event.clone()).is_none() && Notification::of(event).is_none());
    }
    // Staff buys too, and is a buyer then.
    let (id, _) = new_order(staff());
    assert_eq!(cancel(staff(), &id).expect(200).json()["status"], "cancelled");
    assert_eq!(cancellation(&id).await["data"]["by"], "buyer");
}

#[test]
fn a_customer_cancels_no_order_of_another_user_with_or_without_a_reason() {
    let (owner, other) = (people::log_in(&people::register()), people::log_in(&people::register()));
    let (id, product) = new_order(&owner);
    for body in [json!({}), json!({ "reason": "I want it" })] {
        let _ = cancel_with(&other, &id, &body).expect_problem(404, "not-found");
    }
    assert_eq!((&get(&owner, &id).expect(200).json()["status"], stock(&product)), (&json!("pending"), 3));
    let _ = cancel_with(staff(), &people::new_key(), &json!({ "reason": "x" })).expect_problem(404, "not-found");
}

#[test]
fn a_shipped_order_is_not_cancelled_by_staff_either() {
    let token = people::log_in(&people::register());
    let (id, product) = new_order(&token);
    for status in ["confirmed", "shipped"] {
        let _ = advance(&id, status).expect(200);
    }
    for body in [json!({}), json!({ "reason": "Lost" })] {
        let _ = cancel_with(staff(), &id, &body).expect_problem(409, "invalid-transition");
    }
    let order = get(&token, &id).expect(200).json();
    assert_eq!((&order["status"], &order["cancelReason"]), (&json!("shipped"), &Value::Null));
    assert_eq!(stock(&product), 3);
}

#[test]
fn the_body_of_a_cancellation_may_be_left_out_and_is_otherwise_read_like_any() {
    let token = people::log_in(&people::register());
    let path = |id: &str| format!("/v1/orders/{id}/cancel");
    let (id, product) = new_order(&token);
    for (garbage, status, slug) in [
        ("{", 400, "malformed-request"),
        ("nul", 400, "malformed-request"),
        ("{} {}", 400, "malformed-request"),
        (" ", 400, "malformed-request"),
        ("null", 422, "validation-failed"),
        ("[]", 422, "validation-failed"),
        ("\"Lost\"", 422, "validation-failed"),
        (r#"{"reason":1}"#, 422, "validation-failed"),
        (r#"{"reason":""}"#, 422, "validation-failed"),
        (r#"{"reason":"  "}"#, 422, "validation-failed"),
        (r#"{"reason":"two\nlines"}"#, 422, "validation-failed"),
        (r#"{"reason":"x","reason":"y"}"#, 422, "validation-failed"),
        (r#"{"status":"cancelled"}"#, 422, "validation-failed"),
        (&json!({ "reason": "ä".repeat(201) }).to_string(), 422, "validation-failed"),
    ] {
        let reply = Call::post(path(&id)).token(&token).json(garbage).send();
        assert_eq!(reply.status, status, "{garbage}: {reply:?}");
        let _ = reply.expect_problem(status, slug);
    }
    let text = Call::post(path(&id)).token(&token).body("text/plain", "Lost").send();
    let _ = text.expect_problem(415, "unsupported-media-type");
    assert_eq!((&get(&token, &id).expect(200).json()["status"], stock(&product)), (&json!("pending"), 3));

    let longest = "ä".repeat(200);
    let longest = json!({ "reason": longest }).to_string();
    for body in [None, Some(""), Some("{}"), Some(r#"{"reason":null}"#), Some(&longest)] {
        let (id, product) = new_order(&token);
        let call = Call::post(path(&id)).token(&token);
        let call = match body {
            Some(body) => call.json(body),
            None => call,
        };
        assert_eq!(call.send().expect(200).json()["status"], "cancelled", "{body:?}");
        assert_eq!(stock(&product), 5, "{body:?}");
    }
}

#[test]
fn an_order_is_cancelled_where_the_stock_is_full_and_no_unit_is_lost() {
    const FULL: u64 = 1_000_000_000;
    let token = people::log_in(&people::register());
    let (id, product) = new_order(&token);
    // Two units are in the order, and the shelf is filled up again.
    assert_eq!(adjust(&product, 999_999_997).expect(201).json()["stock"], FULL);
    let _ = adjust(&product, 1).expect_problem(422, "validation-failed");
    assert_eq!(cancel(&token, &id).expect(200).json()["status"], "cancelled");
    assert_eq!(stock(&product), FULL + 2);
    assert_eq!(cancel(&token, &id).expect(200).json()["status"], "cancelled");
    assert_eq!(stock(&product), FULL + 2);

    // Above the maximum, stock is sold and taken away, and not filled up.
    let _ = adjust(&product, 1).expect_problem(422, "validation-failed");
    let body = json!({ "lines": [{ "productId": product, "quantity": 1 }] });
    let _ = Call::post("/v1/orders").token(&token).key(&people::new_key()).json(body).send().expect(201);
    assert_eq!(adjust(&product, -1).expect(201).json()["stock"], FULL);
    assert_eq!(adjust(&product, -1).expect(201).json()["stock"], FULL - 1);
    assert_eq!(adjust(&product, 1).expect(201).json()["stock"], FULL);
}
