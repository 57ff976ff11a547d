//! `POST /v1/products`: a new product in the catalogue.

use shared::{
    api::products::{NewProduct, Product, ProductsCreate},
    error::{ApiError, Problem},
    lambda::{Reply, Request},
    store::mysql::products::{self, InsertError},
};

shared::lambda!(ProductsCreate, handle);

async fn handle(needs: Needs, req: Request<ProductsCreate>) -> Result<Reply<Product>, ApiError> {
    let (id, now) = (req.ambient.id(), req.ambient.now());
    let NewProduct { sku, name, description, price, stock } = req.body;
    let product =
        products::Product { id, sku, name, description, price, stock, version: 1, created_at: now, updated_at: now };
    match products::insert(&needs.mysql, &product).await {
        Ok(()) => {
            let version = product.version;
            let reply = Reply::versioned(Product::from(product), version);
            Ok(reply.header("location", format!("/v1/products/{id}")))
        }
        Err(InsertError::SkuTaken) => Err(Problem::SkuTaken.into()),
        Err(InsertError::Store(error)) => Err(error.into()),
    }
}
