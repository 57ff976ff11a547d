//! `POST /v1/auth/verify-email`: verifies an address with the code from its mail.

use shared::{
    api::auth::AuthVerifyEmail,
    auth::account::{self, Proof},
    contract::NoContent,
    error::ApiError,
    lambda::Request,
};

shared::lambda!(AuthVerifyEmail, handle);

async fn handle(needs: Needs, req: Request<AuthVerifyEmail>) -> Result<NoContent, ApiError> {
    let code = req.body.code.hash();
    account::prove(&needs.mongodb, &needs.redis, Proof::VerificationCode(&code), &req.ambient).await?;
    Ok(NoContent)
}
