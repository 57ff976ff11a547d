//! `POST /v1/auth/refresh`: new tokens for a refresh token, which works once.
//!
//! A reused token was stolen, or its thief was faster: the session ends in either case.

use shared::{
    api::auth::{AuthRefresh, Tokens},
    auth::session,
    error::{ApiError, Problem},
    identity::RefreshToken,
    lambda::Request,
};

shared::lambda!(AuthRefresh, handle);

async fn handle(needs: Needs, req: Request<AuthRefresh>) -> Result<Tokens, ApiError> {
    let presented = RefreshToken::parse(&req.body.refresh_token).ok_or(Problem::InvalidRefreshToken)?;
    let held = session::refresh(&needs.mongodb, &needs.redis, &presented, needs.grace, &req.ambient).await?;
    let held = held.ok_or(Problem::InvalidRefreshToken)?;
    let granted = session::grant(&needs.mongodb, &needs.tokens, &held, &req.ambient).await?;
    Ok(granted.ok_or(Problem::InvalidRefreshToken)?.into())
}
