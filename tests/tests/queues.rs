//! Consumers and the relay on real queues: partial failures, retries with backoff, crashes in the middle.
//!
//! Two kinds of consumer: one declared here, which fails on demand, and the real binary. Both on the test's own queues,
//! polled like Lambda does.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    ambient::Ambient,
    aws::Aws,
    lambda::{Consumer, ConsumerContract, Delivery, Invocation, Serve},
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::{Backoff, Deliveries, Failure, OutboxMessage, QueueContract},
    money::{Currency, Money},
    store::Mysql,
    telemetry::Trace,
};
use tests::{
    Stage, aws,
    function::Function,
    people,
    proxy::{Cut, Proxy},
    queue::{Queue, Received, event},
};
use uuid::Uuid;

/// The effect of a message on its consumer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Effect {
    Good,
    Poison,
    Panics,
    Slow,
    Hopeless,
}

struct ProbeQueue;

impl QueueContract for ProbeQueue {
    const NAME: &'static str = "probe";
    const URL: &'static str = "SOUK_PROBE_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_PROBE_DEAD_LETTER_QUEUE_URL";
    type Command = Effect;
    type Message = Effect;
}

/// A consumer whose messages determine the outcome.
struct Probe;

shared::function!(Probe = "probe" Consumer { deliveries: Deliveries<ProbeQueue> });

impl ConsumerContract for Probe {
    type Queue = ProbeQueue;
    const BATCH_SIZE: u32 = 10;
    const CONCURRENCY: usize = 4;
    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), cap: Duration::from_secs(8) };

    fn deliveries(needs: &ProbeNeeds) -> &Deliveries<ProbeQueue> {
        &needs.deliveries
    }
}

type ProbeNeeds = <Probe as shared::contract::Function>::Needs;

/// The number of times each message was handled, by its outbox id.
static HANDLED: Mutex<Option<HashMap<Uuid, u32>>> = Mutex::new(None);

fn handled(id: Uuid) -> u32 {
    let handled = HANDLED.lock().unwrap_or_else(PoisonError::into_inner);
    handled.as_ref().and_then(|handled| handled.get(&id)).copied().unwrap_or_default()
}

async fn handle(_: ProbeNeeds, delivery: Delivery<Probe>) -> Result<(), Failure> {
    *HANDLED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().entry(delivery.id).or_default() +=
        1;
    match delivery.message {
        Effect::Good => Ok(()),
        Effect::Poison => Err(Failure::new("it never works")),
        Effect::Panics => panic!("the message wants a panic"),
        Effect::Slow => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            Ok(())
        }
        Effect::Hopeless => Err(Failure::permanent("it never will")),
    }
}

/// Sends a message, and returns its outbox id.
fn send(queue: &Queue, effect: Effect) -> Uuid {
    let ambient = Ambient::system();
    let id = ambient.id();
    queue.send(&OutboxMessage::command::<ProbeQueue>(id, &Trace::of(None, None, &ambient), effect).unwrap().envelope);
    id
}

/// One invocation of the probe.
async fn consume(queue: &Queue, dead: &Queue, batch: &[Received], time_left: Duration) -> Value {
    let aws = Aws::default();
    let call = Invocation::<Probe> {
        trace: Trace::of(None, None, &Ambient::system()),
        needs: ProbeNeeds { deliveries: Deliveries::at(aws.clone(), &queue.url, &dead.url) },
        ambient: Ambient::system(),
        aws,
        event: serde_json::value::to_raw_value(&event(batch)).unwrap(),
        time_left,
        after_reply: shared::lambda::AfterReply::default(),
    };
    serde_json::to_value(Consumer::serve(call, handle).await.unwrap()).unwrap()
}

