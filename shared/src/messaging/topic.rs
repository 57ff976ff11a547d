//! The topic: events are published once, and delivered to each queue that subscribes to their type.

use std::{marker::PhantomData, sync::Arc};

use aws_sdk_sns::{
    Client,
    types::{MessageAttributeValue, PublishBatchRequestEntry},
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{
    BatchEntry, BatchOutput, Destination, Entries, EnvelopeHeader, Event, OutboxMessage, SendError, Sent, in_batches,
};
use crate::{
    aws::Aws,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    error::{ApiError, chain},
    telemetry::Trace,
};

/// The topic's name: it is `souk-STAGE-events`. Also how an outbox names it as a destination.
pub const EVENTS: &str = "events";
const ARN: &str = "SOUK_EVENTS_TOPIC_ARN";
/// The message attribute that the filter policies of subscriptions look at.
const TYPE_ATTRIBUTE: &str = "type";

/// The topic of all events.
#[derive(Clone)]
pub struct Topic {
    aws: Aws,
    client: Arc<OnceCell<Client>>,
    arn: Arc<str>,
}

impl Resource for Topic {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &[ARN],
            grants: &[Grant { action: "sns:Publish", target: Target::Topic(EVENTS) }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { aws: context.aws.clone(), client: Arc::default(), arn: environment::required(ARN)?.into() })
    }

    async fn warm(&self) {
        self.client().await;
    }
}

/// What publishes the event `E`, and no other.
pub struct Publishes<E> {
    topic: Topic,
    event: PhantomData<fn() -> E>,
}

impl<E> Clone for Publishes<E> {
    fn clone(&self) -> Self {
        Self { topic: self.topic.clone(), event: PhantomData }
    }
}

impl<E: Event> Resource for Publishes<E> {
    fn requirements() -> Vec<Requirements> {
        Topic::requirements()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { topic: context.get()?, event: PhantomData })
    }

    async fn warm(&self) {
        self.topic.warm().await;
    }
}

impl<E: Event> Publishes<E> {
    /// The event as a message for the outbox.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn message(&self, id: Uuid, trace: &Trace, event: &E) -> Result<OutboxMessage, ApiError> {
        OutboxMessage::new(id, trace, EVENTS, Some(E::TYPE), Tagged { kind: E::TYPE, data: event })
    }

    /// The topic, to send messages to.
    #[must_use]
    pub fn topic(&self) -> Topic {
        self.topic.clone()
    }
}

/// An event in JSON: its type, and its data.
#[derive(serde::Serialize)]
struct Tagged<'a, E> {
    #[serde(rename = "type")]
    kind: &'static str,
    data: &'a E,
}

impl Destination for Topic {
    fn name(&self) -> &'static str {
        EVENTS
    }

    #[tracing::instrument(
        name = "sns.publish",
        skip_all,
        fields(otel.kind = "producer", messaging.system = "aws.sns", messaging.destination.name = EVENTS)
    )]
    async fn send_all<M: BatchEntry>(&self, messages: &[&M]) -> Sent {
        in_batches(messages, |entries| self.publish(entries)).await
    }
}

impl Topic {
    #[boxed]
    async fn publish(&self, messages: Entries) -> Result<BatchOutput, SendError> {
        let mut request = self.client().await.publish_batch().topic_arn(&*self.arn);
        for (id, envelope) in messages {
            let mut entry = PublishBatchRequestEntry::builder().id(id);
            if let Some(kind) = EnvelopeHeader::of(&envelope).event {
                let kind = MessageAttributeValue::builder().data_type("String").string_value(kind).build();
                entry = entry.message_attributes(TYPE_ATTRIBUTE, kind.map_err(|error| SendError(chain(&error)))?);
            }
            let entry = entry.message(envelope).build().map_err(|error| SendError(chain(&error)))?;
            request = request.publish_batch_request_entries(entry);
        }
        let output = request.send().await.map_err(|error| SendError(chain(&error)))?;
        let taken = output.successful.unwrap_or_default().into_iter().filter_map(|entry| entry.id).collect();
        let failed = output.failed.unwrap_or_default();
        Ok((taken, failed.into_iter().map(|entry| (entry.id, entry.message)).collect()))
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(async || Client::new(self.aws.config().await)).await
    }
}
