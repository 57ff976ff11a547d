//! Every minute: sends what was committed to an outbox and did not leave at once.
//!
//! Messages are claimed by lease, so several relays may run. One that cannot be sent rests for longer each time, and is never
//! given up.

use shared::{
    ambient::Ambient,
    background::{OutboxRelay, Relayed},
    lambda::{TaskError, TaskRun},
    queue::{EmailQueue, NotificationQueue, QueueContract, ReportQueue, SendError, backoff},
    store::{
        StoreError, idempotency,
        outbox::{self, Claimed, Outbox},
        processed_messages,
    },
};
use time::OffsetDateTime;
use uuid::Uuid;

shared::lambda!(OutboxRelay, handle);

/// Messages of one claim.
const BATCH: u32 = 100;

async fn handle(needs: Needs, run: TaskRun<OutboxRelay>) -> Result<Relayed, TaskError> {
    let ambient = &run.ambient;
    let stop_at = ambient.now() + run.time_left / 2;
    // One store that is down must not hold up the other's messages.
    let (orders, users) =
        tokio::join!(drain(&needs, &needs.mysql, ambient, stop_at), drain(&needs, &needs.mongodb, ambient, stop_at));
    let (orders, users) = (orders?, users?);
    purge(&needs, ambient.now()).await?;
    Ok(Relayed { sent: orders.sent + users.sent, failed: orders.failed + users.failed })
}

/// Forgets what nobody asks for any more, a little each time.
async fn purge(needs: &Needs, now: OffsetDateTime) -> Result<(), StoreError> {
    outbox::purge(&needs.mysql, now).await?;
    idempotency::purge(&needs.mysql, now).await?;
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
        let claimed = outbox.claim(worker, BATCH, now).await?;
        if claimed.is_empty() {
            break;
        }
        let mut sent = Vec::new();
        for (id, result) in send(needs, &claimed).await {
            match result {
                Ok(()) => sent.push(id),
                Err(error) => {
                    let attempts =
                        claimed.iter().find(|message| message.id == id).map_or(1, |message| message.attempts);
                    tracing::warn!(%error, message_id = %id, attempts, "the message stays in the outbox");
                    outbox.mark_failed(worker, id, now + backoff(attempts, ambient), &error.to_string()).await?;
                    relayed.failed += 1;
                }
            }
        }
        outbox.mark_sent(worker, &sent, now).await?;
        relayed.sent += sent.len();
    }
    Ok(relayed)
}

async fn send(needs: &Needs, messages: &[Claimed]) -> Vec<(Uuid, Result<(), SendError>)> {
    let (email, messages): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message.queue == EmailQueue::NAME);
    let (notification, messages): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.queue == NotificationQueue::NAME);
    let (report, unknown): (Vec<_>, Vec<_>) =
        messages.into_iter().partition(|message| message.queue == ReportQueue::NAME);
    let sent = tokio::join!(
        needs.email.send_all(&email),
        needs.notification.send_all(&notification),
        needs.report.send_all(&report),
    );
    let mut results = [sent.0, sent.1, sent.2].concat();
    results.extend(unknown.iter().map(|message| (message.id, Err(SendError::no_such_queue(&message.queue)))));
    results
}
