//! Queues: each with the type of its messages, shared by those who send and the one who consumes.

mod backoff;
mod deliveries;
mod sqs;

use std::future::Future;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub(crate) use self::deliveries::DeadLetter;
pub use self::{
    backoff::Backoff,
    deliveries::Deliveries,
    sqs::{Queue, SendError},
};
use crate::{error::ApiError, store::StoreError, telemetry::Trace};

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

/// Mail to users; consumed by `on-email`.
pub struct EmailQueue;

impl QueueContract for EmailQueue {
    const NAME: &'static str = "email";
    const URL: &'static str = "SOUK_EMAIL_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_EMAIL_DEAD_LETTER_QUEUE_URL";
    type Message = crate::mail::Email;
}

/// What users are told inside the application; consumed by `on-notification`.
pub struct NotificationQueue;

impl QueueContract for NotificationQueue {
    const NAME: &'static str = "notification";
    const URL: &'static str = "SOUK_NOTIFICATION_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_NOTIFICATION_DEAD_LETTER_QUEUE_URL";
    type Message = crate::notification::Notification;
}

/// Reports to be made; consumed by `on-report`.
pub struct ReportQueue;

impl QueueContract for ReportQueue {
    const NAME: &'static str = "report";
    const URL: &'static str = "SOUK_REPORT_QUEUE_URL";
    const DEAD_LETTER_URL: &'static str = "SOUK_REPORT_DEAD_LETTER_QUEUE_URL";
    type Message = crate::report::ReportRequested;
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
pub struct Label {
    /// [`Envelope::id`], if there is one.
    pub id: Option<String>,
    pub traceparent: Option<String>,
}

impl Label {
    /// Nothing of it where the text is no envelope.
    #[must_use]
    pub fn of(envelope: &str) -> Self {
        serde_json::from_str(envelope).unwrap_or_default()
    }
}

/// A message ready to be kept in an outbox, and sent.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: Uuid,
    /// [`QueueContract::NAME`].
    pub queue: &'static str,
    /// The envelope as JSON.
    pub envelope: String,
}

impl Outgoing {
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

/// Sends a message whose write was just committed, and notes that it left. Never fails the caller: what does not work here is
/// done by the relay.
pub async fn send_after_commit<Q: QueueContract>(
    queue: &Queue<Q>,
    message: &Outgoing,
    mark_sent: impl Future<Output = Result<(), StoreError>>,
) {
    match queue.send_now(message).await {
        Ok(()) => {
            if let Err(error) = mark_sent.await {
                tracing::warn!(%error, message_id = %message.id, "the message left, the outbox does not know: the relay sends it again");
            }
        }
        Err(error) => tracing::warn!(%error, message_id = %message.id, "the message is left to the relay"),
    }
}
