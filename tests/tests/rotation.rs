//! Credential rotation under a running environment: on the real servers, with a user and a secret of the test's own.
//!
//! The function connects to the store through one proxy, so that its connections can be cut, and to Secrets Manager
//! through another, so that calls can be counted. For each store: open connections stay open; a new connection reads
//! the secret once, and no request fails; a wrong secret is read again at intervals, until it is right.

use std::{
    thread,
    time::{Duration, Instant},
};

use mongodb::bson::doc;
use serde_json::json;
use shared::store::{Mongodb, MysqlAdmin, Redis};
use tests::{Stage, aws, function::Function, proxy::Proxy};

/// Longer than a connection is trusted without a ping.
const IDLE_TIME: Duration = Duration::from_millis(1100);
/// The cool-down between two readings after a refusal.
const COOLDOWN: Duration = Duration::from_secs(3);
/// The longest time until the secret is read again: for Redis a circuit breaker has to close before.
const RECOVERY: Duration = Duration::from_secs(10);

/// A store with a rotated user.
trait Rotated {
    /// The store's name in variables.
    const STORE: &'static str;

    /// Creates the user, or changes its password.
    async fn set_password(&self, user: &str, password: &str);
}

impl Rotated for MysqlAdmin {
    const STORE: &'static str = "MYSQL";

    async fn set_password(&self, user: &str, password: &str) {
        let mut connection = self.connection().await.unwrap();
        for statement in [
            format!("CREATE USER IF NOT EXISTS {user}"),
            format!("ALTER USER {user} IDENTIFIED BY '{password}'"),
            format!("GRANT SELECT ON souk.* TO {user}"),
        ] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await.unwrap();
        }
    }
}

impl Rotated for Mongodb {
    const STORE: &'static str = "MONGODB";

    async fn set_password(&self, user: &str, password: &str) {
        let admin = self.database().await.unwrap().client().database("admin");
        let roles = ["readWriteAnyDatabase"];
        let update = doc! { "updateUser": user, "pwd": password, "roles": roles };
        if admin.run_command(update).await.is_err() {
            admin.run_command(doc! { "createUser": user, "pwd": password, "roles": roles }).await.unwrap();
        }
    }
}

impl Rotated for Redis {
    const STORE: &'static str = "REDIS";

    async fn set_password(&self, user: &str, password: &str) {
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", user, "on", "resetpass", &format!(">{password}"), "~*", "+@all"]);
        let () = self.send_idempotent(&command).await.unwrap();
    }
}

/// An environment of a function that uses every store, with proxies to one of them and to Secrets Manager.
struct Environment<S> {
    admin: S,
    user: String,
    store: Proxy,
    secrets: Proxy,
    function: Function,
    concurrency: usize,
}

