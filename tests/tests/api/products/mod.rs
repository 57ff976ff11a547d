//! `/v1/products`

mod changes;
mod lists;
mod search;
mod stock;

use serde_json::{Value, json};
use tests::{Call, Stage, people, schema::Schemas};

fn create(body: &Value) -> tests::Reply {
    Call::post("/v1/products").token(people::admin()).json(body).send()
}

fn lantern() -> Value {
    json!({
        "sku": format!("LANTERN-{}", people::random()),
        "name": "Brass lantern ✨",
        "description": "Hammered\nby hand",
        "price": { "amount": 4900, "currency": "EUR" },
        "stock": 7,
    })
}

#[test]
fn a_product_is_created_and_read_from_the_store_then_from_the_cache() {
    let created = create(&lantern()).expect(201);
    let product = created.json();
    let path = format!("/v1/products/{}", product["id"].as_str().unwrap());
    assert_eq!((created.header("location"), created.header("etag")), (Some(path.as_str()), Some("\"1\"")));

    let first = Call::get(&path).send().expect(200);
    let second = Call::get(&path).send().expect(200);
    assert_eq!((first.header("x-cache"), second.header("x-cache")), (Some("miss"), Some("hit")));
    assert_eq!((first.json(), second.text), (product, first.text));
}

/// The reply to a creation says what the function has in hand, so only a read from the store shows what was written.
#[test]
fn every_member_of_a_new_product_is_written() {
    let openapi = &Stage::get().openapi;
    let mut new = Schemas::new(openapi).sample(&openapi["components"]["schemas"]["NewProduct"]);
    new["sku"] = lantern()["sku"].take();
    let created = create(&new).expect(201).json();
    let read = Call::get(format!("/v1/products/{}", created["id"].as_str().unwrap())).send().expect(200);
    assert_eq!((read.header("x-cache"), read.json()), (Some("miss"), created.clone()));
    for (name, value) in new.as_object().unwrap() {
        assert_eq!(created[name], *value, "{name}");
    }
}

#[test]
fn a_product_that_is_not_there_is_cached_as_that() {
    let path = format!("/v1/products/{}", people::new_key());
    for _ in 0..2 {
        let _ = Call::get(&path).send().expect_problem(404, "not-found");
    }
    let _ = Call::get("/v1/products/not-an-id").send().expect_problem(400, "malformed-request");
}

#[test]
fn a_sku_is_taken_once_also_in_parallel() {
    let product = lantern();
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| create(&product).status)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
    let _ = create(&product).expect_problem(409, "sku-taken");
}

#[test]
fn values_that_a_product_cannot_have_are_named() {
    let long = "x".repeat(201);
    for (pointer, value, field) in [
        ("/sku", json!(""), "sku"),
        ("/sku", json!("'; DROP TABLE products; --"), "sku"),
        ("/name", json!(" "), "name"),
        ("/name", json!("a\u{0}b"), "name"),
        ("/name", json!(long), "name"),
        ("/stock", json!(-1), "stock"),
        ("/stock", json!(4_000_000_000_u64), "stock"),
        ("/stock", json!(1.5), "stock"),
        ("/price/amount", json!(-5), "price.amount"),
        ("/price/amount", json!(1_u64 << 60), "price.amount"),
        ("/price/amount", json!(19.99), "price.amount"),
        ("/price/currency", json!("XXX"), "price.currency"),
        ("/price", json!(null), "price"),
    ] {
        let mut product = lantern();
        *product.pointer_mut(pointer).unwrap() = value;
        let problem = create(&product).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
}

#[test]
fn a_client_that_has_the_product_is_not_sent_it_again() {
    let path = format!("/v1/products/{}", people::new_product(3));
    let read = |tag: &str| Call::get(&path).header("if-none-match", tag).send();
    let tag = Call::get(&path).send().expect(200).header("etag").unwrap().to_owned();
    for naming in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let reply = read(&naming).expect(304);
        assert_eq!((reply.header("etag"), reply.text.as_str()), (Some(tag.as_str()), ""), "{naming}");
    }
    for other in ["\"2\"", "1", ""] {
        let _ = read(other).expect(200);
    }
    let path = format!("/v1/products/{}", people::new_key());
    let _ = Call::get(path).header("if-none-match", "*").send().expect_problem(404, "not-found");
}
