//! `POST /v1/orders/{id}/cancel`: an order is cancelled before it ships, by its buyer or by staff.
//!
//! Stock returns exactly once, however often this is called.

use shared::{
    api::orders::{Order, OrdersCancel},
    error::{ApiError, Problem},
    identity::permission::OrdersCancelAny,
    lambda::Request,
    order::{self, CancelledBy, OrderCancelled},
    store::{
        cache::{self, product_keys},
        mysql::{
            UnitOfWork,
            orders::{self, Changed},
            retry_contention,
        },
        outbox::send_committed,
    },
};

shared::lambda!(OrdersCancel, handle);

async fn handle(needs: Needs, req: Request<OrdersCancel>) -> Result<Order, ApiError> {
    retry_contention(&req.ambient, || cancel(&needs, &req)).await
}

async fn cancel(needs: &Needs, req: &Request<OrdersCancel>) -> Result<Order, ApiError> {
    let (now, caller) = (req.ambient.now(), &req.caller);
    let reason = req.body.0.as_ref().and_then(|cancellation| cancellation.reason.as_deref());
    let scope = caller.scope::<OrdersCancelAny>();

    let mut work = UnitOfWork::begin(&needs.mysql, now).await?;
    let changed = orders::cancel(&mut work, scope, req.path.id, caller.user_id, reason).await?;
    let (order, product_versions) = match changed {
        Changed::Yes { order, product_versions, .. } => (order, product_versions),
        Changed::Already(order) => return Ok(Order::from(&order)),
        Changed::Refused(status) => {
            return Err(ApiError::new(Problem::InvalidTransition, format!("It is {} already", status.as_str())));
        }
        Changed::NotFound => return Err(Problem::NotFound.into()),
    };
    let event = OrderCancelled::new(&order, by(&order, req, reason)?);
    let messages = vec![needs.events.message(req.ambient.id(), &req.trace, &event)?];
    work.commit(&messages).await?;

    cache::invalidate_all(&needs.redis, &product_keys(&product_versions)).await;
    req.after_reply(send_committed(needs.events.topic(), needs.mysql.clone(), messages, now));
    Ok(Order::from(&order))
}

/// The side that cancels; the buyer is owed a reason by the other one.
fn by(order: &order::Order, req: &Request<OrdersCancel>, reason: Option<&str>) -> Result<CancelledBy, ApiError> {
    match (order.user_id == req.caller.user_id, reason) {
        (true, _) => Ok(CancelledBy::Buyer),
        (false, Some(_)) => Ok(CancelledBy::Staff),
        (false, None) => Err(ApiError::field("reason", "is needed to cancel the order of another user")),
    }
}
