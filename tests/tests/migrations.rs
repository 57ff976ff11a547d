//! The `migrate` function on databases of its own: repeated, concurrent, after newer code, and failing in a deployment.

use std::{fs, process::Command, thread, time::Duration};

use serde_json::{Value, json};
use sqlx::{MySqlPool, mysql::MySqlDatabaseError};
use tests::{
    Stage, aws,
    database::{Database, migrations},
    function::Function,
    stack::Stack,
    template,
};

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
    // Repeats the last one, which is slow: a reader of the table locks its index.
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 6").execute(&database.pool).await.unwrap();
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
