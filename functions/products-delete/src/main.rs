//! `DELETE /v1/products/{id}`: takes a product off sale (soft deletion).

use shared::{
    api::products::ProductsDelete,
    contract::NoContent,
    error::{ApiError, Problem},
    lambda::Request,
    store::{
        cache::{self, Key},
        mysql::{products, retry_contention},
    },
};

shared::lambda!(ProductsDelete, handle);

async fn handle(needs: Needs, req: Request<ProductsDelete>) -> Result<NoContent, ApiError> {
    let (id, now) = (req.path.id, req.ambient.now());
    let deleted = retry_contention(&req.ambient, || products::delete(&needs.mysql, id, now)).await?;
    let version = deleted.ok_or(Problem::NotFound)?;
    cache::invalidate(&needs.redis, Key::product(id), version).await;
    Ok(NoContent)
}
