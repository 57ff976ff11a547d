//! The MySQL statements of the release before, as text: its code is not here any more. Its idempotency keys are leased in a transaction of
//! their own, its items have no names, and it sends commands to queues instead of events to the topic.
//!
//! The next release replaces this file with the statements of this one.

use sqlx::{MySqlConnection, Row, mysql::MySqlRow};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// How long a request was believed to be at work.
pub const LEASE: Duration = Duration::seconds(60);
/// The statuses that its code can read.
const STATUSES: [&str; 5] = ["pending", "confirmed", "shipped", "delivered", "cancelled"];

/// An idempotency key: its owner, the endpoint, and the payload's hash.
#[derive(Clone)]
pub struct Key {
    pub user_id: Uuid,
    pub text: String,
    pub endpoint: &'static str,
    pub payload_hash: Vec<u8>,
    pub fencing_token: Uuid,
}

/// The answer of a key that exists.
#[derive(Debug, PartialEq, Eq)]
pub enum Existing {
    Completed { status: u16, body: String },
    InProgress,
    Reused,
}

/// An order with its items: product, quantity, unit price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub user_id: Uuid,
    pub status: String,
    pub items: Vec<(Uuid, u32, u64)>,
    pub total: u64,
    pub currency: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A product's row: stock and version, and the SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    pub sku: String,
    pub price: u64,
    pub currency: String,
    pub stock: u32,
    pub version: u64,
}

/// A message of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: Uuid,
    pub queue: String,
    pub envelope: String,
    pub attempts: u32,
}

