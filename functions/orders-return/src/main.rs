//! `POST /v1/orders/{id}/return`: units of a delivered order come back, once however often the request is sent.
//!
//! Idempotency key, items, stock and event are one transaction.

use shared::{
    api::orders::{Order, OrdersReturn},
    error::{ApiError, Problem},
    lambda::{Once, Reply, Request},
    order::OrderReturned,
    store::{
        cache::{self, product_keys},
        mysql::{
            orders::{self, TakenBack},
            retry_contention,
        },
        outbox::send_committed,
    },
};

shared::lambda!(OrdersReturn, handle);

async fn handle(needs: Needs, req: Request<OrdersReturn>) -> Result<Reply<Order>, ApiError> {
    retry_contention(&req.ambient, || take_back(&needs, &req)).await
}

async fn take_back(needs: &Needs, req: &Request<OrdersReturn>) -> Result<Reply<Order>, ApiError> {
    let mut work = match req.begin(&needs.mysql).await? {
        Once::First(work) => work,
        Once::Repeated(reply) => return Ok(reply),
    };
    let (now, lines) = (work.now(), req.body.units());
    let taken_back = orders::take_back(&mut work, req.path.id, lines.as_deref()).await?;
    let TakenBack { order, units, product_versions } = taken_back.ok_or(Problem::NotFound)??;
    let event = needs.events.message(req.ambient.id(), &req.trace, &OrderReturned::new(&order, &units))?;
    let messages = vec![event];
    let reply = req.commit(work, &Order::from(&order), &messages).await?;

    cache::invalidate_all(&needs.redis, &product_keys(&product_versions)).await;
    req.after_reply(send_committed(needs.events.topic(), needs.mysql.clone(), messages, now));
    Ok(reply)
}
