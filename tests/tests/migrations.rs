//! The `migrate` function on databases of its own: repeated, concurrent, after newer code, and failing in a deployment; and the code of
//! the release before on the schema of this one (expand and contract, `migrations/README.md`).

mod release_before;

use std::{fs, process::Command, thread, time::Duration};

use release_before::{Existing, Key, Message, Product};
use ring::digest;
use serde_json::{Value, json};
use shared::{ambient::Ambient, messaging};
use sqlx::{MySql, MySqlPool, Transaction, mysql::MySqlDatabaseError, pool::PoolConnection};
use tests::{
    Stage, aws,
    database::{Database, migrations},
    function::Function,
    people,
    stack::Stack,
    template,
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_migrations_that_start_at_once_one_waits_and_both_succeed() {
    let database = Database::create().await;
    let environment = database.environment();
    let functions = [(); 2].map(|()| Function::start("migrate", &environment));
    let migrated: Vec<Value> = thread::scope(|scope| {
        let runs = functions.each_ref().map(|function| scope.spawn(|| function.invoke(&json!({}))));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(migrated[0]["migrations"], migrations());
    assert_eq!(migrated[0], migrated[1]);
    let found = database.applied().await;
    assert_eq!(found.len(), migrations());
    assert!(found.iter().all(|(_, success)| *success), "{found:?}");
    // Once more, with no migration left.
    assert_eq!(functions[0].invoke(&json!({})), migrated[0]);
    assert_eq!(database.applied().await, found);
}

/// A migration waits while another connection holds its lock, and goes on when it is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_one_that_is_under_way() {
    let database = Database::create().await;
    let environment = database.environment();
    let function = Function::start("migrate", &environment);
    let first = function.invoke(&json!({}));
    // Repeats 0006_reports_by_age, which is slow: a reader of the table locks its index.
    let deleted = sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 6").execute(&database.pool).await.unwrap();
    assert_eq!(deleted.rows_affected(), 1);
    sqlx::query("DROP INDEX reports_by_age ON reports").execute(&database.pool).await.unwrap();
    let mut reader = Box::pin(database.pool.begin()).await.unwrap();
    let _ = sqlx::query("SELECT * FROM reports").fetch_all(&mut *reader).await.unwrap();

    let second = Function::start("migrate", &environment);
    thread::scope(|scope| {
        let runs = [&function, &second].map(|function| scope.spawn(|| function.invoke(&json!({}))));
        thread::sleep(Duration::from_secs(2));
        assert!(runs.iter().all(|run| !run.is_finished()), "the one for the table, the other for the first");
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(reader.rollback())).unwrap();
        for run in runs {
            assert_eq!(run.join().unwrap(), first);
        }
    });
    assert_eq!(database.applied().await.len(), migrations());
}

/// A rollback of a deployment: older code runs on the schema of newer code, complete or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_code_leaves_alone_what_newer_code_has_done() {
    let database = Database::create().await;
    let environment = database.environment();
    let function = Function::start("migrate", &environment);
    let migrated = function.invoke(&json!({}));
    for success in [true, false] {
        let newer = "REPLACE INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of newer code', ?, x'00', 0)";
        sqlx::query(newer).bind(success).execute(&database.pool).await.unwrap();
        assert_eq!(function.invoke(&json!({})), migrated, "{success}");
        assert_eq!(database.applied().await.last(), Some(&(9999, success)));
    }
}

