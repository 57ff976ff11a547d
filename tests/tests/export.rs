//! `GET /v1/products/export`, of more than a hundred thousand products. A program of its own, since no other test wants
//! so many.
//!
//! Most of it runs the function's binary without a gateway, so that the figures are the function's.

use std::{
    io::{BufRead, BufReader, Read},
    thread,
    time::{Duration, Instant},
};

use flate2::{Crc, read::GzDecoder};
use serde_json::{Value, json};
use shared::{
    money::{Currency, Money},
    store::{
        Mysql,
        mysql::products::{self, Changes, Product, Updated},
    },
};
use sqlx::Row;
use tests::{
    Call, Stage, aws,
    function::{Function, Streamed},
    people, tokens,
};
use time::{
    OffsetDateTime,
    format_description::well_known::Rfc3339,
    macros::{datetime, format_description},
};
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use ureq::http::{Method, Request};
use uuid::Uuid;

const PRODUCTS: u32 = 100_000;
const ROUTE: &str = "GET /v1/products/export";
const NDJSON: &str = "application/x-ndjson";
const CSV: &str = "text/csv";
/// The memory limit of the function, in kB.
const MEMORY: u64 = 40_000;
/// The time to the first products, at best: a busy machine may be slow once.
const FIRST_BYTE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);
/// A pattern of the export's query only.
const QUERY: &str = "%FROM products FORCE INDEX (PRIMARY)%";

/// The catalogue, for one test at a time: each measures, and some change it.
async fn catalogue() -> (Mysql, MutexGuard<'static, ()>) {
    static SEEDED: OnceCell<()> = OnceCell::const_new();
    static ALONE: Mutex<()> = Mutex::const_new(());
    let guard = ALONE.lock().await;
    let mysql: Mysql = Stage::get().resource();
    SEEDED
        .get_or_init(async || {
            let _ = Stage::tools(&["seed", "--products", &PRODUCTS.to_string()]);
            products::insert_missing(&mysql, &awkward()).await.unwrap();
            let gone = awkward()[0].id;
            let _ = products::delete(&mysql, gone, datetime!(2026-03-02 00:00 UTC)).await.unwrap();
        })
        .await;
    (mysql, guard)
}

/// Products that are hard to encode, the first of which will be deleted.
fn awkward() -> Vec<Product> {
    let names = ["gone", "=1+1", "Vase, \"blau\"", "Ünïcødé 🏺", "\\", "{\"type\":\"end\",\"products\":1}", "#end"];
    let product = |(number, name): (usize, &str)| {
        let at = datetime!(2026-03-01 00:00:00.000001 UTC) + Duration::from_secs(number as u64);
        product(&format!("AWKWARD-{number}"), name, at)
    };
    names.into_iter().enumerate().map(product).collect()
}

fn product(sku: &str, name: &str, at: OffsetDateTime) -> Product {
    Product {
        id: uuid::Builder::from_unix_timestamp_millis(at.unix_timestamp().unsigned_abs() * 1000, &[7; 10]).into_uuid(),
        sku: sku.into(),
        name: name.into(),
        description: "line\r\nline,\u{2028}\"\t'".into(),
        price: Money { amount: 1, currency: Currency::JPY },
        stock: 0,
        version: 1,
        created_at: at,
        updated_at: at,
    }
}

/// The number of products, and a checksum over all their fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    checksum: u64,
}

impl Sum {
    fn add(&mut self, fields: [&str; 10]) {
        let mut crc = Crc::new();
        crc.update(fields.join("|").as_bytes());
        self.count += 1;
        self.checksum += u64::from(crc.sum());
    }
}

/// The products of the table after an id, by a query that shares nothing with the export's.
async fn by_sql(mysql: &Mysql, after: Uuid) -> Sum {
    let time = "'%Y-%m-%dT%H:%i:%s.%f'";
    let statement = format!(
        "SELECT COUNT(*) AS count, CAST(COALESCE(SUM(CRC32(CONCAT_WS('|', LOWER(HEX(id)), sku, name, description, price_minor, \
         currency, stock, version, DATE_FORMAT(created_at, {time}), DATE_FORMAT(updated_at, {time})))), 0) AS UNSIGNED) \
         AS checksum FROM products WHERE deleted_at IS NULL AND id > ?"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(statement)).bind(after);
    let row = query.fetch_one(&mut *mysql.connection().await.unwrap()).await.unwrap();
    Sum { count: row.get::<i64, _>("count").try_into().unwrap(), checksum: row.get("checksum") }
}

