//! A user's credentials: password, codes from mails, identities at other issuers.

use mongodb::bson::{Document, doc};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Status, User, active, change, find_active, new_epoch, users, visible};
use crate::{
    boxed,
    email::EmailAddress,
    identity::{MailCodeProof, Roles},
    messaging::OutboxMessage,
    store::{
        Mongodb, StoreError,
        mongodb::{is_duplicate_key, to_binary, to_bson_id, to_bson_number, to_bson_time, user_outbox},
    },
};

/// A user with the password's hash.
pub struct LoginUser {
    pub user: User,
    /// `None` for a user without a password.
    pub password_hash: Option<String>,
}

/// A user's current grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentGrants {
    pub roles: Roles,
    pub epoch: u64,
}

/// The authorisation to set a new password.
pub enum PasswordProof<'a> {
    /// The hash of a reset code, which is consumed. It came by mail, so it also proves the address.
    ResetCode(&'a [u8]),
    /// The hash of the current password.
    PresentHash(&'a str),
}

/// The user with this address and the password's hash, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_for_login", skip_all)]
#[boxed]
pub async fn find_for_login(mongodb: &Mongodb, email: &EmailAddress) -> Result<Option<LoginUser>, StoreError> {
    with_hash(mongodb, doc! { "emailKey": email.key() }).await
}

/// The user with this id and the password's hash, unless deleted or disabled.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_with_password", skip_all)]
#[boxed]
pub async fn find_with_password(mongodb: &Mongodb, id: Uuid) -> Result<Option<LoginUser>, StoreError> {
    with_hash(mongodb, doc! { "_id": to_bson_id(id) }).await
}

/// The user with this identity at another issuer, deleted or not.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_by_identity", skip_all)]
#[boxed]
pub async fn find_by_identity(mongodb: &Mongodb, identity_key: &str) -> Result<Option<User>, StoreError> {
    let filter = doc! { "identityKeys": identity_key };
    Ok(users(mongodb).await?.find_one(filter).projection(visible()).await?.map(User::from))
}

/// The user's current grants. `None` for a deleted or disabled user.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.current_grants", skip_all)]
#[boxed]
pub async fn current_grants(mongodb: &Mongodb, id: Uuid) -> Result<Option<CurrentGrants>, StoreError> {
    let user = find_active(mongodb, doc! { "_id": to_bson_id(id) }).await?;
    Ok(user.map(|User { roles, epoch, .. }| CurrentGrants { roles, epoch }))
}

/// Stores the proof of a verification code; an earlier code is void.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.set_verification_code", skip_all)]
#[boxed]
pub async fn set_verification_code(mongodb: &Mongodb, id: Uuid, proof: &MailCodeProof) -> Result<(), StoreError> {
    set_code(mongodb, id, "verification", proof).await
}

/// Stores the proof of a reset code; an earlier code is void.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.set_reset_code", skip_all)]
#[boxed]
pub async fn set_reset_code(mongodb: &Mongodb, id: Uuid, proof: &MailCodeProof) -> Result<(), StoreError> {
    set_code(mongodb, id, "reset", proof).await
}

/// Consumes a verification code: its user's address is verified. `None` for an unknown or expired code.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.verify_email", skip_all)]
#[boxed]
pub async fn verify_email(mongodb: &Mongodb, hash: &[u8], now: OffsetDateTime) -> Result<Option<User>, StoreError> {
    let mut filter = holder_of("verification", hash, now);
    filter.extend(active());
    change(mongodb, filter, doc! { "emailVerified": true }, doc! { "$unset": { "verification": "" } }, now).await
}

/// The user with this reset code. `None` for an unknown or expired code.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.find_by_reset_code", skip_all)]
#[boxed]
pub async fn find_by_reset_code(
    mongodb: &Mongodb,
    hash: &[u8],
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    find_active(mongodb, holder_of("reset", hash, now)).await
}

/// Sets a new password, begins a new epoch, and adds a message to the outbox, in one write. `None` if the proof is not
/// valid any more.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.replace_password", skip_all)]
#[boxed]
pub async fn replace_password<'a>(
    mongodb: &'a Mongodb,
    id: Uuid,
    proof: PasswordProof<'a>,
    password_hash: &str,
    message: &OutboxMessage,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let mut set = doc! { "passwordHash": password_hash };
    let mut filter = match proof {
        PasswordProof::ResetCode(hash) => {
            set.insert("emailVerified", true);
            holder_of("reset", hash, now)
        }
        PasswordProof::PresentHash(hash) => doc! { "passwordHash": hash },
    };
    filter.insert("_id", to_bson_id(id));
    filter.extend(active());
    let mut also = new_epoch();
    also.insert("$unset", doc! { "reset": "" });
    also.insert("$push", doc! { "outbox": user_outbox::entry(message, now) });
    change(mongodb, filter, set, also, now).await
}

/// Upgrades a password's hash to newer parameters, unless the password was changed meanwhile.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.upgrade_hash", skip_all)]
#[boxed]
pub async fn upgrade_hash(mongodb: &Mongodb, id: Uuid, old: &str, new: &str) -> Result<(), StoreError> {
    let filter = doc! { "_id": to_bson_id(id), "passwordHash": old };
    users(mongodb).await?.update_one(filter, doc! { "$set": { "passwordHash": new } }).await?;
    Ok(())
}

/// Links an identity at another issuer to a user whose address that issuer has verified.
///
/// Account pre-hijacking: if the user has not verified the address here, the registration may be an attacker's, so its
/// password and its grants end. `None` if the user was changed meanwhile, or another user has this identity.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "users.link_identity", skip_all)]
#[boxed]
pub async fn link_identity(
    mongodb: &Mongodb,
    user: &User,
    identity_key: &str,
    now: OffsetDateTime,
) -> Result<Option<User>, StoreError> {
    let mut filter = doc! { "_id": to_bson_id(user.id), "version": to_bson_number(user.version) };
    filter.extend(active());
    let mut also = if user.email_verified { Document::new() } else { new_epoch() };
    also.insert("$addToSet", doc! { "identityKeys": identity_key });
    if !user.email_verified {
        also.insert("$unset", doc! { "passwordHash": "", "verification": "", "reset": "" });
    }
    match change(mongodb, filter, doc! { "emailVerified": true }, also, now).await {
        Err(StoreError::Failed { cause, .. }) if cause.downcast_ref().is_some_and(is_duplicate_key) => Ok(None),
        result => result,
    }
}

async fn with_hash(mongodb: &Mongodb, filter: Document) -> Result<Option<LoginUser>, StoreError> {
    let projection = doc! { "outbox": 0, "verification": 0, "reset": 0 };
    let Some(mut document) = users(mongodb).await?.find_one(filter).projection(projection).await? else {
        return Ok(None);
    };
    let password_hash = document.password_hash.take();
    Ok(Some(LoginUser { user: document.into(), password_hash }).filter(|found| found.user.status == Status::Active))
}

async fn set_code(mongodb: &Mongodb, id: Uuid, field: &str, proof: &MailCodeProof) -> Result<(), StoreError> {
    let code = doc! { "codeHash": to_binary(proof.hash.clone()), "expiresAt": to_bson_time(proof.expires_at) };
    let mut filter = doc! { "_id": to_bson_id(id) };
    filter.extend(active());
    users(mongodb).await?.update_one(filter, doc! { "$set": { field: code } }).await?;
    Ok(())
}

fn holder_of(field: &str, hash: &[u8], now: OffsetDateTime) -> Document {
    doc! { format!("{field}.codeHash"): to_binary(hash.to_vec()), format!("{field}.expiresAt"): { "$gt": to_bson_time(now) } }
}
