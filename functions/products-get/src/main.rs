//! `GET /v1/products/{id}`: one product, through the cache.

use shared::{
    api::products::{Product, ProductsGet},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::{
        cache::{self, Key, Versioned},
        mysql::products,
    },
};

shared::lambda!(ProductsGet, handle);

async fn handle(needs: Needs, req: Request<ProductsGet>) -> Result<Reply<Product>, ApiError> {
    let id = req.path.id;
    let load = async {
        let product = products::find(&needs.mysql, id).await?;
        Ok(product.map(|product| Versioned { version: product.version, value: Product::from(product) }))
    };
    let cached = cache::read(&needs.redis, &req.ambient, Key::product(id), load).await?;
    let Versioned { version, value } = cached.found.ok_or(Problem::NotFound)?;
    Ok(Reply::json(value).version(version).header("x-cache", cached.status.as_str()))
}
