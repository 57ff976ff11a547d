//! `POST /v1/products/{id}/stock`: units come or go, once however often the request is sent.
//!
//! Stock, the record of the adjustment and the idempotency record change in one transaction.

use shared::{
    api::products::{ProductsStock, StockAdjustment},
    contract::Endpoint,
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key},
        mysql::{
            idempotency_keys::Claim,
            retry_contention,
            stock_adjustments::{self, AdjustError, Adjustment, NewAdjustment},
        },
    },
};

shared::lambda!(ProductsStock, handle);

async fn handle(needs: Needs, req: Request<ProductsStock>) -> Result<Reply<StockAdjustment>, ApiError> {
    req.once(&needs.mysql, |claim| adjust(&needs, &req, claim)).await
}

async fn adjust(needs: &Needs, req: &Request<ProductsStock>, claim: Claim) -> Result<String, ApiError> {
    let new = NewAdjustment {
        id: req.ambient.id(),
        product_id: req.path.id,
        delta: req.body.delta,
        reason: req.body.reason.clone(),
        user_id: req.caller.user_id,
        now: req.ambient.now(),
    };
    let finish = |made: &Adjustment| serde_json::to_string(&StockAdjustment::from(made)).map_err(ApiError::internal);
    let adjust = || stock_adjustments::make(&needs.mysql, &new, &claim, ProductsStock::STATUS, finish);
    let (made, reply) = retry_contention(&req.ambient, adjust).await.map_err(problem)?;
    cache::invalidate(&needs.redis, Key::product(made.product_id), made.version).await;
    Ok(reply)
}

fn problem(error: AdjustError) -> ApiError {
    match error {
        AdjustError::NotFound => Problem::NotFound.into(),
        AdjustError::OutOfStock => ApiError::new(Problem::OutOfStock, "There are fewer units than that"),
        AdjustError::TooMany => ApiError::field("delta", "comes to more units than a product can have"),
        AdjustError::LeaseLost => Problem::RequestInProgress.into(),
        AdjustError::Reply(error) => error,
        AdjustError::Store(error) => error.into(),
    }
}
