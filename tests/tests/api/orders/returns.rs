//! `POST /v1/orders/{id}/return`: units of a delivered order come back.

use serde_json::{Value, json};
use tests::{Call, Reply, aws, people};

use super::{advance, cancel, events, get, lines, new_order, place, staff, stock, wait_for_notification};

fn take_back(token: &str, id: &str, key: &str, body: &Value) -> Reply {
    Call::post(format!("/v1/orders/{id}/return")).token(token).key(key).json(body).send()
}

/// Staff takes units back, under a new key.
fn give_back(id: &str, body: &Value) -> Reply {
    take_back(staff(), id, &people::new_key(), body)
}

/// A delivered order of three lanterns of 20.00 EUR and one vase of 5.00 EUR: its id, and those of the products, of which there were
/// ten each.
fn delivered_order(token: &str) -> (String, String, String) {
    let (lantern, vase) = (people::new_product_at(10, 2000, "EUR"), people::new_product_at(10, 500, "EUR"));
    let order = place(token, &people::new_key(), &lines(&[(&lantern, 3), (&vase, 1)])).expect(201).json();
    let id = order["id"].as_str().unwrap().to_owned();
    for status in ["confirmed", "shipped", "delivered"] {
        let _ = advance(&id, status).expect(200);
    }
    (id, lantern, vase)
}

/// The units of these products that came back, as the order says.
fn returned<const N: usize>(order: &Value, products: [&str; N]) -> [u64; N] {
    let items = order["items"].as_array().unwrap();
    products.map(|product| {
        let item = items.iter().find(|item| item["productId"] == product).unwrap();
        item["returned"].as_u64().unwrap()
    })
}

/// The data of the returns' events, the oldest first.
async fn returns(order: &str) -> Vec<Value> {
    let events = events(order).await.into_iter();
    events
        .filter(|event| event["event"] == "order-returned.v1")
        .map(|mut event| event["message"]["data"].take())
        .collect()
}

#[tokio::test]
async fn a_whole_order_comes_back_once_and_the_buyer_is_told() {
    let email = people::register();
    let token = people::log_in(&email);
    let (id, lantern, vase) = delivered_order(&token);
    assert_eq!((stock(&lantern), stock(&vase)), (7, 9));
    let order = give_back(&id, &json!({})).expect(201).json();
    assert_eq!((&order["status"], returned(&order, [&lantern, &vase])), (&json!("delivered"), [3, 1]));
    assert_eq!(get(&token, &id).expect(200).json(), order);
    assert_eq!((stock(&lantern), stock(&vase)), (10, 10));

    for nothing_left in [json!({}), json!({ "lines": null })] {
        let _ = give_back(&id, &nothing_left).expect_problem(409, "invalid-transition");
    }
    let more = give_back(&id, &lines(&[(&vase, 1)])).expect_problem(422, "validation-failed");
    assert_eq!(more["errors"][0]["field"], "lines", "{more}");
    assert_eq!((stock(&lantern), stock(&vase)), (10, 10));

    let refund = json!({ "amount": 6500, "currency": "EUR" });
    let told = wait_for_notification(&token, "orderReturned", &id);
    assert_eq!(told, json!({ "orderId": id, "refund": refund }));
    let mail = aws::wait_for_mail(&email, &format!("Your return of order {id}"));
    assert!(mail.contains("4 units") && mail.contains("65.00 EUR"), "{mail}");
    let events = returns(&id).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["refund"], &events[0]["userId"]), (&refund, &json!(people::id_of(&token))));
}

#[tokio::test]
async fn units_come_back_by_line_until_none_are_left() {
    let token = people::log_in(&people::register());
    let (id, lantern, vase) = delivered_order(&token);
    let first = give_back(&id, &lines(&[(&lantern, 1)])).expect(201).json();
    assert_eq!(returned(&first, [&lantern, &vase]), [1, 0]);
    let second = give_back(&id, &lines(&[(&vase, 1), (&lantern, 1)])).expect(201).json();
    assert_eq!(returned(&second, [&lantern, &vase]), [2, 1]);
    assert_eq!((stock(&lantern), stock(&vase)), (9, 10));

    // Another product's unit, more than is left of one, and of one of two: none of it happens, and the key is free.
    let key = people::new_key();
    let other = people::new_product(5);
    for too_many in [
        lines(&[(&other, 1)]),
        lines(&[(&lantern, 2)]),
        lines(&[(&lantern, 10_000)]),
        lines(&[(&lantern, 1), (&vase, 1)]),
    ] {
        let problem = take_back(staff(), &id, &key, &too_many).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "lines", "{problem}");
    }
    assert_eq!(get(&token, &id).expect(200).json(), second);
    assert_eq!((stock(&lantern), stock(&vase), stock(&other)), (9, 10, 5));

    // The rest: units that came back before are not counted again.
    let last = take_back(people::admin(), &id, &key, &json!({})).expect(201).json();
    assert_eq!(returned(&last, [&lantern, &vase]), [3, 1]);
    assert_eq!((stock(&lantern), stock(&vase)), (10, 10));
    let refunds: Vec<Value> = returns(&id).await.iter().map(|event| event["refund"]["amount"].clone()).collect();
    assert_eq!(refunds, [2000, 2500, 2000]);
}

