//! The `sessions` collection: one document per login, which is also its family of refresh tokens.
//!
//! ```text
//! insert ──▶ active {generation, token hash} ── rotate: generation + 1 ──▶ active … ── end, or expiry ──▶ ended
//! ```
//!
//! A session is valid while it has not ended and its user's epoch is still the one it began in (see [`super::users`]);
//! both are durable. A TTL index deletes expired documents.

use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    bson::{Binary, Bson, DateTime, Document, Uuid as BsonUuid, doc},
};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{from_bson_id, from_bson_time, to_binary, to_bson_id, to_bson_number, to_bson_time};
use crate::boxed;
use crate::identity::{Owner, RefreshToken, Salt};
use crate::store::{Mongodb, StoreError};

/// The absolute lifetime of a session, however often it is refreshed.
pub const LIFETIME: Duration = Duration::days(30);
/// The most sessions in a list.
const MAX_LISTED: i64 = 100;
const SCHEMA_VERSION: i32 = 1;

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    /// The number of refreshes. Access tokens carry it.
    pub generation: u64,
    /// The user's epoch at the login.
    pub epoch: u64,
    pub network: String,
    pub user_agent: String,
    pub created_at: OffsetDateTime,
    pub used_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    is_ended: bool,
    token_hash: Vec<u8>,
    previous: Option<Previous>,
}

/// The token before the current one.
#[derive(Clone, Debug)]
struct Previous {
    hash: Vec<u8>,
    salt: Salt,
    rotated_at: OffsetDateTime,
}

/// The state of a presented refresh token.
#[derive(Debug, PartialEq, Eq)]
pub enum TokenState {
    /// The session's current token.
    Current,
    /// The token before it, within the grace period: it gets the same successor again, made with this salt.
    WithinGrace(Salt),
    /// An old token, past the grace period: it was stolen, or its thief rotated it first.
    Reused,
    /// The session has ended.
    Ended,
}

/// A session to begin.
pub struct NewSession<'a> {
    pub id: Uuid,
    pub user_id: Uuid,
    pub epoch: u64,
    pub token: &'a RefreshToken,
    pub network: &'a str,
    pub user_agent: &'a str,
    pub now: OffsetDateTime,
}

/// The reason for a session's end.
#[derive(Clone, Copy, Debug)]
pub enum EndReason {
    /// A logout.
    LoggedOut,
    /// The reuse of a refresh token.
    TokenReused,
    /// The password was changed.
    PasswordChanged,
    /// The user was disabled or deleted, or another login proved the account's unverified address.
    AccessWithdrawn,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionDocument {
    #[serde(rename = "_id")]
    id: BsonUuid,
    user_id: BsonUuid,
    family_hash: Binary,
    token_hash: Binary,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<PreviousDocument>,
    generation: i64,
    epoch: i64,
    network: String,
    user_agent: String,
    created_at: DateTime,
    used_at: DateTime,
    expires_at: DateTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<DateTime>,
    schema_version: i32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PreviousDocument {
    hash: Binary,
    salt: Binary,
    rotated_at: DateTime,
}

impl From<SessionDocument> for Session {
    fn from(document: SessionDocument) -> Self {
        let previous = document.previous.and_then(|previous| {
            Some(Previous {
                hash: previous.hash.bytes,
                salt: previous.salt.bytes.try_into().ok()?,
                rotated_at: from_bson_time(previous.rotated_at),
            })
        });
        Self {
            id: from_bson_id(document.id),
            user_id: from_bson_id(document.user_id),
            generation: document.generation.unsigned_abs(),
            epoch: document.epoch.unsigned_abs(),
            network: document.network,
            user_agent: document.user_agent,
            created_at: from_bson_time(document.created_at),
            used_at: from_bson_time(document.used_at),
            expires_at: from_bson_time(document.expires_at),
            is_ended: document.ended_at.is_some(),
            token_hash: document.token_hash.bytes,
            previous,
        }
    }
}

impl Session {
    /// The state of this token now.
    #[must_use]
    pub fn classify(&self, token: &RefreshToken, grace: Duration, now: OffsetDateTime) -> TokenState {
        let hash = token.secret_hash();
        if self.is_ended || self.expires_at <= now {
            return TokenState::Ended;
        }
        match &self.previous {
            _ if hash == self.token_hash => TokenState::Current,
            Some(previous) if hash == previous.hash && now - previous.rotated_at <= grace => {
                TokenState::WithinGrace(previous.salt)
            }
            _ => TokenState::Reused,
        }
    }
}

/// Begins a session.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.insert", skip_all)]
#[boxed]
pub async fn insert<'a>(mongodb: &'a Mongodb, new: NewSession<'a>) -> Result<Session, StoreError> {
    let now = to_bson_time(new.now);
    let document = SessionDocument {
        id: to_bson_id(new.id),
        user_id: to_bson_id(new.user_id),
        family_hash: to_binary(new.token.family_hash()),
        token_hash: to_binary(new.token.secret_hash()),
        previous: None,
        generation: 0,
        epoch: to_bson_number(new.epoch),
        network: new.network.to_owned(),
        user_agent: new.user_agent.to_owned(),
        created_at: now,
        used_at: now,
        expires_at: to_bson_time(new.now + LIFETIME),
        ended_at: None,
        schema_version: SCHEMA_VERSION,
    };
    sessions(mongodb).await?.insert_one(&document).await?;
    Ok(document.into())
}

/// The session of a refresh token, by its family.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.find_by_token", skip_all)]
#[boxed]
pub async fn find_by_token(mongodb: &Mongodb, token: &RefreshToken) -> Result<Option<Session>, StoreError> {
    let filter = doc! { "familyHash": to_binary(token.family_hash()) };
    Ok(sessions(mongodb).await?.find_one(filter).await?.map(Session::from))
}

/// Optimistic locking: replaces the session's token by its successor. `false` if another request was first, or the
/// session ended.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.rotate", skip_all)]
#[boxed]
pub async fn rotate(
    mongodb: &Mongodb,
    session: &Session,
    token: &RefreshToken,
    salt: &Salt,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let previous = doc! { "hash": to_binary(token.secret_hash()), "salt": to_binary(salt.to_vec()), "rotatedAt": to_bson_time(now) };
    let change = doc! {
        "$set": {
            "tokenHash": to_binary(token.successor(salt).secret_hash()),
            "previous": previous,
            "usedAt": to_bson_time(now),
        },
        "$inc": { "generation": 1_i64 },
    };
    let filter =
        doc! { "_id": to_bson_id(session.id), "tokenHash": to_binary(token.secret_hash()), "endedAt": Bson::Null };
    Ok(sessions(mongodb).await?.update_one(filter, change).await?.modified_count == 1)
}

/// The owner's active sessions, the most recently used first.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.list", skip_all)]
#[boxed]
pub async fn list(mongodb: &Mongodb, owner: Owner, now: OffsetDateTime) -> Result<Vec<Session>, StoreError> {
    let mut filter = active(owner.user_id());
    filter.insert("expiresAt", doc! { "$gt": to_bson_time(now) });
    let found = sessions(mongodb).await?.find(filter).sort(doc! { "usedAt": -1 }).limit(MAX_LISTED).await?;
    let found: Vec<SessionDocument> = found.try_collect().await?;
    Ok(found.into_iter().map(Session::from).collect())
}

/// Ends one of the owner's sessions. `false` if there is no such session, or it has ended.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.end", skip_all)]
#[boxed]
pub async fn end(
    mongodb: &Mongodb,
    owner: Owner,
    id: Uuid,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let mut filter = active(owner.user_id());
    filter.insert("_id", to_bson_id(id));
    Ok(sessions(mongodb).await?.update_one(filter, ended(reason, now)).await?.modified_count == 1)
}

/// Ends a session because of a reused refresh token, for any owner.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.end_reused", skip_all)]
#[boxed]
pub async fn end_reused(mongodb: &Mongodb, id: Uuid, now: OffsetDateTime) -> Result<(), StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "endedAt": Bson::Null };
    sessions(mongodb).await?.update_one(filter, ended(EndReason::TokenReused, now)).await?;
    Ok(())
}

