//! Account linking: the consequences for an account once its address is proven.
//!
//! Every proof of an address ends in [`prove`]: the code of a registration, a login code, a reset code, an OpenID
//! provider.

use uuid::Uuid;

use crate::{
    ambient::Ambient,
    auth::session,
    boxed,
    email::EmailAddress,
    error::{ApiError, Problem},
    identity::{Role, Roles},
    messaging::OutboxMessage,
    store::{
        Mongodb, Redis,
        cache::{self, Key},
        mongodb::{
            sessions::EndReason,
            users::{self, Inserted, NewUser, PasswordProof, Status, User},
        },
    },
};

/// How often a proof is tried again after losing a race against another request for the same account.
const ATTEMPTS: u32 = 3;

/// A proof that an address belongs to its user.
pub enum Proof<'a> {
    /// The hash of the code from a registration's mail.
    VerificationCode(&'a [u8]),
    /// A login code, mailed to this address and redeemed.
    LoginCode(&'a EmailAddress),
    /// The hash of a reset code, for a new password.
    ResetCode {
        user_id: Uuid,
        code_hash: &'a [u8],
        password_hash: &'a str,
        /// The notice of the change to its user.
        message: &'a OutboxMessage,
    },
    /// The statement of an OpenID provider.
    Provider(&'a ProviderIdentity),
}

/// A user's identity at an OpenID provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderIdentity {
    /// Issuer and subject: stable, unlike the address.
    pub key: String,
    /// The address, if the provider has verified it. An unverified address proves nothing.
    pub verified_email: Option<EmailAddress>,
}

/// Takes a proof and updates the account: the user whose address it proves.
///
/// # Errors
/// [`Problem::InvalidCode`] and [`Problem::InvalidCredentials`] for an invalid or expired proof; when a store does not
/// answer.
#[boxed]
pub async fn prove(
    mongodb: &Mongodb,
    redis: &Redis,
    proof: Proof<'async_recursion>,
    ambient: &Ambient,
) -> Result<User, ApiError> {
    match proof {
        Proof::VerificationCode(hash) => {
            let user = users::verify_email(mongodb, hash, ambient.now()).await?.ok_or(Problem::InvalidCode)?;
            cache::invalidate(redis, Key::user(user.id), user.version).await;
            Ok(user)
        }
        Proof::LoginCode(email) => {
            users::find_by_address(mongodb, email).await?.ok_or_else(|| Problem::InvalidCredentials.into())
        }
        Proof::ResetCode { user_id, code_hash, password_hash, message } => {
            let (proof, now) = (PasswordProof::ResetCode(code_hash), ambient.now());
            let changed = users::replace_password(mongodb, user_id, proof, password_hash, message, now).await?;
            let user = changed.ok_or(Problem::InvalidCode)?;
            session::end_with_epoch(mongodb, redis, user.id, None, EndReason::PasswordChanged, now).await;
            cache::invalidate(redis, Key::user(user.id), user.version).await;
            Ok(user)
        }
        Proof::Provider(identity) => {
            // Optimistic concurrency: another request may have taken the identity or the address since it was read, so
            // it is read again.
            for _ in 0..ATTEMPTS {
                if let Some(user) = find_or_create(mongodb, redis, identity, ambient).await? {
                    return Ok(user);
                }
            }
            Err(Problem::InvalidCredentials.into())
        }
    }
}

/// The user with this identity; else the one with its verified address, which is then linked; else a new one. `None` if
/// another request won the race.
async fn find_or_create(
    mongodb: &Mongodb,
    redis: &Redis,
    identity: &ProviderIdentity,
    ambient: &Ambient,
) -> Result<Option<User>, ApiError> {
    if let Some(user) = users::find_by_identity(mongodb, &identity.key).await? {
        return active(user).map(Some);
    }
    let email = identity.verified_email.as_ref().ok_or(Problem::InvalidCredentials)?;
    match users::find_holder(mongodb, email).await? {
        Some(user) => link(mongodb, redis, &active(user)?, &identity.key, ambient).await,
        None => create(mongodb, email, identity.key.clone(), ambient).await,
    }
}

fn active(user: User) -> Result<User, ApiError> {
    if user.status == Status::Active { Ok(user) } else { Err(Problem::InvalidCredentials.into()) }
}

async fn link(
    mongodb: &Mongodb,
    redis: &Redis,
    user: &User,
    key: &str,
    ambient: &Ambient,
) -> Result<Option<User>, ApiError> {
    let Some(linked) = users::link_identity(mongodb, user, key, ambient.now()).await? else { return Ok(None) };
    cache::invalidate(redis, Key::user(linked.id), linked.version).await;
    if !user.email_verified {
        // Account pre-hijacking: the unverified registration may be an attacker's, so its sessions end now that the
        // provider vouches for its own user.
        session::end_with_epoch(mongodb, redis, user.id, None, EndReason::AccessWithdrawn, ambient.now()).await;
    }
    Ok(Some(linked))
}

async fn create(
    mongodb: &Mongodb,
    email: &EmailAddress,
    key: String,
    ambient: &Ambient,
) -> Result<Option<User>, ApiError> {
    let new = NewUser {
        id: ambient.id(),
        email: email.clone(),
        email_verified: true,
        password_hash: None,
        identity_key: Some(key),
        roles: Roles(vec![Role::Customer]),
        now: ambient.now(),
    };
    match users::insert(mongodb, &new, None).await? {
        Inserted::Yes => Ok(users::find(mongodb, new.id).await?),
        Inserted::Taken => Ok(None),
    }
}