/// Whether the key was free, and is this request's now.
pub async fn claim(connection: &mut MySqlConnection, key: &Key, now: OffsetDateTime) -> Result<bool> {
    let inserted = sqlx::query(
        "INSERT IGNORE INTO idempotency_keys \
         (user_id, idempotency_key, endpoint, payload_hash, fencing_token, leased_until, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.user_id)
    .bind(&key.text)
    .bind(key.endpoint)
    .bind(&key.payload_hash)
    .bind(key.fencing_token)
    .bind(now + LEASE)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub async fn existing(connection: &mut MySqlConnection, key: &Key, now: OffsetDateTime) -> Result<Existing> {
    let row = sqlx::query(
        "SELECT endpoint, payload_hash, status, body FROM idempotency_keys WHERE user_id = ? AND idempotency_key = ?",
    )
    .bind(key.user_id)
    .bind(&key.text)
    .fetch_one(&mut *connection)
    .await?;
    let is_same_payload = row.try_get::<&[u8], _>("payload_hash")? == key.payload_hash;
    if !is_same_payload || row.try_get::<&str, _>("endpoint")? != key.endpoint {
        return Ok(Existing::Reused);
    }
    if let (Some(status), Some(body)) = (row.try_get("status")?, row.try_get("body")?) {
        return Ok(Existing::Completed { status, body });
    }
    let taken_over = sqlx::query(
        "UPDATE idempotency_keys SET fencing_token = ?, leased_until = ? \
         WHERE user_id = ? AND idempotency_key = ? AND status IS NULL AND leased_until < ?",
    )
    .bind(key.fencing_token)
    .bind(now + LEASE)
    .bind(key.user_id)
    .bind(&key.text)
    .bind(now)
    .execute(connection)
    .await?;
    assert_eq!(taken_over.rows_affected(), 0, "its lease is not over");
    Ok(Existing::InProgress)
}

/// Whether the key was still held.
pub async fn complete(connection: &mut MySqlConnection, key: &Key, status: u16, body: &str) -> Result<bool> {
    let completed = sqlx::query(
        "UPDATE idempotency_keys SET status = ?, body = ?, fencing_token = NULL, leased_until = NULL \
         WHERE user_id = ? AND idempotency_key = ? AND fencing_token = ?",
    )
    .bind(status)
    .bind(body)
    .bind(key.user_id)
    .bind(&key.text)
    .bind(key.fencing_token)
    .execute(connection)
    .await?;
    Ok(completed.rows_affected() == 1)
}

/// Whether there was anything to free.
pub async fn release(connection: &mut MySqlConnection, key: &Key) -> Result<bool> {
    let released =
        sqlx::query("DELETE FROM idempotency_keys WHERE user_id = ? AND idempotency_key = ? AND fencing_token = ?")
            .bind(key.user_id)
            .bind(&key.text)
            .bind(key.fencing_token)
            .execute(connection)
            .await?;
    Ok(released.rows_affected() == 1)
}

/// Adds a product at version 1.
pub async fn insert_product(
    connection: &mut MySqlConnection,
    id: Uuid,
    product: &Product,
    now: OffsetDateTime,
) -> Result<()> {
    sqlx::query(
        "INSERT INTO products (id, sku, name, description, price_minor, currency, stock, version, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(&product.sku)
    .bind("Brass lantern")
    .bind("")
    .bind(product.price)
    .bind(&product.currency)
    .bind(product.stock)
    .bind(product.version)
    .bind(now)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

pub async fn find_product(connection: &mut MySqlConnection, id: Uuid) -> Result<Product> {
    let row = sqlx::query(
        "SELECT id, sku, name, description, price_minor, currency, stock, version, created_at, updated_at \
         FROM products WHERE id = ? AND deleted_at IS NULL",
    );
    let row = row.bind(id).fetch_one(connection).await?;
    Ok(Product { sku: row.try_get("sku")?, ..offer(&row)? })
}

/// The columns that it reads of a locked product.
fn offer(row: &MySqlRow) -> Result<Product> {
    Ok(Product {
        sku: String::new(),
        price: row.try_get("price_minor")?,
        currency: row.try_get("currency")?,
        stock: row.try_get("stock")?,
        version: row.try_get("version")?,
    })
}

async fn lock_product(connection: &mut MySqlConnection, id: Uuid) -> Result<Product> {
    let row = sqlx::query(
        "SELECT id, price_minor, currency, stock, version FROM products WHERE id IN (?) AND deleted_at IS NULL \
         ORDER BY id FOR UPDATE",
    );
    offer(&row.bind(id).fetch_one(connection).await?)
}

/// Places an order of one product, in a transaction: with its messages, one for each queue, and the reply to its key.
pub async fn place(
    connection: &mut MySqlConnection,
    key: &Key,
    id: Uuid,
    (product_id, quantity): (Uuid, u32),
    messages: &[Message; 2],
    reply: &str,
    now: OffsetDateTime,
) -> Result<()> {
    let product = lock_product(connection, product_id).await?;
    let taken = sqlx::query(
        "UPDATE products SET stock = stock - ?, version = version + 1, updated_at = ? WHERE id = ? AND stock >= ?",
    )
    .bind(quantity)
    .bind(now)
    .bind(product_id)
    .bind(quantity)
    .execute(&mut *connection)
    .await?;
    assert_eq!(taken.rows_affected(), 1, "there are enough units");
    sqlx::query(
        "INSERT INTO orders (id, user_id, status, total_minor, currency, version, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, 1, ?, ?)",
    )
    .bind(id)
    .bind(key.user_id)
    .bind("pending")
    .bind(product.price * u64::from(quantity))
    .bind(product.currency)
    .bind(now)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO order_items (order_id, product_id, quantity, unit_price_minor) VALUES (?, ?, ?, ?)")
        .bind(id)
        .bind(product_id)
        .bind(quantity)
        .bind(product.price)
        .execute(&mut *connection)
        .await?;
    let [first, second] = messages;
    let mut insert = sqlx::query(
        "INSERT INTO outbox (id, queue, envelope, attempts, available_at, locked_by, created_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?), (?, ?, ?, ?, ?, ?, ?)",
    );
    for message in [first, second] {
        insert = insert.bind(message.id).bind(&message.queue).bind(&message.envelope).bind(message.attempts);
        insert = insert.bind(now + Duration::seconds(30)).bind(message.id).bind(now);
    }
    insert.execute(&mut *connection).await?;
    assert!(complete(connection, key, 201, reply).await?, "the key is held");
    Ok(())
}

/// Moves an order on, in a transaction; `false` if it had another status than this.
pub async fn advance(
    connection: &mut MySqlConnection,
    user_id: Uuid,
    id: Uuid,
    (from, to): (&str, &str),
    now: OffsetDateTime,
) -> Result<bool> {
    let row = sqlx::query(
        "SELECT id, user_id, status, total_minor, currency, created_at, updated_at FROM orders \
         WHERE user_id = ? AND id = ? FOR UPDATE",
    );
    let row = row.bind(user_id).bind(id).fetch_one(&mut *connection).await?;
    let order = order(&row, items(connection, id).await?)?;
    if order.status != from {
        return Ok(false);
    }
    sqlx::query("UPDATE orders SET status = ?, version = version + 1, updated_at = ? WHERE id = ?")
        .bind(to)
        .bind(now)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    if to == "cancelled" {
        for (product_id, quantity, _) in order.items {
            sqlx::query("UPDATE products SET stock = stock + ?, version = version + 1, updated_at = ? WHERE id = ?")
                .bind(quantity)
                .bind(now)
                .bind(product_id)
                .execute(&mut *connection)
                .await?;
            let version = sqlx::query("SELECT version FROM products WHERE id = ?").bind(product_id);
            let _: u64 = version.fetch_one(&mut *connection).await?.try_get("version")?;
        }
    }
    Ok(true)
}

pub async fn find_order(connection: &mut MySqlConnection, id: Uuid) -> Result<Order> {
    let row = sqlx::query(
        "SELECT id, user_id, status, total_minor, currency, created_at, updated_at FROM orders WHERE TRUE AND id = ?",
    );
    let row = row.bind(id).fetch_one(&mut *connection).await?;
    order(&row, items(connection, id).await?)
}

async fn items(connection: &mut MySqlConnection, order: Uuid) -> Result<Vec<(Uuid, u32, u64)>> {
    let rows = sqlx::query(
        "SELECT order_id, product_id, quantity, unit_price_minor FROM order_items WHERE order_id IN (?) \
         ORDER BY order_id, product_id",
    );
    let rows = rows.bind(order).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("product_id")?, row.try_get("quantity")?, row.try_get("unit_price_minor")?)))
        .collect()
}

fn order(row: &MySqlRow, items: Vec<(Uuid, u32, u64)>) -> Result<Order> {
    let status: String = row.try_get("status")?;
    assert!(STATUSES.contains(&status.as_str()), "{status} is nothing that its code can read");
    Ok(Order {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        status,
        items,
        total: row.try_get("total_minor")?,
        currency: row.try_get("currency")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// Adjusts the stock, in a transaction, with the reply to its key. The stock that there is then.
pub async fn adjust(
    connection: &mut MySqlConnection,
    key: &Key,
    id: Uuid,
    product_id: Uuid,
    delta: i32,
    now: OffsetDateTime,
) -> Result<u32> {
    let product = lock_product(connection, product_id).await?;
    let stock = u32::try_from(i64::from(product.stock) + i64::from(delta)).expect("a stock");
    sqlx::query("UPDATE products SET stock = ?, version = version + 1, updated_at = ? WHERE id = ?")
        .bind(stock)
        .bind(now)
        .bind(product_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO stock_adjustments (id, product_id, delta, reason, user_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(product_id)
    .bind(delta)
    .bind("counted")
    .bind(key.user_id)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    assert!(complete(connection, key, 201, "{}").await?, "the key is held");
    Ok(stock)
}

/// Notes that a message left right after its commit. Whether it did.
pub async fn mark_sent(connection: &mut MySqlConnection, id: Uuid, now: OffsetDateTime) -> Result<bool> {
    let marked = sqlx::query(
        "UPDATE outbox SET locked_by = NULL, last_error = NULL, sent_at = ? WHERE id IN (?) AND sent_at IS NULL \
         AND locked_by = ?",
    );
    Ok(marked.bind(now).bind(id).bind(id).execute(connection).await?.rows_affected() == 1)
}

/// The messages that its relay would send, in a transaction.
pub async fn due(connection: &mut MySqlConnection, now: OffsetDateTime) -> Result<Vec<Message>> {
    let rows = sqlx::query(
        "SELECT id, queue, envelope, attempts FROM outbox WHERE sent_at IS NULL AND available_at <= ? \
         ORDER BY available_at LIMIT ? FOR UPDATE SKIP LOCKED",
    );
    let rows = rows.bind(now).bind(100_u32).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(Message {
                id: row.try_get("id")?,
                queue: row.try_get("queue")?,
                envelope: row.try_get("envelope")?,
                attempts: row.try_get("attempts")?,
            })
        })
        .collect()
}

/// Takes a report on, makes it, and reads it: its status at the end.
pub async fn report(connection: &mut MySqlConnection, id: Uuid, user_id: Uuid, now: OffsetDateTime) -> Result<String> {
    sqlx::query("INSERT INTO reports (id, user_id, from_time, to_time, status, created_at) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(id)
        .bind(user_id)
        .bind(now - Duration::hours(1))
        .bind(now + Duration::hours(1))
        .bind("queued")
        .bind(now)
        .execute(&mut *connection)
        .await?;
    let started = sqlx::query(
        "UPDATE reports SET status = 'running', fencing_token = ?, leased_until = ? \
         WHERE id = ? AND (status = 'queued' OR (status = 'running' AND leased_until < ?))",
    );
    let started = started.bind(id).bind(now + LEASE).bind(id).bind(now).execute(&mut *connection).await?;
    assert_eq!(started.rows_affected(), 1, "it is free");
    let ended = sqlx::query(
        "UPDATE reports SET status = ?, result = ?, failure = ?, finished_at = ?, fencing_token = NULL, \
         leased_until = NULL WHERE id = ? AND status = 'running' AND fencing_token = ?",
    );
    let ended = ended.bind("done").bind("{}").bind(None::<String>).bind(now).bind(id).bind(id);
    assert_eq!(ended.execute(&mut *connection).await?.rows_affected(), 1, "it is its own");
    let row = sqlx::query(
        "SELECT id, from_time, to_time, status, result, failure, created_at, finished_at FROM reports WHERE id = ?",
    );
    row.bind(id).fetch_one(connection).await?.try_get("status")
}

/// The orders of a report's chunk, and the units of their items that count as sold.
pub async fn sales(connection: &mut MySqlConnection, from: OffsetDateTime, to: OffsetDateTime) -> Result<(usize, u32)> {
    let sales = sqlx::query(
        "SELECT id, status, total_minor, currency, created_at FROM orders WHERE created_at >= ? AND created_at < ? \
         AND (created_at > ? OR id > ?) ORDER BY created_at, id LIMIT ?",
    );
    let sales = sales.bind(from).bind(to).bind(from).bind(Uuid::nil()).bind(10_000_u32);
    let sales = sales.fetch_all(&mut *connection).await?;
    for row in &sales {
        let status: &str = row.try_get("status")?;
        assert!(STATUSES.contains(&status), "{status} is nothing that its code can read");
    }
    let items = sqlx::query(
        "SELECT product_id, quantity, unit_price_minor, currency FROM (SELECT id, status, currency FROM orders \
         WHERE created_at >= ? AND created_at < ? AND (created_at > ? OR id > ?) ORDER BY created_at, id LIMIT ?) \
         AS chunk JOIN order_items ON order_id = chunk.id WHERE chunk.status <> 'cancelled'",
    );
    let items = items.bind(from).bind(to).bind(from).bind(Uuid::nil()).bind(10_000_u32);
    let items = items.fetch_all(connection).await?;
    let quantities = items.iter().map(|row| row.try_get::<u32, _>("quantity")).collect::<Result<Vec<_>>>()?;
    Ok((sales.len(), quantities.iter().sum()))
}
