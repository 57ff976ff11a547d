//! The relay and the consumers: a committed message arrives once, even after a crash in between.

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    email::EmailAddress,
    identity::{Role, Roles},
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    money::{Currency, Money},
    order::NewOrder,
    store::{
        Mongodb, Mysql,
        mongodb::users::{self, Inserted, NewUser},
        mysql::orders,
        outbox::Outbox,
    },
    telemetry::Trace,
};
use tests::{Stage, aws, keyed, people, queue::Queue};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

fn message(user_id: Uuid, content: Content) -> OutboxMessage {
    let ambient = Ambient::system();
    let mail = Email { to: Recipient::User(user_id), content };
    OutboxMessage::command::<EmailQueue>(ambient.id(), &Trace::of(None, None, &ambient), mail).unwrap()
}

/// A mail with a unique content.
fn order_placed(order_id: Uuid) -> Content {
    Content::OrderPlaced { order_id, total: Money { amount: 100, currency: Currency::EUR }, items: 1 }
}

/// Registers a user as the endpoint does, and dies before the message is sent.
async fn register_and_die(mongodb: &Mongodb, email: &EmailAddress, content: Content) -> Uuid {
    let ambient = Ambient::system();
    let user = NewUser {
        id: ambient.id(),
        email: email.clone(),
        email_verified: false,
        password_hash: None,
        identity_key: None,
        roles: Roles(vec![Role::Customer]),
        // Long enough ago for the lease to be expired.
        now: ambient.now() - Duration::minutes(5),
    };
    let outgoing = message(user.id, content);
    assert_eq!(users::insert(mongodb, &user, Some(&outgoing)).await.unwrap(), Inserted::Yes);
    user.id
}

#[tokio::test]
async fn a_mail_whose_sender_died_after_the_write_to_mongodb_still_goes_out_once() {
    let mongodb: Mongodb = Stage::get().resource();
    let email: EmailAddress = people::new_address().parse().unwrap();
    let order_id = Ambient::system().id();
    let marker = order_id.to_string();
    register_and_die(&mongodb, &email, order_placed(order_id)).await;

    let relayed = aws::invoke("outbox-relay", &json!({}));
    assert_eq!(relayed["failed"], 0, "{relayed}");
    let _ = aws::wait_for_mail(email.as_str(), &marker);
    let _ = aws::invoke("outbox-relay", &json!({}));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(aws::mails(email.as_str(), &marker).len(), 1);
    let later = Ambient::system().now() + Duration::hours(2);
    let left = mongodb.claim(Uuid::nil(), 1000, later).await.unwrap();
    assert!(left.iter().all(|message| !message.envelope.contains(&marker)), "the entry is pulled");
}

/// Places an order as the endpoint does, and dies before its message is sent.
async fn place_and_die(mysql: &Mysql, user_id: Uuid, now: OffsetDateTime) -> Uuid {
    let (ambient, product) = (Ambient::system(), people::new_product(3).parse().unwrap());
    let mut work = keyed::begin(mysql, user_id, now).await.unwrap();
    let new = NewOrder { id: ambient.id(), user_id, lines: vec![(product, 1)], expected_total: None, now };
    let (order, _) = orders::place(&mut work, &new).await.unwrap().unwrap();
    work.commit(201, "{}", &[message(user_id, order_placed(order.id))]).await.unwrap();
    new.id
}

#[tokio::test]
async fn a_mail_whose_sender_died_after_the_commit_to_mysql_still_goes_out_once() {
    let (mysql, mongodb): (Mysql, Mongodb) = (Stage::get().resource(), Stage::get().resource());
    let ambient = Ambient::system();
    let email: EmailAddress = people::new_address().parse().unwrap();
    let user_id = register_and_die(&mongodb, &email, Content::AccountExists).await;
    let order_id = place_and_die(&mysql, user_id, ambient.now() - Duration::minutes(5)).await;

    let relayed = aws::invoke("outbox-relay", &json!({}));
    assert_eq!(relayed["failed"], 0, "{relayed}");
    let _ = aws::wait_for_mail(email.as_str(), &order_id.to_string());
    let _ = aws::invoke("outbox-relay", &json!({}));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(aws::mails(email.as_str(), &order_id.to_string()).len(), 1);
}

