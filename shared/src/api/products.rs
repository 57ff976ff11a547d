//! `/v1/products`: the catalogue.

use garde::Validate;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::one_line;
use crate::{
    auth::Authenticator,
    contract::{IdPath, IfMatch, IfNoneMatch, Keyed, NoContent, Public, Requires},
    endpoint,
    identity::permission::{ProductsReadAll, ProductsWrite},
    mac::MacKey,
    money::{Currency, Money},
    page::{MAX_LIMIT, Page, default_limit},
    store::{
        Mysql, Redis,
        mysql::{
            product_list::{Direction, Filter, Search, Sort},
            products,
            stock_adjustments::Adjustment,
        },
    },
};

/// The largest stock adjustment, in units.
const MAX_DELTA: i32 = 1_000_000_000;
/// The most characters of a search: fewer than the longest indexed word has (84).
const MAX_SEARCH_LENGTH: usize = 80;

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
    /// Lists products that are not deleted, in pages.
    ProductsList = "products-list" GET "/v1/products" {
        access: Public,
        query: ProductQuery,
        reply: 200 Page<Product>,
        problems: [InvalidCursor, ValidationFailed],
        needs: { mysql: Mysql, mac: MacKey },
    }
}

endpoint! {
    /// Streams all products that are not deleted.
    /// They come from one consistent snapshot, in the order of their ids. An export without its end line is incomplete:
    /// `after` resumes it.
    ProductsExport = "products-export" GET "/v1/products/export" {
        access: Requires<ProductsReadAll>,
        query: ExportQuery,
        reply: 200 ExportLine as ["application/x-ndjson", "text/csv"],
        needs: { mysql: Mysql, authenticator: Authenticator },
    }
}

endpoint! {
    /// Reads one product.
    /// `X-Cache` says whether it came from the cache (`hit`) or the store (`miss`, `bypass`). The `ETag` is its
    /// version.
    ProductsGet = "products-get" GET "/v1/products/{id}" {
        access: Public,
        precondition: IfNoneMatch,
        path: IdPath,
        reply: 200 Product,
        problems: [NotFound],
        needs: { mysql: Mysql, redis: Redis },
    }
}

endpoint! {
    /// Changes a product's name, description or price.
    /// Omitted members keep their values.
    ProductsUpdate = "products-update" PATCH "/v1/products/{id}" {
        access: Requires<ProductsWrite>,
        precondition: IfMatch,
        path: IdPath,
        body: ProductChanges,
        reply: 200 Product,
        problems: [NotFound],
        needs: { mysql: Mysql, redis: Redis },
    }
}

endpoint! {
    /// Takes a product off sale (soft deletion).
    /// Orders still refer to it, and its SKU stays taken.
    ProductsDelete = "products-delete" DELETE "/v1/products/{id}" {
        access: Requires<ProductsWrite>,
        path: IdPath,
        reply: 204 NoContent,
        problems: [NotFound],
        needs: { mysql: Mysql, redis: Redis },
    }
}

endpoint! {
    /// Adjusts a product's stock, up or down.
    /// The reason is kept with the adjustment.
    ProductsStock = "products-stock" POST "/v1/products/{id}/stock" {
        access: Requires<ProductsWrite>,
        idempotency: Keyed,
        path: IdPath,
        body: NewStockAdjustment,
        reply: 201 StockAdjustment,
        problems: [NotFound, OutOfStock],
        needs: { mysql: Mysql, redis: Redis },
    }
}

/// A product to add.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// The seller's stock-keeping unit: 1 to 64 letters, digits, dots, dashes and underscores; unique.
    #[garde(length(min = 1, max = 64), custom(sku_characters))]
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9._-]+$")]
    pub sku: String,
    /// One line of text.
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
    #[garde(range(max = products::MAX_STOCK))]
    #[schema(maximum = 1_000_000_000)]
    pub stock: u32,
}

/// Changes of a product: at least one member.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
#[garde(custom(some_change))]
#[schema(min_properties = 1)]
pub struct ProductChanges {
    /// One line of text.
    #[garde(length(chars, min = 1, max = 200), inner(custom(one_line)))]
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    #[garde(length(chars, max = 5000))]
    #[schema(max_length = 5000)]
    pub description: Option<String>,
    #[garde(dive)]
    pub price: Option<Money>,
}

fn some_change(changes: &ProductChanges, (): &()) -> garde::Result {
    match changes {
        ProductChanges { name: None, description: None, price: None } => {
            Err(garde::Error::new("has to change something"))
        }
        _ => Ok(()),
    }
}

impl From<ProductChanges> for products::Changes {
    fn from(changes: ProductChanges) -> Self {
        let ProductChanges { name, description, price } = changes;
        Self { name, description, price }
    }
}

