//! `GET /v1/orders`: the caller's orders, or everybody's, the newest first, in pages.

use shared::{
    api::orders::{Order, OrdersList},
    error::ApiError,
    identity::permission::OrdersReadAll,
    lambda::Request,
    page::{self, Page},
    store::mysql::orders,
};

shared::lambda!(OrdersList, handle);

async fn handle(needs: Needs, req: Request<OrdersList>) -> Result<Page<Order>, ApiError> {
    let (query, scope) = (&req.query, req.caller.scope::<OrdersReadAll>());
    let list = query.list(scope);
    let after = page::position(&needs.mac, &list, query.cursor.as_deref()).await?;
    // One more than the page has says whether there is another page.
    let found = orders::list(&needs.mysql, scope, query.status, after, query.limit + 1).await?;
    let found = found.iter().map(Order::from).collect();
    Page::new(found, query.limit, &needs.mac, &list, |order: &Order| order.id).await
}
