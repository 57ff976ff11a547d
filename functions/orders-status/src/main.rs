//! `PATCH /v1/orders/{id}/status`: staff confirm, ship and deliver, and the buyer is told.

use shared::{
    api::orders::{Order, OrdersStatus},
    error::{ApiError, Problem},
    lambda::Request,
    notification::Notification,
    queue::{NotificationQueue, Outgoing, send_after_commit},
    store::{
        orders::{self, Changed},
        outbox, retry_contention,
    },
};

shared::lambda!(OrdersStatus, handle);

async fn handle(needs: Needs, req: Request<OrdersStatus>) -> Result<Order, ApiError> {
    let (id, next, now) = (req.path.id, req.body.status.into(), req.ambient.now());
    let message_id = req.ambient.id();
    let announce = |order: &orders::Order| {
        let told = Notification::progress(order).into_iter();
        told.map(|told| Outgoing::new::<NotificationQueue>(message_id, &req.trace, told)).collect()
    };
    let advance = || orders::advance(&needs.mysql, id, next, now, announce);
    match retry_contention(&req.ambient, advance).await? {
        Changed::Yes { order, messages, .. } => {
            for told in &messages {
                send_after_commit(&needs.notification, told, outbox::sent_at_once(&needs.mysql, told.id, now)).await;
            }
            Ok(Order::from(&order))
        }
        Changed::Already(order) => Ok(Order::from(&order)),
        Changed::Refused(status) => {
            Err(ApiError::new(Problem::InvalidTransition, format!("It is {}", status.as_str())))
        }
        Changed::NotFound => Err(Problem::NotFound.into()),
    }
}
