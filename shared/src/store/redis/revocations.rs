//! Revocations of access tokens, in Redis: the authorizer checks them at every request.
//!
//! An access token names its session and the session's generation. An entry holds the least valid generation of a
//! session, and lives as long as an access token could. The durable part is in MongoDB: an ended session cannot be
//! refreshed. So while Redis is down, an access token lives out its ten minutes at most, and nothing else.

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

/// Longer than an access token lives, clock skew included.
const TTL_SECONDS: i64 = ACCESS_TOKEN_LIFETIME.whole_seconds() + 60;
/// A generation that no session reaches.
const UNREACHED_GENERATION: u64 = u64::MAX;

/// Revokes a session's access tokens of earlier generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    session_id: Uuid,
    least_generation: u64,
}

impl Revocation {
    /// Revokes all access tokens of a session, because it ended.
    #[must_use]
    pub const fn of_session(session_id: Uuid) -> Self {
        Self { session_id, least_generation: UNREACHED_GENERATION }
    }

    /// Revokes the access tokens of a session up to this generation, because their claims are outdated. The session
    /// goes on.
    #[must_use]
    pub const fn up_to(session_id: Uuid, generation: u64) -> Self {
        Self { session_id, least_generation: generation.saturating_add(1) }
    }
}

fn key(session_id: Uuid) -> String {
    format!("souk:revoked:{session_id}")
}

/// Revokes access tokens. Call it after the commit of the change, before the reply. Best effort: a failure is logged.
#[tracing::instrument(name = "revocations.add", skip_all)]
#[boxed]
pub async fn add(redis: &Redis, revocations: &[Revocation]) {
    let all = revocations.iter().map(async |revocation| {
        let mut command = redis::cmd("SET");
        command.arg(key(revocation.session_id)).arg(revocation.least_generation).arg("EX").arg(TTL_SECONDS);
        redis.send_idempotent::<()>(&command).await
    });
    for error in join_all(all).await.into_iter().filter_map(Result::err) {
        tracing::error!(%error, "revoked access tokens stay valid until they expire");
    }
}

/// The authorizer's view: read access to revocations, and to nothing else in Redis.
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
    /// Whether a session's access token of this generation is revoked. Fails open: `false` while Redis does not answer.
    #[tracing::instrument(name = "revocations.hold", skip_all)]
    #[boxed]
    pub async fn hold(&self, session_id: Uuid, generation: u64) -> bool {
        let found: Result<Option<u64>, StoreError> =
            self.0.send_idempotent(redis::cmd("GET").arg(key(session_id))).await;
        match found {
            Ok(least) => least.is_some_and(|least| generation < least),
            Err(error) => {
                tracing::error!(%error, "fails open: a revoked token stays valid until it expires");
                false
            }
        }
    }
}
