//! MySQL: MariaDB with a data directory of the stage's own.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::Server;
use crate::files;
use crate::requirements::is_root;
use crate::stage::Stage;

pub struct MariaDb<'a> {
    pub stage: &'a Stage,
}

impl MariaDb<'_> {
    fn data(&self) -> PathBuf {
        self.stage.dir.join("data/mariadb")
    }

    fn init_file(&self) -> PathBuf {
        self.stage.dir.join("data/mariadb.sql")
    }

    /// Run by the server at every start: makes the database, and a user with the rights of RDS's master user on it and on the databases
    /// of tests. The functions' own user is made by the migrations.
    fn init_sql(&self) -> String {
        let (admin, password) = (&self.stage.mysql_admin.username, &self.stage.mysql_admin.password);
        // A stage may be older than its admin: there the functions' user has all rights.
        let outdated = &self.stage.mysql.username;
        format!(
            "CREATE DATABASE IF NOT EXISTS souk CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;\n\
             CREATE USER IF NOT EXISTS '{admin}'@'127.0.0.1';\n\
             ALTER USER '{admin}'@'127.0.0.1' IDENTIFIED BY '{password}';\n\
             GRANT CREATE USER ON *.* TO '{admin}'@'127.0.0.1';\n\
             GRANT ALL PRIVILEGES ON `souk%`.* TO '{admin}'@'127.0.0.1' WITH GRANT OPTION;\n\
             DROP USER IF EXISTS '{outdated}'@'127.0.0.1';\n\
             ALTER USER 'root'@'localhost' IDENTIFIED BY '{password}';\n"
        )
    }

    /// Makes the system tables beside the data directory and renames them when complete, so that an interrupted run leaves
    /// no half-made database.
    fn install(&self) -> Result<()> {
        let fresh = self.stage.dir.join("data/mariadb.new");
        files::remove_dir(&fresh)?;
        let output = self
            .stage
            .command("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args(user_option())
            .arg(format!("--datadir={}", fresh.display()))
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            bail!("mariadb-install-db failed:\n{text}");
        }
        fs::rename(fresh, self.data())?;
        Ok(())
    }
}

/// As root the server requires an explicit user.
fn user_option() -> Option<&'static str> {
    is_root().then_some("--user=root")
}

impl Server for MariaDb<'_> {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn port(&self) -> u16 {
        self.stage.ports.mysql
    }

    fn port_variable(&self) -> &'static str {
        "SOUK_MYSQL_PORT"
    }

    fn prepare(&self) -> Result<()> {
        if !self.data().exists() {
            self.install()?;
        }
        files::write_private(&self.init_file(), &self.init_sql())
    }

    fn command(&self) -> Command {
        let mut command = self.stage.command("mariadbd");
        command
            .arg("--no-defaults")
            .args(user_option())
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--init-file={}", self.init_file().display()))
            .arg(format!("--port={}", self.port()))
            // Relative to the data directory: the path of a socket is limited to 107 characters.
            .args([
                "--socket=mariadb.sock",
                "--pid-file=mariadb.pid",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
            ])
            .args(["--default-time-zone=+00:00", "--innodb-buffer-pool-size=64M", "--max-connections=500"]);
        command
    }

    /// A MySQL server speaks first: a packet whose payload begins with the protocol version, 10.
    fn is_ready(&self) -> bool {
        let mut greeting = [0; 5];
        super::connect(self.port()).is_some_and(|mut stream| stream.read_exact(&mut greeting).is_ok())
            && greeting[4] == 10
    }
}
