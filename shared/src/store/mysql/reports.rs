//! The `reports` table: reports that were asked for, and what came of them; and the orders that they are about.
//!
//! ```text
//! queued ── start ──▶ running {lease, fencing token} ── finish ──▶ done {result}
//!    ▲                   │        │        └── fail ──▶ failed {reason}
//!    └──── release ──────┘        └── lease expired: started by the next delivery, with a token of its own
//!
//! queued or running ── fail_abandoned, two hours after it was asked for ──▶ failed
//! ```
//!
//! The row itself says whether its message took effect, so a second delivery changes nothing, and a late writer neither.

use super::currency;
use crate::order;
use rayon::prelude::*;
use sqlx::{MySql, QueryBuilder, Row, Transaction, mysql::MySqlRow};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{UnitOfWork, orders};
use crate::store::{Mysql, StoreError, outbox};
use crate::{
    boxed,
    money::Money,
    report::{Chunk, Sale, SoldItem},
};

/// How long a report is believed to be in the making; longer than its consumer's timeout.
pub const LEASE: Duration = Duration::seconds(150);
/// When nobody makes a report any more that is neither done nor failed: all tries of its message take less than an hour and a half.
pub const ABANDONED_AFTER: Duration = Duration::hours(2);
/// What is said of such a report.
const ABANDONED_FAILURE: &str = "it could not be made in time: ask for it again";
/// How long a report is kept.
pub const RETENTION: Duration = Duration::days(30);
/// How many orders are read at a time: some 2 MB with their items.
const CHUNK_ROWS: u32 = 10_000;

/// A report.
#[derive(Clone, Debug)]
pub struct Report {
    pub id: Uuid,
    /// The earliest time of its orders.
    pub from: OffsetDateTime,
    /// The time that all of its orders are before.
    pub to: OffsetDateTime,
    pub status: Status,
    /// JSON text of a [`crate::report::SalesReport`], once it is done.
    pub result: Option<String>,
    /// Why it failed.
    pub failure: Option<String>,
    pub created_at: OffsetDateTime,
    pub finished_at: Option<OffsetDateTime>,
}

/// Where a report stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Queued,
    Running,
    Done,
    Failed,
}

impl Status {
    const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Done, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn parse(text: &str) -> Result<Self, sqlx::Error> {
        let status = Self::ALL.into_iter().find(|status| status.as_str() == text);
        status.ok_or_else(|| sqlx::Error::Decode(format!("not the status of a report: {text}").into()))
    }
}

/// A report that somebody asks for.
pub struct NewReport {
    pub id: Uuid,
    /// Who asks.
    pub user_id: Uuid,
    pub from: OffsetDateTime,
    pub to: OffsetDateTime,
    pub now: OffsetDateTime,
}

impl NewReport {
    /// The report as it begins.
    #[must_use]
    pub const fn queued(&self) -> Report {
        Report {
            id: self.id,
            from: self.from,
            to: self.to,
            status: Status::Queued,
            result: None,
            failure: None,
            created_at: self.now,
            finished_at: None,
        }
    }
}

/// Takes a report on.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "reports.insert", skip_all)]
#[boxed]
pub async fn insert<'a>(work: &'a mut UnitOfWork, new: &'a NewReport) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO reports (id, user_id, from_time, to_time, status, created_at) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(new.id)
        .bind(new.user_id)
        .bind(new.from)
        .bind(new.to)
        .bind(Status::Queued.as_str())
        .bind(new.now)
        .execute(work.connection())
        .await?;
    Ok(())
}

/// The report with this id.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "reports.find", skip_all)]
#[boxed]
pub async fn find(mysql: &Mysql, id: Uuid) -> Result<Option<Report>, StoreError> {
    let row = sqlx::query(
        "SELECT id, from_time, to_time, status, result, failure, created_at, finished_at FROM reports WHERE id = ?",
    )
    .bind(id)
    .fetch_optional(&mut *mysql.connection().await?)
    .await?;
    Ok(row.as_ref().map(report).transpose()?)
}

fn report(row: &MySqlRow) -> Result<Report, sqlx::Error> {
    Ok(Report {
        id: row.try_get("id")?,
        from: row.try_get("from_time")?,
        to: row.try_get("to_time")?,
        status: Status::parse(row.try_get("status")?)?,
        result: row.try_get("result")?,
        failure: row.try_get("failure")?,
        created_at: row.try_get("created_at")?,
        finished_at: row.try_get("finished_at")?,
    })
}

/// What came of asking to make a report.
#[derive(Debug)]
pub enum Started {
    /// It is yours.
    Yes(Job),
    /// It is done or has failed; or there is no such report.
    Over,
    /// Another delivery is at work.
    InProgress,
}

