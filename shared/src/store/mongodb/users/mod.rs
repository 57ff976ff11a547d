//! The `users` collection.
//!
//! One document per user, with a schema version. `emailKey` is the normalised address under a unique index; it is unset
//! on deletion, so that the address is free again, and so are the `identityKeys`, the user's names at other issuers.
//! Messages of a write ride in the document's `outbox` array (see [`super::user_outbox`]), since no transaction spans
//! two stores.
//!
//! `version` grows with every change that a reader can see. `epoch` grows when all earlier grants must end: when the
//! password changes, or the user is disabled or deleted. A session is valid only in the epoch it began in, so that one
//! write ends them all.

mod credentials;
mod management;

use mongodb::{
    Collection,
    bson::{self, DateTime, Document, doc},
    options::ReturnDocument,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

pub(in crate::store) use self::management::ADMINS_GUARD;
pub use self::{
    credentials::{
        CurrentGrants, LoginUser, PasswordProof, current_grants, find_by_identity, find_by_reset_code, find_for_login,
        find_with_password, link_identity, replace_password, set_reset_code, set_verification_code, upgrade_hash,
        verify_email,
    },
    management::{
        Changes, Filter, Restored, UpdateByAdmin, delete, find_any, list, restore, update_by_admin, update_profile,
    },
};
use super::{from_bson_id, from_bson_time, is_duplicate_key, to_bson_id, to_bson_time, user_outbox};
use crate::store::{Mongodb, StoreError};
use crate::{boxed, email::EmailAddress, identity::Roles, messaging::OutboxMessage};

/// The schema version that this code writes. Version 1 had no epoch and no identities; it is read as if both were new.
const SCHEMA_VERSION: i32 = 2;

/// A profile: free-form members of the application.
pub type ProfileMap = serde_json::Map<String, serde_json::Value>;

/// A user, without credentials.
#[derive(Clone, Debug)]
pub struct User {
    pub id: Uuid,
    pub email: EmailAddress,
    pub email_verified: bool,
    pub roles: Roles,
    pub status: Status,
    /// Free-form members of the application.
    pub profile: ProfileMap,
    /// Grows with every change that a reader can see.
    pub version: u64,
    /// Grows when all earlier grants must end.
    pub epoch: u64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// The status of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Disabled,
    Deleted,
}

/// A user to insert.
pub struct NewUser {
    pub id: Uuid,
    pub email: EmailAddress,
    pub email_verified: bool,
    /// `None` for a user who logs in another way.
    pub password_hash: Option<String>,
    /// The user's name at another issuer.
    pub identity_key: Option<String>,
    pub roles: Roles,
    pub now: OffsetDateTime,
}

/// The outcome of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Yes,
    /// Another user has this address, or this identity.
    Taken,
}

/// The document. Private: only [`User`] leaves this module.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity_keys: Option<Vec<String>>,
    roles: Roles,
    is_deleted: bool,
    is_disabled: bool,
    profile: ProfileMap,
    #[serde(default)]
    outbox: Vec<Document>,
    #[serde(default)]
    epoch: i64,
    schema_version: i32,
    version: i64,
    created_at: DateTime,
    updated_at: DateTime,
}

impl From<UserDocument> for User {
    fn from(document: UserDocument) -> Self {
        let status = match (document.is_deleted, document.is_disabled) {
            (true, _) => Status::Deleted,
            (false, true) => Status::Disabled,
            (false, false) => Status::Active,
        };
        Self {
            id: from_bson_id(document.id),
            email: document.email,
            email_verified: document.email_verified,
            roles: document.roles,
            status,
            profile: document.profile,
            version: document.version.unsigned_abs(),
            epoch: document.epoch.unsigned_abs(),
            created_at: from_bson_time(document.created_at),
            updated_at: from_bson_time(document.updated_at),
        }
    }
}

