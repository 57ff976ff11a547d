//! Messages: events, which go to a topic and from there to every queue that subscribes, and commands, which go to one queue.

mod backoff;
mod deliveries;
mod event;
mod failure;
mod queue;
mod topic;

use std::future::Future;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use self::deliveries::DeadLetter;
pub use self::{
    backoff::Backoff,
    deliveries::Deliveries,
    event::{Event, Incoming},
    failure::Failure,
    queue::{Queue, QueueContract},
    topic::{EVENTS, Publishes, Topic},
};
use crate::{error::ApiError, telemetry::Trace};

/// A message as it travels, and what it belongs to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<M> {
    /// The message's id: the same at every delivery, so that consumers can deduplicate.
    pub id: Uuid,
    /// The trace that the message continues (W3C Trace Context).
    pub traceparent: String,
    /// The type of an event, which subscriptions filter by; none for a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    pub message: M,
}

/// The parts of an envelope that can be read although its message cannot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvelopeHeader {
    /// [`Envelope::id`], if there is one.
    pub id: Option<String>,
    pub traceparent: Option<String>,
    pub event: Option<String>,
}

impl EnvelopeHeader {
    /// Empty where the text is no envelope.
    #[must_use]
    pub fn of(envelope: &str) -> Self {
        serde_json::from_str(envelope).unwrap_or_default()
    }
}

/// A message ready to be kept in an outbox, and sent.
#[derive(Clone, Debug)]
pub struct OutboxMessage {
    pub id: Uuid,
    /// The queue's name, or [`EVENTS`].
    pub destination: &'static str,
    /// The envelope as JSON.
    pub envelope: String,
}

impl OutboxMessage {
    /// A command to a queue.
    ///
    /// # Errors
    /// When the message cannot be written as JSON.
    pub fn command<Q: QueueContract>(id: Uuid, trace: &Trace, command: Q::Command) -> Result<Self, ApiError> {
        Self::new(id, trace, Q::NAME, None, command)
    }

    fn new<M: Serialize>(
        id: Uuid,
        trace: &Trace,
        destination: &'static str,
        event: Option<&str>,
        message: M,
    ) -> Result<Self, ApiError> {
        let envelope = Envelope { id, traceparent: trace.traceparent(), event: event.map(str::to_owned), message };
        let envelope = serde_json::to_string(&envelope).map_err(ApiError::internal)?;
        Ok(Self { id, destination, envelope })
    }
}

/// An entry of a batch that is sent: a message of an outbox, held by the function that committed it or by the relay.
pub trait BatchEntry: Sync {
    fn id(&self) -> Uuid;
    fn destination(&self) -> &str;
    fn envelope(&self) -> &str;
}

impl BatchEntry for OutboxMessage {
    fn id(&self) -> Uuid {
        self.id
    }

    fn destination(&self) -> &str {
        self.destination
    }

    fn envelope(&self) -> &str {
        &self.envelope
    }
}

/// An outbox row that the relay has leased to send it.
pub struct Claimed {
    pub id: Uuid,
    pub destination: String,
    pub envelope: String,
    /// This one included.
    pub attempts: u32,
}

impl BatchEntry for Claimed {
    fn id(&self) -> Uuid {
        self.id
    }

    fn destination(&self) -> &str {
        &self.destination
    }

    fn envelope(&self) -> &str {
        &self.envelope
    }
}

/// A message did not leave.
#[derive(Clone, Debug, thiserror::Error)]
#[error("it was not taken: {0}")]
pub struct SendError(String);

impl SendError {
    /// No destination of this name is known here.
    #[must_use]
    pub fn no_such_destination(name: &str) -> Self {
        Self(format!("there is no queue or topic {name}"))
    }
}

/// Each message with its own result.
pub type Sent = Vec<(Uuid, Result<(), SendError>)>;

/// A place that messages leave to: a queue, or the topic.
pub trait Destination: Send + Sync {
    /// As [`OutboxMessage::destination`] names it.
    fn name(&self) -> &'static str;

    /// Sends messages, at most ten in a call (the limit of SQS and SNS), each with its own result.
    fn send_all<M: BatchEntry>(&self, messages: &[&M]) -> impl Future<Output = Sent> + Send;

    /// Sends those of the messages that are for here.
    fn send_matching<M: BatchEntry>(&self, messages: &[M]) -> impl Future<Output = Sent> + Send {
        async move {
            let own: Vec<&M> = messages.iter().filter(|message| message.destination() == self.name()).collect();
            if own.is_empty() { Vec::new() } else { self.send_all(&own).await }
        }
    }
}

/// The most entries of one call.
const MAX_BATCH_ENTRIES: usize = 10;

/// A batch as it is sent: the id of each entry, and its body.
type Entries = Vec<(String, String)>;

/// The entries that were taken, and those that were not with a reason.
type BatchOutput = (Vec<String>, Vec<(String, Option<String>)>);

/// Sends messages in as many calls as they need, each message with its own result.
async fn in_batches<M, F>(messages: &[&M], mut call: impl FnMut(Entries) -> F + Send) -> Sent
where
    M: BatchEntry,
    F: Future<Output = Result<BatchOutput, SendError>> + Send,
{
    let mut sent = Vec::with_capacity(messages.len());
    for batch in messages.chunks(MAX_BATCH_ENTRIES) {
        let entries = batch.iter().map(|message| (entry_id(message.id()), message.envelope().to_owned())).collect();
        sent.extend(match call(entries).await {
            Ok((taken, failed)) => results(batch, &taken, &failed),
            Err(error) => every(batch, &error),
        });
    }
    sent
}

/// The same error for each of the messages.
fn every<M: BatchEntry>(messages: &[&M], error: &SendError) -> Sent {
    messages.iter().map(|message| (message.id(), Err(error.clone()))).collect()
}

/// The results of a batch: which entries were taken, and why others were not.
fn results<M: BatchEntry>(messages: &[&M], taken: &[String], failed: &[(String, Option<String>)]) -> Sent {
    let result = |id: &str| {
        if taken.iter().any(|entry| entry == id) {
            return Ok(());
        }
        let reason = failed.iter().find(|(entry, _)| entry == id).and_then(|(_, reason)| reason.clone());
        Err(SendError(reason.unwrap_or_else(|| "not in the reply".to_owned())))
    };
    messages.iter().map(|message| (message.id(), result(&entry_id(message.id())))).collect()
}

/// A batch entry's id: letters, digits, dashes, at most 80 of them.
fn entry_id(id: Uuid) -> String {
    id.simple().to_string()
}
