//! Every constraint of the database has an answer in the contract: a request that would violate it gets a problem (4xx), and no
//! request meets the database's own refusal, which is a 500.

use std::{collections::BTreeSet, fmt::Debug, fs, sync::LazyLock};

use serde_json::{Value, json};
use shared::{order::Status, store::Mysql};
use sqlx::Row;
use tests::{
    Call, Reply, Stage, aws, database::Database, function::Function, people, queue, queue::Received,
    template::repository,
};
use ureq::http::Method;
use uuid::Uuid;

/// The answer to a request that would violate a constraint.
enum Answer {
    /// It is refused before, with this status and problem.
    Refused(u16, &'static str, fn() -> Reply),
    /// No request reaches it, for this reason; and the proof.
    Unreachable(&'static str, fn()),
}

use Answer::{Refused, Unreachable};

/// Table and name of each constraint, and its answers.
const CONSTRAINTS: &[(&str, &str, &[Answer])] = &[
    ("idempotency_keys", "PRIMARY", &[Refused(422, "idempotency-key-reused", another_order_under_a_used_key)]),
    (
        "order_items",
        "PRIMARY",
        &[
            Refused(422, "validation-failed", || post("/v1/orders", &lines(&[(product(), 1), (product(), 2)]))),
            Refused(422, "validation-failed", || take_back(&lines(&[(product(), 1), (product(), 1)]))),
        ],
    ),
    ("order_items", "order_items_order", &[Unreachable("orders are inserted before their items and stay", rows_stay)]),
    (
        "order_items",
        "order_items_product",
        &[
            Refused(422, "validation-failed", || post("/v1/orders", &lines(&[(&people::new_key(), 1)]))),
            Unreachable("a product that is deleted stays as a row", a_product_that_was_ordered_is_deleted),
        ],
    ),
    (
        "order_items",
        "order_items_quantity",
        &[Refused(422, "validation-failed", || post("/v1/orders", &lines(&[(product(), 0)])))],
    ),
    ("orders", "PRIMARY", &[Refused(422, "validation-failed", || with_a_known_id("/v1/orders", order()))]),
    (
        "orders",
        "orders_status",
        &[
            Refused(422, "validation-failed", || move_on("lost")),
            Refused(422, "validation-failed", || move_on("")),
            // A status, but none that fulfilment sets.
            Refused(422, "validation-failed", || move_on(Status::Cancelled.as_str())),
        ],
    ),
    (
        "outbox",
        "PRIMARY",
        &[Unreachable("a message's id is new, and a repetition sends none", a_repetition_is_no_message)],
    ),
    (
        "processed_messages",
        "PRIMARY",
        &[Unreachable("a second delivery is told from the first", a_message_is_delivered_twice)],
    ),
    ("products", "PRIMARY", &[Refused(422, "validation-failed", || with_a_known_id("/v1/products", product()))]),
    (
        "products",
        "products_sku",
        &[
            Refused(409, "sku-taken", || post("/v1/products", &new_product(&sku_of(product()), 1))),
            Refused(409, "sku-taken", || post("/v1/products", &new_product(&sku_of_a_deleted_product(), 1))),
        ],
    ),
    ("reports", "PRIMARY", &[Refused(422, "validation-failed", || with_a_known_id("/v1/reports", &people::new_key()))]),
    (
        "reports",
        "reports_status",
        &[Refused(422, "validation-failed", || {
            let mut body = sample("/v1/reports");
            body["status"] = json!("lost");
            post("/v1/reports", &body)
        })],
    ),
    (
        "stock_adjustments",
        "PRIMARY",
        &[Refused(422, "validation-failed", || {
            let body = json!({ "id": people::new_key(), "delta": 1, "reason": "counted" });
            post(&format!("/v1/products/{}/stock", product()), &body)
        })],
    ),
    ("stock_adjustments", "stock_adjustments_delta", &[Refused(422, "validation-failed", || adjust(product(), 0))]),
    ("stock_adjustments", "stock_adjustments_product", &[Refused(404, "not-found", || adjust(&people::new_key(), 1))]),
];

/// Table and name of each column whose type is the only limit, since a CHECK would copy its table; and the answers.
const BOUNDED_BY_TYPE: &[(&str, &str, &[Answer])] = &[
    (
        "order_items",
        "returned",
        &[Refused(422, "validation-failed", || take_back(&lines(&[(product(), ORDERED + 1)])))],
    ),
    (
        "products",
        "stock",
        &[
            Refused(422, "validation-failed", || post("/v1/products", &new_product(&people::random(), MAX_STOCK + 1))),
            Refused(422, "validation-failed", || adjust(product(), 1_000_000_001)),
            Unreachable("units that come back and do not fit are written off", units_come_back_to_a_full_shelf),
        ],
    ),
];

/// The bound of a text that is kept in a column.
enum Length {
    /// The property of a schema in the OpenAPI document, whose length is bounded.
    Bounded(&'static str, &'static str),
    /// The text is this, and no request's.
    Ours(&'static str),
}

use Length::{Bounded, Ours};

/// Table and name of each column with a text.
const TEXTS: &[(&str, &str, Length)] = &[
    ("idempotency_keys", "body", Ours("a reply")),
    ("idempotency_keys", "endpoint", Ours("the name of a function")),
    ("idempotency_keys", "idempotency_key", Ours("a header of at most 255 characters: contract/idempotency.rs")),
    ("order_items", "name", Bounded("NewProduct", "name")),
    ("order_items", "sku", Bounded("NewProduct", "sku")),
    ("orders", "cancel_reason", Bounded("Cancellation", "reason")),
    ("orders", "currency", Ours("one of a list")),
    ("orders", "status", Ours("one of a list")),
    ("outbox", "envelope", Ours("a message")),
    ("outbox", "last_error", Ours("shortened")),
    ("outbox", "queue", Ours("the name of a queue, or of the topic")),
    ("processed_messages", "consumer", Ours("the name of a function")),
    ("products", "currency", Ours("one of a list")),
    ("products", "description", Bounded("NewProduct", "description")),
    ("products", "name", Bounded("NewProduct", "name")),
    ("products", "sku", Bounded("NewProduct", "sku")),
    ("reports", "failure", Ours("shortened")),
    ("reports", "result", Ours("a report")),
    ("reports", "status", Ours("one of a list")),
    ("stock_adjustments", "reason", Bounded("NewStockAdjustment", "reason")),
];

/// The most units that a request sets.
const MAX_STOCK: u64 = 1_000_000_000;
/// The most units that the column holds.
const MAX_RETURNED_STOCK: u64 = u32::MAX as u64;
/// The units of [`order`].
const ORDERED: u64 = 2;

/// A product.
fn product() -> &'static str {
    static PRODUCT: LazyLock<String> = LazyLock::new(|| people::new_product(5));
    &PRODUCT
}

/// A delivered order of [`product`].
fn order() -> &'static str {
    static ORDER: LazyLock<String> = LazyLock::new(|| {
        let id = id_of(&post("/v1/orders", &lines(&[(product(), ORDERED)])).expect(201));
        for status in [Status::Confirmed, Status::Shipped, Status::Delivered] {
            let _ = patch_status(&id, status.as_str()).expect(200);
        }
        id
    });
    &ORDER
}

fn id_of(reply: &Reply) -> String {
    reply.json()["id"].as_str().unwrap().to_owned()
}

/// A request of an admin, under a new idempotency key.
fn post(path: &str, body: &Value) -> Reply {
    post_under(&people::new_key(), path, body)
}

fn post_under(key: &str, path: &str, body: &Value) -> Reply {
    Call::post(path).token(people::admin()).key(key).json(body).send()
}

fn lines(lines: &[(&str, u64)]) -> Value {
    let line = |(id, quantity): &(&str, u64)| json!({ "productId": id, "quantity": quantity });
    json!({ "lines": lines.iter().map(line).collect::<Vec<_>>() })
}

fn new_product(sku: &str, stock: u64) -> Value {
    json!({ "sku": sku, "name": "Lantern", "price": { "amount": 1, "currency": "EUR" }, "stock": stock })
}

/// A good body for an endpoint that creates something.
fn sample(path: &str) -> Value {
    match path {
        "/v1/orders" => lines(&[(product(), 1)]),
        "/v1/products" => new_product(&people::random(), 1),
        "/v1/reports" => json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z" }),
        _ => panic!("no sample for {path}"),
    }
}

/// A request to create something under an id that there is already.
fn with_a_known_id(path: &str, id: &str) -> Reply {
    let mut body = sample(path);
    body["id"] = json!(id);
    post(path, &body)
}

fn another_order_under_a_used_key() -> Reply {
    let key = people::new_key();
    let _ = post_under(&key, "/v1/orders", &lines(&[(&people::new_product(1), 1)])).expect(201);
    post_under(&key, "/v1/orders", &lines(&[(product(), 1)]))
}

fn take_back(body: &Value) -> Reply {
    post(&format!("/v1/orders/{}/return", order()), body)
}

fn patch_status(order: &str, status: &str) -> Reply {
    let call = Call::new(Method::PATCH, format!("/v1/orders/{order}/status")).token(people::admin());
    call.json(json!({ "status": status })).send()
}

fn move_on(status: &str) -> Reply {
    patch_status(order(), status)
}

fn adjust(product: &str, delta: i64) -> Reply {
    post(&format!("/v1/products/{product}/stock"), &json!({ "delta": delta, "reason": "counted" }))
}

fn sku_of(product: &str) -> String {
    let product = Call::get(format!("/v1/products/{product}")).send().expect(200).json();
    product["sku"].as_str().unwrap().to_owned()
}

fn delete(product: &str) {
    let _ = Call::new(Method::DELETE, format!("/v1/products/{product}")).token(people::admin()).send().expect(204);
}

fn sku_of_a_deleted_product() -> String {
    let product = people::new_product(1);
    let sku = sku_of(&product);
    delete(&product);
    sku
}

/// The rows of a query with one column, on the stage.
fn select(query: &'static str, parameter: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mysql: Mysql = Stage::get().resource();
        let query = sqlx::query_scalar(query).bind(parameter.to_owned());
        query.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap()
    })
}

