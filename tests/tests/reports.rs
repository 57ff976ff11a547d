//! `/v1/reports`, over a hundred thousand orders. A program of its own, since no other test wants so many.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    store::{
        Mysql,
        mysql::reports::{self, Status},
    },
};
use sqlx::{Row, mysql::MySqlRow};
use tests::{
    Call, Stage, aws,
    function::{self, Function},
    people,
    report::request_report,
};
use uuid::Uuid;

const ORDERS: u32 = 100_000;
/// A period with all sample orders and no others.
const SPAN: [&str; 2] = ["2026-02-01T00:00:00Z", "2026-02-20T00:00:00Z"];
/// The condition of counted orders of that period, in SQL.
const SOLD: &str = "created_at >= '2026-02-01' AND created_at < '2026-02-20' AND status <> 'cancelled'";
const TIMEOUT: Duration = Duration::from_mins(1);
/// The memory limit of the function, in kB: its `MemorySize` in the template.
const MEMORY: u64 = 256 * 1024;

/// Adds the sample orders, once.
fn seed() {
    static SEEDED: LazyLock<()> = LazyLock::new(|| {
        let start = Instant::now();
        let _ = Stage::tools(&["seed", "--orders", &ORDERS.to_string()]);
        println!("{ORDERS} orders in {:.1} s", start.elapsed().as_secs_f64());
    });
    *SEEDED;
}

fn request(key: &str, [from, to]: [&str; 2]) -> Call {
    Call::post("/v1/reports").token(people::admin()).key(key).json(json!({ "from": from, "to": to }))
}

fn get(id: &str) -> Value {
    Call::get(format!("/v1/reports/{id}")).token(people::admin()).send().expect(200).json()
}

/// Waits for the end of a report, and returns it.
fn wait_for(id: &str) -> Value {
    let start = Instant::now();
    loop {
        let report = get(id);
        if !report["finishedAt"].is_null() {
            return report;
        }
        assert!(start.elapsed() < TIMEOUT, "{report}");
        thread::sleep(Duration::from_millis(50));
    }
}

async fn rows(mysql: &Mysql, query: String) -> Vec<MySqlRow> {
    let query = sqlx::query(sqlx::AssertSqlSafe(query));
    query.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap()
}

fn number(row: &MySqlRow, name: &str) -> u64 {
    row.try_get(name).unwrap()
}

