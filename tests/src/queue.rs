//! Queues of the stage, and Lambda's part of consuming one: receive, invoke, delete successes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shared::ambient::Ambient;

use crate::{Stage, aws};

/// A queue.
pub struct Queue {
    pub url: String,
}

/// A received message.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub receipt: String,
    pub body: String,
    /// How often it was received, this time included.
    pub count: u32,
    pub attributes: Value,
}

impl Queue {
    /// A queue of the stage.
    #[must_use]
    pub fn existing(name: &str) -> Self {
        let reply = sqs("GetQueueUrl", &json!({ "QueueName": Stage::function(name) }));
        Self { url: reply["QueueUrl"].as_str().unwrap_or_default().to_owned() }
    }

    /// A new queue and its dead-letter queue: a message is dead-lettered after `tries` receives, and is invisible for
    /// `visibility` seconds after each.
    #[must_use]
    pub fn new(tries: u32, visibility: u32) -> (Self, Self) {
        let name = format!("souk-test-{}", Ambient::system().id());
        let dead = Self::create(&format!("{name}-dlq"), &json!({}));
        let attributes = sqs("GetQueueAttributes", &json!({ "QueueUrl": dead.url, "AttributeNames": ["QueueArn"] }));
        let redrive = json!({ "deadLetterTargetArn": attributes["Attributes"]["QueueArn"], "maxReceiveCount": tries });
        let attributes = json!({ "RedrivePolicy": redrive.to_string(), "VisibilityTimeout": visibility.to_string() });
        (Self::create(&name, &attributes), dead)
    }

    fn create(name: &str, attributes: &Value) -> Self {
        let reply = sqs("CreateQueue", &json!({ "QueueName": name, "Attributes": attributes }));
        Self { url: reply["QueueUrl"].as_str().unwrap_or_default().to_owned() }
    }

    pub fn send(&self, body: &str) {
        let _ = sqs("SendMessage", &json!({ "QueueUrl": self.url, "MessageBody": body }));
    }

    /// The messages that can be received now, after waiting for up to `wait` seconds.
    #[must_use]
    pub fn receive(&self, most: u32, wait: u32) -> Vec<Received> {
        let request = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let reply = sqs("ReceiveMessage", &request);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let messages = reply["Messages"].as_array().cloned().unwrap_or_default();
        messages
            .iter()
            .map(|message| Received {
                id: text(&message["MessageId"]),
                receipt: text(&message["ReceiptHandle"]),
                body: text(&message["Body"]),
                count: text(&message["Attributes"]["ApproximateReceiveCount"]).parse().unwrap_or_default(),
                attributes: message["MessageAttributes"].clone(),
            })
            .collect()
    }

    /// Deletes the messages of a batch that the consumer's reply does not name as failures.
    pub fn settle(&self, batch: &[Received], reply: &Value) {
        let failures = reply["batchItemFailures"].as_array().cloned().unwrap_or_default();
        for message in batch {
            if failures.iter().all(|failure| failure["itemIdentifier"] != message.id.as_str()) {
                let _ = sqs("DeleteMessage", &json!({ "QueueUrl": self.url, "ReceiptHandle": message.receipt }));
            }
        }
    }

    /// The number of messages, visible or not.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let reply = sqs("GetQueueAttributes", &json!({ "QueueUrl": self.url, "AttributeNames": names }));
        let count = |name: &str| reply["Attributes"][name].as_str().and_then(|count| count.parse::<u32>().ok());
        names.iter().filter_map(|name| count(name)).sum()
    }

    /// Consumes batches until the queue is empty.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub async fn drain(&self, limit: Duration, mut consume: impl AsyncFnMut(&[Received]) -> Value) {
        let start = Instant::now();
        while self.depth() > 0 {
            assert!(start.elapsed() < limit, "the queue still has {} messages", self.depth());
            let batch = self.receive(10, 1);
            if !batch.is_empty() {
                let reply = consume(&batch).await;
                self.settle(&batch, &reply);
            }
        }
    }
}

/// A batch as a Lambda event.
#[must_use]
pub fn event(batch: &[Received]) -> Value {
    let records: Vec<Value> = batch
        .iter()
        .map(|message| {
            json!({
                "messageId": message.id,
                "receiptHandle": message.receipt,
                "body": message.body,
                "attributes": { "ApproximateReceiveCount": message.count.to_string() },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            })
        })
        .collect();
    json!({ "Records": records })
}

fn sqs(action: &str, body: &Value) -> Value {
    aws::json_call("sqs", &format!("AmazonSQS.{action}"), body)
}
