//! Every minute: sends what was committed to an outbox and did not leave at once.
//!
//! Messages are claimed by lease, so several relays may run. One that cannot be sent rests for longer each time, and is never
//! given up.

use shared::{
    ambient::Ambient,
    background::{OutboxCommand, OutboxRelay, RelayOutput, Relayed, WaitingMessage},
    lambda::{TaskError, TaskRun},
    messaging::{Backoff, Claimed, Destination, EnvelopeHeader, SendError, Sent},
    store::{
        StoreError,
        mysql::{self, idempotency_keys, processed_messages, reports},
        outbox::{self, Outbox},
    },
    telemetry::{self, Trace},
};
use time::OffsetDateTime;

shared::lambda!(OutboxRelay, handle);

/// Messages of one claim.
const CLAIM_LIMIT: u32 = 100;
/// As many of either store are listed.
const MAX_LISTED: u32 = 1000;

async fn handle(needs: Needs, run: TaskRun<OutboxRelay>) -> Result<RelayOutput, TaskError> {
    let due = match run.event.outbox {
        None => 0,
        Some(OutboxCommand::List) => return Ok(RelayOutput::Waiting { waiting: list(&needs).await? }),
        Some(OutboxCommand::Replay { id }) => {
            let now = run.ambient.now();
            let (orders, users) = tokio::try_join!(needs.mysql.replay(id, now), needs.mongodb.replay(id, now))?;
            orders + users
        }
    };
    let relayed = relay(&needs, &run).await?;
    Ok(RelayOutput::Relayed(Relayed { due, ..relayed }))
}

async fn list(needs: &Needs) -> Result<Vec<WaitingMessage>, StoreError> {
    let (orders, users) = tokio::try_join!(needs.mysql.waiting(MAX_LISTED), needs.mongodb.waiting(MAX_LISTED))?;
    let of = |store: &'static str| move |message| WaitingMessage { store: store.to_owned(), message };
    Ok(orders.into_iter().map(of("mysql")).chain(users.into_iter().map(of("mongodb"))).collect())
}

async fn relay(needs: &Needs, run: &TaskRun<OutboxRelay>) -> Result<Relayed, StoreError> {
    let ambient = &run.ambient;
    let stop_at = ambient.now() + run.time_left / 2;
    // One store that is down must not hold up the other's messages.
    let (orders, users) =
        tokio::join!(drain(needs, &needs.mysql, ambient, stop_at), drain(needs, &needs.mongodb, ambient, stop_at));
    let (orders, users) = (orders?, users?);
    measure_lag(needs, ambient).await?;
    tidy(needs, ambient.now()).await?;
    Ok(Relayed { sent: orders.sent + users.sent, failed: orders.failed + users.failed, due: 0 })
}

/// Measures how old the oldest message is that stays in an outbox: 0 if none does. `OutboxLagAlarm` in the template watches it.
async fn measure_lag(needs: &Needs, ambient: &Ambient) -> Result<(), StoreError> {
    let (orders, users) = tokio::try_join!(outbox::oldest(&needs.mysql), outbox::oldest(&needs.mongodb))?;
    let oldest = orders.into_iter().chain(users).min();
    let lag = oldest.map_or(0.0, |oldest| (ambient.now() - oldest).as_seconds_f64().max(0.0));
    telemetry::measure("OutboxLagSeconds", "Seconds", lag, ambient);
    Ok(())
}

/// Forgets what nobody asks for any more, a little each time, and says of reports that nobody makes that they failed.
async fn tidy(needs: &Needs, now: OffsetDateTime) -> Result<(), StoreError> {
    reports::fail_abandoned(&needs.mysql, now).await?;
    reports::purge(&needs.mysql, now).await?;
    mysql::outbox::purge(&needs.mysql, now).await?;
    idempotency_keys::purge(&needs.mysql, now).await?;
    processed_messages::purge(&needs.mysql, now).await?;
    Ok(())
}

/// Sends what is due in one outbox.
async fn drain(
    needs: &Needs,
    outbox: &impl Outbox,
    ambient: &Ambient,
    stop_at: OffsetDateTime,
) -> Result<Relayed, StoreError> {
    let (worker, mut relayed) = (ambient.id(), Relayed::default());
    while ambient.now() < stop_at {
        let now = ambient.now();
        let claimed = outbox.claim(worker, CLAIM_LIMIT, now).await?;
        if claimed.is_empty() {
            break;
        }
        let mut sent = Vec::new();
        for (id, result) in send(needs, &claimed).await {
            let Some(message) = claimed.iter().find(|message| message.id == id) else { continue };
            // The line belongs to the trace that the message continues, and not to the relay's own.
            let traceparent = EnvelopeHeader::of(&message.envelope).traceparent;
            let trace = Trace::of(traceparent.as_deref(), None, ambient);
            let (trace_id, attempts) = (trace.trace_id(), message.attempts);
            match result {
                Ok(()) => {
                    tracing::info!(trace_id, message_id = %id, attempts, "message relayed");
                    sent.push(id);
                }
                Err(error) => {
                    tracing::warn!(trace_id, %error, message_id = %id, attempts, "the message stays in the outbox");
                    // From now, and not from when they were claimed: a queue that hangs holds this up for longer than the pause.
                    let retry_at = ambient.now() + Backoff::SENDING.equal_jitter(attempts, ambient);
                    outbox.mark_failed(worker, id, retry_at, &error.to_string()).await?;
                    relayed.failed += 1;
                }
            }
        }
        outbox.mark_sent(worker, &sent, now).await?;
        relayed.sent += sent.len();
    }
    Ok(relayed)
}

/// Sends each message to its destination: another queue is another line, and another field of the relay's `needs`.
async fn send(needs: &Needs, messages: &[Claimed]) -> Sent {
    let mut results = Vec::with_capacity(messages.len());
    results.extend(needs.events.send_matching(messages).await);
    results.extend(needs.email.send_matching(messages).await);
    results.extend(needs.notification.send_matching(messages).await);
    results.extend(needs.report.send_matching(messages).await);
    let unknown = messages.iter().filter(|message| results.iter().all(|(id, _)| *id != message.id));
    let unknown = unknown.map(|message| (message.id, Err(SendError::no_such_destination(&message.destination))));
    results.extend(unknown.collect::<Vec<_>>());
    results
}
