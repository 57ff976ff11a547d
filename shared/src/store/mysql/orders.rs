//! The `orders` and `order_items` tables.
//!
//! Lock order: a change of an order locks its row, then those of its products in the order of their ids; a new order locks products
//! only, in the same order. So there is no cycle of waits, and no deadlock.

use std::collections::HashMap;

use sqlx::{MySql, MySqlConnection, QueryBuilder, Row, mysql::MySqlRow};
use uuid::Uuid;

use super::{UnitOfWork, currency, products};
use crate::{
    boxed,
    identity::Scope,
    money::{Currency, Money},
    order::{Item, NewOrder, Order, OrderError, ReturnError, Status},
    store::{Mysql, StoreError},
};

const COLUMNS: &str = "id, user_id, status, total_minor, currency, cancel_reason, created_at, updated_at";

/// Products and the versions that they have after a change.
pub type ProductVersions = Vec<(Uuid, u64)>;

/// What came of moving an order on.
#[derive(Debug)]
pub enum Changed {
    Yes {
        order: Order,
        from: Status,
        /// Of the products whose stock changed.
        product_versions: ProductVersions,
    },
    /// It had this status before.
    Already(Order),
    /// It may not have this status any more, or not yet.
    Refused(Status),
    /// There is no such order, or it is out of the scope.
    NotFound,
}

/// Places an order: takes the stock and inserts the order with its items.
///
/// # Errors
/// [`OrderError`] where the order cannot be; roll back then. When the store does not answer.
#[tracing::instrument(name = "orders.place", skip_all)]
#[boxed]
pub async fn place(
    work: &mut UnitOfWork,
    new: &NewOrder,
) -> Result<Result<(Order, ProductVersions), OrderError>, StoreError> {
    let (now, ids) = (work.now(), new.lines.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    let connection = work.connection();
    let (offers, versions): (Vec<_>, Vec<_>) = products::lock(connection, &ids).await?.into_iter().unzip();
    let order = match new.price(&offers) {
        Ok(order) => order,
        Err(error) => return Ok(Err(error)),
    };
    if !products::take(connection, &order.units_left(), now).await? {
        // Under the lock that the price was read with, so it cannot be.
        return Err(sqlx::Error::RowNotFound.into());
    }
    insert(connection, &order).await?;
    let versions =
        offers.iter().map(|offer| offer.product_id).zip(versions.into_iter().map(|version: u64| version + 1));
    Ok(Ok((order, versions.collect())))
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
    let mut connection = mysql.connection().await?;
    let rows = query.build().fetch_all(&mut *connection).await?;
    Ok(with_items(&mut connection, &rows).await?.pop())
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
    let mut query = QueryBuilder::new("");
    push_list(&mut query, scope, status, after, limit);
    let mut connection = mysql.connection().await?;
    let rows = query.build().fetch_all(&mut *connection).await?;
    Ok(with_items(&mut connection, &rows).await?)
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
    push_list(&mut query, scope, status, after, 21);
    let rows = query.build().persistent(false).fetch_all(&mut *mysql.connection().await?).await?;
    let text = |row: &MySqlRow, name: &str| row.try_get::<Option<String>, _>(name).ok().flatten().unwrap_or_default();
    Ok(rows.iter().map(|row| format!("{} {} {}", text(row, "type"), text(row, "key"), text(row, "Extra"))).collect())
}

/// Moves an order in the scope on to `next`; stock that this frees returns. Idempotent.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "orders.advance", skip_all)]
#[boxed]
pub async fn advance(work: &mut UnitOfWork, scope: Scope, id: Uuid, next: Status) -> Result<Changed, StoreError> {
    change(work, scope, id, next, None).await
}

/// Cancels an order in the scope, by this user and for this reason; its stock returns. Idempotent: the first reason stays.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "orders.cancel", skip_all)]
#[boxed]
pub async fn cancel<'a>(
    work: &'a mut UnitOfWork,
    scope: Scope,
    id: Uuid,
    by: Uuid,
    reason: Option<&'a str>,
) -> Result<Changed, StoreError> {
    change(work, scope, id, Status::Cancelled, Some((by, reason))).await
}

