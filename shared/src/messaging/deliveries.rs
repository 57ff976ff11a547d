//! The receiving end of a queue: what becomes of a message that was not processed.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use aws_sdk_sqs::{Client, types::MessageAttributeValue};
use tokio::sync::OnceCell;

use super::{QueueContract, SendError};
use crate::{
    aws::Aws,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::chain,
};

/// The most characters of a reason that travel with a message.
const MAX_REASON_LENGTH: usize = 500;

/// The receiving end of a queue, and the way to its dead-letter queue.
pub struct Deliveries<Q> {
    aws: Aws,
    client: Arc<OnceCell<Client>>,
    url: Arc<str>,
    dead_letter_url: Arc<str>,
    contract: PhantomData<fn() -> Q>,
}

impl<Q> Clone for Deliveries<Q> {
    fn clone(&self) -> Self {
        Self {
            aws: self.aws.clone(),
            client: Arc::clone(&self.client),
            url: Arc::clone(&self.url),
            dead_letter_url: Arc::clone(&self.dead_letter_url),
            contract: PhantomData,
        }
    }
}

/// A message that no further attempt would help, and what is known of it.
pub(crate) struct DeadLetter<'a> {
    pub body: &'a str,
    pub reason: &'a str,
    /// SQS's own id of the message.
    pub message_id: Option<&'a str>,
    /// The outbox id, where the body could be read so far.
    pub id: Option<String>,
    pub receive_count: u32,
    pub traceparent: Option<&'a str>,
}

/// The visibility of a message could not be changed.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not change the message's visibility: {0}")]
pub(crate) struct VisibilityError(String);

impl<Q: QueueContract> Resource for Deliveries<Q> {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: const { &[Q::URL, Q::DEAD_LETTER_URL] },
            grants: const {
                &[
                    Grant { action: "sqs:ChangeMessageVisibility", target: Target::Queue(Q::NAME) },
                    Grant { action: "sqs:SendMessage", target: Target::DeadLetterQueue(Q::NAME) },
                ]
            },
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let (url, dead_letter_url) = (environment::required(Q::URL)?, environment::required(Q::DEAD_LETTER_URL)?);
        Ok(Self::at(context.aws.clone(), &url, &dead_letter_url))
    }
}

impl<Q: QueueContract> Deliveries<Q> {
    /// Of a queue and a dead-letter queue with these addresses.
    #[must_use]
    pub fn at(aws: Aws, url: &str, dead_letter_url: &str) -> Self {
        Self {
            aws,
            client: Arc::default(),
            url: url.into(),
            dead_letter_url: dead_letter_url.into(),
            contract: PhantomData,
        }
    }

    /// Has a message delivered again after a pause, in whole seconds.
    #[tracing::instrument(name = "sqs.return_after", skip_all)]
    pub(crate) async fn return_after(&self, receipt: &str, pause: Duration) -> Result<(), VisibilityError> {
        let seconds = i32::try_from(pause.as_secs()).unwrap_or(i32::MAX);
        let change = self
            .client()
            .await
            .change_message_visibility()
            .queue_url(&*self.url)
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .send();
        Box::pin(change).await.map_err(|error| VisibilityError(chain(&error)))?;
        Ok(())
    }

    /// Puts a message into the dead-letter queue, with what is known of it as attributes.
    #[tracing::instrument(name = "sqs.dead_letter", skip_all)]
    pub(crate) async fn dead_letter(&self, letter: &DeadLetter<'_>) -> Result<(), SendError> {
        let receive_count = letter.receive_count.to_string();
        let attributes = [
            ("reason", Some(letter.reason)),
            ("queue", Some(Q::NAME)),
            ("messageId", letter.message_id),
            ("id", letter.id.as_deref()),
            ("receiveCount", Some(receive_count.as_str())),
            ("traceparent", letter.traceparent),
        ];
        // SQS takes no empty body.
        let body = if letter.body.is_empty() { " " } else { letter.body };
        let mut request = self.client().await.send_message().queue_url(&*self.dead_letter_url).message_body(body);
        for (name, value) in attributes {
            let value = printable(value.unwrap_or_default());
            if !value.is_empty() {
                request = request.message_attributes(name, text(value)?);
            }
        }
        Box::pin(request.send()).await.map_err(|error| SendError(chain(&error)))?;
        Ok(())
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(self.aws.config().await)).await
    }
}

fn text(value: String) -> Result<MessageAttributeValue, SendError> {
    let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    value.map_err(|error| SendError(chain(&error)))
}

/// What SQS takes as an attribute: characters that XML allows, and not too many.
fn printable(value: &str) -> String {
    let allowed = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    value.chars().filter(allowed).take(MAX_REASON_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_made_fit_to_travel() {
        assert_eq!(printable("key must be a string\0\n at line 1"), "key must be a string at line 1");
        assert_eq!(printable(&"ä".repeat(1000)).chars().count(), MAX_REASON_LENGTH);
    }
}