/// The server's errors for missing privileges.
const DENIED: [u16; 3] = [1044, 1142, 1227];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_functions_may_read_and_write_rows_and_nothing_else() {
    let database = Database::create().await;
    let [endpoint] = database.environment();
    let (user, secret) = ("functions_of_a_test", "souk/local/test-functions");
    aws::put_secret(secret, &json!({ "username": user, "password": "it's \\ quoted" }));
    let environment = [endpoint, ("SOUK_MYSQL_SECRET", secret.to_owned())];
    let migrated = Function::start("migrate", &environment).invoke(&json!({}));
    assert_eq!(migrated["migrations"], migrations());

    let options = (*database.pool.connect_options()).clone().username(user).password("it's \\ quoted");
    let functions = MySqlPool::connect_lazy_with(options.clone());
    for statement in [
        "INSERT INTO processed_messages (consumer, message_id, leased_until) VALUES ('x', REPEAT('0', 16), NOW())",
        "UPDATE processed_messages SET done_at = NOW()",
        "SELECT * FROM processed_messages",
        "DELETE FROM processed_messages",
    ] {
        sqlx::raw_sql(statement).execute(&functions).await.unwrap();
    }
    for statement in [
        "CREATE TABLE x (id INT)",
        "ALTER TABLE orders ADD x INT",
        "CREATE INDEX x ON orders (status)",
        "TRUNCATE TABLE orders",
        "DROP TABLE orders",
        "SELECT * FROM souk.orders",
        "SELECT * FROM mysql.user",
        "CREATE USER x",
    ] {
        let refusal = sqlx::raw_sql(statement).execute(&functions).await.unwrap_err();
        let number = refusal.as_database_error().unwrap().downcast_ref::<MySqlDatabaseError>().number();
        assert!(DENIED.contains(&number), "{statement}: {refusal}");
    }

    // A password that differs from the secret's is set to it.
    let alter = format!("ALTER USER {user} IDENTIFIED BY 'another'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(alter)).execute(&database.pool).await.unwrap();
    let connect = || Box::pin(MySqlPool::connect_with(options.clone()));
    assert!(connect().await.is_err());
    assert_eq!(Function::start("migrate", &environment).invoke(&json!({})), migrated);
    assert!(connect().await.is_ok());
}

/// A stack like the app's: a function that migrates, and a resource that needs the migration.
fn stack(endpoint: &str, release: &str) -> String {
    let variable = |name: &'static str| shared::environment::required(name).unwrap();
    let configuration = format!("/2015-03-31/functions/{}/configuration", Stage::function("migrate"));
    let deployed = aws::call("lambda", "GET", &configuration, None);
    let template = json!({ "Resources": {
        "Migrate": { "Type": "AWS::Lambda::Function", "Properties": {
            "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 60, "Role": deployed["Role"],
            "Code": { "S3Bucket": BUCKET, "S3Key": KEY },
            "Environment": { "Variables": {
                "SOUK_MYSQL_ENDPOINT": endpoint, "SOUK_MYSQL_SECRET": variable("SOUK_MYSQL_SECRET"),
                "SOUK_MYSQL_ADMIN_SECRET": variable("SOUK_MYSQL_ADMIN_SECRET"),
                "SOUK_MONGODB_ENDPOINT": variable("SOUK_MONGODB_ENDPOINT"),
                "SOUK_MONGODB_SECRET": variable("SOUK_MONGODB_SECRET"),
                "POWERTOOLS_SERVICE_NAME": "souk", "POWERTOOLS_LOG_LEVEL": "INFO", "SOUK_STAGE": "local",
            } },
        } },
        "Migration": { "Type": "Custom::Migration", "Properties": {
            "ServiceToken": { "Fn::GetAtt": ["Migrate", "Arn"] }, "ServiceTimeout": 60, "Release": release,
        } },
        "Code": { "Type": "AWS::SSM::Parameter", "DependsOn": "Migration", "Properties": {
            "Name": CODE, "Type": "String", "Value": release,
        } },
    } });
    template.to_string()
}

/// Stands for the code that needs the migration.
const CODE: &str = "/souk-test/code";
const BUCKET: &str = "souk-test-artifacts";
const KEY: &str = "migrate.zip";

fn code() -> Value {
    aws::json_call("ssm", "AmazonSSM.GetParameter", &json!({ "Name": CODE }))["Parameter"]["Value"].clone()
}

/// Uploads the function's code for CloudFormation.
fn upload() {
    let bootstrap = template::repository().join("target/lambda/migrate/bootstrap");
    let zip = std::env::temp_dir().join(format!("souk-migrate-{}.zip", std::process::id()));
    let made = Command::new("python3").args(["-m", "zipfile", "-c"]).arg(&zip).arg(bootstrap).status().unwrap();
    assert!(made.success());
    let _ = aws::call("s3", "PUT", &format!("/{BUCKET}"), None);
    aws::upload(BUCKET, KEY, &fs::read(&zip).unwrap());
    fs::remove_file(&zip).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_whose_migration_fails_is_taken_back() {
    let database = Database::create().await;
    let endpoint = &database.endpoint;
    upload();
    let deployment = Stack::new("souk-test-app");
    deployment.create(&stack(endpoint, "1"), &[]).unwrap();
    assert_eq!(deployment.wait(), "CREATE_COMPLETE", "{}", deployment.events());
    assert_eq!((code(), database.applied().await.len()), (json!("1"), migrations()));

    // This database does not exist.
    deployment.update(&stack(&format!("{endpoint}_2"), "2"), &[]).unwrap();
    assert_eq!(deployment.wait(), "UPDATE_ROLLBACK_COMPLETE", "{}", deployment.events());
    assert!(deployment.events().contains("Unknown database"), "{}", deployment.events());
    assert_eq!(code(), "1");

    deployment.update(&stack(endpoint, "3"), &[]).unwrap();
    assert_eq!(deployment.wait(), "UPDATE_COMPLETE", "{}", deployment.events());
    assert_eq!(code(), "3");
    deployment.delete();
    assert_eq!(deployment.wait(), "gone");
    assert_eq!(database.applied().await.len(), migrations(), "the data stays");
}

/// A database with this release's schema, and one product on it, added by the release before.
struct Shop {
    database: Database,
    product: Uuid,
}

/// The units of the product, and its price.
const UNITS: u32 = 10;
const PRICE: u64 = 4900;

impl Shop {
    async fn open() -> Self {
        let database = Database::create().await;
        let _ = Function::start("migrate", &database.environment()).invoke(&json!({}));
        let ambient = Ambient::system();
        let shop = Self { database, product: ambient.id() };
        let (sku, currency) = ("LANTERN-1".to_owned(), "EUR".to_owned());
        let product = Product { sku, price: PRICE, currency, stock: UNITS, version: 1 };
        let mut connection = shop.connection().await;
        release_before::insert_product(&mut connection, shop.product, &product, ambient.now()).await.unwrap();
        shop
    }

    async fn connection(&self) -> PoolConnection<MySql> {
        Box::pin(self.database.pool.acquire()).await.unwrap()
    }

    async fn begin(&self) -> Transaction<'static, MySql> {
        Box::pin(self.database.pool.begin()).await.unwrap()
    }

    /// A function of this release on the database.
    fn function(&self, name: &str) -> Function {
        Function::start(name, &self.database.environment())
    }

    async fn stock(&self) -> u32 {
        release_before::find_product(&mut *self.connection().await, self.product).await.unwrap().stock
    }

    /// The body of an order of two units.
    fn lines(&self) -> Value {
        json!({ "lines": [{ "productId": self.product, "quantity": 2 }] })
    }
}

/// A request to this release: its route, the id in its path, and the user with a role.
fn request(route: &str, id: Option<Uuid>, (user, role): (Uuid, &str), key: &str, body: &Value) -> Value {
    let mut event = aws::http_event(route, body);
    event["headers"]["idempotency-key"] = json!(key);
    event["pathParameters"] = id.map_or(json!({}), |id| json!({ "id": id }));
    let context = json!({ "lambda": { "sub": user, "sid": Ambient::system().id(), "roles": role } });
    event["requestContext"]["authorizer"] = context;
    event
}

/// The body of a reply with this status.
fn body(reply: &Value, status: u16) -> Value {
    assert_eq!(reply["statusCode"], status, "{reply}");
    serde_json::from_str(reply["body"].as_str().unwrap()).unwrap()
}

fn id_in(body: &Value) -> Uuid {
    body["id"].as_str().unwrap().parse().unwrap()
}

/// A key of the release before, for a request with this body and no parameter in its path.
fn key(user_id: Uuid, endpoint: &'static str, body: &Value) -> Key {
    let payload_hash = digest::digest(&digest::SHA256, body.to_string().as_bytes()).as_ref().to_vec();
    Key { user_id, text: people::new_key(), endpoint, payload_hash, fencing_token: Ambient::system().id() }
}

/// Every statement of an order that is placed, confirmed and cancelled, and of the other keyed work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_before_places_and_cancels_orders_on_the_schema_of_this_one() {
    let shop = Shop::open().await;
    let (ambient, product) = (Ambient::system(), shop.product);
    let (user, order, now) = (ambient.id(), ambient.id(), ambient.now());
    let placing = key(user, "orders-place", &shop.lines());
    let message = |queue: &str| Message {
        id: ambient.id(),
        queue: queue.to_owned(),
        envelope: json!({ "id": ambient.id(), "message": { "orderId": order } }).to_string(),
        attempts: 1,
    };
    let messages = [message("email"), message("notification")];
    let mut connection = shop.connection().await;
    assert!(release_before::claim(&mut connection, &placing, now).await.unwrap());
    assert!(!release_before::claim(&mut connection, &placing, now).await.unwrap());
    assert_eq!(release_before::existing(&mut connection, &placing, now).await.unwrap(), Existing::InProgress);
    let mut transaction = shop.begin().await;
    let reply = json!({ "id": order, "userId": user, "status": "pending" }).to_string();
    release_before::place(&mut transaction, &placing, order, (product, 2), &messages, &reply, now).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(shop.stock().await, UNITS - 2);
    let completed = Existing::Completed { status: 201, body: reply.clone() };
    assert_eq!(release_before::existing(&mut connection, &placing, now).await.unwrap(), completed);
    // One message left at once, the relay finds the other.
    assert!(release_before::mark_sent(&mut connection, messages[0].id, now).await.unwrap());
    let later = now + time::Duration::minutes(1);
    let due = release_before::due(&mut connection, later).await.unwrap();
    assert_eq!(due, messages[1..]);

    let placed = release_before::find_order(&mut connection, order).await.unwrap();
    assert_eq!((placed.status.as_str(), &placed.items), ("pending", &vec![(product, 2, PRICE)]));
    for step in [("pending", "confirmed"), ("confirmed", "cancelled")] {
        let mut transaction = shop.begin().await;
        assert!(release_before::advance(&mut transaction, user, order, step, now).await.unwrap());
        transaction.commit().await.unwrap();
    }
    assert_eq!(shop.stock().await, UNITS);

    // Its other keyed work, and work that came to nothing.
    let adjusting = key(user, "products-stock", &json!({ "delta": 3 }));
    assert!(release_before::claim(&mut connection, &adjusting, now).await.unwrap());
    let mut transaction = shop.begin().await;
    let stock = release_before::adjust(&mut transaction, &adjusting, ambient.id(), product, 3, now).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!((stock, shop.stock().await), (UNITS + 3, UNITS + 3));
    assert_eq!(release_before::report(&mut connection, ambient.id(), user, now).await.unwrap(), "done");
    let failing = key(user, "orders-place", &json!({}));
    assert!(release_before::claim(&mut connection, &failing, now).await.unwrap());
    assert!(release_before::release(&mut connection, &failing).await.unwrap());

    // This release reads its rows: an item without a name has its product's.
    let read = request("GET /v1/orders/{id}", Some(order), (user, "customer"), "", &Value::Null);
    let found = body(&shop.function("orders-get").invoke(&read), 200);
    assert_eq!((&found["status"], &found["cancelReason"]), (&json!("cancelled"), &Value::Null));
    let price = json!({ "amount": PRICE, "currency": "EUR" });
    let item = json!({
        "productId": product, "sku": "LANTERN-1", "name": "Brass lantern", "quantity": 2, "returned": 0, "unitPrice": price,
    });
    assert_eq!(found["items"], json!([item]));
    let again = request("POST /v1/orders", None, (user, "customer"), &placing.text, &shop.lines());
    let again = shop.function("orders-place").invoke(&again);
    assert_eq!(again["headers"]["idempotent-replayed"], "true", "{again}");
    assert_eq!((&again["statusCode"], &again["body"]), (&json!(201), &json!(reply)));
    assert_eq!(shop.stock().await, UNITS + 3);
}

