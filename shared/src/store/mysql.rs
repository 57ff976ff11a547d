//! The MySQL connection: RDS for MySQL 8.4 behind a proxy in AWS, MariaDB 10.11 on the local stage.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{
    MySql, MySqlConnection, Transaction,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPool, MySqlPoolOptions},
};
use time::OffsetDateTime;
use tokio::sync::OnceCell;

use super::{StoreError, TRUSTED_IDLE};
use crate::{
    ambient::Ambient,
    contract::{Grant, Opener, Requirements, Resource, Target},
    environment::{self, ConfigError},
    secret::{Credentials, Secret},
};

const STORE: &str = "MySQL";
/// How long a request waits for a connection before it answers 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a transaction is tried when others are in the way.
const ATTEMPTS: u32 = 6;

/// The relational store: products, orders, the outbox, idempotency keys.
///
/// One connection per request that the environment serves at once, so that concurrency × pool stays below the database's limit.
#[derive(Clone)]
pub struct Mysql {
    endpoint: MySqlConnectOptions,
    secret: Secret,
    pool: Arc<OnceCell<MySqlPool>>,
}

impl Resource for Mysql {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_MYSQL_ENDPOINT", "SOUK_MYSQL_SECRET"],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("mysql") }],
        }]
    }

    fn open(opener: &Opener) -> Result<Self, ConfigError> {
        let endpoint: MySqlConnectOptions = environment::parsed("SOUK_MYSQL_ENDPOINT")?;
        Ok(Self {
            // Each SET that a connection starts with would pin it in RDS Proxy: all of them are off, times are always UTC values.
            endpoint: endpoint
                .charset("utf8mb4")
                .set_names(false)
                .pipes_as_concat(false)
                .no_engine_substitution(false)
                .timezone(None),
            secret: Secret::new(&opener.aws, environment::required("SOUK_MYSQL_SECRET")?),
            pool: Arc::default(),
        })
    }

    async fn warm(&self) {
        if let Err(error) = self.connect().await {
            tracing::warn!(error = %error, "no MySQL connection yet");
        }
    }
}

impl Mysql {
    /// The pool; made at first use.
    ///
    /// # Errors
    /// When the credentials cannot be had.
    pub async fn pool(&self) -> Result<&MySqlPool, StoreError> {
        self.pool
            .get_or_try_init(async || {
                let credentials: Credentials = self.secret.json().await.map_err(unavailable)?;
                let options = credentials.apply(self.endpoint.clone());
                Ok(MySqlPoolOptions::new()
                    .max_connections(environment::concurrency())
                    .acquire_timeout(ACQUIRE_TIMEOUT)
                    .idle_timeout(None)
                    .test_before_acquire(false)
                    .before_acquire(|connection, metadata| {
                        Box::pin(async move {
                            if metadata.idle_for > TRUSTED_IDLE {
                                sqlx::Connection::ping(connection).await?;
                            }
                            Ok(true)
                        })
                    })
                    .connect_lazy_with(options))
            })
            .await
    }

    /// Begins a transaction. Dropping it rolls it back.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn begin(&self) -> Result<Transaction<'static, MySql>, StoreError> {
        // On the heap: connecting takes a future of some 17 kB.
        Ok(Box::pin(self.pool().await?.begin()).await?)
    }

    /// A connection that does not go back to the others: ending with it, whoever drops it ends what it is doing.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn dedicated(&self) -> Result<MySqlConnection, StoreError> {
        Ok(Box::pin(self.pool().await?.acquire()).await?.detach())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    #[tracing::instrument(name = "mysql.ping", skip_all)]
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(self.pool().await?).await?;
        Ok(())
    }

    /// Runs a statement that deletes what is older than its one parameter; how many rows it did.
    pub(super) async fn purge(&self, statement: &'static str, older_than: OffsetDateTime) -> Result<u64, StoreError> {
        let result = sqlx::query(statement).bind(older_than).execute(self.pool().await?).await?;
        Ok(result.rows_affected())
    }

    async fn connect(&self) -> Result<(), StoreError> {
        Box::pin(self.pool().await?.acquire()).await?;
        Ok(())
    }
}

impl Credentials {
    fn apply(&self, options: MySqlConnectOptions) -> MySqlConnectOptions {
        use secrecy::ExposeSecret;
        options.username(&self.username).password(self.password.expose_secret())
    }
}

/// Runs a transaction again, a bounded number of times with a growing random pause, while others are in its way.
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
            Err(error) if attempt < ATTEMPTS && error.is_contention() => {
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

impl Contention for StoreError {
    fn is_contention(&self) -> bool {
        matches!(self, Self::Contended { .. })
    }
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
            // Lock wait timeout, deadlock.
            (_, Some(1205 | 1213)) => Self::Contended { store, cause },
            // Too many connections, access denied, shutting down, read-only (a failover), too many connections of a user; the query
            // or the connection was killed.
            (_, Some(1040 | 1045 | 1053 | 1203 | 1290 | 1317 | 1927)) => Self::Unavailable { store, cause },
            (E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed, _) => {
                Self::Unavailable { store, cause }
            }
            _ => Self::Failed { store, cause },
        }
    }
}
