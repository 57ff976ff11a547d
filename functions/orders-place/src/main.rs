//! `POST /v1/orders`: an order, placed once however often it is sent.
//!
//! Idempotency key, stock, order and event are one transaction. The event leaves after the reply; what fails there is left to the
//! relay.

use shared::{
    api::orders::{Order, OrdersPlace},
    error::ApiError,
    lambda::{Once, Reply, Request},
    order::OrderPlaced,
    store::{
        cache::{self, product_keys},
        mysql::{orders, retry_contention},
        outbox::send_committed,
    },
};

shared::lambda!(OrdersPlace, handle);

async fn handle(needs: Needs, req: Request<OrdersPlace>) -> Result<Reply<Order>, ApiError> {
    retry_contention(&req.ambient, || place(&needs, &req)).await
}

async fn place(needs: &Needs, req: &Request<OrdersPlace>) -> Result<Reply<Order>, ApiError> {
    let mut work = match req.begin(&needs.mysql).await? {
        Once::First(work) => work,
        Once::Repeated(reply) => return Ok(reply),
    };
    let now = work.now();
    let new = req.body.new_order(req.ambient.id(), req.caller.user_id, now);
    let (order, product_versions) = orders::place(&mut work, &new).await??;
    let event = needs.events.message(req.ambient.id(), &req.trace, &OrderPlaced::from(&order))?;
    let messages = vec![event];
    let reply = req.commit(work, &Order::from(&order), &messages).await?;

    cache::invalidate_all(&needs.redis, &product_keys(&product_versions)).await;
    req.after_reply(send_committed(needs.events.topic(), needs.mysql.clone(), messages, now));
    Ok(reply)
}
