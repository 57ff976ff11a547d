//! Queues: each with the type of its messages, shared by those who send and the one who consumes.

mod backoff;
mod deliveries;
mod failure;
mod sqs;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub(crate) use self::deliveries::DeadLetter;
pub use self::{
    backoff::Backoff,
    deliveries::Deliveries,
    failure::Failure,
    sqs::{Queue, SendError},
};
use crate::{error::ApiError, telemetry::Trace};

/// A queue's declaration.
pub trait QueueContract: Send + Sync + 'static {
    /// The queue is `souk-STAGE-NAME`, its dead-letter queue `souk-STAGE-NAME-dlq`.
    const NAME: &'static str;
    /// The environment variable with its address, for those who send.
    const URL: &'static str;
    /// The environment variable with its dead-letter queue's address, for the one who consumes.
    const DEAD_LETTER_URL: &'static str;
    type Message: Serialize + DeserializeOwned + Send + Sync;
}

/// What travels through a queue: the message, and what it belongs to.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope<M> {
    /// The outbox id: the same however often the message is sent, so that consumers can tell.
    pub id: Uuid,
    /// The trace that the message continues (W3C Trace Context).
    pub traceparent: String,
    pub message: M,
}

/// What can be read of an envelope whose message cannot.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EnvelopeHeader {
    /// [`Envelope::id`], if there is one.
    pub id: Option<String>,
    pub traceparent: Option<String>,
}

impl EnvelopeHeader {
    /// Nothing of it where the text is no envelope.
    #[must_use]
    pub fn of(envelope: &str) -> Self {
        serde_json::from_str(envelope).unwrap_or_default()
    }
}

/// A message ready to be kept in an outbox, and sent.
#[derive(Clone, Debug)]
pub struct OutboxMessage {
    pub id: Uuid,
    /// [`QueueContract::NAME`].
    pub queue: &'static str,
    /// The envelope as JSON.
    pub envelope: String,
}

impl OutboxMessage {
    /// Puts a message into its envelope.
    ///
    /// # Errors
    /// When the message cannot be written as JSON.
    pub fn new<Q: QueueContract>(id: Uuid, trace: &Trace, message: Q::Message) -> Result<Self, ApiError> {
        let envelope = Envelope { id, traceparent: trace.traceparent(), message };
        let envelope = serde_json::to_string(&envelope).map_err(ApiError::internal)?;
        Ok(Self { id, queue: Q::NAME, envelope })
    }
}

/// An outbox row that was leased to be sent.
pub struct Claimed {
    pub id: Uuid,
    pub queue: String,
    pub envelope: String,
    /// This one included.
    pub attempts: u32,
}