/// No statement of the code deletes rows that foreign keys refer to.
fn rows_stay() {
    let stores = repository().join("shared/src/store/mysql");
    for file in fs::read_dir(stores).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        for table in ["orders", "order_items", "products"] {
            let statement = format!("delete from {table}");
            assert!(!text.contains(&statement), "{}: {statement}", path.display());
        }
    }
}

fn a_product_that_was_ordered_is_deleted() {
    let product = people::new_product(1);
    let order = id_of(&post("/v1/orders", &lines(&[(&product, 1)])).expect(201));
    delete(&product);
    let path = format!("/v1/orders/{order}");
    let found = Call::get(path).token(people::admin()).send().expect(200).json();
    assert_eq!(found["items"][0]["productId"], json!(product));
}

fn a_repetition_is_no_message() {
    let (key, body) = (people::new_key(), lines(&[(&people::new_product(1), 1)]));
    let [first, second] = [(); 2].map(|()| post_under(&key, "/v1/orders", &body).expect(201));
    assert_eq!(first.text, second.text);
    let sent = select("SELECT envelope FROM outbox WHERE envelope LIKE ?", &format!("%{}%", id_of(&first)));
    assert_eq!(sent.len(), 1, "{sent:?}");
}

fn a_message_is_delivered_twice() {
    let email = people::register();
    let token = people::log_in(&email);
    let call = Call::post("/v1/orders").token(&token).key(&people::new_key());
    let order = id_of(&call.json(lines(&[(&people::new_product(1), 1)])).send().expect(201));
    let _ = aws::wait_for_mail(&email, &order);
    let sent = select("SELECT envelope FROM outbox WHERE envelope LIKE ?", &format!("%{order}%"));
    let record = |number: u32| Received {
        id: number.to_string(),
        receipt: number.to_string(),
        body: sent[0].clone(),
        count: 1,
        attributes: Value::Null,
    };
    // By the stage's consumer, twice in a batch, and by another process.
    let batch = queue::event(&[record(1), record(2)]);
    for reply in [aws::invoke("on-email", &batch), Function::start("on-email", &[]).invoke(&batch)] {
        assert_eq!(reply["batchItemFailures"], json!([]), "{reply}");
    }
    assert_eq!(aws::mails(&email, &order).len(), 1);
}

