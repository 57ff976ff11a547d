//! `DELETE /v1/auth/sessions/{id}`: one of the caller's sessions is over.

use shared::{
    api::auth::AuthSessionsDelete,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        revocations::{self, Revocation},
        sessions::{self, EndReason},
    },
};

shared::lambda!(AuthSessionsDelete, handle);

async fn handle(needs: Needs, req: Request<AuthSessionsDelete>) -> Result<NoContent, ApiError> {
    let (owner, id) = (req.caller.owner(), req.path.id);
    if !sessions::end(&needs.mongodb, owner, id, EndReason::LoggedOut, req.ambient.now()).await? {
        return Err(Problem::NotFound.into());
    }
    revocations::add(&needs.redis, &[Revocation::of_session(id)]).await;
    Ok(NoContent)
}
