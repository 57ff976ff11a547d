//! Account linking: what follows for an account when its address is proven, by whichever proof.
//!
//! Every way to prove an address ends in [`prove`]: the code of a registration, a login code, a reset code, an OpenID provider.

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

/// How often a proof is tried again while another request changes the same account.
const ATTEMPTS: u32 = 3;

/// What proves that an address is its user's.
pub enum Proof<'a> {
    /// The hash of the code from a registration's mail.
    VerificationCode(&'a [u8]),
    /// A login code that was mailed to this address, and redeemed.
    LoginCode(&'a EmailAddress),
    /// The hash of a reset code, for a new password.
    ResetCode {
        user_id: Uuid,
        code_hash: &'a [u8],
        password_hash: &'a str,
        /// What has to be sent about it.
        message: &'a OutboxMessage,
    },
    /// An OpenID provider's word.
    Provider(&'a ProviderIdentity),
}

/// A user, as an OpenID provider knows one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderIdentity {
    /// Issuer and subject: never changes, unlike the address.
    pub key: String,
    /// An address that the provider has verified. One that it has not proves nothing, and says nothing about its owner here.
    pub verified_email: Option<EmailAddress>,
}

/// Takes a proof: the user whose address it proves, with everything that follows for the account done.
///
/// # Errors
/// [`Problem::InvalidCode`] and [`Problem::InvalidCredentials`] for a proof that does not hold, or not any more; when a store does
/// not answer.
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
            // Another request may have taken the identity or the address since it was looked up: the next look finds whose it is.
            for _ in 0..ATTEMPTS {
                if let Some(user) = find_or_create(mongodb, redis, identity, ambient).await? {
                    return Ok(user);
                }
            }
            Err(Problem::InvalidCredentials.into())
        }
    }
}

/// The user with this identity; else the one with its verified address, which is then linked; else a new one. `None` if another request
/// did the same at the same time.
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
        // The registration with this address has not shown that it is theirs; now the provider has, of its own user.
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