fn units_come_back_to_a_full_shelf() {
    let product = people::new_product(5);
    let order = id_of(&post("/v1/orders", &lines(&[(&product, 2)])).expect(201));
    // As many as no sequence of requests puts there: the shelf is filled up to 1,000,000,000, and no order has that many units.
    let fill = format!("UPDATE products SET stock = {MAX_RETURNED_STOCK} - 1 WHERE id = ?");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mysql: Mysql = Stage::get().resource();
        let fill = sqlx::query(sqlx::AssertSqlSafe(fill)).bind(product.parse::<Uuid>().unwrap());
        fill.execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
    });
    let _ = Call::post(format!("/v1/orders/{order}/cancel")).token(people::admin()).send().expect(200);
    let stock = Call::get(format!("/v1/products/{product}")).send().expect(200).json()["stock"].clone();
    assert_eq!(stock, MAX_RETURNED_STOCK);
    for delta in [1, 1_000_000_000] {
        let problem = adjust(&product, delta).expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], "delta");
    }
    assert_eq!(adjust(&product, -1).expect(201).json()["stock"], MAX_RETURNED_STOCK - 1);
}

/// The differences of two lists.
fn differences<T: Ord + Debug>(found: &BTreeSet<T>, listed: &BTreeSet<T>) -> Vec<String> {
    let unlisted = found.difference(listed).map(|name| format!("{name:?} has no answer"));
    let gone = listed.difference(found).map(|name| format!("{name:?} is not in the database"));
    unlisted.chain(gone).collect()
}

