//! The `users` collection.
//!
//! One document per user, with a schema version. `emailKey` is the normalised address under a unique index; it is unset on
//! deletion, so that the address is free again. Messages that must follow a write ride in the document's `outbox` array
//! (see [`super::user_outbox`]), since no transaction spans two stores.

use mongodb::{
    Collection,
    bson::{self, DateTime, Document, doc},
    error::{ErrorKind, WriteFailure},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Mongodb, StoreError, user_outbox};
use crate::{auth::Roles, email::EmailAddress, queue::Outgoing};

/// The shape of the documents that this code writes.
const SCHEMA_VERSION: i32 = 1;
/// MongoDB's error code for a unique index that refuses.
const DUPLICATE_KEY: i32 = 11000;

/// A user, as the rest of the system knows one.
#[derive(Clone, Debug)]
pub struct User {
    pub id: Uuid,
    pub email: EmailAddress,
    pub email_verified: bool,
    pub roles: Roles,
    /// Whatever the user's application keeps here.
    pub profile: serde_json::Map<String, serde_json::Value>,
    /// Grows with every change of the document.
    pub version: u64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A user who is about to exist.
pub struct NewUser {
    pub id: Uuid,
    pub email: EmailAddress,
    pub password_hash: String,
    pub roles: Roles,
    /// SHA-256 of the code that proves the address, and until when it does.
    pub verification: Option<(Vec<u8>, OffsetDateTime)>,
    pub now: OffsetDateTime,
}

/// What a login needs to know.
pub struct LoginUser {
    pub id: Uuid,
    pub roles: Roles,
    pub password_hash: String,
}

/// Whether a user was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Yes,
    /// Somebody has this address.
    EmailTaken,
}

/// The document. Private: what leaves this module is [`User`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UserDocument {
    #[serde(rename = "_id")]
    id: bson::Uuid,
    email: EmailAddress,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_key: Option<String>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_hash: Option<String>,
    roles: Roles,
    is_deleted: bool,
    is_disabled: bool,
    profile: serde_json::Map<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
    #[serde(default)]
    outbox: Vec<Document>,
    schema_version: i32,
    version: i64,
    created_at: DateTime,
    updated_at: DateTime,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    code_hash: bson::Binary,
    expires_at: DateTime,
}

impl From<UserDocument> for User {
    fn from(document: UserDocument) -> Self {
        Self {
            id: from_bson_id(document.id),
            email: document.email,
            email_verified: document.email_verified,
            roles: document.roles,
            profile: document.profile,
            version: document.version.unsigned_abs(),
            created_at: from_bson_time(document.created_at),
            updated_at: from_bson_time(document.updated_at),
        }
    }
}

/// Adds a user, and the message that must follow, in one write.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.insert", skip_all)]
pub async fn insert(mongodb: &Mongodb, user: &NewUser, message: Option<&Outgoing>) -> Result<Inserted, StoreError> {
    let now = to_bson_time(user.now);
    let verification = user.verification.as_ref().map(|(hash, until)| Verification {
        code_hash: bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: hash.clone() },
        expires_at: to_bson_time(*until),
    });
    let document = UserDocument {
        id: to_bson_id(user.id),
        email: user.email.clone(),
        email_key: Some(user.email.key()),
        email_verified: false,
        password_hash: Some(user.password_hash.clone()),
        roles: user.roles.clone(),
        is_deleted: false,
        is_disabled: false,
        profile: serde_json::Map::new(),
        verification,
        outbox: message.map(|message| user_outbox::entry(message, user.now)).into_iter().collect(),
        schema_version: SCHEMA_VERSION,
        version: 1,
        created_at: now,
        updated_at: now,
    };
    match users(mongodb).await?.insert_one(&document).await {
        Ok(_) => Ok(Inserted::Yes),
        Err(error) => match *error.kind {
            ErrorKind::Write(WriteFailure::WriteError(ref write)) if write.code == DUPLICATE_KEY => {
                Ok(Inserted::EmailTaken)
            }
            _ => Err(error.into()),
        },
    }
}

/// The user with this id, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find", skip_all)]
pub async fn find(mongodb: &Mongodb, id: Uuid) -> Result<Option<User>, StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "isDeleted": false, "isDisabled": false };
    let projection = doc! { "outbox": 0, "passwordHash": 0, "verification": 0 };
    Ok(users(mongodb).await?.find_one(filter).projection(projection).await?.map(User::from))
}

/// What a login needs to know of the user with this address, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_for_login", skip_all)]
pub async fn find_for_login(mongodb: &Mongodb, email: &EmailAddress) -> Result<Option<LoginUser>, StoreError> {
    let filter = doc! { "emailKey": email.key() };
    let Some(document) = users(mongodb).await?.find_one(filter).await? else { return Ok(None) };
    let usable = !document.is_deleted && !document.is_disabled;
    Ok(document.password_hash.filter(|_| usable).map(|password_hash| LoginUser {
        id: from_bson_id(document.id),
        roles: document.roles,
        password_hash,
    }))
}

/// The id of the user with this address, unless deleted.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.id_of", skip_all)]
pub async fn id_of(mongodb: &Mongodb, email: &EmailAddress) -> Result<Option<Uuid>, StoreError> {
    #[derive(Deserialize)]
    struct Id {
        #[serde(rename = "_id")]
        id: bson::Uuid,
    }
    let users = users(mongodb).await?.clone_with_type::<Id>();
    let found = users.find_one(doc! { "emailKey": email.key() }).projection(doc! { "_id": 1 }).await?;
    Ok(found.map(|user| from_bson_id(user.id)))
}

/// Adds a message to the user with this address, unless deleted: something happened that they should know of.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.add_message", skip_all)]
pub async fn add_message(
    mongodb: &Mongodb,
    email: &EmailAddress,
    message: &Outgoing,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let change = doc! { "$push": { "outbox": user_outbox::entry(message, now) } };
    users(mongodb).await?.update_one(doc! { "emailKey": email.key() }, change).await?;
    Ok(())
}

async fn users(mongodb: &Mongodb) -> Result<Collection<UserDocument>, StoreError> {
    Ok(mongodb.database().await?.collection("users"))
}

pub(super) fn to_bson_id(id: Uuid) -> bson::Uuid {
    bson::Uuid::from_bytes(id.into_bytes())
}

pub(super) fn from_bson_id(id: bson::Uuid) -> Uuid {
    Uuid::from_bytes(id.bytes())
}

pub(super) fn to_bson_time(time: OffsetDateTime) -> DateTime {
    DateTime::from_millis(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

fn from_bson_time(time: DateTime) -> OffsetDateTime {
    let nanoseconds = i128::from(time.timestamp_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
