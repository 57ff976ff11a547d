//! `GET /v1/users/me`: the caller's own profile, through the cache.

use shared::{
    api::users::{Profile, UsersMeGet},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key, Versioned},
        mongodb::users,
    },
};

shared::lambda!(UsersMeGet, handle);

async fn handle(needs: Needs, req: Request<UsersMeGet>) -> Result<Reply<Profile>, ApiError> {
    let id = req.caller.user_id;
    let load = async {
        let user = users::find(&needs.mongodb, id).await?;
        Ok(user.map(|user| Versioned { version: user.version, value: Profile::from(user) }))
    };
    let cached = cache::read(&needs.redis, &req.ambient, Key::user(id), load).await?;
    // A token may outlive its user by minutes: then the caller is unauthenticated.
    let Versioned { version, value } = cached.found.ok_or(Problem::Unauthenticated)?;
    Ok(Reply::json(value).header("x-cache", cached.status.as_str()).version(version))
}
