//! `GET /v1/users/{id}`: one user, as admins see one.

use shared::{
    api::users::{ManagedUser, UsersGet},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::mongodb::users,
};

shared::lambda!(UsersGet, handle);

async fn handle(needs: Needs, req: Request<UsersGet>) -> Result<Reply<ManagedUser>, ApiError> {
    let user = users::find_any(&needs.mongodb, req.path.id).await?.ok_or(Problem::NotFound)?;
    let version = user.version;
    Ok(Reply::versioned(ManagedUser::from(user), version))
}
