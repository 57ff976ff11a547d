//! `PATCH /v1/users/me`: changes the caller's own profile, with optimistic locking.

use shared::{
    api::users::{Profile, UsersMeUpdate},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key},
        mongodb::users,
    },
};

shared::lambda!(UsersMeUpdate, handle);

async fn handle(needs: Needs, req: Request<UsersMeUpdate>) -> Result<Reply<Profile>, ApiError> {
    let (owner, version) = (req.caller.owner(), req.if_match);
    let user = users::find(&needs.mongodb, owner.user_id()).await?.ok_or(Problem::Unauthenticated)?;
    if user.version != version {
        return Err(Problem::PreconditionFailed.into());
    }
    let profile = req.body.apply_to(user.profile)?;
    let changed = users::update_profile(&needs.mongodb, owner, version, &profile, req.ambient.now()).await?;
    let user = changed.ok_or(Problem::PreconditionFailed)?;
    cache::invalidate(&needs.redis, Key::user(user.id), user.version).await;
    let version = user.version;
    Ok(Reply::versioned(Profile::from(user), version))
}
