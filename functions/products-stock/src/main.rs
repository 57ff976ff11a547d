//! `POST /v1/products/{id}/stock`: units come or go, once however often the request is sent.
//!
//! Idempotency key, stock and the record of the adjustment are one transaction.

use shared::{
    api::products::{ProductsStock, StockAdjustment},
    error::ApiError,
    lambda::{Once, Reply, Request},
    store::{
        cache::{self, Key},
        mysql::{
            retry_contention,
            stock_adjustments::{self, NewAdjustment},
        },
    },
};

shared::lambda!(ProductsStock, handle);

async fn handle(needs: Needs, req: Request<ProductsStock>) -> Result<Reply<StockAdjustment>, ApiError> {
    retry_contention(&req.ambient, || adjust(&needs, &req)).await
}

async fn adjust(needs: &Needs, req: &Request<ProductsStock>) -> Result<Reply<StockAdjustment>, ApiError> {
    let mut work = match req.begin(&needs.mysql).await? {
        Once::First(work) => work,
        Once::Repeated(reply) => return Ok(reply),
    };
    let new = NewAdjustment {
        id: req.ambient.id(),
        product_id: req.path.id,
        delta: req.body.delta,
        reason: req.body.reason.clone(),
        user_id: req.caller.user_id,
    };
    let adjustment = stock_adjustments::make(&mut work, new).await??;
    let reply = req.commit(work, &StockAdjustment::from(&adjustment), &[]).await?;
    cache::invalidate(&needs.redis, Key::product(adjustment.product_id), adjustment.version).await;
    Ok(reply)
}
