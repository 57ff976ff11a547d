//! Fault injection: the real servers are paused, their connections cut, a permission revoked.
//!
//! A program of its own, since it would disturb other tests; and one test at a time.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::store::{Mysql, Redis};
use tests::{
    Call, Reply, Stage, aws,
    deployed::{Deployed, configuration},
    function::Function,
    people,
    template::repository,
};
use tokio::sync::Mutex;

static ALONE: Mutex<()> = Mutex::const_new(());

fn read(product: &str) -> Reply {
    Call::get(format!("/v1/products/{product}")).send()
}

fn place(product: &str) -> Reply {
    let body = json!({ "lines": [{ "productId": product, "quantity": 1 }] });
    Call::post("/v1/orders").token(people::customer()).key(&people::new_key()).json(body).send()
}

#[tokio::test]
async fn while_redis_hangs_reads_and_orders_are_answered_by_the_stores() {
    let _alone = ALONE.lock().await;
    let (product, email) = (people::new_product(10), people::register());
    let token = people::log_in(&email);
    let _ = (read(&product).expect(200), read(&product).expect(200));

    let redis: Redis = Stage::get().resource();
    let pause = Duration::from_secs(8);
    let mut command = redis::cmd("CLIENT");
    command.arg("PAUSE").arg(u64::try_from(pause.as_millis()).unwrap()).arg("ALL");
    let () = redis.send_idempotent(&command).await.unwrap();
    let paused_at = Instant::now();

    let bypassed = read(&product).expect(200);
    assert_eq!(bypassed.header("x-cache"), Some("bypass"));
    let _ = Call::get("/v1/users/me").token(&token).send().expect(200);
    let _ = place(&product).expect(201);
    // By now the circuit breaker is open: Redis is not even called.
    for _ in 0..3 {
        let _ = read(&product).expect(200);
    }
    let asked_at = Instant::now();
    assert_eq!(read(&product).expect(200).json()["stock"], 9);
    assert!(asked_at.elapsed() < Duration::from_millis(250), "an open breaker does not wait for Redis");
    assert_eq!(Call::get("/health/ready").send().expect(200).json()["status"], "degraded");

    // Until Redis answers again, and the last circuit breaker has closed.
    std::thread::sleep((pause + Duration::from_secs(6)).saturating_sub(paused_at.elapsed()));
    let _ = read(&product).expect(200);
    assert_eq!(read(&product).expect(200).header("x-cache"), Some("hit"));
    assert_eq!(Call::get("/health/ready").send().expect(200).json()["status"], "ok");
}

/// A Redis server of one test, to be stopped and started again.
struct OwnRedis {
    process: Child,
    port: u16,
}

