//! `POST /v1/auth/refresh`: new tokens for a refresh token, which works once.
//!
//! One that is used again was stolen, or its thief was faster: its session ends, whoever holds what.

use shared::{
    api::auth::{AuthRefresh, Tokens},
    auth::{
        refresh_token::RefreshToken,
        session::{self, Refreshed},
    },
    error::{ApiError, Problem},
    lambda::Request,
    store::revocations::{self, Revocation},
};

shared::lambda!(AuthRefresh, handle);

async fn handle(needs: Needs, req: Request<AuthRefresh>) -> Result<Tokens, ApiError> {
    let presented = RefreshToken::parse(&req.body.refresh_token).ok_or(Problem::InvalidRefreshToken)?;
    let held = match session::refresh(&needs.mongodb, &presented, needs.grace, &req.ambient).await? {
        Refreshed::Yes(held) => held,
        Refreshed::No => return Err(Problem::InvalidRefreshToken.into()),
        Refreshed::Reused { session_id } => {
            revocations::add(&needs.redis, &[Revocation::of_session(session_id)]).await;
            return Err(Problem::InvalidRefreshToken.into());
        }
    };
    let granted = session::grant(&needs.mongodb, &needs.tokens, &held, &req.ambient).await?;
    Ok(granted.ok_or(Problem::InvalidRefreshToken)?.into())
}