/// A stock adjustment to make.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStockAdjustment {
    /// Units added or, below zero, taken; not 0.
    #[garde(range(min = -MAX_DELTA, max = MAX_DELTA), custom(not_zero))]
    #[schema(minimum = -1_000_000_000, maximum = 1_000_000_000)]
    pub delta: i32,
    /// Why the stock changes, for an audit: one line of text.
    #[garde(length(chars, min = 1, max = 200), custom(one_line))]
    #[schema(min_length = 1, max_length = 200)]
    pub reason: String,
}

fn not_zero(delta: &i32, (): &()) -> garde::Result {
    if *delta == 0 { Err(garde::Error::new("takes units that come or go")) } else { Ok(()) }
}

/// Filters and order of a product list.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(rename_all = "camelCase")]
#[garde(allow_unvalidated)]
pub struct ProductQuery {
    /// Only products priced in this currency. Required with `minPrice`, `maxPrice` and the orders by price.
    #[garde(custom(required_with_price(self)))]
    pub currency: Option<Currency>,
    /// Only products that cost at least this, in the currency's minor unit.
    pub min_price: Option<u64>,
    /// Only products that cost at most this, in the currency's minor unit.
    pub max_price: Option<u64>,
    /// Only products in stock (`true`) or out of stock (`false`).
    pub available: Option<bool>,
    /// Full-text search in names: products with all of these words, the last of which may be a prefix. If all of them
    /// are shorter than three letters: products whose names begin with this text.
    #[garde(length(chars, max = MAX_SEARCH_LENGTH))]
    #[param(max_length = 80)]
    pub search: Option<String>,
    #[serde(default)]
    #[param(inline)]
    pub sort: ProductSort,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many products at most: 1 to 100.
    #[garde(range(min = 1, max = MAX_LIMIT))]
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// The order of a list; a dash reverses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum ProductSort {
    #[default]
    #[serde(rename = "newest")]
    Newest,
    #[serde(rename = "name")]
    Name,
    #[serde(rename = "-name")]
    NameDescending,
    #[serde(rename = "price")]
    Price,
    #[serde(rename = "-price")]
    PriceDescending,
}

impl From<ProductSort> for Sort {
    fn from(sort: ProductSort) -> Self {
        match sort {
            ProductSort::Newest => Self::Newest,
            ProductSort::Name => Self::Name(Direction::Ascending),
            ProductSort::NameDescending => Self::Name(Direction::Descending),
            ProductSort::Price => Self::Price(Direction::Ascending),
            ProductSort::PriceDescending => Self::Price(Direction::Descending),
        }
    }
}

/// Amounts of different currencies cannot be compared.
fn required_with_price(query: &ProductQuery) -> impl FnOnce(&Option<Currency>, &()) -> garde::Result {
    let is_needed = query.min_price.is_some()
        || query.max_price.is_some()
        || matches!(query.sort, ProductSort::Price | ProductSort::PriceDescending);
    move |currency, ()| {
        if is_needed && currency.is_none() {
            Err(garde::Error::new("is needed with minPrice, maxPrice and the orders by price"))
        } else {
            Ok(())
        }
    }
}

impl ProductQuery {
    /// What the store filters by.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            currency: self.currency,
            min_price: self.min_price,
            max_price: self.max_price,
            available: self.available,
            search: self.search.as_deref().and_then(Search::new),
        }
    }

    /// Binds cursors to this endpoint, its filters and its order.
    #[must_use]
    pub fn list(&self) -> String {
        format!("products {:?} {:?}", self.filter(), self.sort)
    }
}

fn sku_characters(text: &str, (): &()) -> garde::Result {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        Ok(())
    } else {
        Err(garde::Error::new("takes letters, digits, dots, dashes and underscores"))
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

/// The start of an export.
#[derive(Deserialize, Validate, IntoParams)]
#[serde(deny_unknown_fields)]
#[garde(allow_unvalidated)]
pub struct ExportQuery {
    /// Only products after this one: the id of the last product received, to resume an export that broke off.
    pub after: Option<Uuid>,
}

/// A line of an export.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ExportLine {
    Product(Product),
    /// The last line of a complete export.
    End {
        /// How many products were sent.
        products: u64,
    },
    /// The last line of an export that broke off.
    Error {
        /// The `type` of the problem (RFC 9457).
        problem: String,
        /// The `title` of the problem.
        title: String,
        /// The last product sent, for `after` of the next request; null if there was none and the request named none.
        after: Option<Uuid>,
        /// The request's id in the logs.
        #[serde(rename = "requestId")]
        request_id: String,
    },
}

/// A stock adjustment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StockAdjustment {
    pub id: Uuid,
    pub product_id: Uuid,
    /// Units added or, below zero, taken.
    pub delta: i32,
    pub reason: String,
    /// Units in stock after the adjustment.
    pub stock: u32,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

impl From<&Adjustment> for StockAdjustment {
    fn from(adjustment: &Adjustment) -> Self {
        let Adjustment { id, product_id, delta, stock, created_at, .. } = *adjustment;
        Self { id, product_id, delta, reason: adjustment.reason.clone(), stock, created_at }
    }
}
