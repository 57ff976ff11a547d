//! `POST /v1/orders/{id}/cancel`: the buyer takes an order back before it ships.
//!
//! Stock returns exactly once, however often this is called.

use shared::{
    api::orders::{Order, OrdersCancel},
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        cache::{self, Key},
        mysql::{
            orders::{self, Changed},
            retry_contention,
        },
    },
};

shared::lambda!(OrdersCancel, handle);

async fn handle(needs: Needs, req: Request<OrdersCancel>) -> Result<Order, ApiError> {
    let (owner, id, now) = (req.caller.owner(), req.path.id, req.ambient.now());
    let cancel = || orders::cancel(&needs.mysql, owner, id, now);
    match retry_contention(&req.ambient, cancel).await? {
        Changed::Yes { order, product_versions, .. } => {
            for (id, version) in product_versions {
                cache::invalidate(&needs.redis, Key::product(id), version).await;
            }
            Ok(Order::from(&order))
        }
        Changed::Already(order) => Ok(Order::from(&order)),
        Changed::Refused(status) => {
            Err(ApiError::new(Problem::InvalidTransition, format!("It is {} already", status.as_str())))
        }
        Changed::NotFound => Err(Problem::NotFound.into()),
    }
}
