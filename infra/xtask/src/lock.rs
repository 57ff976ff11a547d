//! One at a time: two runs that start, stop or install the same things would undo each other's work.

use std::fs::{File, TryLockError};

use anyhow::{Context, Result};

use crate::files;
use crate::progress;
use crate::workspace::Workspace;

/// Holds a lock by name until it is dropped or the program ends; waits for whoever has it.
pub fn hold(workspace: &Workspace, name: &str) -> Result<File> {
    files::create_dir(&workspace.local())?;
    let path = workspace.local().join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress::note(&format!("waiting for another `cargo xtask` ({})", path.display()));
            file.lock()?;
        }
        Err(TryLockError::Error(error)) => return Err(error).context("cannot lock"),
    }
    Ok(file)
}
