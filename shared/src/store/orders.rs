//! The `orders` and `order_items` tables.

use sqlx::{MySqlConnection, QueryBuilder};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Contention, Mysql, StoreError, idempotency::Claim, outbox, products};
use crate::{error::ApiError, money::Money, queue::Outgoing};

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub user_id: Uuid,
    pub status: Status,
    /// Sorted by product.
    pub items: Vec<Item>,
    pub total: Money,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// One product of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: Uuid,
    pub quantity: u32,
    /// As it was when the order was placed.
    pub unit_price: Money,
}

/// Where an order stands: `pending → confirmed → shipped → delivered`, or `cancelled` before it ships.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
}

impl Status {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
        }
    }
}

/// What somebody wants to buy.
pub struct NewOrder {
    pub id: Uuid,
    pub user_id: Uuid,
    /// Product and quantity; no product twice.
    pub lines: Vec<(Uuid, u32)>,
    pub now: OffsetDateTime,
}

/// An order that was placed, and what its products' versions are now.
pub struct Placed {
    pub order: Order,
    pub product_versions: Vec<(Uuid, u64)>,
}

/// Why an order was not placed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("there is no product {0}")]
    NoSuchProduct(Uuid),
    #[error("not enough of product {0}")]
    OutOfStock(Uuid),
    #[error("the products are priced in different currencies")]
    MixedCurrencies,
    #[error("the total is too large")]
    TotalTooLarge,
    /// Somebody else took the idempotency key over, because this request took longer than its lease.
    #[error("the idempotency key was taken over")]
    LeaseLost,
    #[error("the reply cannot be written: {0}")]
    Reply(ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PlaceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Contention for PlaceError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_contention())
    }
}

/// Places an order: the stock, the order, its items, its message and the idempotency record change together, or not at all.
///
/// `finish` writes the reply to be kept for repetitions, and the message that must follow.
///
/// # Errors
/// See [`PlaceError`]; every one of them has rolled everything back.
#[tracing::instrument(name = "orders.place", skip_all)]
pub async fn place(
    mysql: &Mysql,
    new: &NewOrder,
    claim: &Claim,
    finish: impl Fn(&Order) -> Result<(String, Outgoing), ApiError>,
) -> Result<(Placed, String, Outgoing), PlaceError> {
    let mut lines = new.lines.clone();
    lines.sort_unstable();
    let ids: Vec<Uuid> = lines.iter().map(|(id, _)| *id).collect();

    let mut transaction = mysql.begin().await?;
    let products = products::lock(&mut transaction, &ids).await?;
    let order = price(new, &lines, &products)?;
    for item in &order.items {
        if !products::take(&mut transaction, item.product_id, item.quantity, new.now).await? {
            return Err(PlaceError::OutOfStock(item.product_id));
        }
    }
    insert(&mut transaction, &order).await?;
    let (reply, outgoing) = finish(&order).map_err(PlaceError::Reply)?;
    outbox::insert(&mut transaction, &outgoing, new.now).await?;
    if !claim.complete(&mut transaction, 201, &reply).await? {
        return Err(PlaceError::LeaseLost);
    }
    transaction.commit().await?;

    let product_versions = products.iter().map(|product| (product.id, product.version + 1)).collect();
    Ok((Placed { order, product_versions }, reply, outgoing))
}

/// Makes the order out of what was asked for and what the locked rows say.
fn price(new: &NewOrder, lines: &[(Uuid, u32)], products: &[products::Locked]) -> Result<Order, PlaceError> {
    let mut items = Vec::with_capacity(lines.len());
    let mut total: Option<Money> = None;
    for &(product_id, quantity) in lines {
        let product = products.iter().find(|product| product.id == product_id);
        let product = product.ok_or(PlaceError::NoSuchProduct(product_id))?;
        if product.stock < quantity {
            return Err(PlaceError::OutOfStock(product_id));
        }
        let amount = product.price.times(quantity).ok_or(PlaceError::TotalTooLarge)?;
        total = Some(match total {
            None => amount,
            Some(total) if total.currency != amount.currency => return Err(PlaceError::MixedCurrencies),
            Some(total) => total.plus(amount).ok_or(PlaceError::TotalTooLarge)?,
        });
        items.push(Item { product_id, quantity, unit_price: product.price });
    }
    let total = total.ok_or(PlaceError::TotalTooLarge)?;
    let NewOrder { id, user_id, now, .. } = *new;
    Ok(Order { id, user_id, status: Status::Pending, items, total, created_at: now, updated_at: now })
}

#[tracing::instrument(name = "orders.insert", skip_all)]
async fn insert(connection: &mut MySqlConnection, order: &Order) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO orders (id, user_id, status, total_minor, currency, version, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, 1, ?, ?)",
    )
    .bind(order.id)
    .bind(order.user_id)
    .bind(order.status.as_str())
    .bind(order.total.amount)
    .bind(order.total.currency.as_str())
    .bind(order.created_at)
    .bind(order.updated_at)
    .execute(&mut *connection)
    .await?;
    let mut query = QueryBuilder::new("INSERT INTO order_items (order_id, product_id, quantity, unit_price_minor) ");
    query.push_values(&order.items, |mut row, item| {
        row.push_bind(order.id).push_bind(item.product_id).push_bind(item.quantity).push_bind(item.unit_price.amount);
    });
    query.build().execute(connection).await?;
    Ok(())
}
