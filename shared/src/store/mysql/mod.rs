//! MySQL: RDS for MySQL 8.4 behind a proxy in AWS, MariaDB 10.11 on the local stage.

mod admin;
pub mod idempotency_keys;
pub mod orders;
pub mod outbox;
pub mod processed_messages;
pub mod product_export;
pub mod product_list;
pub mod products;
pub mod reports;
pub mod sample_orders;
pub mod stock_adjustments;
mod unit_of_work;

use crate::money::Currency;
use sqlx::{Row, mysql::MySqlRow};
use std::{future::Future, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use sqlx::{
    MySql, MySqlConnection, Transaction,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPool, MySqlPoolOptions},
    pool::PoolConnection,
};
use time::OffsetDateTime;

pub use self::{
    admin::MysqlAdmin,
    unit_of_work::{KeyedWork, UnitOfWork},
};
use super::{StoreError, TRUSTED_IDLE, renewable::Renewable};
use crate::error::ApiError;
use crate::{
    ambient::Ambient,
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    secret::{Credentials, Secret},
};

const STORE: &str = "MySQL";
/// How long a request waits for a connection before it answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a statement waits for a row that another transaction has locked. The server's default is 50 s, longer than any request lasts.
pub const LOCK_WAIT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many prepared statements a connection keeps: those of an order are as many as orders have numbers of lines.
const STATEMENT_CACHE: usize = 256;
/// How often a transaction is tried when others are in the way.
const MAX_ATTEMPTS: u32 = 6;

/// The relational store: products, orders, the outbox, idempotency keys.
///
/// One connection per request that the environment serves at once, so that concurrency × pool stays below the database's limit.
#[derive(Clone)]
pub struct Mysql {
    pub(super) endpoint: MySqlConnectOptions,
    secret: Secret,
    login: Arc<Renewable<MySqlPool>>,
}

impl Resource for Mysql {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_MYSQL_ENDPOINT", "SOUK_MYSQL_SECRET"],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("mysql") }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let endpoint: MySqlConnectOptions = environment::parsed("SOUK_MYSQL_ENDPOINT")?;
        Ok(Self {
            // Each SET that a connection starts with would pin it in RDS Proxy: all of them are off, times are always UTC values.
            endpoint: endpoint
                .charset("utf8mb4")
                .set_names(false)
                .pipes_as_concat(false)
                .no_engine_substitution(false)
                .timezone(None)
                .statement_cache_capacity(STATEMENT_CACHE),
            secret: Secret::new(&context.aws, environment::required("SOUK_MYSQL_SECRET")?),
            login: Arc::default(),
        })
    }

    async fn warm(&self) {
        if let Err(error) = self.connection().await {
            tracing::warn!(error = %error, "no MySQL connection yet");
        }
    }
}

