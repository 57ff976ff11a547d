//! Crash consistency of placing an order: the process is killed at every step, before and after each statement, the
//! commit included, before and after the message leaves, before the reply. A retry of the same request then yields one
//! order, one mail, one notification, one change of the stock.
//!
//! The function is the real binary; a proxy between it and the servers cuts the exchange where it is to die.

use std::{sync::mpsc::RecvTimeoutError, thread, time::Duration};

use serde_json::{Value, json};
use shared::{ambient::Ambient, environment, store::Mysql};
use sqlx::Row;
use tests::{
    Call, Stage, aws,
    function::Function,
    people,
    proxy::{Cut, Proxy},
};
use uuid::Uuid;

const ROUTE: &str = "POST /v1/orders";
const STOCK: u32 = 5;
/// Longer than a function takes after its reply.
const AFTER_REPLY: Duration = Duration::from_millis(1500);

/// A buyer, and one request to place an order.
struct Buyer {
    email: String,
    id: Uuid,
    product: String,
    event: Value,
}

impl Buyer {
    fn new(email: &str, id: Uuid) -> Self {
        let product = people::new_product(STOCK);
        let mut event = aws::http_event(ROUTE, &json!({ "lines": [{ "productId": product, "quantity": 2 }] }));
        event["headers"]["idempotency-key"] = json!(people::new_key());
        let session = Ambient::system().id();
        event["requestContext"]["authorizer"] = json!({ "lambda": { "sub": id, "sid": session, "roles": "customer" } });
        Self { email: email.to_owned(), id, product, event }
    }
}

/// The environment of a function that connects through proxies.
fn through(mysql: &Proxy, sns: &Proxy) -> [(&'static str, String); 2] {
    let endpoint = environment::required("SOUK_MYSQL_ENDPOINT").unwrap();
    let (before, after) = endpoint.rsplit_once(':').unwrap();
    let database = after.split_once('/').unwrap().1;
    [
        ("SOUK_MYSQL_ENDPOINT", format!("{before}:{}/{database}", mysql.port)),
        ("AWS_ENDPOINT_URL_SNS", format!("http://127.0.0.1:{}", sns.port)),
    ]
}

fn port_of(address: &str) -> u16 {
    let digits: String = address.rsplit(':').next().unwrap().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

/// Kills a function where the proxy cuts, in the middle of the buyer's request. `false` if the exchange never came.
fn die_there(buyer: &Buyer, mysql: &Proxy, sns: &Proxy, which: &Proxy, step: usize, cut: Cut) -> bool {
    let function = Function::start("orders-place", &through(mysql, sns));
    // Connected, so that the steps are those of the request.
    let warm_up = Buyer::new(&buyer.email, buyer.id);
    assert_eq!(function.invoke(&warm_up.event)["statusCode"], 201);
    function.wait_until_idle();
    let reached = which.cut(step, cut);
    thread::scope(|scope| {
        let request = scope.spawn(|| function.invoke(&buyer.event));
        loop {
            match reached.recv_timeout(Duration::from_millis(5)) {
                Ok(()) => {
                    function.kill();
                    which.mend();
                    // It panics, since nothing answers any more; unless it timed out just before, and answered.
                    let _ = request.join();
                    return true;
                }
                Err(RecvTimeoutError::Timeout) if !request.is_finished() => {}
                Err(_) => {
                    assert_eq!(request.join().unwrap()["statusCode"], 201);
                    // It may come to that after the reply.
                    let is_reached = reached.recv_timeout(AFTER_REPLY).is_ok();
                    if is_reached {
                        function.kill();
                    }
                    which.mend();
                    return is_reached;
                }
            }
        }
    })
}

/// Expires the leases of the killed process.
async fn let_leases_expire(mysql: &Mysql) {
    for statement in ["UPDATE outbox SET available_at = '2000-01-01' WHERE sent_at IS NULL"] {
        sqlx::query(statement).execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_whichever_step_a_process_dies_the_request_can_be_sent_again_and_happens_once() {
    let mysql: Mysql = Stage::get().resource();
    let through_mysql = Proxy::to(port_of(&environment::required("SOUK_MYSQL_ENDPOINT").unwrap()));
    let through_sns = Proxy::to(port_of(&Stage::get().aws_endpoint));
    let email = people::register();
    let id: Uuid = people::id_of(&people::log_in(&email)).parse().unwrap();

    let mut deaths = Vec::new();
    for (name, which) in [("MySQL", &through_mysql), ("SNS", &through_sns)] {
        for cut in [Cut::BeforeRequest, Cut::BeforeReply] {
            for step in 0.. {
                let buyer = Buyer::new(&email, id);
                if !die_there(&buyer, &through_mysql, &through_sns, which, step, cut) {
                    assert!(step > 0, "{name} {cut:?}: the proxy saw nothing");
                    break;
                }
                deaths.push((format!("{name} {cut:?} {step}"), buyer));
            }
        }
    }
    // Statements: begin, key, lock, take, order, items, reply, event, commit, and after the reply sent; and the event itself. Each
    // before and after.
    println!("{} deaths", deaths.len());
    assert!(deaths.len() >= 20, "{} deaths", deaths.len());

    let_leases_expire(&mysql).await;
    let again = Function::start("orders-place", &[]);
    let mut orders = Vec::new();
    for (death, buyer) in &deaths {
        let reply = again.invoke(&buyer.event);
        assert_eq!(reply["statusCode"], 201, "{death}: {reply}");
        let order: Value = serde_json::from_str(reply["body"].as_str().unwrap()).unwrap();
        let product = Call::get(format!("/v1/products/{}", buyer.product)).send().expect(200).json();
        assert_eq!(product["stock"], STOCK - 2, "{death}");
        let count = "SELECT COUNT(*) AS count FROM order_items WHERE product_id = ?";
        let product: Uuid = buyer.product.parse().unwrap();
        let row = sqlx::query(count).bind(product).fetch_one(&mut *mysql.connection().await.unwrap()).await.unwrap();
        assert_eq!(row.try_get::<i64, _>("count").unwrap(), 1, "{death}");
        orders.push((death, order["id"].as_str().unwrap().to_owned()));
    }
    // The relay sends the messages that were committed and not sent, or not marked as sent.
    let_leases_expire(&mysql).await;
    let relayed = aws::invoke("outbox-relay", &json!({}));
    assert_eq!(relayed["failed"], 0, "{relayed}");
    for (death, order) in &orders {
        let _ = aws::wait_for_mail(&email, order);
        let queues = sqlx::query_scalar("SELECT queue FROM outbox WHERE envelope LIKE ? ORDER BY queue");
        let queues = queues.bind(format!("%{order}%")).fetch_all(&mut *mysql.connection().await.unwrap()).await;
        let queues: Vec<String> = queues.unwrap();
        assert_eq!(queues, ["events"], "{death}");
    }
    thread::sleep(Duration::from_secs(2));
    for (death, order) in &orders {
        assert_eq!(aws::mails(&email, order).len(), 1, "{death}");
    }
}

#[test]
fn a_fresh_process_replays_the_same_bytes() {
    let email = people::register();
    let buyer = Buyer::new(&email, people::id_of(&people::log_in(&email)).parse().unwrap());
    let place = || Function::start("orders-place", &[]).invoke(&buyer.event);
    let (first, second) = (place(), place());
    assert_eq!(first["headers"].get("idempotent-replayed"), None, "{first}");
    assert_eq!(second["headers"]["idempotent-replayed"], "true", "{second}");
    assert_eq!((&first["statusCode"], &first["body"]), (&second["statusCode"], &second["body"]));
}
