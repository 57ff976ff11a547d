//! `POST /v1/auth/logout`: this session is over, here and at the authorizer.

use shared::{
    api::auth::AuthLogout,
    contract::NoContent,
    error::ApiError,
    lambda::Request,
    store::{
        revocations::{self, Revocation},
        sessions::{self, EndReason},
    },
};

shared::lambda!(AuthLogout, handle);

async fn handle(needs: Needs, req: Request<AuthLogout>) -> Result<NoContent, ApiError> {
    let (owner, id) = (req.caller.owner(), req.caller.session_id);
    sessions::end(&needs.mongodb, owner, id, EndReason::LoggedOut, req.ambient.now()).await?;
    revocations::add(&needs.redis, &[Revocation::of_session(id)]).await;
    Ok(NoContent)
}
