//! The `stock_adjustments` table: who changed the stock by hand, and why.

use sqlx::MySqlConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Contention,
    idempotency_keys::Claim,
    products::{self, MAX_STOCK},
};
use crate::store::{Mysql, StoreError};
use crate::{boxed, error::ApiError};

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
    pub now: OffsetDateTime,
}

/// Why an adjustment was not made. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdjustError {
    #[error("there is no such product")]
    NotFound,
    #[error("there are fewer units than that")]
    OutOfStock,
    #[error("there would be more units than a product can have")]
    TooMany,
    /// Somebody else took the idempotency key over, because this request took longer than its lease.
    #[error("the idempotency key was taken over")]
    LeaseLost,
    #[error("the reply cannot be written: {0}")]
    Reply(ApiError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for AdjustError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Contention for AdjustError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_contention())
    }
}

/// Changes the stock: the product, the record of the adjustment and the idempotency record change together, or not at all.
///
/// `status` and `finish` are the reply to be kept for repetitions.
///
/// # Errors
/// See [`AdjustError`]; every one of them has rolled everything back.
#[tracing::instrument(name = "stock_adjustments.make", skip_all)]
pub async fn make(
    mysql: &Mysql,
    new: &NewAdjustment,
    claim: &Claim,
    status: u16,
    finish: impl Fn(&Adjustment) -> Result<String, ApiError>,
) -> Result<(Adjustment, String), AdjustError> {
    let mut transaction = mysql.begin().await?;
    let products = products::lock(&mut transaction, &[new.product_id]).await?;
    let product = products.first().ok_or(AdjustError::NotFound)?;
    let stock = i64::from(product.offer.stock) + i64::from(new.delta);
    let stock = u32::try_from(stock).map_err(|_| AdjustError::OutOfStock)?;
    if stock > MAX_STOCK {
        return Err(AdjustError::TooMany);
    }
    products::set_stock(&mut transaction, new.product_id, stock, new.now).await?;
    let adjustment = Adjustment {
        id: new.id,
        product_id: new.product_id,
        delta: new.delta,
        reason: new.reason.clone(),
        user_id: new.user_id,
        stock,
        version: product.version + 1,
        created_at: new.now,
    };
    insert(&mut transaction, &adjustment).await?;
    let reply = finish(&adjustment).map_err(AdjustError::Reply)?;
    if !claim.complete(&mut transaction, status, &reply).await? {
        return Err(AdjustError::LeaseLost);
    }
    transaction.commit().await?;
    Ok((adjustment, reply))
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
