//! Queue consumers: each message on its own, a partial batch reply.

use std::future::Future;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use tokio::time::Instant;

use super::{Call, Serve, contained, continue_trace};
use crate::{
    ambient::Ambient,
    contract::Function,
    error::{ApiError, chain},
    queue::{Envelope, QueueContract},
    telemetry::Trace,
};

/// The kind of a function that consumes a queue.
pub struct Consumer;

/// A consumer's declaration. Declared with [`crate::consumer!`].
pub trait ConsumerContract: Function {
    /// The queue whose messages it takes.
    type Queue: QueueContract;
    /// The most messages of one invocation.
    const BATCH_SIZE: u32;
}

/// One message, delivered.
pub struct Delivery<C: ConsumerContract> {
    /// The outbox id: two deliveries of one message have the same.
    pub id: uuid::Uuid,
    pub message: <C::Queue as QueueContract>::Message,
    pub ambient: Ambient,
    /// What follow-up messages continue.
    pub trace: Trace,
}

/// Why a message was not processed. It is delivered again, and in the end goes to the dead-letter queue.
#[derive(Debug)]
pub struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error.to_string())
    }
}

impl Failure {
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Declares a consumer.
#[doc(hidden)]
#[macro_export]
macro_rules! consumer {
    (
        $(#[doc = $summary:literal])+
        $name:ident = $function:literal {
            queue: $queue:ty,
            batch_size: $batch_size:literal,
            needs: { $($field:ident: $resource:ty),* $(,)? } $(,)?
        }
    ) => {
        $(#[doc = $summary])+
        pub struct $name;

        $crate::function!($name = $function $crate::lambda::Consumer { $($field: $resource),* });

        impl $crate::lambda::ConsumerContract for $name {
            type Queue = $queue;
            const BATCH_SIZE: u32 = $batch_size;
        }
    };
}

impl<C, H, O> Serve<C, H, O> for Consumer
where
    C: ConsumerContract<Kind = Self>,
    H: Fn(C::Needs, Delivery<C>) -> O + Send + Sync,
    O: Future<Output = Result<(), Failure>> + Send,
{
    type Output = SqsBatchResponse;

    async fn serve(call: Call<C>, handler: H) -> Result<Self::Output, String> {
        let started = Instant::now();
        let event: SqsEvent =
            serde_json::from_str(call.event.get()).map_err(|error| format!("not an SQS event: {error}"))?;
        let mut response = SqsBatchResponse::default();
        for record in event.records {
            let time_left = call.time_left.saturating_sub(started.elapsed());
            let result = match parse::<C>(&record, &call.ambient) {
                Ok(delivery) => contained(handler(call.needs.clone(), delivery), time_left)
                    .await
                    .unwrap_or_else(|ended| Err(ended.into())),
                Err(failure) => Err(failure),
            };
            log::<C>(&record, &result);
            if result.is_err() {
                let mut failed = BatchItemFailure::default();
                failed.item_identifier = record.message_id.unwrap_or_default();
                response.batch_item_failures.push(failed);
            }
        }
        Ok(response)
    }
}

fn parse<C: ConsumerContract>(record: &SqsMessage, ambient: &Ambient) -> Result<Delivery<C>, Failure> {
    let body = record.body.as_deref().unwrap_or_default();
    let envelope: Envelope<<C::Queue as QueueContract>::Message> = serde_json::from_str(body)?;
    let trace = Trace::of(Some(&envelope.traceparent), None, ambient);
    continue_trace(&trace);
    Ok(Delivery { id: envelope.id, message: envelope.message, ambient: ambient.clone(), trace })
}

fn log<C: ConsumerContract>(record: &SqsMessage, result: &Result<(), Failure>) {
    let queue = <C::Queue as QueueContract>::NAME;
    let message_id = record.message_id.as_deref();
    let receive_count = record.attributes.get("ApproximateReceiveCount").map(String::as_str);
    match result {
        Ok(()) => tracing::info!(queue, message_id, receive_count, "message"),
        Err(failure) => tracing::error!(queue, message_id, receive_count, cause = failure.0, "message failed"),
    }
}
