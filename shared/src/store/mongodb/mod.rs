//! MongoDB: DocumentDB 5.0 in AWS, a MongoDB-compatible server on the local stage.

pub mod notifications;
pub mod sessions;
pub mod user_outbox;
pub mod users;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use mongodb::{
    Client, Database,
    bson::{Binary, DateTime, Uuid as BsonUuid, doc, spec::BinarySubtype},
    error::{CommandError, Error, ErrorKind, WriteFailure},
    event::{EventHandler, cmap::CmapEvent},
    options::{ClientOptions, Credential},
};
use secrecy::ExposeSecret;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoreError, TRUSTED_IDLE, renewable::Renewable};
use crate::{
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    secret::{Credentials, Secret},
};

const STORE: &str = "MongoDB";
/// MongoDB's error code for a violated unique index.
const DUPLICATE_KEY: i32 = 11000;
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// The most pings of a connection check: the first connection may be broken, the next dropped because another was
/// refused.
const MAX_PINGS: u32 = 3;

/// The document store: users, sessions, notifications.
#[derive(Clone)]
pub struct Mongodb {
    endpoint: Arc<str>,
    secret: Secret,
    login: Arc<Renewable<Database>>,
    used_at: Arc<Mutex<Option<Instant>>>,
    /// Set when the driver drops its connections, because one broke or was refused.
    was_lost: Arc<AtomicBool>,
}

impl Resource for Mongodb {
    fn requirements() -> Vec<Requirements> {
        vec![Requirements {
            environment: &["SOUK_MONGODB_ENDPOINT", "SOUK_MONGODB_SECRET"],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("mongodb") }],
        }]
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        Ok(Self {
            endpoint: environment::required("SOUK_MONGODB_ENDPOINT")?.into(),
            secret: Secret::new(&context.aws, environment::required("SOUK_MONGODB_SECRET")?),
            login: Arc::default(),
            used_at: Arc::default(),
            was_lost: Arc::default(),
        })
    }

    async fn warm(&self) {
        if let Err(error) = self.ping().await {
            tracing::warn!(error = %error, "no MongoDB connection yet");
        }
    }
}

impl Mongodb {
    /// The database, with a connection that was used a moment ago or has just been pinged.
    ///
    /// # Errors
    /// When the credentials are not available, the endpoint is not a MongoDB connection string, or a pinged connection
    /// does not answer.
    #[boxed]
    pub async fn database(&self) -> Result<Database, StoreError> {
        if self.is_trusted() {
            return self.login.client(|_| self.log_in()).await;
        }
        let database = self.login.attempt(|_| self.log_in(), checked).await?;
        self.was_lost.store(false, Ordering::Relaxed);
        *self.used_at() = Some(Instant::now());
        Ok(database)
    }

    /// Whether the connection was used a moment ago, or never, and none was lost since. Counts as a use.
    fn is_trusted(&self) -> bool {
        let (mut used_at, now) = (self.used_at(), Instant::now());
        let has_rested = used_at.is_some_and(|used_at| now - used_at > TRUSTED_IDLE);
        let is_trusted = !has_rested && !self.was_lost.load(Ordering::Relaxed);
        if is_trusted {
            *used_at = Some(now);
        }
        is_trusted
    }

    fn used_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client's database.
    async fn log_in(&self) -> Result<Database, StoreError> {
        let credentials: Credentials = self.secret.json().await.map_err(unavailable)?;
        let mut options = ClientOptions::parse(&*self.endpoint).await?;
        if !credentials.username.is_empty() {
            let source = options.credential.as_ref().and_then(|credential| credential.source.clone());
            options.credential = Some(
                Credential::builder()
                    .username(credentials.username)
                    .password(credentials.password.expose_secret().to_owned())
                    .source(source)
                    .build(),
            );
        }
        options.server_selection_timeout = Some(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout = Some(CONNECT_TIMEOUT);
        options.max_pool_size = Some(environment::concurrency());
        options.retry_writes = Some(false); // DocumentDB has none
        let was_lost = Arc::clone(&self.was_lost);
        options.cmap_event_handler = Some(EventHandler::callback(move |event| {
            if matches!(event, CmapEvent::PoolCleared(_)) {
                was_lost.store(true, Ordering::Relaxed);
            }
        }));
        let client = Client::with_options(options)?;
        Ok(client.default_database().unwrap_or_else(|| client.database("souk")))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    #[tracing::instrument(name = "mongodb.ping", skip_all)]
    #[boxed]
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.database().await?.run_command(doc! { "ping": 1 }).await?;
        Ok(())
    }
}

/// Pings the database and returns it.
#[boxed]
async fn checked(database: Database) -> Result<Database, StoreError> {
    let mut attempt = 1;
    loop {
        match database.run_command(doc! { "ping": 1 }).await.map_err(|error| (attempt, error)) {
            Ok(_) => return Ok(database),
            // The driver has dropped that connection, or all of them, and opens a new one.
            Err((..MAX_PINGS, error))
                if matches!(*error.kind, ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. }) =>
            {
                attempt += 1;
            }
            Err((_, error)) => return Err(error.into()),
        }
    }
}

/// Whether a unique index refused a write.
pub(super) fn is_duplicate_key(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Write(WriteFailure::WriteError(write)) => write.code == DUPLICATE_KEY,
        ErrorKind::Command(CommandError { code, .. }) => *code == DUPLICATE_KEY,
        _ => false,
    }
}

pub(super) fn to_bson_id(id: Uuid) -> BsonUuid {
    BsonUuid::from_bytes(id.into_bytes())
}

pub(super) fn from_bson_id(id: BsonUuid) -> Uuid {
    Uuid::from_bytes(id.bytes())
}

pub(super) fn to_bson_time(time: OffsetDateTime) -> DateTime {
    DateTime::from_millis(i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX))
}

pub(super) fn from_bson_time(time: DateTime) -> OffsetDateTime {
    let nanoseconds = i128::from(time.timestamp_millis()) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A number in MongoDB's range, which has no unsigned type.
pub(super) fn to_bson_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_binary(bytes: Vec<u8>) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes }
}

fn unavailable(cause: impl Into<super::Cause>) -> StoreError {
    StoreError::Unavailable { store: STORE, cause: cause.into() }
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match *error.kind {
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. } => unavailable(error),
            ErrorKind::Authentication { .. } => Self::Refused { store: STORE, cause: error.into() },
            _ => Self::Failed { store: STORE, cause: Box::new(error) },
        }
    }
}
