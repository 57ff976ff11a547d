//! `DELETE /v1/users/{id}`: an admin deletes somebody, softly.

use shared::{
    api::users::UsersDelete,
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

shared::lambda!(UsersDelete, handle);

async fn handle(needs: Needs, req: Request<UsersDelete>) -> Result<NoContent, ApiError> {
    let (id, now) = (req.path.id, req.ambient.now());
    let user = match users::delete(&needs.mongodb, id, now).await? {
        Managed::Changed(user) => user,
        Managed::NotFound => return Err(Problem::NotFound.into()),
        Managed::LastAdmin => return Err(Problem::LastAdmin.into()),
    };
    session::end_all(&needs.mongodb, &needs.redis, id, None, EndReason::AccessWithdrawn, now).await;
    cache::invalidate(&needs.redis, Key::user(id), user.version).await;
    Ok(NoContent)
}
