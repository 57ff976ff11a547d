//! `POST /v1/products/{id}/stock`

use serde_json::{Value, json};
use shared::store::{Mysql, mysql::stock_adjustments};
use tests::{Call, Reply, Stage, people};

fn send(token: &str, id: &str, key: &str, body: &Value) -> Reply {
    Call::post(format!("/v1/products/{id}/stock")).token(token).key(key).json(body).send()
}

fn adjust(id: &str, delta: i64) -> Reply {
    send(people::admin(), id, &people::new_key(), &json!({ "delta": delta, "reason": "counted" }))
}

fn stock(id: &str) -> Value {
    Call::get(format!("/v1/products/{id}")).send().expect(200).json()["stock"].clone()
}

async fn kept(id: &str) -> (i64, i64) {
    let mysql: Mysql = Stage::get().resource();
    stock_adjustments::sum(&mysql, id.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn units_come_and_go_and_the_reason_is_kept() {
    let id = people::new_product(5);
    assert_eq!(stock(&id), 5);
    let made = adjust(&id, 7).expect(201).json();
    assert_eq!((&made["productId"], &made["delta"], &made["stock"]), (&json!(id), &json!(7), &json!(12)));
    assert_eq!(made["reason"], "counted");
    assert_eq!(stock(&id), 12);
    assert_eq!(adjust(&id, -12).expect(201).json()["stock"], 0);
    assert_eq!(stock(&id), 0);
    assert_eq!(kept(&id).await, (-5, 2));
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_reply_and_moves_nothing() {
    let (id, other, key) = (people::new_product(5), people::new_product(5), people::new_key());
    let body = json!({ "delta": 3, "reason": "a delivery" });
    let first = send(people::admin(), &id, &key, &body).expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    for _ in 0..2 {
        let again = send(people::admin(), &id, &key, &body).expect(201);
        assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &first.text));
    }
    let more = json!({ "delta": 4, "reason": "a delivery" });
    let _ = send(people::admin(), &id, &key, &more).expect_problem(422, "idempotency-key-reused");
    let _ = send(people::admin(), &other, &key, &body).expect_problem(422, "idempotency-key-reused");
    assert_eq!((stock(&id), stock(&other)), (json!(8), json!(5)));
    assert_eq!(kept(&id).await, (3, 1));
}

#[tokio::test]
async fn one_key_in_parallel_makes_one_adjustment() {
    let (id, key) = (people::new_product(5), people::new_key());
    let body = json!({ "delta": 1, "reason": "x" });
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..6).map(|_| scope.spawn(|| send(people::admin(), &id, &key, &body))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 409)), "{replies:?}");
    assert!(replies.iter().any(|reply| reply.status == 201), "{replies:?}");
    assert_eq!(kept(&id).await, (1, 1));
}

#[tokio::test]
async fn adjustments_in_parallel_add_up() {
    let id = people::new_product(100);
    let deltas: Vec<i64> = (0..16).map(|number| if number % 2 == 0 { 9 } else { -4 }).collect();
    std::thread::scope(|scope| {
        let calls: Vec<_> = deltas.iter().map(|delta| scope.spawn(|| adjust(&id, *delta).expect(201))).collect();
        for call in calls {
            let _ = call.join().unwrap();
        }
    });
    assert_eq!(stock(&id), 100 + 8 * 9 - 8 * 4);
    assert_eq!(kept(&id).await, (40, 16));
}

#[tokio::test]
async fn stock_stays_between_nothing_and_what_a_product_can_have() {
    let id = people::new_product(5);
    let key = people::new_key();
    let body = |delta: i64| json!({ "delta": delta, "reason": "x" });
    let _ = send(people::admin(), &id, &key, &body(-6)).expect_problem(409, "out-of-stock");
    let problem = adjust(&id, 999_999_996).expect_problem(422, "validation-failed");
    assert_eq!(problem["errors"][0]["field"], "delta");
    // A failed request frees its key.
    let _ = send(people::admin(), &id, &key, &body(-5)).expect(201);
    let _ = adjust(&id, 1_000_000_000).expect(201);
    assert_eq!(stock(&id), 1_000_000_000);
    assert_eq!(kept(&id).await, (999_999_995, 2));
}

#[test]
fn an_adjustment_needs_a_key_units_and_a_reason() {
    let id = people::new_product(5);
    let body = json!({ "delta": 1, "reason": "x" });
    let without = Call::post(format!("/v1/products/{id}/stock")).token(people::admin()).json(&body).send();
    let _ = without.expect_problem(400, "missing-idempotency-key");
    for body in [
        json!({ "delta": 0, "reason": "x" }),
        json!({ "delta": 1_000_000_001, "reason": "x" }),
        json!({ "delta": -1_000_000_001_i64, "reason": "x" }),
        json!({ "delta": 1_u64 << 40, "reason": "x" }),
        json!({ "delta": 0.5, "reason": "x" }),
        json!({ "delta": 1 }),
        json!({ "delta": 1, "reason": "" }),
        json!({ "delta": 1, "reason": " " }),
        json!({ "delta": 1, "reason": "a\nb" }),
        json!({ "delta": 1, "reason": "x".repeat(201) }),
    ] {
        let _ = send(people::admin(), &id, &people::new_key(), &body).expect_problem(422, "validation-failed");
    }
    let unknown = send(people::admin(), &people::new_key(), &people::new_key(), &body);
    let _ = unknown.expect_problem(404, "not-found");
    assert_eq!(stock(&id), 5);
}