impl OwnRedis {
    fn start(port: u16) -> Self {
        let id = shared::environment::required("SOUK_REDIS_SECRET").unwrap();
        let secret = aws::secret(&id);
        let password = secret["password"].as_str().unwrap();
        let mut process =
            Command::new("redis-server").arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let configuration = format!("port {port}\nbind 127.0.0.1\nrequirepass {password}\nsave \"\"\n");
        process.stdin.take().unwrap().write_all(configuration.as_bytes()).unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, port }
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

#[tokio::test]
async fn while_redis_is_stopped_every_read_is_answered_and_afterwards_it_is_used_again() {
    let _alone = ALONE.lock().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let redis = OwnRedis::start(port);
    let function = Function::start("products-get", &[("SOUK_REDIS_ENDPOINT", format!("redis://127.0.0.1:{port}/0"))]);
    let product = people::new_product(3);
    let mut event = aws::http_event("GET /v1/products/{id}", &json!({}));
    event["pathParameters"] = json!({ "id": product });
    let read = || {
        let reply = function.invoke(&event);
        assert_eq!(reply["statusCode"], 200, "{reply}");
        reply["headers"]["x-cache"].as_str().unwrap().to_owned()
    };
    assert_eq!([read(), read()], ["miss", "hit"]);
    let port = redis.port;
    drop(redis);
    assert!((0..100).all(|_| read() == "bypass"));

    let _redis = OwnRedis::start(port);
    let start = Instant::now();
    while read() != "hit" {
        assert!(start.elapsed() < Duration::from_secs(10), "Redis is back, and not used");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Meanwhile rate limits are counted in MongoDB, revocation fails open, and login codes have to wait.
#[tokio::test]
async fn while_redis_hangs_nobody_is_uncounted_and_nobody_is_shut_out() {
    let _alone = ALONE.lock().await;
    people::wait_for_room(Duration::from_mins(5));
    let (email, victim) = (people::register(), people::new_address());
    let token = people::log_in(&email);
    // Warm-up, so that no environment has to start while Redis hangs.
    let _ = Call::post("/v1/auth/otp").json(json!({ "email": email })).send().expect(202);

    let redis: Redis = Stage::get().resource();
    let pause = Duration::from_secs(12);
    let mut command = redis::cmd("CLIENT");
    command.arg("PAUSE").arg(u64::try_from(pause.as_millis()).unwrap()).arg("ALL");
    let () = redis.send_idempotent(&command).await.unwrap();
    let paused_at = Instant::now();

    let statuses: Vec<u16> = (0..21).map(|_| people::try_log_in(&victim, "not-the-password").status).collect();
    assert_eq!(statuses[..20], [401; 20], "{statuses:?}");
    assert_eq!(statuses[20], 429, "{statuses:?}");
    assert!(people::is_let_in(&token));
    let _ = people::try_log_in(&email, people::PASSWORD).expect(200);
    let refused = Call::post("/v1/auth/otp").json(json!({ "email": email })).send();
    assert_eq!(refused.header("retry-after"), Some("1"));
    let _ = refused.expect_problem(503, "unavailable");
    assert!(paused_at.elapsed() < pause, "all of that was while Redis hung");

    std::thread::sleep((pause + Duration::from_secs(6)).saturating_sub(paused_at.elapsed()));
    // A revocation after Redis is back takes effect within two seconds.
    let _ = Call::post("/v1/auth/logout").token(&token).send().expect(204);
    people::wait_until_refused(&token);
}

/// Half a minute without SES, by revoking and restoring a permission.
#[tokio::test]
async fn while_ses_takes_no_mail_orders_go_on_and_afterwards_each_mail_comes_once() {
    let _alone = ALONE.lock().await;
    let product = people::new_product(10);
    let role = Role::of("on-email");
    let mut without = role.policy.clone();
    let statements = without["Statement"].as_array_mut().unwrap();
    let all = statements.len();
    statements.retain(|statement| statement["Action"] != "ses:SendEmail");
    assert_eq!(statements.len(), all - 1, "{}", role.policy);

    role.put(&without);
    let id = |reply: Reply| reply.json()["id"].as_str().unwrap().to_owned();
    let orders: Vec<String> = (0..5).map(|_| id(place(&product).expect(201))).collect();
    std::thread::sleep(Duration::from_secs(30));
    let arrived = |order: &String| aws::mails("customer@souk.example", order).len();
    let early: usize = orders.iter().map(arrived).sum();
    role.put(&role.policy);
    assert_eq!(early, 0);

    // By the third retry at the latest, after the pauses of at most 20, 40 and 80 s that `docs/QUEUES.md` gives.
    let start = Instant::now();
    while orders.iter().any(|order| arrived(order) == 0) {
        assert!(start.elapsed() < Duration::from_secs(150), "a mail is lost");
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(3));
    assert!(orders.iter().all(|order| arrived(order) == 1), "a mail came twice");
}

/// Half a minute in which SNS answers neither the placing functions nor the relay.
#[tokio::test]
async fn while_sns_does_not_answer_orders_succeed_and_afterwards_their_mails_arrive_once() {
    let _alone = ALONE.lock().await;
    let mysql: Mysql = Stage::get().resource();
    let product = people::new_product(100);
    // Accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let senders = ["orders-place", "outbox-relay"].map(Deployed::of);
    for sender in &senders {
        sender.put_with(&[("AWS_ENDPOINT_URL_SNS", &address)]);
    }
    let (start, mut orders, mut slowest) = (Instant::now(), Vec::new(), Duration::ZERO);
    while start.elapsed() < Duration::from_secs(30) {
        let asked_at = Instant::now();
        orders.push(place(&product).expect(201).json()["id"].as_str().unwrap().to_owned());
        slowest = slowest.max(asked_at.elapsed());
        let _ = aws::invoke("outbox-relay", &json!({}));
    }
    let kept = unsent(&mysql, &orders).await;
    senders.iter().for_each(Deployed::put);
    println!("{} orders, the slowest in {:.1} s, {kept} messages kept", orders.len(), slowest.as_secs_f64());
    assert_eq!(kept, orders.len(), "an event each");
    assert!(
        slowest < Duration::from_secs(5),
        "an order waits for an environment at most, which publishes for a second"
    );

    let start = Instant::now();
    while unsent(&mysql, &orders).await > 0 {
        assert!(start.elapsed() < Duration::from_secs(150), "a message stays in the outbox");
        std::thread::sleep(Duration::from_secs(1));
        let _ = aws::invoke("outbox-relay", &json!({}));
    }
    println!("everything had left {:.1} s later", start.elapsed().as_secs_f64());
    for order in &orders {
        let _ = aws::wait_for_mail("customer@souk.example", order);
    }
    std::thread::sleep(Duration::from_secs(3));
    assert!(orders.iter().all(|order| aws::mails("customer@souk.example", order).len() == 1), "a mail came twice");
}

/// The number of unsent messages of these orders in the outbox.
async fn unsent(mysql: &Mysql, orders: &[String]) -> usize {
    let envelopes = sqlx::query_scalar("SELECT envelope FROM outbox WHERE sent_at IS NULL");
    let envelopes: Vec<String> = envelopes.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap();
    envelopes.iter().filter(|envelope| orders.iter().any(|order| envelope.contains(order))).count()
}

/// A continuous client notices neither of two new signing keys.
#[tokio::test]
async fn while_the_signing_key_is_replaced_no_request_fails_and_nobody_is_signed_out() {
    let _alone = ALONE.lock().await;
    let rotate = || {
        let output = Stage::xtask(&repository()).args(["keys", "rotate"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let published = || {
        let keys = Call::get("/.well-known/jwks.json").send().expect(200).json();
        keys["keys"].as_array().unwrap().len()
    };
    let session = people::begin_session(&people::register());
    let (before, start) = (published(), Instant::now());
    let is_over = || start.elapsed() > Duration::from_secs(30);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let loops: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut statuses = Vec::new();
                    while !is_over() {
                        statuses.push(Call::get("/v1/users/me").token(&session.access_token).send().status);
                    }
                    statuses
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(5));
        rotate();
        std::thread::sleep(Duration::from_secs(10));
        rotate();
        loops.into_iter().flat_map(|statuses| statuses.join().unwrap()).collect()
    });
    assert!(statuses.len() > 100, "{} requests", statuses.len());
    assert!(statuses.iter().all(|&status| status == 200), "{statuses:?}");
    assert_eq!(published(), before + 2);
    // A new environment signs with the newest key; the session goes on.
    start_anew("auth-refresh", 11);
    let refreshed = people::LoggedIn::of(&people::refresh(&session.refresh_token).expect(200));
    start_anew("auth-refresh", 10);
    assert!(people::is_let_in(&refreshed.access_token));
    assert_ne!(header(&refreshed.access_token), header(&session.access_token));
}

/// The part of a token that names its key.
fn header(token: &str) -> &str {
    token.split('.').next().unwrap_or_default()
}

#[tokio::test]
async fn connections_that_mysql_closed_fail_no_request() {
    let _alone = ALONE.lock().await;
    let product = people::new_product(10);
    let _ = place(&product).expect(201);

    let mysql: Mysql = Stage::get().resource();
    let mut connection = mysql.connection().await.unwrap();
    let others =
        "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE user = 'souk' AND id <> CONNECTION_ID()";
    let ids: Vec<i64> = sqlx::query_scalar(others).fetch_all(&mut *connection).await.unwrap();
    assert!(!ids.is_empty(), "the functions hold connections");
    for id in ids {
        // A closed connection cannot be killed.
        let kill = sqlx::AssertSqlSafe(format!("KILL CONNECTION {id}"));
        let _ = sqlx::raw_sql(kill).execute(&mut *connection).await;
    }
    // Longer than a connection is trusted without a ping.
    std::thread::sleep(Duration::from_millis(1100));
    let _ = place(&product).expect(201);
    let _ = Call::get(format!("/v1/products/{}", people::new_key())).send().expect(404);
    let _ = people::new_product(1);
}

/// Without one action in its role, exactly that function fails, and its log names the action.
#[tokio::test]
async fn a_permission_taken_away_breaks_exactly_the_function_that_used_it() {
    let _alone = ALONE.lock().await;
    let product = people::new_product(10);
    let role = Role::of("products-get");
    let mut without = role.policy.clone();
    let statements = without["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| !statement["Resource"].to_string().contains("souk/local/mysql-"));
    assert_eq!(statements.len(), 1, "{}", role.policy);

    role.put(&without);
    start_anew("products-get", 11);
    let unknown = format!("/v1/products/{}", people::new_key());
    let refused = Call::get(&unknown).send();
    let others = [place(&product).status, Call::get("/health/ready").send().status];
    role.put(&role.policy);
    start_anew("products-get", 10);

    let _ = refused.expect_problem(503, "unavailable");
    assert_eq!(others, [201, 200]);
    let _ = Call::get(&unknown).send().expect_problem(404, "not-found");
    let events = json!({ "logGroupName": "/aws/lambda/souk-local-products-get", "filterPattern": "" });
    let log = aws::json_call("logs", "Logs_20140328.FilterLogEvents", &events).to_string();
    assert!(log.contains("not authorized to perform: secretsmanager:GetSecretValue"), "{log}");
}

/// A function's role with its one policy.
struct Role {
    name: String,
    policy_name: String,
    policy: Value,
}

impl Role {
    fn of(function: &str) -> Self {
        let deployed = aws::call("lambda", "GET", &configuration(function), None);
        let name = deployed["Role"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let list = aws::query_call("iam", &[("Action", "ListRolePolicies"), ("RoleName", &name)]);
        let policy_name = between(&list, "<member>", "</member>").to_owned();
        let parameters = [("Action", "GetRolePolicy"), ("RoleName", &name), ("PolicyName", &policy_name)];
        let reply = aws::query_call("iam", &parameters);
        let encoded = format!("policy={}", between(&reply, "<PolicyDocument>", "</PolicyDocument>"));
        let decoded: Vec<(String, String)> = serde_urlencoded::from_str(&encoded).unwrap();
        Self { name, policy_name, policy: serde_json::from_str(&decoded[0].1).unwrap() }
    }

    fn put(&self, policy: &Value) {
        let document = policy.to_string();
        let names = [("RoleName", self.name.as_str()), ("PolicyName", &self.policy_name)];
        let _ = aws::query_call(
            "iam",
            &[&[("Action", "PutRolePolicy"), ("PolicyDocument", &document)], &names[..]].concat(),
        );
    }
}

/// Changes a function's configuration, so that its next request gets a new environment.
fn start_anew(function: &str, timeout_seconds: u32) {
    let _ = aws::call("lambda", "PUT", &configuration(function), Some(&json!({ "Timeout": timeout_seconds })));
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("{start} in {text}")).1;
    rest.split_once(end).unwrap().0
}
