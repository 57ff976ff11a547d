//! `PATCH /v1/users/{id}`: an admin changes a user's roles, or disables or enables the user.
//!
//! Disabling ends all sessions. After a change of roles sessions go on, and access tokens with the old roles are
//! revoked.

use shared::{
    api::users::{ManagedUser, UsersUpdate},
    auth::session,
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key},
        mongodb::{
            sessions::EndReason,
            users::{self, Changes, UpdateByAdmin},
        },
    },
};

shared::lambda!(UsersUpdate, handle);

async fn handle(needs: Needs, req: Request<UsersUpdate>) -> Result<Reply<ManagedUser>, ApiError> {
    let (id, version, now) = (req.path.id, req.if_match, req.ambient.now());
    if id == req.caller.user_id {
        return Err(ApiError::new(Problem::Forbidden, "Nobody changes their own roles or status"));
    }
    users::find_any(&needs.mongodb, id).await?.ok_or(Problem::NotFound)?;
    let changes = Changes::from(req.body);
    let user = match users::update_by_admin(&needs.mongodb, id, version, &changes, now).await? {
        UpdateByAdmin::Changed(user) => user,
        UpdateByAdmin::NotFound => return Err(Problem::PreconditionFailed.into()),
        UpdateByAdmin::LastAdmin => return Err(Problem::LastAdmin.into()),
    };
    if changes.disabled == Some(true) {
        session::end_with_epoch(&needs.mongodb, &needs.redis, id, None, EndReason::AccessWithdrawn, now).await;
    } else if changes.roles.is_some() {
        session::outdate_access_tokens(&needs.mongodb, &needs.redis, id).await;
    }
    cache::invalidate(&needs.redis, Key::user(id), user.version).await;
    let version = user.version;
    Ok(Reply::versioned(ManagedUser::from(user), version))
}