#[test]
fn only_delivered_orders_come_back_and_only_staff_takes_them() {
    let token = people::log_in(&people::register());
    let (id, product) = new_order(&token);
    let refused = |id: &str| {
        let _ = give_back(id, &json!({})).expect_problem(409, "invalid-transition");
        let _ = give_back(id, &lines(&[(&product, 1)])).expect_problem(409, "invalid-transition");
    };
    refused(&id);
    for status in ["confirmed", "shipped"] {
        let _ = advance(&id, status).expect(200);
        refused(&id);
    }
    let (cancelled, _) = new_order(&token);
    let _ = cancel(&token, &cancelled).expect(200);
    let _ = give_back(&cancelled, &json!({})).expect_problem(409, "invalid-transition");
    assert_eq!(stock(&product), 3);

    let _ = advance(&id, "delivered").expect(200);
    for customer in [&token, people::customer()] {
        // The authorizer's refusal, in the gateway's words.
        let _ = take_back(customer, &id, &people::new_key(), &json!({})).expect(403);
    }
    let _ = give_back(&people::new_key(), &json!({})).expect_problem(404, "not-found");
    assert_eq!(stock(&product), 3);
}

#[test]
fn a_return_needs_a_key_and_lines_that_can_be() {
    let token = people::log_in(&people::register());
    let (id, lantern, vase) = delivered_order(&token);
    let without = Call::post(format!("/v1/orders/{id}/return")).token(staff()).json(json!({})).send();
    let _ = without.expect_problem(400, "missing-idempotency-key");
    let many: Vec<(String, u32)> = (0..51).map(|_| (people::new_key(), 1)).collect();
    let many: Vec<(&str, u32)> = many.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect();
    for body in [
        lines(&[]),
        lines(&[(&lantern, 0)]),
        lines(&[(&lantern, 10_001)]),
        lines(&[(&lantern, 1), (&lantern, 1)]),
        lines(&many),
        json!({ "lines": [{ "productId": lantern, "quantity": -1 }] }),
        json!({ "lines": [{ "productId": lantern }] }),
        json!({ "lines": {} }),
        json!({ "refund": 1 }),
        json!([]),
    ] {
        let _ = give_back(&id, &body).expect_problem(422, "validation-failed");
    }
    assert_eq!((stock(&lantern), stock(&vase)), (7, 9));
}

#[tokio::test]
async fn the_same_return_again_gets_the_same_reply_and_brings_nothing_back() {
    let token = people::log_in(&people::register());
    let (id, lantern, vase) = delivered_order(&token);
    let (key, body) = (people::new_key(), lines(&[(&lantern, 1)]));
    let first = take_back(staff(), &id, &key, &body).expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    for _ in 0..2 {
        let again = take_back(staff(), &id, &key, &body).expect(201);
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    }
    // Another payload, and the same one for another order.
    let (other, ..) = delivered_order(&token);
    let _ = take_back(staff(), &id, &key, &lines(&[(&vase, 1)])).expect_problem(422, "idempotency-key-reused");
    let _ = take_back(staff(), &other, &key, &body).expect_problem(422, "idempotency-key-reused");
    assert_eq!((stock(&lantern), stock(&vase)), (8, 9));
    assert_eq!(returns(&id).await.len(), 1);
}

#[tokio::test]
async fn of_returns_of_the_same_units_at_once_one_happens() {
    let token = people::log_in(&people::register());
    let (id, lantern, vase) = delivered_order(&token);
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| give_back(&id, &json!({})).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    assert_eq!((stock(&lantern), stock(&vase)), (10, 10));
    assert_eq!(returns(&id).await.len(), 1);
}
