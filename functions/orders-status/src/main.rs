//! `PATCH /v1/orders/{id}/status`: staff confirm, ship and deliver.

use shared::{
    api::orders::{Order, OrdersStatus},
    error::{ApiError, Problem},
    identity::Scope,
    lambda::Request,
    order::OrderStatusChanged,
    store::{
        mysql::{
            UnitOfWork,
            orders::{self, Changed},
            retry_contention,
        },
        outbox::send_committed,
    },
};

shared::lambda!(OrdersStatus, handle);

async fn handle(needs: Needs, req: Request<OrdersStatus>) -> Result<Order, ApiError> {
    retry_contention(&req.ambient, || advance(&needs, &req)).await
}

async fn advance(needs: &Needs, req: &Request<OrdersStatus>) -> Result<Order, ApiError> {
    let now = req.ambient.now();
    let mut work = UnitOfWork::begin(&needs.mysql, now).await?;
    let changed = orders::advance(&mut work, Scope::Everybody, req.path.id, req.body.status.into()).await?;
    let (order, from) = match changed {
        Changed::Yes { order, from, .. } => (order, from),
        Changed::Already(order) => return Ok(Order::from(&order)),
        Changed::Refused(status) => {
            return Err(ApiError::new(Problem::InvalidTransition, format!("It is {}", status.as_str())));
        }
        Changed::NotFound => return Err(Problem::NotFound.into()),
    };
    let event = OrderStatusChanged::new(&order, from);
    let messages = vec![needs.events.message(req.ambient.id(), &req.trace, &event)?];
    work.commit(&messages).await?;

    req.after_reply(send_committed(needs.events.topic(), needs.mysql.clone(), messages, now));
    Ok(Order::from(&order))
}
