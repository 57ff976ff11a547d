//! Sample data, written by the `tools` binary, which opens the stores as the functions do.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::handover;
use crate::progress::step;
use crate::stage::Stage;

/// The password of every sample user.
pub const SEEDED_PASSWORD: &str = "correct-horse-battery-staple";

/// Seeds a stage whose databases have not been seeded yet.
pub fn once(stage: &Stage) -> Result<()> {
    let marker = stage.dir.join("data/seeded");
    let databases = format!("{} {}", stage.mysql.endpoint, stage.mongodb.endpoint);
    if fs::read_to_string(&marker).is_ok_and(|seeded| seeded == databases) {
        return Ok(());
    }
    step("sample data", || {
        let output = tools(stage).arg("seed").output()?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
            bail!("the sample data could not be written:\n{log}");
        }
        Ok(fs::write(&marker, &databases)?)
    })
}

/// The `tools` binary in the environment of a function that may use every store.
pub fn tools(stage: &Stage) -> Command {
    let mut command = stage.command(stage.workspace.binary("tools"));
    command.envs(handover::function_environment(stage));
    command
}
