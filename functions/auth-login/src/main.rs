//! `POST /v1/auth/login`: a session for an authenticated user, by one of several strategies.

use shared::{
    api::auth::{AuthLogin, Tokens},
    auth::session,
    error::{ApiError, Problem},
    lambda::Request,
};

shared::lambda!(AuthLogin, handle);

async fn handle(needs: Needs, req: Request<AuthLogin>) -> Result<Tokens, ApiError> {
    let identity = needs.logins.authenticate(req.body, &req.ambient).await?;
    let held = session::begin(&needs.mongodb, &identity, &req.client, &req.ambient).await?;
    let granted = session::grant(&needs.mongodb, &needs.tokens, &held, &req.ambient).await?;
    Ok(granted.ok_or(Problem::InvalidCredentials)?.into())
}
