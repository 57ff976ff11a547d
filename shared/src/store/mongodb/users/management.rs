//! Administration of users: lists, roles and status; and changes of the own profile.

use futures_util::TryStreamExt;
use mongodb::{
    ClientSession,
    bson::{Document, doc, serialize_to_bson},
    error::{Error, TRANSIENT_TRANSACTION_ERROR},
    options::ReturnDocument,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ProfileMap, Status, User, UserDocument, active, change, new_epoch, users, visible, visibly};
use crate::{
    boxed,
    email::EmailAddress,
    identity::{Owner, Role, Roles},
    store::{
        Mongodb, StoreError,
        mongodb::{is_duplicate_key, to_bson_id, to_bson_number, to_bson_time},
    },
};

/// How often a change that removes an admin is tried against concurrent ones.
const MAX_ATTEMPTS: u32 = 10;
/// Prevents *write skew*: every transaction that removes an admin writes this document of the `guards` collection, so
/// that two of them conflict.
pub(in crate::store) const ADMINS_GUARD: &str = "admins";

/// Filters of a list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub role: Option<Role>,
    pub status: Option<Status>,
    /// Exactly this address, in any case.
    pub email: Option<EmailAddress>,
}

/// An admin's changes of a user; `None` leaves a value as it is.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub roles: Option<Roles>,
    pub disabled: Option<bool>,
}

/// The outcome of a change.
#[derive(Debug)]
pub enum UpdateByAdmin {
    Changed(User),
    /// There is no such user in this version.
    NotFound,
    /// No other user is an active admin.
    LastAdmin,
}

/// The outcome of a restoration.
#[derive(Debug)]
pub enum Restored {
    Yes(User),
    /// There is no such user, or the user is not deleted.
    NotFound,
    /// Another user has the address, or an identity, by now.
    Taken,
}

/// The users that match the filter, the newest first, after the user with the id `after`.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.list", skip_all)]
#[boxed]
pub async fn list(
    mongodb: &Mongodb,
    filter: &Filter,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<User>, StoreError> {
    let mut query = Document::new();
    if let Some(role) = filter.role {
        query.insert("roles", role.as_str());
    }
    if let Some(email) = &filter.email {
        query.insert("emailKey", email.key());
    }
    match filter.status {
        Some(Status::Active) => query.extend(active()),
        Some(Status::Disabled) => query.extend(doc! { "isDeleted": false, "isDisabled": true }),
        Some(Status::Deleted) => query.extend(doc! { "isDeleted": true }),
        None => {}
    }
    if let Some(after) = after {
        query.insert("_id", doc! { "$lt": to_bson_id(after) });
    }
    let users = users(mongodb).await?;
    let found = users.find(query).sort(doc! { "_id": -1 }).limit(limit.into()).projection(visible()).await?;
    let found: Vec<UserDocument> = found.try_collect().await?;
    Ok(found.into_iter().map(User::from).collect())
}

/// The user with this id, deleted or not.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_any", skip_all)]
#[boxed]
pub async fn find_any(mongodb: &Mongodb, id: Uuid) -> Result<Option<User>, StoreError> {
    let filter = doc! { "_id": to_bson_id(id) };
    Ok(users(mongodb).await?.find_one(filter).projection(visible()).await?.map(User::from))
}

/// Optimistic locking: replaces the owner's profile, if it has this version. `None` if not.
///
/// # Errors
/// When the store does not answer, or cannot represent the profile.
#[tracing::instrument(name = "users.update_profile", skip_all)]
#[boxed]
pub async fn update_profile(
    mongodb: &Mongodb,
    owner: Owner,
    version: u64,
    profile: &ProfileMap,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let profile = serialize_to_bson(profile).map_err(|error| StoreError::from(Error::custom(error)))?;
    let mut filter = doc! { "_id": to_bson_id(owner.user_id()), "version": to_bson_number(version) };
    filter.extend(active());
    change(mongodb, filter, doc! { "profile": profile }, Document::new(), now).await
}

/// Optimistic locking: changes roles or status of a user who is not deleted, if the user has this version.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.update_by_admin", skip_all)]
#[boxed]
pub async fn update_by_admin(
    mongodb: &Mongodb,
    id: Uuid,
    version: u64,
    changes: &Changes,
    now: OffsetDateTime,
) -> Result<UpdateByAdmin, StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "version": to_bson_number(version), "isDeleted": false };
    let mut set = Document::new();
    if let Some(roles) = &changes.roles {
        set.insert("roles", roles.0.iter().map(|role| role.as_str()).collect::<Vec<_>>());
    }
    if let Some(disabled) = changes.disabled {
        set.insert("isDisabled", disabled);
    }
    let also = if changes.disabled == Some(true) { new_epoch() } else { Document::new() };
    let takes_admin =
        changes.disabled == Some(true) || changes.roles.as_ref().is_some_and(|roles| !roles.0.contains(&Role::Admin));
    if takes_admin {
        return change_unless_last_admin(mongodb, filter, id, set, also, now).await;
    }
    Ok(change(mongodb, filter, set, also, now).await?.map_or(UpdateByAdmin::NotFound, UpdateByAdmin::Changed))
}

