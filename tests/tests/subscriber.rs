//! Another subscriber is one declaration, and one block of the template: a queue, its subscription, its policy. No producer is touched.
//!
//! The declaration is this test's; the block is made through the stage's AWS, as CloudFormation would.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use shared::{
    ambient::Ambient,
    aws::Aws,
    contract::Function,
    environment,
    lambda::{Consumer, ConsumerContract, Delivery, Invocation, Serve},
    messaging::{Deliveries, Event, Failure, QueueContract},
    order::{OrderEvent, OrderStatusChanged, Status},
    store::Mysql,
    telemetry::Trace,
};
use tests::{
    Call, Stage, aws, people,
    queue::{self, Queue, Received},
};
use ureq::http::Method;
use uuid::Uuid;

/// Longer than a lease and the relay's schedule: the relay publishes what was not published after the reply.
const TIMEOUT: Duration = Duration::from_mins(2);

/// The subscriber's queue.
pub struct ProbeQueue;

impl QueueContract for ProbeQueue {
    const NAME: &'static str = "probe";
    const URL: &'static str = "SOUK_PROBE_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_PROBE_DEAD_LETTER_QUEUE_URL";
    /// It takes events only.
    type Command = OrderEvent;
    type Message = OrderEvent;
}

shared::consumer! {
    /// Hears how orders go on.
    Probe = "probe" {
        queue: ProbeQueue,
        subscribes: [OrderStatusChanged],
        batch_size: 10,
        needs: {},
    }
}

type ProbeNeeds = <Probe as Function>::Needs;

/// The events that the consumer has handled, each with the id of its envelope.
static HEARD: Mutex<Vec<(Uuid, OrderStatusChanged)>> = Mutex::new(Vec::new());

async fn handle(_: ProbeNeeds, delivery: Delivery<Probe>) -> Result<(), Failure> {
    let OrderEvent::StatusChanged(event) = delivery.message else {
        return Err(Failure::permanent("an event that it does not subscribe to"));
    };
    HEARD.lock().unwrap_or_else(PoisonError::into_inner).push((delivery.id, event));
    Ok(())
}

/// One invocation of the consumer.
async fn consume(queue: &Queue, dead: &Queue, batch: &[Received]) -> Value {
    let aws = Aws::default();
    let call = Invocation::<Probe> {
        trace: Trace::of(None, None, &Ambient::system()),
        needs: ProbeNeeds { deliveries: Deliveries::at(aws.clone(), &queue.url, &dead.url) },
        ambient: Ambient::system(),
        aws,
        event: serde_json::value::to_raw_value(&queue::event(batch)).unwrap(),
        time_left: Duration::from_secs(20),
        after_reply: shared::lambda::AfterReply::default(),
    };
    serde_json::to_value(Consumer::serve(call, handle).await.unwrap()).unwrap()
}

/// A subscription of a queue to the topic. Dropping it ends it, and removes the queues.
struct Subscription {
    queue: Queue,
    dead: Queue,
    arn: String,
}

impl Subscription {
    /// Subscribes a new queue to the events that the consumer's declaration names.
    fn of<C: ConsumerContract>() -> Self {
        let (queue, dead) = Queue::new(3, 30);
        let topic = environment::required("SOUK_EVENTS_TOPIC_ARN").unwrap();
        let endpoint = queue.arn();
        queue.set_attribute("Policy", &policy(&topic, &endpoint));
        let filter = json!({ "type": C::SUBSCRIPTIONS }).to_string();
        let reply = aws::query_call(
            "sns",
            &[
                ("Action", "Subscribe"),
                ("Version", "2010-03-31"),
                ("TopicArn", &topic),
                ("Protocol", "sqs"),
                ("Endpoint", &endpoint),
                ("ReturnSubscriptionArn", "true"),
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", "true"),
                ("Attributes.entry.2.key", "FilterPolicy"),
                ("Attributes.entry.2.value", &filter),
            ],
        );
        let arn = reply.split_once("<SubscriptionArn>").and_then(|(_, rest)| rest.split_once('<'));
        let arn = arn.unwrap_or_else(|| panic!("{reply}")).0.to_owned();
        Self { queue, dead, arn }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let unsubscribe = [("Action", "Unsubscribe"), ("Version", "2010-03-31"), ("SubscriptionArn", &*self.arn)];
        let _ = aws::try_query_call("sns", &unsubscribe);
        self.queue.delete();
        self.dead.delete();
    }
}

