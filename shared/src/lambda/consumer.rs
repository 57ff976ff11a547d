//! Queue consumers: each message on its own, a partial batch reply.
//!
//! | What happens to a message | What becomes of it |
//! | --- | --- |
//! | processed | deleted |
//! | a failure, a panic, no time left | delivered again after a pause: [`Backoff`] |
//! | a body that cannot be read, [`Failure::permanent`] | moved to the dead-letter queue at once, with the reason |
//! | not begun, since the time is nearly up | delivered again at once |
//!
//! SQS counts every delivery, those that were not begun too, and moves what was delivered too often to the dead-letter queue.

use std::{cell::RefCell, future::Future, time::Duration};

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{Invocation, Serve, continue_trace, run_bounded};
use crate::{
    ambient::Ambient,
    contract::Function,
    error::chain,
    messaging::{Backoff, DeadLetter, Deliveries, Envelope, EnvelopeHeader, Failure, QueueContract},
    telemetry::{LOG_CONTEXT, Trace},
};

/// What is kept of the time limit for telling the queue what becomes of the messages.
const SETTLE_RESERVE: Duration = Duration::from_secs(2);
/// With less time than this for its handler, a message is not begun.
const MIN_HANDLER_TIME: Duration = Duration::from_secs(3);

/// The kind of a function that consumes a queue.
pub struct Consumer;

/// A consumer's declaration. Declared with [`crate::consumer!`].
pub trait ConsumerContract: Function {
    /// The queue whose messages it takes.
    type Queue: QueueContract;
    /// The most messages of one invocation.
    const BATCH_SIZE: u32;
    /// How many messages of one invocation are at work at once.
    const CONCURRENCY: usize = 1;
    /// The types of the events that its queue subscribes to.
    const SUBSCRIPTIONS: &'static [&'static str] = &[];
    /// How long a message rests that was not processed.
    const BACKOFF: Backoff = Backoff::DELIVERY;

    /// The receiving end of its queue, which the declaration adds to what it needs.
    fn deliveries(needs: &Self::Needs) -> &Deliveries<Self::Queue>;
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