/// The end of an export.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Whole(u64),
    Broken {
        problem: String,
        after: Uuid,
    },
    /// Cut off, without a last line.
    None,
}

/// An export as received.
struct Export {
    sum: Sum,
    ids: Vec<Uuid>,
    ending: Ending,
}

fn read(media_type: &str, reader: impl Read) -> Export {
    if media_type == CSV { read_csv(reader) } else { read_ndjson(reader) }
}

fn read_ndjson(reader: impl Read) -> Export {
    let mut export = Export { sum: Sum::default(), ids: Vec::new(), ending: Ending::None };
    for line in BufReader::new(reader).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(export.ending, Ending::None, "after the end comes {line}");
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{line}")).to_owned();
        match text(&line["type"]).as_str() {
            "product" => {
                let id: Uuid = text(&line["id"]).parse().unwrap();
                let number = |value: &Value| value.as_u64().unwrap().to_string();
                export.sum.add([
                    &id.simple().to_string(),
                    &text(&line["sku"]),
                    &text(&line["name"]),
                    &text(&line["description"]),
                    &number(&line["price"]["amount"]),
                    &text(&line["price"]["currency"]),
                    &number(&line["stock"]),
                    &number(&line["version"]),
                    &microseconds(&text(&line["createdAt"])),
                    &microseconds(&text(&line["updatedAt"])),
                ]);
                export.ids.push(id);
            }
            "end" => export.ending = Ending::Whole(line["products"].as_u64().unwrap()),
            "error" => {
                assert!(line["requestId"].is_string() && line["title"].is_string(), "{line}");
                let (problem, after) = (text(&line["problem"]), text(&line["after"]).parse().unwrap());
                export.ending = Ending::Broken { problem, after };
            }
            other => panic!("a line of type {other}"),
        }
    }
    export
}

fn read_csv(reader: impl Read) -> Export {
    let mut export = Export { sum: Sum::default(), ids: Vec::new(), ending: Ending::None };
    let mut reader = csv::Reader::from_reader(reader);
    let header = "id,sku,name,description,amount,currency,stock,version,createdAt,updatedAt";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), header);
    for record in reader.records() {
        let record = record.unwrap();
        assert_eq!(export.ending, Ending::None, "after the end comes {record:?}");
        match &record[0] {
            "#end" => export.ending = Ending::Whole(record[1].parse().unwrap()),
            "#error" => {
                let (problem, after) = (record[1].to_owned(), record[2].parse().unwrap());
                export.ending = Ending::Broken { problem, after };
            }
            id => {
                let id: Uuid = id.parse().unwrap();
                // The apostrophe against CSV injection.
                let text = |field: &str| match field.strip_prefix('\'') {
                    Some(formula) if formula.starts_with(['=', '+', '-', '@', '\t', '\r']) => formula.to_owned(),
                    _ => field.to_owned(),
                };
                export.sum.add([
                    &id.simple().to_string(),
                    &text(&record[1]),
                    &text(&record[2]),
                    &text(&record[3]),
                    &record[4],
                    &record[5],
                    &record[6],
                    &record[7],
                    &microseconds(&record[8]),
                    &microseconds(&record[9]),
                ]);
                export.ids.push(id);
            }
        }
    }
    export
}

/// A time as MySQL's `%f` writes it.
fn microseconds(text: &str) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");
    OffsetDateTime::parse(text, &Rfc3339).unwrap().format(&format).unwrap()
}

/// The event of the function URL for a staff member.
fn event(media_type: &str, encoding: &str, after: Option<Uuid>) -> Value {
    let mut event = aws::http_event(ROUTE, &json!({}));
    let token = tokens::good(tokens::id(), tokens::id(), "staff");
    event["routeKey"] = json!("$default");
    event["headers"] =
        json!({ "authorization": format!("Bearer {token}"), "accept": media_type, "accept-encoding": encoding });
    event["rawQueryString"] = json!(after.map(|after| format!("after={after}")).unwrap_or_default());
    event
}

fn plain(function: &Function, after: Option<Uuid>) -> Streamed {
    let reply = function.stream(&event(NDJSON, "", after));
    assert_eq!(reply.status, 200);
    reply
}

/// Reads some lines, and returns their ids and the unread rest.
fn some(reply: Streamed, lines: usize) -> (Vec<Uuid>, BufReader<Streamed>) {
    let mut reader = BufReader::with_capacity(1024, reply);
    let mut ids = Vec::new();
    for _ in 0..lines {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        ids.push(line["id"].as_str().unwrap().parse().unwrap());
    }
    (ids, reader)
}