/// The queue's policy: the topic may send to it.
fn policy(topic: &str, queue: &str) -> String {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": { "ArnEquals": { "aws:SourceArn": topic } },
    });
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

/// The topic's subscriptions, as text.
fn subscriptions() -> String {
    let topic = environment::required("SOUK_EVENTS_TOPIC_ARN").unwrap();
    let list = [("Action", "ListSubscriptionsByTopic"), ("Version", "2010-03-31"), ("TopicArn", &*topic)];
    aws::query_call("sns", &list)
}

/// A new order.
fn place() -> Uuid {
    let body = json!({ "lines": [{ "productId": people::new_product(5), "quantity": 1 }] });
    let call = Call::post("/v1/orders").token(people::customer()).key(&people::new_key());
    call.json(body).send().expect(201).json()["id"].as_str().unwrap().parse().unwrap()
}

fn confirm(order: Uuid) {
    let call = Call::new(Method::PATCH, format!("/v1/orders/{order}/status")).token(people::admin());
    let _ = call.json(json!({ "status": "confirmed" })).send().expect(200);
}

fn cancel(order: Uuid) {
    let _ = Call::post(format!("/v1/orders/{order}/cancel")).token(people::customer()).send().expect(200);
}

/// The ids of an order's events of this type in the outbox, and whether all of its events were published.
async fn published(mysql: &Mysql, order: Uuid, event: &str) -> (Vec<Uuid>, bool) {
    let mut connection = mysql.connection().await.unwrap();
    let ids = sqlx::query_scalar("SELECT id FROM outbox WHERE envelope LIKE ? AND envelope LIKE ? ORDER BY id");
    let ids = ids.bind(format!("%{order}%")).bind(format!("%{event}%")).fetch_all(&mut *connection).await.unwrap();
    let waiting: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox WHERE envelope LIKE ? AND sent_at IS NULL")
        .bind(format!("%{order}%"))
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    (ids, waiting == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_subscriber_is_one_declaration_and_gets_exactly_its_events() {
    assert_eq!(Probe::SUBSCRIPTIONS, [OrderStatusChanged::TYPE]);
    let subscription = Subscription::of::<Probe>();
    let Subscription { queue, dead, arn } = &subscription;
    assert!(subscriptions().contains(arn.as_str()));

    // Three orders: two are confirmed, one of those is cancelled then, and one is cancelled only.
    let orders = [place(), place(), place()];
    for order in &orders[..2] {
        confirm(*order);
    }
    for order in &orders[1..] {
        cancel(*order);
    }

    let mysql: Mysql = Stage::get().resource();
    let mut expected = BTreeSet::new();
    let start = Instant::now();
    for order in orders {
        loop {
            let (ids, is_published) = published(&mysql, order, OrderStatusChanged::TYPE).await;
            if is_published {
                assert_eq!(ids.len(), usize::from(order != orders[2]), "{order}");
                expected.extend(ids.into_iter().map(|id| (id, order)));
                break;
            }
            assert!(start.elapsed() < TIMEOUT, "the events of {order} are not published");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // SNS has all of them, the ones that the filter keeps out included. Orders of other tests may be on their way too.
    let heard = || {
        let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner).clone();
        heard.retain(|(_, event)| orders.contains(&event.order_id));
        heard
    };
    while heard().len() < expected.len() || queue.depth() > 0 {
        assert!(start.elapsed() < TIMEOUT, "{:?} of {expected:?}", heard());
        let batch = queue.receive(10, 1);
        if !batch.is_empty() {
            let reply = consume(queue, dead, &batch).await;
            assert_eq!(reply["batchItemFailures"], json!([]), "{reply}");
            queue.settle(&batch, &reply);
        }
    }
    assert_eq!(dead.depth(), 0, "an event that it does not subscribe to");
    let heard = heard();
    let got: BTreeSet<(Uuid, Uuid)> = heard.iter().map(|(id, event)| (*id, event.order_id)).collect();
    assert_eq!(got, expected, "each under the id that it has in the outbox");
    let buyer = people::id_of(people::customer());
    for (_, event) in &heard {
        assert_eq!((event.from, event.to), (Status::Pending, Status::Confirmed));
        assert_eq!(event.user_id.to_string(), buyer);
    }

    let arn = arn.clone();
    drop(subscription);
    assert!(!subscriptions().contains(&arn));
}
