//! One request, many times: in parallel, with another payload, after a process died in the middle of it, while one hangs.
//!
//! The key is part of the work's transaction: another request with it waits for that, at most two seconds. The functions are the real
//! binaries, in several processes; a proxy stops one at a statement of its transaction.

use std::{
    collections::BTreeMap,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use shared::{
    ambient::Ambient,
    store::{Mysql, mysql::LOCK_WAIT_TIMEOUT},
};
use sqlx::Row;
use tests::{
    Call, Stage,
    function::Function,
    mysql_wire::{Command, MysqlProxy},
    people,
    proxy::Cut,
    requests,
};
use tokio::sync::Mutex;
use uuid::Uuid;

/// These tests hold many connections to MySQL, and look at the time: one at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

const STOCK: u32 = 5;
/// How soon another process is done with the key: far below a lease, and far above what a request takes that waits for nothing.
const TAKEOVER_LIMIT: Duration = Duration::from_secs(10);
/// A machine may be slow. The server's own limit, without one of the session's, is 50 s.
const SLOW: Duration = Duration::from_secs(20);
/// The longest that a test sends a request again which was told to come back.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A product, and one request that orders two units of it.
struct Attempt {
    product: String,
    request: Value,
}

impl Attempt {
    fn new() -> Self {
        let product = people::new_product(STOCK);
        // An unknown id: nothing is mailed.
        let request = requests::place(Ambient::system().id(), std::slice::from_ref(&product), 2);
        Self { product, request }
    }

    /// Checks that the request happened once, and made this order.
    async fn expect_once(&self, order: &str) {
        assert_eq!(stock(&self.product), u64::from(STOCK - 2));
        assert_eq!(orders_of(&self.product).await, [order]);
        let mysql: Mysql = Stage::get().resource();
        let query = "SELECT COUNT(*) AS events FROM outbox WHERE envelope LIKE ?";
        let row = sqlx::query(query).bind(format!("%{order}%"));
        let row = row.fetch_one(&mut *mysql.connection().await.unwrap()).await.unwrap();
        assert_eq!(row.get::<i64, _>("events"), 1);
    }
}

fn stock(product: &str) -> u64 {
    Call::get(format!("/v1/products/{product}")).send().expect(200).json()["stock"].as_u64().unwrap()
}

/// The orders with this product.
async fn orders_of(product: &str) -> Vec<String> {
    let mysql: Mysql = Stage::get().resource();
    let query = sqlx::query_scalar("SELECT order_id FROM order_items WHERE product_id = ?");
    let query = query.bind(product.parse::<Uuid>().unwrap());
    let found: Vec<Uuid> = query.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap();
    found.iter().map(Uuid::to_string).collect()
}

/// Two processes that place orders, each of them so many at once, and connected for that.
fn two_processes(concurrency: usize) -> [Function; 2] {
    let processes = [(); 2].map(|()| start(&[("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string())]));
    let product = people::new_product(u32::try_from(2 * concurrency).unwrap());
    let buyer = |_| requests::place(Ambient::system().id(), std::slice::from_ref(&product), 1);
    let warm_up: Vec<Value> = (0..2 * concurrency).map(buyer).collect();
    println!("warm-up: {:?}", outcomes(&at_once(&processes, &warm_up)));
    processes
}

/// A process that places orders, and has placed one: connected, with prepared statements.
fn start(environment: &[(&str, String)]) -> Function {
    let function = Function::start("orders-place", environment);
    let reply = function.invoke(&Attempt::new().request);
    assert_eq!(reply["statusCode"], 201, "{reply}");
    function.wait_until_idle();
    function
}

/// Sends requests at the same moment, in turn to the two processes, and returns the replies in the order of the requests.
fn at_once(processes: &[Function; 2], requests: &[Value]) -> Vec<Value> {
    let start = Barrier::new(requests.len());
    thread::scope(|scope| {
        let sent: Vec<_> = (requests.iter().zip(processes.iter().cycle()))
            .map(|(request, process)| {
                scope.spawn(|| {
                    start.wait();
                    process.invoke(request)
                })
            })
            .collect();
        sent.into_iter().map(|reply| reply.join().unwrap()).collect()
    })
}

/// A reply's status, and what kind of problem it has, if any: "201", "409 out-of-stock".
fn outcome(reply: &Value) -> String {
    let kind = requests::body(reply)["type"].as_str().map(|kind| kind.replace("urn:souk:problem:", " "));
    format!("{}{}", reply["statusCode"], kind.unwrap_or_default())
}

/// How often there is each outcome.
fn outcomes(replies: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for reply in replies {
        *counts.entry(outcome(reply)).or_default() += 1;
    }
    counts
}

fn is_replayed(reply: &Value) -> bool {
    reply["headers"]["idempotent-replayed"] == "true"
}

/// Sends a request until the reply is another one than that it is to be sent again, as `Retry-After` says.
fn persist(process: &Function, request: &Value) -> Value {
    let start = Instant::now();
    loop {
        let reply = process.invoke(request);
        let Some(seconds) = reply["headers"]["retry-after"].as_str() else { return reply };
        assert!(start.elapsed() < TIMEOUT, "{reply}");
        thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
    }
}

#[tokio::test]
async fn one_key_fifty_times_in_parallel_makes_one_order_and_one_reply() {
    let _alone = ALONE.lock().await;
    let (processes, attempt) = (two_processes(25), Attempt::new());
    let replies = at_once(&processes, &vec![attempt.request.clone(); 50]);
    println!("{:?}", outcomes(&replies));
    let (placed, others): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply["statusCode"] == 201);
    for other in others {
        assert_eq!(outcome(other), "409 request-in-progress", "{other}");
        assert_eq!(other["headers"]["retry-after"], LOCK_WAIT_TIMEOUT.as_secs().to_string(), "{other}");
    }
    let firsts: Vec<_> = placed.iter().filter(|reply| !is_replayed(reply)).collect();
    assert_eq!(firsts.len(), 1, "one of them did it");
    assert!(placed.iter().all(|reply| reply["body"] == firsts[0]["body"]), "{placed:?}");
    let again = processes[1].invoke(&attempt.request);
    assert!(is_replayed(&again) && again["body"] == firsts[0]["body"], "{again}");
    attempt.expect_once(&requests::id(firsts[0])).await;
}

#[tokio::test]
async fn of_two_payloads_under_one_key_in_parallel_one_is_done_and_the_other_refused() {
    let _alone = ALONE.lock().await;
    let processes = two_processes(1);
    for round in 0..20 {
        let attempt = Attempt::new();
        let mut other = attempt.request.clone();
        other["body"] = requests::place(Uuid::nil(), std::slice::from_ref(&attempt.product), 1)["body"].clone();
        let both = [attempt.request.clone(), other];
        let replies = at_once(&processes, &both);
        let done: Vec<usize> = (0..2).filter(|&index| replies[index]["statusCode"] == 201).collect();
        let [done] = done[..] else { panic!("round {round}: {replies:?}") };
        let refused = 1 - done;
        // It may have waited for too long for the first one; it is told so, and comes back.
        let reply = match outcome(&replies[refused]).as_str() {
            "409 request-in-progress" => persist(&processes[refused], &both[refused]),
            _ => replies[refused].clone(),
        };
        assert_eq!(outcome(&reply), "422 idempotency-key-reused", "round {round}: {reply}");
        assert_eq!(orders_of(&attempt.product).await, [requests::id(&replies[done])], "round {round}");
    }
}

#[tokio::test]
async fn a_request_whose_process_died_in_mid_transaction_is_done_at_once_by_another_process() {
    let _alone = ALONE.lock().await;
    let mysql = MysqlProxy::start();
    let environment = [("SOUK_MYSQL_ENDPOINT", mysql.endpoint.clone())];
    let other = start(&[]);
    let (mut deaths, mut slowest) = (0, Duration::ZERO);
    for cut in [Cut::BeforeRequest, Cut::BeforeReply] {
        for step in 0.. {
            let attempt = Attempt::new();
            let victim = start(&environment);
            mysql.wait_until_released();
            let reached = mysql.proxy.cut(step, cut);
            thread::scope(|scope| {
                let request = scope.spawn(|| victim.invoke(&attempt.request));
                reached.recv_timeout(SLOW).expect("it comes to this statement");
                victim.kill();
                mysql.proxy.mend();
                // It panics, since nothing answers any more.
                assert!(request.join().is_err());
            });
            let statement = mysql.commands().pop().unwrap();
            let start = Instant::now();
            let reply = other.invoke(&attempt.request);
            let took = start.elapsed();
            assert_eq!(reply["statusCode"], 201, "{cut:?} {statement:?}: {reply}");
            let is_commit = statement == Command::Query("COMMIT".to_owned());
            // Nothing is left of a transaction that did not end.
            assert_eq!(is_replayed(&reply), is_commit && cut == Cut::BeforeReply, "{cut:?} {statement:?}");
            assert!(took < TAKEOVER_LIMIT, "{cut:?} {statement:?}: {took:?}");
            attempt.expect_once(&requests::id(&reply)).await;
            (deaths, slowest) = (deaths + 1, slowest.max(took));
            if is_commit {
                break;
            }
        }
    }
    println!("{deaths} deaths, the slowest repetition took {slowest:?}");
    assert!(deaths >= 16, "before and after each of at least eight statements: {deaths}");
}

#[tokio::test]
async fn while_a_process_hangs_with_the_key_others_are_told_to_come_back_and_then_get_its_reply() {
    let _alone = ALONE.lock().await;
    let mysql = MysqlProxy::start();
    let first = start(&[("SOUK_MYSQL_ENDPOINT", mysql.endpoint.clone())]);
    let (second, attempt) = (start(&[]), Attempt::new());
    mysql.wait_until_released();
    // The statement after the key's.
    let reached = mysql.proxy.cut(2, Cut::BeforeReply);
    let reply = thread::scope(|scope| {
        let request = scope.spawn(|| first.invoke(&attempt.request));
        reached.recv_timeout(SLOW).expect("it comes to the products");
        first.pause();
        mysql.proxy.release();
        assert!(mysql.commands().iter().filter_map(Command::statement).any(|text| text.contains("idempotency_keys")));

        let start = Instant::now();
        let refused = second.invoke(&attempt.request);
        let waited = start.elapsed();
        println!("refused after {waited:?}");
        assert_eq!(outcome(&refused), "409 request-in-progress", "{refused}");
        assert_eq!(refused["headers"]["retry-after"], LOCK_WAIT_TIMEOUT.as_secs().to_string(), "{refused}");
        // The server rounds.
        assert!(waited > LOCK_WAIT_TIMEOUT / 2 && waited < SLOW, "{waited:?}");
        first.resume();
        request.join().unwrap()
    });
    assert_eq!(reply["statusCode"], 201, "{reply}");
    assert!(!is_replayed(&reply), "{reply}");
    let again = second.invoke(&attempt.request);
    assert_eq!(again["statusCode"], 201, "{again}");
    assert!(is_replayed(&again) && again["body"] == reply["body"], "{again}");
    attempt.expect_once(&requests::id(&reply)).await;
}

#[tokio::test]
async fn work_that_fails_frees_its_key_at_once() {
    let _alone = ALONE.lock().await;
    let (processes, product) = (two_processes(1), people::new_product(1));
    let request = requests::place(Ambient::system().id(), std::slice::from_ref(&product), 2);
    for process in [&processes[0], &processes[1], &processes[0]] {
        let start = Instant::now();
        assert_eq!(outcome(&process.invoke(&request)), "409 out-of-stock");
        assert!(start.elapsed() < TAKEOVER_LIMIT);
    }
    assert_eq!(Function::start("products-stock", &[]).invoke(&requests::restock(&product, 1))["statusCode"], 201);
    let reply = processes[1].invoke(&request);
    assert_eq!(reply["statusCode"], 201, "{reply}");
    assert!(!is_replayed(&reply), "{reply}");
    assert_eq!((stock(&product), orders_of(&product).await), (0, vec![requests::id(&reply)]));
}

/// All that wait for a key get a shared lock of it when its transaction rolls back, and then are in each other's way: deadlocks, after
/// which they begin again.
#[tokio::test]
async fn one_key_fifty_times_in_parallel_for_work_that_fails_leaves_nothing() {
    let _alone = ALONE.lock().await;
    let (processes, product) = (two_processes(25), people::new_product(1));
    let request = requests::place(Ambient::system().id(), std::slice::from_ref(&product), 2);
    let replies = at_once(&processes, &vec![request.clone(); 50]);
    println!("{:?}", outcomes(&replies));
    for reply in &replies {
        let is_told_to_come_back = reply["headers"]["retry-after"].is_string();
        match outcome(reply).as_str() {
            "409 out-of-stock" => {}
            "409 request-in-progress" | "503 unavailable" => assert!(is_told_to_come_back, "{reply}"),
            _ => panic!("{reply}"),
        }
    }
    assert!(replies.iter().any(|reply| outcome(reply) == "409 out-of-stock"));
    assert_eq!((stock(&product), orders_of(&product).await), (1, vec![]));
    assert_eq!(Function::start("products-stock", &[]).invoke(&requests::restock(&product, 1))["statusCode"], 201);
    let reply = processes[0].invoke(&request);
    assert!(reply["statusCode"] == 201 && !is_replayed(&reply), "{reply}");
}

#[tokio::test]
async fn of_sixty_four_buyers_in_parallel_ten_get_the_ten_units() {
    let _alone = ALONE.lock().await;
    let (processes, product) = (two_processes(32), people::new_product(10));
    let buyer = |_| requests::place(Ambient::system().id(), std::slice::from_ref(&product), 1);
    let buyers: Vec<Value> = (0..64).map(buyer).collect();
    let mut replies = at_once(&processes, &buyers);
    println!("{:?}", outcomes(&replies));
    // On a slow machine some wait too long for the product, and are told to come back.
    for (reply, request) in replies.iter_mut().zip(&buyers) {
        if reply["headers"]["retry-after"].is_string() {
            *reply = persist(&processes[0], request);
        }
    }
    let expected = [("201".to_owned(), 10), ("409 out-of-stock".to_owned(), 54)];
    assert_eq!(outcomes(&replies), BTreeMap::from(expected));
    assert_eq!((stock(&product), orders_of(&product).await.len()), (0, 10));
}
