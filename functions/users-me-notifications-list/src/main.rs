//! `GET /v1/users/me/notifications`: the caller's notifications, the newest first, in pages.

use shared::{
    api::notifications::{Notification, UsersMeNotificationsList},
    error::ApiError,
    lambda::Request,
    page::{self, Page},
    store::mongodb::notifications,
};

shared::lambda!(UsersMeNotificationsList, handle);

async fn handle(needs: Needs, req: Request<UsersMeNotificationsList>) -> Result<Page<Notification>, ApiError> {
    let (query, owner) = (&req.query, req.caller.owner());
    let list = query.list(owner.user_id());
    let after = page::position(&needs.mac, &list, query.cursor.as_deref()).await?;
    // One item more than the page tells whether another page follows.
    let found = notifications::list(&needs.mongodb, owner, query.unread, after, query.limit + 1).await?;
    let found = found.into_iter().map(Notification::from).collect();
    Page::new(found, query.limit, &needs.mac, &list, |notification: &Notification| notification.id).await
}