/// The connections that run the export's query.
async fn running(mysql: &Mysql) -> Vec<u64> {
    let query =
        sqlx::query("SELECT id FROM information_schema.processlist WHERE info LIKE ? AND id <> CONNECTION_ID()");
    let rows = query.bind(QUERY).fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap();
    rows.iter()
        .map(|row| row.try_get::<u64, _>(0).unwrap_or_else(|_| row.get::<i64, _>(0).try_into().unwrap()))
        .collect()
}

async fn expect_none_running(mysql: &Mysql) {
    let start = Instant::now();
    while !running(mysql).await.is_empty() {
        assert!(start.elapsed() < TIMEOUT, "the query still runs");
        thread::sleep(Duration::from_millis(20));
    }
    println!("the query ended {:?} after the client hung up", start.elapsed());
}

fn is_ascending(ids: &[Uuid]) -> bool {
    ids.is_sorted_by(|one, next| one < next)
}

#[tokio::test]
async fn every_product_comes_once_in_every_form_at_once_and_in_little_memory() {
    let (mysql, _alone) = catalogue().await;
    let expected = by_sql(&mysql, Uuid::nil()).await;
    assert!(expected.count > u64::from(PRODUCTS));
    let function = Function::start("products-export", &[]);
    for (media_type, encoding) in [(NDJSON, ""), (CSV, ""), (NDJSON, "gzip"), (CSV, "gzip")] {
        let start = Instant::now();
        let reply = function.stream(&event(media_type, encoding, None));
        assert_eq!((reply.status, &reply.headers["content-type"]), (200, &json!(media_type)));
        assert_eq!(reply.headers["vary"], "accept, accept-encoding");
        assert_eq!(reply.headers["content-encoding"].as_str().unwrap_or_default(), encoding);
        let export =
            if encoding.is_empty() { read(media_type, reply) } else { read(media_type, GzDecoder::new(reply)) };
        println!("{media_type} {encoding}: {} products in {:.2?}", export.sum.count, start.elapsed());
        assert_eq!((export.sum, export.ending), (expected, Ending::Whole(expected.count)), "{media_type} {encoding}");
        assert!(is_ascending(&export.ids), "{media_type} {encoding}");
    }
    let memory = function.peak_memory();
    println!("at most {memory} kB");
    assert!(memory < MEMORY, "{memory} kB");
}

#[tokio::test]
async fn the_first_products_come_at_once_compressed_or_not() {
    let (_mysql, _alone) = catalogue().await;
    for encoding in ["", "gzip"] {
        let mut times = Vec::new();
        while times.last().is_none_or(|time| *time >= FIRST_BYTE) {
            assert!(times.len() < 10, "the first products came after {times:?}");
            // A new process each time: the last one still has to notice its closed connection.
            let function = Function::start("products-export", &[]);
            assert_eq!(plain(&function, Some(Uuid::max())).text().unwrap(), "{\"type\":\"end\",\"products\":0}\n");
            let start = Instant::now();
            let reply = function.stream(&event(NDJSON, encoding, None));
            let mut line = String::new();
            if encoding.is_empty() {
                BufReader::new(reply).read_line(&mut line).unwrap();
            } else {
                BufReader::new(GzDecoder::new(reply)).read_line(&mut line).unwrap();
            }
            times.push(start.elapsed());
            assert!(line.starts_with("{\"type\":\"product\","), "{line}");
        }
        println!("the first product {encoding} after {times:?}");
    }
}

#[tokio::test]
async fn an_export_goes_on_in_the_middle_with_exactly_the_rest() {
    let (mysql, _alone) = catalogue().await;
    let function = Function::start("products-export", &[]);
    let whole = read_ndjson(plain(&function, None));
    for position in [0, whole.ids.len() / 2, whole.ids.len() - 2, whole.ids.len() - 1] {
        let (after, rest) = (whole.ids[position], &whole.ids[position + 1..]);
        let export = read_ndjson(plain(&function, Some(after)));
        assert!(export.ids == rest, "after {position} come {} products", export.ids.len());
        assert_eq!(export.sum, by_sql(&mysql, after).await);
        assert_eq!(export.ending, Ending::Whole(rest.len() as u64));
    }
    let mut wrong = event(NDJSON, "", None);
    wrong["rawQueryString"] = json!("after=1");
    let reply = function.stream(&wrong);
    assert_eq!(reply.status, 400);
    assert!(reply.text().unwrap().contains("malformed-request"));
}

