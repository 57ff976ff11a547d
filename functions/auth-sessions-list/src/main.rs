//! `GET /v1/auth/sessions`: the caller's sessions.

use shared::{
    api::auth::{AuthSessionsList, Session, Sessions},
    error::ApiError,
    lambda::Request,
    store::mongodb::sessions,
};

shared::lambda!(AuthSessionsList, handle);

async fn handle(needs: Needs, req: Request<AuthSessionsList>) -> Result<Sessions, ApiError> {
    let current = req.caller.session_id;
    let found = sessions::list(&needs.mongodb, req.caller.owner(), req.ambient.now()).await?;
    Ok(Sessions { items: found.into_iter().map(|session| Session::of(session, current)).collect() })
}
