//! `POST /v1/orders`: an order, placed once however often it is sent.
//!
//! Stock, order, outbox rows and idempotency record change in one transaction. What follows the commit may fail: mail and
//! notification are then left to the relay, the cache to its expiry.

use shared::{
    api::orders::{Order, OrdersPlace},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    mail::{Content, Email, Recipient},
    notification::Notification,
    queue::{EmailQueue, NotificationQueue, Outgoing, send_after_commit},
    store::{
        cache::{self, Key},
        idempotency::Claim,
        orders::{self, NewOrder, PlaceError},
        outbox, retry_contention,
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
    let finish = |order: &orders::Order| {
        let items = u32::try_from(order.items.len()).unwrap_or(u32::MAX);
        let content = Content::OrderPlaced { order_id: order.id, total: order.total, items };
        let mail = Email { to: Recipient::User(order.user_id), content };
        let mail = Outgoing::new::<EmailQueue>(mail_id, &req.trace, mail)?;
        let told = Notification::placed(order);
        let told = Outgoing::new::<NotificationQueue>(notification_id, &req.trace, told)?;
        Ok((serde_json::to_string(&Order::from(order)).map_err(ApiError::internal)?, [mail, told]))
    };
    let placed = retry_contention(&req.ambient, || orders::place(&needs.mysql, &new, &claim, finish)).await;
    let (placed, reply, [mail, told]) = placed.map_err(problem)?;

    // Side by side: a queue that does not answer costs its patience once.
    tokio::join!(
        send_after_commit(&needs.email, &mail, outbox::sent_at_once(&needs.mysql, mail.id, now)),
        send_after_commit(&needs.notification, &told, outbox::sent_at_once(&needs.mysql, told.id, now)),
    );
    for (id, version) in placed.product_versions {
        cache::invalidate(&needs.redis, Key::product(id), version).await;
    }
    Ok(reply)
}

fn problem(error: PlaceError) -> ApiError {
    match error {
        PlaceError::NoSuchProduct(id) => ApiError::field("lines", format!("there is no product {id}")),
        PlaceError::OutOfStock(id) => {
            ApiError::new(Problem::OutOfStock, format!("There is not enough of product {id}"))
        }
        PlaceError::MixedCurrencies => ApiError::field("lines", "takes products priced in one currency"),
        PlaceError::TotalTooLarge => ApiError::field("lines", "comes to more than an order can be worth"),
        PlaceError::LeaseLost => Problem::RequestInProgress.into(),
        PlaceError::Reply(error) => error,
        PlaceError::Store(error) => error.into(),
    }
}