#[tokio::test]
async fn a_store_that_fails_midway_is_told_and_the_rest_comes_after_it() {
    let (mysql, _alone) = catalogue().await;
    let expected = by_sql(&mysql, Uuid::nil()).await;
    let function = Function::start("products-export", &[]);
    for (kill, media_type) in [("QUERY", NDJSON), ("CONNECTION", NDJSON), ("CONNECTION", CSV)] {
        let mut reply = function.stream(&event(media_type, "", None));
        let mut start = vec![0; 100];
        reply.read_exact(&mut start).unwrap();
        // Its reader has stopped, so it is in the middle of its query.
        let [connection] = running(&mysql).await[..] else { panic!("not exactly one export") };
        let statement = sqlx::AssertSqlSafe(format!("KILL {kill} {connection}"));
        sqlx::raw_sql(statement).execute(&mut *mysql.connection().await.unwrap()).await.unwrap();

        let first = read(media_type, start.chain(reply));
        let Ending::Broken { problem, after } = &first.ending else { panic!("it ends with {:?}", first.ending) };
        assert!(problem.starts_with("urn:souk:problem:"), "{problem}");
        assert_eq!(Some(after), first.ids.last());
        assert!(first.sum.count < expected.count, "it was killed too late");
        let second = read(media_type, function.stream(&event(media_type, "", Some(*after))));
        println!("KILL {kill}: {problem} after {} products, then {}", first.sum.count, second.sum.count);
        assert_eq!(second.ending, Ending::Whole(second.sum.count));
        let both =
            Sum { count: first.sum.count + second.sum.count, checksum: first.sum.checksum + second.sum.checksum };
        assert_eq!(both, expected);
    }
}

#[tokio::test]
async fn a_slow_reader_takes_no_memory_and_gets_everything() {
    let (mysql, _alone) = catalogue().await;
    let expected = by_sql(&mysql, Uuid::nil()).await;
    let function = Function::start("products-export", &[]);
    let (first, rest) = some(plain(&function, None), 10);
    let before = function.peak_memory();
    thread::sleep(Duration::from_secs(3));
    let after = function.peak_memory();
    println!("{before} kB, and {after} kB three seconds later");
    assert!(after < MEMORY && after < before + 4000, "{before} kB, then {after} kB");
    assert_eq!(running(&mysql).await.len(), 1, "the query waits for the reader");
    let rest = read_ndjson(rest);
    assert_eq!(rest.ids.len() as u64 + 10, expected.count);
    assert_eq!(rest.ending, Ending::Whole(expected.count));
    assert!(first.last() < rest.ids.first());
}

#[tokio::test]
async fn a_reader_that_hangs_up_ends_the_query_and_the_function_goes_on() {
    let (mysql, _alone) = catalogue().await;
    let expected = by_sql(&mysql, Uuid::nil()).await;
    let function = Function::start("products-export", &[]);
    for _ in 0..3 {
        let (_, rest) = some(plain(&function, None), 1000);
        assert_eq!(running(&mysql).await.len(), 1);
        drop(rest);
        expect_none_running(&mysql).await;
    }
    let export = read_ndjson(plain(&function, None));
    assert_eq!((export.sum, export.ending), (expected, Ending::Whole(expected.count)));
}

#[tokio::test]
async fn an_export_is_of_one_moment_whatever_changes_meanwhile() {
    let (mysql, _alone) = catalogue().await;
    let function = Function::start("products-export", &[]);
    let at = datetime!(2026-03-03 00:00 UTC);
    let deleted = product("DELETED-MEANWHILE", "Deleted meanwhile", at);
    let changed = product("CHANGED-MEANWHILE", "Changed meanwhile", at + Duration::from_secs(1));
    let added = product("ADDED-MEANWHILE", "Added meanwhile", at + Duration::from_secs(2));
    products::insert_missing(&mysql, &[deleted.clone(), changed.clone()]).await.unwrap();
    let expected = by_sql(&mysql, Uuid::nil()).await;

    let mut reply = plain(&function, None);
    let mut start = vec![0; 100];
    reply.read_exact(&mut start).unwrap();
    products::insert_missing(&mysql, std::slice::from_ref(&added)).await.unwrap();
    assert!(products::delete(&mysql, deleted.id, at).await.unwrap().is_some());
    let other_name = Changes { name: Some("Changed".into()), ..Changes::default() };
    let updated = products::update(&mysql, changed.id, 1, &other_name, at).await.unwrap();
    assert!(matches!(updated, Updated::Changed(_)));
    let export = read_ndjson(start.chain(reply));
    assert_eq!((export.sum, export.ending), (expected, Ending::Whole(expected.count)));
    assert_ne!(by_sql(&mysql, Uuid::nil()).await, expected);
}

