//! The `stock_adjustments` table: who changed the stock by hand, and why.

use sqlx::MySqlConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    UnitOfWork,
    products::{self, MAX_STOCK},
};
use crate::{
    boxed,
    error::{ApiError, Problem},
    store::{Mysql, StoreError},
};

/// An adjustment that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub id: Uuid,
    pub product_id: Uuid,
    /// Units that came, or went.
    pub delta: i32,
    pub reason: String,
    pub user_id: Uuid,
    /// Units that there then were.
    pub stock: u32,
    /// The product's version with them.
    pub version: u64,
    pub created_at: OffsetDateTime,
}

/// An adjustment to be made.
pub struct NewAdjustment {
    pub id: Uuid,
    pub product_id: Uuid,
    pub delta: i32,
    pub reason: String,
    pub user_id: Uuid,
}

/// Why an adjustment cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdjustError {
    #[error("there is no such product")]
    NotFound,
    #[error("there are fewer units than that")]
    OutOfStock,
    #[error("there would be more units than a product can have")]
    TooMany,
}

impl From<AdjustError> for ApiError {
    fn from(error: AdjustError) -> Self {
        match error {
            AdjustError::NotFound => Problem::NotFound.into(),
            AdjustError::OutOfStock => Self::new(Problem::OutOfStock, "There are fewer units than that"),
            AdjustError::TooMany => Self::field("delta", "comes to more units than a product can have"),
        }
    }
}

/// Changes the stock, and keeps the record of it.
///
/// # Errors
/// [`AdjustError`] where that cannot be; nothing was changed. When the store does not answer.
#[tracing::instrument(name = "stock_adjustments.make", skip_all)]
#[boxed]
pub async fn make(work: &mut UnitOfWork, new: NewAdjustment) -> Result<Result<Adjustment, AdjustError>, StoreError> {
    let (created_at, connection) = (work.now(), work.connection());
    let products = products::lock(connection, &[new.product_id]).await?;
    let Some((offer, version)) = products.into_iter().next() else { return Ok(Err(AdjustError::NotFound)) };
    let stock = i64::from(offer.stock) + i64::from(new.delta);
    if stock > i64::from(MAX_STOCK) && new.delta > 0 {
        return Ok(Err(AdjustError::TooMany));
    }
    let Ok(stock) = u32::try_from(stock) else { return Ok(Err(AdjustError::OutOfStock)) };
    products::set_stock(connection, new.product_id, stock, created_at).await?;
    let NewAdjustment { id, product_id, delta, reason, user_id } = new;
    let version = version + 1;
    let adjustment = Adjustment { id, product_id, delta, reason, user_id, stock, version, created_at };
    insert(connection, &adjustment).await?;
    Ok(Ok(adjustment))
}

#[tracing::instrument(name = "stock_adjustments.insert", skip_all)]
async fn insert(connection: &mut MySqlConnection, adjustment: &Adjustment) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO stock_adjustments (id, product_id, delta, reason, user_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(adjustment.id)
    .bind(adjustment.product_id)
    .bind(adjustment.delta)
    .bind(&adjustment.reason)
    .bind(adjustment.user_id)
    .bind(adjustment.created_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// The sum of all adjustments of a product, and how many they are.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "stock_adjustments.sum", skip_all)]
#[boxed]
pub async fn sum(mysql: &Mysql, product_id: Uuid) -> Result<(i64, i64), StoreError> {
    let row = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(delta), 0) AS SIGNED), COUNT(*) FROM stock_adjustments WHERE product_id = ?",
    );
    Ok(row.bind(product_id).fetch_one(&mut *mysql.connection().await?).await?)
}
