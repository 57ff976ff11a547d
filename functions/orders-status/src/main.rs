//! `PATCH /v1/orders/{id}/status`: staff confirm, ship and deliver, and the buyer is told.

use shared::order;
use shared::{
    api::orders::{Order, OrdersStatus},
    error::{ApiError, Problem},
    lambda::Request,
    messaging::OutboxMessage,
    notification::{Notification, NotificationQueue},
    store::{
        mysql,
        mysql::{
            orders::{self, Changed},
            retry_contention,
        },
        outbox::send_after_commit,
    },
};

shared::lambda!(OrdersStatus, handle);

async fn handle(needs: Needs, req: Request<OrdersStatus>) -> Result<Order, ApiError> {
    let (id, next, now) = (req.path.id, req.body.status.into(), req.ambient.now());
    let message_id = req.ambient.id();
    let announce = |order: &order::Order| {
        let told = Notification::progress(order).into_iter();
        told.map(|told| OutboxMessage::new::<NotificationQueue>(message_id, &req.trace, told)).collect()
    };
    let advance = || orders::advance(&needs.mysql, id, next, now, announce);
    match retry_contention(&req.ambient, advance).await? {
        Changed::Yes { order, messages, .. } => {
            for told in &messages {
                send_after_commit(&needs.notification, told, mysql::outbox::mark_sent(&needs.mysql, told.id, now))
                    .await;
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
