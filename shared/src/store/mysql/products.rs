//! The `products` table.

use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, mysql::MySqlRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::currency;
use crate::store::{Mysql, StoreError};
use crate::{boxed, money::Money, order::Offer};

/// The most units of a product that can be put on sale.
pub const MAX_STOCK: u32 = 1_000_000_000;
/// The most units of a product with those that come back from orders: what the column holds.
const MAX_RETURNED_STOCK: u32 = u32::MAX;
/// What [`product`] reads.
pub(super) const COLUMNS: &str =
    "id, sku, name, description, price_minor, currency, stock, version, created_at, updated_at";

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
#[boxed]
pub async fn insert(mysql: &Mysql, product: &Product) -> Result<(), InsertError> {
    let mut query = insertion("INSERT", std::slice::from_ref(product));
    let inserted = query.build().execute(&mut *mysql.connection().await?).await;
    match inserted {
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
#[boxed]
pub async fn insert_missing(mysql: &Mysql, products: &[Product]) -> Result<(), StoreError> {
    insertion("INSERT IGNORE", products).build().persistent(false).execute(&mut *mysql.connection().await?).await?;
    Ok(())
}

fn insertion(verb: &str, products: &[Product]) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new(verb);
    query.push(" INTO products (").push(COLUMNS).push(") ");
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
#[boxed]
pub async fn find(mysql: &Mysql, id: Uuid) -> Result<Option<Product>, StoreError> {
    let mut query = selection(id);
    let row = query.build().fetch_optional(&mut *mysql.connection().await?).await?;
    Ok(row.as_ref().map(product).transpose()?)
}

fn selection(id: Uuid) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS).push(" FROM products WHERE id = ").push_bind(id).push(" AND deleted_at IS NULL");
    query
}

/// What changes of a product; what is left out stays.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub name: Option<String>,
    pub description: Option<String>,
    pub price: Option<Money>,
}

/// What came of changing a product.
pub enum Updated {
    /// The product as it is now.
    Changed(Product),
    /// There is none, or not any more.
    NotFound,
    /// It has another version.
    Stale,
}

/// Changes this version of a product.
///
/// # Errors
/// When the store does not answer, or others are in the way.
#[tracing::instrument(name = "products.update", skip_all)]
#[boxed]
pub async fn update(
    mysql: &Mysql,
    id: Uuid,
    version: u64,
    changes: &Changes,
    now: OffsetDateTime,
) -> Result<Updated, StoreError> {
    let mut transaction = mysql.begin().await?;
    let row = selection(id).push(" FOR UPDATE").build().fetch_optional(&mut *transaction).await?;
    let Some(row) = row else { return Ok(Updated::NotFound) };
    let mut product = product(&row)?;
    if product.version != version {
        return Ok(Updated::Stale);
    }
    let Changes { name, description, price } = changes.clone();
    product.name = name.unwrap_or(product.name);
    product.description = description.unwrap_or(product.description);
    product.price = price.unwrap_or(product.price);
    product.version += 1;
    product.updated_at = now;
    sqlx::query(
        "UPDATE products SET name = ?, description = ?, price_minor = ?, currency = ?, version = ?, updated_at = ? \
         WHERE id = ?",
    )
    .bind(&product.name)
    .bind(&product.description)
    .bind(product.price.amount)
    .bind(product.price.currency.as_str())
    .bind(product.version)
    .bind(product.updated_at)
    .bind(id)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Updated::Changed(product))
}

/// Deletes a product, softly: orders go on naming it, and its SKU stays taken. Its last version, unless there is no such product.
///
/// # Errors
/// When the store does not answer, or others are in the way.
#[tracing::instrument(name = "products.delete", skip_all)]
#[boxed]
pub async fn delete(mysql: &Mysql, id: Uuid, now: OffsetDateTime) -> Result<Option<u64>, StoreError> {
    let mut transaction = mysql.begin().await?;
    let result = sqlx::query(
        "UPDATE products SET deleted_at = ?, version = version + 1, updated_at = ? WHERE id = ? AND deleted_at IS NULL",
    )
    .bind(now)
    .bind(now)
    .bind(id)
    .execute(&mut *transaction)
    .await?;
    if result.rows_affected() == 0 {
        return Ok(None);
    }
    let query = sqlx::query_scalar("SELECT version FROM products WHERE id = ?");
    let version = query.bind(id).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Some(version))
}

