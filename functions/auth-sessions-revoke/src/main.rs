//! `DELETE /v1/auth/sessions`: ends all of the caller's sessions, this one included.

use shared::{
    api::auth::AuthSessionsRevoke, auth::session, contract::NoContent, error::ApiError, lambda::Request,
    store::mongodb::sessions::EndReason,
};

shared::lambda!(AuthSessionsRevoke, handle);

async fn handle(needs: Needs, req: Request<AuthSessionsRevoke>) -> Result<NoContent, ApiError> {
    let (user_id, now) = (req.caller.user_id, req.ambient.now());
    session::end_all(&needs.mongodb, &needs.redis, user_id, None, EndReason::LoggedOut, now).await?;
    Ok(NoContent)
}
