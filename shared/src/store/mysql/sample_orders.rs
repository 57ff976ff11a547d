//! Orders in bulk, for sample data: rows of the `orders` and `order_items` tables as if they had been placed one by one, long ago.
//! The stock is what they left.

use sqlx::QueryBuilder;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{boxed, money::Money};
use crate::{
    order::{Item, Status},
    store::{Mysql, StoreError},
};

/// An order in any state.
pub struct SampleOrder {
    pub id: Uuid,
    pub user_id: Uuid,
    pub status: Status,
    pub items: Vec<Item>,
    pub total: Money,
    pub version: u64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// Adds those orders whose ids are not there yet, in one transaction.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "sample_orders.insert_missing", skip_all)]
#[boxed]
pub async fn insert_missing(mysql: &Mysql, orders: &[SampleOrder]) -> Result<(), StoreError> {
    let mut transaction = mysql.begin().await?;
    let mut query = QueryBuilder::new(
        "INSERT IGNORE INTO orders (id, user_id, status, total_minor, currency, version, created_at, updated_at) ",
    );
    query.push_values(orders, |mut row, order| {
        row.push_bind(order.id)
            .push_bind(order.user_id)
            .push_bind(order.status.as_str())
            .push_bind(order.total.amount)
            .push_bind(order.total.currency.as_str())
            .push_bind(order.version)
            .push_bind(order.created_at)
            .push_bind(order.updated_at);
    });
    query.build().persistent(false).execute(&mut *transaction).await?;
    let mut query = QueryBuilder::new(
        "INSERT IGNORE INTO order_items (order_id, product_id, sku, name, quantity, unit_price_minor) ",
    );
    let items = orders.iter().flat_map(|order| order.items.iter().map(|item| (order.id, item)));
    query.push_values(items, |mut row, (order_id, item)| {
        row.push_bind(order_id)
            .push_bind(item.product_id)
            .push_bind(&item.sku)
            .push_bind(&item.name)
            .push_bind(item.quantity)
            .push_bind(item.unit_price.amount);
    });
    query.build().persistent(false).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(())
}
