//! `POST /v1/auth/verify-email`: the address is its user's, since the code from its mail came back.

use shared::{
    api::auth::AuthVerifyEmail,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        cache::{self, Key},
        mongodb::users,
    },
};

shared::lambda!(AuthVerifyEmail, handle);

async fn handle(needs: Needs, req: Request<AuthVerifyEmail>) -> Result<NoContent, ApiError> {
    let verified = users::verify_email(&needs.mongodb, &req.body.code.hash(), req.ambient.now()).await?;
    let user = verified.ok_or(Problem::InvalidCode)?;
    cache::invalidate(&needs.redis, Key::user(user.id), user.version).await;
    Ok(NoContent)
}
