//! `PATCH` and `DELETE /v1/products/{id}`

use serde_json::{Value, json};
use tests::{
    Call, Reply, Stage, people,
    schema::{Schemas, members},
};
use ureq::http::Method;

fn read(id: &str) -> Reply {
    Call::get(format!("/v1/products/{id}")).send()
}

fn change(id: &str, tag: &str, body: &Value) -> Reply {
    let call = Call::new(Method::PATCH, format!("/v1/products/{id}")).token(people::admin());
    call.header("if-match", tag).json(body).send()
}

fn delete(id: &str) -> Reply {
    Call::new(Method::DELETE, format!("/v1/products/{id}")).token(people::admin()).send()
}

#[test]
fn a_change_is_seen_by_the_next_read_also_through_the_cache() {
    let id = people::new_product(3);
    let before = (read(&id).expect(200), read(&id).expect(200).json());
    let price = json!({ "amount": 777, "currency": "JPY" });
    let changed = change(&id, before.0.header("etag").unwrap(), &json!({ "name": "Tall lantern", "price": price }));
    let changed = changed.expect(200);
    assert_eq!(changed.header("etag"), Some("\"2\""));

    let mut expected = before.1;
    expected["name"] = json!("Tall lantern");
    expected["price"] = price;
    expected["version"] = json!(2);
    expected["updatedAt"] = changed.json()["updatedAt"].clone();
    assert_eq!(changed.json(), expected);
    assert_eq!(read(&id).expect(200).json(), expected);

    let described = change(&id, "\"2\"", &json!({ "description": "By hand" })).expect(200).json();
    assert_eq!((&described["description"], &described["name"]), (&json!("By hand"), &json!("Tall lantern")));
    assert_eq!(read(&id).expect(200).json(), described);
}

/// The reply to a change says what the function has in hand, so only a read from the store shows what was written.
#[test]
fn every_member_that_can_be_changed_is_written() {
    let openapi = &Stage::get().openapi;
    let changeable = &openapi["components"]["schemas"]["ProductChanges"];
    let changes = Schemas::new(openapi).sample(changeable);
    let id = people::new_product(3);
    let before = read(&id).expect(200).json();
    let reply = change(&id, "\"1\"", &changes).expect(200).json();
    let after = read(&id).expect(200);
    assert_ne!(after.header("x-cache"), Some("hit"), "{after:?}");
    assert_eq!(after.json(), reply);
    for (name, value) in after.json().as_object().unwrap() {
        match (changes.get(name), name.as_str()) {
            (Some(wanted), _) => {
                assert_eq!(value, wanted, "{name}");
                assert!(differ(&before[name], wanted), "{name} had that value before");
            }
            (None, "version") => assert_eq!(value, 2),
            (None, "updatedAt") => assert_ne!(*value, before[name]),
            (None, _) => assert_eq!(*value, before[name], "{name}"),
        }
    }
    let unread: Vec<_> = members(changeable).filter(|(name, _)| after.json().get(name).is_none()).collect();
    assert!(unread.is_empty(), "{unread:?} can be changed and not read");
}

/// Whether two values differ in each of their members.
fn differ(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => right.iter().all(|(name, value)| differ(&left[name], value)),
        _ => left != right,
    }
}

#[test]
fn only_the_version_that_was_read_is_changed() {
    let id = people::new_product(3);
    let body = json!({ "name": "Other" });
    let call = Call::new(Method::PATCH, format!("/v1/products/{id}")).token(people::admin()).json(&body);
    let _ = call.send().expect_problem(428, "precondition-required");
    let _ = change(&id, "\"2\"", &body).expect_problem(412, "precondition-failed");
    let _ = change(&id, "1", &body).expect_problem(400, "malformed-request");
    let _ = change(&people::new_key(), "\"1\"", &body).expect_problem(404, "not-found");
    assert_eq!(read(&id).expect(200).json()["name"], "Test lantern");
}

#[test]
fn of_six_changes_at_once_one_wins() {
    let id = people::new_product(3);
    let bodies: Vec<Value> = (0..6).map(|number| json!({ "name": format!("Lantern {number}") })).collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = bodies.iter().map(|body| scope.spawn(|| change(&id, "\"1\"", body).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let winner = statuses.iter().position(|status| *status == 200).expect("one of them wins");
    assert_eq!(statuses.iter().filter(|status| **status == 412).count(), 5, "{statuses:?}");
    let product = read(&id).expect(200).json();
    assert_eq!((&product["name"], &product["version"]), (&bodies[winner]["name"], &json!(2)));
}

#[test]
fn a_change_of_nothing_or_to_what_cannot_be_is_refused() {
    let id = people::new_product(3);
    for body in [
        json!({}),
        json!({ "name": null }),
        json!({ "name": "" }),
        json!({ "name": " " }),
        json!({ "name": "a\nb" }),
        json!({ "name": "x".repeat(201) }),
        json!({ "description": "x".repeat(5001) }),
        json!({ "price": { "amount": -1, "currency": "EUR" } }),
        json!({ "price": { "amount": 1_u64 << 53, "currency": "EUR" } }),
        json!({ "price": 5 }),
        json!({ "stock": 5 }),
        json!({ "sku": "x" }),
        json!({ "version": 7, "name": "x" }),
    ] {
        let _ = change(&id, "\"1\"", &body).expect_problem(422, "validation-failed");
    }
    assert_eq!(read(&id).expect(200).json()["version"], 1);
}

#[test]
fn a_deleted_product_is_gone_at_once_for_everybody_and_its_sku_stays_taken() {
    let id = people::new_product(3);
    let product = read(&id).expect(200).json();
    let _ = read(&id).expect(200);
    assert!(delete(&id).expect(204).text.is_empty());

    for _ in 0..3 {
        let _ = read(&id).expect_problem(404, "not-found");
    }
    let _ = change(&id, "\"2\"", &json!({ "name": "x" })).expect_problem(404, "not-found");
    let _ = delete(&id).expect_problem(404, "not-found");
    let newest = Call::get("/v1/products?limit=100").send().expect(200).json();
    assert!(newest["items"].as_array().unwrap().iter().all(|item| item["id"] != id.as_str()), "{newest}");

    let line = json!({ "lines": [{ "productId": id, "quantity": 1 }] });
    let order = Call::post("/v1/orders").token(people::customer()).key(&people::new_key()).json(line).send();
    let _ = order.expect_problem(422, "validation-failed");
    let adjust = Call::post(format!("/v1/products/{id}/stock")).token(people::admin()).key(&people::new_key());
    let _ = adjust.json(json!({ "delta": 1, "reason": "x" })).send().expect_problem(404, "not-found");

    let again = json!({ "sku": product["sku"], "name": "x", "price": product["price"], "stock": 1 });
    let _ = Call::post("/v1/products").token(people::admin()).json(again).send().expect_problem(409, "sku-taken");
}

#[test]
fn of_several_deletions_at_once_one_finds_the_product() {
    let id = people::new_product(3);
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| delete(&id).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 404, 404, 404]);
}