impl<S: Rotated + shared::contract::Resource> Environment<S> {
    async fn start(concurrency: usize) -> Self {
        let admin: S = Stage::get().resource();
        let user = format!("rotated_{concurrency}");
        admin.set_password(&user, "first").await;
        put_secret::<S>(&user, "first");

        let endpoint_variable = format!("SOUK_{}_ENDPOINT", S::STORE);
        let endpoint = shared::environment::optional(&endpoint_variable).unwrap();
        let (store, endpoint) = through(&endpoint);
        let (secrets, aws) = through(&format!("{}/", Stage::get().aws_endpoint));
        let secret_variable = format!("SOUK_{}_SECRET", S::STORE);
        let function = Function::start(
            "health-ready",
            &[
                (&endpoint_variable, endpoint),
                (&secret_variable, secret::<S>(&user)),
                ("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws),
                ("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string()),
            ],
        );
        Self { admin, user, store, secrets, function, concurrency }
    }

    /// Whether every store answers one request.
    fn answers(&self) -> bool {
        let reply = self.function.invoke(&aws::http_event("GET /health/ready", &json!({})));
        reply["body"].as_str().unwrap().contains(r#""status":"ok""#)
    }

    /// The same for as many concurrent requests as the environment serves.
    fn ready(&self) -> Vec<bool> {
        thread::scope(|scope| {
            let requests: Vec<_> = (0..self.concurrency).map(|_| scope.spawn(|| self.answers())).collect();
            requests.into_iter().map(|request| request.join().unwrap()).collect()
        })
    }

    fn is_ready(&self) -> bool {
        self.ready().into_iter().all(|is_ready| is_ready)
    }

    /// The number of secret reads during an action.
    fn readings(&self, act: impl FnOnce(&Self)) -> usize {
        let before = self.secrets.exchanges();
        act(self);
        self.secrets.exchanges() - before
    }

    /// Rotates the password, in the store and in the secret.
    async fn rotate(&self, password: &str) {
        self.admin.set_password(&self.user, password).await;
        put_secret::<S>(&self.user, password);
    }
}

fn secret<S: Rotated>(user: &str) -> String {
    format!("souk/local/test-{}-{user}", S::STORE.to_lowercase())
}

fn put_secret<S: Rotated>(user: &str, password: &str) {
    aws::put_secret(&secret::<S>(user), &json!({ "username": user, "password": password }));
}

/// A proxy to a server, and the address that leads through it.
fn through(address: &str) -> (Proxy, String) {
    let port = address.split([':', '/']).find_map(|part| part.parse().ok()).unwrap();
    let proxy = Proxy::to(port);
    let address = address.replacen(&format!(":{port}"), &format!(":{}", proxy.port), 1);
    (proxy, address)
}

async fn survives_rotation<S: Rotated + shared::contract::Resource>(concurrency: usize) {
    let environment = Environment::<S>::start(concurrency).await;
    assert!(environment.is_ready());

    environment.rotate("second").await;
    let readings = environment.readings(|environment| assert!(environment.answers(), "what is open stays open"));
    assert_eq!(readings, 0);

    environment.store.hang_up();
    thread::sleep(IDLE_TIME);
    let readings = environment.readings(|environment| assert!(environment.is_ready(), "no request fails"));
    assert_eq!(readings, 1, "one for all {concurrency}");

    environment.store.hang_up();
    thread::sleep(IDLE_TIME);
    let readings = environment.readings(|environment| assert!(environment.is_ready()));
    assert_eq!(readings, 0, "connecting anew is none");

    // While the connection is trusted: requests in flight may fail, later ones do not.
    thread::sleep(COOLDOWN);
    environment.rotate("third").await;
    assert!(environment.is_ready());
    environment.store.hang_up();
    let readings = environment.readings(|environment| {
        let _ = environment.ready();
        assert!(environment.is_ready(), "one failed request is enough");
    });
    assert_eq!(readings, 1);
}

async fn recovers_from_a_wrong_secret<S: Rotated + shared::contract::Resource>() {
    let environment = Environment::<S>::start(2).await;
    assert!(environment.is_ready());
    environment.admin.set_password(&environment.user, "unknown").await;
    environment.store.hang_up();
    thread::sleep(IDLE_TIME);

    let start = Instant::now();
    let readings = environment.readings(|environment| {
        for _ in 0..25 {
            assert_eq!(environment.ready(), [false; 2]);
            thread::sleep(Duration::from_millis(100));
        }
    });
    let most = start.elapsed().as_secs() / COOLDOWN.as_secs() + 1;
    println!("{}: {readings} readings for 50 requests in {:.1} s", S::STORE, start.elapsed().as_secs_f64());
    assert!((1..=most).contains(&u64::try_from(readings).unwrap()), "{readings} readings, at most {most}");

    put_secret::<S>(&environment.user, "unknown");
    let start = Instant::now();
    while !environment.is_ready() {
        assert!(start.elapsed() < RECOVERY, "the secret is right, and not read");
        thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_of_mysql_fails_no_request() {
    survives_rotation::<MysqlAdmin>(1).await;
    survives_rotation::<MysqlAdmin>(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_of_mongodb_fails_no_request() {
    survives_rotation::<Mongodb>(1).await;
    survives_rotation::<Mongodb>(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_of_redis_fails_no_request() {
    survives_rotation::<Redis>(1).await;
    survives_rotation::<Redis>(4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_of_mysql_is_read_now_and_then_until_it_is_right() {
    recovers_from_a_wrong_secret::<MysqlAdmin>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_of_mongodb_is_read_now_and_then_until_it_is_right() {
    recovers_from_a_wrong_secret::<Mongodb>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_of_redis_is_read_now_and_then_until_it_is_right() {
    recovers_from_a_wrong_secret::<Redis>().await;
}
