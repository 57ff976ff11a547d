//! Queues: each with the type of its messages, shared by the senders and the consumer.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{BatchEntry, BatchOutput, Destination, Entries, OutboxMessage, SendError, Sent, in_batches};
use crate::{
    aws::Aws,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::{ApiError, chain},
    telemetry::Trace,
};

/// The deadline of a message that its sender waits for.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// A queue's declaration.
pub trait QueueContract: Send + Sync + 'static {
    /// The queue is `souk-STAGE-NAME`, its dead-letter queue `souk-STAGE-NAME-dlq`.
    const NAME: &'static str;
    /// The environment variable with its address, for senders.
    const URL: &'static str;
    /// The environment variable with its dead-letter queue's address, for its consumer.
    const DEAD_LETTER_URL: &'static str;
    /// What senders ask for.
    type Command: Serialize + Send + Sync;
    /// What the consumer gets: the command, or [`Incoming`](super::Incoming) where the queue subscribes to events too.
    type Message: DeserializeOwned + Send + Sync;
}

/// The sending end of a queue.
pub struct Queue<Q> {
    sender: Sender,
    contract: PhantomData<fn() -> Q>,
}

impl<Q> Clone for Queue<Q> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), contract: PhantomData }
    }
}

/// What sends, whatever the queue holds: no type parameter, so it is compiled once for all queues.
#[derive(Clone)]
struct Sender {
    aws: Aws,
    client: Arc<OnceCell<Client>>,
    url: Arc<str>,
}

impl<Q: QueueContract> Resource for Queue<Q> {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: const { &[Q::URL] },
            grants: const { &[Grant { action: "sqs:SendMessage", target: Target::Queue(Q::NAME) }] },
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let url = environment::required(Q::URL)?.into();
        let sender = Sender { aws: context.aws.clone(), client: Arc::default(), url };
        Ok(Self { sender, contract: PhantomData })
    }

    async fn warm(&self) {
        self.sender.client().await;
    }
}

impl<Q: QueueContract> Queue<Q> {
    /// Sends a command that follows no write. Its sender waits for it: a failure is told, and worth repeating.
    ///
    /// # Errors
    /// When the queue does not take it in time.
    pub async fn send(&self, id: Uuid, trace: &Trace, command: Q::Command) -> Result<(), ApiError> {
        let message = OutboxMessage::command::<Q>(id, trace, command)?;
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.send_all(&[&message])).await;
        let sent = sent.map_err(|_| SendError(format!("no answer within {SEND_TIMEOUT:?}")));
        let results = sent.map(|sent| sent.into_iter().try_for_each(|(_, result)| result));
        results.flatten().map_err(ApiError::unavailable)
    }
}

impl<Q: QueueContract> Destination for Queue<Q> {
    fn name(&self) -> &'static str {
        Q::NAME
    }

    #[tracing::instrument(
        name = "sqs.send",
        skip_all,
        fields(otel.kind = "producer", messaging.system = "aws_sqs", messaging.destination.name = Q::NAME)
    )]
    async fn send_all<M: BatchEntry>(&self, messages: &[&M]) -> Sent {
        in_batches(messages, |entries| self.sender.send(entries)).await
    }
}

impl Sender {
    #[boxed]
    async fn send(&self, messages: Entries) -> Result<BatchOutput, SendError> {
        let mut request = self.client().await.send_message_batch().queue_url(&*self.url);
        for (id, body) in messages {
            let entry = SendMessageBatchRequestEntry::builder().id(id).message_body(body).build();
            request = request.entries(entry.map_err(|error| SendError(chain(&error)))?);
        }
        let output = request.send().await.map_err(|error| SendError(chain(&error)))?;
        let taken = output.successful.into_iter().map(|entry| entry.id).collect();
        Ok((taken, output.failed.into_iter().map(|entry| (entry.id, entry.message)).collect()))
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(self.aws.config().await)).await
    }
}
