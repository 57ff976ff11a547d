//! `GET /v1/users/{id}`: one user, as admins see one.

use shared::{
    api::users::{ManagedUser, UsersGet},
    contract::entity_tag,
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::mongodb::users,
};

shared::lambda!(UsersGet, handle);

async fn handle(needs: Needs, req: Request<UsersGet>) -> Result<Reply<ManagedUser>, ApiError> {
    let user = users::find_any(&needs.mongodb, req.path.id).await?.ok_or(Problem::NotFound)?;
    let tag = entity_tag(user.version);
    Ok(Reply::from(ManagedUser::from(user)).header("etag", tag))
}