/// Soft deletion: the document stays, its address and identities are free.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.delete", skip_all)]
#[boxed]
pub async fn delete(mongodb: &Mongodb, id: Uuid, now: OffsetDateTime) -> Result<UpdateByAdmin, StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "isDeleted": false };
    let mut also = new_epoch();
    also.insert("$unset", doc! { "emailKey": "", "verification": "", "reset": "" });
    also.insert("$rename", doc! { "identityKeys": "formerIdentityKeys" });
    change_unless_last_admin(mongodb, filter, id, doc! { "isDeleted": true, "deletedAt": to_bson_time(now) }, also, now)
        .await
}

/// Restores a deleted user, if the address is still free.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.restore", skip_all)]
#[boxed]
pub async fn restore(mongodb: &Mongodb, id: Uuid, now: OffsetDateTime) -> Result<Restored, StoreError> {
    let Some(user) = find_any(mongodb, id).await?.filter(|user| user.status == Status::Deleted) else {
        return Ok(Restored::NotFound);
    };
    let filter = doc! { "_id": to_bson_id(id), "isDeleted": true };
    let set = doc! { "isDeleted": false, "emailKey": user.email.key() };
    let also = doc! { "$unset": { "deletedAt": "" }, "$rename": { "formerIdentityKeys": "identityKeys" } };
    match change(mongodb, filter, set, also, now).await {
        Ok(user) => Ok(user.map_or(Restored::NotFound, Restored::Yes)),
        Err(StoreError::Failed { cause, .. }) if cause.downcast_ref().is_some_and(is_duplicate_key) => {
            Ok(Restored::Taken)
        }
        Err(error) => Err(error),
    }
}

/// A change after which its user is no active admin. Refused if no other is left.
async fn change_unless_last_admin(
    mongodb: &Mongodb,
    filter: Document,
    id: Uuid,
    set: Document,
    also: Document,
    now: OffsetDateTime,
) -> Result<UpdateByAdmin, StoreError> {
    let mut no_admin = filter.clone();
    no_admin.insert("roles", doc! { "$ne": Role::Admin.as_str() });
    if let Some(user) = change(mongodb, no_admin, set.clone(), also.clone(), now).await? {
        return Ok(UpdateByAdmin::Changed(user));
    }
    // The user is an admin, or does not match. Admins are counted and changed in one transaction at a time.
    let update = visibly(set, also, now);
    let mut attempt = 0;
    loop {
        attempt += 1;
        match in_transaction(mongodb, &filter, id, &update).await {
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) && attempt < MAX_ATTEMPTS => {
                tokio::time::sleep(std::time::Duration::from_millis(5 << attempt.min(5))).await;
            }
            Err(error) if error.contains_label(TRANSIENT_TRANSACTION_ERROR) => {
                return Err(StoreError::Contended { store: "MongoDB", cause: error.into() });
            }
            result => return Ok(result?),
        }
    }
}

async fn in_transaction(
    mongodb: &Mongodb,
    filter: &Document,
    id: Uuid,
    update: &Document,
) -> Result<UpdateByAdmin, Error> {
    let database = mongodb.database().await.map_err(Error::custom)?;
    let users = database.collection::<UserDocument>("users");
    let mut session: ClientSession = database.client().start_session().await?;
    session.start_transaction().await?;
    let guards = database.collection::<Document>("guards");
    let change_guard = doc! { "$inc": { "changes": 1_i64 } };
    guards.update_one(doc! { "_id": ADMINS_GUARD }, change_guard).session(&mut session).await?;

    let mut others = doc! { "roles": Role::Admin.as_str(), "_id": { "$ne": to_bson_id(id) } };
    others.extend(active());
    let other = users.find_one(others).projection(visible()).session(&mut session).await?;
    // A disabled admin does not count.
    let mut itself = doc! { "_id": to_bson_id(id) };
    itself.extend(active());
    let is_active = users.find_one(itself).projection(visible()).session(&mut session).await?.is_some();
    if other.is_none() && is_active {
        session.abort_transaction().await?;
        return Ok(UpdateByAdmin::LastAdmin);
    }
    let changed = users
        .find_one_and_update(filter.clone(), update.clone())
        .projection(visible())
        .return_document(ReturnDocument::After)
        .session(&mut session)
        .await?;
    let Some(changed) = changed else {
        session.abort_transaction().await?;
        return Ok(UpdateByAdmin::NotFound);
    };
    session.commit_transaction().await?;
    Ok(UpdateByAdmin::Changed(changed.into()))
}
