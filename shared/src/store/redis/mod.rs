//! Redis: ElastiCache in AWS. It may be down at any time: every use of it has a fallback.

pub mod login_codes;
pub mod revocations;

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline, RedisError, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use secrecy::{ExposeSecret, SecretString};

use super::{StoreError, renewable::Renewable};
use crate::{
    breaker::Breaker,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    secret::{Credentials, Secret},
};

const STORE: &str = "Redis";
const REVOCATION_URL: &str = "SOUK_REVOCATION_REDIS_URL";
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);

/// Redis. Each command has a timeout, and a circuit breaker fails fast after repeated failures.
#[derive(Clone)]
pub struct Redis<S = SecretSource> {
    source: S,
    login: Arc<Renewable<ConnectionManager>>,
    breaker: Arc<Breaker>,
}

/// The source of a connection's address and credentials. A type, so that a function links only its own.
pub trait ConnectionSource: Clone + Send + Sync + 'static {
    fn requirements() -> Vec<Requirements>;

    /// # Errors
    /// When the environment lacks a variable.
    fn open(context: &ResourceContext) -> Result<Self, ConfigError>;

    /// Address and credentials.
    fn info(&self) -> impl Future<Output = Result<ConnectionInfo, StoreError>> + Send;
}

/// Address from the environment, credentials from Secrets Manager: the usual source.
#[derive(Clone)]
pub struct SecretSource {
    endpoint: Arc<str>,
    secret: Secret,
}

impl ConnectionSource for SecretSource {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_REDIS_ENDPOINT", "SOUK_REDIS_SECRET"],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("redis") }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoint: environment::required("SOUK_REDIS_ENDPOINT")?.into(),
            secret: Secret::new(&context.aws, environment::required("SOUK_REDIS_SECRET")?),
        })
    }

    async fn info(&self) -> Result<ConnectionInfo, StoreError> {
        let credentials: Credentials = self.secret.json().await.map_err(unavailable)?;
        let info = self.endpoint.as_ref().into_connection_info()?;
        let mut settings = info.redis_settings().clone();
        if !credentials.username.is_empty() {
            settings = settings.set_username(credentials.username);
        }
        if !credentials.password.expose_secret().is_empty() {
            settings = settings.set_password(credentials.password.expose_secret());
        }
        Ok(info.set_redis_settings(settings))
    }
}

/// Address and credentials of a Redis user with read access to revocations only, from the environment: the authorizer
/// runs before every request, and starts without a call of Secrets Manager.
#[derive(Clone)]
pub struct RevocationReader(Arc<SecretString>);

impl ConnectionSource for RevocationReader {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements { environment: &[REVOCATION_URL], grants: &[] }]
    }

    fn open(_: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(environment::required(REVOCATION_URL)?.into())))
    }

    async fn info(&self) -> Result<ConnectionInfo, StoreError> {
        Ok(self.0.expose_secret().into_connection_info()?)
    }
}

impl<S: ConnectionSource> Resource for Redis<S> {
    fn requirements() -> Vec<Requirements> {
        S::requirements()
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self { source: S::open(context)?, login: Arc::default(), breaker: Arc::default() })
    }

    async fn warm(&self) {
        if let Err(error) = self.ping().await {
            tracing::warn!(error = %error, "no Redis connection yet");
        }
    }
}

impl<S: ConnectionSource> Redis<S> {
    /// Sends a command that may run twice, with one retry: the first command notices a connection that broke while the
    /// environment was frozen, and is repeated on a new one.
    ///
    /// # Errors
    /// When Redis does not answer in time, answers with an error, or is left alone by the breaker.
    pub async fn send_idempotent<T: FromRedisValue>(&self, command: &impl Command) -> Result<T, StoreError> {
        if self.breaker.is_open(Instant::now()) {
            return Err(unavailable("the circuit breaker is open after repeated failures"));
        }
        let result = match self.send(command).await {
            Err(StoreError::Unavailable { .. }) => self.send(command).await,
            result => result,
        };
        match &result {
            Err(StoreError::Unavailable { .. } | StoreError::Refused { .. }) => self.breaker.failed(Instant::now()),
            _ => self.breaker.succeeded(),
        }
        result
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// When it does not.
    #[tracing::instrument(name = "redis.ping", skip_all)]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.send_idempotent(&redis::cmd("PING")).await
    }

    async fn send<T: FromRedisValue>(&self, command: &impl Command) -> Result<T, StoreError> {
        let log_in = |_| async { connect(self.source.info().await?) };
        let value = self.login.attempt(log_in, |connection| command.query(connection)).await?;
        Ok(T::from_redis_value(value).map_err(RedisError::from)?)
    }
}

/// What is sent in one round trip: a command, or a pipeline of them.
pub trait Command: Sync {
    /// Sends it, and returns what the server answers.
    fn query(&self, connection: ConnectionManager) -> BoxFuture<'_, Result<Value, StoreError>>;
}

impl Command for Cmd {
    fn query(&self, mut connection: ConnectionManager) -> BoxFuture<'_, Result<Value, StoreError>> {
        Box::pin(async move { Ok(self.query_async(&mut connection).await?) })
    }
}

impl Command for Pipeline {
    fn query(&self, mut connection: ConnectionManager) -> BoxFuture<'_, Result<Value, StoreError>> {
        Box::pin(async move { Ok(self.query_async(&mut connection).await?) })
    }
}

/// A new connection. A refused one does not reconnect by itself.
fn connect(info: ConnectionInfo) -> Result<ConnectionManager, StoreError> {
    let client = Client::open(info)?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(50));
    Ok(ConnectionManager::new_lazy_with_config(client, config)?)
}

/// A time to live, in the unit of Redis commands.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unavailable(cause: impl Into<super::Cause>) -> StoreError {
    StoreError::Unavailable { store: STORE, cause: cause.into() }
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() || error.is_connection_refusal() {
            unavailable(error)
        } else if error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
        {
            Self::Refused { store: STORE, cause: Box::new(error) }
        } else {
            Self::Failed { store: STORE, cause: Box::new(error) }
        }
    }
}
