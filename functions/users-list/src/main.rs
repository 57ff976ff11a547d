//! `GET /v1/users`: users, the newest first, in pages.

use shared::{
    api::users::{ManagedUser, UsersList},
    error::ApiError,
    lambda::Request,
    page::{self, Page},
    store::mongodb::users,
};

shared::lambda!(UsersList, handle);

async fn handle(needs: Needs, req: Request<UsersList>) -> Result<Page<ManagedUser>, ApiError> {
    let (query, list) = (&req.query, req.query.list());
    let after = page::position(&needs.mac, &list, query.cursor.as_deref()).await?;
    // One item more than the page tells whether another page follows.
    let found = users::list(&needs.mongodb, &query.filter(), after, query.limit + 1).await?;
    let found = found.into_iter().map(ManagedUser::from).collect();
    Page::new(found, query.limit, &needs.mac, &list, |user: &ManagedUser| user.id).await
}
