//! `GET /v1/orders/{id}`: one order, for its owner and for those who may see everybody's.

use shared::{
    api::orders::{Order, OrdersGet},
    error::{ApiError, Problem},
    identity::permission::OrdersReadAll,
    lambda::Request,
    store::mysql::orders,
};

shared::lambda!(OrdersGet, handle);

async fn handle(needs: Needs, req: Request<OrdersGet>) -> Result<Order, ApiError> {
    let scope = req.caller.scope::<OrdersReadAll>();
    let order = orders::find(&needs.mysql, scope, req.path.id).await?.ok_or(Problem::NotFound)?;
    Ok(Order::from(&order))
}
