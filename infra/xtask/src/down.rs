//! `cargo xtask down`: stops the servers that `up` started.

use anyhow::Result;

use crate::files;
use crate::lock;
use crate::progress::say;
use crate::servers;
use crate::workspace::Workspace;

pub fn down(workspace: &Workspace, purge: bool) -> Result<()> {
    let _lock = lock::hold(workspace, "stage")?;
    let stage = workspace.local().join("stage");
    let mut stopped = servers::stop(&stage)?;
    // A killed test run leaves its stage behind; one that still runs, and has the lock, takes it down itself.
    if let Some(_lock) = lock::try_hold(workspace, "test")? {
        let test = workspace.local().join("test");
        stopped.extend(servers::stop(&test)?);
        files::remove_dir(&test)?;
    }
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
