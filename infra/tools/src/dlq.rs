//! `tools dlq`: dead-lettered messages, on the stage and in AWS.

use anyhow::{Context, Result, bail};
use aws_sdk_sqs::{
    Client,
    types::{Message, QueueAttributeName},
};
use lexopt::Parser;
use serde_json::Value;
use shared::aws::Aws;

use crate::operate::Arguments;

const USAGE: &str = "it is `dlq list`, `dlq show QUEUE`, `dlq redrive QUEUE [--id ID]` or `dlq drop QUEUE --id ID`";
/// The suffix of a dead-letter queue's name.
const SUFFIX: &str = "-dlq";
/// Visibility timeout of a received message, in seconds: longer than a command takes.
const VISIBILITY_SECONDS: i32 = 60;
/// The most messages of one call.
const BATCH: i32 = 10;

pub async fn run(parser: &mut Parser) -> Result<()> {
    let arguments = Arguments::read(parser)?;
    let aws = Aws::default();
    let queues = Queues { client: Client::new(aws.config().await), prefix: arguments.full_name("") };
    match (arguments.words().as_slice(), arguments.id.as_deref()) {
        (["list"], None) => queues.list().await,
        (["show", queue], None) => queues.show(queue).await,
        (["redrive", queue], id) => queues.redrive(queue, id).await,
        (["drop", queue], Some(id)) => queues.drop(queue, id).await,
        _ => bail!(USAGE),
    }
}

/// The queues of an environment.
struct Queues {
    client: Client,
    /// The prefix of their names.
    prefix: String,
}

impl Queues {
    async fn list(&self) -> Result<()> {
        for queue in self.names().await? {
            println!("{queue:<16} {}", self.depth(&self.url(&(queue.clone() + SUFFIX)).await?).await?);
        }
        Ok(())
    }

    async fn show(&self, queue: &str) -> Result<()> {
        let given_up = self.given_up(queue).await?;
        for message in &given_up.messages {
            println!("{}", message.message_id().unwrap_or_default());
            for (name, value) in message.message_attributes().into_iter().flatten() {
                println!("  {name:<13} {}", value.string_value().unwrap_or_default());
            }
            println!("  {:<13} {}", "body", message.body().unwrap_or_default());
            self.give_back(&given_up.url, message).await?;
        }
        println!("{} messages", given_up.messages.len());
        Ok(())
    }

    /// At-least-once: sends first, deletes then. A crash in between sends a message twice, and the idempotent consumer
    /// drops the duplicate.
    async fn redrive(&self, queue: &str, id: Option<&str>) -> Result<()> {
        let (source, given_up) = (self.url(queue).await?, self.given_up(queue).await?);
        let mut redriven = 0;
        for message in &given_up.messages {
            if id.is_none_or(|id| is_called(message, id)) {
                let body = message.body().unwrap_or_default();
                self.client.send_message().queue_url(&source).message_body(body).send().await?;
                self.delete(&given_up.url, message).await?;
                redriven += 1;
            } else {
                self.give_back(&given_up.url, message).await?;
            }
        }
        if let (Some(id), 0) = (id, redriven) {
            bail!("no given up message of `{queue}` is called {id}");
        }
        println!("{redriven} messages are in `{queue}` again");
        Ok(())
    }

    async fn drop(&self, queue: &str, id: &str) -> Result<()> {
        let given_up = self.given_up(queue).await?;
        let mut dropped = 0;
        for message in &given_up.messages {
            if is_called(message, id) {
                self.delete(&given_up.url, message).await?;
                dropped += 1;
            } else {
                self.give_back(&given_up.url, message).await?;
            }
        }
        if dropped == 0 {
            bail!("no given up message of `{queue}` is called {id}");
        }
        println!("{dropped} dropped");
        Ok(())
    }

    /// The queues that have a dead-letter queue.
    async fn names(&self) -> Result<Vec<String>> {
        let reply = self.client.list_queues().queue_name_prefix(&self.prefix).send().await?;
        let names = reply.queue_urls().iter().filter_map(|url| url.rsplit('/').next());
        let names = names.filter_map(|name| name.strip_prefix(&self.prefix)?.strip_suffix(SUFFIX));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        if names.is_empty() {
            bail!("there are no queues `{}…` in this account and region", self.prefix);
        }
        Ok(names)
    }

    async fn url(&self, queue: &str) -> Result<String> {
        let name = format!("{}{queue}", self.prefix);
        let reply = self.client.get_queue_url().queue_name(&name).send().await;
        reply.with_context(|| name)?.queue_url.context("a queue has an address")
    }

    /// The number of messages that can be received.
    async fn depth(&self, url: &str) -> Result<String> {
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let reply = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await?;
        let depth = reply.attributes().and_then(|attributes| attributes.get(&name));
        depth.cloned().context("a queue has a depth")
    }

    /// All messages of a queue's dead-letter queue, hidden during the visibility timeout.
    async fn given_up(&self, queue: &str) -> Result<DeadLettered> {
        let known = self.names().await?;
        if !known.iter().any(|name| name == queue) {
            bail!("there is no queue `{queue}`; there are: {}", known.join(", "));
        }
        let url = self.url(&format!("{queue}{SUFFIX}")).await?;
        let mut messages = Vec::new();
        loop {
            let receive = self.client.receive_message().queue_url(&url).max_number_of_messages(BATCH);
            let reply = receive.visibility_timeout(VISIBILITY_SECONDS).message_attribute_names("All").send().await?;
            match reply.messages {
                Some(received) if !received.is_empty() => messages.extend(received),
                _ => return Ok(DeadLettered { url, messages }),
            }
        }
    }

    async fn delete(&self, url: &str, message: &Message) -> Result<()> {
        let receipt = message.receipt_handle().unwrap_or_default();
        self.client.delete_message().queue_url(url).receipt_handle(receipt).send().await?;
        Ok(())
    }

    /// Makes a message visible again.
    async fn give_back(&self, url: &str, message: &Message) -> Result<()> {
        let receipt = message.receipt_handle().unwrap_or_default();
        let change = self.client.change_message_visibility().queue_url(url).receipt_handle(receipt);
        change.visibility_timeout(0).send().await?;
        Ok(())
    }
}

/// Messages of a dead-letter queue.
struct DeadLettered {
    url: String,
    messages: Vec<Message>,
}

/// Whether the id is SQS's id of the message, its id in the original queue, or its outbox id.
fn is_called(message: &Message, id: &str) -> bool {
    let envelope: Value = serde_json::from_str(message.body().unwrap_or_default()).unwrap_or_default();
    let before = message.message_attributes().and_then(|attributes| attributes.get("messageId")?.string_value());
    message.message_id() == Some(id) || envelope["id"] == id || before == Some(id)
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::{Message, MessageAttributeValue};

    use super::is_called;

    #[test]
    fn a_message_is_known_by_its_id_now_then_and_in_the_outbox() {
        let before = MessageAttributeValue::builder().data_type("String").string_value("then").build().unwrap();
        let message = Message::builder()
            .message_id("now")
            .body(r#"{"id":"outbox","message":{"id":"other"}}"#)
            .message_attributes("messageId", before)
            .build();
        let is_called = |id| is_called(&message, id);
        assert!(is_called("now") && is_called("then") && is_called("outbox") && !is_called("other"));
    }
}
