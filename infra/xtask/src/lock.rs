//! File locks: two runs that start, stop or install the same things would undo each other's work.

use std::fs::{File, TryLockError};

use anyhow::{Context, Result};

use crate::files;
use crate::progress;
use crate::workspace::Workspace;

/// Takes a lock by name, and waits while another program holds it. It is released when it is dropped or the program ends.
pub fn hold(workspace: &Workspace, name: &str) -> Result<File> {
    let file = open(workspace, name)?;
    if !try_lock(&file)? {
        progress::note(&format!("waiting for another `cargo xtask` that holds .local/{name}.lock"));
        file.lock()?;
    }
    Ok(file)
}

/// Takes a lock, or returns `None` while another program holds it.
pub fn try_hold(workspace: &Workspace, name: &str) -> Result<Option<File>> {
    let file = open(workspace, name)?;
    Ok(try_lock(&file)?.then_some(file))
}

fn open(workspace: &Workspace, name: &str) -> Result<File> {
    files::create_dir(&workspace.local())?;
    let path = workspace.local().join(format!("{name}.lock"));
    File::create(&path).with_context(|| format!("cannot write {}", path.display()))
}

fn try_lock(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).context("cannot lock"),
    }
}
