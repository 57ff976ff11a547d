//! The `migrate` function on databases of its own: twice, two at once, after newer code, and failing in a deployment.

use std::{fs, process::Command, thread, time::Duration};

use serde_json::{Value, json};
use shared::ambient::Ambient;
use sqlx::{
    MySqlPool, Row,
    mysql::{MySqlConnectOptions, MySqlDatabaseError},
};
use tests::{Stage, aws, function::Function, stack::Stack, template};

/// A new database, and the variable that leads a function to it.
async fn database() -> (MySqlPool, [(&'static str, String); 1]) {
    let endpoint = shared::environment::required("SOUK_MYSQL_ENDPOINT").unwrap();
    let secret = aws::secret(&shared::environment::required("SOUK_MYSQL_ADMIN_SECRET").unwrap());
    let options: MySqlConnectOptions = endpoint.parse().unwrap();
    let options = options.username(secret["username"].as_str().unwrap()).password(secret["password"].as_str().unwrap());
    let name = format!("souk_{}", Ambient::system().id().simple());
    let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::raw_sql(create).execute(&MySqlPool::connect_lazy_with(options.clone())).await.unwrap();
    let (server, _) = endpoint.rsplit_once('/').unwrap();
    (MySqlPool::connect_lazy_with(options.database(&name)), [("SOUK_MYSQL_ENDPOINT", format!("{server}/{name}"))])
}

/// The migrations that were applied: number and whether it went well.
async fn applied(pool: &MySqlPool) -> Vec<(i64, bool)> {
    let rows = sqlx::query("SELECT version, success FROM _sqlx_migrations ORDER BY version").fetch_all(pool).await;
    rows.unwrap().iter().map(|row| (row.get("version"), row.get("success"))).collect()
}

fn files() -> usize {
    let files = fs::read_dir(template::repository().join("migrations")).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sql")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_migrations_that_start_at_once_one_waits_and_both_succeed() {
    let (pool, environment) = database().await;
    let functions = [(); 2].map(|()| Function::start("migrate", &environment));
    let migrated: Vec<Value> = thread::scope(|scope| {
        let runs = functions.each_ref().map(|function| scope.spawn(|| function.invoke(&json!({}))));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(migrated[0]["migrations"], files());
    assert_eq!(migrated[0], migrated[1]);
    let found = applied(&pool).await;
    assert_eq!(found.len(), files());
    assert!(found.iter().all(|(_, success)| *success), "{found:?}");
    // Once more, when there is nothing left to do.
    assert_eq!(functions[0].invoke(&json!({})), migrated[0]);
    assert_eq!(applied(&pool).await, found);
}

/// While somebody holds the lock that a migration takes, another one waits; it goes on when that is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_waits_for_one_that_is_under_way() {
    let (pool, environment) = database().await;
    let function = Function::start("migrate", &environment);
    let first = function.invoke(&json!({}));
    // The last one again, which is slow: its index is locked by a reader of the table.
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM (SELECT * FROM _sqlx_migrations) AS all_of_them)")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("DROP INDEX reports_by_age ON reports").execute(&pool).await.unwrap();
    let mut reader = Box::pin(pool.begin()).await.unwrap();
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
    assert_eq!(applied(&pool).await.len(), files());
}

/// As when a deployment is taken back: the code before runs on what newer code has left, be that whole or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_code_leaves_alone_what_newer_code_has_done() {
    let (pool, environment) = database().await;
    let function = Function::start("migrate", &environment);
    let migrated = function.invoke(&json!({}));
    for success in [true, false] {
        let newer = "REPLACE INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (9999, 'of newer code', ?, x'00', 0)";
        sqlx::query(newer).bind(success).execute(&pool).await.unwrap();
        assert_eq!(function.invoke(&json!({})), migrated, "{success}");
        assert_eq!(applied(&pool).await.last(), Some(&(9999, success)));
    }
}

/// What the server answers who may not do something.
const DENIED: [u16; 3] = [1044, 1142, 1227];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_functions_may_read_and_write_rows_and_nothing_else() {
    let (admin, [endpoint]) = database().await;
    let (user, secret) = ("functions_of_a_test", "souk/local/test-functions");
    aws::put_secret(secret, &json!({ "username": user, "password": "it's \\ quoted" }));
    let environment = [endpoint, ("SOUK_MYSQL_SECRET", secret.to_owned())];
    let migrated = Function::start("migrate", &environment).invoke(&json!({}));
    assert_eq!(migrated["migrations"], files());

    let options = (*admin.connect_options()).clone().username(user).password("it's \\ quoted");
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

    // One whose password is not the secret's is given it.
    let alter = format!("ALTER USER {user} IDENTIFIED BY 'another'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(alter)).execute(&admin).await.unwrap();
    let connect = || Box::pin(MySqlPool::connect_with(options.clone()));
    assert!(connect().await.is_err());
    assert_eq!(Function::start("migrate", &environment).invoke(&json!({})), migrated);
    assert!(connect().await.is_ok());
}

/// A stack like the app's: a function that migrates, and something that needs what it has done.
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

/// Puts the function's code where CloudFormation reads it.
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
    let (pool, [(_, endpoint)]) = database().await;
    upload();
    let deployment = Stack::new("souk-test-app");
    deployment.create(&stack(&endpoint, "1"), &[]).unwrap();
    assert_eq!(deployment.wait(), "CREATE_COMPLETE", "{}", deployment.events());
    assert_eq!((code(), applied(&pool).await.len()), (json!("1"), files()));

    // There is no such database.
    deployment.update(&stack(&format!("{endpoint}_2"), "2"), &[]).unwrap();
    assert_eq!(deployment.wait(), "UPDATE_ROLLBACK_COMPLETE", "{}", deployment.events());
    assert!(deployment.events().contains("Unknown database"), "{}", deployment.events());
    assert_eq!(code(), "1");

    deployment.update(&stack(&endpoint, "3"), &[]).unwrap();
    assert_eq!(deployment.wait(), "UPDATE_COMPLETE", "{}", deployment.events());
    assert_eq!(code(), "3");
    deployment.delete();
    assert_eq!(deployment.wait(), "gone");
    assert_eq!(applied(&pool).await.len(), files(), "the data stays");
}