async fn change(
    work: &mut UnitOfWork,
    scope: Scope,
    id: Uuid,
    next: Status,
    cancellation: Option<(Uuid, Option<&str>)>,
) -> Result<Changed, StoreError> {
    let now = work.now();
    let Some(mut order) = lock(work.connection(), scope, id).await? else { return Ok(Changed::NotFound) };
    let from = order.status;
    if from == next {
        return Ok(Changed::Already(order));
    }
    if !from.may_become(next) {
        return Ok(Changed::Refused(from));
    }
    (order.status, order.updated_at) = (next, now);
    if let Some((_, reason)) = cancellation {
        order.cancel_reason = reason.map(str::to_owned);
    }
    // Whatever becomes of a cancelled order, its cancellation stays on record.
    sqlx::query(
        "UPDATE orders SET status = ?, cancelled_by = COALESCE(?, cancelled_by), cancel_reason = ?, version = version + 1, \
         updated_at = ? WHERE id = ?",
    )
    .bind(next.as_str())
    .bind(cancellation.map(|(by, _)| by))
    .bind(&order.cancel_reason)
    .bind(now)
    .bind(id)
    .execute(work.connection())
    .await?;
    let product_versions = if from.restocks(next) {
        products::put_back(work.connection(), &order.units_left(), now).await?
    } else {
        Vec::new()
    };
    Ok(Changed::Yes { order, from, product_versions })
}

/// What came of taking units back.
#[derive(Debug)]
pub struct TakenBack {
    pub order: Order,
    /// Product and units.
    pub units: Vec<(Uuid, u32)>,
    pub product_versions: ProductVersions,
}

/// Takes units of a delivered order back into the stock: those of the lines, or all that are left.
///
/// # Errors
/// [`ReturnError`] where they cannot come back; nothing was changed. When the store does not answer.
#[tracing::instrument(name = "orders.take_back", skip_all)]
#[boxed]
pub async fn take_back<'a>(
    work: &'a mut UnitOfWork,
    id: Uuid,
    lines: Option<&'a [(Uuid, u32)]>,
) -> Result<Option<Result<TakenBack, ReturnError>>, StoreError> {
    let now = work.now();
    let Some(mut order) = lock(work.connection(), Scope::Everybody, id).await? else { return Ok(None) };
    let units = match order.take_back(lines) {
        Ok(units) => units,
        Err(error) => return Ok(Some(Err(error))),
    };
    order.updated_at = now;
    let mut query = QueryBuilder::new("UPDATE order_items SET returned = returned + CASE product_id");
    for (product_id, quantity) in &units {
        query.push(" WHEN ").push_bind(*product_id).push(" THEN ").push_bind(*quantity);
    }
    query.push(" ELSE 0 END WHERE order_id = ").push_bind(id);
    query.build().execute(work.connection()).await?;
    sqlx::query("UPDATE orders SET version = version + 1, updated_at = ? WHERE id = ?")
        .bind(now)
        .bind(id)
        .execute(work.connection())
        .await?;
    let product_versions = products::put_back(work.connection(), &units, now).await?;
    Ok(Some(Ok(TakenBack { order, units, product_versions })))
}

/// The order with this id, locked until the transaction ends.
async fn lock(connection: &mut MySqlConnection, scope: Scope, id: Uuid) -> Result<Option<Order>, sqlx::Error> {
    let mut query = select(scope);
    query.push(" AND id = ").push_bind(id).push(" FOR UPDATE");
    let rows = query.build().fetch_all(&mut *connection).await?;
    Ok(with_items(connection, &rows).await?.pop())
}

fn select(scope: Scope) -> QueryBuilder<MySql> {
    let mut query = QueryBuilder::new("");
    push_select(&mut query, scope, None);
    query
}