/// Locks the products in the order of their ids, as every transaction does, so that there is no cycle of waits. Each as it is offered,
/// and its version.
#[tracing::instrument(name = "products.lock", skip_all)]
#[boxed]
pub(super) async fn lock(connection: &mut MySqlConnection, ids: &[Uuid]) -> Result<Vec<(Offer, u64)>, sqlx::Error> {
    let mut query =
        QueryBuilder::new("SELECT id, sku, name, price_minor, currency, stock, version FROM products WHERE id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(*id);
    }
    query.push(") AND deleted_at IS NULL ORDER BY id FOR UPDATE");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let offer = Offer {
                product_id: row.try_get("id")?,
                sku: row.try_get("sku")?,
                name: row.try_get("name")?,
                price: price(row)?,
                stock: row.try_get("stock")?,
            };
            Ok((offer, row.try_get("version")?))
        })
        .collect()
}

/// Takes units of locked products out of the stock, in one statement; `false` if there were fewer of any.
#[tracing::instrument(name = "products.take", skip_all)]
#[boxed]
pub(super) async fn take(
    connection: &mut MySqlConnection,
    units: &[(Uuid, u32)],
    now: OffsetDateTime,
) -> Result<bool, sqlx::Error> {
    let mut query = QueryBuilder::new("UPDATE products SET stock = stock - ");
    push_units(&mut query, units);
    query.push(", version = version + 1, updated_at = ").push_bind(now);
    push_ids(&mut query, units);
    query.push(" AND stock >= ");
    push_units(&mut query, units);
    Ok(query.build().execute(connection).await?.rows_affected() == units.len() as u64)
}

/// Puts units back that were taken, deleted product or not, in one statement; returns the versions that the products then have. It
/// always works: what no longer fits on the shelf ([`MAX_RETURNED_STOCK`]) is written off.
#[tracing::instrument(name = "products.put_back", skip_all)]
#[boxed]
pub(super) async fn put_back(
    connection: &mut MySqlConnection,
    units: &[(Uuid, u32)],
    now: OffsetDateTime,
) -> Result<Vec<(Uuid, u64)>, sqlx::Error> {
    if units.is_empty() {
        return Ok(Vec::new());
    }
    // In the order of their ids, as every transaction locks products.
    let mut query = QueryBuilder::new("SELECT id, version FROM products");
    push_ids(&mut query, units);
    query.push(" ORDER BY id FOR UPDATE");
    let rows = query.build().fetch_all(&mut *connection).await?;
    let mut query = QueryBuilder::new("UPDATE products SET stock = LEAST(stock + ");
    push_units(&mut query, units);
    query.push(", ").push_bind(MAX_RETURNED_STOCK);
    query.push("), version = version + 1, updated_at = ").push_bind(now);
    push_ids(&mut query, units);
    query.build().execute(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get::<u64, _>("version")? + 1))).collect()
}

/// The units of each product, as an expression.
fn push_units(query: &mut QueryBuilder<MySql>, units: &[(Uuid, u32)]) {
    query.push("CASE id");
    for (id, quantity) in units {
        query.push(" WHEN ").push_bind(*id).push(" THEN ").push_bind(*quantity);
    }
    query.push(" END");
}

fn push_ids(query: &mut QueryBuilder<MySql>, units: &[(Uuid, u32)]) {
    query.push(" WHERE id IN (");
    let mut list = query.separated(", ");
    for (id, _) in units {
        list.push_bind(*id);
    }
    query.push(")");
}

/// Says how many units there are of a product that is locked.
#[tracing::instrument(name = "products.set_stock", skip_all)]
#[boxed]
pub(super) async fn set_stock(
    connection: &mut MySqlConnection,
    id: Uuid,
    stock: u32,
    now: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE products SET stock = ?, version = version + 1, updated_at = ? WHERE id = ?")
        .bind(stock)
        .bind(now)
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn product(row: &MySqlRow) -> Result<Product, sqlx::Error> {
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
    Ok(Money { amount: row.try_get("price_minor")?, currency: currency(row)? })
}
