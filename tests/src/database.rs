//! Databases of a single test on the stage's MySQL, and their applied migrations.

use std::fs;

use shared::ambient::Ambient;
use sqlx::{MySqlPool, Row, mysql::MySqlConnectOptions};

use crate::{aws, template::repository};

/// A new, empty database.
pub struct Database {
    pub pool: MySqlPool,
    /// The value of `SOUK_MYSQL_ENDPOINT` for it.
    pub endpoint: String,
}

impl Database {
    /// Creates a database.
    ///
    /// # Panics
    /// When it cannot be created.
    pub async fn create() -> Self {
        let endpoint = shared::environment::required("SOUK_MYSQL_ENDPOINT").unwrap();
        let secret = aws::secret(&shared::environment::required("SOUK_MYSQL_ADMIN_SECRET").unwrap());
        let text = |name: &str| secret[name].as_str().unwrap().to_owned();
        let options: MySqlConnectOptions = endpoint.parse().unwrap();
        let options = options.username(&text("username")).password(&text("password"));
        let name = format!("souk_{}", Ambient::system().id().simple());
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&MySqlPool::connect_lazy_with(options.clone())).await.unwrap();
        let (server, _) = endpoint.rsplit_once('/').unwrap();
        Self { pool: MySqlPool::connect_lazy_with(options.database(&name)), endpoint: format!("{server}/{name}") }
    }

    /// The environment of a function that uses it.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, String); 1] {
        [("SOUK_MYSQL_ENDPOINT", self.endpoint.clone())]
    }

    /// The applied migrations: number and success.
    ///
    /// # Panics
    /// When there are none.
    pub async fn applied(&self) -> Vec<(i64, bool)> {
        let rows = sqlx::query("SELECT version, success FROM _sqlx_migrations ORDER BY version");
        let rows = rows.fetch_all(&self.pool).await.unwrap();
        rows.iter().map(|row| (row.get("version"), row.get("success"))).collect()
    }
}

/// How many migrations there are.
///
/// # Panics
/// When their directory cannot be read.
#[must_use]
pub fn migrations() -> usize {
    let files = fs::read_dir(repository().join("migrations")).unwrap();
    files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "sql")).count()
}
