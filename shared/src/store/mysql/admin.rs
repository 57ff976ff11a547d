//! MySQL as the user that may change its shape: for migrations, and for nothing else. What serves requests may read and write rows.

use sqlx::{ConnectOptions, MySql, MySqlConnection, pool::PoolConnection};

use crate::store::{Mysql, StoreError};
use crate::{
    boxed,
    contract::{Grant, Requirements, Resource, ResourceContext, Target},
    environment::{self, ConfigError},
    secret::Secret,
};

const SECRET: &str = "SOUK_MYSQL_ADMIN_SECRET";

/// The database as its first user, and as the one that functions are.
#[derive(Clone)]
pub struct MysqlAdmin {
    admin: Mysql,
    application: Mysql,
}

impl Resource for MysqlAdmin {
    fn requirements() -> Vec<Requirements> {
        let mut requirements = Mysql::requirements();
        requirements.push(Requirements {
            environment: &[SECRET],
            grants: &[Grant { action: "secretsmanager:GetSecretValue", target: Target::Secret("mysql-admin") }],
        });
        requirements
    }

    fn open(context: &ResourceContext) -> Result<Self, ConfigError> {
        let application: Mysql = context.get()?;
        let mut admin = application.with_secret(Secret::new(&context.aws, environment::required(SECRET)?));
        // Some of its statements have a password in them.
        admin.endpoint = admin.endpoint.disable_statement_logging();
        Ok(Self { admin, application })
    }
}

impl MysqlAdmin {
    /// A connection of the user that may do everything.
    ///
    /// # Errors
    /// When there is none.
    #[boxed]
    pub async fn connection(&self) -> Result<PoolConnection<MySql>, StoreError> {
        self.admin.connection().await
    }

    /// Sees to it that functions can log in with their secret, and may read and write rows. Safe to run twice.
    ///
    /// A password that works is left alone: its rotation may be under way.
    #[boxed]
    pub(in crate::store) async fn let_application_in(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(), StoreError> {
        let application = self.application.credentials().await?;
        if application.username == self.admin.credentials().await?.username {
            tracing::warn!("functions log in to MySQL as the user that may do everything");
            return Ok(());
        }
        let user = quoted(connection, &application.username).await? + "@'%'";
        let password = quoted(connection, application.password()).await?;
        let schema = self.admin.endpoint.get_database().unwrap_or_default().replace('_', "\\_");
        let create = format!("CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {password}");
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON `{schema}`.* TO {user}");
        for statement in [create, grant] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut *connection).await?;
        }
        if let Err(error) = self.application.ping().await {
            tracing::warn!(%error, "the functions' user of MySQL is given the password of its secret");
            let alter = format!("ALTER USER {user} IDENTIFIED BY {password}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(alter)).execute(&mut *connection).await?;
            self.application.ping().await?;
        }
        Ok(())
    }
}

/// A text as the server writes it in a statement: those about users take no parameters.
async fn quoted(connection: &mut MySqlConnection, text: &str) -> Result<String, StoreError> {
    let quoted = sqlx::query_scalar("SELECT CONVERT(QUOTE(?) USING utf8mb4)").bind(text).fetch_one(connection);
    Ok(quoted.await?)
}
