//! The `orders` and `order_items` tables.
//!
//! Lock order: a change of an order locks its row, then those of its products in the order of their ids; a new order locks products
//! only, in the same order. So there is no cycle of waits, and no deadlock.

use super::currency;
use crate::order::{Item, NewOrder, Order, OrderError, Status};
use std::collections::HashMap;

use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, mysql::MySqlRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Contention, idempotency_keys::Claim, products};
use crate::store::{Mysql, StoreError};
use crate::{
    boxed,
    error::ApiError,
    identity::{Owner, Scope},
    messaging::OutboxMessage,
    money::Money,
};

const COLUMNS: &str = "id, user_id, status, total_minor, currency, created_at, updated_at";

/// What came of changing an order.
#[derive(Debug)]
pub enum Changed {
    Yes {
        order: Order,
        /// What the versions of products are now whose stock changed.
        product_versions: Vec<(Uuid, u64)>,
        /// What has to be sent now.
        messages: Vec<OutboxMessage>,
    },
    /// It had this status before.
    Already(Order),
    /// It may not have this status any more, or not yet.
    Refused(Status),
    /// There is no such order, or it is somebody else's.
    NotFound,
}

/// An order that was placed, and what its products' versions are now.
pub struct Placed {
    pub order: Order,
    pub product_versions: Vec<(Uuid, u64)>,
}

/// Why an order was not placed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error(transparent)]
    Order(#[from] OrderError),
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

/// Why an order was not moved on. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    #[error("the message cannot be written: {0}")]
    Message(ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AdvanceError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<AdvanceError> for ApiError {
    fn from(error: AdvanceError) -> Self {
        match error {
            AdvanceError::Message(error) => error,
            AdvanceError::Store(error) => error.into(),
        }
    }
}

impl Contention for AdvanceError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_contention())
    }
}

/// Places an order: the stock, the order, its items, its messages and the idempotency record change together, or not at all.
///
/// `finish` writes the reply to be kept for repetitions, and the messages that must follow.
///
/// # Errors
/// See [`PlaceError`]; every one of them has rolled everything back.
#[tracing::instrument(name = "orders.place", skip_all)]
pub async fn place<const N: usize>(
    mysql: &Mysql,
    new: &NewOrder,
    claim: &Claim,
    finish: impl Fn(&Order) -> Result<(String, [OutboxMessage; N]), ApiError>,
) -> Result<(Placed, String, [OutboxMessage; N]), PlaceError> {
    let ids: Vec<Uuid> = new.lines.iter().map(|(id, _)| *id).collect();
    let mut transaction = mysql.begin().await?;
    let products = products::lock(&mut transaction, &ids).await?;
    let offers: Vec<_> = products.iter().map(|product| product.offer).collect();
    let order = new.price(&offers)?;
    for item in &order.items {
        if !products::take(&mut transaction, item.product_id, item.quantity, new.now).await? {
            return Err(OrderError::OutOfStock(item.product_id).into());
        }
    }
    insert(&mut transaction, &order).await?;
    let (reply, outgoing) = finish(&order).map_err(PlaceError::Reply)?;
    super::outbox::insert(&mut transaction, &outgoing, new.now).await?;
    if !claim.complete(&mut transaction, 201, &reply).await? {
        return Err(PlaceError::LeaseLost);
    }
    transaction.commit().await?;

    let product_versions = products.iter().map(|product| (product.offer.product_id, product.version + 1)).collect();
    Ok((Placed { order, product_versions }, reply, outgoing))
}

/// The order with this id, if it is in the scope.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "orders.find", skip_all)]
#[boxed]
pub async fn find(mysql: &Mysql, scope: Scope, id: Uuid) -> Result<Option<Order>, StoreError> {
    let mut query = select(scope);
    query.push(" AND id = ").push_bind(id);
    let rows = query.build().fetch_all(&mut *mysql.connection().await?).await?;
    Ok(with_items(mysql, &rows).await?.pop())
}

/// The orders in the scope, with this status if one is given, the newest first, after the order with the id `after`.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "orders.list", skip_all)]
#[boxed]
pub async fn list(
    mysql: &Mysql,
    scope: Scope,
    status: Option<Status>,
    after: Option<Uuid>,
    limit: u32,
) -> Result<Vec<Order>, StoreError> {
    let mut query = listing(scope, status, after, limit);
    let rows = query.build().fetch_all(&mut *mysql.connection().await?).await?;
    with_items(mysql, &rows).await
}

/// How the database finds a list: the lines of `EXPLAIN`, as `type key rows Extra`.
///
/// # Errors
/// When the store does not answer.
#[boxed]
pub async fn explain_list(
    mysql: &Mysql,
    scope: Scope,
    status: Option<Status>,
    after: Option<Uuid>,
) -> Result<Vec<String>, StoreError> {
    let mut query = QueryBuilder::new("EXPLAIN ");
    listing_into(&mut query, scope, status, after, 21);
    let rows = query.build().persistent(false).fetch_all(&mut *mysql.connection().await?).await?;
    let text = |row: &MySqlRow, name: &str| row.try_get::<Option<String>, _>(name).ok().flatten().unwrap_or_default();
    Ok(rows.iter().map(|row| format!("{} {} {}", text(row, "type"), text(row, "key"), text(row, "Extra"))).collect())
}

