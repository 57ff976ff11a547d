//! The caller of a request, by its access token: for the authorizer, and for functions without a gateway in front.

use super::token::TokenVerifier;
use crate::identity::Caller;
use crate::{
    ambient::Ambient,
    contract::{Access, Requirements, Resource, ResourceContext},
    environment::ConfigError,
    error::Problem,
    store::redis::revocations::Revocations,
};

/// Authenticates callers by their access tokens.
#[derive(Clone)]
pub struct Authenticator {
    tokens: TokenVerifier,
    revocations: Revocations,
    ambient: Ambient,
}

impl Resource for Authenticator {
    fn requirements() -> Vec<Requirements> {
        [TokenVerifier::requirements(), Revocations::requirements()].concat()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { tokens: context.get()?, revocations: context.get()?, ambient: context.ambient.clone() })
    }

    async fn warm(&self) {
        self.revocations.warm().await;
    }
}

impl Authenticator {
    /// The caller of a valid token, if the access rule lets it in. Revocation fails open: while Redis does not answer,
    /// a token counts until it expires.
    ///
    /// # Errors
    /// [`Problem::Unauthenticated`] for a missing, invalid, expired or revoked token, [`Problem::Forbidden`] for a
    /// caller without the permission.
    pub async fn authenticate(&self, access: Access, token: Option<&str>) -> Result<Caller, Problem> {
        let now = self.ambient.now();
        let token = token.and_then(|token| self.tokens.verify(token, now)).ok_or(Problem::Unauthenticated)?;
        access.check(Some(&token.caller))?;
        if self.revocations.hold(token.caller.session_id, token.generation).await {
            return Err(Problem::Unauthenticated);
        }
        Ok(token.caller)
    }
}

/// The token of an `Authorization` header (RFC 6750). The scheme's case does not matter (RFC 9110, 11.1).
#[must_use]
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
