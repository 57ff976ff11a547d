//! `/v1/orders`

use serde_json::{Value, json};
use tests::{Call, Reply, aws, people};

fn place(token: &str, key: &str, body: &Value) -> Reply {
    Call::post("/v1/orders").token(token).key(key).json(body).send()
}

fn lines(lines: &[(&str, u32)]) -> Value {
    let line = |(id, quantity): &(&str, u32)| json!({ "productId": id, "quantity": quantity });
    json!({ "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

fn stock(product: &str) -> u64 {
    Call::get(format!("/v1/products/{product}")).send().expect(200).json()["stock"].as_u64().unwrap()
}

#[test]
fn an_order_takes_the_stock_keeps_the_prices_and_is_confirmed_by_mail() {
    let email = people::register();
    let token = people::log_in(&email);
    let (lantern, vase) = (people::new_product_at(5, 4900, "EUR"), people::new_product_at(9, 250, "EUR"));
    assert_eq!(stock(&lantern), 5);

    let order = place(&token, &people::new_key(), &lines(&[(&lantern, 2), (&vase, 4)])).expect(201).json();
    assert_eq!(order["status"], "pending");
    assert_eq!(order["total"], json!({ "amount": 2 * 4900 + 4 * 250, "currency": "EUR" }));
    assert_eq!(order["items"].as_array().unwrap().len(), 2);
    assert_eq!((stock(&lantern), stock(&vase)), (3, 5));

    let mail = aws::wait_for_mail(&email, order["id"].as_str().unwrap());
    assert!(mail.contains("108.00 EUR"), "{mail}");
}

#[test]
fn the_same_request_again_gets_the_same_reply_and_orders_nothing() {
    let (token, key, product) = (people::customer(), people::new_key(), people::new_product(5));
    let body = lines(&[(&product, 2)]);
    let first = place(token, &key, &body).expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    for _ in 0..2 {
        let again = place(token, &key, &body).expect(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.text, first.text);
    }
    assert_eq!(stock(&product), 3);
}

#[test]
fn one_key_in_parallel_makes_one_order() {
    let (token, key, product) = (people::customer(), people::new_key(), people::new_product(50));
    let body = lines(&[(&product, 1)]);
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| place(token, &key, &body))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let placed: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 201).collect();
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 409)), "{replies:?}");
    assert!(!placed.is_empty() && placed.iter().all(|reply| reply.text == placed[0].text));
    assert_eq!(stock(&product), 49);
}

#[test]
fn a_key_belongs_to_one_payload_of_one_user() {
    let (key, product) = (people::new_key(), people::new_product(5));
    let order = place(people::customer(), &key, &lines(&[(&product, 1)])).expect(201);
    let _ = place(people::customer(), &key, &lines(&[(&product, 2)])).expect_problem(422, "idempotency-key-reused");
    let other = place(people::admin(), &key, &lines(&[(&product, 1)])).expect(201);
    assert_ne!(order.json()["id"], other.json()["id"]);
    assert_eq!(stock(&product), 3);
}

#[test]
fn a_key_is_required_and_has_to_be_one() {
    let body = lines(&[(&people::new_product(1), 1)]);
    let without = Call::post("/v1/orders").token(people::customer()).json(&body).send();
    let _ = without.expect_problem(400, "missing-idempotency-key");
    let _ = place(people::customer(), &"k".repeat(256), &body).expect_problem(400, "malformed-request");
}

#[test]
fn more_than_there_is_changes_nothing_and_frees_the_key() {
    let (key, lantern, vase) = (people::new_key(), people::new_product(5), people::new_product(1));
    let too_many = lines(&[(&lantern, 2), (&vase, 2)]);
    let _ = place(people::customer(), &key, &too_many).expect_problem(409, "out-of-stock");
    assert_eq!((stock(&lantern), stock(&vase)), (5, 1));
    let _ = place(people::customer(), &key, &lines(&[(&lantern, 2), (&vase, 1)])).expect(201);
}

#[test]
fn two_buyers_for_the_last_unit_make_one_order() {
    for round in 0..20 {
        let product = people::new_product(1);
        let body = lines(&[(&product, 1)]);
        let mut statuses = std::thread::scope(|scope| {
            let buyers = [people::customer(), people::admin()];
            let calls = buyers.map(|token| scope.spawn(|| place(token, &people::new_key(), &body).status));
            calls.map(|call| call.join().unwrap())
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "round {round}");
        assert_eq!(stock(&product), 0, "round {round}");
    }
}

#[test]
fn buyers_of_the_same_products_in_different_order_do_not_block_each_other() {
    let (lantern, vase) = (people::new_product(100), people::new_product(100));
    let bodies = [lines(&[(&lantern, 1), (&vase, 1)]), lines(&[(&vase, 1), (&lantern, 1)])];
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..12)
            .map(|buyer| {
                let body = &bodies[buyer % 2];
                scope.spawn(move || place(people::customer(), &people::new_key(), body).status)
            })
            .collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == 201));
    });
    assert_eq!((stock(&lantern), stock(&vase)), (88, 88));
}

#[test]
fn orders_that_cannot_be_are_refused() {
    let product = people::new_product(10);
    let dear = people::new_product_at(10_000, (1 << 53) - 1, "EUR");
    let yen = people::new_product_at(5, 1000, "JPY");
    let unknown = people::new_key();
    let many: Vec<(String, u32)> = (0..51).map(|_| (people::new_key(), 1)).collect();
    let many: Vec<(&str, u32)> = many.iter().map(|(id, quantity)| (id.as_str(), *quantity)).collect();
    for body in [
        lines(&[]),
        lines(&[(&product, 0)]),
        lines(&[(&product, u32::MAX)]),
        lines(&[(&product, 1), (&product, 1)]),
        lines(&[(&unknown, 1)]),
        lines(&[(&product, 1), (&yen, 1)]),
        lines(&[(&dear, 2)]),
        lines(&many),
        json!({ "lines": [{ "productId": product, "quantity": -1 }] }),
        json!({ "lines": [{ "productId": product, "quantity": 1, "price": 1 }] }),
        json!({ "lines": [{ "productId": "x", "quantity": 1 }] }),
    ] {
        let _ = place(people::customer(), &people::new_key(), &body).expect_problem(422, "validation-failed");
    }
    assert_eq!((stock(&product), stock(&dear), stock(&yen)), (10, 10_000, 5));
}