/// A report in the making.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    id: Uuid,
    token: Uuid,
    pub from: OffsetDateTime,
    pub to: OffsetDateTime,
}

/// Leases a report to whoever makes it; `token` is new each time.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "reports.start", skip_all)]
#[boxed]
pub async fn start(mysql: &Mysql, id: Uuid, token: Uuid, now: OffsetDateTime) -> Result<Started, StoreError> {
    let started = sqlx::query(
        "UPDATE reports SET status = ?, fencing_token = ?, leased_until = ? \
         WHERE id = ? AND (status = ? OR (status = ? AND leased_until < ?))",
    )
    .bind(Status::Running.as_str())
    .bind(token)
    .bind(now + LEASE)
    .bind(id)
    .bind(Status::Queued.as_str())
    .bind(Status::Running.as_str())
    .bind(now)
    .execute(&mut *mysql.connection().await?)
    .await?;
    Ok(match find(mysql, id).await? {
        Some(Report { from, to, .. }) if started.rows_affected() == 1 => Started::Yes(Job { id, token, from, to }),
        Some(Report { status: Status::Queued | Status::Running, .. }) => Started::InProgress,
        Some(_) | None => Started::Over,
    })
}

/// Ends what nobody makes any more, since its message is in the dead-letter queue: whoever polls need not do so for ever.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "reports.fail_abandoned", skip_all)]
#[boxed]
pub async fn fail_abandoned(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    let failed = sqlx::query(
        "UPDATE reports SET status = ?, failure = ?, finished_at = ?, fencing_token = NULL, leased_until = NULL \
         WHERE created_at < ? AND status IN (?, ?) AND (leased_until IS NULL OR leased_until < ?)",
    )
    .bind(Status::Failed.as_str())
    .bind(ABANDONED_FAILURE)
    .bind(now)
    .bind(now - ABANDONED_AFTER)
    .bind(Status::Queued.as_str())
    .bind(Status::Running.as_str())
    .bind(now)
    .execute(&mut *mysql.connection().await?)
    .await?;
    Ok(failed.rows_affected())
}

/// Deletes some of the reports that are old.
///
/// # Errors
/// When the store does not answer.
#[tracing::instrument(name = "reports.purge", skip_all)]
#[boxed]
pub async fn purge(mysql: &Mysql, now: OffsetDateTime) -> Result<u64, StoreError> {
    mysql.purge("DELETE FROM reports WHERE created_at < ? LIMIT 1000", now - RETENTION).await
}

impl Job {
    /// Keeps the result. `false` if somebody else makes the report by now.
    ///
    /// # Errors
    /// When the store does not answer.
    #[tracing::instrument(name = "reports.finish", skip_all)]
    #[boxed]
    pub async fn finish(&self, mysql: &Mysql, result: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.end(mysql, Status::Done, Some(result), None, now).await
    }

    /// Notes why there will be no result. `false` if somebody else makes the report by now.
    ///
    /// # Errors
    /// When the store does not answer.
    #[tracing::instrument(name = "reports.fail", skip_all)]
    #[boxed]
    pub async fn fail(&self, mysql: &Mysql, reason: &str, now: OffsetDateTime) -> Result<bool, StoreError> {
        self.end(mysql, Status::Failed, None, Some(outbox::shortened(reason)), now).await
    }

    async fn end(
        &self,
        mysql: &Mysql,
        status: Status,
        result: Option<&str>,
        failure: Option<String>,
        now: OffsetDateTime,
    ) -> Result<bool, StoreError> {
        let ended = sqlx::query(
            "UPDATE reports SET status = ?, result = ?, failure = ?, finished_at = ?, fencing_token = NULL, \
             leased_until = NULL WHERE id = ? AND status = ? AND fencing_token = ?",
        )
        .bind(status.as_str())
        .bind(result)
        .bind(failure)
        .bind(now)
        .bind(self.id)
        .bind(Status::Running.as_str())
        .bind(self.token)
        .execute(&mut *mysql.connection().await?)
        .await?;
        Ok(ended.rows_affected() == 1)
    }

