//! Access tokens that must not be used any more, in Redis: the authorizer looks here at every request.
//!
//! An access token names its session and how often that was refreshed (its generation). An entry says the least generation of
//! a session that is still good, and lives as long as an access token could. What must last is in MongoDB: a session that ended
//! cannot be refreshed. So while Redis is out, an access token lives out its ten minutes at most, and nothing else.

use crate::identity::ACCESS_TOKEN_LIFETIME;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{ConnectionSource, RevocationReader};
use crate::store::{Redis, StoreError};
use crate::{
    boxed,
    contract::{Requirements, Resource, ResourceContext},
    environment::ConfigError,
};

/// Longer than an access token lives, leeway included.
const TTL_SECONDS: i64 = ACCESS_TOKEN_LIFETIME.whole_seconds() + 60;
/// The generation that no session reaches.
const UNREACHED_GENERATION: u64 = u64::MAX;

/// A session's access tokens of generations before this one are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    session_id: Uuid,
    least_generation: u64,
}

impl Revocation {
    /// All access tokens of a session: it ended.
    #[must_use]
    pub const fn of_session(session_id: Uuid) -> Self {
        Self { session_id, least_generation: UNREACHED_GENERATION }
    }

    /// The access tokens of a session up to this generation: they say what is no longer so. The session goes on, with the next one.
    #[must_use]
    pub const fn up_to(session_id: Uuid, generation: u64) -> Self {
        Self { session_id, least_generation: generation.saturating_add(1) }
    }
}

fn key(session_id: Uuid) -> String {
    format!("souk:revoked:{session_id}")
}

/// Has the authorizer refuse access tokens. Call it after what it follows from was committed, before the reply.
#[tracing::instrument(name = "revocations.add", skip_all)]
#[boxed]
pub async fn add(redis: &Redis, revocations: &[Revocation]) {
    let all = revocations.iter().map(async |revocation| {
        let mut command = redis::cmd("SET");
        command.arg(key(revocation.session_id)).arg(revocation.least_generation).arg("EX").arg(TTL_SECONDS);
        redis.send_idempotent::<()>(&command).await
    });
    for error in join_all(all).await.into_iter().filter_map(Result::err) {
        tracing::error!(%error, "access tokens that should be refused live on until they expire");
    }
}

/// The authorizer's view: it may read revocations, and nothing else of what Redis holds.
#[derive(Clone)]
pub struct Revocations(Redis<RevocationReader>);

impl Resource for Revocations {
    fn requirements() -> Vec<Requirements> {
        RevocationReader::requirements()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        context.get().map(Self)
    }

    async fn warm(&self) {
        self.0.warm().await;
    }
}

impl Revocations {
    /// Whether a session's access token of this generation is refused. Where Redis does not answer, it is not.
    #[tracing::instrument(name = "revocations.hold", skip_all)]
    #[boxed]
    pub async fn hold(&self, session_id: Uuid, generation: u64) -> bool {
        let found: Result<Option<u64>, StoreError> =
            self.0.send_idempotent(redis::cmd("GET").arg(key(session_id))).await;
        match found {
            Ok(least) => least.is_some_and(|least| generation < least),
            Err(error) => {
                tracing::error!(%error, "not known whether the token was revoked: it counts until it expires");
                false
            }
        }
    }
}
