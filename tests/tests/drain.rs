//! The messages of two thousand orders, all left to the relay, some of them duplicated: the queues drain, each message
//! leaves the outbox, and each effect exists once.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use shared::{
    ambient::Ambient,
    identity::{Caller, Role, Roles},
    messaging::{Destination, OutboxMessage, Publishes, Topic},
    order::{NewOrder, OrderPlaced},
    store::{Mongodb, Mysql, mongodb::notifications, mysql::orders},
    telemetry::Trace,
};
use sqlx::Row;
use tests::{Stage, aws, keyed, people};
use time::Duration as Span;
use uuid::Uuid;

const ORDERS: usize = 2000;
/// Concurrent buyers.
const BUYERS: usize = 4;
/// One message of this many is duplicated: 5 %.
const TWICE: usize = 20;
const TIMEOUT: Duration = Duration::from_mins(4);

/// Places orders as the endpoint does, and dies each time before the event is published.
async fn place(user_id: Uuid, product: Uuid, count: usize) -> Vec<OutboxMessage> {
    let (mysql, ambient): (Mysql, _) = (Stage::get().resource(), Ambient::system());
    let events: Publishes<OrderPlaced> = Stage::get().resource();
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        // So long ago that the sender's lease is over.
        let now = ambient.now() - Span::minutes(5);
        let new = NewOrder { id: ambient.id(), user_id, lines: vec![(product, 1)], expected_total: None, now };
        let mut work = keyed::begin(&mysql, user_id, now).await.unwrap();
        let (order, _) = orders::place(&mut work, &new).await.unwrap().unwrap();
        let trace = Trace::of(None, None, &ambient);
        let event = events.message(ambient.id(), &trace, &OrderPlaced::from(&order)).unwrap();
        work.commit(201, "{}", std::slice::from_ref(&event)).await.unwrap();
        messages.push(event);
    }
    messages
}

/// Publishes some of the events past the outbox: each of them is then delivered at least twice.
async fn send_twice(messages: &[OutboxMessage]) -> usize {
    let topic: Topic = Stage::get().resource();
    let some: Vec<&OutboxMessage> = messages.iter().step_by(TWICE).collect();
    let results = topic.send_all(&some).await;
    assert!(results.iter().all(|(_, result)| result.is_ok()));
    results.len()
}

/// Of these messages: the number that left the outbox, and the number that a consumer has processed.
async fn progress(mysql: &Mysql, ids: &[Uuid]) -> (i64, i64) {
    let mut counts = [0; 2];
    for ids in ids.chunks(1000) {
        for (count, (table, column, done)) in
            counts.iter_mut().zip([("outbox", "id", "sent_at"), ("processed_messages", "message_id", "done_at")])
        {
            let mut query = sqlx::QueryBuilder::<sqlx::MySql>::new("SELECT COUNT(*) AS count FROM ");
            query.push(table).push(" WHERE ").push(done).push(" IS NOT NULL AND ").push(column).push(" IN (");
            let mut list = query.separated(", ");
            for id in ids {
                list.push_bind(*id);
            }
            query.push(")");
            let row = query.build().persistent(false).fetch_one(&mut *mysql.connection().await.unwrap()).await.unwrap();
            *count += row.try_get::<i64, _>("count").unwrap();
        }
    }
    let [sent, done] = counts;
    (sent, done)
}

/// The ids of all notifications of a user, page by page.
async fn notifications_of(mongodb: &Mongodb, caller: &Caller) -> Vec<Uuid> {
    let mut found = Vec::new();
    loop {
        let page = notifications::list(mongodb, caller.owner(), false, found.last().copied(), 500).await.unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page.iter().map(|notification| notification.id));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_orders_worth_of_events_drain_into_one_mail_and_one_notification_each() {
    let (mysql, mongodb): (Mysql, Mongodb) = (Stage::get().resource(), Stage::get().resource());
    let ambient = Ambient::system();
    // An unknown id: the mails are processed like any other, and none is written.
    let buyer = Caller { user_id: ambient.id(), session_id: ambient.id(), roles: Roles(vec![Role::Customer]) };
    let start = Instant::now();
    let placing: Vec<_> = (0..BUYERS)
        .map(|_| {
            let product = people::new_product(10_000).parse().unwrap();
            tokio::spawn(place(buyer.user_id, product, ORDERS / BUYERS))
        })
        .collect();
    let mut messages = Vec::new();
    for placed in placing {
        messages.extend(placed.await.unwrap());
    }
    println!("{} orders placed in {:.1} s", messages.len(), start.elapsed().as_secs_f64());

    let start = Instant::now();
    let twice = send_twice(&messages).await;
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let expected = (i64::try_from(ORDERS).unwrap(), i64::try_from(ORDERS).unwrap());
    let mut found = Vec::new();
    while progress(&mysql, &ids).await != expected || found.len() < ORDERS {
        assert!(start.elapsed() < TIMEOUT, "{:?} and {}", progress(&mysql, &ids).await, found.len());
        let relayed = aws::invoke("outbox-relay", &json!({}));
        assert_eq!(relayed["failed"], 0, "{relayed}");
        thread::sleep(Duration::from_millis(200));
        found = notifications_of(&mongodb, &buyer).await;
    }
    println!("{} messages and {twice} duplicates drained in {:.1} s", ids.len(), start.elapsed().as_secs_f64());

    // The rest on its way are duplicates, which change nothing.
    thread::sleep(Duration::from_secs(2));
    let mut notified = ids.clone();
    notified.sort_unstable_by(|one, other| other.cmp(one));
    assert_eq!(notifications_of(&mongodb, &buyer).await, notified, "each notification is there once");
    assert_eq!(progress(&mysql, &ids).await, expected);
}
