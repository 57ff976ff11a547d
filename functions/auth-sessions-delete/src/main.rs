//! `DELETE /v1/auth/sessions/{id}`: ends one of the caller's sessions.

use shared::{
    api::auth::AuthSessionsDelete,
    auth::session,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
};

shared::lambda!(AuthSessionsDelete, handle);

async fn handle(needs: Needs, req: Request<AuthSessionsDelete>) -> Result<NoContent, ApiError> {
    let was_there =
        session::end(&needs.mongodb, &needs.redis, req.caller.owner(), req.path.id, req.ambient.now()).await?;
    if was_there { Ok(NoContent) } else { Err(Problem::NotFound.into()) }
}
