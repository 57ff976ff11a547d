//! `POST /v1/users/{id}/restore`: restores a deleted user, if the address is still free.

use shared::{
    api::users::{ManagedUser, UsersRestore},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key},
        mongodb::users::{self, Restored},
    },
};

shared::lambda!(UsersRestore, handle);

async fn handle(needs: Needs, req: Request<UsersRestore>) -> Result<Reply<ManagedUser>, ApiError> {
    let user = match users::restore(&needs.mongodb, req.path.id, req.ambient.now()).await? {
        Restored::Yes(user) => user,
        Restored::NotFound => return Err(Problem::NotFound.into()),
        Restored::Taken => return Err(Problem::EmailTaken.into()),
    };
    cache::invalidate(&needs.redis, Key::user(user.id), user.version).await;
    let version = user.version;
    Ok(Reply::versioned(ManagedUser::from(user), version))
}
