//! Sessions: they begin with a login and go on by refresh token rotation (RFC 9700, 4.14).

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{strategy::Identity, token::TokenSigner};
use crate::identity::{AccessToken, Caller, Owner, RefreshToken};
use crate::{
    ambient::Ambient,
    boxed,
    contract::{Requirements, Resource, ResourceContext},
    environment::{self, ConfigError},
    error::{ApiError, Problem},
    identity::Client,
    store::{
        Mongodb, Redis, StoreError,
        cache::{self, Key},
        mongodb::{
            sessions::{self, EndReason, NewSession, Session, TokenState},
            users::{self, CurrentGrants, UpdateByAdmin},
        },
        redis::revocations::{self, Revocation},
    },
};

const GRACE: &str = "SOUK_REFRESH_GRACE_SECONDS";

/// The grace period of a rotated refresh token, which still gets its successor: for clients that refresh twice
/// concurrently.
#[derive(Clone, Copy, Debug)]
pub struct RefreshGrace(pub Duration);

impl Resource for RefreshGrace {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements { environment: &[GRACE], grants: &[] }]
    }

    fn open(_: &ResourceContext) -> Result<Self, ConfigError> {
        environment::parsed(GRACE).map(|seconds: u32| Self(Duration::seconds(seconds.into())))
    }
}

/// A session with its current refresh token.
pub struct SessionWithToken {
    pub session: Session,
    pub token: RefreshToken,
}

/// An access token and a refresh token.
pub struct TokenPair {
    pub access_token: String,
    pub refresh_token: String,
    pub refresh_token_expires_at: OffsetDateTime,
}

/// Begins a session for an authenticated user.
///
/// # Errors
/// When the store does not answer.
#[boxed]
pub async fn begin(
    mongodb: &Mongodb,
    identity: &Identity,
    client: &Client,
    ambient: &Ambient,
) -> Result<SessionWithToken, StoreError> {
    let token = RefreshToken::new(ambient);
    let new = NewSession {
        id: ambient.id(),
        user_id: identity.user_id,
        epoch: identity.epoch,
        token: &token,
        network: &client.network,
        user_agent: &client.user_agent,
        now: ambient.now(),
    };
    let session = sessions::insert(mongodb, new).await?;
    Ok(SessionWithToken { session, token })
}

/// Exchanges a refresh token for its successor. Of concurrent requests one rotates; the others get the same successor.
/// `None` for an invalid token or an ended session; reuse of an old token ends the session.
///
/// # Errors
/// When the store does not answer.
#[boxed]
pub async fn refresh(
    mongodb: &Mongodb,
    redis: &Redis,
    presented: &RefreshToken,
    grace: RefreshGrace,
    ambient: &Ambient,
) -> Result<Option<SessionWithToken>, StoreError> {
    // Optimistic locking: the loser of a race against another rotation finds its result in the second round.
    for _ in 0..2 {
        let now = ambient.now();
        let Some(session) = sessions::find_by_token(mongodb, presented).await? else { return Ok(None) };
        match session.classify(presented, grace.0, now) {
            TokenState::Ended => return Ok(None),
            TokenState::Reused => {
                tracing::warn!(session_id = %session.id, user_id = %session.user_id, "a refresh token was used twice: its session ends");
                sessions::end_reused(mongodb, session.id, now).await?;
                revocations::add(redis, &[Revocation::of_session(session.id)]).await;
                return Ok(None);
            }
            TokenState::WithinGrace(salt) => {
                return Ok(Some(SessionWithToken { session, token: presented.successor(&salt) }));
            }
            TokenState::Current => {
                let (salt, mut session) = (ambient.bytes(), session);
                if sessions::rotate(mongodb, &session, presented, &salt, now).await? {
                    session.generation += 1;
                    return Ok(Some(SessionWithToken { session, token: presented.successor(&salt) }));
                }
            }
        }
    }
    Ok(None)
}