impl From<&NewUser> for UserDocument {
    fn from(user: &NewUser) -> Self {
        let now = to_bson_time(user.now);
        Self {
            id: to_bson_id(user.id),
            email: user.email.clone(),
            email_key: Some(user.email.key()),
            email_verified: user.email_verified,
            password_hash: user.password_hash.clone(),
            identity_keys: user.identity_key.clone().map(|key| vec![key]),
            roles: user.roles.clone(),
            is_deleted: false,
            is_disabled: false,
            profile: ProfileMap::new(),
            outbox: Vec::new(),
            epoch: 0,
            schema_version: SCHEMA_VERSION,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Adds a user, and a message to the outbox, in one write.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.insert", skip_all)]
#[boxed]
pub async fn insert(
    mongodb: &Mongodb,
    user: &NewUser,
    message: Option<&OutboxMessage>,
) -> Result<Inserted, StoreError> {
    let mut document = UserDocument::from(user);
    document.outbox = message.map(|message| user_outbox::entry(message, user.now)).into_iter().collect();
    match users(mongodb).await?.insert_one(&document).await {
        Ok(_) => Ok(Inserted::Yes),
        Err(error) if is_duplicate_key(&error) => Ok(Inserted::Taken),
        Err(error) => Err(error.into()),
    }
}

/// Adds the users whose ids do not exist yet. Idempotent.
///
/// # Errors
/// When the store does not answer, or another user has one of the addresses.
#[tracing::instrument(name = "users.insert_missing", skip_all)]
#[boxed]
pub async fn insert_missing(mongodb: &Mongodb, new: &[NewUser]) -> Result<(), StoreError> {
    let users = users(mongodb).await?;
    let ids: Vec<bson::Uuid> = new.iter().map(|user| to_bson_id(user.id)).collect();
    let found = users.distinct("_id", doc! { "_id": { "$in": ids } }).await?;
    let is_missing = |user: &&NewUser| !found.contains(&to_bson_id(user.id).into());
    let documents: Vec<UserDocument> = new.iter().filter(is_missing).map(UserDocument::from).collect();
    if !documents.is_empty() {
        users.insert_many(&documents).await?;
    }
    Ok(())
}

/// The user with this id, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find", skip_all)]
#[boxed]
pub async fn find(mongodb: &Mongodb, id: Uuid) -> Result<Option<User>, StoreError> {
    find_active(mongodb, doc! { "_id": to_bson_id(id) }).await
}

/// The user with this address, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_by_address", skip_all)]
#[boxed]
pub async fn find_by_address(mongodb: &Mongodb, email: &EmailAddress) -> Result<Option<User>, StoreError> {
    find_active(mongodb, doc! { "emailKey": email.key() }).await
}

/// The user that holds this address, disabled or not.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_holder", skip_all)]
#[boxed]
pub async fn find_holder(mongodb: &Mongodb, email: &EmailAddress) -> Result<Option<User>, StoreError> {
    let filter = doc! { "emailKey": email.key() };
    Ok(users(mongodb).await?.find_one(filter).projection(visible()).await?.map(User::from))
}

/// Adds a message to the outbox of the user that holds this address, if there is one.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.add_message", skip_all)]
#[boxed]
pub async fn add_message(
    mongodb: &Mongodb,
    email: &EmailAddress,
    message: &OutboxMessage,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let change = doc! { "$push": { "outbox": user_outbox::entry(message, now) } };
    users(mongodb).await?.update_one(doc! { "emailKey": email.key() }, change).await?;
    Ok(())
}

async fn find_active(mongodb: &Mongodb, filter: Document) -> Result<Option<User>, StoreError> {
    let found = users(mongodb).await?.find_one(filter).projection(visible()).await?.map(User::from);
    Ok(found.filter(|user| user.status == Status::Active))
}

/// A filter's condition: neither deleted nor disabled.
fn active() -> Document {
    doc! { "isDeleted": false, "isDisabled": false }
}

/// A projection without the fields that stay in this module.
fn visible() -> Document {
    doc! { "outbox": 0, "passwordHash": 0, "verification": 0, "reset": 0 }
}

/// Changes the one user that the filter matches, with a new version: `set`, and the other operators in `also`. Returns
/// the changed user.
async fn change(
    mongodb: &Mongodb,
    filter: Document,
    set: Document,
    also: Document,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let users = users(mongodb).await?;
    let changed = users.find_one_and_update(filter, visibly(set, also, now));
    Ok(changed.projection(visible()).return_document(ReturnDocument::After).await?.map(User::from))
}

/// An update that readers see: it increments the version.
fn visibly(mut set: Document, mut also: Document, now: OffsetDateTime) -> Document {
    set.insert("updatedAt", to_bson_time(now));
    set.insert("schemaVersion", SCHEMA_VERSION);
    let mut increments = also.get_document("$inc").cloned().unwrap_or_default();
    increments.insert("version", 1_i64);
    also.insert("$inc", increments);
    also.insert("$set", set);
    also
}

/// For `also`: the end of all earlier grants.
fn new_epoch() -> Document {
    doc! { "$inc": { "epoch": 1_i64 } }
}

async fn users(mongodb: &Mongodb) -> Result<Collection<UserDocument>, StoreError> {
    Ok(mongodb.database().await?.collection("users"))
}
