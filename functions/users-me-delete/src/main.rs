//! `DELETE /v1/users/me`: the caller's account is gone, softly, and so are all its sessions.

use shared::{
    api::users::UsersMeDelete,
    auth::session,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        cache::{self, Key},
        sessions::EndReason,
        users::{self, Managed},
    },
};

shared::lambda!(UsersMeDelete, handle);

async fn handle(needs: Needs, req: Request<UsersMeDelete>) -> Result<NoContent, ApiError> {
    let (id, now) = (req.caller.user_id, req.ambient.now());
    let user = match users::delete(&needs.mongodb, id, now).await? {
        Managed::Changed(user) => user,
        Managed::NotFound => return Err(Problem::Unauthenticated.into()),
        Managed::LastAdmin => return Err(Problem::LastAdmin.into()),
    };
    session::end_all(&needs.mongodb, &needs.redis, id, None, EndReason::AccessWithdrawn, now).await;
    cache::invalidate(&needs.redis, Key::user(id), user.version).await;
    Ok(NoContent)
}
