//! `POST /v1/auth/logout`: ends this session, here and at the authorizer.

use shared::{api::auth::AuthLogout, auth::session, contract::NoContent, error::ApiError, lambda::Request};

shared::lambda!(AuthLogout, handle);

async fn handle(needs: Needs, req: Request<AuthLogout>) -> Result<NoContent, ApiError> {
    let (owner, id) = (req.caller.owner(), req.caller.session_id);
    session::end(&needs.mongodb, &needs.redis, owner, id, req.ambient.now()).await?;
    Ok(NoContent)
}
