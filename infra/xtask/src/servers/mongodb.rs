//! MongoDB: SecantusDB, a MongoDB server that can be installed from the package index.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{SHUTDOWN_TIMEOUT, STARTUP_TIMEOUT, Server};
use crate::files;
use crate::process::{Process, wait_until};
use crate::stage::Stage;
use crate::tools::Tools;

pub struct MongoDb<'a> {
    pub stage: &'a Stage,
    pub tools: &'a Tools,
}

impl MongoDb<'_> {
    fn data(&self) -> PathBuf {
        self.stage.dir.join("data/mongodb")
    }

    /// Exists when the data directory holds the stage's user.
    fn user_marker(&self) -> PathBuf {
        self.stage.dir.join("data/mongodb.user")
    }

    /// The server without access control.
    fn open_command(&self) -> Command {
        let mut command = self.stage.command(self.tools.program("secantusd-py"));
        command
            .args(["--host", "127.0.0.1", "--port", &self.port().to_string()])
            .arg("--storage-path")
            .arg(self.data())
            // Durability: without it a killed server loses writes that it acknowledged.
            .arg("--sync-on-commit")
            .args(["--cache-size", "128M", "--log-level", "WARNING"])
            // It looks for a configuration file in the current directory first.
            .current_dir(self.stage.dir.join("data"));
        command
    }

    /// Runs the server once without access control: users can only be made then.
    fn create_user(&self) -> Result<()> {
        let process = Process::new(self.name(), &self.stage.dir);
        process.spawn(self.open_command(), "without-access-control")?;
        let created = self.run_create_user();
        process.stop(SHUTDOWN_TIMEOUT)?;
        created.map_err(|error| process.failure(&format!("took no user: {error:#}"), "run `up` again"))
    }

    fn run_create_user(&self) -> Result<()> {
        if !wait_until(STARTUP_TIMEOUT, || self.is_ready()) {
            bail!("it does not answer");
        }
        let mut script = self
            .stage
            .command(self.tools.program("python"))
            .arg(self.stage.workspace.pinned().join("create_mongodb_user.py"))
            .arg(self.port().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let credentials = format!("{} {}\n", self.stage.mongodb.username, self.stage.mongodb.password);
        script.stdin.take().context("no standard input")?.write_all(credentials.as_bytes())?;
        let output = script.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Server for MongoDb<'_> {
    fn name(&self) -> &'static str {
        "MongoDB"
    }

    fn port(&self) -> u16 {
        self.stage.ports.mongodb
    }

    fn port_variable(&self) -> &'static str {
        "SOUK_MONGODB_PORT"
    }

    fn prepare(&self) -> Result<()> {
        if !self.data().exists() || !self.user_marker().exists() {
            files::create_dir(&self.data())?;
            self.create_user()?;
            fs::write(self.user_marker(), "")?;
        }
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = self.open_command();
        command.arg("--auth");
        command
    }

    fn is_ready(&self) -> bool {
        super::connect(self.port()).is_some()
    }
}
