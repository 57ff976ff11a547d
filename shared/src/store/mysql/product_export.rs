//! All products, one after the other, from one statement.

use futures_util::{TryStreamExt, stream::BoxStream};
use sqlx::{Connection, QueryBuilder};
use uuid::Uuid;

use super::products::{COLUMNS, Product, product};
use crate::boxed;
use crate::store::{Mysql, StoreError};

/// Products as they come from the store.
pub type Products = BoxStream<'static, Result<Product, StoreError>>;

/// All products after this one that are not deleted, by their ids, as they are when the first is read: one statement reads one
/// snapshot. They come as fast as they are taken, so few of them are in memory. Dropping the stream closes its connection, which ends the
/// statement; otherwise whoever has the connection next would have to read the rest first.
///
/// # Errors
/// When there is no connection.
#[tracing::instrument(name = "products.export", skip_all)]
#[boxed]
pub async fn begin(mysql: &Mysql, after: Option<Uuid>) -> Result<Products, StoreError> {
    let mut connection = mysql.detached().await?;
    Ok(Box::pin(async_stream::try_stream! {
        // In the order of the table itself, whatever the statistics say: sorting would come before the first row.
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM products FORCE INDEX (PRIMARY) WHERE id > ");
        query.push_bind(after.unwrap_or_default()).push(" AND deleted_at IS NULL ORDER BY id");
        let mut rows = query.build().fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            yield product(&row)?;
        }
        drop(rows);
        connection.close().await?;
    }))
}