/// Takes the owner's order back, and returns its stock. Twice does nothing more.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "orders.cancel", skip_all)]
#[boxed]
pub async fn cancel(mysql: &Mysql, owner: Owner, id: Uuid, now: OffsetDateTime) -> Result<Changed, StoreError> {
    change(mysql, Scope::Own(owner), id, Status::Cancelled, now, |_| Ok::<_, StoreError>(Vec::new())).await
}

/// Moves anybody's order on. `announce` writes the messages that must follow: they and the order change together, or not at all.
///
/// # Errors
/// See [`AdvanceError`].
#[tracing::instrument(name = "orders.advance", skip_all)]
pub async fn advance(
    mysql: &Mysql,
    id: Uuid,
    next: Status,
    now: OffsetDateTime,
    announce: impl Fn(&Order) -> Result<Vec<OutboxMessage>, ApiError>,
) -> Result<Changed, AdvanceError> {
    let announce = |order: &Order| announce(order).map_err(AdvanceError::Message);
    change(mysql, Scope::Everybody, id, next, now, announce).await
}

async fn change<E: From<StoreError> + From<sqlx::Error>>(
    mysql: &Mysql,
    scope: Scope,
    id: Uuid,
    next: Status,
    now: OffsetDateTime,
    announce: impl Fn(&Order) -> Result<Vec<OutboxMessage>, E>,
) -> Result<Changed, E> {
    let mut transaction = mysql.begin().await?;
    let mut query = select(scope);
    query.push(" AND id = ").push_bind(id).push(" FOR UPDATE");
    let Some(row) = query.build().fetch_optional(&mut *transaction).await? else { return Ok(Changed::NotFound) };
    let items = items(&mut transaction, std::slice::from_ref(&row)).await?;
    let mut order = order(&row, items.into_values().next().unwrap_or_default())?;
    if order.status == next {
        return Ok(Changed::Already(order));
    }
    if !order.status.may_become(next) {
        return Ok(Changed::Refused(order.status));
    }
    sqlx::query("UPDATE orders SET status = ?, version = version + 1, updated_at = ? WHERE id = ?")
        .bind(next.as_str())
        .bind(now)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    let mut product_versions = Vec::new();
    if order.status.restocks(next) {
        for item in &order.items {
            let version = products::put_back(&mut transaction, item.product_id, item.quantity, now).await?;
            product_versions.push((item.product_id, version));
        }
    }
    (order.status, order.updated_at) = (next, now);
    let messages = announce(&order)?;
    super::outbox::insert(&mut transaction, &messages, now).await?;
    transaction.commit().await?;
    Ok(Changed::Yes { order, product_versions, messages })
}

fn select(scope: Scope) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("");
    select_into(&mut query, scope);
    query
}

/// `SELECT … WHERE` what is in the scope; more conditions can be added.
fn select_into(query: &mut QueryBuilder<MySql>, scope: Scope) {
    query.push("SELECT ").push(COLUMNS).push(" FROM orders WHERE ");
    match scope {
        Scope::Own(owner) => query.push("user_id = ").push_bind(owner.user_id()),
        Scope::Everybody => query.push("TRUE"),
    };
}

fn listing(scope: Scope, status: Option<Status>, after: Option<Uuid>, limit: u32) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("");
    listing_into(&mut query, scope, status, after, limit);
    query
}

fn listing_into(
    query: &mut QueryBuilder<MySql>,
    scope: Scope,
    status: Option<Status>,
    after: Option<Uuid>,
    limit: u32,
) {
    select_into(query, scope);
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(after) = after {
        query.push(" AND id < ").push_bind(after);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
}

/// Orders in the order of their rows, with their items: two queries, however many.
async fn with_items(mysql: &Mysql, rows: &[MySqlRow]) -> Result<Vec<Order>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = mysql.connection().await?;
    let mut items = items(&mut connection, rows).await?;
    let orders = rows.iter().map(|row| order(row, items.remove(&row.try_get("id")?).unwrap_or_default()));
    Ok(orders.collect::<Result<_, sqlx::Error>>()?)
}

/// The items of these orders, each order's sorted by product; without a currency of their own, which is the order's.
async fn items(
    connection: &mut MySqlConnection,
    orders: &[MySqlRow],
) -> Result<HashMap<Uuid, Vec<(Uuid, u32, u64)>>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "SELECT order_id, product_id, quantity, unit_price_minor FROM order_items WHERE order_id IN (",
    );
    let mut list = query.separated(", ");
    for row in orders {
        list.push_bind(row.try_get::<Uuid, _>("id")?);
    }
    query.push(") ORDER BY order_id, product_id");
    let mut items = HashMap::<Uuid, Vec<_>>::new();
    for row in query.build().fetch_all(connection).await? {
        let item = (row.try_get("product_id")?, row.try_get("quantity")?, row.try_get("unit_price_minor")?);
        items.entry(row.try_get("order_id")?).or_default().push(item);
    }
    Ok(items)
}

/// The status in a row's column of that name.
pub(super) fn status(row: &MySqlRow) -> Result<Status, sqlx::Error> {
    let text: &str = row.try_get("status")?;
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn order(row: &MySqlRow, items: Vec<(Uuid, u32, u64)>) -> Result<Order, sqlx::Error> {
    let currency = currency(row)?;
    let money = |amount| Money { amount, currency };
    let item = |(product_id, quantity, price)| Item { product_id, quantity, unit_price: money(price) };
    Ok(Order {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        status: status(row)?,
        items: items.into_iter().map(item).collect(),
        total: money(row.try_get("total_minor")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
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