/// Each figure of the report, by SQL.
async fn by_sql(mysql: &Mysql) -> Value {
    let span = SOLD.split(" AND status").next().unwrap();
    let mut statuses = json!({});
    for status in ["pending", "confirmed", "shipped", "delivered", "cancelled"] {
        let query = format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS n FROM orders WHERE {span} AND status = '{status}'");
        statuses[status] = json!(number(&rows(mysql, query).await[0], "n"));
    }
    let all = rows(mysql, format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS n FROM orders WHERE {span}")).await;
    let sold = rows(
        mysql,
        format!(
            "SELECT CAST(COUNT(*) AS UNSIGNED) AS n, CAST(SUM(total_minor) AS UNSIGNED) AS total, \
         CAST(SUM(total_minor) DIV COUNT(*) AS UNSIGNED) AS average FROM orders WHERE {SOLD} AND currency = 'EUR'"
        ),
    )
    .await;
    let days = rows(mysql, format!(
        "SELECT DATE_FORMAT(created_at, '%Y-%m-%d') AS day, CAST(COUNT(*) AS UNSIGNED) AS n, \
         CAST(SUM(total_minor) AS UNSIGNED) AS total FROM orders WHERE {SOLD} AND currency = 'EUR' GROUP BY day ORDER BY day"
    )).await;
    let day = |row: &MySqlRow| json!({ "day": row.try_get::<String, _>("day").unwrap(), "orders": number(row, "n"), "total": number(row, "total") });
    let products = rows(mysql, format!(
        "SELECT product_id, CAST(SUM(quantity) AS UNSIGNED) AS n, CAST(SUM(quantity * unit_price_minor) AS UNSIGNED) AS total \
         FROM orders JOIN order_items ON order_id = id WHERE {SOLD} AND currency = 'EUR' \
         GROUP BY product_id ORDER BY total DESC, product_id LIMIT 20"
    )).await;
    let product = |row: &MySqlRow| {
        let id: Uuid = row.try_get("product_id").unwrap();
        json!({ "productId": id, "units": number(row, "n"), "total": number(row, "total") })
    };
    json!({
        "orders": number(&all[0], "n"),
        "statuses": statuses,
        "currencies": [{
            "currency": "EUR",
            "orders": number(&sold[0], "n"),
            "total": number(&sold[0], "total"),
            "averageBasket": number(&sold[0], "average"),
            "days": days.iter().map(day).collect::<Vec<_>>(),
            "topProducts": products.iter().map(product).collect::<Vec<_>>(),
        }],
    })
}

/// The processes of a function of this stage, as directories of `/proc`.
fn processes(function: &str) -> impl Iterator<Item = PathBuf> {
    let name = format!("AWS_LAMBDA_FUNCTION_NAME={}", Stage::function(function));
    let database = format!("SOUK_MYSQL_ENDPOINT={}", shared::environment::required("SOUK_MYSQL_ENDPOINT").unwrap());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes.filter(move |process| {
        let environment = fs::read(process.join("environ")).unwrap_or_default();
        let has = |variable: &str| environment.split(|byte| *byte == 0).any(|found| found == variable.as_bytes());
        has(&name) && has(&database)
    })
}

/// The CPU time of each thread of a process, except the first one, which reads.
fn computing(process: &Path) -> Vec<Duration> {
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let others = threads.filter(|thread| thread.file_name() != process.file_name());
    let on_core = |thread: PathBuf| {
        let statistics = fs::read_to_string(thread.join("schedstat")).ok()?;
        Some(Duration::from_nanos(statistics.split(' ').next()?.parse().ok()?))
    };
    let mut times: Vec<Duration> = others.filter_map(on_core).collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times
}

#[tokio::test]
async fn a_report_says_what_sql_says_in_time_and_in_little_memory() {
    seed();
    let start = Instant::now();
    let reply = request(&people::new_key(), SPAN).send().expect(202);
    let asked = reply.json();
    let id = asked["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.header("location"), Some(format!("/v1/reports/{id}").as_str()));
    assert_eq!((&asked["status"], &asked["result"]), (&json!("queued"), &Value::Null));

    let report = wait_for(&id);
    println!("a report over {ORDERS} orders, asked for and polled: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(report["status"], "done", "{report}");
    let memory = processes("on-report").filter_map(|process| function::peak_memory(&process)).max();
    let memory = memory.expect("the function's process is there");
    println!("on-report took {} MB at most", memory / 1024);
    assert!(memory < MEMORY, "{memory} kB");
    let times = processes("on-report").map(|process| computing(&process)).max().unwrap_or_default();
    println!("its threads added up for {times:.0?}");
    let cores = thread::available_parallelism().unwrap().get();
    assert!(times[cores - 1] > times[0] / 5, "a core had next to nothing to do");

    let start = Instant::now();
    let expected = by_sql(&Stage::get().resource()).await;
    println!("the same by SQL: {:.2} s", start.elapsed().as_secs_f64());
    assert_eq!(expected["orders"], ORDERS);
    assert_eq!(report["result"], expected);
}

#[tokio::test]
async fn a_report_that_is_asked_for_twice_with_one_key_is_one_report() {
    let (key, span) = (people::new_key(), ["2020-01-01T00:00:00Z", "2020-01-02T00:00:00+02:00"]);
    let first = request(&key, span).send().expect(202);
    let again = request(&key, span).send().expect(202);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!((again.header("location"), &again.text), (first.header("location"), &first.text));
    let _ = request(&key, SPAN).send().expect_problem(422, "idempotency-key-reused");

    let report = wait_for(first.json()["id"].as_str().unwrap());
    assert_eq!(report["result"]["orders"], 0, "{report}");
    assert_eq!(report["to"], "2020-01-01T22:00:00Z");
}

#[test]
fn a_report_over_a_span_that_is_none_is_refused() {
    for (span, field) in [
        (["2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"], "to"),
        (["2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z"], "to"),
        (["2026-02-01T01:00:00+02:00", "2026-01-31T23:00:00Z"], "to"),
        (["0001-01-01T00:00:00Z", "2026-02-01T00:00:00Z"], "from"),
        (["2026-02-01T00:00:00Z", "9999-12-31T23:59:59Z"], "to"),
        (["yesterday", "2026-02-01T00:00:00Z"], "from"),
    ] {
        let problem = request(&people::new_key(), span).send().expect_problem(422, "validation-failed");
        assert_eq!(problem["errors"][0]["field"], field, "{span:?}: {problem}");
    }
}

/// Requests a report as the endpoint does, without sending its message: its id, and the event of a delivery.
async fn request_and_die(mysql: &Mysql) -> (Uuid, Value) {
    let (new, message) = request_report(mysql, &Ambient::system()).await;
    let record = json!({
        "messageId": message.id, "receiptHandle": message.id, "body": message.envelope, "eventSource": "aws:sqs",
        "attributes": { "ApproximateReceiveCount": "1" }, "messageAttributes": {},
    });
    (new.id, json!({ "Records": [record] }))
}

async fn status(mysql: &Mysql, id: Uuid) -> Status {
    reports::find(mysql, id).await.unwrap().unwrap().status
}

/// Expires the lease of the killed process.
async fn let_lease_expire(mysql: &Mysql, id: Uuid) {
    let statement = "UPDATE reports SET leased_until = '2000-01-01' WHERE id = ? AND leased_until IS NOT NULL";
    sqlx::query(statement).bind(id).execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_whose_maker_is_killed_is_made_by_the_next_delivery_once() {
    seed();
    let mysql: Mysql = Stage::get().resource();
    let (id, event) = request_and_die(&mysql).await;
    let function = Function::start("on-report", &[]);
    thread::scope(|scope| {
        let delivery = scope.spawn(|| function.invoke(&event));
        let is_running = async {
            while status(&mysql, id).await == Status::Queued {
                thread::sleep(Duration::from_millis(1));
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(is_running));
        thread::sleep(Duration::from_millis(100));
        function.kill();
        // It panics, since the process is gone.
        assert!(delivery.join().is_err());
    });
    assert_eq!(status(&mysql, id).await, Status::Running, "it died in the middle");

    let again = Function::start("on-report", &[]);
    let failed = |reply: &Value| reply["batchItemFailures"].as_array().unwrap().len();
    assert_eq!(failed(&again.invoke(&event)), 1, "while the lease lasts, nobody else begins");
    let_lease_expire(&mysql, id).await;
    let start = Instant::now();
    assert_eq!(failed(&again.invoke(&event)), 0);
    println!("made in {:.2} s", start.elapsed().as_secs_f64());
    let made = get(&id.to_string());
    assert_eq!((&made["status"], &made["result"]), (&json!("done"), &by_sql(&mysql).await));
    assert_eq!(failed(&again.invoke(&event)), 0);
    assert_eq!(get(&id.to_string()), made, "once it is done, a delivery changes nothing");
}

/// A dead-lettered message: its report fails, so that its client stops polling.
#[tokio::test]
async fn a_report_that_nobody_makes_any_more_fails_and_an_old_one_is_forgotten() {
    let mysql: Mysql = Stage::get().resource();
    let (young, _) = request_and_die(&mysql).await;
    let (abandoned, event) = request_and_die(&mysql).await;
    let (old, _) = request_and_die(&mysql).await;
    for (id, hours) in [(young, 1), (abandoned, 3), (old, 24 * 31)] {
        let age = format!("UPDATE reports SET created_at = created_at - INTERVAL {hours} HOUR WHERE id = ?");
        let age = sqlx::query(sqlx::AssertSqlSafe(age)).bind(id);
        age.execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
    }
    // Their messages are not sent: for half a minute the relay leaves them to the requester's lease.
    let relayed = aws::invoke("outbox-relay", &json!({}));
    assert_eq!(relayed["failed"], 0, "{relayed}");

    assert_eq!(status(&mysql, young).await, Status::Queued);
    let failed = get(&abandoned.to_string());
    assert_eq!((&failed["status"], failed["finishedAt"].is_null()), (&json!("failed"), false), "{failed}");
    assert!(failed["failure"].as_str().is_some_and(|reason| !reason.is_empty()), "{failed}");
    let _ = Call::get(format!("/v1/reports/{old}")).token(people::admin()).send().expect(404);
    // Redriving its message changes nothing.
    assert_eq!(aws::invoke("on-report", &event)["batchItemFailures"], json!([]));
    assert_eq!(get(&abandoned.to_string()), failed);
}