/// `SELECT … WHERE` what is in the scope; more conditions can be added.
fn push_select(query: &mut QueryBuilder<MySql>, scope: Scope, index: Option<&str>) {
    query.push("SELECT ").push(COLUMNS).push(" FROM orders");
    if let Some(index) = index {
        query.push(" FORCE INDEX (").push(index).push(")");
    }
    query.push(" WHERE ");
    match scope {
        Scope::Own(owner) => query.push("user_id = ").push_bind(owner.user_id()),
        Scope::Everybody => query.push("TRUE"),
    };
}

fn push_list(query: &mut QueryBuilder<MySql>, scope: Scope, status: Option<Status>, after: Option<Uuid>, limit: u32) {
    // Named, since an intersection of two indexes would be sorted.
    let index = match (scope, status) {
        (Scope::Own(_), _) => Some("orders_of_user"),
        (Scope::Everybody, Some(_)) => Some("orders_by_status"),
        (Scope::Everybody, None) => None,
    };
    push_select(query, scope, index);
    if let Some(status) = status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(after) = after {
        query.push(" AND id < ").push_bind(after);
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(limit);
}

/// Orders in the order of their rows, with their items: two queries, however many.
async fn with_items(connection: &mut MySqlConnection, rows: &[MySqlRow]) -> Result<Vec<Order>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut items = items(connection, rows).await?;
    rows.iter().map(|row| order(row, &items.remove(&row.try_get("id")?).unwrap_or_default())).collect()
}

/// The item rows of these orders, each order's sorted by product. Items that the release before placed have no SKU and no name of
/// their own: they are called what their product is called.
async fn items(
    connection: &mut MySqlConnection,
    orders: &[MySqlRow],
) -> Result<HashMap<Uuid, Vec<MySqlRow>>, sqlx::Error> {
    let mut query = QueryBuilder::new(
        "SELECT order_id, product_id, COALESCE(order_items.sku, products.sku) AS sku, \
         COALESCE(order_items.name, products.name) AS name, quantity, returned, unit_price_minor \
         FROM order_items JOIN products ON products.id = product_id WHERE order_id IN (",
    );
    let mut list = query.separated(", ");
    for row in orders {
        list.push_bind(row.try_get::<Uuid, _>("id")?);
    }
    query.push(") ORDER BY order_id, product_id");
    let mut items = HashMap::<Uuid, Vec<_>>::new();
    for row in query.build().fetch_all(connection).await? {
        items.entry(row.try_get("order_id")?).or_default().push(row);
    }
    Ok(items)
}

/// The status in a row's column of that name.
pub(super) fn status(row: &MySqlRow) -> Result<Status, sqlx::Error> {
    let text: &str = row.try_get("status")?;
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn order(row: &MySqlRow, items: &[MySqlRow]) -> Result<Order, sqlx::Error> {
    let currency = currency(row)?;
    Ok(Order {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        status: status(row)?,
        items: items.iter().map(|row| item(row, currency)).collect::<Result<_, _>>()?,
        total: Money { amount: row.try_get("total_minor")?, currency },
        cancel_reason: row.try_get("cancel_reason")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn item(row: &MySqlRow, currency: Currency) -> Result<Item, sqlx::Error> {
    Ok(Item {
        product_id: row.try_get("product_id")?,
        sku: row.try_get("sku")?,
        name: row.try_get("name")?,
        quantity: row.try_get("quantity")?,
        returned: row.try_get("returned")?,
        unit_price: Money { amount: row.try_get("unit_price_minor")?, currency },
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
    let mut query =
        QueryBuilder::new("INSERT INTO order_items (order_id, product_id, sku, name, quantity, unit_price_minor) ");
    query.push_values(&order.items, |mut row, item| {
        row.push_bind(order.id)
            .push_bind(item.product_id)
            .push_bind(&item.sku)
            .push_bind(&item.name)
            .push_bind(item.quantity)
            .push_bind(item.unit_price.amount);
    });
    query.build().execute(connection).await?;
    Ok(())
}