/// A deployment shifts requests gradually, and may be rolled back: orders pass from either release to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_release_before_reads_and_goes_on_with_what_this_one_wrote() {
    let shop = Shop::open().await;
    let (ambient, product) = (Ambient::system(), shop.product);
    let (user, start) = (ambient.id(), ambient.now());
    let (buyer, staff) = ((user, "customer"), (ambient.id(), "staff"));
    let [place, status, cancel, take_back] =
        ["orders-place", "orders-status", "orders-cancel", "orders-return"].map(|name| shop.function(name));
    let mut keys = Vec::new();
    let mut placed = || {
        let key = key(user, "orders-place", &shop.lines());
        let reply = place.invoke(&request("POST /v1/orders", None, buyer, &key.text, &shop.lines()));
        let order = body(&reply, 201);
        keys.push((key, reply["body"].as_str().unwrap().to_owned()));
        id_in(&order)
    };
    let (cancelled, returned, open) = (placed(), placed(), placed());
    let reason = json!({ "reason": "Damaged in the warehouse" });
    let cancelling = request("POST /v1/orders/{id}/cancel", Some(cancelled), staff, "", &reason);
    let _ = body(&cancel.invoke(&cancelling), 200);
    for to in ["confirmed", "shipped", "delivered"] {
        let advancing = request("PATCH /v1/orders/{id}/status", Some(returned), staff, "", &json!({ "status": to }));
        let _ = body(&status.invoke(&advancing), 200);
    }
    let one = json!({ "lines": [{ "productId": product, "quantity": 1 }] });
    let returning = request("POST /v1/orders/{id}/return", Some(returned), staff, &people::new_key(), &one);
    let _ = body(&take_back.invoke(&returning), 201);
    for function in [&place, &status, &cancel, &take_back] {
        function.wait_until_idle();
    }
    assert_eq!(shop.stock().await, UNITS - 6 + 2 + 1);

    let mut connection = shop.connection().await;
    for (id, expected) in [(cancelled, "cancelled"), (returned, "delivered"), (open, "pending")] {
        let order = release_before::find_order(&mut connection, id).await.unwrap();
        assert_eq!((order.id, order.user_id, order.status.as_str()), (id, user, expected));
        assert_eq!((order.items, order.total), (vec![(product, 2, PRICE)], 2 * PRICE));
        assert_eq!(order.currency, "EUR");
        assert!(start <= order.created_at && order.created_at <= order.updated_at);
    }
    let sold = release_before::sales(&mut connection, start, start + time::Duration::hours(1)).await.unwrap();
    assert_eq!(sold, (3, 4), "three orders, of which one is cancelled");
    // Repetitions of requests that this release answered.
    for (key, reply) in keys {
        assert!(!release_before::claim(&mut connection, &key, start).await.unwrap());
        let existing = release_before::existing(&mut connection, &key, start).await.unwrap();
        assert_eq!(existing, Existing::Completed { status: 201, body: reply });
        let other = Key { payload_hash: vec![0; 32], ..key };
        assert_eq!(release_before::existing(&mut connection, &other, start).await.unwrap(), Existing::Reused);
    }

    // It goes on with an order of this release, and this one sees that.
    let mut transaction = shop.begin().await;
    let step = ("pending", "cancelled");
    assert!(release_before::advance(&mut transaction, user, open, step, ambient.now()).await.unwrap());
    transaction.commit().await.unwrap();
    assert_eq!(shop.stock().await, UNITS - 6 + 2 + 1 + 2);
    let again = request("POST /v1/orders/{id}/cancel", Some(open), buyer, "", &json!({}));
    assert_eq!(body(&cancel.invoke(&again), 200)["status"], "cancelled");
    assert_eq!(shop.stock().await, UNITS - 6 + 2 + 1 + 2, "it returned once");

    // An event that this release left behind, as the other one's relay reads it.
    let unsent = "UPDATE outbox SET sent_at = NULL, available_at = created_at WHERE envelope LIKE ?";
    let unsent = sqlx::query(unsent).bind(format!("%{cancelled}%")).execute(&mut *connection).await.unwrap();
    let due = release_before::due(&mut connection, ambient.now()).await.unwrap();
    assert_eq!((due.len() as u64, unsent.rows_affected()), (2, 2), "{due:?}");
    assert!(due.iter().all(|message| message.queue == messaging::EVENTS && message.attempts == 1), "{due:?}");
}

