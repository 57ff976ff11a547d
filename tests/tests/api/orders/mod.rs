//! `/v1/orders`

mod buyers;
mod cancellation;
mod returns;

use std::{
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    identity::{Caller, Role, Roles, Scope},
    messaging, order,
    store::{Mysql, mysql::orders},
};
use tests::{Call, Reply, Stage, aws, people};
use ureq::http::Method;
use uuid::Uuid;

/// How long an event may take to its subscribers: longer than the relay's schedule.
const TIMEOUT: Duration = Duration::from_secs(90);

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

#[test]
fn items_keep_the_name_and_the_sku_that_their_product_had() {
    let token = people::log_in(&people::register());
    let path = format!("/v1/products/{}", people::new_product(5));
    let product = Call::get(&path).send().expect(200);
    let tag = product.header("etag").unwrap().to_owned();
    let product = product.json();
    let order = place(&token, &people::new_key(), &lines(&[(product["id"].as_str().unwrap(), 2)])).expect(201).json();
    let expected = json!([{
        "productId": product["id"], "sku": product["sku"], "name": product["name"],
        "quantity": 2, "returned": 0, "unitPrice": product["price"],
    }]);
    assert_eq!(order["items"], expected);

    // The order has taken stock, and so made another version.
    let change = |tag: &str| {
        let changes = json!({ "name": "Renamed", "price": { "amount": 1, "currency": "JPY" } });
        Call::new(Method::PATCH, &path).token(people::admin()).header("if-match", tag).json(changes).send()
    };
    let _ = change(&tag).expect_problem(412, "precondition-failed");
    let tag = Call::get(&path).send().expect(200).header("etag").unwrap().to_owned();
    assert_eq!(change(&tag).expect(200).json()["name"], "Renamed");

    let id = order["id"].as_str().unwrap();
    assert_eq!(get(&token, id).expect(200).json(), order);
    let list = Call::get("/v1/orders").token(&token).send().expect(200).json();
    assert_eq!(list["items"], json!([order]));
    let cancelled = cancel(&token, id).expect(200).json();
    assert_eq!(cancelled["items"], expected);
    let _ = Call::new(Method::DELETE, &path).token(people::admin()).send().expect(204);
    assert_eq!(get(&token, id).expect(200).json()["items"], expected);
}

#[test]
fn an_order_that_became_dearer_than_the_buyer_has_seen_is_refused_and_frees_its_key() {
    let (token, key, product) =
        (people::log_in(&people::register()), people::new_key(), people::new_product_at(9, 2000, "EUR"));
    let expecting = |amount: u64, currency: &str| {
        let mut body = lines(&[(&product, 2)]);
        body["expectedTotal"] = json!({ "amount": amount, "currency": currency });
        body
    };
    for seen in [expecting(3999, "EUR"), expecting(0, "EUR"), expecting(4000, "USD"), expecting(9999, "JPY")] {
        let problem = place(&token, &key, &seen).expect_problem(409, "price-changed");
        assert!(problem["detail"].as_str().unwrap().contains("40.00 EUR"), "{problem}");
    }
    assert_eq!(stock(&product), 9);
    assert_eq!(Call::get("/v1/orders").token(&token).send().expect(200).json()["items"], json!([]));

    // Equal, and under the key of the requests that were refused.
    let order = place(&token, &key, &expecting(4000, "EUR")).expect(201);
    assert_eq!(order.json()["total"], json!({ "amount": 4000, "currency": "EUR" }));
    let again = place(&token, &key, &expecting(4000, "EUR")).expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &order.text));
    // The expected total is part of the payload.
    let _ = place(&token, &key, &expecting(4001, "EUR")).expect_problem(422, "idempotency-key-reused");
    // Cheaper than expected; and without an expectation.
    let cheaper = place(&token, &people::new_key(), &expecting(5000, "EUR")).expect(201).json();
    assert_eq!(cheaper["total"]["amount"], 4000);
    let _ = place(&token, &people::new_key(), &lines(&[(&product, 2)])).expect(201);
    assert_eq!(stock(&product), 3);

    for (amount, currency) in [(json!(-1), "EUR"), (json!(1_u64 << 53), "EUR"), (json!(1.5), "EUR"), (json!(1), "XXX")]
    {
        let mut body = lines(&[(&product, 2)]);
        body["expectedTotal"] = json!({ "amount": amount, "currency": currency });
        let _ = place(&token, &people::new_key(), &body).expect_problem(422, "validation-failed");
    }
    assert_eq!(stock(&product), 3);
}

fn get(token: &str, id: &str) -> Reply {
    Call::get(format!("/v1/orders/{id}")).token(token).send()
}

fn cancel(token: &str, id: &str) -> Reply {
    Call::post(format!("/v1/orders/{id}/cancel")).token(token).send()
}

fn cancel_with(token: &str, id: &str, body: &Value) -> Reply {
    Call::post(format!("/v1/orders/{id}/cancel")).token(token).json(body).send()
}

fn advance(id: &str, status: &str) -> Reply {
    let call = Call::new(Method::PATCH, format!("/v1/orders/{id}/status")).token(staff());
    call.json(json!({ "status": status })).send()
}

