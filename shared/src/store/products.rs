//! The `products` table.

use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, mysql::MySqlRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Mysql, StoreError};
use crate::money::Money;

/// A product on sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub id: Uuid,
    pub sku: String,
    pub name: String,
    pub description: String,
    pub price: Money,
    /// Units that can be ordered.
    pub stock: u32,
    /// Grows with every change of the row.
    pub version: u64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// Why a product was not inserted.
#[derive(Debug, thiserror::Error)]
pub enum InsertError {
    #[error("the SKU is taken")]
    SkuTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds a product.
///
/// # Errors
/// [`InsertError::SkuTaken`] if there is one with this SKU, deleted ones included.
#[tracing::instrument(name = "products.insert", skip_all)]
pub async fn insert(mysql: &Mysql, product: &Product) -> Result<(), InsertError> {
    let mut query = insertion("INSERT", std::slice::from_ref(product));
    match query.build().execute(mysql.pool().await?).await {
        Ok(_) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(InsertError::SkuTaken),
        Err(error) => Err(InsertError::Store(error.into())),
    }
}

/// Adds those products whose ids and SKUs are not there yet.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "products.insert_missing", skip_all)]
pub async fn insert_missing(mysql: &Mysql, products: &[Product]) -> Result<(), StoreError> {
    insertion("INSERT IGNORE", products).build().persistent(false).execute(mysql.pool().await?).await?;
    Ok(())
}

fn insertion(verb: &str, products: &[Product]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(verb);
    query.push(
        " INTO products (id, sku, name, description, price_minor, currency, stock, version, created_at, updated_at) ",
    );
    query.push_values(products, |mut row, product| {
        row.push_bind(product.id)
            .push_bind(product.sku.clone())
            .push_bind(product.name.clone())
            .push_bind(product.description.clone())
            .push_bind(product.price.amount)
            .push_bind(product.price.currency.as_str())
            .push_bind(product.stock)
            .push_bind(product.version)
            .push_bind(product.created_at)
            .push_bind(product.updated_at);
    });
    query
}

/// The product with this id, unless it is deleted.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "products.find", skip_all)]
pub async fn find(mysql: &Mysql, id: Uuid) -> Result<Option<Product>, StoreError> {
    let row = sqlx::query(
        "SELECT id, sku, name, description, price_minor, currency, stock, version, created_at, updated_at \
         FROM products WHERE id = ? AND deleted_at IS NULL",
    )
    .bind(id)
    .fetch_optional(mysql.pool().await?)
    .await?;
    Ok(row.as_ref().map(product).transpose()?)
}

/// What an order needs to know of a product, read under a lock that lasts as long as the transaction.
pub(super) struct Locked {
    pub id: Uuid,
    pub price: Money,
    pub stock: u32,
    pub version: u64,
}

/// Locks the products in the order of their ids: whoever locks several does it in this order, so that nobody waits in a circle.
#[tracing::instrument(name = "products.lock", skip_all)]
pub(super) async fn lock(connection: &mut MySqlConnection, ids: &[Uuid]) -> Result<Vec<Locked>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT id, price_minor, currency, stock, version FROM products WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(") AND deleted_at IS NULL ORDER BY id FOR UPDATE");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Locked {
                id: row.try_get("id")?,
                price: price(row)?,
                stock: row.try_get("stock")?,
                version: row.try_get("version")?,
            })
        })
        .collect()
}

/// Takes units out of the stock, unless there are fewer. Whether it did.
#[tracing::instrument(name = "products.take", skip_all)]
pub(super) async fn take(
    connection: &mut MySqlConnection,
    id: Uuid,
    quantity: u32,
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let result = sqlx::query(
        "UPDATE products SET stock = stock - ?, version = version + 1, updated_at = ? WHERE id = ? AND stock >= ?",
    )
    .bind(quantity)
    .bind(now)
    .bind(id)
    .bind(quantity)
    .execute(connection)
    .await?;
    Ok(result.rows_affected() == 1)
}

/// Puts units back that were taken, deleted product or not; returns the row's version.
#[tracing::instrument(name = "products.put_back", skip_all)]
pub(super) async fn put_back(
    connection: &mut MySqlConnection,
    id: Uuid,
    quantity: u32,
    now: OffsetDateTime,
) -> Result<u64, sqlx::Error> {
    sqlx::query("UPDATE products SET stock = stock + ?, version = version + 1, updated_at = ? WHERE id = ?")
        .bind(quantity)
        .bind(now)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("SELECT version FROM products WHERE id = ?").bind(id).fetch_one(connection).await?.try_get("version")
}

fn product(row: &MySqlRow) -> Result<Product, sqlx::Error> {
    Ok(Product {
        id: row.try_get("id")?,
        sku: row.try_get("sku")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        price: price(row)?,
        stock: row.try_get("stock")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn price(row: &MySqlRow) -> Result<Money, sqlx::Error> {
    let currency: &str = row.try_get("currency")?;
    let currency = currency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(Money { amount: row.try_get("price_minor")?, currency })
}
