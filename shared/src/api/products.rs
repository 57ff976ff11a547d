//! `/v1/products`: the catalogue.

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::permission::ProductsWrite,
    contract::{IdPath, Public, Requires},
    endpoint,
    money::Money,
    store::{Mysql, Redis, products},
};

endpoint! {
    /// Adds a product to the catalogue.
    ProductsCreate = "products-create" POST "/v1/products" {
        access: Requires<ProductsWrite>,
        body: NewProduct,
        reply: 201 Product,
        problems: [SkuTaken],
        needs: { mysql: Mysql },
    }
}

endpoint! {
    /// One product. `X-Cache` says whether it came from the cache (`hit`) or the store (`miss`, `bypass`).
    ProductsGet = "products-get" GET "/v1/products/{id}" {
        access: Public,
        path: IdPath,
        reply: 200 Product,
        problems: [NotFound],
        needs: { mysql: Mysql, redis: Redis },
    }
}

/// A product to be added.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// The seller's own number: 1 to 64 letters, digits, dots, dashes and underscores; unique.
    #[garde(length(min = 1, max = 64), custom(sku_characters))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    pub sku: String,
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    #[garde(length(chars, max = 5000))]
    #[schema(max_length = 5000)]
    #[serde(default)]
    pub description: String,
    #[garde(dive)]
    pub price: Money,
    /// Units that can be ordered.
    #[garde(range(max = 1_000_000_000))]
    #[schema(maximum = 1_000_000_000)]
    pub stock: u32,
}

fn sku_characters(text: &str, (): &()) -> garde::Result {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Ok(())
    } else {
        Err(garde::Error::new("takes letters, digits, dots, dashes and underscores"))
    }
}

fn one_line(text: &str, (): &()) -> garde::Result {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        Err(garde::Error::new("takes one line of text"))
    } else {
        Ok(())
    }
}

/// A product on sale.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    pub id: Uuid,
    pub sku: String,
    pub name: String,
    pub description: String,
    pub price: Money,
    /// Units that can be ordered.
    pub stock: u32,
    /// Grows with every change.
    pub version: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl From<products::Product> for Product {
    fn from(product: products::Product) -> Self {
        let products::Product { id, sku, name, description, price, stock, version, created_at, updated_at } = product;
        Self { id, sku, name, description, price, stock, version, created_at, updated_at }
    }
}