type Name = (String, String);

fn names<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<Name> {
    names.map(|(table, name)| (table.to_owned(), name.to_owned())).collect()
}

/// A database with this code's schema.
async fn migrated() -> Database {
    let database = Database::create().await;
    let _ = Function::start("migrate", &database.environment()).invoke(&json!({}));
    database
}

/// The table of the migrations themselves is sqlx's.
async fn constraints(database: &Database) -> BTreeSet<Name> {
    let query = "SELECT CAST(table_name AS CHAR) AS of_table, CAST(constraint_name AS CHAR) AS name \
                 FROM information_schema.table_constraints \
                 WHERE table_schema = DATABASE() AND table_name <> '_sqlx_migrations'";
    let rows = sqlx::query(query).fetch_all(&database.pool).await.unwrap();
    rows.iter().map(|row| (row.get("of_table"), row.get("name"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_constraint_has_an_answer_and_every_answer_a_constraint() {
    let database = migrated().await;
    let listed = names(CONSTRAINTS.iter().map(|(table, name, _)| (*table, *name)));
    assert_eq!(listed.len(), CONSTRAINTS.len(), "one is listed twice");
    let differences_now = differences(&constraints(&database).await, &listed);
    assert!(differences_now.is_empty(), "\n{}", differences_now.join("\n"));

    // One more in the database, and one fewer, is found.
    for (change, expected) in [
        (
            "ALTER TABLE orders ADD CONSTRAINT orders_planted CHECK (total_minor > 0)",
            r#"("orders", "orders_planted") has no answer"#,
        ),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_planted, DROP CONSTRAINT orders_status",
            r#"("orders", "orders_status") is not in the database"#,
        ),
    ] {
        sqlx::query(change).execute(&database.pool).await.unwrap();
        assert_eq!(differences(&constraints(&database).await, &listed), [expected]);
    }
}

#[test]
fn a_request_that_would_violate_a_constraint_is_refused_before() {
    for (table, name, answers) in CONSTRAINTS.iter().chain(BOUNDED_BY_TYPE) {
        assert!(!answers.is_empty(), "{table} {name}");
        for (number, answer) in answers.iter().enumerate() {
            println!("{table} {name} {number}");
            match answer {
                Refused(status, slug, request) => {
                    assert!((400..500).contains(status), "{table} {name} {number}");
                    let reply = request();
                    assert_eq!(reply.status, *status, "{table} {name} {number}: {reply:?}");
                    let _ = reply.expect_problem(*status, slug);
                }
                Unreachable(reason, shown) => {
                    println!("unreachable: {reason}");
                    shown();
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_of_a_request_fits_into_its_column() {
    let database = migrated().await;
    let query = "SELECT CAST(table_name AS CHAR) AS of_table, CAST(column_name AS CHAR) AS name, \
                 CAST(data_type AS CHAR) AS type, CAST(character_maximum_length AS UNSIGNED) AS length \
                 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name <> '_sqlx_migrations' \
                 AND data_type IN ('char', 'varchar', 'text', 'mediumtext', 'longtext')";
    let rows = sqlx::query(query).fetch_all(&database.pool).await.unwrap();
    let found: BTreeSet<Name> = rows.iter().map(|row| (row.get("of_table"), row.get("name"))).collect();
    let listed = names(TEXTS.iter().map(|(table, name, _)| (*table, *name)));
    let differences = differences(&found, &listed);
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));

    for (table, column, length) in TEXTS {
        let row =
            rows.iter().find(|row| row.get::<&str, _>("of_table") == *table && row.get::<&str, _>("name") == *column);
        let (kind, most): (&str, u64) = row.map(|row| (row.get("type"), row.get("length"))).unwrap();
        // A text column is bounded by bytes, of which a character takes up to four.
        let most = if kind.ends_with("text") { most / 4 } else { most };
        match length {
            Bounded(schema, property) => {
                let property = &Stage::get().openapi["components"]["schemas"][schema]["properties"][property];
                let bound = property["maxLength"].as_u64();
                assert!(bound.is_some_and(|bound| bound <= most), "{table} {column}: {bound:?} of {most} characters");
            }
            Ours(what) => assert!(!what.is_empty(), "{table} {column}"),
        }
    }
}