    /// Gives the report back after a failed attempt, so that the next delivery need not wait for the lease.
    ///
    /// # Errors
    /// When the store does not answer.
    #[tracing::instrument(name = "reports.release", skip_all)]
    #[boxed]
    pub async fn release(&self, mysql: &Mysql) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE reports SET status = ?, fencing_token = NULL, leased_until = NULL \
             WHERE id = ? AND status = ? AND fencing_token = ?",
        )
        .bind(Status::Queued.as_str())
        .bind(self.id)
        .bind(Status::Running.as_str())
        .bind(self.token)
        .execute(&mut *mysql.connection().await?)
        .await?;
        Ok(())
    }

    /// The orders that the report is about, to be read from the first chunk to the last.
    ///
    /// # Errors
    /// When there is no connection.
    #[boxed]
    pub async fn orders(&self, mysql: &Mysql) -> Result<Orders, StoreError> {
        // All chunks are of one snapshot, which the first query takes: InnoDB's repeatable reads.
        let transaction = mysql.begin().await?;
        Ok(Orders { transaction, after: (self.from, Uuid::nil()), to: self.to, is_over: false })
    }
}

/// Some of the orders and their items, as the store sent them.
pub struct Rows {
    sales: Vec<MySqlRow>,
    items: Vec<MySqlRow>,
}

impl Rows {
    /// What they say, read on the threads of the present rayon pool. Keeps the calling thread waiting.
    ///
    /// # Errors
    /// When a row is no order.
    pub fn chunk(&self) -> Result<Chunk, StoreError> {
        let sales = || self.sales.par_iter().map(sale).collect::<Result<_, sqlx::Error>>();
        let items = || self.items.par_iter().map(sold_item).collect::<Result<_, sqlx::Error>>();
        let (sales, items) = rayon::join(sales, items);
        Ok(Chunk { sales: sales?, items: items? })
    }
}

/// Orders of a span of time, in chunks, as they all were at one moment.
pub struct Orders {
    transaction: Transaction<'static, MySql>,
    /// Where the last chunk ended.
    after: (OffsetDateTime, Uuid),
    to: OffsetDateTime,
    is_over: bool,
}

impl Orders {
    /// The next rows; none after the last.
    ///
    /// # Errors
    /// When the store does not answer.
    #[tracing::instrument(name = "reports.orders", skip_all)]
    #[boxed]
    pub async fn next(&mut self) -> Result<Option<Rows>, StoreError> {
        if self.is_over {
            return Ok(None);
        }
        let mut query = QueryBuilder::new("SELECT id, status, total_minor, currency, created_at ");
        self.push_next(&mut query);
        let sales = query.build().fetch_all(&mut *self.transaction).await?;
        let mut query = QueryBuilder::new(
            "SELECT product_id, quantity, unit_price_minor, currency FROM (SELECT id, status, currency ",
        );
        self.push_next(&mut query);
        query.push(") AS chunk JOIN order_items ON order_id = chunk.id WHERE chunk.status IN (");
        let mut sold = query.separated(", ");
        for status in order::Status::ALL.iter().filter(|status| status.is_sold()) {
            sold.push_bind(status.as_str());
        }
        query.push(")");
        let items = query.build().fetch_all(&mut *self.transaction).await?;

        self.is_over = sales.len() < CHUNK_ROWS as usize;
        let Some(last) = sales.last() else { return Ok(None) };
        self.after = (last.try_get("created_at")?, last.try_get("id")?);
        Ok(Some(Rows { sales, items }))
    }

    /// Which orders come next. Pairs are not compared as pairs: MariaDB would find no range in that.
    fn push_next(&self, query: &mut QueryBuilder<MySql>) {
        let (time, id) = self.after;
        query.push("FROM orders WHERE created_at >= ").push_bind(time);
        query.push(" AND created_at < ").push_bind(self.to);
        query.push(" AND (created_at > ").push_bind(time).push(" OR id > ").push_bind(id);
        query.push(") ORDER BY created_at, id LIMIT ").push_bind(CHUNK_ROWS);
    }
}

fn sale(row: &MySqlRow) -> Result<Sale, sqlx::Error> {
    let created_at: OffsetDateTime = row.try_get("created_at")?;
    Ok(Sale { status: orders::status(row)?, total: money(row, "total_minor")?, day: created_at.date() })
}

fn sold_item(row: &MySqlRow) -> Result<SoldItem, sqlx::Error> {
    Ok(SoldItem {
        product_id: row.try_get("product_id")?,
        quantity: row.try_get("quantity")?,
        unit_price: money(row, "unit_price_minor")?,
    })
}

fn money(row: &MySqlRow, amount: &str) -> Result<Money, sqlx::Error> {
    Ok(Money { amount: row.try_get(amount)?, currency: currency(row)? })
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn the_statuses_are_those_of_the_check_constraint() {
        let migration = include_str!("../../../../migrations/0005_reports.sql");
        let listed = migration.split_once("reports_status CHECK (status IN (").unwrap().1.split(')').next().unwrap();
        let statuses = Status::ALL.map(|status| format!("'{}'", status.as_str()));
        assert_eq!(statuses.join(", "), listed);
    }
}
