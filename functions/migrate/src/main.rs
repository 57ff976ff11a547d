//! Migrates MySQL and MongoDB to the schema of this release, and grants the functions access to MySQL.
//!
//! A deployment invokes it as a custom resource and waits for it; a manual invocation, with any event, does the same.

use shared::{
    background::{Migrate, Migrated},
    lambda::{TaskError, TaskRun},
    store::migrations,
};

shared::lambda!(Migrate, handle);

async fn handle(needs: Needs, run: TaskRun<Migrate>) -> Result<Migrated, TaskError> {
    let result = if run.event.is_wanted() { migrate(&needs).await } else { Ok(Migrated::default()) };
    run.event.respond(result.as_ref().map(|_| ()).map_err(|error| error.0.as_str())).await?;
    result
}

async fn migrate(needs: &Needs) -> Result<Migrated, TaskError> {
    let migrations = migrations::mysql(&needs.mysql).await?;
    let indexes = migrations::mongodb(&needs.mongodb).await?;
    Ok(Migrated { migrations, indexes })
}
