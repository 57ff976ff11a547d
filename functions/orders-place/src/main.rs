//! `POST /v1/orders`: an order, placed once however often it is sent.
//!
//! Stock, order, outbox rows and idempotency record change in one transaction. What follows the commit may fail: mail and
//! notification are then left to the relay, the cache to its expiry.

use shared::order;
use shared::{
    api::orders::{Order, OrdersPlace},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    mail::{Content, Email, EmailQueue, Recipient},
    messaging::OutboxMessage,
    notification::{Notification, NotificationQueue},
    order::{NewOrder, OrderError},
    store::{
        cache::{self, Key},
        mysql,
        mysql::{
            idempotency_keys::Claim,
            orders::{self, PlaceError},
            retry_contention,
        },
        outbox::send_after_commit,
    },
};

shared::lambda!(OrdersPlace, handle);

async fn handle(needs: Needs, req: Request<OrdersPlace>) -> Result<Reply<Order>, ApiError> {
    req.once(&needs.mysql, |claim| place(&needs, &req, claim)).await
}

async fn place(needs: &Needs, req: &Request<OrdersPlace>, claim: Claim) -> Result<String, ApiError> {
    let now = req.ambient.now();
    let lines = req.body.lines.iter().map(|line| (line.product_id, line.quantity)).collect();
    let new = NewOrder { id: req.ambient.id(), user_id: req.caller.user_id, lines, now };
    let (mail_id, notification_id) = (req.ambient.id(), req.ambient.id());
    let finish = |order: &order::Order| {
        let items = u32::try_from(order.items.len()).unwrap_or(u32::MAX);
        let content = Content::OrderPlaced { order_id: order.id, total: order.total, items };
        let mail = Email { to: Recipient::User(order.user_id), content };
        let mail = OutboxMessage::new::<EmailQueue>(mail_id, &req.trace, mail)?;
        let told = Notification::placed(order);
        let told = OutboxMessage::new::<NotificationQueue>(notification_id, &req.trace, told)?;
        Ok((serde_json::to_string(&Order::from(order)).map_err(ApiError::internal)?, [mail, told]))
    };
    let placed = retry_contention(&req.ambient, || orders::place(&needs.mysql, &new, &claim, finish)).await;
    let (placed, reply, [mail, told]) = placed.map_err(problem)?;

    // Side by side: a queue that does not answer costs its patience once.
    tokio::join!(
        send_after_commit(&needs.email, &mail, mysql::outbox::mark_sent(&needs.mysql, mail.id, now)),
        send_after_commit(&needs.notification, &told, mysql::outbox::mark_sent(&needs.mysql, told.id, now)),
    );
    for (id, version) in placed.product_versions {
        cache::invalidate(&needs.redis, Key::product(id), version).await;
    }
    Ok(reply)
}

fn problem(error: PlaceError) -> ApiError {
    match error {
        PlaceError::Order(OrderError::NoSuchProduct(id)) => {
            ApiError::field("lines", format!("there is no product {id}"))
        }
        PlaceError::Order(OrderError::OutOfStock(id)) => {
            ApiError::new(Problem::OutOfStock, format!("There is not enough of product {id}"))
        }
        PlaceError::Order(OrderError::MixedCurrencies) => {
            ApiError::field("lines", "takes products priced in one currency")
        }
        PlaceError::Order(OrderError::TotalTooLarge) => {
            ApiError::field("lines", "comes to more than an order can be worth")
        }
        PlaceError::LeaseLost => Problem::RequestInProgress.into(),
        PlaceError::Reply(error) => error,
        PlaceError::Store(error) => error.into(),
    }
}
