//! Migrates the databases to the schema of this code. Run by the `migrate` function.

use std::{borrow::Cow, time::Duration};

use mongodb::{
    IndexModel,
    bson::{Document, doc},
    options::IndexOptions,
};
use sqlx::{
    MySqlConnection, SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{
    Mongodb, MysqlAdmin, StoreError,
    mongodb::{notifications, users::ADMINS_GUARD},
};
use crate::boxed;

/// Name and text of each file in `migrations/`, in order.
const FILES: &[(&str, &str)] = &[
    ("0001_catalogue_and_orders", include_str!("../../../migrations/0001_catalogue_and_orders.sql")),
    ("0002_idempotency_and_outbox", include_str!("../../../migrations/0002_idempotency_and_outbox.sql")),
    ("0003_lists_and_stock", include_str!("../../../migrations/0003_lists_and_stock.sql")),
    ("0004_orders_by_status", include_str!("../../../migrations/0004_orders_by_status.sql")),
    ("0005_reports", include_str!("../../../migrations/0005_reports.sql")),
    ("0006_reports_by_age", include_str!("../../../migrations/0006_reports_by_age.sql")),
    ("0007_order_items_as_sold", include_str!("../../../migrations/0007_order_items_as_sold.sql")),
    ("0008_order_cancellation", include_str!("../../../migrations/0008_order_cancellation.sql")),
    ("0009_stock_that_returns", include_str!("../../../migrations/0009_stock_that_returns.sql")),
];

/// How long a migration waits for a concurrent one, in seconds: less than the function's time limit.
const LOCK_SECONDS: u32 = 240;

/// Grants the application access to MySQL, and applies missing migrations. Idempotent, and safe to run concurrently:
/// one waits for the other.
///
/// # Errors
/// When the database does not answer, a concurrent migration takes too long, or an applied migration differs from the
/// one in this code.
#[tracing::instrument(name = "migrations.mysql", skip_all)]
#[boxed]
pub async fn mysql(mysql: &MysqlAdmin) -> Result<usize, StoreError> {
    // One connection for all of it, since the lock belongs to the connection.
    let mut connection = mysql.connection().await?;
    // Not sqlx's own lock: it waits for ever, and MariaDB takes a negative timeout for none at all.
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('migrations of ', DATABASE()), ?)")
        .bind(LOCK_SECONDS)
        .fetch_one(&mut *connection)
        .await?;
    if locked != Some(1) {
        let cause = "another migration has been under way for too long".into();
        return Err(StoreError::Failed { store: "MySQL", cause });
    }
    let result = prepare(mysql, &mut connection).await;
    let release = sqlx::query("SELECT RELEASE_LOCK(CONCAT('migrations of ', DATABASE()))");
    // If the release fails, the lock ends with the connection.
    let _ = release.execute(&mut *connection).await;
    result.map(|()| FILES.len())
}

async fn prepare(mysql: &MysqlAdmin, connection: &mut MySqlConnection) -> Result<(), StoreError> {
    mysql.let_application_in(connection).await?;
    apply(connection).await
}

async fn apply(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    let mut migrator = Migrator::with_migrations(FILES.iter().map(|(name, sql)| migration(name, sql)).collect());
    migrator.set_locking(false);
    let newest = migrator.iter().map(|migration| migration.version).max();
    if newest_applied(connection).await? > newest {
        tracing::warn!("newer code has migrated this database: nothing is changed");
        return Ok(());
    }
    // `run` takes no borrowed connection in a future that has to be `Send`; this is the method it calls.
    let applied = Box::pin(migrator.run_direct(None, connection, false)).await;
    applied.map_err(|error| StoreError::Failed { store: "MySQL", cause: error.into() })
}

/// The number of the last migration that any code has begun here. After a rollback of a deployment it exceeds this
/// code's: the older code runs on a schema that was only expanded (`migrations/README.md`), and has to ignore what it
/// does not know.
async fn newest_applied(connection: &mut MySqlConnection) -> Result<Option<i64>, StoreError> {
    let tables = sqlx::query("SHOW TABLES LIKE '\\_sqlx\\_migrations'").fetch_all(&mut *connection).await?;
    if tables.is_empty() {
        return Ok(None);
    }
    Ok(sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await?)
}

/// Creates what is missing in MongoDB: indexes, and the documents that serialise transactions. Idempotent.
///
/// # Errors
/// When the database does not answer.
#[tracing::instrument(name = "migrations.mongodb", skip_all)]
#[boxed]
pub async fn mongodb(mongodb: &Mongodb) -> Result<usize, StoreError> {
    let database = mongodb.database().await?;
    let mut count = 0;
    for (collection, indexes) in indexes() {
        let created = database.collection::<Document>(collection).create_indexes(indexes).await?;
        count += created.index_names.len();
    }
    // Transactions change this document, and create no collection: both have to exist before.
    let guard = doc! { "$setOnInsert": { "changes": 0_i64, "schemaVersion": 1 } };
    let guards = database.collection::<Document>("guards");
    guards.update_one(doc! { "_id": ADMINS_GUARD }, guard).upsert(true).await?;
    Ok(count)
}

/// Every index by its collection.
fn indexes() -> [(&'static str, Vec<IndexModel>); 4] {
    let index = |name: &str, keys: Document, options: IndexOptions| {
        let mut options = options;
        options.name = Some(name.to_owned());
        IndexModel::builder().keys(keys).options(options).build()
    };
    let plain = IndexOptions::default;
    let unique = || IndexOptions::builder().unique(true).build();
    // Sparse: a field that is unset where it does not count, so that its former value is free again.
    let unique_if_set = || IndexOptions::builder().unique(true).sparse(true).build();
    let expiry = |after| IndexOptions::builder().expire_after(after).build();
    [
        (
            "users",
            vec![
                index("users_email_key", doc! { "emailKey": 1 }, unique_if_set()),
                index("users_identity_keys", doc! { "identityKeys": 1 }, unique_if_set()),
                index("users_roles", doc! { "roles": 1, "_id": -1 }, plain()),
                index("users_verification_code", doc! { "verification.codeHash": 1 }, plain()),
                index("users_reset_code", doc! { "reset.codeHash": 1 }, plain()),
                index("users_outbox_due", doc! { "outbox.availableAt": 1 }, plain()),
                index("users_outbox_id", doc! { "outbox.id": 1 }, plain()),
            ],
        ),
        (
            "sessions",
            vec![
                index("sessions_family", doc! { "familyHash": 1 }, unique()),
                index("sessions_user", doc! { "userId": 1 }, plain()),
                index("sessions_expiry", doc! { "expiresAt": 1 }, expiry(Duration::ZERO)),
            ],
        ),
        ("limits", vec![index("limits_expiry", doc! { "expiresAt": 1 }, expiry(Duration::ZERO))]),
        (
            "notifications",
            vec![
                index("notifications_of_user", doc! { "userId": 1, "_id": -1 }, plain()),
                index("notifications_expiry", doc! { "createdAt": 1 }, expiry(notifications::RETENTION)),
            ],
        ),
    ]
}

fn migration(name: &'static str, sql: &'static str) -> Migration {
    let (version, description) = name.split_once('_').unwrap_or((name, ""));
    let version = version.parse().expect("a migration's name starts with its number");
    Migration::new(version, Cow::Borrowed(description), MigrationType::Simple, SqlStr::from_static(sql), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_named_here_in_order() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".sql")?.to_owned()))
            .collect();
        files.sort();
        assert_eq!(files, FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }
}