/// Ends all sessions of a user except `kept`; returns their ids.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.end_all", skip_all)]
#[boxed]
pub async fn end_all(
    mongodb: &Mongodb,
    user_id: Uuid,
    kept: Option<Uuid>,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<Vec<Uuid>, StoreError> {
    let mut filter = active(user_id);
    if let Some(kept) = kept {
        filter.insert("_id", doc! { "$ne": to_bson_id(kept) });
    }
    // The ended ones are read after the write, so that a session that began meanwhile is among them if it ended.
    sessions(mongodb).await?.update_many(filter, ended(reason, now)).await?;
    let just_ended = doc! { "userId": to_bson_id(user_id), "endedAt": to_bson_time(now) };
    ids(mongodb, just_ended).await.map(|sessions| sessions.into_iter().map(|(id, _)| id).collect())
}

/// The active sessions of a user, each with its generation.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.generations", skip_all)]
#[boxed]
pub async fn generations(mongodb: &Mongodb, user_id: Uuid) -> Result<Vec<(Uuid, u64)>, StoreError> {
    ids(mongodb, active(user_id)).await
}

/// Moves a session to its user's new epoch.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sessions.keep", skip_all)]
#[boxed]
pub async fn keep(mongodb: &Mongodb, owner: Owner, id: Uuid, epoch: u64) -> Result<(), StoreError> {
    let mut filter = active(owner.user_id());
    filter.insert("_id", to_bson_id(id));
    sessions(mongodb).await?.update_one(filter, doc! { "$set": { "epoch": to_bson_number(epoch) } }).await?;
    Ok(())
}

fn active(user_id: Uuid) -> Document {
    doc! { "userId": to_bson_id(user_id), "endedAt": Bson::Null }
}

fn ended(reason: EndReason, now: OffsetDateTime) -> Document {
    doc! { "$set": { "endedAt": to_bson_time(now), "endReason": format!("{reason:?}") } }
}

async fn ids(mongodb: &Mongodb, filter: Document) -> Result<Vec<(Uuid, u64)>, StoreError> {
    #[derive(Deserialize)]
    struct Generation {
        #[serde(rename = "_id")]
        id: BsonUuid,
        generation: i64,
    }
    let sessions = sessions(mongodb).await?.clone_with_type::<Generation>();
    let found = sessions.find(filter).projection(doc! { "generation": 1 }).await?;
    let found: Vec<Generation> = found.try_collect().await?;
    Ok(found.into_iter().map(|found| (from_bson_id(found.id), found.generation.unsigned_abs())).collect())
}

async fn sessions(mongodb: &Mongodb) -> Result<Collection<SessionDocument>, StoreError> {
    Ok(mongodb.database().await?.collection("sessions"))
}