/// A request to the function URL on the stage, whose reply is not read yet.
fn request(headers: &[(&str, &str)]) -> ureq::http::Response<ureq::Body> {
    let (stage, path) = (Stage::get(), "/v1/products/export");
    let mut request = Request::get(format!("{}{path}", stage.aws_endpoint)).header("host", stage.host("GET", path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    stage.agent.run(request.body(()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_function_url_streams_what_the_function_does() {
    let (mysql, _alone) = catalogue().await;
    let expected = by_sql(&mysql, Uuid::nil()).await;
    let token = format!("Bearer {}", people::admin());
    for (media_type, encoding) in [(NDJSON, "identity"), (CSV, "gzip")] {
        let start = Instant::now();
        let reply = request(&[("authorization", &token), ("accept", media_type), ("accept-encoding", encoding)]);
        assert_eq!((reply.status().as_u16(), &reply.headers()["content-type"]), (200, &media_type.parse().unwrap()));
        let mut body = reply.into_body().into_reader();
        let mut first = [0; 1];
        body.read_exact(&mut first).unwrap();
        let first_byte = start.elapsed();
        assert_eq!(running(&mysql).await.len(), 1, "the first byte comes while the query runs");
        let body = first.chain(body);
        let export = if encoding == "gzip" { read(media_type, GzDecoder::new(body)) } else { read(media_type, body) };
        println!("{media_type} {encoding} over HTTP: first byte {first_byte:.1?}, all in {:.2?}", start.elapsed());
        assert_eq!((export.sum, export.ending), (expected, Ending::Whole(expected.count)), "{media_type} {encoding}");
    }
}

#[tokio::test]
async fn hanging_up_on_the_function_url_ends_the_query() {
    let (mysql, _alone) = catalogue().await;
    let token = format!("Bearer {}", people::admin());
    let mut body = request(&[("authorization", &token)]).into_body().into_reader();
    body.read_exact(&mut [0; 1000]).unwrap();
    assert_eq!(running(&mysql).await.len(), 1);
    drop(body);
    expect_none_running(&mysql).await;
    let _ = Call::get(format!("/v1/products/export?after={}", Uuid::max())).token(people::admin()).send().expect(200);
}

#[tokio::test]
async fn whatever_is_no_export_is_refused_by_the_function_itself() {
    let after = format!("/v1/products/export?after={}", Uuid::max());
    let export = || Call::get(after.as_str());
    let reply = export().send().expect(401);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    let _ = reply.expect_problem(401, "unauthenticated");
    let _ = export().token("garbage").send().expect_problem(401, "unauthenticated");
    let _ = export().token(people::customer()).send().expect_problem(403, "forbidden");
    let staff = || export().token(people::admin());
    let _ = staff().header("accept", "text/html").send().expect_problem(406, "not-acceptable");
    for accept in ["*/*", NDJSON, "text/html, */*;q=0.1"] {
        let reply = staff().header("accept", accept).send().expect(200);
        assert_eq!(
            (reply.header("content-type"), reply.text.as_str()),
            (Some(NDJSON), "{\"type\":\"end\",\"products\":0}\n")
        );
    }
    let csv = staff().header("accept", CSV).send().expect(200);
    assert!(csv.text.ends_with("\r\n#end,0,,,,,,,,\r\n"), "{csv:?}");
    let stage = Stage::get();
    for (method, path, status) in
        [(Method::POST, "/v1/products/export", 405), (Method::GET, "/v1/products", 404), (Method::GET, "/", 404)]
    {
        let request = Request::builder().method(&method).uri(format!("{}{path}", stage.aws_endpoint));
        let request = request.header("host", stage.host("GET", "/v1/products/export"));
        let request = request.header("authorization", format!("Bearer {}", people::admin()));
        let reply = stage.agent.run(request.body(()).unwrap()).unwrap();
        assert_eq!(reply.status().as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_opens_nothing() {
    let email = people::register();
    let person = people::begin_session(&email);
    let export = || Call::get(format!("/v1/products/export?after={}", Uuid::max()));
    let _ = export().token(&person.access_token).send().expect_problem(403, "forbidden");
    let id = people::id_of(&person.access_token);
    let _ = people::manage(people::admin(), &id, &json!({ "roles": ["staff"] })).expect(200);
    let staff = people::log_in(&email);
    let _ = export().token(&staff).send().expect(200);
    let _ = Call::post("/v1/auth/logout").token(&staff).send().expect(204);
    let start = Instant::now();
    while export().token(&staff).send().status != 401 {
        assert!(start.elapsed() < TIMEOUT, "the token still opens the export");
        thread::sleep(Duration::from_millis(50));
    }
}
