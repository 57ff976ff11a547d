//! SQS: what waits in a queue, and moving it.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Aws;

/// How long what was received is hidden from others, in seconds: longer than a command takes.
const HIDDEN: u32 = 60;
/// The most messages of one call.
const BATCH: usize = 10;

/// A message, hidden from others for a while.
pub struct Message {
    pub id: String,
    pub body: String,
    /// Names and values.
    pub attributes: Vec<(String, String)>,
    receipt: Value,
}

impl Aws {
    /// The names of all queues that start with this.
    pub fn queues(&self, prefix: &str) -> Result<Vec<String>> {
        let reply = self.sqs("ListQueues", &json!({"QueueNamePrefix": prefix}))?;
        let urls = reply["QueueUrls"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(urls.filter_map(|url| url.rsplit('/').next()).map(str::to_owned).collect())
    }

    pub fn queue_url(&self, name: &str) -> Result<String> {
        let reply = self.sqs("GetQueueUrl", &json!({"QueueName": name}))?;
        reply["QueueUrl"].as_str().map(str::to_owned).context("a queue has an address")
    }

    /// How many messages a queue has that can be received.
    pub fn depth(&self, url: &str) -> Result<u64> {
        let name = "ApproximateNumberOfMessages";
        let reply = self.sqs("GetQueueAttributes", &json!({"QueueUrl": url, "AttributeNames": [name]}))?;
        Ok(reply["Attributes"][name].as_str().and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// All that can be received. Whoever does not delete it gives it back with [`Aws::give_back`].
    pub fn receive_all(&self, url: &str) -> Result<Vec<Message>> {
        let request = json!({
            "QueueUrl": url,
            "MaxNumberOfMessages": BATCH,
            "VisibilityTimeout": HIDDEN,
            "MessageAttributeNames": ["All"],
        });
        let mut received = Vec::new();
        loop {
            let reply = self.sqs("ReceiveMessage", &request)?;
            let messages = reply["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
            if messages.is_empty() {
                return Ok(received);
            }
            received.extend(messages.iter().map(message));
        }
    }

    pub fn send_message(&self, url: &str, body: &str) -> Result<()> {
        self.sqs("SendMessage", &json!({"QueueUrl": url, "MessageBody": body})).map(drop)
    }

    pub fn delete_message(&self, url: &str, message: &Message) -> Result<()> {
        self.sqs("DeleteMessage", &json!({"QueueUrl": url, "ReceiptHandle": message.receipt})).map(drop)
    }

    /// Lets others see a message again.
    pub fn give_back(&self, url: &str, message: &Message) -> Result<()> {
        let request = json!({"QueueUrl": url, "ReceiptHandle": message.receipt, "VisibilityTimeout": 0});
        self.sqs("ChangeMessageVisibility", &request).map(drop)
    }

    fn sqs(&self, action: &str, body: &Value) -> Result<Value> {
        self.json("sqs", &format!("AmazonSQS.{action}"), body)
    }
}

fn message(reply: &Value) -> Message {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attributes = reply["MessageAttributes"].as_object().into_iter().flatten();
    Message {
        id: text(&reply["MessageId"]),
        body: text(&reply["Body"]),
        attributes: attributes.map(|(name, value)| (name.clone(), text(&value["StringValue"]))).collect(),
        receipt: reply["ReceiptHandle"].clone(),
    }
}