/// An attribute of a message in a dead-letter queue.
fn attribute<'a>(letter: &'a Received, name: &str) -> &'a str {
    letter.attributes[name]["StringValue"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn in_a_batch_of_ten_only_those_fail_that_have_to_and_each_in_its_own_way() {
    const TRIES: u32 = 3;
    let (queue, dead) = Queue::new(TRIES, 30);
    let good: Vec<Uuid> = (0..6).map(|_| send(&queue, Effect::Good)).collect();
    let [poison, panics, slow] = [Effect::Poison, Effect::Panics, Effect::Slow].map(|effect| send(&queue, effect));
    queue.send("{\"id\":\"no message\"}");

    let mut batches = Vec::new();
    queue
        .drain(Duration::from_mins(1), async |batch| {
            batches.push(batch.len());
            consume(&queue, &dead, batch, Duration::from_secs(20)).await
        })
        .await;
    println!("batches of {batches:?}");
    assert_eq!(batches[0], 10);
    assert!(good.iter().all(|id| handled(*id) == 1), "each good one is processed once");
    assert_eq!([handled(slow), handled(poison), handled(panics)], [1, TRIES, TRIES]);

    let letters = dead.receive(10, 1);
    assert_eq!(letters.len(), 3, "{letters:?}");
    let unreadable = letters.iter().find(|letter| letter.body.contains("no message")).unwrap();
    let reason = attribute(unreadable, "reason");
    assert!(reason.starts_with("the message cannot be read: UUID parsing failed"), "{reason}");
    let said = ["queue", "id", "receiveCount"].map(|name| attribute(unreadable, name));
    assert_eq!(said, ["probe", "no message", "1"]);
    for id in [poison, panics] {
        assert!(letters.iter().any(|letter| letter.body.contains(&id.to_string())), "{id} is not given up");
    }
}

#[tokio::test]
async fn what_is_hopeless_is_given_up_at_once_and_kept_where_that_fails() {
    let (queue, dead) = Queue::new(5, 30);
    let id = send(&queue, Effect::Hopeless);
    let nowhere = Queue { url: dead.url.replace("-dlq", "-gone") };
    let batch = queue.receive(1, 1);
    let reply = consume(&queue, &nowhere, &batch, Duration::from_secs(20)).await;
    assert_eq!(reply["batchItemFailures"][0]["itemIdentifier"], batch[0].id.as_str(), "{reply}");

    queue
        .drain(Duration::from_secs(20), async |batch| consume(&queue, &dead, batch, Duration::from_secs(20)).await)
        .await;
    let letters = dead.receive(10, 1);
    assert_eq!(letters.len(), 1);
    assert_eq!(attribute(&letters[0], "reason"), "it never will");
    assert_eq!(attribute(&letters[0], "receiveCount"), "2");
    assert_eq!(handled(id), 2);
}

#[tokio::test]
async fn what_there_is_no_time_for_is_not_begun_and_back_at_once() {
    let (queue, dead) = Queue::new(5, 300);
    let ids: Vec<Uuid> = (0..8).map(|_| send(&queue, Effect::Slow)).collect();
    let batch = queue.receive(10, 1);
    assert_eq!(batch.len(), 8);
    // Four at a time, two seconds each: for the other four less time is left than a message needs.
    let reply = consume(&queue, &dead, &batch, Duration::from_secs(6)).await;
    queue.settle(&batch, &reply);
    assert_eq!(reply["batchItemFailures"].as_array().unwrap().len(), 4, "{reply}");
    assert_eq!(ids.iter().map(|id| handled(*id)).sum::<u32>(), 4);
    assert_eq!(queue.receive(10, 0).len(), 4);
}

#[tokio::test]
async fn a_failing_message_comes_back_as_the_backoff_says() {
    const TRIES: u32 = 4;
    const MESSAGES: usize = 60;
    let (queue, dead) = Queue::new(TRIES, 60);
    for _ in 0..MESSAGES {
        send(&queue, Effect::Poison);
    }
    let mut received = HashMap::<String, Vec<Instant>>::new();
    queue
        .drain(Duration::from_mins(2), async |batch| {
            for message in batch {
                received.entry(message.id.clone()).or_default().push(Instant::now());
            }
            consume(&queue, &dead, batch, Duration::from_secs(20)).await
        })
        .await;

    assert_eq!(received.len(), MESSAGES);
    assert!(received.values().all(|times| times.len() == TRIES as usize), "each is tried as often as configured");
    let mut before = Duration::ZERO;
    for receive in 1..TRIES {
        let index = receive as usize;
        let mut gaps: Vec<Duration> = received.values().map(|times| times[index] - times[index - 1]).collect();
        gaps.sort();
        let (longest, mean) = (Probe::BACKOFF.longest(receive), gaps.iter().sum::<Duration>() / 60);
        println!(
            "after receive {receive}: at most {longest:?}; {:?} to {:?}, on average {mean:?}",
            gaps[0],
            gaps[MESSAGES - 1]
        );
        // Plus the time of a poll.
        assert!(gaps[MESSAGES - 1] < longest + Duration::from_millis(2500), "after receive {receive}");
        assert!(mean > before, "the pause grows");
        before = mean;
    }
    assert_eq!(dead.depth() as usize, MESSAGES);
}

/// A mail with a unique content.
fn order_mail(user: Uuid, order_id: Uuid) -> OutboxMessage {
    let ambient = Ambient::system();
    let content = Content::OrderPlaced { order_id, total: Money { amount: 100, currency: Currency::EUR }, items: 1 };
    let mail = Email { to: Recipient::User(user), content };
    OutboxMessage::command::<EmailQueue>(ambient.id(), &Trace::of(None, None, &ambient), mail).unwrap()
}

fn aws_port() -> u16 {
    Stage::get().aws_endpoint.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_killed_in_mid_batch_loses_nothing_and_doubles_nothing() {
    let mysql: Mysql = Stage::get().resource();
    let email = people::register();
    let user: Uuid = people::id_of(&people::log_in(&email)).parse().unwrap();
    let (queue, dead) = Queue::new(10, 3);
    let orders: Vec<Uuid> = (0..10).map(|_| Ambient::system().id()).collect();
    let messages: Vec<OutboxMessage> = orders.iter().map(|order| order_mail(user, *order)).collect();
    for message in &messages {
        queue.send(&message.envelope);
    }
    let own = [("SOUK_EMAIL_QUEUE_URL", queue.url.clone()), ("SOUK_EMAIL_DEAD_LETTER_QUEUE_URL", dead.url.clone())];

    let ses = Proxy::to(aws_port());
    let through = [&own[..], &[("AWS_ENDPOINT_URL_SESV2", format!("http://127.0.0.1:{}", ses.port))]].concat();
    let victim = Function::start("on-email", &through);
    let batch = queue.receive(10, 1);
    assert_eq!(batch.len(), 10);
    // Never mended: a request that was cut off does not reach SES later.
    let reached = ses.cut(1, Cut::BeforeRequest);
    thread::scope(|scope| {
        let invocation = scope.spawn(|| victim.invoke(&event(&batch)));
        reached.recv_timeout(Duration::from_secs(20)).expect("it comes to the second mail");
        // By now every mail that SES has is noted as sent: between the two steps a duplicate cannot be avoided.
        thread::sleep(Duration::from_millis(500));
        victim.kill();
        assert!(invocation.join().is_err());
    });
    let sent = orders.iter().filter(|order| !aws::mails(&email, &order.to_string()).is_empty()).count();
    println!("{sent} of 10 were sent when it died");
    assert!((1..10).contains(&sent), "{sent} were sent");

    // Expires the leases of the killed process.
    for message in &messages {
        let expire =
            "UPDATE processed_messages SET leased_until = '2000-01-01' WHERE message_id = ? AND done_at IS NULL";
        sqlx::query(expire).bind(message.id).execute(&mut *mysql.connection().await.unwrap()).await.unwrap();
    }
    let heir = Function::start("on-email", &own);
    queue.drain(Duration::from_mins(1), async |batch| heir.invoke(&event(batch))).await;
    for order in &orders {
        assert_eq!(aws::mails(&email, &order.to_string()).len(), 1);
    }
    assert_eq!(dead.depth(), 0);
}
