//! `GET /v1/products`: products, filtered and sorted, in pages.

use shared::{
    api::products::{Product, ProductsList},
    error::ApiError,
    lambda::Request,
    page::{self, Page},
    store::mysql::product_list::{self, Sort},
};

shared::lambda!(ProductsList, handle);

async fn handle(needs: Needs, req: Request<ProductsList>) -> Result<Page<Product>, ApiError> {
    let (query, list, sort) = (&req.query, req.query.list(), Sort::from(req.query.sort));
    let after = page::position(&needs.mac, &list, query.cursor.as_deref()).await?;
    // One item more than the page tells whether another page follows.
    let found = product_list::list(&needs.mysql, &query.filter(), sort, after.as_ref(), query.limit + 1).await?;
    let page = Page::new(found, query.limit, &needs.mac, &list, |product| sort.position(product)).await?;
    Ok(page.map(Product::from))
}