impl Mysql {
    /// The pool, with what its next connections are made with. Made at first use; afterwards it is the same one, so that what is
    /// connected stays so.
    async fn log_in(&self, pool: Option<MySqlPool>) -> Result<MySqlPool, StoreError> {
        let options = self.credentials().await?.apply(self.endpoint.clone());
        if let Some(pool) = pool {
            pool.set_connect_options(options);
            return Ok(pool);
        }
        Ok(MySqlPoolOptions::new()
            .max_connections(environment::concurrency())
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .test_before_acquire(false)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // The server enforces it: a client that is gone could not.
                    let set = format!("SET SESSION innodb_lock_wait_timeout = {}", LOCK_WAIT_TIMEOUT.as_secs());
                    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(connection).await?;
                    Ok(())
                })
            })
            .before_acquire(|connection, metadata| {
                Box::pin(async move {
                    if metadata.idle_for > TRUSTED_IDLE {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options))
    }

    #[boxed]
    pub(super) async fn credentials(&self) -> Result<Credentials, StoreError> {
        self.secret.json().await.map_err(unavailable)
    }

    /// The same database, logged in to with another secret.
    pub(super) fn with_secret(&self, secret: Secret) -> Self {
        Self { endpoint: self.endpoint.clone(), secret, login: Arc::default() }
    }

    /// A connection. The pool has it back when it is dropped.
    ///
    /// # Errors
    /// When there is none.
    #[boxed]
    pub async fn connection(&self) -> Result<PoolConnection<MySql>, StoreError> {
        // On the heap, as below: connecting takes a future of some 17 kB.
        let acquire = |pool: MySqlPool| async move { Ok(Box::pin(pool.acquire()).await?) };
        self.login.attempt(|pool| self.log_in(pool), acquire).await
    }

    /// Begins a transaction. Dropping it rolls it back.
    ///
    /// # Errors
    /// When there is no connection.
    #[boxed]
    pub async fn begin(&self) -> Result<Transaction<'static, MySql>, StoreError> {
        let begin = |pool: MySqlPool| async move { Ok(Box::pin(pool.begin()).await?) };
        self.login.attempt(|pool| self.log_in(pool), begin).await
    }

    /// A connection that does not go back to the others: ending with it, whoever drops it ends what it is doing.
    ///
    /// # Errors
    /// When there is none.
    #[boxed]
    pub(super) async fn detached(&self) -> Result<MySqlConnection, StoreError> {
        Ok(self.connection().await?.detach())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    #[tracing::instrument(name = "mysql.ping", skip_all)]
    #[boxed]
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&mut *self.connection().await?).await?;
        Ok(())
    }

    /// Runs a statement that deletes what is older than its one parameter; how many rows it did.
    #[boxed]
    pub(super) async fn purge(&self, statement: &'static str, older_than: OffsetDateTime) -> Result<u64, StoreError> {
        let result = sqlx::query(statement).bind(older_than).execute(&mut *self.connection().await?).await?;
        Ok(result.rows_affected())
    }
}

impl Credentials {
    fn apply(&self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        options.username(&self.username).password(self.password())
    }

    pub(super) fn password(&self) -> &str {
        self.password.expose_secret()
    }
}

/// Runs a transaction again after a deadlock, a bounded number of times, with exponential backoff and full jitter.
///
/// # Errors
/// Those of the transaction; [`StoreError::Contended`] when the attempts are used up.
pub async fn retry_contention<T, E, F>(ambient: &Ambient, mut transaction: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: Contention,
{
    let mut attempt = 1;
    loop {
        match transaction().await {
            Err(error) if attempt < MAX_ATTEMPTS && error.is_contention() => {
                tokio::time::sleep(Duration::from_millis(1 + ambient.below(5 << attempt))).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// An error that may be [`StoreError::Contended`].
pub trait Contention {
    fn is_contention(&self) -> bool;
}

impl Contention for ApiError {
    fn is_contention(&self) -> bool {
        Self::is_contention(self)
    }
}

impl Contention for StoreError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Contended { .. })
    }
}

/// The currency in a row's column of that name.
fn currency(row: &MySqlRow) -> Result<Currency, sqlx::Error> {
    let text: &str = row.try_get("currency")?;
    text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn unavailable(cause: impl Into<super::Cause>) -> StoreError {
    StoreError::Unavailable { store: STORE, cause: cause.into() }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let number =
            error.as_database_error().and_then(|error| error.try_downcast_ref()).map(MySqlDatabaseError::number);
        let (store, cause) = (STORE, Box::new(error));
        match (&*cause, number) {
            (_, Some(1205)) => Self::LockWaitTimeout { store, cause },
            // Deadlock.
            (_, Some(1213)) => Self::Contended { store, cause },
            // Access denied: to RDS Proxy too, which clients log in to with the same secret.
            (_, Some(1045)) => Self::Refused { store, cause },
            // Too many connections, shutting down, read-only (a failover), too many connections of a user; the query or the
            // connection was killed.
            (_, Some(1040 | 1053 | 1203 | 1290 | 1317 | 1927)) => Self::Unavailable { store, cause },
            (E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed, _) => {
                Self::Unavailable { store, cause }
            }
            _ => Self::Failed { store, cause },
        }
    }
}
