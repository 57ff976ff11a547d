//! Stops what `up` started.

use anyhow::Result;

use crate::files;
use crate::lock;
use crate::progress::say;
use crate::servers;
use crate::workspace::Workspace;

pub fn down(workspace: &Workspace, purge: bool) -> Result<()> {
    let _lock = lock::hold(workspace, "stage")?;
    let stage = workspace.local().join("stage");
    let stopped = servers::stop(&stage)?;
    if stopped.is_empty() {
        say!("nothing was running");
    } else {
        say!("stopped {}", stopped.join(", "));
    }
    if purge {
        files::remove_dir(&stage)?;
        say!("deleted {}", stage.display());
    }
    Ok(())
}
