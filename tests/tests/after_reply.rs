//! After the reply: an event is published when the reply has left. SNS may hang and the process may die: the relay sends it, once.
//!
//! A proxy is SNS that does not answer.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::store::Mysql;
use sqlx::Row;
use tests::{
    Stage, aws,
    function::Function,
    people,
    proxy::{Cut, Proxy},
    requests,
};

/// The longest that a slow machine takes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A function behind a proxy to SNS, and a buyer's request for it.
struct Placing {
    email: String,
    sns: Proxy,
    function: Function,
    request: Value,
}

impl Placing {
    fn start() -> Self {
        let email = people::register();
        let buyer = people::id_of(&people::log_in(&email)).parse().unwrap();
        let (sns, endpoint) = Proxy::before(&Stage::get().aws_endpoint);
        let function = Function::start("orders-place", &[("AWS_ENDPOINT_URL_SNS", endpoint)]);
        let request = || requests::place(buyer, &[people::new_product(5)], 1);
        assert_eq!(function.invoke(&request())["statusCode"], 201);
        function.wait_until_idle();
        Self { email, sns, function, request: request() }
    }

    /// Has the relay send what is left of an order, and checks that the buyer hears of it once.
    async fn expect_one_mail_by_the_relay(&self, order: &str) {
        let mysql: Mysql = Stage::get().resource();
        assert_eq!(aws::mails(&self.email, order).len(), 0);
        assert_eq!(unsent(&mysql, order).await, [true]);
        let expire = sqlx::query("UPDATE outbox SET available_at = '2000-01-01' WHERE envelope LIKE ?");
        let expire = expire.bind(format!("%{order}%"));
        expire.execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
        let start = Instant::now();
        // It may be the scheduled run of the relay that has it.
        while unsent(&mysql, order).await != [false] {
            assert!(start.elapsed() < TIMEOUT, "the event stays in the outbox");
            let relayed = aws::invoke("outbox-relay", &json!({}));
            assert_eq!(relayed["failed"], 0, "{relayed}");
        }
        let _ = aws::wait_for_mail(&self.email, order);
        thread::sleep(Duration::from_secs(2));
        assert_eq!(aws::mails(&self.email, order).len(), 1);
    }
}

/// Of each message about an order, whether it is still to be sent.
async fn unsent(mysql: &Mysql, order: &str) -> Vec<bool> {
    let query = sqlx::query("SELECT sent_at IS NULL AS unsent FROM outbox WHERE envelope LIKE ?");
    let query = query.bind(format!("%{order}%"));
    let rows = query.fetch_all(&mut *mysql.connection().await.unwrap()).await.unwrap();
    rows.iter().map(|row| row.get("unsent")).collect()
}

#[tokio::test]
async fn a_reply_does_not_wait_for_sns_and_what_sns_does_not_take_is_left_to_the_relay() {
    let placing = Placing::start();
    let reached = placing.sns.cut(0, Cut::BeforeRequest);
    let reply = thread::scope(|scope| {
        let request = scope.spawn(|| placing.function.invoke(&placing.request));
        reached.recv_timeout(TIMEOUT).expect("it publishes");
        // Stopped in the middle of publishing, it cannot reply any more: the reply is there, or it never will be.
        placing.function.pause();
        let reply = request.join().unwrap();
        placing.function.resume();
        reply
    });
    assert_eq!(reply["statusCode"], 201, "{reply}");
    // It gives up by itself: SNS is still silent.
    placing.function.wait_until_idle();
    let log = placing.function.log();
    assert!(log.contains("AfterReplyFailures") && log.contains("after the reply"), "{log}");
    placing.expect_one_mail_by_the_relay(&requests::id(&reply)).await;
}

#[tokio::test]
async fn an_event_whose_process_dies_between_reply_and_publishing_is_sent_by_the_relay_once() {
    let placing = Placing::start();
    let reached = placing.sns.cut(0, Cut::BeforeRequest);
    let reply = placing.function.invoke(&placing.request);
    assert_eq!(reply["statusCode"], 201, "{reply}");
    reached.recv_timeout(TIMEOUT).expect("it publishes");
    placing.function.kill();
    placing.expect_one_mail_by_the_relay(&requests::id(&reply)).await;
}
