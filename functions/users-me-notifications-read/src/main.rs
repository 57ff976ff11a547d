//! `POST /v1/users/me/notifications/{id}/read`: marks a notification as read. Idempotent.

use shared::{
    api::notifications::UsersMeNotificationsRead,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    store::mongodb::notifications,
};

shared::lambda!(UsersMeNotificationsRead, handle);

async fn handle(needs: Needs, req: Request<UsersMeNotificationsRead>) -> Result<NoContent, ApiError> {
    let (owner, id, now) = (req.caller.owner(), req.path.id, req.ambient.now());
    if notifications::mark_read(&needs.mongodb, owner, id, now).await? {
        Ok(NoContent)
    } else {
        Err(Problem::NotFound.into())
    }
}
