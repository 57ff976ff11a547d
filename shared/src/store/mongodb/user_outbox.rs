//! Transactional outbox in user documents: a message of a write to MongoDB is part of that write.
//!
//! The same states as [`crate::store::mysql::outbox`]: the function that wrote sends after its reply, the relay sends the rest, an
//! entry is leased by moving `availableAt` ahead. A sent entry is pulled, since a document has to stay small.

use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    bson::{self, Document, doc},
};
use serde::Deserialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{from_bson_id, from_bson_time, to_bson_id, to_bson_time};
use crate::{email::EmailAddress, messaging::OutboxMessage};
use crate::{
    messaging::Claimed,
    store::{
        Mongodb, StoreError,
        outbox::{LEASE, MarkSent, Outbox, Waiting, shortened},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HolderDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    outbox: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: bson::Uuid,
    queue: String,
    envelope: String,
    attempts: i32,
    available_at: bson::DateTime,
    last_error: Option<String>,
}

/// An entry for a new message, leased to its writer, which sends it right after the write.
pub(super) fn entry(message: &OutboxMessage, now: OffsetDateTime) -> Document {
    doc! {
        "id": to_bson_id(message.id),
        "queue": message.destination,
        "envelope": &message.envelope,
        "attempts": 1,
        "availableAt": to_bson_time(now + LEASE),
        "lockedBy": to_bson_id(message.id),
    }
}

/// Whose messages they are.
#[derive(Clone)]
pub enum Holder {
    User(Uuid),
    /// The user with this address.
    Address(EmailAddress),
}

/// The outbox of one user, for messages that are sent right after their write.
pub struct UserOutbox {
    pub mongodb: Mongodb,
    pub holder: Holder,
}

impl MarkSent for UserOutbox {
    #[tracing::instrument(name = "user_outbox.mark_sent_of_user", skip_all)]
    async fn mark_sent(&self, lease: Uuid, ids: &[Uuid], _: OffsetDateTime) -> Result<(), StoreError> {
        let filter = match &self.holder {
            Holder::User(id) => doc! { "_id": to_bson_id(*id) },
            Holder::Address(email) => doc! { "emailKey": email.key() },
        };
        let ids: Vec<_> = ids.iter().copied().map(to_bson_id).collect();
        let sent = doc! { "id": { "$in": ids }, "lockedBy": to_bson_id(lease) };
        users(&self.mongodb).await?.update_one(filter, doc! { "$pull": { "outbox": sent } }).await?;
        Ok(())
    }
}

impl MarkSent for Mongodb {
    #[tracing::instrument(name = "user_outbox.mark_sent", skip_all)]
    async fn mark_sent(&self, lease: Uuid, ids: &[Uuid], _: OffsetDateTime) -> Result<(), StoreError> {
        for id in ids {
            let held = held(*id, lease);
            let change = doc! { "$pull": { "outbox": held.clone() } };
            users(self).await?.update_one(doc! { "outbox": { "$elemMatch": held } }, change).await?;
        }
        Ok(())
    }
}

impl Outbox for Mongodb {
    #[tracing::instrument(name = "user_outbox.claim", skip_all)]
    async fn claim(&self, worker: Uuid, limit: u32, now: OffsetDateTime) -> Result<Vec<Claimed>, StoreError> {
        let due = to_bson_time(now);
        let users = self.database().await?.collection::<HolderDocument>("users");
        let holders = users
            .find(doc! { "outbox.availableAt": { "$lte": due } })
            .projection(doc! { "outbox": 1 })
            .limit(limit.into())
            .await?;
        let holders: Vec<HolderDocument> = holders.try_collect().await?;

        let mut claimed = Vec::new();
        for holder in holders {
            for entry in holder.outbox.into_iter().filter(|entry| entry.available_at <= due) {
                // Optimistic locking: of several workers only one still finds the entry as it was read.
                let unchanged = doc! { "id": entry.id, "availableAt": entry.available_at };
                let lease = doc! {
                    "$set": { "outbox.$.availableAt": to_bson_time(now + LEASE), "outbox.$.lockedBy": to_bson_id(worker) },
                    "$inc": { "outbox.$.attempts": 1 },
                };
                let filter = doc! { "_id": holder.id, "outbox": { "$elemMatch": unchanged } };
                if users.update_one(filter, lease).await?.modified_count == 1 {
                    claimed.push(Claimed {
                        id: from_bson_id(entry.id),
                        destination: entry.queue,
                        envelope: entry.envelope,
                        attempts: entry.attempts.unsigned_abs() + 1,
                    });
                }
            }
        }
        Ok(claimed)
    }

    #[tracing::instrument(name = "user_outbox.mark_failed", skip_all)]
    async fn mark_failed(
        &self,
        worker: Uuid,
        id: Uuid,
        retry_at: OffsetDateTime,
        reason: &str,
    ) -> Result<(), StoreError> {
        let later = doc! { "outbox.$.availableAt": to_bson_time(retry_at), "outbox.$.lastError": shortened(reason) };
        let filter = doc! { "outbox": { "$elemMatch": held(id, worker) } };
        users(self).await?.update_one(filter, doc! { "$set": later }).await?;
        Ok(())
    }

    #[tracing::instrument(name = "user_outbox.waiting", skip_all)]
    async fn waiting(&self, limit: u32) -> Result<Vec<Waiting>, StoreError> {
        let holders = self.database().await?.collection::<HolderDocument>("users");
        let holders = holders
            .find(doc! { "outbox.availableAt": { "$gt": bson::DateTime::from_millis(0) } })
            .projection(doc! { "outbox": 1 })
            .sort(doc! { "outbox.availableAt": 1 })
            .limit(limit.into())
            .await?;
        let holders: Vec<HolderDocument> = holders.try_collect().await?;
        let waiting = holders.into_iter().flat_map(|holder| holder.outbox).map(|entry| {
            let (id, available_at) = (from_bson_id(entry.id), from_bson_time(entry.available_at));
            Waiting {
                id,
                destination: entry.queue,
                attempts: entry.attempts.unsigned_abs(),
                created_at: written_at(id).unwrap_or(available_at),
                available_at,
                last_error: entry.last_error,
            }
        });
        Ok(waiting.collect())
    }

    #[tracing::instrument(name = "user_outbox.replay", skip_all)]
    async fn replay(&self, id: Option<Uuid>, now: OffsetDateTime) -> Result<u64, StoreError> {
        let waiting = self.waiting(10_000).await?;
        let mut replayed = 0;
        for message in waiting.iter().filter(|message| id.is_none_or(|id| id == message.id)) {
            let filter = doc! { "outbox": { "$elemMatch": { "id": to_bson_id(message.id) } } };
            let due = doc! { "$set": { "outbox.$.availableAt": to_bson_time(now) } };
            replayed += users(self).await?.update_one(filter, due).await?.matched_count;
        }
        Ok(replayed)
    }
}

/// The time of a message, from its id (UUID version 7).
fn written_at(id: Uuid) -> Option<OffsetDateTime> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    let whole = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    Some(whole + Duration::nanoseconds(nanoseconds.into()))
}

fn held(id: Uuid, worker: Uuid) -> Document {
    doc! { "id": to_bson_id(id), "lockedBy": to_bson_id(worker) }
}

async fn users(mongodb: &Mongodb) -> Result<Collection<Document>, StoreError> {
    Ok(mongodb.database().await?.collection("users"))
}
