//! `DELETE /v1/users/{id}`: an admin deletes a user (soft deletion).

use shared::{
    api::users::UsersDelete,
    auth::session,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
};

shared::lambda!(UsersDelete, handle);

async fn handle(needs: Needs, req: Request<UsersDelete>) -> Result<NoContent, ApiError> {
    let was_there = session::end_with_user(&needs.mongodb, &needs.redis, req.path.id, req.ambient.now()).await?;
    if was_there { Ok(NoContent) } else { Err(Problem::NotFound.into()) }
}