fn staff() -> &'static str {
    static TOKEN: LazyLock<String> = LazyLock::new(|| people::log_in("staff@souk.example"));
    &TOKEN
}

fn adjust(product: &str, delta: i64) -> Reply {
    let call = Call::post(format!("/v1/products/{product}/stock")).token(people::admin()).key(&people::new_key());
    call.json(json!({ "delta": delta, "reason": "counted" })).send()
}

/// Waits for the user's notification of this kind about an order, and returns its data.
fn wait_for_notification(token: &str, kind: &str, order: &str) -> Value {
    let start = Instant::now();
    loop {
        let page = Call::get("/v1/users/me/notifications").token(token).send().expect(200).json();
        let mut found = page["items"].as_array().unwrap().iter();
        if let Some(found) = found.find(|found| found["kind"] == kind && found["data"]["orderId"] == order) {
            return found["data"].clone();
        }
        assert!(start.elapsed() < TIMEOUT, "no {kind} of {order}: {page}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The envelopes of an order's events, the oldest first.
async fn events(order: &str) -> Vec<Value> {
    let mysql: Mysql = Stage::get().resource();
    let envelopes = sqlx::query_scalar("SELECT envelope FROM outbox WHERE queue = ? AND envelope LIKE ? ORDER BY id");
    let envelopes = envelopes.bind(messaging::EVENTS).bind(format!("%{order}%"));
    let envelopes: Vec<String> = envelopes.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap();
    envelopes.iter().map(|envelope| serde_json::from_str(envelope).unwrap()).collect()
}

/// A new order of two out of five units: its id, and the product's.
fn new_order(token: &str) -> (String, String) {
    let product = people::new_product(5);
    let order = place(token, &people::new_key(), &lines(&[(&product, 2)])).expect(201).json();
    (order["id"].as_str().unwrap().to_owned(), product)
}

#[test]
fn an_order_is_read_by_its_owner_and_by_staff_and_by_nobody_else() {
    let (owner, other) = (people::log_in(&people::register()), people::log_in(&people::register()));
    let (id, product) = new_order(&owner);
    let order = get(&owner, &id).expect(200).json();
    assert_eq!((&order["status"], &order["userId"]), (&json!("pending"), &json!(people::id_of(&owner))));
    assert_eq!(order["items"][0]["productId"], json!(product));
    assert_eq!(get(staff(), &id).expect(200).json(), order);
    let _ = get(&other, &id).expect_problem(404, "not-found");
    let _ = cancel(&other, &id).expect_problem(404, "not-found");
    let _ = get(&owner, &people::new_key()).expect_problem(404, "not-found");
}

#[test]
fn an_order_goes_forward_step_by_step() {
    let token = people::log_in(&people::register());
    let (id, _) = new_order(&token);
    for too_far in ["shipped", "delivered"] {
        let _ = advance(&id, too_far).expect_problem(409, "invalid-transition");
    }
    for status in ["confirmed", "shipped", "delivered"] {
        for _ in 0..2 {
            assert_eq!(advance(&id, status).expect(200).json()["status"], status);
        }
        assert_eq!(get(&token, &id).expect(200).json()["status"], status);
    }
    let _ = advance(&id, "confirmed").expect_problem(409, "invalid-transition");
    for unknown in ["cancelled", "pending", "lost"] {
        let _ = advance(&id, unknown).expect_problem(422, "validation-failed");
    }
    let _ = advance(&people::new_key(), "confirmed").expect_problem(404, "not-found");
}

#[test]
fn a_cancelled_order_returns_its_stock_once_however_often_and_however_fast() {
    let token = people::log_in(&people::register());
    let (id, product) = new_order(&token);
    assert_eq!(stock(&product), 3);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| cancel(&token, &id).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses, [200; 8]);
    assert_eq!(stock(&product), 5);
    assert_eq!(cancel(&token, &id).expect(200).json()["status"], "cancelled");
    let _ = advance(&id, "confirmed").expect_problem(409, "invalid-transition");
    assert_eq!(stock(&product), 5);
}

#[test]
fn an_order_is_cancelled_before_it_ships_and_not_after() {
    let token = people::log_in(&people::register());
    let (confirmed, first) = new_order(&token);
    let _ = advance(&confirmed, "confirmed").expect(200);
    let _ = cancel(&token, &confirmed).expect(200);
    assert_eq!(stock(&first), 5);

    let (shipped, second) = new_order(&token);
    let _ = (advance(&shipped, "confirmed").expect(200), advance(&shipped, "shipped").expect(200));
    let _ = cancel(&token, &shipped).expect_problem(409, "invalid-transition");
    assert_eq!(stock(&second), 3);
}

#[test]
fn of_shipping_and_cancelling_at_once_one_happens() {
    let token = people::log_in(&people::register());
    for round in 0..5 {
        let (id, product) = new_order(&token);
        let _ = advance(&id, "confirmed").expect(200);
        let (shipping, cancelling) = std::thread::scope(|scope| {
            let (ships, cancels) =
                (scope.spawn(|| advance(&id, "shipped").status), scope.spawn(|| cancel(&token, &id).status));
            (ships.join().unwrap(), cancels.join().unwrap())
        });
        let (status, left) = if cancelling == 200 { ("cancelled", 5) } else { ("shipped", 3) };
        assert!(matches!((shipping, cancelling), (200, 409) | (409, 200)), "round {round}: {shipping}, {cancelling}");
        assert_eq!((get(&token, &id).json()["status"].as_str(), stock(&product)), (Some(status), left));
    }
}

#[test]
fn orders_are_listed_in_pages_to_their_owner_and_to_staff() {
    let (owner, other) = (people::log_in(&people::register()), people::log_in(&people::register()));
    let mut placed: Vec<String> = (0..5).map(|_| new_order(&owner).0).collect();
    placed.reverse();
    let _ = cancel(&owner, &placed[1]).expect(200);
    let list = |token: &str, query: &str| Call::get(format!("/v1/orders?{query}")).token(token).send();
    let ids = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
    };

    let first = list(&owner, "limit=2").expect(200).json();
    let next = first["next"].as_str().unwrap();
    let second = list(&owner, &format!("limit=2&cursor={next}")).expect(200).json();
    let third = list(&owner, &format!("limit=2&cursor={}", second["next"].as_str().unwrap())).expect(200).json();
    assert_eq!([ids(&first), ids(&second), ids(&third)].concat(), placed);
    assert_eq!(third["next"], Value::Null);
    assert_eq!(first["items"][0]["items"].as_array().unwrap().len(), 1);
    assert_eq!(ids(&list(&owner, "status=cancelled").expect(200).json()), placed[1..2]);

    assert_eq!(list(&other, "").expect(200).json()["items"], json!([]));
    let everybodys = list(staff(), "limit=100").expect(200).json();
    assert!(everybodys["items"].as_array().unwrap().iter().any(|order| order["id"] == json!(placed[0])));
    // Cursors are bound to the owner and the filter.
    for (token, query) in [(&other, "limit=2"), (&owner, "status=pending")] {
        let _ = list(token, &format!("{query}&cursor={next}")).expect_problem(400, "invalid-cursor");
    }
    for cursor in [&next[..next.len() - 2], "x", ""] {
        let _ = list(&owner, &format!("cursor={cursor}")).expect_problem(400, "invalid-cursor");
    }
    let _ = list(&owner, "limit=0").expect_problem(422, "validation-failed");
    let _ = list(&owner, "status=lost").expect_problem(400, "malformed-request");
}

#[tokio::test]
async fn lists_of_orders_are_found_by_an_index_and_not_sorted() {
    let mysql: Mysql = Stage::get().resource();
    let user_id = people::id_of(people::customer()).parse().unwrap();
    let caller = Caller { user_id, session_id: user_id, roles: Roles(vec![Role::Customer]) };
    for scope in [Scope::Own(caller.owner()), Scope::Everybody] {
        for status in [None, Some(order::Status::Pending)] {
            for after in [None, Some(Uuid::max())] {
                let plan = orders::explain_list(&mysql, scope, status, after).await.unwrap();
                assert_eq!(plan.len(), 1);
                assert!(!plan[0].starts_with("ALL") && !plan[0].contains("filesort"), "{scope:?} {status:?}: {plan:?}");
            }
        }
    }
}

#[test]
fn twenty_requests_with_one_key_at_once_make_one_order() {
    let (token, key, product) = (people::customer(), people::new_key(), people::new_product(50));
    let body = lines(&[(&product, 1)]);
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20).map(|_| scope.spawn(|| place(token, &key, &body))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let text = place(token, &key, &body).expect(201).text;
    assert!(replies.iter().all(|reply| reply.status == 409 || reply.text == text), "{replies:?}");
    assert_eq!(stock(&product), 49);
}

/// 64 buyers want one of ten units, each together with other products, in any order.
#[test]
fn sixty_four_buyers_for_ten_units_buy_exactly_ten_each_round() {
    let plenty: Vec<String> = (0..4).map(|_| people::new_product(100_000)).collect();
    let mut others_sold = 0;
    for round in 0..20 {
        let scarce = people::new_product(10);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..64)
                .map(|buyer| {
                    let mut wanted: Vec<(&str, u32)> = plenty.iter().map(|id| (id.as_str(), 1)).collect();
                    wanted.insert(buyer % 5, (&scarce, 1));
                    wanted.rotate_left(buyer % 3);
                    if buyer % 2 == 0 {
                        wanted.reverse();
                    }
                    let body = lines(&wanted);
                    scope.spawn(move || place(people::customer(), &people::new_key(), &body).status)
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let count = |wanted: u16| statuses.iter().filter(|&&status| status == wanted).count();
        assert_eq!((count(201), count(409)), (10, 54), "round {round}: {statuses:?}");
        assert_eq!(stock(&scarce), 0, "round {round}");
        others_sold += 10;
        assert!(plenty.iter().all(|id| stock(id) == 100_000 - others_sold), "round {round}");
    }
}
