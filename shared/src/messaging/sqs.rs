//! Sending to SQS.

use std::{marker::PhantomData, sync::Arc, time::Duration};

use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::Claimed;
use super::{OutboxMessage, QueueContract};
use crate::{
    aws::Aws,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::{ApiError, chain},
    telemetry::Trace,
};

/// The most entries of one batch.
const MAX_BATCH_ENTRIES: usize = 10;
/// How long a request waits for its message to leave, before it leaves that to the relay.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

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

/// A message did not leave.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the queue did not take it: {0}")]
pub struct SendError(pub(super) String);

impl SendError {
    /// No queue of this name is known here.
    #[must_use]
    pub fn no_such_queue(name: &str) -> Self {
        Self(format!("there is no queue {name}"))
    }
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
    /// Sends a message that follows no write. Its sender waits for it: a failure is told, and worth repeating.
    ///
    /// # Errors
    /// When the queue does not take it in time.
    pub async fn send(&self, id: Uuid, trace: &Trace, message: Q::Message) -> Result<(), ApiError> {
        let message = OutboxMessage::new::<Q>(id, trace, message)?;
        self.send_now(&message).await.map_err(ApiError::unavailable)
    }

    /// Sends one message, within the patience of a request.
    #[tracing::instrument(
        name = "sqs.send",
        skip_all,
        fields(otel.kind = "producer", messaging.system = "aws_sqs", messaging.destination.name = Q::NAME)
    )]
    pub(crate) async fn send_now(&self, message: &OutboxMessage) -> Result<(), SendError> {
        match tokio::time::timeout(SEND_TIMEOUT, self.sender.send(&message.envelope)).await {
            Ok(result) => result,
            Err(_) => Err(SendError(format!("no answer within {SEND_TIMEOUT:?}"))),
        }
    }

    /// Sends those outbox rows that are for this queue, ten at a time; each with its own result.
    #[tracing::instrument(name = "sqs.send_matching", skip_all)]
    pub async fn send_matching(&self, rows: &[Claimed]) -> Vec<(Uuid, Result<(), SendError>)> {
        let rows: Vec<&Claimed> = rows.iter().filter(|row| row.queue == Q::NAME).collect();
        let mut results = Vec::with_capacity(rows.len());
        for batch in rows.chunks(MAX_BATCH_ENTRIES) {
            results.extend(self.sender.send_batch(batch).await);
        }
        results
    }
}

impl Sender {
    #[boxed]
    async fn send(&self, envelope: &str) -> Result<(), SendError> {
        let send = self.client().await.send_message().queue_url(&*self.url).message_body(envelope).send();
        send.await.map_err(|error| SendError(chain(&error)))?;
        Ok(())
    }

    #[boxed]
    async fn send_batch(&self, rows: &[&Claimed]) -> Vec<(Uuid, Result<(), SendError>)> {
        let mut request = self.client().await.send_message_batch().queue_url(&*self.url);
        for row in rows {
            let entry =
                SendMessageBatchRequestEntry::builder().id(row.id.simple().to_string()).message_body(&row.envelope);
            request = match entry.build() {
                Ok(entry) => request.entries(entry),
                Err(error) => return every(rows, &SendError(chain(&error))),
            };
        }
        let output = match request.send().await {
            Ok(output) => output,
            Err(error) => return every(rows, &SendError(chain(&error))),
        };
        let taken = |id: Uuid| output.successful().iter().any(|entry| entry.id() == id.simple().to_string());
        let reason = |id: Uuid| {
            let failed = output.failed().iter().find(|entry| entry.id() == id.simple().to_string());
            failed.and_then(|entry| entry.message()).unwrap_or("not in the reply").to_owned()
        };
        rows.iter().map(|row| (row.id, if taken(row.id) { Ok(()) } else { Err(SendError(reason(row.id))) })).collect()
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(self.aws.config().await)).await
    }
}

fn every(rows: &[&Claimed], error: &SendError) -> Vec<(Uuid, Result<(), SendError>)> {
    rows.iter().map(|row| (row.id, Err(error.clone()))).collect()
}