/// Declares a consumer.
#[doc(hidden)]
#[macro_export]
macro_rules! consumer {
    (
        $(#[doc = $summary:literal])+
        $name:ident = $function:literal {
            queue: $queue:ty,
            $(subscribes: [$($event:ty),+ $(,)?],)?
            batch_size: $batch_size:literal,
            $(concurrency: $concurrency:literal,)?
            needs: { $($field:ident: $resource:ty),* $(,)? } $(,)?
        }
    ) => {
        $(#[doc = $summary])+
        pub struct $name;

        $crate::function!($name = $function $crate::lambda::Consumer {
            $($field: $resource,)*
            deliveries: $crate::messaging::Deliveries<$queue>,
        });

        impl $crate::lambda::ConsumerContract for $name {
            type Queue = $queue;
            const BATCH_SIZE: u32 = $batch_size;
            $(const CONCURRENCY: usize = $concurrency;)?
            $(const SUBSCRIPTIONS: &'static [&'static str] = &[$(<$event as $crate::messaging::Event>::TYPE),+];)?

            fn deliveries(
                needs: &<Self as $crate::contract::Function>::Needs,
            ) -> &$crate::messaging::Deliveries<Self::Queue> {
                &needs.deliveries
            }
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

    async fn serve(call: Invocation<C>, handler: H) -> Result<Self::Output, String> {
        let event: SqsEvent =
            serde_json::from_str(call.event.get()).map_err(|error| format!("not an SQS event: {error}"))?;
        let stop_at = Instant::now() + call.time_left.saturating_sub(SETTLE_RESERVE);
        let (call, handler) = (&call, &handler);
        // Lazily: a message that has to wait for its turn looks at the time when that comes.
        let outcomes: Vec<Option<BatchItemFailure>> = stream::iter(event.records)
            .map(|record| {
                in_own_log_context(&call.ambient, async move { process_record(call, handler, record, stop_at).await })
            })
            .buffer_unordered(C::CONCURRENCY.max(1))
            .collect()
            .await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = outcomes.into_iter().flatten().collect();
        Ok(response)
    }
}

/// Runs the work on a message so that its log lines name its own trace, and not that of another one at work.
async fn in_own_log_context<T>(ambient: &Ambient, work: impl Future<Output = T>) -> T {
    let invocation = LOG_CONTEXT.try_with(|invocation| invocation.borrow().clone());
    let invocation = invocation.unwrap_or_else(|_| super::LogContext {
        trace_id: Trace::of(None, None, ambient).trace_id().to_owned(),
        ..Default::default()
    });
    LOG_CONTEXT.scope(RefCell::new(invocation), work).await
}

/// What came of one message.
enum Outcome {
    Processed,
    /// It goes to the dead-letter queue.
    DeadLettered(String),
    /// It is delivered again after a pause.
    Failed(String),
    /// It is delivered again at once.
    Deferred,
}

/// Processes one message and tells the queue what becomes of it. Returns what the reply says of it, if it is to be kept.
async fn process_record<C, H, O>(
    call: &Invocation<C>,
    handler: &H,
    record: SqsMessage,
    stop_at: Instant,
) -> Option<BatchItemFailure>
where
    C: ConsumerContract,
    H: Fn(C::Needs, Delivery<C>) -> O + Send + Sync,
    O: Future<Output = Result<(), Failure>> + Send,
{
    let span = span::<C>(&record);
    process(call, handler, record, stop_at, &span).instrument(span.clone()).await
}

/// A message at work, as OpenTelemetry names it: <https://opentelemetry.io/docs/specs/semconv/messaging/sqs/>. It continues the trace of
/// its sender rather than linking to it, so that one trace tells everything that came of a request.
fn span<C: ConsumerContract>(record: &SqsMessage) -> Span {
    tracing::info_span!(
        "message",
        otel.name = format!("process {}", <C::Queue as QueueContract>::NAME),
        otel.kind = "consumer",
        messaging.system = "aws_sqs",
        "messaging.operation.type" = "process",
        messaging.destination.name = <C::Queue as QueueContract>::NAME,
        messaging.message.id = record.message_id.as_deref(),
    )
}

async fn process<C, H, O>(
    call: &Invocation<C>,
    handler: &H,
    record: SqsMessage,
    stop_at: Instant,
    span: &Span,
) -> Option<BatchItemFailure>
where
    C: ConsumerContract,
    H: Fn(C::Needs, Delivery<C>) -> O + Send + Sync,
    O: Future<Output = Result<(), Failure>> + Send,
{
    let label = EnvelopeHeader::of(record.body.as_deref().unwrap_or_default());
    let trace = Trace::of(label.traceparent.as_deref(), None, &call.ambient);
    let trace = continue_trace(trace, span);
    let outcome = match parse::<C>(&record, trace, &call.ambient) {
        Ok(delivery) => handle(call, handler, delivery, stop_at.saturating_duration_since(Instant::now())).await,
        Err(error) => Outcome::DeadLettered(format!("the message cannot be read: {error}")),
    };
    log::<C>(&record, &outcome);
    if settle(C::deliveries(&call.needs), &record, label, &outcome, C::BACKOFF, &call.ambient).await {
        return None;
    }
    let mut failed = BatchItemFailure::default();
    failed.item_identifier = record.message_id.unwrap_or_default();
    Some(failed)
}

async fn handle<C, H, O>(call: &Invocation<C>, handler: &H, delivery: Delivery<C>, time_left: Duration) -> Outcome
where
    C: ConsumerContract,
    H: Fn(C::Needs, Delivery<C>) -> O + Send + Sync,
    O: Future<Output = Result<(), Failure>> + Send,
{
    if time_left < MIN_HANDLER_TIME {
        return Outcome::Deferred;
    }
    // The call is part of what is contained: a handler may panic before it returns its future.
    let work = async { handler(call.needs.clone(), delivery).await };
    match run_bounded(work, time_left).await.unwrap_or_else(|ended| Err(ended.into())) {
        Ok(()) => Outcome::Processed,
        Err(Failure { reason, is_permanent: true }) => Outcome::DeadLettered(reason),
        Err(Failure { reason, is_permanent: false }) => Outcome::Failed(reason),
    }
}

fn parse<C: ConsumerContract>(
    record: &SqsMessage,
    trace: Trace,
    ambient: &Ambient,
) -> Result<Delivery<C>, serde_json::Error> {
    let body = record.body.as_deref().unwrap_or_default();
    let envelope: Envelope<<C::Queue as QueueContract>::Message> = serde_json::from_str(body)?;
    Ok(Delivery { id: envelope.id, message: envelope.message, ambient: ambient.clone(), trace })
}

/// Tells the queue what becomes of the message. Whether the queue may delete it: nothing is deleted that is in no other queue.
async fn settle<Q: QueueContract>(
    deliveries: &Deliveries<Q>,
    record: &SqsMessage,
    label: EnvelopeHeader,
    outcome: &Outcome,
    backoff: Backoff,
    ambient: &Ambient,
) -> bool {
    let pause = match outcome {
        Outcome::Processed => return true,
        Outcome::DeadLettered(reason) => {
            let letter = DeadLetter {
                body: record.body.as_deref().unwrap_or_default(),
                reason,
                message_id: record.message_id.as_deref(),
                id: label.id,
                receive_count: receive_count(record),
                traceparent: label.traceparent.as_deref(),
            };
            match in_time(deliveries.dead_letter(&letter)).await {
                Ok(()) => return true,
                Err(cause) => tracing::error!(cause, "the dead-letter queue did not take the message: it is kept"),
            }
            backoff.full_jitter(receive_count(record), ambient)
        }
        Outcome::Failed(_) => backoff.full_jitter(receive_count(record), ambient),
        Outcome::Deferred => Duration::ZERO,
    };
    let receipt = record.receipt_handle.as_deref().unwrap_or_default();
    if let Err(cause) = in_time(deliveries.return_after(receipt, pause)).await {
        tracing::warn!(cause, "the message comes back when the queue's own visibility timeout is over");
    }
    false
}

/// Half of what is kept for telling the queue: giving a message up and keeping it after all are two calls.
async fn in_time<E: std::error::Error>(call: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(SETTLE_RESERVE / 2, call).await {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// How often SQS has delivered the message, this time included.
fn receive_count(record: &SqsMessage) -> u32 {
    record.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

fn log<C: ConsumerContract>(record: &SqsMessage, outcome: &Outcome) {
    let queue = <C::Queue as QueueContract>::NAME;
    let (message_id, receive_count) = (record.message_id.as_deref(), receive_count(record));
    match outcome {
        Outcome::Processed => tracing::info!(queue, message_id, receive_count, "message"),
        Outcome::DeadLettered(cause) => tracing::error!(queue, message_id, receive_count, cause, "message given up"),
        Outcome::Failed(cause) => tracing::error!(queue, message_id, receive_count, cause, "message failed"),
        Outcome::Deferred => {
            tracing::warn!(queue, message_id, receive_count, "message not begun: the time is nearly up");
        }
    }
}
