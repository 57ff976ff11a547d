//! `/v1/users/me/notifications`

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    messaging::OutboxMessage,
    notification::{Content, Notification, NotificationQueue},
    telemetry::Trace,
};
use tests::{Call, Reply, aws, people};
use ureq::http::Method;
use uuid::Uuid;

/// How long a notification may take from its queue.
const TIMEOUT: Duration = Duration::from_secs(20);

fn get(token: &str, query: &str) -> Value {
    Call::get(format!("/v1/users/me/notifications{query}")).token(token).send().expect(200).json()
}

fn read(token: &str, id: &Value) -> Reply {
    Call::post(format!("/v1/users/me/notifications/{}/read", id.as_str().unwrap())).token(token).send()
}

/// Waits until the user has this many notifications, and returns them.
fn wait_for(token: &str, count: usize) -> Vec<Value> {
    let start = Instant::now();
    loop {
        let found = get(token, "")["items"].as_array().unwrap().clone();
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:?}");
            return found;
        }
        assert!(start.elapsed() < TIMEOUT, "{} of {count} notifications", found.len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A notification's message for its queue.
fn message(user_id: Uuid, order_id: Uuid) -> OutboxMessage {
    let ambient = Ambient::system();
    let content = Content::OrderConfirmed { order_id };
    let told = Notification { user_id, content, created_at: ambient.now() };
    OutboxMessage::command::<NotificationQueue>(ambient.id(), &Trace::of(None, None, &ambient), told).unwrap()
}

/// Invokes the consumer with a batch, which must not fail.
fn deliver(messages: &[&OutboxMessage]) {
    let record = |message: &&OutboxMessage| {
        json!({
            "messageId": message.id, "receiptHandle": message.id, "body": message.envelope, "eventSource": "aws:sqs",
            "attributes": { "ApproximateReceiveCount": "1" }, "messageAttributes": {},
        })
    };
    let records: Vec<Value> = messages.iter().map(record).collect();
    let reply = aws::invoke("on-notification", &json!({ "Records": records }));
    assert_eq!(reply["batchItemFailures"], json!([]), "{reply}");
}

#[test]
fn a_notification_comes_when_an_order_is_placed_and_with_each_of_its_steps() {
    let token = people::log_in(&people::register());
    let product = people::new_product_at(5, 4900, "EUR");
    let body = json!({ "lines": [{ "productId": product, "quantity": 2 }] });
    let order = Call::post("/v1/orders").token(&token).key(&people::new_key()).json(body).send().expect(201).json();
    let placed = wait_for(&token, 1).remove(0);
    assert_eq!(placed["kind"], "orderPlaced");
    assert_eq!(placed["data"], json!({ "orderId": order["id"], "total": { "amount": 9800, "currency": "EUR" } }));
    assert_eq!(placed["readAt"], Value::Null);

    let path = format!("/v1/orders/{}/status", order["id"].as_str().unwrap());
    for (step, status) in ["confirmed", "shipped", "delivered"].into_iter().enumerate() {
        // Idempotent: the second request sends nothing.
        for _ in 0..2 {
            let body = json!({ "status": status });
            let _ = Call::new(Method::PATCH, &path).token(people::admin()).json(body).send().expect(200);
        }
        wait_for(&token, step + 2);
    }
    let kinds: Vec<Value> = wait_for(&token, 4).iter().map(|found| found["kind"].clone()).collect();
    assert_eq!(kinds, ["orderDelivered", "orderShipped", "orderConfirmed", "orderPlaced"], "the newest first");
}

#[test]
fn a_notification_that_is_delivered_twice_is_there_once() {
    let token = people::log_in(&people::register());
    let message = message(people::id_of(&token).parse().unwrap(), Ambient::system().id());
    deliver(&[&message, &message]);
    let first = wait_for(&token, 1);
    let _ = read(&token, &first[0]["id"]).expect(204);
    deliver(&[&message]);
    let again = wait_for(&token, 1);
    assert_eq!(again[0]["id"], json!(message.id));
    assert_ne!(again[0]["readAt"], Value::Null, "a second delivery does not make it new again");
}

#[test]
fn a_notification_is_marked_as_read_by_its_owner_once() {
    let token = people::log_in(&people::register());
    let owner = people::id_of(&token).parse().unwrap();
    let (one, two) = (message(owner, Ambient::system().id()), message(owner, Ambient::system().id()));
    deliver(&[&one, &two]);
    let id = json!(one.id);

    for other in [people::customer(), people::admin()] {
        let _ = read(other, &id).expect_problem(404, "not-found");
    }
    let _ = read(&token, &json!(people::new_key())).expect_problem(404, "not-found");
    assert_eq!(get(&token, "?unread=true")["items"].as_array().unwrap().len(), 2);

    let _ = read(&token, &id).expect(204);
    let read_at = |id: &Value| {
        let found = wait_for(&token, 2).into_iter().find(|found| found["id"] == *id).unwrap();
        found["readAt"].clone()
    };
    let first = read_at(&id);
    assert!(first.is_string(), "{first}");
    let _ = read(&token, &id).expect(204);
    assert_eq!(read_at(&id), first, "the first time counts");
    let unread = get(&token, "?unread=true");
    assert_eq!(unread["items"].as_array().unwrap().len(), 1, "{unread}");
    assert_eq!(unread["items"][0]["id"], json!(two.id));
    assert_eq!(get(&token, "?unread=false")["items"].as_array().unwrap().len(), 2);
}

#[test]
fn notifications_come_in_pages_that_belong_to_one_user_and_one_filter() {
    let token = people::log_in(&people::register());
    let owner = people::id_of(&token).parse().unwrap();
    let messages: Vec<OutboxMessage> = (0..7).map(|_| message(owner, Ambient::system().id())).collect();
    deliver(&messages.iter().collect::<Vec<_>>());
    let mut expected: Vec<Value> = messages.iter().map(|message| json!(message.id)).collect();
    expected.sort_by(|one, other| other.as_str().cmp(&one.as_str()));

    let (mut found, mut query) = (Vec::new(), "?limit=3".to_owned());
    let mut pages = Vec::new();
    loop {
        let page = get(&token, &query);
        let items = page["items"].as_array().unwrap();
        pages.push(items.len());
        found.extend(items.iter().map(|item| item["id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&cursor={next}");
    }
    assert_eq!((pages, found), (vec![3, 3, 1], expected));

    let cursor = get(&token, "?limit=3")["next"].as_str().unwrap().to_owned();
    let call =
        |token: &str, query: String| Call::get(format!("/v1/users/me/notifications?{query}")).token(token).send();
    let _ = call(people::customer(), format!("cursor={cursor}")).expect_problem(400, "invalid-cursor");
    let _ = call(&token, format!("unread=true&cursor={cursor}")).expect_problem(400, "invalid-cursor");
    let _ = call(&token, "limit=0".to_owned()).expect_problem(422, "validation-failed");
    let _ = call(&token, "unread=perhaps".to_owned()).expect_problem(400, "malformed-request");
}