/// The release before committed a key before its work. Its process may be at work still, or dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_release_before_holds_is_in_progress_until_its_lease_is_over() {
    let shop = Shop::open().await;
    let ambient = Ambient::system();
    let (user, place) = (ambient.id(), shop.function("orders-place"));
    let held = key(user, "orders-place", &shop.lines());
    let mut connection = shop.connection().await;
    assert!(release_before::claim(&mut connection, &held, ambient.now()).await.unwrap());
    let event = request("POST /v1/orders", None, (user, "customer"), &held.text, &shop.lines());
    for _ in 0..2 {
        let refused = place.invoke(&event);
        assert_eq!(body(&refused, 409)["type"], "urn:souk:problem:request-in-progress");
        assert!(refused["headers"]["retry-after"].as_str().is_some_and(|seconds| seconds != "0"), "{refused}");
    }
    // It is the other release's: another payload is another request all the same.
    let one = json!({ "lines": [{ "productId": shop.product, "quantity": 1 }] });
    let other = request("POST /v1/orders", None, (user, "customer"), &held.text, &one);
    assert_eq!(body(&place.invoke(&other), 422)["type"], "urn:souk:problem:idempotency-key-reused");
    assert_eq!(shop.stock().await, UNITS);

    // The process died: its lease passes.
    let pass = "UPDATE idempotency_keys SET leased_until = '2000-01-01' WHERE idempotency_key = ?";
    sqlx::query(pass).bind(&held.text).execute(&mut *connection).await.unwrap();
    assert_eq!(body(&place.invoke(&event), 409)["type"], "urn:souk:problem:request-in-progress", "and is freed");
    let order = place.invoke(&event);
    assert_eq!(body(&order, 201)["status"], "pending");
    assert_eq!(place.invoke(&event)["body"], order["body"]);
    assert_eq!(shop.stock().await, UNITS - 2);
    // The other one's late completion changes nothing: the fencing token is gone.
    assert!(!release_before::complete(&mut connection, &held, 201, "late").await.unwrap());
}
