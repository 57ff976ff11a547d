//! `PATCH /v1/products/{id}`: another name, description or price, with optimistic locking.

use shared::{
    api::products::{Product, ProductsUpdate},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key},
        mysql::{
            products::{self, Changes, Updated},
            retry_contention,
        },
    },
};

shared::lambda!(ProductsUpdate, handle);

async fn handle(needs: Needs, req: Request<ProductsUpdate>) -> Result<Reply<Product>, ApiError> {
    let (id, version, now) = (req.path.id, req.if_match, req.ambient.now());
    let changes = Changes::from(req.body);
    let update = || products::update(&needs.mysql, id, version, &changes, now);
    let product = match retry_contention(&req.ambient, update).await? {
        Updated::Changed(product) => product,
        Updated::NotFound => return Err(Problem::NotFound.into()),
        Updated::Stale => return Err(Problem::PreconditionFailed.into()),
    };
    cache::invalidate(&needs.redis, Key::product(id), product.version).await;
    let version = product.version;
    Ok(Reply::versioned(Product::from(product), version))
}
