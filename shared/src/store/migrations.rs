//! Brings the databases to the shape that this code expects. Run by the `migrate` function.

use std::borrow::Cow;

use mongodb::{IndexModel, bson::doc, options::IndexOptions};
use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType, Migrator},
};

use super::{Mongodb, Mysql, StoreError};

/// Name and text of each file in `migrations/`, in order.
const FILES: &[(&str, &str)] = &[
    ("0001_catalogue_and_orders", include_str!("../../../migrations/0001_catalogue_and_orders.sql")),
    ("0002_idempotency_and_outbox", include_str!("../../../migrations/0002_idempotency_and_outbox.sql")),
];

/// Applies what is missing in MySQL. Safe to run twice, and by two at once: one waits for the other.
///
/// # Errors
/// When the database cannot be reached, or an applied migration is not the one in this code.
#[tracing::instrument(name = "migrations.mysql", skip_all)]
pub async fn mysql(mysql: &Mysql) -> Result<usize, StoreError> {
    let migrator = Migrator::with_migrations(FILES.iter().map(|(name, sql)| migration(name, sql)).collect());
    migrator
        .run(mysql.pool().await?)
        .await
        .map_err(|error| StoreError::Failed { store: "MySQL", cause: error.into() })?;
    Ok(FILES.len())
}

/// Creates the indexes that are missing in MongoDB. Safe to run twice.
///
/// # Errors
/// When the database cannot be reached.
#[tracing::instrument(name = "migrations.mongodb", skip_all)]
pub async fn mongodb(mongodb: &Mongodb) -> Result<usize, StoreError> {
    let users = mongodb.database().await?.collection::<mongodb::bson::Document>("users");
    let unique = IndexOptions::builder().unique(true).name("users_email_key".to_owned()).sparse(true).build();
    let named = |name: &str| IndexOptions::builder().name(name.to_owned()).build();
    let indexes = [
        // Unset on deletion, so that the address is free again.
        IndexModel::builder().keys(doc! { "emailKey": 1 }).options(unique).build(),
        IndexModel::builder().keys(doc! { "outbox.availableAt": 1 }).options(named("users_outbox_due")).build(),
        IndexModel::builder().keys(doc! { "outbox.id": 1 }).options(named("users_outbox_id")).build(),
    ];
    Ok(users.create_indexes(indexes).await?.index_names.len())
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
