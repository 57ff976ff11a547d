//! `DELETE /v1/auth/sessions`: the caller is logged out everywhere, here too.

use shared::{
    api::auth::AuthSessionsRevoke,
    contract::NoContent,
    error::ApiError,
    lambda::Request,
    store::{
        revocations::{self, Revocation},
        sessions::{self, EndReason},
    },
};

shared::lambda!(AuthSessionsRevoke, handle);

async fn handle(needs: Needs, req: Request<AuthSessionsRevoke>) -> Result<NoContent, ApiError> {
    let (user_id, now) = (req.caller.user_id, req.ambient.now());
    let ended = sessions::end_all(&needs.mongodb, user_id, None, EndReason::LoggedOut, now).await?;
    let revocations: Vec<_> = ended.into_iter().map(Revocation::of_session).collect();
    revocations::add(&needs.redis, &revocations).await;
    Ok(NoContent)
}
