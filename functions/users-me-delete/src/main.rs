//! `DELETE /v1/users/me`: deletes the caller's account (soft deletion) and ends all its sessions.

use shared::{
    api::users::UsersMeDelete,
    auth::session,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
};

shared::lambda!(UsersMeDelete, handle);

async fn handle(needs: Needs, req: Request<UsersMeDelete>) -> Result<NoContent, ApiError> {
    let was_there = session::end_with_user(&needs.mongodb, &needs.redis, req.caller.user_id, req.ambient.now()).await?;
    if was_there { Ok(NoContent) } else { Err(Problem::Unauthenticated.into()) }
}