fn record(id: &str, body: &str) -> Value {
    json!({
        "messageId": id, "receiptHandle": id, "body": body, "eventSource": "aws:sqs",
        "attributes": { "ApproximateReceiveCount": "1" }, "messageAttributes": {},
    })
}

#[tokio::test]
async fn in_a_batch_what_cannot_be_read_goes_to_the_dead_letter_queue_and_twice_the_same_is_sent_once() {
    let mongodb: Mongodb = Stage::get().resource();
    let email: EmailAddress = people::new_address().parse().unwrap();
    let user_id = register_and_die(&mongodb, &email, Content::AccountExists).await;
    let order_id = Ambient::system().id();
    let good = message(user_id, order_placed(order_id)).envelope;
    let gone = message(Uuid::nil(), Content::VerifyEmail).envelope;

    let unknown = good.replace("orderPlaced", "unheardOf");
    let records = [record("good", &good), record("broken", "{"), record("unknown", &unknown), record("gone", &gone)];
    let reply = aws::invoke("on-email", &json!({ "Records": records }));
    assert_eq!(reply["batchItemFailures"], json!([]), "{reply}");
    let again = aws::invoke("on-email", &json!({ "Records": [record("again", &good)] }));
    assert_eq!(again["batchItemFailures"], json!([]), "{again}");
    assert_eq!(aws::mails(email.as_str(), &order_id.to_string()).len(), 1);

    let given_up = Queue::existing("email-dlq").receive(10, 1);
    let letter = given_up.iter().find(|letter| letter.body == unknown).expect("the message is not lost");
    let attribute = |name: &str| letter.attributes[name]["StringValue"].as_str().unwrap_or_default().to_owned();
    assert!(attribute("reason").contains("unknown variant `unheardOf`"), "{}", attribute("reason"));
    assert_eq!([attribute("queue"), attribute("messageId"), attribute("receiveCount")], ["email", "unknown", "1"]);
    let envelope: Value = serde_json::from_str(&good).unwrap();
    assert_eq!(
        [json!(attribute("id")), json!(attribute("traceparent"))],
        [envelope["id"].clone(), envelope["traceparent"].clone()]
    );
}

/// With `--env`, like an operator in AWS. The sender died a moment ago, so that its lease keeps the relay away.
#[tokio::test]
async fn an_operator_sees_what_waits_in_the_outbox_and_sends_it() {
    let (mysql, mongodb): (Mysql, Mongodb) = (Stage::get().resource(), Stage::get().resource());
    let email: EmailAddress = people::new_address().parse().unwrap();
    let user_id = register_and_die(&mongodb, &email, Content::AccountExists).await;
    let order_id = place_and_die(&mysql, user_id, Ambient::system().now()).await;
    let waiting = mysql.waiting(1000).await.unwrap();
    let ours = waiting.iter().max_by_key(|message| message.created_at).unwrap().id.to_string();

    let listed = Stage::tools(&["outbox", "list", "--env", "local"]);
    let line = listed.lines().find(|line| line.starts_with(&ours)).unwrap_or_else(|| panic!("{ours} in {listed}"));
    assert!(line.contains("  mysql    email  ") && line.contains(" 1 attempts, due in 2"), "{line}");
    let replayed = Stage::tools(&["outbox", "replay", "--id", &ours, "--env", "local"]);
    assert!(replayed.starts_with("1 were made due; of all that was due "), "{replayed}");
    let _ = aws::wait_for_mail(email.as_str(), &order_id.to_string());

    let refused = aws::invoke("outbox-relay", &json!({ "outbox": { "replay": { "id": "all" } } }));
    assert!(refused["errorMessage"].to_string().contains("not this task's event"), "{refused}");
    let unknown = json!({ "outbox": { "replay": { "id": Uuid::nil() } } });
    assert_eq!(aws::invoke("outbox-relay", &unknown)["due"], 0);
}