/// Issues the tokens of a session, with the user's current grants. `None` if the user has none any more.
///
/// Reads the user after the session was written. A change of a user writes the user first and reads the sessions
/// afterwards, so that one of the two sees the other.
///
/// # Errors
/// When the store does not answer, or the signing key is not available.
#[boxed]
pub async fn grant(
    mongodb: &Mongodb,
    signer: &TokenSigner,
    held: &SessionWithToken,
    ambient: &Ambient,
) -> Result<Option<TokenPair>, ApiError> {
    let SessionWithToken { session, token } = held;
    let Some(CurrentGrants { roles, epoch }) = users::current_grants(mongodb, session.user_id).await? else {
        return Ok(None);
    };
    if epoch != session.epoch {
        return Ok(None);
    }
    let caller = Caller { user_id: session.user_id, session_id: session.id, roles };
    let access_token = AccessToken { caller, generation: session.generation };
    Ok(Some(TokenPair {
        access_token: signer.sign(&access_token, ambient.id(), ambient.now()).await?,
        refresh_token: token.text(),
        refresh_token_expires_at: session.expires_at,
    }))
}

/// Ends one of the owner's sessions, here and at the authorizer. `false` if there is no such session, or it has ended.
///
/// # Errors
/// When the store does not answer.
#[boxed]
pub async fn end(
    mongodb: &Mongodb,
    redis: &Redis,
    owner: Owner,
    session_id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, StoreError> {
    let ended = sessions::end(mongodb, owner, session_id, EndReason::LoggedOut, now).await?;
    if ended {
        revocations::add(redis, &[Revocation::of_session(session_id)]).await;
    }
    Ok(ended)
}

/// Deletes a user and ends all its sessions. `false` if there is no such user.
///
/// # Errors
/// [`Problem::LastAdmin`] for the last admin; when the store does not answer.
#[boxed]
pub async fn end_with_user(
    mongodb: &Mongodb,
    redis: &Redis,
    user_id: Uuid,
    now: OffsetDateTime,
) -> Result<bool, ApiError> {
    let user = match users::delete(mongodb, user_id, now).await? {
        UpdateByAdmin::Changed(user) => user,
        UpdateByAdmin::NotFound => return Ok(false),
        UpdateByAdmin::LastAdmin => return Err(Problem::LastAdmin.into()),
    };
    end_with_epoch(mongodb, redis, user_id, None, EndReason::AccessWithdrawn, now).await;
    cache::invalidate(redis, Key::user(user_id), user.version).await;
    Ok(true)
}

/// Ends a user's sessions except `kept`, here and at the authorizer.
///
/// # Errors
/// When the store does not answer.
#[boxed]
pub async fn end_all(
    mongodb: &Mongodb,
    redis: &Redis,
    user_id: Uuid,
    kept: Option<Uuid>,
    reason: EndReason,
    now: OffsetDateTime,
) -> Result<(), StoreError> {
    let ended = sessions::end_all(mongodb, user_id, kept, reason, now).await?;
    let revocations: Vec<_> = ended.into_iter().map(Revocation::of_session).collect();
    revocations::add(redis, &revocations).await;
    Ok(())
}

/// As [`end_all`], after a write that began a new epoch of the user. The epoch already ends the sessions; a failure
/// here leaves access tokens valid until they expire.
#[boxed]
pub async fn end_with_epoch(
    mongodb: &Mongodb,
    redis: &Redis,
    user_id: Uuid,
    kept: Option<Uuid>,
    reason: EndReason,
    now: OffsetDateTime,
) {
    if let Err(error) = end_all(mongodb, redis, user_id, kept, reason, now).await {
        tracing::error!(%error, %user_id, "access tokens stay valid until they expire");
    }
}

/// Revokes a user's access tokens after a change of what they claim. The sessions go on.
#[boxed]
pub async fn outdate_access_tokens(mongodb: &Mongodb, redis: &Redis, user_id: Uuid) {
    match sessions::generations(mongodb, user_id).await {
        Ok(sessions) => {
            let revocations: Vec<_> =
                sessions.into_iter().map(|(id, generation)| Revocation::up_to(id, generation)).collect();
            revocations::add(redis, &revocations).await;
        }
        Err(error) => tracing::error!(%error, %user_id, "access tokens stay valid until they expire"),
    }
}
