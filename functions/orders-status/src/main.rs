//! `PATCH /v1/orders/{id}/status`: staff confirm, ship and deliver.

use shared::{
    api::orders::{Order, OrdersStatus},
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        orders::{self, Changed},
        retry_contention,
    },
};

shared::lambda!(OrdersStatus, handle);

async fn handle(needs: Needs, req: Request<OrdersStatus>) -> Result<Order, ApiError> {
    let (id, next, now) = (req.path.id, req.body.status.into(), req.ambient.now());
    let advance = || orders::advance(&needs.mysql, id, next, now);
    match retry_contention(&req.ambient, advance).await? {
        Changed::Yes { order, .. } | Changed::Already(order) => Ok(Order::from(&order)),
        Changed::Refused(status) => {
            Err(ApiError::new(Problem::InvalidTransition, format!("It is {}", status.as_str())))
        }
        Changed::NotFound => Err(Problem::NotFound.into()),
    }
}
